//! PostgreSQL: a server that others look after.
//!
//! One process writes at a time. It holds an advisory lock for as long as it is connected, which
//! turns a second one away with a word, and every transaction names its incarnation, which stops it
//! even where the lock was lost: a connection that broke gives the lock back, and another process
//! may have taken over meanwhile.
//!
//! A commit is on the server's disk when it returns (`synchronous_commit` is switched on where the
//! server has it off). Whether it is also on a replica is the server's to say: with
//! `synchronous_standby_names` it is.
//!
//! A server may go without a word, so everything has an end: connecting, a statement (there and
//! here), a lock, a transaction that nobody continues.

use crate::schema::{self, Dialect};
use crate::sql::{Pool, Row, Value, within};
use crate::{Location, StoreError};
use azud_event::time::EventTime;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgArgumentBuffer, PgConnectOptions, PgConnection, PgExecutor, PgPoolOptions, PgRow, PgTypeInfo,
};
use sqlx::{Connection as _, Encode, Executor as _, Postgres, Row as _, Type};
use std::borrow::Cow;
use std::time::Duration;

/// How long connecting may take, and how long a transaction waits for the writer's connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a transaction or a listing may take, connecting not included. The server ends a
/// statement a little earlier, so this is reached only when the server is not there any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(35);

/// As for SQLite: a listing of each of a few people.
const READERS_MAX: u32 = 4;

/// What holds for each session, in the server's own words. The last three let the server find out
/// within half a minute that we are gone, so that our lock is free for the next.
const SESSION: &[(&str, &str)] = &[
    ("statement_timeout", "30s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// The migrations: version, what for, text. Forward only; a released one never changes.
pub(crate) const MIGRATIONS: schema::Migrations = &[
    (1, "alerts", include_str!("../../migrations/postgres/0001_alerts.sql")),
    (2, "progress", include_str!("../../migrations/postgres/0002_progress.sql")),
    (3, "dead_letters", include_str!("../../migrations/postgres/0003_dead_letters.sql")),
    (4, "connectors", include_str!("../../migrations/postgres/0004_connectors.sql")),
    (5, "instances", include_str!("../../migrations/postgres/0005_instances.sql")),
];

const DIALECT: Dialect = Dialect {
    migrations: MIGRATIONS,
    is_new: "SELECT (to_regclass('_sqlx_migrations') IS NULL)::int::bigint AS is_new",
};

/// Waits for the lock of the writer; `azud` in ASCII, and the schema, so that two instances may
/// share a database in schemas of their own.
const TAKE_LOCK: &str = "SELECT pg_advisory_lock(1635415396, hashtext(current_schema()))";

/// For a new connection: takes the lock again when it is free. When it is not, the incarnation
/// decides whether we may still write.
const RETAKE_LOCK: &str = "SELECT pg_try_advisory_lock(1635415396, hashtext(current_schema()))";

/// What is committed must be on the disk. Any setting but `off` says that, and how many disks.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
                       WHERE current_setting('synchronous_commit') = 'off'";

/// Opens for writing and brings the schema up to date.
pub(crate) async fn open(options: &PgConnectOptions, at: &Location) -> Result<Pool, StoreError> {
    // By itself at first, because the pool takes a refused connection for a server that is about to
    // start, and says no more than that it waited. Without the limits of a session: a migration of
    // large tables may take its time.
    let mut migrating = connect(options).await?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        // Its session holds the lock: given up for its age, another process would have it.
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(RETAKE_LOCK).await?;
                connection.execute(DURABLE).await?;
                Ok(())
            })
        })
        .connect_with(session(options))
        .await
        .map_err(explain)?;
    if let Err(error) = pool.execute(TAKE_LOCK).await {
        let held = code(&error).is_some_and(|code| code == "55P03");
        let location = at.clone();
        return Err(if held {
            StoreError::Locked { location, process: None }
        } else {
            explain(error)
        });
    }
    let migrated = DIALECT.migrator().run(&mut migrating).await;
    migrated.map_err(|error| DIALECT.explain(error, explain))?;
    migrating.close().await.map_err(explain)?;
    Ok(Pool::Postgres(pool))
}

/// Opens for what people change; where its schema is as it should be, without the lock.
pub(crate) async fn administer(
    options: &PgConnectOptions,
    at: &Location,
) -> Result<Pool, StoreError> {
    match read(options).await {
        Ok(readers) => readers.close().await,
        Err(StoreError::OlderSchema { .. }) => return open(options, at).await,
        Err(error) => return Err(error),
    }
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(DURABLE).await.map(drop) })
        })
        .connect_with(session(options));
    Ok(Pool::Postgres(pool.await.map_err(explain)?))
}

/// Opens for reading a database that has its tables.
pub(crate) async fn read(options: &PgConnectOptions) -> Result<Pool, StoreError> {
    connect(options).await?.close().await.map_err(explain)?;
    let readers = readers(options).await?;
    DIALECT.check_version(&readers).await?;
    Ok(readers)
}

/// Opens connections that only read.
pub(crate) async fn readers(options: &PgConnectOptions) -> Result<Pool, StoreError> {
    let options = session(options).options([("default_transaction_read_only", "on")]);
    let pool = PgPoolOptions::new().max_connections(READERS_MAX).acquire_timeout(CONNECT_TIMEOUT);
    Ok(Pool::Postgres(pool.connect_with(options).await.map_err(explain)?))
}

