//! What people do to an instance: one function for each deed, whoever asks for it. A command calls
//! it beside the instance, the API within it; what is checked, what is done and what the trail says
//! of it is the same.

pub mod connectors;
pub mod credentials;
pub mod tokens;

use azud_event::time::EventTime;
use azud_store::{Deed, Store, StoreError};
use serde_json::Value;
use std::sync::Arc;

/// How long a name may be, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// How long a label, a partition and the like may be, in signs.
const LINE_SIGNS_MAX: usize = 256;

/// Who does something.
#[derive(Clone)]
pub struct Doer {
    pub store: Arc<Store>,
    /// As the trail names them.
    pub name: String,
    /// From where, if not from this machine.
    pub address: Option<String>,
}

/// Why something is not done.
#[derive(Debug)]
pub enum Refusal {
    /// It is not said as it must be; says how.
    Malformed(String),
    /// There is no such thing.
    Missing(String),
    /// It cannot be done as things are, and what to do, where that is known.
    Conflict(String, Option<String>),
    /// What the database answered.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Refusal::Store(error)
    }
}

impl Refusal {
    /// Says why in a line, for the trail.
    fn line(&self) -> String {
        match self {
            Refusal::Malformed(text) | Refusal::Missing(text) | Refusal::Conflict(text, _) => {
                text.clone()
            }
            Refusal::Store(error) => error.to_string(),
        }
    }
}

impl Doer {
    /// Writes to the trail what was done, or why not, and passes that on.
    async fn did<T>(
        &self,
        action: &str,
        object: &str,
        after: Option<Value>,
        done: Result<T, impl Into<Refusal>>,
    ) -> Result<T, Refusal> {
        let done = done.map_err(Into::into);
        let outcome = done.as_ref().err().map_or("done".to_owned(), Refusal::line);
        self.note(action, object, after, outcome).await?;
        done
    }

    /// Writes to the trail.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn note(
        &self,
        action: &str,
        object: &str,
        after: Option<Value>,
        outcome: String,
    ) -> Result<(), StoreError> {
        let deed = Deed {
            actor: self.name.clone(),
            address: self.address.clone(),
            action: action.to_owned(),
            object: object.to_owned(),
            before: None,
            after,
            outcome,
        };
        self.store.audit(&deed).await
    }
}

/// Checks a name that somebody gives.
fn check_name(name: &str) -> Result<(), Refusal> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(good) {
        true => Ok(()),
        false => Err(Refusal::Malformed(format!(
            "a name has letters, digits, `_`, `-`, `.` and `/`, and at most {NAME_BYTES_MAX} of \
             them"
        ))),
    }
}

/// Whether a text is short, and stays on its line.
fn is_line(text: &str) -> bool {
    text.chars().count() <= LINE_SIGNS_MAX && !text.chars().any(char::is_control)
}

/// Writes a time as the trail and interfaces do.
fn written(time: Option<EventTime>) -> Option<String> {
    time.map(EventTime::to_rfc3339)
}
