//! A [`Plan`]: what is to run, checked and resolved; nothing in it can be wrong any more.

use crate::component::{Kind, Port, SinkSpec, SourceSpec, TransformSpec};
use azud_event::id::SourceIndex;
use std::sync::Arc;

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
}

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
