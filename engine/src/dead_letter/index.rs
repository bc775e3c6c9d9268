//! What a segment holds, by group: so that a list need not read all bytes.
//!
//! The segment is the truth. An index says up to which byte it knows it; the rest is read, and an
//! index that is of another text is made anew.

use super::folder::{Folder, Segment, found};
use super::line::{Head, Line, lines};
use crate::feed::Epoch;
use azud_event::id::Id;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The version of the form that this program writes, and the only one that it reads: another is
/// made anew.
const VERSION: u32 = 1;

/// How many bytes at both ends of a text tell it from another.
const CHECKED_BYTES: u64 = 256;

/// How many bytes of a message are kept for a group.
const MESSAGE_BYTES: usize = 512;

/// How much of a segment is read at a time.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// What letters have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKey {
    /// The component that could not go on.
    pub component: String,
    /// The source that took them in; empty where that is not known.
    pub source: String,
    /// The name of the reason.
    pub reason: String,
    /// The minute of their receipt, in RFC 3339 with six digits.
    pub minute: String,
}

/// Letters of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What they have in common.
    #[serde(flatten)]
    pub key: GroupKey,
    /// The stage of the way at which it happened.
    pub stage: String,
    /// How many.
    pub letters: u64,
    /// How many bytes their records have.
    pub bytes: u64,
    /// When the first was received, in RFC 3339.
    pub first_received_at: String,
    /// When the last was.
    pub last_received_at: String,
    /// What went wrong with the first of them, at most 512 bytes.
    pub message: String,
    /// Who sent the first.
    pub peer: Option<String>,
    /// What the receiver of a sink answered to the first.
    pub response_code: Option<u16>,
    /// The greatest epoch of one of them.
    pub epoch: Option<Epoch>,
    /// Where in its segment the line of the first begins.
    pub at: u64,
}

/// What a segment holds, up to some byte of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Up to where it is known; a line ends there.
    pub covers: u64,
    /// The groups.
    pub groups: BTreeMap<GroupKey, Group>,
    /// The greatest epoch of a line.
    pub epoch_max: Option<Epoch>,
    /// Every epoch before this was complete.
    pub complete_before: Epoch,
    /// How many lines are none of ours: a disk that went bad, or somebody's editor.
    pub unreadable: u64,
}

/// An index as a file.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    covers: u64,
    /// A hash of the ends of what is covered.
    check: String,
    epoch_max: Option<Epoch>,
    complete_before: Epoch,
    unreadable: u64,
    groups: Vec<Group>,
}

impl Index {
    /// Gives what a segment holds now: what is known already, and the rest by reading it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is gone; when it cannot be read.
    pub fn of(folder: &Folder, segment: Segment) -> io::Result<Index> {
        let file = File::open(folder.segment(segment.number))?;
        let mut index = Index::read(folder, segment, &file)?.unwrap_or_default();
        index.go_on(&file)?;
        Ok(index)
    }

    /// Reads the file, if it is there and of this segment.
    fn read(folder: &Folder, segment: Segment, file: &File) -> io::Result<Option<Index>> {
        let Some(bytes) = found(std::fs::read(folder.index(segment.number)))? else {
            return Ok(None);
        };
        let Ok(written) = serde_json::from_slice::<Written>(&bytes) else { return Ok(None) };
        if written.version != VERSION
            || written.covers > segment.bytes
            || written.check != check(file, written.covers)?
        {
            return Ok(None);
        }
        let groups = written.groups.into_iter().map(|group| (group.key.clone(), group));
        Ok(Some(Index {
            covers: written.covers,
            groups: groups.collect(),
            epoch_max: written.epoch_max,
            complete_before: written.complete_before,
            unreadable: written.unreadable,
        }))
    }

