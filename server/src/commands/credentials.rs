//! `azud credentials`.

use super::connectors::{problem, show_steps};
use super::time;
use crate::admin::{self, Admin, Done, encoded, refuse};
use crate::cli::{Credentials, CredentialsCommand, Global, RotateCredential, SetCredential};
use crate::deeds::credentials::{self as deeds, Rotation, VALUE_SIGNS_MAX};
use crate::outcome::Outcome;
use crate::prompt;
use crate::table::{plain, table};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::component::{Secret, parse_duration};
use azud_store::{CredentialKind, CredentialRow};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// How many credentials are listed.
const LISTED_MAX: u32 = 10_000;

/// How much is read of what may be a credential: as much as its signs may have bytes.
const VALUE_BYTES_MAX: u64 = 4 * VALUE_SIGNS_MAX as u64;

/// Does what was asked for.
pub fn credentials(arguments: &Credentials, global: &Global) -> Outcome {
    let json = arguments.of.json;
    admin::with(&arguments.of, global, async |admin| match &arguments.command {
        None | Some(CredentialsCommand::List) => list(admin, json).await,
        Some(CredentialsCommand::Show { name }) => show(admin, name, json).await,
        Some(CredentialsCommand::Set(arguments)) => set(admin, arguments, json).await,
        Some(CredentialsCommand::Uses { name }) => uses(admin, name, json).await,
        Some(CredentialsCommand::Test { name }) => test(admin, name, json).await,
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

/// Reads what is to be set.
fn given(arguments: &SetCredential) -> Result<deeds::Value, admin::Failed> {
    Ok(deeds::Value {
        expires_at: ends(arguments.expires.as_deref())?,
        kind: arguments.kind.as_deref().and_then(CredentialKind::named),
        value: value(&arguments.name, arguments.file.as_deref())?,
    })
}

async fn set(admin: &Admin, arguments: &SetCredential, json: bool) -> Done {
    let keyring = admin.keyring().await?;
    let value = given(arguments)?;
    let row = deeds::set(&admin.doer(), &keyring, &arguments.name, value, None).await?;
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

/// Has the instance try every connector that uses a credential, and shows what it saw.
async fn test(admin: &Admin, name: &str, json: bool) -> Done {
    found(admin, name).await?;
    let path = format!("/api/v1/credentials/{}/test", encoded(name));
    let (code, answer) = admin.ask("POST", &path)?;
    if code != 200 {
        return refuse(&problem(code, &answer));
    }
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return refuse(&format!("no connector that can be tried names {name}"));
    }
    let mut done = Ok(());
    for item in items {
        match json {
            true => println!("{item}"),
            false => {
                println!("{}:", plain(item["connector"].as_str().unwrap_or_default()));
                show_steps(item);
            }
        }
        if item["passed"] != true {
            done = Err(Outcome::Environment.into());
        }
    }
    done
}

/// A new value, on its way to the instance.
#[derive(Serialize)]
struct Body<'a> {
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    expires_at: Option<String>,
    overlap: String,
    untested: bool,
}

/// Rotates by the instance that runs, which alone can try the new value where it is to be; where
/// none runs, here.
async fn rotate(admin: &Admin, arguments: &RotateCredential, json: bool) -> Done {
    let (name, overlap) = (&arguments.set.name, arguments.overlap);
    found(admin, name).await?;
    let value = given(&arguments.set)?;
    let body = Body {
        value: value.value.reveal(),
        kind: value.kind.map(CredentialKind::name),
        expires_at: value.expires_at.map(EventTime::to_rfc3339),
        overlap: format!("{}ms", overlap.as_millis()),
        untested: arguments.untested,
    };
    let body = Zeroizing::new(serde_json::to_vec(&body).expect("texts are JSON"));
    let path = format!("/api/v1/credentials/{}/rotate", encoded(name));
    let rotated = match admin.ask_with("POST", &path, &body)? {
        Some((200, rotated)) => rotated,
        Some((code, answer)) => return refuse(&problem(code, &answer)),
        None => {
            let rotation = Rotation {
                doer: admin.doer(),
                keyring: admin.keyring().await?,
                name: name.clone(),
                value,
                overlap,
                untested: arguments.untested,
            };
            deeds::rotate(rotation, None).await?.0.to_json()
        }
    };
    show_rotated(&rotated, json);
    Ok(())
}

fn show_rotated(rotated: &Value, json: bool) {
    if json {
        println!("{rotated}");
        return;
    }
    let text = |name: &str| plain(rotated[name].as_str().unwrap_or("-"));
    println!(
        "{} is rotated, version {}; the old one is kept to {}",
        text("name"),
        rotated["version"],
        text("previous_until")
    );
    let names = |list: &Value| {
        let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(plain).collect::<Vec<_>>().join(", ")
    };
    let (tried, untried) = (names(&rotated["tried"]), names(&rotated["untried"]));
    if !tried.is_empty() {
        println!("it works with {tried}");
    }
    if !untried.is_empty() {
        eprintln!("nothing can try it with {untried}");
    }
}

async fn revoke(admin: &Admin, name: &str) -> Done {
    let row = found(admin, name).await?;
    let keyring = admin.keyring().await?;
    deeds::revoke(&admin.doer(), &keyring, &row.name).await?;
    println!("{} is out of use, and its value is gone; revoke it at its issuer too", row.name);
    Ok(())
}
