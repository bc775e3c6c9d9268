//! The arena in which a record keeps its fields: plain nodes, and beside each a cell for its value.

use crate::codec::json::{Familiar, short_word, word_at};
use std::cell::{Cell, OnceCell};
use std::ops::Range;
use vrl::value::Value;

/// The root of the event, `.` in programs.
pub(crate) const ROOT: u32 = 0;

/// The root of the metadata, `%` in programs.
pub(crate) const METADATA: u32 = 1;

/// No node.
pub(crate) const NONE: u32 = u32::MAX;

/// How many nodes one record may have before further objects are held whole instead of as nodes.
///
/// A document of [`crate::limits::RECORD_BYTES_MAX`] bytes could otherwise make millions of nodes,
/// each many times larger than its text. No event that a person would write comes near it.
pub(crate) const NODES_LAZY_MAX: usize = 16_384;

/// How many nodes one record may have before its objects are turned into values to be written to.
/// Programs with loops could otherwise make nodes without end.
pub(crate) const NODES_FULL: usize = 4 * NODES_LAZY_MAX;

/// What a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object whose members are child nodes. While clean, its JSON text is `start..end`.
    Object,
    /// A value that is no part of the block: the node's cell holds it, always.
    Owned,
    /// Plain bytes of a line at `start..end`: a string that may not be UTF-8.
    Text,
    /// A JSON string without escapes; `start..end` is between its quotes.
    String,
    /// The same with escapes.
    Escaped,
    /// The text of a JSON number without fraction and exponent.
    Integer,
    /// The text of any other JSON number.
    Float,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
    /// A time in RFC 3339 and UTC, as it is written of a value; `start..end` is between its quotes.
    Time,
    /// The text of a JSON array.
    Array,
    /// The text of a JSON object that is too wide to be held as nodes.
    Wide,
}

/// The name of a member: a range of the block's bytes, or of [`Tree::names`] when the top bit of
/// `length` is set.
///
/// It carries its first eight bytes along, zeros behind a shorter one, so that names are told apart
/// without going to where they stand; and a name apart of up to eight bytes stands nowhere else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    start: u32,
    length: u32,
    prefix: [u8; 8],
}

const APART: u32 = 1 << 31;

impl Name {
    /// Names a root, which has none.
    pub(crate) const EMPTY: Name = Name { start: 0, length: 0, prefix: [0; 8] };

    /// Makes the name that stands at a range of the block.
    #[inline]
    pub(crate) fn within_block(block: &[u8], start: u32, end: u32) -> Self {
        let length = end - start;
        let prefix = match word_at(block, start as usize) {
            Some(word) if length >= 8 => word,
            Some(word) => word & ((1 << (8 * length)) - 1),
            None => short_word(&block[start as usize..end as usize]),
        };
        Name { start, length, prefix: prefix.to_le_bytes() }
    }

    /// Makes the name of this key that stands at a range of the block without escapes.
    #[inline]
    pub(crate) fn of_key(key: Key, start: u32, end: u32) -> Self {
        Name { start, length: end - start, prefix: key.prefix.to_le_bytes() }
    }

    /// Gives the same name where it stands once more in the block.
    #[inline]
    pub(crate) fn at(self, start: u32) -> Self {
        Name { start, ..self }
    }

    /// Gives where the name stands in the block, if it does.
    pub(crate) fn in_block(self) -> Option<(usize, usize)> {
        let start = self.start as usize;
        (self.length & APART == 0).then(|| (start, start + self.length as usize))
    }

    /// Gives the length in bytes.
    #[inline]
    pub(crate) fn len(self) -> usize {
        (self.length & !APART) as usize
    }

    /// Gives all of a name of up to eight bytes, zeros behind it.
    #[inline]
    pub(crate) fn short(self) -> Option<u64> {
        (self.len() <= 8).then(|| self.word())
    }

    /// Gives the first eight bytes as a word.
    #[inline]
    fn word(self) -> u64 {
        u64::from_le_bytes(self.prefix)
    }

    /// Gives what it is looked for by.
    #[inline]
    pub(crate) fn key(self) -> Key {
        Key::new(self.word(), self.len())
    }
}

/// What a name is looked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The first eight bytes as a word, zeros behind a shorter name.
    prefix: u64,
    /// A number below 64, by a multiplicative hash of the prefix and the length.
    hash: u32,
}

