//! The bounds of the engine, each with its reason.

use std::time::Duration;

/// How many blocks a worker takes in one activation: a step stays in the order of a millisecond, so
/// that control and completions are seen soon.
pub const BLOCKS_PER_ACTIVATION: usize = 4;

/// How many records a keyed step tells in one activation: a watermark that jumps may close a
/// million windows, and others want their turn meanwhile.
pub const TOLD_PER_ACTIVATION: usize = 4_096;

/// From how much on a step puts closed windows on disk before a checkpoint, on each worker: what is
/// less is written with the checkpoint sooner than into a file of its own.
pub const ARCHIVED_AT_CHECKPOINT: usize = 4 * 1024 * 1024;

/// From how much on it does so at once. The worker waits for the disk meanwhile: some 100 ms.
pub const CLOSED_IN_MEMORY_MAX: usize = 64 * 1024 * 1024;

/// How long an archive that cannot be written to is left alone.
pub const ARCHIVE_RETRY: Duration = Duration::from_secs(10);

/// How many epochs of a pipeline may be under way: what a restart repeats, and what progress must
/// track, is bounded.
pub const EPOCHS_IN_FLIGHT_MAX: usize = 64;

/// An epoch is closed when it holds this many bytes.
pub const EPOCH_BYTES: usize = 8 * 1024 * 1024;

/// An epoch is closed this long after its first block: half of it is the mean cost in
/// acknowledgement latency, and a hundred epochs a second cost less than a percent of a core.
pub const EPOCH_AGE: Duration = Duration::from_millis(10);

/// An epoch of blocks that waited in the log is closed this long after the first: they are late
/// already, and the more keys are worked on at a time, the less each of them costs.
pub const EPOCH_AGE_BEHIND: Duration = Duration::from_millis(40);

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

/// A sink that makes the pipeline's other sinks wait for so long counts as stalled, though it
/// moves: longer than any burst of one epoch, shorter than anybody's patience with an alert.
pub const PRESSED_FOR: Duration = Duration::from_millis(500);

/// The largest segment of a spill: how much of what is delivered still takes up the disk.
pub const SPILL_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// The smallest segment of a spill, under a small budget.
pub const SPILL_SEGMENT_BYTES_MIN: u64 = 256 * 1024;

/// How many bytes are read from a spill at once, and wait in memory for the sink.
pub const SPILL_READ_BYTES: usize = 1024 * 1024;

/// How often is written down how far a spill is delivered: what a crash repeats at most.
pub const SPILL_MARK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a spill that cannot be opened, read or tidied up is left alone.
pub const SPILL_RETRY: Duration = Duration::from_secs(1);

/// For how long a process that was told to stop delivers what is in a spill: what is left comes
/// after the next start, and whoever stops it waits.
pub const SPILL_STOP: Duration = Duration::from_secs(10);

/// How many batches may have been given to a sink before the oldest of them is delivered: what is
/// delivered behind one that is not must be remembered.
pub const HANDED_MAX: usize = 16 * 1024;

/// How far apart two words about the same sink's stalling are at least.
pub const STALL_TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// How long what comes for a receiver that keeps its progress is gathered before it is put on disk:
/// a tenth of the syncs that each epoch would need, and nobody notices.
pub const SORTED_INTERVAL: Duration = Duration::from_millis(100);

/// How often such a receiver is told how far it has everything while nothing comes for it.
pub const COMPLETE_TOLD_INTERVAL: Duration = Duration::from_secs(10);
