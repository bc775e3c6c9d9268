//! Credentials that this database keeps, and the tokens that others gave us.

use crate::keys::Keyring;
use crate::seal::Place;
use crate::statements::{self, TokensRow, row_name};
use crate::{ConnectorRow, Store, StoreError};
use azud_event::time::EventTime;
use azud_plan::component::{ConnectorError, Secret, matches};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What sort of secret a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A token or key of an API.
    Token,
    /// `user:password`.
    Basic,
    /// The secret of an OAuth 2 client, or a refresh token.
    Oauth2Client,
    /// A private key, PEM or JWK.
    PrivateKey,
    /// A certificate, PEM.
    Certificate,
    /// An address that is secret itself (a webhook).
    Url,
    /// Whatever else.
    Opaque,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [CredentialKind; 7] = [
        CredentialKind::Token,
        CredentialKind::Basic,
        CredentialKind::Oauth2Client,
        CredentialKind::PrivateKey,
        CredentialKind::Certificate,
        CredentialKind::Url,
        CredentialKind::Opaque,
    ];

    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            CredentialKind::Token => "token",
            CredentialKind::Basic => "basic",
            CredentialKind::Oauth2Client => "oauth2_client",
            CredentialKind::PrivateKey => "private_key",
            CredentialKind::Certificate => "certificate",
            CredentialKind::Url => "url",
            CredentialKind::Opaque => "opaque",
        }
    }

    /// Finds the kind of a name.
    pub fn named(name: &str) -> Option<Self> {
        CredentialKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A credential that somebody sets.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// Its name: `SECRET[azud.<name>]`.
    pub name: String,
    /// What it is; `None` keeps what it was, or says `opaque`.
    pub kind: Option<CredentialKind>,
    /// The secret.
    pub value: Secret,
    /// When it ends, where that is known.
    pub expires_at: Option<EventTime>,
    /// How long the value before is kept beside it.
    pub overlap: Option<Duration>,
    /// Who sets it.
    pub by: String,
}

/// A credential, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the table, which its migration explains")]
pub struct CredentialRow {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub backend: String,
    pub reference: Option<String>,
    pub previous_until: Option<EventTime>,
    pub version: u64,
    pub fingerprint: String,
    pub state: String,
    pub expires_at: Option<EventTime>,
    pub last_used_at: Option<EventTime>,
    pub last_refreshed_at: Option<EventTime>,
    pub last_error: Option<String>,
    pub created_by: String,
    pub created_at: EventTime,
    pub updated_at: EventTime,
    pub rotated_at: Option<EventTime>,
}

impl CredentialRow {
    /// Writes it as interfaces show it.
    pub fn to_json(&self) -> Value {
        let time = |time: Option<EventTime>| time.map(EventTime::to_rfc3339);
        json!({
            "id": self.id, "name": self.name, "kind": self.kind, "backend": self.backend,
            "reference": self.reference, "previous_until": time(self.previous_until),
            "version": self.version, "fingerprint": self.fingerprint, "state": self.state,
            "expires_at": time(self.expires_at), "last_used_at": time(self.last_used_at),
            "last_refreshed_at": time(self.last_refreshed_at), "last_error": self.last_error,
            "created_by": self.created_by, "created_at": self.created_at.to_rfc3339(),
            "updated_at": self.updated_at.to_rfc3339(), "rotated_at": time(self.rotated_at),
        })
    }
}

/// The sealed values of a credential.
pub(crate) struct SealedCredential {
    pub row: CredentialRow,
    pub value: Option<Vec<u8>>,
    pub previous: Option<Vec<u8>>,
}

fn place<'a>(row: &'a str, field: &'a str) -> Place<'a> {
    Place { table: "credentials", row, field }
}

impl Store {
    /// Sets a credential: a new one, or a new value of one that is there. Its version grows.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when somebody else sets it at the same time; else what the database
    /// answers.
    pub async fn set_credential(
        &self,
        keyring: &Keyring,
        new: &NewCredential,
    ) -> Result<CredentialRow, StoreError> {
        let now = self.clock.now();
        let known = statements::credential(&self.readers, &new.name).await?;
        let id = match &known {
            Some(known) => known.row.id.clone(),
            None => crate::new_uuid(now)?.to_string(),
        };
        let value = keyring.seal(place(&id, "value"), new.value.reveal().as_bytes())?;
        let fingerprint = keyring.fingerprint(&id, new.value.reveal().as_bytes());
        // The value before goes to another column, so it is sealed anew for that.
        let before = known.as_ref().and_then(|known| known.value.as_ref()).zip(new.overlap);
        let previous = match before {
            Some((before, overlap)) => {
                let before = keyring.open_fresh(self, place(&id, "value"), before).await;
                let before = before.map_err(|why| unsealable(&new.name, &why))?;
                let sealed = keyring.seal(place(&id, "previous_value"), &before)?;
                Some((sealed, now.saturating_add(overlap)))
            }
            None => None,
        };
        let known = known.map(|known| known.row);
        let id = Uuid::parse_str(&id).expect("it was written from a UUID");
        let set = statements::CredentialChange { id, new, value, fingerprint, previous };
        statements::set_credential(self.writer()?, &set, known.as_ref(), now).await?;
        let row = statements::credential(&self.readers, &new.name).await?;
        row.map(|row| row.row).ok_or(StoreError::Changed)
    }

