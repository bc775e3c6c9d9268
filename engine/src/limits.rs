//! The bounds of the engine, each with its reason.

use std::time::Duration;

/// How many blocks a worker takes in one activation: a step stays in the order of a millisecond, so
/// that control and completions are seen soon.
pub const BLOCKS_PER_ACTIVATION: usize = 4;

/// How many records a keyed step tells in one activation: a watermark that jumps may close a
/// million windows, and others want their turn meanwhile.
pub const TOLD_PER_ACTIVATION: usize = 4_096;

/// How many epochs of a pipeline may be under way: what a restart repeats, and what progress must
/// track, is bounded.
pub const EPOCHS_IN_FLIGHT_MAX: usize = 64;

/// An epoch is closed when it holds this many bytes.
pub const EPOCH_BYTES: usize = 8 * 1024 * 1024;

/// An epoch is closed this long after its first block: half of it is the mean cost in
/// acknowledgement latency, and a hundred epochs a second cost less than a percent of a core.
pub const EPOCH_AGE: Duration = Duration::from_millis(10);

/// A sink's buffer is handed over at this size at the latest; larger writes stop paying.
pub const BATCH_BYTES: usize = 256 * 1024;

/// How many batches may wait in a sink's queue, beside one for each worker. With full batches that
/// is 2 MiB: enough to hide a sink's latency, while what waits beyond is bounded by credit.
pub const SINK_QUEUE_BATCHES: usize = 8;

/// How many buffers of one sink a worker keeps open at a time; beyond it they are handed over as
/// they are.
pub const PARTITIONS_OPEN_MAX: usize = 256;

/// What a deficit round robin adds to a source's account each round, in bytes: one full block.
pub const QUANTUM_BYTES: usize = azud_event::limits::BLOCK_BYTES;

/// A segment of dead letters is closed at this size.
pub const DEAD_LETTER_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// What a segment of dead letters holds by group is written down each time so many bytes are added:
/// a list reads no more than that of each pipeline.
pub const DEAD_LETTER_INDEX_BYTES: u64 = 4 * 1024 * 1024;

/// From this part of a pipeline's budget for dead letters on, that is said aloud.
pub const DEAD_LETTER_FILL_ALARM: f64 = 0.8;
