//! The programs of others that tests talk to; `tests/run` sets them up.

use super::files::Folder;
use super::program::Program;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a program to its end.
///
/// # Panics
/// When it is missing or fails; shows what it said.
#[track_caller]
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; run `tests/run`"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    output
}

/// Asks the database file of an instance while it runs; gives the rows, with their columns between
/// `|`.
#[track_caller]
pub fn sqlite(folder: &Folder, query: &str) -> Vec<String> {
    let database = folder.join("data/azud.db");
    let mut command = Command::new("sqlite3");
    command.args(["-readonly", "-cmd", ".timeout 5000"]).arg(database).arg(query);
    let rows = String::from_utf8(succeed(&mut command).stdout).unwrap();
    rows.lines().map(str::to_owned).collect()
}

/// Gives syslog-ng's `loggen`, which `tests/run` unpacks beside the build because its package
/// cannot be installed next to rsyslog's.
pub fn loggen() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/loggen"))
}

/// Starts an rsyslog that reads `lines.log` of the folder and forwards it by `action`.
#[track_caller]
pub fn rsyslog(folder: &Folder, global: &str, action: &str) -> Program {
    let path = folder.path().display();
    let configuration = format!(
        r#"
global(workDirectory="{path}" {global})
module(load="imfile" pollingInterval="1")
input(type="imfile" file="{path}/lines.log" tag="app" ruleset="out")
ruleset(name="out") {{ action({action}) }}
"#
    );
    let file = folder.write("rsyslog.conf", configuration);
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command.arg("-n").arg("-f").arg(file).arg("-i").arg(folder.join("rsyslog.pid"));
    Program::start_silent(command)
}
