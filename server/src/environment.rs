//! `azud validate` tries what a start would, and makes, changes and holds nothing.

use crate::run::needs_store;
use crate::{api, connectors, database, keys, secrets};
use azud_event::clock::Clock;
use azud_plan::component::{Secret, SecretBackend, SecretError};
use azud_plan::diagnostic::{Diagnostic, codes};
use azud_plan::plan::Plan;
use azud_plan::resolve::{self, CREDENTIALS, Instance, Loaded, Places};
use azud_secrets::Cache;
use azud_store::{Keyring, Master, Store};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// How long a credential that was read counts: longer than documents are looked at.
const KEPT: Duration = Duration::from_secs(3_600);

/// Says what a start would say of the environment; nothing of documents that have faults.
pub fn try_all(checked: &Loaded) -> Vec<Diagnostic> {
    let Loaded { instance, places, secrets, .. } = checked;
    let Some(plan) = &checked.plan else { return Vec::new() };
    let mut found = resolve::environment(plan, instance, places);
    found.extend(api_tls(instance, places));
    let mut cache = match azud_secrets::build(&instance.secret_backends, &Clock::system()) {
        Ok(cache) => cache,
        Err(error) => {
            found.push(secrets::not_built(&error));
            return found;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let title = format!("the system gives no runtime: {error}");
            found.push(Diagnostic::nowhere(codes::NOT_STARTED, title));
            return found;
        }
    };
    runtime.block_on(async {
        let looked = look(checked, plan, &cache).await;
        // What is wrong with the database is not said again of each credential in it.
        let known = looked.is_ok();
        match looked {
            Ok(kept) => cache.add(CREDENTIALS, KEPT, Arc::new(Looked(kept))),
            Err(faults) => found.extend(faults),
        }
        let named = secrets.iter().filter(|secret| known || secret.name.backend != CREDENTIALS);
        found.extend(secrets::try_each(&cache, &named.collect::<Vec<_>>()).await);
    });
    found
}

fn api_tls(instance: &Instance, places: &Places) -> Option<Diagnostic> {
    let tls = instance.api_tls.as_ref().filter(|_| instance.api_address.is_some())?;
    let error = api::acceptor(tls).err()?;
    let span = places.find(&["api.tls"]);
    Some(secrets::not_built(&error).at(span))
}

/// The credentials of a database that is only looked at; `None` where nothing was sealed yet.
struct Looked(Option<(Store, Keyring)>);

impl SecretBackend for Looked {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        async move {
            match &self.0 {
                Some((store, keyring)) => secrets::read_credential(store, keyring, key).await,
                None => {
                    let name = key.split_once('#').map_or(key, |(name, _)| name);
                    Err(secrets::no_credential(name))
                }
            }
        }
        .boxed()
    }
}

/// Looks whether the database and its keys can be opened, where the plan or its secrets need them.
async fn look(
    checked: &Loaded,
    plan: &Plan,
    secrets: &Cache,
) -> Result<Option<(Store, Keyring)>, Vec<Diagnostic>> {
    let Loaded { instance, places, secrets: named, .. } = checked;
    let credentials = named.iter().any(|secret| secret.name.backend == CREDENTIALS);
    if !credentials && !needs_store(plan, &connectors::declared(plan)) {
        return Ok(None);
    }
    let database = places.find(&["database.url"]);
    let master = places.find(&["keys.master.path", "keys.master.name", "keys.master.key"]);
    let inside = master.is_none() || instance.database.is_none();
    if inside && resolve::writable(&instance.data_dir, "the instance").is_some() {
        // That has been said.
        return Err(Vec::new());
    }
    let opened = look_at_database(instance, secrets).await;
    let opened = opened.map_err(|fault| fault.at(database));
    let found = keys::master(instance, secrets).await.and_then(|found| match &found {
        // In the data folder it can be made where that can, which is tried.
        Master::Absent(path) if master.is_some() => {
            resolve::writable(path, "the master key").map_or(Ok(found), Err)
        }
        _ => Ok(found),
    });
    let found = found.map_err(|fault| fault.at(master));
    let (store, key) = match (opened, found) {
        (Ok(None), Ok(_)) => return Ok(None),
        (Ok(Some(store)), Ok(key)) => (store, key),
        (opened, found) => return Err(opened.err().into_iter().chain(found.err()).collect()),
    };
    match Keyring::look(&store, &key).await {
        Ok(keyring) => Ok(keyring.map(|keyring| (store, keyring))),
        Err(error) => Err(vec![keys::fault(&error).at(master)]),
    }
}

/// Opens a database that a start would open; `None` where it would make one.
async fn look_at_database(
    instance: &Instance,
    secrets: &Cache,
) -> Result<Option<Store>, Diagnostic> {
    let location = database::find(instance, secrets).await?;
    let own = location.path().filter(|_| instance.database.is_some());
    if let Some(fault) = own.and_then(|path| resolve::writable(path, "the database")) {
        return Err(fault);
    }
    Store::look(&location).await.map_err(|error| database::fault(&location, &error))
}
