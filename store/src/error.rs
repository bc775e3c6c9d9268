//! What can go wrong with the store, told apart by whose it is and whether trying again helps.

use crate::Location;
use azud_event::time::EventTime;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the database open for writing.
    #[error("the database {location} is in use by another azud{}", process_of(*.process))]
    Locked {
        /// The database.
        location: Location,
        /// The process that holds it, when it could be told.
        process: Option<u32>,
    },
    /// There is no database; the first run of an instance makes it.
    #[error("there is no database at {location}")]
    Missing {
        /// Where it was looked for.
        location: Location,
    },
    /// The database was made by a later version of this program.
    #[error("the database was made by a newer azud: its schema is {found}, this one knows {known}")]
    NewerSchema {
        /// The newest migration in the database.
        found: i64,
        /// The newest migration that this program has.
        known: i64,
    },
    /// The database waits for migrations, which only a writer applies.
    #[error(
        "the database was made by an older azud: its schema is {found}, not {known}; run it once"
    )]
    OlderSchema {
        /// The newest migration in the database.
        found: i64,
        /// The newest migration that this program has.
        known: i64,
    },
    /// A migration could not be applied, or is not the one that was applied.
    #[error("the schema of the database cannot be brought up to date")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// Something else holds the database for longer than the busy timeout.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// There is no room for the database to grow.
    #[error("the disk of the database is full")]
    DiskFull(#[source] sqlx::Error),
    /// The file is damaged, or no database.
    #[error("the database is damaged or no database; restore it from a backup")]
    Corrupt(#[source] sqlx::Error),
    /// The server of the database is not there, not yet, or not any more.
    #[error("the database does not answer")]
    Unreachable(#[source] sqlx::Error),
    /// The server of the database did not answer in time.
    #[error("the database gave no answer within {} s", .patience.as_secs())]
    Silent {
        /// How long it was waited for.
        patience: Duration,
    },
    /// The server of the database knows neither user nor database, or does not allow it.
    #[error("the database does not let us in")]
    Refused(#[source] sqlx::Error),
    /// Another process has taken over the instance: this one was taken for dead.
    #[error("another azud has taken over the database; this one no longer writes")]
    Replaced,
    /// The database is behind what was written to it: it was restored from an older copy.
    #[error("the database went back: a sink has progress to epoch {epoch:?} only")]
    WentBack {
        /// Up to where the sink has everything in it; `None` when it has nothing.
        epoch: Option<u64>,
        /// When that was written.
        at: Option<EventTime>,
    },
    /// There is one of that name.
    #[error("there is a `{name}` already")]
    Taken {
        /// The name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// What is sealed does not open.
    #[error("what is kept of `{name}` does not open: {why}")]
    Sealed {
        /// The name of the row.
        name: String,
        /// Why.
        why: String,
    },
    /// Somebody else has changed it meanwhile.
    #[error("somebody else has changed it meanwhile; look at it again")]
    Changed,
    /// The file may not be written, or was opened for reading; or the server is a standby.
    #[error("the database cannot be written")]
    ReadOnly,
    /// The disk or the file system failed.
    #[error("the database cannot be reached")]
    Io(#[source] sqlx::Error),
    /// A file beside the database could not be opened.
    #[error("{} cannot be opened", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// A value in the database is not of the form it was written in.
    #[error("column `{column}` cannot be read")]
    Column {
        /// The column.
        column: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// Whatever else the database answers.
    #[error("the database refuses")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing the data: the outside is in
    /// trouble, not the request.
    pub fn retry_helps(&self) -> bool {
        match self {
            StoreError::Busy(_)
            | StoreError::DiskFull(_)
            | StoreError::Io(_)
            | StoreError::Unreachable(_)
            | StoreError::Silent { .. }
            | StoreError::Refused(_)
            | StoreError::ReadOnly
            | StoreError::File { .. } => true,
            StoreError::Locked { .. }
            | StoreError::Changed
            | StoreError::Taken { .. }
            | StoreError::Unknown { .. }
            | StoreError::Sealed { .. }
            | StoreError::Replaced
            | StoreError::WentBack { .. }
            | StoreError::Missing { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::OlderSchema { .. }
            | StoreError::Migration(_)
            | StoreError::Corrupt(_)
            | StoreError::Random(_)
            | StoreError::Column { .. }
            | StoreError::Database(_) => false,
        }
    }
}

fn process_of(process: Option<u32>) -> String {
    process.map(|id| format!(" (process {id})")).unwrap_or_default()
}
