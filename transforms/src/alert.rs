//! `alert` makes alerts of records: one each, or one for each key and span of event time.
//!
//! Without `every` it is stateless: each record for which the condition holds is an alert of its
//! own, known by the record's place. With `every` it is keyed: [`draft`] takes what is needed of a
//! record where the record is, [`ledger`] gathers it where the key lives.

mod draft;
mod episodes;
mod ledger;
mod rule;
mod shares;
mod sighting;
mod union;

use crate::key::{self, KeyField};
use crate::revised;
use crate::vrl::{Compiler, Program, growing};
use crate::wording;
use azud_event::alert::{LoadedRule, Rule, Severity};
use azud_event::dead_letter::Fault;
use azud_event::id::KEY_GROUPS;
use azud_event::record::Record;
use azud_event::row::Row;
use azud_plan::component::{
    Change, Default, Demand, Example, Kind, Missing, Next, OptionKind, OptionSpec, Options, Port,
    RowContext, RowMaker, Running, Taken, Template, Transform, TransformFactory, TransformSpec,
    parse_field,
};
use azud_plan::diagnostic::{Checker, Diagnostic, Span, codes};
use draft::{Drafter, place_bytes};
use episodes::{Episodes, Rules};
use ledger::{Bounds, Ledger};
use rule::Head;
use sighting::Sighter;
use std::sync::Arc;
use std::time::Duration;
use union::Union;
use vrl::path::OwnedValuePath;

/// The registry's entry.
pub const ALERT: TransformFactory = TransformFactory {
    name: "alert",
    summary: "Make alerts of records.",
    description: DESCRIPTION,
    options: OPTIONS,
    check,
    examples: EXAMPLES,
};

const DESCRIPTION: &str = "\
Raises an alert on records for which the condition holds. `rule` names it for good: it is part of
every alert's identity, so it outlives moves of files and changes of the text.

Fed with the results of a `summarize`, windows for which the condition holds are put in a row, and
those of one key that touch are one alert, an *episode*: ten windows that overlap do not page ten
times. It is as severe as its most severe window, of several the one with the most events. Its
`fields`, its `event_count` and its title are those of all records of its windows together, each
counted once: sixty failures in twenty minutes are sixty, in windows of ten minutes that begin every
minute, too. (They are those of the most severe window where the whole is not known: if a `remap`
stands between, if what feeds the `summarize` are results of windows, if several `summarize` feed the
rule, if what one window has gathered takes more than 64 KiB, or if the windows that a group of keys
holds take more than 1 MiB of it. Conditions are about single windows.) A late record that amends a window amends the alert, withdraws it, or makes two of them one; `resolve_after`
the last window has ended it is resolved. A condition that can only become truer, such as
`.failures >= 20`, fires at the record that makes it true and not at the end of the window: see
`summarize`. `azud validate` says of each rule which it is, and how long it takes at worst.
`resolve_when` resolves an alert sooner, with `reason` \"resolve_when\": when a window closes behind
the last one of the alert for which it holds and the condition does not. Such a window must be told,
so `having` of the `summarize` must let it through; one without any record is told with `empty`. If a
later record takes it back, or a further window meets the condition and touches, the alert is firing
again.

Fed with records, without `every` each is an alert. With `every` there is one alert for each key and each span
of that length in event time, and further records amend it: the same `id`, the next `revision`. What
is gathered (count, first and last event, the first and last three records, the entities that they
name) does not depend on the order in which records arrive. Title, fields and severity are those of
the record that decided: the most severe, of several the last.

A key that is spelled otherwise is another key: `1` and `\"1\"` differ, and so do a field that is
absent and one that is null. At most `max_keys` alerts are open at once; beyond that, those whose
last event is the oldest are forgotten, which later alerts tell as `completeness.keys_evicted`.

A record on which the condition fails is set aside as a dead letter. If a condition of `escalate`
fails, the alert is raised without it and says so in `reason`.";

/// How many alerts a rule may have open, by default.
const MAX_KEYS: &str = "100_000";
/// How many alerts a key group may hold however few the rule may: keys do not fall into groups
/// evenly.
const ALERTS_PER_GROUP_MIN: usize = 16;
/// How much a rule may gather, in bytes: an alert with full evidence takes some 40 KiB, a usual one
/// 4 KiB.
const LEDGER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// How much a rule may hold of the parts of windows, in bytes: a pane with some counts takes 100.
const PARTS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a rule's name may be, in bytes.
const RULE_BYTES_MAX: usize = 128;

