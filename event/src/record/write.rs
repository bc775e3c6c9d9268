//! Changing a record: builders for decoders, insertion and removal by path for programs.

use super::Record;
use super::path::Steps;
use super::read::{Found, TextRange};
use super::tree::{Key, Kind, NODES_FULL, NODES_LAZY_MAX, NONE, Node, ROOT};
use crate::limits::OBJECT_FIELDS_LAZY_MAX;
use crate::time::EventTime;
use bytes::Bytes;
use std::cell::OnceCell;
use std::ops::Range;
use vrl::path::{OwnedSegment, OwnedTargetPath, OwnedValuePath};
use vrl::value::{KeyString, Value};

/// For decoders: fields appended to the event. Each is written once: a name must not be there yet
/// ([`Record::has`] tells), save for [`Record::push_value`]. To be used before any mark is taken,
/// since it is not undone.
impl Record {
    /// Appends a field that holds the bytes at `range` of the block, UTF-8 or not.
    pub fn push_text(&mut self, name: &'static str, range: Range<usize>) {
        let Some(index) = self.push_node(name) else {
            let text = self.bytes.slice(range);
            return self.push_value(name.into(), Value::Bytes(text));
        };
        let node = self.tree.node_mut(index);
        node.kind = Kind::Text;
        node.start = range.start as u32;
        node.end = range.end as u32;
    }

    /// Appends a field that holds a fixed text.
    pub fn push_static(&mut self, name: &'static str, text: &'static str) {
        self.push_bytes(name, Bytes::from_static(text.as_bytes()));
    }

    /// Appends a field that holds shared bytes, UTF-8 or not.
    pub fn push_bytes(&mut self, name: &'static str, bytes: Bytes) {
        self.push_owned(name, Value::Bytes(bytes));
    }

    /// Appends a field that holds a number.
    pub fn push_integer(&mut self, name: &'static str, number: i64) {
        self.push_owned(name, Value::Integer(number));
    }

    /// Appends a field that holds a time.
    pub fn push_timestamp(&mut self, name: &'static str, time: EventTime) {
        self.push_owned(name, Value::Timestamp(time.to_chrono()));
    }

    /// Sets a field whose name comes from the data; the last value of a name counts.
    pub fn push_value(&mut self, name: KeyString, value: Value) {
        self.insert_within(Steps::new(ROOT, &[OwnedSegment::Field(name)]), value);
    }

    fn push_owned(&mut self, name: &'static str, value: Value) {
        match self.push_node(name) {
            Some(index) => self.hold(index, value),
            None => self.push_value(name.into(), value),
        }
    }

    /// Appends a member to the event that holds `null` as yet. `None` when the event is not held as
    /// nodes: it is too wide, or no object.
    pub(super) fn push_node(&mut self, name: &'static str) -> Option<u32> {
        let (key, name) = (Key::of(name.as_bytes()), name.as_bytes());
        let root = self.tree.node_mut(ROOT);
        if root.kind != Kind::Object {
            return None;
        }
        root.dirty = true;
        debug_assert!(
            self.tree.search(&self.bytes, ROOT, key, name).is_none(),
            "a field is pushed once"
        );
        self.tree.forget(ROOT);
        Some(self.append_child(ROOT, key, name))
    }
}

/// What [`Record::take`] took away.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    /// A string that still stands in the block.
    Text(TextRange),
    /// Any other value.
    Value(Value),
}

/// For programs: the event and its metadata, changed by path. Each means what the function of the
/// same name of [`Value`] means, and can be undone.
impl Record {
    /// Sets what is at `path` of the event; objects and arrays on the way are made, and take the
    /// place of whatever else is in the way.
    pub fn insert(&mut self, path: &OwnedValuePath, value: Value) {
        self.insert_within(Steps::new(ROOT, &path.segments), value);
    }

