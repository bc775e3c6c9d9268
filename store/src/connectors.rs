//! Connectors as the store keeps them: what a document or a person says of one, what is told of how
//! it is, and the service that components use.

mod handle;
mod registry;
mod status;
mod writer;

pub use registry::Registry;
pub(crate) use status::bounded;
pub use status::{Status, Transition};

use azud_event::time::EventTime;
use azud_plan::component::{ConnectorKind, Endpoint};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Who a connector belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A document: the API does not change it.
    File,
    /// Whoever made it by the API.
    Api,
}

impl Origin {
    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Origin::File => "file",
            Origin::Api => "api",
        }
    }
}

/// A connector that a document declares, or somebody adds.
#[derive(Clone, Debug, PartialEq)]
pub struct NewConnector {
    /// Its name; of a document's the id of the component.
    pub name: String,
    /// What sort of thing it is.
    pub kind: ConnectorKind,
    /// The `type` of its component.
    pub r#type: String,
    /// Who it belongs to.
    pub origin: Origin,
    /// The document.
    pub origin_path: Option<String>,
    /// What tells it from others of one definition.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs.
    pub enabled: bool,
    /// All that is known of its settings; kept sealed.
    pub configuration: String,
    /// What may be shown of them.
    pub summary: Value,
    /// How often it is polled.
    pub interval: Option<Duration>,
}

/// A component of a document that talks to the outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// The row that it has.
    pub new: NewConnector,
    /// What it says of the outside.
    pub endpoint: Endpoint,
}

impl Declared {
    /// Makes it of a component: its id, its type, its document, its table with secrets unfilled.
    pub fn new(id: &str, r#type: &str, path: &str, table: &str, endpoint: Endpoint) -> Self {
        let new = NewConnector {
            name: id.to_owned(),
            kind: endpoint.kind,
            r#type: r#type.to_owned(),
            origin: Origin::File,
            origin_path: Some(path.to_owned()),
            labels: BTreeMap::new(),
            enabled: true,
            configuration: table.to_owned(),
            summary: endpoint.summary.clone(),
            interval: endpoint.interval,
        };
        Declared { new, endpoint }
    }
}

/// Which connectors are asked for; what is `None` does not restrict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorFilter {
    /// With this status.
    pub status: Option<Status>,
    /// Of this sort.
    pub kind: Option<ConnectorKind>,
    /// Also those that no document has any more.
    pub removed: bool,
    /// Behind this name.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

impl Default for ConnectorFilter {
    fn default() -> Self {
        ConnectorFilter { status: None, kind: None, removed: false, after: None, limit: 100 }
    }
}

/// A connector as it is stored.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns of the table, which its migration explains")]
pub struct ConnectorRow {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub r#type: String,
    pub origin: String,
    pub origin_path: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub enabled: bool,
    pub(crate) configuration: Vec<u8>,
    pub summary: Value,
    pub version: u64,
    pub interval_seconds: Option<u64>,
    pub status: Status,
    pub status_reason: Option<String>,
    pub status_message: Option<String>,
    pub status_since: EventTime,
    pub last_successful_connection: Option<EventTime>,
    pub last_attempt_at: Option<EventTime>,
    pub next_attempt_at: Option<EventTime>,
    pub last_error: Option<String>,
    pub last_error_at: Option<EventTime>,
    pub consecutive_failures: u64,
    pub records_total: u64,
    pub bytes_total: u64,
    pub attempts_total: u64,
    pub failures_total: u64,
    pub owner_instance: Option<String>,
    pub lease_until: Option<EventTime>,
    pub(crate) lease_term: u64,
    pub(crate) cursor_version: u64,
    pub created_at: EventTime,
    pub updated_at: EventTime,
    pub removed_at: Option<EventTime>,
}

impl ConnectorRow {
    /// Whether it is polled, and so may be asked to, and be switched off. A listener or a sink runs
    /// as long as its document has it.
    pub fn is_polled(&self) -> bool {
        matches!(self.kind.as_str(), "api" | "feed")
    }

    /// Writes it as interfaces show it: all but its configuration.
    pub fn to_json(&self) -> Value {
        let time = |time: Option<EventTime>| time.map(EventTime::to_rfc3339);
        json!({
            "id": self.id, "name": self.name, "kind": self.kind, "type": self.r#type,
            "origin": self.origin, "origin_path": self.origin_path, "labels": self.labels,
            "enabled": self.enabled, "summary": self.summary, "version": self.version,
            "interval_seconds": self.interval_seconds, "status": self.status.name(),
            "status_reason": self.status_reason, "status_message": self.status_message,
            "status_since": self.status_since.to_rfc3339(),
            "last_successful_connection": time(self.last_successful_connection),
            "last_attempt_at": time(self.last_attempt_at),
            "next_attempt_at": time(self.next_attempt_at),
            "last_error": self.last_error, "last_error_at": time(self.last_error_at),
            "consecutive_failures": self.consecutive_failures,
            "records_total": self.records_total, "bytes_total": self.bytes_total,
            "attempts_total": self.attempts_total, "failures_total": self.failures_total,
            "owner_instance": self.owner_instance, "lease_until": time(self.lease_until),
            "created_at": self.created_at.to_rfc3339(),
            "updated_at": self.updated_at.to_rfc3339(), "removed_at": time(self.removed_at),
        })
    }
}

/// A change of status as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the table, which its migration explains")]
pub struct HistoryRow {
    pub id: i64,
    pub at: EventTime,
    pub from: String,
    pub to: String,
    pub reason: String,
    pub message: Option<String>,
    pub http_status: Option<i64>,
    pub instance: String,
    pub flaps: u64,
}

impl HistoryRow {
    /// Writes it as interfaces show it.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id, "at": self.at.to_rfc3339(), "from_status": self.from,
            "to_status": self.to, "reason": self.reason, "message": self.message,
            "http_status": self.http_status, "instance_id": self.instance, "flaps": self.flaps,
        })
    }
}

/// A cursor as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct CursorRow {
    pub partition: String,
    pub sealed: Vec<u8>,
    pub summary: String,
    pub event_time: Option<EventTime>,
    pub format: u32,
    pub updated_at: EventTime,
}

/// How far a connector has come, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCursor {
    /// Its partition; of most connectors there is one, under the empty name.
    pub partition: String,
    /// How far, nothing secret.
    pub summary: String,
    /// Up to which event time everything was taken, if that is known.
    pub event_time: Option<EventTime>,
    /// The version of its form.
    pub format: u32,
    /// When it was saved.
    pub updated_at: EventTime,
}

impl StoredCursor {
    /// Writes it as interfaces show it.
    pub fn to_json(&self) -> Value {
        json!({
            "partition": self.partition, "summary": self.summary,
            "event_time": self.event_time.map(EventTime::to_rfc3339), "format": self.format,
            "updated_at": self.updated_at.to_rfc3339(),
        })
    }
}

/// How a connector is, and what it did since that was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub id: Uuid,
    pub status: Status,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub since: EventTime,
    pub last_success: Option<EventTime>,
    pub last_attempt: Option<EventTime>,
    pub next_attempt: Option<EventTime>,
    pub last_error: Option<String>,
    pub last_error_at: Option<EventTime>,
    pub failures_in_row: u32,
    pub records: u64,
    pub bytes: u64,
    pub attempts: u64,
    pub failures: u64,
    /// The changes of status, in their order.
    pub changes: Vec<Transition>,
    /// How many there were before them that are not told.
    pub flaps: u64,
}

#[cfg(test)]
mod tests;
