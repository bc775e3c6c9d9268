//! Calls the components' own checks, each with the outputs that feed it.

use super::components::{Component, Edge, Factory, Graph, Selected, Spec};
use super::names::is_like;
use crate::component::{Change, Port};
use crate::diagnostic::{Checker, Diagnostic, Severity, codes, nearest};
use crate::plan::FUTURE;
use std::sync::Arc;

/// A way through which a component is really fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// Who feeds.
    pub from: usize,
    /// The index of its output.
    pub port: usize,
    /// Which of the reader's edges says so.
    pub edge: usize,
}

/// Checks all components, in the order of the flow; gives for each what feeds it.
pub(super) fn check(graph: &mut Graph<'_>, checker: &mut Checker) -> Vec<Vec<Input>> {
    let mut inputs: Vec<Vec<Input>> = vec![Vec::new(); graph.components.len()];
    for index in graph.order.clone() {
        let (found, unknown) = fed_by(graph, index, checker);
        graph.incomplete |= unknown;
        let ports: Vec<Port> = found
            .iter()
            .filter_map(|input| {
                graph.components[input.from].ports.as_ref()?.get(input.port).cloned()
            })
            .collect();
        inputs[index] = found;
        let component = &graph.components[index];
        let Some(factory) = component.factory else { continue };
        let spec = call(component, factory, &ports, checker);
        let component = &mut graph.components[index];
        component.ports = spec.as_ref().and_then(|spec| outputs(spec, &ports));
        graph.incomplete |= spec.is_none();
        component.spec = spec;
    }
    inputs
}

/// Finds the outputs that a component's edges name. The flag says whether some are not known
/// because what gives them is faulty.
fn fed_by(graph: &Graph<'_>, index: usize, checker: &mut Checker) -> (Vec<Input>, bool) {
    let mut inputs = Vec::new();
    let mut unknown = false;
    for (number, edge) in graph.components[index].edges.iter().enumerate() {
        let giver = &graph.components[edge.from];
        let Some(ports) = &giver.ports else {
            unknown = true;
            continue;
        };
        let selected = select(giver, ports, edge);
        if selected.is_empty() {
            checker.report(no_such_output(giver, ports, edge));
            unknown = true;
        }
        let input = |port| Input { from: edge.from, port, edge: number };
        inputs.extend(selected.into_iter().map(input));
    }
    (inputs, unknown)
}

fn select(giver: &Component<'_>, ports: &[Port], edge: &Edge) -> Vec<usize> {
    let wanted = |port: &Port| match (&edge.output, &port.name) {
        (Selected::One(name), port) => name == port,
        (Selected::Like(pattern), None) => is_like(giver.id, pattern),
        // What a component sets apart (`late`, `future`, `dropped`) is asked for by name, not swept
        // up by a pattern for its id.
        (Selected::Like(pattern), Some(_)) if port.optional && !pattern.contains('.') => false,
        (Selected::Like(pattern), Some(name)) => is_like(&format!("{}.{name}", giver.id), pattern),
    };
    ports.iter().enumerate().filter(|(_, port)| wanted(port)).map(|(index, _)| index).collect()
}

fn no_such_output(giver: &Component<'_>, ports: &[Port], edge: &Edge) -> Diagnostic {
    let shown = |port: &Port| match &port.name {
        Some(name) => format!("{}.{name}", giver.id),
        None => giver.id.to_owned(),
    };
    let all: Vec<String> = ports.iter().map(|port| format!("`{}`", shown(port))).collect();
    let help = format!("its outputs are {}", all.join(", "));
    let (title, label) = match &edge.output {
        Selected::One(None) => (format!("`{}` has named outputs only", giver.id), String::new()),
        Selected::One(Some(name)) => {
            let near = nearest(name, ports.iter().filter_map(|port| port.name.as_deref()));
            let label = near.map(|near| format!("did you mean `{}.{near}`?", giver.id));
            (format!("`{}` has no output `{name}`", giver.id), label.unwrap_or_default())
        }
        Selected::Like(pattern) => {
            (format!("`{}` has no output like `{pattern}`", giver.id), String::new())
        }
    };
    Diagnostic::error(codes::UNKNOWN_OUTPUT, edge.span, title, label).help(help)
}

fn call(
    component: &Component<'_>,
    factory: Factory,
    ports: &[Port],
    checker: &mut Checker,
) -> Option<Spec> {
    let before = checker.diagnostics.len();
    let options = component.options(factory, ports);
    let spec = match factory {
        Factory::Source(factory) => {
            (factory.check)(&options, checker).map(Arc::from).map(Spec::Source)
        }
        Factory::Transform(factory) => {
            (factory.check)(&options, checker).map(Arc::from).map(Spec::Transform)
        }
        Factory::Sink(factory) => (factory.check)(&options, checker).map(Arc::from).map(Spec::Sink),
    };
    let told = checker.diagnostics[before..].iter().any(|found| found.severity == Severity::Error);
    if spec.is_none() && !told && !checker.failed() {
        // A component must say why it refuses; if it does not, a start that does nothing would be
        // worse.
        let title = format!("`{}` is refused by its check without a reason", component.id);
        let found = Diagnostic::error(codes::CONTRADICTION, component.id_span, title, "");
        checker.report(found.help("this is a fault of Azud: please report it with the document"));
    }
    spec
}

/// Gives the outputs of a checked component.
fn outputs(spec: &Spec, inputs: &[Port]) -> Option<Vec<Port>> {
    match spec {
        Spec::Source(spec) => {
            let mut ports = spec.outputs();
            let name = Some(FUTURE.to_owned());
            ports.push(Port { name, optional: true, ..Port::logs() });
            Some(ports)
        }
        Spec::Transform(spec) => Some(spec.outputs(&merged(inputs))),
        Spec::Sink(_) => None,
    }
}

/// Sees several inputs as one: what may be revised in one may be revised in all.
fn merged(inputs: &[Port]) -> Port {
    let revised = inputs.iter().any(|port| port.change == Change::Revised);
    let kind = inputs.first().map_or(Port::logs().kind, |port| port.kind);
    let change = if revised { Change::Revised } else { Change::Append };
    let results = inputs.first().and_then(|port| port.results.clone());
    Port { kind, change, results, ..Port::logs() }
}
