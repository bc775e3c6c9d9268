//! The connectors of the documents: the components that talk to the outside.

use crate::wiring::NotBuilt;
use azud_event::clock::Clock;
use azud_plan::component::{Attempt, Cause, Connectors, Failed, Outcome};
use azud_plan::plan::Plan;
use azud_store::{Declared, Registry};

/// Lists the components of a plan that talk to the outside: those that have a row of their own
/// among the connectors, and those that run for rows of others.
pub fn declared(plan: &Plan) -> Vec<Declared> {
    let sources = plan.sources.iter().filter_map(|source| {
        let endpoint = source.spec.endpoint()?;
        Some(Declared::new(&source.id, source.kind, &source.document, &source.written, endpoint))
    });
    let sinks = plan.pipelines.iter().flat_map(|pipeline| &pipeline.sinks);
    let sinks = sinks.filter_map(|sink| {
        let endpoint = sink.spec.endpoint()?;
        Some(Declared::new(&sink.id, sink.kind, &sink.document, &sink.written, endpoint))
    });
    sources.chain(sinks).collect()
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
