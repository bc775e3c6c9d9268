//! A segment: entries in the order of group, key and number, in compressed blocks, with an index.
//!
//! ```text
//! magic (8) · block · block · … · index · end (28)
//!
//! block  = zstd of entries:  group (1) · key · number · value        lengths and numbers as LEB128
//! index  = for each block:   offset · length · length of the entries · CRC32C (4) · first entry
//! end    = offset of the index (8) · its length (8) · its CRC32C (4) · magic (8)
//! ```

use super::{damaged, name_of, open};
use crate::log::{Disk, DiskFile};
use azud_event::time::EventTime;
use azud_event::varint::{self, NoNumber};
use azud_plan::component::{ArchiveError, Entry};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zstd::bulk::Decompressor;

/// The first and the last bytes of a segment; the last is its version.
const MAGIC: &[u8; 8] = b"azudar\0\x01";
const END_BYTES: usize = 28;

/// A block is closed at this size, before it is compressed: what is read for one key.
const BLOCK_BYTES: usize = 16 * 1024;
/// A block has one entry at least, and a state keeps no larger one.
const BLOCK_BYTES_MAX: usize = 1 << 30;

/// State compresses well, and is written while a worker waits.
const ZSTD_LEVEL: i32 = 1;

/// How much is handed to the disk at once.
const WRITE_BYTES: usize = 1024 * 1024;

/// What a checkpoint says of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentState {
    /// Its number; a greater one is newer.
    pub number: u64,
    /// The step whose state it has.
    pub step: u64,
    /// The least number of an entry.
    pub least: i64,
    /// The greatest.
    pub greatest: i64,
    /// When all of it is over.
    pub over_at: EventTime,
    /// How long the file is.
    pub bytes: u64,
}

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: u8,
    key: Vec<u8>,
    number: i64,
}

#[derive(Debug)]
struct Block {
    first: Place,
    offset: u64,
    length: usize,
    /// How long its entries are.
    entries: usize,
    crc: u32,
}

