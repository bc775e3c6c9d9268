//! What the tests of recovery send, and what must come of it.

use crate::support::files::Folder;
use crate::support::program;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;

/// How many keys there are: enough that every worker owns some.
const KEYS: usize = 23;

/// How many lines share a second of event time.
const LINES_A_SECOND: usize = 20;

/// Every so many lines one is worse.
const BAD_EVERY: usize = 1_700;

/// All settings of the instance that the tests share. Checkpoints are made so often that some are
/// made between two kills.
pub const OFTEN: &str = "checkpoint.interval = \"200ms\"\n";

/// A file of lines that is read as it grows.
pub const SOURCE: &str = r#"
[sources.in]
type = "file"
include = ["@OUT@/in.log"]
decoding.codec = "json"
event_time = ".timestamp"
glob_minimum_cooldown_ms = 20
[transforms.shape]
type = "remap"
inputs = ["in"]
source = '.bad = mod!(.number, 1700) == 1699'
[sinks.out]
type = "file"
inputs = ["shape"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
encoding.only_fields = ["number"]
"#;

/// An alert for each key and hour; all lines are of one hour.
pub const ALERTS: &str = r#"
[transforms.told]
type = "alert"
inputs = ["shape"]
rule = "lines"
key = ["key"]
every = "1h"
severity = "low"
escalate = [{ condition = ".bad == true", severity = "high" }]
[sinks.alerts]
type = "alerts"
inputs = ["told"]
"#;

/// A count for each key and minute.
pub const WINDOWS: &str = r#"
[transforms.minutes]
type = "summarize"
inputs = ["shape"]
group_by = ["key"]
window = { type = "tumbling", size = "1m" }
[transforms.minutes.fields]
lines = { aggregate = "count" }
numbers = { aggregate = "sum", field = "number" }
[sinks.windows]
type = "file"
inputs = ["minutes"]
path = "@OUT@/windows.jsonl"
encoding.codec = "json"
"#;

/// Random numbers that a seed repeats (xorshift; Marsaglia, *Xorshift RNGs*, 2003).
pub struct Dice(u64);

impl Dice {
    /// Takes the seed from `AZUD_TEST_SEED`, else one that is new each time, and prints it: a test
    /// that fails shows it.
    pub fn new() -> Self {
        let written = std::env::var("AZUD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = written.unwrap_or_else(|| {
            let random = std::fs::File::open("/dev/urandom");
            let mut bytes = [0; 8];
            std::io::Read::read_exact(&mut random.unwrap(), &mut bytes).unwrap();
            u64::from_le_bytes(bytes) | 1
        });
        println!("AZUD_TEST_SEED={seed}");
        Dice(seed)
    }

    /// Gives a number in a range.
    pub fn throw(&mut self, range: std::ops::Range<usize>) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + usize::try_from(self.0 % range.len() as u64).unwrap()
    }
}

/// The lines that were written so far, numbered from 0.
#[derive(Default)]
pub struct Lines {
    /// How many.
    pub count: usize,
}

/// What is expected, or found, of a key's alert: count, first and last event, severity.
pub type Told = (usize, String, String, String);

impl Lines {
    /// Writes `count` more to the end of `in.log`.
    pub fn append(&mut self, folder: &Folder, count: usize) {
        let text: String = (self.count..self.count + count).map(line).collect();
        append(folder, &text);
        self.count += count;
    }

    /// Writes a line of the next day, so that every window before it is over.
    pub fn append_end(&self, folder: &Folder) {
        append(folder, "{\"timestamp\":\"2025-03-02T12:00:00Z\",\"key\":\"end\",\"number\":-1}\n");
    }

    /// Gives what the table of alerts must have, by key.
    pub fn alerts(&self) -> BTreeMap<String, Told> {
        let mut alerts: BTreeMap<String, Told> = BTreeMap::new();
        for number in 0..self.count {
            let time = time(number).replace('Z', ".000000Z");
            let new = || (0, time.clone(), time.clone(), "low".to_owned());
            let known = alerts.entry(key(number)).or_insert_with(new);
            known.0 += 1;
            known.2 = time.clone();
            if number % BAD_EVERY == BAD_EVERY - 1 {
                known.3 = "high".to_owned();
            }
        }
        alerts
    }
}

/// Writes to the end of `in.log`.
pub fn append(folder: &Folder, text: &str) {
    let file = OpenOptions::new().create(true).append(true).open(folder.join("in.log"));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

fn line(number: usize) -> String {
    let (time, key, padding) = (time(number), key(number), "x".repeat(80));
    format!(
        "{{\"timestamp\":\"{time}\",\"key\":\"{key}\",\"number\":{number},\"is\":\"{padding}\"}}\n"
    )
}

fn time(number: usize) -> String {
    let seconds = number / LINES_A_SECOND;
    assert!(seconds < 3_600, "all lines are of one hour");
    format!("2025-03-01T10:{:02}:{:02}Z", seconds / 60, seconds % 60)
}

fn key(number: usize) -> String {
    // Neighbours have other keys, and no key comes as regularly as a window begins.
    format!("k{}", (number / 3 + number * number) % KEYS)
}

/// Gives the numbers of the lines in a file of the folder, and how many lines of it are not whole:
/// a kill in the middle of a write leaves the beginning of a line, on a line of its own.
pub fn numbers(folder: &Folder, name: &str) -> (BTreeSet<usize>, usize) {
    let mut torn = 0;
    let mut found = BTreeSet::new();
    for line in folder.lines(name) {
        match serde_json::from_str::<Value>(&line) {
            Ok(event) => found.extend(event["number"].as_u64().map(|number| number as usize)),
            Err(_) => {
                assert!("{\"number\":".starts_with(&line) || line.starts_with("{\"number\":"));
                torn += 1;
            }
        }
    }
    (found, torn)
}

/// Reads the table of alerts, by key.
///
/// # Panics
/// When a key has two alerts.
pub fn alerts(folder: &Folder) -> BTreeMap<String, Told> {
    let listed =
        program::run(folder.path(), &["alerts", "--json", "--limit", "9999", "--data-dir", "data"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut found = BTreeMap::new();
    for line in listed.lines() {
        let alert: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| alert[field].as_str().unwrap().to_owned();
        let count = usize::try_from(alert["event_count"].as_u64().unwrap()).unwrap();
        let told = (count, text("first_event_at"), text("last_event_at"), text("severity"));
        let key = alert["key"]["key"].as_str().unwrap_or_default().to_owned();
        let twice = found.insert(key, told);
        assert!(twice.is_none(), "a second alert: {line}");
    }
    found
}
