//! What people do to credentials.
//!
//! A rotation stores the new value, has it read anew by all who use it, and tries every connector
//! that names it with what was read. If one fails, the value of before is stored again. While an
//! instance runs, it does that itself, whoever asks: it alone knows what is kept in memory, and
//! what its documents try. It goes on when who asked has left, so no value stays that was not
//! tried.

use super::{Doer, Refusal, check_name};
use crate::probers::Probers;
use azud_event::time::EventTime;
use azud_plan::component::{Cause, Failed, Probe, ProbeStep, Secret, SecretName, Secrets};
use azud_plan::resolve::CREDENTIALS;
use azud_store::{CredentialKind, CredentialRow, Keyring, NewCredential, StoreError};
use futures_util::future::{Either, select};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// How long a value may be, in signs: certificates with their chain are below it.
pub const VALUE_SIGNS_MAX: usize = 64 * 1024;

/// How long the old value is kept beside the new one when nobody says.
pub const OVERLAP: Duration = Duration::from_secs(3_600);

/// How long all connectors of a credential may take to be tried: less than the API gives a request,
/// and than a command waits for it.
const TRIAL_PATIENCE: Duration = Duration::from_secs(100);

/// How many connectors are tried at a time.
const TRIED_AT_A_TIME: usize = 8;

/// A value that somebody gives.
pub struct Value {
    pub value: Secret,
    /// What it is; `None` keeps what it was.
    pub kind: Option<CredentialKind>,
    pub expires_at: Option<EventTime>,
}

/// What an instance that runs can do for a credential.
#[derive(Clone)]
pub struct Running {
    pub secrets: Arc<dyn Secrets>,
    pub probers: Arc<Probers>,
    pub rotating: Arc<Rotating>,
}

/// The names of credentials that are being rotated. One at a time: the second would take the value
/// that the first is trying for the old one.
#[derive(Default)]
pub struct Rotating(Mutex<BTreeSet<String>>);

/// The turn of one rotation; dropped, it is over.
struct Turn<'a>(&'a Rotating, String);

