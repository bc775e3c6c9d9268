//! Starting, watching and ending a plan.
//!
//! Order of start: rings and feeds, then sinks, then workers, then sources, so that nothing is
//! taken in before it has somewhere to go. The end goes with the flow: sources stop and hand over
//! what they have, their rings close, workers finish what was taken, queues close, sinks confirm
//! and end.

mod sinks;

use crate::checkpoint::GroupState;
use crate::dataflow::{Part, PutAway, Restored, worker};
use crate::dead_letter::Budget;
use crate::doorbell::Doorbell;
use crate::durable::{Door, Keeper, Kept};
use crate::egress::SinkQueue;
use crate::event_clock::{ClockState, EventClock, Patience, Streams};
use crate::feed::{Epoch, EventTimes, Feed, FeedParts, FeedSource, Journaling};
use crate::intake::{Acknowledge, LaneLog, Ring};
use crate::log::{Log, Observer as _, Ticket};
use crate::plan_text::planned;
use crate::recovery::{Beginning, Durability, Recovery, StartError, pipeline_key, recover};
use crate::spill::Kept as KeptSpill;
use azud_event::clock::Clock;
use azud_event::id::{Partitioner, SourceIndex, source_key};
use azud_event::time::EventTime;
use azud_plan::component::{
    Acknowledged, Intake, Running as RunningTransform, SinkTask, SourceContext, SourceTask,
};
use azud_plan::plan::{Pipeline, Plan, Source, Timing};
use azud_plan::telemetry::{
    COMPLETE_TO, CREDIT_AVAILABLE_BYTES, EPOCH_AGE_SECONDS, INTAKE_BYTES, LOG_BYTES,
    LOG_DAMAGED_BYTES, LOG_FILE_BYTES, LOG_MAX_BYTES, LOG_SYNC_SECONDS, RULE_MISSING_SOURCES,
    SOURCE_STREAMS, SourceMeter, WATERMARK_LAG_SECONDS, component_labels,
};
use futures_util::FutureExt;
use metrics::gauge;
use sinks::Sink;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinSet};

/// How often gauges are set.
const UPKEEP: Duration = Duration::from_secs(1);

/// What an instance gives its engine.
pub struct Settings {
    /// How many workers.
    pub threads: usize,
    /// The credit of each pipeline, in bytes.
    pub credit_bytes: usize,
    /// How many bytes of each source are kept in memory.
    pub intake_bytes: usize,
    /// How what is taken in is kept on disk; `None` keeps it in memory only.
    pub durability: Option<Durability>,
    /// The folder of dead letters.
    pub dead_letters: PathBuf,
    /// The budget of each pipeline's dead letters, in bytes.
    pub dead_letter_bytes: u64,
    /// The secret by which keys are spread over key groups.
    pub partition_secret: [u8; 16],
    /// The time.
    pub clock: Clock,
}

/// The built components of a plan, in the plan's order.
pub struct Built {
    /// One for each source.
    pub sources: Vec<Box<dyn SourceTask>>,
    /// For each pipeline, one for each sink.
    pub sinks: Vec<Vec<Box<dyn SinkTask>>>,
}

/// A running plan.
pub struct Engine {
    stop: Mutex<Option<oneshot::Sender<()>>>,
    state: Arc<State>,
    ended: watch::Receiver<Option<Result<(), EngineError>>>,
}

/// What is known of a running plan.
struct State {
    plan: Arc<Plan>,
    feeds: Vec<Arc<Feed>>,
    sinks: Vec<Sink>,
    log: Option<Arc<Log>>,
    dead_letters: Arc<[Budget]>,
    clock: Clock,
    /// What has gone wrong and not come right again.
    troubles: Mutex<Vec<String>>,
}

/// Why a plan ended that should not have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The worker threads ended badly.
    #[error("the workers ended: {0}")]
    Workers(String),
    /// A sink ended with batches unconfirmed.
    #[error("sink `{id}` ended: {message}")]
    Sink {
        /// The sink.
        id: String,
        /// What it said.
        message: String,
    },
    /// Not everything was delivered in time.
    #[error("not everything was delivered within {0:?}")]
    NotDrained(Duration),
}

