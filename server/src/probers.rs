//! What tries connectors of the documents that run, for `azud connectors test`.

use azud_event::clock::Clock;
use azud_plan::component::{BuildContext, Probe, Services, SinkSpec, SourceSpec, matches};
use azud_plan::plan::Plan;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The components of a plan that talk to the outside, as they can be tried.
pub struct Probers {
    components: HashMap<String, Component>,
    data_dir: PathBuf,
    clock: Clock,
    services: Arc<Services>,
}

struct Component {
    pipeline: String,
    spec: Spec,
    /// The pattern of the names of rows that it runs for.
    runs_for: Option<String>,
}

#[derive(Clone)]
enum Spec {
    Source(Arc<dyn SourceSpec>),
    Sink(Arc<dyn SinkSpec>),
}

impl Probers {
    /// Takes those of a plan.
    pub fn new(plan: &Plan, data_dir: &Path, clock: &Clock, services: &Arc<Services>) -> Self {
        let mut components = HashMap::new();
        for source in &plan.sources {
            if let Some(endpoint) = source.spec.endpoint() {
                let spec = Spec::Source(Arc::clone(&source.spec));
                let (pipeline, runs_for) = (String::new(), endpoint.runs_for);
                components.insert(source.id.clone(), Component { pipeline, spec, runs_for });
            }
        }
        for pipeline in &plan.pipelines {
            for sink in &pipeline.sinks {
                if let Some(endpoint) = sink.spec.endpoint() {
                    let spec = Spec::Sink(Arc::clone(&sink.spec));
                    let (pipeline, runs_for) = (pipeline.name.clone(), endpoint.runs_for);
                    components.insert(sink.id.clone(), Component { pipeline, spec, runs_for });
                }
            }
        }
        let (clock, services) = (clock.clone(), Arc::clone(services));
        Probers { components, data_dir: data_dir.to_owned(), clock, services }
    }

    /// Makes what tries a connector; `None` when there is nothing to try of it.
    pub fn of(&self, connector: &str) -> Option<Box<dyn Probe>> {
        let runs_for = |component: &Component| {
            let pattern = component.runs_for.as_ref();
            pattern.is_some_and(|pattern| matches(pattern, connector))
        };
        let own = self.components.get_key_value(connector);
        let found = own.or_else(|| self.components.iter().find(|(_, one)| runs_for(one)));
        let ((id, component), connectors) = found.zip(self.services.connectors())?;
        let context = BuildContext {
            id: id.clone(),
            pipeline: component.pipeline.clone(),
            data_dir: self.data_dir.clone(),
            clock: self.clock.clone(),
            services: Arc::clone(&self.services),
        };
        let connector = connectors.of(connector);
        match &component.spec {
            Spec::Source(spec) => spec.probe(&context, &connector),
            Spec::Sink(spec) => spec.probe(&context, &connector),
        }
    }
}
