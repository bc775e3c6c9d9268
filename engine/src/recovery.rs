//! Going on from an earlier run: what its checkpoints and its log say, gathered before anything
//! runs.
//!
//! Each pipeline begins at its newest checkpoint that can be used. What the log has behind it is
//! read once, for all pipelines: epoch records, which are repeated, and blocks, which go into the
//! rings of their sources again, those that no epoch took yet as well. A pipeline that is new
//! begins at the end of the log, and says so with a checkpoint of nothing: from then on every block
//! is accounted for.

use crate::archive::{self, Cabinet, SegmentState};
use crate::checkpoint::{self, Checkpoint, CheckpointError, GroupState, SourcePosition};
use crate::durable::LogBells;
use crate::epoch_record::EpochDecision;
use crate::event_clock::ClockState;
use crate::feed::{Epoch, Replayed};
use crate::intake::Acknowledge;
use crate::log::{
    self, Disk as _, Entry, Folder, Log, LogError, LogPosition, Options, Read, Settings, Ticket,
};
use crate::plan_text::{self, planned};
use crate::spill::{self, SpillState, Spills};
use azud_event::clock::Clock;
use azud_event::id::{StreamId, source_key};
use azud_event::time::EventTime;
use azud_plan::plan::{Pipeline, Plan};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where and how an instance keeps what it takes in.
#[derive(Clone, Debug)]
pub struct Durability {
    /// The instance's folder; the log is below `log`, checkpoints are below `checkpoints`.
    pub folder: PathBuf,
    /// The life of that folder.
    pub incarnation: [u8; 16],
    /// How many bytes of the log may wait to be delivered.
    pub max_bytes: u64,
    /// How long the log is kept behind that.
    pub retain: Duration,
    /// When senders are answered.
    pub acknowledge: Acknowledge,
    /// How often a pipeline makes a checkpoint.
    pub checkpoint_interval: Duration,
    /// Keyed transforms whose state may be lost, by id: their document has changed too much.
    pub drop_state: Vec<String>,
    /// Sinks of which something may be lost that cannot be delivered any more, by id.
    pub accept_gap: Vec<String>,
}

