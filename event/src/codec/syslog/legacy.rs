//! Reading RFC 3164, which describes what was seen rather than what is right: a time, a host, a
//! tag, a text, and any of them may be missing or look like another.
//!
//! The rules, in order: a form that only one thing can have (an address, `name[process]:`) is that
//! thing wherever it stands; else the first word is the host and the second the program; else it is
//! text. Nothing is guessed of a line that has neither priority nor time.

use super::digits::number;
use super::header::{Parser, Priority, Span};
use super::structured::{self, Rules};
use super::tag::{self, Mark, Tag};
use super::time::{Stamp, skip_spaces, stamp};

/// Reads everything behind the priority.
pub(super) fn read(parser: &mut Parser<'_>, at: usize) {
    let at = skip_spaces(parser.line, at);
    if let Some(found) = stamp(parser.line, at, parser.context) {
        parser.found_time(found);
        let is_iso = parser.line[at].is_ascii_digit();
        if is_iso && parser.lacks_only_version(found.end) {
            return parser.read_5424(found.end);
        }
        return read_located(parser, found.end);
    }
    // Without priority and time, nothing says that this is syslog.
    if parser.message.priority.is_none() {
        return parser.found_text(at);
    }
    if let Some(origin) = Origin::read(parser, at) {
        return origin.apply(parser);
    }
    match tag::tag_at(parser.line, at) {
        Some(found) if found.mark != Mark::LoneColon && !tag::is_payload(parser.line, at) => {
            apply_tag(parser, at, found);
        }
        _ => read_text(parser, at),
    }
}

/// Reads from behind the time: host, tag, text.
pub(super) fn read_located(parser: &mut Parser<'_>, at: usize) {
    let at = skip_blanks(parser.line, at);
    let rest = &parser.line[at..];
    // AIX, for what it passes on. The host ends with the colon that the tag would end with.
    if let Some(origin) = rest.strip_prefix(b"Message forwarded from ")
        && let Some(length) = origin.iter().position(|byte| matches!(byte, b':' | b' '))
        && origin[length] == b':'
    {
        let start = parser.line.len() - origin.len();
        parser.message.hostname = parser.span(start, start + length);
        return read_tag(parser, skip_spaces(parser.line, start + length + 1), true);
    }
    if tag::is_payload(parser.line, at) || is_repeat(rest) {
        return read_text(parser, at);
    }
    let end = tag::word_end(parser.line, at);
    if let Some(priority) = Priority::named(&parser.line[at..end]) {
        // Where a relay wrote a priority of its own, that one is kept.
        parser.message.priority.get_or_insert(priority);
        return read_host(parser, skip_spaces(parser.line, end));
    }
    read_host(parser, at);
}

fn read_host(parser: &mut Parser<'_>, at: usize) {
    let line = parser.line;
    let end = tag::word_end(line, at);
    let word = &line[at..end];
    if word == b":" {
        return read_text(parser, end);
    }
    if let Some(address) = in_brackets(word)
        && tag::is_address(address)
    {
        parser.message.hostname = parser.span(at + 1, end - 1);
        return read_after_host(parser, end);
    }
    if let Some(address) = word.strip_suffix(b":")
        && tag::is_address(address)
    {
        parser.message.hostname = parser.span(at, end - 1);
        return read_tag(parser, skip_spaces(line, end), false);
    }
    if !tag::is_address(word)
        && let Some(found) = tag::tag_at(line, at)
        && found.mark != Mark::LoneColon
    {
        let text = skip_spaces(line, found.end);
        // Cisco: what stands right before `%FACILITY` is the device.
        if found.mark == Mark::Colon && line[text..].starts_with(b"%") {
            parser.message.hostname = parser.span(at, found.name_end);
            return read_text(parser, text);
        }
        return apply_tag(parser, at, found);
    }
    if tag::is_host(word) {
        parser.message.hostname = parser.span(at, end);
        return read_after_host(parser, end);
    }
    read_text(parser, at);
}

/// Reads from behind the host. Two spaces say that there is no tag, unless it is marked as one.
fn read_after_host(parser: &mut Parser<'_>, end: usize) {
    let at = skip_spaces(parser.line, end);
    if is_lone_colon(parser.line, at) {
        return read_text(parser, at + 1);
    }
    read_tag(parser, at, at == end + 1);
}

/// Reads a tag, if there is one; it need not be marked as one if `bare` allows that.
fn read_tag(parser: &mut Parser<'_>, at: usize, bare: bool) {
    let line = parser.line;
    if tag::is_payload(line, at) || is_repeat(&line[at..]) {
        return read_text(parser, at);
    }
    if let Some(found) = tag::tag_at(line, at) {
        return apply_tag(parser, at, found);
    }
    let end = tag::word_end(line, at);
    let word = &line[at..end];
    let next = skip_spaces(line, end);
    if parser.is_own_severity(word)
        && let Some(found) = tag::tag_at(line, next)
    {
        return apply_tag(parser, next, found);
    }
    // A time behind the host is the origin's own header, behind that of a relay.
    let is_time = || stamp(line, at, parser.context).is_some();
    if bare && next < line.len() && tag::is_bare_name(word) && !is_time() {
        parser.message.appname = parser.span(at, end);
        return read_text(parser, next);
    }
    read_text(parser, at);
}

