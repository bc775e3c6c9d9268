//! What no component can see alone: kinds that do not fit, outputs without readers, rules, sockets
//! and files that two components claim.

use super::check::Input;
use super::components::{Component, Factory, Graph, Role, Spec};
use super::instance::Instance;
use crate::component::{Kind, Port, Resource};
use crate::diagnostic::{Checker, Diagnostic, Span, codes};
use crate::registry::Registry;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// Reviews the whole graph.
pub(super) fn review(
    graph: &Graph<'_>,
    inputs: &[Vec<Input>],
    registry: &Registry,
    instance: &Instance,
    checker: &mut Checker,
) {
    for (index, component) in graph.components.iter().enumerate() {
        kinds(graph, component, &inputs[index], registry, checker);
    }
    rules(graph, checker);
    addresses(graph, instance, checker);
    files(graph, checker);
    spills(graph, instance, checker);
    // Of a plan with holes it is not known who reads what.
    if !graph.incomplete {
        unread(graph, inputs, checker);
    }
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Kind::Log => "logs",
            Kind::Metric => "metrics",
            Kind::Alert => "alerts",
        }
    }
}

fn port<'g>(graph: &'g Graph<'_>, input: &Input) -> Option<&'g Port> {
    graph.components[input.from].ports.as_ref()?.get(input.port)
}

/// Names an output as documents do.
fn shown(component: &Component<'_>, port: &Port) -> String {
    match &port.name {
        Some(name) => format!("{}.{name}", component.id),
        None => component.id.to_owned(),
    }
}

fn kinds(
    graph: &Graph<'_>,
    component: &Component<'_>,
    inputs: &[Input],
    registry: &Registry,
    checker: &mut Checker,
) {
    let first = inputs.iter().find_map(|input| port(graph, input)).map(|port| port.kind);
    for input in inputs {
        let Some(port) = port(graph, input) else { continue };
        let giver = shown(&graph.components[input.from], port);
        let span = component.edges[input.edge].span;
        match (component.factory, first) {
            (Some(Factory::Sink(factory)), _) if !factory.inputs.contains(&port.kind) => {
                let takes: Vec<&str> = factory.inputs.iter().map(|kind| kind.plural()).collect();
                let title = format!(
                    "`{}` takes {}, and `{giver}` carries {}",
                    component.id,
                    takes.join(" and "),
                    port.kind.plural()
                );
                let found = Diagnostic::error(codes::KIND_MISMATCH, span, title, "");
                checker.report(found.help(remedy(port.kind, factory.inputs, registry)));
            }
            (Some(Factory::Transform(_)), Some(first)) if first != port.kind => {
                let title = format!(
                    "the inputs of `{}` carry both {} and {}",
                    component.id,
                    first.plural(),
                    port.kind.plural()
                );
                let label = format!("`{giver}` carries {}", port.kind.plural());
                let found = Diagnostic::error(codes::KIND_MISMATCH, span, title, label);
                checker.report(found.help("write one transform for each kind"));
            }
            _ => {}
        }
    }
}

/// Says how to come from one kind to another.
fn remedy(from: Kind, to: &[Kind], registry: &Registry) -> String {
    let between = match from {
        Kind::Log if to.contains(&Kind::Metric) => Some("log_to_metric"),
        Kind::Log if to.contains(&Kind::Alert) => Some("alert"),
        _ => None,
    };
    if let Some(name) = between.filter(|name| registry.transform(name).is_some()) {
        return format!("put a transform of type `{name}` between");
    }
    let sinks = registry.sinks.iter().filter(|sink| sink.inputs.contains(&from));
    let sinks: Vec<String> = sinks.map(|sink| format!("`{}`", sink.name)).collect();
    format!("sinks that take {} are {}", from.plural(), sinks.join(", "))
}

/// Refuses what no instance without a log can keep.
fn spills(graph: &Graph<'_>, instance: &Instance, checker: &mut Checker) {
    let sinks = graph.components.iter().filter(|component| component.role == Role::Sink);
    for node in sinks.filter_map(|sink| sink.table.node("on_stall")) {
        let spills = node.as_text().is_some_and(|text| text.text == "spill");
        if spills && instance.log.is_none() {
            let title = "a spill needs the log, and `intake.durability` is `memory`";
            let found = Diagnostic::error(codes::CONTRADICTION, node.span, title, "");
            checker.report(found.help("write `block` or `drop`, or take in to `disk`"));
        }
    }
}

fn rules(graph: &Graph<'_>, checker: &mut Checker) {
    let mut known: HashMap<&str, Span> = HashMap::new();
    for component in &graph.components {
        let Some(Spec::Transform(spec)) = &component.spec else { continue };
        let Some((rule, span)) = spec.rule() else { continue };
        if let Some(other) = known.get(rule) {
            let title =
                format!("rule `{rule}` is defined twice; the alerts of both would share ids");
            let found = Diagnostic::error(codes::RULE_TWICE, span, title, "here again");
            checker.report(found.label(*other, "first defined here"));
        } else {
            known.insert(rule, span);
        }
    }
}

