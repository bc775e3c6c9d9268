//! SQL said once, for two databases.
//!
//! # The idea
//!
//! SQLite and PostgreSQL understand the same statements, as far as ours go: `$1`, `ON CONFLICT`,
//! comparison of rows, quoted names. What differs is how a value is written (a time is text here
//! and a `timestamptz` there) and how it is read. So every statement stands once, in
//! `statements/`, and takes [`Value`]s that say what they *mean*; the modules `sqlite` and
//! `postgres` bind and read them, and hold what else is their own: connecting, migrating, and what
//! an error code stands for.
//!
//! ```text
//!   statements/   "INSERT … VALUES ($1, $2)"  [Value::Text, Value::Time]
//!        │
//!     Connection, Transaction, Readers        which of the two
//!        │                      │
//!     sqlite.rs             postgres.rs       bind, run, read, name the error
//! ```
//!
//! sqlx's own driver for any database knows neither times nor JSON nor UUIDs; generic code over its
//! traits needs eight bounds for every function. Both were tried on paper and left.

use crate::{StoreError, postgres, sqlite};
use azud_event::alert::Severity;
use azud_event::time::EventTime;
use serde_json::Value as Json;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Connection as _, Postgres, Row as _, Sqlite};
use std::time::Duration;
use uuid::Uuid;

/// A value of a statement, by what it means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// Words.
    Text(Option<&'a str>),
    /// A whole number.
    Integer(Option<i64>),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Bytes, where there may be none.
    OptionalBytes(Option<&'a [u8]>),
    /// Yes or no.
    Boolean(bool),
    /// A point in time, kept to the microsecond.
    Time(Option<EventTime>),
    /// A JSON document.
    Json(Option<&'a str>),
    /// An identity.
    Uuid(Uuid),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Text(Some(text))
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Value::Text(text.as_deref())
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Integer(Some(number))
    }
}

/// A number beyond the range of the tables counts as the greatest in it: it is a count, and none
/// gets there.
impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Value::Integer(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<Severity> for Value<'_> {
    fn from(severity: Severity) -> Self {
        Value::Integer(Some(i64::from(severity.id())))
    }
}

impl From<Uuid> for Value<'_> {
    fn from(id: Uuid) -> Self {
        Value::Uuid(id)
    }
}

impl From<Option<EventTime>> for Value<'_> {
    fn from(time: Option<EventTime>) -> Self {
        Value::Time(time)
    }
}

impl From<EventTime> for Value<'_> {
    fn from(time: EventTime) -> Self {
        Value::Time(Some(time))
    }
}

/// A row of an answer.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// Reads a column of a type that both know by the same name.
macro_rules! column {
    ($row:expr, $column:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get($column),
            Row::Postgres(row) => row.try_get($column),
        }
        .map_err(StoreError::Database)
    };
}

impl Row {
    pub fn text(&self, column: &str) -> Result<String, StoreError> {
        column!(self, column)
    }

    pub fn optional_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        column!(self, column)
    }

    pub fn integer(&self, column: &str) -> Result<i64, StoreError> {
        column!(self, column)
    }

    pub fn optional_integer(&self, column: &str) -> Result<Option<i64>, StoreError> {
        column!(self, column)
    }

    /// Reads a count. The checks of the tables let no negative number in.
    pub fn count(&self, column: &str) -> Result<u64, StoreError> {
        Ok(self.integer(column)?.unsigned_abs())
    }

    pub fn severity(&self) -> Result<Severity, StoreError> {
        let number = self.integer("severity")?;
        let severity = Severity::ALL.into_iter().find(|level| i64::from(level.id()) == number);
        Ok(severity.expect("the checks of the tables let only 1 to 5 in"))
    }

    pub fn time(&self, column: &str) -> Result<EventTime, StoreError> {
        self.optional_time(column)?.ok_or_else(|| {
            let index = column.to_owned();
            let source = Box::new(sqlx::error::UnexpectedNullError);
            StoreError::Database(sqlx::Error::ColumnDecode { index, source })
        })
    }

    pub fn optional_time(&self, column: &str) -> Result<Option<EventTime>, StoreError> {
        match self {
            Row::Sqlite(row) => sqlite::time(row, column),
            Row::Postgres(row) => postgres::time(row, column),
        }
        .map_err(StoreError::Database)
    }

    /// Reads a time in the form of the interfaces, RFC 3339 with six digits.
    pub fn time_text(&self, column: &str) -> Result<String, StoreError> {
        Ok(self.time(column)?.to_rfc3339())
    }

    pub fn optional_time_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(self.optional_time(column)?.map(EventTime::to_rfc3339))
    }

    pub fn uuid(&self, column: &str) -> Result<Uuid, StoreError> {
        match self {
            Row::Sqlite(row) => sqlite::uuid(row, column),
            Row::Postgres(row) => row.try_get(column),
        }
        .map_err(StoreError::Database)
    }

    pub fn optional_uuid(&self, column: &str) -> Result<Option<Uuid>, StoreError> {
        match self {
            Row::Sqlite(row) => sqlite::optional_uuid(row, column),
            Row::Postgres(row) => row.try_get(column),
        }
        .map_err(StoreError::Database)
    }

    pub fn bytes(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        column!(self, column)
    }

    pub fn optional_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        column!(self, column)
    }

    pub fn boolean(&self, column: &str) -> Result<bool, StoreError> {
        column!(self, column)
    }

    pub fn json(&self, column: &'static str) -> Result<Json, StoreError> {
        Ok(self.optional_json(column)?.unwrap_or(Json::Null))
    }

    pub fn optional_json(&self, column: &'static str) -> Result<Option<Json>, StoreError> {
        match self {
            Row::Sqlite(row) => sqlite::json(row, column),
            Row::Postgres(row) => row.try_get(column).map_err(StoreError::Database),
        }
    }
}

