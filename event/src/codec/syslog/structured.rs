//! Structured data: `[id name="value" …][id …]`, and the ways in which senders write it.
//!
//! Taken beside what RFC 5424 says: values without quotes, `;` between parameters, spaces behind
//! `=`, and the elements of Check Point, which have no id and put a colon for the equals sign:
//! `[action:"Accept"; ifname:"eth0"]`. What cannot be read so is no structured data at all: it
//! stays, all of it, in the message.

use super::time::skip_spaces;
use std::borrow::Cow;

/// How freely structured data may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// Where it has to stand.
    Expected,
    /// At the start of a message of RFC 3164, where a bracket mostly is just text: an element must
    /// have an id and parameters, with quotes unless the id names an enterprise.
    Possible,
}

/// A parameter of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    /// As written, between the quotes if it has any.
    value: &'a [u8],
    quoted: bool,
}

/// A part of structured data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// An element begins; its id is empty when it has none.
    Element(&'a [u8]),
    /// A parameter of the element that began last.
    Parameter(Parameter<'a>),
}

impl<'a> Parameter<'a> {
    /// Gives the value: `\"`, `\\` and `\]` are what follows the backslash; any other backslash is
    /// just that.
    pub(super) fn value(&self) -> Cow<'a, [u8]> {
        if !self.quoted || memchr::memchr(b'\\', self.value).is_none() {
            return Cow::Borrowed(self.value);
        }
        let mut plain = Vec::with_capacity(self.value.len());
        let mut rest = self.value;
        while let [byte, later @ ..] = rest {
            rest = match (byte, later) {
                (b'\\', [escaped @ (b'"' | b'\\' | b']'), later @ ..]) => {
                    plain.push(*escaped);
                    later
                }
                _ => {
                    plain.push(*byte);
                    later
                }
            };
        }
        Cow::Owned(plain)
    }
}

/// Gives where the structured data at `at` ends, or `None` when there is none.
pub(super) fn end_at(line: &[u8], at: usize, rules: Rules) -> Option<usize> {
    let mut end = at;
    while line.get(end) == Some(&b'[') {
        let Some(next) = element_end(line, end, rules) else { break };
        end = next;
    }
    let whole = end > at && (rules == Rules::Possible || line.get(end) != Some(&b'['));
    whole.then_some(end)
}

fn element_end(line: &[u8], at: usize, rules: Rules) -> Option<usize> {
    let (id, mut at) = id_at(line, at)?;
    let mut has_parameters = false;
    loop {
        at = match parameter_at(line, at)? {
            (Some(parameter), next) => {
                let enterprise = id.contains(&b'@');
                if rules == Rules::Possible && !parameter.quoted && !enterprise {
                    return None;
                }
                has_parameters = true;
                next
            }
            (None, end) => {
                let complete = has_parameters && !id.is_empty();
                return (rules == Rules::Expected || complete).then_some(end);
            }
        }
    }
}

/// Lists the parts of structured data, which [`end_at`] has found to be whole.
pub(super) fn parts(text: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut at = 0;
    let mut within = false;
    std::iter::from_fn(move || {
        loop {
            if !within {
                let (id, next) = id_at(text, at)?;
                (at, within) = (next, true);
                return Some(Part::Element(id));
            }
            let (parameter, next) = parameter_at(text, at)?;
            at = next;
            match parameter {
                Some(parameter) => return Some(Part::Parameter(parameter)),
                None => within = false,
            }
        }
    })
}

/// Reads the start of an element: its id, and where its parameters begin.
fn id_at(line: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let inner = line.get(at..)?.strip_prefix(b"[")?;
    let length = inner.iter().position(|byte| matches!(byte, b' ' | b']' | b'=' | b'"'))?;
    let id = &inner[..length];
    match inner[length] {
        _ if id.is_empty() => None,
        b'=' => Some((&[], at + 1)),
        b'"' => id.ends_with(b":").then_some((&[], at + 1)),
        _ => Some((id, at + 1 + length)),
    }
}

/// Reads the next parameter of an element, or `None` and where the element ends.
fn parameter_at(line: &[u8], at: usize) -> Option<(Option<Parameter<'_>>, usize)> {
    let mut at = at;
    while matches!(line.get(at), Some(b' ' | b';')) {
        at += 1;
    }
    let rest = line.get(at..)?;
    if rest.first() == Some(&b']') {
        return Some((None, at + 1));
    }
    let length = rest.iter().enumerate().position(|(place, byte)| match byte {
        b':' => rest.get(place + 1) == Some(&b'"'),
        byte => matches!(byte, b'=' | b'"' | b' ' | b']'),
    })?;
    let name = &rest[..length];
    if name.is_empty() || !matches!(rest[length], b'=' | b':') {
        return None;
    }
    let mut start = at + length + 1;
    let quote = skip_spaces(line, start);
    let quoted = line.get(quote) == Some(&b'"');
    let end = if quoted {
        start = quote + 1;
        let end = closing_quote(line, start)?;
        if !matches!(line.get(end + 1), Some(b' ' | b';' | b']')) {
            return None;
        }
        end
    } else {
        let length =
            line.get(start..)?.iter().position(|byte| matches!(byte, b' ' | b';' | b']' | b'"'))?;
        if length == 0 || line[start + length] == b'"' {
            return None;
        }
        start + length
    };
    let parameter = Parameter { name, value: &line[start..end], quoted };
    Some((Some(parameter), end + usize::from(quoted)))
}

fn closing_quote(line: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    loop {
        at += memchr::memchr2(b'"', b'\\', line.get(at..)?)?;
        if line[at] == b'"' {
            return Some(at);
        }
        // A backslash hides what follows it, whatever it is.
        at += 2;
    }
}
