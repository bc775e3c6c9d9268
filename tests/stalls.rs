//! Sinks that stall: one that nobody answers stops neither the others nor the intake, and gets
//! everything when it is back, across restarts too.

use crate::recovery::load::{Lines, OFTEN, SOURCE};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::{Program, azud};
use crate::support::receiver::Receiver;
use crate::support::wait;
use serde_json::Value;
use std::time::Duration;

/// How long an instance may take to come to what a test waits for.
pub const SOON: Duration = Duration::from_secs(60);

/// Less than what the lines of a test are, so that one sink could stop the pipeline.
pub const CREDIT: &str = "credit_bytes = \"1MiB\"\n";

/// A second sink of files, and one that sends to an address.
pub fn sinks(receiver: &Receiver, more: &str) -> String {
    let address = receiver.address();
    format!(
        r#"
[sinks.also]
type = "file"
inputs = ["shape"]
path = "@OUT@/also.jsonl"
encoding.only_fields = ["number"]
[sinks.far]
type = "http"
inputs = ["shape"]
uri = "http://{address}/"
framing.method = "newline_delimited"
batch.timeout_secs = 0.1
request.retry_initial_backoff_secs = 0.1
request.retry_max_duration_secs = 0.2
stalled_after = "300ms"
{more}
"#
    )
}

/// Gives the numbers of lines, each where it came first.
pub fn first_numbers(lines: &[String]) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    let numbers = lines.iter().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        usize::try_from(event["number"].as_u64().unwrap()).unwrap()
    });
    numbers.filter(|number| seen.insert(*number)).collect()
}

/// Waits until a receiver has every line, and looks whether they came in order.
#[track_caller]
pub fn all_received(receiver: &Receiver, count: usize) -> Vec<String> {
    wait::until("everything to be received", SOON, || {
        (first_numbers(&receiver.lines()).len() >= count).then_some(())
    });
    let lines = receiver.lines();
    assert_eq!(first_numbers(&lines), (0..count).collect::<Vec<_>>());
    lines
}

/// Waits until the sinks of files have everything.
#[track_caller]
pub fn all_written(instance: &Instance, count: usize) {
    for name in ["out.jsonl", "also.jsonl"] {
        wait::until("everything to be written", SOON, || {
            (instance.folder.lines(name).len() >= count).then_some(())
        });
    }
}

pub fn metric(instance: &Instance, name: &str) -> f64 {
    instance.metrics().sum(name, &[("component_id", "far")])
}

#[test]
fn one_dead_sink_of_three_stops_nobody_and_gets_everything_in_order() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    let instance = Instance::start(&[OFTEN, CREDIT, SOURCE, &sinks(&receiver, "")].concat());
    for _ in 0..4 {
        lines.append(&instance.folder, 10_000);
        all_written(&instance, lines.count);
    }
    let ready = instance.get("/ready");
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(ready.body.contains("sink `far` has stalled"), "{}", ready.body);
    assert!(metric(&instance, "azud_sink_spilled_events_total") > 30_000.0);
    receiver.listen();
    lines.append(&instance.folder, 10_000);
    let received = all_received(&receiver, lines.count);
    assert_eq!(received.len(), lines.count, "some came twice");
    wait::until("the sink to flow again", SOON, || {
        (instance.get("/ready").body == "{\"ready\":true}").then_some(())
    });
    wait::until("the gauge to say so", SOON, || {
        (metric(&instance, "azud_sink_spill_events") == 0.0).then_some(())
    });
    let (ended, _folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let said = ended.errors.join("\n");
    assert!(said.contains("sink `far` has stalled"), "{said}");
    assert!(said.contains("sink `far` has caught up"), "{said}");
}

#[test]
fn a_dead_sink_gets_everything_after_checkpoints_and_kills() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    let document = [OFTEN, CREDIT, SOURCE, &sinks(&receiver, "")].concat();
    let mut folder = Folder::new();
    for _ in 0..4 {
        let instance = Instance::start_in(folder, &document, &[]);
        lines.append(&instance.folder, 7_000);
        all_written(&instance, lines.count);
        // Checkpoints are made though the sink has confirmed nothing: the log is let go.
        wait::until("a checkpoint behind almost everything", SOON, || {
            lines.append(&instance.folder, 1);
            (instance.metrics().sum("azud_intake_log_bytes", &[]) < 1_000_000.0).then_some(())
        });
        lines.append(&instance.folder, 3_000);
        folder = instance.kill().1;
    }
    let instance = Instance::start_in(folder, &document, &[]);
    receiver.listen();
    all_received(&receiver, lines.count);
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    // What was delivered is not delivered again.
    let before = receiver.lines().len();
    let instance = Instance::start_in(folder, &document, &[]);
    lines.append(&instance.folder, 100);
    all_received(&receiver, lines.count);
    assert_eq!(receiver.lines().len(), before + 100);
}

