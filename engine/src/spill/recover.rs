//! The spills that earlier runs have left, opened before anything runs.

use super::Bell;
use super::ledger::{Ledger, SpillState};
use super::queue::{Found, Spill, SpillParts};
use crate::log::{Folder, LogError};
use crate::recovery::StartError;
use azud_event::clock::Clock;
use azud_plan::plan::{Pipeline, StallPolicy};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the spills of an instance are, and what was said of them.
pub struct Folders {
    /// The folder of all spills.
    pub root: PathBuf,
    /// The life of the data folder.
    pub incarnation: [u8; 16],
    /// The time.
    pub clock: Clock,
    /// For how long what is delivered is kept for receivers that may go back.
    pub retain: Duration,
    /// Sinks whose spills may lack something, or may be given up, by id.
    pub accept_gap: Vec<String>,
}

/// The spill of one sink of a plan.
pub struct Kept {
    /// Its account.
    pub ledger: Arc<Ledger>,
    /// What it rings.
    pub bell: Arc<Bell>,
    /// Where it is; `None` where the sink keeps nothing.
    pub parts: Option<SpillParts>,
    /// Open, if it owes something.
    pub open: Option<Spill>,
    /// Whether the sink may lack for ever what cannot be delivered again.
    pub accept_gap: bool,
}

/// The spills of a pipeline.
#[derive(Default)]
pub struct Spills {
    /// One for each sink, in the plan's order.
    pub sinks: Vec<Kept>,
    /// Accounts of sinks that are not in the plan any more, whose records wait.
    pub left: Vec<Arc<Ledger>>,
}

impl Kept {
    /// Makes the spill of a sink that keeps nothing.
    pub fn nothing(sink: &str) -> Self {
        let ledger = Arc::new(Ledger::new(sink, None));
        let bell = Arc::new(Bell::new(Arc::clone(&ledger)));
        // Without a log nothing was ever promised across a restart.
        Kept { ledger, bell, parts: None, open: None, accept_gap: true }
    }
}

/// Opens the spills of a pipeline that owe something by `known`, which its checkpoint says.
///
/// # Errors
/// When one cannot be read, or lacks what it owes and nobody has accepted that.
pub fn recover(
    folders: &Folders,
    pipeline: &Pipeline,
    mut known: Vec<SpillState>,
) -> Result<Spills, StartError> {
    let mut spills = Spills::default();
    for sink in &pipeline.sinks {
        let of_sink = known.extract_if(.., |state| state.sink == sink.id).next();
        let max_bytes = match sink.stall.policy {
            StallPolicy::Spill { max_bytes } => Some(max_bytes),
            StallPolicy::Block | StallPolicy::Drop => None,
        };
        let mut kept = folders.kept(pipeline, &sink.id, of_sink, max_bytes.unwrap_or(1));
        if let Some(parts) = kept.parts.as_mut().filter(|_| sink.spec.keeps_progress()) {
            parts.retain = folders.retain;
        }
        // What keeps everything for a receiver that may go back knows also what that had.
        let keeps = max_bytes.is_some() && sink.spec.keeps_progress();
        if keeps || !kept.ledger.earlier().is_empty() {
            folders.open(pipeline, &mut kept)?;
        }
        if max_bytes.is_none() && kept.open.is_none() {
            kept.parts = None;
        }
        spills.sinks.push(kept);
    }
    for state in known.into_iter().filter(|state| !state.owed.is_empty()) {
        let sink = state.sink.clone();
        let mut kept = folders.kept(pipeline, &sink, Some(state), 1);
        if folders.accept_gap.contains(&sink) {
            folders.remove(pipeline, &sink)?;
            continue;
        }
        folders.open(pipeline, &mut kept)?;
        let records = kept.open.take().map(|spill| count(&spill)).transpose();
        let records = records.map_err(|error| failed(&sink, error))?.unwrap_or_default();
        if records > 0 {
            tracing::warn!(
                "{records} records wait in the spill of `{sink}`, and no sink of `{}` has this id \
                 any more: put it back and they are delivered, or give them up with \
                 `--accept-gap {sink}`",
                pipeline.name
            );
            spills.left.push(kept.ledger);
        }
    }
    Ok(spills)
}

impl Folders {
    fn of(&self, pipeline: &Pipeline, sink: &str) -> PathBuf {
        self.root.join(file_name(&pipeline.name)).join(file_name(sink))
    }

    fn kept(
        &self,
        pipeline: &Pipeline,
        sink: &str,
        state: Option<SpillState>,
        max_bytes: u64,
    ) -> Kept {
        let ledger = Arc::new(Ledger::new(sink, state));
        let parts = SpillParts {
            disk: Arc::new(Folder::new(self.of(pipeline, sink))),
            max_bytes,
            retain: Duration::ZERO,
            incarnation: self.incarnation,
            clock: self.clock.clone(),
            ledger: Arc::clone(&ledger),
        };
        let bell = Arc::new(Bell::new(Arc::clone(&ledger)));
        let accept_gap = self.accept_gap.iter().any(|accepted| accepted == sink);
        Kept { ledger, bell, parts: Some(parts), open: None, accept_gap }
    }

    fn open(&self, pipeline: &Pipeline, kept: &mut Kept) -> Result<(), StartError> {
        let Some(parts) = kept.parts.clone() else { return Ok(()) };
        let sink = kept.ledger.sink();
        let records = kept.ledger.records();
        let opened = Spill::open(parts, Arc::clone(&kept.bell) as Arc<_>);
        let (spill, missing) = opened.map_err(|error| failed(sink, error))?;
        if missing.is_some() {
            if !kept.accept_gap {
                let folder = self.of(pipeline, sink);
                return Err(StartError::SpillGone { sink: sink.to_owned(), records, folder });
            }
            tracing::warn!("a part of up to {records} records of `{sink}` is lost, as accepted");
        }
        kept.open = Some(spill);
        Ok(())
    }

    fn remove(&self, pipeline: &Pipeline, sink: &str) -> Result<(), StartError> {
        let folder = self.of(pipeline, sink);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let (action, name) = ("remove", folder.display().to_string());
                Err(failed(sink, LogError::Io { action, name, source: error }))
            }
            _ => {
                tracing::warn!("the spill of `{sink}` is given up, as accepted");
                Ok(())
            }
        }
    }
}

fn failed(sink: &str, error: LogError) -> StartError {
    StartError::Spill { sink: sink.to_owned(), error }
}

/// Counts the records that a spill owes, and closes it.
fn count(spill: &Spill) -> Result<u64, LogError> {
    let mut reader = spill.reader();
    let mut records = 0;
    loop {
        let (found, read) = reader.read();
        read?;
        if found.is_empty() {
            spill.close()?;
            return Ok(records);
        }
        let batches = found.into_iter().filter_map(|found| match found {
            Found::Batch(batch) => Some(batch.records as u64),
            Found::Damaged(_) => None,
        });
        records += batches.sum::<u64>();
    }
}

/// Gives the name of a folder for an id, which may have slashes.
fn file_name(id: &str) -> PathBuf {
    Path::new(&id.replace('/', "%2F")).to_owned()
}
