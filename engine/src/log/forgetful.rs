//! A disk in memory that forgets.
//!
//! What is not synced is kept apart. A crash forgets any subset of the unsynced writes of each file
//! and tears others at any byte, and keeps a prefix of the unsynced changes of names, as a journal
//! of metadata does. The disk counts the points at which it changes, and dies at any of them; it is
//! full above a capacity; and its syncs fail on demand.

use super::disk::{Access, Disk, DiskFile};
use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone)]
pub struct Forgetful(Arc<Mutex<Inner>>);

#[derive(Clone, Default)]
struct Inner {
    /// Names and files as a process sees them.
    names: BTreeMap<String, usize>,
    /// Names as they are on the platters.
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    files: Vec<FileState>,
    points: u64,
    dies_at: Option<u64>,
    capacity: Option<usize>,
    syncs_fail: bool,
}

#[derive(Clone)]
enum Change {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Default)]
struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Op>,
}

#[derive(Clone)]
enum Op {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// A small generator of numbers from a seed (SplitMix64): what is forgotten can be forgotten again.
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

impl Forgetful {
    pub fn new() -> Self {
        Forgetful(Arc::default())
    }

    /// Gives the disk as it is after the power went; a process that still runs has the old one.
    pub fn crash(&self, seed: u64) -> Forgetful {
        let mut inner = self.inner().clone();
        let mut dice = Dice(seed);
        for file in &mut inner.files {
            for op in std::mem::take(&mut file.unsynced) {
                let op = match (op, dice.below(4)) {
                    (_, 0) => continue,
                    (Op::Write(at, mut bytes), 1) => {
                        bytes.truncate(dice.below(bytes.len() + 1));
                        Op::Write(at, bytes)
                    }
                    (op, _) => op,
                };
                op.apply(&mut file.durable);
            }
            file.live = file.durable.clone();
        }
        let changes = std::mem::take(&mut inner.changes);
        let kept = dice.below(changes.len() + 1);
        for change in &changes[..kept] {
            change.apply(&mut inner.durable_names);
        }
        inner.names = inner.durable_names.clone();
        inner.reborn()
    }

    /// Gives the disk as it is after the process was killed: the system still has everything.
    pub fn kill(&self) -> Forgetful {
        self.inner().clone().reborn()
    }

    /// Dies at this point from now on: that change may happen, and none after it.
    pub fn die_at(&self, point: u64) {
        let mut inner = self.inner();
        inner.dies_at = Some(inner.points + point);
    }

    /// How often it was changed.
    pub fn points(&self) -> u64 {
        self.inner().points
    }

    /// Holds at most so many bytes.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.inner().capacity = bytes;
    }

    /// How many bytes it holds.
    pub fn used(&self) -> usize {
        self.inner().used()
    }

    /// Lets every sync fail, and forget what it should have kept while later ones say that all is
    /// well, as file systems do.
    pub fn fail_syncs(&self) {
        self.inner().syncs_fail = true;
    }

    /// Lists all files with their length.
    pub fn files(&self) -> Vec<(String, usize)> {
        let inner = self.inner();
        inner.names.iter().map(|(name, at)| (name.clone(), inner.files[*at].live.len())).collect()
    }

    /// Changes a byte of a file, durably.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut inner = self.inner();
        let at = inner.names[name];
        inner.files[at].live[offset] ^= mask;
        inner.files[at].durable = inner.files[at].live.clone();
        inner.files[at].unsynced.clear();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn reborn(mut self) -> Forgetful {
        self.dies_at = None;
        self.syncs_fail = false;
        self.points = 0;
        Forgetful(Arc::new(Mutex::new(self)))
    }

    fn used(&self) -> usize {
        self.names.values().map(|at| self.files[*at].live.len()).sum()
    }

    /// Counts a change, and refuses it when the disk is dead.
    fn point(&mut self) -> io::Result<()> {
        self.points += 1;
        match self.dies_at {
            Some(at) if self.points > at => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Link(name, file) => drop(names.insert(name.clone(), *file)),
            Change::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Change::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl Op {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Op::Write(at, new) => {
                let end = at + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(new);
            }
            Op::Truncate(length) => bytes.resize(*length, 0),
        }
    }
}

impl Disk for Forgetful {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.inner();
        inner.point()?;
        let at = inner.files.len();
        inner.files.push(FileState::default());
        inner.change(Change::Link(name.to_owned(), at));
        drop(inner);
        Ok(Box::new(OpenFile { disk: self.clone(), at }))
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        let at = *self.inner().names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(OpenFile { disk: self.clone(), at }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.point()?;
        inner.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.point()?;
        inner.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let inner = self.inner();
        let files = inner.names.iter().filter_map(|(name, at)| {
            let name = name.strip_prefix(&prefix).filter(|name| !name.contains('/'))?;
            Some((name.to_owned(), inner.files[*at].live.len() as u64))
        });
        Ok(files.collect())
    }

    fn make_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _folder: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.point()?;
        inner.durable_names = inner.names.clone();
        inner.changes.clear();
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }
}

struct OpenFile {
    disk: Forgetful,
    at: usize,
}

impl OpenFile {
    fn op(&self, inner: &mut Inner, op: Op) {
        op.apply(&mut inner.files[self.at].live);
        inner.files[self.at].unsynced.push(op);
    }
}

impl DiskFile for OpenFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.point()?;
        let mut bytes = parts.concat();
        let offset = offset as usize;
        let grows = (offset + bytes.len()).saturating_sub(inner.files[self.at].live.len());
        let room = inner.capacity.map_or(usize::MAX, |most| most.saturating_sub(inner.used()));
        let full = grows > room;
        if full {
            // As much as fits is written, as a file system does.
            bytes.truncate(bytes.len() - (grows - room).min(bytes.len()));
        }
        self.op(&mut inner, Op::Write(offset, bytes));
        if full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let inner = self.disk.inner();
        let live = &inner.files[self.at].live;
        let rest = live.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.point()?;
        if inner.syncs_fail {
            // The pages count as clean from now on, and are not on the platters.
            inner.files[self.at].unsynced.clear();
            return Err(io::Error::other("the disk does not answer"));
        }
        // Only what counts as dirty is written: after a failed sync the rest never is.
        let file = &mut inner.files[self.at];
        for op in std::mem::take(&mut file.unsynced) {
            op.apply(&mut file.durable);
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.point()?;
        self.op(&mut inner, Op::Truncate(length as usize));
        Ok(())
    }
}

impl Forgetful {
    /// Leaves the first bytes of a file and puts others behind them, under the name of a packed
    /// segment if wanted.
    pub fn cut_and_append(&self, name: &str, keep: usize, bytes: &[u8], packed: bool) {
        let mut inner = self.inner();
        let at = inner.names[name];
        let file = &mut inner.files[at];
        file.live.truncate(keep);
        file.live.extend_from_slice(bytes);
        file.durable = file.live.clone();
        file.unsynced.clear();
        if packed {
            inner.names.remove(name);
            inner.names.insert(name.replace(".log", ".packed"), at);
        }
        inner.durable_names = inner.names.clone();
    }
}
