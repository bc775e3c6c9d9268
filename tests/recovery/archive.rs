//! Windows that have ended leave memory, and late records correct them all the same, whatever was
//! killed meanwhile.

use super::load::{OFTEN, SOURCE, WINDOWS, append};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::wait;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Enough that a worker puts their windows on disk.
const KEYS: usize = 40_000;

const CATCH_UP: Duration = Duration::from_secs(120);

fn lines(keys: impl Iterator<Item = usize>, time: &str) -> String {
    let line = |key| format!("{{\"timestamp\":\"{time}\",\"key\":\"k{key}\",\"number\":1}}\n");
    keys.map(line).collect()
}

/// Gives by key how often its first window was told, and with how many lines at last.
fn first_windows(folder: &Folder) -> BTreeMap<String, (u64, u64)> {
    let mut told = BTreeMap::new();
    for line in folder.lines("windows.jsonl") {
        let Ok(window) = serde_json::from_str::<Value>(&line) else { continue };
        if window["window"]["start"] != "2025-03-01T10:00:00Z" {
            continue;
        }
        let number = |field: &str| window[field].as_u64().unwrap();
        let key = window["key"].as_str().unwrap().to_owned();
        let (revision, lines) = told.entry(key).or_default();
        if number("revision") >= *revision {
            (*revision, *lines) = (number("revision"), number("lines"));
        }
    }
    told
}

fn on_disk(instance: &Instance) -> f64 {
    instance.metrics().sum("azud_window_disk_bytes", &[])
}

#[test]
fn windows_that_left_memory_are_corrected_also_after_kills() {
    let document = [OFTEN, SOURCE, WINDOWS].concat();
    let folder = Folder::new();
    append(&folder, &lines(0..KEYS, "2025-03-01T10:00:01Z"));
    append(&folder, &lines([KEYS].into_iter(), "2025-03-01T10:05:00Z"));
    let mut instance = Instance::start_in(folder, &document, &["--threads", "1"]);
    wait::until("all windows to be told, and to be on disk", CATCH_UP, || {
        (first_windows(&instance.folder).len() == KEYS && on_disk(&instance) > 0.0).then_some(())
    });
    for (round, threads) in (1..).zip(["4", "1", "2"]) {
        instance = Instance::start_in(instance.kill().1, &document, &["--threads", threads]);
        wait::until("what is on disk to be known", CATCH_UP, || {
            (on_disk(&instance) > 0.0).then_some(())
        });
        // Of some keys for the first time, of others again: these came back, and were put away
        // once more or not.
        let late = (0..KEYS).step_by(400).chain((0..200 * round).skip(200 * (round - 1)));
        append(&instance.folder, &lines(late, "2025-03-01T10:00:30Z"));
        wait::until("the late lines to be told", CATCH_UP, || {
            let told = first_windows(&instance.folder);
            let lines: u64 = told.values().map(|(_, lines)| lines).sum();
            (lines == (KEYS + round * (KEYS / 400 + 200)) as u64).then_some(())
        });
    }
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    for (key, (revision, lines)) in first_windows(&folder) {
        let number: usize = key[1..].parse().unwrap();
        let late = 3 * usize::from(number.is_multiple_of(400)) + usize::from(number < 600);
        assert_eq!(lines, 1 + late as u64, "{key}");
        // Lines that come together are told once.
        assert_eq!(revision > 1, late > 0, "{key}: revision {revision}");
    }
}
