//! The whole log, with its thread, in a real folder.

use super::model::{Told, block, small_settings};
use super::{Entry, Folder, Log, LogError, Options, Read, Recovered, Refused, Settings, verify};
use azud_event::clock::Clock;
use std::path::Path;
use std::sync::Arc;
use std::thread;

fn open(path: &Path, settings: Settings) -> Result<(Log, Recovered), LogError> {
    Log::open(Options {
        disk: Arc::new(Folder::new(path)),
        settings,
        incarnation: [5; 16],
        clock: Clock::system(),
        observer: Arc::new(Told::default()),
    })
}

#[test]
fn many_append_and_one_follows() {
    const EACH: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let settings =
        Settings { segment_bytes: 100_000, retain_bytes: 10_000_000, ..small_settings() };
    let (log, recovered) = open(folder.path(), settings.clone()).unwrap();
    assert_eq!((recovered.segments, recovered.torn), (0, None));
    let mut reader = log.reader(log.first());
    let mut found = Vec::new();
    thread::scope(|scope| {
        for source in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..EACH {
                    let entry = block(source, number, 900);
                    let ticket = loop {
                        match log.append(&entry) {
                            Ok(ticket) => break ticket,
                            Err(Refused::Busy { .. }) => thread::yield_now(),
                            Err(Refused::Never(error)) => panic!("{error}"),
                        }
                    };
                    if number % 50 == 0 {
                        log.wait_durable(ticket.end).unwrap();
                    }
                }
            });
        }
        while found.len() < 4 * EACH as usize {
            match reader.read_next().unwrap() {
                Some(Read::Entry { entry, .. }) => found.push(entry),
                Some(Read::Damaged(damaged)) => panic!("{damaged:?}"),
                None => thread::yield_now(),
            }
        }
    });
    for source in 0..4 {
        let wanted = (0..EACH).map(|number| block(source, number, 900));
        let of = |entry: &&Entry| matches!(entry, Entry::Block(block) if block.source == source);
        assert!(found.iter().filter(of).cloned().eq(wanted), "source {source} is out of order");
    }
    log.release(log.next());
    log.maintain(Clock::system().now()).unwrap();
    log.close().unwrap();
    assert!(log.stats().packed_segments > 0);
    drop(log);
    let inspection = verify(&Folder::new(folder.path())).unwrap();
    assert_eq!((inspection.damaged_count, inspection.torn_bytes), (0, 0));
    let (log, recovered) = open(folder.path(), settings).unwrap();
    assert_eq!((recovered.torn, recovered.damaged.len()), (None, 0));
    let ticket = log.append(&block(9, 1, 10)).unwrap();
    log.wait_durable(ticket.end).unwrap();
    assert!(matches!(log.reader(ticket.position).read_next(), Ok(Some(Read::Entry { .. }))));
}

#[test]
fn one_process_has_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), small_settings()).unwrap();
    assert!(matches!(open(folder.path(), small_settings()), Err(LogError::Locked)));
    drop(first);
    open(folder.path(), small_settings()).unwrap();
}

/// What was written and never synced is on the disk of a process that was only killed; a part of an
/// entry behind it is cut.
#[test]
fn a_torn_tail_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path(), small_settings()).unwrap();
    let ticket = log.append(&block(1, 1, 100)).unwrap();
    log.wait_durable(ticket.end).unwrap();
    drop(log);
    let name = folder.path().join(format!("{:016x}.log", ticket.position.0));
    let mut bytes = std::fs::read(&name).unwrap();
    let length = bytes.len();
    bytes.extend_from_within(160..300);
    std::fs::write(&name, bytes).unwrap();
    let (log, recovered) = open(folder.path(), small_settings()).unwrap();
    let torn = recovered.torn.unwrap();
    assert_eq!((torn.bytes, torn.entries), (140, false));
    assert_eq!(torn.at.0 - ticket.position.0, length as u64 - 160);
    assert_eq!(recovered.damaged, []);
    let mut reader = log.reader(log.first());
    assert!(matches!(reader.read_next(), Ok(Some(Read::Entry { .. }))));
    assert!(matches!(reader.read_next(), Ok(None)));
}
