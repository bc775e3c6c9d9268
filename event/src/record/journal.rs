//! The undo journal: what nodes were before they changed, the last change last.
//!
//! Branches of a plan run one after the other over the same record, and a program that fails must
//! leave no trace. So each change first saves what it changes; going back to a [`Mark`] plays the
//! journal backwards. Nodes made since lie at the end of the arena and are cut off.
//!
//! # What is saved
//!
//! A mark begins a *generation*. A node is saved at its first change in a generation and not again,
//! for only its state at the mark will be asked for; a node made since the mark is not saved at
//! all, for it will be cut off. Each node says in which generation it was saved last. Before the
//! first mark the generation is 0, and so is that of every node: then nothing is saved, and a plan
//! that takes no marks pays a comparison for each change.
//!
//! Values are moved into the journal where something takes their place, and copied only where they
//! are changed in place. An object that is taken apart into children is not copied either: undoing
//! first restores the children (which count as old, not as made since, so their changes are saved)
//! and then gathers the object from them.

use super::Record;
use super::tree::{Kind, NONE, Node};
use crate::codec::json::key_string;
use std::cell::OnceCell;
use std::ops::Range;
use vrl::value::{ObjectMap, Value};

/// A state of a record to go back to, by [`Record::undo_to`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    entries: usize,
    nodes: usize,
    names: usize,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    off: bool,
    generation: u32,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    index: u32,
    node: Node,
    cell: Cell,
}

/// What to do with a node's cell when its entry is undone.
#[derive(Debug)]
enum Cell {
    /// An owned value is still there; a cache may no longer be right.
    Kept,
    /// Put this back.
    Moved(Option<Value>),
    /// It was an object and was taken apart into these nodes: gather it from them.
    TakenApart(Range<u32>),
}

impl Journal {
    pub(super) fn clear(&mut self) {
        self.generation = 0;
        self.entries.clear();
    }
}

impl Record {
    /// Switches the recording of changes on (as it is at first) or off. While it is off nothing can
    /// be undone. To be called before a record begins; it voids all marks.
    pub fn set_journaling(&mut self, on: bool) {
        self.journal.off = !on;
        self.journal.clear();
    }

    /// Marks the present state.
    pub fn mark(&mut self) -> Mark {
        if !self.journal.off {
            self.journal.generation += 1;
        }
        Mark {
            entries: self.journal.entries.len(),
            nodes: self.tree.nodes.len(),
            names: self.tree.names.len(),
        }
    }

    /// Undoes all changes of fields and metadata since `mark` was taken. Marks taken in between are
    /// void, this one may be used again. The origin is not part of it.
    ///
    /// Recording must have been on since.
    pub fn undo_to(&mut self, mark: Mark) {
        debug_assert!(!self.journal.off, "changes were not recorded");
        while self.journal.entries.len() > mark.entries {
            if let Some(entry) = self.journal.entries.pop() {
                self.undo(entry);
            }
        }
        self.tree.truncate(mark.nodes);
        self.tree.names.truncate(mark.names);
        // Nodes are children again that were none.
        self.tree.forget_places();
    }

    fn undo(&mut self, Entry { index, node, cell }: Entry) {
        match cell {
            Cell::Kept if node.kind == Kind::Owned => {}
            Cell::Kept => self.tree.forget(index),
            Cell::Moved(value) => {
                *self.cell_mut(index) = value.map(OnceCell::from).unwrap_or_default();
            }
            Cell::TakenApart(children) => {
                let value = self.gather(children);
                *self.cell_mut(index) = OnceCell::from(value);
            }
        }
        *self.tree.node_mut(index) = node;
        self.forget_above(index);
    }

    /// Puts the object together again that was taken apart into `children`. All that happened to
    /// them since has been undone, so each owns its value.
    fn gather(&mut self, children: Range<u32>) -> Value {
        let members = children.filter_map(|child| {
            let value = self.tree.cells[child as usize].take()?;
            let name = self.tree.node(child).name;
            Some((key_string(self.tree.name(&self.bytes, &name)), value))
        });
        Value::Object(members.collect::<ObjectMap>())
    }

    /// Drops the cached values of all nodes above `index`.
    fn forget_above(&mut self, index: u32) {
        let mut parent = self.tree.node(index).parent;
        while parent != NONE {
            self.tree.forget(parent);
            parent = self.tree.node(parent).parent;
        }
    }

    /// Tells whether a node must be saved before it changes: it was there at the last mark, and has
    /// not been saved since.
    #[inline]
    pub(super) fn is_unsaved(&self, index: u32) -> bool {
        self.tree.node(index).saved != self.journal.generation
    }

    /// Gives the generation for a node that is made now.
    pub(super) fn generation(&self) -> u32 {
        self.journal.generation
    }

    /// Saves a node whose links or flags are about to change, while its value stays.
    #[inline]
    pub(super) fn save(&mut self, index: u32) {
        if !self.is_unsaved(index) {
            return;
        }
        let node = *self.tree.node(index);
        self.journal.entries.push(Entry { index, node, cell: Cell::Kept });
        // An owned value is not in this entry. So the node counts as saved only if it has none.
        if node.kind != Kind::Owned {
            self.tree.node_mut(index).saved = self.journal.generation;
        }
    }

    /// Saves a node that is about to hold something else, and empties its cell.
    #[inline]
    pub(super) fn save_moved(&mut self, index: u32) {
        if !self.is_unsaved(index) {
            return self.tree.forget(index);
        }
        let value = self.cell_mut(index).take();
        self.push_moved(index, value);
    }

    fn push_moved(&mut self, index: u32, value: Option<Value>) {
        let node = *self.tree.node(index);
        // Of other nodes the cell is but a cache.
        let value = value.filter(|_| node.kind == Kind::Owned);
        self.journal.entries.push(Entry { index, node, cell: Cell::Moved(value) });
        self.tree.node_mut(index).saved = self.journal.generation;
    }

    /// Takes the value of a node that is about to be changed in place, a copy of it if it may have
    /// to be put back.
    pub(super) fn save_taken(&mut self, index: u32) -> Value {
        let unsaved = self.is_unsaved(index);
        if unsaved && self.tree.node(index).kind == Kind::Owned {
            let value = self.value(index).clone();
            self.save_moved(index);
            return value;
        }
        let cached = self.cell_mut(index).take();
        let value = cached.unwrap_or_else(|| self.build(index));
        if unsaved {
            self.push_moved(index, None);
        }
        value
    }

    /// Saves a node whose object is about to be taken apart into `members` nodes, the next to be
    /// made. Gives the object, and the generation that these nodes are to have.
    pub(super) fn save_taken_apart(&mut self, index: u32, members: usize) -> (Option<Value>, u32) {
        let unsaved = self.is_unsaved(index);
        if unsaved {
            let node = *self.tree.node(index);
            let first = self.tree.nodes.len() as u32;
            let cell = Cell::TakenApart(first..first + members as u32);
            self.journal.entries.push(Entry { index, node, cell });
            self.tree.node_mut(index).saved = self.journal.generation;
        }
        // Generation 0 is never that of a mark: what has it is old and will be saved.
        let generation = if unsaved { 0 } else { self.journal.generation };
        (self.cell_mut(index).take(), generation)
    }

    pub(super) fn cell_mut(&mut self, index: u32) -> &mut OnceCell<Value> {
        &mut self.tree.cells[index as usize]
    }
}
