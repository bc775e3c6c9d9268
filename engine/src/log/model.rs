//! The log against its model, a list of entries: random appends, commits, releases, maintenance,
//! kills and crashes, on a disk that forgets.

use super::commit::{Committer, Step};
use super::forgetful::{Dice, Forgetful};
use super::limits::{FULL_RETRY, SEGMENT_AGE};
use super::state::{Observer, Phase, Settings};
use super::{
    Entry, EpochRecord, KeptBatch, Log, LogError, LogPosition, LoggedBlock, Mark, Options, Read,
};
use azud_event::block::{Layout, Peer};
use azud_event::clock::Clock;
use azud_event::dead_letter::Reason;
use azud_event::id::StreamId;
use azud_event::time::EventTime;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Remembers what it is told.
#[derive(Default)]
pub struct Told(pub Mutex<Words>);

#[derive(Default, Clone, Debug)]
pub struct Words {
    pub durable: LogPosition,
    pub rooms: usize,
    pub phases: Vec<Phase>,
    pub fatal: Vec<String>,
}

impl Observer for Told {
    fn durable(&self, up_to: LogPosition) {
        let mut words = self.0.lock().unwrap();
        assert!(up_to >= words.durable, "what is durable goes back");
        words.durable = up_to;
    }

    fn room(&self) {
        self.0.lock().unwrap().rooms += 1;
    }

    fn phase(&self, phase: Phase) {
        self.0.lock().unwrap().phases.push(phase);
    }

    fn fatal(&self, error: LogError) {
        self.0.lock().unwrap().fatal.push(error.to_string());
    }
}

/// Settings with segments and frames small enough for many of them.
pub fn small_settings() -> Settings {
    Settings {
        retain: Duration::from_secs(1_000),
        retain_bytes: 6_000,
        reserve_bytes: 300,
        segment_bytes: 1_500,
        frame_bytes: 500,
        ..Settings::new(1 << 30)
    }
}

/// A log, and what should be in it.
pub struct Rig {
    pub disk: Forgetful,
    pub clock: Clock,
    pub settings: Settings,
    pub log: Log,
    pub committer: Committer,
    pub told: Arc<Told>,
    /// What was appended and not found missing after a crash, by position.
    pub placed: Vec<(LogPosition, LogPosition, Entry)>,
    pub released: LogPosition,
    /// Behind every position that was ever given.
    given: LogPosition,
    /// Everything before it was told to be durable, in any run.
    durable: LogPosition,
    lives: u8,
}

impl Rig {
    pub fn new(settings: Settings) -> Self {
        let clock = Clock::manual(EventTime::EPOCH.saturating_add(Duration::from_secs(1_000_000)));
        let disk = Forgetful::new();
        let (log, committer, told) = open(&disk, &settings, &clock, 0).unwrap();
        Rig {
            disk,
            clock,
            settings,
            log,
            committer,
            told,
            placed: Vec::new(),
            released: LogPosition(0),
            given: LogPosition(0),
            durable: LogPosition(0),
            lives: 0,
        }
    }

    pub fn append(&mut self, entry: Entry) {
        let Ok(ticket) = self.log.append(&entry) else { return };
        assert!(ticket.position >= self.given, "a position was given twice");
        self.given = ticket.end;
        self.placed.push((ticket.position, ticket.end, entry));
    }

    /// Lets the writer work until it has nothing to do, or no room.
    pub fn drain(&mut self) {
        for _ in 0..1_000 {
            match self.committer.step() {
                Step::Did => {}
                Step::Wait(_, Some(longest)) if self.log.stats().phase != Phase::Full => {
                    self.clock.advance(longest);
                }
                Step::Wait(..) | Step::End => return,
            }
        }
        panic!("the writer does not come to rest");
    }

    pub fn release(&mut self, share: usize) {
        let durable = self.placed.iter().filter(|(_, end, _)| *end <= self.log.durable());
        let ends: Vec<LogPosition> = durable.map(|(_, end, _)| *end).collect();
        if let Some(end) = ends.get((ends.len() * share / 100).min(ends.len().wrapping_sub(1))) {
            self.released = self.released.max(*end);
            self.log.release(*end);
        }
    }

    /// Opens the log on the disk that a crash or a kill left, and looks at what is there.
    pub fn reopen(&mut self, disk: Forgetful) {
        self.note_durable();
        self.lives += 1;
        let opened = open(&disk, &self.settings, &self.clock, self.lives).unwrap();
        (self.log, self.committer, self.told) = opened;
        self.disk = disk;
        self.compare(true);
        let released = self.released;
        self.log.release(released);
    }

