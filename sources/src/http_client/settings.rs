//! The checked options of `http_client`.

use super::extract::{Content, Extract};
use super::pace::RateLimit;
use super::paging::{FollowUp, From, Kind, Paging, Size, Stop, To};
use super::schedule::{Calendar, Schedule};
use super::seen::Dedupe;
use super::start::{Start, check_start};
use super::template::{Form, Text};
use crate::decoding::Decoding;
use azud_client::header::HeaderName;
use azud_client::{AuthOptions, HttpOptions, Method};
use azud_plan::component::{Confidential, Options};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::document::{self, Node};
use std::time::Duration;
use vrl::path::OwnedValuePath;

/// Everything that its author wrote.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) endpoint: Text,
    pub(super) method: Method,
    pub(super) headers: Vec<(HeaderName, Header)>,
    pub(super) query: Vec<(String, Text)>,
    pub(super) body: Option<Text>,
    pub(super) http: HttpOptions,
    pub(super) auth: Option<AuthOptions>,
    pub(super) connector: Option<String>,
    pub(super) decoding: Decoding,
    pub(super) extract: Extract,
    pub(super) paging: Paging,
    pub(super) cursor: Option<CursorOptions>,
    pub(super) dedupe: Option<Dedupe>,
    pub(super) slices: Option<Slices>,
    pub(super) parents: Option<Parents>,
    pub(super) job: Option<Job>,
    pub(super) rate_limit: RateLimit,
    pub(super) retry: Retry,
    pub(super) schedule: Schedule,
    pub(super) conditional: bool,
    /// Where records say when they happened.
    pub(super) event_time: Option<OwnedValuePath>,
    /// The places of the record that was given last which requests name.
    pub(super) last: Vec<OwnedValuePath>,
    /// How much older than the newest before it a record may be and still be in order.
    pub(super) lateness: Duration,
    /// How long records may take until the other side gives them, if it says nothing better.
    pub(super) max_hold: Duration,
    /// Whether windows wait for the next poll: not where their author says how long they wait.
    pub(super) is_awaited: bool,
    /// How old the newest record may be before that is a warning.
    pub(super) max_lag: Option<Duration>,
}

/// The value of a header.
#[derive(Clone, Debug)]
pub(super) enum Header {
    Text(Text),
    Secret(Confidential),
}

#[derive(Clone, Debug)]
pub(super) struct CursorOptions {
    pub(super) value: CursorValue,
    pub(super) param: Option<String>,
    pub(super) format: Form,
    pub(super) overlap: Duration,
    pub(super) first: Option<First>,
    pub(super) on_rejected: Option<OnRejected>,
}

/// What the cursor is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CursorValue {
    First(OwnedValuePath),
    Last(OwnedValuePath),
    LastEventTime,
    Max(OwnedValuePath),
    NextLink,
    Now,
    Response(OwnedValuePath),
    Token,
}

