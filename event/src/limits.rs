//! The bounds of what flows, each with its reason.

/// The size at which a source closes a block, in bytes. Larger reads stop paying (a TCP read into
/// 256 KiB already costs the least per byte), and a block is the unit in which credit is given.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// The most records that one block may hold, so that the index of a record fits its heads and its
/// time is bounded.
pub const BLOCK_RECORDS_MAX: usize = 65_536;

/// The largest record a source may let in, in bytes, whatever its own `max_length` says. Positions
/// within a block are 32 bits wide, and one record may take at most this part of a worker's credit.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How deep a JSON document may nest. The same bound as that of VRL's `parse_json`, so that what we
/// accept it accepts: 127, because its parser counts to 128 and refuses at the last step.
pub const JSON_DEPTH_MAX: usize = 127;

/// How many members of one JSON object are looked up one by one; a wider object is held as one
/// value. Linear search beats a map for few fields, and a hostile object of 100,000 members must
/// not cost the square of it.
pub const OBJECT_FIELDS_LAZY_MAX: usize = 128;

/// How much of a raw record a dead letter carries, in bytes; the true length is written beside it.
pub const DEAD_LETTER_RAW_BYTES: usize = 64 * 1024;
