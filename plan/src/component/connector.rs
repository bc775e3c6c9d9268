//! Connectors: what an instance knows, and keeps, of each component that talks to the outside.
//!
//! A component says how its attempts went ([`Connector::report`]); the status that people see is
//! made of that in one place, for all kinds alike. It keeps its cursor with it
//! ([`Connector::save`]), and of several processes that have one database only the one that holds
//! the lease polls ([`Connector::lease`]).

use super::Secret;
use azud_event::time::EventTime;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The connectors of the instance, a service of it ([`super::Services`]).
pub trait Connectors: Send + Sync {
    /// Gives the connector of a component; its row is there before components are built.
    fn of(&self, component: &str) -> Arc<dyn Connector>;

    /// Gives the enabled connectors whose names match a pattern (`okta-*`), in the order of their
    /// names: those that a definition with `connector = "okta-*"` runs for, which somebody added. A
    /// name without a star gives the connector of that name, also a document's own.
    fn matching<'a>(
        &'a self,
        pattern: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Arc<dyn Connector>>, ConnectorError>>;

    /// Resolves when [`Connectors::matching`] may give something else than before.
    fn changed(&self) -> BoxFuture<'static, ()>;
}

/// The changes of status of all connectors, as they are kept: a service of the instance, added as
/// `Arc<Arc<dyn StatusHistory>>`.
///
/// The contract:
/// - Each change has a number, and one that is kept later a greater one; so who knows how far it
///   has read misses nothing (checked by the tests of the store, on both databases).
/// - Of changes that come too often, one may stand for several ([`StatusChange::flaps`]). It then
///   takes the place of one that was there, under a number of its own.
pub trait StatusHistory: Send + Sync {
    /// Names the database for good: the numbers of another say nothing.
    fn database(&self) -> String;

    /// Gives the number that the newest change had when this process began.
    fn beginning(&self) -> u64;

    /// Gives the changes behind a number, in the order of their numbers, at most so many.
    fn behind(
        &self,
        number: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<StatusChange>, ConnectorError>>;

    /// Resolves when there may be more of them than when this was called.
    fn changed(&self) -> BoxFuture<'static, ()>;
}

/// A change of the status of a connector, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    /// Its number, from one.
    pub number: u64,
    /// When the status changed.
    pub at: EventTime,
    /// The id of the connector.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What sort of thing it is: the name of a [`ConnectorKind`].
    pub kind: String,
    /// The `type` of its component.
    pub r#type: String,
    /// What tells it from others of its definition, as it is now.
    pub labels: BTreeMap<String, String>,
    /// The status before.
    pub from: String,
    /// The status since.
    pub to: String,
    /// Why, a stable word.
    pub reason: String,
    /// Why, in words that a person can act on.
    pub message: Option<String>,
    /// The code of the answer, where there was one.
    pub http_status: Option<i64>,
    /// How many changes before it are not told apart.
    pub flaps: u64,
}

/// Whether a name matches a pattern, in which `*` stands for any signs.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// One connector.
pub trait Connector: Send + Sync {
    /// Its name, unique in the database.
    fn name(&self) -> &str;

    /// What its row adds to the settings of its definition: `labels` and the like, by name.
    fn labels(&self) -> BTreeMap<String, String>;

    /// Says how an attempt went. Never waits: what is told is written behind the caller's back.
    fn report(&self, attempt: Attempt);

    /// Says after an attempt that succeeded, or while one takes its time, whether what it gives is
    /// late; `None` says that it is not, or not any more. Never waits.
    fn behind(&self, at: EventTime, behind: Option<Behind>);

    /// Says when the next attempt is due.
    fn next_attempt(&self, at: EventTime);

    /// Gives the saved cursors, by partition; of most there is one, under the empty name.
    fn cursors(&self) -> BoxFuture<'_, Result<BTreeMap<String, Cursor>, ConnectorError>>;

