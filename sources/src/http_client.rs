//! `http_client` polls an API over HTTP: with credentials, page by page, from where it stopped.
//!
//! ```text
//!  task      lease, when, how it went         ── connector (status, cursor)
//!   └ walk     page ─▶ page ─▶ …              ── paging, template, settings
//!      └ poller   request ─▶ answer ─▶ records ── pace, extract, seen
//!                 claim ─▶ hand over ─▶ saved  ── state, spool
//! ```
//!
//! Why no record is lost or taken twice stands in `state`.

mod agree;
mod extract;
mod job;
mod late;
mod options;
mod pace;
mod paging;
mod parents;
mod poller;
mod probe;
mod replayed;
mod request;
mod schedule;
mod seen;
mod settings;
mod spool;
mod start;
mod state;
mod task;
mod template;
mod tenant;
mod tokens;
mod value;
mod walk;
mod zip;

#[cfg(test)]
mod tests;

use crate::limits::EXCHANGE_MAX;
use azud_client::{Auth, Backoff, Http, Keys, TokenStore, Traces, Url};
use azud_event::codec::Decoder;
use azud_event::codec::source_fields::SourceFields;
use azud_event::time::EventTime;
use azud_plan::component::{
    BuildContext, BuildError, Connector, ConnectorKind, Endpoint, Example, Options, Probe,
    Resource, RunError, SecretService, Secrets, SourceContext, SourceFactory, SourceSpec,
    SourceTask,
};
use azud_plan::diagnostic::Checker;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pace::Pace;
use poller::{Acks, Poller};
use replayed::Replayed;
use schedule::Schedule;
use seen::Seen;
use settings::Settings;
use spool::Spool;
use state::State;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use task::{Make, Who};
use template::Values;
use tenant::Tenant;
use tokens::{Tokens, Turns};
use tokio::time::timeout;

/// How long windows wait for a poller that is silent: its polls come in minutes.
const MAX_HOLD: Duration = Duration::from_secs(120);

