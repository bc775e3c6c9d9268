//! `azud run --replay`: recordings that answer connectors in place of the network.

use crate::outcome::Outcome;
use azud_client::{Replay, Traces};
use azud_plan::component::{ConnectorKind, matches};
use azud_plan::plan::Plan;
use azud_store::{ConnectorFilter, Origin, Store};
use std::path::Path;

/// Makes what keeps the exchanges of connectors; those that were recorded answer in place of
/// others.
///
/// # Errors
/// Said on standard error: what is written has another form, names a connector that is not polled
/// here, or a folder that cannot be read.
pub async fn traces(of: &[String], plan: &Plan, store: Option<&Store>) -> Result<Traces, Outcome> {
    let traces = Traces::default();
    if of.is_empty() {
        return Ok(traces);
    }
    let known = polled(plan, store).await;
    for written in of {
        let Some((connector, folder)) = written.split_once('=') else {
            return Err(refuse(&format!("`--replay {written}` is not of the form NAME=FOLDER")));
        };
        if !known.iter().any(|name| name == connector) {
            let there = match known.is_empty() {
                true => "none is".to_owned(),
                false => format!("there are {}", known.join(", ")),
            };
            return Err(refuse(&format!(
                "`--replay {written}`: no connector `{connector}` is polled here; {there}"
            )));
        }
        let replay = Replay::load(Path::new(folder))
            .map_err(|error| refuse(&format!("{folder} cannot be replayed: {error}")))?;
        traces.replay(connector, replay);
    }
    Ok(traces)
}

fn refuse(message: &str) -> Outcome {
    eprintln!("error: {message}");
    Outcome::Usage
}

/// Lists the connectors that are polled: the sources that have a row of their own, and the rows
/// that definitions run for.
async fn polled(plan: &Plan, store: Option<&Store>) -> Vec<String> {
    let filter = ConnectorFilter { limit: u32::MAX, ..ConnectorFilter::default() };
    let rows = match store {
        // A database that is gone by now is told by whatever comes next.
        Some(store) => store.connectors(&filter).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let mut names = Vec::new();
    for source in &plan.sources {
        let Some(endpoint) = source.spec.endpoint() else { continue };
        match endpoint.runs_for {
            Some(pattern) => {
                let added = rows.iter().filter(|row| row.origin == Origin::Api.name());
                let meant = added.filter(|row| matches(&pattern, &row.name));
                names.extend(meant.map(|row| row.name.clone()));
            }
            None if endpoint.kind == ConnectorKind::Api => names.push(source.id.clone()),
            None => {}
        }
    }
    names.sort();
    names
}