impl Engine {
    /// Starts a plan, going on from where an earlier run has come if what it took in is kept. Must
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// When what is kept cannot be read, or does not fit the plan any more. Nothing runs then.
    pub fn start(plan: Plan, built: Built, settings: Settings) -> Result<Engine, StartError> {
        install_panic_hook();
        let plan = Arc::new(plan);
        let durability = settings.durability.as_ref();
        let mut recovery =
            durability.map(|kept| recover(&plan, kept, &settings.clock)).transpose()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = stopped.map(drop).boxed().shared();
        let (rings, contexts) = intake(&plan, &settings, &shutdown, recovery.as_mut());
        let (mut starter, keeper) =
            Starter::new(Arc::clone(&plan), &settings, &rings, recovery.as_mut())?;
        starter.sinks(built.sinks, &shutdown)?;
        let Starter { parts, tasks, meters, feeds, budgets, .. } = starter;
        let log = recovery.as_ref().map(|recovery| Arc::clone(&recovery.log));
        if let Some(recovery) = &recovery {
            recovery.bells.connect(rings.clone(), feeds.clone());
            // What was durable before anybody listened.
            recovery.bells.durable(recovery.log.durable());
        }
        let clock = settings.clock.clone();
        let state = Arc::new(State {
            plan,
            feeds,
            sinks: meters,
            log,
            dead_letters: budgets.into(),
            clock,
            troubles: Mutex::default(),
        });
        let sources = run_sources(built.sources, contexts, rings, &state);
        let (report, ended) = watch::channel(None);
        tokio::spawn(upkeep(Arc::clone(&state), ended.clone()));
        let threads = settings.threads;
        // A thread of its own, not one of the runtime's: a plan that cannot drain must not keep the
        // runtime from ending.
        let (workers_ended, workers) = oneshot::channel();
        std::thread::spawn(move || workers_ended.send(worker::run(threads, parts)));
        let running = Running { workers, sources, sinks: tasks, state: Arc::clone(&state), keeper };
        tokio::spawn(running.supervise(report));
        Ok(Engine { stop: Mutex::new(Some(stop)), state, ended })
    }

    /// Lists why the instance is not ready; empty when it is.
    pub fn not_ready(&self) -> Vec<String> {
        let stalled = self.state.sinks.iter().filter_map(Sink::not_ready);
        let mut reasons: Vec<_> = self.troubles().into_iter().chain(stalled).collect();
        if let Some(ended) = &*self.ended.borrow() {
            reasons.push(match ended {
                Ok(()) => "every source has ended".to_owned(),
                Err(error) => error.to_string(),
            });
        }
        reasons
    }

    /// Lists what is not as it should be though the instance is ready: sinks that have stalled and
    /// hold up nobody.
    pub fn warnings(&self) -> Vec<String> {
        let sinks = self.state.sinks.iter().filter(|sink| sink.not_ready().is_none());
        sinks.filter_map(|sink| sink.stall.as_ref()?.word()).collect()
    }

    /// Gives the running plan.
    pub fn plan(&self) -> &Plan {
        &self.state.plan
    }

    /// Waits until the plan has ended: because every source has, or because something broke.
    ///
    /// # Errors
    /// When it ended otherwise than by the end of its sources.
    pub async fn ended(&self) -> Result<(), EngineError> {
        let mut ended = self.ended.clone();
        let outcome = ended.wait_for(Option::is_some).await;
        outcome
            .ok()
            .and_then(|outcome| outcome.clone())
            .unwrap_or_else(|| Err(EngineError::Workers("their supervisor is gone".to_owned())))
    }

    /// Ends the plan: sources stop, and everything taken in is delivered, within `timeout`.
    ///
    /// # Errors
    /// When not everything could be delivered.
    pub async fn shut_down(&self, timeout: Duration) -> Result<(), EngineError> {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        match tokio::time::timeout(timeout, self.ended()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(EngineError::NotDrained(timeout)),
        }
    }