/// Why a plan could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error("the log: {0}")]
    Log(#[from] LogError),
    /// A checkpoint.
    #[error("a checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// No checkpoint of a pipeline can be used, and the log does not reach back to its beginning.
    #[error(
        "no checkpoint of `{pipeline}` can be used, and the log begins at its epoch {epoch}; \
         restore {}, or begin anew with another `data_dir`", folder.display()
    )]
    NoCheckpoint {
        /// The pipeline.
        pipeline: String,
        /// The first of its epochs that the log knows.
        epoch: Epoch,
        /// Where its checkpoints are.
        folder: PathBuf,
    },
    /// A spill cannot be opened.
    #[error("the spill of `{sink}`: {error}")]
    Spill {
        /// The sink.
        sink: String,
        /// Why.
        #[source]
        error: LogError,
    },
    /// A spill lacks what the checkpoint says is in it.
    #[error(
        "of up to {records} records of `{sink}` that wait in its spill some are gone; restore {}, \
         or accept the loss with `--accept-gap {sink}`", folder.display()
    )]
    SpillGone {
        /// The sink.
        sink: String,
        /// How many records were owed at the checkpoint.
        records: u64,
        /// Where the spill is.
        folder: PathBuf,
    },
    /// The state of a transform was kept by a document that has changed too much.
    #[error(
        "the state of `{id}` was kept under another key, window or aggregates; \
         give it up with `--drop-state {id}`, or put the document back"
    )]
    Shape {
        /// The transform.
        id: String,
    },
    /// The folder of a pipeline's dead letters cannot be used.
    #[error("the dead letters in {}: {source}", folder.display())]
    DeadLetters {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder of a pipeline's archive cannot be used.
    #[error("the archive in {}: {source}", folder.display())]
    Archive {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state of a transform cannot be read.
    #[error("the state of `{id}` cannot be read: {reason}; give it up with `--drop-state {id}`")]
    State {
        /// The transform.
        id: String,
        /// Why.
        reason: String,
    },
}

/// What there is to go on from.
pub struct Recovery {
    /// The log, open.
    pub log: Arc<Log>,
    /// Whom the log tells what is durable.
    pub bells: Arc<LogBells>,
    /// One for each pipeline of the plan.
    pub pipelines: Vec<Beginning>,
    /// By source, the blocks that some pipeline may still need.
    pub tickets: BTreeMap<u64, Vec<Ticket>>,
    /// By source, where its streams go on.
    pub marks: BTreeMap<u64, BTreeMap<StreamId, u64>>,
}

/// Where a pipeline begins.
#[derive(Default)]
pub struct Beginning {
    /// Where its checkpoints are kept.
    pub folder: PathBuf,
    /// The first epoch of this run.
    pub first: Epoch,
    /// The clock before it.
    pub now: EventTime,
    /// By source, from where in the log it is read.
    pub from: BTreeMap<u64, LogPosition>,
    /// The epochs that are to be repeated.
    pub replay: VecDeque<Replayed>,
    /// The event clock at the checkpoint.
    pub clock: ClockState,
    /// The states of keyed steps at the checkpoint.
    pub groups: Vec<GroupState>,
    /// Where the rest of them lies.
    pub segments: Vec<SegmentState>,
    /// What that is in.
    pub archive: Option<Arc<Cabinet>>,
    /// The sinks' spills.
    pub spills: Spills,
    /// The sources at the checkpoint.
    sources: Vec<SourcePosition>,
    /// What the checkpoint says of the spills.
    owed: Vec<SpillState>,
}

/// Opens the log and the checkpoints, and reads what is between them.
///
/// # Errors
/// When one of them cannot be read or was made by a newer program.
pub fn recover(
    plan: &Plan,
    durability: &Durability,
    clock: &Clock,
) -> Result<Recovery, StartError> {
    let bells = Arc::new(LogBells::default());
    let mut settings = Settings::new(durability.max_bytes);
    settings.retain = durability.retain;
    let (log, recovered) = Log::open(Options {
        disk: Arc::new(Folder::new(durability.folder.join(log::FOLDER))),
        settings,
        incarnation: durability.incarnation,
        clock: clock.clone(),
        observer: Arc::clone(&bells) as Arc<_>,
    })?;
    for damaged in &recovered.damaged {
        let (from, to) = (damaged.from.0, damaged.to.0);
        tracing::error!(from, to, kept = damaged.kept, "the log is damaged, and goes on behind it");
    }
    if let Some(torn) = &recovered.torn {
        tracing::info!(bytes = torn.bytes, "the log's torn end was cut");
    }
    let mut recovery = Recovery {
        log: Arc::new(log),
        bells,
        pipelines: Vec::new(),
        tickets: BTreeMap::new(),
        marks: BTreeMap::new(),
    };
    let mut fresh = Vec::new();
    for pipeline in &plan.pipelines {
        let folder = durability.folder.join(checkpoint::FOLDER).join(&pipeline.name);
        let (newest, refused) = Checkpoint::newest(&folder)?;
        for error in refused {
            tracing::error!("a checkpoint cannot be used: {error}");
        }
        if let Some(known) = &newest {
            tell_changes(plan, pipeline, known, &durability.drop_state);
        }
        fresh.push(newest.is_none());
        let mut beginning = Beginning::at(newest.unwrap_or_default(), folder);
        beginning.archive = Some(Arc::new(open_archive(durability, pipeline, &beginning.folder)?));
        recovery.pipelines.push(beginning);
    }
    recovery.read(plan)?;
    for ((pipeline, beginning), fresh) in
        plan.pipelines.iter().zip(&mut recovery.pipelines).zip(fresh)
    {
        if fresh {
            beginning.begin(plan, pipeline, &recovery.log)?;
        }
    }
    let folders = spill::Folders {
        root: durability.folder.join("spill"),
        incarnation: durability.incarnation,
        clock: clock.clone(),
        retain: durability.retain,
        accept_gap: durability.accept_gap.clone(),
    };
    for (pipeline, beginning) in plan.pipelines.iter().zip(&mut recovery.pipelines) {
        let owed = std::mem::take(&mut beginning.owed);
        beginning.spills = spill::recover(&folders, pipeline, owed)?;
    }
    Ok(recovery)
}

/// Opens the archive of a pipeline, with what its checkpoints name.
fn open_archive(
    durability: &Durability,
    pipeline: &Pipeline,
    checkpoints: &Path,
) -> Result<Cabinet, StartError> {
    let known = checkpoint::list(checkpoints)?;
    let known = known.iter().filter_map(|path| Checkpoint::read(path).ok());
    let folder = durability.folder.join(archive::FOLDER).join(&pipeline.name);
    let disk = Folder::new(folder.clone());
    let opened = disk
        .make_folder("")
        .and_then(|()| Cabinet::open(Arc::new(disk), known.flat_map(|it| it.segments)));
    opened.map_err(|source| StartError::Archive { folder, source })
}

impl Recovery {
    /// Reads the log behind the checkpoints.
    fn read(&mut self, plan: &Plan) -> Result<(), StartError> {
        let begin = self.pipelines.iter().map(|it| it.from.values().min().copied());
        let begin = begin.map(|from| from.unwrap_or_default()).min().unwrap_or_default();
        for beginning in &self.pipelines {
            for (source, marks) in &beginning.marks_of_checkpoint() {
                let known = self.marks.entry(*source).or_default();
                marks.iter().for_each(|(stream, end)| advance(known, *stream, *end));
            }
        }
        let by_key: BTreeMap<u64, usize> = (plan.pipelines.iter().enumerate())
            .map(|(index, pipeline)| (pipeline_key(&pipeline.name), index))
            .collect();
        let mut reader = self.log.reader(begin.max(self.log.first()));
        while let Some(read) = reader.read_next()? {
            let Read::Entry { position, end, entry } = read else { continue };
            match entry {
                Entry::Block(block) => {
                    let ticket = Ticket { position, end };
                    self.tickets.entry(block.source).or_default().push(ticket);
                    let known = self.marks.entry(block.source).or_default();
                    advance(known, block.stream, block.end);
                }
                Entry::Epoch(record) => {
                    let Some(index) = by_key.get(&record.pipeline) else { continue };
                    let beginning = &mut self.pipelines[*index];
                    if record.epoch < beginning.first {
                        continue;
                    }
                    let Some(decision) = EpochDecision::decode(&record.bytes) else {
                        tracing::error!(
                            epoch = record.epoch,
                            "an epoch's record is of no known form"
                        );
                        continue;
                    };
                    beginning.replay.push_back(Replayed { epoch: record.epoch, decision });
                }
                Entry::Mark(_) | Entry::Batch(_) => {}
            }
        }
        Ok(())
    }
}

/// Says what has changed in the documents of a pipeline since its checkpoint was made.
fn tell_changes(plan: &Plan, pipeline: &Pipeline, known: &Checkpoint, dropped: &[String]) {
    for change in plan_text::changes(known, plan, pipeline, dropped) {
        tracing::info!(pipeline = %pipeline.name, "since the last checkpoint: {change}");
    }
}

fn advance(marks: &mut BTreeMap<StreamId, u64>, stream: StreamId, end: u64) {
    let known = marks.entry(stream).or_default();
    *known = (*known).max(end);
}

impl Beginning {
    fn at(checkpoint: Checkpoint, folder: PathBuf) -> Self {
        let Checkpoint { next, now, sources, clock, groups, segments, spills, .. } = checkpoint;
        let from = sources.iter().map(|source| (source_key(&source.id), source.position));
        Beginning {
            folder,
            first: next,
            now: if next == 0 { EventTime::MIN } else { now },
            from: from.collect(),
            replay: VecDeque::new(),
            clock,
            groups,
            segments,
            archive: None,
            spills: Spills::default(),
            sources,
            owed: spills,
        }
    }

    fn marks_of_checkpoint(&self) -> BTreeMap<u64, Vec<(StreamId, u64)>> {
        self.sources.iter().map(|it| (source_key(&it.id), it.marks.clone())).collect()
    }

    /// Begins a pipeline that has no checkpoint: with what the log has of it, or at its end.
    fn begin(&mut self, plan: &Plan, pipeline: &Pipeline, log: &Log) -> Result<(), StartError> {
        let epoch = self.replay.front().map(|replayed| replayed.epoch);
        if let Some(epoch) = epoch
            && epoch > 0
        {
            let (pipeline, folder) = (pipeline.name.clone(), self.folder.clone());
            return Err(StartError::NoCheckpoint { pipeline, epoch, folder });
        }
        let from = if epoch.is_some() { log.first() } else { log.next() };
        let ids = pipeline.sources.iter().map(|input| &plan.sources[input.source.0 as usize].id);
        let sources: Vec<_> = ids
            .map(|id| SourcePosition { id: id.clone(), position: from, marks: Vec::new() })
            .collect();
        self.from = sources.iter().map(|it| (source_key(&it.id), it.position)).collect();
        let plan = planned(plan, pipeline);
        let nothing = Checkpoint { sources, plan, ..Checkpoint::default() };
        nothing.write(&self.folder)?;
        Ok(())
    }
}

/// Gives the name of a pipeline for good.
pub fn pipeline_key(name: &str) -> u64 {
    StreamId::named(format!("pipeline {name}").as_bytes()).0
}