    pub fn note_durable(&mut self) {
        self.durable = self.durable.max(self.told.0.lock().unwrap().durable);
    }

    /// Compares the log with the model, while it runs.
    pub fn check(&mut self) {
        self.compare(false);
    }

    /// Compares the log with the model: what is there is a run of it without a hole, that lacks in
    /// front only what was released, and behind only what was never told durable. After a crash
    /// that is gone for good.
    fn compare(&mut self, crashed: bool) {
        let found = read_all(&self.log);
        let entries: Vec<_> = found
            .into_iter()
            .map(|read| match read {
                Read::Entry { position, end, entry } => (position, end, entry),
                Read::Damaged(damaged) => panic!("{damaged:?} though nothing was damaged"),
            })
            .collect();
        let first = match entries.first() {
            Some((first, ..)) => self.placed.iter().position(|(at, ..)| at == first).unwrap(),
            None => self.placed.iter().filter(|(_, end, _)| *end <= self.released).count(),
        };
        let gone = self.placed[..first].iter().all(|(_, end, _)| *end <= self.released);
        assert!(gone, "entries are gone that were not released");
        let last = first + entries.len();
        assert!(last <= self.placed.len(), "there is more than was appended");
        assert_eq!(entries, self.placed[first..last], "the entries differ");
        let safe = |(_, end, _): &(_, LogPosition, _)| *end <= self.durable;
        assert!(!self.placed[last..].iter().any(safe), "what was told durable is missing");
        if crashed {
            self.placed.truncate(last);
        }
        self.placed.drain(..first);
        // Any of them is found by its position.
        let mut dice = Dice(self.given.0);
        for _ in 0..entries.len().min(4) {
            let (position, end, entry) = &entries[dice.below(entries.len())];
            let read = self.log.reader(*position).read_next().unwrap();
            let wanted = Read::Entry { position: *position, end: *end, entry: entry.clone() };
            assert_eq!(read, Some(wanted));
        }
    }
}

/// Opens a log whose writer is called by the test.
pub fn open(
    disk: &Forgetful,
    settings: &Settings,
    clock: &Clock,
    life: u8,
) -> Result<(Log, Committer, Arc<Told>), LogError> {
    let told = Arc::new(Told::default());
    let options = Options {
        disk: Arc::new(disk.clone()),
        settings: settings.clone(),
        incarnation: [life; 16],
        clock: clock.clone(),
        observer: Arc::clone(&told) as Arc<dyn Observer>,
    };
    let (log, committer, _) = Log::prepare(options)?;
    Ok((log, committer, told))
}

/// Reads everything that is durable.
pub fn read_all(log: &Log) -> Vec<Read> {
    let mut reader = log.reader(log.first());
    std::iter::from_fn(|| reader.read_next().unwrap()).collect()
}

/// Makes a block whose bytes follow from a number.
pub fn block(source: u64, number: u64, bytes: usize) -> Entry {
    let mut dice = Dice(number);
    let text: Vec<u8> = (0..bytes).map(|_| b"abcdefgh \n"[dice.below(10)]).collect();
    Entry::Block(LoggedBlock {
        source,
        stream: StreamId(number % 3),
        position: number,
        end: number + bytes as u64,
        received_at: EventTime::from_nanoseconds(number as i64 - 50),
        layout: Layout::Lines,
        peers: Arc::from([]),
        bytes: Bytes::from(text),
    })
}