    /// Lists what went wrong without ending the plan: sources that ended before they were told to.
    pub fn troubles(&self) -> Vec<String> {
        self.state.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lists how many records each sink has delivered, by id.
    pub fn delivered(&self) -> Vec<(String, u64)> {
        let sinks = self.state.sinks.iter();
        sinks.map(|sink| (sink.id.clone(), sink.meter.delivered_total())).collect()
    }
}

/// Makes the ring of each source, and what its task works with.
fn intake(
    plan: &Plan,
    settings: &Settings,
    shutdown: &azud_plan::component::Shutdown,
    mut recovery: Option<&mut Recovery>,
) -> (Vec<Arc<Ring>>, Vec<SourceContext>) {
    let sources = (0..).zip(&plan.sources).map(|(index, source)| {
        let readers = plan.pipelines.iter().filter(|pipeline| reads(pipeline, index));
        let pipeline = readers.map(|pipeline| pipeline.name.as_str()).next().unwrap_or_default();
        let labels = component_labels(&source.id, "source", source.kind, pipeline);
        let acknowledged = Arc::new(Acknowledged::default());
        let bytes = gauge!(INTAKE_BYTES, labels.clone());
        let lane =
            recovery.as_deref_mut().map(|recovery| lane_log(recovery, index, source, settings));
        let (log, tickets) = lane.unzip();
        let ring = Ring::new(settings.intake_bytes, Arc::clone(&acknowledged), bytes, log);
        ring.restore(tickets.unwrap_or_default());
        let ring = Arc::new(ring);
        let context = SourceContext {
            source: SourceIndex(index),
            intake: Arc::clone(&ring) as Arc<dyn Intake>,
            acknowledged,
            shutdown: shutdown.clone(),
            clock: settings.clock.clone(),
            meter: Arc::new(SourceMeter::new(labels)),
        };
        (ring, context)
    });
    sources.unzip()
}

/// Makes a source's side of the log, with what the log has of it already.
fn lane_log(
    recovery: &mut Recovery,
    index: u32,
    source: &Source,
    settings: &Settings,
) -> (LaneLog, Vec<Ticket>) {
    let key = source_key(&source.id);
    let acknowledge = settings.durability.as_ref().map(|kept| kept.acknowledge);
    let log = LaneLog::new(
        Arc::clone(&recovery.log),
        key,
        SourceIndex(index),
        acknowledge.unwrap_or(Acknowledge::Logged),
        source.spec.resumes(),
        recovery.marks.remove(&key).unwrap_or_default(),
    );
    (log, recovery.tickets.remove(&key).unwrap_or_default())
}

/// Says how far event time has come in a pipeline, and which streams are waited for.
fn event_time_gauges(plan: &Plan, pipeline: &Pipeline, feed: &Feed) {
    let Some(EventTimes { now, watermarks, missing, streams }) = feed.event_time() else { return };
    let known = |watermark: EventTime| watermark > EventTime::MIN && watermark < EventTime::MAX;
    let mut complete_to: Option<EventTime> = None;
    for (step, transform) in pipeline.transforms.iter().enumerate() {
        if !transform.spec.is_keyed() {
            continue;
        }
        if let Some((rule, _)) = transform.spec.rule() {
            gauge!(RULE_MISSING_SOURCES, "rule" => rule.to_owned()).set(missing[step] as f64);
        }
        let watermark = watermarks[step];
        if known(watermark) {
            let (id, kind) = (&transform.id, transform.kind);
            let labels = component_labels(id, "transform", kind, &pipeline.name);
            gauge!(WATERMARK_LAG_SECONDS, labels).set(now.since(watermark).as_secs_f64());
            complete_to = Some(complete_to.map_or(watermark, |least| least.min(watermark)));
        }
    }
    if let Some(complete_to) = complete_to {
        let seconds = complete_to.nanoseconds() as f64 / 1e9;
        gauge!(COMPLETE_TO, "pipeline" => pipeline.name.clone()).set(seconds);
    }
    for (input, Streams { live, stragglers, missing }) in pipeline.sources.iter().zip(streams) {
        let source = &plan.sources[input.source.0 as usize];
        for (state, count) in [("live", live), ("straggler", stragglers), ("missing", missing)] {
            let mut labels = component_labels(&source.id, "source", source.kind, &pipeline.name);
            labels.push(metrics::Label::new("state", state));
            gauge!(SOURCE_STREAMS, labels).set(count as f64);
        }
    }
}

/// Makes the event clock of a pipeline, with a step for each transform that gathers by key.
fn event_clock(plan: &Plan, pipeline: &Pipeline) -> EventClock {
    let sources = pipeline.sources.iter().map(|input| {
        let source = &plan.sources[input.source.0 as usize];
        let Timing { lateness, max_hold, ref expect, .. } = source.timing;
        (source.id.clone(), Patience { lateness, max_hold, expected: expect.clone() })
    });
    let steps = pipeline.transforms.iter().zip(pipeline.reach());
    let steps = steps.map(|(transform, lanes)| match transform.spec.is_keyed() {
        true => lanes.into_iter().collect(),
        false => Vec::new(),
    });
    EventClock::new(sources.collect(), steps.collect())
}

fn reads(pipeline: &Pipeline, source: u32) -> bool {
    pipeline.sources.iter().any(|input| input.source.0 == source)
}

/// Which epochs a pipeline repeats.
struct Repeats {
    /// The first epoch of this run.
    first: Epoch,
    /// The last that an earlier run has recorded and this one repeats; `None` when there is none.
    last: Option<Epoch>,
}

/// Gathers what the workers need while sinks are started.
struct Starter<'a> {
    plan: Arc<Plan>,
    settings: &'a Settings,
    feeds: Vec<Arc<Feed>>,
    bells: Vec<Arc<[Doorbell]>>,
    parts: Vec<Vec<Part>>,
    /// For each pipeline the states of its keyed steps.
    restored: Vec<Vec<Restored>>,
    /// For each pipeline where they put things away; `None` without a log.
    archives: Vec<Option<PutAway>>,
    /// For each pipeline which epochs it repeats; `None` without a log.
    repeats: Vec<Option<Repeats>>,
    budgets: Vec<Budget>,
    tasks: JoinSet<Result<(), EngineError>>,
    meters: Vec<Sink>,
    /// For each pipeline the spills of its sinks.
    spills: Vec<Vec<KeptSpill>>,
}

