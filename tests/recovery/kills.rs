//! Killed under load, again and again.

use super::load::{ALERTS, Dice, Lines, OFTEN, SOURCE, WINDOWS, alerts, numbers};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::free_address;
use crate::support::wait;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// How long an instance may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);

/// How many kills a test makes.
const KILLS: usize = 10;

/// Kills instances of a document while lines are written, each with another number of workers;
/// gives the last one, which runs.
fn killed(document: &str, lines: &mut Lines, dice: &mut Dice) -> Instance {
    let mut folder = Folder::new();
    lines.append(&folder, 500);
    for kill in 0..KILLS {
        let threads = ["1", "2", "4"][kill % 3];
        let instance = Instance::start_in(folder, document, &["--threads", threads]);
        let before = size(&instance.folder, "out.jsonl");
        lines.append(&instance.folder, dice.throw(1..3_000));
        // Every other kill comes when something was delivered; the rest may come before anything
        // was, in the middle of the recovery.
        if kill % 2 == 0 {
            let more = dice.throw(1..20_000) as u64;
            wait::until("something to be delivered", CATCH_UP, || {
                let grown = size(&instance.folder, "out.jsonl") - before;
                (grown > more).then_some(()).or_else(|| is_delivered(&instance, lines))
            });
            lines.append(&instance.folder, dice.throw(1..3_000));
        }
        folder = instance.kill().1;
        lines.append(&folder, dice.throw(1..500));
    }
    Instance::start_in(folder, document, &[])
}

fn size(folder: &Folder, name: &str) -> u64 {
    std::fs::metadata(folder.join(name)).map_or(0, |known| known.len())
}

/// Whether the last line is in the file of the sink. Blocks of a file come in order, so the others
/// are, too, unless they were lost.
fn is_delivered(instance: &Instance, lines: &Lines) -> Option<()> {
    let last = instance.folder.lines("out.jsonl").pop()?;
    (last == format!("{{\"number\":{}}}", lines.count - 1)).then_some(())
}

/// Waits for the last line, and looks whether every line is in the file of the sink.
#[track_caller]
pub fn all_delivered(instance: &Instance, lines: &Lines, kills: usize) {
    wait::until("the last line to be delivered", CATCH_UP, || is_delivered(instance, lines));
    let (found, torn) = numbers(&instance.folder, "out.jsonl");
    let missing: Vec<_> = (0..lines.count).filter(|number| !found.contains(number)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    assert!(torn <= kills, "{torn} torn lines");
}

/// Ends an instance in good order; gives its folder.
#[track_caller]
pub fn ended_well(instance: Instance) -> Folder {
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    folder
}

#[test]
fn killed_again_and_again_every_line_is_delivered_and_every_alert_exact() {
    let (mut dice, mut lines) = (Dice::new(), Lines::default());
    let document = [OFTEN, SOURCE, ALERTS].concat();
    let instance = killed(&document, &mut lines, &mut dice);
    all_delivered(&instance, &lines, KILLS);
    let folder = ended_well(instance);
    assert_eq!(alerts(&folder), lines.alerts());
}

#[test]
fn any_number_of_workers_ends_with_the_same_alerts() {
    let document = [SOURCE, ALERTS].concat();
    for threads in ["1", "2", "4"] {
        let (folder, mut lines) = (Folder::new(), Lines::default());
        lines.append(&folder, 5_000);
        let instance = Instance::start_in(folder, &document, &["--threads", threads]);
        all_delivered(&instance, &lines, KILLS);
        assert_eq!(alerts(&ended_well(instance)), lines.alerts(), "{threads} workers");
    }
}

/// Gives what was told last of each window, by its id, without how complete it was then.
///
/// # Panics
/// When two lines tell the same revision otherwise, or one is torn that no kill has torn.
fn windows(folder: &Folder, kills: usize) -> BTreeMap<String, Value> {
    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    let mut torn = 0;
    for line in folder.lines("windows.jsonl") {
        let Ok(mut window) = serde_json::from_str::<Value>(&line) else {
            torn += 1;
            continue;
        };
        window.as_object_mut().unwrap().remove("completeness").unwrap();
        let id = window["id"].as_str().unwrap().to_owned();
        let revision = |window: &Value| window["revision"].as_u64().unwrap();
        match told.get(&id) {
            Some(known) if revision(known) > revision(&window) => {}
            Some(known) if revision(known) == revision(&window) => assert_eq!(*known, window),
            _ => drop(told.insert(id, window)),
        }
    }
    assert!(torn <= kills, "{torn} torn lines");
    told
}

/// Waits until the windows of the last lines are told, and ends the instance.
pub fn windows_told(instance: Instance, lines: &Lines, kills: usize) -> BTreeMap<String, Value> {
    lines.append_end(&instance.folder);
    let lines_of = |window: &Value| window["lines"].as_u64().unwrap();
    wait::until("every line to be told in its window", CATCH_UP, || {
        let told: u64 = windows(&instance.folder, kills).values().map(lines_of).sum();
        (told as usize >= lines.count).then_some(())
    });
    windows(&ended_well(instance), kills)
}

#[test]
fn windows_come_out_of_kills_as_if_there_had_been_none() {
    let (mut dice, mut lines) = (Dice::new(), Lines::default());
    let document = [OFTEN, SOURCE, WINDOWS].concat();
    let instance = killed(&document, &mut lines, &mut dice);
    let after_kills = windows_told(instance, &lines, KILLS);

    let (folder, mut again) = (Folder::new(), Lines::default());
    again.append(&folder, lines.count);
    let straight = windows_told(Instance::start_in(folder, &document, &[]), &again, KILLS);
    assert!(straight.len() > 100, "{} windows", straight.len());
    assert_eq!(after_kills, straight);
}

#[test]
fn without_a_log_and_with_late_answers_every_line_is_delivered() {
    for setting in ["intake.durability = \"memory\"\n", "intake.acknowledge = \"delivered\"\n"] {
        let (folder, mut lines) = (Folder::new(), Lines::default());
        let document = [OFTEN, setting, SOURCE].concat();
        lines.append(&folder, 3_000);
        let instance = Instance::start_in(folder, &document, &[]);
        wait::until("some line", CATCH_UP, || {
            (size(&instance.folder, "out.jsonl") > 0).then_some(())
        });
        let folder = instance.kill().1;
        lines.append(&folder, 3_000);
        let instance = Instance::start_in(folder, &document, &[]);
        all_delivered(&instance, &lines, KILLS);
        ended_well(instance);
    }
}

/// Sends some thousand numbered lines over TCP, and as many over a new connection whenever one
/// breaks, until it is told to stop.
fn send(address: SocketAddr, stop: &AtomicBool) {
    let mut number = 0;
    while !stop.load(SeqCst) {
        let Ok(mut sender) = TcpStream::connect(address) else {
            std::thread::yield_now();
            continue;
        };
        let text = |number| format!("<13>1 2025-03-01T10:00:00Z h app {number} - - line\n");
        let end = number + 5_000;
        while number < end && sender.write_all(text(number).as_bytes()).is_ok() {
            number += 1;
        }
        // Nothing ever comes back, so this waits for the end of the connection.
        let _ = sender.read(&mut [0]);
    }
}

/// Gives the numbers of the lines that are in the log of a folder.
fn logged(folder: &Folder) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder.join("data/log")).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|it| it == "log") {
            let bytes = std::fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let lines = text.lines().filter(|line| line.ends_with(" - - line"));
            found.extend(lines.filter_map(|line| {
                line.rsplit_once(" app ")?.1.split_once(' ')?.0.parse::<usize>().ok()
            }));
        }
    }
    found
}

