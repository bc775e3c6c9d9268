//! The bounds of sinks, each with its reason.

use std::time::Duration;

/// The first pause after a failure. Shorter ones only repeat the failure in the log of the other
/// side.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause between two attempts: a disk that was made room on is seen within half a
/// minute.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How many files of one `file` sink are open at a time: a quarter of the usual limit of a process.
/// Beyond it the one that was written least recently is closed, and opened again when it is needed.
pub const OPEN_FILES_MAX: usize = 256;

/// How many batches are written in one go, beside the bytes below: what a thread switch costs is
/// shared.
pub const GROUP_BATCHES_MAX: usize = 64;

/// How many bytes are written in one go. With those in the queue it bounds what a sink holds.
pub const GROUP_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many alerts go into one transaction, roughly: a batch is not divided. Enough to share the
/// cost of making it durable, few enough that readers and other sinks wait for milliseconds.
pub const ALERTS_PER_TRANSACTION: usize = 500;

/// How long alerts wait for others to share a transaction with.
pub const ALERTS_LINGER: Duration = Duration::from_millis(200);

/// How often a database is told how far everything is there while there is nothing else to write,
/// and asked whether it still is.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// The longest name of a file or folder, in bytes: what Linux's file systems allow. A name that no
/// disk can have would be tried for ever, so its record is set aside instead.
pub const SEGMENT_BYTES_MAX: usize = 255;

/// The longest path, in bytes: `PATH_MAX` of Linux without the zero at its end.
pub const PATH_BYTES_MAX: usize = 4095;

/// How many batches one request over the network may gather: each is held until it is confirmed.
pub const REQUEST_BATCHES_MAX: usize = 4096;

/// How much of an answer is read: enough to use the connection again and to say what was wrong.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How much of an answer is told, in bytes.
pub const ANSWER_TOLD_BYTES_MAX: usize = 512;

/// The shortest pause between two looks at a receiver that failed last, while nothing is left to
/// send.
pub const LOOK_PAUSE_MIN: Duration = Duration::from_secs(1);

/// How long connecting may take, TLS included; within the time of the request.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
