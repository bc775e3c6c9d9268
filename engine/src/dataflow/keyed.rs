//! `keyed`: applies rows to the state of their key groups, a whole epoch at once and in canonical
//! order.

use super::{Nothing, Outlet, Part, PipelineScope, Rows, row_outputs};
use crate::chain::Chain;
use crate::doorbell::Doorbell;
use crate::egress::Egress;
use crate::feed::Epoch;
use crate::telemetry::count_alert;
use azud_event::id::{StreamId, source_key};
use azud_event::record::{Origin, Record};
use azud_event::row::{Place, Row};
use azud_plan::component::{EpochClock, KeyedState, Progress, Told};
use std::collections::BTreeMap;
use std::sync::Arc;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

type MakeState = Box<dyn Fn() -> Box<dyn KeyedState> + Send>;

/// The states of the key groups that this worker owns, made when their first row comes.
struct Groups {
    /// The transform's key, the source of what it tells.
    source: u64,
    make: MakeState,
    states: BTreeMap<u8, Box<dyn KeyedState>>,
}

/// What came of an epoch that is not complete yet, with the right to send results of it, by output.
struct Pending {
    capabilities: Vec<Capability<Epoch>>,
    rows: Vec<Row>,
}

/// Builds the operator of the keyed transform `index`; adds what it sends to further keyed
/// transforms to `rows`.
pub fn build<'s>(
    scope: PipelineScope<'s>,
    part: &Part,
    index: usize,
    make: MakeState,
    input: Rows<'s>,
    rows: &mut BTreeMap<usize, Vec<Rows<'s>>>,
) -> Nothing<'s> {
    let pipeline = &part.plan.pipelines[part.pipeline];
    let chain = Chain::behind_keyed(pipeline, index, part.partitioner);
    let mut record = Record::new();
    record.set_journaling(chain.journals());
    let feed = Arc::clone(&part.feed);
    let bell = Doorbell::default();
    let egress = Egress::new(part.queues(), bell.clone(), Arc::clone(&feed));
    let source = source_key(&pipeline.transforms[index].id);
    let mut groups = Groups { source, make, states: BTreeMap::new() };
    let feeds = chain.feeds();
    let raises = pipeline.transforms[index].spec.rule().is_some();

    let mut builder = OperatorBuilder::new(pipeline.transforms[index].id.clone(), scope);
    let mut input = builder.new_input(input, Exchange::new(|row: &Row| u64::from(row.group.0)));
    let (_output, nothing) = builder.new_output::<Vec<()>>();
    let outputs = row_outputs(&mut builder, &feeds, rows);
    let address = builder.operator_info().address;
    let waker = scope.worker().sync_activator_for(address.to_vec());
    bell.connect(move || _ = waker.activate());
    let ports = outputs.len() + 1;
    let mut outlet = Outlet { chain, egress, feeds, outputs };

    builder.build(move |_initial| {
        let mut pending: BTreeMap<Epoch, Pending> = BTreeMap::new();
        move |frontiers| {
            bell.arm();
            outlet.egress.work();
            input.for_each_stamp(|capability, batches| {
                let retain = |port| capability.retain_least(port);
                let Some(capabilities) = (0..ports).map(retain).collect::<Option<Vec<_>>>() else {
                    return;
                };
                let epoch = *capabilities[0].time();
                let stash = pending
                    .entry(epoch)
                    .or_insert_with(|| Pending { capabilities, rows: Vec::new() });
                batches.for_each(|batch| stash.rows.append(batch));
            });
            while let Some(entry) = pending.first_entry() {
                let epoch = *entry.key();
                if frontiers[0].frontier().less_equal(&epoch) {
                    break;
                }
                let Pending { capabilities, rows } = entry.remove();
                let clock = feed.clock_of(epoch);
                groups.apply(rows, &clock, |told, origin| {
                    record.begin_value(told.value, origin);
                    if raises {
                        count_alert(&record);
                    }
                    outlet.chain.value(told.port, &mut record);
                });
                outlet.send(true, epoch, &capabilities);
                outlet.chain.flush_meters();
            }
        }
    });
    nothing
}

impl Groups {
    /// Applies the rows of one epoch, group by group, each in canonical order.
    fn apply(
        &mut self,
        mut rows: Vec<Row>,
        clock: &EpochClock,
        mut emit: impl FnMut(Told, Origin),
    ) {
        rows.sort_unstable_by(|a, b| (a.group, &a.place).cmp(&(b.group, &b.place)));
        for rows in rows.chunk_by(|a, b| a.group == b.group) {
            let make = &self.make;
            let state = self.states.entry(rows[0].group.0).or_insert_with(make);
            apply(&mut **state, self.source, rows[0].group.0, rows, clock, &mut emit);
        }
    }
}

/// Applies the rows of one epoch to the state of their group; `source` is the transform's key.
pub fn apply(
    state: &mut dyn KeyedState,
    source: u64,
    group: u8,
    rows: &[Row],
    clock: &EpochClock,
    emit: &mut dyn FnMut(Told, Origin),
) {
    let mut index = 0;
    let mut tell = |told: Told| {
        // A group has one state and an epoch one clock, so no two records have one place.
        let place = Place {
            event_time: told.event_time,
            source,
            stream: StreamId(u64::from(group)),
            position: clock.now.nanoseconds() as u64,
            index,
        };
        index += 1;
        emit(told, Origin::made(place, clock.now));
    };
    let mut rows = rows;
    while state.on_epoch(rows, clock, &mut tell) == Progress::More {
        rows = &[];
    }
}
