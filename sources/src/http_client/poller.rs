//! What polls one connector: its requests, and how a page becomes durable.

use super::super::decoding::Decoding;
use super::pace::Pace;
use super::request::Requests;
use super::seen::Seen;
use super::settings::Settings;
use super::spool::{Page, Spool};
use super::state::{Claim, State, Stream, Walk};
use super::template::Values;
use crate::limits::PROGRESS_EVERY;
use azud_client::header::{HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use azud_client::{Answer, Auth, Backoff, Failure, Http, Request};
use azud_event::block::{Block, Layout, Peer};
use azud_event::clock::Clock;
use azud_event::id::StreamId;
use azud_event::time::EventTime;
use azud_plan::component::{
    Acknowledged, Attempt, Cause, Connector, ConnectorError, Outcome, Secrets, SourceContext,
};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a request that failed waits within its poll; what would wait longer ends the poll.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// From so many failed polls in a row on a request is made once.
pub(super) const BROKEN_AFTER: u32 = 5;

/// What a poll did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) pages: u64,
}

/// Up to where each stream of a source is in the log, or delivered.
#[derive(Default)]
pub(super) struct Acks {
    ends: Mutex<HashMap<StreamId, u64>>,
    changed: Notify,
}

impl Acks {
    /// Takes in what the engine notes, for ever.
    pub(super) async fn drive(&self, acknowledged: &Acknowledged) {
        loop {
            let noted = acknowledged.changed().await;
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            for (stream, end) in noted {
                let known = ends.entry(stream).or_insert(0);
                *known = (*known).max(end);
            }
            drop(ends);
            self.changed.notify_waiters();
        }
    }

    /// Waits until everything of a stream before `end` is.
    async fn until(&self, stream: StreamId, end: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
                if ends.get(&stream).is_some_and(|known| *known >= end) {
                    ends.remove(&stream);
                    return;
                }
            }
            changed.await;
        }
    }
}

/// What polls one connector.
pub(super) struct Poller {
    pub(super) source: String,
    pub(super) settings: Arc<Settings>,
    pub(super) http: Http,
    pub(super) auth: Option<Auth>,
    pub(super) secrets: Arc<dyn Secrets>,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) context: SourceContext,
    pub(super) acks: Arc<Acks>,
    pub(super) spool: Spool,
    pub(super) seen: Option<Seen>,
    pub(super) pace: Pace,
    pub(super) backoff: Backoff,
    pub(super) state: State,
    /// Whether the state is further than what is saved of it.
    pub(super) dirty: bool,
    /// Whether somebody set the cursor since it was read.
    pub(super) is_overtaken: bool,
    /// The page that is claimed and was handed over without the lease.
    pub(super) given: Option<String>,
    /// Pages whose files are of no use once the state is saved.
    pub(super) done: Vec<String>,
    /// When it was last told how it goes, by the monotonic clock.
    pub(super) told_at: Duration,
    /// Whether the walk that is under way was begun here: of one that another process began, it is
    /// not known here what it gave.
    pub(super) begun_here: bool,
}

impl Poller {
    pub(super) fn clock(&self) -> &Clock {
        &self.context.clock
    }

    pub(super) fn context(&self) -> &SourceContext {
        &self.context
    }

    /// Tells how a poll, or a part of it, went.
    pub(super) fn tell(&mut self, outcome: Outcome, tally: Tally) {
        let Tally { requests, records, bytes, pages: _ } = tally;
        self.told_at = self.clock().monotonic();
        let at = self.clock().now();
        self.connector.report(Attempt { at, outcome, requests, records, bytes });
    }

    /// Tells now and then of a poll of many pages that it works: its end may be hours away.
    pub(super) fn progress(&mut self, tally: &mut Tally) {
        let since = self.clock().monotonic().saturating_sub(self.told_at);
        if since >= PROGRESS_EVERY {
            self.backoff.reset();
            let pages = tally.pages;
            self.tell(Outcome::Succeeded, std::mem::take(tally));
            tally.pages = pages;
        }
    }

