//! A record as an action and its document.

use super::bulk::{Action, BETWEEN};
use super::name::Name;
use crate::encoding::Encoding;
use azud_event::alert::SCHEMA;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::id::Id;
use azud_event::record::Record;
use azud_plan::component::{Encoder, parse_field};
use serde_json::{Map, Value, json};

/// Where documents go.
#[derive(Clone)]
pub(super) enum Target {
    /// Into an index.
    Index(Name),
    /// Into a data stream: type, dataset, namespace.
    DataStream { parts: [Name; 3], sync_fields: bool },
}

/// A checked form of documents.
#[derive(Clone)]
pub(super) struct Form {
    pub target: Target,
    pub action: Action,
    pub id_key: Option<String>,
    pub encoding: Encoding,
    /// Whether all records are alerts: then they have an id of their own.
    pub alerts: bool,
}

/// Writes records, each as one line: see [`super::bulk`].
pub(super) struct BulkEncoder {
    form: Form,
    document: Vec<u8>,
    name: String,
}

impl BulkEncoder {
    pub fn new(form: Form) -> Self {
        BulkEncoder { form, document: Vec::new(), name: String::new() }
    }

    /// Writes the document; gives the id that it names itself.
    fn write(&mut self, record: &Record) -> Result<Option<String>, Fault> {
        self.document.clear();
        let stream = matches!(self.form.target, Target::DataStream { .. });
        if self.form.id_key.is_none() && !stream {
            self.form.encoding.encoder().encode(record, &mut self.document)?;
            self.document.pop();
            return Ok(None);
        }
        let mut encoded = Vec::new();
        self.form.encoding.encoder().encode(record, &mut encoded)?;
        let document: Value = serde_json::from_slice(&encoded).map_err(unwritable)?;
        let Value::Object(mut document) = document else {
            return Err(unwritable("it is no object"));
        };
        let id = self.form.id_key.as_ref().and_then(|key| take(&mut document, key));
        if let Target::DataStream { parts, sync_fields } = &self.form.target {
            dated(record, &mut document);
            if *sync_fields {
                let mut fields = Map::new();
                for (part, field) in parts.iter().zip(["type", "dataset", "namespace"]) {
                    let mut text = String::new();
                    part.write(record, &mut text)?;
                    fields.insert(field.to_owned(), text.into());
                }
                document.insert("data_stream".to_owned(), fields.into());
            }
        }
        serde_json::to_writer(&mut self.document, &document).map_err(unwritable)?;
        Ok(id)
    }

    fn name(&mut self, record: &Record) -> Result<(), Fault> {
        self.name.clear();
        match &self.form.target {
            Target::Index(name) => name.write(record, &mut self.name),
            Target::DataStream { parts, .. } => {
                for (number, part) in parts.iter().enumerate() {
                    if number > 0 {
                        self.name.push('-');
                    }
                    part.write(record, &mut self.name)?;
                }
                Ok(())
            }
        }
    }
}

impl Encoder for BulkEncoder {
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.name(record)?;
        let own = self.write(record)?;
        let mut action = json!({ "_index": self.name });
        let alert = if self.form.alerts { alert(record) } else { None };
        match (own, alert, self.form.action) {
            (Some(id), ..) => action["_id"] = id.into(),
            // The greatest revision of an alert stays, in whatever order they come.
            (None, Some((id, revision)), Action::Index) => {
                action["_id"] = id.into();
                action["version"] = revision.into();
                action["version_type"] = "external".into();
            }
            (None, Some((id, _)), Action::Update) => action["_id"] = id.into(),
            (None, ..) => action["_id"] = identity(record, &self.document).into(),
        }
        serde_json::to_writer(&mut *out, &json!({ self.form.action.name(): action }))
            .map_err(unwritable)?;
        out.push(BETWEEN);
        match self.form.action {
            Action::Update => {
                out.extend_from_slice(b"{\"doc\":");
                out.extend_from_slice(&self.document);
                out.extend_from_slice(b",\"doc_as_upsert\":true}");
            }
            Action::Create | Action::Index => out.extend_from_slice(&self.document),
        }
        out.push(b'\n');
        Ok(())
    }
}

fn unwritable(error: impl std::fmt::Display) -> Fault {
    Fault::new(Reason::EncodeFailed, format!("the document cannot be written: {error}"))
}

/// Takes a member out of a document, wherever its path leads.
fn take(document: &mut Map<String, Value>, path: &str) -> Option<String> {
    let (first, rest) = match path.trim_start_matches('.').split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path.trim_start_matches('.'), None),
    };
    match rest {
        Some(rest) => take(document.get_mut(first)?.as_object_mut()?, rest),
        None => match document.get(first)? {
            Value::String(text) if !text.is_empty() => {
                let text = text.clone();
                document.remove(first);
                Some(text)
            }
            Value::Number(number) => {
                let text = number.to_string();
                document.remove(first);
                Some(text)
            }
            _ => None,
        },
    }
}

/// Sees that a document has `@timestamp`, which data streams need: it takes the place of
/// `timestamp`, or is the event time.
fn dated(record: &Record, document: &mut Map<String, Value>) {
    if !document.contains_key("@timestamp") {
        let known = document.remove("timestamp").filter(Value::is_string);
        let time = known.unwrap_or_else(|| record.event_time().to_rfc3339().into());
        document.insert("@timestamp".to_owned(), time);
    }
}

/// Gives the id and the revision of an alert.
fn alert(record: &Record) -> Option<(String, u64)> {
    let field = |name: &str| record.get(&parse_field(name)?).cloned();
    let text = |name: &str| {
        let bytes = record.get_bytes(&parse_field(name)?)?;
        String::from_utf8(bytes.to_vec()).ok()
    };
    if text("schema")? != SCHEMA {
        return None;
    }
    let revision = field("revision")?.as_integer()?;
    Some((text("id")?, u64::try_from(revision).ok()?))
}

/// Gives the identity of a record: the same whenever it is sent, and of no other.
fn identity(record: &Record, document: &[u8]) -> String {
    let origin = record.origin();
    let parts = [
        origin.source_key.to_le_bytes(),
        origin.stream.0.to_le_bytes(),
        origin.position.to_le_bytes(),
        origin.index.to_le_bytes(),
        origin.received_at.nanoseconds().to_le_bytes(),
    ];
    let [source, stream, position, index, received] = &parts;
    Id::of(&[source, stream, position, index, received, document]).to_string()
}
