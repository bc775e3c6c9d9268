//! `azud connectors test`: one real call, told step by step. It moves nothing.

use super::paging::Had;
use super::request::Requests;
use super::settings::Settings;
use super::state::{State, Walk};
use azud_client::{Answer, Auth, Failure, Http, Request, Url, json};
use azud_plan::component::{Cause, Connector, Probe, ProbeStep, Secrets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// How long a name or a connection may take.
const WAIT: Duration = Duration::from_secs(10);

/// How far clocks may be apart before signatures and tokens fail.
const SKEW_SECONDS_MAX: i64 = 60;

/// A call that is ready to be made.
pub(super) struct HttpProbe {
    pub(super) settings: Arc<Settings>,
    pub(super) secrets: Arc<dyn Secrets>,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) client: (Http, Option<Auth>),
}

impl Probe for HttpProbe {
    fn run(self: Box<Self>) -> BoxFuture<'static, Vec<ProbeStep>> {
        async move {
            let mut steps = Vec::new();
            if let Err((name, failure)) = self.steps(&mut steps).await {
                let message = self.client.0.redactor().clean(&failure.message);
                let failed = Failure { message, ..failure }.failed();
                steps.push(ProbeStep { name, outcome: Err(failed) });
            }
            steps
        }
        .boxed()
    }
}

type Step<T> = Result<T, (&'static str, Failure)>;

impl HttpProbe {
    async fn steps(&self, steps: &mut Vec<ProbeStep>) -> Step<()> {
        let (http, auth) = &self.client;
        let mut told = |name, seen: String| steps.push(ProbeStep { name, outcome: Ok(seen) });
        let request = self.request().await.map_err(|failure| ("request", failure))?;
        let addresses =
            resolve(&request.url).await.map_err(|failure| ("name resolution", failure))?;
        told("name resolution", addresses);
        let answer = http.send(&request, auth.as_ref()).await.map_err(|failure| {
            let name = match failure.cause {
                Cause::Unreachable | Cause::Timeout if request.url.scheme() == "https" => {
                    "connection and TLS"
                }
                Cause::Authentication => "authentication",
                Cause::Unreachable | Cause::Timeout => "connection",
                _ => "first page",
            };
            (name, failure)
        })?;
        let milliseconds = answer.took.as_millis();
        match request.url.scheme() {
            "https" => told("connection and TLS", format!("answered in {milliseconds} ms")),
            _ => told("connection", format!("answered in {milliseconds} ms, without TLS")),
        }
        let failure = (!answer.status.is_success()).then(|| answer.failure(http.redactor()));
        match failure {
            Some(failure) if failure.cause == Cause::Authentication => {
                return Err(("authentication", failure));
            }
            Some(failure) => return Err(("first page", failure)),
            None => {
                let seen = match auth {
                    Some(_) => "the credentials were taken",
                    None => "none is used",
                };
                told("authentication", seen.to_owned());
            }
        }
        let page = self.page(&answer).map_err(|failure| ("first page", failure))?;
        told("first page", page);
        told("rate limit", self.limit(&answer));
        told("clock skew", skew(&answer).map_err(|failure| ("clock skew", failure))?);
        Ok(())
    }

    /// Makes the request that a first poll would make.
    async fn request(&self) -> Result<Request, Failure> {
        let now = self.client.0.clock().now().aligned_to(Duration::from_millis(1));
        let walk = Walk { begun: now.nanoseconds(), ..Walk::default() };
        let state = match self.connector.cursors().await {
            Ok(cursors) => cursors.get("").and_then(|cursor| State::read(cursor).ok()),
            Err(_) => None,
        };
        let state = state.unwrap_or_default();
        let requests = Requests {
            settings: &self.settings,
            connector: &*self.connector,
            secrets: &*self.secrets,
            http: &self.client.0,
        };
        let mut walk = walk;
        if let Some(slices) = &self.settings.slices {
            let end = requests.slice_start(&state, now).unwrap_or(now).saturating_add(slices.step);
            walk.slice_end = Some(end.min(now).nanoseconds());
        }
        let values = requests.values(&state, &walk, None);
        let mut request = requests.request(&state, &values).await?;
        self.settings.paging.apply(&mut request, None, &values)?;
        Ok(request)
    }

    fn page(&self, answer: &Answer) -> Result<String, Failure> {
        let extracted = self.settings.extract.records(answer, true)?;
        let records = extracted.lines.len() as u64;
        let last = extracted.lines.last().and_then(|line| serde_json::from_slice(line).ok());
        let body = extracted.body.as_ref();
        let had = Had { answer, body, records, last: last.as_ref() };
        let turn = self.settings.paging.turn(&had, None)?;
        let bytes = answer.body.len();
        let more = if turn.ends { "no page follows" } else { "more pages follow" };
        let event_time = self.settings.event_time.as_ref().zip(last.as_ref());
        let timeless = event_time.is_some_and(|(path, last)| json::at(last, path).is_none());
        let warning = if timeless { "; the last record has no `event_time`" } else { "" };
        Ok(format!("{records} records, {bytes} bytes, {more}{warning}"))
    }

    fn limit(&self, answer: &Answer) -> String {
        let limit = &self.settings.rate_limit;
        let header = |name: &Option<String>| {
            name.as_ref().and_then(|name| answer.header(name)).map(str::to_owned)
        };
        match (header(&limit.remaining_header), header(&limit.reset_header)) {
            (Some(left), Some(reset)) => format!("{left} requests are left, reset at {reset}"),
            _ if limit.remaining_header.is_some() => {
                "the answer does not have the headers of `rate_limit`".to_owned()
            }
            _ => "no header is looked at".to_owned(),
        }
    }
}

async fn resolve(url: &Url) -> Result<String, Failure> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(0);
    let found = tokio::time::timeout(WAIT, tokio::net::lookup_host((host, port))).await;
    let unknown = |why: String| {
        Failure::new(Cause::Unreachable, format!("`{host}` cannot be resolved: {why}"))
    };
    let found = found.map_err(|_| unknown(format!("no answer within {WAIT:?}")))?;
    let found = found.map_err(|error| unknown(error.to_string()))?;
    let addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
    Ok(format!("{host} is {}", addresses.join(", ")))
}

fn skew(answer: &Answer) -> Result<String, Failure> {
    match answer.skew_seconds() {
        None => Ok("the other side does not tell its time".to_owned()),
        Some(skew) if skew.abs() > SKEW_SECONDS_MAX => {
            let side = if skew > 0 { "behind" } else { "ahead of" };
            let seconds = skew.abs();
            let message = format!("this machine's clock is {seconds} s {side} the other side's");
            Err(Failure::new(Cause::Local, message))
        }
        Some(skew) => Ok(format!("{} s", skew.abs())),
    }
}
