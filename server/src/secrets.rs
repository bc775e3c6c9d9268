//! The secrets of the instance: made of the table `[secret]`, tried by `validate`.

use crate::outcome::Outcome;
use azud_event::clock::Clock;
use azud_plan::component::{BuildError, Secrets};
use azud_plan::diagnostic::{Diagnostic, Severity, codes};
use azud_plan::resolve::{CREDENTIALS, Instance, NamedSecret};
use azud_secrets::Cache;
use futures_util::StreamExt;
use futures_util::stream;

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