/// The connections that read, a bounded number of them.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    /// Runs a statement and gives its rows. A listing has a limit of its own.
    pub async fn rows(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Pool::Sqlite(pool) => sqlite::rows(pool, statement, values).await,
            Pool::Postgres(pool) => {
                within(self.patience(), postgres::rows(pool, statement, values)).await
            }
        }
    }

    /// Takes a connection out, waiting for one a bounded time.
    pub async fn acquire(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Pool::Sqlite(pool) => {
                Connection::Sqlite(pool.acquire().await.map_err(sqlite::explain)?)
            }
            Pool::Postgres(pool) => {
                Connection::Postgres(pool.acquire().await.map_err(postgres::explain)?)
            }
        })
    }

    /// How long a transaction may take in all. SQLite waits for nobody but the disk and its own
    /// busy timeout; a server may have gone without a word.
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Pool::Sqlite(_) => None,
            Pool::Postgres(_) => Some(postgres::PATIENCE),
        }
    }

    pub async fn close(&self) {
        match self {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

/// A connection that somebody has for himself.
#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    /// Begins a transaction that will write.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        Ok(match self {
            // Immediate: one that began as a reader could be refused in its middle.
            Connection::Sqlite(connection) => {
                let begun = connection.begin_with("BEGIN IMMEDIATE").await;
                Transaction::Sqlite(begun.map_err(sqlite::explain)?)
            }
            Connection::Postgres(connection) => {
                Transaction::Postgres(connection.begin().await.map_err(postgres::explain)?)
            }
        })
    }

    /// Gives it back, or lets it go when its transaction failed; the next writer gets a fresh one.
    ///
    /// SQLite itself rolls back when the disk is full or fails. The driver does not see that, rolls
    /// back once more, which is refused, and then takes the connection for one within a transaction
    /// for ever. A connection to a server that failed is in no known state either. What was refused
    /// for what it is, a name that is taken, says nothing of the connection; and it holds the lock
    /// of the writer, which another process may be waiting for.
    pub fn release<T>(mut self, done: &Result<T, StoreError>) {
        let is_refusal = |error: &StoreError| {
            matches!(
                error,
                StoreError::Changed
                    | StoreError::Taken { .. }
                    | StoreError::Unknown { .. }
                    | StoreError::Sealed { .. }
            )
        };
        if done.as_ref().is_err_and(|error| !is_refusal(error)) {
            match &mut self {
                Connection::Sqlite(connection) => connection.close_on_drop(),
                Connection::Postgres(connection) => connection.close_on_drop(),
            }
        }
    }
}

/// A transaction; dropped, it is rolled back.
pub(crate) enum Transaction<'c> {
    Sqlite(sqlx::Transaction<'c, Sqlite>),
    Postgres(sqlx::Transaction<'c, Postgres>),
}

impl Transaction<'_> {
    /// Runs a statement and gives how many rows it changed.
    pub async fn execute(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        match self {
            Transaction::Sqlite(one) => sqlite::execute(&mut **one, statement, values).await,
            Transaction::Postgres(one) => postgres::execute(&mut **one, statement, values).await,
        }
    }

    pub async fn rows(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Transaction::Sqlite(one) => sqlite::rows(&mut **one, statement, values).await,
            Transaction::Postgres(one) => postgres::rows(&mut **one, statement, values).await,
        }
    }

    /// Makes it last: on the disk when this returns.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self {
            Transaction::Sqlite(one) => one.commit().await.map_err(sqlite::explain),
            Transaction::Postgres(one) => one.commit().await.map_err(postgres::explain),
        }
    }
}

/// Waits for `work` at most so long; `None` is for ever.
pub(crate) async fn within<T>(
    patience: Option<Duration>,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let Some(patience) = patience else { return work.await };
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Silent { patience }),
    }
}
