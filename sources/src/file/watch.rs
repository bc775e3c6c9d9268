//! The files of one source: finding them, knowing them again, reading them in turn.
//!
//! Everything here blocks; [`super`] runs it where that is allowed.
//!
//! # What can happen to a file
//!
//! | | seen as | so |
//! |---|---|---|
//! | renamed | another path, same inode | read on, under its new name |
//! | renamed out of sight, removed | no path to the inode | read on for `rotate_wait`, closed |
//! | replaced | another inode at the path | the old one as above, and a new file |
//! | emptied, written anew | shorter, or other first lines | from its start, a new generation |
//! | copied, then emptied | another inode, a known fingerprint | read on in the copy |
//! | half a line written | no line feed | waits; neither given nor acknowledged |
//!
//! A *generation* is what makes positions within a stream never go back: the name of a stream is a
//! file's fingerprint and its generation.

use super::checkpoints::Checkpoint;
use super::fingerprint::{Fingerprint, Identity, Look, Strategy, last_line_start};
use crate::limits::{CHECKPOINTS_MAX, FILE_BLOCKS, FILES_MAX, READ_BYTES_MAX};
use crate::stream::StreamBlocks;
use azud_event::block::{Block, Peer};
use azud_event::clock::Clock;
use azud_event::codec::framing::Framing;
use azud_event::id::{SourceIndex, StreamId};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to read, and how.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    /// Files that match one of these…
    pub(super) include: Vec<glob::Pattern>,
    /// …and none of these.
    pub(super) exclude: Vec<glob::Pattern>,
    /// Whether files that were there at start are read from their end.
    pub(super) from_end: bool,
    /// Whether files that were read before are read as if they had not been.
    pub(super) ignore_checkpoints: bool,
    /// How files are known again.
    pub(super) strategy: Strategy,
    /// How often new files are looked for.
    pub(super) scan_every: Duration,
    /// How long a file is kept open that no path leads to any more.
    pub(super) rotate_wait: Duration,
    /// The longest line.
    pub(super) line_bytes_max: usize,
}

/// The files of one source.
pub(super) struct Files {
    id: String,
    source: SourceIndex,
    selection: Selection,
    clock: Clock,
    watched: Vec<Watched>,
    /// Whose turn it is to be read.
    next: usize,
    known: HashMap<Fingerprint, Known>,
    /// The generations of files whose positions are not to be used. Read again, they are new
    /// streams.
    forgotten: HashMap<Fingerprint, u32>,
    streams: HashMap<StreamId, (Fingerprint, u32)>,
    /// When files were looked for, by the clock that never goes back; `None` when it is time to.
    scanned: Option<Duration>,
    /// Whether they never were. Only what is there then can be read from its end.
    first: bool,
    /// How long the files were that had no fingerprint yet when this source started.
    at_start: HashMap<Identity, u64>,
    /// What was complained about, not to be repeated with every look.
    complained: HashSet<PathBuf>,
    changed: bool,
}

/// An open file.
struct Watched {
    fingerprint: Fingerprint,
    identity: Identity,
    path: PathBuf,
    file: File,
    blocks: StreamBlocks,
    /// Since when no path has led to it.
    gone: Option<Duration>,
}

/// What is known of a file, whether it is open or not.
#[derive(Clone, Debug)]
struct Known {
    generation: u32,
    /// Everything before it was given.
    given: u64,
    /// Everything before it is delivered.
    acknowledged: u64,
    seen: i64,
    /// The file that had this fingerprint and was then emptied. Its copy may still be read to the
    /// end.
    emptied: Option<Identity>,
}

/// What came of reading a file.
enum Read {
    /// Nothing new, or something.
    Open,
    /// It was emptied.
    Emptied,
    /// It is at its end for good.
    Ended,
}

