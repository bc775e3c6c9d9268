//! Records and values as JSON text.
//!
//! What was not changed is copied as it came, spacing included; neighbours in one piece. What was
//! changed is written as `serde_json` writes the value of VRL: the same numbers, the same escapes,
//! times in RFC 3339 with as many digits as they need. Bytes that are not UTF-8 become U+FFFD.
//! There is never a line break in the text.

use super::scan::{has_high_bytes, padded_word, special_bytes, special_or_high, word_at};
use crate::padded::append_first;
use crate::record::Record;
use crate::record::tree::{Kind, NONE, Name, Node, ROOT};
use crate::time::EventTime;
use chrono::{DateTime, SecondsFormat, Utc};
use vrl::value::Value;

/// Appends the event of `record` to `out` as one JSON text, without a line break.
pub fn encode_json(record: &Record, out: &mut Vec<u8>) {
    encode_node(record, ROOT, out);
}

/// Appends what one node holds.
pub(crate) fn encode_node(record: &Record, index: u32, out: &mut Vec<u8>) {
    let node = record.tree.node(index);
    let text = || &record.bytes[node.range()];
    match node.kind {
        Kind::Object if node.dirty => encode_members(record, index, out),
        Kind::Object | Kind::Array | Kind::Wide => copy_text(record, node.range(), out),
        Kind::Integer | Kind::Float => out.extend_from_slice(text()),
        Kind::String | Kind::Escaped | Kind::Time => {
            out.push(b'"');
            out.extend_from_slice(text());
            out.push(b'"');
        }
        Kind::Text => encode_string(text(), out),
        Kind::True => out.extend_from_slice(b"true"),
        Kind::False => out.extend_from_slice(b"false"),
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::Owned => {
            let value = record.tree.cells[index as usize].get();
            encode_value(value.expect("an owned node has its value"), out);
        }
    }
}

/// Appends JSON text of the block. Line breaks are white space between tokens wherever they stand,
/// and left out.
fn copy_text(record: &Record, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
    let mut text = &record.bytes[range];
    if record.tree.newline {
        while let Some(at) = memchr::memchr2(b'\n', b'\r', text) {
            out.extend_from_slice(&text[..at]);
            text = &text[at + 1..];
        }
    }
    out.extend_from_slice(text);
}

fn encode_members(record: &Record, parent: u32, out: &mut Vec<u8>) {
    let tree = &record.tree;
    out.push(b'{');
    let mut first = true;
    let scattered = tree.node(parent).scattered;
    let mut index = tree.node(parent).first_child;
    while index != NONE {
        let node = tree.node(index);
        if node.absent {
            index = node.next;
            continue;
        }
        let comma = !std::mem::take(&mut first);
        if let Some((start, mut end)) = verbatim(node)
            && !scattered
        {
            if comma {
                out.push(b',');
            }
            // As long as members stand in the block as they stand here, one copy serves them all.
            index = node.next;
            while index != NONE {
                let next = tree.node(index);
                let Some((_, next_end)) = verbatim(next) else { break };
                if next.absent {
                    break;
                }
                end = next_end;
                index = next.next;
            }
            copy_text(record, start..end, out);
            continue;
        }
        encode_name(record, node.name, comma, out);
        encode_node(record, index, out);
        index = node.next;
    }
    out.push(b'}');
}

/// Appends the name of a member and its colon, behind a comma if it is not the first.
#[inline]
fn encode_name(record: &Record, name: Name, comma: bool, out: &mut Vec<u8>) {
    let in_block = name.in_block();
    if let Some(word) = name.short()
        && (in_block.is_some() || special_or_high(word) == 0)
    {
        // Sixteen bytes at once, of which as many stay as are meant.
        let (length, lead) = (name.len(), usize::from(comma));
        let mut text = [0; 16];
        text[..2].copy_from_slice(b",\"");
        text[2..10].copy_from_slice(&word.to_le_bytes());
        text[2 + length..4 + length].copy_from_slice(b"\":");
        let text = u128::from_le_bytes(text) >> (8 * (1 - lead));
        return append_first(&text.to_le_bytes(), lead + length + 3, out);
    }
    if comma {
        out.push(b',');
    }
    match in_block {
        // It came without escapes, so it needs none.
        Some((start, end)) => out.extend_from_slice(&record.bytes[start - 1..end + 1]),
        None => encode_string(record.tree.name(&record.bytes, &name), out),
    }
    out.push(b':');
}

