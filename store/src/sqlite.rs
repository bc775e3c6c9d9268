//! The SQLite dialect: connections, schema, and in its modules every statement.
//!
//! Write-ahead log, so that readers never wait for the writer; `synchronous = FULL`, so that what
//! is committed is on the disk when the sink confirms it. One connection writes; its pool is the
//! queue of those who want to.

mod alerts;
mod rules;

use crate::StoreError;
use crate::lock::WriterLock;
use azud_event::time::EventTime;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, SqlStr, Sqlite};
use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

/// How long a statement waits for another process (a backup, a shell) that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many connections read: a listing of each of a few people, and one long query that delays
/// none of them.
const READERS_MAX: u32 = 4;

/// The migrations: version, what for, text. Forward only; a released one never changes.
const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "alerts", include_str!("../../migrations/sqlite/0001_alerts.sql"))];

/// Who writes.
#[derive(Debug)]
struct Writer {
    pool: SqlitePool,
    instance: String,
    incarnation: String,
    // Dropped last: the lock outlives the connection.
    _lock: WriterLock,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    readers: SqlitePool,
    writer: Option<Writer>,
}

impl Database {
    /// Opens for reading and writing; the file is made, its schema brought up to date.
    pub async fn open(path: &Path, now: EventTime) -> Result<Self, StoreError> {
        let lock = WriterLock::take(path)?;
        let options = options(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        migrator().run(&pool).await.map_err(|error| schema_error(error, newest()))?;
        let (instance, incarnation) = begin_incarnation(&pool, now).await?;
        let readers = readers(path).await?;
        let writer = Writer { pool, instance, incarnation, _lock: lock };
        Ok(Database { readers, writer: Some(writer) })
    }

    /// Opens for reading.
    pub async fn read_only(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let readers = readers(path).await?;
        let known = newest();
        match schema_of(&readers).await? {
            found if found > known => Err(StoreError::NewerSchema { found, known }),
            found if found < known => Err(StoreError::OlderSchema { found, known }),
            _ => Ok(Database { readers, writer: None }),
        }
    }

    /// Ends all connections, then gives the lock back with the last owner of the database.
    pub async fn close(&self) {
        self.readers.close().await;
        if let Some(writer) = &self.writer {
            writer.pool.close().await;
        }
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        self.writer.as_ref().ok_or(StoreError::ReadOnly)
    }
}

/// Lets a connection go whose transaction failed; the next writer gets a fresh one.
///
/// SQLite itself rolls back when the disk is full or fails. The driver does not see that, rolls
/// back once more, which is refused, and then takes the connection for one within a transaction for
/// ever.
fn discard_if_failed<T>(connection: &mut PoolConnection<Sqlite>, done: &Result<T, StoreError>) {
    if done.is_err() {
        connection.close_on_drop();
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

async fn readers(path: &Path) -> Result<SqlitePool, StoreError> {
    let options = options(path).read_only(true);
    Ok(SqlitePoolOptions::new().max_connections(READERS_MAX).connect_with(options).await?)
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, name, text)| {
        let (name, text) = (Cow::Borrowed(*name), SqlStr::from_static(text));
        Migration::new(*version, name, MigrationType::Simple, text, false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// The version of the newest migration that this program has.
fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
}

/// Gives the version of the newest migration in the database, 0 when it never had any.
async fn schema_of(pool: &SqlitePool) -> Result<i64, StoreError> {
    let table = "SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    if sqlx::query(table).fetch_optional(pool).await?.is_none() {
        return Ok(0);
    }
    let row = sqlx::query("SELECT coalesce(max(version), 0) AS version FROM _sqlx_migrations")
        .fetch_one(pool)
        .await?;
    Ok(row.try_get("version")?)
}

fn schema_error(error: MigrateError, known: i64) -> StoreError {
    match error {
        MigrateError::VersionMissing(found) if found > known => {
            StoreError::NewerSchema { found, known }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        error => StoreError::Migration(error),
    }
}

/// Finds or makes the instance's row, and gives its id and a new incarnation.
async fn begin_incarnation(
    pool: &SqlitePool,
    now: EventTime,
) -> Result<(String, String), StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let known = sqlx::query("SELECT id FROM instances").fetch_optional(&mut *transaction).await?;
    let instance = match known {
        Some(row) => row.try_get("id")?,
        None => new_uuid(now)?,
    };
    let incarnation = new_uuid(now)?;
    sqlx::query(
        "INSERT INTO instances (id, incarnation, version, started_at, last_seen_at)
         VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT (id) DO UPDATE SET
           incarnation = excluded.incarnation, version = excluded.version,
           started_at = excluded.started_at, last_seen_at = excluded.last_seen_at",
    )
    .bind(&instance)
    .bind(&incarnation)
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(now.to_rfc3339())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok((instance, incarnation))
}

/// Makes a UUID of version 7 (RFC 9562): ordered by time, so that the rows of one run lie together.
fn new_uuid(now: EventTime) -> Result<String, StoreError> {
    let mut random = [0; 10];
    random.copy_from_slice(&crate::random_bytes()?[..10]);
    let milliseconds = u64::try_from(now.nanoseconds() / 1_000_000).unwrap_or(0);
    let uuid = uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid();
    Ok(uuid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use std::fs;

    #[test]
    fn every_migration_in_the_folder_is_applied_in_its_order() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/sqlite");
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut files: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
        files.sort();
        let listed = MIGRATIONS.iter();
        let listed: Vec<_> = listed.map(|(id, name, _)| format!("{id:04}_{name}.sql")).collect();
        assert_eq!(files, listed);
        assert!(MIGRATIONS.is_sorted_by_key(|(version, ..)| *version));
    }

    #[tokio::test]
    async fn an_instance_keeps_its_id_and_begins_a_new_incarnation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azud.db");
        let first = Database::open(&path, EventTime::EPOCH).await.unwrap();
        let one = first.writer().unwrap();
        let (instance, incarnation) = (one.instance.clone(), one.incarnation.clone());
        first.close().await;
        drop(first);
        let second = Database::open(&path, EventTime::EPOCH).await.unwrap();
        assert_eq!(second.writer().unwrap().instance, instance);
        assert_ne!(second.writer().unwrap().incarnation, incarnation);
    }

    #[tokio::test]
    async fn only_one_writes_and_others_read_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azud.db");
        let missing = Store::read_only(&path).await.unwrap_err();
        assert!(matches!(missing, StoreError::Missing { .. }), "{missing:?}");
        let writer = Store::open(&path).await.unwrap();
        let second = Store::open(&path).await.unwrap_err();
        assert!(matches!(second, StoreError::Locked { .. }), "{second:?}");
        let reader = Store::read_only(&path).await.unwrap();
        assert_eq!(reader.list(&crate::AlertFilter::default()).await.unwrap(), []);
        let refused = reader.load_rules(&[]).await.unwrap_err();
        assert!(matches!(refused, StoreError::ReadOnly), "{refused:?}");
        writer.close().await;
        drop(writer);
        Store::open(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_database_of_a_later_version_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azud.db");
        let database = Database::open(&path, EventTime::EPOCH).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99, 'of tomorrow', TRUE, x'00', 0)",
        )
        .execute(&database.writer().unwrap().pool)
        .await
        .unwrap();
        database.close().await;
        drop(database);
        let refused = Store::open(&path).await.unwrap_err();
        assert!(matches!(refused, StoreError::NewerSchema { found: 99, .. }), "{refused:?}");
        let refused = Store::read_only(&path).await.unwrap_err();
        assert!(refused.to_string().contains("made by a newer azud"), "{refused}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azud.db");
        fs::write(&path, "this was never a database, and it is long enough to tell").unwrap();
        let refused = Store::open(&path).await.unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
        assert!(!refused.retry_helps());
    }
}