    /// Writes it beside its segment. It is a cache, so nothing depends on it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Folder, number: u64) -> io::Result<()> {
        let file = File::open(folder.segment(number))?;
        let written = Written {
            version: VERSION,
            covers: self.covers,
            check: check(&file, self.covers)?,
            epoch_max: self.epoch_max,
            complete_before: self.complete_before,
            unreadable: self.unreadable,
            groups: self.groups.values().cloned().collect(),
        };
        let bytes = serde_json::to_vec(&written).map_err(io::Error::other)?;
        folder.replace(&folder.index(number), &bytes)
    }

    /// Reads on from where it is known, up to the end of the last whole line.
    fn go_on(&mut self, file: &File) -> io::Result<()> {
        each_line(file, self.covers, |_, line| self.add(line))
    }

    /// Counts a line that stands where the index ends.
    pub fn add(&mut self, line: &[u8]) {
        let at = self.covers;
        self.covers += line.len() as u64;
        let Some(read) = Line::read(line) else {
            self.unreadable += u64::from(!line.trim_ascii().is_empty());
            return;
        };
        self.epoch_max = self.epoch_max.max(read.epoch());
        self.complete_before = self.complete_before.max(read.since().unwrap_or_default());
        if let Line::Letter(head) = read {
            let key = GroupKey::of(&head);
            match self.groups.get_mut(&key) {
                Some(known) => known.add(&head),
                None => _ = self.groups.insert(key.clone(), Group::new(key, &head, at)),
            }
        }
    }
}

impl GroupKey {
    /// Gives the group that a letter is of.
    pub fn of(head: &Head<'_>) -> Self {
        let minute = head.received_at.get(..16).unwrap_or(&head.received_at);
        GroupKey {
            component: head.component.clone().into_owned(),
            source: head.source.clone().into_owned(),
            reason: head.reason.clone().into_owned(),
            minute: format!("{minute}:00.000000Z"),
        }
    }
}

impl Group {
    fn new(key: GroupKey, head: &Head<'_>, at: u64) -> Self {
        Group {
            key,
            stage: head.stage.clone().into_owned(),
            letters: 1,
            bytes: head.raw_bytes,
            first_received_at: head.received_at.clone().into_owned(),
            last_received_at: head.received_at.clone().into_owned(),
            message: shortened(&head.message).to_owned(),
            peer: head.peer.clone(),
            response_code: head.response_code,
            epoch: head.epoch,
            at,
        }
    }

    fn add(&mut self, head: &Head<'_>) {
        self.letters += 1;
        self.bytes += head.raw_bytes;
        self.epoch = self.epoch.max(head.epoch);
        if *head.received_at < *self.first_received_at {
            self.first_received_at = head.received_at.clone().into_owned();
        }
        if *head.received_at > *self.last_received_at {
            self.last_received_at = head.received_at.clone().into_owned();
        }
    }

    /// Adds what a later segment has of the same group.
    pub fn merge(&mut self, later: &Group) {
        self.letters += later.letters;
        self.bytes += later.bytes;
        self.epoch = self.epoch.max(later.epoch);
        let first = (&self.first_received_at).min(&later.first_received_at).clone();
        let last = (&self.last_received_at).max(&later.last_received_at).clone();
        (self.first_received_at, self.last_received_at) = (first, last);
    }
}

/// Cuts a text to at most so many bytes, between two of its characters.
fn shortened(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_BYTES)]
}

/// Hashes both ends of the first `covers` bytes of a file.
fn check(file: &File, covers: u64) -> io::Result<String> {
    let length = covers.min(CHECKED_BYTES) as usize;
    let (mut first, mut last) = (vec![0; length], vec![0; length]);
    let read = file.read_exact_at(&mut first, 0);
    match read.and_then(|()| file.read_exact_at(&mut last, covers - length as u64)) {
        // It is shorter than that, so it is another.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(String::new()),
        Err(error) => Err(error),
        Ok(()) => Ok(Id::of(&[&covers.to_le_bytes(), &first, &last]).to_string()),
    }
}

/// Calls `give` with every whole line of a file behind byte `from`, and where it begins. What is
/// behind the last whole line is being written, or was cut off.
///
/// # Errors
/// When the file cannot be read.
pub fn each_line(file: &File, from: u64, mut give: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let (mut at, mut pending, mut buffer) = (from, Vec::new(), vec![0; READ_BYTES]);
    loop {
        let read = file.read_at(&mut buffer, at + pending.len() as u64)?;
        if read == 0 {
            return Ok(());
        }
        pending.extend_from_slice(&buffer[..read]);
        let mut used = 0;
        for (start, line) in lines(&pending) {
            give(at + start as u64, line);
            used = start + line.len();
        }
        pending.drain(..used);
        at += used as u64;
    }
}
