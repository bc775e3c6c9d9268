//! Tests that stand in documents, in Vector's form: records put into transforms, and what must come
//! out of which.
//!
//! Here they are read, and what they name is found. The programs among them are compiled by whoever
//! runs them.

use super::components::{Component, Graph, Role, Selected};
use super::files::Documents;
use super::names::Names;
use crate::component::option::condition_of;
use crate::component::{
    Default as OptionDefault, OptionKind, OptionSpec, Options, check_options, parse_field,
};
use crate::diagnostic::{Checker, Diagnostic, Span, codes};
use crate::document::{Node, Text, Value};
use azud_event::time::EventTime;
use chrono::DateTime;
use std::time::Duration;

/// The options of an entry of `tests`.
pub const TEST_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "input",
        kind: OptionKind::Table(INPUT_OPTIONS),
        default: OptionDefault::None,
        summary: "The only input.",
    },
    OptionSpec {
        name: "inputs",
        kind: OptionKind::List(&OptionKind::Table(INPUT_OPTIONS)),
        default: OptionDefault::None,
        summary: "What is put in, in order.",
    },
    OptionSpec {
        name: "name",
        kind: OptionKind::Text,
        default: OptionDefault::Required,
        summary: "What the test shows, a sentence.",
    },
    OptionSpec {
        name: "no_outputs_from",
        kind: OptionKind::List(&OptionKind::Text),
        default: OptionDefault::Value("[]"),
        summary: "Transforms that must give nothing.",
    },
    OptionSpec {
        name: "outputs",
        kind: OptionKind::List(&OptionKind::Table(OUTPUT_OPTIONS)),
        default: OptionDefault::None,
        summary: "What must come out.",
    },
];

const INPUT_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "at",
        kind: OptionKind::Any,
        default: OptionDefault::None,
        summary: "When it happens, RFC 3339 with a zone. Without it the time at which the test \
                  runs.",
    },
    OptionSpec {
        name: "insert_at",
        kind: OptionKind::Text,
        default: OptionDefault::Required,
        summary: "The transform that gets it.",
    },
    OptionSpec {
        name: "log_fields",
        kind: OptionKind::Map(&OptionKind::Any),
        default: OptionDefault::None,
        summary: "Of type `log`: the fields, by path.",
    },
    OptionSpec {
        name: "repeat",
        kind: OptionKind::Table(&[
            OptionSpec {
                name: "count",
                kind: OptionKind::Integer { min: 1, max: 100_000 },
                default: OptionDefault::Required,
                summary: "How often.",
            },
            OptionSpec {
                name: "every",
                kind: OptionKind::Duration,
                default: OptionDefault::Value("\"0s\""),
                summary: "How much later each happens than the one before.",
            },
        ]),
        default: OptionDefault::None,
        summary: "Puts it in several times.",
    },
    OptionSpec {
        name: "source",
        kind: OptionKind::Program,
        default: OptionDefault::None,
        summary: "Of type `vrl`: a program that makes the event out of an empty one.",
    },
    OptionSpec {
        name: "type",
        kind: OptionKind::OneOf(&[
            ("log", "an event with the fields of `log_fields`"),
            ("raw", "an event whose `message` is `value`"),
            ("vrl", "the event that the program `source` makes"),
        ]),
        default: OptionDefault::Value("\"raw\""),
        summary: "How the event is written.",
    },
    OptionSpec {
        name: "value",
        kind: OptionKind::Text,
        default: OptionDefault::None,
        summary: "Of type `raw`: the message.",
    },
];

const OUTPUT_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "conditions",
        kind: OptionKind::List(&OptionKind::Condition),
        default: OptionDefault::None,
        summary: "For each, one event at least must meet it.",
    },
    OptionSpec {
        name: "expected_event_count",
        kind: OptionKind::Integer { min: 0, max: 100_000_000 },
        default: OptionDefault::None,
        summary: "How many events must come out.",
    },
    OptionSpec {
        name: "extract_from",
        kind: OptionKind::Either(&OptionKind::Text, &OptionKind::List(&OptionKind::Text)),
        default: OptionDefault::Required,
        summary: "The transform, or its output, that is looked at; or several.",
    },
];

/// A test; everything that it names is there.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// What is put in, in order; at least one.
    pub inputs: Vec<TestInput>,
    /// What must come out.
    pub outputs: Vec<TestOutput>,
    /// What must give nothing.
    pub no_outputs_from: Vec<Tap>,
}

/// Something that a test puts in.
#[derive(Clone, Debug)]
pub struct TestInput {
    /// The full id of the transform that gets it.
    pub insert_at: String,
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub event: TestEvent,
    /// When it happens; `None` leaves it to the runner.
    pub at: Option<EventTime>,
    /// How often.
    pub repeat: Repeat,
}

