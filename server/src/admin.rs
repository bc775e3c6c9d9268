//! What people look at and change by commands, whether the instance runs or not: opening its
//! database and keys, and asking the instance that runs.

use crate::api::{ACTOR, NO_DATABASE};
use crate::cli::{Documents, Global, Of};
use crate::deeds::{Doer, Refusal};
use crate::outcome::Outcome;
use crate::wiring::REGISTRY;
use crate::{data_folder, database, keys, secrets};
use azud_event::clock::Clock;
use azud_plan::resolve::{self, Instance, MASTER_KEY, MasterKeyPlace};
use azud_secrets::Cache;
use azud_store::{ConnectorRow, Keyring, Location, Store, StoreError};
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

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::Told(match refusal {
            Refusal::Store(error) => return Failed::Store(error),
            Refusal::Malformed(text) | Refusal::Missing(text) | Refusal::Conflict(text, None) => {
                say(&text)
            }
            Refusal::Conflict(title, Some(detail)) => say(&format!("{title}: {detail}")),
        })
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
    // The master key is there, wherever the database is.
    data_folder::make(&instance.data_dir).map_err(|error| {
        say(&format!("{} cannot be made: {error}", instance.data_dir.display()))
    })?;
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

    /// Gives who runs the command, as one who does something.
    pub fn doer(&self) -> Doer {
        Doer { store: Arc::clone(&self.store), name: actor(), address: None }
    }

    /// Notes what was done.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn audit(&self, action: &str, object: &str, after: Option<Value>) -> Done {
        Ok(self.doer().note(action, object, after, "done".to_owned()).await?)
    }

    /// Asks the instance that runs; gives the code and the body of its answer.
    ///
    /// # Errors
    /// Said on standard error: it does not run, or is another user's.
    pub fn ask(&self, method: &str, path: &str) -> Result<(u16, Value), Failed> {
        let answered = send(&self.instance.data_dir, (method, path), &[], PATIENCE);
        answered.map(parsed).or_else(|error| refuse(&unanswered(&self.instance.data_dir, &error)))
    }

    /// Asks the instance that runs, with a body in JSON; `None` when none runs, or one without a
    /// database, for which everything is done beside it.
    ///
    /// # Errors
    /// Said on standard error: it is another user's, or does not answer.
    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Option<(u16, Value)>, Failed> {
        let data_dir = &self.instance.data_dir;
        match send(data_dir, (method, path), body, PATIENCE).map(parsed) {
            Ok((503, answer)) if answer["title"] == NO_DATABASE => Ok(None),
            Ok(answered) => Ok(Some(answered)),
            Err(error) if is_nobody(&error) => Ok(None),
            Err(error) => refuse(&unanswered(data_dir, &error)),
        }
    }
}

fn parsed((code, body): (u16, String)) -> (u16, Value) {
    (code, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// Whether an error says that no instance runs.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Says why an instance does not answer.
pub fn unanswered(data_dir: &Path, error: &io::Error) -> String {
    let folder = data_dir.display();
    match error.kind() {
        _ if is_nobody(error) => {
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
    send(data_dir, (method, path), &[], patience)
}

/// As [`ask`], with a body in JSON, unless it is empty.
fn send(
    data_dir: &Path,
    (method, path): (&str, &str),
    body: &[u8],
    patience: Duration,
) -> io::Result<(u16, String)> {
    let mut stream = crate::api::connect(data_dir)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // HTTP/1.0: the body ends with the connection, and comes in one piece.
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let head = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n{kind}");
    let (actor, length) = (header(&actor()), body.len());
    write!(stream, "{head}{ACTOR}: {actor}\r\nContent-Length: {length}\r\n\r\n")?;
    stream.write_all(body)?;
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

/// Makes of a text what may stand in a header.
fn header(text: &str) -> String {
    text.chars().filter(|sign| matches!(sign, ' '..='~')).collect()
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
