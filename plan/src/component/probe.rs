//! Probes: one real call of a component to the other side, told step by step, for a person who asks
//! whether a connector works (`azud connectors test`).

use super::Failed;
use futures_util::future::BoxFuture;

/// A call that is ready to be made.
///
/// It changes nothing: no cursor moves, no record is taken, nothing is reported to the status.
pub trait Probe: Send {
    /// Makes the call. The steps stand in their order, and end with the first that failed.
    fn run(self: Box<Self>) -> BoxFuture<'static, Vec<ProbeStep>>;
}

/// One step of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStep {
    /// What was tried, some words: `name resolution`, `TLS`, `authentication`, `first page`.
    pub name: &'static str,
    /// What was seen, or why it failed; no secret in either.
    pub outcome: Result<String, Failed>,
}
