//! Puts every component behind those that feed it, and finds circles.

use super::components::{Graph, Role};
use crate::diagnostic::{Checker, Diagnostic, codes};
use std::collections::BTreeSet;

/// Orders the components: by how far they are from the sources, then by id. What is in a circle, or
/// behind one, comes last.
pub(super) fn order(graph: &mut Graph<'_>, checker: &mut Checker) {
    let depths = depths(graph);
    let mut order: Vec<usize> = (0..graph.components.len()).collect();
    order.sort_by_key(|index| {
        let component = &graph.components[*index];
        let circular = depths[*index].is_none();
        (circular, component.role == Role::Sink, depths[*index], component.full_id.clone())
    });
    let circular: BTreeSet<usize> =
        order.iter().copied().filter(|index| depths[*index].is_none()).collect();
    graph.incomplete |= !circular.is_empty();
    report_circles(graph, &circular, checker);
    graph.order = order;
}

/// Gives how many steps at most lie between a component and a source; `None` in and behind a
/// circle.
fn depths(graph: &Graph<'_>) -> Vec<Option<usize>> {
    let count = graph.components.len();
    let mut depths: Vec<Option<usize>> = vec![None; count];
    let mut waits: Vec<usize> = graph.components.iter().map(|found| found.edges.len()).collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, component) in graph.components.iter().enumerate() {
        component.edges.iter().for_each(|edge| readers[edge.from].push(index));
    }
    let mut ready: Vec<usize> = (0..count).filter(|index| waits[*index] == 0).collect();
    while let Some(index) = ready.pop() {
        let before =
            graph.components[index].edges.iter().filter_map(|edge| depths[edge.from]).max();
        depths[index] = Some(before.map_or(0, |depth| depth + 1));
        for reader in &readers[index] {
            waits[*reader] -= 1;
            if waits[*reader] == 0 {
                ready.push(*reader);
            }
        }
    }
    depths
}

/// Walks back from each component that waits for ever, until the walk meets itself: that is a
/// circle. Each is reported once.
fn report_circles(graph: &Graph<'_>, circular: &BTreeSet<usize>, checker: &mut Checker) {
    let mut seen = BTreeSet::new();
    for start in circular {
        let mut walk = vec![*start];
        while let Some(last) = walk.last().copied() {
            if !seen.insert(last) {
                break;
            }
            let edges = &graph.components[last].edges;
            // Whatever waits for ever waits for something that does, too.
            let Some(before) =
                edges.iter().map(|edge| edge.from).find(|from| circular.contains(from))
            else {
                break;
            };
            if let Some(at) = walk.iter().position(|index| *index == before) {
                report_circle(graph, &walk[at..], checker);
                break;
            }
            walk.push(before);
        }
    }
}

/// Reports a circle; `walk` goes against the flow.
fn report_circle(graph: &Graph<'_>, walk: &[usize], checker: &mut Checker) {
    let id = |index: &usize| format!("`{}`", graph.components[*index].id);
    let mut way: Vec<String> = walk.iter().rev().map(id).collect();
    way.extend(walk.last().map(id));
    let title = format!("components feed each other in a circle: {}", way.join(" → "));
    let mut places = walk.iter().rev().map(|index| {
        let component = &graph.components[*index];
        let within = component.edges.iter().find(|edge| walk.contains(&edge.from));
        (within.map_or(component.id_span, |edge| edge.span), component.id)
    });
    let Some((span, id)) = places.next() else { return };
    let words = |id: &str| format!("`{id}` reads this");
    let found = Diagnostic::error(codes::CYCLE, span, title, words(id));
    checker.report(places.fold(found, |found, (span, id)| found.label(span, words(id))));
}
