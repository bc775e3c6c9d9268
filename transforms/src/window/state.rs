//! The windows of one key group: a plain state machine.
//!
//! An epoch is applied whole. First its rows are merged into what is held of their keys; then every
//! key that was touched, or of which a window ends at or before the watermark, is gone through,
//! window by window, and what changed is told; last, what is over is forgotten, and the bounds are
//! held. Going through keys stops after [`LOOKS_MAX`] windows and is taken up where it stopped: a
//! key remembers which of its windows it has told.
//!
//! What is of closed windows alone is put away into an [`Archive`] from time to time, and brought
//! back when a late record needs it. When that happens does not show: bounds count what is closed
//! wherever it lies.

use super::agenda::{Agenda, Ages, Slot};
use super::closed::Closed;
use super::code::{self, Damaged};
use super::gathered::{Fields, Gathered};
use super::grid::Window;
use super::held::{Around, Held, Ready, Windows};
use super::parts::Sharing;
use super::told::{Change, Digest};
use azud_event::record::Building;
use azud_event::row::Row;
use azud_event::short_bytes::ShortBytes;
use azud_event::time::EventTime;
use azud_plan::component::{
    Archive, ArchiveError, Body, Due, Entry, EpochClock, KeyedState, NoArchive, Progress, Told,
    Written,
};
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::sync::Arc;
use vrl::value::Value;

/// How many windows are looked at in one call. A window of many panes takes some 100 µs, so a call
/// keeps its worker for a tenth of a second at most.
pub const LOOKS_MAX: usize = 1_024;

/// The version of snapshots, their first byte.
const SNAPSHOT_VERSION: u8 = 4;

/// What the state of one key group may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Keys.
    pub keys: usize,
    /// Bytes of what is held of them, about, but for what is of closed windows alone.
    pub bytes: usize,
    /// Bytes of what is of closed windows alone, about.
    pub closed_bytes: u64,
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
    /// What the fields came to, in their order.
    pub fields: SmallVec<[Value; 2]>,
    /// A hash of the result, as far as it does not depend on how it came about.
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
    /// Looks at an answer.
    fn look(&mut self, answer: &Answer<'_>) -> Look;

    /// Writes the result of an answer that is to be told.
    fn write(&self, telling: &Telling<'_>, into: &mut Building<'_>);
}

/// An answer that is to be told.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// The answer.
    pub answer: Answer<'a>,
    /// What was made of it.
    pub look: &'a Look,
    /// How it came about.
    pub counted: Counted<'a>,
}

/// A result on its way into a record.
struct Made<'a, T>(&'a T, Telling<'a>);

impl<T: Teller> Written for Made<'_, T> {
    fn write(&self, into: &mut Building<'_>) {
        let Made(teller, telling) = self;
        teller.write(telling, into);
    }
}

/// The windows of one key group.
pub struct State<T> {
    windows: Arc<Windows>,
    fields: Arc<Fields>,
    bounds: Bounds,
    teller: T,
    sharing: Option<Sharing>,
    archive: Box<dyn Archive>,
    /// Where each key stands, with its hash: a table that grows looks at no key.
    slots: HashTable<(u64, Slot)>,
    hashes: RandomState,
    table: Vec<Option<Known>>,
    free: Vec<Slot>,
    /// Gives each key that is made another number.
    lives: u64,
    /// How many keys were made or read so far.
    births: u32,
    /// How many keys, panes and segments had to leave so far.
    evicted: u64,
    bytes: usize,
    closed: Closed,
    /// What is over at or before this had to leave.
    dropped_before: EventTime,
    /// Hashes and slots of the keys of rows, while these are merged.
    found: Vec<(u64, Option<Slot>)>,
    /// Keys that are to be gone through in this epoch, the next one last.
    ready: Vec<(u128, Slot)>,
    /// By the watermark at which a key has a window to tell.
    due: Agenda,
    /// By the bound of lateness at which a key has something to forget.
    expiries: Agenda,
    ages: Ages,
}

