//! The bounds of what sources take in, each with its reason.

use azud_event::limits::BLOCK_BYTES;
use std::time::Duration;

/// The first read of a connection, in bytes: enough for a few lines, little enough for thousands of
/// quiet senders.
pub(crate) const READ_BYTES_MIN: usize = 16 * 1024;

/// The largest read of a busy connection, in bytes: one block.
pub(crate) const READ_BYTES_MAX: usize = BLOCK_BYTES;

/// How many datagrams one call of the kernel may give. More did not pay in measurements.
pub(crate) const DATAGRAMS_MAX: usize = 64;

/// The room for one datagram, in bytes: more than UDP can carry, so that none is ever cut by us.
pub(crate) const DATAGRAM_BYTES: usize = 64 * 1024;

/// How many senders one block of datagrams may name; the table of a block is small beside its
/// records.
pub(crate) const PEERS_MAX: usize = 4_096;

/// How long a datagram may wait in a block that is not full while more keep coming.
pub(crate) const DATAGRAM_WAIT: Duration = Duration::from_millis(10);

/// How long a busy socket is left alone between two reads, so that blocks do not hold one datagram
/// each.
pub(crate) const DATAGRAM_LINGER: Duration = Duration::from_millis(1);

/// How often the kernel is asked how many datagrams it dropped.
pub(crate) const DROPS_EVERY: Duration = Duration::from_secs(1);

/// How long nothing is accepted after the system refused to (out of file descriptors, say).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the same complaint about remote clients may be logged; a flood of bad clients must not
/// fill the disk.
pub(crate) const COMPLAINT_EVERY: Duration = Duration::from_secs(10);

/// For how long of event time a recording (a file, standard input) is waited for that is behind
/// another or pauses: it may stop anywhere, and what it holds is old anyway.
pub(crate) const RECORDING_MAX_HOLD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many connections may wait to be accepted; the kernel's own bound (`somaxconn`) applies, too.
pub(crate) const BACKLOG: i32 = 1_024;

/// How many files one source may have open.
pub(crate) const FILES_MAX: usize = 10_000;

/// How many positions of files are remembered; those that were not seen for longest are forgotten.
pub(crate) const CHECKPOINTS_MAX: usize = 20_000;

/// How many blocks are read from files before they are handed over.
pub(crate) const FILE_BLOCKS: usize = 8;

/// The shortest and the longest pause of a source that found nothing new in its files.
pub(crate) const FILE_PAUSE: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_millis(250));

/// How often positions of files are written, when they changed.
pub(crate) const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// How long a source of files waits on shutdown for what it gave to be delivered, so that a restart
/// reads nothing twice.
pub(crate) const SETTLE_WAIT: Duration = Duration::from_secs(2);

/// How many changes of status are read at a time: each is a record of some hundred bytes.
pub(crate) const STATUS_CHANGES_MAX: u32 = 256;

/// The first and the longest pause before the history of statuses is asked for again when the
/// database did not answer.
pub(crate) const HISTORY_PAUSE: (Duration, Duration) =
    (Duration::from_millis(200), Duration::from_secs(10));

/// How long the end of a poller waits for a refresh token that is being exchanged: as long as token
/// endpoints take when they are slow, and shorter than an instance waits for its sources.
pub(crate) const EXCHANGE_MAX: Duration = Duration::from_secs(10);

/// How often a poll of many pages tells that it works: a status that is minutes old would be wrong.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// How many times over an answer may be packed: gzip within a ZIP archive within gzip. An archive
/// may hold itself, and would be unpacked for ever.
pub(crate) const ANSWER_PACKED_MAX: usize = 3;

/// How many records an answer may have; each costs more memory than its bytes.
pub(crate) const ANSWER_RECORDS_MAX: usize = 1_000_000;

/// How many times as large as `max_response_bytes` the records of an answer may be together: names
/// of columns and `content.keep` stand in each of them.
pub(crate) const ANSWER_GROWTH_MAX: usize = 8;

/// How deep arrays within arrays are gone through on the way to records.
pub(crate) const ANSWER_ARRAYS_MAX: usize = 100;

/// How far ahead of the clocks of both sides the time of a record is believed. Beyond it the record
/// says nothing of how far the other side was asked.
pub(crate) const RECORD_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);
