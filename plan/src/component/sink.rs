//! Sinks: where results go.

use super::{
    BuildContext, BuildError, Connector, Endpoint, Example, Kind, OptionSpec, Options, Probe,
    Resource, RunError, SinkProgress,
};
use crate::diagnostic::Checker;
use azud_event::dead_letter::Fault;
use azud_event::record::Record;
use bytes::Bytes;
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

    /// Says what it talks to of the outside; `None` when that is of this machine (a file, a
    /// terminal).
    fn endpoint(&self) -> Option<Endpoint> {
        None
    }

    /// Whether its receiver keeps its progress beside its rows: its task then gives a
    /// [`SinkProgress`], and what it was given is kept for a while, to be given again.
    fn keeps_progress(&self) -> bool {
        false
    }

    /// Opens the sink.
    ///
    /// # Errors
    /// When the outside world refuses.
    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError>;

    /// Makes ready one real call to the other side, for who asks whether it works; `None` where a
    /// component has no such call. Opens nothing yet.
    fn probe(
        &self,
        context: &BuildContext,
        connector: &Arc<dyn Connector>,
    ) -> Option<Box<dyn Probe>> {
        let _ = (context, connector);
        None
    }
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

    /// Whether it writes every record as its JSON text with a line feed behind it, and all into the
    /// partition without a name. What is JSON text already need not become a record then.
    fn is_json_lines(&self) -> bool {
        false
    }
}

/// A built sink, ready to run.
///
/// A sink whose receiver keeps its progress beside its rows gives a [`SinkProgress`]. It is then
/// told which epochs are complete, by batches without records: once one of epoch *e* comes, every
/// batch of the epochs before *e* has come. And it does not deliver what its receiver has already.
pub trait SinkTask: Send {
    /// Gives the progress of the receiver, if it keeps one.
    fn progress(&self) -> Option<Arc<SinkProgress>> {
        None
    }

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
    /// Whole encoded records; none in a batch that only says which epochs are complete.
    pub bytes: Bytes,
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

/// Tells the engine what became of a batch. Dropped without [`Confirmation::confirm`], the epoch of
/// the batch never completes in this run.
///
/// The contract, which the sink keeps:
/// - Of each record of the batch exactly one is true when `confirm` is called: it is delivered for
///   good, or it was handed over with `refuse`.
/// - What may succeed later is never refused: an outage, a limit of rate, credentials that somebody
///   can set right. Refused is what the receiver will answer the same to for ever.
pub struct Confirmation {
    confirmed: Box<dyn FnOnce() + Send>,
    refused: Option<Box<dyn FnMut(Refused) + Send>>,
}

/// A record that the receiver of a sink will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, with the beginning of the receiver's answer.
    pub fault: Fault,
    /// The code of the answer, where the protocol has one (400).
    pub response_code: Option<u16>,
    /// The record as it was encoded, its delimiter included.
    pub bytes: Vec<u8>,
}

impl Confirmation {
    /// Makes a confirmation that calls `confirmed`, and has no way out for what is refused.
    pub fn new(confirmed: impl FnOnce() + Send + 'static) -> Self {
        Confirmation { confirmed: Box::new(confirmed), refused: None }
    }

    /// Adds a way out: `refused` is called with each record that is refused, before the batch is
    /// confirmed, and has it set aside durably by the time that `confirmed` returns.
    pub fn or_refused(mut self, refused: impl FnMut(Refused) + Send + 'static) -> Self {
        self.refused = Some(Box::new(refused));
        self
    }

    /// Hands over a record that the receiver will never take.
    ///
    /// # Errors
    /// Gives it back when there is no way out: it must be tried again, so that it is not lost.
    pub fn refuse(&mut self, refused: Refused) -> Result<(), Refused> {
        match &mut self.refused {
            Some(take) => {
                take(refused);
                Ok(())
            }
            None => Err(refused),
        }
    }

    /// Tells that nothing of the batch is left to be done.
    pub fn confirm(self) {
        (self.confirmed)();
    }
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confirmation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_event::dead_letter::Reason;
    use std::sync::mpsc;

    #[test]
    fn what_is_refused_goes_its_way_or_comes_back() {
        let refused = Refused {
            fault: Fault::new(Reason::Refused, "too large"),
            response_code: Some(413),
            bytes: b"{}\n".to_vec(),
        };
        let mut without = Confirmation::new(|| {});
        assert_eq!(without.refuse(refused.clone()), Err(refused.clone()));
        let (sender, told) = mpsc::channel();
        let confirmed = sender.clone();
        let mut with = Confirmation::new(move || confirmed.send(None).unwrap())
            .or_refused(move |refused| sender.send(Some(refused)).unwrap());
        assert_eq!(with.refuse(refused.clone()), Ok(()));
        with.confirm();
        assert_eq!(told.iter().collect::<Vec<_>>(), [Some(refused), None]);
    }
}
