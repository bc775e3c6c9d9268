//! What survives in SQL: the instance, its rules, and the alerts they raised.
//!
//! The only room that says `sqlx`. [`Store`] is what the others see, and says nothing of a dialect;
//! all SQL stands in `sqlite/`, and a second dialect is a second folder with the same functions.
//! What a delivered alert does to its row is decided in plain code (`alerts/merge.rs`), once for
//! all dialects.
//!
//! One process writes, held by a lock beside the database, through one connection; so a transaction
//! never waits for another of ours. Any number of processes read while it writes (write-ahead log),
//! without a lock.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alerts;
mod error;
mod lock;
mod rules;
mod sqlite;

pub use alerts::{
    AlertCursor, AlertFilter, AlertRevision, AlertRow, Applied, Delivery, Unstorable, check_alert,
};
pub use error::StoreError;
pub use rules::Rule;

use azud_event::clock::Clock;
use std::path::Path;

/// The database of an instance.
#[derive(Debug)]
pub struct Store {
    database: sqlite::Database,
    clock: Clock,
}

impl Store {
    /// Opens the database for reading and writing, makes it when there is none, and brings its
    /// schema up to date. Each opening is a new incarnation.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process writes it, [`StoreError::NewerSchema`] when a
    /// later version made it; else what the disk or the file answers.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Store::open_at(path, Clock::system()).await
    }

    /// As [`Store::open`], with the times of rows by `clock`.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_at(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let database = sqlite::Database::open(path, clock.now()).await?;
        Ok(Store { database, clock })
    }

    /// Opens the database for reading, also while another process writes it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, [`StoreError::OlderSchema`] or
    /// [`StoreError::NewerSchema`] when another version made it; else what the disk or the file
    /// answers.
    pub async fn read_only(path: &Path) -> Result<Self, StoreError> {
        let database = sqlite::Database::read_only(path).await?;
        Ok(Store { database, clock: Clock::system() })
    }

    /// Writes revisions of alerts, all or none of them.
    ///
    /// A row follows the greatest revision of its alert, so the same delivery may be repeated, also
    /// in another order: nothing is lost, nothing is doubled. An alert that an earlier incarnation
    /// raised is continued: revisions and events are added up, and its span and severity only grow.
    /// What people wrote (`triage`, `assignee`, `verdict`) is never touched.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::DiskFull`], [`StoreError::Io`] and the like; nothing is
    /// written then.
    pub async fn apply(&self, delivery: &Delivery<'_>) -> Result<Applied, StoreError> {
        self.database.apply(delivery, self.clock.now()).await
    }

    /// Makes `rules` the rules of the instance: those that are not among them any more are marked
    /// as removed.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub async fn load_rules(&self, rules: &[Rule]) -> Result<(), StoreError> {
        self.database.load_rules(rules, self.clock.now()).await
    }

    /// Lists alerts, the latest revised first.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn list(&self, filter: &AlertFilter) -> Result<Vec<AlertRow>, StoreError> {
        self.database.list(filter).await
    }

    /// Gives one alert.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn get(&self, id: &str) -> Result<Option<AlertRow>, StoreError> {
        self.database.get(id).await
    }

    /// Gives the history of an alert, the first revision first.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn revisions(&self, id: &str) -> Result<Vec<AlertRevision>, StoreError> {
        self.database.revisions(id).await
    }

    /// Ends all connections and gives the lock back. Dropping does so too, a little later.
    pub async fn close(&self) {
        self.database.close().await;
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
