//! The sessions of one key: runs of records of which each is nearer than `gap` to the next.
//!
//! What is kept are *segments*: of a run the part that falls into one *cell*, a stretch of length
//! `max` of the timeline. A run whose records lie within `max` of one another is one session. A
//! longer one, of somebody who never pauses, is cut at the cells' ends, and each segment is a
//! session of its own.
//!
//! ```text
//!  cells      │                 │                 │                 │
//!  segments   │  ●─●      ●─●─●─┼─●─●        ●─●─┼─●─●─●─●─●─●─●─●─┼─●─●
//!  sessions   │  └─┘      └─────────┘        └───┘ └───────────────┘ └─┘
//!                         within `max`: one      longer: cut at the cells
//! ```
//!
//! Cutting at cells and not at the run's own beginning makes it a function of the set of records: a
//! late record before the beginning would else shift all cuts. That a run is long never changes
//! again, so each segment remembers it, also when those before it are forgotten.
//!
//! A session is known by where it began when it was first told. Of two that a late record bridges,
//! the earlier goes on, and the later is withdrawn in favour of it.
//!
//! A record is too late when a session of it alone would be over, `gap` and the allowed lateness
//! behind it. So a session is kept for one `gap` longer than it is amended: until no record can
//! come that it would reach.

use super::code::{self, Damaged};
use super::early::Early;
use super::gathered::{Fields, Gathered};
use super::grid::Window;
use super::panes::Lates;
use super::told::Image;
use azud_event::id::Partitioner;
use azud_event::row::{Place, Row};
use azud_event::time::EventTime;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How many segments, and how many images of sessions, a key may have: an hour of lateness by
/// pauses of a second. Of further ones the oldest are let go.
pub const SEGMENTS_PER_KEY_MAX: usize = 4_096;

/// The first byte of the row of a segment.
pub const SEGMENT: u8 = 3;

/// Which records are one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How long a pause ends a session, to the nanosecond; not zero.
    pub gap: Duration,
    /// How long a session may be, and how long a cell is; at least `gap`.
    pub max: Duration,
}

impl Gap {
    /// Whether two times are so near that nothing ends a session between them.
    fn joins(&self, earlier: EventTime, later: EventTime) -> bool {
        later.since(earlier) < self.gap
    }

    fn cell(&self, time: EventTime) -> EventTime {
        time.aligned_to(self.max)
    }

    /// Whether two segments are parts of one.
    fn is_one(&self, earlier: &Gathered, later: &Gathered) -> bool {
        self.joins(earlier.last, later.first) && self.cell(earlier.first) == self.cell(later.first)
    }
}

/// How sessions are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// Which records are one.
    pub gap: Gap,
    /// How long after its end a session is amended.
    pub lateness: Duration,
    /// Which sessions are told as soon as they change, before they close.
    pub early: Early,
}

/// A part of a run.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    gathered: Gathered,
    /// Whether its run is longer than a session may be.
    long: bool,
    /// Whether its session changed since it was looked at.
    changed: bool,
}

/// The sessions of one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeySessions {
    /// By the time of their first record; they do not overlap.
    segments: BTreeMap<EventTime, Segment>,
    /// By the start that a session had when it was first told.
    images: BTreeMap<EventTime, Image>,
    /// Sessions that begin before this have lost records to a bound.
    floor: Option<EventTime>,
    bytes: usize,
}

/// A session to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Where it lies.
    pub window: Window,
    /// Its last record.
    last: EventTime,
    long: bool,
    changed: bool,
}

impl Sessions {
    /// Reads one row and adds it to a key; gives when its last event happened.
    pub fn apply(
        &self,
        key: &mut KeySessions,
        fields: &Fields,
        mut payload: &[u8],
    ) -> Result<EventTime, Damaged> {
        let mut gathered = Gathered::decode(fields, &mut payload)?;
        let last_event = gathered.last;
        let mut long = false;
        while let Some(start) = self.near(key, &gathered)
            && let Some(segment) = key.segments.remove(&start)
        {
            key.bytes -= segment.gathered.bytes();
            gathered.merge(&segment.gathered, fields.evidence);
            long |= segment.long;
        }
        key.bytes += gathered.bytes();
        let start = gathered.first;
        key.segments.insert(start, Segment { gathered, long, changed: true });
        self.mark_run(key, start);
        Ok(last_event)
    }