    /// Lists credentials by name, behind one, at most so many.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn credentials(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<CredentialRow>, StoreError> {
        statements::credentials(&self.readers, after, limit).await
    }

    /// Gives what is known of a credential.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn credential_row(&self, name: &str) -> Result<Option<CredentialRow>, StoreError> {
        let found = statements::credential(&self.readers, name).await?;
        Ok(found.map(|found| found.row))
    }

    /// Gives a credential as it is now; `None` when there is none, or it was revoked.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when it does not open; else what the database answers.
    pub async fn credential(
        &self,
        keyring: &Keyring,
        name: &str,
    ) -> Result<Option<Secret>, StoreError> {
        let found = statements::credential(&self.readers, name).await?;
        let Some(SealedCredential { row, value: Some(value), .. }) = found else {
            return Ok(None);
        };
        if row.state == "revoked" {
            return Ok(None);
        }
        let opened = keyring.open_fresh(self, place(&row.id, "value"), &value).await;
        let opened = opened.map_err(|why| unsealable(name, &why))?;
        Ok(Some(secret(&opened)))
    }

    /// Gives what a credential was before it was rotated, as long as that is good.
    ///
    /// # Errors
    /// As [`Store::credential`].
    pub async fn previous_credential(
        &self,
        keyring: &Keyring,
        name: &str,
    ) -> Result<Option<Secret>, StoreError> {
        let found = statements::credential(&self.readers, name).await?;
        let Some(SealedCredential { row, previous: Some(previous), .. }) = found else {
            return Ok(None);
        };
        if row.previous_until.is_none_or(|until| until <= self.clock.now()) {
            return Ok(None);
        }
        let opened = keyring.open_fresh(self, place(&row.id, "previous_value"), &previous).await;
        let opened = opened.map_err(|why| unsealable(name, &why))?;
        Ok(Some(secret(&opened)))
    }

    /// Takes a credential out of use for good: its values are gone. `false` when there is none.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn revoke_credential(
        &self,
        keyring: &Keyring,
        name: &str,
    ) -> Result<bool, StoreError> {
        let Some(found) = statements::credential(&self.readers, name).await? else {
            return Ok(false);
        };
        let nothing = keyring.seal(place(&found.row.id, "value"), b"")?;
        let id = Uuid::parse_str(&found.row.id).expect("it was written from a UUID");
        let own = found.value.is_some().then_some(nothing.as_slice());
        statements::revoke_credential(self.writer()?, id, own, self.clock.now()).await?;
        Ok(true)
    }

    /// Forgets what credentials were before they were rotated, where the overlap is over.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn forget_previous_credentials(&self) -> Result<u64, StoreError> {
        statements::forget_previous(self.writer()?, self.clock.now()).await
    }

    /// Lists the connectors whose settings name a credential.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn credential_uses(
        &self,
        keyring: &Keyring,
        name: &str,
    ) -> Result<Vec<String>, StoreError> {
        let filter =
            crate::ConnectorFilter { limit: u32::MAX, ..crate::ConnectorFilter::default() };
        let mut uses = Vec::new();
        for row in statements::connectors(&self.readers, &filter).await? {
            let place = Place { table: "connectors", row: &row.id, field: "configuration" };
            // What does not open is named by `azud keys verify`.
            let Ok(text) = keyring.open_fresh(self, place, &row.configuration).await else {
                continue;
            };
            let text = Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
            if names(&text).any(|written| is_named(written, name, &row)) {
                uses.push(row.name);
            }
        }
        Ok(uses)
    }
}

/// Lists the credentials that settings name, as they are written.
fn names(settings: &str) -> impl Iterator<Item = &str> {
    let found = settings.split("SECRET[azud.").skip(1).filter_map(|rest| rest.split_once(']'));
    found.map(|(key, _)| key.split_once('#').map_or(key, |(name, _)| name))
}

