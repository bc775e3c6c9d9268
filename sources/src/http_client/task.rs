//! When a connector is polled, and by whom.
//!
//! ```text
//!  lease ─▶ state read anew ─▶ wait ─▶ poll ─▶ report ─▶ wait …
//!    ▲        (new term)        │ ▲
//!    └── renewed meanwhile      └─┴── asked for: now, reread, stop
//! ```

use super::late;
use super::poller::{Acks, BROKEN_AFTER, Poller, Tally};
use super::schedule::Schedule;
use azud_client::Failure;
use azud_event::time::EventTime;
use azud_plan::component::{
    Asked, Cause, Connector, Connectors, Lease, Outcome, RunError, SourceContext,
};
use futures_util::future::{Either, select};
use futures_util::pin_mut;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a lease is taken for; it is renewed three times as often. A takeover takes as long.
const LEASE: Duration = Duration::from_secs(20);

/// How long to wait before the database is asked again that did not answer, or said that another
/// process has the lease.
const LEASE_PAUSE: Duration = Duration::from_secs(5);

/// The longest that a first poll waits, so that hundreds that start together do not ask together.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// Makes the poller of a connector.
pub(super) type Make = Arc<
    dyn Fn(Arc<dyn Connector>, SourceContext, Arc<Acks>) -> Result<Poller, String> + Send + Sync,
>;

/// Which connectors are polled.
pub(super) enum Who {
    /// That of the source itself.
    Own(Arc<dyn Connectors>, Arc<dyn Connector>),
    /// All that match a pattern.
    Matching(Arc<dyn Connectors>, String),
}

/// Polls until it is time to stop.
pub(super) async fn run(who: Who, make: Make, context: SourceContext) -> Result<(), RunError> {
    let acks = Arc::<Acks>::default();
    let acknowledged = Arc::clone(&context.acknowledged);
    let shutdown = context.shutdown.clone();
    let polling = async {
        match who {
            Who::Own(connectors, connector) => {
                let name = connector.name().to_owned();
                let made = make(connector, context.clone(), Arc::clone(&acks));
                let mut runner = Runner::new(made.map_err(|message| RunError { message })?);
                loop {
                    until_enabled(&*connectors, &name).await;
                    runner.run().await;
                }
            }
            Who::Matching(connectors, pattern) => {
                match_up(&*connectors, &pattern, &make, &context, &acks).await
            }
        }
    };
    let driving = acks.drive(&acknowledged);
    pin_mut!(polling, driving);
    let ended = async {
        match select(polling, driving).await {
            Either::Left((ended, _)) => ended,
            Either::Right(_) => Ok(()),
        }
    };
    pin_mut!(ended);
    // What is on its way is claimed, and handed over at the next start.
    match select(ended, shutdown).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => Ok(()),
    }
}

/// Runs a poller for each connector that matches, as they come and go.
async fn match_up(
    connectors: &dyn Connectors,
    pattern: &str,
    make: &Make,
    context: &SourceContext,
    acks: &Arc<Acks>,
) -> Result<(), RunError> {
    // Each in a task of its own, so that one that reads a large answer does not hold up the others;
    // they end with this future.
    let mut running = JoinSet::<String>::new();
    let mut names = HashSet::<String>::new();
    loop {
        // Asked for first, so that no change is missed.
        let changed = connectors.changed();
        let mut held = HashSet::new();
        match connectors.matching(pattern).await {
            Ok(found) => {
                for connector in found {
                    let name = connector.name().to_owned();
                    if !names.insert(name.clone()) {
                        held.insert(name);
                        continue;
                    }
                    match make(connector, context.clone(), Arc::clone(acks)) {
                        Ok(poller) => {
                            running.spawn(async move {
                                let mut runner = Runner::new(poller);
                                runner.run().await;
                                runner.poller.say_ended().await;
                                name
                            });
                        }
                        Err(error) => {
                            tracing::error!(connector = %name, error, "a connector is not polled");
                        }
                    }
                }
            }
            Err(error) => tracing::error!(pattern, %error, "connectors cannot be looked up"),
        }
        let pause = tokio::time::sleep(4 * LEASE);
        pin_mut!(changed, pause);
        loop {
            tokio::select! {
                () = &mut changed => break,
                () = &mut pause => break,
                Some(ended) = running.join_next() => match ended {
                    Ok(name) => {
                        names.remove(&name);
                        // It was there again before it had ended.
                        if held.contains(&name) {
                            break;
                        }
                    }
                    Err(error) => {
                        // A bug of ours: as everywhere else, it does not go on unseen.
                        if let Ok(panic) = error.try_into_panic() {
                            std::panic::resume_unwind(panic);
                        }
                    }
                },
            }
        }
    }
}

/// Waits while a connector is disabled. A database that does not answer does not disable it.
async fn until_enabled(connectors: &dyn Connectors, name: &str) {
    loop {
        let changed = connectors.changed();
        match connectors.matching(name).await {
            Ok(found) if found.is_empty() => changed.await,
            _ => return,
        }
    }
}

