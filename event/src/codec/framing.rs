//! Finding the ends of records: in the bytes of a [`Block`], and in a stream of reads.
//!
//! It is done twice, by two sides that must agree. A source cuts its stream at whole records with a
//! [`StreamFramer`], which touches as little as it can: a whole run of lines is one search from the
//! end of what was read. The worker later walks the block record by record with [`frames`]. So how
//! a frame is measured stands in one place, `measure`, and depends on nothing but the bytes of
//! that frame: neither on what came before it nor on how the stream was cut into reads.
//!
//! # Syslog over a stream
//!
//! RFC 6587 knows two framings, and some senders mix them, so each frame is told apart by itself.
//! One to nine digits, the first not 0, and a space are a count if what follows can be what was
//! counted: it begins with `<`, as a message does, or it has no line feed before its end. Otherwise
//! they are the start of a line, as in `2024 was a quiet year`. An empty line is no record, which
//! also takes care of the senders that put a line feed behind a counted frame.
//!
//! # Frames that are too long
//!
//! What exceeds the maximum is not kept: its first [`DEAD_LETTER_RAW_BYTES`] are, the rest is
//! passed over and counted up to the line feed, or to the end that the count gives. A count above
//! [`RECORD_BYTES_MAX`] is not believed; it is text of a line.

use crate::block::{Block, Frame, HEAD_BYTES, Layout};
use crate::dead_letter::Reason;
use crate::limits::{DEAD_LETTER_RAW_BYTES, RECORD_BYTES_MAX};
use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memrchr};

/// Lists the records of a block in order.
///
/// Every byte belongs to a record or delimits one. Lines lose their LF and one CR before it; frames
/// of syslog also their count and all CR, LF and NUL at their end. What is empty then is no record,
/// except under [`Layout::Heads`].
pub fn frames(block: &Block) -> Frames<'_> {
    Frames { bytes: &block.bytes, layout: &block.layout, at: 0 }
}

/// The records of a block; made by [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    at: usize,
}

impl Iterator for Frames<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        match self.layout {
            Layout::Lines => self.next_line(),
            Layout::Syslog => self.next_syslog(),
            Layout::Heads => self.next_headed(),
            Layout::Refused { .. } | Layout::Complete { .. } | Layout::End => None,
        }
    }
}

impl Frames<'_> {
    fn next_line(&mut self) -> Option<Frame> {
        while self.at < self.bytes.len() {
            let start = self.at;
            let rest = &self.bytes[start..];
            let length = memchr(b'\n', rest).unwrap_or(rest.len());
            self.at = start + length + 1;
            let line = &rest[..length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return Some(plain(start, line.len()));
            }
        }
        None
    }

    fn next_syslog(&mut self) -> Option<Frame> {
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            let (start, length, next) = match measure(rest, 0, RECORD_BYTES_MAX) {
                Measure::Counted { head, count } if count <= rest.len() - head => {
                    (head, count, head + count)
                }
                Measure::Line { end: Some(end) } => (0, end, end + 1),
                // The block ends before the frame does: a stream's last line, or a count that
                // claims too much and so is the text of a line as well.
                _ => {
                    let end = memchr(b'\n', rest).unwrap_or(rest.len());
                    (0, end, end + 1)
                }
            };
            let frame = without_trailer(&rest[start..start + length]);
            let start = self.at + start;
            self.at += next;
            if !frame.is_empty() {
                return Some(plain(start, frame.len()));
            }
        }
        None
    }

    fn next_headed(&mut self) -> Option<Frame> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some((head, body)) = rest.split_first_chunk::<HEAD_BYTES>() else {
            // Not what a `HeadWriter` writes. The bytes are shown as a record rather than lost.
            let start = self.at;
            self.at = self.bytes.len();
            return Some(plain(start, rest.len()));
        };
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = (number(0) as usize).min(body.len());
        let start = self.at + HEAD_BYTES;
        self.at = start + length;
        Some(Frame {
            range: start..start + length,
            peer: number(4) as usize,
            received_delta_us: number(8),
        })
    }
}