    /// Whether when it polled last must be known after a restart.
    pub(super) fn keeps_polled_at(&self) -> bool {
        matches!(self.settings.schedule, super::schedule::Schedule::Calendar(_))
    }

    /// Reads the state anew, and hands over what was claimed and may not be in the log.
    pub(super) async fn reload(&mut self) -> Result<(), Failure> {
        self.state = self.stored().await?;
        self.dirty = false;
        self.is_overtaken = false;
        self.begun_here = false;
        self.done.clear();
        if let Some(claim) = self.state.claim.clone() {
            match self.get(&claim.page).await? {
                Some(page) => {
                    self.hand_over(&page).await?;
                    self.state = claim.after.clone();
                    self.done.push(claim.page);
                }
                // Its records are lost: it is asked for again.
                None if claim.folder == self.spool.id() => {
                    tracing::warn!(
                        connector = self.connector.name(),
                        page = claim.page,
                        "a page that was polled is gone from the data folder; it is polled again"
                    );
                    self.state.claim = None;
                }
                None => self.pass_over(&claim),
            }
            self.dirty = true;
            self.settle_up().await?;
        }
        self.hand_over_passed(true).await
    }

    /// Hands over what this process claimed and another passed over. Files that nobody claimed are
    /// removed by whoever holds the lease: their pages are asked for again.
    pub(super) async fn hand_over_passed(&mut self, holds_lease: bool) -> Result<(), Failure> {
        let state = match holds_lease {
            true => self.state.clone(),
            false => self.stored().await?,
        };
        for name in self.names().await? {
            let claimed = state.claim.as_ref().is_some_and(|claim| claim.page == name);
            if claimed && !holds_lease {
                // It stays: that a page of this folder is gone would mean that nobody has it.
                if self.given.as_ref() != Some(&name)
                    && let Some(page) = self.get(&name).await?
                {
                    self.hand_over(&page).await?;
                    self.given = Some(name);
                }
                continue;
            }
            if state.passed.contains(&name) {
                if let Some(page) = self.get(&name).await? {
                    self.hand_over(&page).await?;
                }
                self.dirty |= self.state.passed.contains(&name);
                self.state.passed.retain(|passed| *passed != name);
            } else if !holds_lease {
                continue;
            }
            self.remove(vec![name]).await?;
        }
        Ok(())
    }

    /// Goes on behind a page that another process claimed, which has it on its disk.
    fn pass_over(&mut self, claim: &Claim) {
        tracing::warn!(
            connector = self.connector.name(),
            page = claim.page,
            "another process polled this page and has not handed it over yet; it does when it \
             runs again with its data folder, and until then its records are missing here"
        );
        self.context.meter.error("page_elsewhere");
        self.state = self.state.passing(claim);
    }

    async fn stored(&self) -> Result<State, Failure> {
        let cursors = self.connector.cursors().await.map_err(local)?;
        match cursors.get("") {
            Some(cursor) => State::read(cursor).map_err(local),
            None => Ok(State::default()),
        }
    }

    /// Takes the records of a page: from here on they are not lost, and not taken twice. Without
    /// records only the state moves on.
    pub(super) async fn commit(
        &mut self,
        lines: Vec<Vec<u8>>,
        seen: Vec<u64>,
        mut after: State,
    ) -> Result<(), Failure> {
        if lines.is_empty() {
            self.dirty |= after != self.state;
            self.state = after;
            return Ok(());
        }
        let now = self.clock().now();
        let mut stream = self.state.stream.unwrap_or(Stream::beginning(now));
        let id = stream.id(&self.source, self.connector.name());
        let page = Page::new((id, stream.position), now, &lines, seen);
        stream.position = page.end().1;
        after.stream = Some(stream);
        after.sequence = self.state.sequence + 1;
        let name = format!("{:012}-{}", after.sequence, azud_client::sign::nonce(6));
        let (spool, at) = (self.spool.clone(), name.clone());
        let page = Arc::new(page);
        let put = Arc::clone(&page);
        blocking(move || spool.put(&at, &put)).await?;
        let claimed = self.state.claiming(&name, self.spool.id(), &after);
        self.save(&claimed).await?;
        let done = std::mem::take(&mut self.done);
        self.remove(done).await?;
        self.hand_over(&page).await?;
        self.state = after;
        self.dirty = true;
        self.done.push(name);
        Ok(())
    }

