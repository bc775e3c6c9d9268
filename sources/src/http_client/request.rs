//! Requests of a poll: their texts filled with what is known.

use super::settings::{CursorOptions, CursorValue, Header, Settings, Slices};
use super::state::{State, Walk};
use super::template::Values;
use super::value::parse_time;
use azud_client::header::{HeaderMap, HeaderName, HeaderValue};
use azud_client::{Answer, Failure, Http, Request, Url, url};
use azud_event::time::EventTime;
use azud_plan::component::{Cause, Connector, Secret, SecretUse, Secrets};
use serde_json::Value;

/// What requests are made of.
pub(super) struct Requests<'a> {
    pub(super) settings: &'a Settings,
    pub(super) connector: &'a dyn Connector,
    pub(super) secrets: &'a dyn Secrets,
    pub(super) http: &'a Http,
}

impl Requests<'_> {
    /// Gives what the texts of a request are filled with.
    pub(super) fn values(&self, state: &State, walk: &Walk, parent: Option<&Value>) -> Values {
        let now = EventTime::from_nanoseconds(walk.begun);
        let cursor = self.settings.cursor.as_ref();
        Values {
            connector: self.connector.name().to_owned(),
            labels: self.connector.labels(),
            cursor: cursor.and_then(|cursor| cursor_text(cursor, state, now)),
            now: Some(now),
            start: self.slice_start(state, now),
            end: walk.slice_end.map(EventTime::from_nanoseconds),
            parent: parent.cloned(),
            job: walk.job.clone(),
            last: state.last.clone(),
            token: None,
        }
    }

    /// Gives where the next slice of time begins.
    pub(super) fn slice_start(&self, state: &State, now: EventTime) -> Option<EventTime> {
        let Slices { start, .. } = self.settings.slices.as_ref()?;
        let taken = state.sliced_to.map(EventTime::from_nanoseconds);
        taken.or_else(|| start.time(now))
    }

    /// Makes the first request of a walk.
    pub(super) async fn request(&self, state: &State, values: &Values) -> Result<Request, Failure> {
        let settings = self.settings;
        let missing = |what: &str| {
            let message = format!("{what} names a value that is not there");
            Failure::new(Cause::Configuration, message)
        };
        let address = settings.endpoint.render_address(values);
        let address = address.ok_or_else(|| missing("`endpoint`"))?;
        let mut request = Request::get(Url::parse(&address).map_err(|_| no_address(&address))?);
        request.method = settings.method.clone();
        let first = settings.cursor.as_ref().filter(|_| state.cursor.is_none());
        let first = first.and_then(|cursor| cursor.first.as_ref()?.body.as_ref());
        if let Some(body) = first.or(settings.body.as_ref()) {
            request.body = body.render(values).ok_or_else(|| missing("`body`"))?.into();
        }
        request.headers = self.headers(values).await?;
        let link = settings.cursor.as_ref().is_some_and(|c| c.value == CursorValue::NextLink);
        match state.cursor.as_ref().filter(|_| link) {
            Some(link) => {
                let no_link = |_| Failure::new(Cause::Configuration, "the cursor is no address");
                request.url = Url::parse(link).map_err(no_link)?;
            }
            None => self.add_query(&mut request, state, values),
        }
        Ok(request)
    }

    /// Makes the headers that the document writes.
    pub(super) async fn headers(&self, values: &Values) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.settings.headers {
            match value {
                Header::Text(text) => {
                    let Some(text) = text.render(values) else { continue };
                    let value = HeaderValue::from_str(&text).map_err(|_| {
                        let message = format!("the value of the header `{name}` is none");
                        Failure::new(Cause::Configuration, message)
                    })?;
                    headers.append(name.clone(), value);
                }
                Header::Secret(secret) => {
                    let secret =
                        self.http.redactor().fill_header(name, secret, self.secrets).await?;
                    headers.append(name.clone(), secret_value(name, &secret)?);
                }
            }
        }
        Ok(headers)
    }

    /// Tells of the secrets in headers what came of a request.
    pub(super) fn told(&self, answer: &Answer) {
        for (_, value) in &self.settings.headers {
            let Header::Secret(secret) = value else { continue };
            match answer.status.as_u16() {
                200..=299 | 304 => secret.used(self.secrets, SecretUse::Taken),
                401 | 403 => {
                    secret.refused(self.secrets);
                    let why = answer.failure(self.http.redactor()).message;
                    secret.used(self.secrets, SecretUse::Refused(&why));
                }
                _ => {}
            }
        }
    }

    fn add_query(&self, request: &mut Request, state: &State, values: &Values) {
        let rendered = self
            .settings
            .query
            .iter()
            .filter_map(|(name, text)| Some((name.as_str(), text.render(values)?)));
        let rendered: Vec<(&str, String)> = rendered.collect();
        if !rendered.is_empty() {
            let own = url::form(rendered.iter().map(|(name, value)| (*name, value.as_str())));
            let query = match request.url.query().filter(|query| !query.is_empty()) {
                Some(written) => format!("{written}&{own}"),
                None => own,
            };
            request.url.set_query(Some(&query));
        }
        if let Some(cursor) = &self.settings.cursor {
            let first = cursor.first.as_ref().filter(|_| state.cursor.is_none());
            let param = first.and_then(|first| first.param.as_ref()).or(cursor.param.as_ref());
            if let (Some(param), Some(value)) = (param, &values.cursor) {
                url::set_query(&mut request.url, param, value);
            }
        }
        if let (Some(slices), Some(start), Some(end)) =
            (&self.settings.slices, values.start, values.end)
        {
            let (start, end) = (slices.format.time(start), slices.format.time(end));
            url::set_query(&mut request.url, &slices.start_param, &start);
            url::set_query(&mut request.url, &slices.end_param, &end);
        }
    }
}

/// Gives the cursor as it goes into a request.
fn cursor_text(cursor: &CursorOptions, state: &State, now: EventTime) -> Option<String> {
    let Some(known) = &state.cursor else {
        if let Some(begin) = state.begin {
            return Some(cursor.format.time(EventTime::from_nanoseconds(begin)));
        }
        return cursor.first.as_ref().map(|first| first.start.render(now, &cursor.format));
    };
    let is_time = matches!(cursor.value, CursorValue::LastEventTime | CursorValue::Now);
    if !is_time && cursor.overlap.is_zero() {
        return Some(known.clone());
    }
    match parse_time(&known.as_str().into()) {
        Some(time) => Some(cursor.format.time(time.saturating_sub(cursor.overlap))),
        None => Some(known.clone()),
    }
}

fn secret_value(name: &HeaderName, secret: &Secret) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| {
        let message = format!("the secret of the header `{name}` has signs that it may not");
        Failure::new(Cause::Authentication, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Says that an endpoint is none with the values that were put into it.
fn no_address(filled: &str) -> Failure {
    let host = filled.split('/').nth(2).unwrap_or_default();
    let help = match host.contains("%3A") {
        true => {
            "; a value is one part of an address: write `{{ label.host }}:{{ label.port }}`, and give \
             the row both labels"
        }
        false => "; see which values are put into it",
    };
    Failure::new(Cause::Configuration, format!("`endpoint` is no address: `{filled}`{help}"))
}
