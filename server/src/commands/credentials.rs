//! `azud credentials`.

use super::connectors::test;
use super::time;
use crate::admin::{self, Admin, Done, refuse};
use crate::cli::{Credentials, CredentialsCommand, Global, RotateCredential, SetCredential};
use crate::outcome::Outcome;
use crate::prompt;
use crate::table::{plain, table};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::component::{Secret, parse_duration};
use azud_store::{CredentialKind, CredentialRow, NewCredential};
use serde_json::json;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// How many credentials are listed.
const LISTED_MAX: u32 = 10_000;

/// How large a credential may be: a certificate with those between it and its authority.
const VALUE_BYTES_MAX: u64 = 256 * 1024;

/// Does what was asked for.
pub fn credentials(arguments: &Credentials, global: &Global) -> Outcome {
    let json = arguments.of.json;
    admin::with(&arguments.of, global, async |admin| match &arguments.command {
        None | Some(CredentialsCommand::List) => list(admin, json).await,
        Some(CredentialsCommand::Show { name }) => show(admin, name, json).await,
        Some(CredentialsCommand::Set(arguments)) => set(admin, arguments, json).await,
        Some(CredentialsCommand::Uses { name }) => uses(admin, name, json).await,
        Some(CredentialsCommand::Test { name }) => try_users(admin, name, json).await,
        Some(CredentialsCommand::Rotate(arguments)) => rotate(admin, arguments, json).await,
        Some(CredentialsCommand::Revoke { name }) => revoke(admin, name).await,
    })
}

async fn list(admin: &Admin, json: bool) -> Done {
    let rows = admin.store.credentials(None, LISTED_MAX).await?;
    if json {
        rows.iter().for_each(|row| println!("{}", row.to_json()));
    } else if rows.is_empty() {
        println!("no credentials; set one with `azud credentials set`");
    } else {
        let cells = |row: &CredentialRow| {
            [
                row.name.clone(),
                row.kind.clone(),
                row.state.clone(),
                row.version.to_string(),
                row.fingerprint.clone(),
                time(Some(row.updated_at)),
                time(row.expires_at),
            ]
        };
        let head = ["credential", "kind", "state", "version", "fingerprint", "changed", "ends"];
        print!("{}", table(head, rows.iter().map(cells)));
    }
    Ok(())
}

async fn found(admin: &Admin, name: &str) -> Result<CredentialRow, admin::Failed> {
    match admin.store.credential_row(name).await? {
        Some(row) => Ok(row),
        None => refuse(&format!("there is no credential `{name}`; see `azud credentials`")),
    }
}

async fn show(admin: &Admin, name: &str, json: bool) -> Done {
    let row = found(admin, name).await?;
    if json {
        println!("{}", row.to_json());
        return Ok(());
    }
    let lines = [
        ("credential", row.name.clone()),
        ("named in", format!("SECRET[azud.{}]", row.name)),
        ("kind", row.kind.clone()),
        ("state", row.state.clone()),
        ("version", row.version.to_string()),
        ("fingerprint", row.fingerprint.clone()),
        ("ends", time(row.expires_at)),
        ("last used", time(row.last_used_at)),
        ("last error", row.last_error.clone().unwrap_or_else(|| "-".to_owned())),
        ("made by", row.created_by.clone()),
        ("rotated", time(row.rotated_at)),
        ("old is good to", time(row.previous_until)),
    ];
    for (name, value) in lines {
        println!("{name:<15} {}", plain(&value));
    }
    Ok(())
}

/// Reads what a credential is: from a file, standard input, or the terminal without echo.
fn value(name: &str, file: Option<&Path>) -> Result<Secret, admin::Failed> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = match file {
        Some(path) => {
            File::open(path).and_then(|file| file.take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes))
        }
        None if std::io::stdin().is_terminal() => prompt::hidden(&format!("{name}: "), &mut bytes),
        None => std::io::stdin().take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes),
    };
    if let Err(error) = read {
        return refuse(&format!("{name} cannot be read: {error}"));
    }
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return refuse(&format!("{name} has more than {VALUE_BYTES_MAX} bytes"));
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return refuse(&format!("{name} is no text; write it in Base64"));
    };
    // The end of the line that a shell or an editor adds belongs to no secret of one line.
    let text = match text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        Some(line) if !line.contains('\n') => line,
        _ => text,
    };
    match text.is_empty() {
        true => refuse(&format!("{name} would be empty")),
        false => Ok(Secret::new(text.to_owned())),
    }
}

