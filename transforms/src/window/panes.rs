//! The panes of one key, and which of its windows are to be looked at.
//!
//! Windows are counted along the grid. `next` parts them: those before it are closed, their end was
//! behind the watermark, and only a late record makes them be looked at again; those from it on
//! wait for the watermark. Windows that hold no pane are stepped over, unless empty ones are asked
//! for.

use super::code::{self, Damaged};
use super::early::Early;
use super::gathered::{Fields, Gathered};
use super::grid::{Grid, Window};
use super::members::{self, MEMBERS_PER_KEY_MAX, Members};
use super::told::Image;
use azud_event::id::Partitioner;
use azud_event::row::{Place, Row};
use azud_event::time::EventTime;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// How many panes, and how many images of windows, a key may have: three days of lateness by
/// windows of a minute are 4,320. Of further ones the oldest are let go.
pub const PANES_PER_KEY_MAX: usize = 16_384;

/// How many empty windows in a row are told of a key that has fallen silent: a day by minutes.
pub const EMPTY_WINDOWS_MAX: i64 = 1_440;

/// The first byte of the row of a pane.
pub const PANE: u8 = 1;
/// The first byte of a row that counts records of a key that came too late.
pub const LATE: u8 = 2;

/// How windows of a grid are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Panes {
    /// The windows.
    pub grid: Grid,
    /// How long after its end a window is amended.
    pub lateness: Duration,
    /// Which windows are told as soon as they change, before they close.
    pub early: Early,
    /// Whether windows without a record are told too.
    pub empty: bool,
}

/// The panes of one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyPanes {
    panes: BTreeMap<i64, Gathered>,
    /// In windows over results, what these have contributed.
    members: Members,
    images: BTreeMap<i64, Image>,
    next: i64,
    /// The least and greatest pane that there ever was, while the key is known.
    seen: Option<(i64, i64)>,
    /// Windows before this one have lost panes to a bound.
    floor: i64,
    /// Windows to look at again in this epoch, as ranges with both ends, sorted and apart.
    again: Vec<(i64, i64)>,
    /// Whether none of them is one that nobody wants to know of yet.
    sifted: bool,
    bytes: usize,
}

impl Panes {
    /// Reads one row and adds it to a key; gives when its last event happened.
    pub fn apply(
        &self,
        key: &mut KeyPanes,
        fields: &Fields,
        mut payload: &[u8],
        late_before: EventTime,
    ) -> Result<EventTime, Damaged> {
        let pane = code::take_signed(&mut payload)?;
        let gathered = Gathered::decode(fields, &mut payload)?;
        let last_event = gathered.last;
        let least = key.see(pane);
        key.add(pane, gathered, fields);
        self.touch(key, pane, least, late_before);
        Ok(last_event)
    }

    /// Reads the row of a result's revision and puts it in the place of an earlier one; gives when
    /// its last event happened.
    pub fn revise(
        &self,
        key: &mut KeyPanes,
        fields: &Fields,
        mut payload: &[u8],
        late_before: EventTime,
    ) -> Result<EventTime, Damaged> {
        let (pane, revision, gathered) = members::read_row(fields, &mut payload)?;
        let last_event = gathered.last;
        let Ok(before) = key.members.put(pane, revision, gathered) else { return Ok(last_event) };
        let least = key.see(pane);
        self.touch(key, pane, least, late_before);
        if let Some(before) = before.filter(|before| *before != pane) {
            self.touch(key, before, least, late_before);
        }
        Ok(last_event)
    }

    /// Notes that the windows over a pane are to be looked at again. `least` was the least pane so
    /// far, none when the key is new.
    fn touch(&self, key: &mut KeyPanes, pane: i64, least: Option<i64>, late_before: EventTime) {
        let open = self.grid.first_open(late_before, self.lateness);
        let first = self.grid.first_window(pane);
        let Some(least) = least else {
            key.next = first.max(open);
            key.floor = i64::MIN;
            if self.early.at_all() {
                key.look_again(first.max(open), pane);
            }
            return;
        };
        if pane < least {
            // The key is older than was known, and windows before this one have not been looked at.
            key.next = key.next.min(first.max(open).max(key.floor));
        }
        let last = if self.early.at_all() { pane } else { pane.min(key.next - 1) };
        key.look_again(first.max(open).max(key.floor), last);
    }

