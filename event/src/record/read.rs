//! Reading a record: by path, as values and as bytes.

use super::Record;
use super::path::Steps;
use super::tree::{Key, Kind, ROOT};
use crate::codec::json::{encode_node, encode_value, key_string, unescape, value_of};
use std::borrow::Cow;
use vrl::path::{OwnedTargetPath, OwnedValuePath};
use vrl::value::{ObjectMap, Value};

/// Where a path leads.
pub(super) enum Found {
    /// To a node.
    Node(u32),
    /// Into the value of a node, by the segments from this one on; they may lead to nothing there.
    Within(u32, usize),
}

/// What is at a path, told without making more of it than is there: by [`Record::look`].
#[derive(Clone, Debug, PartialEq)]
pub enum Look<'a> {
    /// Nothing.
    Nothing,
    /// A string that stands as it is in the block, UTF-8 or not; [`Record::text`] gives its bytes.
    Text(TextRange),
    /// A number, a truth value or `null` that was read from text.
    Scalar(Value),
    /// Any other value, which the record holds.
    Value(&'a Value),
}

/// Where a string stands in the block that a record lies over. It is good until the record begins
/// anew, whatever happens to the field it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRange {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl TextRange {
    /// Gives the part of it from byte `start` to byte `end`, both counted from its own beginning.
    ///
    /// # Panics
    /// When the part reaches beyond its end.
    pub fn part(self, start: usize, end: usize) -> Self {
        let whole = (self.end - self.start) as usize;
        assert!(start <= end && end <= whole, "a part lies within its text");
        TextRange { start: self.start + start as u32, end: self.start + end as u32 }
    }
}