const SEVERITIES: OptionKind = OptionKind::OneOf(&[
    ("informational", "to be known"),
    ("low", "to be looked at some day"),
    ("medium", "to be looked at"),
    ("high", "to be looked at today"),
    ("critical", "to be looked at now"),
]);

const ESCALATE: &[OptionSpec] = &[
    OptionSpec {
        name: "condition",
        kind: OptionKind::Condition,
        default: Default::Required,
        summary: "What must hold.",
    },
    OptionSpec {
        name: "severity",
        kind: SEVERITIES,
        default: Default::Required,
        summary: "How bad it is then.",
    },
];

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "condition",
        kind: OptionKind::Condition,
        default: Default::None,
        summary: "What must hold of a record. Without it every record counts.",
    },
    OptionSpec {
        name: "description",
        kind: OptionKind::Text,
        default: Default::None,
        summary: "More lines for those who look at it.",
    },
    OptionSpec {
        name: "escalate",
        kind: OptionKind::List(&OptionKind::Table(ESCALATE)),
        default: Default::None,
        summary: "Conditions under which it is worse; the worst that holds counts.",
    },
    OptionSpec {
        name: "every",
        kind: OptionKind::Duration,
        default: Default::None,
        summary: "One alert for each key and span of this length, in event time. Without it each \
                  record is an alert.",
    },
    OptionSpec {
        name: "key",
        kind: OptionKind::List(&OptionKind::Field),
        default: Default::None,
        summary: "The fields that tell alerts apart. Without them there is one for each span.",
    },
    OptionSpec {
        name: "max_episode",
        kind: OptionKind::Duration,
        default: Default::Value("\"24h\""),
        summary: "Over windows: how long one alert may last; then another begins.",
    },
    OptionSpec {
        name: "max_keys",
        kind: OptionKind::Integer { min: 1, max: 10_000_000 },
        default: Default::Value(MAX_KEYS),
        summary: "How many alerts may be open at once, of all spans; with few, up to 16 for each \
                  of 256 groups of keys.",
    },
    OptionSpec {
        name: "merge",
        kind: OptionKind::OneOf(&[
            ("episode", "windows of one key that touch are one alert"),
            ("window", "each window is an alert"),
        ]),
        default: Default::Value("\"episode\""),
        summary: "Over windows: what is one alert.",
    },
    OptionSpec {
        name: "mode",
        kind: OptionKind::OneOf(&[
            ("active", "its alerts are told"),
            ("shadow", "its alerts are stored and told to nobody"),
        ]),
        default: Default::Value("\"active\""),
        summary: "Whether people are told.",
    },
    OptionSpec {
        name: "resolve_after",
        kind: OptionKind::Duration,
        default: Default::None,
        summary: "Over windows: how long after its end an alert is resolved. Without it the size \
                  of the window.",
    },
    OptionSpec {
        name: "resolve_when",
        kind: OptionKind::Condition,
        default: Default::None,
        summary: "Over windows: what must hold of a later window of the key for an alert to be \
                  resolved when that window closes, and not only by silence.",
    },
    OptionSpec {
        name: "rule",
        kind: OptionKind::Text,
        default: Default::Required,
        summary: "The rule's stable name, of `a-z`, `0-9`, `.`, `_` and `-`.",
    },
    OptionSpec {
        name: "runbook_url",
        kind: OptionKind::Text,
        default: Default::None,
        summary: "Where it is written what to do.",
    },
    OptionSpec {
        name: "severity",
        kind: SEVERITIES,
        default: Default::Value("\"medium\""),
        summary: "How bad it is.",
    },
    OptionSpec {
        name: "tags",
        kind: OptionKind::List(&OptionKind::Text),
        default: Default::None,
        summary: "Words to find it by: `attack.t1110.001`.",
    },
    OptionSpec {
        name: "title",
        kind: OptionKind::Template,
        default: Default::None,
        summary: "One line, with fields as `{{ user.name }}`; what is missing is left out. \
                  Without it, the rule's name.",
    },
];

