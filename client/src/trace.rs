//! The last exchanges of a connector, for people; and recordings of them, for tests. Neither holds
//! a secret.

use crate::failure::Failure;
use crate::http::{Answer, Request};
use crate::hush::Hush;
use crate::limits::{
    RECORD_BODY_BYTES, TRACE_BODY_BYTES, TRACE_EXCHANGES, UNWATCHED_BODY_BYTES, UNWATCHED_EXCHANGES,
};
use crate::recorder::{Recorder, Recording};
use azud_event::time::EventTime;
use azud_plan::component::Cause;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Headers whose values are never told.
const SECRET_HEADERS: &[&str] = &[
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-vault-token",
];

/// Members of JSON and parameters whose values are never told, wherever they stand.
const SECRET_NAMES: &[&str] = &[
    "access_token",
    "api_key",
    "apikey",
    "assertion",
    "client_assertion",
    "client_secret",
    "id_token",
    "key",
    "passwd",
    "password",
    "private_key",
    "refresh_token",
    "secret",
    "secretaccesskey",
    "session_token",
    "sessiontoken",
    "sig",
    "signature",
    "token",
    "x-amz-security-token",
    "x-amz-signature",
];

const STARS: &str = "***";

/// A request and what came of it, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When it ended.
    pub at: EventTime,
    /// How long it took.
    pub took: Duration,
    /// The method.
    pub method: String,
    /// Where to.
    pub url: String,
    /// The headers that went.
    pub request_headers: Vec<(String, String)>,
    /// The body that went.
    pub request_body: String,
    /// The status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// The headers of the answer.
    pub headers: Vec<(String, String)>,
    /// The body of the answer, or why there is no whole one.
    pub body: String,
}

impl Exchange {
    pub(crate) fn of(
        request: &Request,
        done: &Result<Answer, Failure>,
        took: Duration,
        at: EventTime,
        (hush, most): (&Hush, usize),
    ) -> Self {
        let (status, headers, body) = match done {
            Ok(answer) => (
                Some(answer.status.as_u16()),
                clean_headers(&answer.headers, hush),
                clean_body(&answer.body, hush, most),
            ),
            Err(failure) => (failure.status, Vec::new(), hush.clean(&failure.message)),
        };
        Exchange {
            at,
            took,
            method: request.method.to_string(),
            url: clean_url(&request.url, hush),
            request_headers: clean_headers(&request.headers, hush),
            request_body: clean_body(&request.body, hush, most),
            status,
            headers,
            body,
        }
    }

    /// Gives it as JSON.
    pub fn to_json(&self) -> Value {
        let map = |headers: &[(String, String)]| -> Value {
            headers.iter().map(|(name, value)| json!([name, value])).collect()
        };
        json!({
            "at": self.at.to_rfc3339(),
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "request": {
                "method": self.method,
                "url": self.url,
                "headers": map(&self.request_headers),
                "body": self.request_body,
            },
            "response": {
                "status": self.status,
                "headers": map(&self.headers),
                "body": self.body,
            },
        })
    }
}

/// The last exchanges, and where they are recorded to or replayed from.
#[derive(Default)]
pub struct Trace(Mutex<State>);

#[derive(Default)]
struct State {
    last: VecDeque<Exchange>,
    watched: bool,
    recorder: Option<Recorder>,
    replay: Option<Replay>,
}

impl Trace {
    /// Gives the last exchanges, the oldest first.
    pub fn last(&self) -> Vec<Exchange> {
        self.lock().last.iter().cloned().collect()
    }

    /// Keeps more of what comes, while somebody looks; of most connectors nobody ever does.
    pub fn watch(&self, watched: bool) {
        self.lock().watched = watched;
    }

    /// How much of a body is to be kept now.
    pub(crate) fn body_bytes(&self) -> usize {
        let state = self.lock();
        match (state.recorder.as_ref().is_some_and(Recorder::goes_on), state.watched) {
            (true, _) => RECORD_BODY_BYTES,
            (false, true) => TRACE_BODY_BYTES,
            (false, false) => UNWATCHED_BODY_BYTES,
        }
    }

    /// Has every exchange written from now on, or no longer; gives what there is of the recording
    /// that this ends.
    pub fn record(&self, recorder: Option<Recorder>) -> Option<Recording> {
        let before = std::mem::replace(&mut self.lock().recorder, recorder);
        before.map(|before| before.recorded())
    }

    /// Has a recording answer in place of the network.
    pub fn replay_from(&self, replay: Replay) {
        self.lock().replay = Some(replay);
    }