    /// Gives the next window to be looked at once the watermark is at or behind its end.
    fn upcoming(&self, key: &KeyPanes, ended: bool) -> Option<i64> {
        if self.empty {
            let (_, greatest) = key.seen?;
            let silent = if ended { 0 } else { EMPTY_WINDOWS_MAX };
            return (key.next <= greatest.saturating_add(silent)).then_some(key.next);
        }
        let pane = key.first_from(key.next)?;
        Some(key.next.max(self.grid.first_window(pane)))
    }

    /// Says at which watermark the key has a window to look at.
    pub fn due(&self, key: &KeyPanes) -> Option<EventTime> {
        self.upcoming(key, false).map(|number| self.grid.end(number))
    }

    /// Leaves of the open windows that were touched those that were told before, and those that are
    /// wanted before they close.
    fn sift(&self, key: &mut KeyPanes) {
        let Early::When(growth) = &self.early else { return };
        for (first, last) in std::mem::take(&mut key.again) {
            key.look_again(first, last.min(key.next - 1));
            let open = first.max(key.next);
            if open > last {
                continue;
            }
            let told: BTreeSet<i64> = key.images.range(open..=last).map(|it| *it.0).collect();
            let panes = key.panes.range(open..self.grid.panes(last).end);
            let panes: Vec<(i64, &Gathered)> = panes.map(|(pane, it)| (*pane, it)).collect();
            let mut wanted = Vec::new();
            growth.find(&self.grid, open..=last, &panes, &told, &mut wanted);
            told.into_iter().chain(wanted).for_each(|number| key.look_again(number, number));
        }
    }

    /// Takes the next window that is to be looked at now.
    pub fn take(&self, key: &mut KeyPanes, watermark: EventTime) -> Option<(i64, Window)> {
        if !key.sifted {
            self.sift(key);
            key.sifted = true;
        }
        if let Some((first, last)) = key.again.first_mut() {
            let number = *first;
            if number == *last {
                key.again.remove(0);
            } else {
                *first += 1;
            }
            return Some((number, self.grid.window(number)));
        }
        let ended = watermark.nanoseconds() == i64::MAX;
        let number = self.upcoming(key, ended)?;
        let window = self.grid.window(number);
        if window.end > watermark {
            return None;
        }
        key.next = number + 1;
        Some((number, window))
    }

    /// Merges the panes of a window; none when nothing is to be told of it.
    pub fn answer(
        &self,
        key: &KeyPanes,
        (number, window): (i64, Window),
        fields: &Fields,
    ) -> Option<Gathered> {
        let panes = key.panes.range(self.grid.panes(number)).map(|(_, pane)| pane);
        let mut parts = panes.chain(key.members.within(self.grid.panes(number)));
        match parts.next() {
            Some(part) => {
                let mut all = part.clone();
                parts.for_each(|part| all.merge(part, fields.evidence));
                Some(all)
            }
            // A window that the clock on the wall jumped over takes no time, and is none. One of
            // which everything was taken back is told, so that it can be taken back as well.
            None => {
                let stood = key.images.get(&number).is_some_and(|image| image.stands);
                let empty = self.empty && window.start < window.end;
                (empty || stood).then(|| Gathered::new(fields))
            }
        }
    }

    /// Whether a window that holds no record is told.
    pub fn tells_empty(&self) -> bool {
        self.empty
    }

    /// Whether a window has lost panes to a bound.
    pub fn is_cut(&self, key: &KeyPanes, number: i64) -> bool {
        number < key.floor
    }

    /// Says behind which bound of lateness something can be forgotten.
    pub fn expiry(&self, key: &KeyPanes) -> Option<EventTime> {
        let least = [key.first_from(i64::MIN), key.images.keys().next().copied()];
        let least = least.into_iter().flatten().min()?;
        Some(self.grid.end(least).saturating_add(self.lateness))
    }

    /// Forgets what is over.
    pub fn forget(&self, key: &mut KeyPanes, late_before: EventTime) {
        let open = self.grid.first_open(late_before, self.lateness);
        while key.first_from(i64::MIN).is_some_and(|pane| pane < open) {
            key.drop_first();
        }
        while key.images.first_entry().is_some_and(|image| *image.key() < open) {
            key.images.pop_first();
        }
    }

