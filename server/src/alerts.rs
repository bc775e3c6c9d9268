//! `azud alerts`: shows the alerts of an instance's store, which may be running.

use crate::cli::Alerts;
use crate::cli::{Documents, Global};
use crate::database;
use crate::outcome::Outcome;
use crate::table::table;
use azud_event::alert::Severity;
use azud_store::{AlertFilter, AlertRow, Location, Store};
use std::path::Path;

/// Shows alerts, the latest first.
pub fn alerts(arguments: &Alerts, global: &Global) -> Outcome {
    let Some(location) = location(arguments, global) else { return Outcome::Faults };
    let location = match location {
        Ok(location) => location,
        Err(outcome) => return outcome,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system gives no runtime: {error}");
            return Outcome::Environment;
        }
    };
    let listed = runtime.block_on(async {
        let store = Store::read_only(&location).await?;
        store.list(&filter(arguments)).await
    });
    match listed {
        Ok(rows) if arguments.json => rows.iter().for_each(|row| println!("{}", row.to_json())),
        Ok(rows) => print!("{}", listing(&rows)),
        Err(error) => return database::explain(&location, &error),
    }
    Outcome::Well
}

/// Finds the database: of the folder that was named, else as the documents here say.
fn location(arguments: &Alerts, global: &Global) -> Option<Result<Location, Outcome>> {
    if let Some(data_dir) = &arguments.data_dir {
        return Some(Ok(database::in_folder(data_dir)));
    }
    let here = Documents::here();
    if here.all().is_empty() {
        return Some(Ok(database::in_folder(Path::new(azud_plan::resolve::DATA_DIR))));
    }
    let loaded = crate::documents::load_or_explain(&here, global)?;
    Some(database::location(&loaded.instance))
}

fn filter(arguments: &Alerts) -> AlertFilter {
    AlertFilter {
        rule: arguments.rule.clone(),
        state: arguments.state.clone(),
        severity: arguments.severity.as_deref().and_then(Severity::named),
        limit: arguments.limit,
        ..AlertFilter::default()
    }
}

/// Sets the rows in columns.
fn listing(rows: &[AlertRow]) -> String {
    if rows.is_empty() {
        return "no alerts\n".to_owned();
    }
    let head = ["revised", "rule", "severity", "state", "events", "key", "title"];
    table(head, rows.iter().map(cells))
}

fn cells(row: &AlertRow) -> [String; 7] {
    [
        row.revised_at.clone(),
        row.rule_id.clone(),
        row.severity_name().to_owned(),
        row.state.clone(),
        row.event_count.to_string(),
        row.key_text(),
        row.title.clone(),
    ]
}