    /// Saves a cursor; it is durable when this returns.
    ///
    /// # Errors
    /// When the database does not take it, another process holds the lease now, or somebody has
    /// set the cursor since it was read ([`Connector::cursors`]).
    fn save<'a>(
        &'a self,
        partition: &'a str,
        cursor: &'a Cursor,
    ) -> BoxFuture<'a, Result<(), ConnectorError>>;

    /// Gives up the cursor of a partition that is no longer.
    fn forget<'a>(&'a self, partition: &'a str) -> BoxFuture<'a, Result<(), ConnectorError>>;

    /// Takes or renews the lease for this process, for so long. `None`: another process has it.
    /// With an embedded database there is nobody else.
    fn lease(&self, length: Duration) -> BoxFuture<'_, Result<Option<Lease>, ConnectorError>>;

    /// Gives a token that was kept under a name: a refresh token that is good for one use.
    fn token<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, ConnectorError>>;

    /// Keeps a token in place of the one of that name, sealed; it is durable when this returns.
    fn keep_token<'a>(
        &'a self,
        name: &'a str,
        token: &'a Secret,
    ) -> BoxFuture<'a, Result<(), ConnectorError>>;

    /// Resolves when somebody asked for something: a poll now, another cursor, a stop.
    fn asked(&self) -> BoxFuture<'_, Asked>;
}

/// What a component says of the outside that it talks to: it then has a row among the connectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// What sort of thing it is.
    pub kind: ConnectorKind,
    /// What people see of its settings, nothing secret: `{ "address": "0.0.0.0:514" }`.
    pub summary: serde_json::Value,
    /// How often it is polled, if it is.
    pub interval: Option<Duration>,
    /// The names of the rows that it runs for (`okta-*`), when it has none of its own.
    pub runs_for: Option<String>,
    /// For how long nothing may succeed before that is an error, and not a warning any more.
    pub unreachable_after: Duration,
    /// How many limits of rate in a row are in order.
    pub limits_max: u32,
}

impl Endpoint {
    /// Makes one with the usual bounds: five minutes, ten limits in a row.
    pub fn new(kind: ConnectorKind, summary: serde_json::Value) -> Self {
        let unreachable_after = Duration::from_secs(5 * 60);
        let (interval, runs_for) = (None, None);
        Endpoint { kind, summary, interval, runs_for, unreachable_after, limits_max: 10 }
    }
}

/// The sorts of connectors; the names stand in tables and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectorKind {
    /// An API that is polled.
    Api,
    /// A listener for syslog.
    Syslog,
    /// Any other listener.
    Listener,
    /// Agents on hosts.
    Agent,
    /// A feed of indicators.
    Feed,
    /// A receiver of what a sink sends.
    Sink,
}

impl ConnectorKind {
    /// Every sort.
    pub const ALL: [ConnectorKind; 6] = [
        ConnectorKind::Api,
        ConnectorKind::Syslog,
        ConnectorKind::Listener,
        ConnectorKind::Agent,
        ConnectorKind::Feed,
        ConnectorKind::Sink,
    ];

    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            ConnectorKind::Api => "api",
            ConnectorKind::Syslog => "syslog",
            ConnectorKind::Listener => "listener",
            ConnectorKind::Agent => "agent",
            ConnectorKind::Feed => "feed",
            ConnectorKind::Sink => "sink",
        }
    }
}

/// How an attempt to reach the other side went: a poll, a delivery, a start of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: EventTime,
    /// How it ended.
    pub outcome: Outcome,
    /// How many requests it took.
    pub requests: u64,
    /// How many records came or went.
    pub records: u64,
    /// How many bytes of body came or went.
    pub bytes: u64,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Succeeded,
    /// The other side wants us to wait, and will then go on: in order, unless it never ends.
    Limited {
        /// Until when, if it said so.
        until: Option<EventTime>,
    },
    /// It did not work.
    Failed(Failed),
}

