//! How connectors are, told: changes of status as records, credentials, what is late, and figures.

use crate::recovery::load::{Dice, Lines, OFTEN, SOURCE};
use crate::stalls::SOON;
use crate::support::api::{Client, ask_with};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::paged::{PAGE, Paged};
use crate::support::program::{self, ask};
use crate::support::receiver::{Answer, Receiver};
use crate::support::tools::sqlite;
use crate::support::wait::{self, PATIENCE};
use serde_json::Value;
use std::collections::BTreeSet;

/// How many kills a test makes.
const KILLS: usize = 8;

/// The history of a connector by its name, or of all: one column of the rows, the first first.
fn history(folder: &Folder, name: &str, column: &str) -> Vec<String> {
    let query = format!(
        "SELECT h.{column} FROM connector_status_history h JOIN connectors c ON c.id = connector_id \
         WHERE c.name GLOB '{name}' ORDER BY h.id"
    );
    sqlite(folder, &query)
}

/// A sink over the network and a listener, whose status changes, and a rule that counts how often.
fn document(receiver: &Receiver) -> String {
    let (far, syslog) = (receiver.address(), program::free_address());
    format!(
        r#"{OFTEN}{SOURCE}
[sources.logs]
type = "syslog"
mode = "udp"
address = "{syslog}"
[sinks.far]
type = "http"
inputs = ["shape", "logs"]
uri = "http://{far}/"
batch.timeout_secs = 0.05
request = {{ retry_initial_backoff_secs = 0.05, retry_max_duration_secs = 0.1 }}
[sources.health]
type = "connector_status"
[transforms.told]
type = "alert"
inputs = ["health"]
rule = "told"
key = ["connector.name"]
every = "24h"
[sinks.alerts]
type = "alerts"
inputs = ["told"]
[sinks.changes]
type = "file"
inputs = ["health"]
path = "@OUT@/changes.jsonl"
encoding.codec = "json"
"#
    )
}

/// Gives how many changes the rule has counted.
fn counted(folder: &Folder) -> usize {
    let sum = sqlite(folder, "SELECT coalesce(sum(event_count), 0) FROM alerts");
    sum[0].parse().unwrap()
}

#[test]
fn each_change_of_a_status_is_told_once_however_often_it_is_killed() {
    let (receiver, mut lines, mut dice) = (Receiver::silent(), Lines::default(), Dice::new());
    receiver.listen();
    let document = document(&receiver);
    let mut folder = Folder::new();
    let last = |folder: &Folder, name: &str| history(folder, name, "to_status").pop();
    for kill in 0..KILLS {
        let instance = Instance::start_in(folder, &document, &[]);
        let answers =
            [(Answer::Taken, "active"), (Answer::Denied, "error"), (Answer::Failed, "warning")];
        let (answer, status) = answers[[0, 1, 0, 2][kill % 4]];
        receiver.answer(answer);
        lines.append(&instance.folder, 50);
        // It comes while a status changes and is written, or else while that is told and counted,
        // or after.
        if kill % 4 != 3 {
            wait::until(&format!("it to be in {status}"), PATIENCE, || {
                (last(&instance.folder, "far").as_deref() == Some(status)).then_some(())
            });
        }
        for _ in 0..dice.throw(0..40) {
            wait::rest();
        }
        folder = instance.kill().1;
    }
    receiver.answer(Answer::Taken);
    let instance = Instance::start_in(folder, &document, &[]);
    wait::until("all to be active and every change counted once", 4 * PATIENCE, || {
        let told = history(&instance.folder, "*", "id").len();
        let counted = counted(&instance.folder);
        assert!(counted <= told, "{counted} of {told}");
        let active = |name: &&str| last(&instance.folder, name).as_deref() == Some("active");
        let active = ["far", "logs"].iter().all(active);
        (active && counted == told).then_some(())
    });
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let told = history(&folder, "*", "id").len();
    assert_eq!(counted(&folder), told);
    // Of four in a row three were waited for, and each was another status.
    assert!(told > 3 * KILLS / 4, "{told} changes are too few");
    // The file has each at least once, and nothing else.
    let records: BTreeSet<[String; 4]> = folder
        .lines("changes.jsonl")
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|record| {
            let text = |path: &str| record.pointer(path).unwrap().as_str().unwrap().to_owned();
            assert_eq!(record["to"], record["connector"]["status"]);
            [text("/connector/name"), text("/timestamp"), text("/from"), text("/to")]
        })
        .collect();
    let rows = sqlite(
        &folder,
        "SELECT c.name, h.at, from_status, to_status FROM connector_status_history h \
         JOIN connectors c ON c.id = connector_id",
    );
    let row = |row: &String| {
        let parts: Vec<_> = row.split('|').map(str::to_owned).collect();
        parts.try_into().unwrap()
    };
    assert_eq!(records, rows.iter().map(row).collect());
}

