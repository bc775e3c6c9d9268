//! The worker threads: each runs its part of every pipeline until all have ended.

use super::{Part, build};
use std::sync::Mutex;
use timely::CommunicationConfig;
use timely::WorkerConfig;
use timely::execute::Config;

/// The prefix of the names of worker threads, by which the panic hook knows them.
pub const THREAD_PREFIX: &str = "timely:";

/// Runs `threads` workers until every pipeline has ended; `parts` are the pipelines for each
/// worker.
///
/// # Errors
/// A sentence when threads could not be started, or one ended badly.
pub fn run(threads: usize, parts: Vec<Vec<Part>>) -> Result<(), String> {
    let parts: Vec<_> = parts.into_iter().map(|parts| Mutex::new(Some(parts))).collect();
    let config = Config {
        communication: if threads == 1 {
            CommunicationConfig::Thread
        } else {
            CommunicationConfig::Process(threads)
        },
        worker: WorkerConfig::default(),
    };
    let guards = timely::execute(config, move |worker| {
        let mine = parts[worker.index()].lock().ok().and_then(|mut parts| parts.take());
        for part in mine.unwrap_or_default() {
            build(worker, part);
        }
        while worker.has_dataflows() {
            worker.step_or_park(None);
        }
    })?;
    guards.join().into_iter().collect::<Result<Vec<()>, String>>().map(drop)
}
