//! `take`: takes blocks from the feed and runs them through the chain behind the sources.

use super::{Nothing, Outlet, Part, PipelineScope, Rows, row_outputs};
use crate::chain::Chain;
use crate::egress::Egress;
use crate::feed::{Assigned, Epoch, Feed};
use azud_event::clock::Clock;
use azud_event::record::Record;
use azud_plan::telemetry::WORKER_BUSY_SECONDS;
use metrics::{Counter, counter};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// Builds the operator; adds what it sends to keyed transforms to `rows`.
pub fn build<'s>(
    scope: PipelineScope<'s>,
    part: &Part,
    rows: &mut BTreeMap<usize, Vec<Rows<'s>>>,
) -> Nothing<'s> {
    let pipeline = &part.plan.pipelines[part.pipeline];
    let chain = Chain::behind_sources(&part.plan, pipeline, part.partitioner, |input| {
        part.counted.contains(&input.source.0)
    });
    let mut record = Record::new();
    record.set_journaling(chain.journals());
    let (feed, bell, clock) = (Arc::clone(&part.feed), part.bell.clone(), part.clock.clone());
    let egress = Egress::new(part.queues(), bell.clone(), Arc::clone(&feed));
    let feeds = chain.feeds();

    let mut builder = OperatorBuilder::new("take".to_owned(), scope);
    let (_output, nothing) = builder.new_output::<Vec<()>>();
    let outputs = row_outputs(&mut builder, &feeds, rows);
    let outlet = Outlet { chain, egress, feeds, outputs };
    let address = builder.operator_info().address;
    let activator = scope.activator_for(Rc::clone(&address));
    let waker = scope.worker().sync_activator_for(address.to_vec());
    // A worker that is gone needs no waking.
    bell.connect(move || _ = waker.activate());
    let worker = scope.index();
    let busy = counter!(WORKER_BUSY_SECONDS, "worker" => worker.to_string());

    builder.build(move |capabilities| {
        let capabilities = Some(capabilities);
        let mut step =
            TakeStep { worker, feed, outlet, record, clock, busy, busy_us: 0, capabilities };
        move |_frontiers| {
            // Armed before looking: a ring from here on wakes us again.
            bell.arm();
            step.outlet.egress.work();
            match step.work() {
                Again::Now => activator.activate(),
                Again::In(span) => activator.activate_after(span),
                Again::WhenRung => {}
            }
        }
    });
    nothing
}

/// When to look again.
enum Again {
    Now,
    In(Duration),
    WhenRung,
}

/// The running operator.
struct TakeStep {
    worker: usize,
    feed: Arc<Feed>,
    outlet: Outlet,
    record: Record,
    clock: Clock,
    busy: Counter,
    /// What of the time it was busy is not counted yet, in microseconds.
    busy_us: u64,
    /// The right to send, for each output: in the first epoch that may still come.
    capabilities: Option<Vec<Capability<Epoch>>>,
}

impl TakeStep {
    fn work(&mut self) -> Again {
        let Some(capabilities) = self.capabilities.as_mut() else { return Again::WhenRung };
        let pulled = self.feed.pull(self.worker);
        let started = self.clock.monotonic();
        let worked = !pulled.blocks.is_empty();
        let mut blocks = pulled.blocks.into_iter().peekable();
        while let Some(Assigned { epoch, late_before, block }) = blocks.next() {
            self.outlet.chain.begin_epoch(&late_before);
            self.outlet.chain.block(&block, &mut self.record);
            let last = blocks.peek().is_none_or(|next| next.epoch != epoch);
            self.outlet.send(last, epoch, capabilities);
            if last {
                self.feed.observe(epoch, self.outlet.chain.take_observed());
            }
        }
        self.outlet.egress.pass(pulled.frontier);
        // Before the frontier moves: who sees it moved finds the clocks made.
        self.feed.pass(self.worker, if pulled.ended { Epoch::MAX } else { pulled.frontier });
        if worked {
            self.record.release();
            self.outlet.chain.flush_meters();
            self.busy_us += (self.clock.monotonic() - started).as_micros() as u64;
            self.busy.increment(self.busy_us / 1_000_000);
            self.busy_us %= 1_000_000;
        }
        if pulled.ended {
            self.capabilities = None;
            return Again::WhenRung;
        }
        capabilities.iter_mut().for_each(|capability| capability.downgrade(&pulled.frontier));
        match (pulled.more, pulled.again_in) {
            (true, _) => Again::Now,
            (false, Some(span)) => Again::In(span),
            (false, None) => Again::WhenRung,
        }
    }
}
