//! `azud tokens`.

use super::time;
use crate::admin::{self, Admin, Done, refuse};
use crate::cli::{Global, Tokens, TokensCommand};
use crate::deeds::tokens as deeds;
use crate::outcome::Outcome;
use crate::table::table;
use azud_event::clock::Clock;
use azud_store::TokenRow;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// How many tokens are listed.
const LISTED_MAX: u32 = 10_000;

/// Does what was asked for.
pub fn tokens(arguments: &Tokens, global: &Global) -> Outcome {
    let json = arguments.of.json;
    admin::with(&arguments.of, global, async |admin| match &arguments.command {
        None | Some(TokensCommand::List) => list(admin, json).await,
        Some(TokensCommand::Create { name, role, expires, out }) => {
            create(admin, name, role, *expires, out.as_deref(), json).await
        }
        Some(TokensCommand::Revoke { name }) => revoke(admin, name).await,
    })
}

async fn list(admin: &Admin, json: bool) -> Done {
    let rows = admin.store.tokens(None, LISTED_MAX).await?;
    if json {
        rows.iter().for_each(|row| println!("{}", row.to_json()));
    } else if rows.is_empty() {
        println!("no tokens; make one with `azud tokens create`");
    } else {
        let cells = |row: &TokenRow| {
            [
                row.name.clone(),
                row.role.name().to_owned(),
                time(Some(row.created_at)),
                time(row.expires_at),
                time(row.last_used_at),
                time(row.revoked_at),
            ]
        };
        let head = ["token", "role", "made", "ends", "last used", "revoked"];
        print!("{}", table(head, rows.iter().map(cells)));
    }
    Ok(())
}

async fn create(
    admin: &Admin,
    name: &str,
    role: &str,
    expires: Option<Duration>,
    out: Option<&Path>,
    json: bool,
) -> Done {
    let until = expires.map(|span| Clock::system().now().saturating_add(span));
    let (row, token) = deeds::create(&admin.doer(), name, role, until).await?;
    if let Some(path) = out {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{}", token.reveal()));
        if let Err(error) = written {
            // Nobody has it, so nobody shall use it.
            deeds::revoke(&admin.doer(), name).await?;
            return refuse(&format!("{} cannot be written: {error}", path.display()));
        }
    }
    match (json, out) {
        (true, None) => {
            let mut shown = row.to_json();
            shown["token"] = token.reveal().into();
            println!("{shown}");
        }
        (true, Some(_)) => println!("{}", row.to_json()),
        (false, None) => {
            println!("{}", token.reveal());
            eprintln!("this is shown once; only its hash is kept");
        }
        (false, Some(path)) => println!("the token is in {}", path.display()),
    }
    Ok(())
}

async fn revoke(admin: &Admin, name: &str) -> Done {
    deeds::revoke(&admin.doer(), name).await?;
    println!("{name} opens nothing any more");
    Ok(())
}
