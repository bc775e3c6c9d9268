//! The keys of the instance: where the master key is, and what is said when it is not right.

use crate::database;
use crate::outcome::Outcome;
use azud_plan::component::Secrets;
use azud_plan::resolve::{Instance, MasterKeyPlace};
use azud_store::{KeyError, Keyring, Master, MasterKey, MasterKind, Store};
use std::sync::Arc;

/// Opens the keys of a database; they are made at the first start.
///
/// # Errors
/// Said on standard error: what is wrong with the master key, and what to do.
pub async fn open(
    store: &Store,
    instance: &Instance,
    secrets: &dyn Secrets,
) -> Result<Arc<Keyring>, Outcome> {
    let master = master(instance, secrets).await?;
    let opened = Keyring::open(store, &master).await;
    opened.map(Arc::new).map_err(|error| explain(&error))
}

/// Looks for the master key where the documents say.
///
/// # Errors
/// Said on standard error: it is there and cannot be used, or cannot be had.
pub async fn master(instance: &Instance, secrets: &dyn Secrets) -> Result<Master, Outcome> {
    let (kind, key) = match &instance.master_key {
        MasterKeyPlace::File(path) => return Master::file(path).map_err(|error| explain(&error)),
        MasterKeyPlace::Environment(name) => {
            let value = std::env::var(name).ok();
            let key = MasterKey::from_environment(name, value.as_deref());
            return key.map(Master::Ready).map_err(|error| explain(&error));
        }
        MasterKeyPlace::Vault(key) => (MasterKind::Vault, key),
        MasterKeyPlace::AwsSecretsManager(key) => (MasterKind::AwsSecretsManager, key),
    };
    let text = key.fill(secrets).await.map_err(|error| {
        eprintln!("error[E002]: the master key cannot be had: {error}");
        eprintln!("help: `azud explain E002` says more; nothing was changed, and no key was made");
        Outcome::Environment
    })?;
    let names: Vec<String> = key.names().map(ToString::to_string).collect();
    let place = format!("the secret {}", names.join(", "));
    let key = MasterKey::from_text(kind, None, text.reveal(), &place);
    key.map(Master::Ready).map_err(|error| explain(&error))
}

/// Says why the keys cannot be opened, and what to do.
pub fn explain(error: &KeyError) -> Outcome {
    eprintln!("error[E009]: {}", database::causes(error));
    eprintln!("help: {}", help(error));
    Outcome::Environment
}

fn help(error: &KeyError) -> &'static str {
    match error {
        KeyError::Lost { .. } | KeyError::Wrong { .. } => {
            "put the right key back, from your backup; nothing was changed, and no new key was made"
        }
        KeyError::Exposed { .. } => "`chmod 600` it; if somebody may have read it, rotate it",
        KeyError::Malformed { .. } => "make one with `openssl rand -base64 32`",
        KeyError::Unset { .. } => "set it for the service, for example with `LoadCredential`",
        KeyError::File { .. } => "see that the instance's user may read it and its folder",
        KeyError::Store(_) => "`azud explain E007` says more",
    }
}
