//! What a window is told as: a log record that later ones of the same `id` replace.

use super::having::Judge;
use super::layout::{self, Layout};
use crate::aggregate::Aggregate;
use crate::key::{self, KeyField};
use crate::window::{Answer, Digest, Gathered, Look, Teller, Telling};
use azud_event::id::Id;
use azud_event::record::Building;
use azud_event::time::EventTime;
use smallvec::SmallVec;
use std::sync::Arc;
use vrl::path;
use vrl::path::OwnedValuePath;
use vrl::value::kind::Collection;
use vrl::value::{Kind, ObjectMap, Value};

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
    layout: Layout,
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
    /// Makes the shape of the results of a component.
    pub fn new(
        component: &str,
        group_by: Vec<KeyField>,
        fields: Vec<ResultField>,
        evidence: bool,
    ) -> Self {
        let layout = Layout::of(&group_by, &fields, evidence);
        Shape { component: component.to_owned(), group_by, fields, evidence, layout }
    }

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

    /// Gives the identity of the window that a key had first at `anchor`.
    pub fn id(&self, key: &[u8], anchor: EventTime) -> Id {
        let anchor = anchor.nanoseconds().to_le_bytes();
        Id::of(&[b"window", self.component.as_bytes(), key, &anchor])
    }
}

/// Makes results, for one key group.
pub struct Results {
    shape: Arc<Shape>,
    having: Option<Judge>,
    /// What a digest is made of, kept for the next.
    bytes: Vec<u8>,
}

impl Results {
    /// Makes what makes results; `having` says which are wanted.
    pub fn new(shape: Arc<Shape>, having: Option<Judge>) -> Self {
        Results { shape, having, bytes: Vec::new() }
    }

    /// Gives a hash of what an answer comes to: all that is visible of it but for its key, which
    /// the same window always has.
    fn digest(&mut self, answer: &Answer<'_>, fields: &[Value]) -> Digest {
        let Answer { window, gathered, .. } = answer;
        let bytes = &mut self.bytes;
        bytes.clear();
        bytes.extend(gathered.count.to_le_bytes());
        for time in [gathered.first, gathered.last, window.start, window.end] {
            bytes.extend(time.nanoseconds().to_le_bytes());
        }
        fields.iter().for_each(|value| key::push(Some(value), bytes));
        if self.shape.evidence {
            for record in gathered.evidence() {
                bytes.extend((record.len() as u64).to_le_bytes());
                bytes.extend(record);
            }
        }
        *Id::of(&[bytes]).as_bytes()
    }

    /// Gives the result as far as `having` sees it.
    fn judged(&self, answer: &Answer<'_>, fields: &[Value]) -> Value {
        let mut value = Value::Object(ObjectMap::new());
        let Answer { key, window, gathered, .. } = answer;
        // A key is made by this program; one that is none would only lack its fields here.
        let values = key::decode(key).unwrap_or_default();
        for (field, of_key) in self.shape.group_by.iter().zip(values) {
            if let Some(of_key) = of_key {
                value.insert(&field.path, of_key);
            }
        }
        for (field, of_field) in self.shape.fields.iter().zip(fields) {
            value.insert(&field.path, of_field.clone());
        }
        let (first, last) = span(gathered);
        value.insert(path!("event_count"), count(gathered.count));
        value.insert(path!("first_event_at"), first);
        value.insert(path!("last_event_at"), last);
        value.insert(path!("window", "start"), time(window.start));
        value.insert(path!("window", "end"), time(window.end));
        value
    }
}

pub(super) fn time(time: EventTime) -> Value {
    Value::Timestamp(time.to_chrono())
}

pub(super) fn count(count: u64) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Gives when the first and the last record happened, `null` where there is none.
pub(super) fn span(gathered: &Gathered) -> (Value, Value) {
    match gathered.count {
        0 => (Value::Null, Value::Null),
        _ => (time(gathered.first), time(gathered.last)),
    }
}

impl Teller for Results {
    fn look(&mut self, answer: &Answer<'_>) -> Look {
        let partials = self.shape.fields.iter().zip(answer.gathered.partials.iter());
        let fields: SmallVec<[Value; 2]> =
            partials.map(|(field, partial)| partial.finish(&field.aggregate)).collect();
        let judged = self.having.is_some().then(|| self.judged(answer, &fields));
        let having = self.having.as_mut().zip(judged);
        let holds = having.is_none_or(|(having, mut result)| having.holds(&mut result));
        Look { digest: self.digest(answer, &fields), fields, holds }
    }

    fn write(&self, telling: &Telling<'_>, into: &mut Building<'_>) {
        self.shape.layout.write(&layout::Result { shape: &self.shape, telling }, into);
    }
}