    /// Finds a segment that is one with `gathered`.
    fn near(&self, key: &KeySessions, gathered: &Gathered) -> Option<EventTime> {
        let before = key.segments.range(..=gathered.first).next_back();
        let behind = key.segments.range(gathered.first..).next();
        let one = |segment: &Segment| {
            let other = &segment.gathered;
            let (earlier, later) =
                if other.first <= gathered.first { (other, gathered) } else { (gathered, other) };
            self.gap.is_one(earlier, later)
        };
        let near = [before, behind].into_iter().flatten().find(|(_, segment)| one(segment));
        near.map(|(start, _)| *start)
    }

    /// Lists the segments of the run that holds the segment at `start`.
    fn run(&self, key: &KeySessions, start: EventTime) -> Vec<EventTime> {
        let mut run = Vec::new();
        let mut later = start;
        for (start, segment) in key.segments.range(..=start).rev() {
            if !run.is_empty() && !self.gap.joins(segment.gathered.last, later) {
                break;
            }
            run.push(*start);
            later = *start;
        }
        run.reverse();
        let Some(segment) = key.segments.get(&start) else { return run };
        let mut earlier = segment.gathered.last;
        for (start, segment) in key.segments.range(start..).skip(1) {
            if !self.gap.joins(earlier, *start) {
                break;
            }
            run.push(*start);
            earlier = segment.gathered.last;
        }
        run
    }

    /// Marks all segments of a run as long, if it is; what was not so before has changed.
    fn mark_run(&self, key: &mut KeySessions, start: EventTime) {
        let run = self.run(key, start);
        let of = |start: &EventTime| key.segments.get(start);
        let first = run.first().copied().unwrap_or(start);
        let last = run.last().and_then(of).map_or(start, |segment| segment.gathered.last);
        let was = run.iter().filter_map(of).any(|segment| segment.long);
        if !was && last.since(first) <= self.gap.max {
            return;
        }
        for start in run {
            if let Some(segment) = key.segments.get_mut(&start)
                && !segment.long
            {
                segment.long = true;
                segment.changed = true;
            }
        }
    }

    /// Lists the sessions of a key, earliest first.
    fn sessions<'a>(&'a self, key: &'a KeySessions) -> impl Iterator<Item = Session> + 'a {
        let mut segments = key.segments.values().peekable();
        std::iter::from_fn(move || {
            let segment = segments.next()?;
            let Segment { gathered, long, changed } = segment;
            let mut changed = *changed;
            let mut last = gathered.last;
            let mut end = last.saturating_add(self.gap.gap);
            if *long {
                end = end.min(self.gap.cell(gathered.first).saturating_add(self.gap.max));
            } else {
                while let Some(next) =
                    segments.next_if(|next| self.gap.joins(last, next.gathered.first))
                {
                    last = next.gathered.last;
                    changed |= next.changed;
                    end = last.saturating_add(self.gap.gap);
                }
            }
            let window = Window { start: gathered.first, end };
            Some(Session { window, last, long: *long, changed })
        })
    }

    /// Says at which watermark the key has a session to look at.
    pub fn due(&self, key: &KeySessions) -> Option<EventTime> {
        let waiting = self.sessions(key).filter(|session| session.changed);
        waiting.map(|session| session.window.end).min()
    }

    /// Takes the next session that is to be looked at now.
    pub fn take(&self, key: &mut KeySessions, watermark: EventTime) -> Option<Session> {
        let is_due =
            |session: &Session| session.window.end <= watermark || self.is_wanted(key, session);
        let found = self.sessions(key).find(|session| session.changed && is_due(session))?;
        for (_, segment) in key.segments.range_mut(found.window.start..=found.last) {
            segment.changed = false;
        }
        Some(found)
    }

    /// Whether a session is told before it closes: one that was told before is told again.
    fn is_wanted(&self, key: &KeySessions, session: &Session) -> bool {
        let Early::When(growth) = &self.early else { return self.early.at_all() };
        let (first, last) = (session.window.start, session.last);
        let parts = key.segments.range(first..=last).map(|(_, segment)| &segment.gathered);
        key.anchors(first, last).next().is_some() || growth.holds(&parts.collect::<Vec<_>>())
    }