    pub(crate) fn note(&self, exchange: Exchange) {
        let mut state = self.lock();
        if let Some(recorder) = &mut state.recorder {
            recorder.take(&exchange);
        }
        let kept = if state.watched { TRACE_EXCHANGES } else { UNWATCHED_EXCHANGES };
        while state.last.len() >= kept {
            state.last.pop_front();
        }
        state.last.push_back(exchange);
    }

    /// Whether a recording answers.
    pub(crate) fn is_replayed(&self) -> bool {
        self.lock().replay.is_some()
    }

    pub(crate) fn replay(
        &self,
        request: &Request,
        at: EventTime,
    ) -> Option<Result<Answer, Failure>> {
        self.lock().replay.as_mut().map(|replay| replay.answer(request, at))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The traces of all connectors that run, a service of the instance: for who asks about one.
#[derive(Default)]
pub struct Traces {
    traces: Mutex<BTreeMap<String, Arc<Trace>>>,
    /// Recordings that are to answer; `None` once their connectors are there.
    replays: Mutex<BTreeMap<String, Option<Replay>>>,
}

impl Traces {
    /// Has a recording answer a connector in place of the network.
    pub fn replay(&self, connector: &str, replay: Replay) {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        replays.insert(connector.to_owned(), Some(replay));
    }

    /// Whether a recording answers a connector.
    pub fn is_replayed(&self, connector: &str) -> bool {
        let replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        replays.contains_key(connector)
    }

    /// Takes in the trace of a connector, in place of one of the same name.
    pub fn note(&self, connector: &str, trace: &Arc<Trace>) {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(replay) = replays.get_mut(connector).and_then(Option::take) {
            trace.replay_from(replay);
        }
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        traces.insert(connector.to_owned(), Arc::clone(trace));
    }

    /// Gives the trace of a connector; `None` when it does not run here.
    pub fn of(&self, connector: &str) -> Option<Arc<Trace>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).get(connector).cloned()
    }
}

/// A recording that answers: each request is given the answer of the first recorded exchange of its
/// method and path that was not given yet.
#[derive(Debug)]
pub struct Replay(Vec<Recorded>);

#[derive(Debug)]
struct Recorded {
    method: String,
    url: Url,
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    given: bool,
}

impl Replay {
    /// Reads a folder that a [`Recorder`] wrote.
    ///
    /// # Errors
    /// When a file cannot be read, or is no exchange.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: &PathBuf| {
            let value: Value = serde_json::from_slice(&fs::read(path)?)?;
            recorded(&value).ok_or_else(|| {
                io::Error::other(format!("{} is no recorded exchange", path.display()))
            })
        };
        paths.iter().map(read).collect::<io::Result<_>>().map(Replay)
    }

    fn answer(&mut self, request: &Request, at: EventTime) -> Result<Answer, Failure> {
        let fits = |recorded: &Recorded| {
            !recorded.given
                && recorded.method == request.method.as_str()
                && recorded.url.path() == request.url.path()
        };
        let Some(found) = self.0.iter_mut().find(|recorded| fits(recorded)) else {
            let what = format!("{} {}", request.method, request.url.path());
            return Err(Failure::new(Cause::Unreachable, format!("{what} was not recorded")));
        };
        found.given = true;
        let status = StatusCode::from_u16(found.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let (headers, body) = (found.headers.clone(), found.body.clone());
        Ok(Answer { status, headers, body, url: request.url.clone(), took: Duration::ZERO, at })
    }
}

fn recorded(value: &Value) -> Option<Recorded> {
    let (request, response) = (value.get("request")?, value.get("response")?);
    let mut headers = HeaderMap::new();
    for pair in response.get("headers")?.as_array()? {
        let name = HeaderName::from_bytes(pair.get(0)?.as_str()?.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(pair.get(1)?.as_str()?).ok()?);
    }
    // The body was written inflated.
    headers.remove(reqwest::header::CONTENT_ENCODING);
    Some(Recorded {
        method: request.get("method")?.as_str()?.to_owned(),
        url: Url::parse(request.get("url")?.as_str()?).ok()?,
        status: u16::try_from(response.get("status")?.as_u64()?).ok()?,
        headers,
        body: Bytes::from(response.get("body")?.as_str()?.to_owned()),
        given: false,
    })
}

