//! An alert as it is read back.

use super::AlertCursor;
use azud_event::alert::{SCHEMA, Severity};
use azud_event::time::EventTime;
use chrono::DateTime;
use serde_json::{Value, json};

/// The last revision of an alert, with what people made of it. Times are RFC 3339 in UTC with six
/// digits.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The rule that raised it.
    pub rule_id: String,
    /// Which text of the rule.
    pub rule_version: String,
    /// What to do about it, elsewhere.
    pub runbook_url: Option<String>,
    /// The pipeline of the rule.
    pub pipeline: String,
    /// Counts from 1.
    pub revision: u64,
    /// `raised`, `amended`, `escalated`, `resolved` or `withdrawn`.
    pub change: String,
    /// `firing`, `resolved` or `withdrawn`.
    pub state: String,
    /// `active` or `shadow`.
    pub mode: String,
    /// `live`, `retroactive`, `backfill` or `replay`.
    pub origin: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// More lines.
    pub description: Option<String>,
    /// Of the rule.
    pub tags: Value,
    /// What it is about: fields and their values.
    pub key: Value,
    /// What the rule found.
    pub fields: Value,
    /// The window, of alerts that have one.
    pub window: Option<Value>,
    /// Event time of its first event.
    pub first_event_at: String,
    /// Event time of its last event.
    pub last_event_at: String,
    /// How many events.
    pub event_count: u64,
    /// When its first revision was made.
    pub raised_at: String,
    /// When this revision was made.
    pub revised_at: String,
    /// When it ended.
    pub resolved_at: Option<String>,
    /// From the record that decided it to the revision.
    pub delay_ms: Option<i64>,
    /// How complete the answer is.
    pub completeness: Value,
    /// Whom it names.
    pub entities: Value,
    /// Some of its records.
    pub evidence: Value,
    /// The indicator that matched.
    pub indicator: Option<Value>,
    /// Alerts that merged into this one.
    pub supersedes: Value,
    /// The alert that this one merged into.
    pub superseded_by: Option<String>,
    /// Why this revision was made.
    pub reason: Option<String>,
    /// Where people look at it.
    pub link: Option<String>,
    /// `new`, `acknowledged`, `in_progress` or `closed`.
    pub triage: String,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// `true_positive`, `false_positive`, `benign` or `duplicate`.
    pub verdict: Option<String>,
}

impl AlertRow {
    /// Gives the name of the severity, `informational` to `critical`.
    pub fn severity_name(&self) -> &'static str {
        self.severity.name()
    }

    /// Writes the key for people: `source.ip=203.0.113.9 user.name=root`.
    pub fn key_text(&self) -> String {
        let Some(fields) = self.key.as_object() else { return String::new() };
        let pairs = fields.iter().map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        });
        pairs.collect::<Vec<_>>().join(" ")
    }

    /// Gives the alert in the form it has everywhere, `azud.alert/1`.
    pub fn to_json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "id": self.id,
            "revision": self.revision,
            "change": self.change,
            "state": self.state,
            "mode": self.mode,
            "origin": self.origin,
            "rule": {
                "id": self.rule_id,
                "version": self.rule_version,
                "pipeline": self.pipeline,
                "tags": self.tags,
                "runbook_url": self.runbook_url,
            },
            "severity": self.severity_name(),
            "severity_id": self.severity.id(),
            "title": self.title,
            "description": self.description,
            "key": self.key,
            "fields": self.fields,
            "window": self.window,
            "first_event_at": self.first_event_at,
            "last_event_at": self.last_event_at,
            "event_count": self.event_count,
            "raised_at": self.raised_at,
            "revised_at": self.revised_at,
            "resolved_at": self.resolved_at,
            "delay_ms": self.delay_ms,
            "completeness": self.completeness,
            "entities": self.entities,
            "evidence": self.evidence,
            "indicator": self.indicator,
            "supersedes": self.supersedes,
            "superseded_by": self.superseded_by,
            "reason": self.reason,
            "link": self.link,
            "triage": {
                "state": self.triage,
                "assignee": self.assignee,
                "verdict": self.verdict,
            },
        })
    }

    /// Gives where the alert stands in a listing, to ask for those behind it.
    ///
    /// # Panics
    /// When `revised_at` was changed into what is no time.
    pub fn cursor(&self) -> AlertCursor {
        let revised_at = DateTime::parse_from_rfc3339(&self.revised_at);
        let revised_at = revised_at.expect("the store gives times in RFC 3339").to_utc();
        AlertCursor { revised_at: EventTime::from_chrono(revised_at), id: self.id.clone() }
    }
}

/// One revision in the history of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRevision {
    /// Counts from 1; a revision that was overtaken before it was delivered is not there.
    pub revision: u64,
    /// When it was made.
    pub at: String,
    /// `raised`, `amended`, `escalated`, `resolved` or `withdrawn`.
    pub change: String,
    /// `firing`, `resolved` or `withdrawn`.
    pub state: String,
    /// How bad it was by then.
    pub severity: Severity,
    /// What the rule had found by then.
    pub fields: Value,
    /// Why it was made.
    pub reason: Option<String>,
    /// How many events by then.
    pub event_count: u64,
}
