//! A checkpoint of a pipeline: everything up to an epoch, in one file.
//!
//! ```text
//! checkpoints/<pipeline>/00000000000000001234.checkpoint
//!
//! magic (8) · length of the manifest (8) · manifest (JSON) · groups · BLAKE3 of all before (32)
//! ```
//!
//! The manifest says where each source stands in the log, the event clock, the marks by which
//! repeats are known, for each key group of each step how many bytes its state has, in which
//! segments of the [archive](crate::archive) the rest of it lies, and the plan that made it. A file
//! is written under another name, synced and renamed; so a checkpoint is whole or not there. The
//! last two that are whole are kept, and the log is held for the older one: a file that has gone
//! bad costs a longer replay, not the state.

use crate::archive::SegmentState;
use crate::event_clock::ClockState;
use crate::feed::Epoch;
use crate::log::LogPosition;
use crate::plan_text::Planned;
use crate::spill::SpillState;
use azud_event::id::StreamId;
use azud_event::time::EventTime;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The first bytes of a checkpoint; the last is its version.
const MAGIC: &[u8; 8] = b"azudcp\0\x01";

/// The folder of checkpoints within the data folder; below it each pipeline has one of its name.
pub const FOLDER: &str = "checkpoints";

/// How many whole checkpoints of a pipeline are kept.
pub const KEPT: usize = 2;

const EXTENSION: &str = "checkpoint";

/// The extension of a checkpoint that is being written.
const UNFINISHED: &str = "new";

const HASH_BYTES: usize = 32;

/// A checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The first epoch that is not in it.
    pub next: Epoch,
    /// The clock of the last that is.
    pub now: EventTime,
    /// Where each source of the pipeline stands.
    pub sources: Vec<SourcePosition>,
    /// The event clock.
    pub clock: ClockState,
    /// What the keyed steps know, by step and group.
    pub groups: Vec<GroupState>,
    /// Where what keyed steps have put away lies.
    pub segments: Vec<SegmentState>,
    /// What sinks owe that have not delivered it.
    pub spills: Vec<SpillState>,
    /// The plan that made it; empty where that is not known.
    pub plan: Arc<[Planned]>,
}

/// Where a source stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// The source's id.
    pub id: String,
    /// Every block of it that is before this in the log has been taken.
    pub position: LogPosition,
    /// Where each of its streams goes on, if it is a source that may send again.
    pub marks: Vec<(StreamId, u64)>,
}

/// The state of one key group of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The step's key.
    pub step: u64,
    /// The group.
    pub group: u8,
    /// What the step's state hangs on, [`azud_plan::component::TransformSpec::shape`].
    pub shape: u64,
    /// How many keys it holds something of.
    pub keys: u64,
    /// Its snapshot.
    pub state: Vec<u8>,
}

/// Why there is no checkpoint, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file or its folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// What could not be read or written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not those of a checkpoint.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the manifest says.
#[derive(Serialize, Deserialize)]
struct Manifest {
    next: Epoch,
    now: EventTime,
    sources: Vec<SourcePosition>,
    clock: ClockState,
    /// Step, group, shape, bytes.
    groups: Vec<(u64, u8, u64, u64)>,
    /// For each group how many keys it holds.
    #[serde(default)]
    keys: Vec<u64>,
    #[serde(default)]
    segments: Vec<SegmentState>,
    #[serde(default)]
    spills: Vec<SpillState>,
    #[serde(default)]
    plan: Arc<[Planned]>,
}

impl Checkpoint {
    /// Gives the least position from which the log is needed to go on from here; `None` when it
    /// has no source.
    pub fn needs_log_from(&self) -> Option<LogPosition> {
        self.sources.iter().map(|source| source.position).min()
    }

    /// Writes it below `folder`, which is the pipeline's. Others stay, see [`remove_before`].
    ///
    /// # Errors
    /// When a file cannot be written; then the older checkpoints are as they were.
    pub fn write(&self, folder: &Path) -> Result<(), CheckpointError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CheckpointError::Io { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let path = folder.join(format!("{:020}.{EXTENSION}", self.next));
        let unfinished = path.with_extension(UNFINISHED);
        let write = || -> io::Result<()> {
            let mut file = File::create(&unfinished)?;
            file.write_all(&self.encode())?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(failed(&path))
    }

    /// Reads the newest that can be used; `None` when there is none. What could not be used is
    /// given with it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest(
        folder: &Path,
    ) -> Result<(Option<Checkpoint>, Vec<CheckpointError>), CheckpointError> {
        let mut refused = Vec::new();
        for path in list(folder)?.into_iter().rev() {
            match Self::read(&path) {
                Ok(checkpoint) => return Ok((Some(checkpoint), refused)),
                Err(error) => refused.push(error),
            }
        }
        Ok((None, refused))
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?;
        Self::decode(&bytes).map_err(|reason| {
            let path = path.to_owned();
            CheckpointError::Damaged { path, reason }
        })
    }

