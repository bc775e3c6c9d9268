//! The egress: batches on their way from a worker to sinks. The bridge back to the async world.
//!
//! Nothing leaves before what it was made of is on disk ([`Feed::may_leave`]).
//!
//! An operator hands batches to its [`Egress`] together with the right to hold up their epoch; the
//! right is given back when the sink has confirmed the last of them. The worker never waits: what a
//! full queue cannot take stays here, in order for each sink, and is bounded because every byte of
//! it is charged to the pipeline's credit.

use crate::dead_letter;
use crate::doorbell::Doorbell;
use crate::feed::{Epoch, Feed};
use crate::telemetry::SinkMeter;
use azud_plan::component::{Batch, Confirmation, Refused};
use bytes::Bytes;
use futures_channel::mpsc::Sender;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The queue into one sink, as one worker sees it.
#[derive(Clone)]
pub struct SinkQueue {
    /// Where batches go.
    pub sender: Sender<Batch>,
    /// What is counted on delivery.
    pub meter: Arc<SinkMeter>,
    /// Whether what takes the batches counts deliveries itself: what it confirms may only be safe.
    pub staged: bool,
    /// Of a sink that is told which epochs are complete.
    pub completeness: Option<Arc<Completeness>>,
}

/// Which epochs of a pipeline are complete in the queue of one sink: every operator on every worker
/// has put there what it has of them.
pub struct Completeness(Mutex<Passed>);

struct Passed {
    /// For each egress the epoch before which everything of it is in the queue.
    by_egress: Vec<Epoch>,
    /// How many of them are there yet.
    registered: usize,
    /// Before which epoch all of it is.
    least: Epoch,
}

impl Completeness {
    /// Begins with nothing complete but what is before `first`; there will be so many egresses.
    pub fn new(egresses: usize, first: Epoch) -> Self {
        let by_egress = vec![first; egresses.max(1)];
        Completeness(Mutex::new(Passed { by_egress, registered: 0, least: first }))
    }

    /// Gives the next egress its place.
    fn register(&self) -> usize {
        let mut passed = self.lock();
        passed.registered += 1;
        passed.registered - 1
    }

    /// Notes that an egress has put everything of the epochs before this into the queue; gives the
    /// epoch before which now everything of all is there, if that is news.
    fn pass(&self, egress: usize, epoch: Epoch) -> Option<Epoch> {
        let mut passed = self.lock();
        let known = passed.by_egress.get_mut(egress)?;
        *known = epoch.max(*known);
        let least = passed.by_egress.iter().copied().min()?;
        let news = least > passed.least;
        passed.least = least;
        news.then_some(least)
    }

    fn lock(&self) -> MutexGuard<'_, Passed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An encoded buffer, ready to go.
pub struct Encoded {
    /// The sink's place in the list of queues.
    pub sink: usize,
    /// The records.
    pub bytes: Vec<u8>,
    /// How many.
    pub records: usize,
    /// Their partition.
    pub partition: Arc<str>,
}

/// Batches confirmed by sinks, on their way back to one operator.
#[derive(Clone)]
struct Completions {
    done: Arc<Mutex<Vec<Completed>>>,
    bell: Doorbell,
}

/// A batch that a sink has confirmed.
struct Completed {
    epoch: Epoch,
    /// What its receiver will never take, as letters.
    letters: Vec<u8>,
    /// How many.
    refused: usize,
}

impl Completions {
    fn add(&self, completed: Completed) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(completed);
        self.bell.ring();
    }

