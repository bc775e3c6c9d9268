//! The keys of the instance: where the master key is, and what is said when it is not right.

use crate::database;
use crate::outcome::Outcome;
use azud_plan::resolve::{Instance, MasterKeyPlace};
use azud_store::{KeyError, Keyring, Master, MasterKey, Store};
use std::sync::Arc;

/// Opens the keys of a database; they are made at the first start.
///
/// # Errors
/// Said on standard error: what is wrong with the master key, and what to do.
pub async fn open(store: &Store, instance: &Instance) -> Result<Arc<Keyring>, Outcome> {
    let opened = match master(instance) {
        Ok(master) => Keyring::open(store, &master).await,
        Err(error) => Err(error),
    };
    opened.map(Arc::new).map_err(|error| explain(&error))
}

/// Looks for the master key where the documents say.
///
/// # Errors
/// When it is there and cannot be used.
pub fn master(instance: &Instance) -> Result<Master, KeyError> {
    match &instance.master_key {
        MasterKeyPlace::File(path) => Master::file(path),
        MasterKeyPlace::Environment(name) => {
            let value = std::env::var(name).ok();
            Ok(Master::Ready(MasterKey::from_environment(name, value.as_deref())?))
        }
    }
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
