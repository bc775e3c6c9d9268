//! Results of windows in steps that look at one record at a time.
//!
//! A result is told again when it changes, as the next revision of its id, and taken back when it
//! no longer stands. A step without memory cannot know whether it let an earlier revision through.
//! So it lets the taking back through, always; and where it stops a revision that is not the first,
//! it takes the result back, which does nothing to those who never had it.

use crate::window::Revision;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::id::Id;
use azud_event::record::Record;
use azud_plan::component::{Change, Merging, Port, Results};
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;
use vrl::value::{Kind, Value};

/// What tells a step about the results that feed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// Whether any come.
    follows: bool,
}

impl Revisions {
    /// Looks at what feeds a step.
    pub fn of(inputs: &[Port]) -> Self {
        let revised = |port: &Port| port.results.is_some() && port.change == Change::Revised;
        Revisions { follows: inputs.iter().any(revised) }
    }

    /// Whether results of windows come.
    pub fn follow(self) -> bool {
        self.follows
    }

    /// Whether the record takes back a result, and so goes on whatever a condition says.
    pub fn is_withdrawn(self, record: &Record) -> bool {
        self.follows && is_taken_back(record)
    }

    /// Makes a record that is not let through one that takes the result back. `false` when nobody
    /// can have it: it is no result, or the first of its id.
    pub fn take_back(self, record: &mut Record) -> bool {
        if !self.follows || !is_told_again(record) {
            return false;
        }
        record.insert(&owned_value_path!("change"), Value::from("withdrawn"));
        true
    }
}

