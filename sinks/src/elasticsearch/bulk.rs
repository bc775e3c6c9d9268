//! The language of `_bulk`: an action and a document for each record, an answer for each in turn.
//!
//! On its way a record is one line, `{"create":{…}}` TAB `{…}`: what stands between two line feeds
//! is a record to the rest of the sink, and JSON has neither as such. In a request the tab becomes
//! a line feed.

use crate::deliver::{Failure, FailureKind, Unsent};
use crate::limits::ANSWER_TOLD_BYTES_MAX;
use azud_client::Redactor;
use serde_json::Value;
use std::time::Duration;

/// What stands between an action and its document.
pub(super) const BETWEEN: u8 = b'\t';

/// What is done with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is put there, unless one of its id is.
    Create,
    /// It is put there, in place of one of its id.
    Index,
    /// What it holds replaces that of the one of its id.
    Update,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Index => "index",
            Action::Update => "update",
        }
    }
}

/// Makes the body of a request.
pub(super) fn body(records: &[u8]) -> Vec<u8> {
    let mut body = records.to_vec();
    let mut at = 0;
    while let Some(line) = memchr(&body[at..], b'\n').map(|length| at + length) {
        if let Some(tab) = memchr(&body[at..line], BETWEEN) {
            body[at + tab] = b'\n';
        }
        at = line + 1;
    }
    body
}

