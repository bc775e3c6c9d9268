//! `azud connectors`.

use super::{exchanges, time};
use crate::admin::{self, Admin, Done, encoded, refuse};
use crate::cli::{
    AddConnector, Connectors, ConnectorsCommand, CursorCommand, Global, ListConnectors,
};
use crate::deeds::connectors::{self as deeds, Added};
use crate::outcome::Outcome;
use crate::table::{ago, plain, table};
use azud_plan::component::{ConnectorKind, Cursor};
use azud_store::{ConnectorFilter, ConnectorRow, HistoryRow, Status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// An instance that runs was seen so long ago at most: it says so every ten seconds.
const ALIVE: Duration = Duration::from_secs(30);

/// How large an exported cursor may be.
const EXPORT_BYTES_MAX: u64 = 4 << 20;

/// Does what was asked for.
pub fn connectors(arguments: &Connectors, global: &Global) -> Outcome {
    let list = ConnectorsCommand::List(ListConnectors::default());
    let command = arguments.command.as_ref().unwrap_or(&list);
    admin::with(&arguments.of, global, async |admin| run(command, admin, arguments.of.json).await)
}

async fn run(command: &ConnectorsCommand, admin: &Admin, json: bool) -> Done {
    match command {
        ConnectorsCommand::List(arguments) => list(arguments, admin, json).await,
        ConnectorsCommand::Show { name, history } => show(name, *history, admin, json).await,
        ConnectorsCommand::Test { name } => {
            admin.connector(name).await?;
            test(admin, name, json)
        }
        ConnectorsCommand::Poll { name } => {
            admin.connector(name).await?;
            poll(admin, name)
        }
        ConnectorsCommand::Trace { name } => {
            admin.connector(name).await?;
            exchanges::trace(admin, name, json)
        }
        ConnectorsCommand::Record { name, folder, length } => {
            admin.connector(name).await?;
            exchanges::record(admin, name, folder, *length).await
        }
        ConnectorsCommand::Enable { name } => switch(name, true, admin).await,
        ConnectorsCommand::Disable { name } => switch(name, false, admin).await,
        ConnectorsCommand::Add(arguments) => add(arguments, admin).await,
        ConnectorsCommand::Remove { name } => remove(name, admin).await,
        ConnectorsCommand::Cursor(command) => cursor(command, admin, json).await,
    }
}

async fn list(arguments: &ListConnectors, admin: &Admin, json: bool) -> Done {
    let kind = |name: &String| ConnectorKind::ALL.into_iter().find(|kind| kind.name() == name);
    let filter = ConnectorFilter {
        status: arguments.status.as_deref().and_then(Status::named),
        kind: arguments.kind.as_ref().and_then(kind),
        removed: arguments.removed,
        after: arguments.after.clone(),
        limit: arguments.limit,
    };
    let rows = admin.store.connectors(&filter).await?;
    if json {
        rows.iter().for_each(|row| println!("{}", row.to_json()));
    } else if rows.is_empty() {
        println!(
            "no connectors: no component of this instance talks to the outside, or it never ran"
        );
    } else {
        let head = ["connector", "type", "status", "since", "last success", "records", "why"];
        print!("{}", table(head, rows.iter().map(cells)));
        warn_of_the_past(admin).await?;
    }
    Ok(())
}

/// Says that the instance does not run, where that is so: what is shown is how things were.
async fn warn_of_the_past(admin: &Admin) -> Done {
    let unseen = admin.store.unseen_for().await?.filter(|unseen| *unseen > ALIVE);
    if let Some(unseen) = unseen {
        eprintln!("the instance was here {}; this is how it was then", ago(unseen));
    }
    Ok(())
}

fn cells(row: &ConnectorRow) -> [String; 7] {
    [
        row.name.clone(),
        row.r#type.clone(),
        row.status.name().to_owned(),
        time(Some(row.status_since)),
        time(row.last_successful_connection),
        row.records_total.to_string(),
        row.status_message.clone().unwrap_or_default(),
    ]
}

async fn show(name: &str, history: u32, admin: &Admin, json: bool) -> Done {
    let row = admin.connector(name).await?;
    let changes = admin.store.connector_history(&row, None, history).await?;
    let cursors = admin.store.cursor_summaries(&row).await?;
    if json {
        let mut shown = row.to_json();
        shown["history"] = changes.iter().map(HistoryRow::to_json).collect();
        shown["cursors"] = cursors.iter().map(|cursor| cursor.to_json()).collect();
        println!("{shown}");
        return Ok(());
    }
    let lines = [
        ("connector", row.name.clone()),
        ("type", format!("{} ({})", row.r#type, row.kind)),
        ("from", row.origin_path.clone().unwrap_or_else(|| "the API".to_owned())),
        ("status", format!("{} since {}", row.status.name(), time(Some(row.status_since)))),
        ("why", row.status_message.clone().unwrap_or_else(|| "-".to_owned())),
        ("last success", time(row.last_successful_connection)),
        ("last attempt", time(row.last_attempt_at)),
        ("next attempt", time(row.next_attempt_at)),
        ("last error", row.last_error.clone().unwrap_or_else(|| "-".to_owned())),
        ("attempts", format!("{}, {} failed", row.attempts_total, row.failures_total)),
        ("records", format!("{} in {} bytes", row.records_total, row.bytes_total)),
        ("settings", row.summary.to_string()),
    ];
    for (name, value) in lines {
        println!("{name:<13} {}", plain(&value));
    }
    for cursor in &cursors {
        let partition = if cursor.partition.is_empty() { "" } else { &cursor.partition };
        println!("{:<13} {} {}", "cursor", plain(partition), plain(&cursor.summary));
    }
    let head = ["at", "from", "to", "reason", "code", "flaps", "message"];
    print!("\n{}", table(head, changes.iter().map(change_cells)));
    warn_of_the_past(admin).await
}

fn change_cells(change: &HistoryRow) -> [String; 7] {
    [
        time(Some(change.at)),
        change.from.clone(),
        change.to.clone(),
        change.reason.clone(),
        change.http_status.map(|code| code.to_string()).unwrap_or_default(),
        change.flaps.to_string(),
        change.message.clone().unwrap_or_default(),
    ]
}

/// Asks the instance to try a connector, and shows what it saw.
fn test(admin: &Admin, name: &str, json: bool) -> Done {
    let (code, answer) =
        admin.ask("POST", &format!("/api/v1/connectors/{}/test", encoded(name)))?;
    if code != 200 {
        return refuse(&problem(code, &answer));
    }
    if json {
        println!("{answer}");
    } else {
        show_steps(&answer);
    }
    match answer["passed"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(Outcome::Environment.into()),
    }
}

/// Shows what the instance saw when it tried a connector.
pub(super) fn show_steps(answer: &Value) {
    for step in answer["steps"].as_array().into_iter().flatten() {
        let mark = if step["failed"].is_null() { "well  " } else { "failed" };
        let text = |name: &str| plain(step[name].as_str().unwrap_or_default());
        println!("{mark} {:<16} {}", text("name"), text("message"));
    }
}

fn poll(admin: &Admin, name: &str) -> Done {
    let (code, answer) =
        admin.ask("POST", &format!("/api/v1/connectors/{}/poll", encoded(name)))?;
    if code != 202 {
        return refuse(&problem(code, &answer));
    }
    println!("{name} was asked to poll now; `azud connectors show {name}` shows what came of it");
    Ok(())
}

/// Says what a problem (RFC 9457) says.
pub(super) fn problem(code: u16, answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    match (text("title"), text("detail")) {
        (title, _) if title.is_empty() => format!("the instance answers {code}"),
        (title, detail) if detail.is_empty() => title,
        (title, detail) => format!("{title}: {detail}"),
    }
}

async fn switch(name: &str, enabled: bool, admin: &Admin) -> Done {
    let row = admin.connector(name).await?;
    let changed = deeds::switch(&admin.doer(), &row, enabled).await?;
    let word = if enabled { "enabled" } else { "disabled" };
    println!("{} is {word}{}", row.name, if changed { "" } else { " already" });
    Ok(())
}

async fn add(arguments: &AddConnector, admin: &Admin) -> Done {
    let added = Added {
        name: arguments.name.clone(),
        r#type: arguments.r#type.clone(),
        labels: arguments.labels.iter().cloned().collect(),
        enabled: true,
    };
    let keyring = admin.keyring().await?;
    deeds::add(&admin.doer(), &keyring, added).await?;
    println!(
        "{} is there; a definition with `connector = \"…\"` that matches it runs for it",
        arguments.name
    );
    Ok(())
}

async fn remove(name: &str, admin: &Admin) -> Done {
    let row = admin.connector(name).await?;
    deeds::remove(&admin.doer(), &row).await?;
    println!("{} is gone, with its cursor and history", row.name);
    Ok(())
}

async fn cursor(command: &CursorCommand, admin: &Admin, json: bool) -> Done {
    match command {
        CursorCommand::Show { name } => {
            let row = admin.connector(name).await?;
            let cursors = admin.store.cursor_summaries(&row).await?;
            if json {
                cursors.iter().for_each(|cursor| println!("{}", cursor.to_json()));
            } else if cursors.is_empty() {
                println!("{name} has no cursor: it begins as at its first run");
            } else {
                let head = ["partition", "how far", "event time", "saved"];
                let cells = cursors.iter().map(|cursor| {
                    let (to, at) = (time(cursor.event_time), time(Some(cursor.updated_at)));
                    [cursor.partition.clone(), cursor.summary.clone(), to, at]
                });
                print!("{}", table(head, cells));
            }
            Ok(())
        }
        CursorCommand::Export { name } => {
            let row = admin.connector(name).await?;
            let keyring = admin.keyring().await?;
            for (partition, cursor) in admin.store.cursors(&keyring, &row).await? {
                println!("{}", exported(&partition, &cursor));
            }
            admin.audit("connector.cursor.export", &format!("connector/{name}"), None).await
        }
        CursorCommand::Set { name, file } => set_cursor(name, file.as_deref(), admin).await,
        CursorCommand::Reset { name, partition } => {
            let row = admin.connector(name).await?;
            let gone = deeds::reset_cursors(&admin.doer(), &row, partition.as_deref()).await?;
            println!("{gone} cursors of {name} are forgotten; it begins there as at its first run");
            Ok(())
        }
    }
}

fn exported(partition: &str, cursor: &Cursor) -> Value {
    let event_time = cursor.event_time.map(|time| time.to_rfc3339());
    json!({
        "partition": partition, "state": STANDARD.encode(&cursor.state),
        "format": cursor.format, "summary": cursor.summary, "event_time": event_time,
    })
}

async fn set_cursor(name: &str, file: Option<&Path>, admin: &Admin) -> Done {
    let row = admin.connector(name).await?;
    let mut text = String::new();
    let read = match file {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(EXPORT_BYTES_MAX).read_to_string(&mut text)),
        None => std::io::stdin().take(EXPORT_BYTES_MAX).read_to_string(&mut text),
    };
    if let Err(error) = read {
        return refuse(&format!("the cursor cannot be read: {error}"));
    }
    let cursors: Option<Vec<(String, Cursor)>> =
        text.lines().filter(|line| !line.trim().is_empty()).map(imported).collect();
    let Some(cursors) = cursors.filter(|cursors| !cursors.is_empty()) else {
        return refuse(
            "that is no cursor: give what `azud connectors cursor export` wrote, or \
             `{\"cursor\": \"…\"}`",
        );
    };
    let keyring = admin.keyring().await?;
    for (partition, cursor) in &cursors {
        deeds::set_cursor(&admin.doer(), &keyring, &row, partition, cursor).await?;
    }
    println!("{name} goes on from there, when it polls next");
    Ok(())
}

/// Reads what [`exported`] wrote, or a person: `{"cursor": "…"}`.
fn imported(line: &str) -> Option<(String, Cursor)> {
    let value: Value = serde_json::from_str(line).ok()?;
    if let Some(cursor) = value["cursor"].as_str() {
        let written =
            value.as_object()?.keys().all(|key| ["cursor", "partition"].contains(&&**key));
        let partition = value["partition"].as_str().unwrap_or_default().to_owned();
        return Some((partition, deeds::written_cursor(cursor).ok().filter(|_| written)?));
    }
    let event_time = value["event_time"].as_str();
    let cursor = Cursor {
        state: STANDARD.decode(value["state"].as_str()?).ok()?,
        format: u32::try_from(value["format"].as_u64()?).ok()?,
        summary: value["summary"].as_str()?.to_owned(),
        event_time: event_time.and_then(azud_event::time::EventTime::from_rfc3339),
    };
    Some((value["partition"].as_str()?.to_owned(), cursor))
}
