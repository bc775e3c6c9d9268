//! What a data folder holds, for the commands that a person runs.
//!
//! Everything here only reads, and may look while an instance runs: what it sees is a moment's. The
//! log and its checkpoints name pipelines, sources and steps by hashes; the names are those that
//! checkpoints say.

pub use crate::checkpoint::epoch_of;
pub use crate::plan_text::Planned;

use crate::checkpoint::{self, Checkpoint, CheckpointError, SourcePosition};
use crate::event_clock::ClockState;
use crate::feed::Epoch;
use crate::log::{self, Folder, Inspection, LogError, LogPosition};
use crate::recovery::pipeline_key;
use azud_event::id::source_key;
use azud_event::time::EventTime;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep the folders of pipelines may nest; a circle of links ends here.
const NESTED_MAX: usize = 32;

/// Why a data folder cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no such folder.
    #[error("there is no folder {}", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// There is nothing of the kind in it.
    #[error("{} has no {what}", folder.display())]
    Nothing {
        /// The folder.
        folder: PathBuf,
        /// What was looked for: `log`, `checkpoints`.
        what: &'static str,
    },
    /// A file or folder cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The folder of checkpoints cannot be read.
    #[error(transparent)]
    Checkpoints(#[from] CheckpointError),
}

/// How much of the log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The headers of its entries.
    Headers,
    /// Every byte, against its checksum.
    Everything,
}

/// A log, and who needs it.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// What is in it.
    pub log: Inspection,
    /// From where each pipeline needs it, by the pipeline's name.
    pub holds: Vec<Hold>,
    /// The names of sources, by their keys, as far as they are known.
    pub sources: BTreeMap<u64, String>,
    /// The names of pipelines, by their keys, as far as they are known.
    pub pipelines: BTreeMap<u64, String>,
}

/// From where a pipeline needs the log: its oldest whole checkpoint says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The pipeline.
    pub pipeline: String,
    /// The first epoch that is not in that checkpoint.
    pub next: Epoch,
    /// The first position that is needed.
    pub from: LogPosition,
}

impl LogReport {
    /// Gives what holds the log back the most; `None` when no pipeline needs any of it.
    ///
    /// A pipeline whose part of the log was let go is in no document any more, and does not count.
    pub fn holder(&self) -> Option<&Hold> {
        let first = self.log.first();
        self.holds.iter().filter(|hold| hold.from >= first).min_by_key(|hold| hold.from)
    }

    /// Gives the position before which no restart needs anything: that is kept by `intake.retain`
    /// alone.
    pub fn needed_from(&self) -> LogPosition {
        self.holder().map_or(self.log.first(), |hold| hold.from)
    }
}

/// Looks at the log of a data folder.
///
/// # Errors
/// When there is no log there, a file of it cannot be read, or a newer program made it.
pub fn log(data_dir: &Path, reading: Reading) -> Result<LogReport, InspectError> {
    let folder = part_of(data_dir, log::FOLDER, "log")?;
    let disk = Folder::new(folder);
    let log = match reading {
        Reading::Headers => log::inspect(&disk)?,
        Reading::Everything => log::verify(&disk)?,
    };
    let (mut holds, mut sources, mut pipelines) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for Checkpoints { pipeline, files } in checkpoints_below(data_dir)? {
        pipelines.insert(pipeline_key(&pipeline), pipeline.clone());
        let whole: Vec<_> = files.into_iter().filter_map(|file| file.content.ok()).collect();
        for source in whole.iter().flat_map(|known| &known.sources) {
            sources.insert(source_key(&source.id), source.id.clone());
        }
        let oldest = whole.iter().rev().take(checkpoint::KEPT).next_back();
        if let Some((oldest, from)) = oldest.and_then(|it| Some((it, it.needs_log_from?))) {
            holds.push(Hold { pipeline, next: oldest.next, from });
        }
    }
    Ok(LogReport { log, holds, sources, pipelines })
}

/// The checkpoints of a pipeline.
#[derive(Debug)]
pub struct Checkpoints {
    /// The pipeline.
    pub pipeline: String,
    /// Each, the newest last.
    pub files: Vec<CheckpointFile>,
}

/// A checkpoint on disk.
#[derive(Debug)]
pub struct CheckpointFile {
    /// Its file.
    pub path: PathBuf,
    /// How many bytes it has.
    pub bytes: u64,
    /// What it holds; an error when it is not whole.
    pub content: Result<CheckpointReport, CheckpointError>,
}

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointReport {
    /// The first epoch that is not in it.
    pub next: Epoch,
    /// The clock of the last that is; `None` when it holds none.
    pub now: Option<EventTime>,
    /// From where it needs the log.
    pub needs_log_from: Option<LogPosition>,
    /// Where each source stands.
    pub sources: Vec<SourceReport>,
    /// What each keyed step holds.
    pub steps: Vec<StepReport>,
    /// The sinks that owe something of it, each with about how many records lie in its spill.
    pub spills: Vec<(String, u64)>,
    /// The plan that made it: sources, transforms, sinks; empty where that is not known.
    pub plan: Arc<[Planned]>,
}

