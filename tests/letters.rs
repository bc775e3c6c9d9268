//! Dead letters of a real instance: listed, shown, discarded, and counted once though it is killed.

use crate::recovery::load::{Dice, OFTEN};
use crate::support::files::Folder;
use crate::support::instance::{Instance, dead_letters};
use crate::support::program;
use crate::support::tools;
use crate::support::wait::{self, PATIENCE};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write;

/// Reads a file as it grows. Every tenth line is no JSON, and of the others every tenth fails in
/// the program; one in a hundred has no file to go to.
const DOCUMENT: &str = r#"
[sources.in]
type = "file"
include = ["@OUT@/in.log"]
decoding.codec = "json"
glob_minimum_cooldown_ms = 20
[transforms.shape]
type = "remap"
inputs = ["in"]
drop_on_error = true
source = '.number = to_int!(.number)'
[sinks.out]
type = "file"
inputs = ["shape"]
path = "@OUT@/{{ goes }}.jsonl"
encoding.codec = "json"
"#;

/// Alerts, so that the instance has a database.
const ALERTS: &str = r#"
[transforms.told]
type = "alert"
inputs = ["shape"]
rule = "lines"
key = ["goes"]
every = "1h"
severity = "low"
[sinks.alerts]
type = "alerts"
inputs = ["told"]
"#;

/// Appends lines from `count` on, and gives how many there are now.
fn append(folder: &Folder, count: usize, more: usize) -> usize {
    let line = |number: usize| match number % 100 {
        it if it % 10 == 3 => format!("half {{ {number}\n"),
        it if it % 10 == 5 => format!("{{\"goes\":\"out\",\"number\":\"n{number}\"}}\n"),
        77 => format!("{{\"number\":{number}}}\n"),
        _ => format!("{{\"goes\":\"out\",\"number\":{number}}}\n"),
    };
    let text: String = (count..count + more).map(line).collect();
    let file = OpenOptions::new().create(true).append(true).open(folder.join("in.log"));
    file.unwrap().write_all(text.as_bytes()).unwrap();
    count + more
}

/// What must be set aside of whole hundreds of lines, by reason.
fn expected(count: usize) -> Vec<(&'static str, usize)> {
    assert_eq!(count % 100, 0);
    vec![("encode_failed", count / 100), ("malformed", count / 10), ("program_failed", count / 10)]
}

/// Runs a command on the dead letters of a folder; gives its exit code and what it said on both
/// outputs.
fn azud(folder: &Folder, arguments: &[&str]) -> (i32, String, String) {
    program::ask(folder, &[&["dead-letters"], arguments].concat())
}

/// Runs one that writes JSON and ends well; gives its lines.
#[track_caller]
fn json(folder: &Folder, arguments: &[&str]) -> Vec<Value> {
    program::ask_json(folder, &[&["dead-letters"], arguments].concat())
}

/// Counts what is listed, by reason.
fn listed(folder: &Folder) -> Vec<(&'static str, usize)> {
    let groups = json(folder, &["list", "--limit", "9999"]);
    let count = |reason: &&'static str| -> usize {
        let of = groups.iter().filter(|group| group["reason"] == **reason);
        of.map(|group| group["letters"].as_u64().unwrap() as usize).sum()
    };
    let reasons = ["encode_failed", "malformed", "program_failed"];
    reasons.iter().map(|reason| (*reason, count(reason))).filter(|(_, count)| *count > 0).collect()
}

#[track_caller]
fn all_listed(instance: &Instance, count: usize) {
    let wanted = expected(count);
    let start = std::time::Instant::now();
    wait::until("all letters", 2 * PATIENCE, || {
        let found = listed(&instance.folder);
        let late = start.elapsed() > PATIENCE;
        assert!(!late, "{found:?}, not {wanted:?}: {:?}", instance.errors());
        (found == wanted).then_some(())
    });
}

#[test]
fn letters_are_listed_shown_and_discarded_while_the_instance_runs() {
    let instance = Instance::start(&[OFTEN, DOCUMENT].concat());
    let folder = &instance.folder;
    assert!(json(folder, &["list"]).is_empty());
    let count = append(folder, 0, 1_000);
    all_listed(&instance, count);
    let metrics = instance.metrics();
    for (reason, letters) in expected(count) {
        assert_eq!(metrics.sum("azud_dead_letters_total", &[("reason", reason)]), letters as f64);
    }
    assert!(metrics.sum("azud_dead_letters_max_bytes", &[("pipeline", "azud")]) > 0.0);

    let failed = json(folder, &["list", "--reason", "program_failed", "--since", "1h"]);
    assert!(failed.iter().all(|group| group["component"] == "shape" && group["source"] == "in"));
    assert!(json(folder, &["list", "--component", "nobody"]).is_empty());
    let id = failed[0]["id"].as_str().unwrap();
    let shown = &json(folder, &["show", &id[..12]])[0];
    assert!(shown["samples"][0]["raw"].as_str().unwrap().contains("\"number\":\"n"), "{shown}");
    let (_, shown, _) = azud(folder, &["show", id]);
    assert!(shown.contains("to_int") && shown.contains("\n> {"), "{shown}");

    let (code, _, errors) = azud(folder, &["discard", id]);
    assert!(code == 2 && errors.contains("--reason"), "{errors}");
    let (code, _, errors) = azud(folder, &["discard", "--reason", "no need"]);
    assert!(code == 2, "{errors}");
    let (code, _, errors) = azud(folder, &["discard", "--all", "--reason", "malformed"]);
    assert!(code == 2 && errors.contains("for the audit"), "{errors}");
    let (code, said, errors) =
        azud(folder, &["discard", "--component", "shape", "--reason", "a known printer"]);
    assert!(code == 0 && said.starts_with("discarded 100 letters of"), "{said}{errors}");
    let audit = folder.lines("data/dead_letters/discarded.jsonl");
    assert!(audit.iter().all(|line| line.contains("a known printer")), "{audit:?}");
    assert_eq!(listed(folder), [("encode_failed", 10), ("malformed", 100)]);

    // The instance goes on with what comes, and what was discarded does not come again.
    append(folder, count, 100);
    let found =
        || listed(folder) == [("encode_failed", 11), ("malformed", 110), ("program_failed", 10)];
    wait::until("the letters that came behind", PATIENCE, || found().then_some(()));
    let document = [OFTEN, DOCUMENT].concat();
    let (_, folder) = instance.kill();
    let instance = Instance::start_in(folder, &document, &[]);
    append(&instance.folder, count + 100, 100);
    let wanted = [("encode_failed", 12), ("malformed", 120), ("program_failed", 20)];
    wait::until("the letters that came last", PATIENCE, || {
        (listed(&instance.folder) == wanted).then_some(())
    });
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    assert_eq!(listed(&folder), wanted);
}