impl Files {
    /// Makes the files of a source, none of them open yet.
    pub(super) fn new(
        id: String,
        source: SourceIndex,
        selection: Selection,
        checkpoints: Vec<Checkpoint>,
        clock: Clock,
    ) -> Self {
        let mut forgotten = HashMap::new();
        let mut checkpoints = checkpoints;
        if selection.ignore_checkpoints {
            let all = checkpoints.drain(..);
            forgotten.extend(all.map(|known| (known.fingerprint, known.generation)));
        }
        let known = checkpoints.into_iter().map(|checkpoint| {
            let Checkpoint { fingerprint, generation, position, seen } = checkpoint;
            let (given, acknowledged) = (position, position);
            (fingerprint, Known { generation, given, acknowledged, seen, emptied: None })
        });
        Files {
            id,
            source,
            selection,
            clock,
            watched: Vec::new(),
            next: 0,
            known: known.collect(),
            forgotten,
            streams: HashMap::new(),
            scanned: None,
            first: true,
            at_start: HashMap::new(),
            complained: HashSet::new(),
            changed: false,
        }
    }

    /// Takes note of what was delivered.
    pub(super) fn acknowledge(&mut self, ends: Vec<(StreamId, u64)>) {
        for (stream, end) in ends {
            let Some((fingerprint, generation)) = self.streams.get(&stream) else { continue };
            let Some(known) = self.known.get_mut(fingerprint) else { continue };
            if known.generation == *generation && end > known.acknowledged {
                known.acknowledged = end;
                self.changed = true;
            }
        }
    }

    /// Whether everything that was given is delivered.
    pub(super) fn is_settled(&self) -> bool {
        self.known.values().all(|known| known.acknowledged >= known.given)
    }