/// Why an attempt failed, in words that a person can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The class: what the status follows from.
    pub cause: Cause,
    /// A sentence: what happened, where, and what was answered; no secret, at most some hundred
    /// bytes.
    pub message: String,
    /// The code of the answer, where there was one.
    pub http_status: Option<u16>,
}

/// What is late though attempts succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// What of it.
    pub what: Late,
    /// A sentence: how late, and what to do about it.
    pub message: String,
}

/// The ways of being late; the names stand in tables and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Attempts take longer than they may, so the next comes too late.
    Overdue,
    /// The newest record is older than its author allows.
    Lagging,
}

impl Late {
    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Late::Overdue => "overdue",
            Late::Lagging => "lagging",
        }
    }
}

/// The classes of failures; the names stand in tables, metrics and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Credentials were refused, or cannot be had: an error at once, until somebody sets it right.
    Authentication,
    /// The other side says that the request itself is wrong (a path that is not there, a parameter
    /// it does not know): an error at once.
    Configuration,
    /// No connection: a name that is not known, a refused connection, a failed handshake.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The other side failed (5xx).
    Server,
    /// An answer that is not what it should be: HTML instead of JSON, a body cut short.
    Response,
    /// A bound of ours was hit: a body too large, a walk without an end.
    Bound,
    /// Something of this machine: a full disk, a database that is down, a port that is taken.
    Local,
}

impl Cause {
    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Authentication => "authentication",
            Cause::Configuration => "configuration",
            Cause::Unreachable => "unreachable",
            Cause::Timeout => "timeout",
            Cause::Server => "server",
            Cause::Response => "response",
            Cause::Bound => "bound",
            Cause::Local => "local",
        }
    }

    /// Whether no further attempt will help until somebody sets something right.
    pub fn is_lasting(self) -> bool {
        matches!(self, Cause::Authentication | Cause::Configuration)
    }
}

/// How far a connector has come, as it is kept: sealed, because cursors of strangers may open
/// doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What the component needs to go on; its form is its own.
    pub state: Vec<u8>,
    /// The version of that form.
    pub format: u32,
    /// For people, nothing secret: `since 2026-03-01T10:00:00Z`.
    pub summary: String,
    /// Up to which event time everything was taken, if that is known.
    pub event_time: Option<EventTime>,
}

/// A lease that this process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Until when, by this machine's monotonic clock ([`azud_event::clock::Clock::monotonic`]).
    pub until: Duration,
    /// Counts the owners: a change says that another process was in between, so cursors are read
    /// again.
    pub term: u64,
}

/// What somebody asked of a running connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An attempt now, without waiting for its time.
    Now,
    /// Its cursor was set from outside: read it again before the next attempt.
    Reread,
    /// It was disabled or removed.
    Stop,
}

/// Why the registry does not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorError {
    /// The database does not answer; trying again helps.
    #[error("{0}")]
    Unavailable(String),
    /// What is kept cannot be read: a key that is wrong or gone, a row from another place.
    #[error("{0}")]
    Unreadable(String),
    /// Another process holds the lease now.
    #[error("another process polls this connector now")]
    Lost,
    /// Somebody set the cursor meanwhile; it is to be read again.
    #[error("the cursor was set from outside meanwhile")]
    Changed,
}

#[cfg(test)]
#[test]
fn a_star_stands_for_any_signs() {
    for (pattern, name, is) in [
        ("okta-*", "okta-prod", true),
        ("okta-*", "okta-", true),
        ("okta-*", "my-okta-prod", false),
        ("okta", "okta", true),
        ("okta", "okta-prod", false),
        ("*", "", true),
        ("*a*b", "xaab", true),
        ("*a*b", "xb", false),
        ("a*a", "a", false),
        ("a*bc*d", "abcbd", true),
    ] {
        assert_eq!(matches(pattern, name), is, "{pattern} {name}");
    }
}
