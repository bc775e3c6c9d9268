//! A line of a segment: a letter, as [`super::Letter::write`] writes it, behind the epoch that it
//! is of; or the trace of one that was discarded.
//!
//! ```text
//! {"epoch":1042,"since":1040,"received_at":"2026-03-01T10:00:00.000000Z","component":"shape",…}
//! {"epoch":1043,"since":1040,"discarded":"9f86d081884c7d659a2feaa0c55ad015"}
//! ```
//!
//! `since` says that every epoch before it was complete when the line was written. Without a log
//! nothing is repeated, and lines have neither.

use crate::feed::Epoch;
use azud_event::dead_letter::Reason;
use azud_event::id::Id;
use serde::Deserialize;
use std::borrow::Cow;

/// What a line says, but for the record.
#[derive(Clone, Debug, Deserialize)]
pub struct Head<'a> {
    /// The epoch that it is of.
    pub epoch: Option<Epoch>,
    /// Every epoch before this was complete when it was written.
    pub since: Option<Epoch>,
    /// When the record was received.
    #[serde(borrow)]
    pub received_at: Cow<'a, str>,
    /// Who could not go on.
    #[serde(borrow)]
    pub component: Cow<'a, str>,
    /// Who took it in; empty where that is not known.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// At which stage of the way.
    #[serde(borrow)]
    pub stage: Cow<'a, str>,
    /// Why: the name of a [`azud_event::dead_letter::Reason`].
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// Why, in words.
    pub message: String,
    /// How many bytes the record has.
    pub raw_bytes: u64,
    /// Who sent it.
    pub peer: Option<String>,
    /// What the receiver of a sink answered.
    pub response_code: Option<u16>,
}

/// The trace of a letter that was discarded while it might still be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its epoch.
    pub epoch: Epoch,
    /// As of [`Head::since`].
    pub since: Epoch,
    /// What it is known by.
    pub identity: Id,
}

/// A line, read.
#[derive(Clone, Debug)]
pub enum Line<'a> {
    /// A letter.
    Letter(Head<'a>),
    /// What is left of one.
    Trace(Trace),
}

#[derive(Deserialize)]
struct WrittenTrace {
    epoch: Epoch,
    since: Epoch,
    discarded: String,
}

/// What letters are told apart by.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    component: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    raw_bytes: u64,
    #[serde(borrow, default)]
    raw: Cow<'a, str>,
    #[serde(borrow, default)]
    raw_base64: Cow<'a, str>,
}

impl<'a> Line<'a> {
    /// Reads a line; `None` when it is none of ours.
    pub fn read(line: &'a [u8]) -> Option<Line<'a>> {
        if let Ok(head) = serde_json::from_slice::<Head<'a>>(line) {
            return Some(Line::Letter(head));
        }
        let trace: WrittenTrace = serde_json::from_slice(line).ok()?;
        let identity = Id::from_hex(&trace.discarded)?;
        Some(Line::Trace(Trace { epoch: trace.epoch, since: trace.since, identity }))
    }

    /// Gives the epoch that it is of.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            Line::Letter(head) => head.epoch,
            Line::Trace(trace) => Some(trace.epoch),
        }
    }

    /// Whether it is of a record that the receiver of a sink refused. A trace does not say, so it
    /// may be.
    pub fn is_refused(&self) -> bool {
        match self {
            Line::Letter(head) => head.reason == Reason::Refused.name(),
            Line::Trace(_) => true,
        }
    }

    /// Gives the epoch before which all were complete when it was written.
    pub fn since(&self) -> Option<Epoch> {
        match self {
            Line::Letter(head) => head.since,
            Line::Trace(trace) => Some(trace.since),
        }
    }
}

impl Trace {
    /// Writes it as a line.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Trace { epoch, since, identity } = self;
        let line =
            format!("{{\"epoch\":{epoch},\"since\":{since},\"discarded\":\"{identity}\"}}\n");
        out.extend_from_slice(line.as_bytes());
    }
}

/// Gives what a letter is known by: component, source, reason and record, so that it is the same
/// when its epoch is repeated, even if a receiver then refuses in other words. `None` when the line
/// is no letter.
pub fn identity(line: &[u8]) -> Option<Id> {
    let told: Told<'_> = serde_json::from_slice(line).ok()?;
    let length = told.raw_bytes.to_le_bytes();
    let Told { component, source, reason, raw, raw_base64, .. } = &told;
    let texts = [component, source, reason, raw, raw_base64].map(|text| text.as_bytes());
    let [component, source, reason, raw, base64] = texts;
    Some(Id::of(&[component, source, reason, &length, raw, base64]))
}

/// Writes a letter, given as a line without an epoch, behind the epoch that it is of.
pub fn write_stamped(line: &[u8], stamp: Option<(Epoch, Epoch)>, out: &mut Vec<u8>) {
    match (stamp, line.split_first()) {
        (Some((epoch, since)), Some((b'{', rest))) => {
            out.extend_from_slice(format!("{{\"epoch\":{epoch},\"since\":{since},").as_bytes());
            out.extend_from_slice(rest);
        }
        _ => out.extend_from_slice(line),
    }
}

/// Lists the whole lines of a text with where each begins, their ends included.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = memchr::memchr(b'\n', &text[at..])? + 1;
        let line = (at, &text[at..at + length]);
        at += length;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::tests::letter_of;

    #[test]
    fn a_stamped_letter_is_read_with_its_epoch() {
        let letter = letter_of("shape", "in", b"half {");
        let mut line = Vec::new();
        write_stamped(&letter, Some((7, 3)), &mut line);
        let Some(Line::Letter(head)) = Line::read(&line) else { panic!("it is a letter") };
        assert_eq!((head.epoch, head.since, &*head.component), (Some(7), Some(3), "shape"));
        assert_eq!(identity(&line), identity(&letter), "the epoch is no part of it");
        let mut unstamped = Vec::new();
        write_stamped(&letter, None, &mut unstamped);
        assert_eq!(unstamped, letter);
        assert_ne!(identity(&letter), identity(&letter_of("shape", "in", b"half [")));
    }

    #[test]
    fn a_trace_is_read_as_it_was_written() {
        let identity = Id::of(&[b"a"]);
        let trace = Trace { epoch: 9, since: 8, identity };
        let mut line = Vec::new();
        trace.write(&mut line);
        let Some(Line::Trace(read)) = Line::read(&line) else { panic!("it is a trace") };
        assert_eq!(read, trace);
        assert!(Line::read(b"{\"epoch\":1}\n").is_none());
        assert!(Line::read(b"half a li").is_none());
    }

    #[test]
    fn only_whole_lines_are_lines() {
        let found: Vec<_> = lines(b"one\n\nthr").collect();
        assert_eq!(found, [(0, b"one\n".as_slice()), (4, b"\n")]);
    }
}
