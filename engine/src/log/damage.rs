//! What is damaged: each stretch is copied to `damaged/`, counted once, and told.

use super::LogPosition;
use super::disk::{Disk, DiskFile};
use super::limits::{DAMAGED_BYTES_MAX, DAMAGED_LISTED_MAX, READ_BYTES};
use super::scan::Gap;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The folder of what was set aside.
pub const FOLDER: &str = "damaged";

/// A stretch of the log that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Where it begins.
    pub from: LogPosition,
    /// Where the log goes on.
    pub to: LogPosition,
    /// Whether its raw bytes are in `damaged/`: not when there are none, no room, or too many.
    pub kept: bool,
}

/// Keeps and counts damage.
pub struct DamageList {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listed: BTreeMap<LogPosition, Damaged>,
    count: u64,
    bytes: u64,
    kept_bytes: u64,
}

impl DamageList {
    /// Begins with nothing, but for the bytes that earlier runs have kept.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let kept_bytes = disk.list(FOLDER)?.iter().map(|(_, length)| length).sum();
        Ok(DamageList { disk, state: Mutex::new(State { kept_bytes, ..State::default() }) })
    }

    /// Takes note of a gap whose bytes are in `file`, if there are any.
    ///
    /// A stretch is counted once, however many readers meet it, as long as no more than
    /// [`DAMAGED_LISTED_MAX`] are known.
    pub fn note(&self, gap: &Gap, file: Option<&dyn DiskFile>) -> Damaged {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.listed.get(&gap.from).filter(|known| known.to == gap.to) {
            return *known;
        }
        // That it cannot be kept is no reason not to go on: it is told.
        let kept = file.is_some_and(|file| self.keep(&mut state, gap, file).unwrap_or(false));
        let damaged = Damaged { from: gap.from, to: gap.to, kept };
        state.count += 1;
        state.bytes += gap.to.0 - gap.from.0;
        if state.listed.len() < DAMAGED_LISTED_MAX {
            state.listed.insert(gap.from, damaged);
        }
        tracing::error!(
            from = gap.from.0,
            to = gap.to.0,
            kept,
            "a stretch of the log is damaged, and left out"
        );
        damaged
    }

    /// Lists what is known, by position, at most [`DAMAGED_LISTED_MAX`].
    pub fn listed(&self) -> Vec<Damaged> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.listed.values().copied().collect()
    }

    /// Gives how many stretches are known, and how many bytes of the log they are.
    pub fn count(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.count, state.bytes)
    }

    fn keep(&self, state: &mut State, gap: &Gap, file: &dyn DiskFile) -> io::Result<bool> {
        if gap.length == 0 || state.kept_bytes + gap.length > DAMAGED_BYTES_MAX {
            return Ok(false);
        }
        let name = format!("{:016x}-{:x}", gap.from.0, gap.length);
        if self.disk.list(FOLDER)?.contains(&(name.clone(), gap.length)) {
            return Ok(true);
        }
        self.disk.make_folder(FOLDER)?;
        let name = format!("{FOLDER}/{name}");
        match self.copy(gap, file, &name) {
            Ok(()) => {
                state.kept_bytes += gap.length;
                Ok(true)
            }
            Err(error) => {
                self.disk.remove(&name)?;
                Err(error)
            }
        }
    }

    fn copy(&self, gap: &Gap, file: &dyn DiskFile, name: &str) -> io::Result<()> {
        let copy = self.disk.create(name)?;
        let mut done = 0;
        while done < gap.length {
            let more = (gap.length - done).min(READ_BYTES as u64);
            let mut buffer = vec![0; more as usize];
            let read = file.read_at(gap.offset + done, &mut buffer)?;
            if read == 0 {
                break;
            }
            copy.write_at(done, &[&buffer[..read]])?;
            done += read as u64;
        }
        copy.sync()?;
        self.disk.sync_folder(FOLDER)
    }
}
