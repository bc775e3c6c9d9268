//! An [`Alert`]: what a rule found, in the one form that it has everywhere, `azud.alert/1`.
//!
//! Transforms make it, sinks read it back, webhooks and the API carry it as JSON. An alert is known
//! by its id; each time it changes it is told whole, as the next revision. Times are RFC 3339 in
//! UTC with six digits.

use crate::id::Id;
use crate::time::EventTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// The name and version of this form.
pub const SCHEMA: &str = "azud.alert/1";

/// How much of a raw record an alert carries as evidence, in bytes: enough to recognise it by, and
/// six of them stay well below what receivers of webhooks take.
pub const EVIDENCE_BYTES_MAX: usize = 4 * 1024;

/// One revision of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// [`SCHEMA`].
    pub schema: String,
    /// The alert's identity: a hash of its rule, its key and what it is anchored to.
    #[serde(with = "hex")]
    pub id: Id,
    /// Counts from 1, without gaps.
    pub revision: u64,
    /// What this revision did: `raised`, `amended`, `escalated`, `resolved` or `withdrawn`.
    pub change: String,
    /// What the data say now: `firing`, `resolved` or `withdrawn`.
    pub state: String,
    /// `active`, or `shadow`: stored and told to nobody.
    pub mode: String,
    /// Where its records came from: `live`, `retroactive`, `backfill` or `replay`.
    pub origin: String,
    /// The rule that found it.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// The same as a number, 1 to 5, as in OCSF.
    pub severity_id: u8,
    /// One line.
    pub title: String,
    /// More lines.
    pub description: Option<String>,
    /// What it is about: the rule's key fields and their values.
    pub key: BTreeMap<String, serde_json::Value>,
    /// What the rule found. Of single events the fields of the one that decided its severity.
    pub fields: BTreeMap<String, serde_json::Value>,
    /// The window; `null` for single events.
    pub window: Option<serde_json::Value>,
    /// Event time of its first event.
    #[serde(with = "time")]
    pub first_event_at: EventTime,
    /// Event time of its last event.
    #[serde(with = "time")]
    pub last_event_at: EventTime,
    /// How many events.
    pub event_count: u64,
    /// When its first revision was made.
    #[serde(with = "time")]
    pub raised_at: EventTime,
    /// When this revision was made.
    #[serde(with = "time")]
    pub revised_at: EventTime,
    /// When it ended.
    #[serde(with = "time_or_null")]
    pub resolved_at: Option<EventTime>,
    /// From the receipt of its last record to this revision, in milliseconds.
    pub delay_ms: Option<i64>,
    /// How complete the answer is.
    pub completeness: Completeness,
    /// Whom and what it names.
    pub entities: Vec<Entity>,
    /// Some of its records, by time.
    pub evidence: Vec<Evidence>,
    /// The indicator that matched, of alerts that have one.
    pub indicator: Option<serde_json::Value>,
    /// Ids of alerts that merged into this one.
    pub supersedes: Vec<String>,
    /// The id of the alert that this one merged into.
    pub superseded_by: Option<String>,
    /// Why it has the severity that it has.
    pub reason: Option<String>,
    /// Where people look at it.
    pub link: Option<String>,
    /// What people made of it.
    pub triage: Triage,
}

/// The rule that found an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its stable name.
    pub id: String,
    /// A hash of what it says, `b3:` and six digits.
    pub version: String,
    /// The pipeline that it stands in.
    pub pipeline: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// What to do about it, elsewhere.
    pub runbook_url: Option<String>,
}

/// A rule as it is loaded, before any alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedRule {
    /// The rule.
    pub rule: Rule,
    /// The title of its alerts, with its fields not filled in.
    pub title: String,
    /// How bad its alerts are at least.
    pub severity: Severity,
    /// `active` or `shadow`.
    pub mode: &'static str,
}

/// How bad an alert is, with the ids of OCSF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// To be known.
    Informational = 1,
    /// To be looked at some day.
    Low = 2,
    /// To be looked at.
    Medium = 3,
    /// To be looked at today.
    High = 4,
    /// To be looked at now.
    Critical = 5,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Severity; 5] = [
        Severity::Informational,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ];

    /// Gives the severity of this name.
    pub fn named(name: &str) -> Option<Self> {
        Severity::ALL.into_iter().find(|severity| severity.name() == name)
    }

    /// Gives its number, 1 to 5.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Gives its name.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How complete an answer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completeness {
    /// Everything that was received up to then is in it.
    #[serde(with = "time")]
    pub complete_to: EventTime,
    /// Sources that should have spoken and did not.
    pub missing: Vec<String>,
    /// Events that came too late to be counted.
    pub late_events: u64,
    /// Keys that a bound made the step forget.
    pub keys_evicted: u64,
}

/// Somebody or something that an alert names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entity {
    /// What it is: `ip`, `host`, `user`, `file`, `domain`, `hash`, `process`, `service`.
    pub r#type: String,
    /// Its value.
    pub value: String,
    /// Its part in it: `source`, `destination`, …
    pub role: String,
    /// The asset that it is, where that is known.
    pub asset_id: Option<String>,
}