/// How an event of a test is written.
#[derive(Clone, Debug)]
pub enum TestEvent {
    /// An event whose `message` is this.
    Raw(String),
    /// This event.
    Log(vrl::value::Value),
    /// What this program makes out of an empty event.
    Program(Text),
}

/// How often something is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// How many times; at least once.
    pub count: usize,
    /// How much later each happens than the one before.
    pub every: Duration,
}

/// What must come out of somewhere.
#[derive(Clone, Debug)]
pub struct TestOutput {
    /// Where; the events of all count together.
    pub extract_from: Vec<Tap>,
    /// Where it stands.
    pub span: Span,
    /// VRL conditions; for each, one event at least must meet it.
    pub conditions: Vec<Text>,
    /// How many events must come out.
    pub expected_event_count: Option<usize>,
}

/// An output that a test looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The full id of the transform.
    pub transform: String,
    /// The index of its output.
    pub port: usize,
}

/// Reads the tests of all documents.
pub(super) fn read(
    documents: &Documents,
    graph: &Graph<'_>,
    checker: &mut Checker,
) -> Vec<TestCase> {
    let names = Names::new(&graph.components);
    let mut tests = Vec::new();
    for (number, file) in documents.read.iter().enumerate() {
        let Some(node) = file.document.root.node("tests") else { continue };
        let Some(items) = node.as_array() else {
            let title = format!("`tests` is a list of tables, not {}", node.type_name());
            let found = Diagnostic::error(codes::WRONG_TYPE, node.span, title, "");
            checker.report(found.help("write `[[tests]]`, then its options"));
            continue;
        };
        // A case file speaks of the document beside it.
        let beside = |other: &super::files::File| !other.is_case && other.name == file.name;
        let document = match file.is_case {
            true => documents.read.iter().position(beside).unwrap_or(number),
            false => number,
        };
        let mut reader = Reader { document, graph, names: &names, checker };
        tests.extend(items.iter().filter_map(|item| reader.test(item)));
    }
    tests
}

struct Reader<'r, 'g, 'a> {
    document: usize,
    graph: &'g Graph<'a>,
    names: &'r Names<'g, 'a>,
    checker: &'r mut Checker,
}