const EXAMPLES: &[Example] = &[
    Example {
        title: "An alert for each record",
        toml: r#"
type = "alert"
inputs = ["in"]
rule = "root-login"
condition = '.user.name == "root"'
key = ["host.name"]
severity = "high"
title = "root logged in on {{ host.name }}"
"#,
        input: r#"{"user": {"name": "root"}, "host": {"name": "web1"}}
{"user": {"name": "bob"}, "host": {"name": "web1"}}"#,
        output: include_str!("alert/each_record.jsonl"),
    },
    Example {
        title: "One for each attacker and hour",
        toml: r#"
type = "alert"
inputs = ["in"]
rule = "ssh-failures"
key = ["source.ip"]
every = "1h"
escalate = [{ condition = '.user.name == "root"', severity = "critical" }]
title = "SSH logins fail from {{ source.ip }}"
"#,
        input: r#"{"source": {"ip": "192.0.2.9"}, "user": {"name": "bob"}, "n": 1}
{"source": {"ip": "192.0.2.9"}, "user": {"name": "root"}, "n": 2}"#,
        output: include_str!("alert/each_key.jsonl"),
    },
];

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn TransformSpec>> {
    let takes_logs = refuse_alerts(options, checker);
    let rule = rule_name(options, checker);
    let every = every(options, checker);
    let windows = rules(options, checker);
    let programs = programs(options, checker);
    let title = match options.text("title") {
        Some(text) => Template::parse(text, checker).map(Some),
        None => Some(None),
    };
    let (rule, programs, title, every) = (rule?, programs?, title?, every?);
    let windows = windows?;
    if !takes_logs {
        return None;
    }
    let title = title.map(|title| title.missing(Missing::Empty));
    let head = Head {
        rule: Rule {
            version: version(options),
            id: rule,
            pipeline: options.id.rsplit_once('/').map_or("", |(pipeline, _)| pipeline).to_owned(),
            tags: options.strings("tags"),
            runbook_url: options.string("runbook_url"),
        },
        description: options.string("description"),
        mode: options.one_of("mode")?,
    };
    let max_keys = usize::try_from(options.integer("max_keys")?).ok()?;
    let merging = windows.filter(|rules| !rules.each_window);
    let merging = merging.and_then(|_| revised::merging(options.inputs));
    let union = merging.map(|merging| Arc::new(Union { merging, title: title.clone() }));
    Some(Box::new(AlertSpec {
        union,
        head: Arc::new(head),
        rule_span: options.span("rule"),
        waits_for: options
            .condition("condition")
            .and_then(|text| growing::demand(&text.text, &revised::grows(options.inputs))),
        programs,
        severity: Severity::named(options.one_of("severity")?)?,
        title,
        title_text: options.string("title").or_else(|| options.string("rule"))?,
        key: key_fields(options, windows.is_some()),
        every,
        windows,
        shape: wording::shape(options, &["every", "key", "max_episode", "merge", "rule"]),
        bounds: Bounds {
            alerts: max_keys.div_ceil(KEY_GROUPS).max(ALERTS_PER_GROUP_MIN),
            bytes: LEDGER_BYTES_MAX / KEY_GROUPS,
        },
    }))
}

fn refuse_alerts(options: &Options<'_>, checker: &mut Checker) -> bool {
    let takes_logs = options.inputs.iter().all(|input| input.kind == Kind::Log);
    if !takes_logs {
        let title = "`alert` takes logs, and is fed with something else";
        checker.report(Diagnostic::error(codes::KIND_MISMATCH, options.place, title, ""));
    }
    takes_logs
}

fn rule_name(options: &Options<'_>, checker: &mut Checker) -> Option<String> {
    let name = options.string("rule")?;
    let stable = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > RULE_BYTES_MAX || !name.bytes().all(stable) {
        let title = format!("{name:?} is not a name for a rule");
        let label = "a-z, 0-9, `.`, `_` and `-`, at most 128 of them";
        checker.report(Diagnostic::error(codes::BAD_ID, options.span("rule"), title, label));
        return None;
    }
    Some(name)
}

