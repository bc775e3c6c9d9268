//! Databases that were restored from an older copy.

use super::load::{ALERTS, Lines, OFTEN, SOURCE, alerts};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::postgres::Postgres;
use crate::support::wait;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(180);

/// Everything that the tables say of what was told, and when.
const HISTORY: &str = "SELECT alert_id, revision, change, severity, event_count, at
                       FROM alert_revisions ORDER BY alert_id, revision";

/// Waits until so many lines are counted in alerts.
#[track_caller]
pub fn counted(server: &Postgres, lines: usize) {
    wait::until("every line to be counted", SOON, || {
        let sum = server.ask("SELECT coalesce(sum(event_count), 0) FROM alerts");
        (sum == lines.to_string()).then_some(())
    });
}

#[test]
fn a_server_that_was_restored_while_we_ran_is_given_what_it_lacks() {
    let (mut server, mut lines) = (Postgres::start(), Lines::default());
    let database = format!("database.url = \"{}\"\n", server.url());
    let instance = Instance::start(&[&database, OFTEN, SOURCE, ALERTS].concat());
    lines.append(&instance.folder, 1_500);
    counted(&server, lines.count);
    // It has what it confirmed, and says how far that is.
    wait::until("the progress to be written", SOON, || {
        let epochs = server.ask("SELECT count(confirmed_epoch) FROM sink_progress");
        (epochs == "1").then_some(())
    });
    server.kill();
    server.copy();
    server.resume();
    for _ in 0..3 {
        lines.append(&instance.folder, 500);
        counted(&server, lines.count);
    }
    let history = server.ask(HISTORY);
    let confirmed = "SELECT max(confirmed_epoch) FROM sink_progress";
    let before = server.ask(confirmed).parse::<u64>().unwrap();
    server.kill();
    server.restore();
    server.resume();
    // Nothing comes that would make anybody look.
    counted(&server, lines.count);
    assert_eq!(server.ask(HISTORY), history);
    wait::until("the progress to be where it was", SOON, || {
        (server.ask(confirmed).parse::<u64>().ok()? >= before).then_some(())
    });
    lines.append(&instance.folder, 100);
    counted(&server, lines.count);
    let (ended, _folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    assert!(ended.errors.iter().any(|line| line.contains("`alerts` went back")));
}

/// The file of the database, and those beside it that belong to it.
const DATABASE: [&str; 3] = ["data/azud.db", "data/azud.db-wal", "data/azud.db-shm"];

/// Copies the database of an instance that does not run.
fn copy(folder: &Folder) -> Vec<(&'static str, Vec<u8>)> {
    let read = |name: &'static str| Some((name, std::fs::read(folder.join(name)).ok()?));
    DATABASE.into_iter().filter_map(read).collect()
}

/// Puts a copy in its place.
fn restore(folder: &Folder, copy: &[(&str, Vec<u8>)]) {
    DATABASE.iter().for_each(|name| drop(std::fs::remove_file(folder.join(name))));
    copy.iter().for_each(|(name, bytes)| drop(folder.write(name, bytes)));
}

/// Runs an instance over more lines, and kills it or ends it in good order.
fn run(folder: Folder, document: &str, lines: &mut Lines, kill: bool) -> Folder {
    let instance = Instance::start_in(folder, document, &[]);
    lines.append(&instance.folder, 2_000);
    wait::until("the alerts to be written", SOON, || {
        (alerts(&instance.folder) == lines.alerts()).then_some(())
    });
    if !kill {
        let (ended, folder) = instance.stop();
        assert!(ended.status.success(), "{:?}", ended.errors);
        return folder;
    }
    // A checkpoint behind them: else the start repeats them anyway.
    for _ in 0..10 {
        lines.append(&instance.folder, 10);
        wait::until("more to be written", SOON, || {
            (alerts(&instance.folder) == lines.alerts()).then_some(())
        });
    }
    instance.kill().1
}

#[test]
fn a_file_that_was_restored_between_two_runs_is_given_what_it_lacks() {
    let document = [OFTEN, SOURCE, ALERTS].concat();
    for kill in [false, true] {
        let mut lines = Lines::default();
        let folder = run(Folder::new(), &document, &mut lines, false);
        let copy = copy(&folder);
        let folder = run(folder, &document, &mut lines, kill);
        restore(&folder, &copy);
        assert_ne!(alerts(&folder), lines.alerts());
        let instance = Instance::start_in(folder, &document, &[]);
        wait::until("what it lacks to be written", SOON, || {
            (alerts(&instance.folder) == lines.alerts()).then_some(())
        });
        assert!(instance.stop().0.status.success());
    }
}

#[test]
fn what_is_kept_nowhere_any_more_is_named_until_it_is_accepted() {
    let document = ["intake.retain = \"0s\"\n", OFTEN, SOURCE, ALERTS].concat();
    let mut lines = Lines::default();
    let folder = run(Folder::new(), &document, &mut lines, false);
    let copy = copy(&folder);
    // What the second run told is kept until the third has told more.
    let folder = run(folder, &document, &mut lines, false);
    let folder = run(folder, &document, &mut lines, false);
    restore(&folder, &copy);
    let instance = Instance::start_in(folder, &document, &[]);
    let why = wait::until("the instance to say what is missing", SOON, || {
        let ready = instance.get("/ready");
        (ready.status == 503).then_some(ready.body)
    });
    assert!(why.contains("epochs of `alerts`, from 20"), "{why}");
    assert!(why.contains("--accept-gap alerts"), "{why}");
    // The others go on.
    lines.append(&instance.folder, 100);
    instance.lines("out.jsonl", lines.count);
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);

    let instance = Instance::start_in(folder, &document, &["--accept-gap", "alerts"]);
    lines.append(&instance.folder, 3_000);
    // Every alert has come again with what came now: each says all that was counted.
    wait::until("the alerts to go on", SOON, || {
        (alerts(&instance.folder) == lines.alerts()).then_some(())
    });
    assert_eq!(instance.get("/ready").status, 200);
    assert!(instance.stop().0.status.success());
}