impl Rotating {
    fn begin(&self, name: &str) -> Result<Turn<'_>, Refusal> {
        match self.locked().insert(name.to_owned()) {
            true => Ok(Turn(self, name.to_owned())),
            false => {
                let title = format!("`{name}` is being rotated already");
                Err(Refusal::Conflict(title, Some("wait until that is over".to_owned())))
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Nothing that panics is done under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.locked().remove(&self.1);
    }
}

/// A connector that was tried with a credential.
pub struct Tried {
    pub connector: String,
    pub steps: Vec<ProbeStep>,
}

/// What came of trying all that use a credential.
#[derive(Default)]
pub struct Trial {
    pub tried: Vec<Tried>,
    /// Those that nothing here can try.
    pub untried: Vec<String>,
}

impl Tried {
    fn failed(&self) -> Option<&Failed> {
        self.steps.iter().find_map(|step| step.outcome.as_ref().err())
    }
}

fn object(name: &str) -> String {
    format!("credential/{name}")
}

fn check(value: &Value) -> Result<(), Refusal> {
    match value.value.reveal().chars().count() {
        1..=VALUE_SIGNS_MAX => Ok(()),
        _ => Err(Refusal::Malformed(format!("a value has 1 to {VALUE_SIGNS_MAX} signs"))),
    }
}

/// Finds a credential.
///
/// # Errors
/// There is none of that name, or what the database answers.
pub async fn find(doer: &Doer, name: &str) -> Result<CredentialRow, Refusal> {
    let found = doer.store.credential_row(name).await?;
    found.ok_or_else(|| Refusal::Missing(format!("there is no credential `{name}`")))
}

async fn store(
    doer: &Doer,
    keyring: &Keyring,
    action: &str,
    new: NewCredential,
) -> Result<CredentialRow, Refusal> {
    let set = doer.store.set_credential(keyring, &new).await;
    let after = set
        .as_ref()
        .ok()
        .map(|row| json!({ "version": row.version, "fingerprint": row.fingerprint }));
    doer.did(action, &object(&new.name), after, set).await
}

/// Adds a credential.
///
/// # Errors
/// It is not said as it must be, there is one of that name, or what the database answers.
pub async fn add(
    doer: &Doer,
    keyring: &Keyring,
    name: &str,
    value: Value,
) -> Result<CredentialRow, Refusal> {
    check_name(name)?;
    check(&value)?;
    if doer.store.credential_row(name).await?.is_some() {
        let title = format!("there is a credential `{name}` already");
        return Err(Refusal::Conflict(title, Some("set its value with PUT".to_owned())));
    }
    let new = credential(doer, name, value, None);
    store(doer, keyring, "credential.add", new).await
}

/// Sets a credential, a new one or one that is there.
///
/// # Errors
/// It is not said as it must be, or what the database answers.
pub async fn set(
    doer: &Doer,
    keyring: &Keyring,
    name: &str,
    value: Value,
    overlap: Option<Duration>,
) -> Result<CredentialRow, Refusal> {
    check_name(name)?;
    check(&value)?;
    let new = credential(doer, name, value, overlap);
    store(doer, keyring, "credential.set", new).await
}

fn credential(doer: &Doer, name: &str, value: Value, overlap: Option<Duration>) -> NewCredential {
    let Value { value, kind, expires_at } = value;
    let (name, by) = (name.to_owned(), doer.name.clone());
    NewCredential { name, kind, value, expires_at, overlap, by }
}

/// Takes a credential out of use for good.
///
/// # Errors
/// There is none, or what the database answers.
pub async fn revoke(doer: &Doer, keyring: &Keyring, name: &str) -> Result<(), Refusal> {
    let row = find(doer, name).await?;
    let done = doer.store.revoke_credential(keyring, &row.name).await;
    doer.did("credential.revoke", &object(&row.name), None, done).await.map(drop)
}

/// A value that is to take the place of another.
pub struct Rotation {
    pub doer: Doer,
    pub keyring: Arc<Keyring>,
    pub name: String,
    pub value: Value,
    /// How long the old value is kept beside it.
    pub overlap: Duration,
    /// Whether it is taken on trust.
    pub untested: bool,
}

/// What a credential was before.
struct Before {
    value: Option<Secret>,
    kind: Option<CredentialKind>,
    expires_at: Option<EventTime>,
}

/// Rotates a credential: the new value is tried by the instance that runs, where it is to be, and
/// the old one is stored again if it does not work.
///
/// # Errors
/// It is not said as it must be, there is no such credential, nothing runs that could try it, the
/// new value does not work, or what the database answers.
pub async fn rotate(
    rotation: Rotation,
    running: Option<&Running>,
) -> Result<(CredentialRow, Trial), Refusal> {
    let Rotation { doer, keyring, name, value, overlap, untested } = rotation;
    check(&value)?;
    let row = find(&doer, &name).await?;
    let _turn = running.map(|running| running.rotating.begin(&row.name)).transpose()?;
    let uses = doer.store.credential_uses(&keyring, &row.name).await?;
    if running.is_none() && !untested && !uses.is_empty() {
        let title = format!("no instance runs that could try the new `{}`", row.name);
        let detail = format!("{} use it; start it, or add `--untested`", uses.join(", "));
        return Err(Refusal::Conflict(title, Some(detail)));
    }
    let before = Before {
        value: doer.store.credential(&keyring, &row.name).await?,
        kind: CredentialKind::named(&row.kind),
        expires_at: row.expires_at,
    };
    let new = credential(&doer, &row.name, value, Some(overlap));
    let rotated = store(&doer, &keyring, "credential.rotate", new).await?;
    let Some(running) = running else { return Ok((rotated, Trial::default())) };
    let (trial, failed) = match reread(running, &row.name).await {
        Err(_) if untested => (Trial::default(), None),
        Err(why) => (Trial::default(), Some(why)),
        Ok(()) if untested => (Trial::default(), None),
        Ok(()) => {
            let trial = try_all(running, uses).await;
            let failed = trial.tried.iter().find_map(|one| {
                let failed = one.failed()?;
                Some(format!("connector {}: {}", one.connector, failed.message))
            });
            (trial, failed)
        }
    };
    match failed {
        None => Ok((rotated, trial)),
        Some(why) => {
            let title = restore(&doer, &keyring, &rotated, before).await?;
            // Where it cannot be read, it is in a moment.
            let _ = reread(running, &row.name).await;
            Err(Refusal::Conflict(title.to_owned(), Some(why)))
        }
    }
}

/// Stores what a credential was before it was rotated; gives what is to be told.
async fn restore(
    doer: &Doer,
    keyring: &Keyring,
    rotated: &CredentialRow,
    before: Before,
) -> Result<&'static str, Refusal> {
    let name = &rotated.name;
    let now = doer.store.credential_row(name).await?;
    if now.is_none_or(|row| row.version != rotated.version) {
        return Ok("the new value does not work; somebody has set another meanwhile");
    }
    let Before { value: Some(value), kind, expires_at } = before else {
        return Ok("the new value does not work, and there is no old one to go back to");
    };
    let back = credential(doer, name, Value { value, kind, expires_at }, None);
    match store(doer, keyring, "credential.restore", back).await {
        Ok(_) => Ok("the new value does not work; the old one is in use again"),
        Err(Refusal::Store(StoreError::Changed)) => {
            Ok("the new value does not work; somebody has set another meanwhile")
        }
        Err(error) => Err(error),
    }
}

