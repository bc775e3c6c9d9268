//! `parse_regex` without a map: the groups stay ranges of the text that was searched.

use super::matcher::{Matcher, NOWHERE, Scratch};
use super::operand::{Operand, Peek};
use azud_event::record::{Record, TextRange};
use regex::{CaptureLocations, Regex};
use vrl::path::{OwnedSegment, OwnedValuePath};
use vrl::prelude::Bytes;
use vrl::value::{KeyString, ObjectMap, Value};

/// A regular expression of a program, and the names of its groups.
#[derive(Clone, Debug)]
pub(in crate::vrl) struct Pattern {
    regex: Regex,
    /// Searches texts of ASCII, where it knows the expression.
    matcher: Option<Matcher>,
    groups: Vec<(KeyString, usize)>,
}

/// What a pattern matched last.
#[derive(Debug)]
pub(super) struct Match {
    searched: Searched,
    /// Where each group begins and ends, [`NOWHERE`] for one that took no part.
    slots: Vec<usize>,
    scratch: Scratch,
    locations: CaptureLocations,
}

impl Match {
    /// Gives where a group is.
    #[inline]
    fn place(&self, group: usize) -> Option<(usize, usize)> {
        let (start, end) = (*self.slots.get(2 * group)?, *self.slots.get(2 * group + 1)?);
        (start != NOWHERE).then_some((start, end))
    }
}

/// The text that was searched.
#[derive(Debug)]
enum Searched {
    Block(TextRange),
    Apart(Bytes),
}

/// Gives a part of the text that was searched.
fn part_of(bytes: &Bytes, start: usize, end: usize) -> Value {
    Value::Bytes(bytes.slice(start..end))
}

impl Pattern {
    /// Compiles it; `None` when VRL would not.
    pub(in crate::vrl) fn new(text: &str) -> Option<Self> {
        let regex = Regex::new(text).ok()?;
        let names = regex.capture_names().enumerate();
        let groups = names.filter_map(|(number, name)| Some((KeyString::from(name?), number)));
        Some(Pattern { groups: groups.collect(), matcher: Matcher::new(text), regex })
    }

    /// Makes the memory of a match.
    pub(super) fn scratch(&self) -> Match {
        Match {
            searched: Searched::Apart(Bytes::new()),
            slots: Vec::new(),
            scratch: Scratch::default(),
            locations: self.regex.capture_locations(),
        }
    }

    /// Searches a text; says whether it matched, and where, in `found`.
    ///
    /// What is no UTF-8 is searched as VRL does: with U+FFFD in its place.
    pub(super) fn find(&self, text: &Operand, record: &Record, found: &mut Match) -> Option<bool> {
        let peek = text.peek(record);
        let bytes = peek.bytes()?;
        let quickly = self
            .matcher
            .as_ref()
            .and_then(|matcher| matcher.search(bytes, &mut found.slots, &mut found.scratch));
        let matched = match quickly {
            Some(matched) => matched,
            None => match std::str::from_utf8(bytes) {
                Ok(valid) => self.search(valid, found),
                Err(_) => {
                    let lossy = String::from_utf8_lossy(bytes).into_owned();
                    let matched = self.search(&lossy, found);
                    found.searched = Searched::Apart(Bytes::from(lossy));
                    return Some(matched);
                }
            },
        };
        if matched {
            found.searched = match text {
                Operand::Text(text) => Searched::Block(*text),
                Operand::Value(Value::Bytes(bytes)) => Searched::Apart(bytes.clone()),
                Operand::Value(_) => Searched::Apart(Bytes::copy_from_slice(bytes)),
            };
        }
        Some(matched)
    }

    /// Searches with `regex`, which knows every expression and every text.
    fn search(&self, text: &str, found: &mut Match) -> bool {
        let matched = self.regex.captures_read(&mut found.locations, text).is_some();
        let groups = 0..found.locations.len();
        found.slots.clear();
        found.slots.extend(groups.flat_map(|group| match found.locations.get(group) {
            Some((start, end)) => [start, end],
            None => [NOWHERE; 2],
        }));
        matched
    }

    /// Gives the number of the group that a path leads to, if it leads to one.
    fn group(&self, path: &OwnedValuePath) -> Option<usize> {
        let [OwnedSegment::Field(name)] = path.segments.as_slice() else { return None };
        let (_, number) = self.groups.iter().find(|(group, _)| group == name)?;
        Some(*number)
    }

    /// Gives what is at a path of the object that VRL makes of a match.
    pub(super) fn member(&self, found: &Match, path: &OwnedValuePath) -> Operand {
        let place = self.group(path).and_then(|number| found.place(number));
        match (place, &found.searched) {
            (None, _) => Operand::NULL,
            (Some((start, end)), Searched::Block(text)) => Operand::Text(text.part(start, end)),
            (Some((start, end)), Searched::Apart(bytes)) => {
                Operand::Value(part_of(bytes, start, end))
            }
        }
    }

    /// Gives the same, only to be looked at. Not to be called with the path of the whole.
    pub(super) fn peek<'a>(
        &self,
        found: &'a Match,
        path: &OwnedValuePath,
        record: &'a Record,
    ) -> Peek<'a> {
        let place = self.group(path).and_then(|number| found.place(number));
        match (place, &found.searched) {
            (None, _) => Peek::NULL,
            (Some((start, end)), Searched::Block(text)) => {
                Peek::Text(record.text(text.part(start, end)))
            }
            (Some((start, end)), Searched::Apart(bytes)) => Peek::Text(&bytes[start..end]),
        }
    }

    /// Gives the object that VRL makes of a match: groups without a place hold `null`.
    pub(super) fn object(&self, found: &Match, record: &Record) -> Value {
        let groups = self.groups.iter().map(|(name, number)| {
            let value = match (found.place(*number), &found.searched) {
                (None, _) => Value::Null,
                (Some((start, end)), Searched::Block(text)) => {
                    record.text_value(text.part(start, end))
                }
                (Some((start, end)), Searched::Apart(bytes)) => part_of(bytes, start, end),
            };
            (name.clone(), value)
        });
        Value::Object(groups.collect::<ObjectMap>())
    }
}