/// A sender by TCP is not answered, so what it had sent and the system had not handed over is lost
/// with the process. What had come into the log is not.
#[test]
fn what_came_by_tcp_and_is_in_the_log_outlives_kills() {
    let (mut dice, address) = (Dice::new(), free_address());
    let source =
        format!("[sources.in]\ntype = \"syslog\"\nmode = \"tcp\"\naddress = \"{address}\"\n");
    let sink = "[sinks.out]\ntype = \"file\"\ninputs = [\"in\"]\npath = \"@OUT@/out.jsonl\"\n\
                encoding.only_fields = [\"procid\"]\n";
    let document = [OFTEN, &source, sink].concat();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let sending = std::thread::spawn(move || send(address, &stopped));
    let (mut folder, mut must_come) = (Folder::new(), BTreeSet::new());
    let mut torn = 0;
    for _ in 0..8 {
        let instance = Instance::start_in(folder, &document, &[]);
        let more = size(&instance.folder, "out.jsonl") + dice.throw(1..40_000) as u64;
        wait::until("something to be delivered", CATCH_UP, || {
            (size(&instance.folder, "out.jsonl") > more).then_some(())
        });
        let (said, killed) = instance.kill();
        folder = killed;
        // Of a log whose end is torn the last entry need not come.
        torn += usize::from(said.iter().any(|line| line.contains("torn end")));
        must_come.extend(logged(&folder));
    }
    stop.store(true, SeqCst);
    sending.join().unwrap();
    let instance = Instance::start_in(folder, &document, &[]);
    torn += usize::from(instance.errors().iter().any(|line| line.contains("torn end")));
    let came = |lines: Vec<String>| -> BTreeSet<usize> {
        let events = lines.into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        events.filter_map(|event| event["procid"].as_u64().map(|it| it as usize)).collect()
    };
    let folder = ended_well(instance);
    let came = came(folder.lines("out.jsonl"));
    let missing: Vec<_> = must_come.difference(&came).collect();
    assert!(must_come.len() > 1_000, "{}", must_come.len());
    assert!(torn > 0 || missing.is_empty(), "{missing:?}");
}
