//! Makes the [`Plan`] of a graph without fault.
//!
//! Documents whose components feed each other through transforms are one pipeline. A source alone
//! connects nothing: forty documents that read one listener are forty pipelines.

use super::check::Input;
use super::components::{Component, Graph, Role, Spec};
use super::instance::Instance;
use super::secrets::without_secrets;
use crate::component::{Kind, Port, SourceSpec};
use crate::document::write;
use crate::plan::{
    Output, Pipeline, Plan, Reader, SinkNode, Source, SourceInput, Stall, StallPolicy, Timing,
    TransformNode,
};
use azud_event::id::SourceIndex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Makes the plan. `inputs` says for each component what feeds it.
pub(super) fn assemble(graph: &Graph<'_>, inputs: &[Vec<Input>], instance: &Instance) -> Plan {
    let mut documents = Documents::new(graph);
    for (index, inputs) in inputs.iter().enumerate() {
        let fed = inputs.iter().filter(|input| graph.components[input.from].role != Role::Source);
        fed.for_each(|input| documents.join(graph, input.from, index));
    }
    let (sources, numbers) = sources(graph, inputs);
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in &graph.order {
        let component = &graph.components[*index];
        if component.role != Role::Source {
            groups.entry(documents.root(component.document)).or_default().push(*index);
        }
    }
    let pipelines = groups.into_values().map(|members| pipeline(graph, inputs, &numbers, &members));
    let mut pipelines: Vec<Pipeline> = pipelines.collect();
    for sink in pipelines.iter_mut().flat_map(|pipeline| &mut pipeline.sinks) {
        // Without a log there is nothing that a spill could be compared with after a crash.
        if instance.log.is_none() && matches!(sink.stall.policy, StallPolicy::Spill { .. }) {
            sink.stall.policy = StallPolicy::Block;
        }
    }
    pipelines.sort_by(|a, b| a.name.cmp(&b.name));
    Plan { sources, pipelines }
}

/// Which documents belong together: a union-find in which the root of a set is its least document.
struct Documents(Vec<usize>);

impl Documents {
    fn new(graph: &Graph<'_>) -> Self {
        let count = graph.components.iter().map(|component| component.document + 1).max();
        Documents((0..count.unwrap_or(0)).collect())
    }

    fn root(&self, mut document: usize) -> usize {
        while self.0[document] != document {
            document = self.0[document];
        }
        document
    }

