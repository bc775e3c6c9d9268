//! The only place that knows every room: the registry of components, and how an instance is put
//! together.

use azud_engine::Built;
use azud_event::clock::Clock;
use azud_plan::component::{BuildContext, BuildError, Services, SinkTask, SourceTask};
use azud_plan::plan::Plan;
use azud_plan::registry::Registry;
use std::path::Path;
use std::sync::Arc;

/// Every component of this program.
pub const REGISTRY: Registry = Registry {
    sources: azud_sources::SOURCES,
    transforms: azud_transforms::TRANSFORMS,
    sinks: azud_sinks::SINKS,
};

/// A component that could not be built.
#[derive(Debug)]
pub struct NotBuilt {
    /// Its id.
    pub id: String,
    /// Why.
    pub error: BuildError,
}

/// Builds every component of a plan: opens sockets and files, and starts nothing.
///
/// # Errors
/// Everything that could not be built.
pub fn build(
    plan: &Plan,
    data_dir: &Path,
    clock: &Clock,
    services: &Arc<Services>,
) -> Result<Built, Vec<NotBuilt>> {
    let context = |id: &str, pipeline: &str| BuildContext {
        id: id.to_owned(),
        pipeline: pipeline.to_owned(),
        data_dir: data_dir.to_owned(),
        clock: clock.clone(),
        services: Arc::clone(services),
    };
    let mut failed = Vec::new();
    let mut sources: Vec<Box<dyn SourceTask>> = Vec::new();
    for source in &plan.sources {
        match source.spec.build(&context(&source.id, "")) {
            Ok(task) => sources.push(task),
            Err(error) => failed.push(NotBuilt { id: source.id.clone(), error }),
        }
    }
    let mut sinks: Vec<Vec<Box<dyn SinkTask>>> = Vec::new();
    for pipeline in &plan.pipelines {
        let mut tasks = Vec::new();
        for sink in &pipeline.sinks {
            match sink.spec.build(&context(&sink.id, &pipeline.name)) {
                Ok(task) => tasks.push(task),
                Err(error) => failed.push(NotBuilt { id: sink.id.clone(), error }),
            }
        }
        sinks.push(tasks);
    }
    if failed.is_empty() { Ok(Built { sources, sinks }) } else { Err(failed) }
}
