//! The ledger: which alerts of one key group are there, and what each has gathered.
//!
//! An alert is known by its key and its *anchor*, the start of the span of event time (`every`)
//! that its events fall into. A record that falls into it changes it; once an epoch is complete
//! each alert that it touched is told once, as its next revision, however many records touched it.
//!
//! ```text
//!            rows of an epoch                  told
//!  (k, 10:00)  ●  ●            ●        ─▶  k 10:00  revision 1  raised     3 events
//!  (k, 11:00)         ●                 ─▶  k 11:00  revision 1  raised     1 event
//!  (k, 10:00)            ●   (late)     ─▶  k 10:00  revision 2  amended    4 events
//! ```
//!
//! # Invariants
//!
//! - What an alert has gathered is a function of the *set* of its records: counts and bounds of
//!   time are merged, the records that are kept (evidence, the one that decides title and severity)
//!   are chosen by their place in the canonical order. So neither epochs nor the order within them
//!   show in the last revision, only in how many led to it.
//! - The ledger holds at most [`Bounds`]; at the end of an epoch those leave whose last event is
//!   the oldest. An alert that left and is touched again begins anew with the same id; how many
//!   left is told with every alert that is told later.

use super::draft::{Draft, keep_least};
use super::rule::Head;
use azud_event::alert::{Alert, Completeness, Entity, Evidence, Severity};
use azud_event::row::{Place, Row};
use azud_event::time::EventTime;
use azud_plan::component::{Body, EpochClock, KeyedState, Progress, Told};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How many records an alert keeps from its beginning, and as many from its end.
const EVIDENCE_MAX: usize = 3;

/// The version of snapshots, their first byte.
const SNAPSHOT_VERSION: u8 = 1;

/// What the ledger of one key group may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Alerts.
    pub alerts: usize,
    /// Bytes of what they have gathered, about.
    pub bytes: usize,
}

/// The alerts of one key group.
pub struct Ledger {
    head: Arc<Head>,
    every: Duration,
    bounds: Bounds,
    kept: Kept,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// How many alerts had to leave so far.
    evicted: u64,
    bytes: usize,
    #[serde(with = "as_pairs")]
    entries: BTreeMap<Identity, Entry>,
}

/// Key and anchor.
type Identity = (Vec<u8>, EventTime);

/// What an alert has gathered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    revision: u64,
    raised_at: EventTime,
    /// The severity of the last revision.
    told: Option<Severity>,
    count: u64,
    first_event_at: EventTime,
    last_event_at: EventTime,
    last_received_at: EventTime,
    decisive: Decisive,
    entities: BTreeSet<Entity>,
    #[serde(with = "as_pairs")]
    first: BTreeMap<Place, Evidence>,
    #[serde(with = "as_pairs")]
    last: BTreeMap<Place, Evidence>,
}

/// What the alert says of the record that decided it: the most severe, of several the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Decisive {
    severity: Severity,
    place: Place,
    reason: Option<String>,
    title: String,
    key: BTreeMap<String, serde_json::Value>,
    fields: BTreeMap<String, serde_json::Value>,
    /// About how many bytes this is.
    weight: usize,
}

impl Ledger {
    /// Makes an empty ledger.
    pub fn new(head: Arc<Head>, every: Duration, bounds: Bounds) -> Self {
        Ledger { head, every, bounds, kept: Kept::default() }
    }

    /// Counts one record in; gives the alert that it touched.
    fn apply(&mut self, row: &Row, now: EventTime) -> Option<Identity> {
        let draft: Draft = match serde_json::from_slice(&row.payload) {
            Ok(draft) => draft,
            Err(error) => {
                // Rows are made by this program and live no longer than it.
                tracing::error!(rule = %self.head.rule.id, "a row is no draft: {error}");
                return None;
            }
        };
        let identity = (row.key.to_vec(), row.place.event_time.aligned_to(self.every));
        let weight = row.payload.len();
        let kept = &mut self.kept;
        match kept.entries.get_mut(&identity) {
            Some(entry) => {
                kept.bytes -= entry.bytes();
                entry.add(row.place, draft, weight);
                kept.bytes += entry.bytes();
            }
            None => {
                let entry = Entry::new(row.place, draft, weight, now);
                kept.bytes += entry.bytes();
                kept.entries.insert(identity.clone(), entry);
            }
        }
        Some(identity)
    }

    /// Makes the next revision of an alert.
    fn tell(&mut self, identity: &Identity, clock: &EpochClock) -> Option<Alert> {
        let now = clock.now;
        let evicted = self.kept.evicted;
        let entry = self.kept.entries.get_mut(identity)?;
        let severity = entry.decisive.severity;
        let change = match entry.told {
            None => "raised",
            Some(told) if severity > told => "escalated",
            Some(_) => "amended",
        };
        entry.told = Some(severity);
        entry.revision += 1;
        let anchor = identity.1.nanoseconds().to_le_bytes();
        let delay = now.since(entry.last_received_at).as_millis();
        let completeness = Completeness {
            complete_to: clock.watermark,
            missing: clock.missing.to_vec(),
            late_events: 0,
            keys_evicted: evicted,
        };
        let mut evidence = entry.first.clone();
        evidence.extend(entry.last.clone());
        Some(Alert {
            revision: entry.revision,
            change: change.to_owned(),
            title: entry.decisive.title.clone(),
            key: entry.decisive.key.clone(),
            fields: entry.decisive.fields.clone(),
            first_event_at: entry.first_event_at,
            last_event_at: entry.last_event_at,
            event_count: entry.count,
            raised_at: entry.raised_at,
            delay_ms: i64::try_from(delay).ok(),
            completeness,
            entities: entry.entities.iter().cloned().collect(),
            evidence: evidence.into_values().collect(),
            reason: entry.decisive.reason.clone(),
            ..self.head.alert(&[&identity.0, &anchor], severity, now)
        })
    }

