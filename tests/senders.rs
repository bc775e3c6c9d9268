//! Real senders: rsyslog, syslog-ng's loggen, util-linux' logger; over UDP, TCP and TLS, in both
//! framings.
//!
//! Every test counts: what was sent is what arrived plus what a counter says was dropped.

use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::free_address;
use crate::support::tls::write_certificates;
use crate::support::tools::{loggen, rsyslog, succeed};
use crate::support::wait::{self, PATIENCE};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

const OUT: &str = r#"
[sinks.out]
type = "file"
inputs = ["in"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
"#;

fn tcp(address: SocketAddr) -> String {
    format!("[sources.in]\ntype = \"syslog\"\nmode = \"tcp\"\naddress = \"{address}\"\n{OUT}")
}

fn udp(address: SocketAddr) -> String {
    format!(
        "[sources.in]\ntype = \"syslog\"\nmode = \"udp\"\naddress = \"{address}\"\n\
         receive_buffer_bytes = 16777216\n{OUT}"
    )
}

fn tls(address: SocketAddr, client: &str) -> String {
    let certificates = "tls.enabled = true\ntls.crt_file = \"@OUT@/server.crt\"\ntls.key_file = \"@OUT@/server.key\"";
    format!(
        "[sources.in]\ntype = \"syslog\"\nmode = \"tcp\"\naddress = \"{address}\"\n\
         {certificates}\n{client}{OUT}"
    )
}

/// Sends `count` numbered lines with logger and the arguments; checks that each arrived once.
fn logger(instance: &Instance, address: SocketAddr, arguments: &[&str], count: usize) {
    let lines: String = (0..count).map(|number| format!("line {number}\n")).collect();
    let file = instance.folder.write("lines.txt", lines);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = Command::new("logger");
    command.args(["-n", &host, "-P", &port, "-t", "app", "-f"]).arg(file).args(arguments);
    succeed(&mut command);
    let events = instance.lines("out.jsonl", count);
    let messages: BTreeSet<String> = events.iter().map(|event| message(event)).collect();
    assert_eq!((events.len(), messages.len()), (count, count));
}

fn message(event: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    assert_eq!(event["appname"], "app", "{event}");
    event["message"].as_str().unwrap().to_owned()
}

#[test]
fn logger_over_tcp_in_both_framings_and_both_formats() {
    for arguments in [
        &["-T", "--rfc5424"][..],
        &["-T", "--rfc3164"],
        &["-T", "--rfc5424", "--octet-count"],
        &["-T", "--rfc3164", "--octet-count"],
    ] {
        let address = free_address();
        let instance = Instance::start(&tcp(address));
        logger(&instance, address, arguments, 200);
    }
}

#[test]
fn logger_over_udp() {
    for arguments in [&["-d", "--rfc5424"][..], &["-d", "--rfc3164"]] {
        let address = free_address();
        let instance = Instance::start(&udp(address));
        logger(&instance, address, arguments, 200);
    }
}

/// Writes numbered lines for rsyslog, runs it with `action` and checks that each line arrived once.
fn from_rsyslog(document: &str, global: &str, action: &str, count: usize) {
    let folder = Folder::new();
    write_certificates(&folder);
    let lines: String = (0..count).map(|number| format!("line {number}\n")).collect();
    folder.write("lines.log", lines);
    let instance = Instance::start_in(folder, document, &[]);
    let path = instance.folder.path().display().to_string();
    let global = global.replace("@OUT@", &path);
    let sender = rsyslog(&instance.folder, &global, &action.replace("@OUT@", &path));
    let events = instance.lines_or("out.jsonl", count, || (sender.errors(), instance.errors()));
    let messages: BTreeSet<String> = events.iter().map(|event| message(event)).collect();
    assert_eq!((events.len(), messages.len()), (count, count));
    let received =
        instance.metrics().sum("azud_component_received_events_total", &[("component_id", "in")]);
    assert_eq!(received, count as f64);
}

fn forward(address: SocketAddr, more: &str) -> String {
    format!(r#"type="omfwd" target="127.0.0.1" port="{}" {more}"#, address.port())
}

#[test]
fn rsyslog_over_tcp_in_both_framings() {
    for framing in ["octet-counted", "traditional"] {
        let address = free_address();
        let more = format!(
            r#"protocol="tcp" TCP_Framing="{framing}" template="RSYSLOG_SyslogProtocol23Format""#
        );
        from_rsyslog(&tcp(address), "", &forward(address, &more), 5_000);
    }
}

#[test]
fn rsyslog_over_udp() {
    let address = free_address();
    let more = r#"protocol="udp" template="RSYSLOG_SyslogProtocol23Format" RateLimit.Interval="0""#;
    from_rsyslog(&udp(address), "", &forward(address, more), 2_000);
}

#[test]
fn rsyslog_over_tls_and_with_a_certificate_of_its_own() {
    let driver = r#"protocol="tcp" TCP_Framing="octet-counted" StreamDriver="ossl"
        StreamDriverMode="1" StreamDriverAuthMode="x509/certvalid"
        template="RSYSLOG_SyslogProtocol23Format""#;
    let authority = r#"DefaultNetstreamDriverCAFile="@OUT@/ca.crt"
        DefaultNetstreamDriverCertFile="@OUT@/client.crt"
        DefaultNetstreamDriverKeyFile="@OUT@/client.key""#;
    for client in ["", "tls.ca_file = \"@OUT@/ca.crt\"\ntls.verify_certificate = true\n"] {
        let address = free_address();
        from_rsyslog(&tls(address, client), authority, &forward(address, driver), 2_000);
    }
}

/// Runs loggen with the arguments; gives how many messages it says it sent.
fn load(address: SocketAddr, arguments: &[&str]) -> usize {
    let mut command = loggen();
    command.args(["--size", "300", "--rate", "100000", "--interval", "2", "--csv"]).args(arguments);
    command.arg(address.ip().to_string()).arg(address.port().to_string());
    let said = succeed(&mut command);
    let said =
        String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    let count = said.split("count=").nth(1).and_then(|rest| rest.split([',', ' ', '\n']).next());
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count: {said}"))
}

#[test]
fn loggen_over_tcp_and_tls_loses_nothing() {
    let plain: &[&str] = &["--stream", "--inet", "--syslog-proto", "--no-framing"];
    let framed: &[&str] = &["--stream", "--inet", "--syslog-proto"];
    for (arguments, encrypted) in [(plain, false), (framed, false), (&["--use-ssl"], true)] {
        let address = free_address();
        let folder = Folder::new();
        write_certificates(&folder);
        let document = if encrypted { tls(address, "") } else { tcp(address) };
        let instance = Instance::start_in(folder, &document, &[]);
        let sent = load(address, arguments);
        assert!(sent > 1_000, "{sent} messages are no load");
        // It numbers its messages, and goes on for a moment after it has counted them.
        let events = instance.lines("out.jsonl", sent);
        let missing = (0..).zip(&events).find(|(number, event)| sequence(event) != *number);
        assert_eq!(missing, None, "{arguments:?}");
    }
}

/// Gives the number that loggen wrote into a message.
fn sequence(event: &str) -> u64 {
    let number = event.split("seq: ").nth(1).and_then(|rest| rest.split(',').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {event}"))
}

#[test]
fn loggen_over_udp_loses_nothing_that_no_counter_shows() {
    let address = free_address();
    let instance = Instance::start(&udp(address));
    let sent = load(address, &["--dgram", "--inet"]) as f64;
    wait::until("all datagrams to be counted", PATIENCE, || {
        let metrics = instance.metrics();
        let dropped = metrics.sum("azud_udp_kernel_drops_total", &[]);
        let received =
            metrics.sum("azud_component_received_events_total", &[("component_id", "in")]);
        (received + dropped >= sent).then_some(())
    });
    let of = |name, id| instance.metrics().sum(name, &[("component_id", id)]);
    wait::until("all that was received to be delivered", PATIENCE, || {
        let received = of("azud_component_received_events_total", "in");
        let delivered = of("azud_component_sent_events_total", "out");
        let lines = instance.folder.lines("out.jsonl").len() as f64;
        (received == delivered && lines == delivered).then_some(())
    });
}