fn is_secret(name: &str) -> bool {
    SECRET_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

fn clean_headers(headers: &HeaderMap, hush: &Hush) -> Vec<(String, String)> {
    let clean = |(name, value): (&HeaderName, &HeaderValue)| {
        let hidden = value.is_sensitive() || SECRET_HEADERS.contains(&name.as_str());
        let value = match hidden {
            true => STARS.to_owned(),
            false => clean_links(&String::from_utf8_lossy(value.as_bytes()), hush),
        };
        (name.to_string(), value)
    };
    headers.iter().map(clean).collect()
}

/// Cleans the addresses in a header such as `Link` or `Location`.
fn clean_links(text: &str, hush: &Hush) -> String {
    let mut clean = hush.clean(text);
    for name in SECRET_NAMES {
        let mut from = 0;
        while let Some(at) = clean[from..].find(&format!("{name}=")).map(|at| from + at) {
            let start = at + name.len() + 1;
            let is_name = at == 0 || matches!(clean.as_bytes()[at - 1], b'?' | b'&' | b';' | b' ');
            let length = clean[start..].find(['&', '>', ';', ' ', '"']);
            let end = length.map_or(clean.len(), |length| start + length);
            if is_name {
                clean.replace_range(start..end, STARS);
            }
            from = start;
        }
    }
    clean
}

fn clean_url(url: &Url, hush: &Hush) -> String {
    clean_links(url.as_str(), hush)
}

/// Gives the beginning of a body without secrets. What is long is not read as a whole.
fn clean_body(body: &[u8], hush: &Hush, most: usize) -> String {
    if body.len() <= most
        && let Ok(mut value) = serde_json::from_slice::<Value>(body)
        && clean_value(&mut value)
    {
        return hush.clean(&value.to_string());
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(most)]);
    let text = match text.contains('=') && !text.contains(['{', '<', '\n']) {
        true => clean_links(&text, hush),
        false => hush.clean(&clean_members(&text)),
    };
    match body.len().checked_sub(most) {
        None | Some(0) => text,
        Some(left) => format!("{text}… {left} bytes more"),
    }
}

/// Takes out of a piece of JSON the texts that are secret by their names.
fn clean_members(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    while let Some((value, end)) = SECRET_NAMES
        .iter()
        .filter_map(|name| member(&lower, from, name))
        .min_by_key(|(value, _)| *value)
    {
        clean.push_str(&text[from..value]);
        clean.push_str(STARS);
        from = end;
    }
    clean.push_str(&text[from..]);
    clean
}

/// Finds the text behind a name, without its quotes; one that is cut short ends where all does.
fn member(text: &str, from: usize, name: &str) -> Option<(usize, usize)> {
    let quoted = format!("\"{name}\"");
    let mut from = from;
    loop {
        let behind = from + text[from..].find(&quoted)? + quoted.len();
        let rest = text[behind..].trim_start();
        let value = rest.strip_prefix(':').map(str::trim_start).and_then(|v| v.strip_prefix('"'));
        let Some(value) = value else {
            from = behind;
            continue;
        };
        let start = text.len() - value.len();
        let mut escaped = false;
        let end = value.bytes().position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            byte => byte == b'"',
        });
        return Some((start, end.map_or(text.len(), |end| start + end)));
    }
}

/// Takes out what is secret by its name; tells whether there was any.
fn clean_value(value: &mut Value) -> bool {
    match value {
        Value::Object(members) => {
            let mut found = false;
            for (name, value) in members {
                match value {
                    Value::String(text) if is_secret(name) => {
                        *text = STARS.to_owned();
                        found = true;
                    }
                    value => found |= clean_value(value),
                }
            }
            found
        }
        Value::Array(items) => {
            items.iter_mut().fold(false, |found, item| clean_value(item) | found)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_by_their_names_also_where_a_body_is_cut() {
        let hush = Hush::default();
        let body =
            r#"{"a":"x","Access_Token": "s\"ecret","key":3,"nested":[{"password":"hunter2"}]}"#;
        for most in 1..body.len() + 1 {
            let clean = clean_body(body.as_bytes(), &hush, most);
            assert!(!clean.contains("ecret") && !clean.contains("hunter2"), "{most}: {clean}");
        }
        let whole = clean_body(body.as_bytes(), &hush, body.len());
        assert!(whole.contains("\"a\":\"x\"") && whole.contains("\"key\":3"), "{whole}");
        let form = clean_body(b"grant_type=password&client_secret=abc&x=1", &hush, 100);
        assert_eq!(form, "grant_type=password&client_secret=***&x=1");
        let link = "</logs?after=7&sig=abc>; rel=\"next\"";
        assert_eq!(clean_links(link, &hush), "</logs?after=7&sig=***>; rel=\"next\"");
        assert_eq!(clean_members("\"token\" \"token\": null"), "\"token\" \"token\": null");
    }
}
