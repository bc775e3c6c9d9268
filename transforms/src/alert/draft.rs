//! What an alert takes of one record: made where the record is, before the record is gone.

use crate::evidence::evidence_of;
use crate::key::{self, KeyField};
use crate::vrl::Runner;
use azud_event::alert::{Entity, Evidence, Severity};
use azud_event::dead_letter::Fault;
use azud_event::record::Record;
use azud_event::row::Place;
use azud_event::time::EventTime;
use azud_plan::component::Template;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use vrl::path::{OwnedValuePath, parse_value_path};
use vrl::value::Value;

/// How long a title may be, in bytes: it stands in one line of a message.
pub const TITLE_BYTES_MAX: usize = 1024;
/// How much of a record's fields an alert carries, in bytes of JSON.
pub const FIELDS_BYTES_MAX: usize = 8 * 1024;
/// How many entities an alert names. Further ones are left out, the last in their order first.
pub const ENTITIES_MAX: usize = 32;
/// How long the value of an entity may be, in bytes; what is longer is none.
const ENTITY_BYTES_MAX: usize = 256;

/// What an alert takes of one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// How bad this record alone is.
    pub severity: Severity,
    /// Why it is that bad.
    pub reason: Option<String>,
    /// The rule's title with the record's fields filled in.
    pub title: String,
    /// The key for people.
    pub key: BTreeMap<String, serde_json::Value>,
    /// The event's fields, as far as they fit.
    pub fields: BTreeMap<String, serde_json::Value>,
    /// Whom and what the record names.
    pub entities: BTreeSet<Entity>,
    /// The record as it came.
    pub evidence: Evidence,
    /// When it was received.
    pub received_at: EventTime,
}

/// Makes drafts, on one worker.
pub struct Drafter {
    /// What must hold of a record.
    pub condition: Option<Runner>,
    /// How bad it is at least.
    pub severity: Severity,
    /// The conditions under which it is worse, in the author's order.
    pub escalate: Vec<(Runner, Severity)>,
    /// The title, where one was written.
    pub title: Option<Template>,
    /// The rule's name, which is the title where none was written.
    pub rule: String,
    /// What tells alerts apart.
    pub key: Vec<KeyField>,
}

impl Drafter {
    /// Makes the draft of a record, or none when the condition does not hold.
    ///
    /// # Errors
    /// A [`Fault`] when the condition ended early: the record may have been worth an alert, so it
    /// is set aside.
    pub fn draft(&mut self, record: &Record) -> Result<Option<Draft>, Fault> {
        if let Some(condition) = &mut self.condition
            && !condition.holds(record)?
        {
            return Ok(None);
        }
        let (severity, reason) = self.judge(record);
        let mut title = String::new();
        match &self.title {
            Some(template) => template.render(record, &mut title)?,
            None => title.push_str(&self.rule),
        }
        title.truncate(title.floor_char_boundary(TITLE_BYTES_MAX));
        Ok(Some(Draft {
            severity,
            reason,
            title,
            key: key::describe(&self.key, record),
            fields: fields_of(record),
            entities: entities_of(record),
            evidence: evidence_of(record),
            received_at: record.origin().received_at,
        }))
    }

    /// Says how bad it is: the worst that holds. A condition that fails does not keep the alert
    /// from being raised; the alert says so itself.
    fn judge(&mut self, record: &Record) -> (Severity, Option<String>) {
        let (mut severity, mut reason) = (self.severity, None);
        for (number, (condition, worse)) in self.escalate.iter_mut().enumerate() {
            if *worse <= severity {
                continue;
            }
            match condition.holds(record) {
                Ok(true) => {
                    severity = *worse;
                    reason = Some(format!("condition {} of escalate", number + 1));
                }
                Ok(false) => {}
                Err(fault) if reason.is_none() => {
                    let failed = format!("condition {} of escalate failed: {fault}", number + 1);
                    reason = Some(failed);
                }
                Err(_) => {}
            }
        }
        (severity, reason)
    }
}

/// Gives the bytes that tell a place from all others.
pub fn place_bytes(place: &Place) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..8].copy_from_slice(&place.event_time.nanoseconds().to_le_bytes());
    bytes[8..16].copy_from_slice(&place.source.to_le_bytes());
    bytes[16..24].copy_from_slice(&place.stream.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&place.position.to_le_bytes());
    bytes[32..].copy_from_slice(&place.index.to_le_bytes());
    bytes
}

/// Gives the fields of an event as far as they fit; `_cut` counts those that do not.
fn fields_of(record: &Record) -> BTreeMap<String, serde_json::Value> {
    fit(record.to_value(), 0)
}

