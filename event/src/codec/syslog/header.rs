//! A message of syslog as it stands in its frame: what is what, told by places in the bytes.

use super::structured::{self, Rules};
use super::time::{self, Context, Stamp, skip_spaces};
use super::zone::Zone;
use super::{legacy, tag};
use crate::time::EventTime;
use std::ops::Range;

/// A place in a frame, from `start` up to `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// Where it has ended.
    pub end: usize,
}

impl Span {
    /// Gives the bytes there.
    pub fn of(self, frame: &[u8]) -> &[u8] {
        &frame[self.start..self.end]
    }

    /// Gives the place in a block whose frame begins at `start`.
    pub fn within(self, start: usize) -> Range<usize> {
        start + self.start..start + self.end
    }
}

/// What kind of program sent a message, and how bad it is: 0 to 191.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(u8);

impl Priority {
    /// Makes a priority of its number, if there is one of it.
    pub fn new(number: u8) -> Option<Self> {
        (number <= 191).then_some(Priority(number))
    }

    /// Makes a priority of the names of its facility and severity with a dot between, as
    /// `auth.info`.
    pub fn named(text: &[u8]) -> Option<Self> {
        let dot = text.iter().position(|byte| *byte == b'.')?;
        let place =
            |names: &[&str], name: &[u8]| names.iter().position(|known| known.as_bytes() == name);
        let facility = place(&FACILITIES, &text[..dot])?;
        let severity = place(&SEVERITIES, &text[dot + 1..])?;
        u8::try_from(facility * 8 + severity).ok().and_then(Priority::new)
    }

    /// Gives the name of the facility.
    pub fn facility(self) -> &'static str {
        FACILITIES[usize::from(self.0 >> 3)]
    }

    /// Gives the name of the severity.
    pub fn severity(self) -> &'static str {
        SEVERITIES[usize::from(self.0 & 7)]
    }
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clockd", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// What a frame says, part by part; what it does not say is absent.
///
/// The parts do not overlap, except that a message which cannot be read keeps all of its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The priority.
    pub priority: Option<Priority>,
    /// The version; only RFC 5424 has one.
    pub version: Option<u16>,
    /// When the sender says it happened.
    pub time: Option<EventTime>,
    /// Whether the sender says that its clock is not set, or not in step.
    pub clock_unsynced: bool,
    /// The number that Cisco devices give each message.
    pub sequence: Option<i64>,
    /// The host that the message names.
    pub hostname: Option<Span>,
    /// The program.
    pub appname: Option<Span>,
    /// The process, a number or a name.
    pub procid: Option<Span>,
    /// The kind of message.
    pub msgid: Option<Span>,
    /// The structured data, with its brackets.
    pub structured: Option<Span>,
    /// The text.
    pub message: Span,
}

/// Reads a frame of RFC 5424 or RFC 3164, told apart by the version behind the priority.
///
/// It never fails: what is not understood is text. `received_at` and `zone` complete times without
/// year and zone. It takes time linear in the header and structured data, and allocates nothing.
pub fn parse(frame: &[u8], received_at: EventTime, zone: &Zone) -> Message {
    let line = &frame[..end_of_text(frame)];
    let start = start_of_text(line);
    let mut parser =
        Parser { line, context: Context { received_at, zone }, message: Message::default() };
    match priority_at(line, start) {
        Some(PriorityText { priority: Some(priority), end }) => {
            parser.message.priority = Some(priority);
            parser.after_priority(end);
        }
        // No such priority, but the header behind it may be in order. The text is kept whole.
        Some(PriorityText { priority: None, end }) => {
            parser.after_priority(end);
            parser.message.message = Span { start, end: line.len() };
        }
        None => legacy::read(&mut parser, start),
    }
    parser.message
}

/// Passes over what some senders put before a message: line breaks, spaces, the mark of UTF-8.
fn start_of_text(line: &[u8]) -> usize {
    let start = line.iter().take_while(|byte| matches!(byte, b' ' | b'\r' | b'\n')).count();
    after_mark(line, start)
}

/// Finds the end of a text: before line breaks and NUL, and before what spaces surround these.
fn end_of_text(line: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
    match line.last() {
        Some(byte) if is_end(byte) || *byte == b' ' => {}
        _ => return line.len(),
    }
    let text = line.iter().rposition(|byte| !is_end(byte) && *byte != b' ');
    let text = text.map_or(0, |last| last + 1);
    // Spaces alone are part of the text.
    if line[text..].iter().any(is_end) { text } else { line.len() }
}

