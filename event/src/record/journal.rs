//! The undo journal: what nodes were before they changed, the last change last.
//!
//! Branches of a plan run one after the other over the same record, and a program that fails must leave no trace. So
//! each change first saves what it changes; going back to a [`Mark`] plays the journal backwards. Nodes made since
//! lie at the end of the arena and are cut off. Values are moved into the journal where something takes their place,
//! and copied only where they are changed in place.
//!
//! A plan without branches and roll back needs none of this: recording can be switched off.

use super::Record;
use super::tree::{Kind, NONE, Node};
use crate::codec::json::key_string;
use std::cell::OnceCell;
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
    /// Something took its place: put this back.
    Moved(Option<Value>),
    /// It was an object and was taken apart: gather it from the children.
    TakenApart,
}

impl Journal {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

impl Record {
    /// Switches the recording of changes on (as it is at first) or off. While it is off nothing can be undone.
    pub fn set_journaling(&mut self, on: bool) {
        self.journal.off = !on;
        self.journal.clear();
    }

    /// Marks the present state.
    pub fn mark(&self) -> Mark {
        Mark {
            entries: self.journal.entries.len(),
            nodes: self.tree.nodes.len(),
            names: self.tree.names.len(),
        }
    }

    /// Undoes all changes of fields and metadata since `mark` was taken. Marks taken in between are void, this one
    /// may be used again. The origin is not part of it.
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
    }

    fn undo(&mut self, Entry { index, node, cell }: Entry) {
        let value = match cell {
            Cell::TakenApart => Some(self.gather(index)),
            Cell::Moved(value) => value,
            Cell::Kept if node.kind == Kind::Owned => self.cell_mut(index).take(),
            Cell::Kept => None,
        };
        *self.cell_mut(index) = value.map(OnceCell::from).unwrap_or_default();
        *self.tree.node_mut(index) = node;
        self.forget_above(index);
    }

    /// Puts the object together again that [`Record::take_apart`] took apart. All that happened to the children since
    /// has been undone, so each owns its value.
    fn gather(&mut self, index: u32) -> Value {
        let children: Vec<u32> = self.tree.children(index).collect();
        let members = children.into_iter().filter_map(|child| {
            let value = self.tree.cells[child as usize].take()?;
            let name = self.tree.node(child).name;
            Some((key_string(self.tree.name(&self.bytes, name)), value))
        });
        Value::Object(members.collect::<ObjectMap>())
    }

    /// Drops the cached values of all nodes above `index`.
    pub(super) fn forget_above(&mut self, index: u32) {
        let mut parent = self.tree.node(index).parent;
        while parent != NONE {
            self.cell_mut(parent).take();
            parent = self.tree.node(parent).parent;
        }
    }

    /// Saves a node whose links or flags are about to change, while an owned value stays.
    pub(super) fn save(&mut self, index: u32) {
        if !self.journal.off {
            let node = *self.tree.node(index);
            self.journal.entries.push(Entry { index, node, cell: Cell::Kept });
        }
    }

    /// Saves a node that is about to hold something else, and empties its cell.
    pub(super) fn save_moved(&mut self, index: u32) {
        let node = *self.tree.node(index);
        let value = self.cell_mut(index).take().filter(|_| node.kind == Kind::Owned);
        if !self.journal.off {
            self.journal.entries.push(Entry { index, node, cell: Cell::Moved(value) });
        }
    }

    /// Takes the value of a node that is about to be changed in place, a copy of it if it may have to be put back.
    pub(super) fn save_taken(&mut self, index: u32) -> Value {
        let owned = self.tree.node(index).kind == Kind::Owned;
        if owned && !self.journal.off {
            let value = self.value(index).clone();
            self.save_moved(index);
            return value;
        }
        let cached = self.cell_mut(index).take();
        let value = cached.unwrap_or_else(|| self.build(index));
        self.save_moved(index);
        value
    }

    /// Saves a node that is about to be taken apart into children, and gives its value to do so.
    pub(super) fn save_taken_apart(&mut self, index: u32) -> Option<Value> {
        if !self.journal.off {
            let node = *self.tree.node(index);
            self.journal.entries.push(Entry { index, node, cell: Cell::TakenApart });
        }
        self.cell_mut(index).take()
    }

    /// Forgets what was recorded: it cannot be undone any more.
    pub(super) fn forget_changes(&mut self) {
        self.journal.clear();
    }

    /// Tells whether changes are recorded.
    pub(super) fn journaling(&self) -> bool {
        !self.journal.off
    }

    pub(super) fn cell_mut(&mut self, index: u32) -> &mut OnceCell<Value> {
        &mut self.tree.cells[index as usize]
    }
}