/// Why a runner stops waiting or polling.
enum Word {
    Asked(Asked),
    LeaseLost,
}

/// Polls one connector.
struct Runner {
    poller: Poller,
    lease: Option<Lease>,
    /// Whether the state must be read before the next poll.
    stale: bool,
    /// When the next poll is due, by the monotonic clock.
    due: Duration,
    first: bool,
    /// When it began.
    since: EventTime,
}

impl Runner {
    fn new(poller: Poller) -> Self {
        let (due, since) = (Duration::ZERO, poller.clock().now());
        Runner { poller, lease: None, stale: true, due, first: true, since }
    }

    /// Runs until the connector is disabled. What is begun then is begun anew.
    async fn run(&mut self) {
        self.stale = true;
        self.since = self.poller.clock().now();
        loop {
            if !self.hold_lease().await {
                if self.rest().await {
                    return;
                }
                continue;
            }
            if self.stale {
                match self.poller.reload().await {
                    Ok(()) => self.stale = false,
                    Err(failure) => {
                        self.report(&failure, Tally::default());
                        if self.rest().await {
                            return;
                        }
                        continue;
                    }
                }
                if std::mem::take(&mut self.first) {
                    self.first_due();
                }
                self.poller.say_begun().await;
            }
            match self.wait().await {
                Some(Word::Asked(Asked::Stop)) => return,
                Some(Word::Asked(Asked::Reread)) => self.stale = true,
                Some(Word::Asked(Asked::Now)) | None => {
                    if self.poll().await {
                        return;
                    }
                }
                Some(Word::LeaseLost) => self.lease = None,
            }
        }
    }

    /// Waits while nothing can be done; `true` when the connector was disabled meanwhile.
    async fn rest(&mut self) -> bool {
        if let Err(failure) = self.poller.hand_over_passed(false).await {
            tracing::error!(connector = self.poller.connector.name(), error = %failure,
                "what was polled before cannot be handed over now");
        }
        let pause = tokio::time::sleep(LEASE_PAUSE);
        pin_mut!(pause);
        let asked = self.poller.connector.asked();
        matches!(select(asked, pause).await, Either::Left((Asked::Stop, _)))
    }

    /// Takes or renews the lease; another term means that another process was in between.
    async fn hold_lease(&mut self) -> bool {
        match self.poller.connector.lease(LEASE).await {
            Ok(Some(lease)) => {
                self.stale |= self.lease.is_none_or(|known| known.term != lease.term);
                self.lease = Some(lease);
                true
            }
            Ok(None) => {
                self.lease = None;
                self.stale = true;
                false
            }
            Err(error) => {
                let failure = super::poller::local(error);
                self.report(&failure, Tally::default());
                // A lease that is still held is good until its end.
                self.lease.is_some_and(|lease| self.poller.clock().monotonic() < lease.until)
            }
        }
    }

    /// Resolves when the lease is not held any more.
    async fn keep_lease(
        connector: &dyn Connector,
        poller_clock: &azud_event::clock::Clock,
        held: Lease,
    ) {
        let mut until = held.until;
        loop {
            let left = until.saturating_sub(poller_clock.monotonic());
            tokio::time::sleep((left / 2).min(LEASE / 3).max(Duration::from_millis(100))).await;
            match connector.lease(LEASE).await {
                Ok(Some(lease)) if lease.term == held.term => until = lease.until,
                Ok(_) => return,
                Err(_) if poller_clock.monotonic() < until => {}
                Err(_) => return,
            }
        }
    }

    /// Sets when the first poll is due: soon, but not with all others at once.
    fn first_due(&mut self) {
        let share = self.poller.backoff.random();
        let now = self.poller.clock().now();
        let ahead = match &self.poller.settings.schedule {
            Schedule::Every(every) => (*every / 4).min(FIRST_MAX).mul_f64(share),
            Schedule::Calendar(calendar) => {
                let last = self.poller.state.polled_at.map(EventTime::from_nanoseconds);
                let due = calendar.after(last.unwrap_or(now)).unwrap_or(now);
                due.since(now) + FIRST_MAX.mul_f64(share).min(Duration::from_secs(1))
            }
        };
        self.due = self.poller.clock().monotonic() + ahead;
    }

    /// Waits until a poll is due, or something else is to be done.
    async fn wait(&mut self) -> Option<Word> {
        let lease = self.lease?;
        let now = self.poller.clock().monotonic();
        let ahead = self.due.saturating_sub(now);
        self.poller.connector.next_attempt(self.poller.clock().now().saturating_add(ahead));
        let connector = Arc::clone(&self.poller.connector);
        let clock = self.poller.clock().clone();
        tokio::select! {
            biased;
            asked = connector.asked() => Some(Word::Asked(asked)),
            () = Self::keep_lease(&*connector, &clock, lease) => Some(Word::LeaseLost),
            () = tokio::time::sleep(ahead) => None,
        }
    }