#[derive(Clone, Debug)]
pub(super) struct First {
    pub(super) body: Option<Text>,
    pub(super) param: Option<String>,
    pub(super) start: Start,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct OnRejected {
    pub(super) restart_from: RestartFrom,
    pub(super) overlap: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestartFrom {
    LastEventTime,
    Now,
    Start,
}

#[derive(Clone, Debug)]
pub(super) struct Slices {
    pub(super) start: Start,
    pub(super) start_param: String,
    pub(super) end_param: String,
    pub(super) step: Duration,
    pub(super) lag: Duration,
    pub(super) format: Form,
}

#[derive(Clone, Debug)]
pub(super) struct Parents {
    pub(super) endpoint: Text,
    pub(super) records: Option<OwnedValuePath>,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) status: Text,
    pub(super) state: OwnedValuePath,
    pub(super) done: Vec<String>,
    pub(super) failed: Vec<String>,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
    pub(super) result: JobResult,
}

/// Where the result of a job is.
#[derive(Clone, Debug)]
pub(super) enum JobResult {
    At(Text),
    Listed(OwnedValuePath),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    pub(super) attempts: u32,
    pub(super) min: Duration,
    pub(super) max: Duration,
}

pub(super) fn report(
    options: &Options<'_>,
    name: &str,
    title: String,
    help: &str,
    checker: &mut Checker,
) {
    let found = Diagnostic::error(codes::MALFORMED_VALUE, options.span(name), title, "");
    checker.report(if help.is_empty() { found } else { found.help(help) });
}

pub(super) fn contradicts(
    options: &Options<'_>,
    name: &str,
    title: &str,
    help: &str,
    checker: &mut Checker,
) {
    let place = options.span(name);
    let found = Diagnostic::error(codes::CONTRADICTION, place, title.to_owned(), "");
    checker.report(found.help(help));
}

impl Settings {
    /// Checks the options.
    pub(super) fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Settings> {
        let endpoint = check_endpoint(options, checker);
        let (headers, query) = (check_headers(options, checker), check_query(options, checker));
        let body = check_optional(options, "body", checker);
        let timeout = options.duration("scrape_timeout_secs").unwrap_or_default();
        let http = HttpOptions::check(options, timeout, checker);
        let auth = AuthOptions::check(options, checker);
        let extract = check_content(options, checker);
        let paging = check_paging(options, checker);
        let cursor = check_cursor(options, checker);
        let slices = check_slices(options, checker);
        let (parents, job) = (check_parents(options, checker), check_job(options, checker));
        let rate_limit = check_rate_limit(options, checker);
        let schedule = check_schedule(options, checker);
        let retry = options.table("retry")?;
        let mut settings = Settings {
            last: Vec::new(),
            endpoint: endpoint?,
            method: check_method(options, "method")?,
            headers: headers?,
            query: query?,
            body: body?,
            http: http?,
            auth: auth?,
            connector: options.string("connector"),
            decoding: Decoding::check(options)?,
            extract: extract?,
            paging: paging?,
            cursor: cursor?,
            dedupe: check_dedupe(options)?,
            slices: slices?,
            parents: parents?,
            job: job?,
            rate_limit: rate_limit?,
            retry: Retry {
                attempts: u32::try_from(retry.integer("attempts")?).ok()?,
                min: retry.duration("min")?,
                max: retry.duration("max")?,
            },
            schedule: schedule?,
            conditional: options.boolean("conditional")?,
            event_time: options.field("event_time"),
            lateness: options.duration("lateness").unwrap_or_default(),
            max_hold: options.duration("max_hold").unwrap_or(super::MAX_HOLD),
            is_awaited: !options.has("max_hold"),
            max_lag: options.duration("max_lag"),
        };
        settings.last = settings.texts().flat_map(|text| text.places("last")).cloned().collect();
        settings.agrees(options, checker).then_some(settings)
    }

    /// Lists the texts of the first request.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Text> {
        let headers = self.headers.iter().filter_map(|(_, value)| match value {
            Header::Text(text) => Some(text),
            Header::Secret(_) => None,
        });
        let query = self.query.iter().map(|(_, text)| text);
        let first = self.cursor.iter().filter_map(|cursor| cursor.first.as_ref()?.body.as_ref());
        query.chain(headers).chain(&self.body).chain([&self.endpoint]).chain(first)
    }

    /// Whether each walk goes on where the last one ended, from what is older to what is newer:
    /// what was not given yet is newer than what was.
    pub(super) fn goes_onward(&self) -> bool {
        let value = self.cursor.as_ref().map(|cursor| &cursor.value);
        let onward = matches!(
            value,
            Some(CursorValue::NextLink | CursorValue::Token | CursorValue::Last(_))
        );
        onward && self.parents.is_none()
    }
}

fn check_text(text: &document::Text, checker: &mut Checker) -> Option<Text> {
    match Text::parse(&text.text) {
        Ok(text) => Some(text),
        Err(why) => {
            let found = Diagnostic::error(codes::TEMPLATE, text.span, why, "");
            checker
                .report(found.help("values are written `{{ cursor }}`, `{{ now - 5m | unix }}`"));
            None
        }
    }
}

fn check_optional(
    options: &Options<'_>,
    name: &str,
    checker: &mut Checker,
) -> Option<Option<Text>> {
    match options.text(name) {
        Some(text) => check_text(text, checker).map(Some),
        None => (!options.has(name)).then_some(None),
    }
}

