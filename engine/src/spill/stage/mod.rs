//! The stage before a sink: passes batches on through memory, and around a sink that stalls.
//!
//! One task for each sink. What it does is in `work.rs`, in plain steps that never wait; here is
//! what it waits for.

mod rewind;
mod sorter;
mod work;

use super::handed::Hands;
use super::judge::Judge;
use super::meter::StallMeter;
use super::queue::{Found, Missing, Sought, Spill, SpillParts, SpillReader, Unspilled};
use super::{Bell, Ledger};
use crate::egress::SinkQueue;
use crate::feed::Epoch;
use crate::log::{LogError, LogPosition};
use crate::telemetry::SinkMeter;
use azud_event::clock::Clock;
use azud_plan::component::{
    Batch, Batches, Confirmation, Refused, RunError, Shutdown, SinkProgress,
};
use azud_plan::plan::{Stall, StallPolicy};
use futures_channel::mpsc::Sender;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use rewind::Rewinding;
use sorter::Sorter;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};

/// What a stage is made of.
pub struct StageParts {
    /// The sink.
    pub id: String,
    /// What its author said of stalling.
    pub stall: Stall,
    /// From how many waiting bytes on it holds up other sinks; `None` when there are none.
    pub share_bytes: Option<usize>,
    /// What comes.
    pub inbox: Batches,
    /// The sink's queue.
    pub queue: Sender<Batch>,
    /// The queue of dead letters.
    pub letters: SinkQueue,
    /// What is counted on delivery.
    pub meter: Arc<SinkMeter>,
    /// What is shown of stalling.
    pub stall_meter: Arc<StallMeter>,
    /// The time.
    pub clock: Clock,
    /// The account of the spill.
    pub ledger: Arc<Ledger>,
    /// Wakes the stage.
    pub bell: Arc<Bell>,
    /// Where the spill is; `None` where nothing is kept.
    pub spill: Option<SpillParts>,
    /// The spill, if an earlier run has left something in it.
    pub open: Option<Spill>,
    /// Of a sink whose receiver keeps its progress.
    pub follow: Option<Follow>,
    /// Whether the sink may lack for ever what cannot be delivered again.
    pub accept_gap: bool,
    /// Resolves when it is time to stop.
    pub shutdown: Shutdown,
}

/// The progress of a sink's receiver.
pub struct Follow {
    /// What the receiver has.
    pub progress: Arc<SinkProgress>,
    /// The first epoch of this run.
    pub first: Epoch,
}

/// A running stage.
pub struct Stage {
    id: String,
    policy: StallPolicy,
    judge: Judge,
    mode: Mode,
    /// Whether more may come.
    taking: bool,
    inbox: Batches,
    /// `None` once nothing more is given to the sink.
    queue: Option<Sender<Batch>>,
    /// Whether the sink's queue was full.
    crowded: bool,
    /// What came and was neither given to the sink nor put into the spill.
    waiting: VecDeque<Waiting>,
    hands: Hands,
    /// Of a sink that is told which epochs are complete and whose spill keeps everything: what has
    /// come of epochs that are not.
    sorter: Option<Sorter>,
    progress: Option<Arc<SinkProgress>>,
    /// The first epoch of this run, of a sink that has a progress.
    first: Epoch,
    /// Records and bytes that are delivered, but not yet under word of their epochs.
    unworded: (u64, u64),
    rewinding: Rewinding,
    accept_gap: bool,
    /// What the sink has confirmed.
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    /// Bytes in memory that are charged to the credit of the pipeline.
    held_bytes: usize,
    /// What holds up epochs until the spill is durable up to a position, in order.
    keeping: VecDeque<(LogPosition, Confirmation)>,
    store: Store,
    /// What was read from the spill, in order.
    ready: VecDeque<Unspilled>,
    ready_bytes: usize,
    /// What is read before this the sink has in its hands already: all before was read when it was
    /// put there.
    handed_to: LogPosition,
    /// Behind the last batch of the spill that the sink was given.
    given_to: LogPosition,
    /// A read that began when the spill was durable up to here found nothing more.
    dry_at: Option<LogPosition>,
    /// The spill's budget is used up.
    full: bool,
    job: Option<JoinHandle<Done>>,
    /// When a job failed: when to begin another, by the monotonic clock.
    not_before: Duration,
    /// When it was last written down how far the spill is delivered.
    marked_at: Duration,
    /// When something was last dropped.
    dropped_at: Duration,
    /// When the gauges were last set, and to how many bytes.
    shown: Option<(Duration, u64)>,
    letters: SinkQueue,
    /// What is to be set aside.
    aside: VecDeque<Batch>,
    meter: Arc<SinkMeter>,
    stall_meter: Arc<StallMeter>,
    clock: Clock,
    ledger: Arc<Ledger>,
    bell: Arc<Bell>,
    shutdown: Shutdown,
    stopping: bool,
    /// Until when a spill is delivered after the process was told to stop; set when nothing more
    /// comes.
    until: Option<Duration>,
}

