//! What is older than `[retention]` says leaves the database.

use crate::support::instance::Instance;
use crate::support::program::{self, ask};
use crate::support::tools::{sqlite, succeed};
use crate::support::wait::{self, PATIENCE};
use std::process::Command;

fn document(kept: &str) -> String {
    let syslog = program::free_address();
    format!(
        "retention = {{ audit_log = \"{kept}\", connector_status_history = \"{kept}\" }}\n\
         [sources.logs]\ntype = \"syslog\"\nmode = \"udp\"\naddress = \"{syslog}\"\n\
         [sinks.gone]\ntype = \"blackhole\"\ninputs = [\"logs\"]\n"
    )
}

#[test]
fn what_is_old_leaves_the_database_of_an_instance_that_runs() {
    let instance = Instance::start(&document("90d"));
    for name in ["one", "two"] {
        let (code, _, errors) = ask(&instance.folder, &["tokens", "create", name]);
        assert_eq!(code, 0, "{errors}");
    }
    let count = "SELECT (SELECT count(*) FROM audit_log), \
                 (SELECT count(*) FROM connector_status_history)";
    wait::until("the listener to have a history", PATIENCE, || {
        (sqlite(&instance.folder, count) == ["2|1"]).then_some(())
    });
    let (_, folder) = instance.stop();
    let age = "UPDATE audit_log SET at = '2001-01-01T00:00:00.000000Z' WHERE object = 'token/one'; \
               UPDATE connector_status_history SET at = '2001-01-01T00:00:00.000000Z' \
               WHERE id = 1;";
    succeed(Command::new("sqlite3").arg(folder.join("data/azud.db")).arg(age));
    let instance = Instance::start_in(folder, &document("90d"), &[]);
    wait::until("what is old to be gone", PATIENCE, || {
        let metrics = instance.metrics();
        let removed = |table| metrics.sum("azud_retention_removed_rows_total", &[("table", table)]);
        let both = (removed("audit_log"), removed("connector_status_history"));
        (both == (1.0, 1.0)).then_some(())
    });
    let kept = sqlite(&instance.folder, "SELECT object FROM audit_log");
    assert_eq!(kept, ["token/two"]);
}
