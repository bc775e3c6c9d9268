//! `route` sends records to named outputs, each with a condition.

use crate::revised::{self, Revisions};
use crate::vrl::compile::condition_text;
use crate::vrl::{Compiler, Program, Runner};
use azud_event::dead_letter::Fault;
use azud_event::record::Record;
use azud_plan::component::{
    Default, Example, Next, OptionKind, OptionSpec, Options, Port, Running, Transform,
    TransformFactory, TransformSpec,
};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};

/// The registry's entry.
pub const ROUTE: TransformFactory = TransformFactory {
    name: "route",
    summary: "Send records to named outputs, each with a condition.",
    description: "\
Each entry of `route` is an output, `<id>.<name>`, and gets every record for which its condition
holds: a record may go several ways. What no condition holds for goes to `<id>._unmatched`. A
condition that fails on a record counts as `false`, and the error is counted.

Over results of windows every output that a later revision no longer goes to gets it with
`change: \"withdrawn\"`.",
    options: OPTIONS,
    check,
    examples: EXAMPLES,
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "reroute_unmatched",
        kind: OptionKind::Boolean,
        default: Default::Value("true"),
        summary: "Whether there is an output `_unmatched`. Without it, what matches nothing is \
                  counted and let go.",
    },
    OptionSpec {
        name: "route",
        kind: OptionKind::Map(&OptionKind::Condition),
        default: Default::Required,
        summary: "The outputs by name, each with its condition.",
    },
];

const EXAMPLES: &[Example] = &[Example {
    title: "A record may go several ways",
    toml: r#"
type = "route"
inputs = ["in"]
route.errors = '.level == "error"'
route.sshd = '.appname == "sshd"'
"#,
    input: r#"{"level": "error", "appname": "sshd"}
{"level": "info", "appname": "cron"}"#,
    output: r#"{"level": "error", "appname": "sshd"}
{"level": "error", "appname": "sshd"}
{"level": "info", "appname": "cron"}"#,
}];

const UNMATCHED: &str = "_unmatched";
/// Names that Vector gives a meaning.
const RESERVED: [&str; 2] = ["_default", UNMATCHED];

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn TransformSpec>> {
    let event = revised::kind_of(options.inputs);
    let compiler = Compiler { event, ..Compiler::new(options.id) };
    let mut routes = Vec::new();
    let mut whole = true;
    for entry in options.map("route") {
        if RESERVED.contains(&entry.key.as_str()) {
            let title = format!("`{}` is not a name for a route", entry.key);
            checker.report(Diagnostic::error(
                codes::BAD_ID,
                entry.key_span,
                title,
                "it is reserved",
            ));
            whole = false;
        }
        let condition = condition_text(&entry.node)
            .and_then(|text| compiler.condition(text, &entry.key, checker));
        whole &= condition.is_some();
        routes.extend(condition.map(|condition| (entry.key.clone(), condition)));
    }
    let unmatched = options.boolean("reroute_unmatched")?;
    let revisions = Revisions::of(options.inputs);
    whole.then(|| Box::new(Route { routes, unmatched, revisions }) as Box<dyn TransformSpec>)
}

/// A checked `route`.
struct Route {
    routes: Vec<(String, Program)>,
    unmatched: bool,
    revisions: Revisions,
}

impl TransformSpec for Route {
    fn outputs(&self, input: &Port) -> Vec<Port> {
        let port =
            |name: &str, optional| Port { name: Some(name.to_owned()), optional, ..input.clone() };
        let mut ports: Vec<_> = self.routes.iter().map(|(name, _)| port(name, false)).collect();
        if self.unmatched {
            ports.push(port(UNMATCHED, true));
        }
        ports
    }

    fn build(&self) -> Running {
        Running::Stateless(Box::new(Routing {
            runners: self.routes.iter().map(|(_, condition)| condition.runner()).collect(),
            unmatched: self.unmatched,
            revisions: self.revisions,
            matched: Vec::new(),
        }))
    }

    fn wants_parts(&self, behind: bool) -> bool {
        behind
    }
}

/// A running `route`.
struct Routing {
    runners: Vec<Runner>,
    unmatched: bool,
    revisions: Revisions,
    /// The ports that the present record takes.
    matched: Vec<usize>,
}

