//! Somebody sets the machine's clock wrong by an hour and puts it right again: nothing of that
//! shows.

use crate::support::files::Folder;
use crate::support::instance::{COUNTED_BY_SECOND, Instance};
use crate::support::program::free_address;
use crate::support::wait::{self, PATIENCE};
use serde_json::Value;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Finds the library that makes a program see another time.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let found = folders
        .map(|folder| folder.unwrap().path().join("faketime/libfaketime.so.1"))
        .find(|library| library.is_file());
    found.expect("`tests/run` installs faketime")
}

/// Sets the clock of the instance, by so much from the true time.
fn set(clock: &Path, offset: &str) {
    let next = clock.with_extension("next");
    std::fs::write(&next, offset).unwrap();
    std::fs::rename(next, clock).unwrap();
}

/// Makes an instance go by a clock in a file.
fn environment(clock: &Path) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", library().display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Gives the minute of the day of a time like `2026-03-01T10:00:00Z`.
fn minute(time: &Value) -> i64 {
    let number = |from: usize| time.as_str().unwrap()[from..from + 2].parse::<i64>().unwrap();
    number(11) * 60 + number(14)
}

#[test]
fn an_hour_forth_and_back_does_not_show() {
    let (address, folder) = (free_address(), Folder::new());
    let clock = folder.write("clock", "+0");
    let environment = environment(&clock);
    let document = format!(
        r#"
[sources.in]
type = "syslog"
mode = "udp"
address = "{address}"
lateness = "100ms"
{COUNTED_BY_SECOND}"#
    );
    let instance = Instance::start_with(folder, &document, &[], &environment);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for offset in ["+0", "+3600", "-3600", "+0"] {
        set(&clock, offset);
        let before = instance.results("out.jsonl").len();
        wait::until("three more windows", PATIENCE, || {
            // No time in it: it happened when it was received.
            socket.send_to(b"<13>1 - web1 app - - - hello", address).unwrap();
            (instance.results("out.jsonl").len() >= before + 3).then_some(())
        });
    }
    // Ends of windows as text sort by time; a step of an hour would leave none in between.
    let told = instance.results("out.jsonl");
    assert!(told.iter().all(|result| result["completeness"]["late_events"] == 0), "{told:?}");
    let minutes: Vec<i64> = told.iter().map(|result| minute(&result["window"]["end"])).collect();
    let step = |pair: &[i64]| (pair[1] - pair[0]).rem_euclid(24 * 60);
    assert!(minutes.windows(2).all(|pair| step(pair) <= 1), "{minutes:?}");
    assert!(instance.dead_letters_now().is_empty());
}

/// Starts an instance whose clock shows so many seconds from the beginning of 2027, sends it lines
/// without a year, and gives the events that come of them.
fn around_new_year(seconds: i64, lines: &[&str]) -> (Instance, Vec<Value>) {
    const NEW_YEAR: i64 = 1_798_761_600;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let offset = NEW_YEAR + seconds - i64::try_from(now).unwrap();
    let (address, folder) = (free_address(), Folder::new());
    let clock = folder.write("clock", format!("{offset:+}"));
    let document = format!(
        r#"
[sources.in]
type = "syslog"
mode = "udp"
address = "{address}"
lateness = "100ms"
{COUNTED_BY_SECOND}
[sinks.all]
type = "file"
inputs = ["in"]
path = "@OUT@/all.jsonl"
encoding.codec = "json"
"#
    );
    let instance = Instance::start_with(folder, &document, &[], &environment(&clock));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for line in lines {
        socket.send_to(format!("<13>{line}").as_bytes(), address).unwrap();
    }
    instance.lines("all.jsonl", lines.len());
    let events = instance.results("all.jsonl");
    (instance, events)
}

#[test]
fn a_time_without_a_year_is_of_the_old_year_on_new_years_day_and_of_the_new_one_before() {
    let after = ["Dec 31 23:59:50 web1 app: old", "Jan  1 00:00:01 web1 app: new"];
    let (instance, events) = around_new_year(30, &after);
    let times: Vec<_> = events.iter().map(|event| event["timestamp"].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-12-31T23:59:50Z", "2027-01-01T00:00:01Z"]);
    // Each is counted in the window of its year.
    let windows = wait::until("both windows", PATIENCE, || {
        let told = instance.results("out.jsonl");
        (told.len() == 2).then_some(told)
    });
    let starts: Vec<_> = windows.iter().map(|it| it["window"]["start"].as_str().unwrap()).collect();
    assert_eq!(starts, times);

    // A clock that is a little ahead, in the last seconds of the year.
    let before = ["Dec 31 23:59:50 web1 app: old", "Jan  1 00:00:02 web1 app: new"];
    let (instance, events) = around_new_year(-5, &before);
    let times: Vec<_> = events.iter().map(|event| event["timestamp"].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-12-31T23:59:50Z", "2027-01-01T00:00:02Z"]);
    assert!(instance.dead_letters_now().is_empty());
}