    /// Gives what is to be remembered, if it changed since the last time.
    pub(super) fn checkpoints(&mut self) -> Option<Vec<Checkpoint>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let checkpoints = self.known.iter().map(|(fingerprint, known)| Checkpoint {
            fingerprint: fingerprint.clone(),
            generation: known.generation,
            position: known.acknowledged,
            seen: known.seen,
        });
        Some(checkpoints.collect())
    }

    /// Says that what was to be remembered is not yet: it is given again.
    pub(super) fn not_stored(&mut self) {
        self.changed = true;
    }

    /// Looks for new files if it is time, and reads some blocks, from each file at most one read.
    pub(super) fn round(&mut self) -> Vec<Block> {
        let now = self.clock.monotonic();
        let due = |last: Duration| now.saturating_sub(last) >= self.selection.scan_every;
        let mut blocks = Vec::new();
        if self.scanned.is_none_or(due) {
            self.scan(now, &mut blocks);
            self.scanned = Some(now);
        }
        let mut turns = self.watched.len();
        while turns > 0 && blocks.len() < FILE_BLOCKS {
            turns -= 1;
            if self.next >= self.watched.len() {
                self.next = 0;
            }
            self.read_next(now, &mut blocks);
        }
        blocks
    }

    fn read_next(&mut self, now: Duration, blocks: &mut Vec<Block>) {
        let watched = &mut self.watched[self.next];
        let read = match watched.read(&self.clock, blocks) {
            Ok(true) => Read::Open,
            Ok(false) if watched.is_over(now, self.selection.rotate_wait) => Read::Ended,
            Ok(false) => Read::Open,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Read::Emptied,
            Err(error) => {
                let path = watched.path.clone();
                self.complain(&path, &format!("cannot be read: {error}"));
                self.next += 1;
                return;
            }
        };
        if matches!(read, Read::Open) {
            let given = watched.blocks.position();
            if let Some(known) = self.known.get_mut(&watched.fingerprint) {
                known.given = given;
            }
            self.next += 1;
            return;
        }
        self.close(self.next, matches!(read, Read::Emptied), blocks);
    }

    /// Closes a file. What waited for the rest of its line will get none, so it is given as it is.
    fn close(&mut self, index: usize, emptied: bool, blocks: &mut Vec<Block>) {
        let mut watched = self.watched.swap_remove(index);
        blocks.extend(watched.blocks.finish(&self.clock));
        let removed = watched.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        if let Some(known) = self.known.get_mut(&watched.fingerprint) {
            known.given = watched.blocks.position();
            known.emptied = emptied.then_some(watched.identity);
        }
        if removed && self.selection.strategy == Strategy::DeviceAndInode {
            // The system will give the inode to another file.
            self.known.remove(&watched.fingerprint);
            self.changed = true;
        }
        if emptied {
            tracing::info!(component = %self.id, path = %watched.path.display(),
                "the file was emptied or written anew; it is read from its start");
            self.scanned = None;
        } else {
            tracing::info!(component = %self.id, path = %watched.path.display(), "closed the file");
        }
    }

    /// Looks at the file system: which of the open files are where, and which others there are.
    fn scan(&mut self, now: Duration, blocks: &mut Vec<Block>) {
        let seen = self.clock.now().seconds();
        let mut found = self.find();
        let mut rewritten = Vec::new();
        for (index, watched) in self.watched.iter_mut().enumerate() {
            let Some(paths) = found.remove(&watched.identity) else {
                watched.gone.get_or_insert(now);
                continue;
            };
            watched.gone = None;
            if !paths.contains(&watched.path)
                && let Some(path) = paths.into_iter().next()
            {
                watched.blocks.set_peer(Peer::named(&path.to_string_lossy()));
                watched.path = path;
            }
            if let Some(known) = self.known.get_mut(&watched.fingerprint) {
                known.seen = seen;
            }
            let look = self.selection.strategy.look(&watched.file, self.selection.line_bytes_max);
            if let Ok(Look::Known(fingerprint)) = look
                && fingerprint != watched.fingerprint
            {
                rewritten.push(index);
            }
        }
        for index in rewritten.into_iter().rev() {
            self.close(index, true, blocks);
        }
        let first = std::mem::take(&mut self.first);
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by(|(_, one), (_, other)| one.cmp(other));
        for (identity, paths) in found {
            let Some(path) = paths.into_iter().next() else { continue };
            if let Err(error) = self.open(identity, &path, first, seen) {
                self.complain(&path, &format!("cannot be read: {error}"));
            }
        }
        self.forget();
    }

    /// Finds the files that the patterns choose.
    fn find(&mut self) -> HashMap<Identity, Vec<PathBuf>> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let mut found: HashMap<_, Vec<PathBuf>> = HashMap::new();
        let mut closed = Vec::new();
        for pattern in &self.selection.include {
            let paths = glob::glob_with(pattern.as_str(), options);
            for path in paths.expect("`check_patterns` read the pattern and its parts") {
                let path = match path {
                    Ok(path) => path,
                    Err(error) => {
                        closed.push((error.path().to_owned(), error.into()));
                        continue;
                    }
                };
                let exclude = &self.selection.exclude;
                if exclude.iter().any(|pattern| pattern.matches_path_with(&path, options)) {
                    continue;
                }
                match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_file() => {
                        let paths = found.entry(Identity::of(&metadata)).or_default();
                        if !paths.contains(&path) {
                            paths.push(path);
                        }
                    }
                    Ok(_) => {}
                    // Removed in this moment, or a link that leads nowhere.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => closed.push((path, error)),
                }
            }
        }
        for (path, error) in closed {
            self.complain(&path, &format!("cannot be looked at: {error}"));
        }
        found
    }

    /// Opens a file that is not open yet, if it is one to be read.
    fn open(&mut self, identity: Identity, path: &Path, first: bool, seen: i64) -> io::Result<()> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if Identity::of(&metadata) != identity {
            // Replaced in this moment; the next look finds what is there then.
            return Ok(());
        }
        let line_bytes_max = self.selection.line_bytes_max;
        let fingerprint = match self.selection.strategy.look(&file, line_bytes_max)? {
            Look::Known(fingerprint) => fingerprint,
            Look::TooShort => {
                if first && self.selection.from_end {
                    self.at_start.insert(identity, metadata.len());
                }
                return Ok(());
            }
            Look::Compressed => {
                self.complain(path, "is compressed, and not read");
                return Ok(());
            }
        };
        if let Some(twin) = self.watched.iter().find(|open| open.fingerprint == fingerprint) {
            let words = format!(
                "begins like {} and counts as a copy of it, which is not read again; if it is \
                 none, let `fingerprint.lines` be greater, or its `strategy` \"device_and_inode\"",
                twin.path.display()
            );
            self.complain(path, &words);
            return Ok(());
        }
        if self.watched.len() >= FILES_MAX {
            let words = format!("is not read: {FILES_MAX} files are open, and that is the limit");
            self.complain(path, &words);
            return Ok(());
        }
        let length = self.at_start.remove(&identity).or(first.then_some(metadata.len()));
        let start = match length {
            Some(length) if self.selection.from_end => {
                last_line_start(&file, length.min(metadata.len()), line_bytes_max)?
            }
            _ => 0,
        };
        let generation = self.forgotten.remove(&fingerprint).map_or(0, |last| last.wrapping_add(1));
        let known = self.known.entry(fingerprint.clone()).or_insert(Known {
            generation,
            given: start,
            acknowledged: start,
            seen,
            emptied: None,
        });
        if known.emptied == Some(identity) || metadata.len() < known.given {
            *known = Known {
                generation: known.generation.wrapping_add(1),
                given: 0,
                acknowledged: 0,
                seen,
                emptied: None,
            };
        }
        known.seen = seen;
        let (generation, position) = (known.generation, known.given);
        self.changed = true;
        self.watch(fingerprint, identity, path, file, generation, position);
        Ok(())
    }

    fn watch(
        &mut self,
        fingerprint: Fingerprint,
        identity: Identity,
        path: &Path,
        file: File,
        generation: u32,
        position: u64,
    ) {
        let name = format!("{} file {} {generation}", self.id, fingerprint.0);
        let stream = StreamId::named(name.as_bytes());
        let line_bytes_max = self.selection.line_bytes_max;
        let mut blocks =
            StreamBlocks::new(self.source, stream, Framing::Lines, line_bytes_max, position);
        blocks.set_peer(Peer::named(&path.to_string_lossy()));
        self.streams.insert(stream, (fingerprint.clone(), generation));
        self.complained.remove(path);
        tracing::info!(component = %self.id, path = %path.display(), position, "reading the file");
        let path = path.to_owned();
        self.watched.push(Watched { fingerprint, identity, path, file, blocks, gone: None });
    }

    /// Forgets what has not been seen for longest, when there is too much to remember.
    fn forget(&mut self) {
        if self.complained.len() > FILES_MAX {
            self.complained.clear();
        }
        let Some(excess) = self.known.len().checked_sub(CHECKPOINTS_MAX).filter(|n| *n > 0) else {
            return;
        };
        let open: HashSet<_> = self.watched.iter().map(|open| &open.fingerprint).collect();
        let closed = self.known.iter().filter(|(fingerprint, _)| !open.contains(fingerprint));
        let mut closed: Vec<_> =
            closed.map(|(fingerprint, known)| (known.seen, fingerprint.clone())).collect();
        closed.sort_unstable();
        for (_, fingerprint) in closed.into_iter().take(excess) {
            self.known.remove(&fingerprint);
        }
        let known = &self.known;
        self.streams.retain(|_, (fingerprint, _)| known.contains_key(fingerprint));
        self.changed = true;
    }

    fn complain(&mut self, path: &Path, words: &str) {
        if self.complained.insert(path.to_owned()) {
            tracing::warn!(component = %self.id, path = %path.display(), "the file {words}");
        }
    }
}