thread_local! {
    /// Unpacks blocks, one after the other: one for each would cost as much as a small block does.
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// A segment.
pub struct Segment {
    state: SegmentState,
    disk: Arc<dyn Disk>,
    index: io::Result<Vec<Block>>,
    is_over: AtomicBool,
    is_named: AtomicBool,
}

impl Segment {
    /// Opens a segment; that it cannot be read is told when it is.
    pub fn open(disk: &Arc<dyn Disk>, state: SegmentState) -> Segment {
        let index = read_index(disk, &state);
        Segment {
            state,
            disk: Arc::clone(disk),
            index,
            is_over: AtomicBool::new(false),
            is_named: AtomicBool::new(true),
        }
    }

    /// Gives what a checkpoint says of it.
    pub fn state(&self) -> &SegmentState {
        &self.state
    }

    /// Says why it cannot be read at all, if it cannot.
    pub fn damage(&self) -> Option<&io::Error> {
        self.index.as_ref().err()
    }

    /// Notes that all of it is over.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Gives what a checkpoint says of it, and leaves it to who keeps checkpoints to remove it.
    pub fn name(&self) -> SegmentState {
        self.is_named.store(true, Ordering::Relaxed);
        self.state.clone()
    }

    /// Gives the entries of a key with these numbers, in their order.
    ///
    /// # Errors
    /// When they may be in a part that cannot be read.
    pub fn read(
        &self,
        group: u8,
        key: &[u8],
        numbers: &RangeInclusive<i64>,
        each: &mut dyn FnMut(i64, &[u8]),
    ) -> Result<(), ArchiveError> {
        if *numbers.end() < self.state.least || *numbers.start() > self.state.greatest {
            return Ok(());
        }
        let told = |error: &io::Error| {
            ArchiveError::new(format!("{}: {error}", name_of(self.state.number)))
        };
        let index = self.index.as_ref().map_err(told)?;
        let behind = |number| {
            index.partition_point(|Block { first, .. }| {
                (first.group, first.key.as_slice(), first.number) <= (group, key, number)
            })
        };
        let from = behind(*numbers.start()).saturating_sub(1);
        let to = behind(*numbers.end());
        if from >= to {
            return Ok(());
        }
        let file = open(&self.disk, self.state.number).map_err(|error| told(&error))?;
        for block in &index[from..to] {
            let entries = block.read(file.as_ref()).map_err(|error| told(&error))?;
            let mut rest = entries.as_slice();
            while !rest.is_empty() {
                let (at, value) = take_entry(&mut rest).map_err(|error| told(&error))?;
                let place = (at.0, at.1);
                if place > (group, key) {
                    return Ok(());
                }
                if place == (group, key) && numbers.contains(&at.2) {
                    each(at.2, value);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.is_over.load(Ordering::Relaxed) && !self.is_named.load(Ordering::Relaxed) {
            // What cannot be removed now is at the next start.
            let _ = self.disk.remove(&name_of(self.state.number));
        }
    }
}

impl Block {
    fn read(&self, file: &dyn DiskFile) -> io::Result<Vec<u8>> {
        let packed = read_exact(file, self.offset, self.length)?;
        if crc32c::crc32c(&packed) != self.crc {
            return Err(damaged("a block is not as it was written"));
        }
        UNPACKER.with_borrow_mut(|unpacker| {
            let unpacker = match unpacker {
                Some(unpacker) => unpacker,
                None => unpacker.insert(Decompressor::new()?),
            };
            unpacker.decompress(&packed, self.entries)
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::push(self.offset, out);
        varint::push(self.length as u64, out);
        varint::push(self.entries as u64, out);
        out.extend(self.crc.to_le_bytes());
        push_place(self.first.group, &self.first.key, self.first.number, out);
    }

    fn decode(bytes: &mut &[u8]) -> io::Result<Block> {
        let (offset, length) = (take_number(bytes)?, take_length(bytes)?);
        let entries = take_length(bytes)?;
        let (crc, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
        *bytes = rest;
        let (group, key, number) = take_place(bytes)?;
        let first = Place { group, key: key.to_vec(), number };
        Ok(Block { first, offset, length, entries, crc: u32::from_le_bytes(*crc) })
    }
}

fn read_index(disk: &Arc<dyn Disk>, state: &SegmentState) -> io::Result<Vec<Block>> {
    let file = open(disk, state.number)?;
    let end_at = state.bytes.checked_sub(END_BYTES as u64).ok_or_else(cut)?;
    let end = read_exact(file.as_ref(), end_at, END_BYTES)?;
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&end[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let (offset, length) = (number(0), number(8));
    if end[20..] != *MAGIC || offset.checked_add(length) != Some(end_at) {
        return Err(damaged("its end is not one"));
    }
    let index = read_exact(file.as_ref(), offset, usize::try_from(length).unwrap_or(usize::MAX))?;
    if crc32c::crc32c(&index).to_le_bytes() != end[16..20] {
        return Err(damaged("its index is not as it was written"));
    }
    let (mut rest, mut blocks) = (index.as_slice(), Vec::new());
    while !rest.is_empty() {
        blocks.push(Block::decode(&mut rest)?);
    }
    Ok(blocks)
}

fn read_exact(file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    if file.read_at(offset, &mut bytes)? < length {
        return Err(cut());
    }
    Ok(bytes)
}

/// Writes a segment. The first error is told at the end.
pub struct Writer {
    file: Box<dyn DiskFile>,
    failed: Option<io::Error>,
    /// What is not handed to the disk yet, and where it begins.
    buffer: Vec<u8>,
    offset: u64,
    blocks: Vec<Block>,
    /// The block under way.
    first: Option<Place>,
    entries: Vec<u8>,
    /// The least and the greatest number, and when all is over.
    numbers: Option<(i64, i64)>,
    over_at: EventTime,
}

impl Writer {
    /// Begins a segment in an empty file.
    pub fn new(file: Box<dyn DiskFile>) -> Writer {
        Writer {
            file,
            failed: None,
            buffer: MAGIC.to_vec(),
            offset: 0,
            blocks: Vec::new(),
            first: None,
            entries: Vec::new(),
            numbers: None,
            over_at: EventTime::MIN,
        }
    }

    /// Adds an entry, which is behind all before.
    pub fn add(&mut self, group: u8, entry: Entry<'_>) {
        let Entry { key, number, over_at, value } = entry;
        let (least, greatest) = self.numbers.unwrap_or((number, number));
        self.numbers = Some((least.min(number), greatest.max(number)));
        self.over_at = self.over_at.max(over_at);
        self.first.get_or_insert_with(|| Place { group, key: key.to_vec(), number });
        push_place(group, key, number, &mut self.entries);
        varint::push(value.len() as u64, &mut self.entries);
        self.entries.extend_from_slice(value);
        if self.entries.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let Some(first) = self.first.take() else { return };
        let offset = self.offset + self.buffer.len() as u64;
        match zstd::bulk::compress(&self.entries, ZSTD_LEVEL) {
            Ok(packed) => {
                let (length, entries) = (packed.len(), self.entries.len());
                let crc = crc32c::crc32c(&packed);
                self.blocks.push(Block { first, offset, length, entries, crc });
                self.buffer.extend_from_slice(&packed);
            }
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
        self.entries.clear();
        if self.buffer.len() >= WRITE_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if self.failed.is_none() {
            self.failed = self.file.write_at(self.offset, &[&self.buffer]).err();
        }
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
    }

    /// Ends the segment, and syncs its file; none when nothing was added.
    pub fn finish(
        mut self,
        disk: &Arc<dyn Disk>,
        step: u64,
        number: u64,
    ) -> io::Result<Option<Segment>> {
        self.close_block();
        let Some((least, greatest)) = self.numbers else { return Ok(None) };
        let offset = self.offset + self.buffer.len() as u64;
        let mut index = Vec::new();
        self.blocks.iter().for_each(|block| block.encode(&mut index));
        self.buffer.extend_from_slice(&index);
        self.buffer.extend(offset.to_le_bytes());
        self.buffer.extend((index.len() as u64).to_le_bytes());
        self.buffer.extend(crc32c::crc32c(&index).to_le_bytes());
        self.buffer.extend(MAGIC);
        self.hand_over();
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.file.sync()?;
        let (over_at, bytes) = (self.over_at, self.offset);
        Ok(Some(Segment {
            state: SegmentState { number, step, least, greatest, over_at, bytes },
            disk: Arc::clone(disk),
            index: Ok(self.blocks),
            is_over: AtomicBool::new(false),
            is_named: AtomicBool::new(false),
        }))
    }
}

fn cut() -> io::Error {
    damaged("it ends early")
}

fn push_place(group: u8, key: &[u8], number: i64, out: &mut Vec<u8>) {
    out.push(group);
    varint::push(key.len() as u64, out);
    out.extend_from_slice(key);
    varint::push_signed(number, out);
}

type PlaceRead<'a> = (u8, &'a [u8], i64);

fn take_place<'a>(bytes: &mut &'a [u8]) -> io::Result<PlaceRead<'a>> {
    let (group, rest) = bytes.split_first().ok_or_else(cut)?;
    *bytes = rest;
    let key = take_bytes(bytes)?;
    let number = varint::take_signed(bytes).map_err(no_number)?;
    Ok((*group, key, number))
}

fn take_entry<'a>(bytes: &mut &'a [u8]) -> io::Result<(PlaceRead<'a>, &'a [u8])> {
    Ok((take_place(bytes)?, take_bytes(bytes)?))
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let length = take_length(bytes)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
    *bytes = rest;
    Ok(taken)
}

fn no_number(reason: NoNumber) -> io::Error {
    damaged(&reason.to_string())
}

fn take_number(bytes: &mut &[u8]) -> io::Result<u64> {
    varint::take(bytes).map_err(no_number)
}

/// Reads the length of something that is to be held in memory.
fn take_length(bytes: &mut &[u8]) -> io::Result<usize> {
    let length = usize::try_from(take_number(bytes)?).unwrap_or(usize::MAX);
    if length > BLOCK_BYTES_MAX { Err(damaged("a length is too long")) } else { Ok(length) }
}
