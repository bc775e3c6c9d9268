//! The windows of one key group: a plain state machine.
//!
//! An epoch is applied whole. First its rows are merged into what is held of their keys; then every
//! key that was touched, or of which a window ends at or before the watermark, is gone through,
//! window by window, and what changed is told; last, what is over is forgotten, and the bounds are
//! held. Going through keys stops after [`LOOKS_MAX`] windows and is taken up where it stopped: a
//! key remembers which of its windows it has told.

use super::code::{self, Damaged};
use super::gathered::{Fields, Gathered};
use super::grid::Window;
use super::held::{Held, Ready, Windows};
use super::told::{Change, Digest};
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{Due, EpochClock, KeyedState, Progress, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vrl::value::Value;

/// How many windows are looked at in one call. A window of many panes takes some 100 µs, so a call
/// keeps its worker for a tenth of a second at most.
pub const LOOKS_MAX: usize = 1_024;

/// The version of snapshots, their first byte.
const SNAPSHOT_VERSION: u8 = 2;

/// What the state of one key group may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Keys.
    pub keys: usize,
    /// Bytes of what is held of them, about.
    pub bytes: usize,
}

/// What a window says now.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The key, as canonical bytes.
    pub key: &'a [u8],
    /// What its identity hangs on beside the key: where it began when it was first told.
    pub anchor: EventTime,
    /// Where it lies.
    pub window: Window,
    /// What it has gathered.
    pub gathered: &'a Gathered,
}

/// What a [`Teller`] makes of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The result, as far as it does not depend on how it came about.
    pub value: Value,
    /// A hash of it.
    pub digest: Digest,
    /// Whether it is one that is wanted.
    pub holds: bool,
}

/// What an answer says of how it came about.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// Counts from 1.
    pub revision: u64,
    /// What this revision does to the one before.
    pub change: Change,
    /// The anchor of the session that has taken this one over.
    pub superseded_by: Option<EventTime>,
    /// How many records of the key came too late.
    pub late: u64,
    /// How many keys of the group had to leave.
    pub evicted: u64,
    /// Whether a bound was hit, so that the answer is not exact.
    pub approximate: bool,
    /// The clocks of the epoch.
    pub clock: &'a EpochClock,
}

/// Makes records of answers.
pub trait Teller: Send {
    /// Makes the result of an answer.
    fn look(&mut self, answer: &Answer<'_>) -> Look;

    /// Completes a result that is to be told.
    fn complete(&self, answer: &Answer<'_>, value: Value, counted: &Counted<'_>) -> Value;
}

type Key = Arc<[u8]>;

/// The windows of one key group.
pub struct State<T> {
    windows: Arc<Windows>,
    fields: Arc<Fields>,
    bounds: Bounds,
    teller: T,
    keys: BTreeMap<Key, Known>,
    /// How many keys, panes and segments had to leave so far.
    evicted: u64,
    bytes: usize,
    /// Keys that are to be gone through in this epoch.
    ready: BTreeSet<Key>,
    /// By the watermark at which a key has a window to tell.
    due: BTreeSet<(EventTime, Key)>,
    /// By the bound of lateness at which a key has something to forget.
    expiries: BTreeSet<(EventTime, Key)>,
    /// By a key's last event.
    ages: BTreeSet<(EventTime, Key)>,
}

/// A key, with where it stands in the lists.
struct Known {
    held: Held,
    bytes: usize,
    due: Option<EventTime>,
    expiry: Option<EventTime>,
    age: Option<EventTime>,
}

impl<T: Teller> State<T> {
    /// Makes an empty one.
    pub fn new(windows: Arc<Windows>, fields: Arc<Fields>, bounds: Bounds, teller: T) -> Self {
        State {
            windows,
            fields,
            bounds,
            teller,
            keys: BTreeMap::new(),
            evicted: 0,
            bytes: 0,
            ready: BTreeSet::new(),
            due: BTreeSet::new(),
            expiries: BTreeSet::new(),
            ages: BTreeSet::new(),
        }
    }

    /// Merges one row into what is held of its key.
    fn apply(&mut self, row: &Row, late_before: EventTime) -> Result<(), Damaged> {
        let key = match self.keys.get_key_value(row.key.as_slice()) {
            Some((key, _)) => Arc::clone(key),
            // Of a key that is not known, late records have nothing that they could be told with.
            None if !Windows::has_records(&row.payload) => return Ok(()),
            None => Key::from(row.key.as_slice()),
        };
        let windows = &self.windows;
        let known = self.keys.entry(Arc::clone(&key)).or_insert_with(|| Known::new(windows.held()));
        let applied = windows.apply(&mut known.held, &self.fields, &row.payload, late_before);
        self.ready.insert(key);
        applied
    }

