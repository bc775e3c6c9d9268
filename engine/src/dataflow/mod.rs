//! The dataflow of a pipeline: the only place that says timely.
//!
//! ```text
//!  worker 0..n:   take ──(rows by key group)──▶ keyed ──▶ …
//!                  │ batches                     │ batches
//!                  ▼                             ▼
//!                sinks ······ confirmed ·······▶ ack ──▶ feed: credit, acknowledgement
//! ```
//!
//! Timely's timestamp is the epoch. Every operator that sends to sinks has an output without data,
//! whose capability for an epoch it holds until the sinks have confirmed the epoch's batches; `ack`
//! watches the frontier of all of them. Progress is global, so an epoch that has passed there is
//! finished by every worker and every sink.

mod keyed;
mod take;
pub mod worker;

pub use keyed::apply;

use crate::archive::{Cabinet, SegmentState};
use crate::chain::Chain;
use crate::doorbell::Doorbell;
use crate::egress::{Egress, SinkQueue};
use crate::feed::{Epoch, Feed};
use azud_event::clock::Clock;
use azud_event::id::Partitioner;
use azud_event::row::Row;
use azud_plan::component::{KeyedState, Running};
use azud_plan::plan::Plan;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline as Local;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, Concatenate, Operator};
use timely::dataflow::{Scope, Stream};
use timely::worker::Worker;

type Rows<'s> = Stream<'s, Epoch, Vec<Row>>;
type Nothing<'s> = Stream<'s, Epoch, Vec<()>>;
type RowOutput = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<Row>>>;

/// Everything that a worker needs to build its part of a pipeline's dataflow.
pub struct Part {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Which of its pipelines.
    pub pipeline: usize,
    /// What it takes.
    pub feed: Arc<Feed>,
    /// Wakes the operator that takes, on this worker.
    pub bell: Doorbell,
    /// The queues of its sinks, the dead letters last. Each operator that sends gets clones of its
    /// own.
    pub queues: Vec<SinkQueue>,
    /// Assigns keys to key groups.
    pub partitioner: Partitioner,
    /// The time.
    pub clock: Clock,
    /// The sources whose events this pipeline counts.
    pub counted: Vec<u32>,
    /// What keyed steps knew at the last checkpoint, of the groups that this worker owns.
    pub restored: RefCell<Vec<Restored>>,
    /// Where they may put away what they will hardly need; nowhere without a log.
    pub archive: Option<PutAway>,
}

/// The archive of a pipeline.
#[derive(Clone)]
pub struct PutAway {
    /// What it is in.
    pub cabinet: Arc<Cabinet>,
    /// What was there at the last checkpoint.
    pub known: Arc<[SegmentState]>,
}

/// The state of one key group of a keyed step, from a checkpoint.
pub struct Restored {
    /// The step, by its place among the pipeline's transforms.
    pub step: usize,
    /// The group.
    pub group: u8,
    /// What it knew.
    pub state: Box<dyn KeyedState>,
}

impl Part {
    fn queues(&self) -> Vec<SinkQueue> {
        self.queues.clone()
    }
}

/// Builds the dataflow of a pipeline on one worker. Every worker must build the same pipelines in
/// the same order.
pub fn build(worker: &mut Worker, part: Part) {
    let name = part.plan.pipelines[part.pipeline].name.clone();
    worker.dataflow_named::<Epoch, _, _>(&name, |scope| {
        let mut rows: BTreeMap<usize, Vec<Rows<'_>>> = BTreeMap::new();
        let mut nothings = vec![take::build(scope, &part, &mut rows)];
        // Transforms are sorted behind what feeds them, so by the time an index comes first nothing
        // more can come to it.
        while let Some((index, inputs)) = rows.pop_first() {
            let node = &part.plan.pipelines[part.pipeline].transforms[index];
            let Running::Keyed { state, .. } = node.spec.build() else { continue };
            let input = scope.concatenate(inputs);
            nothings.push(keyed::build(scope, &part, index, state, input, &mut rows));
        }
        acknowledge(scope.concatenate(nothings), Arc::clone(&part.feed));
    });
}

/// Tells the feed what is complete.
fn acknowledge(nothing: Nothing<'_>, feed: Arc<Feed>) {
    nothing.sink(Local, "acknowledge", move |(input, frontier)| {
        input.for_each(|_, _| {});
        feed.complete(frontier.frontier().first().copied().unwrap_or(Epoch::MAX));
    });
}

/// Adds an output of rows for each keyed transform that a chain feeds; gives the handles in the
/// same order.
fn row_outputs<'s>(
    builder: &mut OperatorBuilder<'s, Epoch>,
    feeds: &[usize],
    rows: &mut BTreeMap<usize, Vec<Rows<'s>>>,
) -> Vec<RowOutput> {
    let mut add = |index: &usize| {
        let (output, stream) = builder.new_output::<Vec<Row>>();
        rows.entry(*index).or_default().push(stream);
        OutputBuilder::from(output)
    };
    feeds.iter().map(&mut add).collect()
}

/// The way out of an operator: what its chain made goes to sinks and to keyed transforms.
struct Outlet {
    chain: Chain,
    egress: Egress<Capability<Epoch>>,
    /// The keyed transforms that the chain feeds, and the outputs to them, in step.
    feeds: Vec<usize>,
    outputs: Vec<RowOutput>,
}

impl Outlet {
    /// Sends what is full, or with `all` everything. The first capability is for sinks, the others
    /// are for the outputs.
    fn send(&mut self, all: bool, epoch: Epoch, capabilities: &[Capability<Epoch>]) {
        let Outlet { chain, egress, feeds, outputs } = self;
        chain.flush(all, |encoded| {
            egress.send(epoch, encoded, || capabilities[0].delayed(&epoch));
        });
        chain.take_rows(|index, rows| {
            let port = feeds.iter().position(|fed| *fed == index).unwrap_or_default();
            let time = capabilities[port + 1].delayed(&epoch);
            outputs[port].activate().session(&time).give_container(rows);
        });
    }
}

/// A scope of a pipeline's dataflow.
type PipelineScope<'s> = Scope<'s, Epoch>;
