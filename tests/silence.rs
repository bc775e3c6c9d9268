//! A sender that is expected and silent is named in every result and in the metrics, and no longer
//! once it speaks.

use crate::support::instance::{COUNTED_BY_SECOND, Instance};
use crate::support::metrics;
use crate::support::program::free_address;
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
