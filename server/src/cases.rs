//! `azud test`: runs the tests that are written in documents, in Vector's shape.

use crate::cli::{Global, Test};
use crate::documents::{self, Loaded, plural};
use crate::logging::colors;
use crate::outcome::Outcome;
use azud_engine::case::{self, Emitted, Insert, Schedule};
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::plan::{Pipeline, Plan};
use azud_plan::render;
use azud_plan::resolve::{Tap, TestCase, TestEvent, TestInput, TestOutput};
use azud_transforms::vrl::source::Source;
use azud_transforms::vrl::{Assertion, Compiler, Outcome as Ended};
use vrl::value::Value;

/// When records of tests happen that do not say it: always the same, so that a test gives the same
/// whenever it is run.
const DEFAULT_TIME: EventTime = EventTime::from_nanoseconds(1_772_323_200 * 1_000_000_000);

/// Runs all tests; says of each how it went.
pub fn test(arguments: &Test, global: &Global) -> Outcome {
    let Some(loaded) = documents::load_cases_or_explain(&arguments.documents, global) else {
        return Outcome::Faults;
    };
    let Loaded { sources, plan, tests, .. } = &loaded;
    if tests.is_empty() {
        println!("no tests; write some under [[tests]]");
        return Outcome::Well;
    }
    let mut failed = 0;
    for test in tests {
        let faults = run(test, plan, arguments.shuffles);
        println!("test {} … {}", test.name, if faults.is_empty() { "ok" } else { "FAILED" });
        if !faults.is_empty() {
            failed += 1;
            eprint!("{}", render::human(&faults, sources, colors(global.color)));
        }
    }
    println!("{} passed, {failed} failed", tests.len() - failed);
    if failed == 0 { Outcome::Well } else { Outcome::Faults }
}

/// Runs one test; gives what is not as it says.
fn run(test: &TestCase, plan: &Plan, shuffles: u64) -> Vec<Diagnostic> {
    let mut checker = Checker::default();
    let mut emitted: Vec<(&Pipeline, Vec<Emitted>)> = Vec::new();
    for pipeline in &plan.pipelines {
        let inputs = (0..).zip(&test.inputs);
        let inserts: Vec<Insert> = inputs
            .flat_map(|(stream, input)| insert(stream, input, pipeline, &mut checker))
            .collect();
        match case::run(pipeline, &inserts, &Schedule::straight(&inserts)) {
            Ok(given) => {
                if pipeline.is_keyed() {
                    shuffle(test, pipeline, &inserts, &given, shuffles, &mut checker);
                }
                emitted.push((pipeline, given));
            }
            Err(why) => checker.report(failure(test.span, &why, "")),
        }
    }
    for output in &test.outputs {
        let events = given(&emitted, &output.extract_from);
        check(output, &events, &mut checker);
    }
    for tap in &test.no_outputs_from {
        let events = given(&emitted, std::slice::from_ref(tap));
        if let Some(first) = events.first() {
            let title = format!("`{}` gave {}", tap.transform, plural(events.len(), "event"));
            let found = failure(test.span, &title, "nothing was expected");
            checker.report(found.note(format!("the first: {first}")));
        }
    }
    checker.diagnostics
}

/// Runs a test over event time again and again, each time with its inputs interleaved and cut into
/// epochs in another way, and the states written and read back in between. It must end alike.
fn shuffle(
    test: &TestCase,
    pipeline: &Pipeline,
    inserts: &[Insert],
    straight: &[Emitted],
    shuffles: u64,
    checker: &mut Checker,
) {
    let expected = case::ends(pipeline, straight);
    for seed in 0..shuffles {
        let ends = match case::run(pipeline, inserts, &Schedule::shuffled(inserts, seed)) {
            Ok(given) => case::ends(pipeline, &given),
            Err(why) => return checker.report(failure(test.span, &why, "")),
        };
        if ends == expected {
            continue;
        }
        let title = "how this test ends hangs on the order in which its inputs arrive";
        let mut found = failure(test.span, title, &format!("shuffle {seed} ends otherwise"));
        for (word, some, others) in
            [("only as written", &expected, &ends), ("only shuffled", &ends, &expected)]
        {
            if let Some((transform, _, value)) = some.iter().find(|end| !others.contains(end)) {
                let id = &pipeline.transforms[*transform].id;
                found = found.note(format!("{word}, of `{id}`: {value}"));
            }
        }
        return checker.report(found);
    }
}

