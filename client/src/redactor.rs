//! [`Redactor`] takes secrets out of what is told: errors, traces, recordings, logs.
//!
//! ```text
//!  values that we used or were given lately   in every form that they are written in      ─┐
//!  what stands behind the name of a secret    in JSON, XML, forms, addresses, headers     ─┼─▶ ***
//!  an exchange that proves who we are         all but the few names that say what is wrong ─┘
//! ```
//!
//! What is given to us is not known when it comes. So nothing of the values of an answer that may
//! hold new secrets is shown, whatever they are called ([`About::Identity`]). Everywhere else a
//! secret shows by its name; names are compared without case and without what divides their words.
//!
//! A text is cut to its bound behind that, never before: half a secret is not known any more.

mod named;

use crate::failure::{is_page, title};
use crate::limits::{
    COOKIE_BYTES_MIN, HUSHED_BYTES_MIN, HUSHED_MAX, NAME_BYTES_MAX, REFUSAL_BYTES_MAX,
    TITLE_BYTES_MAX, WORD_BYTES_MAX,
};
use azud_plan::component::{Confidential, Secret, SecretError, Secrets};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use named::{hide_named, is_secret, normal};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Stands where a secret stood.
const STARS: &str = "***";

/// Headers that are secret as a whole beside those with the names of secrets, as [`normal`] has
/// them.
const SECRET_HEADERS: &[&str] =
    &["authenticationinfo", "proxyauthenticate", "proxyauthenticationinfo", "wwwauthenticate"];

/// Words in the names of headers of pages: a token of these is a place, and no secret.
const PLACES: &[&str] = &["continuation", "cursor", "next", "page"];

/// Headers that are shown of an exchange that proves who we are.
const OPEN_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "host",
    "retry-after",
    "server",
    "user-agent",
    "x-amz-date",
];

/// What an answer about who we are shows: what is wrong, and what was granted. As [`normal`] has
/// them.
const OPEN_NAMES: &[&str] = &[
    "code",
    "error",
    "errordescription",
    "erroruri",
    "expiresin",
    "message",
    "scope",
    "status",
    "tokentype",
];

/// Those of them that are a word: what is longer is something else of this name.
const WORDS: &[&str] = &["code", "status", "tokentype"];

/// What an exchange is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Records, and what leads to them.
    Data,
    /// Who we are: its answer may hold secrets that nobody knows yet.
    Identity,
}

/// Knows the secrets that were used lately, and takes secrets out of texts. Clones know the same.
#[derive(Clone, Default)]
pub struct Redactor(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// The secrets in all their forms, what was used last behind.
    secrets: VecDeque<Vec<Secret>>,
    /// How many forms there are.
    forms: usize,
}

impl Redactor {
    /// Remembers a secret, also as it stands in addresses, in JSON, in XML and in Base64.
    pub fn keep(&self, secret: &Secret) {
        if secret.reveal().len() < HUSHED_BYTES_MIN {
            return;
        }
        let mut known = self.lock();
        let at = known.secrets.iter().rposition(|forms| forms.first() == Some(secret));
        // What is used goes to the end of those that leave, before it is among the first.
        if at.is_some_and(|at| at >= known.secrets.len() / 2) {
            return;
        }
        let forms = match at.and_then(|at| known.secrets.remove(at)) {
            Some(forms) => forms,
            None => {
                let forms = forms(secret.reveal());
                known.forms += forms.len();
                forms
            }
        };
        known.secrets.push_back(forms);
        while known.forms > HUSHED_MAX && known.secrets.len() > 1 {
            known.forms -= known.secrets.pop_front().map_or(0, |forms| forms.len());
        }
    }

    /// Fills a text that is a secret, and remembers it and those that it names.
    ///
    /// # Errors
    /// When a secret cannot be had.
    pub async fn fill(
        &self,
        text: &Confidential,
        secrets: &dyn Secrets,
    ) -> Result<Secret, SecretError> {
        let filled = self.fill_open(text, secrets).await?;
        self.keep(&filled);
        Ok(filled)
    }

    /// Fills a text that is a secret only where it names one, such as a user; remembers these.
    ///
    /// # Errors
    /// As of [`Redactor::fill`].
    pub async fn fill_open(
        &self,
        text: &Confidential,
        secrets: &dyn Secrets,
    ) -> Result<Secret, SecretError> {
        for name in text.names() {
            self.keep(&secrets.get(name).await?);
        }
        text.fill(secrets).await
    }

    /// Fills a header, which is a secret as a whole when its name says so.
    ///
    /// # Errors
    /// As of [`Redactor::fill`].
    pub async fn fill_header(
        &self,
        name: &HeaderName,
        text: &Confidential,
        secrets: &dyn Secrets,
    ) -> Result<Secret, SecretError> {
        match is_secret_header(name) {
            true => self.fill(text, secrets).await,
            false => self.fill_open(text, secrets).await,
        }
    }

