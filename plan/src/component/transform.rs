//! Transforms: what happens to records.

use super::{Example, OptionSpec, Options, Port};
use crate::diagnostic::{Checker, Span};
use azud_event::dead_letter::Fault;
use azud_event::id::Partitioner;
use azud_event::record::Record;
use azud_event::row::Row;
use azud_event::time::EventTime;

/// A kind of transform, as the registry lists it.
#[derive(Debug)]
pub struct TransformFactory {
    /// The `type` in documents.
    pub name: &'static str,
    /// One sentence, for lists.
    pub summary: &'static str,
    /// Some paragraphs of Markdown for the reference.
    pub description: &'static str,
    /// Its options.
    pub options: &'static [OptionSpec],
    /// Checks a table. Pure but for files that an option names (`file` of `remap`).
    pub check: fn(&Options<'_>, &mut Checker) -> Option<Box<dyn TransformSpec>>,
    /// At least one.
    pub examples: &'static [Example],
}

/// A checked transform.
pub trait TransformSpec: Send + Sync {
    /// Gives its outputs for an input of this kind; the index in this list is the port of
    /// [`Next::emit`].
    fn outputs(&self, input: &Port) -> Vec<Port>;

    /// Makes the running transform, for one worker.
    fn build(&self) -> Running;

    /// Whether a program of it may fail or end early, so that its changes must be undone: then the
    /// record journals.
    fn rolls_back(&self) -> bool {
        false
    }

    /// Gives text that a record must hold to have any effect here but being counted as discarded.
    /// Sound, or `None`: a record without it may be discarded undecoded.
    fn needle(&self) -> Option<&Needle> {
        None
    }

    /// Gives the rule whose alerts it makes, and where its name stands. A rule's name is unique in
    /// an instance, because it is part of the identity of its alerts.
    fn rule(&self) -> Option<(&str, Span)> {
        None
    }
}

/// Text that must stand in a field, as it is, for a record to be let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// The field, at the top of the event; its decoder must write it as a slice of the record's
    /// bytes ([`azud_event::codec::Decoder::verbatim_field`]).
    pub field: String,
    /// The text, ASCII, not empty.
    pub text: String,
}

/// A running transform.
pub enum Running {
    /// Looks at one record at a time.
    Stateless(Box<dyn Transform>),
    /// Gathers by key: rows are made where the record is, and applied where the key lives.
    Keyed {
        /// Makes rows, on the worker that has the record.
        rows: Box<dyn RowMaker>,
        /// Makes the state of one key group, on the worker that owns it.
        state: Box<dyn Fn() -> Box<dyn KeyedState> + Send>,
    },
}

/// A stateless transform on one worker.
///
/// The contract:
/// - `apply` may emit the record any number of times to any port; each `emit` runs everything
///   behind that port before it returns, and leaves the record as it was before the `emit` (the
///   engine undoes what readers changed).
/// - After `apply` returns, the record's content is no longer defined.
/// - A returned fault sets the record aside as a dead letter.
pub trait Transform: Send {
    /// Applies the transform to one record.
    ///
    /// # Errors
    /// A [`Fault`] when the record can go nowhere.
    fn apply(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault>;
}

/// The way on from a transform.
pub trait Next {
    /// Sends the record to every reader of a port. With `last`, the transform will not look at it
    /// again, so that the last reader need not be undone.
    fn emit(&mut self, port: usize, record: &mut Record, last: bool);

    /// Whether anybody reads this port.
    fn connected(&self, port: usize) -> bool;

    /// Counts a record that its author wanted gone (a filter's "no").
    fn discard(&mut self);

    /// Counts an error that did not stop the record.
    fn error(&mut self, fault: &Fault);
}

/// The first half of a keyed transform.
pub trait RowMaker: Send {
    /// Makes the row of a record, or none when the record does not concern it.
    ///
    /// # Errors
    /// A [`Fault`] when the record can go nowhere.
    fn row(&mut self, record: &Record, partitioner: &Partitioner) -> Result<Option<Row>, Fault>;
}

/// The state of one key group: a plain state machine without thread, clock or channel.
///
/// The contract:
/// - `on_epoch` is called once for each epoch that has rows, in the order of epochs, with all rows
///   of the group in canonical order (checked by the engine's tests over workers and batches).
/// - What it emits is a function of its state and its arguments alone; `restore(snapshot())` is the
///   same state (checked by property tests of each implementation against its model).
/// - It holds no more than its bounds, whatever the rows (checked likewise).
pub trait KeyedState: Send {
    /// Applies the rows of one epoch. `now` is the clock of the epoch, not of the machine.
    fn on_epoch(&mut self, rows: &[Row], now: EventTime, emit: &mut dyn FnMut(vrl::value::Value));

    /// Writes the state.
    fn snapshot(&self) -> Vec<u8>;

    /// Reads the state back.
    ///
    /// # Errors
    /// A sentence when the bytes are not of this state.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}