/// Gives where the whole member stands in the block, from the quote of its name to the end of its
/// value, when it is still what came in.
fn verbatim(node: &Node) -> Option<(usize, usize)> {
    let (start, _) = node.name.in_block()?;
    let end = node.end as usize;
    match node.kind {
        Kind::Owned | Kind::Text => None,
        Kind::Object if node.dirty => None,
        Kind::String | Kind::Escaped | Kind::Time => Some((start - 1, end + 1)),
        _ => Some((start - 1, end)),
    }
}

/// Appends a value as one JSON text, without a line break.
pub fn encode_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bytes(bytes) => encode_string(bytes, out),
        Value::String(string) => encode_string(string.as_bytes(), out),
        Value::Regex(regex) => encode_string(regex.as_str().as_bytes(), out),
        Value::Integer(number) => encode_integer(*number, out),
        Value::Float(number) => encode_float(number.into_inner(), out),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Null => out.extend_from_slice(b"null"),
        Value::Timestamp(time) => {
            if !encode_usual_time(time, out) {
                encode_string(rfc3339(time).as_bytes(), out);
            }
        }
        Value::Array(values) => {
            out.push(b'[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                encode_value(value, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (place, (name, value)) in members.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                encode_string(name.as_bytes(), out);
                out.push(b':');
                encode_value(value, out);
            }
            out.push(b'}');
        }
    }
}

/// The longest text that is copied while it is looked at, in bytes. Names and most values are
/// shorter; of a longer one the copy in one piece is faster.
const COPIED_BY_WORDS_MAX: usize = 32;

/// Appends `text` as a JSON string: with quotes and escapes, U+FFFD for what is not UTF-8.
#[inline]
pub fn encode_string(text: &[u8], out: &mut Vec<u8>) {
    quote(text, out);
}

/// As [`encode_string`]; whether nothing stands between the quotes but the text itself, in ASCII.
#[inline]
pub(crate) fn quote(text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.len() <= COPIED_BY_WORDS_MAX
        && let Some(quoted) = quoted_by_words(text)
    {
        append_first(&quoted, text.len() + 2, out);
        return true;
    }
    let plain = is_plain(text);
    out.reserve(text.len() + 2);
    out.push(b'"');
    if plain {
        out.extend_from_slice(text);
    } else {
        append_escaped(text, out);
    }
    out.push(b'"');
    plain
}

/// Gives a short text between quotes, with anything behind; `None` when it needs more than that.
#[inline]
fn quoted_by_words(text: &[u8]) -> Option<[u8; COPIED_BY_WORDS_MAX + 16]> {
    let mut quoted = [b'"'; COPIED_BY_WORDS_MAX + 16];
    let (words, rest) = text.as_chunks::<8>();
    let last = padded_word(rest);
    let mut marks = special_or_high(last);
    let (places, _) = quoted[1..].as_chunks_mut::<8>();
    for (place, word) in places.iter_mut().zip(words) {
        marks |= special_or_high(u64::from_le_bytes(*word));
        *place = *word;
    }
    places[words.len()] = last.to_le_bytes();
    quoted[1 + text.len()] = b'"';
    (marks == 0).then_some(quoted)
}

/// Tells whether `text` is ASCII that needs no escapes, as most is.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let mut marks = special_or_high(padded_word(rest));
    for word in words {
        marks |= special_or_high(u64::from_le_bytes(*word));
    }
    marks == 0
}

/// Appends text with its escapes.
fn append_escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut copied = 0;
    let mut at = 0;
    let mut high = false;
    while at < text.len() {
        let word = word_at(text, at).unwrap_or_else(|| padded_word(&text[at..]));
        high |= has_high_bytes(word);
        let marks = special_bytes(word);
        if marks == 0 {
            at += 8;
            continue;
        }
        at += marks.trailing_zeros() as usize / 8;
        append_run(&text[copied..at], high, out);
        append_escape(text[at], out);
        at += 1;
        copied = at;
    }
    append_run(&text[copied..], high, out);
}

/// Appends bytes that need no escapes; `high` says whether some may be outside ASCII.
#[inline]
fn append_run(run: &[u8], high: bool, out: &mut Vec<u8>) {
    if high { append_lossy(run, out) } else { out.extend_from_slice(run) }
}

/// Appends bytes of which some may be no UTF-8. Escapes are ASCII, so cutting at them cuts no
/// character: each run can be looked at by itself.
fn append_lossy(run: &[u8], out: &mut Vec<u8>) {
    if simdutf8::basic::from_utf8(run).is_ok() {
        return out.extend_from_slice(run);
    }
    for chunk in run.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn append_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        0..0x20 => {
            let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
        other => other,
    };
    out.extend_from_slice(&[b'\\', letter]);
}

fn encode_integer(number: i64, out: &mut Vec<u8>) {
    // The longest, `i64::MIN`, has twenty signs.
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        first -= 1;
        digits[first] = b'-';
    }
    out.extend_from_slice(&digits[first..]);
}

