//! How a result stands in a record: its members in their order, made ready once.

use super::result::{ResultField, Shape, count, span, time};
use crate::key::{self, KeyField, Part};
use crate::window::Telling;
use azud_event::record::{Building, MemberName};
use azud_event::time::EventTime;
use azud_plan::component::EpochClock;
use std::collections::BTreeMap;
use vrl::path::{OwnedSegment, OwnedValuePath};
use vrl::value::Value;

/// What stands in a result.
#[derive(Clone, Copy, Debug)]
enum Leaf {
    /// The field of the key with this number.
    Key(usize),
    /// The field with this number.
    Field(usize),
    Approximate,
    Change,
    CompleteTo,
    EventCount,
    Evidence,
    First,
    Id,
    KeysEvicted,
    Last,
    LateEvents,
    Missing,
    Revision,
    SupersededBy,
    WindowEnd,
    WindowStart,
}

/// What every result has, and where.
const OWN: [(&[&str], Leaf); 14] = [
    (&["change"], Leaf::Change),
    (&["completeness", "approximate"], Leaf::Approximate),
    (&["completeness", "complete_to"], Leaf::CompleteTo),
    (&["completeness", "keys_evicted"], Leaf::KeysEvicted),
    (&["completeness", "late_events"], Leaf::LateEvents),
    (&["completeness", "missing"], Leaf::Missing),
    (&["event_count"], Leaf::EventCount),
    (&["first_event_at"], Leaf::First),
    (&["id"], Leaf::Id),
    (&["last_event_at"], Leaf::Last),
    (&["revision"], Leaf::Revision),
    (&["superseded_by"], Leaf::SupersededBy),
    (&["window", "end"], Leaf::WindowEnd),
    (&["window", "start"], Leaf::WindowStart),
];

/// A member of a result, or of an object in it.
#[derive(Debug)]
enum Member {
    Leaf(MemberName, Leaf),
    Object(MemberName, Vec<Member>),
}

/// Where everything stands in a result.
#[derive(Debug)]
pub struct Layout {
    members: Vec<Member>,
    /// What stands within arrays.
    apart: Vec<(OwnedValuePath, Leaf)>,
}

/// Members by name, while they are gathered.
#[derive(Default)]
struct Branch(BTreeMap<String, (Option<Leaf>, Branch)>);

impl Branch {
    fn add(&mut self, path: &[&str], leaf: Leaf) {
        let [name, rest @ ..] = path else { return };
        let (here, below) = self.0.entry((*name).to_owned()).or_default();
        match rest {
            [] => *here = Some(leaf),
            rest => below.add(rest, leaf),
        }
    }

    fn members(self) -> Vec<Member> {
        let member = |(name, (leaf, below)): (String, (Option<Leaf>, Branch))| {
            let name = MemberName::from(name.as_str());
            match leaf {
                Some(leaf) => Member::Leaf(name, leaf),
                None => Member::Object(name, below.members()),
            }
        };
        self.0.into_iter().map(member).collect()
    }
}

fn name(segment: &OwnedSegment) -> Option<&str> {
    match segment {
        OwnedSegment::Field(name) => Some(name),
        OwnedSegment::Index(_) => None,
    }
}

impl Layout {
    /// Lays out the results of a key and some fields, of which none leads through another.
    pub fn of(group_by: &[KeyField], fields: &[ResultField], evidence: bool) -> Self {
        let (mut all, mut apart) = (Branch::default(), Vec::new());
        for (path, leaf) in OWN {
            all.add(path, leaf);
        }
        if evidence {
            all.add(&["evidence"], Leaf::Evidence);
        }
        let keys = group_by.iter().enumerate().map(|(at, field)| (&field.path, Leaf::Key(at)));
        let fields = fields.iter().enumerate().map(|(at, field)| (&field.path, Leaf::Field(at)));
        for (path, leaf) in keys.chain(fields) {
            // Nothing but names leads to most.
            match path.segments.iter().map(name).collect::<Option<Vec<_>>>() {
                Some(names) => all.add(&names, leaf),
                None => apart.push((path.clone(), leaf)),
            }
        }
        Layout { members: all.members(), apart }
    }

    /// Writes a result.
    pub fn write(&self, result: &Result<'_>, into: &mut Building<'_>) {
        write_members(&self.members, result, into);
        for (path, leaf) in &self.apart {
            if let Some(value) = result.value(*leaf) {
                into.insert(path, value);
            }
        }
    }
}

fn write_members(members: &[Member], result: &Result<'_>, into: &mut Building<'_>) {
    for member in members {
        match member {
            Member::Object(name, members) if members.iter().any(|it| result.has(it)) => {
                into.object(name, |into| write_members(members, result, into));
            }
            Member::Object(..) => {}
            Member::Leaf(name, leaf) => result.write(name, *leaf, into),
        }
    }
}

/// A result that is written.
pub struct Result<'a> {
    /// What it is made by.
    pub shape: &'a Shape,
    /// What it tells.
    pub telling: &'a Telling<'a>,
}