fn plain(start: usize, length: usize) -> Frame {
    Frame { range: start..start + length, peer: 0, received_delta_us: 0 }
}

fn without_trailer(frame: &[u8]) -> &[u8] {
    let mut frame = frame;
    while let [rest @ .., b'\r' | b'\n' | 0] = frame {
        frame = rest;
    }
    frame
}

/// How long a frame of syslog is.
#[derive(Debug, PartialEq, Eq)]
enum Measure {
    /// A count of `head` bytes, its space included, says that `count` bytes follow. They need not
    /// all be there yet.
    Counted { head: usize, count: usize },
    /// A line; `end` is where its line feed stands, if it is there yet.
    Line { end: Option<usize> },
    /// More bytes decide. The first `scanned` have no line feed.
    Undecided { scanned: usize },
}

/// Measures the frame at the start of `bytes`, of which the first `scanned` are known to have no
/// line feed.
///
/// A count above `count_max` that is not followed by `<` is no count: without this bound, a stream
/// would have to be held for as long as the count says before it shows to be a line.
fn measure(bytes: &[u8], scanned: usize, count_max: usize) -> Measure {
    let line = || Measure::Line { end: line_feed(bytes, scanned, bytes.len()) };
    if !matches!(bytes.first(), Some(b'1'..=b'9')) {
        return line();
    }
    let digits = bytes.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == bytes.len() && digits < 10 {
        return Measure::Undecided { scanned: 0 };
    }
    if digits > 9 || bytes[digits] != b' ' {
        return line();
    }
    let number = |sum: usize, digit: &u8| sum * 10 + usize::from(digit - b'0');
    let count = bytes[..digits].iter().fold(0, number);
    let head = digits + 1;
    if count > RECORD_BYTES_MAX {
        return line();
    }
    match bytes.get(head) {
        None => Measure::Undecided { scanned: 0 },
        Some(b'<') => Measure::Counted { head, count },
        Some(_) if count > count_max => line(),
        Some(_) => {
            // The last byte that was counted may be a line feed; one before it ends a line.
            let until = (head + count - 1).min(bytes.len());
            match line_feed(bytes, scanned.max(head), until) {
                Some(end) => Measure::Line { end: Some(end) },
                None if bytes.len() >= head + count => Measure::Counted { head, count },
                None => Measure::Undecided { scanned: until },
            }
        }
    }
}

fn line_feed(bytes: &[u8], from: usize, until: usize) -> Option<usize> {
    memchr(b'\n', bytes.get(from..until)?).map(|at| from + at)
}

/// How a stream of bytes is divided into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One record a line: [`Layout::Lines`].
    Lines,
    /// Syslog by octet counting or by line: [`Layout::Syslog`].
    Syslog,
}

impl Framing {
    /// Gives the layout of a block that holds what [`Cut::Records`] carries.
    pub fn layout(self) -> Layout {
        match self {
            Framing::Lines => Layout::Lines,
            Framing::Syslog => Layout::Syslog,
        }
    }
}

/// A piece of a stream, as a [`StreamFramer`] cuts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Whole records, as many as there were, with their delimiters and counts.
    Records(Bytes),
    /// A frame that cannot be let in.
    Refused {
        /// Why: `TooLong`, or `IncompleteFrame` at the end of the stream.
        reason: Reason,
        /// Its first bytes, at most [`DEAD_LETTER_RAW_BYTES`], without count.
        bytes: Bytes,
        /// How many bytes it had in all, without count and line feed.
        length: usize,
    },
}

