//! Sinks: where results go.

use super::{BuildContext, BuildError, Example, Kind, OptionSpec, Options, Resource, RunError};
use crate::diagnostic::Checker;
use azud_event::dead_letter::Fault;
use azud_event::record::Record;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// A kind of sink, as the registry lists it.
#[derive(Debug)]
pub struct SinkFactory {
    /// The `type` in documents.
    pub name: &'static str,
    /// One sentence, for lists.
    pub summary: &'static str,
    /// Some paragraphs of Markdown for the reference.
    pub description: &'static str,
    /// What it takes.
    pub inputs: &'static [Kind],
    /// Its options.
    pub options: &'static [OptionSpec],
    /// Checks a table. Pure: no file, no socket, no clock, no task.
    pub check: fn(&Options<'_>, &mut Checker) -> Option<Box<dyn SinkSpec>>,
    /// At least one.
    pub examples: &'static [Example],
}

/// A checked sink.
pub trait SinkSpec: Send + Sync {
    /// Gives an encoder, for one worker.
    fn encoder(&self) -> Box<dyn Encoder>;

    /// Lists what it will hold of the outside.
    fn resources(&self) -> Vec<Resource>;

    /// Opens the sink.
    ///
    /// # Errors
    /// When the outside world refuses.
    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError>;
}

/// Writes records into a sink's buffers, on the worker that has them.
///
/// The contract:
/// - `encode` appends exactly one whole record to `out`, or nothing when it gives a fault (checked
///   by the engine, which cuts `out` back).
/// - `partition` names the buffer a record belongs to; records of one stream and partition stay in
///   order.
pub trait Encoder: Send {
    /// Appends one record, its delimiter included.
    ///
    /// # Errors
    /// A [`Fault`] when the record has no form here; it is set aside.
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault>;

    /// Writes the name of the record's partition (a file's path) into `name`; it is empty when
    /// there is only one.
    ///
    /// # Errors
    /// A [`Fault`] when the record cannot be placed.
    fn partition(&mut self, record: &Record, name: &mut String) -> Result<(), Fault> {
        let _ = (record, name);
        Ok(())
    }
}

/// A built sink, ready to run.
pub trait SinkTask: Send {
    /// Runs until the queue ends, having delivered and confirmed every batch.
    ///
    /// Batches of one partition are delivered in the order of the queue. An error of the outside is
    /// retried here; an unconfirmed batch holds back its epoch, and in the end its sources.
    fn run(self: Box<Self>, batches: Batches) -> BoxFuture<'static, Result<(), RunError>>;
}

/// The queue into a sink: bounded, filled by the workers.
pub type Batches = futures_channel::mpsc::Receiver<Batch>;

/// Some encoded records on their way to a sink.
#[derive(Debug)]
pub struct Batch {
    /// Whole encoded records.
    pub bytes: Vec<u8>,
    /// How many records are in `bytes`.
    pub records: usize,
    /// Their partition; empty when the sink has only one.
    pub partition: Arc<str>,
    /// The epoch of the pipeline that they are of. Within one incarnation of the data folder an
    /// epoch that is repeated after a restart has the same records.
    pub epoch: u64,
    /// To be used once they are delivered.
    pub confirmation: Confirmation,
}

/// Tells the engine that a batch is delivered for good. Dropped without [`Confirmation::confirm`],
/// the epoch of the batch never completes in this run.
pub struct Confirmation(Box<dyn FnOnce() + Send>);

impl Confirmation {
    /// Makes a confirmation that calls `confirmed`.
    pub fn new(confirmed: impl FnOnce() + Send + 'static) -> Self {
        Confirmation(Box::new(confirmed))
    }

    /// Tells it.
    pub fn confirm(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confirmation")
    }
}
