//! Everything between the queue of a sink and one request over the network.
//!
//! ```text
//!   queue ─▶ group of batches ─▶ requests of whole records ─▶ send ──▶ delivered ─▶ confirm
//!                                          ▲                  │
//!                                          ├── pause ◀── may succeed later
//!                                          │                  │
//!                                          └── in halves ◀── refused ──▶ one record: set aside
//! ```
//!
//! A receiver that answers for each record alone ([`Unsent`]) is believed: those that it took are
//! delivered, those that it will never take are set aside, and the rest is sent again by itself.
//!
//! # What holds
//!
//! - A batch is confirmed when each of its records was delivered or set aside.
//! - Records go in the order of the queue, as long as one request is under way at a time.
//! - Whether trying again helps is what the [`Outlet`] says by [`FailureKind`], never read out of a
//!   text. In doubt it is tried again: late is better than lost.
//! - A refusal says that *something* in the request is wrong. The request is divided until a record
//!   is alone with its refusal, so that one bad record takes no other with it; that costs about
//!   twice as many requests as there are records when all are bad.
//! - What failed last is looked at again while nothing is left to send: else its status would be
//!   that of the last record, which was set aside, until the next one comes.

use super::circuit::{Circuit, Passage};
use super::groups::Groups;
use super::{DeliveryOptions, Trouble};
use crate::limits::LOOK_PAUSE_MIN;
use azud_event::clock::Clock;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::time::EventTime;
use azud_plan::component::{Attempt, Batch, Batches, Cause, Connector, Failed, Outcome, Refused};
use azud_plan::telemetry::SinkMeter;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What a sink over the network has of its own: sending one request.
pub(crate) trait Outlet: Send + Sync {
    /// Sends whole records, each with its delimiter. May be dropped at any time, and may be called
    /// again with the same records.
    fn send<'a>(&'a self, records: &'a [u8]) -> BoxFuture<'a, Result<(), Unsent>>;

    /// Looks whether the other side, which failed like this last, is there again and knows us.
    /// Changes nothing there.
    fn look<'a>(&'a self, last: &'a Failure) -> BoxFuture<'a, Result<(), Failure>>;
}

/// What of a request was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Nothing was.
    All(Failure),
    /// These records were not, by their number in the request, ascending; all others were.
    Some(Vec<(usize, Failure)>),
}

impl From<Failure> for Unsent {
    fn from(failure: Failure) -> Self {
        Unsent::All(failure)
    }
}

/// Why a request did not do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// Whose it is, and whether trying again helps.
    pub kind: FailureKind,
    /// What went wrong, with the beginning of the answer.
    pub message: String,
    /// The code of the answer.
    pub response_code: Option<u16>,
    /// How long the other side wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Says what it means for the status of the connector.
    fn outcome(&self, now: EventTime) -> Outcome {
        let cause = match (self.kind, self.response_code) {
            (FailureKind::Refused, _) => return Outcome::Succeeded,
            (FailureKind::Throttled, _) => {
                let until = self.retry_after.map(|pause| now.saturating_add(pause));
                return Outcome::Limited { until };
            }
            (FailureKind::Unreachable, _) => Cause::Unreachable,
            (FailureKind::Timeout, _) => Cause::Timeout,
            (FailureKind::Status, _) => Cause::Server,
            (FailureKind::Rejected, Some(401 | 403 | 407)) => Cause::Authentication,
            (FailureKind::Rejected, _) => Cause::Configuration,
        };
        let message = self.message.clone();
        Outcome::Failed(Failed { cause, message, http_status: self.response_code })
    }
}

/// The classes of failures; the names are labels of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The other side has too much to do.
    Throttled,
    /// The other side failed.
    Status,
    /// The other side does not want us: an address or credentials that somebody must set right.
    Rejected,
    /// The other side will never take what was sent.
    Refused,
}

