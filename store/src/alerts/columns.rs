//! A delivered alert as the texts and numbers of its row.

use super::Tally;
use azud_event::alert::Alert;
use azud_event::id::Id;
use azud_event::time::EventTime;
use chrono::DateTime;
use serde::Serialize;
use std::time::Duration;

/// The longest part of an entity that can be searched for, in bytes. All three together must fit
/// into an entry of PostgreSQL's indexes, 2,704 bytes; the alert itself has them whole.
const ENTITY_BYTES_MAX: usize = 768;

/// An alert in columns: what does not depend on the row that is there.
pub(crate) struct Columns {
    pub id: String,
    pub rule_id: String,
    pub rule_version: String,
    pub runbook_url: Option<String>,
    pub pipeline: String,
    pub tally: Tally,
    pub change: String,
    pub state: String,
    pub mode: String,
    pub origin: String,
    pub title: String,
    pub description: Option<String>,
    pub tags: String,
    pub key: String,
    pub key_hash: [u8; 16],
    pub fields: String,
    pub window: Option<String>,
    pub window_start: Option<EventTime>,
    pub window_end: Option<EventTime>,
    pub revised_at: EventTime,
    pub resolved_at: Option<EventTime>,
    pub delay_ms: Option<i64>,
    pub completeness: String,
    pub entities: String,
    /// Type, value and role of each entity, each cut to [`ENTITY_BYTES_MAX`].
    pub entity_rows: Vec<(String, String, String)>,
    pub evidence: String,
    pub indicator: Option<String>,
    pub supersedes: String,
    pub superseded_by: Option<String>,
    pub reason: Option<String>,
    pub link: Option<String>,
}

impl Columns {
    /// Takes an alert apart.
    pub fn of(alert: &Alert) -> Self {
        let entities = alert.entities.iter();
        Columns {
            id: alert.id.to_string(),
            rule_id: alert.rule.id.clone(),
            rule_version: alert.rule.version.clone(),
            runbook_url: alert.rule.runbook_url.clone(),
            pipeline: alert.rule.pipeline.clone(),
            tally: tally(alert),
            change: alert.change.clone(),
            state: alert.state.clone(),
            mode: alert.mode.clone(),
            origin: alert.origin.clone(),
            title: alert.title.clone(),
            description: alert.description.clone(),
            tags: json(&alert.rule.tags),
            key: json(&alert.key),
            key_hash: *Id::of(&[json(&alert.key).as_bytes()]).as_bytes(),
            fields: json(&alert.fields),
            window: alert.window.as_ref().map(json),
            window_start: end_of_window(alert, "start"),
            window_end: end_of_window(alert, "end"),
            revised_at: alert.revised_at,
            resolved_at: alert.resolved_at,
            delay_ms: alert.delay_ms,
            completeness: json(&alert.completeness),
            entities: json(&alert.entities),
            entity_rows: entities
                .map(|entity| (cut(&entity.r#type), cut(&entity.value), cut(&entity.role)))
                .collect(),
            evidence: json(&alert.evidence),
            indicator: alert.indicator.as_ref().map(json),
            supersedes: json(&alert.supersedes),
            superseded_by: alert.superseded_by.clone(),
            reason: alert.reason.clone(),
            link: alert.link.clone(),
        }
    }

    /// Whether the ledger says that the alert began, or became worse.
    pub fn is_raise(&self) -> bool {
        matches!(self.change.as_str(), "raised" | "escalated")
    }
}

/// Cuts a part of an entity at the last whole sign that fits.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(ENTITY_BYTES_MAX)].to_owned()
}

/// Gives the start or end of the window.
fn end_of_window(alert: &Alert, end: &str) -> Option<EventTime> {
    let text = alert.window.as_ref()?.get(end)?.as_str()?;
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(EventTime::from_chrono(time.to_utc()))
}

/// Times in rows have microseconds, so what is compared with them has no more.
fn tally(alert: &Alert) -> Tally {
    let stored = |time: EventTime| time.aligned_to(Duration::from_micros(1));
    Tally {
        revision: alert.revision,
        event_count: alert.event_count,
        severity: alert.severity,
        first_event_at: stored(alert.first_event_at),
        last_event_at: stored(alert.last_event_at),
        raised_at: stored(alert.raised_at),
    }
}

/// Writes a part of an alert as JSON.
fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part).expect("the parts of an alert have string keys")
}