/// Has a credential and its members read anew.
///
/// # Errors
/// Says why it cannot be read.
pub async fn reread(running: &Running, name: &str) -> Result<(), String> {
    let name = SecretName { backend: CREDENTIALS.to_owned(), key: name.to_owned() };
    running.secrets.reread(&name).await.map_err(|error| error.to_string())
}

/// Tries connectors, some at a time. One that was not done in time has failed.
pub async fn try_all(running: &Running, connectors: Vec<String>) -> Trial {
    try_each(connectors, |connector| running.probers.of(connector)).await
}

async fn try_each(
    connectors: Vec<String>,
    probe_of: impl Fn(&str) -> Option<Box<dyn Probe>>,
) -> Trial {
    // One end for all of them.
    let (end, probe_of) = (sleep(TRIAL_PATIENCE).shared(), &probe_of);
    let tries = stream::iter(connectors).map(|connector| {
        let end = end.clone();
        async move {
            let Some(probe) = probe_of(&connector) else { return (connector, None) };
            match select(probe.run(), end).await {
                Either::Left((steps, _)) => (connector, Some(steps)),
                Either::Right(_) => (connector, Some(vec![late()])),
            }
        }
    });
    let mut trial = Trial::default();
    let mut tries = tries.buffered(TRIED_AT_A_TIME);
    while let Some((connector, steps)) = tries.next().await {
        match steps {
            Some(steps) => trial.tried.push(Tried { connector, steps }),
            None => trial.untried.push(connector),
        }
    }
    trial
}

fn late() -> ProbeStep {
    let message = format!("not tried within {} s", TRIAL_PATIENCE.as_secs());
    let failed = Failed { cause: Cause::Timeout, message, http_status: None };
    ProbeStep { name: "trial", outcome: Err(failed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{BoxFuture, pending, ready};
    use tokio::time::Instant;

    /// Answers at once, or never.
    struct Answers(bool);

    impl Probe for Answers {
        fn run(self: Box<Self>) -> BoxFuture<'static, Vec<ProbeStep>> {
            let well = ProbeStep { name: "first page", outcome: Ok("2 records".to_owned()) };
            match self.0 {
                true => ready(vec![well]).boxed(),
                false => pending().boxed(),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_use_a_credential_trying_them_ends_in_time() {
        let begun = Instant::now();
        let names = (0..50).map(|number| number.to_string()).collect();
        let trial = try_each(names, |name| match name {
            "7" => None,
            name => Some(Box::new(Answers(name.len() == 1)) as Box<dyn Probe>),
        })
        .await;
        assert!(
            begun.elapsed() < TRIAL_PATIENCE + Duration::from_secs(1),
            "by the clock of the test"
        );
        assert_eq!(trial.untried, ["7"]);
        assert_eq!(trial.tried.len(), 49);
        let failed = trial.tried.iter().filter_map(Tried::failed);
        let causes: Vec<_> = failed.map(|failed| failed.cause).collect();
        assert_eq!(causes, [Cause::Timeout; 40]);
    }

    #[test]
    fn a_credential_is_rotated_once_at_a_time() {
        let rotating = Rotating::default();
        let turn = rotating.begin("key").unwrap();
        assert!(matches!(rotating.begin("key"), Err(Refusal::Conflict(..))));
        rotating.begin("other").unwrap();
        drop(turn);
        rotating.begin("key").unwrap();
    }
}
