//! The secrets of the instance: made of the table `[secret]`, tried by `validate`.

use crate::outcome::Outcome;
use azud_event::clock::Clock;
use azud_plan::component::{BuildError, Secret, SecretBackend, SecretError, SecretUse, Secrets};
use azud_plan::diagnostic::{Diagnostic, Severity, codes};
use azud_plan::resolve::{CREDENTIALS, Instance, NamedSecret};
use azud_secrets::Cache;
use azud_store::Registry;
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
    azud_secrets::build(&instance.secret_backends, clock).map_err(|error| {
        eprintln!("error[E001]: {error}");
        if let Some(help) = &error.help {
            eprintln!("help: {help}");
        }
        Outcome::Environment
    })
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
        async move {
            let (name, member) = match key.split_once('#') {
                Some((name, member)) => (name, Some(member)),
                None => (key, None),
            };
            let found = self.0.store().credential(self.0.keyring(), name).await;
            // Also of one that does not open: a key that this process has not yet, or has no more,
            // takes back nothing that was read before.
            let found = found.map_err(|error| SecretError::Unavailable(error.to_string()))?;
            let value = found.ok_or_else(|| {
                let set = format!("set it with `azud credentials set {name}`");
                SecretError::Missing(format!("there is no credential `{name}`; {set}"))
            })?;
            let Some(member) = member else { return Ok(value) };
            let json = serde_json::from_str::<serde_json::Map<_, _>>(value.reveal()).ok();
            match json.and_then(|mut members| members.remove(member)) {
                Some(serde_json::Value::String(text)) => Ok(Secret::new(text)),
                _ => Err(SecretError::Missing(format!("`{name}` has no text `{member}`"))),
            }
        }
        .boxed()
    }

    fn used(&self, key: &str, how: SecretUse<'_>) {
        let name = key.split_once('#').map_or(key, |(name, _)| name);
        self.0.note_use(name, how);
    }
}

/// Asks for every secret that documents name, and says which cannot be had.
pub fn try_all(instance: &Instance, named: &[NamedSecret]) -> Vec<Diagnostic> {
    let cache = match azud_secrets::build(&instance.secret_backends, &Clock::system()) {
        Ok(cache) => cache,
        Err(error) => return vec![not_built(&error)],
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(try_each(&cache, named)),
        Err(error) => vec![nowhere(format!("the system gives no runtime: {error}"))],
    }
}

async fn try_each(cache: &Cache, named: &[NamedSecret]) -> Vec<Diagnostic> {
    // The database is not opened to look at documents.
    let asked = named.iter().filter(|secret| secret.name.backend != CREDENTIALS);
    let tried = stream::iter(asked).map(|secret| async move {
        let error = cache.get(&secret.name).await.err()?;
        let found = Diagnostic::error(codes::SECRET_NOT_HAD, secret.span, error.to_string(), "");
        Some(found.help("`--no-environment` looks at the documents alone"))
    });
    tried.buffered(TRIED_AT_A_TIME).filter_map(async |found| found).collect().await
}

fn not_built(error: &BuildError) -> Diagnostic {
    let found = nowhere(error.to_string());
    match &error.help {
        Some(help) => found.help(help),
        None => found,
    }
}

fn nowhere(title: String) -> Diagnostic {
    Diagnostic {
        code: codes::NOT_STARTED,
        severity: Severity::Error,
        title,
        labels: Vec::new(),
        help: Vec::new(),
        notes: Vec::new(),
    }
}
