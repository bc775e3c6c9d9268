//! Statements on `credentials` and `oauth_tokens`.

use crate::credentials::{CredentialRow, NewCredential, SealedCredential};
use crate::sql::{Pool, Row, Transaction, Value, within};
use crate::uses::CredentialNote;
use crate::{StoreError, Writer, new_uuid};
use azud_event::time::EventTime;
use uuid::Uuid;

/// Writes a query of whole rows.
macro_rules! select {
    ($behind:literal) => {
        concat!(
            "SELECT id, name, kind, backend, reference, value, previous_value, previous_until, ",
            "version, fingerprint, state, expires_at, last_used_at, last_refreshed_at, ",
            "last_error, created_by, created_at, updated_at, rotated_at FROM credentials ",
            $behind
        )
    };
}

/// Runs some work in a transaction of the writer's.
macro_rules! in_transaction {
    ($writer:expr, |$transaction:ident| $work:expr) => {{
        let mut connection = $writer.pool.acquire().await?;
        let working = async {
            let mut $transaction = connection.begin().await?;
            let done = $work;
            $transaction.commit().await?;
            Ok(done)
        };
        let done = within($writer.pool.patience(), working).await;
        connection.release(&done);
        done
    }};
}

/// Gives a credential by its name or id.
pub(crate) async fn credential(
    pool: &Pool,
    name: &str,
) -> Result<Option<SealedCredential>, StoreError> {
    let mut rows = pool.rows(select!("WHERE name = $1"), &[name.into()]).await?;
    if let (true, Ok(id)) = (rows.is_empty(), Uuid::parse_str(name)) {
        rows = pool.rows(select!("WHERE id = $1"), &[id.into()]).await?;
    }
    let read = |row: &Row| {
        let (value, previous) =
            (row.optional_bytes("value")?, row.optional_bytes("previous_value")?);
        Ok(SealedCredential { row: read(row)?, value, previous })
    };
    rows.first().map(read).transpose()
}