/// Where a source stands in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// Its id.
    pub id: String,
    /// Every block of it before this is taken.
    pub position: LogPosition,
    /// How many of its streams are remembered, by which repeats are known.
    pub marks: usize,
    /// How many of its streams are waited for.
    pub streams: usize,
    /// The greatest event time that it has shown.
    pub farthest: Option<EventTime>,
}

/// What a keyed step holds in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    /// The hash of its id.
    pub key: u64,
    /// Its id, where the plan is known.
    pub id: Option<String>,
    /// What happened before this is no longer waited for.
    pub watermark: Option<EventTime>,
    /// How many key groups have a state.
    pub groups: usize,
    /// How many keys they hold.
    pub keys: u64,
    /// How many bytes their states have.
    pub bytes: u64,
    /// How many bytes of windows that have ended lie in the archive.
    pub archived: u64,
}

/// Looks at the checkpoints of all pipelines of a data folder, by name.
///
/// # Errors
/// When there are none, or their folders cannot be read. A damaged one is no error here.
pub fn checkpoints(data_dir: &Path) -> Result<Vec<Checkpoints>, InspectError> {
    part_of(data_dir, checkpoint::FOLDER, "checkpoints")?;
    checkpoints_below(data_dir)
}

fn checkpoints_below(data_dir: &Path) -> Result<Vec<Checkpoints>, InspectError> {
    let mut found = Vec::new();
    for (pipeline, folder) in pipelines_below(&data_dir.join(checkpoint::FOLDER))? {
        let files: Vec<_> = checkpoint::list(&folder)?.into_iter().filter_map(look_at).collect();
        if !files.is_empty() {
            found.push(Checkpoints { pipeline, files });
        }
    }
    Ok(found)
}

/// Reads one; `None` when it was removed meanwhile.
fn look_at(path: PathBuf) -> Option<CheckpointFile> {
    let content = Checkpoint::read(&path).map(|known| CheckpointReport::of(&known));
    let bytes = fs::metadata(&path).ok()?.len();
    Some(CheckpointFile { path, bytes, content })
}

/// Gives a folder within the data folder.
fn part_of(data_dir: &Path, name: &str, what: &'static str) -> Result<PathBuf, InspectError> {
    let folder = data_dir.to_owned();
    if !data_dir.is_dir() {
        return Err(InspectError::NoFolder { folder });
    }
    let part = data_dir.join(name);
    if part.is_dir() { Ok(part) } else { Err(InspectError::Nothing { folder, what }) }
}

/// Lists the pipelines that have a folder below `root`, with that folder, by name. A pipeline's
/// name may have parts, and each is a folder.
pub(crate) fn pipelines_below(root: &Path) -> Result<BTreeMap<String, PathBuf>, InspectError> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), root.to_owned(), 0)];
    while let Some((name, path, depth)) = open.pop() {
        let failed = |source| InspectError::Io { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let part = entry.file_name().to_string_lossy().into_owned();
            let name = if depth == 0 { part } else { format!("{name}/{part}") };
            if depth < NESTED_MAX && entry.file_type().is_ok_and(|it| it.is_dir()) {
                found.insert(name.clone(), entry.path());
                open.push((name, entry.path(), depth + 1));
            }
        }
    }
    Ok(found)
}

impl CheckpointReport {
    fn of(known: &Checkpoint) -> Self {
        CheckpointReport {
            next: known.next,
            now: (known.next > 0).then_some(known.now),
            needs_log_from: known.needs_log_from(),
            sources: known.sources.iter().map(|it| SourceReport::of(it, &known.clock)).collect(),
            steps: steps_of(known),
            spills: known.spills.iter().map(|it| (it.sink.clone(), it.records)).collect(),
            plan: Arc::clone(&known.plan),
        }
    }
}

impl SourceReport {
    fn of(source: &SourcePosition, clock: &ClockState) -> Self {
        let shown = clock.sources.get(&source.id);
        SourceReport {
            id: source.id.clone(),
            position: source.position,
            marks: source.marks.len(),
            streams: shown.map_or(0, |shown| shown.streams()),
            farthest: shown.and_then(|shown| shown.farthest()),
        }
    }
}

/// Lists the steps that hold something, by key.
fn steps_of(known: &Checkpoint) -> Vec<StepReport> {
    let transforms = known.plan.iter().filter(|it| it.role == "transform");
    let ids: BTreeMap<u64, &str> = transforms.map(|it| (source_key(&it.id), &*it.id)).collect();
    let mut steps: BTreeMap<u64, StepReport> = BTreeMap::new();
    for group in &known.groups {
        let new = || StepReport {
            key: group.step,
            id: ids.get(&group.step).map(|id| (*id).to_owned()),
            watermark: known.clock.watermarks.get(&group.step).copied(),
            groups: 0,
            keys: 0,
            bytes: 0,
            archived: 0,
        };
        let step = steps.entry(group.step).or_insert_with(new);
        step.groups += 1;
        step.keys += group.keys;
        step.bytes += group.state.len() as u64;
    }
    for segment in &known.segments {
        if let Some(step) = steps.get_mut(&segment.step) {
            step.archived += segment.bytes;
        }
    }
    steps.into_values().collect()
}
