//! The last exchanges of a connector, for people; and recordings of them, for tests. Neither holds
//! a secret.

use crate::failure::Failure;
use crate::http::{Answer, Request};
use crate::limits::{
    RECORD_BODY_BYTES, TRACE_BODY_BYTES, TRACE_EXCHANGES, UNWATCHED_BODY_BYTES, UNWATCHED_EXCHANGES,
};
use crate::recorder::{Recorder, Recording};
use crate::redactor::{About, Redactor};
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
        redactor: &Redactor,
        (about, most): (About, usize),
    ) -> Self {
        let (status, headers, body) = match done {
            Ok(Answer { status, headers, body, .. }) => (
                Some(status.as_u16()),
                redactor.headers(headers, about),
                redactor.answer(*status, headers, body, about, most),
            ),
            Err(failure) => (failure.status, Vec::new(), redactor.clean(&failure.message)),
        };
        let Request { method, url, headers: sent, body: sent_body } = request;
        Exchange {
            at,
            took,
            method: method.to_string(),
            url: redactor.url(url),
            request_headers: redactor.headers(sent, about),
            request_body: redactor.request(sent, sent_body, about, most),
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
