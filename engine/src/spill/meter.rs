//! What is shown of a sink that may stall: gauges, and words for `/ready` and the log.

use crate::limits::STALL_TOLD_INTERVAL;
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::telemetry as names;
use metrics::{Counter, Gauge, Label, counter, gauge};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The state that a sink is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkState {
    /// What comes goes through memory.
    Flowing,
    /// It does not deliver; what comes goes to disk.
    Spilling,
    /// It delivers what is on disk.
    Draining,
    /// It does not deliver; what comes is let go.
    Dropping,
    /// It does not deliver, and its spill holds what it may: its pipeline waits.
    Full,
    /// It does not deliver, and the disk has no room for its spill: its pipeline waits.
    NoRoom,
    /// Its receiver went back, and what it lacks is not kept any more: it is given nothing.
    Held,
}

impl SinkState {
    const ALL: [(SinkState, &'static str); 7] = [
        (SinkState::Flowing, "flowing"),
        (SinkState::Spilling, "spilling"),
        (SinkState::Draining, "draining"),
        (SinkState::Dropping, "dropping"),
        (SinkState::Full, "full"),
        (SinkState::NoRoom, "no_room"),
        (SinkState::Held, "held"),
    ];
}

/// What is shown of one sink.
pub struct StallMeter {
    id: String,
    clock: Clock,
    states: [Gauge; 7],
    spilled_events: Counter,
    spilled_bytes: Counter,
    damaged_bytes: Counter,
    bytes: Gauge,
    events: Gauge,
    oldest: Gauge,
    told: Mutex<Told>,
    /// Why the sink is held.
    held: Mutex<String>,
}

struct Told {
    state: SinkState,
    /// Since when.
    since: EventTime,
    /// When a word was last said that the sink has stalled, by the monotonic clock.
    said: Option<Duration>,
    /// Whether a word is owed that it is well again.
    owed: bool,
}

impl StallMeter {
    /// Makes the gauges of a sink.
    pub fn new(id: &str, labels: &[Label], clock: Clock, max_bytes: Option<u64>) -> Self {
        let states = SinkState::ALL.map(|(_, name)| {
            let mut labels = labels.to_vec();
            labels.push(Label::new("state", name));
            gauge!(names::SINK_STATE, labels)
        });
        if let Some(max_bytes) = max_bytes {
            gauge!(names::SINK_SPILL_MAX_BYTES, labels.to_vec()).set(max_bytes as f64);
        }
        let (state, since) = (SinkState::Flowing, clock.now());
        let meter = StallMeter {
            id: id.to_owned(),
            clock,
            states,
            spilled_events: counter!(names::SINK_SPILLED_EVENTS, labels.to_vec()),
            spilled_bytes: counter!(names::SINK_SPILLED_BYTES, labels.to_vec()),
            damaged_bytes: counter!(names::SINK_SPILL_DAMAGED_BYTES, labels.to_vec()),
            bytes: gauge!(names::SINK_SPILL_BYTES, labels.to_vec()),
            events: gauge!(names::SINK_SPILL_EVENTS, labels.to_vec()),
            oldest: gauge!(names::SINK_SPILL_OLDEST_SECONDS, labels.to_vec()),
            told: Mutex::new(Told { state, since, said: None, owed: false }),
            held: Mutex::default(),
        };
        meter.show(SinkState::Flowing);
        meter
    }

    /// Notes the state that the sink is in; says in the log when it stalls and when it is well.
    pub fn enter(&self, state: SinkState) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.state == state {
            return;
        }
        told.state = state;
        told.since = self.clock.now();
        self.show(state);
        let now = self.clock.monotonic();
        let recently = told.said.is_some_and(|said| now < said + STALL_TOLD_INTERVAL);
        let id = self.id.as_str();
        match state {
            SinkState::Full => {
                tracing::error!(
                    component_id = id,
                    "the spill of `{id}` is full, and its pipeline waits; the sink must deliver, \
                     or `spill.max_bytes` must be larger"
                );
            }
            SinkState::NoRoom => {
                tracing::error!(
                    component_id = id,
                    "the disk has no room for the spill of `{id}`, and its pipeline waits; make \
                     room in the data folder's file system, or let the sink deliver"
                );
            }
            SinkState::Spilling if !recently => {
                tracing::warn!(
                    component_id = id,
                    "sink `{id}` has stalled: what comes for it is kept on disk"
                );
            }
            SinkState::Dropping if !recently => {
                tracing::warn!(
                    component_id = id,
                    "sink `{id}` has stalled: what comes for it is dropped, and counted"
                );
            }
            SinkState::Flowing if told.owed => {
                tracing::info!(component_id = id, "sink `{id}` has caught up");
            }
            _ => {}
        }
        match state {
            SinkState::Full | SinkState::NoRoom => told.owed = true,
            SinkState::Spilling | SinkState::Dropping if !recently => {
                told.said = Some(now);
                told.owed = true;
            }
            SinkState::Flowing => told.owed = false,
            _ => {}
        }
    }

    /// Notes that the sink is held, and why.
    pub fn hold(&self, why: String) {
        tracing::error!(component_id = self.id, "{why}");
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Counts a batch that was put into the spill.
    pub fn spilled(&self, records: usize, bytes: usize) {
        self.spilled_events.increment(records as u64);
        self.spilled_bytes.increment(bytes as u64);
    }

    /// Counts bytes of the spill that cannot be read.
    pub fn damaged(&self, bytes: u64) {
        self.damaged_bytes.increment(bytes);
        tracing::error!(
            component_id = self.id,
            bytes,
            "the spill of `{}` is damaged, and goes on behind it; what could not be read is kept \
             below `damaged` in its folder",
            self.id
        );
    }

    /// Says what waits in the spill, and since when.
    pub fn holds(&self, bytes: u64, events: u64, oldest: Option<EventTime>) {
        self.bytes.set(bytes as f64);
        self.events.set(events as f64);
        let age = oldest.map_or(Duration::ZERO, |oldest| self.clock.now().since(oldest));
        self.oldest.set(age.as_secs_f64());
    }

    /// Tells in which state the sink is, and since when.
    pub fn state(&self) -> (SinkState, EventTime) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (told.state, told.since)
    }

    /// Says in words that the sink is stalled, or still has something on disk; `None` when not.
    pub fn word(&self) -> Option<String> {
        let (state, since) = self.state();
        let what = match state {
            SinkState::Flowing => return None,
            SinkState::Spilling => "has stalled, and what comes for it is kept on disk",
            SinkState::Draining => "delivers what was kept on disk",
            SinkState::Dropping => "has stalled, and what comes for it is dropped",
            SinkState::Full => "has stalled, its spill is full, and its pipeline waits",
            SinkState::NoRoom => {
                "has stalled, the disk has no room for its spill, and its pipeline waits"
            }
            SinkState::Held => {
                let why = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                return Some(why.clone());
            }
        };
        Some(format!("sink `{}` {what}, since {}", self.id, since.to_rfc3339()))
    }

    fn show(&self, state: SinkState) {
        for (gauge, (other, _)) in self.states.iter().zip(SinkState::ALL) {
            gauge.set(if other == state { 1.0 } else { 0.0 });
        }
    }
}
