//! A [`Plan`]: what is to run, checked and resolved; nothing in it can be wrong any more.

use crate::component::{Kind, Port, SinkSpec, SourceSpec, TransformSpec};
use azud_event::id::SourceIndex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use vrl::path::OwnedValuePath;

/// Everything that one instance runs.
#[derive(Default)]
pub struct Plan {
    /// All sources; [`SourceIndex`] counts in this list.
    pub sources: Vec<Source>,
    /// The pipelines: documents that are connected through transforms run as one.
    pub pipelines: Vec<Pipeline>,
}

/// A source of the plan. Pipelines may share it.
pub struct Source {
    /// Its full id, unique in the plan: `network/conn`, or `conn` when its document stands alone.
    pub id: String,
    /// Its `type`.
    pub kind: &'static str,
    /// The checked source.
    pub spec: Arc<dyn SourceSpec>,
    /// What its author said of time.
    pub timing: Timing,
    /// Its table in TOML, as it was written: variables are not filled in, and secrets
    /// in clear are masked.
    pub written: Arc<str>,
    /// The document that it stands in; empty when that is no file.
    pub document: Arc<str>,
}

/// When the events of a source happened, and how its streams are waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The field that says it; else it is what the codec knows.
    pub event_time: Option<OwnedValuePath>,
    /// How much older than the newest of its stream an event may be and still be in time.
    pub lateness: Duration,
    /// How far ahead of its receipt an event may say it happened.
    pub max_ahead: Duration,
    /// For how long a stream that is silent is waited for, and how far one may be behind.
    pub max_hold: Duration,
    /// The senders that must speak, by address or name: their silence is told, not guessed.
    pub expect: Vec<String>,
}

impl std::default::Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let (lateness, max_ahead) = (seconds(10), seconds(24 * 60 * 60));
        Timing { event_time: None, lateness, max_ahead, max_hold: seconds(15), expect: Vec::new() }
    }
}

/// The name of the output of every source that carries what is too far ahead of its receipt.
pub const FUTURE: &str = "future";

/// A set of connected components, run as one dataflow.
pub struct Pipeline {
    /// Its name: the document's path without `.toml`; of several the first, by name.
    pub name: String,
    /// The sources that feed it.
    pub sources: Vec<SourceInput>,
    /// Its transforms, every one behind those that feed it.
    pub transforms: Vec<TransformNode>,
    /// Its sinks.
    pub sinks: Vec<SinkNode>,
}

impl Pipeline {
    /// Whether any of its transforms gathers by key, so that event time matters to it.
    pub fn is_keyed(&self) -> bool {
        self.transforms.iter().any(|transform| transform.spec.is_keyed())
    }

    /// Lists the places in [`Pipeline::sources`] of those that reach each transform.
    pub fn reach(&self) -> Vec<BTreeSet<usize>> {
        let mut reached = vec![BTreeSet::new(); self.transforms.len()];
        let mark = |outputs: &[Output], lanes: &BTreeSet<usize>, all: &mut [BTreeSet<usize>]| {
            for reader in outputs.iter().flat_map(|output| &output.readers) {
                if let Reader::Transform(index) = reader {
                    all[*index].extend(lanes);
                }
            }
        };
        for (lane, source) in self.sources.iter().enumerate() {
            mark(&source.outputs, &BTreeSet::from([lane]), &mut reached);
        }
        // Every transform stands behind those that feed it.
        for (index, transform) in self.transforms.iter().enumerate() {
            let lanes = reached[index].clone();
            mark(&transform.outputs, &lanes, &mut reached);
        }
        reached
    }
}

/// A source as one pipeline sees it.
pub struct SourceInput {
    /// Which source.
    pub source: SourceIndex,
    /// Who reads it, by output port.
    pub outputs: Vec<Output>,
}

/// A transform in a pipeline.
pub struct TransformNode {
    /// Its full id.
    pub id: String,
    /// Its `type`.
    pub kind: &'static str,
    /// The checked transform.
    pub spec: Arc<dyn TransformSpec>,
    /// Its outputs and who reads them.
    pub outputs: Vec<Output>,
    /// Its table in TOML, as it was written: variables are not filled in, and secrets
    /// in clear are masked.
    pub written: Arc<str>,
}

/// A sink in a pipeline.
pub struct SinkNode {
    /// Its full id.
    pub id: String,
    /// Its `type`.
    pub kind: &'static str,
    /// The checked sink.
    pub spec: Arc<dyn SinkSpec>,
    /// What it is fed with.
    pub input: Kind,
    /// What its author said of its being in trouble.
    pub stall: Stall,
    /// Its table in TOML, as it was written: variables are not filled in, and secrets
    /// in clear are masked.
    pub written: Arc<str>,
    /// The document that it stands in; empty when that is no file.
    pub document: Arc<str>,
}

/// What becomes of a sink that does not take what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// What is done with what it does not take.
    pub policy: StallPolicy,
    /// How long a record may wait to be delivered before the sink counts as stalled.
    pub after: Duration,
}

/// What is done with what a stalled sink does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallPolicy {
    /// It is kept on disk.
    Spill {
        /// How many bytes of it.
        max_bytes: u64,
    },
    /// Its pipeline waits.
    Block,
    /// It is let go.
    Drop,
}

impl std::default::Default for Stall {
    fn default() -> Self {
        Stall { policy: StallPolicy::Block, after: Duration::from_secs(5) }
    }
}

/// An output port and its readers.
pub struct Output {
    /// The port.
    pub port: Port,
    /// Who reads it.
    pub readers: Vec<Reader>,
}

/// A reader of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// The pipeline's transform of this index.
    Transform(usize),
    /// The pipeline's sink of this index.
    Sink(usize),
}
