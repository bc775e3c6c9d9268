//! What people look at and change by commands, whether the instance runs or not: opening its
//! database and keys, and asking the instance that runs.

use crate::cli::{Documents, Global, Of};
use crate::outcome::Outcome;
use crate::wiring::REGISTRY;
use crate::{data_folder, database, keys, secrets};
use azud_event::clock::Clock;
use azud_plan::resolve::{self, Instance, MASTER_KEY, MasterKeyPlace};
use azud_secrets::Cache;
use azud_store::{ConnectorRow, Deed, Keyring, Location, Store, StoreError};
use nix::unistd::{Uid, User};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the instance may take to answer: a test makes a call of its own.
const PATIENCE: Duration = Duration::from_secs(120);

/// How large an answer may be.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// An instance, as commands see it.
pub struct Admin {
    pub instance: Instance,
    pub store: Arc<Store>,
    location: Location,
    secrets: Cache,
}

/// Opens the database of an instance and does some work with it.
pub fn with(of: &Of, global: &Global, work: impl AsyncFnOnce(&Admin) -> Done) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system gives no runtime: {error}");
            return Outcome::Environment;
        }
    };
    runtime.block_on(async {
        let admin = match open(of, global).await {
            Ok(admin) => admin,
            Err(outcome) => return outcome,
        };
        let done = work(&admin).await;
        admin.store.close().await;
        match done {
            Ok(()) => Outcome::Well,
            Err(Failed::Told(outcome)) => outcome,
            Err(Failed::Store(error)) => match error {
                StoreError::Changed
                | StoreError::Taken { .. }
                | StoreError::Unknown { .. }
                | StoreError::Sealed { .. } => say(&database::causes(&error)),
                error => database::explain(&admin.location, &error),
            },
        }
    })
}

/// How a command went.
pub type Done = Result<(), Failed>;

/// Why a command did not do what it was asked for.
pub enum Failed {
    /// That was said already.
    Told(Outcome),
    /// What the database answered.
    Store(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Failed::Store(error)
    }
}

impl From<Outcome> for Failed {
    fn from(outcome: Outcome) -> Self {
        Failed::Told(outcome)
    }
}

fn say(message: &str) -> Outcome {
    eprintln!("error: {message}");
    Outcome::Environment
}

/// Says why a command does not do it, and gives that as its end.
pub fn refuse<T>(message: &str) -> Result<T, Failed> {
    Err(Failed::Told(say(message)))
}

async fn open(of: &Of, global: &Global) -> Result<Admin, Outcome> {
    let instance = instance(of.data_dir.as_deref(), global)?;
    let secrets = secrets::build(&instance, &Clock::system())?;
    let location = database::location(&instance, &secrets).await?;
    if instance.database.is_none() {
        data_folder::make(&instance.data_dir).map_err(|error| {
            say(&format!("{} cannot be made: {error}", instance.data_dir.display()))
        })?;
    }
    let store = Store::administer(&location).await;
    let store = store.map_err(|error| database::explain(&location, &error))?;
    Ok(Admin { instance, store: Arc::new(store), location, secrets })
}

/// Finds the instance: of the folder that was named, else as the documents here say.
fn instance(data_dir: Option<&Path>, global: &Global) -> Result<Instance, Outcome> {
    let here = Documents::here();
    if data_dir.is_none() && !here.all().is_empty() {
        return crate::documents::instance_or_explain(&here, global).ok_or(Outcome::Faults);
    }
    let mut instance = resolve::load_texts(&[], &REGISTRY, &|_| None).instance;
    if let Some(folder) = data_dir {
        if !folder.is_dir() {
            // Credentials may be set before the first start; a name may also be mistyped.
            eprintln!("note: {} is a new data folder; no instance has used it", folder.display());
        }
        instance.data_dir = folder.to_owned();
        instance.master_key = MasterKeyPlace::File(folder.join(MASTER_KEY));
    }
    Ok(instance)
}

impl Admin {
    /// Opens the keys.
    ///
    /// # Errors
    /// Said on standard error.
    pub async fn keyring(&self) -> Result<Arc<Keyring>, Failed> {
        Ok(keys::open(&self.store, &self.instance, &self.secrets).await?)
    }

    /// Finds a connector.
    ///
    /// # Errors
    /// Said on standard error: there is none of that name.
    pub async fn connector(&self, name: &str) -> Result<ConnectorRow, Failed> {
        match self.store.connector(name).await? {
            Some(row) => Ok(row),
            None => refuse(&format!("there is no connector `{name}`; see `azud connectors`")),
        }
    }

    /// Notes what was done.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn audit(&self, action: &str, object: &str, after: Option<Value>) -> Done {
        let deed = Deed {
            actor: actor(),
            address: None,
            action: action.to_owned(),
            object: object.to_owned(),
            before: None,
            after,
            outcome: "done".to_owned(),
        };
        Ok(self.store.audit(&deed).await?)
    }

    /// Asks the instance that runs; gives the code and the body of its answer.
    ///
    /// # Errors
    /// Said on standard error: it does not run, or is another user's.
    pub fn ask(&self, method: &str, path: &str) -> Result<(u16, Value), Failed> {
        match ask(&self.instance.data_dir, method, path, PATIENCE) {
            Ok((code, body)) => Ok((code, serde_json::from_str(&body).unwrap_or(Value::Null))),
            Err(error) => refuse(&unanswered(&self.instance.data_dir, &error)),
        }
    }
}

/// Says why an instance does not answer.
pub fn unanswered(data_dir: &Path, error: &io::Error) -> String {
    let folder = data_dir.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no instance runs with the data folder {folder}; it must run for this")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::UnexpectedEof => format!(
            "the instance of {folder} is another user's; ask as that user, or as root, or by its API"
        ),
        _ => format!("the instance of {folder} does not answer: {error}"),
    }
}

/// Who runs a command, for the trail.
pub fn actor() -> String {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let user = user.unwrap_or_else(|| format!("user {uid}"));
    // Only root could have set it to what it likes, and root can do anything.
    match std::env::var("SUDO_USER").ok().filter(|_| uid.is_root()) {
        Some(person) => format!("command of {person}, as {user}"),
        None => format!("command of {user}"),
    }
}

/// Asks the instance of a data folder; gives the code and the body of its answer.
///
/// # Errors
/// What the system answers, or an answer that is none.
pub fn ask(
    data_dir: &Path,
    method: &str,
    path: &str,
    patience: Duration,
) -> io::Result<(u16, String)> {
    let mut stream = crate::api::connect(data_dir)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // HTTP/1.0: the body ends with the connection, and comes in one piece.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let broken = || io::Error::other("it answers something else than HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
    Ok((code, body.to_owned()))
}

/// Percent-encodes a part of a path.
pub fn encoded(part: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match keep(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    part.bytes().map(encode).collect()
}