#[test]
fn what_is_dropped_is_counted() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    let sinks = sinks(&receiver, "on_stall = \"drop\"");
    let instance = Instance::start(&[OFTEN, CREDIT, SOURCE, &sinks].concat());
    for _ in 0..3 {
        lines.append(&instance.folder, 10_000);
        all_written(&instance, lines.count);
    }
    let ready = instance.get("/ready");
    assert!(ready.body.contains("is dropped"), "{}", ready.body);
    receiver.listen();
    wait::until("everything to be received or counted as dropped", SOON, || {
        let dropped = instance.metrics().sum(
            "azud_component_discarded_events_total",
            &[("component_id", "far"), ("intentional", "true")],
        );
        let received = receiver.lines().len();
        (dropped > 0.0 && received as f64 + dropped == lines.count as f64).then_some(())
    });
    assert!(instance.stop().0.status.success());
}

#[test]
fn a_full_spill_holds_its_pipeline_and_loses_nothing() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    let sinks = sinks(&receiver, "spill.max_bytes = \"1MiB\"");
    let instance = Instance::start(&[OFTEN, CREDIT, SOURCE, &sinks].concat());
    lines.append(&instance.folder, 40_000);
    let why = wait::until("the instance to say that it waits", SOON, || {
        let ready = instance.get("/ready");
        (ready.status == 503).then_some(ready.body)
    });
    assert!(why.contains("its spill is full"), "{why}");
    let written = instance.folder.lines("also.jsonl").len();
    assert!(written < lines.count, "nothing was held");
    receiver.listen();
    all_received(&receiver, lines.count);
    all_written(&instance, lines.count);
    assert!(instance.stop().0.status.success());
}

#[test]
fn a_sink_that_was_removed_is_named_and_comes_back_or_is_given_up() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    let with = [OFTEN, SOURCE, &sinks(&receiver, "")].concat();
    let without = [OFTEN, SOURCE].concat();
    let instance = Instance::start(&with);
    lines.append(&instance.folder, 1_000);
    all_written(&instance, lines.count);
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    assert!(ended.errors.join("\n").contains("wait in the spill of `far`"), "{:?}", ended.errors);

    // It is named at each start, and kept over checkpoints without it.
    let mut folder = folder;
    for _ in 0..2 {
        let instance = Instance::start_in(folder, &without, &[]);
        let said = instance.errors().join("\n");
        assert!(said.contains("1000 records wait in the spill of `far`"), "{said}");
        assert!(said.contains("--accept-gap far"), "{said}");
        lines.append(&instance.folder, 100);
        instance.lines("out.jsonl", lines.count);
        let (ended, same) = instance.stop();
        assert!(ended.status.success(), "{:?}", ended.errors);
        folder = same;
    }
    receiver.listen();
    let instance = Instance::start_in(folder, &with, &[]);
    wait::until("what was kept to be received", SOON, || {
        (receiver.lines().len() == 1_000).then_some(())
    });
    assert_eq!(first_numbers(&receiver.lines()), (0..1_000).collect::<Vec<_>>());
    let (ended, _folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
}

#[test]
fn a_spill_that_is_gone_is_refused_until_the_gap_is_accepted() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    let document = [OFTEN, SOURCE, &sinks(&receiver, "")].concat();
    let instance = Instance::start(&document);
    lines.append(&instance.folder, 1_000);
    all_written(&instance, lines.count);
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    std::fs::remove_dir_all(folder.join("data/spill")).unwrap();
    let refused = Program::start_silent(azud(folder.path(), &["run", "azud.toml"])).end();
    let said = refused.errors.join("\n");
    assert!(!refused.status.success() && said.contains("--accept-gap far"), "{said}");
    assert!(said.contains("1000 records of `far`"), "{said}");

    let instance = Instance::start_in(folder, &document, &["--accept-gap", "far"]);
    receiver.listen();
    lines.append(&instance.folder, 10);
    wait::until("what comes now to be received", SOON, || {
        (receiver.lines().len() == 10).then_some(())
    });
    assert!(instance.stop().0.status.success());
}