impl<'a> Starter<'a> {
    fn new(
        plan: Arc<Plan>,
        settings: &'a Settings,
        rings: &[Arc<Ring>],
        mut recovery: Option<&mut Recovery>,
    ) -> Result<(Self, Option<Keeper>), StartError> {
        let mut starter = Starter {
            plan: Arc::clone(&plan),
            settings,
            feeds: Vec::new(),
            bells: Vec::new(),
            parts: (0..settings.threads).map(|_| Vec::new()).collect(),
            restored: Vec::new(),
            archives: Vec::new(),
            repeats: Vec::new(),
            budgets: Vec::new(),
            tasks: JoinSet::new(),
            meters: Vec::new(),
            spills: Vec::new(),
        };
        let known_feeds = Arc::new(OnceLock::new());
        let keeper = match recovery.as_deref() {
            Some(recovery) => {
                let begun = plan.pipelines.iter().zip(&recovery.pipelines);
                let kept = begun.filter_map(|(pipeline, it)| {
                    let archive = Arc::clone(it.archive.as_ref()?);
                    Some(Kept::below(it.folder.clone(), planned(&plan, pipeline), archive))
                });
                let kept = kept.collect::<Result<Vec<_>, _>>()?;
                let log = Arc::clone(&recovery.log);
                Some(Keeper::start(kept, log, Arc::clone(&known_feeds))?)
            }
            None => None,
        };
        for (index, pipeline) in plan.pipelines.iter().enumerate() {
            let bells: Arc<[Doorbell]> =
                (0..settings.threads).map(|_| Doorbell::default()).collect();
            let beginning = recovery.as_deref_mut().map(|it| {
                let log = Arc::clone(&it.log);
                (std::mem::take(&mut it.pipelines[index]), log)
            });
            let door = keeper.as_ref().map(|keeper| keeper.door(index));
            let beginning = beginning.zip(door);
            let feed = starter.feed(pipeline, rings, Arc::clone(&bells), beginning)?;
            starter.feeds.push(Arc::new(feed));
            starter.bells.push(bells);
        }
        // Nobody else sets it.
        let _ = known_feeds.set(starter.feeds.clone());
        Ok((starter, keeper))
    }

