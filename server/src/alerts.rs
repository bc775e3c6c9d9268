//! `azud alerts`: shows the alerts of an instance's store, which may be running.

use crate::cli::Alerts;
use crate::cli::{Documents, Global};
use crate::database;
use crate::outcome::Outcome;
use crate::secrets;
use crate::table::table;
use azud_event::alert::Severity;
use azud_event::clock::Clock;
use azud_plan::resolve::{DATA_DIR, Instance};
use azud_store::{AlertFilter, AlertRow, Location, Store};
use std::path::PathBuf;

/// Shows alerts, the latest first.
pub fn alerts(arguments: &Alerts, global: &Global) -> Outcome {
    let place = match place(arguments, global) {
        Ok(place) => place,
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
    let location = match runtime.block_on(location(place)) {
        Ok(location) => location,
        Err(outcome) => return outcome,
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

/// Where to look for the database.
enum Place {
    Folder(PathBuf),
    Instance(Box<Instance>),
}

/// Finds it: of the folder that was named, else as the documents here say.
fn place(arguments: &Alerts, global: &Global) -> Result<Place, Outcome> {
    if let Some(data_dir) = &arguments.data_dir {
        return Ok(Place::Folder(data_dir.clone()));
    }
    let here = Documents::here();
    if here.all().is_empty() {
        return Ok(Place::Folder(PathBuf::from(DATA_DIR)));
    }
    let instance = crate::documents::instance_or_explain(&here, global);
    Ok(Place::Instance(Box::new(instance.ok_or(Outcome::Faults)?)))
}

async fn location(place: Place) -> Result<Location, Outcome> {
    match place {
        Place::Folder(folder) => Ok(database::in_folder(&folder)),
        Place::Instance(instance) => {
            let secrets = secrets::build(&instance, &Clock::system())?;
            database::location(&instance, &secrets).await
        }
    }
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
