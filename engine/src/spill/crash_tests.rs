//! Spills on a disk that forgets: killed, and without power, at every point at which one changes.

use super::ledger::{Ledger, SpillState};
use super::queue::{Found, NotKept, Spill, SpillParts, Unspilled};
use super::{Bell, Observer};
use crate::log::forgetful::{Dice, Forgetful};
use crate::log::{Disk, KeptBatch, LogError, LogPosition, Phase};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Large enough that a script fills several segments.
const BATCH_BYTES: usize = 60_000;

/// A bell that does not end the process.
struct Witness {
    bell: Bell,
    failed: AtomicBool,
}

impl Observer for Witness {
    fn durable(&self, up_to: LogPosition) {
        self.bell.durable(up_to);
    }

    fn room(&self) {}

    fn phase(&self, phase: Phase) {
        self.bell.phase(phase);
    }

    fn fatal(&self, _: LogError) {
        self.failed.store(true, SeqCst);
    }
}

/// An open spill, and what was promised of it.
struct Run {
    spill: Spill,
    ledger: Arc<Ledger>,
    witness: Arc<Witness>,
}

impl Run {
    fn open(disk: &Forgetful, known: Option<SpillState>) -> Result<Run, LogError> {
        Run::within(disk, known, 1 << 30)
    }

    fn within(disk: &Forgetful, known: Option<SpillState>, max: u64) -> Result<Run, LogError> {
        let ledger = Arc::new(Ledger::new("out", known));
        let parts = SpillParts {
            disk: Arc::new(disk.clone()) as Arc<dyn Disk>,
            max_bytes: max,
            retain: Duration::ZERO,
            incarnation: [7; 16],
            clock: Clock::system(),
            ledger: Arc::clone(&ledger),
        };
        let bell = Bell::new(Arc::clone(&ledger));
        let witness = Arc::new(Witness { bell, failed: AtomicBool::new(false) });
        let (spill, missing) = Spill::open(parts, Arc::clone(&witness) as Arc<_>)?;
        assert_eq!(missing, None);
        Ok(Run { spill, ledger, witness })
    }

    /// Puts a batch into the spill and waits until it is there; `false` when the disk is dead.
    fn keep(&self, batch: &KeptBatch) -> bool {
        let end = loop {
            match self.spill.append(batch) {
                Ok(end) => break end,
                Err(NotKept::Busy) if self.witness.failed.load(SeqCst) => return false,
                Err(NotKept::Busy) => std::thread::yield_now(),
                Err(other) => panic!("{other:?}"),
            }
        };
        let began = Instant::now();
        while self.ledger.durable_to() < end {
            if self.witness.failed.load(SeqCst) {
                return false;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "nothing becomes durable");
            std::thread::yield_now();
        }
        true
    }

    /// Reads everything that is owed.
    fn read(&self) -> Vec<Unspilled> {
        let mut reader = self.spill.reader();
        let mut all = Vec::new();
        loop {
            let (found, read) = reader.read();
            read.unwrap();
            if found.is_empty() {
                return all;
            }
            all.extend(found.into_iter().map(|found| match found {
                Found::Batch(batch) => batch,
                Found::Damaged(bytes) => panic!("{bytes} bytes are damaged"),
            }));
        }
    }
}

fn batch(epoch: u64, number: u64) -> KeptBatch {
    let mut dice = Dice(number);
    let bytes: Vec<u8> = (0..BATCH_BYTES).map(|_| dice.below(256) as u8).collect();
    KeptBatch {
        epoch,
        kept_at: EventTime::EPOCH,
        records: 1,
        partition: Bytes::from(format!("p{number}")),
        bytes: Bytes::from(bytes),
    }
}

fn numbers(found: &[Unspilled]) -> Vec<u64> {
    let number = |one: &Unspilled| {
        let number = one.partition[1..].parse().unwrap();
        assert_eq!(one.bytes, batch(one.epoch, number).bytes, "{number} is not as it was");
        number
    };
    found.iter().map(number).collect()
}

/// What the engine knows for good.
#[derive(Default)]
struct Promise {
    state: Option<SpillState>,
    /// Numbers that are owed, in order.
    owed: Vec<u64>,
    /// How many of them were delivered, and how many of these for good.
    delivered: usize,
    marked: usize,
}

/// Fills rounds of batches, each of which is an epoch and ends with a checkpoint of the epochs
/// before it; delivers some in between. Stops when the disk dies.
fn script(run: &Run, promise: &mut Promise, next: &mut u64, first_epoch: u64) -> bool {
    let mut written: Vec<(u64, u64)> = Vec::new();
    let owed_before = promise.owed.clone();
    for round in 0..5 {
        let epoch = first_epoch + round;
        for _ in 0..4 {
            let number = *next;
            *next += 1;
            if !run.keep(&batch(epoch, number)) {
                return false;
            }
            written.push((epoch, number));
        }
        promise.state = run.ledger.state(epoch);
        promise.owed = owed_before.clone();
        promise.owed.extend(written.iter().filter(|it| it.0 < epoch).map(|it| it.1));
        if round == 2 {
            for one in run.read().into_iter().take(5) {
                run.ledger.delivered(one.end, 1, one.bytes.len() as u64);
                promise.delivered += 1;
            }
            if run.spill.let_go().is_err() {
                return false;
            }
            promise.marked = promise.delivered;
        }
    }
    true
}

