//! Pagination: where the next page is, and when there is none.

use super::template::{Text, Values};
use azud_client::{Answer, Failure, Method, Request, Url, json, url};
use azud_plan::component::Cause;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vrl::path::{OwnedSegment, OwnedValuePath};

/// How pages follow each other.
#[derive(Clone, Debug)]
pub(super) struct Paging {
    pub(super) kind: Kind,
    pub(super) stop: Stop,
    /// How many pages one poll asks for; the next poll goes on behind them.
    pub(super) max_pages: u64,
    /// Where an answer says whether there is more.
    pub(super) more: Option<OwnedValuePath>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    None,
    LinkHeader { rel: String },
    NextUrl { path: OwnedValuePath },
    Token { from: From, to: To, request: Option<FollowUp> },
    Offset { param: String, size: Option<Size>, first: u64, total: Option<OwnedValuePath> },
    Page { param: String, size: Option<Size>, first: u64, total: Option<OwnedValuePath> },
    Keyset { field: OwnedValuePath, param: String, size: Option<Size> },
}

/// Where a token comes from.
#[derive(Clone, Debug)]
pub(super) enum From {
    Body(OwnedValuePath),
    Header(String),
}

/// Where a token goes.
#[derive(Clone, Debug)]
pub(super) enum To {
    Query(String),
    Header(azud_client::header::HeaderName),
    Body(OwnedValuePath),
    /// Its request has it in its texts.
    Texts,
}

/// The request for all pages but the first, where it is another (a scroll).
#[derive(Clone, Debug)]
pub(super) struct FollowUp {
    pub(super) method: Method,
    pub(super) endpoint: Text,
    pub(super) body: Option<Text>,
}

/// How many records a page is asked to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) param: Option<String>,
    pub(super) records: u64,
}

/// What says that a page is the last, beside that it names no next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Unnamed,
    Empty,
    Short,
}

/// Where the next page is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Next {
    Url(String),
    Token(String),
    Offset(u64),
    Page(u64),
    After(String),
}

/// What is known of a page that was had.
pub(super) struct Had<'a> {
    pub(super) answer: &'a Answer,
    /// The body, if it is JSON.
    pub(super) body: Option<&'a Value>,
    pub(super) records: u64,
    pub(super) last: Option<&'a Value>,
}

/// What follows a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Where the next page is, as far as it is known; kept also behind the last.
    pub(super) next: Option<Next>,
    /// Whether the walk ends here.
    pub(super) ends: bool,
}

impl Paging {
    /// A single page.
    pub(super) fn none() -> Self {
        Paging { kind: Kind::None, stop: Stop::Unnamed, max_pages: 1, more: None }
    }

    /// Whether the bodies of answers are looked into.
    pub(super) fn reads_body(&self) -> bool {
        let kind = match &self.kind {
            Kind::NextUrl { .. } => true,
            Kind::Token { from, .. } => matches!(from, From::Body(_)),
            Kind::Offset { total, .. } | Kind::Page { total, .. } => total.is_some(),
            Kind::None | Kind::LinkHeader { .. } | Kind::Keyset { .. } => false,
        };
        kind || self.more.is_some()
    }

