//! The [`Registry`]: every component that this program has, in sorted lists.

use crate::component::{SinkFactory, SourceFactory, TransformFactory};

/// Every component that this program has. The lists are sorted by name.
#[derive(Clone, Copy, Debug)]
pub struct Registry {
    /// The sources.
    pub sources: &'static [&'static SourceFactory],
    /// The transforms.
    pub transforms: &'static [&'static TransformFactory],
    /// The sinks.
    pub sinks: &'static [&'static SinkFactory],
}

impl Registry {
    /// Finds a source by its `type`.
    pub fn source(&self, name: &str) -> Option<&'static SourceFactory> {
        self.sources.iter().copied().find(|factory| factory.name == name)
    }

    /// Finds a transform by its `type`.
    pub fn transform(&self, name: &str) -> Option<&'static TransformFactory> {
        self.transforms.iter().copied().find(|factory| factory.name == name)
    }

    /// Finds a sink by its `type`.
    pub fn sink(&self, name: &str) -> Option<&'static SinkFactory> {
        self.sinks.iter().copied().find(|factory| factory.name == name)
    }
}