fn memchr(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

/// Says what an answer of 200 to so many records means.
pub(super) fn understand(
    answer: &[u8],
    records: usize,
    wait: Option<Duration>,
    redactor: &Redactor,
) -> Result<(), Unsent> {
    let broken = |why: String| {
        let message = format!("the answer is none to a bulk request: {why}");
        failure(FailureKind::Status, message, None, wait)
    };
    let answer: Value = match serde_json::from_slice(answer) {
        Ok(answer) => answer,
        Err(error) => return Err(broken(error.to_string()).into()),
    };
    if answer.get("errors").and_then(Value::as_bool) == Some(false) {
        return Ok(());
    }
    let Some(items) = answer.get("items").and_then(Value::as_array) else {
        return Err(broken("it has no items".to_owned()).into());
    };
    if items.len() != records {
        let why = format!("{} items for {records} records", items.len());
        return Err(broken(why).into());
    }
    let failed: Vec<(usize, Failure)> = items
        .iter()
        .enumerate()
        .filter_map(|(number, item)| Some((number, refusal(item, wait, redactor)?)))
        .collect();
    let waits = |failure: &Failure| failure.kind != FailureKind::Refused;
    match failed.first() {
        None => Ok(()),
        // Nothing was taken: the receiver as a whole is in trouble.
        Some((_, first)) if failed.len() == records && failed.iter().all(|(_, one)| waits(one)) => {
            Err(first.clone().into())
        }
        Some(_) => Err(Unsent::Some(failed)),
    }
}

/// Gives why a record was not taken, if it was not.
fn refusal(item: &Value, wait: Option<Duration>, redactor: &Redactor) -> Option<Failure> {
    let (action, item) = item.as_object()?.iter().next()?;
    let status = item.get("status").and_then(Value::as_u64).unwrap_or(500);
    let status = u16::try_from(status).unwrap_or(500);
    let kind = match status {
        200..300 => return None,
        // One of this id is there: we were not told of it, or it is a later revision.
        409 if action != "update" => return None,
        400 | 413 | 422 => FailureKind::Refused,
        429 | 503 => FailureKind::Throttled,
        409 | 500.. => FailureKind::Status,
        // An index that is not there or is closed, rights that we lack: somebody can set it right.
        _ => FailureKind::Rejected,
    };
    let error = item.get("error");
    let part = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
    let reason = part("reason").or_else(|| error.and_then(Value::as_str)).unwrap_or_default();
    let cause = error.and_then(|error| error.pointer("/caused_by/reason")).and_then(Value::as_str);
    let mut told = format!("{status} {}: {reason}", part("type").unwrap_or("error"));
    if let Some(cause) = cause {
        told.push_str(&format!(": {cause}"));
    }
    let told = redactor.quote(told.as_bytes(), ANSWER_TOLD_BYTES_MAX);
    Some(failure(kind, format!("the server answered {told}"), Some(status), wait))
}

pub(super) fn failure(
    kind: FailureKind,
    message: String,
    response_code: Option<u16>,
    retry_after: Option<Duration>,
) -> Failure {
    Failure { kind, message, response_code, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tab_behind_an_action_divides() {
        let lines = b"{\"index\":{}}\t{\"a\":1}\n{\"create\":{}}\t{\"b\":\"\\t\"}\n";
        let body = String::from_utf8(body(lines)).unwrap();
        assert_eq!(body, "{\"index\":{}}\n{\"a\":1}\n{\"create\":{}}\n{\"b\":\"\\t\"}\n");
    }

    fn kinds(items: &str, records: usize) -> Result<(), Vec<(usize, FailureKind)>> {
        let answer = format!(r#"{{"took":1,"errors":true,"items":[{items}]}}"#);
        understand(answer.as_bytes(), records, None, &Redactor::default()).map_err(|unsent| {
            match unsent {
                Unsent::All(failure) => vec![(usize::MAX, failure.kind)],
                Unsent::Some(items) => {
                    items.into_iter().map(|(number, failure)| (number, failure.kind)).collect()
                }
            }
        })
    }

    #[test]
    fn each_record_has_its_answer() {
        let item = |action: &str, status: u16| format!(r#"{{"{action}":{{"status":{status}}}}}"#);
        let (created, there) = (item("create", 201), item("create", 409));
        assert_eq!(kinds(&format!("{created},{there}"), 2), Ok(()));
        let (busy, wrong) = (item("index", 429), item("index", 400));
        let mixed = format!("{created},{busy},{wrong},{}", item("index", 404));
        let expected = vec![
            (1, FailureKind::Throttled),
            (2, FailureKind::Refused),
            (3, FailureKind::Rejected),
        ];
        assert_eq!(kinds(&mixed, 4), Err(expected));
        assert_eq!(kinds(&item("update", 409), 1), Err(vec![(usize::MAX, FailureKind::Status)]));
        let all = vec![(usize::MAX, FailureKind::Throttled)];
        assert_eq!(kinds(&format!("{busy},{busy}"), 2), Err(all));
        let both = vec![(0, FailureKind::Throttled), (1, FailureKind::Refused)];
        assert_eq!(kinds(&format!("{busy},{wrong}"), 2), Err(both));
    }

    #[test]
    fn an_answer_that_is_none_is_no_delivery() {
        let broken = [
            "",
            "<html>",
            "{}",
            r#"{"errors":true}"#,
            r#"{"errors":true,"items":[]}"#,
            r#"{"errors":"false"}"#,
        ];
        for answer in broken {
            let unsent = understand(answer.as_bytes(), 1, None, &Redactor::default()).unwrap_err();
            let Unsent::All(failure) = unsent else { panic!("{answer}") };
            assert_eq!(failure.kind, FailureKind::Status, "{answer}");
        }
        assert_eq!(understand(br#"{"errors":false}"#, 1, None, &Redactor::default()), Ok(()));
        let odd = vec![(usize::MAX, FailureKind::Status)];
        assert_eq!(kinds(r#"{"create":{}}"#, 1), Err(odd));
    }

    #[test]
    fn why_a_record_is_refused_is_told() {
        let item = r#"{"index":{"status":400,"error":{"type":"document_parsing_exception",
            "reason":"failed to parse","caused_by":{"type":"x","reason":"a text is no number"}}}}"#;
        let answer = format!(r#"{{"errors":true,"items":[{item},{{"index":{{"status":201}}}}]}}"#);
        let understood = understand(answer.as_bytes(), 2, None, &Redactor::default());
        let Err(Unsent::Some(items)) = understood else { panic!() };
        let expected = "the server answered 400 document_parsing_exception: failed to parse: \
                        a text is no number";
        assert_eq!(items[0].1.message, expected);
        assert_eq!(items[0].1.response_code, Some(400));
    }
}