fn apply_tag(parser: &mut Parser<'_>, at: usize, found: Tag) {
    let line = parser.line;
    let text = skip_spaces(line, found.end);
    // What a relay put its own header before: the number of a message of Cisco.
    if found.mark == Mark::Colon
        && let Some((sequence, end)) = number(line, at, 10)
        && end == found.name_end
    {
        parser.message.sequence = Some(sequence);
        return read_text(parser, text);
    }
    parser.message.appname = parser.span(at, found.name_end);
    if let Some((start, end)) = found.process {
        parser.message.procid = parser.span(start, end);
    }
    read_text(parser, text);
}

/// Reads the text, and structured data before it.
fn read_text(parser: &mut Parser<'_>, at: usize) {
    let line = parser.line;
    let mut at = skip_spaces(line, at);
    if let Some(end) = structured::end_at(line, at, Rules::Possible) {
        parser.message.structured = Some(Span { start: at, end });
        at = skip_spaces(line, end);
    }
    parser.message.msgid = solaris_message_id(line, at);
    parser.found_text(at);
}

/// Gives the number in `[ID 702911 auth.info]`, which Solaris writes before the text; the text
/// keeps it.
fn solaris_message_id(line: &[u8], at: usize) -> Option<Span> {
    let start = at + line[at..].starts_with(b"[ID ").then_some(4)?;
    let (_, end) = number(line, start, 10)?;
    let rest = line[end..].strip_prefix(b" ")?;
    let close = rest.iter().position(|byte| matches!(byte, b']' | b' '))?;
    (rest[close] == b']' && rest[..close].contains(&b'.')).then_some(Span { start, end })
}

fn is_repeat(text: &[u8]) -> bool {
    text.starts_with(b"last message repeated ") || text.starts_with(b"message repeated ")
}

fn is_lone_colon(line: &[u8], at: usize) -> bool {
    line.get(at) == Some(&b':') && tag::is_word_end(line, at + 1)
}

fn in_brackets(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"[")?.strip_suffix(b"]")
}

fn skip_blanks(line: &[u8], at: usize) -> usize {
    let mut at = at;
    while matches!(line.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

impl Parser<'_> {
    /// Tells whether the word says again how bad it is, as F5 does before the tag.
    fn is_own_severity(&self, word: &[u8]) -> bool {
        let severity: &[u8] = match word {
            b"error" => b"err",
            b"warn" => b"warning",
            b"panic" => b"emerg",
            other => other,
        };
        self.message.priority.is_some_and(|own| own.severity().as_bytes() == severity)
    }
}

/// What Cisco devices write before the time, or in its place: the message's number, perhaps
/// another, the device.
struct Origin {
    sequence: Option<i64>,
    hostname: Option<Span>,
    stamp: Option<Stamp>,
    end: usize,
}

impl Origin {
    fn read(parser: &Parser<'_>, at: usize) -> Option<Origin> {
        let line = parser.line;
        let mut origin = Origin { sequence: None, hostname: None, stamp: None, end: at };
        // Two numbers and the device, in any order.
        for _ in 0..3 {
            let end = tag::tag_at(line, origin.end).filter(|found| found.mark == Mark::Colon)?.end;
            let name = Span { start: origin.end, end: end - 1 };
            match number(line, name.start, 10) {
                Some((sequence, last)) if last == name.end => origin.sequence = Some(sequence),
                _ if origin.hostname.is_none() && tag::is_host(name.of(line)) => {
                    origin.hostname = Some(name);
                }
                _ => return None,
            }
            origin.end = skip_spaces(line, end);
            origin.stamp = stamp(line, origin.end, parser.context);
            if let Some(found) = origin.stamp {
                origin.end = found.end;
                return Some(origin);
            }
            if origin.sequence.is_some() && line.get(origin.end) == Some(&b'%') {
                return Some(origin);
            }
        }
        None
    }

    fn apply(self, parser: &mut Parser<'_>) {
        parser.message.sequence = self.sequence;
        parser.message.hostname = self.hostname;
        if let Some(found) = self.stamp {
            parser.found_time(found);
        }
        let mut at = skip_blanks(parser.line, self.end);
        if is_lone_colon(parser.line, at) {
            at = skip_spaces(parser.line, at + 1);
        }
        if self.hostname.is_some() || self.stamp.is_none() {
            read_tag(parser, at, false);
        } else {
            read_located(parser, at);
        }
    }
}