/// A record that an alert stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it happened.
    #[serde(with = "time")]
    pub event_time: EventTime,
    /// The source that took it in, where that is known.
    pub source: Option<String>,
    /// Who sent it.
    pub peer: Option<String>,
    /// Its bytes as they came, at most [`EVIDENCE_BYTES_MAX`].
    pub raw: String,
    /// How `raw` is written: `utf8` or `base64`.
    pub encoding: String,
    /// Whether `raw` is only the beginning.
    pub cut: bool,
    /// Where it is in the log: stream, block and place in the block.
    pub r#ref: String,
}

/// What people made of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triage {
    /// `new`, `acknowledged`, `in_progress` or `closed`.
    pub state: String,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// `true_positive`, `false_positive`, `benign` or `duplicate`.
    pub verdict: Option<String>,
}

impl Default for Triage {
    fn default() -> Self {
        Triage { state: "new".to_owned(), assignee: None, verdict: None }
    }
}

/// An id as 32 hexadecimal digits.
mod hex {
    use super::{Deserialize, Deserializer, Id, Serializer};
    use serde::de::Error;

    pub fn serialize<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = String::deserialize(deserializer)?;
        bytes(&text)
            .and_then(|bytes| serde_json::from_value(bytes.into()).ok())
            .ok_or_else(|| D::Error::custom("an id is 32 hexadecimal digits"))
    }

    /// Reads pairs of digits; how many an id has its own form knows.
    fn bytes(text: &str) -> Option<Vec<u8>> {
        let pair = |pair: &[u8]| {
            let [high, low] = pair else { return None };
            let digit = |digit: &u8| char::from(*digit).to_digit(16);
            u8::try_from(digit(high)? << 4 | digit(low)?).ok()
        };
        text.as_bytes().chunks(2).map(pair).collect()
    }
}

/// A time as RFC 3339.
mod time {
    use super::{Deserialize, Deserializer, EventTime, Serializer};
    use chrono::{DateTime, Utc};
    use serde::de::Error;

    pub fn serialize<S: Serializer>(time: &EventTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventTime, D::Error> {
        parse(&String::deserialize(deserializer)?)
    }

    pub fn parse<E: Error>(text: &str) -> Result<EventTime, E> {
        let time: DateTime<Utc> = text.parse().map_err(E::custom)?;
        Ok(EventTime::from_chrono(time))
    }
}

/// A time as RFC 3339, or nothing.
mod time_or_null {
    use super::{Deserialize, Deserializer, EventTime, Serializer, time};

    pub fn serialize<S: Serializer>(
        time: &Option<EventTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<EventTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| time::parse(&text)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_read_back_from_its_json() {
        let written = json!({
            "schema": "azud.alert/1", "id": "1c9a5f0e6b7d4c21a8e3f2904d5b6c77",
            "revision": 3, "change": "escalated", "state": "firing",
            "mode": "active", "origin": "live",
            "rule": {
                "id": "ssh-bruteforce", "version": "b3:71d0c2", "pipeline": "auth/ssh_bruteforce",
                "tags": ["attack.t1110.001"], "runbook_url": null,
            },
            "severity": "critical", "severity_id": 5, "title": "…", "description": null,
            "key": { "source.ip": "203.0.113.9" }, "fields": { "failures": 34 }, "window": null,
            "first_event_at": "2026-03-01T10:00:00.000000Z",
            "last_event_at": "2026-03-01T10:09:00.000001Z", "event_count": 35,
            "raised_at": "2026-03-01T10:07:00.000000Z", "revised_at": "2026-03-01T10:09:00.000000Z",
            "resolved_at": null, "delay_ms": 840,
            "completeness": {
                "complete_to": "2026-03-01T10:09:00.000000Z", "missing": ["syslog_tls"],
                "late_events": 3, "keys_evicted": 0,
            },
            "entities": [
                { "type": "ip", "value": "203.0.113.9", "role": "source", "asset_id": null },
            ],
            "evidence": [{
                "event_time": "2026-03-01T10:00:00.000000Z", "source": "syslog_udp",
                "peer": "10.0.0.4", "raw": "<38>Mar  1 …", "encoding": "utf8", "cut": false,
                "ref": "1:2:3",
            }],
            "indicator": null, "supersedes": [], "superseded_by": null,
            "reason": "condition 1 of escalate", "link": null,
            "triage": { "state": "new", "assignee": null, "verdict": null },
        });
        let alert: Alert = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(alert.severity.id(), alert.severity_id);
        assert_eq!(serde_json::to_value(&alert).unwrap(), written);
        for id in ["", "1c9a5f0e6b7d4c21a8e3f2904d5b6c7", "1c9a5f0e6b7d4c21a8e3f2904d5b6cññ"] {
            let mut wrong = written.clone();
            wrong["id"] = json!(id);
            assert!(serde_json::from_value::<Alert>(wrong).is_err(), "{id}");
        }
    }

    #[test]
    fn severities_are_known_by_their_names() {
        for (id, severity) in (1..).zip(Severity::ALL) {
            assert_eq!(severity.id(), id);
            assert_eq!(Severity::named(severity.name()), Some(severity));
        }
        assert_eq!(Severity::named("catastrophic"), None);
    }
}
