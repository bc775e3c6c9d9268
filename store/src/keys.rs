//! Keys: a master key, which is in no database, wraps the data keys, which seal the rows.
//!
//! ```text
//!   master key (file, environment, vault)
//!        │ wraps
//!   encryption_keys: one active data key, the retired ones
//!        │ seals and opens
//!   connectors, connector_cursors, credentials, oauth_tokens
//! ```
//!
//! So another master key costs a few rows, and not all of them; and another data key may come while
//! the instance runs: a process that meets a row of a key it does not know reads the keys again,
//! and the master key too where that is another by now.
//!
//! A master key that is lost or wrong is an error before anything is written. One is made only
//! where there is no data key yet.

mod keyring;
mod master;

pub use keyring::{Keyring, MasterPlace, Rotated, Unopened};
pub use master::{Master, MasterKey, MasterKind};

use crate::StoreError;
use std::io;
use std::path::PathBuf;

/// Why sealed rows cannot be worked with. It says nothing of any key but which it is.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file of the master key is gone, and rows were sealed under it.
    #[error(
        "the master key {} is not there, and the database was sealed under one ({wanted})",
        .path.display()
    )]
    Lost {
        /// Where it was looked for.
        path: PathBuf,
        /// Which one it was.
        wanted: String,
    },
    /// There is another master key than the one that was sealed with.
    #[error(
        "this master key ({found}) is not the one that the database was sealed under ({wanted})"
    )]
    Wrong {
        /// Which one there is.
        found: String,
        /// Which one it should be.
        wanted: String,
    },
    /// Others may read the file.
    #[error("others may read the master key {}: its mode is {mode:04o}, not 0600", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no key.
    #[error("{place} holds no master key: 32 bytes, or their Base64")]
    Malformed {
        /// Where it was read.
        place: String,
    },
    /// The environment variable is not set.
    #[error("the environment variable {name}, which holds the master key, is not set")]
    Unset {
        /// Its name.
        name: String,
    },
    /// The file cannot be read or made.
    #[error("the master key {} cannot be read", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Who keeps it does not answer.
    #[error("the master key cannot be had: {0}")]
    Unavailable(String),
    /// What the database answers.
    #[error(transparent)]
    Store(#[from] StoreError),
}