/// Checks an address with values in it: it is an address whatever they are.
fn check_address(options: &Options<'_>, name: &str, checker: &mut Checker) -> Option<Text> {
    let text = options.text(name)?;
    let parsed = check_text(text, checker)?;
    let tried = trial(&text.text);
    let url = azud_client::Url::parse(&tried).ok();
    let whole = url.as_ref().is_some_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if !whole && !text.text.starts_with("{{") {
        let title = "this is no address of an HTTP server".to_owned();
        let help = "write it as `https://api.example/path`, without credentials";
        report(options, name, title, help, checker);
        return None;
    }
    Some(parsed)
}

/// Puts something harmless in the place of values; behind a colon it may be a port.
fn trial(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        out.push_str(before);
        out.push(if out.ends_with(':') { '1' } else { 'x' });
        rest = behind.split_once("}}").map_or("", |(_, behind)| behind);
    }
    out + rest
}

fn check_endpoint(options: &Options<'_>, checker: &mut Checker) -> Option<Text> {
    let endpoint = check_address(options, "endpoint", checker)?;
    for (name, help) in [
        ("cursor", "let it stand in `query`, `headers` or `body`"),
        ("token", "let it stand in `pagination`"),
    ] {
        let host_varies = options.text("endpoint").is_some_and(|text| {
            let host = text.text.split('/').nth(2).unwrap_or_default();
            host.contains(&format!("{{{{ {name}")) || host.contains(&format!("{{{{{name}"))
        });
        if host_varies {
            let title = format!("what an answer says (`{name}`) does not choose the host");
            report(options, "endpoint", title, help, checker);
            return None;
        }
    }
    Some(endpoint)
}

fn check_method(options: &Options<'_>, name: &str) -> Option<Method> {
    Some(match options.one_of(name)? {
        "post" => Method::POST,
        "put" => Method::PUT,
        _ => Method::GET,
    })
}

fn texts(node: &Node) -> Vec<&document::Text> {
    match node.as_array() {
        Some(items) => items.iter().filter_map(Node::as_text).collect(),
        None => node.as_text().into_iter().collect(),
    }
}

fn check_headers(
    options: &Options<'_>,
    checker: &mut Checker,
) -> Option<Vec<(HeaderName, Header)>> {
    // Ours: what they say follows from the request.
    const OURS: &[&str] = &["content-length", "host", "transfer-encoding"];
    let mut headers = Some(Vec::new());
    for entry in options.map("headers") {
        let name = HeaderName::from_bytes(entry.key.as_bytes()).ok();
        let name = name.filter(|name| !OURS.contains(&name.as_str()));
        let Some(name) = name else {
            let title = format!("`{}` is no header that can be set", entry.key);
            checker.report(Diagnostic::error(codes::MALFORMED_VALUE, entry.key_span, title, ""));
            headers = None;
            continue;
        };
        for text in texts(&entry.node) {
            let secret = Confidential::parse(&text.text).ok();
            let value = match secret.filter(|secret| secret.names().next().is_some()) {
                Some(secret) => Some(Header::Secret(secret)),
                None => check_text(text, checker).map(Header::Text),
            };
            match (value, &mut headers) {
                (Some(value), Some(headers)) => headers.push((name.clone(), value)),
                _ => headers = None,
            }
        }
    }
    headers
}

fn check_query(options: &Options<'_>, checker: &mut Checker) -> Option<Vec<(String, Text)>> {
    let mut query = Some(Vec::new());
    for entry in options.map("query") {
        for text in texts(&entry.node) {
            match (check_text(text, checker), &mut query) {
                (Some(text), Some(query)) => query.push((entry.key.clone(), text)),
                _ => query = None,
            }
        }
    }
    query
}

fn check_content(options: &Options<'_>, checker: &mut Checker) -> Option<Extract> {
    let content = options.table("content")?;
    let json = matches!(Decoding::check(options)?, Decoding::Json);
    let kind = match content.one_of("type")? {
        "auto" if json => Content::Auto,
        "auto" | "text" => Content::Text,
        "csv" => Content::Csv,
        "json" => Content::Json,
        "ndjson" => Content::Ndjson,
        _ => Content::Xml,
    };
    if content.has("type") && !json && !matches!(kind, Content::Text | Content::Ndjson) {
        let help = "write `decoding.codec = \"json\"`";
        contradicts(&content, "type", "its records are made JSON, and not decoded", help, checker);
        return None;
    }
    let delimiter = content.string("delimiter")?;
    let &[delimiter] = delimiter.as_bytes() else {
        let title = format!("`{delimiter}` is not one sign of ASCII");
        report(&content, "delimiter", title, "", checker);
        return None;
    };
    Some(Extract {
        content: kind,
        records: content.field("records"),
        optional: content.boolean("optional")?,
        keep: content.strings("keep"),
        delimiter,
        columns: content.strings("columns"),
        bytes_max: usize::try_from(options.bytes("max_response_bytes")?).ok()?,
    })
}

