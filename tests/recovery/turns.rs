//! Instances that write one database in turns.

use super::load::{ALERTS, Lines, OFTEN, SOURCE};
use super::restored::counted;
use crate::support::instance::Instance;
use crate::support::postgres::Postgres;
use nix::sys::signal::Signal;
use std::collections::VecDeque;

/// Ends the session that holds the lock of who writes, as a network does that breaks.
const END_SESSION: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted";

/// How many revisions count less than the one before.
const TAKEN_BACK: &str = "SELECT count(*) FROM (
    SELECT event_count < lag(event_count) OVER (PARTITION BY alert_id ORDER BY revision) AS less
    FROM alert_revisions) pairs WHERE less";

fn document(server: &Postgres) -> String {
    let database = format!("database.url = \"{}\"\n", server.url());
    [&database, OFTEN, SOURCE, ALERTS].concat()
}

#[test]
fn each_goes_on_where_it_was_when_its_turn_comes_again() {
    let server = Postgres::start();
    let document = document(&server);
    let one = Instance::start(&document);
    // Each has lines of its own, and all are of the same alerts.
    let mut folders = VecDeque::from([one.folder_beside(), one.kill().1]);
    let (mut lines, mut sum) = ([Lines::default(), Lines::default()], 0);
    for turn in 0..5 {
        let instance = Instance::start_in(folders.pop_front().unwrap(), &document, &[]);
        for count in [700, 30, 50] {
            lines[turn % 2].append(&instance.folder, count);
            sum += count;
            counted(&server, sum);
        }
        assert_eq!(instance.get("/ready").status, 200);
        folders.push_back(instance.kill().1);
    }
    let instance = Instance::start_in(folders.pop_front().unwrap(), &document, &[]);
    let (ended, _folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    counted(&server, sum);
    assert_eq!(server.ask(TAKEN_BACK), "0");
}

#[test]
fn who_was_replaced_ends_and_has_lost_nothing() {
    let server = Postgres::start();
    let document = document(&server);
    let (mut lines, mut others) = (Lines::default(), Lines::default());
    let one = Instance::start(&document);
    lines.append(&one.folder, 500);
    counted(&server, 500);
    let beside = one.folder_beside();
    // It is held up and taken for dead.
    one.signal(Signal::SIGSTOP);
    server.ask(END_SESSION);
    let two = Instance::start_in(beside, &document, &[]);
    others.append(&two.folder, 300);
    counted(&server, 800);
    lines.append(&one.folder, 200);
    one.signal(Signal::SIGCONT);
    let (ended, folder) = one.end();
    assert_eq!(ended.status.code(), Some(3), "{:?}", ended.errors);
    let told = |line: &String| line.contains("has taken over the database");
    assert!(ended.errors.iter().any(told), "{:?}", ended.errors);
    counted(&server, 800);
    assert!(two.stop().0.status.success());
    let one = Instance::start_in(folder, &document, &[]);
    counted(&server, 1_000);
    assert!(one.stop().0.status.success());
}