    /// Merges the segments of a session.
    pub fn answer(
        &self,
        key: &KeySessions,
        session: &Session,
        fields: &Fields,
    ) -> Option<Gathered> {
        let mut segments = key.segments.range(session.window.start..=session.last);
        let mut all = segments.next()?.1.gathered.clone();
        segments.for_each(|(_, segment)| all.merge(&segment.gathered, fields.evidence));
        Some(all)
    }

    /// Whether a session has lost records to a bound.
    pub fn is_cut(&self, key: &KeySessions, session: &Session) -> bool {
        key.floor.is_some_and(|floor| session.window.start < floor)
    }

    fn over_at(&self, session: &Session) -> EventTime {
        let gaps = self.gap.gap.saturating_mul(2);
        session.last.saturating_add(gaps).saturating_add(self.lateness)
    }

    /// Says behind which bound of lateness something can be forgotten.
    pub fn expiry(&self, key: &KeySessions) -> Option<EventTime> {
        self.sessions(key).map(|session| self.over_at(&session)).min()
    }

    /// Forgets what is over.
    pub fn forget(&self, key: &mut KeySessions, late_before: EventTime) {
        let over: Vec<Session> =
            self.sessions(key).filter(|session| self.over_at(session) <= late_before).collect();
        for session in over {
            key.drop_between(session.window.start, session.last);
        }
    }
}

impl KeySessions {
    fn drop_between(&mut self, first: EventTime, last: EventTime) {
        let segments: Vec<EventTime> =
            self.segments.range(first..=last).map(|(start, _)| *start).collect();
        for start in segments {
            if let Some(segment) = self.segments.remove(&start) {
                self.bytes -= segment.gathered.bytes();
            }
        }
        let told: Vec<EventTime> = self.anchors(first, last).collect();
        told.iter().for_each(|anchor| _ = self.images.remove(anchor));
    }

    /// Lists the sessions that were told and lie between two times, by where they began then.
    fn anchors(&self, first: EventTime, last: EventTime) -> impl Iterator<Item = EventTime> {
        self.images.range(first..=last).map(|(anchor, _)| *anchor)
    }

    /// Gives by which start a session is known, and the others whose records it has taken over.
    pub fn known_as(&self, session: &Session) -> (EventTime, Vec<EventTime>) {
        let mut anchors = self.anchors(session.window.start, session.last);
        let first = anchors.next().unwrap_or(session.window.start);
        (first, anchors.collect())
    }

    /// Lets the oldest segment go, because of a bound. Whether there was one.
    pub fn shrink(&mut self) -> bool {
        let Some((start, segment)) = self.segments.first_key_value() else { return false };
        let (start, last) = (*start, segment.gathered.last);
        self.drop_between(start, last);
        // The session that it was a part of begins behind it now, at its next segment at most.
        let next = self.segments.keys().next().map_or(last, |next| *next);
        self.floor = Some(EventTime::from_nanoseconds(next.nanoseconds().saturating_add(1)));
        true
    }

    /// Holds the bound of segments and images; whether something had to go.
    pub fn hold_bound(&mut self) -> bool {
        let mut cut = false;
        while self.segments.len() > SEGMENTS_PER_KEY_MAX {
            cut |= self.shrink();
        }
        while self.images.len() > SEGMENTS_PER_KEY_MAX {
            cut |= self.images.pop_first().is_some();
        }
        cut
    }

    /// Whether nothing is known of the key any more.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Gives what was told of a session, to be told anew.
    pub fn image(&mut self, anchor: EventTime) -> Image {
        self.images.get(&anchor).copied().unwrap_or_default()
    }

    /// Notes what was told of a session.
    pub fn tell(&mut self, anchor: EventTime, image: Image) {
        self.images.insert(anchor, image);
    }