impl FailureKind {
    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Unreachable => "unreachable",
            FailureKind::Timeout => "timeout",
            FailureKind::Throttled => "throttled",
            FailureKind::Status => "status",
            FailureKind::Rejected => "rejected",
            FailureKind::Refused => "refused",
        }
    }
}

/// A running sink over the network.
pub(crate) struct Delivery {
    outlet: Box<dyn Outlet>,
    options: DeliveryOptions,
    clock: Clock,
    meter: SinkMeter,
    circuit: Circuit,
    trouble: Mutex<Trouble>,
    connector: Option<Arc<dyn Connector>>,
    /// How the last request failed, if it did.
    down: Mutex<Option<Failure>>,
    /// Time of requests that the meter was not yet told, less than a second.
    untold: Mutex<Duration>,
}

/// Records that go together, by their number in the group, ascending.
struct Request {
    records: Vec<usize>,
    /// How often some of them were sent and not taken, beside others that were.
    tries: u64,
}

/// Some batches, as one run of records.
struct Group {
    batches: Vec<Batch>,
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`.
    ends: Vec<usize>,
    /// How many records each batch and those before it have.
    owners: Vec<usize>,
}

impl Group {
    /// Joins batches. What stands between two line feeds is a record, as the receiver sees it.
    fn new(mut batches: Vec<Batch>) -> Self {
        let mut bytes = Vec::new();
        let (mut ends, mut owners) = (Vec::new(), Vec::new());
        for batch in &mut batches {
            let (from, taken) = (bytes.len(), std::mem::take(&mut batch.bytes));
            if bytes.is_empty() {
                bytes = taken.into()
            } else {
                bytes.extend_from_slice(&taken)
            }
            let lines = bytes[from..].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            ends.extend(lines.map(|(at, _)| from + at + 1));
            // A batch whose last record has no delimiter still holds it.
            if ends.last().copied().unwrap_or(0) < bytes.len() {
                ends.push(bytes.len());
            }
            owners.push(ends.len());
        }
        Group { batches, bytes, ends, owners }
    }

    fn range(&self, records: Range<usize>) -> Range<usize> {
        let end = |records: usize| records.checked_sub(1).map_or(0, |last| self.ends[last]);
        end(records.start)..end(records.end)
    }

    /// Gives the bytes of some records, in their order.
    fn bytes(&self, records: &[usize]) -> Cow<'_, [u8]> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Cow::Borrowed(&[]);
        };
        if last - first + 1 == records.len() {
            return Cow::Borrowed(&self.bytes[self.range(*first..last + 1)]);
        }
        let each = records.iter().map(|record| &self.bytes[self.range(*record..record + 1)]);
        Cow::Owned(each.collect::<Vec<_>>().concat())
    }

    /// Cuts the records into requests within the bounds, the last first: a stack.
    fn requests(&self, options: &DeliveryOptions) -> Vec<Request> {
        let mut requests: Vec<Range<usize>> = Vec::new();
        for record in 0..self.ends.len() {
            if let Some(last) = requests.last_mut() {
                let grown = last.start..record + 1;
                let fits = self.range(grown.clone()).len() <= options.bytes_max;
                if fits && grown.len() <= options.records_max {
                    *last = grown;
                    continue;
                }
            }
            requests.push(record..record + 1);
        }
        requests.reverse();
        let request = |records: Range<usize>| Request { records: records.collect(), tries: 0 };
        requests.into_iter().map(request).collect()
    }

    /// Sets a record aside; `false` when there is no way out for it.
    fn refuse(&mut self, record: usize, failure: &Failure) -> bool {
        let owner = self.owners.partition_point(|records| *records <= record);
        let bytes = self.bytes[self.range(record..record + 1)].to_vec();
        let fault = Fault::new(Reason::Refused, failure.message.clone());
        let refused = Refused { fault, response_code: failure.response_code, bytes };
        self.batches[owner].confirmation.refuse(refused).is_ok()
    }
}

impl Delivery {
    /// Makes the delivery of a sink.
    pub fn new(
        (id, r#type): (&str, &'static str),
        outlet: Box<dyn Outlet>,
        options: DeliveryOptions,
        clock: Clock,
    ) -> Self {
        let trouble = Trouble::pausing(id, options.pause_first, options.pause_longest);
        Delivery {
            outlet,
            options,
            clock,
            meter: SinkMeter::new(id, r#type),
            circuit: Circuit::default(),
            trouble: Mutex::new(trouble),
            connector: None,
            down: Mutex::default(),
            untold: Mutex::new(Duration::ZERO),
        }
    }

    /// Says how requests go to this connector.
    pub fn reporting(mut self, connector: Option<Arc<dyn Connector>>) -> Self {
        self.connector = connector;
        self
    }

    /// Delivers until the queue ends.
    pub async fn run(self, batches: Batches) {
        let mut groups = Groups::new(batches, self.options.group_limits());
        let mut under_way = FuturesUnordered::new();
        let mut ended = false;
        while !ended || !under_way.is_empty() {
            let has_room = !ended && under_way.len() < self.options.concurrency;
            tokio::select! {
                group = groups.next(), if has_room => match group {
                    Some(batches) => under_way.push(self.deliver(Group::new(batches))),
                    None => ended = true,
                },
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                () = self.look(), if under_way.is_empty() => {}
            }
        }
    }

    /// Looks after a while whether the other side is there again, if the last request failed.
    async fn look(&self) {
        let last = locked(&self.down).clone();
        let Some(last) = last.filter(|_| self.connector.is_some()) else {
            return std::future::pending().await;
        };
        let pause = self.options.pause_longest.max(LOOK_PAUSE_MIN);
        sleep(pause.max(last.retry_after.unwrap_or_default())).await;
        let looked = timeout(self.options.timeout, self.outlet.look(&last)).await;
        let looked = looked.unwrap_or_else(|_| Err(self.late())).map_err(Unsent::All);
        self.note(b"", &looked);
    }

    /// Delivers all records of a group, or sets them aside, and confirms its batches.
    async fn deliver(&self, mut group: Group) {
        let mut requests = group.requests(&self.options);
        while let Some(Request { mut records, tries }) = requests.pop() {
            let Err(unsent) = self.send(&group.bytes(&records)).await else { continue };
            let failure = match unsent {
                Unsent::Some(items) => {
                    let again = self.sort_out(&mut group, &records, items, tries).await;
                    // On top of the rest, so that the order is kept as far as it can be.
                    requests.extend(again);
                    continue;
                }
                Unsent::All(failure) => failure,
            };
            if failure.kind == FailureKind::Refused && records.len() > 1 {
                let behind = records.split_off(records.len() / 2);
                requests.extend([behind, records].map(|records| Request { records, tries }));
                continue;
            }
            for record in records {
                if !group.refuse(record, &failure) {
                    let pause = locked(&self.trouble).failed(&failure);
                    sleep(pause).await;
                    requests.push(Request { records: vec![record], tries });
                    break;
                }
            }
        }
        group.batches.into_iter().for_each(|batch| batch.confirmation.confirm());
    }

    /// Sets aside what the receiver will never take of a request, and gives what is to be sent
    /// again, once it may be.
    async fn sort_out(
        &self,
        group: &mut Group,
        records: &[usize],
        items: Vec<(usize, Failure)>,
        tries: u64,
    ) -> Option<Request> {
        let given_up = self.options.retries_max.is_some_and(|most| tries >= most);
        let mut again: Vec<usize> = Vec::new();
        let (mut why, mut wanted): (Option<Failure>, _) = (None, Duration::ZERO);
        for (number, failure) in items {
            self.meter.error(failure.kind.name());
            let Some(record) = records.get(number) else { continue };
            let lost = given_up || failure.kind == FailureKind::Refused;
            if lost && group.refuse(*record, &failure) {
                continue;
            }
            again.push(*record);
            wanted = wanted.max(failure.retry_after.unwrap_or_default());
            why.get_or_insert(failure);
        }
        let Some(why) = why else {
            locked(&self.trouble).over();
            return None;
        };
        self.meter.attempt("retried");
        let pause = locked(&self.trouble).failed(&why);
        sleep(pause.max(wanted)).await;
        Some(Request { records: again, tries: tries + 1 })
    }

    /// Sends records until they are delivered, or it is clear that they will not be.
    async fn send(&self, records: &[u8]) -> Result<(), Unsent> {
        let mut passage = self.circuit.passage();
        let mut retries = 0;
        loop {
            passage.wait().await;
            let failure = match self.attempt(records).await {
                Ok(()) => {
                    self.answered(&mut passage, "delivered");
                    locked(&self.trouble).over();
                    return Ok(());
                }
                Err(Unsent::Some(items)) => {
                    self.answered(&mut passage, "delivered");
                    return Err(Unsent::Some(items));
                }
                Err(Unsent::All(failure)) => failure,
            };
            self.meter.error(failure.kind.name());
            if failure.kind == FailureKind::Refused {
                self.answered(&mut passage, "refused");
                return Err(failure.into());
            }
            passage.failed();
            self.meter.circuit(self.circuit.is_open());
            self.meter.attempt("retried");
            if self.options.retries_max.is_some_and(|most| retries >= most) {
                return Err(failure.into());
            }
            retries += 1;
            let pause = locked(&self.trouble).failed(&failure);
            sleep(pause.max(failure.retry_after.unwrap_or_default())).await;
        }
    }

    fn answered(&self, passage: &mut Passage<'_>, outcome: &'static str) {
        passage.answered();
        self.meter.circuit(false);
        self.meter.attempt(outcome);
    }

    async fn attempt(&self, records: &[u8]) -> Result<(), Unsent> {
        let begun = self.clock.monotonic();
        let sent = timeout(self.options.timeout, self.outlet.send(records)).await;
        let mut untold = locked(&self.untold);
        *untold += self.clock.monotonic().saturating_sub(begun);
        self.meter.took(untold.as_secs());
        *untold = Duration::from_nanos(u64::from(untold.subsec_nanos()));
        drop(untold);
        let sent = sent.unwrap_or_else(|_| Err(self.late().into()));
        self.note(records, &sent);
        sent
    }

    fn late(&self) -> Failure {
        let message = format!("no answer within {:?}", self.options.timeout);
        let kind = FailureKind::Timeout;
        Failure { kind, message, response_code: None, retry_after: None }
    }

    /// Notes how a request went.
    fn note(&self, records: &[u8], sent: &Result<(), Unsent>) {
        *locked(&self.down) = match sent {
            Err(Unsent::All(failure)) if failure.kind != FailureKind::Refused => {
                Some(failure.clone())
            }
            Ok(()) | Err(_) => None,
        };
        self.report(records, sent);
    }

    /// Says how a request went. That a record was refused says that the other side is there.
    fn report(&self, records: &[u8], sent: &Result<(), Unsent>) {
        let Some(connector) = &self.connector else { return };
        let at = self.clock.now();
        let lines = records.iter().filter(|byte| **byte == b'\n').count();
        let (outcome, taken) = match sent {
            Ok(()) => (Outcome::Succeeded, lines),
            Err(Unsent::Some(items)) => (Outcome::Succeeded, lines.saturating_sub(items.len())),
            Err(Unsent::All(failure)) => (failure.outcome(at), 0),
        };
        let bytes = if sent.is_ok() { records.len() } else { 0 };
        let (records, bytes) = (taken as u64, bytes as u64);
        connector.report(Attempt { at, outcome, requests: 1, records, bytes });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics is done under these locks, and none is held across an await.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