    /// Makes the feed of a pipeline, and the states of its keyed steps.
    fn feed(
        &mut self,
        pipeline: &Pipeline,
        rings: &[Arc<Ring>],
        bells: Arc<[Doorbell]>,
        beginning: Option<((Beginning, Arc<Log>), Door)>,
    ) -> Result<Feed, StartError> {
        let plan = Arc::clone(&self.plan);
        let keyed = pipeline.transforms.iter().filter(|it| it.spec.is_keyed()).count();
        let mut clock = pipeline.is_keyed().then(|| event_clock(&plan, pipeline));
        let steps: Vec<u64> = pipeline.transforms.iter().map(|it| source_key(&it.id)).collect();
        let from = beginning.as_ref().map(|((beginning, _), _)| beginning.from.clone());
        let sources = pipeline.sources.iter().map(|input| {
            let id = &plan.sources[input.source.0 as usize].id;
            let key = source_key(id);
            // A source that the pipeline did not read before begins with what comes now.
            let end = beginning.as_ref().map(|((_, log), _)| log.next());
            let from = from.as_ref().and_then(|from| from.get(&key).copied()).or(end);
            let ring = Arc::clone(&rings[input.source.0 as usize]);
            FeedSource { id: id.clone(), key, ring, from }
        });
        let sources = sources.collect();
        let (mut restored, mut archive) = (Vec::new(), None);
        let repeats = beginning.as_ref().map(|((beginning, _), _)| {
            let last = beginning.replay.back().map(|replayed| replayed.epoch);
            Repeats { first: beginning.first, last }
        });
        self.repeats.push(repeats);
        let journaling = match (beginning, &self.settings.durability) {
            (Some(((mut beginning, log), keep)), Some(durability)) => {
                let spills = std::mem::take(&mut beginning.spills);
                let accounts = spills.sinks.iter().map(|kept| Arc::clone(&kept.ledger));
                let accounts = accounts.chain(spills.left).collect();
                self.spills.push(spills.sinks);
                restored = restore(pipeline, &beginning.groups, &durability.drop_state)?;
                archive = put_away(&mut beginning, &durability.drop_state);
                if let Some(clock) = &mut clock {
                    restore_clock(clock, &beginning.clock, &steps);
                }
                Some(Journaling {
                    log,
                    pipeline: pipeline_key(&pipeline.name),
                    first: beginning.first,
                    now: beginning.now,
                    replay: beginning.replay,
                    interval: durability.checkpoint_interval,
                    keep,
                    spills: accounts,
                })
            }
            _ => {
                let sinks = pipeline.sinks.iter();
                self.spills.push(sinks.map(|sink| KeptSpill::nothing(&sink.id)).collect());
                None
            }
        };
        self.restored.push(restored);
        self.archives.push(archive);
        Ok(Feed::new(FeedParts {
            sources,
            steps,
            bells,
            clock: self.settings.clock.clone(),
            credit_bytes: self.settings.credit_bytes,
            event_clock: clock.map(|clock| (clock, keyed)),
            journaling,
        }))
    }

    fn part(
        &mut self,
        pipeline: usize,
        worker: usize,
        queues: &[SinkQueue],
        counted: Vec<u32>,
    ) -> Part {
        // As rows are exchanged: a group lives on the worker of its number.
        let mine = |it: &mut Restored| usize::from(it.group) % self.settings.threads == worker;
        let restored = self.restored[pipeline].extract_if(.., mine).collect();
        let restored = RefCell::new(restored);
        Part {
            plan: Arc::clone(&self.plan),
            pipeline,
            feed: Arc::clone(&self.feeds[pipeline]),
            bell: self.bells[pipeline][worker].clone(),
            queues: queues.to_vec(),
            partitioner: Partitioner::new(self.settings.partition_secret),
            clock: self.settings.clock.clone(),
            counted,
            restored,
            archive: self.archives[pipeline].clone(),
        }
    }
}