/// Passes over the byte order mark that RFC 5424 has before text in UTF-8.
fn after_mark(line: &[u8], at: usize) -> usize {
    at + if line[at..].starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// A number in angle brackets.
struct PriorityText {
    /// The priority, if there is one of this number.
    priority: Option<Priority>,
    end: usize,
}

fn priority_at(line: &[u8], at: usize) -> Option<PriorityText> {
    if line.get(at) != Some(&b'<') {
        return None;
    }
    let digits = line[at + 1..].iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let end = at + 1 + digits;
    if digits == 0 || line.get(end) != Some(&b'>') {
        return None;
    }
    let number = |sum: u16, digit: &u8| sum * 10 + u16::from(digit - b'0');
    let priority = (digits <= 3).then(|| line[at + 1..end].iter().fold(0, number));
    let priority = priority.and_then(|number| Priority::new(u8::try_from(number).ok()?));
    Some(PriorityText { priority, end: end + 1 })
}

/// The state of reading: what is found goes into the message.
pub(super) struct Parser<'a> {
    pub(super) line: &'a [u8],
    pub(super) context: Context<'a>,
    pub(super) message: Message,
}

impl Parser<'_> {
    fn after_priority(&mut self, at: usize) {
        let at = skip_spaces(self.line, at);
        if !self.read_versioned(at) {
            legacy::read(self, at);
        }
    }

    /// Reads a version and what follows it; gives `false` when there is none, and then has read
    /// nothing.
    fn read_versioned(&mut self, at: usize) -> bool {
        let Some((version, end)) = super::digits::number(self.line, at, 3) else { return false };
        if self.line[at] == b'0' || self.line.get(end) != Some(&b' ') {
            return false;
        }
        let at = skip_spaces(self.line, end);
        if self.is_nil(at) {
            self.message.version = u16::try_from(version).ok();
            self.read_5424(at + 1);
            return true;
        }
        if let Some(stamp) = time::iso(self.line, at, self.context) {
            self.message.version = u16::try_from(version).ok();
            self.found_time(stamp);
            self.read_5424(stamp.end);
            return true;
        }
        // The version of RFC 5424 with a time of another form: the rest is of that form too.
        let Some(stamp) = time::stamp(self.line, at, self.context) else { return false };
        self.message.version = u16::try_from(version).ok();
        self.found_time(stamp);
        legacy::read_located(self, stamp.end);
        true
    }

    pub(super) fn found_time(&mut self, stamp: Stamp) {
        self.message.time = Some(stamp.time);
        self.message.clock_unsynced = stamp.unsynced;
    }

    /// Tells whether what follows a time is laid out as RFC 5424 has it, so that only the version
    /// was left out: behind host and program a process that is absent or a number, and then
    /// structured data or the sign that there is none.
    pub(super) fn lacks_only_version(&self, at: usize) -> bool {
        let mut at = at;
        for place in 0..4 {
            at = skip_spaces(self.line, at);
            let end = tag::word_end(self.line, at);
            let word = &self.line[at..end];
            let fits = match place {
                1 => !word.ends_with(b":") && !word.ends_with(b"]"),
                2 => word == b"-" || !word.is_empty() && word.iter().all(u8::is_ascii_digit),
                _ => !word.is_empty(),
            };
            if !fits {
                return false;
            }
            at = end;
        }
        at = skip_spaces(self.line, at);
        self.is_nil(at) || self.structured_end(at).is_some()
    }

    /// Tells whether `-` stands at `at`, for nothing.
    fn is_nil(&self, at: usize) -> bool {
        self.line.get(at) == Some(&b'-') && tag::is_word_end(self.line, at + 1)
    }

    /// Reads from behind the time of RFC 5424: four words, each may be `-`, structured data, text.
    pub(super) fn read_5424(&mut self, at: usize) {
        let mut at = at;
        let mut words = [None; 4];
        for (place, word) in words.iter_mut().enumerate() {
            at = skip_spaces(self.line, at);
            // Some senders leave out words in the middle. Structured data shows that, and so do
            // the formats that bring their own header.
            let is_text = place > 0 && tag::is_payload(self.line, at);
            if is_text || place > 1 && self.structured_end(at).is_some() {
                break;
            }
            let end = tag::word_end(self.line, at);
            *word = self.span(at, end);
            at = end;
        }
        let message = &mut self.message;
        [message.hostname, message.appname, message.procid, message.msgid] = words;
        at = skip_spaces(self.line, at);
        if self.is_nil(at) {
            at += 1;
        } else if let Some(end) = self.structured_end(at) {
            self.message.structured = Some(Span { start: at, end });
            at = end;
        }
        self.found_text(skip_spaces(self.line, at));
    }

    fn structured_end(&self, at: usize) -> Option<usize> {
        let begins = self.line.get(at) == Some(&b'[');
        if begins { structured::end_at(self.line, at, Rules::Expected) } else { None }
    }

    /// Gives the span, unless it is empty or `-`, which stands for nothing.
    pub(super) fn span(&self, start: usize, end: usize) -> Option<Span> {
        let span = Span { start, end };
        (!matches!(span.of(self.line), b"" | b"-")).then_some(span)
    }

    /// Takes the rest as the text.
    pub(super) fn found_text(&mut self, at: usize) {
        let start = after_mark(self.line, at);
        self.message.message = Span { start, end: self.line.len() };
    }
}