    /// Lets alerts go until the bounds hold, those with the oldest last event first.
    fn evict(&mut self) {
        let kept = &mut self.kept;
        if kept.entries.len() <= self.bounds.alerts && kept.bytes <= self.bounds.bytes {
            return;
        }
        let mut by_age: Vec<(EventTime, Identity)> = kept
            .entries
            .iter()
            .map(|(identity, entry)| (entry.last_event_at, identity.clone()))
            .collect();
        by_age.sort_unstable();
        for (_, identity) in by_age {
            if kept.entries.len() <= self.bounds.alerts && kept.bytes <= self.bounds.bytes {
                break;
            }
            if let Some(entry) = kept.entries.remove(&identity) {
                kept.bytes -= entry.bytes();
                kept.evicted += 1;
            }
        }
        tracing::warn!(
            rule = %self.head.rule.id, evicted = kept.evicted,
            "the rule has more open alerts than it may hold; the oldest left"
        );
    }
}

impl KeyedState for Ledger {
    fn on_epoch(
        &mut self,
        rows: &[Row],
        clock: &EpochClock,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Progress {
        let touched: BTreeSet<Identity> =
            rows.iter().filter_map(|row| self.apply(row, clock.now)).collect();
        for identity in &touched {
            if let Some(alert) = self.tell(identity, clock) {
                let event_time = alert.last_event_at;
                let value = self.head.to_value(&alert);
                tell(Told { port: 0, event_time, body: Body::Value(value), parts: None });
            }
        }
        self.evict();
        Progress::Done
    }

    fn keys(&self) -> u64 {
        self.kept.entries.len() as u64
    }

    fn evicted(&self) -> u64 {
        self.kept.evicted
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut snapshot = vec![SNAPSHOT_VERSION];
        serde_json::to_writer(&mut snapshot, &self.kept)
            .expect("texts, numbers and lists have a form in JSON");
        snapshot
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let kept = match snapshot {
            [SNAPSHOT_VERSION, kept @ ..] => kept,
            [version, ..] => return Err(format!("a ledger of version {version} is not known")),
            [] => return Err("a ledger is not empty".to_owned()),
        };
        self.kept = serde_json::from_slice(kept).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Entry {
    fn new(place: Place, draft: Draft, weight: usize, now: EventTime) -> Self {
        let mut entry = Entry {
            revision: 0,
            raised_at: now,
            told: None,
            count: 1,
            first_event_at: place.event_time,
            last_event_at: place.event_time,
            last_received_at: draft.received_at,
            entities: draft.entities,
            first: BTreeMap::from([(place, draft.evidence.clone())]),
            last: BTreeMap::from([(place, draft.evidence)]),
            decisive: Decisive {
                severity: draft.severity,
                place,
                reason: draft.reason,
                title: draft.title,
                key: draft.key,
                fields: draft.fields,
                weight,
            },
        };
        keep_least(&mut entry.entities);
        entry
    }

    fn add(&mut self, place: Place, draft: Draft, weight: usize) {
        self.count += 1;
        self.first_event_at = self.first_event_at.min(place.event_time);
        self.last_event_at = self.last_event_at.max(place.event_time);
        self.last_received_at = self.last_received_at.max(draft.received_at);
        self.entities.extend(draft.entities);
        keep_least(&mut self.entities);
        self.first.insert(place, draft.evidence.clone());
        if self.first.len() > EVIDENCE_MAX {
            self.first.pop_last();
        }
        self.last.insert(place, draft.evidence);
        if self.last.len() > EVIDENCE_MAX {
            self.last.pop_first();
        }
        if (draft.severity, place) > (self.decisive.severity, self.decisive.place) {
            self.decisive = Decisive {
                severity: draft.severity,
                place,
                reason: draft.reason,
                title: draft.title,
                key: draft.key,
                fields: draft.fields,
                weight,
            };
        }
    }

    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        let evidence = self.first.values().chain(self.last.values());
        let entities = self.entities.iter().map(|entity| entity.value.len());
        size_of::<Self>()
            + self.decisive.weight
            + evidence.map(|evidence| size_of::<Evidence>() + evidence.raw.len()).sum::<usize>()
            + entities.map(|value| size_of::<Entity>() + value).sum::<usize>()
    }
}

/// Maps whose keys are no texts, as lists of pairs: JSON knows no other keys than texts.
mod as_pairs {
    use super::BTreeMap;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer, K: Serialize, V: Serialize>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
