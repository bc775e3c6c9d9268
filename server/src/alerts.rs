//! `azud alerts`: shows the alerts of an instance's store, which may be running.

use crate::cli::Alerts;
use crate::cli::{Documents, Global};
use crate::outcome::Outcome;
use azud_event::alert::Severity;
use azud_store::{AlertFilter, AlertRow, Store};
use std::path::PathBuf;

/// Shows alerts, the latest first.
pub fn alerts(arguments: &Alerts, global: &Global) -> Outcome {
    let Some(data_dir) = data_dir(arguments, global) else { return Outcome::Faults };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system gives no runtime: {error}");
            return Outcome::Environment;
        }
    };
    let path = data_dir.join("azud.db");
    let listed = runtime.block_on(async {
        let store = Store::read_only(&path).await?;
        store.list(&filter(arguments)).await
    });
    match listed {
        Ok(rows) if arguments.json => rows.iter().for_each(|row| println!("{}", row.to_json())),
        Ok(rows) => print!("{}", table(&rows)),
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("help: name the instance's folder with --data-dir; it must have run once");
            return Outcome::Environment;
        }
    }
    Outcome::Well
}

fn data_dir(arguments: &Alerts, global: &Global) -> Option<PathBuf> {
    if let Some(data_dir) = &arguments.data_dir {
        return Some(data_dir.clone());
    }
    let here = Documents { paths: Vec::new(), config: Vec::new(), config_dir: Vec::new() };
    if here.all().is_empty() {
        return Some(PathBuf::from(azud_plan::resolve::DATA_DIR));
    }
    crate::documents::load_or_explain(&here, global).map(|loaded| loaded.instance.data_dir)
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

/// Sets the rows in columns, each as wide as its widest cell.
fn table(rows: &[AlertRow]) -> String {
    if rows.is_empty() {
        return "no alerts\n".to_owned();
    }
    let head =
        ["revised", "rule", "severity", "state", "events", "key", "title"].map(str::to_owned);
    let cells: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in cells {
        let columns = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(columns.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
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
