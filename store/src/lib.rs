//! What survives in SQL: the instance, its rules, and the alerts they raised.
//!
//! The only room that says `sqlx`. [`Store`] is what the others see, and says nothing of a
//! database's own ways. There are two: a SQLite file beside the data, and a PostgreSQL server. All
//! statements stand in `statements/`, once for both (`sql.rs` says how); what a delivered alert
//! does to its row, and a delivery to the progress of its sink, is decided in plain code
//! (`alerts/merge.rs`, `progress.rs`).
//!
//! One process writes the state of rules and connectors, held by a lock, through one connection; so
//! a transaction of it seldom waits. Beside it commands write what people change, without that lock
//! (`administer.rs`), in short transactions. Any number of processes read meanwhile.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod administer;
mod alerts;
mod connectors;
mod credentials;
mod dead_letters;
mod error;
mod keys;
mod location;
mod lock;
mod postgres;
mod progress;
mod retention;
mod rules;
mod schema;
mod seal;
mod sql;
mod sqlite;
mod statements;
mod uses;

#[cfg(test)]
mod testing;

pub use access::{AuditRow, Deed, Role, TokenRow};
pub use alerts::{
    AlertCursor, AlertFilter, AlertRevision, AlertRow, Applied, Delivery, Unstorable, check_alert,
};
pub use connectors::{
    ConnectorFilter, ConnectorRow, Declared, HistoryRow, NewConnector, Origin, Registry, Status,
    StoredCursor, Transition,
};
pub use credentials::{CredentialKind, CredentialRow, NewCredential};
pub use dead_letters::{DeadLetters, LettersEnd, SAMPLE_BYTES_MAX};
pub use error::StoreError;
pub use keys::{KeyError, Keyring, Master, MasterKey, MasterKind, MasterPlace, Rotated, Unopened};
pub use location::{Location, LocationError};
pub use progress::{Progress, Reached};
pub use retention::Retained;
pub use rules::Rule;

use azud_event::clock::Clock;
use azud_event::time::EventTime;
use location::Place;
use lock::WriterLock;
use sql::Pool;
use std::time::Duration;
use uuid::Uuid;

/// The database of an instance.
#[derive(Debug)]
pub struct Store {
    readers: Pool,
    writer: Option<Writer>,
    clock: Clock,
}

/// Who opens a database for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The instance, by the 16 bytes that its data folder was given when it was made.
    pub folder: [u8; 16],
    /// Whether the state of its rules outlives the process, because there is a log: its epochs and
    /// the revisions of its alerts go on where they were. Otherwise each opening is a new
    /// incarnation.
    pub resumes: bool,
}

/// Who writes.
#[derive(Debug)]
struct Writer {
    /// One connection.
    pool: Pool,
    instance: Uuid,
    incarnation: Uuid,
    /// This opening. The last one is the only one that may write.
    process: Uuid,
    // Dropped last: the lock of a file outlives the connection. A server holds its own.
    _lock: Option<WriterLock>,
}

impl Store {
    /// Opens the database for reading and writing, and brings its schema up to date; a file is made
    /// when there is none. Who had it open before can write no more, and has no lease any more.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process writes it, [`StoreError::NewerSchema`] when a
    /// later version made it, [`StoreError::Unreachable`] or [`StoreError::Refused`] of a server;
    /// else what the disk or the file answers.
    pub async fn open(location: &Location, identity: Identity) -> Result<Self, StoreError> {
        Store::open_at(location, identity, Clock::system()).await
    }

