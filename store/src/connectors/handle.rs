//! One connector of the running instance: what its component tells and asks.

use super::status::{Bounds, Machine, bounded};
use super::writer::{Request, unavailable};
use super::{ConnectorRow, Progress, Status, Transition};
use crate::Store;
use crate::credentials;
use crate::keys::Keyring;
use crate::seal::Place;
use crate::statements::{self, CursorChange, SealedCursor, row_name};
use crate::uses::Uses;
use azud_event::time::EventTime;
use azud_plan::component::{
    Asked, Attempt, Behind, Connector, ConnectorError, Cursor, Lease, Outcome, Secret,
};
use azud_plan::telemetry::ConnectorMeter;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use uuid::Uuid;

/// How many changes of status are kept while the database is down; of more the latest are.
const CHANGES_MAX: usize = 32;

/// How many things that somebody asked for wait for the connector.
const ASKED_MAX: usize = 8;

/// The longest lease: another process takes over within half a minute.
const LEASE_MAX: Duration = Duration::from_secs(25);

/// What all connectors of an instance share.
pub(super) struct Shared {
    pub store: Arc<Store>,
    pub keyring: Arc<Keyring>,
    /// To the task that writes.
    pub requests: mpsc::Sender<Request>,
    /// Wakes that task: a status has changed.
    pub urgent: Notify,
    /// Counts when changes of status may have been written.
    pub told: watch::Sender<u64>,
    /// What is told of credentials.
    pub uses: Uses,
}

/// One connector.
pub(super) struct Handle {
    shared: Arc<Shared>,
    pub id: Uuid,
    name: String,
    state: Mutex<State>,
    woken: Notify,
}

struct State {
    meter: ConnectorMeter,
    machine: Machine,
    labels: BTreeMap<String, String>,
    /// The versions of the row, as they were last seen.
    seen: (u64, u64),
    /// How often cursors had been set from outside when they were read.
    read: Option<u64>,
    asked: VecDeque<Asked>,
    lease: Option<Lease>,
    last_attempt: Option<EventTime>,
    next_attempt: Option<EventTime>,
    last_error: Option<String>,
    last_error_at: Option<EventTime>,
    records: u64,
    bytes: u64,
    attempts: u64,
    failures: u64,
    changes: VecDeque<Transition>,
    flaps: u64,
    is_dirty: bool,
}

