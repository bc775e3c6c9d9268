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
//!
//! A session that was told when it ended, and has not changed since, is closed: it is put away.
//! When a record comes that is near to some that were, all of the key come back.

use super::closed::Closed;
use super::code::{self, Damaged};
use super::early::Early;
use super::gathered::{Fields, Gathered};
use super::grid::Window;
use super::held::{Applied, Around};
use super::panes_maker::Lates;
use super::sorted::Sorted;
use super::told::Image;
use azud_event::id::Partitioner;
use azud_event::row::{Place, Row};
use azud_event::time::EventTime;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::time::Duration;

/// How many segments of sessions that are not closed a key may have. Of further ones, which only a
/// clock that stands makes, the oldest are let go.
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
    /// When it is over, if its session is closed.
    over_at: Option<EventTime>,
}

/// The sessions of one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeySessions {
    /// By the time of their first record; they do not overlap.
    segments: Sorted<EventTime, Segment>,
    /// By the start that a session had when it was first told.
    images: Sorted<EventTime, Image>,
    /// Sessions that begin before this have lost records to a bound.
    floor: Option<EventTime>,
    /// How much there is in segments of sessions that are not closed.
    bytes: usize,
    away: Option<Away>,
}

/// What was put away.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Away {
    /// The first record.
    first: EventTime,
    /// The last.
    last: EventTime,
    /// When all of it is over.
    over_at: EventTime,
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
    /// Reads one row and adds it to a key.
    pub fn apply(
        &self,
        key: &mut KeySessions,
        mut payload: &[u8],
        around: &mut Around<'_>,
    ) -> Result<Applied, Damaged> {
        let mut gathered = Gathered::decode(around.fields, &mut payload)?;
        let last_event = gathered.last;
        let over = last_event.saturating_add(self.gap.gap).saturating_add(self.lateness);
        if over <= around.over_before {
            return Ok(Applied::Late(gathered.count));
        }
        let mut long = false;
        while let Some(start) = self.near(key, &gathered)
            && let Some(segment) = key.take_out(start, around.closed)
        {
            gathered.merge(&segment.gathered, around.fields.evidence);
            long |= segment.long;
        }
        key.bytes += gathered.bytes();
        let start = gathered.first;
        let segment = Segment { gathered, long, changed: true, over_at: None };
        key.segments.insert(start, segment);
        self.mark_run(key, start, around.closed);
        Ok(Applied::Counted(last_event))
    }

    /// Whether what was put away must be back before a row is applied.
    pub fn needs_back(
        &self,
        key: &KeySessions,
        payload: &[u8],
    ) -> Result<Option<(i64, i64)>, Damaged> {
        let Some(away) = key.away else { return Ok(None) };
        let span = Gathered::span(payload.get(1..).unwrap_or_default())?;
        let near = span.is_some_and(|(first, last)| {
            self.gap.joins(away.last, first) && self.gap.joins(last, away.first)
        });
        Ok(near.then(|| (away.first.nanoseconds(), away.last.nanoseconds())))
    }

    /// Finds a segment that is one with `gathered`.
    fn near(&self, key: &KeySessions, gathered: &Gathered) -> Option<EventTime> {
        let before = key.segments.range(..=gathered.first).next_back();
        let behind = key.segments.range(gathered.first..).next();
        let one = |(_, segment): &(EventTime, &Segment)| {
            let other = &segment.gathered;
            let (earlier, later) =
                if other.first <= gathered.first { (other, gathered) } else { (gathered, other) };
            self.gap.is_one(earlier, later)
        };
        let near = [before, behind].into_iter().flatten().find(one);
        near.map(|(start, _)| start)
    }

    /// Lists the segments of the run that holds the segment at `start`.
    fn run(&self, key: &KeySessions, start: EventTime) -> Vec<EventTime> {
        let mut run = Vec::new();
        let mut later = start;
        for (start, segment) in key.segments.range(..=start).rev() {
            if !run.is_empty() && !self.gap.joins(segment.gathered.last, later) {
                break;
            }
            run.push(start);
            later = start;
        }
        run.reverse();
        let Some(segment) = key.segments.get(&start) else { return run };
        let mut earlier = segment.gathered.last;
        for (start, segment) in key.segments.range(start..).skip(1) {
            if !self.gap.joins(earlier, start) {
                break;
            }
            run.push(start);
            earlier = segment.gathered.last;
        }
        run
    }

    /// Marks all segments of a run as long, if it is; what was not so before has changed.
    ///
    /// Parts of one session are closed together, so none of the run may stay closed.
    fn mark_run(&self, key: &mut KeySessions, start: EventTime, closed: &mut Closed) {
        let run = self.run(key, start);
        let of = |start: &EventTime| key.segments.get(start);
        let first = run.first().copied().unwrap_or(start);
        let last = run.last().and_then(of).map_or(start, |segment| segment.gathered.last);
        let was = run.iter().filter_map(of).any(|segment| segment.long);
        let long = was || last.since(first) > self.gap.max;
        for start in run {
            let Some(segment) = key.segments.get_mut(&start) else { continue };
            if !(long && segment.long) {
                segment.changed |= long;
                segment.long = long;
                key.open(start, closed);
            }
        }
    }

    /// Lists the sessions of a key, earliest first.
    fn sessions<'a>(&'a self, key: &'a KeySessions) -> impl Iterator<Item = Session> + 'a {
        let mut segments = key.segments.iter().map(|(_, segment)| segment).peekable();
        std::iter::from_fn(move || {
            let Segment { gathered, long, changed, .. } = segments.next()?;
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
    pub fn take(
        &self,
        key: &mut KeySessions,
        watermark: EventTime,
        closed: &mut Closed,
    ) -> Option<Session> {
        let is_due =
            |session: &Session| session.window.end <= watermark || self.is_wanted(key, session);
        let found = self.sessions(key).find(|session| session.changed && is_due(session))?;
        let over_at = self.over_at(&found);
        for (_, segment) in key.segments.range_mut(found.window.start..=found.last) {
            segment.changed = false;
            if found.window.end <= watermark && segment.over_at.is_none() {
                segment.over_at = Some(over_at);
                key.bytes -= segment.gathered.bytes();
                closed.add(over_at, segment.gathered.bytes());
            }
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

    /// Lists the segments of a session, by when they begin.
    pub fn each_part(
        &self,
        key: &KeySessions,
        session: &Session,
        each: &mut dyn FnMut(i64, &Gathered),
    ) {
        let segments = key.segments.range(session.window.start..=session.last);
        segments.for_each(|(start, segment)| each(start.nanoseconds(), &segment.gathered));
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
        let here = self.sessions(key).map(|session| self.over_at(&session));
        here.chain(key.away.map(|away| away.over_at)).min()
    }

    /// Forgets what is over.
    pub fn forget(&self, key: &mut KeySessions, over_before: EventTime) {
        let over: Vec<Session> =
            self.sessions(key).filter(|session| self.over_at(session) <= over_before).collect();
        for session in over {
            key.drop_between(session.window.start, session.last);
        }
        key.away = key.away.filter(|away| away.over_at > over_before);
    }

    /// Lists what may be put away, in the order of its numbers: segments of closed sessions.
    pub fn to_put_away(&self, key: &KeySessions, mut put: impl FnMut(i64, EventTime, &[u8])) {
        let mut value = Vec::new();
        for (start, segment) in key.segments.iter() {
            let Some(over_at) = segment.over_at else { continue };
            value.clear();
            value.push(u8::from(segment.long));
            code::push_signed(over_at.nanoseconds(), &mut value);
            segment.gathered.encode(&mut value);
            let images = start..=segment.gathered.last;
            code::push_number(key.images.count(images.clone()) as u64, &mut value);
            for (anchor, image) in key.images.range(images) {
                code::push_signed(anchor.nanoseconds(), &mut value);
                image.encode(&mut value);
            }
            put(start.nanoseconds(), over_at, &value);
        }
    }
}

impl KeySessions {
    /// Takes a segment out, to be made part of another.
    fn take_out(&mut self, start: EventTime, closed: &mut Closed) -> Option<Segment> {
        self.open(start, closed);
        let segment = self.segments.remove(&start)?;
        self.bytes -= segment.gathered.bytes();
        Some(segment)
    }

    /// Makes a segment one of a session that is not closed.
    fn open(&mut self, start: EventTime, closed: &mut Closed) {
        if let Some(segment) = self.segments.get_mut(&start)
            && let Some(over_at) = segment.over_at.take()
        {
            closed.subtract(over_at, segment.gathered.bytes());
            self.bytes += segment.gathered.bytes();
        }
    }

    fn drop_between(&mut self, first: EventTime, last: EventTime) {
        for (_, segment) in self.segments.range(first..=last) {
            if segment.over_at.is_none() {
                self.bytes -= segment.gathered.bytes();
            }
        }
        self.segments.drop_range(first..=last);
        self.images.drop_range(first..=last);
    }

    /// Lists the sessions that were told and lie between two times, by where they began then.
    fn anchors(&self, first: EventTime, last: EventTime) -> impl Iterator<Item = EventTime> {
        self.images.range(first..=last).map(|(anchor, _)| anchor)
    }

    /// Gives by which start a session is known, and the others whose records it has taken over.
    pub fn known_as(&self, session: &Session) -> (EventTime, Vec<EventTime>) {
        let mut anchors = self.anchors(session.window.start, session.last);
        let first = anchors.next().unwrap_or(session.window.start);
        (first, anchors.collect())
    }

    /// Has the processor fetch what is looked at when a session is told.
    pub fn come_near(&self) {
        black_box((self.segments.first(), self.images.first(), self.away));
    }

    /// Lets the oldest segment go that is not closed, because of a bound. Whether there was one.
    pub fn shrink(&mut self) -> bool {
        let mut open = self.segments.iter().filter(|(_, segment)| segment.over_at.is_none());
        let Some((start, segment)) = open.next() else { return false };
        let last = segment.gathered.last;
        // The session that it was a part of begins behind it now, at its next segment at most.
        let next = open.next().map_or(last, |(next, _)| next);
        drop(open);
        self.drop_between(start, last);
        self.floor = Some(EventTime::from_nanoseconds(next.nanoseconds().saturating_add(1)));
        true
    }

    /// Holds the bound of segments; whether something had to go.
    pub fn hold_bound(&mut self) -> bool {
        let open = |(_, segment): &(EventTime, &Segment)| segment.over_at.is_none();
        let mut cut = false;
        // Closed ones are soon put away, and count elsewhere.
        while self.segments.len() > SEGMENTS_PER_KEY_MAX
            && self.segments.iter().filter(open).count() > SEGMENTS_PER_KEY_MAX
        {
            cut |= self.shrink();
        }
        cut
    }

    /// Whether nothing is known of the key any more.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.away.is_none()
    }

    /// Gives what was told of a session, to be told anew.
    pub fn image(&mut self, anchor: EventTime) -> Image {
        self.images.get(&anchor).copied().unwrap_or_default()
    }

    /// Notes what was told of a session.
    pub fn tell(&mut self, anchor: EventTime, image: Image) {
        self.images.insert(anchor, image);
    }

    /// Gives about how much it takes, in bytes, but for what is of closed sessions.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    /// Lets go of what was put away.
    pub fn let_go(&mut self) {
        let closed: Vec<(EventTime, EventTime, EventTime)> = self
            .segments
            .iter()
            .filter_map(|(start, segment)| Some((start, segment.gathered.last, segment.over_at?)))
            .collect();
        for (first, last, over_at) in closed {
            let away = self.away.get_or_insert(Away { first, last, over_at });
            away.first = away.first.min(first);
            away.last = away.last.max(last);
            away.over_at = away.over_at.max(over_at);
            self.drop_between(first, last);
        }
    }

    /// Takes back what was put away under a number.
    pub fn take_back(&mut self, bytes: &mut &[u8], around: &mut Around<'_>) -> Result<(), Damaged> {
        let long = code::take_truth(bytes)?;
        let over_at = Some(EventTime::from_nanoseconds(code::take_signed(bytes)?));
        let gathered = Gathered::decode(around.fields, bytes)?;
        for _ in 0..code::take_number(bytes)? {
            let anchor = EventTime::from_nanoseconds(code::take_signed(bytes)?);
            self.images.insert(anchor, Image::decode(bytes)?);
        }
        around.closed.came_back(gathered.bytes());
        let segment = Segment { gathered, long, changed: false, over_at };
        self.segments.insert(segment.gathered.first, segment);
        Ok(())
    }

    /// Notes that everything that was put away is here again.
    pub fn is_back(&mut self) {
        self.away = None;
    }

    /// Gives up what could not be brought back.
    pub fn lose(&mut self) {
        let Some(away) = self.away.take() else { return };
        let behind = EventTime::from_nanoseconds(away.last.nanoseconds().saturating_add(1));
        self.floor = self.floor.max(Some(behind));
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let floor = self.floor.map_or(i64::MIN, EventTime::nanoseconds);
        code::push_signed(floor, out);
        code::push_number(self.segments.len() as u64, out);
        for (_, segment) in self.segments.iter() {
            let closed = u8::from(segment.over_at.is_some()) << 2;
            out.push(u8::from(segment.long) | u8::from(segment.changed) << 1 | closed);
            if let Some(over_at) = segment.over_at {
                code::push_signed(over_at.nanoseconds(), out);
            }
            segment.gathered.encode(out);
        }
        code::push_number(self.images.len() as u64, out);
        for (anchor, image) in self.images.iter() {
            code::push_signed(anchor.nanoseconds(), out);
            image.encode(out);
        }
        out.push(u8::from(self.away.is_some()));
        if let Some(Away { first, last, over_at }) = &self.away {
            for time in [first, last, over_at] {
                code::push_signed(time.nanoseconds(), out);
            }
        }
    }

    /// Reads what [`KeySessions::encode`] wrote.
    pub fn decode(bytes: &mut &[u8], around: &mut Around<'_>) -> Result<Self, Damaged> {
        let take_time = |bytes: &mut &[u8]| -> Result<EventTime, Damaged> {
            Ok(EventTime::from_nanoseconds(code::take_signed(bytes)?))
        };
        let floor = Some(take_time(bytes)?).filter(|floor| floor.nanoseconds() != i64::MIN);
        let mut key = KeySessions { floor, ..KeySessions::default() };
        for _ in 0..code::take_number(bytes)? {
            let flags = code::take_byte(bytes)?;
            let (long, changed) = (flags & 1 != 0, flags & 2 != 0);
            let over_at = if flags & 4 != 0 { Some(take_time(bytes)?) } else { None };
            let gathered = Gathered::decode(around.fields, bytes)?;
            if flags > 7 || gathered.count == 0 {
                return Err(Damaged("a segment is not one"));
            }
            match over_at {
                Some(_) => around.closed.came_back(gathered.bytes()),
                None => key.bytes += gathered.bytes(),
            }
            let first = gathered.first;
            key.segments.insert(first, Segment { gathered, long, changed, over_at });
        }
        for _ in 0..code::take_number(bytes)? {
            let anchor = take_time(bytes)?;
            key.images.insert(anchor, Image::decode(bytes)?);
        }
        if code::take_truth(bytes)? {
            let (first, last, over_at) = (take_time(bytes)?, take_time(bytes)?, take_time(bytes)?);
            key.away = Some(Away { first, last, over_at });
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
                let (key, payload) = (key.as_slice().into(), payload.into());
                rows.push(Row { group, place: made.place, key, payload });
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
