//! What a checkpoint says of the plan that made it, and how another plan differs.
//!
//! The text is that of the documents with nothing filled in. Of sinks only the names are kept:
//! their tables are where credentials are written, and nothing of a checkpoint hangs on them.

use crate::checkpoint::{Checkpoint, GroupState};
use azud_event::id::source_key;
use azud_plan::plan::{Pipeline, Plan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A component of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What it is: `source`, `transform`, `sink`.
    pub role: String,
    /// Its id.
    pub id: String,
    /// Its `type`.
    pub kind: String,
    /// Its table in TOML; empty for a sink.
    pub text: String,
}

/// Lists the components of a pipeline: sources, transforms in the order of the flow, sinks.
pub fn planned(plan: &Plan, pipeline: &Pipeline) -> Arc<[Planned]> {
    let one = |role: &str, id: &str, kind: &str, text: &str| {
        let [role, id, kind, text] = [role, id, kind, text].map(str::to_owned);
        Planned { role, id, kind, text }
    };
    let sources = pipeline.sources.iter().map(|input| {
        let source = &plan.sources[input.source.0 as usize];
        one("source", &source.id, source.kind, &source.written)
    });
    let transforms = pipeline.transforms.iter();
    let transforms = transforms.map(|it| one("transform", &it.id, it.kind, &it.written));
    let sinks = pipeline.sinks.iter().map(|sink| one("sink", &sink.id, sink.kind, ""));
    sources.chain(transforms).chain(sinks).collect()
}

/// Says in words how the plan of a pipeline differs from the one that made a checkpoint, component
/// by component, and what becomes of the state of each; `dropped` are the ids of the steps that
/// begin anew. A checkpoint without a plan differs in nothing.
pub fn changes(
    known: &Checkpoint,
    plan: &Plan,
    pipeline: &Pipeline,
    dropped: &[String],
) -> Vec<String> {
    let keyed = pipeline.transforms.iter().filter(|it| it.spec.is_keyed());
    let shapes = keyed.map(|it| (source_key(&it.id), it.spec.shape())).collect();
    let now = planned(plan, pipeline);
    Change { before: &known.plan, now: &now, groups: &known.groups, shapes, dropped }.words()
}

/// One plan against another.
struct Change<'a> {
    before: &'a [Planned],
    now: &'a [Planned],
    /// The states of the checkpoint.
    groups: &'a [GroupState],
    /// What the states of keyed steps hang on now, by the steps' keys.
    shapes: BTreeMap<u64, u64>,
    dropped: &'a [String],
}

impl Change<'_> {
    fn words(&self) -> Vec<String> {
        if self.before.is_empty() {
            return Vec::new();
        }
        let find = |all: &[Planned], it: &Planned| {
            all.iter().find(|other| (&other.role, &other.id) == (&it.role, &it.id)).cloned()
        };
        let changed = self.now.iter().filter_map(|it| match find(self.before, it) {
            Some(known) if known == *it => None,
            Some(_) => Some(format!("{} `{}` changed{}", it.role, it.id, self.state_of(&it.id))),
            None => Some(format!("{} `{}` is new", it.role, it.id)),
        });
        let gone = self.before.iter().filter(|it| find(self.now, it).is_none());
        let gone = gone.map(|it| match self.keys_of(&it.id) {
            Some(keys) => format!("{} `{}` is gone, and its {keys} keys with it", it.role, it.id),
            None => format!("{} `{}` is gone", it.role, it.id),
        });
        changed.chain(gone).collect()
    }

    /// Says what becomes of the state of a component that changed.
    fn state_of(&self, id: &str) -> String {
        let Some(keys) = self.keys_of(id) else { return String::new() };
        let key = source_key(id);
        let mut shapes = self.groups.iter().filter(|group| group.step == key);
        match self.shapes.get(&key) {
            None => format!(", and keeps nothing by key any more: its {keys} keys are given up"),
            Some(_) if self.dropped.iter().any(|it| it == id) => {
                format!(", and begins anew as `--drop-state` says: its {keys} keys are given up")
            }
            Some(shape) if shapes.all(|group| group.shape == *shape) => {
                format!(", and keeps its state of {keys} keys")
            }
            Some(_) => format!(" too much for its state of {keys} keys"),
        }
    }

    /// Tells how many keys the state of a step has; `None` when it has no state.
    fn keys_of(&self, id: &str) -> Option<u64> {
        let key = source_key(id);
        let mut groups = self.groups.iter().filter(|group| group.step == key).peekable();
        groups.peek()?;
        Some(groups.map(|group| group.keys).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(role: &str, id: &str, text: &str) -> Planned {
        let [role, id, kind, text] = [role, id, "test", text].map(str::to_owned);
        Planned { role, id, kind, text }
    }

    fn state(id: &str, group: u8, keys: u64) -> GroupState {
        GroupState { step: source_key(id), group, shape: 1, keys, state: Vec::new() }
    }

    #[test]
    fn what_changed_is_said_with_what_becomes_of_its_state() {
        let steps = ["same", "minutes", "hours", "days", "plain", "gone"];
        let step = |id: &&str| one("transform", id, "a");
        let before = [vec![one("source", "in", "a")], steps.iter().map(step).collect()].concat();
        let step = |id: &&str| one("transform", id, if *id == "same" { "a" } else { "b" });
        let now = [vec![one("source", "in", "b")], steps[..5].iter().map(step).collect()];
        let now = [now.concat(), vec![one("sink", "out", "")]].concat();
        let groups = steps.map(|id| [state(id, 0, 2), state(id, 7, 3)]).concat();
        let shapes =
            [("minutes", 1), ("hours", 2), ("days", 2)].map(|(id, it)| (source_key(id), it));
        let dropped = ["days".to_owned()];
        let change = Change {
            before: &before,
            now: &now,
            groups: &groups,
            shapes: shapes.into(),
            dropped: &dropped,
        };
        assert_eq!(
            change.words(),
            [
                "source `in` changed",
                "transform `minutes` changed, and keeps its state of 5 keys",
                "transform `hours` changed too much for its state of 5 keys",
                "transform `days` changed, and begins anew as `--drop-state` says: its 5 keys are \
                 given up",
                "transform `plain` changed, and keeps nothing by key any more: its 5 keys are \
                 given up",
                "sink `out` is new",
                "transform `gone` is gone, and its 5 keys with it",
            ]
        );
        let unchanged = Change { now: &before, ..change };
        assert_eq!(unchanged.words(), [""; 0]);
        // Of an older checkpoint nothing is known.
        assert_eq!(Change { before: &[], ..unchanged }.words(), [""; 0]);
    }
}
