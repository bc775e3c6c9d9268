//! The secrets of the instance: made of the table `[secret]`, tried by `validate`.

use crate::outcome::{Outcome, tell};
use azud_event::clock::Clock;
use azud_plan::component::{BuildError, Secret, SecretBackend, SecretError, SecretUse, Secrets};
use azud_plan::diagnostic::{Diagnostic, codes};
use azud_plan::resolve::{CREDENTIALS, Instance, NamedSecret};
use azud_secrets::Cache;
use azud_store::{Keyring, Registry, Store};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;

/// How many secrets `validate` tries at a time.
const TRIED_AT_A_TIME: usize = 16;

/// Makes the secrets of an instance; nothing is asked yet.
///
/// # Errors
/// Said on standard error: a backend that cannot be made.
pub fn build(instance: &Instance, clock: &Clock) -> Result<Cache, Outcome> {
    let built = azud_secrets::build(&instance.secret_backends, clock);
    built.map_err(|error| tell(&not_built(&error)))
}

/// Makes of an error why something cannot be made, and what to do.
pub fn not_built(error: &BuildError) -> Diagnostic {
    let fault = Diagnostic::nowhere(codes::NOT_STARTED, error.to_string());
    match &error.help {
        Some(help) => fault.help(help),
        None => fault,
    }
}

/// How often a credential of the database that is used is read again: so soon one that was set by
/// command is used.
const CREDENTIALS_REFRESH: Duration = Duration::from_secs(10);

/// Adds the credentials that the database keeps, as the backend `azud`.
pub fn add_credentials(cache: &mut Cache, registry: &Arc<Registry>) {
    let backend = Arc::new(Credentials(Arc::clone(registry)));
    cache.add(CREDENTIALS, CREDENTIALS_REFRESH, backend);
}

/// The table `credentials`; a key is the name of a credential, with `#member` where that is JSON.
struct Credentials(Arc<Registry>);

impl SecretBackend for Credentials {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        read_credential(self.0.store(), self.0.keyring(), key).boxed()
    }

    fn used(&self, key: &str, how: SecretUse<'_>) {
        let name = key.split_once('#').map_or(key, |(name, _)| name);
        self.0.note_use(name, how);
    }
}

/// Reads a credential, or a member of one.
///
/// # Errors
/// There is none, or the database does not answer.
pub async fn read_credential(
    store: &Store,
    keyring: &Keyring,
    key: &str,
) -> Result<Secret, SecretError> {
    let (name, member) = match key.split_once('#') {
        Some((name, member)) => (name, Some(member)),
        None => (key, None),
    };
    let found = store.credential(keyring, name).await;
    // Also of one that does not open: a key that this process has not yet, or has no more, takes
    // back nothing that was read before.
    let found = found.map_err(|error| SecretError::Unavailable(error.to_string()))?;
    let value = found.ok_or_else(|| no_credential(name))?;
    let Some(member) = member else { return Ok(value) };
    let json = serde_json::from_str::<serde_json::Map<_, _>>(value.reveal()).ok();
    match json.and_then(|mut members| members.remove(member)) {
        Some(serde_json::Value::String(text)) => Ok(Secret::new(text)),
        _ => Err(SecretError::Missing(format!("`{name}` has no text `{member}`"))),
    }
}

/// Says that there is no such credential, and what to do.
pub fn no_credential(name: &str) -> SecretError {
    let set = format!("set it with `azud credentials set {name}`");
    SecretError::Missing(format!("there is no credential `{name}`; {set}"))
}

/// Asks for the secrets that documents name, and says which cannot be had.
pub async fn try_each(cache: &Cache, named: &[&NamedSecret]) -> Vec<Diagnostic> {
    let tried = stream::iter(named).map(|secret| async move {
        let error = cache.get(&secret.name).await.err()?;
        let found = Diagnostic::error(codes::SECRET_NOT_HAD, secret.span, error.to_string(), "");
        Some(found.help("`--no-environment` looks at the documents alone"))
    });
    tried.buffered(TRIED_AT_A_TIME).filter_map(async |found| found).collect().await
}
