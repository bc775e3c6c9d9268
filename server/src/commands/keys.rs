//! `azud keys`.

use crate::admin::{self, Admin, Done, Failed};
use crate::cli::{Global, Keys, KeysCommand};
use crate::keys;
use crate::outcome::Outcome;
use crate::table::table;
use azud_store::{KeyError, MasterKey, Unopened};
use serde_json::json;
use std::path::Path;

/// Does what was asked for.
pub fn keys(arguments: &Keys, global: &Global) -> Outcome {
    let json = arguments.of.json;
    admin::with(&arguments.of, global, async |admin| match &arguments.command {
        KeysCommand::Rotate { to, to_env } => match (to, to_env) {
            (None, None) => rotate(admin, json).await,
            (path, name) => change_master(admin, path.as_deref(), name.as_deref(), json).await,
        },
        KeysCommand::Verify => verify(admin, json).await,
    })
}

async fn rotate(admin: &Admin, json: bool) -> Done {
    let keyring = admin.keyring().await?;
    let rotated = keyring.rotate(&admin.store).await.map_err(told)?;
    let after = json!({ "sealed": rotated.sealed, "left": rotated.left });
    admin.audit("keys.rotate", "keys", Some(after.clone())).await?;
    if json {
        println!("{after}");
    } else {
        println!("{} secrets are sealed with a new data key", rotated.sealed);
    }
    if rotated.left > 0 {
        eprintln!("error: {} do not open; `azud keys verify` names them", rotated.left);
        return Err(Outcome::Environment.into());
    }
    Ok(())
}

async fn change_master(admin: &Admin, path: Option<&Path>, name: Option<&str>, json: bool) -> Done {
    let keyring = admin.keyring().await?;
    let to = match (path, name) {
        (_, Some(name)) => MasterKey::from_environment(name, std::env::var(name).ok().as_deref()),
        (Some(path), None) => MasterKey::from_file(path)
            .and_then(|found| found.map_or_else(|| MasterKey::make_file(path), Ok)),
        (None, None) => return Ok(()),
    };
    let to = to.map_err(told)?;
    keyring.change_master(&admin.store, &to).await.map_err(told)?;
    let after = json!({ "master": to.kind().name(), "master_version": to.version() });
    admin.audit("keys.master", "keys", Some(after.clone())).await?;
    if json {
        println!("{after}");
    } else {
        println!("the data keys are wrapped with the new master key ({})", to.version());
        println!(
            "put it where `keys.master` says, or say under `keys.master` where it is and start the \
             instance again, before the next `azud keys rotate`: until then the instance that runs \
             goes on with the data keys it has; it will not start again with the old master key"
        );
    }
    Ok(())
}

async fn verify(admin: &Admin, json: bool) -> Done {
    let keyring = admin.keyring().await?;
    let (opened, unopened) = keyring.verify(&admin.store).await.map_err(told)?;
    if json {
        let unopened: Vec<_> = unopened
            .iter()
            .map(|one| {
                let Unopened { table, field, name, why } = one;
                json!({ "table": table, "field": field, "name": name, "why": why })
            })
            .collect();
        println!("{}", json!({ "opened": opened, "unopened": unopened }));
    } else if unopened.is_empty() {
        println!("all {opened} secrets open");
    } else {
        let cells = |one: &Unopened| {
            [one.table.to_owned(), one.field.to_owned(), one.name.clone(), one.why.clone()]
        };
        print!("{}", table(["table", "column", "of", "why"], unopened.iter().map(cells)));
        println!("{opened} others open");
    }
    match unopened.is_empty() {
        true => Ok(()),
        false => Err(Outcome::Environment.into()),
    }
}

fn told(error: KeyError) -> Failed {
    keys::explain(&error).into()
}