fn encode_float(number: f64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &number).expect("writing into memory does not fail");
}

/// Appends a time in RFC 3339, UTC, with no, three, six or nine digits of a second, as few as say
/// all.
pub fn encode_time(time: &DateTime<Utc>, out: &mut Vec<u8>) {
    match quoted_time(time) {
        Some((text, length)) => out.extend_from_slice(&text[1..length - 1]),
        None => out.extend_from_slice(rfc3339(time).as_bytes()),
    }
}

/// Appends a time between quotes, if it is one that [`read_time`] reads; whether it is.
pub(crate) fn encode_usual_time(time: &DateTime<Utc>, out: &mut Vec<u8>) -> bool {
    quoted_time(time).map(|(text, length)| append_first(&text, length, out)).is_some()
}

/// The day of the last time that was written, as it was written: the next is mostly of the same.
#[derive(Debug)]
pub(crate) struct Day {
    /// Counted from 1970-01-01.
    number: i64,
    date: Date,
}

impl Default for Day {
    fn default() -> Self {
        Day { number: 0, date: *b"1970-01-01" }
    }
}

/// Appends the time of an event between quotes: it is one that [`read_time`] reads.
pub(crate) fn encode_event_time(time: EventTime, last: &mut Day, out: &mut Vec<u8>) {
    let seconds = time.nanoseconds().div_euclid(1_000_000_000);
    let nanoseconds = time.nanoseconds().rem_euclid(1_000_000_000) as u32;
    let number = seconds.div_euclid(86_400);
    if last.number != number {
        let date = date_of(number).expect("the years of events have four digits");
        *last = Day { number, date };
    }
    let of_day = seconds.rem_euclid(86_400) as u32;
    let (text, length) = quoted(last.date, of_day, nanoseconds);
    append_first(&text, length, out);
}

/// Reads what [`encode_usual_time`] wrote, without the quotes.
pub(crate) fn read_time(text: &[u8]) -> Option<DateTime<Utc>> {
    let text = std::str::from_utf8(text).ok()?;
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

/// Year, month and day.
type Date = [u8; 10];

/// A time between quotes, and how many bytes that are.
type Quoted = ([u8; 32], usize);

/// Gives a time between quotes. `None` of a leap second, and of a year that has not four digits:
/// chrono knows how to write them.
#[inline]
fn quoted_time(time: &DateTime<Utc>) -> Option<Quoted> {
    let date = date_of(time.timestamp().div_euclid(86_400))?;
    let nanoseconds = Some(time.timestamp_subsec_nanos()).filter(|it| *it < 1_000_000_000)?;
    Some(quoted(date, time.timestamp().rem_euclid(86_400) as u32, nanoseconds))
}

/// As [`quoted_time`], of seconds and nanoseconds of a day.
#[inline]
fn quoted(date: Date, seconds: u32, nanoseconds: u32) -> Quoted {
    let mut text = *b"\"0000-00-00T00:00:00.000000000Z\"";
    text[1..11].copy_from_slice(&date);
    let mut pair = |at: usize, number: u32| {
        text[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
    };
    pair(12, seconds / 3600);
    pair(15, seconds / 60 % 60);
    pair(18, seconds % 60);
    let (milliseconds, rest) = (nanoseconds / 1_000_000, nanoseconds % 1_000_000);
    if nanoseconds > 0 {
        pair(21, milliseconds / 10);
        pair(23, milliseconds % 10 * 10 + rest / 100_000);
    }
    if rest > 0 {
        pair(25, rest / 1_000);
        pair(27, rest / 10);
        // Its second digit lies behind the last.
        pair(29, rest % 10 * 10);
    }
    let end = match nanoseconds {
        0 => 20,
        _ if rest == 0 => 24,
        _ if rest % 1_000 == 0 => 27,
        _ => 30,
    };
    text[end..end + 2].copy_from_slice(b"Z\"");
    (text, end + 2)
}

/// Gives year, month and day of a day counted from 1970-01-01, if the year has four digits.
///
/// Years that begin in March have their leap day at the end (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms").
#[inline]
fn date_of(day: i64) -> Option<Date> {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(DAYS_OF_400_YEARS), day.rem_euclid(DAYS_OF_400_YEARS));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + 400 * era + i64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = u32::try_from(year).ok().filter(|year| *year <= 9999)?;
    let pair = |number: u32| PAIRS[(number % 100) as usize];
    let ([y1, y2], [y3, y4]) = (pair(year / 100), pair(year));
    let ([m1, m2], [d1, d2]) = (pair(month as u32), pair(day as u32));
    Some([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2])
}

/// All numbers of two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

fn rfc3339(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