    fn take(&self) -> Vec<Completed> {
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What waits for a sink's queue, in order.
enum Waiting {
    Batch(Batch),
    /// Everything of the epochs before this stands before it.
    Passed(Epoch),
    /// Everything of the epochs before this is in the queue, of all egresses.
    Complete(Epoch),
}

impl Waiting {
    /// The last epoch that must be able to be repeated before it may leave.
    fn epoch(&self) -> Option<Epoch> {
        match self {
            Waiting::Batch(batch) => Some(batch.epoch),
            Waiting::Passed(before) | Waiting::Complete(before) => before.checked_sub(1),
        }
    }
}

/// Batches of one operator on one worker. `Hold` is the right to hold up an epoch, a capability of
/// timely's.
pub struct Egress<Hold> {
    queues: Vec<SinkQueue>,
    waiting: Vec<VecDeque<Waiting>>,
    /// Its place in the completeness of each sink that has one.
    places: Vec<usize>,
    /// Everything of the epochs before this was sent.
    passed: Epoch,
    held: BTreeMap<Epoch, (Hold, usize)>,
    completions: Completions,
    feed: Arc<Feed>,
}

impl<Hold> Egress<Hold> {
    /// Makes an egress into these queues, which rings `bell` when a sink has confirmed something or
    /// has room again.
    pub fn new(queues: Vec<SinkQueue>, bell: Doorbell, feed: Arc<Feed>) -> Self {
        let waiting = queues.iter().map(|_| VecDeque::new()).collect();
        let place = |queue: &SinkQueue| queue.completeness.as_ref().map_or(0, |it| it.register());
        let places = queues.iter().map(place).collect();
        feed.listen(bell.clone());
        let completions = Completions { done: Arc::default(), bell };
        Egress { queues, waiting, places, passed: 0, held: BTreeMap::new(), completions, feed }
    }

    /// Sends a buffer of `epoch`; `hold` is asked for the right to hold up the epoch if it is not
    /// held yet.
    pub fn send(&mut self, epoch: Epoch, encoded: Encoded, hold: impl FnOnce() -> Hold) {
        self.held.entry(epoch).or_insert_with(|| (hold(), 0)).1 += 1;
        self.queue(epoch, encoded);
    }

    fn queue(&mut self, epoch: Epoch, encoded: Encoded) {
        // What it takes up, not what it holds: buffers grow by doubling.
        self.feed.charge(epoch, encoded.bytes.capacity());
        let queue = &self.queues[encoded.sink];
        queue.meter.queued(encoded.records);
        let confirmation = self.confirmation(epoch, &encoded, queue);
        let Encoded { sink, bytes, records, partition } = encoded;
        let batch = Batch { bytes: bytes.into(), records, partition, epoch, confirmation };
        self.waiting[sink].push_back(Waiting::Batch(batch));
        self.offer(sink);
    }

    /// Makes what a sink confirms a batch with. What it refuses becomes letters, which are on their
    /// way before the batch counts as confirmed: its epoch waits for them.
    fn confirmation(&self, epoch: Epoch, encoded: &Encoded, queue: &SinkQueue) -> Confirmation {
        let completions = self.completions.clone();
        let (records, bytes) = (encoded.records, encoded.bytes.len());
        let letters = Arc::new(Mutex::new((Vec::new(), 0)));
        let (refused, feed) = (Arc::clone(&letters), Arc::clone(&self.feed));
        let (meter, refusing) = (Arc::clone(&queue.meter), Arc::clone(&queue.meter));
        let staged = queue.staged;
        Confirmation::new(move || {
            let mut letters = letters.lock().unwrap_or_else(PoisonError::into_inner);
            let (letters, refused) = std::mem::take(&mut *letters);
            if !staged {
                meter.delivered(records.saturating_sub(refused), bytes);
            }
            completions.add(Completed { epoch, letters, refused });
        })
        .or_refused(move |record: Refused| {
            let mut letters = refused.lock().unwrap_or_else(PoisonError::into_inner);
            refusing.refused(record.fault.reason);
            dead_letter::write_refused(refusing.id(), feed.now(), &record, &mut letters.0);
            letters.1 += 1;
        })
    }

    /// Takes what sinks have confirmed, and offers again what was waiting. To be called at each
    /// activation, after the bell was armed.
    pub fn work(&mut self) {
        for Completed { epoch, letters, refused } in self.completions.take() {
            if refused > 0 {
                let sink = self.queues.len() - 1;
                let partition = "".into();
                let encoded = Encoded { sink, bytes: letters, records: refused, partition };
                // The batch still holds the epoch: nobody has to be asked for the right to.
                if let Some((_, unconfirmed)) = self.held.get_mut(&epoch) {
                    *unconfirmed += 1;
                    self.queue(epoch, encoded);
                }
            }
            let Some((_, unconfirmed)) = self.held.get_mut(&epoch) else { continue };
            *unconfirmed -= 1;
            if *unconfirmed == 0 {
                self.held.remove(&epoch);
            }
        }
        (0..self.queues.len()).for_each(|sink| self.offer(sink));
    }

    /// Moves waiting batches into a sink's queue while it has room, and as far as their epochs may
    /// leave. A full queue is asked again when one of its batches is confirmed, which rings the
    /// bell, as the log does when more may leave.
    fn offer(&mut self, sink: usize) {
        let (waiting, queue) = (&mut self.waiting[sink], &mut self.queues[sink]);
        while let Some(next) =
            waiting.pop_front_if(|next| next.epoch().is_none_or(|epoch| self.feed.may_leave(epoch)))
        {
            let (batch, complete) = match next {
                Waiting::Batch(batch) => (batch, None),
                Waiting::Passed(before) => {
                    let completeness = queue.completeness.as_ref();
                    let complete = completeness.and_then(|it| it.pass(self.places[sink], before));
                    if let Some(before) = complete {
                        waiting.push_front(Waiting::Complete(before));
                    }
                    continue;
                }
                Waiting::Complete(before) => (complete(before), Some(before)),
            };
            let Err(refused) = queue.sender.try_send(batch) else { continue };
            // A sink that has ended unconfirmed is an error of its own, reported by whoever ran it;
            // the batch stays and holds up its epoch, which is the truth.
            let batch = Waiting::Batch(refused.into_inner());
            waiting.push_front(complete.map_or(batch, Waiting::Complete));
            return;
        }
    }

    /// Notes that everything of the epochs before this was sent, for sinks that follow that.
    pub fn pass(&mut self, before: Epoch) {
        if before <= self.passed {
            return;
        }
        self.passed = before;
        for sink in 0..self.queues.len() {
            if self.queues[sink].completeness.is_none() {
                continue;
            }
            let waiting = &mut self.waiting[sink];
            let mut last = waiting.iter_mut().rev();
            match (last.next(), last.next()) {
                // The first of two stays as it is, or it would never leave: there is always a later
                // epoch that may not.
                (Some(Waiting::Passed(known)), Some(Waiting::Passed(_))) => *known = before,
                _ => waiting.push_back(Waiting::Passed(before)),
            }
            self.offer(sink);
        }
    }
}

/// Makes the batch that says that everything of the epochs before this is there.
fn complete(before: Epoch) -> Batch {
    let confirmation = Confirmation::new(|| {});
    let (bytes, partition) = (Bytes::new(), "".into());
    Batch { bytes, records: 0, partition, epoch: before, confirmation }
}