impl<'g, 'a> Reader<'_, 'g, 'a> {
    fn test(&mut self, node: &Node) -> Option<TestCase> {
        let Some(table) = node.as_table() else {
            let title = format!("a test is a table, not {}", node.type_name());
            self.checker.report(Diagnostic::error(codes::WRONG_TYPE, node.span, title, ""));
            return None;
        };
        let before = self.checker.diagnostics.len();
        check_options(table, TEST_OPTIONS, &[], "a test", self.checker);
        let options = Options::new("tests", table, TEST_OPTIONS);
        let mut inputs = options.tables("inputs");
        inputs.extend(options.table("input"));
        let outputs = options.tables("outputs");
        let silent = options.list_of_text("no_outputs_from");
        let name = options.string("name").unwrap_or_default();
        if self.checker.diagnostics.len() == before {
            self.refuse_empty(&name, node.span, inputs.len(), outputs.len() + silent.len());
        }
        let inputs = inputs.iter().filter_map(|input| self.input(input)).collect();
        let outputs = outputs.iter().filter_map(|output| self.output(output)).collect();
        let no_outputs_from = silent.into_iter().flat_map(|text| self.taps(text)).collect();
        Some(TestCase { name, span: node.span, inputs, outputs, no_outputs_from })
    }

    fn refuse_empty(&mut self, name: &str, span: Span, inputs: usize, outputs: usize) {
        if inputs == 0 {
            self.fault(span, format!("the test {name:?} puts nothing in"), "write `inputs`");
        }
        if outputs == 0 {
            let help = "write `outputs` or `no_outputs_from`";
            self.fault(span, format!("the test {name:?} looks at nothing"), help);
        }
    }

    fn fault(&mut self, span: Span, title: String, help: &str) {
        self.checker.report(Diagnostic::error(codes::TEST, span, title, "").help(help));
    }

    fn input(&mut self, options: &Options<'_>) -> Option<TestInput> {
        let insert_at = options.text("insert_at").and_then(|text| self.transform(text));
        let at = match options.node("at") {
            Some(node) => Some(self.time(node)?),
            None => None,
        };
        let repeat = options.table("repeat").map(|repeat| Repeat {
            count: repeat
                .integer("count")
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(1),
            every: repeat.duration("every").unwrap_or_default(),
        });
        let event = self.event(options)?;
        Some(TestInput {
            insert_at: insert_at?.full_id.clone(),
            span: options.place,
            event,
            at,
            repeat: repeat.unwrap_or(Repeat { count: 1, every: Duration::ZERO }),
        })
    }

    fn event(&mut self, options: &Options<'_>) -> Option<TestEvent> {
        let kind = options.one_of("type")?;
        let option = match kind {
            "log" => "log_fields",
            "vrl" => "source",
            _ => "value",
        };
        if !options.has(option) {
            let title = format!("an input of type `{kind}` needs the option `{option}`");
            self.checker.report(Diagnostic::error(codes::MISSING_OPTION, options.place, title, ""));
            return None;
        }
        match kind {
            "log" => self.fields(options).map(TestEvent::Log),
            "vrl" => options.text(option).cloned().map(TestEvent::Program),
            _ => options.string(option).map(TestEvent::Raw),
        }
    }

    /// Makes an event of fields by path.
    fn fields(&mut self, options: &Options<'_>) -> Option<vrl::value::Value> {
        let mut event = vrl::value::Value::Object(Default::default());
        for entry in options.map("log_fields") {
            let Some(path) = parse_field(&entry.key) else {
                let title = format!("`{}` is not the path of a field", entry.key);
                self.checker.report(Diagnostic::error(
                    codes::MALFORMED_VALUE,
                    entry.key_span,
                    title,
                    "",
                ));
                return None;
            };
            event.insert(&path, entry.node.to_record_value());
        }
        Some(event)
    }

    fn time(&mut self, node: &Node) -> Option<EventTime> {
        let text = match &node.value {
            Value::Text(text) => text.text.as_str(),
            Value::Datetime(text) => text.as_str(),
            _ => "",
        };
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Some(EventTime::from_chrono(time.to_utc())),
            Err(_) => {
                let title = "`at` is not a time";
                let label = "like 2026-03-01T10:00:00Z, with its zone";
                self.checker.report(Diagnostic::error(
                    codes::MALFORMED_VALUE,
                    node.span,
                    title,
                    label,
                ));
                None
            }
        }
    }

    fn output(&mut self, options: &Options<'_>) -> Option<TestOutput> {
        let taps = options.list_of_text("extract_from");
        let conditions = options.node("conditions").and_then(Node::as_array).unwrap_or_default();
        let count = options.node("expected_event_count");
        if conditions.is_empty() && count.is_none() {
            let title = "this output is not compared with anything".to_owned();
            self.fault(options.place, title, "write `conditions` or `expected_event_count`");
        }
        let count = options.integer("expected_event_count");
        Some(TestOutput {
            extract_from: taps.into_iter().flat_map(|text| self.taps(text)).collect(),
            span: options.place,
            conditions: conditions.iter().filter_map(condition_of).cloned().collect(),
            expected_event_count: count.and_then(|count| usize::try_from(count).ok()),
        })
    }

    /// Finds the transform that `text` names.
    fn transform(&mut self, text: &Text) -> Option<&'g Component<'a>> {
        let edge = match self.names.find(self.document, None, text) {
            Ok(edges) => edges.into_iter().next()?,
            Err(found) => {
                if !self.graph.holes {
                    self.checker.report(*found);
                }
                return None;
            }
        };
        let component = &self.graph.components[edge.from];
        if component.role != Role::Transform {
            let title = format!(
                "tests run transforms, and `{}` is a {}",
                component.id,
                component.role.name()
            );
            self.fault(text.span, title, "name a transform");
            return None;
        }
        Some(component)
    }

    /// Finds the outputs that `text` names.
    fn taps(&mut self, text: &Text) -> Vec<Tap> {
        let Some(component) = self.transform(text) else { return Vec::new() };
        // Of a faulty transform the outputs are not known; that has been said.
        let Some(ports) = &component.ports else { return Vec::new() };
        let Ok(edges) = self.names.find(self.document, None, text) else { return Vec::new() };
        let wanted = |name: &Option<String>| {
            edges.iter().any(|edge| matches!(&edge.output, Selected::One(wanted) if wanted == name))
        };
        let found = ports.iter().enumerate().filter(|(_, port)| wanted(&port.name));
        let tap = |port| Tap { transform: component.full_id.clone(), port };
        let taps: Vec<Tap> = found.map(|(port, _)| tap(port)).collect();
        if taps.is_empty() {
            let title = format!("`{}` has no such output", component.id);
            self.checker.report(Diagnostic::error(codes::UNKNOWN_OUTPUT, text.span, title, ""));
        }
        taps
    }
}