/// Cuts a stream at whole records, read by read.
///
/// Whoever reads puts bytes in, by [`StreamFramer::buffer`] or [`StreamFramer::push`], and then
/// takes cuts until there are none. What is not a whole record yet waits here: at most the maximum
/// of a frame and one read. No byte is looked at twice for a line feed, however small the reads,
/// and nothing is copied where the reads go into the buffer.
#[derive(Debug)]
pub struct StreamFramer {
    framing: Framing,
    frame_bytes_max: usize,
    buffer: BytesMut,
    /// How many bytes at the start of the buffer are known to have no line feed.
    scanned: usize,
    skip: Option<Skip>,
}

/// A frame above the maximum that is being passed over.
#[derive(Debug)]
struct Skip {
    kept: BytesMut,
    length: usize,
    until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    LineFeed,
    Bytes(usize),
}

/// What stands at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
enum Scan {
    /// So many bytes of whole records.
    Whole(usize),
    /// No whole record yet.
    Incomplete,
    /// A frame above the maximum, behind a count of `head` bytes.
    TooLong { head: usize, until: Until },
}

impl StreamFramer {
    /// Makes a framer for one stream, at its start or anywhere between two frames.
    ///
    /// A frame may have `frame_bytes_max` bytes, without count and line feed; the bound is at least
    /// 1 and at most [`RECORD_BYTES_MAX`], whatever is given.
    pub fn new(framing: Framing, frame_bytes_max: usize) -> Self {
        let frame_bytes_max = frame_bytes_max.clamp(1, RECORD_BYTES_MAX);
        StreamFramer { framing, frame_bytes_max, buffer: BytesMut::new(), scanned: 0, skip: None }
    }

    /// Gives the buffer, for a read to be appended to. Nothing else may be done to it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends a copy of what was read.
    pub fn push(&mut self, read: &[u8]) {
        self.buffer.extend_from_slice(read);
    }

    /// Tells how many bytes wait for the rest of their record.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Gives the next piece, or `None` when more has to be read first.
    pub fn next_cut(&mut self) -> Option<Cut> {
        loop {
            if self.skip.is_some() {
                return self.pass_over();
            }
            let scan = match self.framing {
                Framing::Lines => self.scan_lines(),
                Framing::Syslog => self.scan_syslog(),
            };
            match scan {
                Scan::Whole(length) => {
                    return Some(Cut::Records(self.buffer.split_to(length).freeze()));
                }
                Scan::Incomplete => return None,
                Scan::TooLong { head, until } => {
                    self.buffer.advance(head);
                    self.scanned = 0;
                    self.skip = Some(Skip { kept: BytesMut::new(), length: 0, until });
                }
            }
        }
    }

    /// Gives what remains when the stream has ended and [`StreamFramer::next_cut`] gives nothing
    /// more.
    ///
    /// A last line without a line feed is a record, if it is not too long. A counted frame that was
    /// cut short is refused as incomplete.
    pub fn finish(&mut self) -> Option<Cut> {
        self.scanned = 0;
        if let Some(skip) = self.skip.take() {
            return Some(skip.refused());
        }
        if self.buffer.is_empty() {
            return None;
        }
        let mut rest = self.buffer.split().freeze();
        if self.framing == Framing::Syslog
            && let Measure::Counted { head, .. } = measure(&rest, 0, self.frame_bytes_max)
        {
            rest.advance(head);
            let length = rest.len();
            rest.truncate(DEAD_LETTER_RAW_BYTES);
            return Some(Cut::Refused { reason: Reason::IncompleteFrame, bytes: rest, length });
        }
        // What might have been a count was waited for beyond the maximum of a line.
        let length = rest.len();
        if length > self.frame_bytes_max {
            rest.truncate(DEAD_LETTER_RAW_BYTES);
            return Some(Cut::Refused { reason: Reason::TooLong, bytes: rest, length });
        }
        Some(Cut::Records(rest))
    }

