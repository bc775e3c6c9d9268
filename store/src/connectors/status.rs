//! The status of a connector: a plain state machine, fed with attempts, that knows no clock.
//!
//! ```text
//!              success                    two failures in a row, three of the last ten,
//!   starting ──────────▶ active ◀──┐      or more limits of rate in a row than are in order
//!      │                   │       │ success, and no failure for the hold
//!      │ failure           ▼       │
//!      └──────────────▶ warning ───┤
//!                          │       │
//!    nothing succeeds for  ▼       │      lasting cause (authentication, configuration):
//!    too long            error ────┘      error at once, from anywhere
//! ```
//!
//! # Hysteresis
//!
//! A single failure changes nothing. What has recovered and falls again within the hour must go
//! without failure for a *hold* before it counts as recovered, and the hold doubles with each such
//! relapse, from 30 seconds to ten minutes. So whatever the other side does, the first recovery is
//! told at once, and all in all there are at most a few dozen changes an hour; each says why.
//!
//! A limit of rate is neither a success nor a failure: it shows that the other side is there. So it
//! ends a row of failures that are not lasting, and holds up no recovery.
//!
//! What works may be *behind*: its attempts take too long, or what they give is old. That is a
//! warning from the second time in a row on, and one that has been behind recovers, once it is not,
//! under the same hold.

use azud_event::time::EventTime;
use azud_plan::component::{Attempt, Behind, Failed, Outcome};
use std::time::Duration;

/// How many failures in a row are no accident.
const FAILURES_IN_ROW: u32 = 2;

/// How many attempts are looked back at, and how many of them may fail.
const RECENT: u32 = 10;
const RECENT_FAILURES: u32 = 3;

/// How many failures in a row an error needs beside the time: an attempt an hour says little.
const ERROR_FAILURES: u32 = 3;

/// How often in a row what it gives must be late: one poll that catches up is in order.
const BEHIND_IN_ROW: u32 = 2;

/// The hold of the first relapse, and the longest.
const HOLD_MIN: Duration = Duration::from_secs(30);
const HOLD_MAX: Duration = Duration::from_secs(600);

/// For how long it must be active before its falls are forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3_600);

/// How long a message may be, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 500;

/// How a connector is; the names stand in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nothing was tried yet.
    Starting,
    /// It works.
    Active,
    /// It works at times.
    Warning,
    /// It does not work, and somebody should look.
    Error,
    /// Somebody switched it off, or no document has it any more.
    Disabled,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 5] =
        [Status::Starting, Status::Active, Status::Warning, Status::Error, Status::Disabled];

    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Active => "active",
            Status::Warning => "warning",
            Status::Error => "error",
            Status::Disabled => "disabled",
        }
    }

    /// Finds the status of a name.
    pub fn named(name: &str) -> Option<Self> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What a status follows from beside the attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// For how long nothing may succeed before that is an error.
    pub unreachable_after: Duration,
    /// How many limits of rate in a row are in order.
    pub limits_max: u32,
}

/// A change of status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: EventTime,
    /// From what.
    pub from: Status,
    /// To what.
    pub to: Status,
    /// Why, a stable word: the name of a cause, `rate_limited`, `succeeded`, `enabled`, `removed`.
    pub reason: String,
    /// Why, in words that a person can act on.
    pub message: String,
    /// The code of the answer, where there was one.
    pub http_status: Option<u16>,
}

/// The state machine of one connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    bounds: Bounds,
    pub status: Status,
    /// Why it is not active: a stable word.
    pub reason: Option<String>,
    /// Why, in words.
    pub message: Option<String>,
    pub since: EventTime,
    pub last_success: Option<EventTime>,
    pub failures_in_row: u32,
    limits_in_row: u32,
    /// Since when nothing succeeded, while attempts fail.
    failing_since: Option<EventTime>,
    /// The last attempts, the latest in the lowest bit: whether they failed.
    recent: u16,
    recent_count: u32,
    /// How often it fell again after it had recovered.
    relapses: u32,
    last_failure: Option<EventTime>,
    /// What is late, once it was often enough.
    behind: Option<Behind>,
    behind_in_row: u32,
    last_behind: Option<EventTime>,
    /// Whether it is a warning only because it is late: to fall from there is a relapse too.
    works_late: bool,
}