/// Lists credentials by name.
pub(crate) async fn credentials(
    pool: &Pool,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<CredentialRow>, StoreError> {
    const LIST: &str = select!("WHERE ($1 IS NULL OR name > $1) ORDER BY name LIMIT $2");
    let values = [Value::Text(after), i64::from(limit).into()];
    pool.rows(LIST, &values).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<CredentialRow, StoreError> {
    Ok(CredentialRow {
        id: row.uuid("id")?.to_string(),
        name: row.text("name")?,
        kind: row.text("kind")?,
        backend: row.text("backend")?,
        reference: row.optional_text("reference")?,
        previous_until: row.optional_time("previous_until")?,
        version: row.count("version")?,
        fingerprint: row.text("fingerprint")?,
        state: row.text("state")?,
        expires_at: row.optional_time("expires_at")?,
        last_used_at: row.optional_time("last_used_at")?,
        last_refreshed_at: row.optional_time("last_refreshed_at")?,
        last_error: row.optional_text("last_error")?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        rotated_at: row.optional_time("rotated_at")?,
    })
}

/// A credential that is set, sealed.
pub(crate) struct CredentialChange<'a> {
    pub id: Uuid,
    pub new: &'a NewCredential,
    pub value: Vec<u8>,
    pub fingerprint: String,
    /// What it was before, and until when that is good.
    pub previous: Option<(Vec<u8>, EventTime)>,
}

/// Writes a credential; of one that is `known` a new value.
///
/// # Errors
/// [`StoreError::Changed`] when it is not the known one any more.
pub(crate) async fn set_credential(
    writer: &Writer,
    change: &CredentialChange<'_>,
    known: Option<&CredentialRow>,
    now: EventTime,
) -> Result<(), StoreError> {
    in_transaction!(writer, |transaction| {
        match known {
            None => add(&mut transaction, change, now).await?,
            Some(known) => replace(&mut transaction, change, known, now).await?,
        }
    })
}

async fn add(
    transaction: &mut Transaction<'_>,
    change: &CredentialChange<'_>,
    now: EventTime,
) -> Result<(), StoreError> {
    const ADD: &str = "
        INSERT INTO credentials (id, name, kind, backend, value, version, fingerprint, state,
          expires_at, created_by, created_at, updated_at)
        VALUES ($1, $2, $3, 'azud', $4, 1, $5, 'active', $6, $7, $8, $8)
        ON CONFLICT DO NOTHING";
    let new = change.new;
    let values = [
        change.id.into(),
        (&new.name).into(),
        new.kind.map_or("opaque", crate::credentials::CredentialKind::name).into(),
        Value::Bytes(&change.value),
        (&change.fingerprint).into(),
        new.expires_at.into(),
        (&new.by).into(),
        now.into(),
    ];
    match transaction.execute(ADD, &values).await? {
        0 => Err(StoreError::Changed),
        _ => Ok(()),
    }
}

async fn replace(
    transaction: &mut Transaction<'_>,
    change: &CredentialChange<'_>,
    known: &CredentialRow,
    now: EventTime,
) -> Result<(), StoreError> {
    const REPLACE: &str = "
        UPDATE credentials SET kind = $2, backend = 'azud', reference = NULL, value = $3,
          previous_value = $4, previous_until = $5, version = version + 1, fingerprint = $6,
          state = 'active', expires_at = $7, last_error = NULL, updated_at = $8, rotated_at = $8
        WHERE id = $1 AND version = $9";
    const FORGET: &str = "DELETE FROM oauth_tokens WHERE credential_id = $1";
    let new = change.new;
    let previous = change.previous.as_ref();
    let kind = new.kind.map_or_else(|| known.kind.as_str(), |kind| kind.name());
    let values = [
        change.id.into(),
        kind.into(),
        Value::Bytes(&change.value),
        Value::OptionalBytes(previous.map(|(sealed, _)| sealed.as_slice())),
        previous.map(|(_, until)| *until).into(),
        (&change.fingerprint).into(),
        new.expires_at.into(),
        now.into(),
        known.version.into(),
    ];
    if transaction.execute(REPLACE, &values).await? == 0 {
        return Err(StoreError::Changed);
    }
    // Tokens that the old one gave are not those of the new one.
    transaction.execute(FORGET, &[change.id.into()]).await?;
    Ok(())
}

/// Notes what came of the use of credentials. One that ends soon, or was revoked, stays so.
pub(crate) async fn note_credentials(
    writer: &Writer,
    notes: &[CredentialNote],
) -> Result<(), StoreError> {
    const NOTE: &str = "
        UPDATE credentials SET
          state = CASE WHEN $2 = 'refused' THEN 'refused'
                       WHEN $2 = 'active' AND state = 'refused' THEN 'active'
                       ELSE state END,
          last_error = coalesce($3, last_error), last_used_at = $4,
          last_refreshed_at = coalesce($5, last_refreshed_at)
        WHERE name = $1 AND state <> 'revoked'";
    in_transaction!(writer, |transaction| {
        for note in notes {
            let (state, error) = match &note.taken {
                Some(Ok(())) => ("active", None),
                Some(Err(why)) => ("refused", Some(why.as_str())),
                None => ("", None),
            };
            let refreshed = note.refreshed.then_some(note.at);
            let (name, at) = ((&note.name).into(), note.at.into());
            let values = [name, state.into(), Value::Text(error), at, refreshed.into()];
            transaction.execute(NOTE, &values).await?;
        }
    })
}

/// Takes a credential out of use; `value` is what stands in its place where we kept it.
pub(crate) async fn revoke_credential(
    writer: &Writer,
    id: Uuid,
    value: Option<&[u8]>,
    now: EventTime,
) -> Result<(), StoreError> {
    const REVOKE: &str = "
        UPDATE credentials SET state = 'revoked', value = $2, previous_value = NULL,
          previous_until = NULL, version = version + 1, updated_at = $3
        WHERE id = $1";
    const FORGET: &str = "DELETE FROM oauth_tokens WHERE credential_id = $1";
    in_transaction!(writer, |transaction| {
        let values = [id.into(), Value::OptionalBytes(value), now.into()];
        transaction.execute(REVOKE, &values).await?;
        transaction.execute(FORGET, &[id.into()]).await?;
    })
}

/// Forgets values whose overlap is over; gives how many.
pub(crate) async fn forget_previous(writer: &Writer, now: EventTime) -> Result<u64, StoreError> {
    const FORGET: &str = "UPDATE credentials SET previous_value = NULL, previous_until = NULL
                          WHERE previous_until <= $1";
    in_transaction!(writer, |transaction| transaction.execute(FORGET, &[now.into()]).await?)
}

/// Tokens as they are stored.
pub(crate) struct TokensRow {
    /// Names the row, as it was named when it was sealed.
    pub row: String,
    pub access: Option<Vec<u8>>,
    pub refresh: Option<Vec<u8>>,
    pub expires_at: EventTime,
    pub obtained_at: EventTime,
    pub version: u64,
}

/// Gives the tokens of a credential, as a connector uses it.
pub(crate) async fn tokens(
    pool: &Pool,
    credential: &str,
    connector: &str,
) -> Result<Option<TokensRow>, StoreError> {
    const TOKENS: &str = "
        SELECT credential_id, connector_id, access, refresh, oauth_tokens.expires_at AS until,
          oauth_tokens.version AS number, obtained_at
        FROM oauth_tokens
        JOIN credentials ON credentials.id = credential_id
        JOIN connectors ON connectors.id = connector_id
        WHERE credentials.name = $1 AND connectors.name = $2";
    let read = |row: &Row| {
        let (first, second) = (row.uuid("credential_id")?, row.uuid("connector_id")?);
        Ok(TokensRow {
            row: super::row_name(first, Some(&second.to_string())),
            access: row.optional_bytes("access")?,
            refresh: row.optional_bytes("refresh")?,
            expires_at: row.time("until")?,
            obtained_at: row.time("obtained_at")?,
            version: row.count("number")?,
        })
    };
    let rows = pool.rows(TOKENS, &[credential.into(), connector.into()]).await?;
    rows.first().map(read).transpose()
}

/// Gives the ids of a credential and a connector. A credential that another backend keeps gets a
/// row, for its tokens to hang on.
///
/// # Errors
/// [`StoreError::Unknown`] when there is no such connector.
pub(crate) async fn token_ids(
    writer: &Writer,
    credential: &str,
    connector: &str,
    now: EventTime,
) -> Result<(Uuid, Uuid), StoreError> {
    const ADD: &str = "
        INSERT INTO credentials (id, name, kind, backend, reference, version, fingerprint, state,
          created_by, created_at, updated_at)
        VALUES ($1, $2, 'oauth2_client', 'other', $2, 1, '', 'active', $3, $4, $4)
        ON CONFLICT DO NOTHING";
    const CREDENTIAL: &str = "SELECT id FROM credentials WHERE name = $1";
    const CONNECTOR: &str = "SELECT id FROM connectors WHERE name = $1";
    in_transaction!(writer, |transaction| {
        let known = transaction.rows(CONNECTOR, &[connector.into()]).await?;
        let Some(known) = known.first() else {
            return Err(StoreError::Unknown { name: connector.to_owned() });
        };
        let values = [new_uuid(now)?.into(), credential.into(), connector.into(), now.into()];
        transaction.execute(ADD, &values).await?;
        let rows = transaction.rows(CREDENTIAL, &[credential.into()]).await?;
        let unknown = || StoreError::Unknown { name: credential.to_owned() };
        (rows.first().ok_or_else(unknown)?.uuid("id")?, known.uuid("id")?)
    })
}

/// Stores tokens in the place of those of the version before; `false` when there are others.
pub(crate) async fn store_tokens(
    writer: &Writer,
    (credential, connector): (Uuid, Uuid),
    tokens: &TokensRow,
) -> Result<bool, StoreError> {
    const FIRST: &str = "
        INSERT INTO oauth_tokens (credential_id, connector_id, access, refresh, expires_at,
          obtained_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT DO NOTHING";
    const NEXT: &str = "
        UPDATE oauth_tokens SET access = $3, refresh = $4, expires_at = $5, obtained_at = $6,
          version = $7
        WHERE credential_id = $1 AND connector_id = $2 AND version = $7 - 1";
    const REFRESHED: &str = "UPDATE credentials SET last_refreshed_at = $2 WHERE id = $1";
    in_transaction!(writer, |transaction| {
        let values = [
            credential.into(),
            connector.into(),
            Value::OptionalBytes(tokens.access.as_deref()),
            Value::OptionalBytes(tokens.refresh.as_deref()),
            tokens.expires_at.into(),
            tokens.obtained_at.into(),
            tokens.version.into(),
        ];
        let statement = if tokens.version == 1 { FIRST } else { NEXT };
        let stored = transaction.execute(statement, &values).await? == 1;
        if stored {
            let refreshed = [credential.into(), tokens.obtained_at.into()];
            transaction.execute(REFRESHED, &refreshed).await?;
        }
        stored
    })
}
