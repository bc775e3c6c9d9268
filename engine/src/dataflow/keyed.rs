//! `keyed`: applies rows to the state of their key groups, a whole epoch at once and in canonical
//! order.
//!
//! The operator walks through every epoch, whether or not rows came: in each it applies the rows of
//! the groups that have some, and wakes the groups that are due by the epoch's clocks. It holds the
//! right to send in the first epoch that it is not done with, and gives it on epoch by epoch; so
//! what stands behind it never sees an epoch pass that it still has something to tell in. A group
//! that has much to tell is continued in the next activation, with the right still held.

use super::{Nothing, Outlet, Part, PipelineScope, Restored, Rows, row_outputs};
use crate::archive::StepArchive;
use crate::chain::Chain;
use crate::checkpoint::GroupState;
use crate::doorbell::Doorbell;
use crate::egress::Egress;
use crate::feed::{Epoch, Feed, StepEpoch};
use crate::limits::{
    ARCHIVE_RETRY, ARCHIVED_AT_CHECKPOINT, CLOSED_IN_MEMORY_MAX, TOLD_PER_ACTIVATION,
};
use crate::telemetry::count_alert;
use azud_event::clock::Clock;
use azud_event::id::{KEY_GROUPS, StreamId, source_key};
use azud_event::record::{Origin, Record};
use azud_event::row::{Place, Row};
use azud_event::time::EventTime;
use azud_plan::component::{Body, Due, EpochClock, KeyedState, Progress, Told};
use azud_plan::telemetry::{KEYS_EVICTED, WINDOW_DISK_BYTES, component_labels};
use metrics::{Counter, Gauge, counter, gauge};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

type MakeState = Box<dyn Fn() -> Box<dyn KeyedState> + Send>;

/// The states of the key groups that this worker owns, made when their first row comes.
struct Groups {
    /// The transform's key, the source of what it tells.
    source: u64,
    shape: u64,
    make: MakeState,
    states: BTreeMap<u8, Group>,
    archive: Option<StepArchive>,
    clock: Clock,
    /// When the archive may be written to again, after that failed.
    retry_at: Duration,
    /// Counts what had to leave.
    evicted: Counter,
    /// Tells how much is in the archive, and how much was told last.
    archived: (Gauge, u64),
}

struct Group {
    state: Box<dyn KeyedState>,
    due: Due,
}

/// An epoch that is being applied: what is left of it, group by group.
struct UnderWay {
    epoch: Epoch,
    clock: EpochClock,
    groups: VecDeque<(u8, Vec<Row>)>,
    /// How many records the group in front has told already.
    told: u64,
    /// Whether a checkpoint is made at its end.
    snapshot: bool,
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
    let groups = Groups::of(part, scope.index(), index, make);
    let feeds = chain.feeds();
    let raises = pipeline.transforms[index].spec.rule().is_some();

    let mut builder = OperatorBuilder::new(pipeline.transforms[index].id.clone(), scope);
    let mut input = builder.new_input(input, Exchange::new(|row: &Row| u64::from(row.group.0)));
    let (_output, nothing) = builder.new_output::<Vec<()>>();
    let outputs = row_outputs(&mut builder, &feeds, rows);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    let waker = scope.worker().sync_activator_for(address.to_vec());
    bell.connect(move || _ = waker.activate());
    let outlet = Outlet { chain, egress, feeds, outputs };
    let worker = scope.index();

    builder.build(move |capabilities| {
        let next = feed.first();
        let mut step = KeyedStep {
            step: index,
            worker,
            feed,
            outlet,
            record,
            raises,
            groups,
            stash: BTreeMap::new(),
            next,
            under_way: None,
            capabilities: Some(capabilities),
        };
        move |frontiers| {
            bell.arm();
            step.outlet.egress.work();
            input.for_each_stamp(|capability, batches| {
                if let Some(epoch) = capability.least() {
                    let stash = step.stash.entry(*epoch).or_default();
                    batches.for_each(|batch| stash.append(batch));
                }
            });
            let frontier = frontiers[0].frontier().first().copied();
            if step.work(frontier) == Progress::More {
                activator.activate();
            }
        }
    });
    nothing
}

/// The running operator.
struct KeyedStep {
    step: usize,
    worker: usize,
    feed: Arc<Feed>,
    outlet: Outlet,
    record: Record,
    raises: bool,
    groups: Groups,
    /// Rows of epochs that are not complete yet.
    stash: BTreeMap<Epoch, Vec<Row>>,
    /// The first epoch that has not been begun.
    next: Epoch,
    under_way: Option<UnderWay>,
    /// The right to send, for each output: in the first epoch that is not done with.
    capabilities: Option<Vec<Capability<Epoch>>>,
}

