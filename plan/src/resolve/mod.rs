//! From files to a [`Plan`]: everything that can be said without running, said at once.
//!
//! ```text
//! paths ─files─▶ Document… ─fill─▶ ─instance─▶ Instance
//!                    │
//!               components ─▶ every table held against its options
//!                    │
//!                 secrets ─▶ which are named, and which stand in clear
//!                    │
//!                  names ─▶ inputs become edges
//!                    │
//!                  order ─▶ circles; transforms behind what feeds them
//!                    │
//!                  check ─▶ the component's own check, with the ports of its inputs
//!                    │
//!                  early ─▶ what readers of windows want before these close
//!                    │
//!                 review ─▶ what no component sees alone: kinds, readers, rules, sockets, files
//!                    │
//!                assemble ─▶ Plan        cases ─▶ TestCase…
//! ```
//!
//! No step stops at a fault, but none speaks of what follows from another one's either: of an input
//! that was not found it is not said that nobody reads it.

mod assemble;
mod backends;
mod cases;
mod check;
mod components;
mod early;
mod environment;
mod files;
mod instance;
mod names;
mod order;
mod places;
mod review;
mod secrets;
mod vector;

pub use backends::{
    AwsAuth, AwsSecretsManager, CREDENTIALS, ExecProtocol, Kept, SecretBackendKind,
    SecretBackendSpec, SecretTls, Vault, VaultAuth,
};
pub use cases::{Repeat, TEST_OPTIONS, Tap, TestCase, TestEvent, TestInput, TestOutput};
pub use environment::{environment, writable};
pub use instance::{
    ApiTls, DATA_DIR, DatabaseAddress, INSTANCE_OPTIONS, Instance, LogSettings, MASTER_KEY,
    MasterKeyPlace, Retention,
};
pub use places::Places;
pub use secrets::NamedSecret;

use crate::diagnostic::{Checker, Diagnostic, Severity, codes};
use crate::document::Sources;
use crate::fill::Lookup;
use crate::plan::Plan;
use crate::registry::Registry;
use files::Reading;
use std::path::PathBuf;

/// The sections of a document that hold components, and `tests`.
pub(crate) const SECTIONS: [&str; 4] = ["sinks", "sources", "tests", "transforms"];

/// What [`load`] found.
pub struct Loaded {
    /// The texts, for messages; what is secret in them is masked.
    pub sources: Sources,
    /// The instance; where it is faulty, with its defaults.
    pub instance: Instance,
    /// Where its settings are written.
    pub places: Places,
    /// The plan, if there was no fault.
    pub plan: Option<Plan>,
    /// The tests of the documents; none if there was a fault.
    pub tests: Vec<TestCase>,
    /// The secrets that the documents name, each once, sorted.
    pub secrets: Vec<NamedSecret>,
    /// All faults and warnings, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads documents and folders of documents, and makes one plan of them.
///
/// A folder stands for every `*.toml` below it, but for `*.case.toml`. `environment` gives the
/// environment variables that `${…}` may be filled with, of which the instance allows some.
pub fn load(inputs: &[PathBuf], registry: &Registry, environment: Lookup<'_>) -> Loaded {
    read(inputs, false, registry, environment)
}

/// Reads what documents say of the instance, and nothing else: for commands that look at one whose
/// pipelines may have faults. It has no plan.
pub fn load_instance(inputs: &[PathBuf], environment: Lookup<'_>) -> Loaded {
    let mut reading = Reading::default();
    reading.files(inputs, false);
    let Reading { mut documents, sources, mut checker } = reading;
    instance::fill(&mut documents, environment, &mut checker);
    let (instance, places) = instance::check(&documents, &mut checker);
    let mut diagnostics = checker.diagnostics;
    sort(&mut diagnostics);
    let (tests, secrets) = (Vec::new(), Vec::new());
    Loaded { sources, instance, places, plan: None, tests, secrets, diagnostics }
}

/// Does what [`load`] does, and reads the tests in every `*.case.toml` too.
pub fn load_with_cases(inputs: &[PathBuf], registry: &Registry, environment: Lookup<'_>) -> Loaded {
    read(inputs, true, registry, environment)
}

/// Does what [`load`] does with documents that are no files: each a name, without `.toml`, and a
/// text. Programs that they name as files are looked for in the present folder.
pub fn load_texts(texts: &[(&str, &str)], registry: &Registry, environment: Lookup<'_>) -> Loaded {
    let mut reading = Reading::default();
    for (name, text) in texts {
        reading.text(name, text);
    }
    reading.finish(registry, environment)
}

fn read(inputs: &[PathBuf], cases: bool, registry: &Registry, environment: Lookup<'_>) -> Loaded {
    let mut reading = Reading::default();
    reading.files(inputs, cases);
    reading.finish(registry, environment)
}

impl Reading {
    /// Makes a plan of what was read.
    fn finish(self, registry: &Registry, environment: Lookup<'_>) -> Loaded {
        let Reading { mut documents, mut sources, mut checker } = self;
        instance::fill(&mut documents, environment, &mut checker);
        let (instance, places) = instance::check(&documents, &mut checker);
        let mut graph = components::gather(&documents, registry, &mut checker);
        let secrets = secrets::review(&documents, &graph, &instance, &mut checker);
        let (plan, tests) = resolve(&documents, &mut graph, registry, &instance, &mut checker);
        secrets::mask(&mut sources, &secrets.masked);
        let secrets = secrets.named;
        let mut diagnostics = checker.diagnostics;
        sort(&mut diagnostics);
        let failed = diagnostics.iter().any(|found| found.severity == Severity::Error);
        let plan = if failed { None } else { plan };
        let tests = if failed { Vec::new() } else { tests };
        Loaded { sources, instance, places, plan, tests, secrets, diagnostics }
    }
}

fn resolve(
    documents: &files::Documents,
    graph: &mut components::Graph<'_>,
    registry: &Registry,
    instance: &Instance,
    checker: &mut Checker,
) -> (Option<Plan>, Vec<TestCase>) {
    names::connect(graph, checker);
    order::order(graph, checker);
    let inputs = check::check(graph, checker);
    early::carry(graph, &inputs);
    review::review(graph, &inputs, registry, instance, checker);
    let tests = cases::read(documents, graph, checker);
    if checker.failed() {
        return (None, tests);
    }
    let plan = assemble::assemble(graph, &inputs, instance);
    if plan.pipelines.is_empty() {
        let title = "there is nothing to run: no document has a sink that is fed";
        checker.report(
            Diagnostic::nowhere(codes::EMPTY, title)
                .help("name documents or folders, or make azud.toml and pipelines/"),
        );
    }
    (Some(plan), tests)
}

/// Sorts by file and place, what has no place last; what was found twice is said once.
fn sort(diagnostics: &mut Vec<Diagnostic>) {
    let place = |found: &Diagnostic| {
        let first = found.labels.first();
        first.map_or((u32::MAX, u32::MAX), |(span, _)| (span.file, span.start))
    };
    diagnostics.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.code.cmp(&b.code)));
    diagnostics.dedup();
}