    fn join(&mut self, graph: &Graph<'_>, a: usize, b: usize) {
        let root = |index: usize| self.root(graph.components[index].document);
        let (a, b) = (root(a), root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// Lists the sources that somebody reads, by id, and the number of each.
fn sources(
    graph: &Graph<'_>,
    inputs: &[Vec<Input>],
) -> (Vec<Source>, BTreeMap<usize, SourceIndex>) {
    let mut sources = Vec::new();
    let mut numbers = BTreeMap::new();
    let mut read: Vec<usize> = inputs.iter().flatten().map(|input| input.from).collect();
    read.sort_by_key(|index| &graph.components[*index].full_id);
    read.dedup();
    for index in read {
        let component = &graph.components[index];
        let Some(Spec::Source(spec)) = &component.spec else { continue };
        let number = u32::try_from(sources.len()).expect("nobody has 2³² sources");
        numbers.insert(index, SourceIndex(number));
        sources.push(Source {
            id: component.full_id.clone(),
            kind: kind_of(component),
            spec: Arc::clone(spec),
            timing: timing(component, &**spec),
            written: written(component),
            document: document(component),
        });
    }
    (sources, numbers)
}

/// Reads what the author of a source said of time.
fn timing(component: &Component<'_>, spec: &dyn SourceSpec) -> Timing {
    let timing = Timing { max_hold: spec.max_hold(), ..Timing::default() };
    let Some(factory) = component.factory else { return timing };
    let options = component.options(factory, &[]);
    Timing {
        event_time: options.field("event_time"),
        lateness: options.duration("lateness").unwrap_or(timing.lateness),
        max_ahead: options.duration("max_ahead").unwrap_or(timing.max_ahead),
        max_hold: options.duration("max_hold").unwrap_or(timing.max_hold),
        expect: options.strings("expect"),
    }
}

fn kind_of(component: &Component<'_>) -> &'static str {
    component.factory.map_or("", |factory| factory.name())
}

/// Makes the pipeline of these components, which are in the order of the flow.
fn pipeline(
    graph: &Graph<'_>,
    inputs: &[Vec<Input>],
    numbers: &BTreeMap<usize, SourceIndex>,
    members: &[usize],
) -> Pipeline {
    let of_role = |role: Role| {
        members.iter().copied().filter(move |index| graph.components[*index].role == role)
    };
    let transforms: Vec<usize> = of_role(Role::Transform).collect();
    let mut sinks: Vec<usize> = of_role(Role::Sink).collect();
    sinks.sort_by_key(|index| &graph.components[*index].full_id);
    let readers: Vec<(usize, Reader)> = (transforms.iter().enumerate())
        .map(|(number, index)| (*index, Reader::Transform(number)))
        .chain(sinks.iter().enumerate().map(|(number, index)| (*index, Reader::Sink(number))))
        .collect();
    let outputs = |index: usize| outputs(&graph.components[index], index, inputs, &readers);
    let name = members.iter().map(|index| graph.components[*index].document_name).min();
    let source_inputs = numbers
        .iter()
        .map(|(index, number)| SourceInput { source: *number, outputs: outputs(*index) });
    let mut sources: Vec<SourceInput> = source_inputs
        .filter(|input| input.outputs.iter().any(|output| !output.readers.is_empty()))
        .collect();
    sources.sort_by_key(|input| input.source);
    Pipeline {
        name: name.unwrap_or_default().to_owned(),
        sources,
        transforms: transforms
            .iter()
            .filter_map(|index| transform(&graph.components[*index], outputs(*index)))
            .collect(),
        sinks: sinks.iter().filter_map(|index| sink(graph, *index, &inputs[*index])).collect(),
    }
}

fn outputs(
    component: &Component<'_>,
    index: usize,
    inputs: &[Vec<Input>],
    readers: &[(usize, Reader)],
) -> Vec<Output> {
    let ports = component.ports.iter().flatten().enumerate();
    let output = |(number, port): (usize, &Port)| {
        let reads = |reader: usize| {
            inputs[reader].iter().any(|input| input.from == index && input.port == number)
        };
        let readers = readers.iter().filter(|(reader, _)| reads(*reader)).map(|(_, name)| *name);
        Output { port: port.clone(), readers: readers.collect() }
    };
    ports.map(output).collect()
}

fn transform(component: &Component<'_>, outputs: Vec<Output>) -> Option<TransformNode> {
    let Some(Spec::Transform(spec)) = &component.spec else { return None };
    let (id, kind) = (component.full_id.clone(), kind_of(component));
    Some(TransformNode { id, kind, spec: Arc::clone(spec), outputs, written: written(component) })
}

/// Gives the table of a component as it was written, less the secrets in it.
fn written(component: &Component<'_>) -> Arc<str> {
    let lists = component.factory.map(|factory| [factory.options(), factory.common()]);
    write(&without_secrets(component.unfilled, lists.as_ref().map_or(&[], |lists| lists))).into()
}

fn sink(graph: &Graph<'_>, index: usize, inputs: &[Input]) -> Option<SinkNode> {
    let component = &graph.components[index];
    let Some(Spec::Sink(spec)) = &component.spec else { return None };
    let first = inputs.first().and_then(|input| {
        graph.components[input.from].ports.as_ref()?.get(input.port).map(|port| port.kind)
    });
    Some(SinkNode {
        id: component.full_id.clone(),
        kind: kind_of(component),
        spec: Arc::clone(spec),
        input: first.unwrap_or(Kind::Log),
        stall: stall(component).unwrap_or_default(),
        written: written(component),
        document: document(component),
    })
}

/// Gives the path of the document of a component, as it was named.
fn document(component: &Component<'_>) -> Arc<str> {
    let file = Path::new(component.document_name).file_name().unwrap_or_default();
    let path = component.folder.join(file).with_extension("toml");
    path.to_string_lossy().into()
}

/// Reads what the author of a sink said of its being in trouble.
fn stall(component: &Component<'_>) -> Option<Stall> {
    let options = component.options(component.factory?, &[]);
    let policy = match options.one_of("on_stall") {
        Some("block") => StallPolicy::Block,
        Some("drop") => StallPolicy::Drop,
        _ => StallPolicy::Spill { max_bytes: options.table("spill")?.bytes("max_bytes")? },
    };
    Some(Stall { policy, after: options.duration("stalled_after")? })
}