    /// Polls, and sets when the next poll is due; `true` when the connector was disabled meanwhile.
    async fn poll(&mut self) -> bool {
        let Some(lease) = self.lease else { return false };
        let (begun, now) = (self.poller.clock().monotonic(), self.poller.clock().now());
        let allowed = late::allowance(&self.poller.settings.schedule, now);
        let connector = Arc::clone(&self.poller.connector);
        let clock = self.poller.clock().clone();
        let mut tally = Tally::default();
        let keeping = Self::keep_lease(&*connector, &clock, lease);
        let stopping = stopped(&*connector);
        let polled = tokio::select! {
            biased;
            () = keeping => {
                self.lease = None;
                self.stale = true;
                return false;
            }
            reread = stopping => {
                self.stale = true;
                return !reread;
            }
            () = watch(&*connector, &clock, allowed) => return false,
            polled = self.poller.poll(&mut tally) => polled,
        };
        if polled.is_err() && self.poller.is_overtaken {
            // Nothing went wrong: it begins again where somebody has set it.
            self.stale = true;
            return false;
        }
        let took = self.poller.clock().monotonic().saturating_sub(begun);
        let pause = self.conclude(&polled, tally, (took, allowed));
        let after = match pause {
            Some(pause) => self.poller.clock().monotonic() + pause,
            None => self.next_due(begun),
        };
        self.due = after;
        false
    }

    /// Reports a poll; gives the pause that a failed one asks for.
    fn conclude(
        &mut self,
        polled: &Result<(), Failure>,
        tally: Tally,
        spans: (Duration, Duration),
    ) -> Option<Duration> {
        match polled {
            Ok(()) => {
                self.poller.backoff.reset();
                self.poller.context.meter.polled(tally.pages);
                self.poller.tell(Outcome::Succeeded, tally);
                let (now, max_lag) = (self.poller.clock().now(), self.poller.settings.max_lag);
                let behind = late::ended(spans, (&self.poller.state, now), max_lag, self.since);
                self.poller.connector.behind(now, behind);
                // A walk that is not at its end goes on at once.
                self.poller.state.walk.is_some().then_some(Duration::ZERO)
            }
            Err(failure) => {
                let mut tally = tally;
                if failure.limited && tally.records > 0 {
                    // Up to the limit it worked, and the next poll goes on from there.
                    self.poller.backoff.reset();
                    self.poller.tell(Outcome::Succeeded, std::mem::take(&mut tally));
                }
                // What the database has may be further, or less far, than what is known here.
                self.stale |= failure.cause == Cause::Local;
                let pause = self.poller.backoff.next_pause();
                let every = match &self.poller.settings.schedule {
                    Schedule::Every(every) => *every,
                    Schedule::Calendar(_) => self.poller.settings.retry.max,
                };
                let broken = self.poller.backoff.attempts() >= BROKEN_AFTER;
                let pause = if broken { pause.max(every) } else { pause.min(every) };
                self.report(failure, tally);
                Some(pause.max(failure.retry_after.unwrap_or_default()))
            }
        }
    }

    fn next_due(&self, begun: Duration) -> Duration {
        let now = self.poller.clock().monotonic();
        match &self.poller.settings.schedule {
            Schedule::Every(every) => {
                // On the beat on which it began, leaving out what went by meanwhile.
                let due = begun + *every;
                if due > now { due } else { now }
            }
            Schedule::Calendar(calendar) => {
                let time = self.poller.clock().now();
                now + calendar.after(time).map_or(Duration::from_secs(60), |due| due.since(time))
            }
        }
    }

    fn report(&mut self, failure: &Failure, tally: Tally) {
        let meter = &self.poller.context.meter;
        if failure.limited {
            meter.error("limited");
            let now = self.poller.clock().now();
            let until = failure.retry_after.map(|wait| now.saturating_add(wait));
            return self.poller.tell(Outcome::Limited { until }, tally);
        }
        meter.error(failure.cause.name());
        // What it means is told once, when the status changes by it.
        tracing::debug!(connector = self.poller.connector.name(), cause = failure.cause.name(),
            error = %failure, "a poll failed");
        self.poller.tell(Outcome::Failed(failure.failed()), tally);
    }
}

/// Says of a poll that is under way, again and again, that it takes too long. Never resolves.
async fn watch(connector: &dyn Connector, clock: &azud_event::clock::Clock, allowed: Duration) {
    let begun = clock.monotonic();
    for told in 0.. {
        tokio::time::sleep(late::under_way(allowed, told)).await;
        let took = clock.monotonic().saturating_sub(begun);
        connector.behind(clock.now(), Some(late::still(took, allowed)));
    }
    std::future::pending().await
}

/// Resolves when a running poll must be broken off: `true` when its cursor was set, `false` when it
/// was disabled.
async fn stopped(connector: &dyn Connector) -> bool {
    loop {
        match connector.asked().await {
            Asked::Now => {}
            Asked::Reread => return true,
            Asked::Stop => return false,
        }
    }
}
