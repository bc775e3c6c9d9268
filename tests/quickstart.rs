//! What a newcomer does first, with the document that ships.

use crate::support::files::Folder;
use crate::support::metrics::Metrics;
use crate::support::program::{self, Program, READY, free_address};
use crate::support::tools::succeed;
use crate::support::wait::{self, PATIENCE};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn events_arrive_shaped_and_the_brute_force_raises_an_alert() {
    let folder = Folder::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/quickstart.toml");
    // The shipped ports may be taken on a machine that builds several things at once.
    let (syslog, api) = (free_address(), free_address());
    let text = std::fs::read_to_string(shipped).unwrap();
    assert!(text.contains("127.0.0.1:5514"), "the README says where to send");
    let text = text.replace("127.0.0.1:5514", &syslog.to_string());
    folder.write("quickstart.toml", format!("api.address = \"{api}\"\n{text}"));
    let azud = Program::start(program::azud(folder.path(), &["run", "quickstart.toml"]), READY);

    for transport in ["-T", "-d"] {
        let mut logger = Command::new("logger");
        logger.args(["-n", "127.0.0.1", "-P", &syslog.port().to_string(), transport]);
        let line = format!("Failed password for root from 192.0.2.7 port 4022 ssh2 {transport}");
        succeed(logger.args(["--rfc3164", "-t", "sshd", &line]));
    }
    wait::until("both lines, shaped, on the console", PATIENCE, || {
        let events = azud.output();
        let shaped = events.iter().filter(|line| {
            serde_json::from_str::<serde_json::Value>(line).is_ok_and(|event| {
                event["source"]["ip"] == "192.0.2.7" && event["user"]["name"] == "root"
            })
        });
        (shaped.count() >= 2).then_some(())
    });
    wait::until("an alert in the table", Duration::from_secs(15), || {
        let listed = program::run(folder.path(), &["alerts", "--json", "--data-dir", ".azud/data"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed.lines().any(|line| line.contains("203.0.113.")).then_some(())
    });
    let listed = program::run(folder.path(), &["alerts", "--data-dir", ".azud/data"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("firing") && listed.contains("203.0.113."), "{listed}");
    assert!(azud.stop().status.success());
}

#[test]
fn the_twentieth_failure_raises_an_alert_and_not_the_end_of_its_window() {
    let folder = Folder::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = shipped.join("../pipelines/examples/ssh_bruteforce.toml");
    let (syslog, api) = (free_address(), free_address());
    let text = std::fs::read_to_string(shipped).unwrap();
    assert!(text.contains("127.0.0.1:5514") && text.contains("size = \"10m\""));
    let text = text.replace("127.0.0.1:5514", &syslog.to_string());
    folder.write("ssh.toml", format!("api.address = \"{api}\"\n{text}"));
    let azud = Program::start(program::azud(folder.path(), &["run", "ssh.toml"]), READY);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let alerts = || {
        let listed = program::run(folder.path(), &["alerts", "--json", "--data-dir", ".azud/data"]);
        String::from_utf8(listed.stdout).unwrap()
    };
    let failures = |count: usize| {
        for port in 0..count {
            let line = format!(
                "<38>1 2026-03-01T10:00:00Z web1 sshd 1 - - Failed password for root from \
                 203.0.113.9 port {port} ssh2"
            );
            sender.send_to(line.as_bytes(), syslog).unwrap();
        }
    };
    failures(19);
    wait::until("nineteen failures, counted", PATIENCE, || {
        let of = [("component_id", "by_attacker")];
        let received = Metrics::scrape(api).sum("azud_component_received_events_total", &of);
        (received >= 19.0).then_some(())
    });
    assert_eq!(alerts(), "");
    failures(1);
    wait::until("an alert in the table", Duration::from_secs(15), || {
        let listed = alerts();
        (listed.contains("203.0.113.9") && listed.contains("20 failures")).then_some(())
    });
    assert!(azud.stop().status.success());
}