/// Reads `every`: `Some(None)` where there is none.
fn every(options: &Options<'_>, checker: &mut Checker) -> Option<Option<Duration>> {
    if !options.has("every") {
        return Some(None);
    }
    let every = options.duration("every")?;
    if every.is_zero() {
        let title = "`every` cannot be no time at all";
        let found = Diagnostic::error(codes::OUT_OF_BOUNDS, options.span("every"), title, "");
        checker.report(found.help("leave it out, and each record is an alert"));
        return None;
    }
    Some(Some(every))
}

/// The programs of a rule.
struct Programs {
    condition: Option<Program>,
    resolve_when: Option<Program>,
    escalate: Vec<(Program, Severity)>,
}

/// Compiles all conditions, so that all their faults are found at once.
fn programs(options: &Options<'_>, checker: &mut Checker) -> Option<Programs> {
    let results = options.inputs.iter().find_map(|port| port.results.as_ref());
    let event = results.map(|results| results.kind.clone());
    let compiler = Compiler { event, ..Compiler::new(options.id) };
    let mut condition = |name: &str| match options.condition(name) {
        Some(text) => compiler.condition(text, name, checker).map(Some),
        None if options.has(name) => None,
        None => Some(None),
    };
    let (resolve_when, condition) = (condition("resolve_when"), condition("condition"));
    let mut escalate = Some(Vec::new());
    for (number, table) in options.tables("escalate").iter().enumerate() {
        let program = table
            .condition("condition")
            .and_then(|text| compiler.condition(text, &format!("escalate {number}"), checker));
        let severity = table.one_of("severity").and_then(Severity::named);
        match (program, severity, &mut escalate) {
            (Some(program), Some(severity), Some(list)) => list.push((program, severity)),
            _ => escalate = None,
        }
    }
    Some(Programs { condition: condition?, resolve_when: resolve_when?, escalate: escalate? })
}

/// Reads the key. Over windows it is that of the windows unless another one is written.
fn key_fields(options: &Options<'_>, over_windows: bool) -> Vec<KeyField> {
    let results = options.inputs.iter().find_map(|port| port.results.as_ref());
    let names: Vec<String> = match results.filter(|_| over_windows && !options.has("key")) {
        Some(results) => results.key.clone(),
        None => options.strings("key"),
    };
    let fields = names.iter().filter_map(|text| {
        let name = text.trim_start_matches('.').to_owned();
        Some(KeyField { name, path: parse_field(text)? })
    });
    fields.collect()
}

/// Hashes what the rule says. Where it stands and how it is laid out is not part of it.
fn version(options: &Options<'_>) -> String {
    let names: Vec<&str> = options.specs.iter().map(|spec| spec.name).collect();
    format!("b3:{}", &wording::hash(options, &names).to_string()[..6])
}

/// Reads how windows become alerts, where results of windows are what feeds the rule: `Some(None)`
/// where they are not.
fn rules(options: &Options<'_>, checker: &mut Checker) -> Option<Option<Rules>> {
    let revised = |port: &&Port| port.change == Change::Revised;
    let Some(results) = options.inputs.iter().filter(revised).find_map(|it| it.results.as_ref())
    else {
        for name in ["max_episode", "merge", "resolve_after", "resolve_when"] {
            if options.has(name) {
                let title = format!("`{name}` is for alerts over windows");
                let found = Diagnostic::error(codes::CONTRADICTION, options.span(name), title, "");
                checker.report(found.help("feed the rule with a `summarize`, or leave it out"));
                return None;
            }
        }
        return Some(None);
    };
    if !options.inputs.iter().all(|port| port.change == Change::Revised) {
        let title = "`alert` is fed with windows and with single records";
        let found = Diagnostic::error(codes::CONTRADICTION, options.place, title, "");
        checker.report(found.help("write a rule for each"));
        return None;
    }
    if options.has("every") {
        let title = "`every` does not go with windows, which say it themselves";
        let found = Diagnostic::error(codes::CONTRADICTION, options.span("every"), title, "");
        checker.report(found.help("leave it out: windows that touch are one alert"));
        return None;
    }
    let resolve_after = match options.has("resolve_after") {
        true => options.duration("resolve_after")?,
        false => results.size,
    };
    let max_keys = usize::try_from(options.integer("max_keys")?).ok()?;
    Some(Some(Rules {
        each_window: options.one_of("merge")? == "window",
        longest: options.duration("max_episode")?,
        resolve_after,
        // A late record may make a window that touches one of which no record is taken any more.
        amended_for: results.amended_for.saturating_add(results.size),
        windows_max: max_keys.div_ceil(KEY_GROUPS).max(ALERTS_PER_GROUP_MIN),
        parts_max: PARTS_BYTES_MAX / KEY_GROUPS,
    }))
}