impl Record {
    /// Tells what is at `path` of the event or its metadata; no value is made of plain text.
    pub fn look<'a>(&self, path: impl Into<Steps<'a>>) -> Look<'_> {
        let path = path.into();
        match self.find(path) {
            None => Look::Nothing,
            Some(Found::Within(node, depth)) => {
                self.value(node).get(path.rest(depth)).map_or(Look::Nothing, Look::Value)
            }
            Some(Found::Node(index)) => self.look_at(index),
        }
    }

    fn look_at(&self, index: u32) -> Look<'_> {
        let node = self.tree.node(index);
        match node.kind {
            Kind::String | Kind::Text => Look::Text(TextRange { start: node.start, end: node.end }),
            Kind::Integer | Kind::Float | Kind::True | Kind::False | Kind::Null => {
                let (start, end) = (node.start as usize, node.end as usize);
                Look::Scalar(value_of(&self.bytes, node.kind, start, end))
            }
            _ => Look::Value(self.value(index)),
        }
    }

    /// Tells whether anything, be it `null`, is at `path` of the event or its metadata.
    pub fn has_target<'a>(&self, path: impl Into<Steps<'a>>) -> bool {
        let path = path.into();
        match self.find(path) {
            None => false,
            Some(Found::Node(_)) => true,
            Some(Found::Within(node, depth)) => self.value(node).get(path.rest(depth)).is_some(),
        }
    }

    /// Gives the bytes of a text of the block.
    #[inline]
    pub fn text(&self, range: TextRange) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    /// Gives a text of the block as a value that shares the block's bytes.
    pub fn text_value(&self, range: TextRange) -> Value {
        Value::Bytes(self.bytes.slice(range.start as usize..range.end as usize))
    }

    /// Gives what is at `path` of the event, or `None`. The value is made when first asked for and
    /// kept until it changes; asking changes nothing in what is written out.
    pub fn get(&self, path: &OwnedValuePath) -> Option<&Value> {
        self.get_within(Steps::new(ROOT, &path.segments))
    }

    /// Gives what is at `path` of the event or its metadata, or `None`.
    pub fn get_target(&self, path: &OwnedTargetPath) -> Option<&Value> {
        self.get_within(path.into())
    }

    /// Gives the bytes of the string at `path` of the event; of anything else there its JSON text.
    /// `None` when nothing is there. No value is made of what still is text.
    pub fn get_bytes(&self, path: &OwnedValuePath) -> Option<Cow<'_, [u8]>> {
        match self.find(Steps::new(ROOT, &path.segments))? {
            Found::Within(node, depth) => {
                self.value(node).get(&path.segments[depth..]).map(bytes_of)
            }
            Found::Node(index) => {
                let node = self.tree.node(index);
                Some(match node.kind {
                    Kind::String | Kind::Text => Cow::Borrowed(&self.bytes[node.range()]),
                    Kind::Owned => bytes_of(self.value(index)),
                    Kind::Escaped => {
                        let mut plain = Vec::with_capacity(node.range().len());
                        unescape(&self.bytes[node.range()], &mut plain);
                        Cow::Owned(plain)
                    }
                    _ => {
                        let mut text = Vec::new();
                        encode_node(self, index, &mut text);
                        Cow::Owned(text)
                    }
                })
            }
        }
    }

    /// Tells whether the event is an object that has a member `name`.
    pub fn has(&self, name: &str) -> bool {
        match self.tree.node(ROOT).kind {
            Kind::Object => self.live_child(ROOT, Key::of(name.as_bytes()), name).is_some(),
            _ => self.value(ROOT).as_object().is_some_and(|members| members.contains_key(name)),
        }
    }

    /// Tells whether the event is an object, as it is unless a program made it something else.
    pub fn root_is_object(&self) -> bool {
        match self.tree.node(ROOT).kind {
            Kind::Object | Kind::Wide => true,
            Kind::Owned => self.value(ROOT).is_object(),
            _ => false,
        }
    }

    /// Gives the whole event as a value.
    pub fn to_value(&self) -> Value {
        self.copy(ROOT)
    }

    fn get_within(&self, path: Steps<'_>) -> Option<&Value> {
        match self.find(path)? {
            Found::Node(node) => Some(self.value(node)),
            Found::Within(node, depth) => self.value(node).get(path.rest(depth)),
        }
    }

    /// Follows a path from its root as far as there are nodes.
    pub(super) fn find(&self, path: Steps<'_>) -> Option<Found> {
        let mut node = path.root;
        for depth in 0..path.segments.len() {
            node = match (self.tree.node(node).kind, path.name(depth)) {
                (Kind::Object, Some((key, name))) => self.live_child(node, key, name)?,
                (Kind::Owned | Kind::Array | Kind::Wide, _) => {
                    return Some(Found::Within(node, depth));
                }
                _ => return None,
            };
        }
        Some(Found::Node(node))
    }

    #[inline]
    fn live_child(&self, parent: u32, key: Key, name: &str) -> Option<u32> {
        let child = self.tree.child(&self.bytes, parent, key, name.as_bytes())?;
        (!self.tree.node(child).absent).then_some(child)
    }

    /// Gives the value of a node, making it if it is not there.
    pub(super) fn value(&self, index: u32) -> &Value {
        self.tree.cells[index as usize].get_or_init(|| self.build(index))
    }

    /// Gives a copy of the value of a node, without keeping one that has to be made.
    fn copy(&self, index: u32) -> Value {
        match self.tree.cells[index as usize].get() {
            Some(value) => value.clone(),
            None => self.build(index),
        }
    }

    /// Makes the value of a node from its text or its children.
    pub(super) fn build(&self, index: u32) -> Value {
        let node = self.tree.node(index);
        if node.kind != Kind::Object {
            return value_of(&self.bytes, node.kind, node.start as usize, node.end as usize);
        }
        let members = self.tree.children(index).map(|child| {
            let name = self.tree.node(child).name;
            (key_string(self.tree.name(&self.bytes, &name)), self.copy(child))
        });
        Value::Object(members.collect::<ObjectMap>())
    }

    /// Tells whether an object has no member.
    pub(super) fn is_childless(&self, index: u32) -> bool {
        self.tree.children(index).next().is_none()
    }
}

/// Gives the bytes of a string, of anything else its JSON text.
fn bytes_of(value: &Value) -> Cow<'_, [u8]> {
    match value {
        Value::Bytes(bytes) => Cow::Borrowed(bytes),
        Value::String(string) => Cow::Borrowed(string.as_bytes()),
        other => {
            let mut text = Vec::new();
            encode_value(other, &mut text);
            Cow::Owned(text)
        }
    }
}
