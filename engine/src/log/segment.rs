//! The files of the log: what is known of each segment, and of all in order.

use super::LogPosition;
use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind};
use azud_event::time::EventTime;
use std::collections::BTreeMap;

/// One segment, as it is on disk now.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What it says of itself.
    pub header: SegmentHeader,
    /// Up to where it may be read: of the one that is written, what is durable.
    pub end: LogPosition,
    /// When it was closed; `None` while it is written.
    pub closed_at: Option<EventTime>,
    /// How long its file is, in bytes.
    pub file_bytes: u64,
}

impl Segment {
    /// Gives the name of its file.
    pub fn name(&self) -> String {
        name_of(self.header.start, self.header.kind)
    }

    /// Gives the byte of its file before which to stop reading.
    pub fn limit(&self) -> u64 {
        match self.header.kind {
            SegmentKind::Packed => self.file_bytes,
            SegmentKind::Raw => SEGMENT_HEADER_BYTES as u64 + (self.end.0 - self.header.start.0),
        }
    }
}

/// Gives the name of a segment's file, which sorts by position.
pub fn name_of(start: LogPosition, kind: SegmentKind) -> String {
    match kind {
        SegmentKind::Raw => format!("{:016x}.log", start.0),
        SegmentKind::Packed => format!("{:016x}.packed", start.0),
    }
}

/// Gives the name under which a packed segment is made.
pub fn name_unfinished(start: LogPosition) -> String {
    format!("{:016x}.unfinished", start.0)
}

/// Whether a file is a packed segment that was never finished.
pub fn is_unfinished(name: &str) -> bool {
    name.ends_with(".unfinished")
}

/// Reads a name; `None` when it is not a segment's.
pub fn parse_name(name: &str) -> Option<(LogPosition, SegmentKind)> {
    let (number, kind) = match name.split_once('.')? {
        (number, "log") => (number, SegmentKind::Raw),
        (number, "packed") => (number, SegmentKind::Packed),
        _ => return None,
    };
    let start = u64::from_str_radix(number, 16).ok()?;
    (name_of(LogPosition(start), kind) == name).then_some((LogPosition(start), kind))
}

/// All segments, by position.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    segments: BTreeMap<LogPosition, Segment>,
}

/// What a reader finds at a position.
#[derive(Clone, Debug)]
pub enum Located {
    /// The segment that holds it.
    In(Segment),
    /// Nothing before the start of this segment, of which these positions are missing.
    Before(Segment, Option<(LogPosition, LogPosition)>),
    /// Nothing yet: it is where the log ends.
    AtEnd,
    /// Nothing any more: the log begins here now.
    Gone(LogPosition),
}

impl Catalogue {
    /// Adds a segment, or puts it in the place of one with the same start.
    pub fn insert(&mut self, segment: Segment) {
        self.segments.insert(segment.header.start, segment);
    }

    /// Forgets the segment that starts here.
    pub fn remove(&mut self, start: LogPosition) {
        self.segments.remove(&start);
    }

    /// Gives the segment that starts here, to be changed.
    pub fn at_mut(&mut self, start: LogPosition) -> Option<&mut Segment> {
        self.segments.get_mut(&start)
    }

    /// Lists the segments by position.
    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values()
    }

    /// Gives the start of the first segment.
    pub fn first(&self) -> Option<LogPosition> {
        self.segments.first_key_value().map(|(start, _)| *start)
    }

    /// Gives the last segment.
    pub fn last(&self) -> Option<&Segment> {
        self.segments.last_key_value().map(|(_, segment)| segment)
    }

    /// Adds up how many bytes the files have.
    pub fn file_bytes(&self) -> u64 {
        self.iter().map(|segment| segment.file_bytes).sum()
    }

    /// Finds what a reader at `position` reads next.
    pub fn locate(&self, position: LogPosition) -> Located {
        let before = self.segments.range(..=position).next_back().map(|(_, segment)| segment);
        if let Some(segment) = before.filter(|segment| position < segment.end) {
            return Located::In(segment.clone());
        }
        let Some((start, next)) = self.segments.range(position..).find(|(at, _)| **at > position)
        else {
            return Located::AtEnd;
        };
        match before {
            None if next.header.previous_end > position => Located::Gone(*start),
            _ => {
                let lost = next.header.previous_end;
                let missing = (lost > position).then_some((position, lost));
                Located::Before(next.clone(), missing)
            }
        }
    }
}