    /// As [`Store::open`], with the times of rows by `clock`.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_at(
        location: &Location,
        identity: Identity,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let (pool, lock) = match &location.0 {
            Place::File(path) => {
                let (pool, lock) = sqlite::open(path).await?;
                (pool, Some(lock))
            }
            Place::Server(options) => (postgres::open(options, location).await?, None),
        };
        let begun = statements::begin(&pool, identity, clock.now()).await?;
        let readers = match &location.0 {
            Place::File(path) => sqlite::readers(path).await?,
            Place::Server(options) => postgres::readers(options).await?,
        };
        let statements::Begun { instance, incarnation, process } = begun;
        let writer = Writer { pool, instance, incarnation, process, _lock: lock };
        Ok(Store { readers, writer: Some(writer), clock })
    }

    /// Opens the database for reading, also while another process writes it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, [`StoreError::OlderSchema`] or
    /// [`StoreError::NewerSchema`] when another version made it; else what the database answers.
    pub async fn read_only(location: &Location) -> Result<Self, StoreError> {
        let readers = match &location.0 {
            Place::File(path) => sqlite::read(path).await?,
            Place::Server(options) => postgres::read(options).await?,
        };
        Ok(Store { readers, writer: None, clock: Clock::system() })
    }

    /// Opens the database for reading and leaves no trace; `None` when there is none yet, or one of
    /// an older version, which [`Store::open`] would make or bring up to date.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a later version made it; else what the database answers.
    pub async fn look(location: &Location) -> Result<Option<Self>, StoreError> {
        let readers = match &location.0 {
            Place::File(path) => sqlite::look(path).await,
            Place::Server(options) => postgres::read(options).await,
        };
        match readers {
            Ok(readers) => Ok(Some(Store { readers, writer: None, clock: Clock::system() })),
            Err(StoreError::Missing { .. } | StoreError::OlderSchema { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes revisions of alerts and the progress of their sink, all or nothing.
    ///
    /// A row follows the greatest revision of its alert, so the same delivery may be repeated, also
    /// in another order: nothing is lost, nothing is doubled. An alert that another incarnation
    /// raised is continued: revisions and events are added up, and its span and severity only grow.
    /// What people wrote (`triage`, `assignee`, `verdict`) is never touched.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::DiskFull`], [`StoreError::Unreachable`] and the like;
    /// nothing is written then, or all of it when only the answer to the commit was lost.
    /// [`StoreError::Replaced`] when another process has taken over, [`StoreError::WentBack`] when
    /// less is stored than the delivery expects; nothing is written then.
    pub async fn apply(&self, delivery: &Delivery<'_>) -> Result<Applied, StoreError> {
        statements::apply(self.writer()?, delivery, self.clock.now()).await
    }

    /// Gives how far a sink is, `None` when it never delivered anything.
    ///
    /// # Errors
    /// What the database answers; [`StoreError::ReadOnly`] when it was opened for reading.
    pub async fn progress(&self, sink_id: &str) -> Result<Option<Progress>, StoreError> {
        let instance = self.writer()?.instance;
        statements::progress(&self.readers, sink_id, instance).await
    }

    /// Gives the incarnation that numbers the epochs of what is written.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`] when it was opened for reading.
    pub fn incarnation(&self) -> Result<[u8; 16], StoreError> {
        Ok(*self.writer()?.incarnation.as_bytes())
    }

    /// Makes `rules` the rules of the instance: those that are not among them any more are marked
    /// as removed.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub async fn load_rules(&self, rules: &[Rule]) -> Result<(), StoreError> {
        statements::load_rules(self.writer()?, rules, self.clock.now()).await
    }

    /// Writes groups of dead letters as they are in the files, and ends those that are `gone`. The
    /// same may be written again.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub async fn keep_dead_letters(
        &self,
        held: &[DeadLetters],
        gone: &[LettersEnd],
    ) -> Result<(), StoreError> {
        let (writer, now) = (self.writer()?, self.clock.now());
        statements::keep_dead_letters(writer, held, gone, now).await
    }

    /// Lists the ids of the groups of dead letters that are held, of this life of the data folder.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn held_dead_letters(
        &self,
        incarnation: [u8; 16],
    ) -> Result<Vec<String>, StoreError> {
        statements::held_dead_letters(&self.readers, incarnation).await
    }

    /// Tells the database that this instance is here, and finds out whether the database is.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub async fn check(&self) -> Result<(), StoreError> {
        statements::check(self.writer()?, self.clock.now()).await
    }

    /// Gives how long ago the instance last said that it is here, which it does every few seconds
    /// while it runs; `None` when it never did.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn unseen_for(&self) -> Result<Option<Duration>, StoreError> {
        let seen = statements::last_seen(&self.readers).await?;
        Ok(seen.map(|seen| self.clock.now().since(seen)))
    }

    /// Lists alerts, the latest revised first.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn list(&self, filter: &AlertFilter) -> Result<Vec<AlertRow>, StoreError> {
        statements::list(&self.readers, filter).await
    }

    /// Gives one alert.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn get(&self, id: &str) -> Result<Option<AlertRow>, StoreError> {
        statements::get(&self.readers, id).await
    }

    /// Gives the history of an alert, the first revision first.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn revisions(&self, id: &str) -> Result<Vec<AlertRevision>, StoreError> {
        statements::revisions(&self.readers, id).await
    }

    /// Lists connectors by name.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn connectors(
        &self,
        filter: &ConnectorFilter,
    ) -> Result<Vec<ConnectorRow>, StoreError> {
        statements::connectors(&self.readers, filter).await
    }

    /// Gives a connector by its name or id.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn connector(&self, name: &str) -> Result<Option<ConnectorRow>, StoreError> {
        statements::connector(&self.readers, name).await
    }

    /// Adds a connector that no document has, its configuration sealed.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when there is one of that name; else what the database answers.
    pub async fn add_connector(
        &self,
        keyring: &Keyring,
        new: &NewConnector,
    ) -> Result<(), StoreError> {
        let (id, now) = (new_uuid(self.clock.now())?, self.clock.now());
        let row = id.to_string();
        let place = seal::Place { table: "connectors", row: &row, field: "configuration" };
        let configuration = keyring.seal(place, new.configuration.as_bytes())?;
        statements::add_connector(self.writer()?, id, new, &configuration, now).await
    }

    /// Switches a connector on or off; gives whether that changed something. `message` says who
    /// did.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when the row is another one by now; else what the database answers.
    pub async fn enable_connector(
        &self,
        connector: &ConnectorRow,
        enabled: bool,
        message: &str,
    ) -> Result<bool, StoreError> {
        let (writer, now) = (self.writer()?, self.clock.now());
        statements::enable_connector(writer, connector, enabled, message, now).await
    }

    /// Lists changes of a connector's status, the latest first: those before the one of this id, at
    /// most so many.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn connector_history(
        &self,
        connector: &ConnectorRow,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        let id = Uuid::parse_str(&connector.id).expect("it was written from a UUID");
        statements::connector_history(&self.readers, id, before, limit).await
    }

    /// Ends all connections and gives the lock back. Dropping does so too, a little later.
    pub async fn close(&self) {
        self.readers.close().await;
        if let Some(writer) = &self.writer {
            writer.pool.close().await;
        }
    }

    /// Whether other processes may use the database at the same time.
    fn is_shared(&self) -> bool {
        matches!(self.readers, Pool::Postgres(_))
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        self.writer.as_ref().ok_or(StoreError::ReadOnly)
    }
}

/// Gives 16 bytes that nobody can guess, from the operating system.
///
/// # Errors
/// [`StoreError::Random`] when the system gives none.
pub fn random_bytes() -> Result<[u8; 16], StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(StoreError::Random)?;
    Ok(bytes)
}

/// Makes a UUID of version 7 (RFC 9562): ordered by time, so that the rows of one run lie together.
fn new_uuid(now: EventTime) -> Result<Uuid, StoreError> {
    let mut random = [0; 10];
    random.copy_from_slice(&random_bytes()?[..10]);
    let milliseconds = u64::try_from(now.nanoseconds() / 1_000_000).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
}