/// Which options of `pagination` a type has, beside `type`, `stop`, `max_pages` and `more`.
const PAGINATION: &[(&str, &[&str])] = &[
    ("keyset", &["field", "param", "size", "size_param"]),
    ("link_header", &["rel"]),
    ("next_url", &["field"]),
    ("offset", &["param", "size", "size_param", "start", "total"]),
    ("page", &["param", "size", "size_param", "start", "total"]),
    ("token", &["body", "body_field", "endpoint", "field", "from_header", "header", "param"]),
];

fn check_paging(options: &Options<'_>, checker: &mut Checker) -> Option<Paging> {
    let Some(table) = options.table("pagination") else {
        return (!options.has("pagination")).then(Paging::none);
    };
    let kind = table.one_of("type")?;
    let own = PAGINATION.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, own)| own);
    for name in PAGINATION.iter().flat_map(|(_, names)| names.iter()) {
        if table.has(name) && !own.contains(name) {
            let title = format!("`{kind}` has no `pagination.{name}`");
            contradicts(&table, name, &title, "remove it", checker);
            return None;
        }
    }
    let size = table
        .integer("size")
        .map(|records| Size { param: table.string("size_param"), records: records.unsigned_abs() });
    let mut need = |name: &str| {
        let missing = !table.has(name);
        if missing {
            let title = format!("`{kind}` needs `pagination.{name}`");
            let found = Diagnostic::error(codes::MISSING_OPTION, table.place, title, "");
            checker.report(found);
        }
        (!missing).then_some(())
    };
    let kind = match kind {
        "link_header" => Kind::LinkHeader { rel: table.string("rel")? },
        "next_url" => {
            need("field")?;
            Kind::NextUrl { path: table.field("field")? }
        }
        "token" => check_token(&table, checker)?,
        "keyset" => {
            need("field")?;
            need("param")?;
            let (field, param) = (table.field("field")?, table.string("param")?);
            Kind::Keyset { field, param, size: size.clone() }
        }
        kind => {
            need("param")?;
            let param = table.string("param")?;
            let first = |least: i64| table.integer("start").unwrap_or(least).unsigned_abs();
            let (size, total) = (size.clone(), table.field("total"));
            match kind {
                "offset" => Kind::Offset { param, size, first: first(0), total },
                _ => Kind::Page { param, size, first: first(1), total },
            }
        }
    };
    let stop = check_stop(&table, &kind, size.is_some(), checker)?;
    let max_pages = table.integer("max_pages")?.unsigned_abs();
    Some(Paging { kind, stop, max_pages, more: table.field("more") })
}

/// Checks which page is the last.
fn check_stop(
    table: &Options<'_>,
    kind: &Kind,
    has_size: bool,
    checker: &mut Checker,
) -> Option<Stop> {
    if table.one_of("stop") == Some("short_page") && !has_size {
        let title = "no page is short where none has a size";
        let help = match kind {
            Kind::Offset { .. } | Kind::Page { .. } | Kind::Keyset { .. } => {
                "say in `pagination.size` how many records a full page has"
            }
            _ => "write `stop = \"last_page\"`, or `stop = \"empty_page\"`",
        };
        contradicts(table, "stop", title, help, checker);
        return None;
    }
    Some(match table.one_of("stop") {
        Some("empty_page") => Stop::Empty,
        Some("short_page") => Stop::Short,
        Some(_) => Stop::Unnamed,
        None if has_size => Stop::Short,
        None if matches!(kind, Kind::Offset { .. } | Kind::Page { .. } | Kind::Keyset { .. }) => {
            Stop::Empty
        }
        None => Stop::Unnamed,
    })
}

