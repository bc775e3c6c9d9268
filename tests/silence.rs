//! A sender that is expected and silent is named in every result and in the metrics, and no longer
//! once it speaks.

use crate::support::instance::{COUNTED_BY_SECOND, Instance};
use crate::support::metrics;
use crate::support::program::free_address;
use crate::support::receiver::{Answer, Receiver};
use crate::support::wait::{self, PATIENCE};
use std::net::{SocketAddr, UdpSocket};

/// The newest result is waited for while `host` speaks, until it is as `wanted` says.
fn speak_until(
    instance: &Instance,
    to: SocketAddr,
    hosts: &[&str],
    wanted: impl Fn(&serde_json::Value) -> bool,
) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    wait::until("a result of what the senders said", PATIENCE, || {
        for host in hosts {
            socket.send_to(format!("<13>1 - {host} app - - - hello").as_bytes(), to).unwrap();
        }
        wanted(instance.results("out.jsonl").last()?).then_some(())
    });
}

#[test]
fn a_silent_sender_is_named_until_it_speaks() {
    let address = free_address();
    let instance = Instance::start(&format!(
        r#"
[sources.in]
type = "syslog"
mode = "udp"
address = "{address}"
expect = ["fw1", "fw2"]
lateness = "200ms"
max_hold = "1s"
{COUNTED_BY_SECOND}"#
    ));
    let missing = |result: &serde_json::Value| result["completeness"]["missing"].clone();
    speak_until(&instance, address, &["fw1"], |result| {
        missing(result) == serde_json::json!(["in/fw2"])
    });
    let labels = [("component_id", "in"), ("state", "missing")];
    wait::until("the silent sender in the metrics", PATIENCE, || {
        let metrics = metrics::Metrics::scrape(instance.api);
        (metrics.sum("azud_source_streams", &labels) == 1.0).then_some(())
    });
    speak_until(&instance, address, &["fw1", "fw2"], |result| {
        missing(result) == serde_json::json!([])
    });
    speak_until(&instance, address, &["fw2"], |result| {
        missing(result) == serde_json::json!(["in/fw1"])
    });
}

/// A whole source falls silent, as a pipeline's second firewall might: windows close without it,
/// and every result, every alert and a metric say so until it is back.
#[test]
fn what_is_told_without_a_source_that_paused_says_so() {
    let (one, other) = (free_address(), free_address());
    let source = |id: &str, address: SocketAddr| {
        format!(
            "[sources.{id}]\ntype = \"syslog\"\nmode = \"udp\"\naddress = \"{address}\"\n\
             expect = [\"{id}\"]\nlateness = \"200ms\"\nmax_hold = \"1s\"\n"
        )
    };
    let steps = r#"
[transforms.count]
type = "summarize"
inputs = ["one", "other"]
window = { type = "tumbling", size = "1s" }
fields.events = { aggregate = "count" }
[transforms.told]
type = "alert"
inputs = ["count"]
rule = "seconds"
merge = "window"
severity = "low"
[sinks.out]
type = "file"
inputs = ["count"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
[sinks.told_to]
type = "file"
inputs = ["told"]
path = "@OUT@/alerts.jsonl"
encoding.codec = "json"
"#;
    let instance = Instance::start(&[&source("one", one), &source("other", other), steps].concat());
    let missing_in_rule =
        || instance.metrics().sum("azud_rule_missing_sources", &[("rule", "seconds")]);
    let newest_alert = || {
        let alerts = instance.results("alerts.jsonl");
        alerts.last().map(|alert| alert["completeness"]["missing"].clone())
    };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let speak_until = |others: &[(&str, SocketAddr)], wanted: serde_json::Value, count: f64| {
        wait::until(&format!("alerts without {wanted}"), PATIENCE, || {
            for (host, address) in others {
                let text = format!("<13>1 - {host} app - - - hello");
                socket.send_to(text.as_bytes(), address).unwrap();
            }
            let result = instance.results("out.jsonl").pop()?;
            let told = result["completeness"]["missing"] == wanted
                && newest_alert().as_ref() == Some(&wanted)
                && missing_in_rule() == count;
            told.then_some(())
        });
    };
    speak_until(&[("one", one), ("other", other)], serde_json::json!([]), 0.0);
    let paused = instance.results("out.jsonl").len();
    speak_until(&[("one", one)], serde_json::json!(["other/other"]), 1.0);
    // It is named in every further one, however many there are.
    wait::until("three further windows", PATIENCE, || {
        socket.send_to(b"<13>1 - one app - - - hello", one).unwrap();
        (instance.results("out.jsonl").len() > paused + 6).then_some(())
    });
    let results = instance.results("out.jsonl");
    let named = |result: &&serde_json::Value| {
        result["completeness"]["missing"] == serde_json::json!(["other/other"])
    };
    assert!(results.iter().rev().take(3).all(|result| named(&result)), "{results:?}");
    speak_until(&[("one", one), ("other", other)], serde_json::json!([]), 0.0);
}

/// A poller that has nothing to tell says so, and so it shows when it cannot poll: windows close
/// without it, and say so, also by a program that was killed meanwhile.
#[test]
fn a_poller_that_fails_is_missing_and_one_without_news_is_not() {
    let api = Receiver::silent();
    api.listen();
    let address = free_address();
    let document = format!(
        r#"
[sources.in]
type = "syslog"
mode = "udp"
address = "{address}"
lateness = "200ms"
max_hold = "1s"
[sources.api]
type = "http_client"
endpoint = "http://{}/records"
scrape_interval_secs = 0.2
retry = {{ attempts = 1 }}
lateness = "200ms"
max_hold = "1s"
{}"#,
        api.address(),
        COUNTED_BY_SECOND.replace(r#"["in"]"#, r#"["in", "api"]"#)
    );
    let until_missing = |instance: &Instance, wanted: serde_json::Value| {
        speak_until(instance, address, &["fw1"], |result| {
            result["completeness"]["missing"] == wanted
        });
    };
    let instance = Instance::start(&document);
    until_missing(&instance, serde_json::json!([]));
    api.answer(Answer::Failed);
    until_missing(&instance, serde_json::json!(["api"]));
    let (_, folder) = instance.kill();
    let instance = Instance::start_in(folder, &document, &[]);
    let before = instance.results("out.jsonl").len();
    speak_until(&instance, address, &["fw1"], |_| instance.results("out.jsonl").len() > before + 2);
    until_missing(&instance, serde_json::json!(["api"]));
    api.answer(Answer::Taken);
    until_missing(&instance, serde_json::json!([]));
}
