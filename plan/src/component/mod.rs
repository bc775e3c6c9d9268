//! The contract of a component: where the rooms `sources`, `transforms`, `sinks` and the engine
//! meet.
//!
//! A component goes through four phases, a type each (DESIGN §8):
//!
//! | phase | type | may do |
//! |---|---|---|
//! | written | the [`Options`] of its table | nothing |
//! | checked | [`SourceSpec`], [`TransformSpec`], [`SinkSpec`] | be cloned into each worker; it
//! cannot be wrong |
//! | built | [`SourceTask`], [`SinkTask`] | hold open sockets and files; no task runs |
//! | running | the future of `run` | everything, until told to stop |
//!
//! So only the outside world can fail a document that passed its check, and a refused reload leaves
//! nothing behind.

mod connector;
mod early;
mod merge;
pub(crate) mod option;
mod probe;
mod progress;
mod secret;
mod sink;
mod source;
mod template;
mod transform;

pub use connector::{
    Asked, Attempt, Behind, Cause, Connector, ConnectorError, ConnectorKind, Connectors, Cursor,
    Endpoint, Failed, Late, Lease, Outcome, StatusChange, StatusHistory, matches,
};
pub use early::{Demand, Early, Firing, Threshold};
pub use merge::{Merge, Merged, Merging};
pub use option::{
    Default, OptionKind, OptionSpec, Options, SINK_OPTIONS, SOURCE_OPTIONS, Variant, check_options,
    parse_duration, parse_field,
};
pub use probe::{Probe, ProbeStep};
pub use progress::{Progress as SinkProgress, Rewind, Stored};
pub use secret::{
    Confidential, Secret, SecretBackend, SecretError, SecretName, SecretService, SecretUse, Secrets,
};
pub use sink::{Batch, Batches, Confirmation, Encoder, Refused, SinkFactory, SinkSpec, SinkTask};
pub use source::{
    Acknowledged, Intake, Shutdown, SourceContext, SourceFactory, SourceSpec, SourceTask,
};
pub use template::{Confine, Missing, Template};
pub use transform::{
    Archive, ArchiveError, Body, Due, EachEntry, Entry, EpochClock, KeyedState, Needle, Next,
    NoArchive, Progress, RowContext, RowMaker, Running, Taken, Told, Transform, TransformFactory,
    TransformSpec, Written,
};

use azud_event::clock::Clock;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Log events.
    Log,
    /// Metrics.
    Metric,
    /// Alerts, each a revision of one identity.
    Alert,
}

impl Kind {
    /// Gives the word for it in documents and diagnostics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Metric => "metric",
            Kind::Alert => "alert",
        }
    }
}

/// Whether what flows over an edge is final, or may be revised by its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Each record stands for itself.
    Append,
    /// A record replaces an earlier one of the same id.
    Revised,
}

/// An output of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name behind the dot (`dropped` in `shape.dropped`); `None` for the component's own
    /// output.
    pub name: Option<String>,
    /// What it carries.
    pub kind: Kind,
    /// Whether its records are revised.
    pub change: Change,
    /// Whether it may stay without a reader without a warning: what is not read is set aside or
    /// counted.
    pub optional: bool,
    /// What is known of its records when they are results of windows.
    pub results: Option<Results>,
}

/// Results of windows, as those who read them know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// The fields that tell them apart.
    pub key: Vec<String>,
    /// How long a window is; of a session, the pause that ends it.
    pub size: Duration,
    /// For how long after its end a window may be amended.
    pub amended_for: Duration,
    /// The type of the records, so that what reads them need not doubt it.
    pub kind: vrl::value::Kind,
    /// The fields that are numbers which only grow while a window is open.
    pub grows: Vec<vrl::path::OwnedValuePath>,
    /// What puts several of them together, where they are as they were told.
    pub merging: Option<Merging>,
}

impl Port {
    /// Makes the unnamed output of append-only logs, the most common one.
    pub fn logs() -> Self {
        Port { name: None, kind: Kind::Log, change: Change::Append, optional: false, results: None }
    }
}

/// An example of a component: shown in the reference, run by the tests.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// What it shows, a short sentence.
    pub title: &'static str,
    /// The component's table, without its header.
    pub toml: &'static str,
    /// Input records, one JSON document a line; of a source the raw bytes. Empty where a component
    /// takes none.
    pub input: &'static str,
    /// Output records, one JSON document a line, as its readers see them.
    pub output: &'static str,
}

/// What a component may use when it is built.
#[derive(Clone)]
pub struct BuildContext {
    /// The full id of the component.
    pub id: String,
    /// The pipeline that it is in; of a source, which several may share, empty.
    pub pipeline: String,
    /// The instance's folder; a component keeps its own files below it.
    pub data_dir: PathBuf,
    /// The time.
    pub clock: Clock,
    /// Services of the instance, by type.
    pub services: Arc<Services>,
}

/// Services of the instance that components may ask for by type: the store, for one.
#[derive(Default)]
pub struct Services(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Services {
    /// Adds a service; one of the same type is replaced.
    pub fn add<T: Any + Send + Sync>(&mut self, service: Arc<T>) {
        self.0.insert(TypeId::of::<T>(), service);
    }

    /// Gives the service of this type.
    pub fn find<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>()).and_then(|service| Arc::clone(service).downcast().ok())
    }

    /// Gives the connectors; they are added as `Arc<Arc<dyn Connectors>>`.
    pub fn connectors(&self) -> Option<Arc<dyn Connectors>> {
        self.find::<Arc<dyn Connectors>>().map(|found| Arc::clone(&*found))
    }

    /// Gives the changes of status; they are added as `Arc<Arc<dyn StatusHistory>>`.
    pub fn status_history(&self) -> Option<Arc<dyn StatusHistory>> {
        self.find::<Arc<dyn StatusHistory>>().map(|found| Arc::clone(&*found))
    }
}

/// Something of the outside that a component will hold: shown at start, and tried by `validate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A TCP port it listens on.
    TcpPort(std::net::SocketAddr),
    /// A UDP port it listens on.
    UdpPort(std::net::SocketAddr),
    /// A file or folder that it reads.
    Reads(PathBuf),
    /// A file that it writes.
    Writes(PathBuf),
    /// A folder below which it writes files whose names follow from the data.
    WritesBelow(PathBuf),
}

/// Why a component that passed its check could not be built: always the outside world.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    /// What went wrong, with the place (address, path) and the system's answer.
    pub message: String,
    /// What a person can do about it.
    pub help: Option<String>,
}

/// Why a running component ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// What went wrong.
    pub message: String,
}
