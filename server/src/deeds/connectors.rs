//! What people do to connectors.

use super::{Doer, Refusal, check_name, is_line};
use azud_plan::component::{ConnectorKind, Cursor};
use azud_store::{ConnectorRow, Keyring, NewConnector, Origin};
use serde_json::json;
use std::collections::BTreeMap;

/// How many labels a connector may have.
const LABELS_MAX: usize = 32;

/// A connector that no document has.
pub struct Added {
    pub name: String,
    /// The `type` of the definition that runs for it.
    pub r#type: String,
    pub labels: BTreeMap<String, String>,
    pub enabled: bool,
}

fn object(name: &str) -> String {
    format!("connector/{name}")
}

/// Checks what is to tell a connector from others.
///
/// # Errors
/// Too many of them, or too long.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let fits =
        |(name, value): (&String, &String)| !name.is_empty() && is_line(name) && is_line(value);
    match labels.len() <= LABELS_MAX && labels.iter().all(fits) {
        true => Ok(()),
        false => Err(Refusal::Malformed(format!(
            "labels are at most {LABELS_MAX}, with names and values of at most 256 signs, none of \
             them a control"
        ))),
    }
}

/// Adds a connector for definitions that match its name.
///
/// # Errors
/// It is not said as it must be, there is one of that name, or what the database answers.
pub async fn add(doer: &Doer, keyring: &Keyring, added: Added) -> Result<(), Refusal> {
    let Added { name, r#type, labels, enabled } = added;
    check_name(&name)?;
    check_labels(&labels)?;
    if r#type != "http_client" {
        let text = "the type is that of a source that polls: http_client";
        return Err(Refusal::Malformed(text.to_owned()));
    }
    let after = json!({ "type": r#type, "labels": labels, "enabled": enabled });
    let connector = NewConnector {
        name,
        kind: ConnectorKind::Api,
        r#type,
        origin: Origin::Api,
        origin_path: None,
        labels,
        enabled,
        configuration: "{}".to_owned(),
        summary: json!({}),
        interval: None,
    };
    let done = doer.store.add_connector(keyring, &connector).await;
    doer.did("connector.add", &object(&connector.name), Some(after), done).await
}

/// Refuses a change of what a document has.
///
/// # Errors
/// It belongs to a document, which is named.
pub fn not_of_a_file(row: &ConnectorRow) -> Result<(), Refusal> {
    if row.origin != "file" {
        return Ok(());
    }
    let path = row.origin_path.as_deref().unwrap_or("a document");
    let title = format!("`{}` belongs to {path}", row.name);
    Err(Refusal::Conflict(title, Some(format!("change it in {path}"))))
}

/// Refuses to do with a listener or a sink what is done with what is polled.
///
/// # Errors
/// It is not polled.
pub fn is_polled(row: &ConnectorRow) -> Result<(), Refusal> {
    match row.is_polled() {
        true => Ok(()),
        false => {
            let detail = "it runs as long as its document has it".to_owned();
            Err(Refusal::Conflict(format!("`{}` is not polled", row.name), Some(detail)))
        }
    }
}

/// Changes what tells a connector from others of its definition.
///
/// # Errors
/// As [`check_labels`], a connector of a document, or what the database answers.
pub async fn label(
    doer: &Doer,
    row: &ConnectorRow,
    labels: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    check_labels(labels)?;
    not_of_a_file(row)?;
    let done = doer.store.label_connector(row, labels).await;
    let after = json!({ "labels": labels });
    doer.did("connector.change", &object(&row.name), Some(after), done).await
}

/// Removes a connector that no document has, with its cursors and history.
///
/// # Errors
/// A connector of a document, or what the database answers.
pub async fn remove(doer: &Doer, row: &ConnectorRow) -> Result<(), Refusal> {
    not_of_a_file(row)?;
    let done = doer.store.remove_connector(row).await;
    doer.did("connector.remove", &object(&row.name), None, done).await
}

/// Switches a connector that is polled on or off; gives whether that changed something.
///
/// # Errors
/// A connector that is not polled, or what the database answers.
pub async fn switch(doer: &Doer, row: &ConnectorRow, enabled: bool) -> Result<bool, Refusal> {
    is_polled(row)?;
    let (word, action) = match enabled {
        true => ("enabled", "connector.enable"),
        false => ("disabled", "connector.disable"),
    };
    let message = format!("{word} by {}", doer.name);
    match doer.store.enable_connector(row, enabled, &message).await {
        Ok(false) => Ok(false),
        done => doer.did(action, &object(&row.name), None, done).await,
    }
}

/// How long a cursor that a person writes may be, in bytes: links out of answers are below it.
const CURSOR_BYTES_MAX: usize = 16 * 1024;

/// The first form of what pollers keep, in which all but the cursor may be left out.
const CURSOR_FORMAT: u32 = 1;

/// Makes what a poller keeps of a cursor that a person writes: as it goes into requests.
///
/// # Errors
/// It is empty, or too long.
pub fn written_cursor(text: &str) -> Result<Cursor, Refusal> {
    if text.is_empty() || text.len() > CURSOR_BYTES_MAX {
        let text = format!("a cursor has 1 to {CURSOR_BYTES_MAX} bytes");
        return Err(Refusal::Malformed(text));
    }
    Ok(Cursor {
        state: json!({ "cursor": text }).to_string().into_bytes(),
        format: CURSOR_FORMAT,
        // It may open doors, and is not shown.
        summary: "set by hand".to_owned(),
        event_time: None,
    })
}

/// Sets how far a connector has come.
///
/// # Errors
/// Texts that are too long, or what the database answers.
pub async fn set_cursor(
    doer: &Doer,
    keyring: &Keyring,
    row: &ConnectorRow,
    partition: &str,
    cursor: &Cursor,
) -> Result<(), Refusal> {
    if !is_line(partition) || !is_line(&cursor.summary) {
        let text = "partition and summary have at most 256 signs, none of them a control";
        return Err(Refusal::Malformed(text.to_owned()));
    }
    let done = doer.store.set_cursor(keyring, row, partition, cursor).await;
    let after = json!({ "partition": partition, "summary": cursor.summary });
    doer.did("connector.cursor.set", &object(&row.name), Some(after), done).await
}

/// Forgets how far a connector has come, or one partition of it; gives how many cursors went.
///
/// # Errors
/// What the database answers.
pub async fn reset_cursors(
    doer: &Doer,
    row: &ConnectorRow,
    partition: Option<&str>,
) -> Result<u64, Refusal> {
    let done = doer.store.reset_cursors(row, partition).await;
    let after = json!({ "partition": partition });
    doer.did("connector.cursor.reset", &object(&row.name), Some(after), done).await
}