impl Routing {
    /// Finds the ports that a record takes.
    fn matches(&mut self, record: &mut Record, next: &mut dyn Next) {
        self.matched.clear();
        for (port, runner) in self.runners.iter_mut().enumerate() {
            match runner.holds(record) {
                Ok(true) => self.matched.push(port),
                Ok(false) => {}
                Err(fault) => next.error(&fault),
            }
        }
        if self.matched.is_empty() && self.unmatched {
            self.matched.push(self.runners.len());
        }
    }

    /// Sends a record to these ports; the last that somebody reads need not be undone if the
    /// record is not looked at `again`. Behind it may still be some that nobody reads.
    fn send(ports: &[usize], record: &mut Record, again: bool, next: &mut dyn Next) {
        let last = ports.iter().rposition(|port| next.connected(*port));
        for (number, port) in ports.iter().enumerate() {
            next.emit(*port, record, !again && last.is_none_or(|last| number >= last));
        }
    }

    /// Sends a result to the ports that it takes, and takes it back at all others.
    fn send_result(&self, record: &mut Record, next: &mut dyn Next) {
        let all = self.runners.len() + usize::from(self.unmatched);
        if self.revisions.is_withdrawn(record) {
            let all: Vec<usize> = (0..all).collect();
            return Self::send(&all, record, false, next);
        }
        let others: Vec<usize> = (0..all).filter(|port| !self.matched.contains(port)).collect();
        Self::send(&self.matched, record, true, next);
        if self.revisions.take_back(record) {
            Self::send(&others, record, false, next);
        } else if self.matched.is_empty() {
            next.discard();
        }
    }
}

impl Transform for Routing {
    fn apply(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault> {
        self.matches(record, next);
        if self.revisions.follow() {
            self.send_result(record, next);
        } else if self
            .matched
            .iter()
            .any(|port| *port < self.runners.len() || next.connected(*port))
        {
            Self::send(&self.matched, record, false, next);
        } else {
            next.discard();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seen, check, checked, run};
    use vrl::value;

    const TWO: &str = "route.a = '.a == true'\nroute.b = '.b == true'";

    fn ports(seen: &Seen) -> Vec<usize> {
        seen.emitted.iter().map(|(port, ..)| *port).collect()
    }

    #[test]
    fn every_match_is_taken_and_the_rest_is_unmatched() {
        let spec = checked(&ROUTE, TWO);
        let names: Vec<_> = spec.outputs(&Port::logs()).into_iter().map(|port| port.name).collect();
        assert_eq!(names, ["a", "b", UNMATCHED].map(|name| Some(name.to_owned())));
        assert_eq!(ports(&run(&*spec, value!({ "a": true, "b": true }))), [0, 1]);
        assert_eq!(ports(&run(&*spec, value!({ "b": true }))), [1]);
        assert_eq!(ports(&run(&*spec, value!({}))), [2]);
    }

    #[test]
    fn what_nobody_takes_is_counted() {
        let mut seen = Seen { unread: vec![2], ..Seen::default() };
        seen.run(&*checked(&ROUTE, TWO), value!({}));
        assert_eq!((seen.emitted.len(), seen.discarded), (0, 1));
        let seen = run(&*checked(&ROUTE, &format!("{TWO}\nreroute_unmatched = false")), value!({}));
        assert_eq!((seen.emitted.len(), seen.discarded), (0, 1));
    }

    #[test]
    fn only_the_last_that_is_read_is_the_last() {
        let mut seen = Seen { unread: vec![1], ..Seen::default() };
        seen.run(&*checked(&ROUTE, TWO), value!({ "a": true, "b": true }));
        assert_eq!((ports(&seen), seen.lasts), (vec![0, 1], vec![true, true]));
        let seen = run(&*checked(&ROUTE, TWO), value!({ "a": true, "b": true }));
        assert_eq!(seen.lasts, [false, true]);
    }

    #[test]
    fn an_error_is_no_match() {
        let spec = checked(&ROUTE, "route.a = 'to_int!(.a) == 1'");
        let seen = run(&*spec, value!({ "a": "x" }));
        assert_eq!((ports(&seen), seen.errors.len()), (vec![1], 1));
    }

    #[test]
    fn reserved_names_are_refused() {
        let (spec, found) = check(&ROUTE, "route._unmatched = '.a == 1'", &[]);
        assert!(spec.is_none());
        assert_eq!(found[0].code, codes::BAD_ID);
    }
}
