//! Somebody sets the machine's clock wrong by an hour and puts it right again: nothing of that
//! shows.

use crate::support::files::Folder;
use crate::support::instance::{COUNTED_BY_SECOND, Instance};
use crate::support::program::free_address;
use crate::support::wait::{self, PATIENCE};
use serde_json::Value;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

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

/// Gives the minute of the day of a time like `2026-03-01T10:00:00Z`.
fn minute(time: &Value) -> i64 {
    let number = |from: usize| time.as_str().unwrap()[from..from + 2].parse::<i64>().unwrap();
    number(11) * 60 + number(14)
}

#[test]
fn an_hour_forth_and_back_does_not_show() {
    let (address, folder) = (free_address(), Folder::new());
    let clock = folder.write("clock", "+0");
    let environment = [
        ("LD_PRELOAD", library().display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
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