impl Result<'_> {
    /// Whether anything of a member is there.
    fn has(&self, member: &Member) -> bool {
        match member {
            Member::Object(_, members) => members.iter().any(|it| self.has(it)),
            Member::Leaf(_, Leaf::Key(at)) => key::part(self.telling.answer.key, *at).is_some(),
            Member::Leaf(_, Leaf::SupersededBy) => self.telling.counted.superseded_by.is_some(),
            Member::Leaf(..) => true,
        }
    }

    fn write(&self, name: &MemberName, leaf: Leaf, into: &mut Building<'_>) {
        let Telling { answer, counted, .. } = self.telling;
        match leaf {
            Leaf::Key(at) => match key::part(answer.key, at) {
                Some(Part::Text(text)) => into.text(name, text),
                Some(Part::Value(value)) => into.value(name, value),
                None => {}
            },
            Leaf::Change => into.text(name, counted.change.name().as_bytes()),
            Leaf::Id => into.text(name, &self.shape.id(answer.key, answer.anchor).to_text()),
            Leaf::First if answer.gathered.count > 0 => into.time(name, answer.gathered.first),
            Leaf::Last if answer.gathered.count > 0 => into.time(name, answer.gathered.last),
            Leaf::CompleteTo => into.time(name, complete_to(counted.clock)),
            Leaf::WindowEnd => into.time(name, answer.window.end),
            Leaf::WindowStart => into.time(name, answer.window.start),
            leaf => {
                if let Some(value) = self.value(leaf) {
                    into.value(name, value);
                }
            }
        }
    }

    fn value(&self, leaf: Leaf) -> Option<Value> {
        let Telling { answer, look, counted } = self.telling;
        let (gathered, clock) = (answer.gathered, counted.clock);
        let id = |anchor| Value::from(self.shape.id(answer.key, anchor).to_string());
        Some(match leaf {
            Leaf::Key(at) => key::part(answer.key, at)?.into_value(),
            Leaf::Field(at) => look.fields.get(at)?.clone(),
            Leaf::Approximate => Value::Boolean(counted.approximate),
            Leaf::Change => Value::from(counted.change.name()),
            Leaf::CompleteTo => time(complete_to(clock)),
            Leaf::EventCount => count(gathered.count),
            Leaf::Evidence => {
                let evidence = gathered.evidence().map(|json| {
                    let json: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
                    Value::from(json)
                });
                Value::Array(evidence.collect())
            }
            Leaf::First => span(gathered).0,
            Leaf::Id => id(answer.anchor),
            Leaf::KeysEvicted => count(counted.evicted),
            Leaf::Last => span(gathered).1,
            Leaf::LateEvents => count(counted.late),
            Leaf::Missing => {
                let missing = clock.missing.iter().map(|source| Value::from(source.as_str()));
                Value::Array(missing.collect())
            }
            Leaf::Revision => count(counted.revision),
            Leaf::SupersededBy => id(counted.superseded_by?),
            Leaf::WindowEnd => time(answer.window.end),
            Leaf::WindowStart => time(answer.window.start),
        })
    }
}

/// Says up to when everything is in what is told. At the end of all input that is all there was.
fn complete_to(clock: &EpochClock) -> EventTime {
    if clock.watermark.nanoseconds() == i64::MAX { clock.now } else { clock.watermark }
}

#[cfg(test)]
mod tests {
    use crate::summarize::SUMMARIZE;
    use crate::testing::{checked, run_example};
    use vrl::path;
    use vrl::value;

    #[test]
    fn keys_and_fields_stand_where_they_stood_and_what_is_absent_leaves_nothing() {
        let spec = checked(
            &SUMMARIZE,
            "group_by = [\"host.name\", \"host.ip\", \"tags[0]\"]\n\
             window = { type = \"tumbling\", size = \"1m\" }\n\
             fields.\"host.count\" = { aggregate = \"count\" }\n\
             fields.most = { aggregate = \"max\", field = \"n\" }",
        );
        let input = r#"{"host":{"name":"a"},"tags":["x","y"],"n":2}
{"host":{"name":null},"n":3}
{"n":{"no":"number"}}"#;
        let mut results = run_example(&*spec, input);
        results.sort_by_key(|result| result.get(path!("host")).map(ToString::to_string));
        let seen: Vec<_> = results
            .iter()
            .map(|result| {
                let at = |name: &str| result.as_object()?.get(name).cloned();
                (at("host").unwrap(), at("tags"), at("most").unwrap())
            })
            .collect();
        assert_eq!(
            seen,
            [
                (value!({ "count": 1 }), None, value!(null)),
                (value!({ "count": 1, "name": "a" }), Some(value!(["x"])), value!(2)),
                (value!({ "count": 1, "name": null }), None, value!(3)),
            ]
        );
        let names: Vec<&str> =
            results[0].as_object().unwrap().keys().map(|name| name.as_str()).collect();
        let own = ["change", "completeness", "event_count", "first_event_at", "host", "id"];
        assert_eq!(names[..6], own);
        assert_eq!(names[6..], ["last_event_at", "most", "revision", "window"]);
    }
}