/// Whether a credential is the one that is written in the settings of a row. These may be shared by
/// several rows, and then have what each puts in: `{{ connector }}_token`, `{{ label.site }}`.
fn is_named(written: &str, name: &str, row: &ConnectorRow) -> bool {
    let (mut pattern, mut rest) = (String::new(), written);
    while let Some((literal, (value, behind))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        pattern.push_str(literal);
        match (value.trim(), value.trim().strip_prefix("label.")) {
            ("connector", _) => pattern.push_str(&row.name),
            // What is made of a value by a form is not made here.
            (value, _) if value.contains('|') => pattern.push('*'),
            (_, Some(label)) => match row.labels.get(label) {
                Some(value) => pattern.push_str(value),
                None => return false,
            },
            _ => return false,
        }
        rest = behind;
    }
    pattern.push_str(rest);
    matches(&pattern, name)
}

fn secret(bytes: &[u8]) -> Secret {
    Secret::new(String::from_utf8_lossy(bytes).into_owned())
}

fn unsealable(name: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Sealed { name: name.to_owned(), why: why.to_string() }
}

/// What an authorisation server gave us for a credential, as one connector uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub access: Option<Secret>,
    pub refresh: Option<Secret>,
    pub expires_at: EventTime,
    pub obtained_at: EventTime,
    /// Counts: the first that are kept have 1, those that replace them 2.
    pub version: u64,
}

/// Reads the tokens that are kept for a credential, as a connector uses it.
pub(crate) async fn load_tokens(
    store: &Store,
    keyring: &Keyring,
    credential: &str,
    connector: &str,
) -> Result<Option<Tokens>, StoreError> {
    let found = statements::tokens(&store.readers, name_of(credential), connector).await?;
    let Some(TokensRow { row, access, refresh, expires_at, obtained_at, version }) = found else {
        return Ok(None);
    };
    let mut opened = [None, None];
    for (index, (field, sealed)) in [("access", access), ("refresh", refresh)].iter().enumerate() {
        let Some(sealed) = sealed else { continue };
        let place = Place { table: "oauth_tokens", row: &row, field };
        let bytes = keyring.open_fresh(store, place, sealed).await;
        let bytes = bytes.map_err(|why| unsealable(credential, &why))?;
        opened[index] = Some(secret(&bytes));
    }
    let [access, refresh] = opened;
    Ok(Some(Tokens { access, refresh, expires_at, obtained_at, version }))
}

/// Keeps tokens; they are durable when this returns. `false` when those that are kept are not of
/// the version before: another process was faster, and what it stored is to be loaded.
pub(crate) async fn store_tokens(
    store: &Store,
    keyring: &Keyring,
    (credential, connector): (&str, &str),
    tokens: &Tokens,
) -> Result<bool, StoreError> {
    let (now, credential, writer) = (store.clock.now(), name_of(credential), store.writer()?);
    let ids = statements::token_ids(writer, credential, connector, now).await?;
    let (credential_id, connector_id) = ids;
    let row = row_name(credential_id, Some(&connector_id.to_string()));
    let seal = |field, secret: &Option<Secret>| {
        let place = Place { table: "oauth_tokens", row: &row, field };
        let sealed = secret.as_ref().map(|secret| keyring.seal(place, secret.reveal().as_bytes()));
        sealed.transpose()
    };
    let row = TokensRow {
        row: String::new(),
        access: seal("access", &tokens.access)?,
        refresh: seal("refresh", &tokens.refresh)?,
        expires_at: tokens.expires_at,
        obtained_at: tokens.obtained_at,
        version: tokens.version,
    };
    statements::store_tokens(writer, ids, &row).await
}

/// Gives the refresh token that is kept for a credential.
pub(crate) async fn refresh_token(
    store: &Store,
    keyring: &Keyring,
    credential: &str,
    connector: &str,
) -> Result<Option<Secret>, ConnectorError> {
    let tokens = load_tokens(store, keyring, credential, connector).await.map_err(explain)?;
    Ok(tokens.and_then(|tokens| tokens.refresh))
}

/// Keeps a refresh token, which may be of one use, in the place of the one before it.
pub(crate) async fn keep_refresh_token(
    store: &Store,
    keyring: &Keyring,
    (credential, connector): (&str, &str),
    token: &Secret,
) -> Result<(), ConnectorError> {
    let known = load_tokens(store, keyring, credential, connector).await.map_err(explain)?;
    let tokens = Tokens {
        access: None,
        refresh: Some(token.clone()),
        // When it ends its server says by refusing it.
        expires_at: EventTime::MAX,
        obtained_at: store.clock.now(),
        version: known.map_or(0, |known| known.version) + 1,
    };
    match store_tokens(store, keyring, (credential, connector), &tokens).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(ConnectorError::Lost),
        Err(error) => Err(explain(error)),
    }
}

/// The name of a credential of ours; what another backend keeps has its whole name.
fn name_of(credential: &str) -> &str {
    credential.strip_prefix("azud.").unwrap_or(credential)
}

fn explain(error: StoreError) -> ConnectorError {
    match error {
        StoreError::Sealed { .. } => ConnectorError::Unreadable(error.to_string()),
        error => ConnectorError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
