//! Looking at the log and the checkpoints of an instance, while it runs and when it does not.

use super::damage::{flip, list};
use super::load::{Lines, OFTEN, SOURCE, WINDOWS};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::{ask as azud, ask_json as json};
use crate::support::wait::{self, PATIENCE};
use std::fs;

/// Runs an instance until the newest checkpoint has keys; gives it, and how many lines it took in.
fn instance_with_state() -> (Instance, Lines) {
    let (instance, mut lines) =
        (Instance::start(&[OFTEN, SOURCE, WINDOWS].concat()), Lines::default());
    wait::until("a checkpoint with keys", PATIENCE, || {
        lines.append(&instance.folder, 100);
        instance.lines("out.jsonl", lines.count);
        let known = json(&instance.folder, &["checkpoint", "inspect", "azud"]);
        known[0]["steps"][0]["keys"].as_u64().filter(|keys| *keys > 10)
    });
    (instance, lines)
}

#[test]
fn a_running_instance_can_be_looked_at() {
    let (instance, _) = instance_with_state();
    let folder = &instance.folder;
    let log = &json(folder, &["log", "inspect"])[0];
    assert_eq!(
        (&log["sources"][0]["source"], &log["held_by"]["pipeline"]),
        (&"in".into(), &"azud".into())
    );
    assert!(
        log["sources"][0]["last_received_at"].as_str()
            > log["sources"][0]["first_received_at"].as_str()
    );
    assert!(log["pipelines"][0]["epochs"].as_u64().unwrap() > 0, "{log}");
    assert_eq!(log["damaged_total"], 0);
    let (code, shown, _) = azud(folder, &["log", "verify"]);
    assert!(code == 0 && shown.starts_with("well: "), "{shown}");
    let (code, shown, errors) = azud(folder, &["log", "inspect"]);
    assert!(code == 0 && shown.contains("checkpoint of `azud`"), "{shown}{errors}");

    let listed = json(folder, &["checkpoint", "list"]);
    assert!(listed.len() >= 2 && listed.iter().all(|it| it["whole"] == true), "{listed:?}");
    let (code, _, errors) = azud(folder, &["checkpoint", "inspect", "azut"]);
    assert!(code == 3 && errors.contains("did you mean `azud`?"), "{errors}");
    let (ended, _) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
}

#[test]
fn what_is_damaged_is_named_with_what_it_costs() {
    let (instance, _) = instance_with_state();
    let (_, folder) = instance.kill();
    let newest = list(&folder.join("data/checkpoints"), "checkpoint").pop().unwrap();
    flip(&newest, fs::metadata(&newest).unwrap().len() as usize - 1);
    let name = newest.file_name().unwrap().to_str().unwrap();
    let (code, shown, _) = azud(&folder, &["checkpoint", "list"]);
    assert!(code == 0 && shown.contains(name) && shown.contains("the one before"), "{shown}");
    let (code, shown, errors) = azud(&folder, &["checkpoint", "inspect"]);
    assert!(code == 0 && errors.contains(name) && shown.contains(", whole"), "{shown}{errors}");

    let segment = list(&folder.join("data/log"), "log").pop().unwrap();
    flip(&segment, 160 + 56 + 100);
    let (code, shown, errors) = azud(&folder, &["log", "verify"]);
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(code == 3 && shown.contains(&format!("in {name};")), "{shown}{errors}");
    let (code, _, _) = azud(&folder, &["log", "inspect"]);
    assert_eq!(code, 0, "headers are well");
}

#[test]
fn what_is_no_data_folder_is_said() {
    let folder = Folder::new();
    for command in
        [["log", "inspect"], ["log", "verify"], ["checkpoint", "list"], ["checkpoint", "inspect"]]
    {
        let (code, out, errors) = azud(&folder, &command);
        assert_eq!((code, out.as_str()), (3, ""));
        assert!(errors.contains("there is no folder data\nhelp: "), "{errors}");
    }
    folder.write("data/other", "");
    let (code, _, errors) = azud(&folder, &["log", "inspect"]);
    assert!(code == 3 && errors.contains("data has no log\nhelp: "), "{errors}");
}