impl Key {
    #[inline]
    fn new(prefix: u64, length: usize) -> Self {
        let mixed = prefix.wrapping_add(length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Key { prefix, hash: (mixed >> 58) as u32 }
    }

    /// Makes the key of a name.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Self {
        Key::new(word_at(name, 0).unwrap_or_else(|| short_word(name)), name.len())
    }

    /// Gives the bit that stands for it in [`Node::names`].
    #[inline]
    pub(crate) fn bit(self) -> u64 {
        1 << self.hash
    }
}

/// A field, or a root. Plain data of 56 bytes, so that scanning, saving and restoring are copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) name: Name,
    /// The bits ([`Key::bit`]) of all children, and maybe others.
    pub(crate) names: u64,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) parent: u32,
    pub(crate) first_child: u32,
    pub(crate) last_child: u32,
    pub(crate) next: u32,
    /// The generation of the journal that holds all of this node's state, see there.
    pub(crate) saved: u32,
    pub(crate) kind: Kind,
    /// Removed. It stays linked, so that a member that comes and goes uses up no second node.
    pub(crate) absent: bool,
    /// An object whose text is no longer, or never was, what it holds.
    pub(crate) dirty: bool,
    /// An object in whose text a name comes twice, so that its members' texts are not those of its
    /// nodes in a row.
    pub(crate) scattered: bool,
}

impl Node {
    /// Makes a node that is no child yet and holds `null`.
    pub(crate) fn new(name: Name, parent: u32) -> Self {
        Node {
            name,
            names: 0,
            start: 0,
            end: 0,
            parent,
            first_child: NONE,
            last_child: NONE,
            next: NONE,
            saved: 0,
            kind: Kind::Null,
            absent: false,
            dirty: false,
            scattered: false,
        }
    }

    /// Gives where the node's text stands in the block.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// For each [`place_of`] the child that was found last, so that it is found sooner the next time:
/// programs ask for the same few names again and again.
///
/// Places outlive a record, for the next mostly has the same shape. So a place is only a guess, and
/// good if the node there has that name and that parent: every node is made as a child of its
/// parent. What unlinks nodes, or links them again, must forget all of them, by
/// [`Tree::forget_places`].
#[derive(Debug)]
struct Places([Cell<u32>; 64]);

impl Default for Places {
    fn default() -> Self {
        Places([const { Cell::new(NONE) }; 64])
    }
}

/// Gives where in [`Places`] a child of that name is noted. Many parents have a child `name`, so
/// the parent counts.
#[inline]
fn place_of(parent: u32, key: Key) -> usize {
    ((parent.wrapping_mul(7) ^ key.hash) % 64) as usize
}

/// The nodes of one record, reused for the next.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// A cell for each node, and empty ones beyond: what a node holds (when [`Kind::Owned`]), else
    /// its value as last asked for.
    pub(crate) cells: Vec<OnceCell<Value>>,
    /// The text of names that do not stand in the block.
    pub(crate) names: Vec<u8>,
    /// Whether JSON text in this record has line breaks between its tokens.
    pub(crate) newline: bool,
    /// The names of the last JSON document.
    pub(crate) familiar: Familiar,
    places: Places,
}

impl Tree {
    /// Drops everything and leaves two empty roots.
    pub(crate) fn clear(&mut self) {
        self.truncate(0);
        self.names.clear();
        self.newline = false;
        for _ in [ROOT, METADATA] {
            let index = self.push(Node::new(Name::EMPTY, NONE));
            self.become_empty_object(index);
        }
    }

    /// Makes a node an object without members that has no text.
    pub(crate) fn become_empty_object(&mut self, index: u32) {
        self.unlink_children(index);
        let node = self.node_mut(index);
        node.kind = Kind::Object;
        node.dirty = true;
        node.scattered = false;
    }

    /// Leaves a node without children.
    #[inline]
    pub(crate) fn unlink_children(&mut self, index: u32) {
        let node = self.node_mut(index);
        if node.first_child != NONE {
            node.first_child = NONE;
            node.last_child = NONE;
            node.names = 0;
            self.forget_places();
        }
    }

    /// Forgets where names were found.
    #[cold]
    pub(crate) fn forget_places(&mut self) {
        self.places = Places::default();
    }