/// Runs the sources; each one's ring closes when its task has ended, however it ended.
fn run_sources(
    built: Vec<Box<dyn SourceTask>>,
    contexts: Vec<SourceContext>,
    rings: Vec<Arc<Ring>>,
    state: &Arc<State>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (index, ((task, context), ring)) in built.into_iter().zip(contexts).zip(rings).enumerate() {
        let state = Arc::clone(state);
        tasks.spawn(async move {
            let id = &state.plan.sources[index].id;
            // Its own task, so that a panic in it ends this source and closes its ring.
            let stopped = context.shutdown.clone();
            let ended = match tokio::spawn(task.run(context)).await {
                Ok(outcome) => outcome.map_err(|error| error.message),
                Err(died) => Err(died.to_string()),
            };
            let well = ended.is_ok();
            if let Err(message) = ended {
                tracing::error!(component_id = %id, "source ended: {message}");
                let mut troubles = state.troubles.lock().unwrap_or_else(PoisonError::into_inner);
                troubles.push(format!("source `{id}` ended: {message}"));
            }
            // A source that was told to stop, or broke, may have more another time.
            ring.close(well && stopped.now_or_never().is_none());
        });
    }
    tasks
}

/// Sets the event clock of a pipeline with these steps to where a checkpoint knew it.
fn restore_clock(clock: &mut EventClock, known: &ClockState, steps: &[u64]) {
    let watermark = |step| known.watermarks.get(step).copied().unwrap_or(EventTime::MIN);
    let watermarks: Vec<_> = steps.iter().map(watermark).collect();
    clock.restore(&known.sources, &watermarks);
}

/// Gives what the keyed steps of a pipeline have put away, but for those whose state is dropped.
fn put_away(beginning: &mut Beginning, drop_state: &[String]) -> Option<PutAway> {
    let cabinet = beginning.archive.take()?;
    let dropped: Vec<u64> = drop_state.iter().map(|id| source_key(id)).collect();
    let mut known = std::mem::take(&mut beginning.segments);
    known.retain(|segment| !dropped.contains(&segment.step));
    Some(PutAway { cabinet, known: known.into() })
}

/// Makes the states of a pipeline's keyed steps again.
fn restore(
    pipeline: &Pipeline,
    groups: &[GroupState],
    drop_state: &[String],
) -> Result<Vec<Restored>, StartError> {
    let mut restored = Vec::new();
    for (index, transform) in pipeline.transforms.iter().enumerate() {
        let RunningTransform::Keyed { state: make, .. } = transform.spec.build() else { continue };
        let key = source_key(&transform.id);
        let id = || transform.id.clone();
        for group in groups.iter().filter(|group| group.step == key) {
            if drop_state.contains(&transform.id) {
                continue;
            }
            if group.shape != transform.spec.shape() {
                return Err(StartError::Shape { id: id() });
            }
            let mut state = make();
            let read = state.restore(&group.state);
            read.map_err(|reason| StartError::State { id: id(), reason })?;
            restored.push(Restored { step: index, group: group.group, state });
        }
    }
    Ok(restored)
}

/// What runs of a plan.
struct Running {
    workers: oneshot::Receiver<Result<(), String>>,
    sources: JoinSet<()>,
    sinks: JoinSet<Result<(), EngineError>>,
    state: Arc<State>,
    keeper: Option<Keeper>,
}

impl Running {
    /// Waits for everything to end, and reports how it did.
    async fn supervise(mut self, report: watch::Sender<Option<Result<(), EngineError>>>) {
        let mut outcome = Ok(());
        let mut working = true;
        while working || !self.sinks.is_empty() {
            tokio::select! {
                ended = &mut self.workers, if working => {
                    working = false;
                    let ended = ended.unwrap_or_else(|died| Err(died.to_string()));
                    outcome = outcome.and(ended.map_err(EngineError::Workers));
                }
                Some(ended) = self.sinks.join_next() => {
                    let died = |error: JoinError| Err(EngineError::Workers(error.to_string()));
                    if let Err(error) = ended.unwrap_or_else(died) {
                        // Its epochs can never complete: end now, and say why, rather than stand
                        // still.
                        outcome = outcome.and(Err(error));
                        break;
                    }
                }
            }
        }
        if outcome.is_ok() {
            while self.sources.join_next().await.is_some() {}
            self.keep_last().await;
        }
        report.send_replace(Some(outcome));
    }