impl Handle {
    pub fn new(shared: Arc<Shared>, row: &ConnectorRow, bounds: Bounds) -> Self {
        let mut machine = Machine::new(bounds, row.status_since, row.last_successful_connection);
        if !row.enabled || row.removed_at.is_some() {
            machine.disable(row.status_since, "disabled", "");
        }
        let mut meter = ConnectorMeter::new(&row.name, &row.kind, &row.r#type);
        meter.status(machine.status.name());
        if let Some(at) = row.last_successful_connection {
            meter.succeeded(at.nanoseconds() as f64 / 1e9);
        }
        if let Some(interval) = row.interval_seconds {
            meter.interval(interval as f64);
        }
        let state = State {
            meter,
            machine,
            labels: row.labels.clone(),
            seen: (row.version, row.cursor_version),
            read: None,
            asked: VecDeque::new(),
            lease: None,
            last_attempt: row.last_attempt_at,
            next_attempt: None,
            last_error: row.last_error.clone(),
            last_error_at: row.last_error_at,
            records: 0,
            bytes: 0,
            attempts: 0,
            failures: 0,
            changes: VecDeque::new(),
            flaps: 0,
            is_dirty: false,
        };
        let id = Uuid::parse_str(&row.id).expect("it was written from a UUID");
        let (name, woken) = (row.name.clone(), Notify::new());
        Handle { shared, id, name, state: Mutex::new(state), woken }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is done under the lock, and it is held across no await.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self) -> (Status, Option<String>) {
        let state = self.state();
        (state.machine.status, state.machine.message.clone())
    }

    /// Asks it for something; what is asked twice is asked once.
    pub fn ask(&self, asked: Asked) {
        let mut state = self.state();
        if !state.asked.contains(&asked) && state.asked.len() < ASKED_MAX {
            state.asked.push_back(asked);
        }
        drop(state);
        self.woken.notify_one();
    }

    /// Takes in what somebody has changed of its row.
    pub fn follow(&self, row: &ConnectorRow, now: EventTime) {
        let mut state = self.state();
        let (version, cursor_version) =
            std::mem::replace(&mut state.seen, (row.version, row.cursor_version));
        if version == row.version && cursor_version == row.cursor_version {
            return;
        }
        state.labels.clone_from(&row.labels);
        let runs = row.enabled && row.removed_at.is_none();
        let changed = match runs {
            // The row says so already, and has its line in the history.
            true => state.machine.enable(now),
            false => state.machine.disable(now, "disabled", ""),
        };
        if changed.is_some() {
            state.meter.status(state.machine.status.name());
        }
        drop(state);
        if !runs {
            self.ask(Asked::Stop);
        } else if cursor_version != row.cursor_version {
            self.ask(Asked::Reread);
        }
    }

    /// Lets time pass.
    pub fn tick(&self, now: EventTime) {
        let mut state = self.state();
        let changed = state.machine.tick(now);
        self.changed(state, changed);
    }

    /// Takes in a change of the status, if there is one, and has it written at once.
    fn changed(&self, mut state: MutexGuard<'_, State>, changed: Option<Transition>) {
        let Some(change) = changed else { return };
        state.meter.status(change.to.name());
        state.changes.push_back(change.clone());
        state.bound_changes();
        state.is_dirty = true;
        drop(state);
        self.tell(&change);
        self.shared.urgent.notify_one();
    }

    /// Takes what there is to write, if there is something.
    pub fn take_progress(&self) -> Option<Progress> {
        let mut state = self.state();
        if !std::mem::take(&mut state.is_dirty) || state.machine.status == Status::Disabled {
            return None;
        }
        let take = std::mem::take::<u64>;
        Some(Progress {
            id: self.id,
            status: state.machine.status,
            reason: state.machine.reason.clone(),
            message: state.machine.message.clone(),
            since: state.machine.since,
            last_success: state.machine.last_success,
            last_attempt: state.last_attempt,
            next_attempt: state.next_attempt,
            last_error: state.last_error.clone(),
            last_error_at: state.last_error_at,
            failures_in_row: state.machine.failures_in_row,
            records: take(&mut state.records),
            bytes: take(&mut state.bytes),
            attempts: take(&mut state.attempts),
            failures: take(&mut state.failures),
            changes: std::mem::take(&mut state.changes).into(),
            flaps: take(&mut state.flaps),
        })
    }

    /// Puts back what could not be written, before what has come since.
    pub fn put_back(&self, progress: Progress) {
        let mut state = self.state();
        state.records += progress.records;
        state.bytes += progress.bytes;
        state.attempts += progress.attempts;
        state.failures += progress.failures;
        state.flaps += progress.flaps;
        for change in progress.changes.into_iter().rev() {
            state.changes.push_front(change);
        }
        state.bound_changes();
        state.is_dirty = true;
    }

    fn tell(&self, change: &Transition) {
        let (connector, status) = (self.name.as_str(), change.to.name());
        let (reason, message) = (change.reason.as_str(), change.message.as_str());
        match change.to {
            Status::Error => tracing::error!(connector, status, reason, "{message}"),
            Status::Warning => tracing::warn!(connector, status, reason, "{message}"),
            _ => tracing::info!(connector, status, reason, "{message}"),
        }
    }

    /// Sends a change of a cursor to the task that writes, and waits until it is durable.
    async fn change_cursor(&self, change: CursorChange) -> Result<(), ConnectorError> {
        let (reply, done) = oneshot::channel();
        let sent = self.shared.requests.send(Request::Cursor { change, reply }).await;
        sent.map_err(|_| unavailable())?;
        done.await.unwrap_or_else(|_| Err(unavailable()))
    }

    fn term(&self) -> Option<u64> {
        match self.shared.store.is_shared() {
            true => Some(self.state().lease.map_or(0, |lease| lease.term)),
            false => None,
        }
    }
}

impl State {
    fn bound_changes(&mut self) {
        while self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
            self.flaps += 1;
        }
    }
}

impl Connector for Handle {
    fn name(&self) -> &str {
        &self.name
    }

    fn labels(&self) -> BTreeMap<String, String> {
        self.state().labels.clone()
    }

    fn report(&self, attempt: Attempt) {
        let mut state = self.state();
        if state.machine.status == Status::Disabled {
            return;
        }
        state.attempts += 1;
        state.records += attempt.records;
        state.bytes += attempt.bytes;
        state.last_attempt = Some(attempt.at);
        state.is_dirty = true;
        state.meter.attempt(&attempt);
        if let Outcome::Failed(failed) = &attempt.outcome {
            state.failures += 1;
            state.last_error = Some(bounded(&failed.message));
            state.last_error_at = Some(attempt.at);
        }
        let changed = state.machine.attempt(&attempt);
        self.changed(state, changed);
    }

