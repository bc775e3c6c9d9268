//! Reading documents, and showing what is wrong with them.

use crate::cli::{Documents, Format, Global, Validate};
use crate::environment;
use crate::logging::colors;
use crate::outcome::Outcome;
use crate::wiring::REGISTRY;
use azud_plan::diagnostic::Severity;
use azud_plan::document::Sources;
use azud_plan::firing::{self, Fires, When};
use azud_plan::plan::Plan;
use azud_plan::render;
use azud_plan::resolve::{self, Instance, Loaded as Checked, TestCase};
use std::time::Duration;

/// Documents without a fault.
pub struct Loaded {
    /// The texts, for messages.
    pub sources: Sources,
    /// The instance.
    pub instance: Instance,
    /// The plan.
    pub plan: Plan,
    /// The tests in the documents.
    pub tests: Vec<TestCase>,
}

/// Reads and checks documents; shows faults and warnings on standard error. `None` when there are
/// faults.
pub fn load_or_explain(documents: &Documents, global: &Global) -> Option<Loaded> {
    explain(load(documents), global)
}

/// Reads what the documents say of the instance; shows what is wrong with that. Their pipelines may
/// have faults: a command that only looks at the instance has nothing to do with them.
pub fn instance_or_explain(documents: &Documents, global: &Global) -> Option<Instance> {
    let environment = |name: &str| std::env::var(name).ok();
    let Checked { sources, instance, diagnostics, .. } =
        resolve::load_instance(&documents.all(), &environment);
    let failed = diagnostics.iter().any(|found| found.severity == Severity::Error);
    if failed {
        eprint!("{}", render::human(&diagnostics, &sources, colors(global.color)));
    }
    (!failed).then_some(instance)
}

/// Does what [`load_or_explain`] does, and reads the tests beside documents too.
pub fn load_cases_or_explain(documents: &Documents, global: &Global) -> Option<Loaded> {
    let environment = |name: &str| std::env::var(name).ok();
    explain(resolve::load_with_cases(&documents.all(), &REGISTRY, &environment), global)
}

fn explain(checked: Checked, global: &Global) -> Option<Loaded> {
    let human = render::human(&checked.diagnostics, &checked.sources, colors(global.color));
    eprint!("{human}");
    let Checked { sources, instance, plan, tests, diagnostics, .. } = checked;
    let Some(plan) = plan else {
        eprintln!("{}", render::closing(&diagnostics));
        return None;
    };
    Some(Loaded { sources, instance, plan, tests })
}

/// `azud validate`: shows everything that is wrong.
pub fn validate(arguments: &Validate, global: &Global) -> Outcome {
    let mut checked = load(&arguments.documents);
    if !arguments.no_environment {
        let environment = environment::try_all(&checked);
        checked.diagnostics.extend(environment);
    }
    let Checked { sources, plan, diagnostics, .. } = &checked;
    match arguments.format {
        Format::Human => eprint!("{}", render::human(diagnostics, sources, colors(global.color))),
        Format::Json => print!("{}", render::json(diagnostics, sources)),
        Format::Github => print!("{}", render::github(diagnostics, sources)),
        Format::Sarif => print!("{}", render::sarif(diagnostics, sources)),
    }
    if arguments.format == Format::Human {
        match plan {
            Some(plan) if diagnostics.is_empty() => println!("{}", inventory(plan)),
            _ => eprintln!("{}", render::closing(diagnostics)),
        }
    }
    let errors = diagnostics.iter().any(|found| found.severity == Severity::Error);
    let only_environment = plan.is_some() && errors;
    if only_environment {
        Outcome::Environment
    } else if errors || (arguments.deny_warnings && !diagnostics.is_empty()) {
        Outcome::Faults
    } else {
        Outcome::Well
    }
}

fn load(documents: &Documents) -> Checked {
    resolve::load(&documents.all(), &REGISTRY, &|name| std::env::var(name).ok())
}

/// Says what a plan holds: `1 pipeline · 2 sources · 3 transforms · 2 sinks · 1 rule (fires early,
/// worst delay 1 s) · 0 faults`. Of several rules each has its own line below.
fn inventory(plan: &Plan) -> String {
    let transforms = plan.pipelines.iter().map(|pipeline| pipeline.transforms.len()).sum();
    let sinks = plan.pipelines.iter().map(|pipeline| pipeline.sinks.len()).sum();
    let fires = firing::fires(plan);
    let mut rules = plural(fires.len(), "rule");
    if let [one] = fires.as_slice() {
        rules.push_str(&format!(" ({})", when(one)));
    }
    let mut inventory = [
        plural(plan.pipelines.len(), "pipeline"),
        plural(plan.sources.len(), "source"),
        plural(transforms, "transform"),
        plural(sinks, "sink"),
        rules,
        plural(0, "fault"),
    ]
    .join(" · ");
    if fires.len() > 1 {
        let lines = fires.iter().map(|fires| format!("\nrule {}: {}", fires.rule, when(fires)));
        inventory.extend(lines);
    }
    inventory
}

/// Says when a rule fires, and how late at worst.
fn when(fires: &Fires) -> String {
    let when = match fires.when {
        When::AtOnce => "fires at once",
        When::Early => "fires early",
        When::AtTheClose => "waits for the close",
    };
    format!("{when}, worst delay {}", span(fires.worst))
}

/// Gives `1 s`, `10 min 26 s`, `1 d 1 h 25 s`.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let shown = parts.iter().filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// Gives `1 fault`, `2 faults`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