/// A checked `alert`.
struct AlertSpec {
    head: Arc<Head>,
    rule_span: Span,
    programs: Programs,
    /// Over windows, what the condition waits for, if it can only become truer.
    waits_for: Option<Demand>,
    severity: Severity,
    title: Option<Template>,
    title_text: String,
    key: Vec<KeyField>,
    every: Option<Duration>,
    windows: Option<Rules>,
    /// What puts windows together, where it is known.
    union: Option<Arc<Union>>,
    shape: u64,
    bounds: Bounds,
}

impl AlertSpec {
    fn drafter(&self) -> Drafter {
        Drafter {
            condition: self.programs.condition.as_ref().map(Program::runner),
            severity: self.severity,
            escalate: self
                .programs
                .escalate
                .iter()
                .map(|(condition, severity)| (condition.runner(), *severity))
                .collect(),
            title: self.title.clone(),
            rule: self.head.rule.id.clone(),
            key: self.key.clone(),
        }
    }
}

impl TransformSpec for AlertSpec {
    fn outputs(&self, _input: &Port) -> Vec<Port> {
        let keyed = self.every.is_some() || self.windows.is_some();
        let change = if keyed { Change::Revised } else { Change::Append };
        vec![Port { kind: Kind::Alert, change, ..Port::logs() }]
    }

    fn build(&self) -> Running {
        let drafter = self.drafter();
        let head = Arc::clone(&self.head);
        if let Some(rules) = self.windows {
            let resolve_when = self.programs.resolve_when.as_ref().map(Program::runner);
            let union = self.union.clone();
            let rows = Sighter::new(drafter, resolve_when, union.is_some());
            let state =
                move || Box::new(Episodes::new(Arc::clone(&head), rules, union.clone())) as _;
            return Running::Keyed { rows: Box::new(rows), state: Box::new(state) };
        }
        let Some(every) = self.every else {
            return Running::Stateless(Box::new(Single { head, drafter }));
        };
        let bounds = self.bounds;
        Running::Keyed {
            rows: Box::new(Rows { drafter, rows: Vec::new() }),
            state: Box::new(move || Box::new(Ledger::new(Arc::clone(&head), every, bounds))),
        }
    }

    fn shape(&self) -> u64 {
        self.shape
    }

    fn wants(&self, _behind: Option<&Demand>) -> Option<Demand> {
        self.waits_for.clone()
    }

    fn wants_parts(&self, _behind: bool) -> bool {
        self.union.is_some()
    }

    fn rule(&self) -> Option<(&str, Span)> {
        Some((&self.head.rule.id, self.rule_span))
    }

    fn loaded_rule(&self) -> Option<LoadedRule> {
        Some(LoadedRule {
            rule: self.head.rule.clone(),
            title: self.title_text.clone(),
            severity: self.severity,
            mode: self.head.mode,
        })
    }
}

/// Makes an alert of each record.
struct Single {
    head: Arc<Head>,
    drafter: Drafter,
}

impl Transform for Single {
    fn apply(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault> {
        let Some(draft) = self.drafter.draft(record)? else {
            next.discard();
            return Ok(());
        };
        let place = record.place();
        let alert = azud_event::alert::Alert {
            title: draft.title,
            key: draft.key,
            fields: draft.fields,
            first_event_at: place.event_time,
            last_event_at: place.event_time,
            entities: draft.entities.into_iter().collect(),
            evidence: vec![draft.evidence],
            reason: draft.reason,
            // There is no clock here, and a replay must say the same: it was raised when it was
            // received.
            ..self.head.alert(&[&place_bytes(&place)], draft.severity, draft.received_at)
        };
        record.insert(&OwnedValuePath::root(), self.head.to_value(&alert));
        next.emit(0, record, true);
        Ok(())
    }
}

/// Makes a row of each record.
struct Rows {
    drafter: Drafter,
    rows: Vec<Row>,
}

impl RowMaker for Rows {
    fn take(&mut self, record: &Record, context: &RowContext) -> Result<Taken, Fault> {
        let Some(draft) = self.drafter.draft(record)? else { return Ok(Taken::Discarded) };
        let mut key = Vec::new();
        key::encode(&self.drafter.key, record, &mut key);
        let payload = serde_json::to_vec(&draft)
            .expect("texts, numbers and maps of texts have a form in JSON");
        let group = context.partitioner.group(&key);
        let (key, payload) = (key.into(), payload.into());
        self.rows.push(Row { group, place: record.place(), key, payload });
        Ok(Taken::Counted)
    }

