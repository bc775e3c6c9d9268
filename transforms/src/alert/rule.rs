//! What all alerts of one rule have in common.

use azud_event::alert::{Alert, Completeness, Rule, SCHEMA, Severity, Triage};
use azud_event::id::Id;
use azud_event::time::EventTime;
use std::collections::BTreeMap;
use vrl::value::Value;

/// What all alerts of one rule have in common.
#[derive(Debug)]
pub struct Head {
    /// The rule as alerts name it.
    pub rule: Rule,
    /// More lines for those who look at an alert.
    pub description: Option<String>,
    /// `active` or `shadow`.
    pub mode: &'static str,
}

impl Head {
    /// Makes the first revision of an alert that stands on nothing yet. `anchor` tells it from
    /// others of the rule.
    pub fn alert(&self, anchor: &[&[u8]], severity: Severity, now: EventTime) -> Alert {
        let mut parts: Vec<&[u8]> = vec![b"alert", self.rule.id.as_bytes()];
        parts.extend(anchor);
        Alert {
            schema: SCHEMA.to_owned(),
            id: Id::of(&parts),
            revision: 1,
            change: "raised".to_owned(),
            state: "firing".to_owned(),
            mode: self.mode.to_owned(),
            origin: "live".to_owned(),
            rule: self.rule.clone(),
            severity,
            severity_id: severity.id(),
            title: String::new(),
            description: self.description.clone(),
            key: BTreeMap::new(),
            fields: BTreeMap::new(),
            window: None,
            first_event_at: now,
            last_event_at: now,
            event_count: 1,
            raised_at: now,
            revised_at: now,
            resolved_at: None,
            delay_ms: None,
            completeness: Completeness {
                complete_to: now,
                missing: Vec::new(),
                late_events: 0,
                keys_evicted: 0,
            },
            entities: Vec::new(),
            evidence: Vec::new(),
            indicator: None,
            supersedes: Vec::new(),
            superseded_by: None,
            reason: None,
            link: None,
            triage: Triage::default(),
        }
    }

    /// Gives the id of the alert of a key that is anchored at a time.
    pub fn id(&self, key: &[u8], anchor: EventTime) -> Id {
        let anchor = anchor.nanoseconds().to_le_bytes();
        Id::of(&[b"alert", self.rule.id.as_bytes(), key, &anchor])
    }

    /// Gives a revision as the record that it is told as.
    pub fn to_value(&self, alert: &Alert) -> Value {
        serde_json::to_value(alert).map_or(Value::Null, Value::from)
    }
}