    /// Remembers what stands in the secret headers of a request: tokens, and the codes that were
    /// made for it.
    pub(crate) fn keep_headers(&self, headers: &HeaderMap) {
        let texts = headers.iter().filter(|(_, value)| value.is_sensitive());
        for (name, value) in texts.filter_map(|(name, value)| Some((name, value.to_str().ok()?))) {
            let keep = |text: &str| self.keep(&Secret::new(text.to_owned()));
            keep(value);
            if *name == COOKIE {
                let values = value.split("; ").filter_map(|cookie| Some(cookie.split_once('=')?.1));
                values.filter(|value| value.len() >= COOKIE_BYTES_MIN).for_each(keep);
            }
            if *name == AUTHORIZATION {
                value.split_once(' ').into_iter().for_each(|(_, behind)| keep(behind));
                let codes = ["response=\"", "Signature="];
                let behind = codes.iter().filter_map(|code| Some(value.split_once(code)?.1));
                behind.for_each(|code| keep(code.split(['"', ',']).next().unwrap_or_default()));
            }
        }
    }

    /// Gives words of ours without the secrets that are known.
    pub fn clean(&self, text: &str) -> String {
        self.hide_known(text, usize::MAX)
    }

    /// Gives words of others without secrets, and then their beginning.
    pub fn quote(&self, said: &[u8], most: usize) -> String {
        let mut quoted = self.text(&String::from_utf8_lossy(said));
        quoted.truncate(quoted.floor_char_boundary(most));
        quoted
    }

    /// Gives what an answer says of a refusal; a page of HTML says it in its title.
    pub(crate) fn refusal(&self, headers: &HeaderMap, body: &[u8]) -> String {
        let html = content_type(headers).is_some_and(|kind| kind.contains("html"));
        // Some call everything HTML that they do not name otherwise.
        match (html && is_page(body), title(body)) {
            (true, Some(title)) => {
                format!("a page of HTML, \"{}\"", self.quote(title.as_bytes(), TITLE_BYTES_MAX))
            }
            (true, None) => "a page of HTML".to_owned(),
            (false, _) => self.quote(body, usize::MAX),
        }
    }

    /// Gives an address.
    pub(crate) fn url(&self, url: &Url) -> String {
        self.text(url.as_str())
    }

    /// Gives headers.
    pub(crate) fn headers(&self, headers: &HeaderMap, about: About) -> Vec<(String, String)> {
        let clean = |(name, value): (&HeaderName, &HeaderValue)| {
            let open = match about {
                About::Data => !is_secret_header(name),
                About::Identity => OPEN_HEADERS.contains(&name.as_str()),
            };
            let value = match open && !value.is_sensitive() {
                true => self.text(&String::from_utf8_lossy(value.as_bytes())),
                false => STARS.to_owned(),
            };
            (name.to_string(), value)
        };
        headers.iter().map(clean).collect()
    }

    /// Gives the beginning of the body of a request.
    pub(crate) fn request(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        about: About,
        most: usize,
    ) -> String {
        match about {
            About::Data => self.data(body, most),
            About::Identity => self.identity(headers, body, false, most),
        }
    }

    /// Gives the beginning of the body of an answer.
    pub(crate) fn answer(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        about: About,
        most: usize,
    ) -> String {
        if about == About::Data {
            return self.data(body, most);
        }
        let shown = self.identity(headers, body, true, most);
        let xml = body.trim_ascii_start().starts_with(b"<") && !is_page(body);
        if status.is_success() || !xml {
            return shown;
        }
        let text = String::from_utf8_lossy(body);
        let parts = ["Code", "Message"].into_iter().filter_map(|name| element(&text, name));
        let parts = parts.collect::<Vec<_>>().join(": ");
        match parts.is_empty() {
            true => shown,
            false => format!("{shown}: {}", self.quote(parts.as_bytes(), most)),
        }
    }

    /// Gives the beginning of a body; what is long is not read as a whole.
    fn data(&self, body: &[u8], most: usize) -> String {
        // A secret that begins within the bound is seen to its end.
        let longest = self.lock().all().map(str::len).max().unwrap_or(0);
        let seen = &body[..body.len().min(most.saturating_add(longest))];
        let clean = hide_named(&self.hide_known(&String::from_utf8_lossy(seen), most));
        match body.len().checked_sub(most) {
            None | Some(0) => clean,
            Some(left) => format!("{clean}… {left} bytes more"),
        }
    }

    /// Gives the names in a body and no values, but those of [`OPEN_NAMES`] where these are `open`;
    /// of what has no names that can be told from values, its type and length.
    fn identity(&self, headers: &HeaderMap, body: &[u8], open: bool, most: usize) -> String {
        let kind = content_type(headers);
        let form = kind.as_deref() == Some("application/x-www-form-urlencoded");
        let shown = match body {
            [] => return String::new(),
            body if body.len() > REFUSAL_BYTES_MAX => None,
            body => match serde_json::from_slice(body) {
                Ok(value @ (Value::Object(_) | Value::Array(_))) => {
                    Some(without_values(value, open).to_string())
                }
                _ if form => without_pairs(&String::from_utf8_lossy(body), open),
                _ => None,
            },
        };
        match shown {
            Some(text) => self.data(text.as_bytes(), most),
            None => format!("{}, {} bytes", kind.as_deref().unwrap_or("no type"), body.len()),
        }
    }