fn some_bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn layout() -> impl Strategy<Value = Layout> {
    let reasons = prop_oneof![Just(Reason::TooLong), Just(Reason::Future), Just(Reason::Refused)];
    prop_oneof![
        Just(Layout::Lines),
        Just(Layout::Syslog),
        Just(Layout::Heads),
        (reasons, any::<u64>()).prop_map(|(reason, length)| Layout::Refused { reason, length }),
        Just(Layout::End),
        (any::<i64>(), any::<u64>()).prop_map(|(to, again)| Layout::Complete {
            to: EventTime::from_nanoseconds(to),
            again: Duration::from_nanos(again),
        }),
    ]
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let peer = (some_bytes(20), any::<Option<u16>>()).prop_map(|(host, port)| Peer { host, port });
    let numbers = (0u64..3, any::<u64>(), any::<u64>(), any::<u64>(), any::<i64>());
    let block = (numbers, layout(), vec(peer, 0..4), some_bytes(700)).prop_map(
        |((source, stream, position, end, received), layout, peers, bytes)| {
            Entry::Block(LoggedBlock {
                source,
                stream: StreamId(stream),
                position,
                end,
                received_at: EventTime::from_nanoseconds(received),
                layout,
                peers: peers.into(),
                bytes,
            })
        },
    );
    let epoch = (any::<u64>(), any::<u64>(), some_bytes(80))
        .prop_map(|(pipeline, epoch, bytes)| EpochRecord { pipeline, epoch, bytes });
    let mark = (some_bytes(20), some_bytes(40)).prop_map(|(name, bytes)| Mark { name, bytes });
    let batch = (any::<u64>(), any::<i64>(), any::<u32>(), some_bytes(20), some_bytes(200));
    let batch = batch.prop_map(|(epoch, kept_at, records, partition, bytes)| {
        let kept_at = EventTime::from_nanoseconds(kept_at);
        Entry::Batch(KeptBatch { epoch, kept_at, records, partition, bytes })
    });
    prop_oneof![
        6 => block,
        2 => epoch.prop_map(Entry::Epoch),
        1 => mark.prop_map(Entry::Mark),
        1 => batch,
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Append(Entry),
    Step,
    Drain,
    Grow,
    Release(usize),
    Maintain(u64),
    Check,
    /// Leaves room for so many bytes more.
    Squeeze(usize),
    Widen,
    Kill,
    Crash(u64),
    /// Dies at a point soon, works on until then, and loses power.
    Die(u64, u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => entry().prop_map(Act::Append),
        6 => Just(Act::Step),
        4 => Just(Act::Drain),
        1 => Just(Act::Grow),
        2 => (0usize..=100).prop_map(Act::Release),
        3 => (0u64..500).prop_map(Act::Maintain),
        1 => Just(Act::Check),
        1 => (0usize..2_000).prop_map(Act::Squeeze),
        2 => Just(Act::Widen),
        1 => Just(Act::Kill),
        2 => any::<u64>().prop_map(Act::Crash),
        1 => (1u64..12, any::<u64>()).prop_map(|(point, seed)| Act::Die(point, seed)),
    ]
}

fn apply(rig: &mut Rig, act: Act) {
    match act {
        Act::Append(entry) => rig.append(entry),
        Act::Step => {
            if let Step::Wait(_, Some(longest)) = rig.committer.step() {
                rig.clock.advance(longest);
            }
        }
        Act::Drain => rig.drain(),
        Act::Grow => rig.clock.advance(SEGMENT_AGE),
        Act::Release(share) => rig.release(share),
        Act::Maintain(seconds) => {
            rig.clock.advance(Duration::from_secs(seconds));
            // On a dead disk it fails, and the crash follows.
            let _ = rig.log.maintain(rig.clock.now());
        }
        Act::Check => {
            rig.drain();
            rig.note_durable();
            rig.check();
        }
        Act::Squeeze(room) => rig.disk.set_capacity(Some(rig.disk.used() + room)),
        Act::Widen => {
            rig.disk.set_capacity(None);
            rig.clock.advance(FULL_RETRY.1);
        }
        Act::Kill => rig.reopen(rig.disk.kill()),
        Act::Crash(seed) => rig.reopen(rig.disk.crash(seed)),
        Act::Die(point, seed) => {
            rig.disk.die_at(point);
            rig.append(block(1, seed % 1_000, 200));
            rig.drain();
            let _ = rig.log.maintain(rig.clock.now());
            rig.reopen(rig.disk.crash(seed));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_its_model(acts in vec(act(), 1..80)) {
        let mut rig = Rig::new(small_settings());
        acts.into_iter().for_each(|act| apply(&mut rig, act));
        rig.reopen(rig.disk.crash(7));
    }

    #[test]
    fn an_entry_is_read_as_it_was_written(entry in entry()) {
        let mut rig = Rig::new(small_settings());
        rig.append(entry);
        rig.drain();
        rig.note_durable();
        rig.check();
        prop_assert_eq!(rig.placed.len(), 1);
    }

    /// Files that are anything at all are opened and read without a panic.
    #[test]
    fn nonsense_is_set_aside(
        bytes in vec(any::<u8>(), 0..600),
        keep in 0usize..400,
        packed in any::<bool>(),
    ) {
        let mut rig = Rig::new(small_settings());
        (0..3).for_each(|number| rig.append(block(1, number, 50)));
        rig.drain();
        let mut files = rig.disk.files().into_iter();
        let (name, _) = files.rfind(|(name, _)| name.ends_with(".log")).unwrap();
        rig.disk.cut_and_append(&name, keep, &bytes, packed);
        let disk = rig.disk.kill();
        if let Ok((log, ..)) = open(&disk, &small_settings(), &rig.clock, 1) {
            let mut reader = log.reader(log.first());
            while let Ok(Some(_)) = reader.read_next() {}
        }
        let _ = super::verify(&disk);
    }
}