fn check_token(table: &Options<'_>, checker: &mut Checker) -> Option<Kind> {
    let from = match (table.field("field"), table.string("from_header")) {
        (Some(path), None) => From::Body(path),
        (None, Some(name)) => From::Header(name),
        _ => {
            let title = "a token comes from the body or from a header";
            let help = "write one of `pagination.field` and `pagination.from_header`";
            contradicts(table, "type", title, help, checker);
            return None;
        }
    };
    let endpoint = match table.has("endpoint") {
        true => Some(check_address(table, "endpoint", checker)?),
        false => None,
    };
    let body = check_optional(table, "body", checker)?;
    let request = match (endpoint, body) {
        (Some(endpoint), body) => {
            let method = if body.is_some() { Method::POST } else { Method::GET };
            Some(FollowUp { method, endpoint, body })
        }
        (None, None) => None,
        (None, Some(_)) => {
            let title = "a body of its own, and no address";
            contradicts(table, "body", title, "name it in `pagination.endpoint`", checker);
            return None;
        }
    };
    let in_texts = request.as_ref().is_some_and(|request| {
        request.endpoint.uses("token")
            || request.body.as_ref().is_some_and(|body| body.uses("token"))
    });
    let places = ["param", "header", "body_field"].into_iter().filter(|name| table.has(name));
    let to = match (places.count(), in_texts) {
        (0, true) => To::Texts,
        (1, false) if table.has("param") => To::Query(table.string("param")?),
        (1, false) if table.has("body_field") => To::Body(table.field("body_field")?),
        (1, false) => {
            let name = table.string("header")?;
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                let title = format!("`{name}` is not the name of a header");
                report(table, "header", title, "", checker);
                return None;
            };
            To::Header(name)
        }
        _ => {
            let title = "a token stands in one place of a request";
            let help = "write one of `param`, `header` and `body_field`, or `{{ token }}`";
            contradicts(table, "type", title, help, checker);
            return None;
        }
    };
    Some(Kind::Token { from, to, request })
}

fn check_form(options: &Options<'_>, checker: &mut Checker) -> Option<Form> {
    match Form::parse(&options.string("format")?) {
        Ok(form) => Some(form),
        Err(why) => {
            report(options, "format", why, "", checker);
            None
        }
    }
}

fn check_cursor(options: &Options<'_>, checker: &mut Checker) -> Option<Option<CursorOptions>> {
    let Some(table) = options.table("cursor") else {
        return (!options.has("cursor")).then_some(None);
    };
    let name = table.one_of("value")?;
    let field = table.field("field");
    let wants = matches!(name, "first" | "last" | "max" | "response");
    if wants != field.is_some() {
        let (title, help) = match wants {
            true => (format!("`{name}` needs `cursor.field`"), "name it"),
            false => (format!("`{name}` has no `cursor.field`"), "remove it"),
        };
        contradicts(&table, "field", &title, help, checker);
        return None;
    }
    let value = match (name, field) {
        ("first", Some(field)) => CursorValue::First(field),
        ("last", Some(field)) => CursorValue::Last(field),
        ("max", Some(field)) => CursorValue::Max(field),
        ("response", Some(field)) => CursorValue::Response(field),
        ("next_link", _) => CursorValue::NextLink,
        ("now", _) => CursorValue::Now,
        ("token", _) => CursorValue::Token,
        _ => CursorValue::LastEventTime,
    };
    let format = check_form(&table, checker)?;
    let first = match table.table("first") {
        Some(first) => Some(First {
            body: check_optional(&first, "body", checker)?,
            param: first.string("param"),
            start: check_start(&first, &value, &format, checker)?,
        }),
        None => None,
    };
    let on_rejected = match table.table("on_rejected") {
        Some(rejected) => Some(OnRejected {
            restart_from: match rejected.one_of("restart_from")? {
                "last_event_time" => RestartFrom::LastEventTime,
                "now" => RestartFrom::Now,
                _ => RestartFrom::Start,
            },
            overlap: rejected.duration("overlap")?,
        }),
        None => None,
    };
    let restarts_by_time =
        on_rejected.is_some_and(|rejected| rejected.restart_from == RestartFrom::LastEventTime);
    if restarts_by_time && !options.has("event_time") {
        let title = "it is not said which field is the event time";
        contradicts(&table, "on_rejected", title, "name it in `event_time`", checker);
        return None;
    }
    Some(Some(CursorOptions {
        value,
        param: table.string("param"),
        format,
        overlap: table.duration("overlap")?,
        first,
        on_rejected,
    }))
}