    /// Hands a page over, and waits until it is in the log or delivered.
    async fn hand_over(&mut self, page: &Page) -> Result<(), Failure> {
        for block in page.blocks(self.context.source) {
            self.context.intake.submit(block).await;
        }
        let (stream, end) = page.end();
        self.acks.until(stream, end).await;
        let now = self.clock().now().nanoseconds();
        if let Some(seen) = &mut self.seen {
            seen.note(&page.seen, now);
            // A file that is written within milliseconds, as often as there are pages.
            seen.write(&page.seen, now).map_err(disk)?;
        }
        Ok(())
    }

    /// Says that it is at work, and when it speaks again: who reads nothing of it for longer knows
    /// that something is wrong.
    pub(super) async fn say_begun(&mut self) {
        self.say(self.complete(EventTime::MIN)).await;
    }

    /// Says up to where everything was handed over, as far as that is known within a walk that
    /// began then, or at its end.
    pub(super) async fn say_complete(&mut self, began: EventTime) {
        let last = self.state.last_event_time.map(EventTime::from_nanoseconds);
        let happens_when_received =
            self.settings.event_time.is_none() && self.settings.decoding != Decoding::Syslog;
        let onward = self.settings.goes_onward();
        let to = match &self.state.walk {
            _ if happens_when_received => Some(began),
            None if self.settings.slices.is_some() => {
                self.state.sliced_to.map(EventTime::from_nanoseconds)
            }
            None => {
                // A later page, or another parent, may show what is newer than what the other side
                // had for those that were asked before.
                let last = if onward { last } else { last.min(Some(began)) };
                // What happened just before may not be there yet on the other side.
                last.max(Some(began.saturating_sub(self.settings.max_hold)))
            }
            // Pages in order are as good as a connection. If not, older records may follow.
            Some(walk) if onward && !walk.unordered => walk.shown.map(EventTime::from_nanoseconds),
            Some(_) => None,
        };
        let to = to.map(|to| to.min(self.clock().now()));
        self.say(self.complete(to.unwrap_or(EventTime::MIN))).await;
    }

    fn complete(&self, to: EventTime) -> Layout {
        let again = match self.settings.is_awaited {
            true => self.settings.schedule.pause(self.clock().now()),
            false => Duration::ZERO,
        };
        Layout::Complete { to, again }
    }

    /// Says that nothing more comes of this connector, and that nobody need wait for it.
    pub(super) async fn say_ended(&mut self) {
        self.say(Layout::End).await;
    }

    async fn say(&mut self, layout: Layout) {
        let now = self.clock().now();
        let stream = *self.state.stream.get_or_insert(Stream::beginning(now));
        self.context
            .intake
            .submit(Block {
                source: self.context.source,
                stream: stream.id(&self.source, self.connector.name()),
                position: stream.position,
                end: stream.position,
                received_at: now,
                bytes: Bytes::new(),
                layout,
                peers: [Peer::named(self.connector.name())].into(),
            })
            .await;
    }

    /// Notes ids that came again.
    pub(super) fn renew(&mut self, hashes: &[u64]) -> Result<(), Failure> {
        let now = self.clock().now().nanoseconds();
        match &mut self.seen {
            Some(seen) => seen.renew(hashes, now).map_err(disk),
            None => Ok(()),
        }
    }

    /// Saves the state, where it is further than what is saved.
    pub(super) async fn settle_up(&mut self) -> Result<(), Failure> {
        if self.dirty {
            self.save(&self.state.clone()).await?;
            self.dirty = false;
        }
        let done = std::mem::take(&mut self.done);
        self.remove(done).await
    }

    async fn save(&mut self, state: &State) -> Result<(), Failure> {
        let saved = self.connector.save("", &state.write()).await;
        self.is_overtaken |= saved == Err(ConnectorError::Changed);
        saved.map_err(local)
    }