#[test]
fn a_sink_that_fails_by_what_is_told_of_it_does_not_go_round() {
    let receiver = Receiver::silent();
    receiver.listen();
    receiver.answer(Answer::Failed);
    let (pager, syslog) = (receiver.address(), program::free_address());
    let instance = Instance::start(&format!(
        r#"{OFTEN}
[sources.logs]
type = "syslog"
mode = "udp"
address = "{syslog}"
[sources.health]
type = "connector_status"
connectors = ["log*", "pager"]
[transforms.each]
type = "alert"
inputs = ["health"]
rule = "each"
title = "{{{{ connector.name }}}} is {{{{ to }}}}"
[sinks.pager]
type = "http"
inputs = ["each"]
uri = "http://{pager}/"
framing.method = "newline_delimited"
batch.timeout_secs = 0.05
request = {{ retry_initial_backoff_secs = 0.05, retry_max_duration_secs = 0.1 }}
[sinks.gone]
type = "blackhole"
inputs = ["logs"]
"#
    ));
    // That the listener is active is the first that is told; it fails, and that is told, and fails.
    wait::until("many failures", SOON, || (receiver.requests(0).len() > 30).then_some(()));
    assert_eq!(history(&instance.folder, "pager", "to_status"), ["warning"]);
    receiver.answer(Answer::Taken);
    let told = |title: &str| {
        receiver.lines().iter().any(|line| line.contains(&format!("\"{title}\""))).then_some(())
    };
    for title in ["logs is active", "pager is warning", "pager is active"] {
        wait::until(title, SOON, || told(title));
    }
    let (_, folder) = instance.stop();
    assert_eq!(history(&folder, "pager", "to_status"), ["warning", "active"]);
    assert_eq!(receiver.lines().len(), 3);
}

/// The shipped document, beside a sink whose credentials are refused.
#[test]
fn the_shipped_rule_tells_what_is_broken() {
    let shipped =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/examples/connector_health.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let (shipped, _) = shipped.split_once("[[tests]]").unwrap();
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    receiver.listen();
    receiver.answer(Answer::Denied);
    let far = format!(
        "{OFTEN}{SOURCE}[sinks.far]\ntype = \"http\"\ninputs = [\"shape\"]\nuri = \"http://{}/\"\n",
        receiver.address()
    );
    let instance = Instance::start(&(far + shipped));
    lines.append(&instance.folder, 1);
    let alert = wait::until("the alert", SOON, || {
        let query = "SELECT state, title, key FROM alerts WHERE rule_id = 'connector-broken'";
        sqlite(&instance.folder, query).pop()
    });
    let title = "far does not work: the server answered 401 Unauthorized";
    assert!(alert.starts_with(&format!("firing|{title}")), "{alert}");
    instance.stop();
}

/// Waits until a connector has a status; gives why.
#[track_caller]
fn status(instance: &Instance, name: &str, wanted: &str) -> Value {
    wait::until(&format!("{name} to be {wanted}"), SOON, || {
        let client = Client { address: instance.api, token: None };
        let found = client.call("GET", &format!("/connectors/{name}")).body;
        (found["status"] == wanted).then_some(found)
    })
}