fn check_dedupe(options: &Options<'_>) -> Option<Option<Dedupe>> {
    let Some(table) = options.table("dedupe") else {
        return (!options.has("dedupe")).then_some(None);
    };
    Some(Some(Dedupe {
        id: table.field("id")?,
        window: table.duration("window")?,
        keys_max: usize::try_from(table.integer("max_keys")?).ok()?,
    }))
}

fn check_slices(options: &Options<'_>, checker: &mut Checker) -> Option<Option<Slices>> {
    let Some(table) = options.table("time_slices") else {
        return (!options.has("time_slices")).then_some(None);
    };
    let start = Start::parse(&table.string("start")?);
    if matches!(start, Start::Text(_)) {
        let title = "this is no time".to_owned();
        report(&table, "start", title, "write `-7d`, `now`, or a time of RFC 3339", checker);
        return None;
    }
    let step = table.duration("step")?;
    if step < Duration::from_secs(1) {
        report(&table, "step", "a slice is a second at least".to_owned(), "", checker);
        return None;
    }
    Some(Some(Slices {
        start,
        start_param: table.string("start_param")?,
        end_param: table.string("end_param")?,
        step,
        lag: table.duration("lag")?,
        format: check_form(&table, checker)?,
    }))
}

fn check_parents(options: &Options<'_>, checker: &mut Checker) -> Option<Option<Parents>> {
    let Some(table) = options.table("parents") else {
        return (!options.has("parents")).then_some(None);
    };
    let endpoint = check_address(&table, "endpoint", checker)?;
    Some(Some(Parents { endpoint, records: table.field("records") }))
}

fn check_job(options: &Options<'_>, checker: &mut Checker) -> Option<Option<Job>> {
    let Some(table) = options.table("job") else {
        return (!options.has("job")).then_some(None);
    };
    let result = match (table.has("download"), table.field("downloads")) {
        (true, None) => JobResult::At(check_address(&table, "download", checker)?),
        (false, Some(path)) => JobResult::Listed(path),
        _ => {
            let title = "the result of a job is at one place";
            let help = "write one of `job.download` and `job.downloads`";
            contradicts(&table, "status", title, help, checker);
            return None;
        }
    };
    Some(Some(Job {
        status: check_address(&table, "status", checker)?,
        state: table.field("state")?,
        done: table.strings("done"),
        failed: table.strings("failed"),
        every: table.duration("every")?,
        timeout: table.duration("timeout")?,
        result,
    }))
}

fn check_rate_limit(options: &Options<'_>, checker: &mut Checker) -> Option<RateLimit> {
    let Some(table) = options.table("rate_limit") else {
        return (!options.has("rate_limit")).then(RateLimit::default);
    };
    if table.has("remaining_header") != table.has("reset_header") {
        let title = "what is left is of use only with when there is more";
        let help = "name both `rate_limit.remaining_header` and `rate_limit.reset_header`";
        contradicts(&table, "remaining_header", title, help, checker);
        return None;
    }
    let per = table.duration("per")?;
    if per < Duration::from_millis(1) {
        report(&table, "per", "this is no time".to_owned(), "", checker);
        return None;
    }
    Some(RateLimit {
        remaining_header: table.string("remaining_header"),
        reset_header: table.string("reset_header"),
        limit_header: table.string("limit_header"),
        reserve: table.duration("reserve")?.as_secs_f64(),
        own: table.integer("requests").map(|requests| (requests as f64, per)),
    })
}

fn check_schedule(options: &Options<'_>, checker: &mut Checker) -> Option<Schedule> {
    if !options.has("schedule") {
        let every = options.duration("scrape_interval_secs")?;
        if every < Duration::from_millis(100) {
            let title = "the least interval is a tenth of a second".to_owned();
            report(options, "scrape_interval_secs", title, "", checker);
            return None;
        }
        return Some(Schedule::Every(every));
    }
    if options.has("scrape_interval_secs") {
        let title = "a schedule stands in place of an interval";
        contradicts(options, "scrape_interval_secs", title, "remove one of them", checker);
        return None;
    }
    match Calendar::parse(&options.string("schedule")?) {
        Ok(calendar) => Some(Schedule::Calendar(calendar)),
        Err(why) => {
            let help = "write five fields: minute, hour, day, month, day of the week";
            report(options, "schedule", why, help, checker);
            None
        }
    }
}
