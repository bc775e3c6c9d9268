//! The egress: batches on their way from a worker to sinks. The bridge back to the async world.
//!
//! Nothing leaves before what it was made of is on disk ([`Feed::may_leave`]).
//!
//! An operator hands batches to its [`Egress`] together with the right to hold up their epoch; the
//! right is given back when the sink has confirmed the last of them. The worker never waits: what a
//! full queue cannot take stays here, in order for each sink, and is bounded because every byte of
//! it is charged to the pipeline's credit.

use crate::dead_letter::Letter;
use crate::doorbell::Doorbell;
use crate::feed::{Epoch, Feed};
use crate::telemetry::SinkMeter;
use azud_plan::component::{Batch, Confirmation, Refused};
use futures_channel::mpsc::Sender;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// The queue into one sink, as one worker sees it.
#[derive(Clone)]
pub struct SinkQueue {
    /// Where batches go.
    pub sender: Sender<Batch>,
    /// What is counted on delivery.
    pub meter: Arc<SinkMeter>,
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

/// Batches of one operator on one worker. `Hold` is the right to hold up an epoch, a capability of
/// timely's.
pub struct Egress<Hold> {
    queues: Vec<SinkQueue>,
    waiting: Vec<VecDeque<(Epoch, Batch)>>,
    held: BTreeMap<Epoch, (Hold, usize)>,
    completions: Completions,
    feed: Arc<Feed>,
}

impl<Hold> Egress<Hold> {
    /// Makes an egress into these queues, which rings `bell` when a sink has confirmed something or
    /// has room again.
    pub fn new(queues: Vec<SinkQueue>, bell: Doorbell, feed: Arc<Feed>) -> Self {
        let waiting = queues.iter().map(|_| VecDeque::new()).collect();
        feed.listen(bell.clone());
        let completions = Completions { done: Arc::default(), bell };
        Egress { queues, waiting, held: BTreeMap::new(), completions, feed }
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
        let meter = Arc::clone(&self.queues[encoded.sink].meter);
        meter.queued(encoded.records);
        let confirmation = self.confirmation(epoch, &encoded, meter);
        let Encoded { sink, bytes, records, partition } = encoded;
        let batch = Batch { bytes, records, partition, epoch, confirmation };
        self.waiting[sink].push_back((epoch, batch));
        self.offer(sink);
    }

    /// Makes what a sink confirms a batch with. What it refuses becomes letters, which are on their
    /// way before the batch counts as confirmed: its epoch waits for them.
    fn confirmation(&self, epoch: Epoch, encoded: &Encoded, meter: Arc<SinkMeter>) -> Confirmation {
        let completions = self.completions.clone();
        let (records, bytes) = (encoded.records, encoded.bytes.len());
        let letters = Arc::new(Mutex::new((Vec::new(), 0)));
        let (refused, feed) = (Arc::clone(&letters), Arc::clone(&self.feed));
        let refusing = Arc::clone(&meter);
        Confirmation::new(move || {
            let mut letters = letters.lock().unwrap_or_else(PoisonError::into_inner);
            let (letters, refused) = std::mem::take(&mut *letters);
            meter.delivered(records.saturating_sub(refused), bytes);
            completions.add(Completed { epoch, letters, refused });
        })
        .or_refused(move |record: Refused| {
            let mut letters = refused.lock().unwrap_or_else(PoisonError::into_inner);
            refusing.refused(record.fault.reason);
            let letter = Letter {
                received_at: feed.now(),
                component: refusing.id(),
                source: "",
                peer: None,
                fault: &record.fault,
                raw: &record.bytes,
                raw_bytes: record.bytes.len(),
                response_code: record.response_code,
            };
            letter.write(&mut letters.0);
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
        let waiting = &mut self.waiting[sink];
        while let Some((epoch, _)) = waiting.front()
            && self.feed.may_leave(*epoch)
            && let Some((epoch, batch)) = waiting.pop_front()
        {
            let Err(refused) = self.queues[sink].sender.try_send(batch) else { continue };
            // A sink that has ended unconfirmed is an error of its own, reported by whoever ran it;
            // the batch stays and holds up its epoch, which is the truth.
            waiting.push_front((epoch, refused.into_inner()));
            return;
        }
    }
}
