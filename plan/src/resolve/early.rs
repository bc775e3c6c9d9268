//! Carries what readers of windows want to the steps that have the windows.

use super::check::Input;
use super::components::{Graph, Spec};
use crate::component::{Demand, TransformSpec};
use std::sync::Arc;

/// Tells every step that has windows what its readers want. `inputs` says for each component what
/// feeds it.
pub(super) fn carry(graph: &mut Graph<'_>, inputs: &[Vec<Input>]) {
    // What each component wants of what feeds it: readers come first here.
    let mut wants: Vec<Option<Demand>> = vec![None; graph.components.len()];
    let mut wants_parts = vec![false; graph.components.len()];
    for index in graph.order.clone().into_iter().rev() {
        let Some(mut spec) = transform(graph, index) else { continue };
        let readers = readers(graph, inputs, index);
        let wanted: Vec<Demand> = readers.iter().filter_map(|it| wants[*it].clone()).collect();
        let behind = (!wanted.is_empty()).then_some(Demand::Any(wanted));
        let parts = readers.iter().any(|reader| wants_parts[*reader]);
        if let Some(knowing) = behind.as_ref().and_then(|wanted| spec.knowing(wanted)) {
            spec = knowing;
        }
        if let Some(giving) = spec.giving_parts().filter(|_| parts) {
            spec = giving;
        }
        wants[index] = spec.wants(behind.as_ref());
        wants_parts[index] = spec.wants_parts(parts);
        graph.components[index].spec = Some(Spec::Transform(spec));
    }
}

fn transform(graph: &Graph<'_>, index: usize) -> Option<Arc<dyn TransformSpec>> {
    match &graph.components[index].spec {
        Some(Spec::Transform(spec)) => Some(Arc::clone(spec)),
        _ => None,
    }
}

/// Lists those that read the results of a component.
fn readers(graph: &Graph<'_>, inputs: &[Vec<Input>], index: usize) -> Vec<usize> {
    let ports = graph.components[index].ports.as_deref().unwrap_or_default();
    let results = |input: &Input| {
        input.from == index && ports.get(input.port).is_some_and(|port| port.results.is_some())
    };
    let readers = inputs.iter().enumerate().filter(|(_, inputs)| inputs.iter().any(results));
    readers.map(|(reader, _)| reader).collect()
}