#[test]
fn letters_are_counted_once_though_the_process_is_killed() {
    let (mut dice, document) = (Dice::new(), [OFTEN, DOCUMENT, ALERTS].concat());
    let (mut folder, mut count) = (Folder::new(), 0);
    for _ in 0..8 {
        count = append(&folder, count, 100 * dice.throw(1..60));
        let instance = Instance::start_in(folder, &document, &[]);
        let more = dead_letters(&instance.folder).len() + dice.throw(1..400);
        wait::until("something to be set aside", PATIENCE, || {
            // It may have been all there is.
            let there = dead_letters(&instance.folder).len();
            let all: usize = expected(count).iter().map(|(_, letters)| letters).sum();
            (there >= more || there == all).then_some(())
        });
        folder = instance.kill().1;
    }
    let instance = Instance::start_in(folder, &document, &[]);
    all_listed(&instance, count);
    in_the_table(&instance, "state = 'held'", &expected(count));
    azud(&instance.folder, &["discard", "--component", "in", "--reason", "a known printer"]);
    let [encode, malformed, program] = expected(count)[..] else { panic!("three reasons") };
    in_the_table(&instance, "state = 'held'", &[encode, program]);
    in_the_table(&instance, "state = 'discarded' AND handled_by <> ''", &[malformed]);
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    assert_eq!(listed(&folder), [encode, program]);
}

/// Waits until the table of the database has so many letters, by reason.
#[track_caller]
fn in_the_table(instance: &Instance, which: &str, wanted: &[(&str, usize)]) {
    let query = format!(
        "SELECT reason, sum(records) FROM dead_letters WHERE {which} GROUP BY reason ORDER BY reason"
    );
    let wanted: Vec<_> = wanted.iter().map(|(reason, count)| format!("{reason}|{count}")).collect();
    wait::until(&format!("{wanted:?} in the table"), PATIENCE, || {
        (tools::sqlite(&instance.folder, &query) == wanted).then_some(())
    });
}

#[test]
fn a_pipeline_waits_when_its_letters_have_used_up_their_budget() {
    let settings = "dead_letters.max_bytes = \"4MiB\"\n";
    let instance = Instance::start(&[OFTEN, settings, DOCUMENT].concat());
    let folder = &instance.folder;
    let count = append(folder, 0, 150_000);
    let says = |words: &str| instance.errors().iter().any(|line| line.contains(words));
    wait::until("the alarm", PATIENCE, || says("have nearly used up their budget").then_some(()));
    wait::until("the wait", PATIENCE, || says("their pipeline waits").then_some(()));
    let bytes = instance.metrics().sum("azud_dead_letters_bytes", &[]);
    let budget = f64::from(4 << 20);
    assert!(bytes > 0.8 * budget && bytes <= budget, "{bytes}");
    // Whenever room is made it goes on, and in the end each was set aside once.
    let all: usize = expected(count).iter().map(|(_, letters)| letters).sum();
    let mut discarded = 0;
    wait::until("all of it", 2 * PATIENCE, || {
        let gone = json(folder, &["discard", "--all", "--reason", "to make room"]);
        discarded += gone.iter().map(|one| one["letters"].as_u64().unwrap()).sum::<u64>();
        (discarded as usize >= all).then_some(())
    });
    assert_eq!(discarded as usize, all);
    assert!(instance.stop().0.status.success());
}

#[test]
fn what_windows_had_to_forget_is_counted() {
    let window = r#"
[transforms.minutes]
type = "summarize"
inputs = ["shape"]
group_by = ["number"]
max_keys = 1
window = { type = "tumbling", size = "1m" }
[transforms.minutes.fields]
lines = { aggregate = "count" }
[sinks.told]
type = "file"
inputs = ["minutes"]
path = "@OUT@/windows.jsonl"
encoding.codec = "json"
"#;
    let instance = Instance::start(&[DOCUMENT, window].concat());
    append(&instance.folder, 0, 10_000);
    wait::until("keys to be forgotten", PATIENCE, || {
        let labels = [("component_id", "minutes")];
        let count = instance.metrics().sum("azud_window_keys_evicted_total", &labels);
        (count > 0.0).then_some(())
    });
}
