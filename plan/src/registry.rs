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
