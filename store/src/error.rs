//! What can go wrong with the store, told apart by whose it is and whether trying again helps.

use std::io;
use std::path::PathBuf;

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the database open for writing.
    #[error("the database {} is in use by another azud{}", .path.display(), process_of(*.process))]
    Locked {
        /// The database.
        path: PathBuf,
        /// The process that holds it, when it could be told.
        process: Option<u32>,
    },
    /// There is no database; the first run of an instance makes it.
    #[error("there is no database at {}", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
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
    /// The file may not be written, or was opened for reading.
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
    #[error("column `{column}` of alert {id} cannot be read")]
    Column {
        /// The alert.
        id: String,
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
            | StoreError::ReadOnly
            | StoreError::File { .. } => true,
            StoreError::Locked { .. }
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

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return StoreError::Busy(error);
        }
        let code = error.as_database_error().and_then(|error| error.code());
        let Some(code) = code.and_then(|code| code.parse::<u32>().ok()) else {
            return StoreError::Database(error);
        };
        // The lower byte is the class of SQLite's result code, the rest says more of the same.
        // https://sqlite.org/rescode.html
        match code & 0xff {
            5 | 6 => StoreError::Busy(error),
            13 => StoreError::DiskFull(error),
            11 | 26 => StoreError::Corrupt(error),
            3 | 8 => StoreError::ReadOnly,
            10 | 14 => StoreError::Io(error),
            _ => StoreError::Database(error),
        }
    }
}

fn process_of(process: Option<u32>) -> String {
    process.map(|id| format!(" (process {id})")).unwrap_or_default()
}