#[test]
fn a_credential_says_whether_it_is_taken() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    receiver.listen();
    receiver.want("Bearer right-8d1c");
    let instance = Instance::start(&format!(
        "{OFTEN}{SOURCE}[sinks.far]\ntype = \"http\"\ninputs = [\"shape\"]\nuri = \"http://{}/\"\n\
         auth = {{ strategy = \"bearer\", token = \"SECRET[azud.far_token]\" }}\n\
         request = {{ retry_initial_backoff_secs = 0.1, retry_max_duration_secs = 0.2 }}\n",
        receiver.address()
    ));
    let set = |value: &str| {
        let (code, _, errors) =
            ask_with(&instance.folder, &["credentials", "set", "far_token"], value);
        assert_eq!(code, 0, "{errors}");
    };
    let shown = || {
        let (code, out, errors) =
            ask(&instance.folder, &["credentials", "show", "far_token", "--json"]);
        assert_eq!(code, 0, "{errors}");
        assert!(!out.contains("8d1c"), "{out}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    set("wrong-8d1c");
    assert_eq!((&shown()["state"], &shown()["last_used_at"]), (&"active".into(), &Value::Null));
    lines.append(&instance.folder, 1);
    let until = |state: &str| {
        wait::until(&format!("the credential to be {state}"), SOON, || {
            Some(shown()).filter(|row| row["state"] == state && row["last_used_at"].is_string())
        })
    };
    assert_eq!(until("refused")["last_error"], "the server answered 401");
    let (_, listed, _) = ask(&instance.folder, &["credentials"]);
    assert!(listed.contains("refused"), "{listed}");
    let client = Client { address: instance.api, token: None };
    assert_eq!(client.call("GET", "/credentials/far_token").body["state"], "refused");
    set("right-8d1c");
    until("active");
    instance.stop();
}

/// A poller of an API of numbered records.
fn polling(api: &Paged) -> String {
    format!(
        r#"{OFTEN}
[sources.in]
type = "http_client"
endpoint = "http://{}/records"
decoding.codec = "json"
event_time = ".timestamp"
scrape_interval_secs = 1
pagination = {{ type = "offset", param = "offset", size = {PAGE}, size_param = "limit" }}
cursor = {{ value = "max", field = ".number", param = "after", first = {{ start = "0" }} }}
[sinks.out]
type = "blackhole"
inputs = ["in"]
"#,
        api.address()
    )
}

#[test]
fn a_poller_is_measured() {
    let api = Paged::start(PAGE);
    api.open(PAGE);
    let instance = Instance::start(&polling(&api));
    let labels = [("component_id", "in")];
    wait::until("what is measured to agree", SOON, || {
        let metrics = instance.metrics();
        let sum = |name: &str| metrics.sum(name, &labels);
        let requests = sum("azud_http_client_requests_sent_total");
        let good = [("component_id", "in"), ("status", "2xx")];
        let agrees = requests > 2.0
            && sum("azud_http_client_rtt_seconds_count") == requests
            && metrics.sum("azud_http_client_responses_total", &good) == requests
            && sum("azud_http_client_poll_pages_sum") == sum("azud_http_client_pages_total")
            && sum("azud_http_client_poll_pages_count") >= 1.0;
        agrees.then_some(())
    });
    let metrics = instance.metrics();
    // Every record once, though polls go on; all are of the same far past.
    assert_eq!(metrics.sum("azud_source_lag_time_seconds_count", &labels), PAGE as f64);
    let within = |bound| {
        let labels = [("component_id", "in"), ("le", bound)];
        metrics.sum("azud_source_lag_time_seconds_bucket", &labels)
    };
    assert_eq!((within("604800"), within("+Inf")), (0.0, PAGE as f64));
    let answered = [("component_id", "in"), ("le", "60")];
    assert!(metrics.sum("azud_http_client_rtt_seconds_bucket", &answered) > 2.0);
    instance.stop();
}

#[test]
fn a_poll_that_takes_too_long_is_told_until_one_does_not() {
    let api = Paged::start(2 * PAGE);
    // The second page is not answered yet.
    api.open(PAGE);
    let instance = Instance::start(&polling(&api));
    let late = status(&instance, "in", "warning");
    assert_eq!(late["status_reason"], "overdue", "{late}");
    let message = late["status_message"].as_str().unwrap();
    assert!(message.starts_with("a poll has been under way for"), "{message}");
    api.open(2 * PAGE);
    status(&instance, "in", "active");
    let (_, folder) = instance.stop();
    assert_eq!(history(&folder, "in", "reason"), ["overdue", "succeeded"]);
}

/// Its records were set aside, and nothing comes that could show that all is well again.
#[test]
fn an_idle_sink_follows_its_receiver() {
    for (answer, wanted) in [(Answer::Failed, "warning"), (Answer::Denied, "error")] {
        let (receiver, mut lines) = (Receiver::silent(), Lines::default());
        receiver.listen();
        receiver.answer(answer);
        let instance = Instance::start(&format!(
            "{OFTEN}{SOURCE}[sinks.far]\ntype = \"http\"\ninputs = [\"shape\"]\n\
             uri = \"http://{}/\"\n\
             request = {{ retry_attempts = 2, retry_initial_backoff_secs = 0.05, \
             retry_max_duration_secs = 0.1 }}\n",
            receiver.address()
        ));
        lines.append(&instance.folder, 1);
        instance.dead_letters(1);
        status(&instance, "far", wanted);
        receiver.answer(Answer::Taken);
        status(&instance, "far", "active");
        assert_eq!(receiver.lines(), [""; 0], "nothing was sent");
        instance.stop();
    }
}