/// A key, with where it stands in the lists.
struct Known {
    key: ShortBytes,
    /// When a window of it is to be told, and when something of it is over; [`NEVER`] if at no
    /// time.
    due: EventTime,
    expiry: EventTime,
    /// Tells it from other keys that stood here.
    born: u32,
    is_ready: bool,
    held: Held,
    bytes: usize,
}

/// What is over, and what has ended, in an epoch: as of [`Around`].
#[derive(Clone, Copy)]
struct EpochBounds {
    over_before: EventTime,
    first_open: i64,
    watermark: EventTime,
}

impl Known {
    /// Has the processor fetch what is looked at when a row is merged and a window told.
    fn come_near(&self) {
        black_box((self.key.len(), self.due, self.bytes));
        self.held.come_near();
    }
}

/// A time at which nothing is due: no window ends at the first time of all.
const NEVER: EventTime = EventTime::MIN;

impl<T: Teller> State<T> {
    /// Makes an empty one.
    pub fn new(windows: Arc<Windows>, fields: Arc<Fields>, bounds: Bounds, teller: T) -> Self {
        let closed = Closed::new(windows.lateness());
        State {
            windows,
            fields,
            bounds,
            teller,
            sharing: None,
            archive: Box::new(NoArchive),
            slots: HashTable::new(),
            hashes: RandomState::new(),
            table: Vec::new(),
            free: Vec::new(),
            lives: 0,
            births: 0,
            evicted: 0,
            bytes: 0,
            closed,
            dropped_before: EventTime::from_nanoseconds(i64::MIN),
            found: Vec::new(),
            ready: Vec::new(),
            due: Agenda::default(),
            expiries: Agenda::default(),
            ages: Ages::default(),
        }
    }

    /// Gives with each answer the parts that it came of.
    #[must_use]
    pub fn sharing(self, sharing: Option<Sharing>) -> Self {
        State { sharing, ..self }
    }

    fn known_mut(&mut self, slot: Slot) -> Option<&mut Known> {
        self.table.get_mut(slot as usize)?.as_mut()
    }

    /// Finds the slot of a key with this hash.
    fn find(&self, hash: u64, key: &ShortBytes) -> Option<Slot> {
        let State { table, slots, .. } = self;
        let same = |(of, slot): &(u64, Slot)| {
            let known = || table[*slot as usize].as_ref();
            *of == hash && known().is_some_and(|known| known.key == *key)
        };
        slots.find(hash, same).map(|(_, slot)| *slot)
    }

    /// Makes a slot for a key that has none.
    fn add_key(&mut self, hash: u64, key: ShortBytes) -> Slot {
        self.lives += 1;
        self.take_in(hash, key, self.windows.held(self.lives))
    }