fn ends(text: Option<&str>) -> Result<Option<EventTime>, admin::Failed> {
    let Some(text) = text else { return Ok(None) };
    let in_span = || parse_duration(text).map(|span| Clock::system().now().saturating_add(span));
    match in_span().or_else(|| EventTime::from_rfc3339(text)) {
        Some(time) => Ok(Some(time)),
        None => refuse("write `--expires` as `90d` or `2026-03-01T10:00:00Z`"),
    }
}

fn check_name(name: &str) -> Done {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    match !name.is_empty() && name.len() <= 128 && name.bytes().all(good) {
        true => Ok(()),
        false => refuse("a name has letters, digits, `_`, `-`, `.` and `/`, at most 128"),
    }
}

async fn put(
    admin: &Admin,
    arguments: &SetCredential,
    overlap: Option<Duration>,
    action: &str,
) -> Result<CredentialRow, admin::Failed> {
    check_name(&arguments.name)?;
    let expires_at = ends(arguments.expires.as_deref())?;
    let keyring = admin.keyring().await?;
    let new = NewCredential {
        name: arguments.name.clone(),
        kind: arguments.kind.as_deref().and_then(CredentialKind::named),
        value: value(&arguments.name, arguments.file.as_deref())?,
        expires_at,
        overlap,
        by: admin::actor(),
    };
    let row = admin.store.set_credential(&keyring, &new).await?;
    let after = json!({ "version": row.version, "fingerprint": row.fingerprint });
    admin.audit(action, &format!("credential/{}", row.name), Some(after)).await?;
    Ok(row)
}

async fn set(admin: &Admin, arguments: &SetCredential, json: bool) -> Done {
    let row = put(admin, arguments, None, "credential.set").await?;
    if json {
        println!("{}", row.to_json());
    } else {
        println!(
            "{} is set, version {}; documents name it `SECRET[azud.{0}]`",
            row.name, row.version
        );
    }
    Ok(())
}

async fn users(admin: &Admin, name: &str) -> Result<Vec<String>, admin::Failed> {
    let keyring = admin.keyring().await?;
    Ok(admin.store.credential_uses(&keyring, name).await?)
}

async fn uses(admin: &Admin, name: &str, json: bool) -> Done {
    found(admin, name).await?;
    let uses = users(admin, name).await?;
    if json {
        uses.iter().for_each(|connector| println!("{}", json!({ "connector": connector })));
    } else if uses.is_empty() {
        println!("no connector names {name}");
    } else {
        uses.iter().for_each(|connector| println!("{connector}"));
    }
    Ok(())
}

async fn try_users(admin: &Admin, name: &str, json: bool) -> Done {
    found(admin, name).await?;
    let users = users(admin, name).await?;
    if users.is_empty() {
        return refuse(&format!("no connector names {name}, so nothing can be tried with it"));
    }
    let mut done = Ok(());
    for connector in users {
        if !json {
            println!("{connector}:");
        }
        done = test(admin, &connector, json).and(done);
    }
    done
}

async fn rotate(admin: &Admin, arguments: &RotateCredential, json: bool) -> Done {
    let (name, overlap) = (&arguments.set.name, arguments.overlap);
    found(admin, name).await?;
    let row = put(admin, &arguments.set, Some(overlap), "credential.rotate").await?;
    if !arguments.untested
        && !users(admin, name).await?.is_empty()
        && let Err(failed) = try_users(admin, name, json).await
    {
        let keyring = admin.keyring().await?;
        let back = admin.store.restore_credential(&keyring, name).await?;
        admin.audit("credential.restore", &format!("credential/{name}"), None).await?;
        if back {
            eprintln!("error: the new {name} does not work; the old one is in use again");
        }
        return Err(failed);
    }
    if json {
        println!("{}", row.to_json());
    } else {
        println!(
            "{name} is rotated, version {}; the old one is kept to {}",
            row.version,
            time(row.previous_until)
        );
    }
    Ok(())
}

async fn revoke(admin: &Admin, name: &str) -> Done {
    let row = found(admin, name).await?;
    let keyring = admin.keyring().await?;
    admin.store.revoke_credential(&keyring, &row.name).await?;
    admin.audit("credential.revoke", &format!("credential/{}", row.name), None).await?;
    println!("{} is out of use, and its value is gone; revoke it at its issuer too", row.name);
    Ok(())
}
