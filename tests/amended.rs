//! What late records change, as the tables of alerts show it in the end; with a crash before they
//! come.

use crate::recovery::load::OFTEN;
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::tools;
use crate::support::wait::{self, PATIENCE};
use std::fs::OpenOptions;
use std::io::Write;

const SOURCE: &str = r#"
[sources.in]
type = "file"
include = ["@OUT@/in.log"]
decoding.codec = "json"
event_time = ".at"
lateness = "1s"
glob_minimum_cooldown_ms = 20
[sinks.alerts]
type = "alerts"
inputs = ["told"]
"#;

/// Writes a line for each time of 2025-03-01, all of one user.
fn append(folder: &Folder, times: &[&str]) {
    let line = |time: &&str| format!("{{\"at\":\"2025-03-01T{time}Z\",\"user\":\"eve\"}}\n");
    let text: String = times.iter().map(line).collect();
    let file = OpenOptions::new().create(true).append(true).open(folder.join("in.log"));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// Waits until the tables say so of all alerts, by their first events.
#[track_caller]
fn told(instance: &Instance, wanted: &[&str]) {
    // The title is of the last revision, the history has every one.
    let query = "SELECT title, key, event_count, state, revision, superseded_by IS NOT NULL,
                        (SELECT group_concat(change) FROM alert_revisions WHERE alert_id = id)
                 FROM alerts ORDER BY first_event_at, title";
    let start = std::time::Instant::now();
    wait::until(&format!("{wanted:?}"), 2 * PATIENCE, || {
        let rows = tools::sqlite(&instance.folder, query);
        let late = start.elapsed() > PATIENCE;
        assert!(!late, "{rows:?}, not {wanted:?}: {:?}", instance.errors());
        (rows == wanted).then_some(())
    });
}

#[test]
fn a_bridge_between_two_sessions_that_were_told_makes_one_alert_of_two() {
    let steps = r#"
[transforms.visits]
type = "summarize"
inputs = ["in"]
group_by = ["user"]
window = { type = "session", gap = "1m", allowed_lateness = "3h" }
fields.pages = { aggregate = "count" }
[transforms.told]
type = "alert"
inputs = ["visits"]
rule = "visits"
merge = "window"
resolve_after = "1h"
severity = "low"
title = "{{ user }} from {{ window.start }} to {{ window.end }}: {{ pages }}"
"#;
    let document = [OFTEN, SOURCE, steps].concat();
    let instance = Instance::start(&document);
    append(&instance.folder, &["10:00:00", "10:00:10", "10:02:00", "10:02:10", "10:10:00"]);
    told(
        &instance,
        &[
            "eve from 2025-03-01T10:00:00Z to 2025-03-01T10:01:10Z: 2|{\"user\":\"eve\"}|2|firing|1|0|raised",
            "eve from 2025-03-01T10:02:00Z to 2025-03-01T10:03:10Z: 2|{\"user\":\"eve\"}|2|firing|1|0|raised",
        ],
    );
    let folder = instance.kill().1;
    let instance = Instance::start_in(folder, &document, &[]);
    append(&instance.folder, &["10:01:05"]);
    told(
        &instance,
        &[
            "eve from 2025-03-01T10:00:00Z to 2025-03-01T10:03:10Z: 5|{\"user\":\"eve\"}|5|firing|2|0|raised,amended",
            "eve from 2025-03-01T10:02:00Z to 2025-03-01T10:03:10Z: 2|{\"user\":\"eve\"}|0|withdrawn|2|1|raised,withdrawn",
        ],
    );
    let (ended, _folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
}

#[test]
fn a_late_record_into_a_window_that_feeds_another_amends_both_and_the_alert() {
    let steps = r#"
[transforms.minutes]
type = "summarize"
inputs = ["in"]
group_by = ["user"]
window = { type = "tumbling", size = "1m", allowed_lateness = "3h" }
fields.events = { aggregate = "count" }
[transforms.quiet]
type = "filter"
inputs = ["minutes"]
condition = '.events < 3'
[transforms.hours]
type = "summarize"
inputs = ["quiet"]
group_by = ["user"]
window = { type = "tumbling", size = "10m" }
fields.minutes = { aggregate = "count" }
fields.total = { aggregate = "sum", field = "events" }
[transforms.told]
type = "alert"
inputs = ["hours"]
rule = "quiet"
condition = '.minutes >= 2'
resolve_after = "1d"
severity = "low"
title = "{{ user }} was quiet for {{ minutes }} minutes: {{ total }}"
"#;
    let document = [OFTEN, SOURCE, steps].concat();
    let instance = Instance::start(&document);
    append(&instance.folder, &["10:01:00", "10:02:00", "10:03:00", "10:03:10", "11:30:00"]);
    told(&instance, &["eve was quiet for 3 minutes: 4|{\"user\":\"eve\"}|3|firing|1|0|raised"]);
    let folder = instance.kill().1;
    let instance = Instance::start_in(folder, &document, &[]);
    append(&instance.folder, &["10:02:30"]);
    told(
        &instance,
        &["eve was quiet for 3 minutes: 5|{\"user\":\"eve\"}|3|firing|2|0|raised,amended"],
    );
    append(&instance.folder, &["10:02:31"]);
    told(
        &instance,
        &["eve was quiet for 2 minutes: 3|{\"user\":\"eve\"}|2|firing|3|0|raised,amended,amended"],
    );
    append(&instance.folder, &["10:03:31"]);
    told(
        &instance,
        &[
            "eve was quiet for 2 minutes: 3|{\"user\":\"eve\"}|0|withdrawn|4|0|raised,amended,amended,withdrawn",
        ],
    );
    let (ended, _folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
}
