//! SQLite: a file of our own.
//!
//! Write-ahead log, so that readers never wait for the writer; `synchronous = FULL`, so that what
//! is committed is on the disk when the sink confirms it. One connection writes; its pool is the
//! queue of those who want to.

use crate::lock::WriterLock;
use crate::schema::{self, Dialect};
use crate::sql::{Pool, Row, Value};
use crate::{Location, StoreError};
use azud_event::time::EventTime;
use serde_json::Value as Json;
use sqlx::error::UnexpectedNullError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteError, SqliteExecutor, SqliteJournalMode, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{Row as _, Sqlite};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// How long a statement waits for another process (a backup, a shell) that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many connections read: a listing of each of a few people, and one long query that delays
/// none of them.
const READERS_MAX: u32 = 4;

/// The migrations: version, what for, text. Forward only; a released one never changes.
pub(crate) const MIGRATIONS: schema::Migrations = &[
    (1, "alerts", include_str!("../../migrations/sqlite/0001_alerts.sql")),
    (2, "progress", include_str!("../../migrations/sqlite/0002_progress.sql")),
    (3, "dead_letters", include_str!("../../migrations/sqlite/0003_dead_letters.sql")),
    (4, "connectors", include_str!("../../migrations/sqlite/0004_connectors.sql")),
    (5, "instances", include_str!("../../migrations/sqlite/0005_instances.sql")),
];

const DIALECT: Dialect = Dialect {
    migrations: MIGRATIONS,
    is_new: "SELECT count(*) = 0 AS is_new FROM sqlite_schema WHERE name = '_sqlx_migrations'",
};

/// Opens for writing; the file is made, its schema brought up to date. The lock outlives the
/// connection.
pub(crate) async fn open(path: &Path) -> Result<(Pool, WriterLock), StoreError> {
    let lock = WriterLock::take(path)?;
    let options = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    let pool = pool.map_err(explain)?;
    let migrated = DIALECT.migrator().run(&pool).await;
    migrated.map_err(|error| DIALECT.explain(error, explain))?;
    Ok((Pool::Sqlite(pool), lock))
}

/// Opens for what people change; where its schema is as it should be, without the lock.
pub(crate) async fn administer(path: &Path) -> Result<(Pool, Option<WriterLock>), StoreError> {
    match read(path).await {
        Ok(readers) => readers.close().await,
        Err(StoreError::Missing { .. } | StoreError::OlderSchema { .. }) => {
            let (pool, lock) = open(path).await?;
            return Ok((pool, Some(lock)));
        }
        Err(error) => return Err(error),
    }
    let options = options(path).synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    Ok((Pool::Sqlite(pool.map_err(explain)?), None))
}

/// Opens for reading a database that is there.
pub(crate) async fn read(path: &Path) -> Result<Pool, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing { location: Location::file(path) });
    }
    let readers = readers(path).await?;
    DIALECT.check_version(&readers).await?;
    Ok(readers)
}

/// As [`read`], and makes no file beside it.
pub(crate) async fn look(path: &Path) -> Result<Pool, StoreError> {
    // Who has it open for writing has a log beside it, and who closed it last has removed that.
    // Where there is none nothing changes the file, and nothing has to be kept of who reads it.
    let log = path.with_file_name(path.file_name().map_or_else(OsString::new, |name| {
        let mut name = name.to_owned();
        name.push("-wal");
        name
    }));
    match path.exists() && !log.exists() {
        false => read(path).await,
        true => {
            let pool = pool(options(path).immutable(true)).await?;
            DIALECT.check_version(&pool).await?;
            Ok(pool)
        }
    }
}

/// Opens connections that only read.
pub(crate) async fn readers(path: &Path) -> Result<Pool, StoreError> {
    pool(options(path)).await
}

async fn pool(options: SqliteConnectOptions) -> Result<Pool, StoreError> {
    let options = options.read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(READERS_MAX).connect_with(options).await;
    Ok(Pool::Sqlite(pool.map_err(explain)?))
}

pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

/// Runs a statement and gives how many rows it changed.
pub(crate) async fn execute<'e>(
    executor: impl SqliteExecutor<'e>,
    statement: &'static str,
    values: &[Value<'_>],
) -> Result<u64, StoreError> {
    let done = query(statement, values).execute(executor).await.map_err(explain)?;
    Ok(done.rows_affected())
}

/// Runs a statement and gives its rows.
pub(crate) async fn rows<'e>(
    executor: impl SqliteExecutor<'e>,
    statement: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<Row>, StoreError> {
    let rows = query(statement, values).fetch_all(executor).await.map_err(explain)?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}

type Query = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;

/// Binds values in the forms of the tables: times are RFC 3339, JSON and identities are text.
fn query(statement: &'static str, values: &[Value<'_>]) -> Query {
    values.iter().fold(sqlx::query(statement), |query, value| match value {
        Value::Text(text) | Value::Json(text) => query.bind(text.map(str::to_owned)),
        Value::Integer(number) => query.bind(*number),
        Value::Bytes(bytes) => query.bind(bytes.to_vec()),
        Value::OptionalBytes(bytes) => query.bind(bytes.map(<[u8]>::to_vec)),
        Value::Boolean(truth) => query.bind(*truth),
        Value::Time(time) => query.bind(time.map(EventTime::to_rfc3339)),
        Value::Uuid(id) => query.bind(id.to_string()),
    })
}

/// Reads a time as it was written.
pub(crate) fn time(row: &SqliteRow, column: &str) -> Result<Option<EventTime>, sqlx::Error> {
    let Some(text) = row.try_get::<Option<&str>, _>(column)? else { return Ok(None) };
    let time = chrono::DateTime::parse_from_rfc3339(text);
    let time = time.map_err(|error| undecodable(column, error))?;
    Ok(Some(EventTime::from_chrono(time.to_utc())))
}

/// Reads an identity as it was written.
pub(crate) fn uuid(row: &SqliteRow, column: &str) -> Result<Uuid, sqlx::Error> {
    optional_uuid(row, column)?.ok_or_else(|| undecodable(column, UnexpectedNullError))
}

/// As [`uuid`], where there may be none.
pub(crate) fn optional_uuid(row: &SqliteRow, column: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(Uuid::parse_str).transpose().map_err(|error| undecodable(column, error))
}

/// Reads a JSON document as it was written.
pub(crate) fn json(row: &SqliteRow, column: &'static str) -> Result<Option<Json>, StoreError> {
    let text: Option<&str> = row.try_get(column).map_err(StoreError::Database)?;
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|source| StoreError::Column { column, source })
}

fn undecodable(
    column: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}

/// Says what an error of SQLite means.
pub(crate) fn explain(error: sqlx::Error) -> StoreError {
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return StoreError::Busy(error);
    }
    let sqlite = error.as_database_error();
    let sqlite = sqlite.and_then(|error| error.try_downcast_ref::<SqliteError>());
    let code = sqlite.and_then(sqlx::error::DatabaseError::code);
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
