//! What the tests of sinks share: a queue, batches that tell when they are confirmed, records, checked tables.

use azud_plan::component::{Batch, Batches, Confirmation};
use futures_channel::mpsc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how often a batch was confirmed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confirmed(Arc<AtomicUsize>);

impl Confirmed {
    /// How often.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Makes a queue into a sink.
pub(crate) fn queue() -> (mpsc::Sender<Batch>, Batches) {
    mpsc::channel(1024)
}

/// Makes a batch of the lines of `text`.
pub(crate) fn batch(partition: &str, text: &str) -> (Batch, Confirmed) {
    let confirmed = Confirmed::default();
    let batch = Batch {
        bytes: text.as_bytes().to_vec(),
        records: text.lines().count(),
        partition: Arc::from(partition),
        confirmation: Confirmation::new({
            let confirmed = confirmed.clone();
            move || {
                confirmed.0.fetch_add(1, Ordering::SeqCst);
            }
        }),
    };
    (batch, confirmed)
}
