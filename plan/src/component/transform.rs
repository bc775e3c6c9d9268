//! Transforms: what happens to records.

use super::{Demand, Example, Firing, OptionSpec, Options, Port};
use crate::diagnostic::{Checker, Span};
use azud_event::alert::LoadedRule;
use azud_event::dead_letter::Fault;
use azud_event::id::Partitioner;
use azud_event::parts::Parts;
use azud_event::record::{Building, Origin, Record};
use azud_event::row::Row;
use azud_event::time::EventTime;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

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

    /// Whether [`TransformSpec::build`] gives [`Running::Keyed`].
    fn is_keyed(&self) -> bool {
        matches!(self.build(), Running::Keyed { .. })
    }

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

    /// Lists the fields of a record that it looks at, if it changes none; `None` when it may look
    /// at all, or change some. What it sends on unchanged is for its readers to look at.
    fn reads(&self) -> Option<Vec<OwnedValuePath>> {
        None
    }

    /// Gives a hash of what the state of a keyed transform hangs on: its key, its window, its
    /// aggregates. A state that was kept under another shape is of no use.
    fn shape(&self) -> u64 {
        0
    }

    /// Gives the output that takes the records which are too late, by its place in the list of
    /// outputs.
    fn late_port(&self) -> Option<usize> {
        None
    }

    /// Gives the rule whose alerts it makes, and where its name stands. A rule's name is unique in
    /// an instance, because it is part of the identity of its alerts.
    fn rule(&self) -> Option<(&str, Span)> {
        None
    }

    /// Gives that rule as it is shown to people before it has found anything.
    fn loaded_rule(&self) -> Option<LoadedRule> {
        None
    }

    /// Says when it tells windows, if it has any.
    fn firing(&self) -> Option<Firing> {
        None
    }

    /// Gives what must hold of a result that feeds it for it to want the result before its window
    /// closes; `None` when it does not. `behind` is what those want that read it.
    fn wants(&self, _behind: Option<&Demand>) -> Option<Demand> {
        None
    }

    /// Makes the same transform of one that knows what those want that read its results. `None`
    /// when that changes nothing.
    fn knowing(&self, _wanted: &Demand) -> Option<Arc<dyn TransformSpec>> {
        None
    }

    /// Whether it wants the parts behind the results that feed it; `behind` says whether one does
    /// that reads it.
    fn wants_parts(&self, _behind: bool) -> bool {
        false
    }

    /// Makes the same transform of one that gives with its results the parts behind them. `None`
    /// when it cannot.
    fn giving_parts(&self) -> Option<Arc<dyn TransformSpec>> {
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

/// What a [`RowMaker`] knows beside the record.
#[derive(Clone, Copy, Debug)]
pub struct RowContext {
    /// Assigns keys to key groups.
    pub partitioner: Partitioner,
    /// What was over when the epoch opened: a record that belongs to nothing later is too late.
    ///
    /// Decided once for each epoch and step, before any record of the epoch is looked at, and never
    /// less than in an earlier epoch. So a replay sets the same records aside, whatever the workers
    /// and batches.
    pub late_before: EventTime,
}

/// What became of a record at a keyed transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in a row, or will be with the next [`RowMaker::drain`].
    Counted,
    /// It does not concern the transform.
    Discarded,
    /// Everything that it belongs to is over for good. It goes to the transform's
    /// [`TransformSpec::late_port`], and is set aside if nobody reads that.
    Late,
}

/// The first half of a keyed transform, on the worker that has the records.
///
/// The contract:
/// - `take` may merge records into partial rows; `drain` is called at the end of each block and
///   epoch, and gives everything taken since the last call. So a row never holds records of two
///   epochs.
/// - How records are cut into drains does not show in what the [`KeyedState`] gives (checked by
///   property tests of each implementation).
/// - A maker that panicked is thrown away with what it had not drained.
pub trait RowMaker: Send {
    /// Takes in one record.
    ///
    /// # Errors
    /// A [`Fault`] when the record can go nowhere.
    fn take(&mut self, record: &Record, context: &RowContext) -> Result<Taken, Fault>;

    /// Appends the rows of everything taken in since the last call.
    fn drain(&mut self, rows: &mut Vec<Row>);
}

/// The clocks of one epoch, known once it is complete. The same on every worker and in every run
/// over the same log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochClock {
    /// The logged clock: the greatest receive time seen, or a tick of the wall clock. Never goes
    /// back.
    pub now: EventTime,
    /// The watermark of this step: nothing older is expected. Never goes back.
    pub watermark: EventTime,
    /// As of [`RowContext::late_before`] in this epoch: what ends before it is over for good, and
    /// may be forgotten. At most the watermark.
    pub late_before: EventTime,
    /// The sources that were not waited for, by id, sorted.
    pub missing: Arc<[String]>,
}

/// A record that a keyed transform gives.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// Which of its outputs.
    pub port: usize,
    /// When it happened: of a window, its end.
    pub event_time: EventTime,
    /// What it says.
    pub body: Body<'a>,
    /// What the window has gathered that it is a result of, if somebody asked for it.
    pub parts: Option<Arc<Parts>>,
}

