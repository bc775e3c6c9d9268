//! `azud graph`: the plan as a drawing.

use crate::cli::GraphFormat;
use azud_plan::component::Change;
use azud_plan::plan::{Output, Pipeline, Plan, Reader};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A box of the drawing.
struct Node {
    id: String,
    kind: &'static str,
    shape: Shape,
}

#[derive(Clone, Copy)]
enum Shape {
    Source,
    Transform,
    Sink,
}

/// Draws a plan.
pub fn draw(plan: &Plan, format: GraphFormat) -> String {
    let (nodes, edges) = gather(plan);
    match format {
        GraphFormat::Dot => dot(&nodes, &edges),
        GraphFormat::Mermaid => mermaid(&nodes, &edges),
    }
}

/// Collects boxes and arrows (from, to, label).
fn gather(plan: &Plan) -> (Vec<Node>, Vec<(String, String, String)>) {
    let mut nodes = BTreeMap::new();
    let mut edges = Vec::new();
    let mut add = |id: &str, kind: &'static str, shape| {
        nodes.insert(id.to_owned(), Node { id: id.to_owned(), kind, shape });
    };
    for source in &plan.sources {
        add(&source.id, source.kind, Shape::Source);
    }
    for pipeline in &plan.pipelines {
        for transform in &pipeline.transforms {
            add(&transform.id, transform.kind, Shape::Transform);
            connect(pipeline, &transform.id, &transform.outputs, &mut edges);
        }
        for sink in &pipeline.sinks {
            add(&sink.id, sink.kind, Shape::Sink);
        }
        for input in &pipeline.sources {
            let id = &plan.sources[input.source.0 as usize].id;
            connect(pipeline, id, &input.outputs, &mut edges);
        }
    }
    edges.sort();
    edges.dedup();
    (nodes.into_values().collect(), edges)
}

fn connect(
    pipeline: &Pipeline,
    from: &str,
    outputs: &[Output],
    edges: &mut Vec<(String, String, String)>,
) {
    for output in outputs {
        let revised = if output.port.change == Change::Revised { ", revised" } else { "" };
        let name = output.port.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        let label = format!("{name}{}{revised}", output.port.kind.name());
        for reader in &output.readers {
            let to = match reader {
                Reader::Transform(index) => &pipeline.transforms[*index].id,
                Reader::Sink(index) => &pipeline.sinks[*index].id,
            };
            edges.push((from.to_owned(), to.clone(), label.clone()));
        }
    }
}

fn dot(nodes: &[Node], edges: &[(String, String, String)]) -> String {
    let mut out =
        String::from("digraph azud {\n  rankdir = LR;\n  node [fontname = \"sans-serif\"];\n");
    for Node { id, kind, shape } in nodes {
        let shape = match shape {
            Shape::Source => "invhouse",
            Shape::Transform => "box",
            Shape::Sink => "house",
        };
        let _ = writeln!(out, "  {id:?} [shape = {shape}, label = \"{id}\\n{kind}\"];");
    }
    for (from, to, label) in edges {
        let _ = writeln!(out, "  {from:?} -> {to:?} [label = {label:?}];");
    }
    out.push_str("}\n");
    out
}

fn mermaid(nodes: &[Node], edges: &[(String, String, String)]) -> String {
    let number = |id: &str| nodes.iter().position(|node| node.id == id).unwrap_or_default();
    let mut out = String::from("flowchart LR\n");
    for (index, Node { id, kind, shape }) in nodes.iter().enumerate() {
        let (open, close) = match shape {
            Shape::Source => ("([", "])"),
            Shape::Transform => ("[", "]"),
            Shape::Sink => ("[(", ")]"),
        };
        let _ = writeln!(out, "  n{index}{open}\"{id}<br/>{kind}\"{close}");
    }
    for (from, to, label) in edges {
        let _ = writeln!(out, "  n{} -->|\"{label}\"| n{}", number(from), number(to));
    }
    out
}
