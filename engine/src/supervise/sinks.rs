//! Starting the sinks of a plan, and watching them.

use super::{EngineError, Repeats, Starter};
use crate::dead_letter::{self, Budget};
use crate::egress::{Completeness, SinkQueue};
use crate::limits::SINK_QUEUE_BATCHES;
use crate::recovery::StartError;
use crate::spill::{Follow, Kept as KeptSpill, SinkState, Stage, StageParts, StallMeter};
use crate::telemetry::SinkMeter;
use azud_plan::component::{Batches, RunError, Shutdown, SinkTask};
use azud_plan::plan::{Pipeline, SinkNode, StallPolicy};
use futures_channel::mpsc;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A sink that has owed an answer for this long makes the instance not ready.
const STALLED: Duration = Duration::from_secs(30);

/// A sink, as it is watched.
pub(super) struct Sink {
    pub id: String,
    pub meter: Arc<SinkMeter>,
    /// Of one that something is done about when it stalls.
    pub stall: Option<Arc<StallMeter>>,
}

impl Sink {
    /// Says why the instance is not ready because of this sink.
    pub fn not_ready(&self) -> Option<String> {
        let stalled = self.meter.stalled_for();
        match self.stall.as_ref().map(|stall| (stall, stall.state().0)) {
            Some((stall, SinkState::Full | SinkState::NoRoom | SinkState::Held)) => stall.word(),
            Some((_, SinkState::Spilling | SinkState::Draining | SinkState::Dropping)) => None,
            _ if stalled > STALLED => {
                let seconds = stalled.as_secs();
                Some(format!("sink `{}` has confirmed nothing for {seconds} s", self.id))
            }
            _ => None,
        }
    }
}

/// What runs a sink.
type Delivery = BoxFuture<'static, Result<(), RunError>>;

