//! Secrets: the backends of the table `[secret]`, a file each, and what is kept of them in memory.
//!
//! ```text
//!   a component ─▶ Cache ─▶ fresh? ─ yes ─▶ given
//!                    │        └ no ─▶ one read for all who ask ─▶ backend
//!                    └ a backend that is down does not take back what was read before
//! ```
//!
//! A backend reads one secret and remembers none ([`SecretBackend`]); the [`Cache`] remembers, and
//! is all that components see ([`azud_plan::component::Secrets`]). No text of an error, no line of
//! the log and no metric holds a value; memory that held one is wiped, as far as it is ours.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aws;
mod cache;
mod directory;
mod env;
mod exec;
mod file;
mod http;
mod limits;
mod tell;
mod vault;
mod wiped;

pub use cache::Cache;

use azud_event::clock::Clock;
use azud_plan::component::{BuildError, SecretBackend};
use azud_plan::resolve::{SecretBackendKind, SecretBackendSpec};
use std::sync::Arc;

/// Makes the backends of an instance, and what keeps their secrets. Nothing is asked yet.
///
/// # Errors
/// When a backend cannot be made: a certificate that cannot be read.
pub fn build(specs: &[SecretBackendSpec], clock: &Clock) -> Result<Cache, BuildError> {
    let mut cache = Cache::new(clock.clone());
    // Those on this machine first: the others may need secrets of them.
    for local in [true, false] {
        let before = Arc::new(cache.clone());
        for spec in specs.iter().filter(|spec| spec.kind.is_local() == local) {
            let backend = backend(spec, &before, clock)?;
            cache.add(&spec.name, spec.refresh, backend);
        }
    }
    Ok(cache)
}

fn backend(
    spec: &SecretBackendSpec,
    local: &Arc<Cache>,
    clock: &Clock,
) -> Result<Arc<dyn SecretBackend>, BuildError> {
    let name = spec.name.clone();
    Ok(match &spec.kind {
        SecretBackendKind::Directory { path, remove_trailing_whitespace } => {
            Arc::new(directory::Directory::new(name, path.as_deref(), *remove_trailing_whitespace)?)
        }
        SecretBackendKind::Env { prefix, allow } => {
            Arc::new(env::Env::new(name, prefix.clone(), allow.clone()))
        }
        SecretBackendKind::Exec { command, timeout, protocol } => {
            Arc::new(exec::Exec::new(name, command.clone(), *timeout, protocol.clone()))
        }
        SecretBackendKind::File { path } => Arc::new(file::File::new(name, path.clone())),
        SecretBackendKind::AwsSecretsManager(options) => {
            Arc::new(aws::AwsSecretsManager::new(&name, options, local, clock)?)
        }
        SecretBackendKind::Vault(options) => {
            Arc::new(vault::Vault::new(&name, options, local, clock)?)
        }
    })
}