impl Watched {
    /// Reads once, if there is something new; tells whether there was.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter than what was read of it; others when it cannot be
    /// read.
    fn read(&mut self, clock: &Clock, blocks: &mut Vec<Block>) -> io::Result<bool> {
        let read_to = self.blocks.read_to();
        let Some(more) = self.file.metadata()?.len().checked_sub(read_to) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if more == 0 {
            return Ok(false);
        }
        let room = usize::try_from(more).unwrap_or(usize::MAX).min(READ_BYTES_MAX);
        let buffer = self.blocks.buffer();
        let waiting = buffer.len();
        buffer.resize(waiting + room, 0);
        let read = self.file.read_at(&mut buffer[waiting..], read_to);
        let bytes = *read.as_ref().unwrap_or(&0);
        buffer.truncate(waiting + bytes);
        read?;
        self.blocks.added(bytes);
        while let Some(block) = self.blocks.next(clock) {
            blocks.push(block);
        }
        if bytes as u64 == more {
            // Thousands of files may be open that are seldom written to.
            self.blocks.release();
        }
        Ok(bytes > 0)
    }

    /// Whether nothing more is to be expected of it.
    fn is_over(&self, now: Duration, rotate_wait: Duration) -> bool {
        self.gone.is_some_and(|gone| now.saturating_sub(gone) >= rotate_wait)
    }
}