    /// Goes through the windows of all keys that are ready; whether that is done.
    fn go_through(&mut self, clock: &EpochClock, tell: &mut dyn FnMut(Told)) -> Progress {
        let windows = Arc::clone(&self.windows);
        let mut left = LOOKS_MAX;
        while let Some(key) = self.ready.first().cloned() {
            while let Some(known) = self.keys.get_mut(&key)
                && let Some(ready) = windows.take(&mut known.held, clock.watermark)
            {
                self.look(&key, &ready, clock, tell);
                left -= 1;
                if left == 0 {
                    return Progress::More;
                }
            }
            self.ready.remove(&key);
            self.settle(&key);
        }
        Progress::Done
    }

    /// Looks at one window, and tells it if it changed.
    fn look(&mut self, key: &Key, ready: &Ready, clock: &EpochClock, tell: &mut dyn FnMut(Told)) {
        let Some(Known { held, .. }) = self.keys.get_mut(key) else { return };
        let Some(gathered) = self.windows.answer(held, ready, &self.fields) else { return };
        let (anchor, taken_over) = held.known_as(ready);
        let window = ready.window();
        let answer = Answer { key, anchor, window, gathered: &gathered };
        let mut look = self.teller.look(&answer);
        look.holds &= gathered.count > 0 || self.windows.tells_empty();
        let mut counted = Counted {
            revision: 0,
            change: Change::Withdrawn,
            superseded_by: None,
            late: held.late,
            evicted: self.evicted,
            approximate: gathered.is_approximate() || self.windows.is_cut(held, ready),
            clock,
        };
        for other in taken_over {
            let mut image = held.image(ready, other);
            if image.look(look.digest, false).is_some() {
                // It is kept: if the session grows too long and is cut, it may stand again.
                held.tell(ready, other, image);
                counted.revision = image.revision;
                counted.superseded_by = Some(anchor);
                let answer = Answer { anchor: other, ..answer };
                let value = self.teller.complete(&answer, look.value.clone(), &counted);
                tell(Told { port: 0, event_time: window.end, value });
            }
        }
        let mut image = held.image(ready, anchor);
        if let Some(change) = image.look(look.digest, look.holds) {
            held.tell(ready, anchor, image);
            (counted.revision, counted.change) = (image.revision, change);
            counted.superseded_by = None;
            let value = self.teller.complete(&answer, look.value, &counted);
            tell(Told { port: 0, event_time: window.end, value });
        }
    }

    /// Puts a key where it belongs in the lists; one of which nothing is known any more is gone.
    fn settle(&mut self, key: &Key) {
        let Some(known) = self.keys.get_mut(key) else { return };
        if self.windows.is_empty(&known.held) {
            return self.remove(key);
        }
        if known.held.hold_bound() {
            self.evicted += 1;
        }
        let held = &known.held;
        self.bytes = self.bytes - known.bytes + held.bytes() + key.len();
        known.bytes = held.bytes() + key.len();
        let (due, expiry) = (self.windows.due(held), self.windows.expiry(held));
        move_to(&mut self.due, key, &mut known.due, due);
        move_to(&mut self.expiries, key, &mut known.expiry, expiry);
        move_to(&mut self.ages, key, &mut known.age, Some(held.last));
    }

    fn remove(&mut self, key: &Key) {
        let Some(mut known) = self.keys.remove(key) else { return };
        self.bytes -= known.bytes;
        move_to(&mut self.due, key, &mut known.due, None);
        move_to(&mut self.expiries, key, &mut known.expiry, None);
        move_to(&mut self.ages, key, &mut known.age, None);
    }

    /// Forgets what is over.
    fn forget(&mut self, clock: &EpochClock) {
        if clock.watermark.nanoseconds() == i64::MAX {
            // Nothing comes any more that could amend anything.
            let keys: Vec<Key> = self.keys.keys().cloned().collect();
            keys.iter().for_each(|key| self.remove(key));
            return;
        }
        let over: Vec<Key> = self
            .expiries
            .iter()
            .take_while(|(at, _)| *at <= clock.late_before)
            .map(|(_, key)| Arc::clone(key))
            .collect();
        for key in over {
            if let Some(known) = self.keys.get_mut(&key) {
                self.windows.forget(&mut known.held, clock.late_before);
            }
            self.settle(&key);
        }
    }