    /// Waits until the last checkpoints are written and the log is closed.
    async fn keep_last(&mut self) {
        if let Some(keeper) = &self.keeper {
            let mut written = keeper.written();
            // Marked before looking, so that one that is written meanwhile is not missed.
            while {
                written.mark_unchanged();
                keeper.is_busy() || !self.state.feeds.iter().all(|feed| feed.is_kept())
            } {
                if written.changed().await.is_err() {
                    break;
                }
            }
        }
        if let Some(log) = self.state.log.clone() {
            let closed = tokio::task::spawn_blocking(move || log.close()).await;
            if let Ok(Err(error)) = closed {
                tracing::error!("the log: {error}");
            }
        }
    }
}

/// Packs and lets go of what the log need not keep as it is, and says how full it is.
async fn look_after(log: &Arc<Log>, now: EventTime) {
    let (kept, cleared) = (Arc::clone(log), Arc::clone(log));
    let maintained = tokio::task::spawn_blocking(move || cleared.maintain(now)).await;
    if let Ok(Err(error)) = maintained {
        tracing::warn!("the log could not be looked after, and is tried again: {error}");
    }
    let stats = kept.stats();
    gauge!(LOG_BYTES).set(stats.held_bytes as f64);
    gauge!(LOG_MAX_BYTES).set(stats.max_bytes as f64);
    gauge!(LOG_FILE_BYTES).set(stats.file_bytes as f64);
    gauge!(LOG_SYNC_SECONDS).set(stats.last_sync.as_secs_f64());
    gauge!(LOG_DAMAGED_BYTES).set(stats.damaged_bytes as f64);
}

/// Sets the gauges until the plan has ended.
async fn upkeep(state: Arc<State>, mut ended: watch::Receiver<Option<Result<(), EngineError>>>) {
    let mut timer = tokio::time::interval(UPKEEP);
    while tokio::time::timeout(Duration::ZERO, ended.wait_for(Option::is_some)).await.is_err() {
        timer.tick().await;
        if let Some(log) = &state.log {
            look_after(log, state.clock.now()).await;
        }
        let budgets = Arc::clone(&state.dead_letters);
        let looked = tokio::task::spawn_blocking(move || budgets.iter().for_each(Budget::upkeep));
        // It can only panic, which has been said.
        let _ = looked.await;
        for (pipeline, feed) in state.plan.pipelines.iter().zip(&state.feeds) {
            let (credit_bytes, age) = feed.gauge();
            let name = pipeline.name.clone();
            gauge!(CREDIT_AVAILABLE_BYTES, "pipeline" => name.clone()).set(credit_bytes as f64);
            event_time_gauges(&state.plan, pipeline, feed);
            gauge!(EPOCH_AGE_SECONDS, "pipeline" => name).set(age.as_secs_f64());
        }
        state.sinks.iter().for_each(|sink| sink.meter.upkeep());
    }
}

thread_local! {
    static IN_USER_CODE: Cell<bool> = const { Cell::new(false) };
}

/// Marks that this thread runs user code, whose panics are caught and set aside.
pub struct UserCode(());

impl UserCode {
    /// Marks it until the guard is dropped.
    pub fn enter() -> Self {
        IN_USER_CODE.set(true);
        UserCode(())
    }
}

impl Drop for UserCode {
    fn drop(&mut self) {
        IN_USER_CODE.set(false);
    }
}

/// Makes a panic of a worker outside user code end the process.
///
/// Timely leaves the other workers waiting for ever when one is gone; a process that is down is
/// started again, one that hangs is not. Panics in user code are caught by the chain, which sets
/// the record aside; they are logged here.
fn install_panic_hook() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IN_USER_CODE.get() {
                tracing::error!("a component panicked on a record, which is set aside: {panic}");
                return;
            }
            default(panic);
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            if name.starts_with(worker::THREAD_PREFIX) {
                std::process::abort();
            }
        }));
    });
}
