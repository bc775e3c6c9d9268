//! Where polls begin: so long ago, at a time, or at what else the other side takes.

use super::settings::{CursorValue, report};
use super::template::Form;
use super::value::parse_time;
use azud_event::time::EventTime;
use azud_plan::component::{Options, parse_duration};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use std::time::Duration;

/// Where something begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Ago(Duration),
    At(EventTime),
    Text(String),
}

impl Start {
    pub(super) fn parse(text: &str) -> Start {
        let time = || EventTime::from_rfc3339(text);
        match text.strip_prefix('-').and_then(parse_duration) {
            Some(ago) => Start::Ago(ago),
            None if text == "now" => Start::Ago(Duration::ZERO),
            None => time().map_or_else(|| Start::Text(text.to_owned()), Start::At),
        }
    }

    /// Gives it as a time, if it is one.
    pub(super) fn time(&self, now: EventTime) -> Option<EventTime> {
        match self {
            Start::Ago(ago) => Some(now.saturating_sub(*ago)),
            Start::At(time) => Some(*time),
            Start::Text(text) => parse_time(&text.as_str().into()),
        }
    }

    /// Gives it as it goes into a request.
    pub(super) fn render(&self, now: EventTime, form: &Form) -> String {
        match self {
            Start::Text(text) => text.clone(),
            start => start.time(now).map(|time| form.time(time)).unwrap_or_default(),
        }
    }
}

/// Checks where the first poll begins: a span or a time, or a text that goes out as it is. What was
/// hardly meant as such is told.
pub(super) fn check_start(
    first: &Options<'_>,
    value: &CursorValue,
    format: &Form,
    checker: &mut Checker,
) -> Option<Start> {
    const HELP: &str = "write `-7d`, `now`, or a time of RFC 3339";
    let start = Start::parse(&first.string("start")?);
    let Start::Text(text) = &start else { return Some(start) };
    let is_time = matches!(value, CursorValue::LastEventTime | CursorValue::Now);
    let unread = parse_time(&text.as_str().into()).is_none() && !format.reads(text);
    if is_misspelt(text) || is_time && unread {
        report(first, "start", format!("`{text}` is no time, and no span of it"), HELP, checker);
        return None;
    }
    let word = ["today", "tomorrow", "yesterday"].contains(&text.as_str());
    if word || parse_duration(text).is_some() {
        let title = format!("`{text}` goes to the other side as it is written");
        let found = Diagnostic::warning(codes::MALFORMED_VALUE, first.span("start"), title, "");
        checker.report(found.help(HELP));
    }
    Some(start)
}

/// Whether a text is a number behind a minus, with a unit that there is not: `-7dd`.
fn is_misspelt(text: &str) -> bool {
    let Some(span) = text.strip_prefix('-') else { return false };
    let unit = span.trim_start_matches(|sign: char| sign.is_ascii_digit());
    let has_both = !unit.is_empty() && unit.len() < span.len();
    has_both && unit.bytes().all(|byte| byte.is_ascii_alphabetic())
}