/// How what comes is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It goes to the sink through memory.
    Flowing,
    /// It goes into the spill, and from there to the sink.
    Spilling,
    /// It is let go, unless the sink has room.
    Dropping,
}

/// A batch that came, and when.
struct Waiting {
    batch: Batch,
    since: Duration,
    /// It is larger than an entry of the spill may be: it waits for the sink.
    too_large: bool,
}

/// What a sink did with a batch.
struct Outcome {
    number: u64,
    refused: Vec<Refused>,
}

/// The spill, as far as there is one.
#[expect(clippy::large_enum_variant, reason = "a stage has one")]
enum Store {
    /// Nothing is kept here.
    None,
    /// It was not needed yet.
    Closed(SpillParts),
    /// It is being opened.
    Opening(SpillParts),
    Open {
        spill: Arc<Spill>,
        reader: Option<SpillReader>,
    },
}

/// What a thread that may block has done.
#[expect(clippy::large_enum_variant, reason = "it is moved once for a MiB that was read")]
enum Done {
    Opened(Result<(Spill, Option<Missing>), LogError>),
    Read {
        reader: SpillReader,
        found: Vec<Found>,
        read: Result<(), LogError>,
        durable: LogPosition,
    },
    LetGo(Result<(), LogError>),
    Sought(Result<Sought, LogError>),
}

impl Stage {
    /// Makes a stage.
    pub fn new(parts: StageParts) -> Self {
        let StageParts { stall, spill, open, clock, .. } = parts;
        let left = open.is_some();
        let store = match (open, spill) {
            (Some(spill), _) => {
                let reader = Some(spill.reader());
                Store::Open { spill: Arc::new(spill), reader }
            }
            (None, Some(spill)) => Store::Closed(spill),
            (None, None) => Store::None,
        };
        let spills = matches!(stall.policy, StallPolicy::Spill { .. });
        let keeps = spills && parts.follow.is_some();
        let sorter = parts.follow.as_ref().filter(|_| keeps).map(|it| Sorter::new(it.first));
        let first = parts.follow.as_ref().map_or(0, |follow| follow.first);
        let progress = parts.follow.map(|follow| follow.progress);
        if let Some(progress) = &progress {
            parts.ledger.follow(progress);
            let bell = Arc::clone(&parts.bell);
            progress.listen(move || bell.wake.notify_one());
        }
        Stage {
            id: parts.id,
            policy: stall.policy,
            judge: Judge::new(stall.after, parts.share_bytes),
            mode: if keeps || left && spills { Mode::Spilling } else { Mode::Flowing },
            taking: true,
            inbox: parts.inbox,
            queue: Some(parts.queue),
            crowded: false,
            waiting: VecDeque::new(),
            hands: Hands::default(),
            sorter,
            progress,
            first,
            unworded: (0, 0),
            rewinding: Rewinding::No,
            accept_gap: parts.accept_gap,
            outcomes: Arc::default(),
            held_bytes: 0,
            keeping: VecDeque::new(),
            store,
            ready: VecDeque::new(),
            ready_bytes: 0,
            handed_to: LogPosition(0),
            given_to: LogPosition(0),
            dry_at: None,
            full: false,
            job: None,
            not_before: Duration::ZERO,
            marked_at: Duration::ZERO,
            dropped_at: Duration::ZERO,
            shown: None,
            letters: parts.letters,
            aside: VecDeque::new(),
            meter: parts.meter,
            stall_meter: parts.stall_meter,
            clock,
            ledger: parts.ledger,
            bell: parts.bell,
            shutdown: parts.shutdown,
            stopping: false,
            until: None,
        }
    }