impl Starter<'_> {
    /// Starts the sinks of every pipeline and gives each worker its part.
    pub(super) fn sinks(
        &mut self,
        built: Vec<Vec<Box<dyn SinkTask>>>,
        shutdown: &Shutdown,
    ) -> Result<(), StartError> {
        let plan = Arc::clone(&self.plan);
        let mut counted = BTreeSet::new();
        for (index, (pipeline, sinks)) in plan.pipelines.iter().zip(built).enumerate() {
            let letters = self.dead_letters(index, pipeline)?;
            let mut queues = Vec::new();
            let spills = std::mem::take(&mut self.spills[index]);
            for ((node, task), spill) in pipeline.sinks.iter().zip(sinks).zip(spills) {
                let progress = task.progress();
                let blocks = node.stall.policy == StallPolicy::Block;
                let passes = blocks && spill.open.is_none() && progress.is_none();
                let run = |batches| task.run(batches);
                if passes {
                    queues.push(self.sink(&node.id, node.kind, pipeline, run));
                    continue;
                }
                let feed = &self.feeds[index];
                let follow = progress.map(|progress| Follow { progress, first: feed.first() });
                let completeness = follow.as_ref().map(|follow| {
                    let keyed = pipeline.transforms.iter().filter(|it| it.spec.is_keyed()).count();
                    let egresses = self.settings.threads * (1 + keyed);
                    Arc::new(Completeness::new(egresses, follow.first))
                });
                let mut queue =
                    self.staged(pipeline, node, run, (spill, follow), &letters, shutdown);
                queue.completeness = completeness;
                queues.push(queue);
            }
            queues.push(letters);
            // A source that two pipelines read is counted by the first.
            let sources = pipeline.sources.iter().map(|input| input.source.0);
            let counted: Vec<u32> = sources.filter(|source| counted.insert(*source)).collect();
            for worker in 0..self.settings.threads {
                let part = self.part(index, worker, &queues, counted.clone());
                self.parts[worker].push(part);
            }
        }
        Ok(())
    }

    /// Starts the sink of a pipeline's dead letters.
    fn dead_letters(&mut self, index: usize, pipeline: &Pipeline) -> Result<SinkQueue, StartError> {
        let folder = self.settings.dead_letters.join(&pipeline.name);
        let max_bytes = self.settings.dead_letter_bytes;
        self.budgets.push(Budget::new(&pipeline.name, folder.clone(), max_bytes));
        let epochs = self.repeats[index].as_ref().map(|repeats| {
            let feed = Arc::clone(&self.feeds[index]);
            let complete_before = Box::new(move || feed.complete_before());
            let repeated = repeats.last.map(|last| repeats.first..=last);
            dead_letter::Epochs { repeated, complete_before }
        });
        let writer = dead_letter::Writer::new(folder.clone(), max_bytes, epochs);
        if let Some(Repeats { first: 0, last: None }) = self.repeats[index] {
            let begun = writer.begin_anew();
            begun.map_err(|source| StartError::DeadLetters { folder, source })?;
        }
        let id = dead_letter::COMPONENT;
        Ok(self.sink(id, id, pipeline, |batches| writer.run(batches).boxed()))
    }

    /// Starts a sink that its pipeline waits for.
    fn sink(
        &mut self,
        id: &str,
        r#type: &'static str,
        pipeline: &Pipeline,
        run: impl FnOnce(Batches) -> Delivery,
    ) -> SinkQueue {
        let (sender, batches) = mpsc::channel(SINK_QUEUE_BATCHES);
        let meter = self.meter(id, r#type, pipeline);
        self.watch(id, &meter, None);
        self.spawn(id, run(batches));
        SinkQueue { sender, meter, staged: false, completeness: None }
    }

    /// Starts a sink with a stage before it, which knows what to do when it stalls.
    fn staged(
        &mut self,
        pipeline: &Pipeline,
        node: &SinkNode,
        run: impl FnOnce(Batches) -> Delivery,
        (spill, follow): (KeptSpill, Option<Follow>),
        letters: &SinkQueue,
        shutdown: &Shutdown,
    ) -> SinkQueue {
        let (sender, inbox) = mpsc::channel(SINK_QUEUE_BATCHES);
        let (queue, batches) = mpsc::channel(SINK_QUEUE_BATCHES);
        let (id, clock) = (node.id.as_str(), self.settings.clock.clone());
        let meter = self.meter(id, node.kind, pipeline);
        let max_bytes = spill.parts.as_ref().map(|parts| parts.max_bytes);
        let stall_meter = StallMeter::new(id, meter.labels(), clock.clone(), max_bytes);
        let stall_meter = Arc::new(stall_meter);
        self.watch(id, &meter, Some(Arc::clone(&stall_meter)));
        let sinks = pipeline.sinks.len();
        let stage = Stage::new(StageParts {
            id: id.to_owned(),
            stall: node.stall.clone(),
            // Half of the credit is for what is taken, the other half for what waits.
            share_bytes: (sinks > 1).then_some(self.settings.credit_bytes / 2 / sinks),
            inbox,
            queue,
            letters: letters.clone(),
            meter: Arc::clone(&meter),
            stall_meter,
            clock,
            ledger: spill.ledger,
            bell: spill.bell,
            spill: spill.parts,
            open: spill.open,
            follow,
            accept_gap: spill.accept_gap,
            shutdown: shutdown.clone(),
        });
        self.spawn(id, stage.run(run(batches)).boxed());
        SinkQueue { sender, meter, staged: true, completeness: None }
    }

    fn meter(&self, id: &str, r#type: &'static str, pipeline: &Pipeline) -> Arc<SinkMeter> {
        Arc::new(SinkMeter::new(id, r#type, &pipeline.name, self.settings.clock.clone()))
    }

    fn watch(&mut self, id: &str, meter: &Arc<SinkMeter>, stall: Option<Arc<StallMeter>>) {
        self.meters.push(Sink { id: id.to_owned(), meter: Arc::clone(meter), stall });
    }

    fn spawn(&mut self, id: &str, delivery: Delivery) {
        let id = id.to_owned();
        self.tasks.spawn(delivery.map(|outcome| {
            outcome.map_err(|error| EngineError::Sink { id, message: error.message })
        }));
    }
}
