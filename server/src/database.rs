//! The database of the instance: where it is, what is said when it cannot be opened, and watching
//! it.

use crate::outcome::{Outcome, tell};
use azud_event::alert::LoadedRule;
use azud_plan::component::{Secret, Secrets};
use azud_plan::diagnostic::{Diagnostic, codes};
use azud_plan::plan::Plan;
use azud_plan::resolve::Instance;
use azud_plan::telemetry::DATABASE_UP;
use azud_store::{Identity, Location, Rule, Store, StoreError};
use metrics::gauge;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often the database is asked whether it is there: what `azud_database_up` says is at most so
/// old, and the time that a request to a server that is gone takes.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Names the file in the folder of an instance.
pub fn in_folder(data_dir: &Path) -> Location {
    Location::file(&data_dir.join("azud.db"))
}

/// Names the database of an instance; its password may be a secret.
///
/// # Errors
/// Said on standard error: the URL cannot be read, or the password cannot be had.
pub async fn location(instance: &Instance, secrets: &dyn Secrets) -> Result<Location, Outcome> {
    find(instance, secrets).await.map_err(|fault| tell(&fault))
}

/// As [`location`], and says nothing.
///
/// # Errors
/// The URL cannot be read, or the password cannot be had.
pub async fn find(instance: &Instance, secrets: &dyn Secrets) -> Result<Location, Diagnostic> {
    let Some(address) = &instance.database else { return Ok(in_folder(&instance.data_dir)) };
    let password = match &address.password {
        Some(password) => Some(password.fill(secrets).await.map_err(|error| {
            let title = format!("the password of the database cannot be had: {error}");
            let fault = Diagnostic::nowhere(codes::SECRET_NOT_HAD, title);
            fault.help("`azud explain E002` says more")
        })?),
        None => None,
    };
    let password = password.as_ref().map(Secret::reveal);
    Location::parse(&address.url, password).map_err(|error| {
        let title = format!("`database.url` names no database: {error}");
        Diagnostic::nowhere(codes::DATABASE, title)
            .help("write it as `postgres://user@host:5432/database?sslmode=verify-full`")
    })
}

/// How often who stands by looks whether the database is free.
const STANDBY_PAUSE: Duration = Duration::from_secs(1);

/// Opens the database of an instance for writing; who stands by waits for it.
///
/// # Errors
/// Said on standard error: what failed, and what to do.
pub async fn open(
    location: &Location,
    instance: &Instance,
    folder: [u8; 16],
    standby: bool,
) -> Result<Store, Outcome> {
    let identity = Identity { folder, resumes: instance.log.is_some() };
    let mut told = false;
    loop {
        match Store::open(location, identity).await {
            Err(StoreError::Locked { .. }) if standby => {
                if !told {
                    eprintln!("azud stands by: another instance has the database {location}");
                    told = true;
                }
                sleep(STANDBY_PAUSE).await;
            }
            opened => return opened.map_err(|error| explain(location, &error)),
        }
    }
}

/// Tells the database which rules there are: those of the plan, and no others any more.
///
/// # Errors
/// Said on standard error, as of [`open`].
pub async fn load_rules(store: &Store, location: &Location, plan: &Plan) -> Result<(), Outcome> {
    let transforms = plan.pipelines.iter().flat_map(|pipeline| &pipeline.transforms);
    let loaded = transforms.filter_map(|transform| transform.spec.loaded_rule());
    let row = |loaded: LoadedRule| Rule {
        id: loaded.rule.id,
        pipeline: loaded.rule.pipeline,
        version: loaded.rule.version,
        title: loaded.title,
        severity: loaded.severity,
        mode: loaded.mode.to_owned(),
        tags: loaded.rule.tags,
    };
    let rules: Vec<_> = loaded.map(row).collect();
    let written = store.load_rules(&rules).await;
    written.map_err(|error| explain(location, &error))
}

/// Says why a database cannot be opened, and what to do.
pub fn explain(location: &Location, error: &StoreError) -> Outcome {
    tell(&fault(location, error))
}

/// Makes of an error why a database cannot be opened, and what to do.
pub fn fault(location: &Location, error: &StoreError) -> Diagnostic {
    let title = format!("the database {location} cannot be opened: {}", causes(error));
    Diagnostic::nowhere(codes::DATABASE, title).help(help(error))
}

fn help(error: &StoreError) -> &'static str {
    match error {
        StoreError::Locked { .. } => {
            "stop the other, give this instance a database of its own, or let it stand by (--standby)"
        }
        StoreError::Missing { .. } | StoreError::OlderSchema { .. } => {
            "name the instance's folder with --data-dir or `database.url`; it must have run once"
        }
        StoreError::NewerSchema { .. } => "run the version that made it, or restore a backup",
        StoreError::Unreachable(_) | StoreError::Silent { .. } => {
            "see that the server runs and that host, port and TLS in `database.url` are right"
        }
        StoreError::Refused(_) => {
            "see that user, password and database are right, and that pg_hba.conf lets us in"
        }
        StoreError::Corrupt(_) => "restore it from a backup",
        StoreError::DiskFull(_) => "make room on its disk",
        _ => "`azud explain E007` says more",
    }
}

/// Asks the database again and again whether it is there, and says so when that changes. Ends when
/// another instance has taken it over.
pub async fn watch(store: Arc<Store>) {
    let mut timer = interval(CHECK_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let up = gauge!(DATABASE_UP);
    let mut was_up = true;
    loop {
        timer.tick().await;
        let checked = store.check().await;
        up.set(if checked.is_ok() { 1.0 } else { 0.0 });
        match &checked {
            Err(StoreError::Replaced) => return,
            Err(error) if was_up => {
                let error = causes(error);
                tracing::error!(error, "the database does not answer; its sinks wait");
            }
            Ok(()) if !was_up => tracing::info!("the database answers again"),
            _ => {}
        }
        was_up = checked.is_ok();
    }
}

/// Writes an error with what caused it, in one line. The driver's errors say their cause
/// themselves, and it is not said twice.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
