//! What people do to the tokens of the API.

use super::{Doer, Refusal, check_name, written};
use azud_event::time::EventTime;
use azud_plan::component::Secret;
use azud_store::{Role, TokenRow};
use serde_json::json;

/// Makes a token, which is given once.
///
/// # Errors
/// It is not said as it must be, there is one of that name, or what the database answers.
pub async fn create(
    doer: &Doer,
    name: &str,
    role: &str,
    expires_at: Option<EventTime>,
) -> Result<(TokenRow, Secret), Refusal> {
    let Some(role) = Role::named(role) else {
        let text = "the role is viewer, analyst, editor or admin";
        return Err(Refusal::Malformed(text.to_owned()));
    };
    check_name(name)?;
    let done = doer.store.create_token(name, role, expires_at).await;
    let after = json!({ "role": role.name(), "expires_at": written(expires_at) });
    doer.did("token.create", &format!("token/{name}"), Some(after), done).await
}

/// Takes a token, by its name or id, out of use for good.
///
/// # Errors
/// There is none, or what the database answers.
pub async fn revoke(doer: &Doer, name: &str) -> Result<(), Refusal> {
    let done = match doer.store.revoke_token(name).await {
        Ok(true) => Ok(()),
        Ok(false) => return Err(Refusal::Missing(format!("there is no token `{name}`"))),
        Err(error) => Err(error),
    };
    doer.did("token.revoke", &format!("token/{name}"), None, done).await
}
