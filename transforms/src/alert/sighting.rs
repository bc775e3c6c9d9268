//! What an alert takes of one result of a window: made where the result is told.
//!
//! A result is a revision: a later one of the same window takes its place, and one on which the
//! condition does not hold, or that was withdrawn, takes it away. So a row is made of every
//! revision but a first one that does not hold and resolves nothing.

use super::draft::{Draft, Drafter};
use super::shares::Shares;
use crate::key;
use crate::revised::revision_of;
use crate::summarize::RESERVED;
use crate::vrl::Runner;
use crate::window::Revision;
use azud_event::alert::Evidence;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{RowContext, RowMaker, Taken, Template};
use serde::{Deserialize, Serialize};
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;
use vrl::value::{ObjectMap, Value};

/// A revision of a window's result, as far as alerts go by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// The result's id. Not where the window lies: a late record moves the ends of a session.
    pub id: String,
    /// The id of the result that goes on in its place, of a session that was joined to another.
    pub superseded_by: Option<String>,
    /// The result's revision; a greater one takes its place.
    pub revision: u64,
    /// When the window begins.
    pub start: EventTime,
    /// When it ends.
    pub end: EventTime,
    /// What the alert says of it; `None` when it is no reason for one.
    pub seen: Option<Box<Seen>>,
    /// Whether it resolves alerts of windows before it.
    pub calms: bool,
    /// What it has gathered, in parts, if it is a reason for an alert and somebody gave them.
    pub shares: Option<Shares>,
}

/// What an alert says of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Title, severity, fields.
    pub draft: Draft,
    /// How many events were counted.
    pub event_count: u64,
    /// When the first of them happened.
    pub first_event_at: EventTime,
    /// When the last did.
    pub last_event_at: EventTime,
    /// Some of them.
    pub evidence: Vec<Evidence>,
    /// How many came too late to be counted.
    pub late_events: u64,
    /// How many keys a bound made the step forget.
    pub keys_evicted: u64,
    /// What the title names of the result, where it may be filled anew.
    pub named: Option<serde_json::Value>,
}

/// Makes rows of results.
pub struct Sighter {
    drafter: Drafter,
    resolve_when: Option<Runner>,
    /// Whether parts are taken.
    shares: bool,
    rows: Vec<Row>,
}

impl Sighter {
    /// Makes rows by what `drafter` says of a result; one of which `resolve_when` holds, and which
    /// is no reason for an alert, resolves those before it. With `shares` it takes the parts that
    /// results came of.
    pub fn new(drafter: Drafter, resolve_when: Option<Runner>, shares: bool) -> Self {
        Sighter { drafter, resolve_when, shares, rows: Vec::new() }
    }

    /// Gives what the title names of a result.
    fn named(&self, record: &Record) -> serde_json::Value {
        let mut named = Value::Object(ObjectMap::new());
        for path in self.drafter.title.iter().flat_map(Template::fields) {
            if let Some(value) = record.get(path) {
                named.insert(path, value.clone());
            }
        }
        serde_json::to_value(named).unwrap_or_default()
    }

    fn sight(&mut self, record: &Record) -> Result<Sighting, Fault> {
        let time = |path: &OwnedValuePath| match record.get(path) {
            Some(Value::Timestamp(time)) => Some(EventTime::from_chrono(*time)),
            _ => None,
        };
        let bounds = time(&owned_value_path!("window", "start"))
            .zip(time(&owned_value_path!("window", "end")));
        let Some((start, end)) = bounds else {
            let message = "this is no result of a window: `window.start` and `window.end` are gone";
            return Err(Fault::new(Reason::ProgramFailed, message));
        };
        let text = |path: &OwnedValuePath| {
            let bytes = record.get(path)?.as_bytes()?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        let Some(id) = text(&owned_value_path!("id")) else {
            let message = "this is no result of a window: `id` is gone";
            return Err(Fault::new(Reason::ProgramFailed, message));
        };
        let superseded_by = text(&owned_value_path!("superseded_by"));
        let count = |path: &OwnedValuePath| match record.get(path) {
            Some(Value::Integer(count)) => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        };
        let Revision { number: revision, withdrawn, .. } = revision_of(record)?;
        let draft = if withdrawn { None } else { self.drafter.draft(record)? };
        let calms = match &mut self.resolve_when {
            Some(resolve_when) if draft.is_none() && !withdrawn => resolve_when.holds(record)?,
            _ => false,
        };
        let parts = record.parts().filter(|_| self.shares && draft.is_some());
        let shares = parts.map(|parts| Shares::of(parts.as_ref()));
        let named = shares.is_some().then(|| self.named(record));
        let seen = draft.map(|mut draft| {
            // What is said of the result and not of what was counted stands elsewhere in an alert.
            draft.fields.retain(|name, _| !RESERVED.contains(&name.as_str()));
            Box::new(Seen {
                draft,
                event_count: count(&owned_value_path!("event_count")),
                first_event_at: time(&owned_value_path!("first_event_at")).unwrap_or(start),
                last_event_at: time(&owned_value_path!("last_event_at")).unwrap_or(end),
                evidence: evidence(record),
                late_events: count(&owned_value_path!("completeness", "late_events")),
                keys_evicted: count(&owned_value_path!("completeness", "keys_evicted")),
                named,
            })
        });
        Ok(Sighting { id, superseded_by, revision, start, end, seen, calms, shares })
    }
}

impl RowMaker for Sighter {
    fn take(&mut self, record: &Record, context: &RowContext) -> Result<Taken, Fault> {
        let sighting = self.sight(record)?;
        if sighting.seen.is_none() && !sighting.calms && sighting.revision <= 1 {
            // Nobody was told of it before.
            return Ok(Taken::Discarded);
        }
        let mut key = Vec::new();
        key::encode(&self.drafter.key, record, &mut key);
        let payload = serde_json::to_vec(&sighting)
            .expect("texts, numbers and maps of texts have a form in JSON");
        let group = context.partitioner.group(&key);
        let (key, payload) = (key.into(), payload.into());
        self.rows.push(Row { group, place: record.place(), key, payload });
        Ok(Taken::Counted)
    }

    fn drain(&mut self, rows: &mut Vec<Row>) {
        rows.append(&mut self.rows);
    }
}

/// Reads the records that a result carries.
fn evidence(record: &Record) -> Vec<Evidence> {
    let Some(Value::Array(records)) = record.get(&owned_value_path!("evidence")) else {
        return Vec::new();
    };
    let read = |value: &Value| {
        let json = serde_json::to_value(value).ok()?;
        serde_json::from_value(json).ok()
    };
    records.iter().filter_map(read).collect()
}
