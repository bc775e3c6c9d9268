//! `take`: takes blocks from the feed and runs them through the chain behind the sources.

use super::{Nothing, Outlet, Part, PipelineScope, Rows, row_outputs};
use crate::chain::Chain;
use crate::egress::Egress;
use crate::feed::Epoch;
use azud_event::record::Record;
use azud_plan::telemetry::WORKER_BUSY_SECONDS;
use metrics::counter;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
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
    let mut outlet = Outlet { chain, egress, feeds, outputs };
    let address = builder.operator_info().address;
    let activator = scope.activator_for(Rc::clone(&address));
    let waker = scope.worker().sync_activator_for(address.to_vec());
    // A worker that is gone needs no waking.
    bell.connect(move || _ = waker.activate());
    let worker = scope.index();
    let busy = counter!(WORKER_BUSY_SECONDS, "worker" => worker.to_string());

    builder.build(move |capabilities| {
        let mut held: Option<Vec<Capability<Epoch>>> = Some(capabilities);
        let mut busy_us = 0;
        move |_frontiers| {
            // Armed before looking: a ring from here on wakes us again.
            bell.arm();
            outlet.egress.work();
            let Some(capabilities) = held.as_mut() else { return };
            let pulled = feed.pull(worker);
            let started = clock.monotonic();
            let worked = !pulled.blocks.is_empty();
            let mut blocks = pulled.blocks.into_iter().peekable();
            while let Some((epoch, block)) = blocks.next() {
                outlet.chain.block(&block, &mut record);
                let last = blocks.peek().is_none_or(|(next, _)| *next != epoch);
                outlet.send(last, epoch, capabilities);
            }
            if worked {
                record.release();
                outlet.chain.flush_meters();
                busy_us += (clock.monotonic() - started).as_micros() as u64;
                busy.increment(busy_us / 1_000_000);
                busy_us %= 1_000_000;
            }
            if pulled.ended {
                held = None;
                return;
            }
            capabilities.iter_mut().for_each(|capability| capability.downgrade(&pulled.frontier));
            if pulled.more {
                activator.activate();
            } else if let Some(close_in) = pulled.close_in {
                activator.activate_after(close_in);
            }
        }
    });
    nothing
}