    /// Makes of the first request of a walk the one for this page.
    ///
    /// # Errors
    /// When what an answer said cannot be made a request of.
    pub(super) fn apply(
        &self,
        request: &mut Request,
        next: Option<&Next>,
        values: &Values,
    ) -> Result<(), Failure> {
        let size = match &self.kind {
            Kind::Offset { size, .. } | Kind::Page { size, .. } | Kind::Keyset { size, .. } => {
                size.as_ref()
            }
            _ => None,
        };
        if let Some(Size { param: Some(param), records }) = size {
            url::set_query(&mut request.url, param, &records.to_string());
        }
        match (next, &self.kind) {
            (Some(Next::Url(link)), _) => {
                request.url = Url::parse(link).map_err(|_| no_address())?;
                Ok(())
            }
            (Some(Next::Token(token)), Kind::Token { to, request: follow_up, .. }) => {
                if let Some(follow_up) = follow_up {
                    follow(request, follow_up, token, values)?;
                }
                place(request, to, token)
            }
            (next, Kind::Offset { param, first, .. } | Kind::Page { param, first, .. }) => {
                let at = match next {
                    Some(Next::Offset(at) | Next::Page(at)) => *at,
                    _ => *first,
                };
                url::set_query(&mut request.url, param, &at.to_string());
                Ok(())
            }
            (Some(Next::After(key)), Kind::Keyset { param, .. }) => {
                url::set_query(&mut request.url, param, key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Says what follows a page that was had at `at` (the first: `None`).
    ///
    /// # Errors
    /// When the answer names the next page in a way that cannot be followed.
    pub(super) fn turn(&self, had: &Had<'_>, at: Option<&Next>) -> Result<Turn, Failure> {
        let next = self.next(had, at)?;
        let more = match &self.more {
            Some(path) => {
                let said = had.body.and_then(|body| json::at(body, path));
                !matches!(said, None | Some(Value::Null | Value::Bool(false)))
                    && said.and_then(json::text).is_none_or(|text| text != "false" && text != "0")
            }
            None => true,
        };
        let full =
            |size: &Option<Size>| size.as_ref().is_none_or(|size| had.records >= size.records);
        let stopped = match (self.stop, &self.kind) {
            (Stop::Unnamed, _) => false,
            (Stop::Empty, _) => had.records == 0,
            (
                Stop::Short,
                Kind::Offset { size, .. } | Kind::Page { size, .. } | Kind::Keyset { size, .. },
            ) => had.records == 0 || !full(size),
            (Stop::Short, _) => had.records == 0,
        };
        let ends = next.is_none() || stopped || !more;
        Ok(Turn { next, ends })
    }

    fn next(&self, had: &Had<'_>, at: Option<&Next>) -> Result<Option<Next>, Failure> {
        let total = |path: &Option<OwnedValuePath>| -> Option<u64> {
            json::text_at(had.body?, path.as_ref()?)?.parse().ok()
        };
        match &self.kind {
            Kind::None => Ok(None),
            Kind::LinkHeader { rel } => {
                let values = had.answer.headers.get_all("link").iter();
                let mut links = values.filter_map(|value| value.to_str().ok());
                links.find_map(|value| link(value, rel)).map(|to| address(had, &to)).transpose()
            }
            Kind::NextUrl { path } => {
                let found = had.body.and_then(|body| json::text_at(body, path));
                found.map(|to| address(had, &to)).transpose()
            }
            Kind::Token { from, .. } => Ok(match from {
                From::Body(path) => had.body.and_then(|body| token(json::at(body, path)?)),
                From::Header(name) => {
                    had.answer.header(name).filter(|token| !token.is_empty()).map(str::to_owned)
                }
            }
            .map(Next::Token)),
            Kind::Offset { first, total: path, .. } => {
                let from = match at {
                    Some(Next::Offset(from)) => *from,
                    _ => *first,
                };
                let reached = from.saturating_add(had.records);
                let over = total(path).is_some_and(|total| reached >= total.saturating_add(*first));
                Ok((!over && had.records > 0).then_some(Next::Offset(reached)))
            }
            Kind::Page { first, total: path, .. } => {
                let page = match at {
                    Some(Next::Page(page)) => *page,
                    _ => *first,
                };
                let reached = page.saturating_add(1);
                let over = total(path).is_some_and(|total| reached >= total.saturating_add(*first));
                Ok((!over && had.records > 0).then_some(Next::Page(reached)))
            }
            Kind::Keyset { field, .. } => {
                if had.records == 0 {
                    return Ok(None);
                }
                let key = had.last.and_then(|last| json::text_at(last, field));
                let missing = "the last record of the page has no key of the next page";
                key.map(|key| Some(Next::After(key)))
                    .ok_or_else(|| Failure::new(Cause::Response, missing))
            }
        }
    }
}

/// Gives a token as it goes into a request: one that is a list with commas between its values.
fn token(value: &Value) -> Option<String> {
    match value {
        Value::Array(values) if !values.is_empty() => {
            let values: Option<Vec<String>> = values.iter().map(json::text).collect();
            values.map(|values| values.join(","))
        }
        value => json::text(value),
    }
}

fn no_address() -> Failure {
    Failure::new(Cause::Response, "the next page is named by what is no address")
}

/// Makes a link that may be relative a whole one.
fn address(had: &Had<'_>, to: &str) -> Result<Next, Failure> {
    let url = had.answer.url.join(to.trim()).map_err(|_| no_address())?;
    if had.answer.url.scheme() == "https" && url.scheme() != "https" {
        let message = "the next page is named by a link that would go on without TLS";
        return Err(Failure::new(Cause::Response, message));
    }
    Ok(Next::Url(url.into()))
}

fn follow(
    request: &mut Request,
    follow_up: &FollowUp,
    token: &str,
    values: &Values,
) -> Result<(), Failure> {
    let values = Values { token: Some(token.to_owned()), ..values.clone() };
    let missing = || Failure::new(Cause::Response, "the request for the next page lacks a value");
    let link = follow_up.endpoint.render_address(&values).ok_or_else(missing)?;
    request.url = Url::parse(&link).map_err(|_| no_address())?;
    request.method = follow_up.method.clone();
    request.body = match &follow_up.body {
        Some(body) => Bytes::from(body.render(&values).ok_or_else(missing)?),
        None => Bytes::new(),
    };
    Ok(())
}

fn place(request: &mut Request, to: &To, token: &str) -> Result<(), Failure> {
    match to {
        To::Query(param) => url::set_query(&mut request.url, param, token),
        To::Header(name) => request.set_secret(name.clone(), token)?,
        To::Body(path) => {
            let mut body = match request.body.is_empty() {
                true => Value::Object(serde_json::Map::new()),
                false => serde_json::from_slice(&request.body).map_err(|_| {
                    let message = "a token cannot stand in a body that is no JSON";
                    Failure::new(Cause::Configuration, message)
                })?,
            };
            set_at(&mut body, path, Value::from(token));
            request.body = Bytes::from(body.to_string());
        }
        To::Texts => {}
    }
    Ok(())
}

/// Puts a value at a place, making the objects on the way.
fn set_at(body: &mut Value, path: &OwnedValuePath, value: Value) {
    let mut at = body;
    for segment in &path.segments {
        let OwnedSegment::Field(name) = segment else { return };
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = &mut at[name.as_str()];
    }
    *at = value;
}

/// Finds the target of a relation in the value of a `Link` header (RFC 8288 §3).
fn link(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value;
    while let Some(open) = rest.find('<') {
        let close = open + rest[open..].find('>')?;
        let target = &rest[open + 1..close];
        let (params, behind) = parameters(&rest[close + 1..]);
        let has = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("rel")
                && value.split_whitespace().any(|rel| rel.eq_ignore_ascii_case(wanted))
        };
        if params.iter().any(has) {
            return Some(target.to_owned());
        }
        rest = behind;
    }
    None
}

/// Reads `; name="value"; …` up to the comma before the next link.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut quoted = false;
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return true,
            _ => {}
        }
        false
    });
    let (own, behind) = text.split_at(end.unwrap_or(text.len()));
    let params = own.split(';').filter_map(|param| {
        let (name, value) = param.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
    });
    (params.collect(), behind.strip_prefix(',').unwrap_or(behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_client::StatusCode;
    use azud_client::header::{HeaderMap, HeaderValue};
    use azud_event::time::EventTime;
    use azud_plan::component::parse_field;
    use proptest::prelude::*;
    use std::time::Duration;

    fn answer(headers: &[(&'static str, &str)]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let url = Url::parse("https://api.example/v1/logs?limit=2").unwrap();
        let status = StatusCode::OK;
        let (body, took, at) = (Bytes::new(), Duration::ZERO, EventTime::EPOCH);
        Answer { status, headers: map, body, url, took, at }
    }

    fn field(path: &str) -> OwnedValuePath {
        parse_field(path).unwrap()
    }

    fn paging(kind: Kind, stop: Stop) -> Paging {
        Paging { kind, stop, max_pages: 10, more: None }
    }

    fn turn(paging: &Paging, body: &Value, records: u64, at: Option<&Next>) -> Turn {
        let answer = answer(&[]);
        let last = body["items"].as_array().and_then(|items| items.last());
        paging.turn(&Had { answer: &answer, body: Some(body), records, last }, at).unwrap()
    }

    #[test]
    fn links_are_found_by_their_relation() {
        for (value, expected) in [
            (r#"<https://a/?p=2>; rel="next""#, Some("https://a/?p=2")),
            (
                r#"<https://a/1,2>; rel="self", <https://a/3;4>; title="a, \"b\""; rel=NEXT"#,
                Some("https://a/3;4"),
            ),
            ("<u1>; rel=\"prev next\"", Some("u1")),
            ("<u1>; rel=\"nextish\"", None),
            ("<u1>; rel=next-archive, <u2", None),
            ("", None),
        ] {
            assert_eq!(link(value, "next").as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_link_header_is_followed_until_the_page_is_empty() {
        let paging = paging(Kind::LinkHeader { rel: "next".to_owned() }, Stop::Empty);
        let answer = answer(&[
            ("link", "<https://api.example/self>; rel=\"self\""),
            ("link", "</v1/logs?after=9>; rel=\"next\""),
        ]);
        let had = |records| Had { answer: &answer, body: None, records, last: None };
        let next = Some(Next::Url("https://api.example/v1/logs?after=9".to_owned()));
        let full = paging.turn(&had(2), None).unwrap();
        assert_eq!(full, Turn { next: next.clone(), ends: false });
        let empty = paging.turn(&had(0), next.as_ref()).unwrap();
        assert_eq!(empty, Turn { next, ends: true }, "where to go on is kept");
    }

    #[test]
    fn a_link_does_not_leave_tls() {
        let paging = paging(Kind::NextUrl { path: field(r#"."@odata.nextLink""#) }, Stop::Unnamed);
        let body = serde_json::json!({"@odata.nextLink": "http://api.example/x"});
        let answer = answer(&[]);
        let had = Had { answer: &answer, body: Some(&body), records: 1, last: None };
        assert_eq!(paging.turn(&had, None).unwrap_err().cause, Cause::Response);
        let body = serde_json::json!({"@odata.nextLink": "?$skip=2"});
        let next = turn(&paging, &body, 1, None).next;
        assert_eq!(next, Some(Next::Url("https://api.example/v1/logs?$skip=2".to_owned())));
        assert!(turn(&paging, &serde_json::json!({}), 1, None).ends);
    }

    #[test]
    fn a_token_goes_where_it_is_wanted() {
        let (from, path) = (From::Body(field(".meta.next")), field(".page.cursor"));
        for to in [To::Query("cursor".to_owned()), To::Body(path)] {
            let kind = Kind::Token { from: from.clone(), to: to.clone(), request: None };
            let paging = paging(kind, Stop::Unnamed);
            let next = turn(&paging, &serde_json::json!({"meta": {"next": "t&1"}}), 2, None);
            assert_eq!(next, Turn { next: Some(Next::Token("t&1".to_owned())), ends: false });
            assert!(turn(&paging, &serde_json::json!({"meta": {"next": ""}}), 2, None).ends);
            let mut request = Request::get(Url::parse("https://a.example/?x=1").unwrap());
            request.body = "{\"q\":2}".into();
            paging.apply(&mut request, next.next.as_ref(), &Values::default()).unwrap();
            match to {
                To::Query(_) => assert_eq!(request.url.query(), Some("x=1&cursor=t%261")),
                _ => assert_eq!(&request.body[..], br#"{"page":{"cursor":"t&1"},"q":2}"#),
            }
        }
    }

    #[test]
    fn a_token_may_be_a_list() {
        for (value, expected) in [
            (serde_json::json!(["1772359200000", "5bea"]), Some("1772359200000,5bea")),
            (serde_json::json!([7]), Some("7")),
            (serde_json::json!([]), None),
            (serde_json::json!(["a", null]), None),
            (serde_json::json!(null), None),
        ] {
            assert_eq!(token(&value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn numbers_stop_at_the_total_or_at_a_short_page() {
        let size = Some(Size { param: Some("limit".to_owned()), records: 2 });
        let total = Some(field(".total"));
        let kind = Kind::Offset { param: "from".to_owned(), size: size.clone(), first: 1, total };
        let offset = paging(kind, Stop::Short);
        let body = serde_json::json!({"total": 4});
        let second = turn(&offset, &body, 2, None);
        assert_eq!(second, Turn { next: Some(Next::Offset(3)), ends: false });
        assert!(turn(&offset, &body, 2, second.next.as_ref()).ends, "1, 2, 3, 4");
        let kind = Kind::Page { param: "page".to_owned(), size, first: 0, total: None };
        let page = paging(kind, Stop::Short);
        assert_eq!(turn(&page, &body, 2, None).next, Some(Next::Page(1)));
        assert!(turn(&page, &body, 1, Some(&Next::Page(1))).ends, "short");
        let mut request = Request::get(Url::parse("https://a.example/").unwrap());
        page.apply(&mut request, None, &Values::default()).unwrap();
        assert_eq!(request.url.query(), Some("limit=2&page=0"));
    }

    #[test]
    fn a_key_comes_from_the_last_record_and_more_is_believed() {
        let kind = Kind::Keyset { field: field(".id"), param: "after".to_owned(), size: None };
        let mut keyset = paging(kind, Stop::Empty);
        keyset.more = Some(field(".has_more"));
        let body = serde_json::json!({"items": [{"id": 1}, {"id": 2}], "has_more": true});
        let next = turn(&keyset, &body, 2, None);
        assert_eq!(next, Turn { next: Some(Next::After("2".to_owned())), ends: false });
        for over in [serde_json::json!(false), serde_json::json!(null), serde_json::json!("false")]
        {
            let body = serde_json::json!({"items": [{"id": 1}], "has_more": over});
            assert!(turn(&keyset, &body, 1, None).ends, "{over}");
        }
    }

    proptest! {
        /// Whatever stands in the header, reading it ends, and gives nothing that is not there.
        #[test]
        fn any_link_header_can_be_read(value in "[<>;,=\" a-z\\\\]{0,60}|\\PC{0,40}") {
            if let Some(found) = link(&value, "next") {
                prop_assert!(value.contains(&found));
            }
        }
    }
}