    /// Drops the nodes from `count` on.
    pub(crate) fn truncate(&mut self, count: usize) {
        for cell in &mut self.cells[count..self.nodes.len()] {
            forget(cell);
        }
        self.nodes.truncate(count);
    }

    /// Drops what is in a node's cell.
    #[inline]
    pub(crate) fn forget(&mut self, index: u32) {
        forget(&mut self.cells[index as usize]);
    }

    /// Adds a node without linking it.
    #[inline]
    pub(crate) fn push(&mut self, node: Node) -> u32 {
        let index = self.nodes.len();
        if self.cells.len() == index {
            self.cells.push(OnceCell::new());
        }
        self.nodes.push(node);
        index as u32
    }

    /// Gives every node a cell, where nodes were added without.
    pub(crate) fn add_cells(&mut self) {
        if self.cells.len() < self.nodes.len() {
            self.cells.resize_with(self.nodes.len(), OnceCell::new);
        }
    }

    /// Makes `child`, just pushed, the last child of `parent`, behind `last`. The parent is to be
    /// told its name apart, in [`Node::names`].
    #[inline]
    pub(crate) fn link(&mut self, parent: u32, last: u32, child: u32) {
        match last {
            NONE => self.nodes[parent as usize].first_child = child,
            last => self.nodes[last as usize].next = child,
        }
        self.nodes[parent as usize].last_child = child;
    }

    /// Keeps `name`, whose key is known, beside the block.
    pub(crate) fn intern(&mut self, key: Key, name: &[u8]) -> Name {
        let start = self.names.len() as u32;
        if name.len() > 8 {
            self.names.extend_from_slice(name);
        }
        Name { start, length: name.len() as u32 | APART, prefix: key.prefix.to_le_bytes() }
    }

    /// Gives the node at `index`.
    #[inline]
    pub(crate) fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    /// Gives the node at `index` for change.
    #[inline]
    pub(crate) fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self.nodes[index as usize]
    }

    /// Gives the bytes of a name.
    #[inline]
    pub(crate) fn name<'a>(&'a self, block: &'a [u8], name: &'a Name) -> &'a [u8] {
        let start = name.start as usize;
        let text = match (name.length & APART, name.len()) {
            (0, _) => block,
            (_, length @ 0..=8) => return &name.prefix[..length],
            _ => &self.names,
        };
        &text[start..start + name.len()]
    }

    /// Finds the child of that name, be it absent or not.
    #[inline]
    pub(crate) fn child(&self, block: &[u8], parent: u32, key: Key, name: &[u8]) -> Option<u32> {
        if self.node(parent).names & key.bit() == 0 {
            return None;
        }
        let place = &self.places.0[place_of(parent, key)];
        let guess = place.get();
        if let Some(node) = self.nodes.get(guess as usize)
            && node.parent == parent
            && self.is_named(block, node, key, name)
        {
            return Some(guess);
        }
        let found = self.search(block, parent, key, name)?;
        place.set(found);
        Some(found)
    }

    /// Finds the child of that name by looking at each, and notes no place.
    pub(crate) fn search(&self, block: &[u8], parent: u32, key: Key, name: &[u8]) -> Option<u32> {
        let mut index = self.node(parent).first_child;
        while index != NONE {
            let node = self.node(index);
            if self.is_named(block, node, key, name) {
                return Some(index);
            }
            index = node.next;
        }
        None
    }

    #[inline]
    fn is_named(&self, block: &[u8], node: &Node, key: Key, name: &[u8]) -> bool {
        node.name.word() == key.prefix
            && node.name.len() == name.len()
            && (name.len() <= 8 || self.name(block, &node.name) == name)
    }

    /// Lists the children that are there, in order.
    pub(crate) fn children(&self, parent: u32) -> impl Iterator<Item = u32> + '_ {
        let mut index = self.node(parent).first_child;
        std::iter::from_fn(move || {
            while index != NONE {
                let child = index;
                let node = self.node(child);
                index = node.next;
                if !node.absent {
                    return Some(child);
                }
            }
            None
        })
    }
}

/// Empties a cell. Most are empty, and to write each would cost more than to look first.
#[inline]
fn forget(cell: &mut OnceCell<Value>) {
    if cell.get().is_some() {
        cell.take();
    }
}