    fn encode(&self) -> Vec<u8> {
        let sizes = self.groups.iter().map(|group| {
            let bytes = group.state.len() as u64;
            (group.step, group.group, group.shape, bytes)
        });
        let manifest = Manifest {
            next: self.next,
            now: self.now,
            sources: self.sources.clone(),
            clock: self.clock.clone(),
            groups: sizes.collect(),
            keys: self.groups.iter().map(|group| group.keys).collect(),
            segments: self.segments.clone(),
            spills: self.spills.clone(),
            plan: Arc::clone(&self.plan),
        };
        let manifest =
            serde_json::to_vec(&manifest).expect("numbers, texts and lists have a form in JSON");
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&(manifest.len() as u64).to_le_bytes());
        out.extend_from_slice(&manifest);
        self.groups.iter().for_each(|group| out.extend_from_slice(&group.state));
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Checkpoint, String> {
        let body = bytes.len().checked_sub(HASH_BYTES).ok_or("it is too short")?;
        let (body, hash) = bytes.split_at(body);
        let rest = body.strip_prefix(MAGIC).ok_or("it is no checkpoint of this version")?;
        if blake3::hash(body).as_bytes() != hash {
            return Err("its bytes are not those that were written".to_owned());
        }
        let (length, rest) = rest.split_first_chunk::<8>().ok_or("it has no manifest")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (manifest, mut rest) = rest.split_at_checked(length).ok_or("its manifest is cut")?;
        let manifest: Manifest =
            serde_json::from_slice(manifest).map_err(|error| format!("its manifest: {error}"))?;
        let mut groups = Vec::with_capacity(manifest.groups.len());
        let mut keys = manifest.keys.into_iter();
        for (step, group, shape, length) in manifest.groups {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let state = rest.split_at_checked(length).ok_or("its groups are cut")?;
            let (keys, bytes) = (keys.next().unwrap_or_default(), state.0.to_vec());
            groups.push(GroupState { step, group, shape, keys, state: bytes });
            rest = state.1;
        }
        let Manifest { next, now, sources, clock, segments, spills, plan, .. } = manifest;
        Ok(Checkpoint { next, now, sources, clock, groups, segments, spills, plan })
    }
}

/// Removes the checkpoints of a pipeline before the one of `epoch`, damaged ones too, and what was
/// left of one whose writing was cut off. Nobody may be writing.
///
/// # Errors
/// When a file cannot be removed; it may be called again.
pub fn remove_before(folder: &Path, epoch: Epoch) -> Result<(), CheckpointError> {
    for path in files(folder)? {
        let extension = path.extension().and_then(|it| it.to_str());
        let superfluous = match extension {
            Some(UNFINISHED) => true,
            Some(EXTENSION) => epoch_of(&path).is_some_and(|it| it < epoch),
            _ => false,
        };
        if superfluous {
            fs::remove_file(&path).map_err(|source| CheckpointError::Io { path, source })?;
        }
    }
    Ok(())
}

/// Gives the epoch in the name of a checkpoint: the first that is not in it.
pub fn epoch_of(path: &Path) -> Option<Epoch> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// Lists the checkpoints of a pipeline, the newest last.
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut found = files(folder)?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    found.sort_unstable();
    Ok(found)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let failed = |source| CheckpointError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(next: Epoch) -> Checkpoint {
        let source = SourcePosition {
            id: "in".to_owned(),
            position: LogPosition(7 * next),
            marks: vec![(StreamId(u64::MAX), 3)],
        };
        let group = |group: u8, state: &[u8]| {
            let state = state.to_vec();
            GroupState { step: 9, group, shape: 1, keys: 2, state }
        };
        Checkpoint {
            next,
            now: EventTime::from_nanoseconds(i64::MIN),
            sources: vec![source],
            clock: ClockState::default(),
            spills: vec![SpillState {
                sink: "out".to_owned(),
                owed: Vec::new(),
                records: 4,
                stored: 7,
            }],
            groups: vec![group(0, b""), group(3, b"three"), group(255, &[0; 1000])],
            segments: vec![SegmentState {
                number: 11,
                step: 9,
                least: -3,
                greatest: i64::MAX,
                over_at: EventTime::from_nanoseconds(5),
                bytes: 4_096,
            }],
            plan: [Planned {
                role: "transform".to_owned(),
                id: "minutes".to_owned(),
                kind: "summarize".to_owned(),
                text: "type = \"summarize\"\n".to_owned(),
            }]
            .into(),
        }
    }

    #[test]
    fn the_newest_is_read_and_older_ones_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::newest(folder.path()).unwrap().0, None);
        for next in [1, 20, 300] {
            checkpoint(next).write(folder.path()).unwrap();
        }
        fs::write(folder.path().join("00000000000000000400.new"), b"azud").unwrap();
        let (newest, refused) = Checkpoint::newest(folder.path()).unwrap();
        assert_eq!((newest, refused.len()), (Some(checkpoint(300)), 0));
        assert_eq!(checkpoint(300).needs_log_from(), Some(LogPosition(2100)));
        remove_before(folder.path(), 20).unwrap();
        let left: Vec<_> =
            files(folder.path()).unwrap().iter().filter_map(|it| epoch_of(it)).collect();
        assert_eq!(left.len(), 2);
        assert!(left.contains(&20) && left.contains(&300), "{left:?}");
    }

    #[test]
    fn any_flipped_byte_and_any_cut_is_noticed_and_the_older_one_used() {
        let folder = tempfile::tempdir().unwrap();
        checkpoint(1).write(folder.path()).unwrap();
        checkpoint(2).write(folder.path()).unwrap();
        let newest = list(folder.path()).unwrap().pop().unwrap();
        let whole = fs::read(&newest).unwrap();
        for at in (0..whole.len()).step_by(37) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&newest, &damaged).unwrap();
            let (used, refused) = Checkpoint::newest(folder.path()).unwrap();
            assert_eq!((used, refused.len()), (Some(checkpoint(1)), 1), "byte {at}");
            fs::write(&newest, &whole[..at]).unwrap();
            assert_eq!(Checkpoint::newest(folder.path()).unwrap().0, Some(checkpoint(1)));
        }
    }
}