impl Machine {
    pub fn new(bounds: Bounds, at: EventTime, last_success: Option<EventTime>) -> Self {
        Machine {
            bounds,
            status: Status::Starting,
            reason: None,
            message: None,
            since: at,
            last_success,
            failures_in_row: 0,
            limits_in_row: 0,
            failing_since: None,
            recent: 0,
            recent_count: 0,
            relapses: 0,
            last_failure: None,
            behind: None,
            behind_in_row: 0,
            last_behind: None,
            works_late: false,
        }
    }

    /// Takes an attempt in; gives the change that it makes, if it makes one.
    pub fn attempt(&mut self, attempt: &Attempt) -> Option<Transition> {
        if self.status == Status::Disabled {
            return None;
        }
        match &attempt.outcome {
            Outcome::Succeeded => self.succeeded(attempt.at),
            Outcome::Limited { until } => self.limited(attempt.at, *until),
            Outcome::Failed(failed) => self.failed(attempt.at, failed),
        }
    }

    /// Takes in whether what it gives is late; gives the change that this makes, if it makes one.
    pub fn behind(&mut self, at: EventTime, behind: Option<Behind>) -> Option<Transition> {
        let Some(behind) = behind else {
            (self.behind, self.behind_in_row) = (None, 0);
            return self.tick(at);
        };
        self.behind_in_row = self.behind_in_row.saturating_add(1);
        if self.behind_in_row < BEHIND_IN_ROW || self.status == Status::Disabled {
            return None;
        }
        self.last_behind = Some(at);
        self.behind = Some(behind);
        match self.status {
            Status::Active | Status::Starting => self.be_late(at),
            // What does not work at all is worse than what is late.
            Status::Warning if self.failures_in_row == 0 => self.be_late(at),
            Status::Warning | Status::Error | Status::Disabled => None,
        }
    }

    /// Goes to where what is late stands, and says why.
    fn be_late(&mut self, at: EventTime) -> Option<Transition> {
        let Behind { what, message } = self.behind.clone()?;
        let told = self.fall(at, Status::Warning, what.name(), bounded(&message), None);
        self.works_late = true;
        told
    }

    /// Switches it off; the reason is `removed` or `disabled`.
    pub fn disable(&mut self, at: EventTime, reason: &str, message: &str) -> Option<Transition> {
        self.change(at, Status::Disabled, reason, message.to_owned(), None)
    }

    /// Begins anew, as at its first start.
    pub fn enable(&mut self, at: EventTime) -> Option<Transition> {
        let (from, last_success) = (self.status, self.last_success);
        if from != Status::Disabled {
            return None;
        }
        *self = Machine::new(self.bounds, at, last_success);
        self.status = from;
        self.change(at, Status::Starting, "enabled", "it was enabled".to_owned(), None)
    }

    fn succeeded(&mut self, at: EventTime) -> Option<Transition> {
        self.note(false);
        self.last_success = Some(at);
        (self.failures_in_row, self.limits_in_row, self.failing_since) = (0, 0, None);
        match self.status {
            Status::Active | Status::Disabled => None,
            Status::Starting | Status::Warning | Status::Error => self.recover(at),
        }
    }

    /// Lets time pass: what has worked last, and did not fail for the hold, has recovered, also
    /// when nothing is tried any more.
    pub fn tick(&mut self, at: EventTime) -> Option<Transition> {
        let down = matches!(self.status, Status::Warning | Status::Error);
        match down && self.last_success > self.last_failure && self.limits_in_row == 0 {
            true => self.recover(at),
            false => None,
        }
    }

    /// Goes up, if it did not fail for the hold.
    fn recover(&mut self, at: EventTime) -> Option<Transition> {
        if self.last_failure.is_some_and(|last| at.since(last) < self.hold()) {
            return None;
        }
        if self.behind.is_some() {
            return self.be_late(at);
        }
        if self.last_behind.is_some_and(|last| at.since(last) < self.hold()) {
            return None;
        }
        (self.recent, self.recent_count) = (0, 0);
        self.change(at, Status::Active, "succeeded", "it works".to_owned(), None)
    }