/// Gives the members of an object as far as they fit; `_cut` counts those that do not, beside
/// `cut` others.
pub fn fit(object: Value, mut cut: u64) -> BTreeMap<String, serde_json::Value> {
    let Value::Object(members) = object else { return BTreeMap::new() };
    let (mut fields, mut bytes) = (BTreeMap::new(), 0);
    for (name, value) in members {
        let value = serde_json::to_value(value).unwrap_or_default();
        let size = name.len() + value.to_string().len();
        if bytes + size > FIELDS_BYTES_MAX {
            cut += 1;
            continue;
        }
        bytes += size;
        fields.insert(name.to_string(), value);
    }
    if cut > 0 {
        fields.insert("_cut".to_owned(), cut.into());
    }
    fields
}

/// Fields of the Elastic Common Schema that name somebody or something: field, type, role.
const ENTITY_FIELDS: &[(&str, &str, &str)] = &[
    ("client.ip", "ip", "client"),
    ("destination.domain", "domain", "destination"),
    ("destination.ip", "ip", "destination"),
    ("destination.user.name", "user", "destination"),
    ("dns.question.name", "domain", "question"),
    ("file.hash.sha256", "hash", "file"),
    ("file.path", "file", "file"),
    ("host.name", "host", "host"),
    ("process.executable", "process", "process"),
    ("process.hash.sha256", "hash", "process"),
    ("server.ip", "ip", "server"),
    ("service.name", "service", "service"),
    ("source.domain", "domain", "source"),
    ("source.ip", "ip", "source"),
    ("source.user.name", "user", "source"),
    ("url.domain", "domain", "url"),
    ("user.name", "user", "user"),
    ("user.target.name", "user", "target"),
];

type EntityField = (OwnedValuePath, &'static str, &'static str);

static ENTITY_PATHS: LazyLock<Vec<EntityField>> = LazyLock::new(|| {
    let path = |field: &str| parse_value_path(field).expect("the fields are fixed and valid");
    ENTITY_FIELDS.iter().map(|(field, kind, role)| (path(field), *kind, *role)).collect()
});

fn entities_of(record: &Record) -> BTreeSet<Entity> {
    let mut entities = BTreeSet::new();
    for (path, kind, role) in ENTITY_PATHS.iter() {
        let values = match record.get(path) {
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
            None => continue,
        };
        for value in values {
            let Some(value) = value.to_str_lossy() else { continue };
            if !value.is_empty() && value.len() <= ENTITY_BYTES_MAX {
                entities.insert(Entity {
                    r#type: (*kind).to_owned(),
                    value: value.into_owned(),
                    role: (*role).to_owned(),
                    asset_id: None,
                });
            }
        }
    }
    keep_least(&mut entities);
    entities
}

/// Leaves the least entities, as many as an alert names: of any number of sets the same, in
/// whichever order they are put together.
pub fn keep_least(entities: &mut BTreeSet<Entity>) {
    while entities.len() > ENTITIES_MAX {
        entities.pop_last();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrl::testing::record_of;
    use azud_event::alert::EVIDENCE_BYTES_MAX;
    use vrl::value;

    #[test]
    fn entities_are_read_from_well_known_fields() {
        let record = record_of(value!({
            "source": { "ip": ["10.0.0.1", "10.0.0.2"] }, "user": { "name": "root" },
            "host": { "name": 7 }, "file": { "path": "" }, "other": "x",
        }));
        let found: Vec<_> = entities_of(&record)
            .into_iter()
            .map(|entity| format!("{} {} {}", entity.r#type, entity.value, entity.role))
            .collect();
        assert_eq!(found, ["ip 10.0.0.1 source", "ip 10.0.0.2 source", "user root user"]);
    }

    #[test]
    fn fields_and_evidence_are_bounded() {
        let long = "x".repeat(2 * FIELDS_BYTES_MAX);
        let record = record_of(value!({ "a": 1, "b": long, "c": 2 }));
        let fields = serde_json::to_value(fields_of(&record)).unwrap();
        assert_eq!(fields, serde_json::json!({ "a": 1, "c": 2, "_cut": 1 }));
        let evidence = evidence_of(&record);
        assert!(evidence.cut && evidence.raw.len() == EVIDENCE_BYTES_MAX);
        let odd = record_of(value!({ "a": ("ñ".repeat(EVIDENCE_BYTES_MAX)) }));
        let evidence = evidence_of(&odd);
        assert_eq!((evidence.encoding.as_str(), evidence.cut), ("utf8", true));
    }

    #[test]
    fn the_fields_are_sorted_and_parse() {
        assert!(ENTITY_FIELDS.is_sorted());
        assert_eq!(ENTITY_PATHS.len(), ENTITY_FIELDS.len());
    }
}