    fn text(&self, text: &str) -> String {
        hide_named(&self.hide_known(text, usize::MAX))
    }

    /// Gives the beginning of a text without the secrets that are known, also where one stands
    /// across the cut.
    fn hide_known(&self, text: &str, most: usize) -> String {
        let end = text.floor_char_boundary(most);
        let mut found: Vec<Range<usize>> = Vec::new();
        for form in self.lock().all() {
            let mut from = 0;
            while let Some(at) = text[from..].find(form).map(|at| from + at)
                && at < end
            {
                found.push(at..at + form.len());
                from = text.ceil_char_boundary(at + 1);
            }
        }
        found.sort_by_key(|range| (range.start, range.end));
        let mut clean = String::with_capacity(end);
        let mut behind = 0;
        for range in found {
            // Of two that overlap nothing is left, whichever is the longer.
            if range.start >= behind {
                clean.push_str(&text[behind..range.start]);
                clean.push_str(STARS);
            }
            behind = behind.max(range.end);
        }
        clean.push_str(text.get(behind..end).unwrap_or_default());
        clean
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn all(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().flatten().map(Secret::reveal)
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

fn is_secret_header(name: &HeaderName) -> bool {
    let name = normal(name.as_str());
    let token = name.ends_with("token") && !PLACES.iter().any(|place| name.contains(place));
    token || is_secret(&name) || SECRET_HEADERS.contains(&name.as_str())
}

/// Gives the type of a body without its parameters, unless it is odd.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next()?.trim().to_ascii_lowercase();
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-._".contains(&byte);
    (kind.len() <= NAME_BYTES_MAX && kind.bytes().all(good)).then_some(kind)
}

/// Gives what stands in an element of XML.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let behind = text.split_once(&format!("<{name}>"))?.1;
    Some(behind.split_once(&format!("</{name}>"))?.0.trim())
}

/// Whether this is the name of something, and not a value in the place of one.
fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b" $%-.:@[]_".contains(&byte);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(good)
}

/// Whether a value of this name may be shown.
fn is_open(name: &str, value: &str) -> bool {
    let name = normal(name);
    let fits = !WORDS.contains(&name.as_str()) || value.len() <= WORD_BYTES_MAX;
    fits && OPEN_NAMES.contains(&name.as_str())
}

fn without_values(value: Value, open: bool) -> Value {
    let without = |(name, value): (String, Value)| {
        let value = match value {
            Value::String(text) if open && is_open(&name, &text) => Value::String(text),
            value @ (Value::Number(_) | Value::Bool(_)) if open && is_open(&name, "") => value,
            value => without_values(value, open),
        };
        (if is_name(&name) { name } else { STARS.to_owned() }, value)
    };
    match value {
        Value::Null => Value::Null,
        Value::Object(members) => {
            Value::Object(members.into_iter().map(without).collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            items.into_iter().map(|item| without_values(item, open)).collect::<Vec<_>>().into()
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => STARS.into(),
    }
}

/// As [`without_values`] of a form; `None` when it is none.
fn without_pairs(text: &str, open: bool) -> Option<String> {
    let without = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        // Base64 ends like that.
        let is_pair = is_name(name) && !value.starts_with('=');
        let value = if open && is_open(name, value) { value } else { STARS };
        is_pair.then(|| format!("{name}={value}"))
    };
    let pairs: Option<Vec<String>> = text.trim().split('&').map(without).collect();
    pairs.map(|pairs| pairs.join("&"))
}

/// Gives a secret as it is, and then as it may stand in other texts.
fn forms(text: &str) -> Vec<Secret> {
    let json = Value::from(text).to_string();
    let json = &json[1..json.len() - 1];
    let upper = crate::url::encode(text);
    let mut forms = vec![
        text.to_owned(),
        lower(&upper),
        upper.replace("%20", "+"),
        upper.replace("%20", "+").replace("%2A", "*").replace('~', "%7E"),
        upper.replace("%2F", "/"),
        ["!", "'", "(", ")", "*"]
            .iter()
            .fold(upper.clone(), |text, sign| text.replace(&crate::url::encode(sign), sign)),
        upper,
        json.to_owned(),
        json.replace('/', "\\/"),
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
        STANDARD.encode(text),
    ];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        forms.push(engine.encode(text));
        // Within something longer a secret begins at any of three places; the signs at its ends are
        // shared with others.
        for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
            let bytes = [&[0; 2][..before], text.as_bytes()].concat();
            let whole = engine.encode(&bytes);
            let end = whole.len() - usize::from(bytes.len() % 3 != 0);
            if text.len() >= 2 * HUSHED_BYTES_MIN {
                forms.push(whole[shared..end].to_owned());
            }
        }
    }
    let mut known: Vec<Secret> = Vec::new();
    for form in forms.into_iter().map(Secret::new) {
        if !known.contains(&form) {
            known.push(form);
        }
    }
    known
}

/// Writes the digits behind each `%` small.
fn lower(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(part.len().min(2));
        format!("{text}%{}{rest}", digits.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests;
