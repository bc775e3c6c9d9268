//! The bounds of the log, each with its reason.

use std::time::Duration;

/// A segment is closed when the next entry would bring it above this size, in bytes. Cutting works
/// by segments, so that this is what a restart reads in vain at most; and a quarter of an hour of a
/// busy source is still one file.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// A segment that holds something is closed at this age, so that a trickle is compressed and let go
/// within its retention too.
pub const SEGMENT_AGE: Duration = Duration::from_secs(60 * 60);

/// The most bytes that the payload of one entry may have: twice the largest record, so that a block
/// with one always fits. It bounds what a reader holds.
pub const ENTRY_BYTES_MAX: usize = 2 * azud_event::limits::RECORD_BYTES_MAX;

/// How many bytes may be appended and not yet durable before an append is refused. A commit takes
/// about 15 ms, and in that time a fast disk writes about this much; more would only be memory.
pub const WAITING_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How far positions jump when a log is opened: above all that an earlier process may have placed
/// without its being durable, so that no position ever names two entries.
pub const POSITION_GAP: u64 = 64 * 1024 * 1024;

// The last entry may be larger than the room that was left.
const _: () = assert!(POSITION_GAP > WAITING_BYTES_MAX + ENTRY_BYTES_MAX as u64 + 4096);

/// Commits begin at least this far apart while there is something to commit: about twice what an
/// `fdatasync` takes on a common disk, so that half of the time is left for writing.
pub const COMMIT_PACE: Duration = Duration::from_millis(10);

/// A commit begins early when this many bytes are written and not yet durable.
pub const COMMIT_BYTES: u64 = WAITING_BYTES_MAX / 2;

/// How many bytes a reader reads at once, if no single entry is larger; larger reads stop paying.
/// Four full blocks with their heads: of a fifth that is cut off, all would be read again.
pub const READ_BYTES: usize = 4 * (azud_event::limits::BLOCK_BYTES + 4 * 1024);

/// How many buffers of earlier reads a reader keeps to read into again. Blocks are worked through
/// in order and at once, so those before the last are mostly free.
pub const EARLIER_CHUNKS_MAX: usize = 2;

/// How many bytes are read at once to walk from header to header.
pub const WALK_BYTES: usize = 4 * 1024;

/// A packed frame is closed at this many bytes before compression: what one damaged byte can lose
/// of a packed segment, and what a random read has to unpack.
pub const FRAME_BYTES: usize = 1024 * 1024;

/// How many segments one call of maintenance packs, so that it ends within seconds.
pub const SEGMENTS_PACKED_PER_CALL: usize = 4;

/// The level of zstd: 3 packs logs about ten to one at some hundred MB/s; higher levels cost more
/// than they save.
pub const PACK_LEVEL: i32 = 3;

/// The budgets of sources are kept for stretches of this many bytes; what is released within one
/// is counted when all of it is.
pub const ACCOUNT_BYTES: u64 = 1024 * 1024;

/// The size of the reserve file: room for a checkpoint when the disk is full.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// How many bytes of damaged entries are kept in `damaged/`. Beyond it they are counted only: a
/// dying disk must not fill itself.
pub const DAMAGED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How many damaged stretches are remembered and listed; beyond it they are counted only.
pub const DAMAGED_LISTED_MAX: usize = 1024;

/// The first and the longest wait of a writer that has no room on the disk.
pub const FULL_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// From this ratio on, the log is nearly full and says so.
pub const FILL_ALARM: f64 = 0.8;
