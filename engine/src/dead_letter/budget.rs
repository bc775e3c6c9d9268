//! How much of their budget the letters of a pipeline take, for people and alarms.

use super::folder::Folder;
use crate::limits::DEAD_LETTER_FILL_ALARM;
use azud_plan::telemetry::{DEAD_LETTER_BYTES, DEAD_LETTER_MAX_BYTES};
use metrics::{Gauge, gauge};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// The budget of one pipeline's dead letters.
pub struct Budget {
    pipeline: String,
    folder: Folder,
    max_bytes: u64,
    bytes: Gauge,
    /// Whether it was said that it is nearly used up.
    is_said: AtomicBool,
}

impl Budget {
    /// Makes the gauges of a pipeline whose letters are below `folder`.
    pub fn new(pipeline: &str, folder: PathBuf, max_bytes: u64) -> Self {
        gauge!(DEAD_LETTER_MAX_BYTES, "pipeline" => pipeline.to_owned()).set(max_bytes as f64);
        Budget {
            pipeline: pipeline.to_owned(),
            folder: Folder::new(folder),
            max_bytes,
            bytes: gauge!(DEAD_LETTER_BYTES, "pipeline" => pipeline.to_owned()),
            is_said: AtomicBool::new(false),
        }
    }

    /// Looks at the files: sets the gauge, and says it when the budget is nearly used up. Blocks;
    /// called on a timer.
    pub fn upkeep(&self) {
        // What cannot be read now, the writer will say.
        let Ok(files) = self.folder.files() else { return };
        self.bytes.set(files.bytes as f64);
        let nearly_full = files.bytes as f64 >= DEAD_LETTER_FILL_ALARM * self.max_bytes as f64;
        if nearly_full != self.is_said.swap(nearly_full, Ordering::Relaxed) && nearly_full {
            tracing::error!(
                pipeline = %self.pipeline,
                bytes = files.bytes,
                max_bytes = self.max_bytes,
                "dead letters have nearly used up their budget (`dead_letters.max_bytes`); when \
                 they have, the pipeline waits: see `azud dead-letters list`"
            );
        }
    }
}
