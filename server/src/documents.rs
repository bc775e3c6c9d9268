//! Reading documents, and showing what is wrong with them.

use crate::cli::{Documents, Format, Global, Validate};
use crate::logging::colors;
use crate::outcome::Outcome;
use crate::wiring::REGISTRY;
use azud_plan::diagnostic::Severity;
use azud_plan::document::Sources;
use azud_plan::plan::Plan;
use azud_plan::render;
use azud_plan::resolve::{self, Instance, Loaded as Checked, TestCase};

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

/// Does what [`load_or_explain`] does, and reads the tests beside documents too.
pub fn load_cases_or_explain(documents: &Documents, global: &Global) -> Option<Loaded> {
    let environment = |name: &str| std::env::var(name).ok();
    explain(resolve::load_with_cases(&documents.all(), &REGISTRY, &environment), global)
}

fn explain(checked: Checked, global: &Global) -> Option<Loaded> {
    let human = render::human(&checked.diagnostics, &checked.sources, colors(global.color));
    eprint!("{human}");
    let Checked { sources, instance, plan, tests, diagnostics } = checked;
    let Some(plan) = plan else {
        eprintln!("{}", render::closing(&diagnostics));
        return None;
    };
    Some(Loaded { sources, instance, plan, tests })
}

/// `azud validate`: shows everything that is wrong.
pub fn validate(arguments: &Validate, global: &Global) -> Outcome {
    let mut checked = load(&arguments.documents);
    if let Some(plan) = &checked.plan
        && !arguments.no_environment
    {
        let environment = resolve::environment(plan, &checked.instance);
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

/// Says what a plan holds: `1 pipeline · 2 sources · 3 transforms · 2 sinks · 0 faults`.
fn inventory(plan: &Plan) -> String {
    let transforms = plan.pipelines.iter().map(|pipeline| pipeline.transforms.len()).sum();
    let sinks = plan.pipelines.iter().map(|pipeline| pipeline.sinks.len()).sum();
    let rules = plan.pipelines.iter().flat_map(|pipeline| &pipeline.transforms);
    let rules = rules.filter(|transform| transform.spec.rule().is_some()).count();
    [
        plural(plan.pipelines.len(), "pipeline"),
        plural(plan.sources.len(), "source"),
        plural(transforms, "transform"),
        plural(sinks, "sink"),
        plural(rules, "rule"),
        plural(0, "fault"),
    ]
    .join(" · ")
}

/// Gives `1 fault`, `2 faults`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
