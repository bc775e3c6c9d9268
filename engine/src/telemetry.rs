//! The engine's counting: plain integers on the worker, given to the recorder once an activation.

use azud_event::dead_letter::Reason;
use azud_event::record::Record;
use azud_plan::telemetry::{self as names, component_labels};
use metrics::{Counter, Gauge, Label, counter, gauge};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;

/// The counters of one component on one worker.
pub struct ComponentMeter {
    labels: Vec<Label>,
    received: Batched,
    sent: Batched,
    discarded: Batched,
    dropped: Batched,
    /// Records set aside, and errors that stopped nothing, by reason, not yet handed over.
    dead: BTreeMap<Reason, u64>,
    errors: BTreeMap<Reason, u64>,
}

/// What was counted and not yet handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    counts: [u64; 4],
    dead: BTreeMap<Reason, u64>,
    errors: BTreeMap<Reason, u64>,
}

/// A counter that is added to on a worker and handed over once in a while.
struct Batched {
    counter: Counter,
    pending: u64,
}

impl Batched {
    fn new(name: &'static str, labels: Vec<Label>) -> Self {
        Batched { counter: counter!(name, labels), pending: 0 }
    }

    fn flush(&mut self) {
        if self.pending > 0 {
            self.counter.increment(std::mem::take(&mut self.pending));
        }
    }
}

impl ComponentMeter {
    /// Makes the counters of a component.
    pub fn new(id: &str, kind: &'static str, r#type: &'static str, pipeline: &str) -> Self {
        let labels = component_labels(id, kind, r#type, pipeline);
        let with = |intentional: &'static str| {
            let mut labels = labels.clone();
            labels.push(Label::new("intentional", intentional));
            Batched::new(names::DISCARDED_EVENTS, labels)
        };
        ComponentMeter {
            received: Batched::new(names::RECEIVED_EVENTS, labels.clone()),
            sent: Batched::new(names::SENT_EVENTS, labels.clone()),
            discarded: with("true"),
            dropped: with("false"),
            dead: BTreeMap::new(),
            errors: BTreeMap::new(),
            labels,
        }
    }

    /// Counts events received.
    pub fn received(&mut self, events: u64) {
        self.received.pending += events;
    }

    /// Counts events given on.
    pub fn sent(&mut self, events: u64) {
        self.sent.pending += events;
    }

    /// Counts an event that its author wanted gone.
    pub fn discarded(&mut self) {
        self.discarded.pending += 1;
    }

    /// Counts an event that could not go on and was set aside.
    pub fn dead(&mut self, reason: Reason) {
        self.dropped.pending += 1;
        *self.dead.entry(reason).or_default() += 1;
    }

    /// Counts an error that stopped nothing.
    pub fn error(&mut self, reason: Reason) {
        *self.errors.entry(reason).or_default() += 1;
    }

    /// Gives what was counted and not yet handed over.
    pub fn pending(&self) -> Pending {
        let mut pending = Pending::default();
        self.note(&mut pending);
        pending
    }

    /// Notes what was counted and not yet handed over, in the place of what was noted before.
    pub fn note(&self, pending: &mut Pending) {
        let counters = [&self.received, &self.sent, &self.discarded, &self.dropped];
        pending.counts = counters.map(|counter| counter.pending);
        for (now, noted) in [(&self.dead, &mut pending.dead), (&self.errors, &mut pending.errors)] {
            // Both are empty nearly always, and this is done for every result.
            if !now.is_empty() || !noted.is_empty() {
                noted.clone_from(now);
            }
        }
    }

    /// Goes back to an earlier [`ComponentMeter::pending`].
    pub fn rewind(&mut self, pending: Pending) {
        let Pending { counts, dead, errors } = pending;
        [self.received.pending, self.sent.pending, self.discarded.pending, self.dropped.pending] =
            counts;
        (self.dead, self.errors) = (dead, errors);
    }

    /// Hands what was counted to the recorder.
    pub fn flush(&mut self) {
        for counter in [&mut self.received, &mut self.sent, &mut self.discarded, &mut self.dropped]
        {
            counter.flush();
        }
        let dead = std::mem::take(&mut self.dead);
        let errors = std::mem::take(&mut self.errors);
        let dead = dead.into_iter().map(|it| (names::DEAD_LETTERS, "reason", it));
        let errors = errors.into_iter().map(|it| (names::ERRORS, "error_type", it));
        for (name, label, (reason, count)) in dead.chain(errors) {
            let mut labels = self.labels.clone();
            labels.push(Label::new(label, reason.name()));
            counter!(name, labels).increment(count);
        }
    }
}

