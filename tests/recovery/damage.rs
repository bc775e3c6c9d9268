//! Files that went bad between two runs.

use super::load::{ALERTS, Lines, OFTEN, SOURCE, alerts, numbers};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::wait::{self, PATIENCE};
use std::fs;
use std::path::{Path, PathBuf};

/// No checkpoint but the first, of nothing: all of the log is needed.
const NEVER: &str = "checkpoint.interval = \"1h\"\n";

/// What the log's format says (`engine/src/log/format.rs`): bytes before the first entry of a
/// segment, bytes before the payload of an entry, and where in these its length and its kind are.
const SEGMENT_HEADER: usize = 160;
const ENTRY_HEADER: usize = 56;
const LENGTH_AT: usize = 40;
const KIND_AT: usize = 44;
const BLOCK: u8 = 1;
const EPOCH: u8 = 2;

/// Lists the files below a folder that have this extension, by name.
pub fn list(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(list(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Flips a bit of a file.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

/// Finds the payloads of all entries of this kind in a segment.
fn entries(segment: &Path, kind: u8) -> Vec<std::ops::Range<usize>> {
    let bytes = fs::read(segment).unwrap();
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER;
    while let Some(header) = bytes.get(at..at + ENTRY_HEADER) {
        let length = header[LENGTH_AT..LENGTH_AT + 4].try_into().unwrap();
        let payload = at + ENTRY_HEADER..at + ENTRY_HEADER + u32::from_le_bytes(length) as usize;
        at = payload.end;
        if header[KIND_AT] == kind {
            found.push(payload);
        }
    }
    found
}

/// Waits until the last line is delivered.
#[track_caller]
fn delivered(instance: &Instance, lines: &Lines) {
    let last = format!("{{\"number\":{}}}", lines.count - 1);
    let start = std::time::Instant::now();
    wait::until("the last line", 2 * PATIENCE, || {
        let late = start.elapsed() > PATIENCE;
        assert!(!late, "the last line: {:?}", instance.errors());
        instance.folder.lines("out.jsonl").contains(&last).then_some(())
    });
}

/// Writes lines, some at a time so that each is an epoch of its own, and kills the instance when
/// they are delivered.
fn run_and_kill(document: &str, lines: &mut Lines) -> Folder {
    let instance = Instance::start(document);
    for _ in 0..12 {
        lines.append(&instance.folder, 100);
        instance.lines("out.jsonl", lines.count);
    }
    instance.kill().1
}

/// Starts it again, writes more, and waits for that; gives what it said, and the folder.
///
/// What comes of damage may have fewer revisions than what was told before, and an alert's row
/// waits until there are more: so more is written in so many parts.
fn start_again(folder: Folder, document: &str, lines: &mut Lines) -> (Vec<String>, Folder) {
    let instance = Instance::start_in(folder, document, &[]);
    for _ in 0..20 {
        lines.append(&instance.folder, 100);
        delivered(&instance, lines);
    }
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    (ended.errors, folder)
}

#[test]
fn a_damaged_checkpoint_costs_the_way_from_the_one_before() {
    let (document, mut lines) = ([OFTEN, SOURCE, ALERTS].concat(), Lines::default());
    let instance = Instance::start(&document);
    let checkpoints = instance.folder.join("data/checkpoints");
    let first = list(&checkpoints, "checkpoint");
    wait::until("two checkpoints of data", PATIENCE, || {
        lines.append(&instance.folder, 10);
        delivered(&instance, &lines);
        let known = list(&checkpoints, "checkpoint");
        (known.len() == 2 && known.iter().all(|path| !first.contains(path))).then_some(())
    });
    let (_, folder) = instance.kill();
    let newest = list(&checkpoints, "checkpoint").pop().unwrap();
    flip(&newest, fs::metadata(&newest).unwrap().len() as usize / 2);

    let (said, folder) = start_again(folder, &document, &mut lines);
    let told = |line: &&String| line.contains("checkpoint cannot be used");
    let told = said.iter().find(told).unwrap_or_else(|| panic!("{said:?}"));
    assert!(told.contains(newest.file_name().unwrap().to_str().unwrap()), "{told}");
    assert_eq!(numbers(&folder, "out.jsonl").0.len(), lines.count);
    assert_eq!(alerts(&folder), lines.alerts());
}

#[test]
fn a_damaged_block_of_the_log_loses_no_more_than_itself() {
    let (document, mut lines) = ([NEVER, SOURCE, ALERTS].concat(), Lines::default());
    let folder = run_and_kill(&document, &mut lines);
    let segment = list(&folder.join("data/log"), "log").pop().unwrap();
    let blocks = entries(&segment, BLOCK);
    let block = blocks[blocks.len() / 2].clone();
    let bytes = fs::read(&segment).unwrap();
    let text = String::from_utf8_lossy(&bytes[block.clone()]).into_owned();
    let lost = |number: &usize| text.contains(&format!("\"number\":{number},"));
    flip(&segment, block.start + block.len() / 2);
    // What comes now comes from the log.
    fs::remove_file(folder.join("out.jsonl")).unwrap();

    let (said, folder) = start_again(folder, &document, &mut lines);
    assert!(said.iter().any(|line| line.contains("the log is damaged")), "{said:?}");
    let (found, _) = numbers(&folder, "out.jsonl");
    let missing: Vec<_> = (0..lines.count).filter(|number| !found.contains(number)).collect();
    assert!(!missing.is_empty() && missing.iter().all(lost), "{missing:?}");
    // Nothing of the block but what the table had of it already: never too much.
    let (told, right) = (alerts(&folder), lines.alerts());
    let total = |alerts: std::collections::BTreeMap<_, super::load::Told>| {
        alerts.values().map(|told| told.0).sum::<usize>()
    };
    let (told, right) = (total(told), total(right));
    assert!(right - missing.len() <= told && told <= right, "{told} of {right}");
}

#[test]
fn a_damaged_record_of_an_epoch_loses_nothing() {
    let (document, mut lines) = ([NEVER, SOURCE, ALERTS].concat(), Lines::default());
    let folder = run_and_kill(&document, &mut lines);
    let segment = list(&folder.join("data/log"), "log").pop().unwrap();
    let records = entries(&segment, EPOCH);
    assert!(records.len() > 2, "{}", records.len());
    // The first, one in the middle; the last may not be known to be whole.
    for record in [0, records.len() / 2] {
        flip(&segment, records[record].start + 3);
    }
    fs::remove_file(folder.join("out.jsonl")).unwrap();

    let (said, folder) = start_again(folder, &document, &mut lines);
    assert!(said.iter().any(|line| line.contains("the log is damaged")), "{said:?}");
    assert_eq!(numbers(&folder, "out.jsonl").0.len(), lines.count);
    assert_eq!(alerts(&folder), lines.alerts());
}
