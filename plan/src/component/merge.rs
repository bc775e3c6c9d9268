//! Results of windows that overlap, put together: not by what they say, but by the parts of what
//! they have gathered, each once.

use azud_event::time::EventTime;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

/// Puts together what windows have gathered.
pub trait Merge: Debug + Send + Sync {
    /// Gives what tells its parts from those of others ([`azud_event::parts::Parts::by`]).
    fn by(&self) -> u64;

    /// Gives what all these parts say together; `None` when one is not of its own.
    fn merge(&self, parts: &[&[u8]]) -> Option<Merged>;
}

/// What a set of records says.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// How many there are.
    pub event_count: u64,
    /// When the first and the last happened, if there is one.
    pub span: Option<(EventTime, EventTime)>,
    /// What was made of them, by field of a result.
    pub fields: Vec<(OwnedValuePath, Value)>,
}

/// How results are put together: each is only what it is itself.
#[derive(Clone, Debug)]
pub struct Merging(Arc<dyn Merge>);

impl Merging {
    /// Names what puts them together.
    pub fn new(merge: impl Merge + 'static) -> Self {
        Merging(Arc::new(merge))
    }
}

impl Deref for Merging {
    type Target = dyn Merge;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for Merging {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Merging {}