    /// Whether nothing is known of the key any more.
    pub fn is_empty(&self, key: &KeyPanes) -> bool {
        let holds_nothing = key.first_from(i64::MIN).is_none() && key.images.is_empty();
        holds_nothing && self.upcoming(key, false).is_none()
    }
}

impl KeyPanes {
    /// Notes a pane, and gives the least that there was so far.
    fn see(&mut self, pane: i64) -> Option<i64> {
        let seen = self.seen;
        let (least, greatest) = seen.unwrap_or((pane, pane));
        self.seen = Some((least.min(pane), greatest.max(pane)));
        seen.map(|(least, _)| least)
    }

    /// Gives the first pane at or behind this one.
    fn first_from(&self, pane: i64) -> Option<i64> {
        let first = self.panes.range(pane..).next().map(|(pane, _)| *pane);
        first.into_iter().chain(self.members.first_from(pane)).min()
    }

    fn add(&mut self, pane: i64, gathered: Gathered, fields: &Fields) {
        match self.panes.get_mut(&pane) {
            Some(there) => {
                self.bytes -= there.bytes();
                there.merge(&gathered, fields.evidence);
                self.bytes += there.bytes();
            }
            None => {
                self.bytes += gathered.bytes();
                self.panes.insert(pane, gathered);
            }
        }
    }

    /// Notes windows to be looked at in this epoch.
    fn look_again(&mut self, first: i64, last: i64) {
        if first > last {
            return;
        }
        self.sifted = false;
        let (mut first, mut last) = (first, last);
        let from = self.again.partition_point(|(_, end)| end.saturating_add(1) < first);
        let mut to = from;
        while let Some((start, end)) = self.again.get(to)
            && *start <= last.saturating_add(1)
        {
            first = first.min(*start);
            last = last.max(*end);
            to += 1;
        }
        self.again.splice(from..to, [(first, last)]);
    }

    fn drop_first(&mut self) {
        if let Some((_, pane)) = self.panes.pop_first() {
            self.bytes -= pane.bytes();
        } else {
            self.members.drop_first();
        }
    }

    /// Lets the oldest pane go, because of a bound. Whether there was one.
    pub fn shrink(&mut self) -> bool {
        let Some(pane) = self.first_from(i64::MIN) else { return false };
        self.drop_first();
        self.floor = self.floor.max(pane.saturating_add(1));
        true
    }

    /// Holds the bound of panes and images; whether something had to go.
    pub fn hold_bound(&mut self) -> bool {
        let mut cut = false;
        while self.panes.len() > PANES_PER_KEY_MAX || self.members.len() > MEMBERS_PER_KEY_MAX {
            cut |= self.shrink();
        }
        while self.images.len() > PANES_PER_KEY_MAX
            && let Some((number, _)) = self.images.pop_first()
        {
            self.floor = self.floor.max(number.saturating_add(1));
            cut = true;
        }
        cut
    }

    /// Gives what was told of a window, to be told anew.
    pub fn image(&mut self, number: i64) -> Image {
        self.images.get(&number).copied().unwrap_or_default()
    }

    /// Notes what was told of a window.
    pub fn tell(&mut self, number: i64, image: Image) {
        self.images.insert(number, image);
    }

    /// Gives about how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let images = self.images.len() * size_of::<(i64, Image)>();
        size_of::<Self>() + self.bytes + self.members.bytes() + images
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_signed(self.next, out);
        code::push_signed(self.floor, out);
        // A key that is known has seen a pane.
        let (least, greatest) = self.seen.unwrap_or_default();
        code::push_signed(least, out);
        code::push_signed(greatest, out);
        code::push_number(self.panes.len() as u64, out);
        for (pane, gathered) in &self.panes {
            code::push_signed(*pane, out);
            gathered.encode(out);
        }
        code::push_number(self.images.len() as u64, out);
        for (number, image) in &self.images {
            code::push_signed(*number, out);
            image.encode(out);
        }
        self.members.encode(out);
    }

    /// Reads what [`KeyPanes::encode`] wrote.
    pub fn decode(fields: &Fields, bytes: &mut &[u8]) -> Result<Self, Damaged> {
        let mut key = KeyPanes {
            next: code::take_signed(bytes)?,
            floor: code::take_signed(bytes)?,
            seen: Some((code::take_signed(bytes)?, code::take_signed(bytes)?)),
            ..KeyPanes::default()
        };
        for _ in 0..code::take_number(bytes)? {
            let pane = code::take_signed(bytes)?;
            let gathered = Gathered::decode(fields, bytes)?;
            key.bytes += gathered.bytes();
            key.panes.insert(pane, gathered);
        }
        for _ in 0..code::take_number(bytes)? {
            let number = code::take_signed(bytes)?;
            key.images.insert(number, Image::decode(bytes)?);
        }
        key.members = Members::decode(fields, bytes)?;
        Ok(key)
    }
}