fn resources(component: &Component<'_>) -> Vec<Resource> {
    match &component.spec {
        Some(Spec::Source(spec)) => spec.resources(),
        Some(Spec::Sink(spec)) => spec.resources(),
        Some(Spec::Transform(_)) | None => Vec::new(),
    }
}

fn addresses(graph: &Graph<'_>, instance: &Instance, checker: &mut Checker) {
    let mut known: Vec<(&'static str, SocketAddr, Option<&Component<'_>>)> = Vec::new();
    known.extend(instance.api_address.map(|address| ("tcp", address, None)));
    for component in &graph.components {
        for resource in resources(component) {
            let (protocol, address) = match resource {
                Resource::TcpPort(address) => ("tcp", address),
                Resource::UdpPort(address) => ("udp", address),
                Resource::Reads(_) | Resource::Writes(_) | Resource::WritesBelow(_) => continue,
            };
            let clash =
                known.iter().find(|(other, taken, _)| *other == protocol && clash(*taken, address));
            if let Some((_, taken, other)) = clash {
                let title = format!("{protocol} {address} is listened on twice");
                let span = component.span_of("address");
                let found = Diagnostic::error(codes::ADDRESS_TWICE, span, title, "here again");
                checker.report(match other {
                    Some(other) => found
                        .label(other.span_of("address"), format!("first here, on {taken}"))
                        .help(
                            "one listener can feed any number of components: name it in their \
                               `inputs`",
                        ),
                    None => found.help(format!("the API listens on {taken}; see `api.address`")),
                });
            } else {
                known.push((protocol, address, Some(component)));
            }
        }
    }
}

/// Whether one process cannot listen on both. Port 0 means any free one.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_host
}

fn files(graph: &Graph<'_>, checker: &mut Checker) {
    let mut known: HashMap<std::path::PathBuf, &Component<'_>> = HashMap::new();
    for component in graph.components.iter().filter(|component| component.role == Role::Sink) {
        for resource in resources(component) {
            let Resource::Writes(path) = resource else { continue };
            match known.get(&path) {
                Some(other) if !std::ptr::eq(*other, component) => {
                    let title = format!("two sinks write {}", path.display());
                    let span = component.span_of("path");
                    let found = Diagnostic::error(codes::FILE_TWICE, span, title, "here again");
                    checker.report(
                        found
                            .label(other.span_of("path"), "first here")
                            .help("give all inputs to one of them"),
                    );
                }
                Some(_) => {}
                None => {
                    known.insert(path, component);
                }
            }
        }
    }
}

/// Finds outputs that nobody reads, and alerts that reach no sink.
fn unread(graph: &Graph<'_>, inputs: &[Vec<Input>], checker: &mut Checker) {
    let read: HashSet<(usize, usize)> =
        inputs.iter().flatten().map(|input| (input.from, input.port)).collect();
    let delivered = reaching_a_sink(graph, inputs);
    for (index, component) in graph.components.iter().enumerate() {
        let ports = component.ports.as_deref().unwrap_or_default();
        let is_read = |number: usize| read.contains(&(index, number));
        let warn = |code, title: String, label: &str| {
            Diagnostic::warning(code, component.id_span, title, label)
        };
        if component.role == Role::Source
            && !ports.iter().enumerate().any(|(number, _)| is_read(number))
        {
            let title = format!("nobody reads the source `{}`", component.id);
            checker.report(warn(codes::UNREAD_SOURCE, title, "it is not started"));
            continue;
        }
        let rule = match &component.spec {
            Some(Spec::Transform(spec)) => spec.rule().map(|(rule, _)| rule.to_owned()),
            _ => None,
        };
        if let Some(rule) = rule.filter(|_| !delivered.contains(&index)) {
            let title = format!("no sink receives the alerts of rule `{rule}`");
            checker.report(
                warn(codes::UNRECEIVED_ALERT, title, "nobody would know")
                    .help(format!("write a sink with `inputs = [\"{}\"]`", component.id)),
            );
            continue;
        }
        for (number, port) in ports.iter().enumerate() {
            if !port.optional && !is_read(number) {
                let title = format!("nobody reads `{}`", shown(component, port));
                checker.report(warn(
                    codes::UNREAD_OUTPUT,
                    title,
                    "what goes there is counted and let go",
                ));
            }
        }
    }
}

/// Gives the components from which something reaches a sink.
fn reaching_a_sink(graph: &Graph<'_>, inputs: &[Vec<Input>]) -> HashSet<usize> {
    let mut reaching = HashSet::new();
    for index in graph.order.iter().rev() {
        if graph.components[*index].role == Role::Sink || reaching.contains(index) {
            reaching.extend(inputs[*index].iter().map(|input| input.from));
        }
    }
    reaching
}
