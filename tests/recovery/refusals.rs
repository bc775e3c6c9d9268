//! Starts that are refused, each with the way out.

use super::load::{ALERTS, Lines, OFTEN, SOURCE, WINDOWS};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::{self, Program, READY, azud};
use crate::support::wait::{self, PATIENCE};

/// Starts it again in the folder of an instance; gives what it says when it is refused.
#[track_caller]
fn refused(folder: &Folder) -> String {
    let ended = Program::start_silent(azud(folder.path(), &["run", "azud.toml"])).end();
    let said = ended.errors.join("\n");
    assert!(!ended.status.success(), "{said}");
    assert!(!said.contains(READY), "{said}");
    said
}

#[test]
fn a_second_process_on_a_data_folder_is_refused() {
    for document in [[SOURCE, ALERTS].concat(), SOURCE.to_owned()] {
        let mut lines = Lines::default();
        let instance = Instance::start(&document);
        // Another port for the second, so that it is the folder that refuses it.
        let written = std::fs::read_to_string(instance.folder.join("azud.toml")).unwrap();
        let other = written.replace(&instance.api.to_string(), "127.0.0.1:0");
        assert_ne!(written, other);
        instance.folder.write("azud.toml", other);
        let said = refused(&instance.folder);
        assert!(said.contains("process"), "{said}");
        lines.append(&instance.folder, 10);
        instance.lines("out.jsonl", lines.count);
        assert!(instance.stop().0.status.success());
    }
}

#[test]
fn another_window_is_refused_until_its_state_is_given_up() {
    let (folder, mut lines) = (Folder::new(), Lines::default());
    lines.append(&folder, 1_000);
    let document = [OFTEN, SOURCE, WINDOWS].concat();
    let instance = Instance::start_in(folder, &document, &[]);
    instance.lines("out.jsonl", lines.count);
    // In good order, so that the last checkpoint has the open window.
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);

    let written = std::fs::read_to_string(folder.join("azud.toml")).unwrap();
    folder.write("azud.toml", written.replace("size = \"1m\"", "size = \"2m\""));
    let said = refused(&folder);
    assert!(said.contains("--drop-state minutes"), "{said}");

    assert!(said.contains("`minutes` changed too much for its state of"), "{said}");

    let changed = document.replace("size = \"1m\"", "size = \"2m\"");
    let instance = Instance::start_in(folder, &changed, &["--drop-state", "minutes"]);
    let said = instance.errors().join("\n");
    assert!(said.contains("`minutes` changed, and begins anew"), "{said}");
    lines.append(&instance.folder, 3_000);
    lines.append_end(&instance.folder);
    wait::until("a window of two minutes", PATIENCE, || {
        let windows = instance.folder.lines("windows.jsonl");
        windows.iter().any(|line| line.contains("\"end\":\"2025-03-01T10:04:00Z\"")).then_some(())
    });
    assert!(instance.stop().0.status.success());
}

#[test]
fn a_changed_document_is_told_with_the_state_that_is_kept() {
    let (folder, mut lines) = (Folder::new(), Lines::default());
    lines.append(&folder, 1_000);
    let document = [OFTEN, SOURCE, WINDOWS].concat();
    let instance = Instance::start_in(folder, &document, &[]);
    instance.lines("out.jsonl", lines.count);
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let shown = program::run(folder.path(), &["checkpoint", "inspect", "--data-dir", "data"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("\nminutes  ") && shown.contains("[transforms.minutes]\n"), "{shown}");
    assert!(shown.contains("window.size = \"1m\"\n"), "{shown}");

    // Nothing is told where nothing changed, whatever the layout.
    let same = document.replace("size = \"1m\"", "size   = '1m'");
    let instance = Instance::start_in(folder, &same, &[]);
    let said = instance.errors().join("\n");
    assert!(!said.contains("since the last checkpoint"), "{said}");
    let (_, folder) = instance.stop();

    let changed = document.replace("1700) == 1699", "1700) == 1698");
    let changed = changed.replace("size = \"1m\" }", "size = \"1m\" }\nhaving = '.lines > 0'");
    let instance = Instance::start_in(folder, &changed, &[]);
    let said = instance.errors().join("\n");
    assert!(said.contains("transform `shape` changed pipeline"), "{said}");
    assert!(said.contains("transform `minutes` changed, and keeps its state of"), "{said}");
    let (ended, _folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
}