    fn limited(&mut self, at: EventTime, until: Option<EventTime>) -> Option<Transition> {
        self.limits_in_row = self.limits_in_row.saturating_add(1);
        if self.status != Status::Error {
            (self.failures_in_row, self.failing_since) = (0, None);
        }
        let enough = self.limits_in_row > self.bounds.limits_max;
        if !enough || !matches!(self.status, Status::Active | Status::Starting) {
            return None;
        }
        let until = until.map(|until| format!(", until {}", until.to_rfc3339()));
        let message = format!(
            "the other side limited our rate {} times in a row{}: poll less often, or ask for a \
             higher limit",
            self.limits_in_row,
            until.unwrap_or_default()
        );
        self.fall(at, Status::Warning, "rate_limited", message, Some(429))
    }

    fn failed(&mut self, at: EventTime, failed: &Failed) -> Option<Transition> {
        self.note(true);
        (self.last_failure, self.limits_in_row) = (Some(at), 0);
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        let since = *self.failing_since.get_or_insert(at);
        let (reason, http) = (failed.cause.name(), failed.http_status);
        let lasted = at.since(since);
        let too_long =
            lasted >= self.bounds.unreachable_after && self.failures_in_row >= ERROR_FAILURES;
        let message = bounded(&failed.message);
        if failed.cause.is_lasting() || too_long {
            let message = match failed.cause.is_lasting() {
                true => message,
                false => format!("nothing has worked for {}: {message}", span(lasted)),
            };
            return self.fall(at, Status::Error, reason, message, http);
        }
        let recent = self.recent.count_ones();
        match self.status {
            // Nobody has seen it work yet: what is wrong is told at once.
            Status::Starting => self.fall(at, Status::Warning, reason, message, http),
            Status::Active if self.failures_in_row >= FAILURES_IN_ROW => {
                self.fall(at, Status::Warning, reason, message, http)
            }
            Status::Active if recent >= RECENT_FAILURES => {
                let of = self.recent_count;
                let message = format!("{recent} of the last {of} attempts failed: {message}");
                self.fall(at, Status::Warning, reason, message, http)
            }
            Status::Warning => self.fall(at, Status::Warning, reason, message, http),
            // What somebody must set right stays said until something succeeds.
            Status::Active | Status::Error | Status::Disabled => None,
        }
    }

    /// Goes down, or says anew why it is down.
    fn fall(
        &mut self,
        at: EventTime,
        to: Status,
        reason: &str,
        message: String,
        http_status: Option<u16>,
    ) -> Option<Transition> {
        let worked = std::mem::take(&mut self.works_late) && to == Status::Error;
        if self.status == Status::Active || worked {
            self.relapses = match at.since(self.since) >= FORGIVEN_AFTER {
                true => 0,
                false => self.relapses.saturating_add(1),
            };
        }
        self.change(at, to, reason, message, http_status)
    }

    /// How long it must go without failure before it counts as recovered: nothing at first.
    fn hold(&self) -> Duration {
        match self.relapses.checked_sub(2) {
            None => Duration::ZERO,
            Some(times) => HOLD_MIN.saturating_mul(1 << times.min(10)).min(HOLD_MAX),
        }
    }

    fn change(
        &mut self,
        at: EventTime,
        to: Status,
        reason: &str,
        message: String,
        http_status: Option<u16>,
    ) -> Option<Transition> {
        let well = matches!(to, Status::Active);
        self.reason = (!well).then(|| reason.to_owned());
        self.message = (!well).then(|| message.clone());
        if to == self.status {
            return None;
        }
        let from = std::mem::replace(&mut self.status, to);
        self.since = at;
        Some(Transition { at, from, to, reason: reason.to_owned(), message, http_status })
    }

    fn note(&mut self, failed: bool) {
        self.recent = (self.recent << 1 | u16::from(failed)) & ((1 << RECENT) - 1);
        self.recent_count = (self.recent_count + 1).min(RECENT);
    }
}

/// Cuts a message at its bound, between two signs.
pub(crate) fn bounded(message: &str) -> String {
    match message.len() > MESSAGE_BYTES_MAX {
        true => {
            let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at));
            format!("{}…", &message[..end.unwrap_or(0)])
        }
        false => message.to_owned(),
    }
}

/// Writes a span of time for people: `7 min`.
fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
