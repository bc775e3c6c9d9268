//! What a newcomer does first, with the document that ships.

use crate::support::files::Folder;
use crate::support::program::{self, Program, READY, free_address};
use crate::support::tools::succeed;
use crate::support::wait::{self, PATIENCE};
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