    fn take_in(&mut self, hash: u64, key: ShortBytes, held: Held) -> Slot {
        self.births = self.births.wrapping_add(1);
        let (born, last) = (self.births, held.last);
        let known = Known {
            key: key.clone(),
            due: NEVER,
            expiry: NEVER,
            born,
            is_ready: false,
            held,
            bytes: 0,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            // Keys are bounded far below this.
            Slot::try_from(self.table.len() - 1).unwrap_or(Slot::MAX)
        });
        self.ages.add(last, key, slot, born);
        self.table[slot as usize] = Some(known);
        self.slots.insert_unique(hash, (hash, slot), |(hash, _)| *hash);
        slot
    }

    /// Merges rows into what is held of their keys.
    fn merge(&mut self, rows: &[Row], clock: &EpochClock) {
        let bounds = self.bounds_of(clock.late_before.max(self.dropped_before), clock.watermark);
        // Keys lie all over the memory. Before any is worked on, all are looked up by their hashes,
        // and what is needed of each is touched, in steps so short that the processor waits for
        // many of them at a time and not for each by itself.
        let mut found = std::mem::take(&mut self.found);
        found.extend(rows.iter().map(|row| (self.hashes.hash_one(&*row.key), None)));
        for (hash, slot) in &mut found {
            *slot = self.slots.find(*hash, |(of, _)| of == hash).map(|(_, slot)| *slot);
        }
        let known = |slot: Slot| self.table[slot as usize].as_ref();
        found.iter().filter_map(|(_, slot)| known((*slot)?)).for_each(Known::come_near);
        for (row, (hash, slot)) in rows.iter().zip(found.drain(..)) {
            // Another key may have the same hash, and one that is new may have come with a row
            // before this one.
            let is_its = |slot: &Slot| {
                self.table[*slot as usize].as_ref().is_some_and(|known| known.key == row.key)
            };
            let slot = slot.filter(is_its).or_else(|| self.find(hash, &row.key));
            // Of a key that is not known, late records have nothing that they could be told with.
            if slot.is_none() && !Windows::has_records(&row.payload) {
                continue;
            }
            let slot = slot.unwrap_or_else(|| self.add_key(hash, row.key.clone()));
            if let Err(damaged) = self.apply(slot, row, &bounds) {
                // Rows are made by this program and live no longer than it.
                tracing::error!("a row is not one: {damaged}");
            }
        }
        self.found = found;
    }

    fn bounds_of(&self, over_before: EventTime, watermark: EventTime) -> EpochBounds {
        EpochBounds { over_before, first_open: self.windows.first_open(over_before), watermark }
    }

    /// Merges one row into what is held of its key.
    fn apply(&mut self, slot: Slot, row: &Row, bounds: &EpochBounds) -> Result<(), Damaged> {
        let State { windows, fields, archive, table, lives, evicted, closed, .. } = self;
        let Some(known) = table[slot as usize].as_mut() else { return Ok(()) };
        let EpochBounds { over_before, first_open, watermark } = *bounds;
        let around = &mut Around { fields, over_before, first_open, watermark, closed };
        let held = &mut known.held;
        if let Some(numbers) = windows.needs_back(held, &row.payload, around)? {
            *lives += 1;
            match bring_back(archive.as_mut(), &row.key, held, numbers, around) {
                Ok(()) => held.is_back(numbers, *lives),
                Err(lost) => {
                    tracing::error!("windows that were put away cannot be amended: {lost}");
                    held.lose(numbers.1, *lives);
                    *evicted += 1;
                }
            }
        }
        let applied = windows.apply(held, &row.payload, around);
        if !known.is_ready {
            known.is_ready = true;
            self.ready.push((head_of(&known.key), slot));
        }
        applied
    }

    /// Makes ready the keys of which a window ends at or before the watermark.
    fn wake(&mut self, watermark: EventTime) {
        while let Some((at, slots)) = self.due.take(watermark) {
            for slot in slots {
                if let Some(known) = self.table[slot as usize].as_mut()
                    && known.due == at
                {
                    known.due = NEVER;
                    // Their turn comes in the order of keys. Here it is the order of memory, which
                    // is read ahead.
                    known.come_near();
                    if !known.is_ready {
                        known.is_ready = true;
                        self.ready.push((head_of(&known.key), slot));
                    }
                }
            }
        }
    }

    /// Puts the keys that are ready into the order in which they are gone through.
    fn sort_ready(&mut self) {
        let table = &self.table;
        let key = |slot: Slot| table[slot as usize].as_ref().map(|known| &known.key);
        self.ready.sort_unstable_by(|(one, a), (other, b)| {
            other.cmp(one).then_with(|| key(*b).cmp(&key(*a)))
        });
    }

    /// Goes through the windows of all keys that are ready; whether that is done.
    fn go_through(&mut self, clock: &EpochClock, tell: &mut dyn FnMut(Told<'_>)) -> Progress {
        let windows = Arc::clone(&self.windows);
        let mut left = LOOKS_MAX;
        while let Some((_, slot)) = self.ready.last().copied() {
            while let Some(known) = self.table[slot as usize].as_mut()
                && let Some(ready) =
                    windows.take(&mut known.held, clock.watermark, &mut self.closed)
            {
                self.look(slot, &ready, clock, tell);
                left -= 1;
                if left == 0 {
                    return Progress::More;
                }
            }
            self.ready.pop();
            if let Some(known) = self.known_mut(slot) {
                known.is_ready = false;
            }
            self.settle(slot);
        }
        Progress::Done
    }

    /// Looks at one window, and tells it if it changed.
    fn look(
        &mut self,
        slot: Slot,
        ready: &Ready,
        clock: &EpochClock,
        tell: &mut dyn FnMut(Told<'_>),
    ) {
        let State { windows, fields, teller, sharing, table, closed, .. } = self;
        let Some(Known { key, held, .. }) = table[slot as usize].as_mut() else { return };
        let Some(gathered) = windows.answer(held, ready, fields) else { return };
        let (anchor, taken_over) = held.known_as(ready);
        let window = ready.window();
        let answer = Answer { key, anchor, window, gathered: &gathered };
        let look = &teller.look(&answer);
        let holds = look.holds && (gathered.count > 0 || windows.tells_empty());
        let teller = &*teller;
        let mut counted = Counted {
            revision: 0,
            change: Change::Withdrawn,
            superseded_by: None,
            late: held.late,
            evicted: self.evicted,
            approximate: gathered.is_approximate() || windows.is_cut(held, ready),
            clock,
        };
        for other in taken_over {
            let mut image = held.image(ready, other);
            if image.look(look.digest, false).is_some() {
                // It is kept: if the session grows too long and is cut, it may stand again.
                windows.tell(held, (ready, other), image, closed);
                counted.revision = image.revision;
                counted.superseded_by = Some(anchor);
                let answer = Answer { anchor: other, ..answer };
                let made = Made(teller, Telling { answer, look, counted });
                let body = Body::Written(&made);
                tell(Told { port: 0, event_time: window.end, body, parts: None });
            }
        }
        let mut image = held.image(ready, anchor);
        if let Some(change) = image.look(look.digest, holds) {
            windows.tell(held, (ready, anchor), image, closed);
            (counted.revision, counted.change) = (image.revision, change);
            counted.superseded_by = None;
            let sharing = sharing.as_ref().filter(|_| change != Change::Withdrawn);
            let parts = sharing.and_then(|it| it.parts(windows, answer.key, held, ready));
            let made = Made(teller, Telling { answer, look, counted });
            let body = Body::Written(&made);
            tell(Told { port: 0, event_time: window.end, body, parts });
        }
    }

    /// Puts a key where it belongs in the lists; one of which nothing is known any more is gone.
    fn settle(&mut self, slot: Slot) {
        let State { windows, table, bytes, evicted, due, expiries, .. } = self;
        let Some(known) = table[slot as usize].as_mut() else { return };
        if windows.is_empty(&known.held) {
            return self.remove(slot);
        }
        *evicted += u64::from(known.held.hold_bound());
        let takes = known.held.bytes() + known.key.len();
        *bytes = *bytes - known.bytes + takes;
        known.bytes = takes;
        let (is_due, expiry) = (windows.due(&known.held), windows.expiry(&known.held));
        move_to(due, slot, &mut known.due, is_due);
        move_to(expiries, slot, &mut known.expiry, expiry);
    }

    fn remove(&mut self, slot: Slot) {
        let Some(known) = self.table[slot as usize].take() else { return };
        self.bytes -= known.bytes;
        let hash = self.hashes.hash_one(&*known.key);
        if let Ok(entry) = self.slots.find_entry(hash, |(_, other)| *other == slot) {
            entry.remove();
        }
        self.free.push(slot);
    }

    /// Forgets what is over.
    fn forget(&mut self, clock: &EpochClock) {
        if clock.watermark.nanoseconds() == i64::MAX {
            // Nothing comes any more that could amend anything.
            return self.clear();
        }
        self.closed.forget(clock.late_before);
        while self.closed.bytes() > self.bounds.closed_bytes
            && let Some(over_at) = self.closed.drop_first()
        {
            // The step that left ends there; what is over just then is in the next.
            let before = EventTime::from_nanoseconds(over_at.nanoseconds().saturating_sub(1));
            self.dropped_before = self.dropped_before.max(before);
            self.evicted += 1;
            tracing::warn!(
                evicted = self.evicted,
                "there is more of closed windows than may be kept; the oldest are not amended"
            );
        }
        let over_before = clock.late_before.max(self.dropped_before);
        while let Some((at, slots)) = self.expiries.take(over_before) {
            for slot in slots {
                if let Some(known) = self.table[slot as usize].as_mut()
                    && known.expiry == at
                {
                    known.expiry = NEVER;
                    self.windows.forget(&mut known.held, over_before);
                    self.settle(slot);
                }
            }
        }
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.table.clear();
        self.free.clear();
        self.ready.clear();
        self.due.clear();
        self.expiries.clear();
        self.ages.clear();
        self.bytes = 0;
        self.closed = Closed::new(self.windows.lateness());
    }

    /// Lets keys go until the bounds hold, those with the oldest last event first.
    fn evict(&mut self) {
        let before = self.evicted;
        while self.slots.len() > self.bounds.keys
            || (self.bytes > self.bounds.bytes && self.slots.len() > 1)
        {
            let table = &self.table;
            let Some(slot) = self.ages.take_oldest(|slot, born| {
                let known = table[slot as usize].as_ref().filter(|known| known.born == born)?;
                Some(known.held.last)
            }) else {
                break;
            };
            self.remove(slot);
            self.evicted += 1;
        }
        if self.bytes > self.bounds.bytes {
            self.shrink();
        }
        if self.evicted > before {
            tracing::warn!(
                evicted = self.evicted,
                "there are more keys and windows than may be held; the oldest left"
            );
        }
        let table = &self.table;
        self.ages.tidy(self.slots.len(), |slot, born| {
            table[slot as usize].as_ref().is_some_and(|known| known.born == born)
        });
    }

    /// Lets the oldest parts go of one key alone that has more than all may.
    fn shrink(&mut self) {
        let Some((_, slot)) = self.slots.iter().next().copied() else { return };
        let bound = self.bounds.bytes;
        let mut shrunk = 0;
        if let Some(known) = self.known_mut(slot) {
            while known.held.bytes() + known.key.len() > bound && known.held.shrink() {
                shrunk += 1;
            }
        }
        self.evicted += shrunk;
        self.settle(slot);
    }

    /// Drops what does not hold any more from the front of the lists.
    fn tidy(&mut self) {
        let table = &self.table;
        let known = |slot: Slot| table.get(slot as usize).and_then(Option::as_ref);
        self.due.tidy(|at, slot| known(slot).is_some_and(|known| known.due == at));
        self.expiries.tidy(|at, slot| known(slot).is_some_and(|known| known.expiry == at));
    }

    /// Lists the keys in their order.
    fn sorted(&self) -> Vec<&Known> {
        let mut all: Vec<&Known> = self.table.iter().flatten().collect();
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        all
    }
}

/// Gives the first bytes of a key as a number that is in the order of keys.
fn head_of(key: &[u8]) -> u128 {
    let mut head = [0; 16];
    let length = key.len().min(head.len());
    head[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(head)
}

/// Brings back what was put away of some numbers of a key.
fn bring_back(
    archive: &mut dyn Archive,
    key: &[u8],
    held: &mut Held,
    (first, last): (i64, i64),
    around: &mut Around<'_>,
) -> Result<(), ArchiveError> {
    let life = held.life;
    archive.read(key, first..=last, &mut |number, mut bytes| {
        let of = code::take_number(&mut bytes).map_err(unreadable)?;
        // Else it was put away under the same key before that was forgotten.
        if of == life {
            held.take_back(number, &mut bytes, around).map_err(unreadable)?
        }
        Ok(())
    })
}

fn unreadable(damaged: Damaged) -> ArchiveError {
    ArchiveError::new(damaged.to_string())
}

/// Notes when a key has something to do.
fn move_to(agenda: &mut Agenda, slot: Slot, from: &mut EventTime, to: Option<EventTime>) {
    let to = to.unwrap_or(NEVER);
    if *from != to {
        if to != NEVER {
            agenda.add(to, slot);
        }
        *from = to;
    }
}

impl<T: Teller> KeyedState for State<T> {
    fn on_epoch(
        &mut self,
        rows: &[Row],
        clock: &EpochClock,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Progress {
        let before = self.ready.len();
        self.merge(rows, clock);
        self.wake(clock.watermark);
        if self.ready.len() > before {
            self.sort_ready();
        }
        if self.go_through(clock, tell) == Progress::More {
            return Progress::More;
        }
        self.forget(clock);
        self.evict();
        self.tidy();
        Progress::Done
    }

    fn due(&self) -> Due {
        let watermark = [self.due.earliest(), self.expiries.earliest()];
        Due { watermark: watermark.into_iter().flatten().min(), now: None }
    }

    fn keys(&self) -> u64 {
        self.slots.len() as u64
    }

    fn evicted(&self) -> u64 {
        self.evicted
    }

    fn attach(&mut self, archive: Box<dyn Archive>) {
        self.archive = archive;
    }

    fn closed_bytes(&self) -> usize {
        self.closed.here()
    }

    fn put_away(&self, put: &mut dyn FnMut(Entry<'_>)) {
        let mut value = Vec::new();
        for Known { key, held, .. } in self.sorted() {
            self.windows.to_put_away(held, |number, over_at, bytes| {
                value.clear();
                code::push_number(held.life, &mut value);
                value.extend_from_slice(bytes);
                put(Entry { key, number, over_at, value: &value });
            });
        }
    }

    fn let_go(&mut self) {
        for (slot, known) in (0..).zip(&mut self.table) {
            let Some(known) = known else { continue };
            known.held.let_go();
            let expiry = self.windows.expiry(&known.held);
            move_to(&mut self.expiries, slot, &mut known.expiry, expiry);
        }
        self.closed.put_away();
        self.tidy();
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut out = vec![SNAPSHOT_VERSION];
        code::push_number(self.evicted, &mut out);
        code::push_number(self.lives, &mut out);
        code::push_signed(self.dropped_before.nanoseconds(), &mut out);
        self.closed.encode(&mut out);
        code::push_number(self.slots.len() as u64, &mut out);
        for known in self.sorted() {
            code::push_bytes(&known.key, &mut out);
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
        self.clear();
        self.evicted = code::take_number(bytes)?;
        self.lives = code::take_number(bytes)?;
        self.dropped_before = EventTime::from_nanoseconds(code::take_signed(bytes)?);
        self.closed.read(bytes)?;
        let EpochBounds { over_before, first_open, watermark } =
            self.bounds_of(self.dropped_before, EventTime::MIN);
        for _ in 0..code::take_number(bytes)? {
            let key = ShortBytes::from(code::take_bytes(bytes)?);
            let (fields, closed) = (&self.fields, &mut self.closed);
            let around = &mut Around { fields, over_before, first_open, watermark, closed };
            let held = self.windows.decode(bytes, around)?;
            let hash = self.hashes.hash_one(&*key);
            let slot = self.take_in(hash, key, held);
            self.settle(slot);
        }
        if bytes.is_empty() { Ok(()) } else { Err(Damaged("something stands behind the end")) }
    }
}
