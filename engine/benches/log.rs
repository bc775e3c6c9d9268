//! What the log costs: `cargo bench -p azud-engine --bench log`.
//!
//! Appends 2 GiB in blocks of 256 KiB as fast as the log takes them, waits until all is durable,
//! reads everything back, and packs it; several times, each in a new folder under `TMPDIR`. Prints
//! for each: throughput, CPU time of all threads for a record of 500 bytes, and the syncs. Then the
//! latency of one block at a time.

use azud_engine::log::{Entry, Folder, Log, LogError, LogPosition, LoggedBlock, Observer, Options};
use azud_engine::log::{Phase, Read, Refused, Settings};
use azud_event::block::Layout;
use azud_event::clock::Clock;
use azud_event::id::StreamId;
use azud_event::time::EventTime;
use bytes::Bytes;
use std::fs;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 256 * 1024;
const BLOCKS: usize = 8 * 1024;
const RECORD_BYTES: usize = 500;
const REPEATS: usize = 5;

/// Wakes the appender when there is room again.
#[derive(Default)]
struct Room {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Room {
    fn wait(&self) {
        let rung = self.rung.lock().expect("no thread panics");
        let mut rung = self.bell.wait_while(rung, |rung| !*rung).expect("no thread panics");
        *rung = false;
    }
}

impl Observer for Room {
    fn durable(&self, _up_to: LogPosition) {}

    fn room(&self) {
        *self.rung.lock().expect("no thread panics") = true;
        self.bell.notify_one();
    }

    fn phase(&self, phase: Phase) {
        eprintln!("the log is {phase:?}");
    }

    fn fatal(&self, error: LogError) {
        panic!("{error}");
    }
}

/// Gives the CPU time of all threads of this process that live.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("this is Linux");
    let nanoseconds = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn block() -> Entry {
    let mut bytes = Vec::with_capacity(BLOCK_BYTES);
    let mut number = 0u64;
    while bytes.len() < BLOCK_BYTES {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let start = bytes.len();
        let line = format!("<34>1 2026-03-01T10:00:00Z web1 sshd {number} - - Failed password ");
        bytes.extend_from_slice(line.as_bytes());
        while bytes.len() < start + RECORD_BYTES - 1 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.extend_from_slice(format!("{:x} ", number >> 40).as_bytes());
        }
        bytes.truncate(start + RECORD_BYTES - 1);
        bytes.push(b'\n');
    }
    bytes.truncate(BLOCK_BYTES);
    Entry::Block(LoggedBlock {
        source: 1,
        stream: StreamId(1),
        position: 0,
        end: BLOCK_BYTES as u64,
        received_at: EventTime::EPOCH,
        layout: Layout::Lines,
        peers: Arc::from([]),
        bytes: Bytes::from(bytes),
    })
}

fn open(folder: &std::path::Path, room: &Arc<Room>) -> Log {
    let settings = Settings {
        retain: Duration::from_secs(86_400),
        reserve_bytes: 0,
        ..Settings::new(64 << 30)
    };
    let options = Options {
        disk: Arc::new(Folder::new(folder)),
        settings,
        incarnation: [7; 16],
        clock: Clock::system(),
        observer: Arc::clone(room) as Arc<dyn Observer>,
    };
    Log::open(options).expect("the folder is ours").0
}

fn append(log: &Log, entry: &Entry, room: &Room) -> LogPosition {
    loop {
        match log.append(entry) {
            Ok(ticket) => return ticket.end,
            Err(Refused::Busy { .. }) => room.wait(),
            Err(Refused::Never(error)) => panic!("{error}"),
        }
    }
}

/// Times a part of the work on all of the bytes.
fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let (began, cpu_before) = (Instant::now(), cpu());
    let result = work();
    let (took, used) = (began.elapsed(), cpu() - cpu_before);
    let bytes = (BLOCKS * BLOCK_BYTES) as f64;
    print!(
        "{name} {:5.0} MB/s, {:4.0} ns CPU a record; ",
        bytes / 1e6 / took.as_secs_f64(),
        used.as_nanos() as f64 / (bytes / RECORD_BYTES as f64),
    );
    result
}

fn main() {
    let entry = block();
    for _ in 0..REPEATS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let room = Arc::new(Room::default());
        let log = open(folder.path(), &room);
        timed("append", || {
            let mut end = log.next();
            (0..BLOCKS).for_each(|_| end = append(&log, &entry, &room));
            log.wait_durable(end).expect("the log goes on");
        });
        let stats = log.stats();
        print!("{} syncs, the last took {:.1?}; ", stats.syncs, stats.last_sync);
        timed("read", || {
            let mut reader = log.reader(log.first());
            let mut blocks = 0;
            while let Some(read) = reader.read_next().expect("the log can be read") {
                blocks += usize::from(matches!(read, Read::Entry { .. }));
            }
            assert_eq!(blocks, BLOCKS);
        });
        log.release(log.next());
        timed("pack", || while log.maintain(EventTime::EPOCH).expect("there is room").more {});
        println!("packed to {} MB", log.stats().file_bytes / 1_000_000);
    }
    latency(&entry);
}

/// One block after the other, each when the one before is durable.
fn latency(entry: &Entry) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let room = Arc::new(Room::default());
    let log = open(folder.path(), &room);
    let mut took: Vec<Duration> = (0..300)
        .map(|_| {
            let began = Instant::now();
            let end = append(&log, entry, &room);
            log.wait_durable(end).expect("the log goes on");
            began.elapsed()
        })
        .collect();
    took.sort();
    println!("one at a time: median {:.1?}, 99 of 100 within {:.1?}", took[150], took[297]);
}
