//! The connectors of the documents: the components that talk to the outside.

use crate::wiring::NotBuilt;
use azud_event::clock::Clock;
use azud_plan::component::{Attempt, Cause, Connectors, Endpoint, Failed, Outcome};
use azud_plan::plan::Plan;
use azud_store::{Declared, Registry};

/// Lists the components of a plan that have a row of their own among the connectors.
pub fn declared(plan: &Plan) -> Vec<Declared> {
    let sources = plan.sources.iter().filter_map(|source| {
        declare(&source.id, source.kind, &source.document, &source.written, source.spec.endpoint()?)
    });
    let sinks = plan.pipelines.iter().flat_map(|pipeline| &pipeline.sinks);
    let sinks = sinks.filter_map(|sink| {
        declare(&sink.id, sink.kind, &sink.document, &sink.written, sink.spec.endpoint()?)
    });
    sources.chain(sinks).collect()
}

fn declare(
    id: &str,
    kind: &str,
    document: &str,
    written: &str,
    endpoint: Endpoint,
) -> Option<Declared> {
    let own = endpoint.runs_for.is_none();
    own.then(|| Declared::new(id, kind, document, written, endpoint))
}

/// Says of the connectors that could not be built that they are in error, for those who look at the
/// database before the next start.
pub async fn report_not_built(registry: &Registry, failed: &[NotBuilt], clock: &Clock) {
    for NotBuilt { id, error } in failed {
        let (cause, message) = (Cause::Configuration, error.message.clone());
        let outcome = Outcome::Failed(Failed { cause, message, http_status: None });
        let attempt = Attempt { at: clock.now(), outcome, requests: 0, records: 0, bytes: 0 };
        registry.of(id).report(attempt);
    }
    registry.flush().await;
}
