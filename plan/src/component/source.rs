//! Sources: where records come from.

use super::{
    BuildContext, BuildError, Connector, Endpoint, Example, OptionSpec, Options, Port, Probe,
    Resource, RunError,
};
use crate::diagnostic::Checker;
use azud_event::block::Block;
use azud_event::clock::Clock;
use azud_event::codec::Decoder;
use azud_event::id::{SourceIndex, StreamId};
use futures_util::future::{BoxFuture, Shared};
use std::sync::Arc;
use std::time::Duration;

/// A kind of source, as the registry lists it. The reference page, the schema and the example tests
/// are made from it.
#[derive(Debug)]
pub struct SourceFactory {
    /// The `type` in documents.
    pub name: &'static str,
    /// One sentence, for lists.
    pub summary: &'static str,
    /// Some paragraphs of Markdown for the reference.
    pub description: &'static str,
    /// Its options.
    pub options: &'static [OptionSpec],
    /// Checks a table. Pure: no file, no socket, no clock, no task.
    pub check: fn(&Options<'_>, &mut Checker) -> Option<Box<dyn SourceSpec>>,
    /// At least one.
    pub examples: &'static [Example],
}

/// A checked source.
///
/// The contract:
/// - `decoder` and `outputs` are pure (checked by the example tests, which run them without
///   building).
/// - `build` opens what the source listens on or reads, and spawns nothing.
pub trait SourceSpec: Send + Sync {
    /// Gives its outputs; the first is the unnamed one. The plan adds `future` behind them.
    fn outputs(&self) -> Vec<Port> {
        vec![Port::logs()]
    }

    /// Gives a decoder of its blocks, for one worker.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// Whether it may give a stream again from an earlier position after a restart, because it
    /// remembers no more than what was acknowledged: then what is in the log already is dropped at
    /// the door. Its positions are bytes, and its streams keep their ids.
    fn resumes(&self) -> bool {
        false
    }

    /// Gives how long its streams are waited for when its author did not say: streams of senders
    /// that live are soon missed, while a recording may stop anywhere.
    fn max_hold(&self) -> Duration {
        Duration::from_secs(15)
    }

    /// Gives how often it says, although it may have nothing to tell, up to where all is there
    /// ([`Layout::Complete`](azud_event::block::Layout)), at least while it is well; `None` where
    /// silence says nothing.
    fn speaks_every(&self) -> Option<Duration> {
        None
    }

    /// Lists what it will hold of the outside.
    fn resources(&self) -> Vec<Resource>;

    /// Says what it talks to of the outside; `None` when that is of this machine (a file, a
    /// terminal).
    fn endpoint(&self) -> Option<Endpoint> {
        None
    }

    /// Opens the source.
    ///
    /// # Errors
    /// When the outside world refuses: a port in use, a file that cannot be read.
    fn build(&self, context: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError>;

    /// Makes ready one real call to the other side, for who asks whether it works; `None` where a
    /// component has no such call. Opens nothing yet.
    fn probe(
        &self,
        context: &BuildContext,
        connector: &Arc<dyn Connector>,
    ) -> Option<Box<dyn Probe>> {
        let _ = (context, connector);
        None
    }
}

/// A built source, ready to run.
pub trait SourceTask: Send {
    /// Runs until the context says to stop, or the source is at its end for good (`stdin` closed).
    ///
    /// On shutdown it stops taking in new data, hands over what it has already taken in, and
    /// returns soon; it never drops a record it has acknowledged to its sender.
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>>;
}

/// What a running source works with.
#[derive(Clone)]
pub struct SourceContext {
    /// Its index in the plan, to be written into its blocks.
    pub source: SourceIndex,
    /// Where its blocks go.
    pub intake: Arc<dyn Intake>,
    /// What has been delivered of it.
    pub acknowledged: Arc<Acknowledged>,
    /// Resolves when the source must stop.
    pub shutdown: Shutdown,
    /// The time.
    pub clock: Clock,
    /// Its counters.
    pub meter: Arc<crate::telemetry::SourceMeter>,
}

/// Resolves when it is time to stop; clones resolve together. `peek().is_some()` asks without
/// waiting.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// The way into the engine, as a source sees it.
pub trait Intake: Send + Sync {
    /// Hands over a block; resolves once the engine has it. Waits while the source's budget is used
    /// up: a source that awaits this before it reads on pushes back on its sender.
    fn submit(&self, block: Block) -> BoxFuture<'_, ()>;

    /// Hands over a block if there is room now.
    ///
    /// # Errors
    /// Gives the block back when the source's budget is used up.
    fn try_submit(&self, block: Block) -> Result<(), Block>;
}

/// What has been delivered of a source, by stream: the highest [`Block::end`] up to which every
/// block is complete in every pipeline and sink.
///
/// The engine writes, the source takes. Bounded by the number of streams that the source has open.
#[derive(Default)]
pub struct Acknowledged {
    ends: std::sync::Mutex<std::collections::HashMap<StreamId, u64>>,
    waker: futures_util::task::AtomicWaker,
}

impl Acknowledged {
    /// Notes that everything of `stream` before `end` is delivered.
    pub fn note(&self, stream: StreamId, end: u64) {
        let mut ends = self.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = ends.entry(stream).or_insert(0);
        *known = (*known).max(end);
        drop(ends);
        self.waker.wake();
    }

    /// Takes what was noted since the last call.
    pub fn take(&self) -> Vec<(StreamId, u64)> {
        let mut ends = self.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ends.drain().collect()
    }

    /// Waits until something was noted, and takes it. One waiter at a time.
    pub fn changed(&self) -> impl Future<Output = Vec<(StreamId, u64)>> + '_ {
        std::future::poll_fn(|context| {
            self.waker.register(context.waker());
            let noted = self.take();
            if noted.is_empty() { std::task::Poll::Pending } else { std::task::Poll::Ready(noted) }
        })
    }
}