/// Makes the records of an input, if it goes into this pipeline; each input is a stream.
fn insert(
    stream: u64,
    input: &TestInput,
    pipeline: &Pipeline,
    checker: &mut Checker,
) -> Vec<Insert> {
    let named = |node: &azud_plan::plan::TransformNode| node.id == input.insert_at;
    let Some(transform) = pipeline.transforms.iter().position(named) else { return Vec::new() };
    let Some(value) = event(input, checker) else { return Vec::new() };
    let start = input.at.unwrap_or(DEFAULT_TIME);
    let times = (0..input.repeat.count).map(|number| {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        start.saturating_add(input.repeat.every.saturating_mul(number))
    });
    let insert = |event_time| Insert { transform, value: value.clone(), event_time, stream };
    times.map(insert).collect()
}

fn event(input: &TestInput, checker: &mut Checker) -> Option<Value> {
    match &input.event {
        TestEvent::Raw(text) => Some(vrl::value!({ "message": (text.as_str()) })),
        TestEvent::Log(value) => Some(value.clone()),
        TestEvent::Program(text) => {
            let program = Compiler::new("tests").remap(&Source::Written(text), checker)?;
            let mut record = Record::new();
            match program.runner().run(&mut record) {
                Ended::Done(_) => Some(record.to_value()),
                other => {
                    let why = other.fault().map(|fault| fault.message).unwrap_or_default();
                    checker.report(failure(text.span, "this event could not be made", &why));
                    None
                }
            }
        }
    }
}

/// Lists what the taps gave, in order.
fn given<'a>(emitted: &'a [(&Pipeline, Vec<Emitted>)], taps: &[Tap]) -> Vec<&'a Value> {
    let fits = |pipeline: &Pipeline, event: &Emitted| {
        let id = &pipeline.transforms[event.transform].id;
        taps.iter().any(|tap| tap.transform == *id && tap.port == event.port)
    };
    emitted
        .iter()
        .flat_map(|(pipeline, events)| events.iter().filter(|event| fits(pipeline, event)))
        .map(|event| &event.value)
        .collect()
}

/// Holds what came out against what is expected: the number, and for each condition one event that
/// meets it.
fn check(output: &TestOutput, events: &[&Value], checker: &mut Checker) {
    let from: Vec<&str> = output.extract_from.iter().map(|tap| tap.transform.as_str()).collect();
    let from = from.join(", ");
    if let Some(expected) = output.expected_event_count
        && expected != events.len()
    {
        let title = format!("`{from}` gave {}, not {expected}", plural(events.len(), "event"));
        checker.report(failure(output.span, &title, "the number expected here"));
    }
    if events.is_empty() && output.expected_event_count.is_none() {
        let title = format!("`{from}` gave nothing");
        checker.report(failure(output.span, &title, "something was expected here"));
        return;
    }
    for condition in &output.conditions {
        let assertion = match Assertion::compile(&condition.text) {
            Ok(assertion) => assertion,
            Err(report) => {
                let found = failure(condition.span, "this condition does not compile", "");
                checker.report(found.note(report));
                continue;
            }
        };
        let outcomes = events.iter().map(|event| assertion.check(event, DEFAULT_TIME));
        let refusals: Vec<String> = outcomes.filter_map(Result::err).collect();
        if refusals.len() == events.len() && !events.is_empty() {
            let title = format!("no event of `{from}` meets this condition");
            let mut found = failure(condition.span, &title, "");
            for (event, why) in events.iter().zip(&refusals).take(3) {
                found = found.note(format!("{why}\nof {event}"));
            }
            checker.report(found);
        }
    }
}

fn failure(span: azud_plan::diagnostic::Span, title: &str, label: &str) -> Diagnostic {
    Diagnostic::error(codes::TEST_FAILED, span, title, label)
}
