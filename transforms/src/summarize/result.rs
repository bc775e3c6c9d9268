//! What a window is told as: a log record that later ones of the same `id` replace.

use super::having::Judge;
use crate::aggregate::Aggregate;
use crate::key::{self, KeyField};
use crate::window::{Answer, Counted, Look, Teller};
use azud_event::id::Id;
use azud_event::time::EventTime;
use std::sync::Arc;
use vrl::path::OwnedValuePath;
use vrl::value::kind::Collection;
use vrl::value::{Kind, ObjectMap, Value};
use vrl::{owned_value_path, path};

/// Names that every result has, so that neither a key nor a field may have them.
pub const RESERVED: [&str; 10] = [
    "change",
    "completeness",
    "event_count",
    "evidence",
    "first_event_at",
    "id",
    "last_event_at",
    "revision",
    "superseded_by",
    "window",
];

/// What results are made by.
#[derive(Debug)]
pub struct Shape {
    /// The component's id, part of the identity of its results.
    pub component: String,
    /// The key's fields.
    pub group_by: Vec<KeyField>,
    /// The fields, in the order in which they are gathered.
    pub fields: Vec<ResultField>,
    /// Whether results carry records as they came.
    pub evidence: bool,
}

/// A field of a result.
#[derive(Debug)]
pub struct ResultField {
    /// Where it stands.
    pub path: OwnedValuePath,
    /// What it is made by.
    pub aggregate: Aggregate,
}

impl Shape {
    /// Gives the type of results, as far as `having` sees them.
    pub fn kind(&self) -> Kind {
        let mut kind = Kind::object(Collection::empty());
        for field in &self.group_by {
            kind.insert(&field.path, Kind::any());
        }
        for field in &self.fields {
            kind.insert(&field.path, field.aggregate.result_kind());
        }
        kind.insert(path!("event_count"), Kind::integer());
        for name in ["first_event_at", "last_event_at"] {
            kind.insert(path!(name), Kind::timestamp().or_null());
        }
        kind.insert(path!("window", "start"), Kind::timestamp());
        kind.insert(path!("window", "end"), Kind::timestamp());
        kind
    }

    /// Gives the type of results as they are told.
    pub fn result_kind(&self) -> Kind {
        let mut kind = self.kind();
        for name in ["id", "change"] {
            kind.insert(path!(name), Kind::bytes());
        }
        kind.insert(path!("revision"), Kind::integer());
        kind.insert(path!("superseded_by"), Kind::bytes().or_undefined());
        kind.insert(path!("evidence"), Kind::array(Collection::any()).or_undefined());
        kind.insert(path!("completeness"), Kind::object(Collection::any()));
        kind
    }

    fn id(&self, key: &[u8], anchor: EventTime) -> String {
        let anchor = anchor.nanoseconds().to_le_bytes();
        Id::of(&[b"window", self.component.as_bytes(), key, &anchor]).to_string()
    }
}

/// Makes results, for one key group.
pub struct Results {
    shape: Arc<Shape>,
    having: Option<Judge>,
}

impl Results {
    /// Makes what makes results; `having` says which are wanted.
    pub fn new(shape: Arc<Shape>, having: Option<Judge>) -> Self {
        Results { shape, having }
    }
}

fn time(time: EventTime) -> Value {
    Value::Timestamp(time.to_chrono())
}

fn count(count: u64) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter().map(|(name, value)| (name.into(), value));
    Value::Object(members.collect())
}

impl Teller for Results {
    fn look(&mut self, answer: &Answer<'_>) -> Look {
        let Answer { key, window, gathered, .. } = answer;
        let mut value = Value::Object(ObjectMap::new());
        // A key is made by this program; one that is none would only lack its fields here.
        let values = key::decode(key).unwrap_or_default();
        for (field, of_key) in self.shape.group_by.iter().zip(values) {
            if let Some(of_key) = of_key {
                value.insert(&field.path, of_key);
            }
        }
        for (field, partial) in self.shape.fields.iter().zip(&gathered.partials) {
            value.insert(&field.path, partial.finish(&field.aggregate));
        }
        let (first, last) = match gathered.count {
            0 => (Value::Null, Value::Null),
            _ => (time(gathered.first), time(gathered.last)),
        };
        value.insert(path!("event_count"), count(gathered.count));
        value.insert(path!("first_event_at"), first);
        value.insert(path!("last_event_at"), last);
        let bounds = object([("start", time(window.start)), ("end", time(window.end))]);
        value.insert(path!("window"), bounds);
        let holds = self.having.as_mut().is_none_or(|having| having.holds(&mut value));
        if self.shape.evidence {
            let evidence = gathered.evidence().map(|json| {
                let json: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
                Value::from(json)
            });
            value.insert(path!("evidence"), Value::Array(evidence.collect()));
        }
        let mut bytes = Vec::new();
        key::push(Some(&value), &mut bytes);
        Look { value, digest: *Id::of(&[&bytes]).as_bytes(), holds }
    }

    fn complete(&self, answer: &Answer<'_>, mut value: Value, counted: &Counted<'_>) -> Value {
        let clock = counted.clock;
        let ended = clock.watermark.nanoseconds() == i64::MAX;
        let missing = clock.missing.iter().map(|source| Value::from(source.as_str()));
        let completeness = object([
            // At the end of all input everything that there was is in it.
            ("complete_to", time(if ended { clock.now } else { clock.watermark })),
            ("missing", Value::Array(missing.collect())),
            ("late_events", count(counted.late)),
            ("keys_evicted", count(counted.evicted)),
            ("approximate", Value::Boolean(counted.approximate)),
        ]);
        value.insert(path!("id"), Value::from(self.shape.id(answer.key, answer.anchor)));
        value.insert(path!("revision"), count(counted.revision));
        value.insert(path!("change"), Value::from(counted.change.name()));
        value.insert(path!("completeness"), completeness);
        if let Some(anchor) = counted.superseded_by {
            let id = Value::from(self.shape.id(answer.key, anchor));
            value.insert(&owned_value_path!("superseded_by"), id);
        }
        value
    }
}