    /// Runs until the inbox has ended, and the sink has everything, or has stalled and the rest is
    /// on disk.
    ///
    /// # Errors
    /// When the sink ended with one, or died.
    pub async fn run(
        mut self,
        sink: BoxFuture<'static, Result<(), RunError>>,
    ) -> Result<(), RunError> {
        let mut sink = Tied(tokio::spawn(sink));
        let ended = loop {
            self.work();
            if self.is_given_up() {
                break None;
            }
            let look_in = self.look_in();
            tokio::select! {
                ended = &mut sink.0 => break Some(ended),
                batch = self.inbox.next(), if self.taking => match batch {
                    Some(batch) => self.take(batch),
                    None => self.nothing_comes(),
                },
                () = self.bell.wake.notified() => {}
                () = room(self.queue.as_mut()), if self.crowded => self.crowded = false,
                () = room(Some(&mut self.letters.sender)), if !self.aside.is_empty() => {}
                done = finished(self.job.as_mut()), if self.job.is_some() => self.after(done),
                () = elapsed(look_in) => {}
                () = self.shutdown.clone(), if !self.stopping => self.stopping = true,
            }
        };
        drop(sink);
        self.end(ended).await
    }

    /// Closes the spill, and says what is left in it.
    async fn end(
        mut self,
        ended: Option<Result<Result<(), RunError>, JoinError>>,
    ) -> Result<(), RunError> {
        self.settle();
        if self.policy == StallPolicy::Drop {
            self.drop_given();
        }
        if let Some(job) = self.job.take() {
            self.after(job.await);
        }
        if let Store::Open { spill, .. } = &self.store {
            let closing = Arc::clone(spill);
            let closed = tokio::task::spawn_blocking(move || closing.close()).await;
            if let Ok(Err(error)) = closed {
                tracing::error!("the spill of `{}`: {error}", self.id);
            }
        }
        if !self.ledger.is_empty() {
            tracing::warn!(
                component_id = self.id,
                "about {} records wait in the spill of `{}`; the next start delivers them",
                self.ledger.records(),
                self.id
            );
        }
        match ended {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(died)) => Err(RunError { message: died.to_string() }),
        }
    }

    /// Makes what a sink confirms the batch of a number with.
    fn confirmation(&self, number: u64) -> Confirmation {
        let (outcomes, bell) = (Arc::clone(&self.outcomes), Arc::clone(&self.bell));
        let refused = Arc::new(Mutex::new(Vec::new()));
        let refusing = Arc::clone(&refused);
        Confirmation::new(move || {
            let refused = std::mem::take(&mut *lock(&refused));
            lock(&outcomes).push(Outcome { number, refused });
            bell.wake.notify_one();
        })
        .or_refused(move |record| lock(&refusing).push(record))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task that ends with whoever waits for it.
struct Tied<T>(JoinHandle<T>);

impl<T> Drop for Tied<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until a queue has room, or nobody takes from it any more.
async fn room(queue: Option<&mut Sender<Batch>>) {
    match queue {
        Some(queue) => drop(poll_fn(|context| queue.poll_ready(context)).await),
        None => std::future::pending().await,
    }
}

async fn finished(job: Option<&mut JoinHandle<Done>>) -> Result<Done, JoinError> {
    match job {
        Some(job) => job.await,
        None => std::future::pending().await,
    }
}

async fn elapsed(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
}