    /// Gives about how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.bytes
            + self.segments.len() * size_of::<EventTime>()
            + self.images.len() * size_of::<(EventTime, Image)>()
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let floor = self.floor.map_or(i64::MIN, EventTime::nanoseconds);
        code::push_signed(floor, out);
        code::push_number(self.segments.len() as u64, out);
        for segment in self.segments.values() {
            out.push(u8::from(segment.long) | u8::from(segment.changed) << 1);
            segment.gathered.encode(out);
        }
        code::push_number(self.images.len() as u64, out);
        for (anchor, image) in &self.images {
            code::push_signed(anchor.nanoseconds(), out);
            image.encode(out);
        }
    }

    /// Reads what [`KeySessions::encode`] wrote.
    pub fn decode(fields: &Fields, bytes: &mut &[u8]) -> Result<Self, Damaged> {
        let floor = code::take_signed(bytes)?;
        let floor = (floor != i64::MIN).then(|| EventTime::from_nanoseconds(floor));
        let mut key = KeySessions { floor, ..KeySessions::default() };
        for _ in 0..code::take_number(bytes)? {
            let flags = code::take_byte(bytes)?;
            let gathered = Gathered::decode(fields, bytes)?;
            if flags > 3 || gathered.count == 0 {
                return Err(Damaged("a segment is not one"));
            }
            key.bytes += gathered.bytes();
            let (long, changed) = (flags & 1 != 0, flags & 2 != 0);
            key.segments.insert(gathered.first, Segment { gathered, long, changed });
        }
        for _ in 0..code::take_number(bytes)? {
            let anchor = EventTime::from_nanoseconds(code::take_signed(bytes)?);
            key.images.insert(anchor, Image::decode(bytes)?);
        }
        Ok(key)
    }
}

/// Folds records into segments, on one worker.
#[derive(Debug)]
pub struct SessionsMaker {
    windows: Sessions,
    keys: HashMap<Vec<u8>, BTreeMap<EventTime, Made>>,
    late: Lates,
}

#[derive(Debug)]
struct Made {
    place: Place,
    gathered: Gathered,
}

impl SessionsMaker {
    /// Makes an empty one.
    pub fn new(windows: Sessions) -> Self {
        SessionsMaker { windows, keys: HashMap::new(), late: Lates::default() }
    }

    /// Gives what is gathered of the segment that a record belongs to; none when it is too late,
    /// which is counted.
    ///
    /// The segment must be told the record's time by [`Gathered::count`] before the next record.
    pub fn gather(
        &mut self,
        key: &[u8],
        place: &Place,
        late_before: EventTime,
        fields: &Fields,
    ) -> Option<&mut Gathered> {
        let time = place.event_time;
        let Gap { gap, .. } = self.windows.gap;
        if time.saturating_add(gap).saturating_add(self.windows.lateness) <= late_before {
            self.late.count(key, place);
            return None;
        }
        if !self.keys.contains_key(key) {
            self.keys.insert(key.to_vec(), BTreeMap::new());
        }
        let made = segment_of(self.keys.get_mut(key)?, place, self.windows.gap, fields)?;
        Some(&mut made.gathered)
    }

    /// Appends a row for each segment, and for each key that had records too late.
    pub fn drain(&mut self, partitioner: &Partitioner, rows: &mut Vec<Row>) {
        for (key, segments) in self.keys.drain() {
            let group = partitioner.group(&key);
            for made in segments.into_values() {
                let mut payload = vec![SEGMENT];
                made.gathered.encode(&mut payload);
                rows.push(Row { group, place: made.place, key: key.clone(), payload });
            }
        }
        self.late.drain(partitioner, rows);
    }
}

/// Finds or makes the segment that a record belongs to; two that it bridges become one.
fn segment_of<'a>(
    segments: &'a mut BTreeMap<EventTime, Made>,
    place: &Place,
    gap: Gap,
    fields: &Fields,
) -> Option<&'a mut Made> {
    let time = place.event_time;
    let here = |other: EventTime| gap.cell(other) == gap.cell(time);
    let before = segments
        .range(..=time)
        .next_back()
        .filter(|(start, made)| here(**start) && gap.joins(made.gathered.last, time))
        .map(|(start, _)| *start);
    let behind = segments
        .range(time..)
        .next()
        .filter(|(start, _)| here(**start) && gap.joins(time, **start))
        .map(|(start, _)| *start);
    let start = before.unwrap_or(time);
    match behind {
        Some(behind) if behind != start => {
            let later = segments.remove(&behind)?;
            let made = segments
                .entry(start)
                .or_insert_with(|| Made { place: *place, gathered: Gathered::new(fields) });
            made.gathered.merge(&later.gathered, fields.evidence);
            made.place = made.place.min(later.place);
        }
        Some(_) => {}
        None if before.is_some() => {}
        None => {
            segments.insert(time, Made { place: *place, gathered: Gathered::new(fields) });
        }
    }
    let made = segments.get_mut(&start)?;
    made.place = made.place.min(*place);
    Some(made)
}