/// Folds records into panes, on one worker.
#[derive(Debug)]
pub struct PanesMaker {
    windows: Panes,
    /// By pane and key, as bytes.
    panes: HashMap<Vec<u8>, Made>,
    late: Lates,
    lookup: Vec<u8>,
    /// The pane of the last record, with its ends: the next record is mostly in the same.
    recent: (i64, Window),
    /// The bound of lateness of this epoch, and the first window that is open behind it.
    open: (EventTime, i64),
}

#[derive(Debug)]
struct Made {
    place: Place,
    pane: i64,
    gathered: Gathered,
}

impl PanesMaker {
    /// Makes an empty one.
    pub fn new(windows: Panes) -> Self {
        let least = EventTime::from_nanoseconds(i64::MIN);
        let open = (least, windows.grid.first_open(least, windows.lateness));
        PanesMaker {
            windows,
            panes: HashMap::new(),
            late: Lates::default(),
            lookup: Vec::new(),
            recent: (0, Window { start: least, end: least }),
            open,
        }
    }

    /// Gives what is gathered of the pane that a record belongs to; none when it is too late, which
    /// is counted.
    pub fn gather(
        &mut self,
        key: &[u8],
        place: &Place,
        late_before: EventTime,
        fields: &Fields,
    ) -> Option<&mut Gathered> {
        let time = place.event_time;
        let (mut pane, window) = self.recent;
        if time < window.start || time >= window.end {
            pane = self.windows.grid.pane(time);
            let (start, end) = (self.windows.grid.start(pane), self.windows.grid.start(pane + 1));
            self.recent = (pane, Window { start, end });
        }
        if self.open.0 != late_before {
            let open = self.windows.grid.first_open(late_before, self.windows.lateness);
            self.open = (late_before, open);
        }
        if pane < self.open.1 {
            self.late.count(key, place);
            return None;
        }
        self.lookup.clear();
        self.lookup.extend(pane.to_le_bytes());
        self.lookup.extend_from_slice(key);
        if !self.panes.contains_key(&self.lookup) {
            let made = Made { place: *place, pane, gathered: Gathered::new(fields) };
            self.panes.insert(self.lookup.clone(), made);
        }
        let made = self.panes.get_mut(&self.lookup)?;
        made.place = made.place.min(*place);
        Some(&mut made.gathered)
    }

    /// Appends a row for each pane and key, and for each key that had records too late.
    pub fn drain(&mut self, partitioner: &Partitioner, rows: &mut Vec<Row>) {
        for (key, made) in self.panes.drain() {
            let key = key[size_of::<i64>()..].to_vec();
            let mut payload = vec![PANE];
            code::push_signed(made.pane, &mut payload);
            made.gathered.encode(&mut payload);
            rows.push(Row { group: partitioner.group(&key), place: made.place, key, payload });
        }
        self.late.drain(partitioner, rows);
    }
}

/// Counts records that came too late, by key.
#[derive(Debug, Default)]
pub struct Lates(HashMap<Vec<u8>, (u64, Place)>);

impl Lates {
    /// Counts one.
    pub fn count(&mut self, key: &[u8], place: &Place) {
        match self.0.get_mut(key) {
            Some((count, least)) => {
                *count += 1;
                *least = (*least).min(*place);
            }
            None => {
                self.0.insert(key.to_vec(), (1, *place));
            }
        }
    }

    /// Appends a row for each key.
    pub fn drain(&mut self, partitioner: &Partitioner, rows: &mut Vec<Row>) {
        for (key, (count, place)) in self.0.drain() {
            let mut payload = vec![LATE];
            code::push_number(count, &mut payload);
            rows.push(Row { group: partitioner.group(&key), place, key, payload });
        }
    }
}