/// The registry's entry.
pub const HTTP_CLIENT: SourceFactory = SourceFactory {
    name: "http_client",
    summary: "Poll an API over HTTP, and remember how far it was read.",
    description: "\
Asks `endpoint` every `scrape_interval_secs`, or by a `schedule`, follows its pages, and takes the \
records of each answer. With `decoding.codec = \"json\"` an array is its elements, and CSV, \
NDJSON and XML become JSON; otherwise each line is a record. Records get `source_type`, and \
`timestamp`, when they were received, each unless they have one.

Texts of requests may have values in them: `{{ cursor }}`, `{{ now - 5m | unix }}`, `{{ start }}` \
and `{{ end }}` of a slice of time, `{{ parent.id }}`, `{{ label.site }}`, `{{ connector }}`, and \
`{{ last.id }}`, of the record that was given last; a parameter or header without its value is left \
out. \
Behind `|` stands how a time is written: `rfc3339`, `unix`, `unix_ms`, `date`, or signs of \
`strftime`; `json` and `base64` are for texts.

Each record is taken once, also when the process is killed in the middle: a page is on disk \
before its cursor moves, and the cursor moves before the records are handed over. It is kept in \
the database, sealed, with every page; a failed page fails the poll and leaves it where it was. \
Of several processes over one database one polls, and another takes over when it is gone. `azud \
connectors` shows the status, and moves the cursor.

Credentials, and headers that the document writes, go to the origins that the document names, and \
nowhere else. Redirects are followed, but not from `https` to `http`. An answer may not lead to a \
private address (`allow_private`), and link-local addresses and metadata services are never asked.

A limit of the other side (429, `Retry-After`, the headers of `rate_limit`) is kept. What fails is \
tried again with growing pauses.",
    options: options::OPTIONS,
    check,
    examples: &[
        Example {
            title: "The system log of Okta, with a token",
            toml: "\
endpoint = \"https://acme.okta.com/api/v1/logs\"
scrape_interval_secs = 60
query = { limit = \"1000\", sortOrder = \"ASCENDING\" }
decoding.codec = \"json\"
event_time = \".published\"
auth = { strategy = \"custom\", value = \"SSWS SECRET[azud.okta_token]\" }
pagination = { type = \"link_header\", stop = \"empty_page\" }
cursor = { value = \"next_link\", first = { param = \"since\", start = \"-7d\" } }",
            input: r#"{"uuid":"7f1","published":"2026-03-01T09:59:58.123Z","eventType":"user.session.start"}"#,
            output: concat!(
                r#"{"uuid":"7f1","published":"2026-03-01T09:59:58.123Z","#,
                r#""eventType":"user.session.start","source_type":"http_client","#,
                r#""timestamp":"2026-03-01T10:00:00Z"}"#,
            ),
        },
        Example {
            title: "What is new since the greatest time seen, with some overlap",
            toml: "\
endpoint = \"https://api.example/v1/events\"
decoding.codec = \"json\"
content.records = \".data\"
event_time = \".created_at\"
auth = { strategy = \"bearer\", token = \"SECRET[azud.example_token]\" }
pagination = { type = \"token\", field = \".meta.next\", param = \"page_token\" }
cursor = { value = \"last_event_time\", param = \"from\", overlap = \"5m\", first = { start = \"-1d\" } }
dedupe = { id = \".id\", window = \"1h\" }",
            input: r#"{"id":7,"created_at":"2026-03-01T09:59:00Z"}"#,
            output: concat!(
                r#"{"id":7,"created_at":"2026-03-01T09:59:00Z","source_type":"http_client","#,
                r#""timestamp":"2026-03-01T10:00:00Z"}"#,
            ),
        },
        Example {
            title: "A list of indicators, when it has changed",
            toml: "\
endpoint = \"https://feodotracker.abuse.ch/downloads/ipblocklist.json\"
scrape_interval_secs = 300
conditional = true
decoding.codec = \"json\"",
            input: r#"{"ip_address":"203.0.113.9","malware":"Emotet"}"#,
            output: concat!(
                r#"{"ip_address":"203.0.113.9","malware":"Emotet","#,
                r#""source_type":"http_client","timestamp":"2026-03-01T10:00:00Z"}"#,
            ),
        },
    ],
};

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SourceSpec>> {
    let settings = Settings::check(options, checker)?;
    Some(Box::new(HttpClient { settings: Arc::new(settings), turns: Arc::default() }))
}

/// The checked source.
struct HttpClient {
    settings: Arc<Settings>,
    turns: Arc<Turns>,
}

impl SourceSpec for HttpClient {
    fn decoder(&self) -> Box<dyn Decoder> {
        self.settings.decoding.decoder(SourceFields::new(HTTP_CLIENT.name))
    }

    fn max_hold(&self) -> Duration {
        MAX_HOLD
    }

    fn speaks_every(&self) -> Option<Duration> {
        self.settings.is_awaited.then(|| self.settings.schedule.longest_pause())
    }

    /// A page that was claimed is handed over again after a crash.
    fn resumes(&self) -> bool {
        true
    }

    fn resources(&self) -> Vec<Resource> {
        self.settings.http.files().map(|path| Resource::Reads(path.clone())).collect()
    }

    fn endpoint(&self) -> Option<Endpoint> {
        let values = Values { connector: "*".to_owned(), ..Values::default() };
        let address = self.settings.endpoint.render_address(&values).unwrap_or_default();
        let shown = Url::parse(&address).map(|url| azud_client::url::shown(&url)).ok();
        let summary = serde_json::json!({ "endpoint": shown });
        let mut endpoint = Endpoint::new(ConnectorKind::Api, summary);
        endpoint.interval = match &self.settings.schedule {
            Schedule::Every(every) => Some(*every),
            Schedule::Calendar(_) => None,
        };
        endpoint.runs_for = self.settings.connector.clone();
        Some(endpoint)
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        let connectors = context.services.connectors().ok_or_else(|| BuildError {
            message: "a poller needs a place for its cursor, and there is no database".to_owned(),
            help: None,
        })?;
        // Files of TLS are read now, so that a start tells what is wrong with them.
        let probed = Http::build(&self.settings.http, [], &context.clock)?;
        drop(probed);
        let folder = context.data_dir.join("polls").join(name_of_file(&context.id));
        Spool::open(folder.clone()).map_err(|error| BuildError {
            message: format!("cannot keep pages in {}: {error}", folder.display()),
            help: Some("let `data_dir` be a folder that this program may write to".to_owned()),
        })?;
        let who = match &self.settings.connector {
            Some(pattern) => Who::Matching(connectors, pattern.clone()),
            None => {
                let own = connectors.of(&context.id);
                Who::Own(connectors, own)
            }
        };
        let maker = Maker {
            id: context.id.clone(),
            settings: Arc::clone(&self.settings),
            turns: Arc::clone(&self.turns),
            secrets: SecretService::of(&context.services),
            folder,
            traces: context.services.find::<Traces>(),
        };
        Ok(Box::new(Task { who, maker }))
    }

    fn probe(
        &self,
        context: &BuildContext,
        connector: &Arc<dyn Connector>,
    ) -> Option<Box<dyn Probe>> {
        let maker = Maker {
            id: context.id.clone(),
            settings: Arc::clone(&self.settings),
            turns: Arc::clone(&self.turns),
            secrets: SecretService::of(&context.services),
            folder: PathBuf::new(),
            traces: None,
        };
        let client = maker.client(connector, &context.clock).ok()?;
        Some(Box::new(probe::HttpProbe {
            settings: Arc::clone(&self.settings),
            secrets: maker.secrets(connector),
            connector: Arc::clone(connector),
            client,
        }))
    }
}

/// Makes a name of an id that is one segment of a path.
fn name_of_file(id: &str) -> String {
    azud_client::url::encode(id).replace("..", "%2E%2E")
}

/// A source that is ready to run.
struct Task {
    who: Who,
    maker: Maker,
}

impl SourceTask for Task {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        let Task { who, maker } = *self;
        let turns = Arc::clone(&maker.turns);
        let make: Make =
            Arc::new(move |connector, context, acks| maker.poller(connector, context, acks));
        async move {
            let ended = task::run(who, make, context).await;
            // What a server has given in exchange for a token of one use is given once.
            if timeout(EXCHANGE_MAX, turns.settled()).await.is_err() {
                tracing::warn!(
                    "an exchange of a refresh token is broken off: if its server takes each only \
                     once, azud must be authorized anew"
                );
            }
            ended
        }
        .boxed()
    }
}

/// Makes pollers.
struct Maker {
    id: String,
    settings: Arc<Settings>,
    turns: Arc<Turns>,
    secrets: Arc<dyn Secrets>,
    folder: PathBuf,
    /// Where the last exchanges can be asked for, if anybody may.
    traces: Option<Arc<Traces>>,
}

impl Maker {
    /// Makes the client of a connector, which may be asked where its labels say.
    fn client(
        &self,
        connector: &Arc<dyn Connector>,
        clock: &azud_event::clock::Clock,
    ) -> Result<(Http, Option<Auth>), String> {
        let values = Values {
            connector: connector.name().to_owned(),
            labels: connector.labels(),
            now: Some(EventTime::EPOCH),
            ..Values::default()
        };
        let settings = &self.settings;
        let parents = settings.parents.as_ref().map(|parents| &parents.endpoint);
        let texts = [&settings.endpoint].into_iter().chain(parents);
        // Of an address whose path names what is not known yet, the origin is.
        let mut written: Vec<Url> = texts.filter_map(|text| text.origin(&values)).collect();
        written.extend(settings.auth.iter().flat_map(|auth| auth.urls().into_iter().cloned()));
        let http =
            Http::build(&settings.http, &written, clock).map_err(|error| error.to_string())?;
        let tokens: Arc<dyn TokenStore> = Arc::new(Tokens::new(connector, &self.turns));
        let keys = Keys { secrets: self.secrets(connector), tokens: Some(tokens) };
        Ok((http, settings.auth.as_ref().map(|auth| auth.build(keys))))
    }

    /// Gives the secrets as a connector names them.
    fn secrets(&self, connector: &Arc<dyn Connector>) -> Arc<dyn Secrets> {
        let traces = self.traces.as_ref();
        if traces.is_some_and(|traces| traces.is_replayed(connector.name())) {
            return Arc::new(Replayed);
        }
        Tenant::new(Arc::clone(&self.secrets), connector)
    }

    fn poller(
        &self,
        connector: Arc<dyn Connector>,
        context: SourceContext,
        acks: Arc<Acks>,
    ) -> Result<Poller, String> {
        let (http, auth) = self.client(&connector, &context.clock)?;
        if let Some(traces) = &self.traces {
            traces.note(connector.name(), http.trace());
        }
        let folder = self.folder.join(name_of_file(connector.name()));
        let spool = Spool::open(folder).map_err(|error| error.to_string())?;
        let seen = match &self.settings.dedupe {
            Some(dedupe) => Some(open_seen(dedupe, spool.folder())?),
            None => None,
        };
        let retry = self.settings.retry;
        Ok(Poller {
            source: self.id.clone(),
            settings: Arc::clone(&self.settings),
            http,
            auth,
            secrets: self.secrets(&connector),
            pace: Pace::new(self.settings.rate_limit.clone(), context.clock.clone()),
            backoff: Backoff::new(connector.name(), retry.min, retry.max),
            connector,
            context,
            acks,
            spool,
            seen,
            state: State::default(),
            dirty: false,
            is_overtaken: false,
            given: None,
            done: Vec::new(),
            told_at: Duration::ZERO,
            begun_here: false,
        })
    }
}

fn open_seen(dedupe: &seen::Dedupe, folder: &Path) -> Result<Seen, String> {
    let path = folder.join("seen");
    Seen::open(dedupe, path).map_err(|error| error.to_string())
}