/// Reads what a result says of its revision.
///
/// # Errors
/// When it is no result of a window: `id` or `revision` are gone.
pub fn revision_of(record: &Record) -> Result<Revision, Fault> {
    let id = record.get_bytes(&owned_value_path!("id"));
    let number = match record.get(&owned_value_path!("revision")) {
        Some(Value::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let Some((id, number)) = id.zip(number) else {
        let message = "this is no result of a window: `id` and `revision` are gone";
        return Err(Fault::new(Reason::ProgramFailed, message));
    };
    let id = *Id::of(&[b"member", &id]).as_bytes();
    Ok(Revision { id, number, withdrawn: is_taken_back(record) })
}

fn is_taken_back(record: &Record) -> bool {
    let change = record.get_bytes(&owned_value_path!("change"));
    change.is_some_and(|change| *change == *b"withdrawn")
}

fn is_told_again(record: &Record) -> bool {
    let revision = record.get(&owned_value_path!("revision"));
    revision.and_then(Value::as_integer).is_some_and(|number| number > 1)
}

/// Gives the type of the records that feed a step, where all of them are results.
pub fn kind_of(inputs: &[Port]) -> Option<Kind> {
    let kinds = inputs.iter().map(|port| port.results.as_ref().map(|results| results.kind.clone()));
    let kinds: Option<Vec<Kind>> = kinds.collect();
    kinds?.into_iter().reduce(|all, kind| all.union(kind))
}

/// Lists the fields that only grow while a window is open, in all results that feed a step; none
/// where something else feeds it.
pub fn grows(inputs: &[Port]) -> Vec<OwnedValuePath> {
    let fields = |port: &Port| port.results.as_ref().map(|it| it.grows.clone()).unwrap_or_default();
    let mut all = inputs.iter().map(fields);
    let first = all.next().unwrap_or_default();
    all.fold(first, |grows, others| grows.into_iter().filter(|it| others.contains(it)).collect())
}

/// Gives what puts results together, where all that feed a step are made by one.
pub fn merging(inputs: &[Port]) -> Option<Merging> {
    let mut all = inputs.iter().map(|port| port.results.as_ref()?.merging.clone());
    let first = all.next()??;
    all.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// Says that the records of a port have another type than those that came in.
pub fn shaped(port: Port, kind: impl FnOnce(&Kind) -> Kind) -> Port {
    // What a program writes is not known of several of them together.
    let shaped = |results: Results| Results { kind: kind(&results.kind), merging: None, ..results };
    let results = port.results.map(shaped);
    Port { results, ..port }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{Seen, check, checked};
    use crate::{filter::FILTER, remap::REMAP, route::ROUTE};
    use azud_plan::component::{TransformFactory, TransformSpec};
    use azud_plan::diagnostic::codes;
    use std::time::Duration;
    use vrl::value::kind::Collection;
    use vrl::{path, value};

    /// A port of results that count something.
    pub(crate) fn results() -> Port {
        let mut kind = Kind::object(Collection::any());
        kind.insert(&owned_value_path!("n"), Kind::integer());
        let results = Results {
            key: Vec::new(),
            size: Duration::from_secs(60),
            amended_for: Duration::ZERO,
            kind,
            grows: vec![owned_value_path!("n")],
            merging: None,
        };
        Port { change: Change::Revised, results: Some(results), ..Port::logs() }
    }

    fn behind_windows(factory: &TransformFactory, toml: &str) -> Box<dyn TransformSpec> {
        let (spec, found) = check(factory, toml, &[results()]);
        assert_eq!(found, [], "{toml}");
        spec.unwrap()
    }

    fn result(revision: i64, change: &str, n: i64) -> Value {
        value!({ "id": "r", "revision": revision, "change": change, "n": n })
    }

    /// Runs a step on a result; gives the ports and the changes that it told there, and how often
    /// it let one go.
    fn told(spec: &dyn TransformSpec, result: Value) -> (Vec<(usize, String)>, usize) {
        let mut seen = Seen::default();
        seen.run(spec, result);
        assert!(seen.fault.is_none(), "{:?}", seen.fault);
        let change =
            |value: &Value| value.get(path!("change")).unwrap().to_string_lossy().into_owned();
        let told = seen.emitted.iter().map(|(port, value, _)| (*port, change(value)));
        (told.collect(), seen.discarded)
    }

    fn one(port: usize, change: &str) -> (usize, String) {
        (port, change.to_owned())
    }

    #[test]
    fn a_filter_takes_back_what_it_stops() {
        let filter = behind_windows(&FILTER, "condition = '.n > 5'");
        assert_eq!(told(&*filter, result(1, "new", 3)), (vec![], 1));
        assert_eq!(told(&*filter, result(1, "new", 7)), (vec![one(0, "new")], 0));
        assert_eq!(told(&*filter, result(2, "revised", 7)), (vec![one(0, "revised")], 0));
        assert_eq!(told(&*filter, result(2, "revised", 3)), (vec![one(0, "withdrawn")], 0));
        assert_eq!(told(&*filter, result(3, "withdrawn", 3)), (vec![one(0, "withdrawn")], 0));
    }

    #[test]
    fn a_filter_over_single_records_does_not() {
        let filter = checked(&FILTER, "condition = '.n == 7'");
        assert_eq!(told(&*filter, result(2, "revised", 3)), (vec![], 1));
    }

    #[test]
    fn every_output_of_a_route_is_told() {
        let route = behind_windows(&ROUTE, "route.many = '.n > 5'\nroute.odd = 'mod(.n, 2) == 1'");
        let expected = vec![one(1, "revised"), one(0, "withdrawn"), one(2, "withdrawn")];
        assert_eq!(told(&*route, result(2, "revised", 3)), (expected, 0));
        assert_eq!(told(&*route, result(1, "new", 2)), (vec![one(2, "new")], 0));
        let all = (0..3).map(|port| one(port, "withdrawn")).collect();
        assert_eq!(told(&*route, result(2, "withdrawn", 2)), (all, 0));
    }

    #[test]
    fn what_a_program_aborts_on_is_taken_back_as_it_came() {
        let source = "source = '''.seen = true\nif .n < 5 { abort }'''";
        let remap = behind_windows(&REMAP, source);
        assert_eq!(told(&*remap, result(1, "new", 3)), (vec![], 1));
        assert_eq!(told(&*remap, result(2, "revised", 3)), (vec![one(0, "withdrawn")], 0));
        assert_eq!(told(&*remap, result(2, "withdrawn", 3)), (vec![one(0, "withdrawn")], 0));
        let mut seen = Seen::default();
        seen.run(&*remap, result(2, "revised", 3));
        assert_eq!(seen.emitted[0].1.get(path!("seen")), None);
    }

    #[test]
    fn what_a_result_is_known_by_is_not_written() {
        for source in [".id = \"x\"", "del(.revision)", ".change = \"new\"", ". = { \"a\": 1 }"] {
            let (spec, found) = check(&REMAP, &format!("source = '''{source}'''"), &[results()]);
            assert!(spec.is_none(), "{source}");
            assert_eq!(found[0].code, codes::VRL_INVALID, "{source}");
        }
    }

    #[test]
    fn the_type_is_known_and_handed_on() {
        let remap = behind_windows(&REMAP, "source = '''.double = .n * 2'''");
        let given = remap.outputs(&results()).remove(0).results.unwrap();
        assert!(given.kind.at_path(&owned_value_path!("double")).is_integer());
    }
}