fn session(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().application_name("azud").options(SESSION.iter().copied())
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let options = options.clone().application_name("azud");
    let connected = async { PgConnection::connect_with(&options).await.map_err(explain) };
    within(Some(CONNECT_TIMEOUT), connected).await
}

/// Runs a statement and gives how many rows it changed.
pub(crate) async fn execute<'e>(
    executor: impl PgExecutor<'e>,
    statement: &'static str,
    values: &[Value<'_>],
) -> Result<u64, StoreError> {
    let done = query(statement, values).execute(executor).await.map_err(explain)?;
    Ok(done.rows_affected())
}

/// Runs a statement and gives its rows.
pub(crate) async fn rows<'e>(
    executor: impl PgExecutor<'e>,
    statement: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<Row>, StoreError> {
    let rows = query(statement, values).fetch_all(executor).await.map_err(explain)?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

type Query = sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>;

fn query(statement: &'static str, values: &[Value<'_>]) -> Query {
    // SQLite keeps six digits by cutting, and this driver rounds towards the year 2000.
    let micros = |time: EventTime| time.aligned_to(Duration::from_micros(1)).to_chrono();
    values.iter().fold(sqlx::query(statement), |query, value| match value {
        Value::Text(text) => query.bind(text.map(|text| without_nul(text).into_owned())),
        Value::Integer(number) => query.bind(*number),
        Value::Bytes(bytes) => query.bind(bytes.to_vec()),
        Value::OptionalBytes(bytes) => query.bind(bytes.map(<[u8]>::to_vec)),
        Value::Boolean(truth) => query.bind(*truth),
        Value::Time(time) => query.bind(time.map(micros)),
        Value::Json(json) => query.bind(json.map(JsonText)),
        Value::Uuid(id) => query.bind(*id),
    })
}

/// A JSON document that is sent as it was written, instead of being read and written once more.
struct JsonText<'a>(&'a str);

impl Type<Postgres> for JsonText<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("jsonb")
    }
}

impl Encode<'_, Postgres> for JsonText<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // The version of the binary form of `jsonb`, which is its text.
        // https://www.postgresql.org/docs/15/datatype-json.html
        buffer.push(1);
        buffer.extend_from_slice(json_without_nul(self.0).as_bytes());
        Ok(IsNull::No)
    }
}

/// Replaces U+0000, which PostgreSQL has in no text, by U+FFFD. An event may well hold one, and an
/// alert that the database refuses for ever would be worse.
fn without_nul(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

/// As [`without_nul`], for the escape `\u0000` in a JSON document.
fn json_without_nul(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u0000") {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // What follows a backslash belongs to it, so that `\\u0000` is a backslash and five signs.
        let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
        match rest.strip_prefix("\\u0000") {
            Some(behind) => {
                out.push_str("\\ufffd");
                rest = behind;
            }
            None => {
                out.push_str(&rest[..length]);
                rest = &rest[length..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Reads a time; it has microseconds.
pub(crate) fn time(row: &PgRow, column: &str) -> Result<Option<EventTime>, sqlx::Error> {
    let time: Option<chrono::DateTime<chrono::Utc>> = row.try_get(column)?;
    Ok(time.map(EventTime::from_chrono))
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}

/// Says what an error of PostgreSQL means.
///
/// Source: PostgreSQL 15, Appendix A, "PostgreSQL Error Codes"; the first two signs are the class.
pub(crate) fn explain(error: sqlx::Error) -> StoreError {
    let known = code(&error).map(Cow::into_owned);
    let Some(code) = known.as_deref() else {
        return match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed => StoreError::Unreachable(error),
            error => StoreError::Database(error),
        };
    };
    match code {
        "25006" => StoreError::ReadOnly,
        "53100" => StoreError::DiskFull(error),
        // Could not be serialised, deadlock, lock not available, cancelled, out of memory.
        "40001" | "40P01" | "55P03" | "57014" | "53200" => StoreError::Busy(error),
        "XX001" | "XX002" => StoreError::Corrupt(error),
        // No such database, no privilege, no such schema.
        "3D000" | "42501" | "3F000" => StoreError::Refused(error),
        _ => match &code[..2] {
            "28" => StoreError::Refused(error),
            "08" | "53" | "57" | "58" => StoreError::Unreachable(error),
            _ => StoreError::Database(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    proptest! {
        // The document without U+0000 is the document whose texts are without it.
        #[test]
        fn a_document_loses_its_nul_and_nothing_else(texts in prop::collection::vec("[\\\\u0\0a\"é]{0,12}", 0..6)) {
            let plain: Json = texts.iter().map(|text| without_nul(text).into_owned()).collect();
            let written = Json::from_iter(texts).to_string();
            let read: Json = serde_json::from_str(&json_without_nul(&written)).unwrap();
            prop_assert_eq!(read, plain);
        }
    }

    #[test]
    fn a_document_without_nul_is_not_copied() {
        assert!(matches!(json_without_nul(r#"{"a":"\\b"}"#), Cow::Borrowed(_)));
        assert_eq!(json_without_nul(r#"["\\u0000","\u0000"]"#), r#"["\\u0000","\ufffd"]"#);
    }
}