/// What a told record says.
#[derive(Clone)]
pub enum Body<'a> {
    /// This value.
    Value(Value),
    /// What this writes; nothing of it is made before.
    Written(&'a dyn Written),
}

/// What writes itself into a record.
pub trait Written {
    /// Writes it.
    fn write(&self, into: &mut Building<'_>);
}

impl Told<'_> {
    /// Makes it a record; gives which output it is for.
    pub fn begin(self, record: &mut Record, origin: Origin) -> usize {
        match self.body {
            Body::Value(value) => record.begin_value(value, origin),
            Body::Written(written) => record.begin_built(origin, |into| written.write(into)),
        }
        record.set_parts(self.parts);
        self.port
    }
}

impl Body<'_> {
    /// Gives what it says as a value.
    pub fn to_value(&self) -> Value {
        match self {
            Body::Value(value) => value.clone(),
            Body::Written(written) => {
                let mut record = Record::new();
                let origin = record.origin().clone();
                record.begin_built(origin, |into| written.write(into));
                record.to_value()
            }
        }
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

/// Whether an epoch is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything is told.
    Done,
    /// There is more to tell: call again for the same epoch, without rows.
    More,
}

/// What a state waits for beside rows; the earlier of the two wakes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// It has something to do in the first epoch whose watermark is at or above this.
    pub watermark: Option<EventTime>,
    /// It has something to do in the first epoch whose clock is at or above this.
    pub now: Option<EventTime>,
}

/// Something that a keyed state will hardly need again, and puts away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key, as canonical bytes.
    pub key: &'a [u8],
    /// Its number, of the state's own counting. A later entry of the same key and number takes the
    /// place of an earlier one.
    pub number: i64,
    /// It may be forgotten once [`EpochClock::late_before`] is at or behind this.
    pub over_at: EventTime,
    /// What is put away.
    pub value: &'a [u8],
}

/// Takes what an archive has under a number.
pub type EachEntry<'a> = &'a mut dyn FnMut(i64, &[u8]) -> Result<(), ArchiveError>;

/// Where a keyed state has put things away, and brings them back from.
///
/// Reading is a function of what was put away before: it does not count as a clock or a channel.
pub trait Archive: Send {
    /// Gives the entries of a key with these numbers, in their order, each number once.
    ///
    /// # Errors
    /// When some of it cannot be read, or `each` fails; what was given before may be kept.
    fn read(
        &mut self,
        key: &[u8],
        numbers: RangeInclusive<i64>,
        each: EachEntry<'_>,
    ) -> Result<(), ArchiveError>;
}

/// Why something cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArchiveError(String);

impl ArchiveError {
    /// Makes one that says why.
    pub fn new(reason: String) -> Self {
        ArchiveError(reason)
    }
}

/// The archive of a state that has none, and so puts nothing away.
pub struct NoArchive;

impl Archive for NoArchive {
    fn read(
        &mut self,
        _: &[u8],
        _: RangeInclusive<i64>,
        _: EachEntry<'_>,
    ) -> Result<(), ArchiveError> {
        Err(ArchiveError::new("there is no archive".to_owned()))
    }
}

/// The state of one key group: a plain state machine without thread, clock or channel.
///
/// The contract:
/// - `on_epoch` is called in the order of epochs, for each epoch that has rows of the group, with
///   all of them in canonical order, and for each epoch in which it is due (checked by the engine's
///   tests over workers and batches). While it gives [`Progress::More`] it is called again, with
///   the same clock and no rows, before anything of a later epoch.
/// - What it tells is a function of its state and its arguments alone; `restore(snapshot())` is the
///   same state (checked by property tests of each implementation against its model). Snapshots are
///   taken between epochs only, and of equal states are equal byte for byte.
/// - It holds no more than its bounds, whatever the rows (checked likewise), and tells a bounded
///   number of records in one call.
pub trait KeyedState: Send {
    /// Applies the rows of one epoch.
    fn on_epoch(
        &mut self,
        rows: &[Row],
        clock: &EpochClock,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Progress;

    /// Says when it has something to do without rows.
    fn due(&self) -> Due {
        Due::default()
    }

    /// Tells how many keys it holds something of.
    fn keys(&self) -> u64;

    /// Tells how many keys, windows or the like had to leave so far because a bound was reached;
    /// it never goes back, and is part of the snapshot.
    fn evicted(&self) -> u64 {
        0
    }

    /// Gives it the place where it may put things away; without one everything stays in memory.
    fn attach(&mut self, archive: Box<dyn Archive>) {
        drop(archive);
    }

    /// Gives how much it could put away now, in bytes, about.
    fn closed_bytes(&self) -> usize {
        0
    }

    /// Lists what it could put away, in the order of keys and numbers. Between epochs only.
    fn put_away(&self, put: &mut dyn FnMut(Entry<'_>)) {
        let _ = put;
    }

    /// Lets go of everything that [`KeyedState::put_away`] has just listed: it lies in the archive.
    fn let_go(&mut self) {}

    /// Writes the state, but for what was put away.
    fn snapshot(&self) -> Vec<u8>;

    /// Reads the state back.
    ///
    /// # Errors
    /// A sentence when the bytes are not of this state.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}