impl KeyedStep {
    /// Applies what is complete: everything before `frontier`, everything there is when it is
    /// `None`. Gives [`Progress::More`] when it stopped so that others get their turn.
    fn work(&mut self, frontier: Option<Epoch>) -> Progress {
        let Some(mut capabilities) = self.capabilities.take() else { return Progress::Done };
        let mut budget = TOLD_PER_ACTIVATION;
        if self.go_on(&capabilities, &mut budget) == Progress::More {
            self.capabilities = Some(capabilities);
            return Progress::More;
        }
        for StepEpoch { epoch, clock, snapshot } in self.feed.epochs(self.step, self.next, frontier)
        {
            self.next = epoch + 1;
            let rows = self.stash.remove(&epoch).unwrap_or_default();
            let groups = self.groups.concerned(rows, &clock);
            if groups.is_empty() {
                self.end(epoch, &clock, snapshot);
                continue;
            }
            capabilities.iter_mut().for_each(|held| held.downgrade(&epoch));
            self.under_way = Some(UnderWay { epoch, clock, groups, told: 0, snapshot });
            if self.go_on(&capabilities, &mut budget) == Progress::More {
                self.capabilities = Some(capabilities);
                return Progress::More;
            }
        }
        self.outlet.egress.pass(frontier.unwrap_or(self.next));
        self.feed.wait(self.step, self.worker, self.groups.due());
        if let Some(frontier) = frontier {
            capabilities.iter_mut().for_each(|held| held.downgrade(&frontier));
            self.capabilities = Some(capabilities);
        }
        Progress::Done
    }

    /// Goes on with the epoch under way, until it is done with or the budget of records is spent.
    fn go_on(&mut self, capabilities: &[Capability<Epoch>], budget: &mut usize) -> Progress {
        let Some(mut under_way) = self.under_way.take() else { return Progress::Done };
        let epoch = under_way.epoch;
        while let Some((group, rows)) = under_way.groups.front_mut() {
            let rows = std::mem::take(rows);
            let before = under_way.told;
            let (record, outlet, raises) = (&mut self.record, &mut self.outlet, self.raises);
            let mut emit = |told: Told<'_>, origin: Origin| {
                if let Body::Written(written) = &told.body
                    && !raises
                    && outlet.chain.write(told.port, |into| written.write(into))
                {
                    return;
                }
                let port = told.begin(record, origin);
                if raises {
                    count_alert(record);
                }
                outlet.chain.value(port, record);
            };
            let clock = &under_way.clock;
            let progress = self.groups.apply(*group, &rows, clock, &mut under_way.told, &mut emit);
            *budget = budget.saturating_sub((under_way.told - before) as usize);
            self.outlet.send(false, epoch, capabilities);
            if progress == Progress::Done {
                under_way.groups.pop_front();
                under_way.told = 0;
            }
            if *budget == 0 && !under_way.groups.is_empty() {
                self.under_way = Some(under_way);
                return Progress::More;
            }
        }
        self.outlet.send(true, epoch, capabilities);
        self.outlet.chain.flush_meters();
        self.record.release();
        self.end(epoch, &under_way.clock, under_way.snapshot);
        Progress::Done
    }

    /// Ends an epoch: puts away what the state will hardly need, and gives the rest for a
    /// checkpoint, if one is made there.
    fn end(&mut self, epoch: Epoch, clock: &EpochClock, snapshot: bool) {
        self.groups.put_away(clock, snapshot);
        if snapshot {
            let segments = self.groups.archive.as_ref().map(StepArchive::name_all);
            self.feed.snapshot(epoch, self.groups.snapshot(), segments.unwrap_or_default());
        }
    }
}

impl Groups {
    /// Makes the groups of a keyed transform on one worker, as the last checkpoint knew them.
    fn of(part: &Part, worker: usize, index: usize, make: MakeState) -> Self {
        let transform = &part.plan.pipelines[part.pipeline].transforms[index];
        let (source, shape) = (source_key(&transform.id), transform.spec.shape());
        let mut restored = part.restored.borrow_mut();
        let mine = restored.extract_if(.., |it| it.step == index);
        let archive = part.archive.as_ref().map(|it| it.cabinet.step(source, worker, &it.known));
        let group = |it: Restored| {
            let mut state = it.state;
            if let Some(archive) = &archive {
                state.attach(archive.group(it.group));
            }
            (it.group, Group { due: state.due(), state })
        };
        let pipeline = &part.plan.pipelines[part.pipeline].name;
        let labels = component_labels(&transform.id, "transform", transform.kind, pipeline);
        let evicted = counter!(KEYS_EVICTED, labels.clone());
        let mut archived = (gauge!(WINDOW_DISK_BYTES, labels), 0);
        tell_bytes(&mut archived, archive.as_ref().map_or(0, StepArchive::bytes));
        let states = mine.map(group).collect();
        let (clock, retry_at) = (part.clock.clone(), Duration::ZERO);
        Groups { source, shape, make, states, archive, clock, retry_at, evicted, archived }
    }

