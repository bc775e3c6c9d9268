//! Statements on `api_tokens` and `audit_log`.

use crate::access::{AuditRow, Deed, Role, TokenRow};
use crate::sql::{Pool, Row, Value, within};
use crate::{StoreError, Writer};
use azud_event::time::EventTime;
use uuid::Uuid;

/// Writes a query of whole rows.
macro_rules! select {
    ($behind:literal) => {
        concat!(
            "SELECT id, name, role, created_at, expires_at, last_used_at, revoked_at ",
            "FROM api_tokens ",
            $behind
        )
    };
}

/// Runs one statement in a transaction of its own, and gives how many rows it changed.
async fn run(
    writer: &Writer,
    statement: &'static str,
    values: &[Value<'_>],
) -> Result<u64, StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let running = async {
        let mut transaction = connection.begin().await?;
        let changed = transaction.execute(statement, values).await?;
        transaction.commit().await?;
        Ok(changed)
    };
    let done = within(writer.pool.patience(), running).await;
    connection.release(&done);
    done
}

/// Adds a token by its hash.
pub(crate) async fn add_token(
    writer: &Writer,
    id: Uuid,
    row: &TokenRow,
    hash: &[u8],
) -> Result<(), StoreError> {
    const ADD: &str = "
        INSERT INTO api_tokens (id, name, token_hash, role, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING";
    let values = [
        id.into(),
        (&row.name).into(),
        Value::Bytes(hash),
        row.role.name().into(),
        row.created_at.into(),
        row.expires_at.into(),
    ];
    match run(writer, ADD, &values).await? {
        0 => Err(StoreError::Taken { name: row.name.clone() }),
        _ => Ok(()),
    }
}

/// Lists tokens by name.
pub(crate) async fn list_tokens(
    pool: &Pool,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<TokenRow>, StoreError> {
    const LIST: &str = select!("WHERE ($1 IS NULL OR name > $1) ORDER BY name LIMIT $2");
    let values = [Value::Text(after), i64::from(limit).into()];
    pool.rows(LIST, &values).await?.iter().map(read).collect()
}

/// Gives the token of a hash.
pub(crate) async fn token_of(pool: &Pool, hash: &[u8]) -> Result<Option<TokenRow>, StoreError> {
    let rows = pool.rows(select!("WHERE token_hash = $1"), &[Value::Bytes(hash)]).await?;
    rows.first().map(read).transpose()
}

fn read(row: &Row) -> Result<TokenRow, StoreError> {
    let role = row.text("role")?;
    Ok(TokenRow {
        id: row.uuid("id")?.to_string(),
        name: row.text("name")?,
        role: Role::named(&role).expect("the checks of the tables let only roles in"),
        created_at: row.time("created_at")?,
        expires_at: row.optional_time("expires_at")?,
        last_used_at: row.optional_time("last_used_at")?,
        revoked_at: row.optional_time("revoked_at")?,
    })
}

/// Notes that a token was used.
pub(crate) async fn note_token(
    writer: &Writer,
    name: &str,
    now: EventTime,
) -> Result<(), StoreError> {
    const NOTE: &str = "UPDATE api_tokens SET last_used_at = $2 WHERE name = $1";
    run(writer, NOTE, &[name.into(), now.into()]).await.map(drop)
}

/// Takes a token out of use; `false` when there is none of that name.
pub(crate) async fn revoke_token(
    writer: &Writer,
    name: &str,
    now: EventTime,
) -> Result<bool, StoreError> {
    const BY_NAME: &str =
        "UPDATE api_tokens SET revoked_at = coalesce(revoked_at, $2) WHERE name = $1";
    const BY_ID: &str = "UPDATE api_tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1";
    let mut revoked = run(writer, BY_NAME, &[name.into(), now.into()]).await?;
    if let (0, Ok(id)) = (revoked, Uuid::parse_str(name)) {
        revoked = run(writer, BY_ID, &[id.into(), now.into()]).await?;
    }
    Ok(revoked > 0)
}

/// Adds to the trail.
pub(crate) async fn audit(writer: &Writer, deed: &Deed, now: EventTime) -> Result<(), StoreError> {
    const ADD: &str = "
        INSERT INTO audit_log (at, actor, address, action, object, before, after, outcome)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let before = deed.before.as_ref().map(serde_json::Value::to_string);
    let after = deed.after.as_ref().map(serde_json::Value::to_string);
    let values = [
        now.into(),
        (&deed.actor).into(),
        (&deed.address).into(),
        (&deed.action).into(),
        (&deed.object).into(),
        Value::Json(before.as_deref()),
        Value::Json(after.as_deref()),
        (&deed.outcome).into(),
    ];
    run(writer, ADD, &values).await.map(drop)
}

/// Lists the trail, the latest first.
pub(crate) async fn audit_log(
    pool: &Pool,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    const LIST: &str = "
        SELECT id, at, actor, address, action, object, before, after, outcome FROM audit_log
        WHERE ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2";
    let read = |row: &Row| {
        Ok(AuditRow {
            id: row.integer("id")?,
            at: row.time("at")?,
            deed: Deed {
                actor: row.text("actor")?,
                address: row.optional_text("address")?,
                action: row.text("action")?,
                object: row.text("object")?,
                before: row.optional_json("before")?,
                after: row.optional_json("after")?,
                outcome: row.text("outcome")?,
            },
        })
    };
    let values = [Value::Integer(before), i64::from(limit).into()];
    pool.rows(LIST, &values).await?.iter().map(read).collect()
}
