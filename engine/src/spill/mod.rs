//! What becomes of a sink that does not take what it is given, so that it stops nobody else.
//!
//! ```text
//!  egress ──▶ inbox ─────────────(memory)──────────────▶ queue ──▶ sink
//!               │                                          ▲         │
//!               └─ stalled ─▶ [ spill: a log of its own ] ─┘         │
//!                                   │ durable                        │ confirmed
//!                                   ▼                                ▼
//!                     the epoch waits no more            delivered, remembered by a mark
//! ```
//!
//! As long as a sink takes what it is given, batches pass through memory and nothing is written.
//! When a record has waited for `stalled_after`, or the sink holds so much of the pipeline's credit
//! that other sinks must wait, all that waits is appended to the sink's spill, also what the sink
//! has in its hands. A batch that is on disk there counts as confirmed: its credit is given
//! back, and a checkpoint need not wait for it. From then on everything goes behind the spill until
//! it is drained, so order is kept.
//!
//! # What a restart finds
//!
//! A spill is truncated to the checkpoint that a run goes on from: batches of later epochs are made
//! again by repeating these epochs. Nothing is cut for that, because epochs of several workers
//! stand interleaved; the checkpoint says what is owed, in stretches ([`Ledger`]), and what is not
//! owed is passed over. How far the spill was delivered says its mark, which is written every
//! second and at an end in good order; a crash repeats what was delivered behind it.
//!
//! # Invariants
//!
//! - A batch is confirmed to its epoch when its sink has it, or when it is durable in the spill;
//!   with `drop`, when it was counted as dropped. Never before.
//! - Batches are given to a sink in the order of the inbox, across restarts.
//! - What waits in memory is charged to the credit of the pipeline, but for what the sink has in
//!   its hands, which is bounded by its queue and its groups.
//! - What is refused behind a confirmation becomes a dead letter all the same: it counts as
//!   delivered when the letter is on disk.
//!
//! # Rejected
//!
//! A file format of its own: the log has torn tails, damage, full disks and two processes behind it
//! already. An index in memory: a small batch would cost as much there as on disk. Writing always,
//! as Vector's disk buffers do: every record would be written twice in the common case.

mod handed;
mod judge;
mod ledger;
mod mark;
mod meter;
mod queue;
mod recover;
mod stage;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod follow_tests;
#[cfg(test)]
mod stage_tests;

pub use ledger::{Ledger, SpillState};
pub use meter::{SinkState, StallMeter};
pub use recover::{Folders, Kept, Spills, recover};
pub use stage::{Follow, Stage, StageParts};

use crate::log::{LogError, LogPosition, Observer, Phase};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::sync::Notify;

/// Wakes the stage of a sink: when the sink has confirmed something, and when its spill has news.
pub struct Bell {
    /// What is rung.
    pub wake: Notify,
    ledger: Arc<Ledger>,
    no_room: AtomicBool,
}

impl Bell {
    /// Makes the bell of the spill with this account.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Bell { wake: Notify::new(), ledger, no_room: AtomicBool::new(false) }
    }

    /// Whether the disk has no room for what the spill has taken.
    pub fn no_room(&self) -> bool {
        self.no_room.load(SeqCst)
    }
}

impl Observer for Bell {
    fn durable(&self, up_to: LogPosition) {
        self.ledger.durable(up_to);
        self.wake.notify_one();
    }

    fn room(&self) {
        self.wake.notify_one();
    }

    fn phase(&self, phase: Phase) {
        self.no_room.store(phase == Phase::Full, SeqCst);
        self.wake.notify_one();
    }

    /// Ends the process, as a failed sync of the log does: what was told durable is there at the
    /// next start, and nothing else may be told.
    fn fatal(&self, error: LogError) {
        let sink = self.ledger.sink();
        tracing::error!("the spill of `{sink}` has failed: {error}");
        std::process::abort();
    }
}