/// Counts a revision of an alert, by what it says of itself. The labels are bounded: rules are
/// those of the plan, severities and changes are words of the alert's schema.
pub fn count_alert(record: &Record) {
    let text = |path: OwnedValuePath| {
        let text = record.get_bytes(&path);
        text.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    };
    let rule = text(owned_value_path!("rule", "id"));
    let severity = text(owned_value_path!("severity"));
    let change = text(owned_value_path!("change"));
    counter!(names::ALERTS, "rule" => rule, "severity" => severity, "change" => change)
        .increment(1);
}

/// The counters of one sink, moved by workers and by its own task.
pub struct SinkMeter {
    received_events: Counter,
    sent_events: Counter,
    sent_bytes: Counter,
    queue_gauge: Gauge,
    unconfirmed_gauge: Gauge,
    unconfirmed: AtomicUsize,
    total: AtomicU64,
    id: String,
    labels: Vec<Label>,
    /// Since when, by the monotonic clock, the sink has owed an answer; `None` when it owes none.
    owing_since: Mutex<Option<Duration>>,
    clock: azud_event::clock::Clock,
}

impl SinkMeter {
    /// Makes the counters of a sink.
    pub fn new(
        id: &str,
        r#type: &'static str,
        pipeline: &str,
        clock: azud_event::clock::Clock,
    ) -> Self {
        let labels = component_labels(id, "sink", r#type, pipeline);
        SinkMeter {
            received_events: counter!(names::RECEIVED_EVENTS, labels.clone()),
            sent_events: counter!(names::SENT_EVENTS, labels.clone()),
            sent_bytes: counter!(names::SENT_BYTES, labels.clone()),
            queue_gauge: gauge!(names::SINK_QUEUE_BATCHES, labels.clone()),
            unconfirmed_gauge: gauge!(names::SINK_UNCONFIRMED_SECONDS, labels.clone()),
            id: id.to_owned(),
            labels,
            unconfirmed: AtomicUsize::new(0),
            total: AtomicU64::new(0),
            owing_since: Mutex::new(None),
            clock,
        }
    }

    /// Counts a batch on its way to the sink.
    pub fn queued(&self, records: usize) {
        self.received_events.increment(records as u64);
        if self.unconfirmed.fetch_add(1, Relaxed) == 0 {
            self.owe(Some(self.clock.monotonic()));
        }
    }

    /// Counts a batch of an earlier run that the sink is given.
    pub fn resumed(&self) {
        if self.unconfirmed.fetch_add(1, Relaxed) == 0 {
            self.owe(Some(self.clock.monotonic()));
        }
    }

    /// Counts a batch that the sink has confirmed.
    pub fn delivered(&self, records: usize, bytes: usize) {
        self.sent_events.increment(records as u64);
        self.sent_bytes.increment(bytes as u64);
        self.total.fetch_add(records as u64, Relaxed);
        self.done();
    }

    /// Counts a batch that was let go, as the sink's author wants it.
    pub fn dropped(&self, records: usize) {
        let mut labels = self.labels.clone();
        labels.push(Label::new("intentional", "true"));
        counter!(names::DISCARDED_EVENTS, labels).increment(records as u64);
        self.done();
    }

    fn done(&self) {
        let left = self.unconfirmed.fetch_sub(1, Relaxed) - 1;
        self.owe((left > 0).then(|| self.clock.monotonic()));
    }

    /// Gives its labels.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Gives the sink's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Counts a record that the sink's receiver will never take, and which is set aside.
    pub fn refused(&self, reason: Reason) {
        let mut labels = self.labels.clone();
        labels.push(Label::new("reason", reason.name()));
        counter!(names::DEAD_LETTERS, labels).increment(1);
    }

    /// How long the sink has confirmed nothing though it has something to confirm.
    pub fn stalled_for(&self) -> Duration {
        let since = *self.owing_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| self.clock.monotonic().saturating_sub(since))
    }

    /// How many records it has delivered.
    pub fn delivered_total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Sets the gauges; called on a timer.
    pub fn upkeep(&self) {
        self.queue_gauge.set(self.unconfirmed.load(Relaxed) as f64);
        self.unconfirmed_gauge.set(self.stalled_for().as_secs_f64());
    }

    fn owe(&self, since: Option<Duration>) {
        *self.owing_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = since;
    }
}
