//! What readers of windows want to know before the windows close, and when steps tell them.
//!
//! A condition such as `.failures >= 20` over counts can only become truer while records are added
//! to a window. So nothing is gained by waiting for the window's end: who reads the results says
//! what it waits for ([`Demand`]), the resolver carries that to the step that has the windows, and
//! the step tells a window in the epoch that makes it true.

use std::time::Duration;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

/// What must hold of the result of a window for somebody to want it before the window closes. Once
/// it holds it goes on to hold, whatever further records add.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// A field has come so far.
    Reaches(Threshold),
    /// All of these hold.
    All(Vec<Demand>),
    /// One of these holds.
    Any(Vec<Demand>),
}

/// A number that a field must come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The field of the result; one of [`super::Results::grows`].
    pub field: OwnedValuePath,
    /// The number, whole or not.
    pub number: Value,
    /// Whether it must be above it, and not only at it.
    pub above: bool,
}

/// When a step that has windows tells them first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// For whom a window is told before it closes.
    pub early: Early,
    /// How long after it began a window closes at most, by event time.
    pub closes_after: Duration,
}

/// For whom a window is told before it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// For nobody.
    Never,
    /// For those whose demand it meets.
    OnDemand,
    /// For all who read it.
    Always,
}