    /// Lets keys go until the bounds hold, those with the oldest last event first.
    fn evict(&mut self) {
        let before = self.evicted;
        while (self.keys.len() > self.bounds.keys
            || (self.bytes > self.bounds.bytes && self.keys.len() > 1))
            && let Some((_, key)) = self.ages.first().cloned()
        {
            self.remove(&key);
            self.evicted += 1;
        }
        // One key alone that has more than all may loses its oldest part, not everything.
        while self.bytes > self.bounds.bytes
            && let Some((key, known)) = self.keys.first_key_value()
        {
            let key = Arc::clone(key);
            let (mut left, mut shrunk) = (known.bytes, false);
            while left > self.bounds.bytes
                && let Some(known) = self.keys.get_mut(&key)
                && known.held.shrink()
            {
                left = known.held.bytes() + key.len();
                self.evicted += 1;
                shrunk = true;
            }
            if !shrunk {
                break;
            }
            self.settle(&key);
        }
        if self.evicted > before {
            tracing::warn!(
                evicted = self.evicted,
                "there are more keys and windows than may be held; the oldest left"
            );
        }
    }
}

/// Moves a key from where it stood in a list to where it belongs.
fn move_to(
    list: &mut BTreeSet<(EventTime, Key)>,
    key: &Key,
    from: &mut Option<EventTime>,
    to: Option<EventTime>,
) {
    if *from == to {
        return;
    }
    if let Some(from) = from.take() {
        list.remove(&(from, Arc::clone(key)));
    }
    if let Some(to) = to {
        list.insert((to, Arc::clone(key)));
    }
    *from = to;
}

impl Known {
    fn new(held: Held) -> Self {
        Known { held, bytes: 0, due: None, expiry: None, age: None }
    }
}

impl<T: Teller> KeyedState for State<T> {
    fn on_epoch(
        &mut self,
        rows: &[Row],
        clock: &EpochClock,
        tell: &mut dyn FnMut(Told),
    ) -> Progress {
        for row in rows {
            if let Err(damaged) = self.apply(row, clock.late_before) {
                // Rows are made by this program and live no longer than it.
                tracing::error!("a row is not one: {damaged}");
            }
        }
        while self.due.first().is_some_and(|(at, _)| *at <= clock.watermark)
            && let Some((_, key)) = self.due.pop_first()
        {
            if let Some(known) = self.keys.get_mut(&key) {
                known.due = None;
            }
            self.ready.insert(key);
        }
        if self.go_through(clock, tell) == Progress::More {
            return Progress::More;
        }
        self.forget(clock);
        self.evict();
        Progress::Done
    }

    fn due(&self) -> Due {
        let first = |list: &BTreeSet<(EventTime, Key)>| list.first().map(|(at, _)| *at);
        let watermark = [first(&self.due), first(&self.expiries)].into_iter().flatten().min();
        Due { watermark, now: None }
    }

    fn keys(&self) -> u64 {
        self.keys.len() as u64
    }

    fn evicted(&self) -> u64 {
        self.evicted
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut out = vec![SNAPSHOT_VERSION];
        code::push_number(self.evicted, &mut out);
        code::push_number(self.keys.len() as u64, &mut out);
        for (key, known) in &self.keys {
            code::push_bytes(key, &mut out);
            known.held.encode(&mut out);
        }
        out
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let mut bytes = match snapshot {
            [SNAPSHOT_VERSION, bytes @ ..] => bytes,
            [version, ..] => return Err(format!("windows of version {version} are not known")),
            [] => return Err("windows are not empty".to_owned()),
        };
        self.read(&mut bytes).map_err(|damaged| damaged.to_string())
    }
}

impl<T: Teller> State<T> {
    fn read(&mut self, bytes: &mut &[u8]) -> Result<(), Damaged> {
        let keys: Vec<Key> = self.keys.keys().cloned().collect();
        keys.iter().for_each(|key| self.remove(key));
        self.ready.clear();
        self.evicted = code::take_number(bytes)?;
        for _ in 0..code::take_number(bytes)? {
            let key = Key::from(code::take_bytes(bytes)?);
            let held = self.windows.decode(&self.fields, bytes)?;
            self.keys.insert(Arc::clone(&key), Known::new(held));
            self.settle(&key);
        }
        if bytes.is_empty() { Ok(()) } else { Err(Damaged("something stands behind the end")) }
    }
}