    /// Finds the whole lines at the start of the buffer.
    ///
    /// The search for the last line feed goes backwards, from the end of what was read; only the
    /// last, unfinished line is passed over. That no line is too long is checked in leaps: a
    /// stretch as long as the longest line must have a line feed, and the last one in it is where
    /// the next stretch begins.
    fn scan_lines(&mut self) -> Scan {
        let bytes = &self.buffer[..];
        let too_long = Scan::TooLong { head: 0, until: Until::LineFeed };
        let Some(last) = memrchr(b'\n', &bytes[self.scanned..]) else {
            self.scanned = bytes.len();
            return if bytes.len() > self.frame_bytes_max { too_long } else { Scan::Incomplete };
        };
        let whole = self.scanned + last + 1;
        let stretch = self.frame_bytes_max + 1;
        let mut checked = 0;
        while whole - checked > stretch {
            match memrchr(b'\n', &bytes[checked..checked + stretch]) {
                Some(at) => checked += at + 1,
                None if checked == 0 => return too_long,
                None => {
                    self.scanned = 0;
                    return Scan::Whole(checked);
                }
            }
        }
        self.scanned = bytes.len() - whole;
        Scan::Whole(whole)
    }

    /// Finds the whole frames at the start of the buffer, one after the other: a count says where
    /// the next begins.
    fn scan_syslog(&mut self) -> Scan {
        let mut whole = 0;
        let mut scanned = std::mem::take(&mut self.scanned);
        while whole < self.buffer.len() {
            match frame_at(&self.buffer[whole..], &mut scanned, self.frame_bytes_max) {
                Scan::Whole(length) => {
                    whole += length;
                    scanned = 0;
                }
                Scan::Incomplete => {
                    self.scanned = scanned;
                    break;
                }
                // Met again at the start of the buffer, once the frames before it are gone.
                too_long if whole == 0 => return too_long,
                _ => break,
            }
        }
        if whole > 0 { Scan::Whole(whole) } else { Scan::Incomplete }
    }

    /// Drops bytes of a frame that is too long; gives it when its end is there.
    fn pass_over(&mut self) -> Option<Cut> {
        let skip = self.skip.as_mut()?;
        let there = self.buffer.len();
        let (passed, delimiter, ended) = match &mut skip.until {
            Until::LineFeed => match memchr(b'\n', &self.buffer) {
                Some(at) => (at, 1, true),
                None => (there, 0, false),
            },
            Until::Bytes(left) => {
                let passed = there.min(*left);
                *left -= passed;
                (passed, 0, *left == 0)
            }
        };
        let room = DEAD_LETTER_RAW_BYTES - skip.kept.len();
        skip.kept.extend_from_slice(&self.buffer[..passed.min(room)]);
        skip.length += passed;
        self.buffer.advance(passed + delimiter);
        if ended { self.skip.take().map(Skip::refused) } else { None }
    }
}

impl Skip {
    fn refused(self) -> Cut {
        let bytes = self.kept.freeze();
        Cut::Refused { reason: Reason::TooLong, bytes, length: self.length }
    }
}

/// Finds the frame of syslog at the start of `bytes`; `scanned` is as of `measure`, and brought
/// up to date.
fn frame_at(bytes: &[u8], scanned: &mut usize, frame_bytes_max: usize) -> Scan {
    match measure(bytes, *scanned, frame_bytes_max) {
        Measure::Counted { head, count } if count > frame_bytes_max => {
            Scan::TooLong { head, until: Until::Bytes(count) }
        }
        Measure::Counted { head, count } if bytes.len() - head >= count => {
            Scan::Whole(head + count)
        }
        Measure::Counted { .. } => Scan::Incomplete,
        Measure::Line { end: Some(end) } if end <= frame_bytes_max => Scan::Whole(end + 1),
        Measure::Line { end: None } if bytes.len() <= frame_bytes_max => {
            *scanned = bytes.len();
            Scan::Incomplete
        }
        Measure::Line { .. } => Scan::TooLong { head: 0, until: Until::LineFeed },
        Measure::Undecided { scanned: until } => {
            *scanned = until;
            Scan::Incomplete
        }
    }
}

#[cfg(test)]
mod tests;