    async fn get(&self, name: &str) -> Result<Option<Page>, Failure> {
        let (spool, name) = (self.spool.clone(), name.to_owned());
        blocking(move || spool.get(&name)).await
    }

    async fn names(&self) -> Result<Vec<String>, Failure> {
        let spool = self.spool.clone();
        blocking(move || spool.names()).await
    }

    async fn remove(&self, names: Vec<String>) -> Result<(), Failure> {
        if names.is_empty() {
            return Ok(());
        }
        let spool = self.spool.clone();
        blocking(move || names.iter().try_for_each(|name| spool.remove(name))).await
    }

    /// Gives what makes the requests.
    pub(super) fn requests(&self) -> Requests<'_> {
        Requests {
            settings: &self.settings,
            connector: &*self.connector,
            secrets: &*self.secrets,
            http: &self.http,
        }
    }

    /// Gives what the texts of a request are filled with.
    pub(super) fn values(&self, state: &State, walk: &Walk, parent: Option<&Value>) -> Values {
        self.requests().values(state, walk, parent)
    }

    /// Gives where the next slice of time begins.
    pub(super) fn slice_start(&self, state: &State, now: EventTime) -> Option<EventTime> {
        self.requests().slice_start(state, now)
    }

    /// Makes the first request of a walk.
    pub(super) async fn request(&self, state: &State, values: &Values) -> Result<Request, Failure> {
        self.requests().request(state, values).await
    }

    pub(super) fn ask_for_changes(&self, request: &mut Request, state: &State) {
        if !self.settings.conditional {
            return;
        }
        for (name, value) in [(IF_NONE_MATCH, &state.etag), (IF_MODIFIED_SINCE, &state.modified)] {
            let value = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok());
            if let Some(value) = value {
                request.headers.insert(name, value);
            }
        }
    }

    /// Makes a request until it has an answer that is worth looking at.
    pub(super) async fn fetch(
        &mut self,
        request: &Request,
        tally: &mut Tally,
    ) -> Result<Answer, Failure> {
        let broken = self.backoff.attempts() >= BROKEN_AFTER;
        let attempts = if broken { 1 } else { self.settings.retry.attempts };
        let mut pauses = self.backoff.fork();
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.pace.turn().await?;
            let begun = self.clock().monotonic();
            let sent = self.http.send(request, self.auth.as_ref()).await;
            let took = self.clock().monotonic().saturating_sub(begun);
            tally.requests += 1;
            let class = match &sent {
                Ok(answer) => class(answer.status.as_u16()),
                Err(_) => "none",
            };
            self.context.meter.requested(class, took);
            let failure = match sent {
                Ok(answer) => {
                    tally.bytes += answer.body.len() as u64;
                    self.pace.note(&answer);
                    self.requests().told(&answer);
                    match answer.status.as_u16() {
                        408 | 425 | 429 | 500.. => answer.failure(self.http.redactor()),
                        _ => return Ok(answer),
                    }
                }
                Err(failure) => failure,
            };
            let passing = matches!(
                failure.cause,
                Cause::Server | Cause::Timeout | Cause::Unreachable | Cause::Response
            );
            let pause = pauses.next_pause().max(failure.retry_after.unwrap_or_default());
            if !passing || attempt >= attempts || pause > WAIT_MAX {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Gives the labels of a row that runs a definition it shares, as they stand in records.
    pub(super) fn labels_json(&self) -> Option<String> {
        self.settings.connector.as_ref()?;
        let labels = self.connector.labels().into_iter();
        let labels: Map<String, Value> = labels.map(|(name, value)| (name, value.into())).collect();
        (!labels.is_empty()).then(|| Value::Object(labels).to_string())
    }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

pub(super) fn local(error: ConnectorError) -> Failure {
    Failure::new(Cause::Local, error.to_string())
}

fn disk(error: io::Error) -> Failure {
    Failure::new(Cause::Local, format!("a page cannot be kept on disk: {error}"))
}

/// Does what waits for a disk where waiting is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|done| done).map_err(disk)
}