    /// Puts away what is closed if there is so much of it that it pays, and forgets what is over.
    fn put_away(&mut self, clock: &EpochClock, checkpoint: bool) {
        let Some(archive) = &self.archive else { return };
        archive.forget(clock.late_before);
        tell_bytes(&mut self.archived, archive.bytes());
        let closed: usize = self.states.values().map(|group| group.state.closed_bytes()).sum();
        let enough = if checkpoint { ARCHIVED_AT_CHECKPOINT } else { CLOSED_IN_MEMORY_MAX };
        if closed < enough || self.clock.monotonic() < self.retry_at {
            return;
        }
        let states = self.states.iter_mut().map(|(group, known)| (*group, &mut known.state));
        if let Err(error) = archive.put_away(states) {
            // It stays in memory and in the checkpoint, and is tried again.
            self.retry_at = self.clock.monotonic() + ARCHIVE_RETRY;
            tracing::error!("closed windows cannot be put on disk, and stay in memory: {error}");
        }
    }

    /// Lists the groups that an epoch concerns, with their rows in canonical order.
    fn concerned(&self, rows: Vec<Row>, clock: &EpochClock) -> VecDeque<(u8, Vec<Row>)> {
        // Counted first, so that no list of rows has to grow.
        let mut counts = [0; KEY_GROUPS];
        rows.iter().for_each(|row| counts[usize::from(row.group.0)] += 1);
        let mut groups: Vec<Vec<Row>> = counts.into_iter().map(Vec::with_capacity).collect();
        for row in rows {
            groups[usize::from(row.group.0)].push(row);
        }
        let reached = |due: Option<EventTime>, now| due.is_some_and(|due| due <= now);
        let mut is_due = [false; KEY_GROUPS];
        for (group, Group { due, .. }) in &self.states {
            is_due[usize::from(*group)] =
                reached(due.watermark, clock.watermark) || reached(due.now, clock.now);
        }
        let groups = (0..=u8::MAX).zip(groups).zip(is_due);
        let concerned = groups.filter_map(|((group, mut rows), is_due)| {
            // Each by itself: a group has few, which are put in order at once.
            rows.sort_unstable_by_key(|row| row.place);
            (is_due || !rows.is_empty()).then_some((group, rows))
        });
        concerned.collect()
    }

    /// Applies the rows of one group once; `told` counts what it tells in the epoch.
    fn apply(
        &mut self,
        group: u8,
        rows: &[Row],
        clock: &EpochClock,
        told: &mut u64,
        emit: &mut dyn FnMut(Told<'_>, Origin),
    ) -> Progress {
        let Groups { source, make, states, evicted, archive, .. } = self;
        let known = states.entry(group).or_insert_with(|| {
            let mut state = make();
            if let Some(archive) = archive {
                state.attach(archive.group(group));
            }
            Group { state, due: Due::default() }
        });
        let before = known.state.evicted();
        let progress = apply(&mut *known.state, *source, group, rows, clock, told, emit);
        evicted.increment(known.state.evicted() - before);
        if progress == Progress::Done {
            known.due = known.state.due();
        }
        progress
    }

    /// Writes the state of every group.
    fn snapshot(&self) -> Vec<GroupState> {
        let (step, shape) = (self.source, self.shape);
        let groups = self.states.iter();
        groups
            .map(|(group, known)| {
                let (keys, state) = (known.state.keys(), known.state.snapshot());
                GroupState { step, group: *group, shape, keys, state }
            })
            .collect()
    }

    /// Tells what the first group waits for.
    fn due(&self) -> Due {
        let dues = self.states.values().map(|group| group.due);
        Due {
            watermark: dues.clone().filter_map(|due| due.watermark).min(),
            now: dues.filter_map(|due| due.now).min(),
        }
    }
}

/// Tells by how much this worker's part of a gauge has changed.
fn tell_bytes((gauge, told): &mut (Gauge, u64), bytes: u64) {
    if *told != bytes {
        gauge.increment(bytes as f64 - *told as f64);
        *told = bytes;
    }
}

/// Applies rows of one epoch to the state of their group; `source` is the transform's key, and
/// `told` counts what the group tells in the epoch.
pub fn apply(
    state: &mut dyn KeyedState,
    source: u64,
    group: u8,
    rows: &[Row],
    clock: &EpochClock,
    told: &mut u64,
    emit: &mut dyn FnMut(Told<'_>, Origin),
) -> Progress {
    let mut tell = |one: Told<'_>| {
        // A group has one state and an epoch one clock, so no two records have one place.
        let place = Place {
            event_time: one.event_time,
            source,
            stream: StreamId(u64::from(group)),
            position: clock.now.nanoseconds() as u64,
            index: *told,
        };
        *told += 1;
        emit(one, Origin::made(place, clock.now));
    };
    state.on_epoch(rows, clock, &mut tell)
}
