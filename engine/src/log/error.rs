//! What can go wrong with the log.

use super::LogPosition;
use std::io;

/// Why the log could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file could not be made, read, written or removed.
    #[error("cannot {action} `{name}` of the log")]
    Io {
        /// What was tried: `write`, `sync`, ….
        action: &'static str,
        /// The file, from the folder of the log.
        name: String,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// A newer version of the program wrote this.
    #[error("`{name}` has version {version} of the format, this program reads up to {known}")]
    TooNew {
        /// The file, or the entry's place in it.
        name: String,
        /// The version that was found.
        version: u16,
        /// The highest version that this program reads.
        known: u16,
    },
    /// Another process has this log open.
    #[error("the log is open in another process")]
    Locked,
    /// An entry is larger than one may be.
    #[error("an entry has {bytes} bytes, above the limit of {max}")]
    TooLarge {
        /// How many bytes its payload has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// What stood at a position was let go.
    #[error("position {position} was let go, the log begins at {first}")]
    Gone {
        /// What was asked for.
        position: LogPosition,
        /// Where the log begins.
        first: LogPosition,
    },
    /// Nothing was ever written at a position.
    #[error("position {position} is behind the end of the log at {end}")]
    Ahead {
        /// What was asked for.
        position: LogPosition,
        /// Where the log ends.
        end: LogPosition,
    },
    /// There is an entry around a position, but none begins there.
    #[error("no entry begins at position {position}")]
    NoEntry {
        /// What was asked for.
        position: LogPosition,
    },
    /// The log was closed while there was no room for what it had taken.
    #[error("the log ended with {bytes} bytes that found no room on the disk")]
    Unwritten {
        /// How many bytes are not durable.
        bytes: u64,
    },
    /// The log is closed, or stopped at an error that was told before.
    #[error("the log takes no more entries")]
    Stopped,
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// Whose doing an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Of those who run the program: two of them on one folder, an older version on newer data.
    Author,
    /// Of the disk or the operating system.
    Outside,
    /// Ours.
    Us,
}

impl LogError {
    /// Tells whose doing this is.
    pub fn origin(&self) -> Origin {
        match self {
            LogError::TooNew { .. } | LogError::Locked => Origin::Author,
            LogError::Io { .. } | LogError::Thread(_) | LogError::Unwritten { .. } => {
                Origin::Outside
            }
            LogError::TooLarge { .. }
            | LogError::Gone { .. }
            | LogError::Ahead { .. }
            | LogError::NoEntry { .. }
            | LogError::Stopped => Origin::Us,
        }
    }

    /// Tells whether trying the same again may help.
    pub fn retry_helps(&self) -> bool {
        match self {
            LogError::Io { source, .. } => no_room(source),
            LogError::Locked | LogError::Thread(_) => true,
            _ => false,
        }
    }
}

/// Whether an error means that the disk, or our part of it, is used up.
pub(super) fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Names what was tried, on which file.
pub(super) trait Trying<T> {
    fn trying(self, action: &'static str, name: &str) -> Result<T, LogError>;
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, action: &'static str, name: &str) -> Result<T, LogError> {
        self.map_err(|source| LogError::Io { action, name: name.to_owned(), source })
    }
}