    /// Sets what is at `path` of the event or its metadata, as [`Record::insert`] does.
    pub fn insert_target<'a>(&mut self, path: impl Into<Steps<'a>>, value: Value) {
        self.insert_within(path.into(), value);
    }

    /// Takes away what is at `path` of the event and gives it, or `None` when nothing is there.
    /// With `compact` the objects and arrays that it leaves empty go as well. A root leaves an
    /// empty object or array, or `null`.
    pub fn remove(&mut self, path: &OwnedValuePath, compact: bool) -> Option<Value> {
        self.remove_within(Steps::new(ROOT, &path.segments), compact)
    }

    /// Takes away what is at `path` of the event or its metadata, as [`Record::remove`] does.
    pub fn remove_target(&mut self, path: &OwnedTargetPath, compact: bool) -> Option<Value> {
        self.remove_within(path.into(), compact)
    }

    /// Takes away what is at `path` of the event or its metadata, as [`Record::remove`] does, but
    /// makes no value of a string that stands in the block.
    pub fn take<'a>(&mut self, path: impl Into<Steps<'a>>, compact: bool) -> Option<Taken> {
        let path = path.into();
        if let Some(Found::Node(index)) = self.find(path)
            && index != path.root
        {
            let node = self.tree.node(index);
            if let Kind::String | Kind::Text = node.kind {
                let text = TextRange { start: node.start, end: node.end };
                self.remove_node(path.root, index, compact);
                return Some(Taken::Text(text));
            }
        }
        self.remove_within(path, compact).map(Taken::Value)
    }

    /// Sets what is at `path` of the event or its metadata to a string that stands in the block, as
    /// [`Record::insert`] does.
    pub fn insert_text<'a>(&mut self, path: impl Into<Steps<'a>>, text: TextRange) {
        let path = path.into();
        let index = match self.open_path(path) {
            Ok(index) => index,
            Err((node, depth)) => {
                let value = self.text_value(text);
                return self.insert_into_value(node, path.rest(depth), value);
            }
        };
        self.save_moved(index);
        let node = self.tree.node_mut(index);
        // Never `Kind::String`: the text does not stand behind the node's name, and whether it may
        // be written without escapes is not known of every text.
        node.kind = Kind::Text;
        node.start = text.start;
        node.end = text.end;
        node.absent = false;
        self.tree.unlink_children(index);
        self.changed(index);
    }

    /// Takes the elements when the event is an array, and leaves an empty one: a program made many
    /// events of one.
    pub fn take_root_array(&mut self) -> Option<Vec<Value>> {
        let is_array = match self.tree.node(ROOT).kind {
            Kind::Array => true,
            Kind::Owned => self.value(ROOT).is_array(),
            _ => false,
        };
        if !is_array {
            return None;
        }
        match self.remove_root(ROOT) {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn insert_within(&mut self, path: Steps<'_>, value: Value) {
        match self.open_path(path) {
            Ok(node) => {
                self.save_moved(node);
                self.hold(node, value);
                self.changed(node);
            }
            Err((node, depth)) => self.insert_into_value(node, path.rest(depth), value),
        }
    }

    /// Makes nodes of what `path` leads through and gives the last. An `Err` is the node that must
    /// be changed as a value, and how many segments lead to it.
    fn open_path(&mut self, path: Steps<'_>) -> Result<u32, (u32, usize)> {
        let mut node = path.root;
        for depth in 0..path.segments.len() {
            node = match path.name(depth) {
                Some((key, name)) if self.open_object(node) => self.child_for(node, key, name),
                _ => return Err((node, depth)),
            };
        }
        Ok(node)
    }

    /// Makes the node an object of child nodes, whatever it was. Gives `false` when it is an object
    /// too wide for that, or there are too many nodes already: it must be changed as a value then.
    fn open_object(&mut self, index: u32) -> bool {
        let node = self.tree.node(index);
        match node.kind {
            Kind::Object if !node.absent => self.tree.nodes.len() < NODES_FULL,
            Kind::Wide if !node.absent => false,
            Kind::Owned if !node.absent => match self.value(index) {
                Value::Object(members) if members.len() > OBJECT_FIELDS_LAZY_MAX => false,
                Value::Object(_) if self.tree.nodes.len() >= NODES_LAZY_MAX => false,
                Value::Object(members) => {
                    self.take_apart(index, members.len());
                    true
                }
                _ => self.empty_object(index),
            },
            _ => self.empty_object(index),
        }
    }

    /// Makes the node an object without members, unless there are too many nodes already.
    fn empty_object(&mut self, index: u32) -> bool {
        if self.tree.nodes.len() >= NODES_LAZY_MAX {
            return false;
        }
        self.save_moved(index);
        self.tree.become_empty_object(index);
        self.tree.node_mut(index).absent = false;
        true
    }

    /// Makes child nodes of the members of an object that the node owns; there are `count`.
    fn take_apart(&mut self, index: u32, count: usize) {
        let (value, generation) = self.save_taken_apart(index, count);
        let Some(Value::Object(members)) = value else { return };
        self.tree.become_empty_object(index);
        for (name, value) in members {
            let child = self.append_child(index, Key::of(name.as_bytes()), name.as_bytes());
            self.hold(child, value);
            self.tree.node_mut(child).saved = generation;
        }
    }

    /// Gives the child of that name, which may be one that was removed or a new one.
    fn child_for(&mut self, parent: u32, key: Key, name: &str) -> u32 {
        if let Some(child) = self.tree.child(&self.bytes, parent, key, name.as_bytes()) {
            return child;
        }
        self.save(parent);
        let last = self.tree.node(parent).last_child;
        if last != NONE {
            self.save(last);
        }
        let child = self.append_child(parent, key, name.as_bytes());
        // Nothing is there until something is put there.
        self.tree.node_mut(child).absent = true;
        child
    }

    pub(super) fn append_child(&mut self, parent: u32, key: Key, name: &[u8]) -> u32 {
        let name = self.tree.intern(key, name);
        let node = self.tree.node_mut(parent);
        node.names |= key.bit();
        let last = node.last_child;
        let saved = self.generation();
        let child = self.tree.push(Node { saved, ..Node::new(name, parent) });
        self.tree.link(parent, last, child);
        child
    }

    /// Inserts below a node that is changed as a value: by an index, or into a wide object.
    fn insert_into_value(&mut self, index: u32, rest: &[OwnedSegment], value: Value) {
        let node = self.tree.node(index);
        let stays = match (node.kind, &rest[0]) {
            _ if node.absent => false,
            (Kind::Owned, _) => true,
            (Kind::Array, OwnedSegment::Index(_)) => true,
            (Kind::Wide | Kind::Object, OwnedSegment::Field(_)) => true,
            _ => false,
        };
        let mut whole = if stays {
            self.save_taken(index)
        } else {
            self.save_moved(index);
            Value::Null
        };
        whole.insert(rest, value);
        self.hold(index, whole);
        self.changed(index);
    }

    /// Lets a node that was saved hold `value`.
    fn hold(&mut self, index: u32, value: Value) {
        *self.cell_mut(index) = OnceCell::from(value);
        let node = self.tree.node_mut(index);
        node.kind = Kind::Owned;
        node.absent = false;
        self.tree.unlink_children(index);
    }

    /// Marks all nodes above one that changed: their text and their cached values are out of date.
    fn changed(&mut self, index: u32) {
        let mut parent = self.tree.node(index).parent;
        while parent != NONE {
            self.tree.forget(parent);
            if !self.tree.node(parent).dirty {
                self.save(parent);
                self.tree.node_mut(parent).dirty = true;
            }
            parent = self.tree.node(parent).parent;
        }
    }

    fn remove_within(&mut self, path: Steps<'_>, compact: bool) -> Option<Value> {
        let root = path.root;
        match self.find(path)? {
            Found::Node(node) if node == root => Some(self.remove_root(root)),
            Found::Node(node) => {
                let value = self.take_value(node);
                self.remove_node(root, node, compact);
                Some(value)
            }
            Found::Within(node, depth) => {
                let rest = path.rest(depth);
                // Looked at first, so that what is not there is removed without making anything
                // dirty.
                self.value(node).get(rest)?;
                let mut whole = self.save_taken(node);
                let removed = whole.remove(rest, compact);
                let emptied = whole.is_empty();
                self.hold(node, whole);
                if compact && emptied && node != root {
                    self.remove_node(root, node, compact);
                } else {
                    self.changed(node);
                }
                removed
            }
        }
    }

    /// Takes what a root holds, and leaves an empty container of the same kind, or `null`.
    fn remove_root(&mut self, root: u32) -> Value {
        let value = self.save_taken(root);
        match value {
            Value::Object(_) => {
                self.cell_mut(root).take();
                self.tree.become_empty_object(root);
            }
            Value::Array(_) => self.hold(root, Value::Array(Vec::new())),
            _ => self.hold(root, Value::Null),
        }
        value
    }

    /// Gives the value of a node that is about to be removed. It is copied where the removal may be
    /// undone, because the node then keeps it.
    fn take_value(&mut self, index: u32) -> Value {
        let owned = self.tree.node(index).kind == Kind::Owned;
        if owned && self.is_unsaved(index) {
            return self.value(index).clone();
        }
        match self.cell_mut(index).take() {
            Some(value) => value,
            None => self.build(index),
        }
    }

    /// Marks a node absent, and with `compact` the objects above that it leaves without members, up
    /// to the root.
    fn remove_node(&mut self, root: u32, index: u32, compact: bool) {
        self.save(index);
        self.tree.node_mut(index).absent = true;
        self.changed(index);
        let parent = self.tree.node(index).parent;
        if compact && parent != root && self.is_childless(parent) {
            self.remove_node(root, parent, compact);
        }
    }

    /// Gives what `path` leads to for change, or `None`.
    pub(super) fn value_mut(&mut self, path: Steps<'_>) -> Option<&mut Value> {
        let (node, rest) = match self.find(path)? {
            Found::Node(node) => (node, &[][..]),
            Found::Within(node, depth) => (node, path.rest(depth)),
        };
        self.value(node).get(rest)?;
        let value = self.save_taken(node);
        self.hold(node, value);
        self.changed(node);
        self.cell_mut(node).get_mut()?.get_mut(rest)
    }
}