#[test]
fn whatever_a_checkpoint_names_is_there_after_a_crash_at_any_point() {
    let points = {
        let disk = Forgetful::new();
        let run = Run::open(&disk, None).unwrap();
        assert!(script(&run, &mut Promise::default(), &mut 0, 0));
        drop(run);
        disk.points()
    };
    for point in (0..points).step_by(3) {
        let (mut disk, mut promise, mut next) = (Forgetful::new(), Promise::default(), 0);
        for life in 0..2 {
            disk.die_at(point + life);
            if let Ok(run) = Run::open(&disk, promise.state.clone()) {
                script(&run, &mut promise, &mut next, 10 * life);
            }
            disk = if point % 2 == 0 { disk.crash(point * 2 + life) } else { disk.kill() };
            let run = Run::open(&disk, promise.state.clone()).unwrap();
            let found = numbers(&run.read());
            let again = promise.owed.len() - found.len();
            assert_eq!(found, promise.owed[again..], "point {point}, life {life}");
            let range = promise.marked..=promise.delivered;
            assert!(range.contains(&again), "{again} of {range:?} at point {point}");
            drop(run);
            // What the mark says by now is delivered for good.
            promise.owed.drain(..again);
            (promise.delivered, promise.marked) = (promise.delivered - again, 0);
        }
    }
}

#[test]
fn a_damaged_batch_is_set_aside_and_the_others_come() {
    let disk = Forgetful::new();
    let run = Run::open(&disk, None).unwrap();
    for number in 0..4 {
        assert!(run.keep(&batch(0, number)));
    }
    let state = run.ledger.state(1);
    run.spill.close().unwrap();
    let (name, length) = disk.files().into_iter().find(|it| it.0.ends_with(".log")).unwrap();
    disk.flip(&name, length / 2, 4);
    let run = Run::open(&disk, state).unwrap();
    let (found, read) = run.spill.reader().read();
    read.unwrap();
    let damaged = found.iter().filter(|one| matches!(one, Found::Damaged(_))).count();
    assert_eq!((found.len(), damaged), (4, 1));
}

#[test]
fn what_is_missing_is_told() {
    let disk = Forgetful::new();
    let run = Run::open(&disk, None).unwrap();
    assert!(run.keep(&batch(0, 0)));
    let state = run.ledger.state(1).unwrap();
    run.spill.close().unwrap();
    let ledger = Arc::new(Ledger::new("out", Some(state)));
    let parts = SpillParts {
        disk: Arc::new(Forgetful::new()),
        max_bytes: 1 << 20,
        retain: Duration::ZERO,
        incarnation: [7; 16],
        clock: Clock::system(),
        ledger: Arc::clone(&ledger),
    };
    let (_, missing) = Spill::open(parts, Arc::new(Bell::new(ledger))).unwrap();
    assert!(missing.is_some());
}

#[test]
fn a_full_budget_takes_no_more_until_something_is_delivered() {
    let disk = Forgetful::new();
    let run = Run::within(&disk, None, 1 << 20).unwrap();
    let mut kept = 0;
    while run.spill.append(&batch(0, kept)) != Err(NotKept::Full) {
        kept += 1;
        assert!(kept < 100);
    }
    assert!(kept >= 15, "{kept}");
    let began = Instant::now();
    while numbers(&run.read()).len() < kept as usize {
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    let all = run.read();
    run.ledger.delivered(all[0].end, 1, BATCH_BYTES as u64);
    assert!(run.spill.append(&batch(0, kept)).is_ok());
    assert_eq!(run.spill.append(&batch(0, kept)), Err(NotKept::Full));
    run.ledger.delivered(all[14].end, 14, 14 * BATCH_BYTES as u64);
    run.spill.let_go().unwrap();
    let files: usize = disk.files().iter().map(|(_, length)| length).sum();
    assert!(files < (1 << 19), "{files} bytes");
}

/// What a sink had in its hands when it was put into the spill is delivered without being read
/// back, and its files go.
#[test]
fn a_reader_passes_over_what_was_delivered_meanwhile() {
    let disk = Forgetful::new();
    let run = Run::within(&disk, None, 1 << 20).unwrap();
    let mut reader = run.spill.reader();
    let mut ends = Vec::new();
    for number in 0..14 {
        assert!(run.keep(&batch(0, number)));
        ends.push(run.ledger.durable_to());
    }
    let segments = disk.files().len();
    run.ledger.delivered(ends[11], 12, 12 * BATCH_BYTES as u64);
    run.spill.let_go().unwrap();
    assert!(disk.files().len() < segments, "nothing was let go");
    let (found, read) = reader.read();
    read.unwrap();
    let found = found.into_iter().map(|found| match found {
        Found::Batch(batch) => batch,
        Found::Damaged(bytes) => panic!("{bytes} bytes are damaged"),
    });
    assert_eq!(numbers(&found.collect::<Vec<_>>()), [12, 13]);
}

#[test]
fn a_full_disk_keeps_what_it_took_for_when_there_is_room() {
    let disk = Forgetful::new();
    let run = Run::open(&disk, None).unwrap();
    assert!(run.keep(&batch(0, 0)));
    disk.set_capacity(Some(disk.used() + BATCH_BYTES / 2));
    let end = run.spill.append(&batch(0, 1)).unwrap();
    let began = Instant::now();
    while !run.witness.bell.no_room() {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    assert!(run.ledger.durable_to() < end);
    disk.set_capacity(None);
    while run.ledger.durable_to() < end {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    assert_eq!(numbers(&run.read()), [0, 1]);
}