    fn drain(&mut self, rows: &mut Vec<Row>) {
        rows.append(&mut self.rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seen, check, checked, record_from_json, rows_of, run};
    use crate::vrl::testing::RECEIVED_AT;
    use azud_event::alert::Alert;
    use azud_event::time::EventTime;
    use vrl::value;
    use vrl::value::Value;

    const HEAD: &str = "rule = \"r\"\ntitle = \"{{ user.name }} at {{ nothing }}!\"\n";

    fn alert_of(value: &Value) -> Alert {
        serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
    }

    fn only(seen: &Seen) -> Alert {
        assert!(seen.fault.is_none() && seen.emitted.len() == 1);
        alert_of(&seen.emitted[0].1)
    }

    #[test]
    fn each_record_is_an_alert_without_every() {
        let spec =
            checked(&ALERT, &format!("{HEAD}condition = '.bad == true'\nkey = ['.user.name']"));
        let outputs = spec.outputs(&Port::logs());
        assert_eq!((outputs[0].kind, outputs[0].change), (Kind::Alert, Change::Append));
        let record = value!({ "bad": true, "user": { "name": "root" }, "source": { "ip": "::1" } });
        let alert = only(&run(&*spec, record.clone()));
        assert_eq!(alert.title, "root at !");
        assert_eq!((alert.severity, alert.severity_id), (Severity::Medium, 3));
        assert_eq!(alert.key["user.name"], "root");
        assert_eq!((alert.raised_at, alert.first_event_at), (RECEIVED_AT, RECEIVED_AT));
        assert_eq!(alert.entities.len(), 2);
        assert!(alert.evidence[0].raw.contains("root"));
        assert_eq!(only(&run(&*spec, record)), alert);
        let seen = run(&*spec, value!({ "bad": false }));
        assert_eq!((seen.emitted.len(), seen.discarded), (0, 1));
    }

    #[test]
    fn alerts_of_two_records_differ() {
        let spec = checked(&ALERT, HEAD);
        let ids = [0, 1].map(|index| {
            let Running::Stateless(mut transform) = spec.build() else { panic!("it is keyed") };
            let mut seen = Seen::default();
            transform.apply(&mut record_from_json("{}", index), &mut seen).unwrap();
            only(&seen).id
        });
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn the_worst_that_holds_counts() {
        let escalate = "escalate = [
            { condition = '.n > 1', severity = \"critical\" },
            { condition = '.n > 0', severity = \"high\" },
            { condition = 'to_int!(.x) > 5', severity = \"critical\" }]";
        let escalate = escalate.replace(".n >", "int!(.n) >");
        let spec = checked(&ALERT, &format!("{HEAD}severity = \"low\"\n{escalate}"));
        for (n, severity, reason) in [
            (2, Severity::Critical, "condition 1 of escalate"),
            (1, Severity::High, "condition 2 of escalate"),
            (0, Severity::Low, "condition 3 of escalate failed"),
        ] {
            let alert = only(&run(&*spec, value!({ "n": n, "x": "?" })));
            assert_eq!(alert.severity, severity);
            assert!(alert.reason.as_ref().unwrap().starts_with(reason), "{:?}", alert.reason);
        }
    }

    #[test]
    fn a_failing_condition_sets_aside() {
        let seen = run(&*checked(&ALERT, &format!("{HEAD}condition = 'int!(.n) > 1'")), value!({}));
        assert!(seen.fault.is_some() && seen.emitted.is_empty());
    }

    #[test]
    fn rows_are_made_by_key() {
        let spec = checked(&ALERT, &format!("{HEAD}key = [\"user.name\"]\nevery = \"1h\""));
        assert_eq!(spec.outputs(&Port::logs())[0].change, Change::Revised);
        let Running::Keyed { mut rows, .. } = spec.build() else { panic!("it is stateless") };
        let input = r#"{"user": {"name": "a"}}
{"user": {"name": "b"}}
{"user": {"name": "a"}}
{}
{"user": {"name": null}}"#;
        let rows = rows_of(&mut *rows, input);
        assert_eq!(rows[0].key, rows[2].key);
        assert_eq!(rows[0].group, rows[2].group);
        let keys: std::collections::BTreeSet<_> = rows.iter().map(|row| &row.key).collect();
        assert_eq!(keys.len(), 4);
    }

    /// Gives of a result whether it makes a row, and whether it is a reason for an alert, or
    /// resolves one.
    fn sighted(revision: i64, change: &str, n: i64) -> Option<(bool, bool)> {
        let toml = "rule = 'r'\ncondition = '.n >= 5'\nresolve_when = '.n == 0'";
        let (spec, found) = check(&ALERT, toml, &[revised::tests::results()]);
        assert_eq!(found, []);
        let Running::Keyed { mut rows, .. } = spec.unwrap().build() else {
            panic!("it is stateless")
        };
        let at = |time: EventTime| Value::Timestamp(time.to_chrono());
        let window = value!({ "start": (at(EventTime::EPOCH)), "end": (at(RECEIVED_AT)) });
        let change = change.to_owned();
        let result = value!({
            "id": "x", "revision": revision, "change": change, "n": n, "window": window,
        });
        let partitioner = azud_event::id::Partitioner::new([7; 16]);
        let context = RowContext { partitioner, late_before: EventTime::MIN };
        rows.take(&crate::vrl::testing::record_of(result), &context).unwrap();
        let mut made = Vec::new();
        rows.drain(&mut made);
        let row = made.pop()?;
        let sighting: sighting::Sighting = serde_json::from_slice(&row.payload).unwrap();
        Some((sighting.seen.is_some(), sighting.calms))
    }

    #[test]
    fn results_that_fire_resolve_or_are_taken_back_are_sighted() {
        assert_eq!(sighted(1, "new", 7), Some((true, false)));
        assert_eq!(sighted(1, "new", 0), Some((false, true)));
        assert_eq!(sighted(1, "new", 3), None);
        assert_eq!(sighted(2, "revised", 3), Some((false, false)));
        assert_eq!(sighted(2, "withdrawn", 0), Some((false, false)));
    }

    #[test]
    fn only_windows_resolve() {
        let (spec, found) = check(&ALERT, "rule = 'r'\nresolve_when = '.n == 0'", &[]);
        assert!(spec.is_none());
        assert_eq!(found[0].code, codes::CONTRADICTION);
    }

    #[test]
    fn the_version_is_of_what_is_said_not_of_where() {
        let version = |toml: &str| {
            let spec = checked(&ALERT, toml);
            only(&run(&*spec, value!({ "a": 1 }))).rule.version
        };
        let one = version("rule = 'r'\ncondition = '.a == 1'\ntags = ['x']");
        assert_eq!(one, version("\n\ntags = [ 'x' ]\nrule = 'r'\ncondition = '.a == 1'"));
        assert_ne!(one, version("rule = 'r'\ncondition = '.a != 2'\ntags = ['x']"));
    }

    #[test]
    fn faults_are_found_all_at_once() {
        let toml = "rule = 'No Name'\nevery = '0s'\ncondition = '.a'\ntitle = '{{ }}'
            escalate = [{ condition = '.b', severity = 'high' }]";
        let (spec, found) = check(&ALERT, toml, &[]);
        assert!(spec.is_none());
        let codes: Vec<_> = found.iter().map(|found| found.code).collect();
        for code in [codes::BAD_ID, codes::OUT_OF_BOUNDS, codes::VRL_INVALID, codes::TEMPLATE] {
            assert!(codes.contains(&code), "{code:?} in {codes:?}");
        }
        assert_eq!(codes.iter().filter(|code| **code == codes::VRL_INVALID).count(), 2);
        let alerts = [Port { kind: Kind::Alert, ..Port::logs() }];
        let (spec, found) = check(&ALERT, "rule = 'r'", &alerts);
        assert!(spec.is_none());
        assert_eq!(found[0].code, codes::KIND_MISMATCH);
    }
}
