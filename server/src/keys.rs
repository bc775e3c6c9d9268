//! The keys of the instance: where the master key is, and what is said when it is not right.

use crate::database;
use crate::outcome::{Outcome, tell};
use azud_plan::component::{Confidential, SecretError, Secrets};
use azud_plan::diagnostic::{Diagnostic, codes};
use azud_plan::resolve::{Instance, MasterKeyPlace};
use azud_secrets::Cache;
use azud_store::{KeyError, Keyring, Master, MasterKey, MasterKind, MasterPlace, Store};
use futures_util::FutureExt;
use std::sync::Arc;

/// Opens the keys of a database; they are made at the first start.
///
/// # Errors
/// Said on standard error: what is wrong with the master key, and what to do.
pub async fn open(
    store: &Store,
    instance: &Instance,
    secrets: &Cache,
) -> Result<Arc<Keyring>, Outcome> {
    let master = master(instance, secrets).await.map_err(|fault| tell(&fault))?;
    let opened = Keyring::open(store, &master).await.map_err(|error| explain(&error))?;
    let (place, secrets) = (instance.master_key.clone(), secrets.clone());
    let again = MasterPlace::new(move || {
        let (place, secrets) = (place.clone(), secrets.clone());
        async move { read_again(&place, &secrets).await }.boxed()
    });
    Ok(Arc::new(opened.reading_again(again)))
}

/// Reads the master key once more, whatever is kept of it in memory.
async fn read_again(place: &MasterKeyPlace, secrets: &Cache) -> Result<Master, KeyError> {
    if let MasterKeyPlace::Vault(key) | MasterKeyPlace::AwsSecretsManager(key) = place {
        key.names().for_each(|name| secrets.refused(name));
    }
    read(place, secrets).await.map_err(|error| match error {
        NoMaster::Key(error) => error,
        NoMaster::Secret(error) => KeyError::Unavailable(error.to_string()),
    })
}

/// Why there is no master key.
enum NoMaster {
    Key(KeyError),
    Secret(SecretError),
}

/// Looks for the master key where the documents say.
///
/// # Errors
/// It is there and cannot be used, or cannot be had.
pub async fn master(instance: &Instance, secrets: &dyn Secrets) -> Result<Master, Diagnostic> {
    read(&instance.master_key, secrets).await.map_err(|error| match error {
        NoMaster::Key(error) => fault(&error),
        NoMaster::Secret(error) => {
            let title = format!("the master key cannot be had: {error}");
            Diagnostic::nowhere(codes::SECRET_NOT_HAD, title)
                .help("`azud explain E002` says more; nothing was changed, and no key was made")
        }
    })
}

async fn read(place: &MasterKeyPlace, secrets: &dyn Secrets) -> Result<Master, NoMaster> {
    match place {
        MasterKeyPlace::File(path) => Master::file(path).map_err(NoMaster::Key),
        MasterKeyPlace::Environment(name) => {
            let value = std::env::var(name).ok();
            let key = MasterKey::from_environment(name, value.as_deref());
            key.map(Master::Ready).map_err(NoMaster::Key)
        }
        MasterKeyPlace::Vault(key) => kept(MasterKind::Vault, key, secrets).await,
        MasterKeyPlace::AwsSecretsManager(key) => {
            kept(MasterKind::AwsSecretsManager, key, secrets).await
        }
    }
}

/// Reads a master key that is a secret of a backend.
async fn kept(
    kind: MasterKind,
    key: &Confidential,
    secrets: &dyn Secrets,
) -> Result<Master, NoMaster> {
    let text = key.fill(secrets).await.map_err(NoMaster::Secret)?;
    let names: Vec<String> = key.names().map(ToString::to_string).collect();
    let place = format!("the secret {}", names.join(", "));
    let key = MasterKey::from_text(kind, None, text.reveal(), &place);
    key.map(Master::Ready).map_err(NoMaster::Key)
}

/// Says why the keys cannot be opened, and what to do.
pub fn explain(error: &KeyError) -> Outcome {
    tell(&fault(error))
}

/// Makes of an error why the keys cannot be opened, and what to do.
pub fn fault(error: &KeyError) -> Diagnostic {
    Diagnostic::nowhere(codes::KEYS, database::causes(error)).help(help(error))
}

fn help(error: &KeyError) -> &'static str {
    match error {
        KeyError::Lost { .. } | KeyError::Wrong { .. } => {
            "put the right key where `keys.master` says, or say there where it is; nothing was \
             changed, and no new key was made"
        }
        KeyError::Exposed { .. } => "`chmod 600` it; if somebody may have read it, rotate it",
        KeyError::Malformed { .. } => "make one with `openssl rand -base64 32`",
        KeyError::Unset { .. } => {
            "set it for the service (`EnvironmentFile`), or let `keys.master` be a file that systemd \
             gives it (`LoadCredential`): `azud explain E009`"
        }
        KeyError::File { .. } => "see that the instance's user may read it and its folder",
        KeyError::Unavailable(_) => "`azud explain E002` says more",
        KeyError::Store(_) => "`azud explain E007` says more",
    }
}
