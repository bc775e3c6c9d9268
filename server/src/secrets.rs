//! The secrets of the instance: made of the table `[secret]`, tried by `validate`.

use crate::database;
use crate::outcome::Outcome;
use azud_event::clock::Clock;
use azud_plan::component::{BuildError, Secret, SecretBackend, SecretError, Secrets};
use azud_plan::diagnostic::{Diagnostic, Severity, codes};
use azud_plan::resolve::{CREDENTIALS, Instance, NamedSecret};
use azud_secrets::Cache;
use azud_store::{Keyring, Registry, Store};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;

/// How long a credential counts as fresh: reading one is a query, and commands change them while we
/// run.
const CREDENTIALS_REFRESH: Duration = Duration::from_secs(10);

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

/// Adds the backend `azud`: the table `credentials` of the database.
pub fn add_credentials(cache: &mut Cache, registry: &Registry) {
    let (store, keyring) = (Arc::clone(registry.store()), Arc::clone(registry.keyring()));
    cache.add(CREDENTIALS, CREDENTIALS_REFRESH, Arc::new(Credentials { store, keyring }));
}

/// The backend `azud`: the table `credentials` of the database.
struct Credentials {
    store: Arc<Store>,
    keyring: Arc<Keyring>,
}

impl SecretBackend for Credentials {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        async move {
            match self.store.credential(&self.keyring, key).await {
                Ok(Some(secret)) => Ok(secret),
                Ok(None) => Err(SecretError::Missing(format!(
                    "there is no credential `{key}`; `azud credentials set {key}` makes it"
                ))),
                Err(error) => Err(SecretError::Unavailable(format!(
                    "credential `{key}` cannot be read: {}",
                    database::causes(&error)
                ))),
            }
        }
        .boxed()
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
