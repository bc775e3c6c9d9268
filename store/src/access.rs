//! Who may use the API, and what they did: tokens with a role, and the trail of changes.

use crate::{Store, StoreError, new_uuid, statements};
use azud_event::time::EventTime;
use azud_plan::component::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;
use zeroize::Zeroizing;

/// What a token begins with, so that scanners of code find one that was left lying about.
const TOKEN_PREFIX: &str = "azud_";

/// How often at most is written that a token was used.
const USED_EVERY: Duration = Duration::from_secs(60);

/// What somebody may do: each what those before it may, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at everything that is not secret.
    Viewer,
    /// Work with alerts, and poll and test connectors.
    Analyst,
    /// Change connectors and credentials.
    Editor,
    /// Change keys and tokens, and read the trail.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Analyst, Role::Editor, Role::Admin];

    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Analyst => "analyst",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }

    /// Finds the role of a name.
    pub fn named(name: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A token of the API, without itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the table, which its migration explains")]
pub struct TokenRow {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub created_at: EventTime,
    pub expires_at: Option<EventTime>,
    pub last_used_at: Option<EventTime>,
    pub revoked_at: Option<EventTime>,
}

impl TokenRow {
    /// Writes it as interfaces show it.
    pub fn to_json(&self) -> Value {
        let time = |time: Option<EventTime>| time.map(EventTime::to_rfc3339);
        json!({
            "id": self.id, "name": self.name, "role": self.role.name(),
            "created_at": self.created_at.to_rfc3339(), "expires_at": time(self.expires_at),
            "last_used_at": time(self.last_used_at), "revoked_at": time(self.revoked_at),
        })
    }
}

/// Something that somebody did. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    /// Who: the name of a token, or of the user of a command.
    pub actor: String,
    /// From where.
    pub address: Option<String>,
    /// What: `connector.disable`.
    pub action: String,
    /// To what: `connector/okta`.
    pub object: String,
    /// How it was.
    pub before: Option<Value>,
    /// How it is.
    pub after: Option<Value>,
    /// `done`, or why not.
    pub outcome: String,
}

/// A [`Deed`] as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// Counts up.
    pub id: i64,
    /// When.
    pub at: EventTime,
    /// What was done.
    pub deed: Deed,
}

impl AuditRow {
    /// Writes it as interfaces show it.
    pub fn to_json(&self) -> Value {
        let Deed { actor, address, action, object, before, after, outcome } = &self.deed;
        json!({
            "id": self.id, "at": self.at.to_rfc3339(), "actor": actor, "address": address,
            "action": action, "object": object, "before": before, "after": after,
            "outcome": outcome,
        })
    }
}

impl Store {
    /// Makes a token; it is given once, and only its hash is kept.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when there is one of that name; else what the database answers.
    pub async fn create_token(
        &self,
        name: &str,
        role: Role,
        expires_at: Option<EventTime>,
    ) -> Result<(TokenRow, Secret), StoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(StoreError::Random)?;
        let token = Zeroizing::new(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(*bytes)));
        let (id, now) = (new_uuid(self.clock.now())?, self.clock.now());
        let row = TokenRow {
            id: id.to_string(),
            name: name.to_owned(),
            role,
            created_at: now,
            expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        statements::add_token(self.writer()?, id, &row, &hash(&token)).await?;
        Ok((row, Secret::new(token.to_string())))
    }

    /// Lists the tokens by name, behind one, at most so many.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn tokens(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TokenRow>, StoreError> {
        statements::list_tokens(&self.readers, after, limit).await
    }

    /// Finds who has a token; `None` when nobody has, or it is over.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn authenticate(&self, token: &str) -> Result<Option<TokenRow>, StoreError> {
        let now = self.clock.now();
        let found = statements::token_of(&self.readers, &hash(token)).await?;
        let good = found.filter(|row| {
            row.revoked_at.is_none() && row.expires_at.is_none_or(|until| until > now)
        });
        if let Some(row) = &good
            && row.last_used_at.is_none_or(|last| now.since(last) >= USED_EVERY)
        {
            // Who may come in does so, also when that cannot be written.
            let _ = statements::note_token(self.writer()?, &row.name, now).await;
        }
        Ok(good)
    }

    /// Takes a token, by its name or id, out of use; `false` when there is none.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn revoke_token(&self, name: &str) -> Result<bool, StoreError> {
        statements::revoke_token(self.writer()?, name, self.clock.now()).await
    }

    /// Adds to the trail.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn audit(&self, deed: &Deed) -> Result<(), StoreError> {
        statements::audit(self.writer()?, deed, self.clock.now()).await
    }

    /// Lists the trail, the latest first: what was before the row of this id, at most so many.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn audit_log(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        statements::audit_log(&self.readers, before, limit).await
    }
}

/// A token is random and long, so a plain hash of it tells nothing and is found by an index.
fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}