    fn behind(&self, at: EventTime, behind: Option<Behind>) {
        let mut state = self.state();
        let before = state.machine.message.clone();
        let changed = state.machine.behind(at, behind);
        state.is_dirty |= state.machine.message != before;
        self.changed(state, changed);
    }

    fn next_attempt(&self, at: EventTime) {
        let mut state = self.state();
        state.is_dirty |= state.next_attempt != Some(at);
        state.next_attempt = Some(at);
    }

    fn cursors(&self) -> BoxFuture<'_, Result<BTreeMap<String, Cursor>, ConnectorError>> {
        let Shared { store, keyring, .. } = &*self.shared;
        async move {
            // A save whose caller was broken off may still be on its way.
            let (reply, done) = oneshot::channel();
            let sent = self.shared.requests.send(Request::Flush { reply }).await;
            sent.map_err(|_| unavailable())?;
            done.await.map_err(|_| unavailable())?;
            let read = statements::cursors_and_version(&store.readers, self.id).await;
            let (rows, version) =
                read.map_err(|error| ConnectorError::Unavailable(error.to_string()))?;
            let mut cursors = BTreeMap::new();
            for row in rows {
                let name = row_name(self.id, Some(&row.partition));
                let opened = keyring.open_fresh(store, place(&name), &row.sealed).await;
                let state = opened.map_err(|why| {
                    ConnectorError::Unreadable(format!(
                        "the cursor of `{}` does not open: {why}; reset it with `azud connectors \
                         cursor reset`, or see `azud keys verify`",
                        self.name
                    ))
                })?;
                let (summary, event_time) = (row.summary, row.event_time);
                let cursor =
                    Cursor { state: state.to_vec(), format: row.format, summary, event_time };
                cursors.insert(row.partition, cursor);
            }
            self.state().read = Some(version);
            Ok(cursors)
        }
        .boxed()
    }

    fn save<'a>(
        &'a self,
        partition: &'a str,
        cursor: &'a Cursor,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        async move {
            let name = row_name(self.id, Some(partition));
            let sealed = self.shared.keyring.seal(place(&name), &cursor.state);
            let sealed = sealed.map_err(|error| ConnectorError::Unavailable(error.to_string()))?;
            let cursor = SealedCursor {
                sealed,
                summary: bounded(&cursor.summary),
                event_time: cursor.event_time,
                format: cursor.format,
            };
            let (partition, term) = (partition.to_owned(), self.term());
            let (id, version, cursor) = (self.id, self.state().read, Some(cursor));
            self.change_cursor(CursorChange { id, partition, cursor, term, version }).await
        }
        .boxed()
    }

    fn forget<'a>(&'a self, partition: &'a str) -> BoxFuture<'a, Result<(), ConnectorError>> {
        let (partition, term) = (partition.to_owned(), self.term());
        let (id, version) = (self.id, self.state().read);
        self.change_cursor(CursorChange { id, partition, cursor: None, term, version }).boxed()
    }

    fn token<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, ConnectorError>> {
        let Shared { store, keyring, .. } = &*self.shared;
        credentials::refresh_token(store, keyring, name, &self.name).boxed()
    }

    fn keep_token<'a>(
        &'a self,
        name: &'a str,
        token: &'a Secret,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        let Shared { store, keyring, .. } = &*self.shared;
        credentials::keep_refresh_token(store, keyring, (name, &self.name), token).boxed()
    }

    fn lease(&self, length: Duration) -> BoxFuture<'_, Result<Option<Lease>, ConnectorError>> {
        let length = length.min(LEASE_MAX);
        async move {
            let now = self.shared.store.clock.monotonic();
            if !self.shared.store.is_shared() {
                return Ok(Some(Lease { until: now + length, term: 1 }));
            }
            // What is good for long enough is not asked for again.
            let held = self.state().lease.filter(|lease| lease.until > now + length / 2);
            if held.is_some() {
                return Ok(held);
            }
            let (reply, done) = oneshot::channel();
            let request = Request::Lease { id: self.id, length, reply };
            self.shared.requests.send(request).await.map_err(|_| unavailable())?;
            let term = done.await.unwrap_or_else(|_| Err(unavailable()))?;
            let lease = term.map(|term| Lease { until: now + length, term });
            self.state().lease = lease;
            Ok(lease)
        }
        .boxed()
    }

    fn asked(&self) -> BoxFuture<'_, Asked> {
        async move {
            loop {
                // Listening before looking, so that nothing falls between the two.
                let woken = self.woken.notified();
                if let Some(asked) = self.state().asked.pop_front() {
                    return asked;
                }
                woken.await;
            }
        }
        .boxed()
    }
}

fn place(row: &str) -> Place<'_> {
    Place { table: "connector_cursors", row, field: "cursor" }
}
