//! Texts of requests: `{{ cursor }}`, `{{ now - 5m | unix }}`, `{{ parent.id }}`.
//!
//! ```text
//!  {{ name [+ span | - span] [| form] }}
//! ```
//!
//! A span makes a time of the value. A form is `rfc3339` (which a time has anyway), `unix`,
//! `unix_ms`, `date`, `json`, `base64`, or one of `strftime`.

use super::value::{parse_time, render_time};
use azud_client::json;
use azud_event::time::EventTime;
use azud_plan::component::{parse_duration, parse_field};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::format::{Item, StrftimeItems};
use chrono::{NaiveDate, NaiveDateTime};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use vrl::path::OwnedValuePath;

/// The names that a template may use, with what they are.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("connector", "the name of the connector"),
    ("cursor", "the cursor"),
    ("end", "the end of the slice of time"),
    ("job", "the answer that made the job"),
    ("label", "the labels of the connector's row"),
    ("last", "the record that was given last"),
    ("now", "when the poll began"),
    ("parent", "the parent whose records are asked for"),
    ("start", "the beginning of the slice of time"),
    ("token", "the token of the next page"),
];

/// What a template is filled with.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    pub(super) connector: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) cursor: Option<String>,
    pub(super) now: Option<EventTime>,
    pub(super) start: Option<EventTime>,
    pub(super) end: Option<EventTime>,
    pub(super) parent: Option<Value>,
    pub(super) job: Option<Value>,
    /// Members of the record that was given last, by their places.
    pub(super) last: BTreeMap<String, Value>,
    pub(super) token: Option<String>,
}

/// A checked text of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Value { name: String, path: Option<OwnedValuePath>, shift: Shift, form: Form },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    None,
    Later(Duration),
    Earlier(Duration),
}

/// How a value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Unix,
    UnixMilliseconds,
    Json,
    Base64,
    Time(String),
}

impl Form {
    /// Reads the name of a form.
    pub(super) fn parse(text: &str) -> Result<Form, String> {
        Ok(match text {
            "rfc3339" => Form::Plain,
            "unix" => Form::Unix,
            "unix_ms" => Form::UnixMilliseconds,
            "json" => Form::Json,
            "base64" => Form::Base64,
            "date" => Form::Time("%Y-%m-%d".to_owned()),
            form if form.contains('%') => {
                if StrftimeItems::new(form).any(|item| matches!(item, Item::Error)) {
                    return Err(format!("`{form}` has a sign that `strftime` does not"));
                }
                Form::Time(form.to_owned())
            }
            _ => {
                return Err(format!(
                    "`{text}` is none of rfc3339, unix, unix_ms, date, json, base64, and no \
                     `strftime`"
                ));
            }
        })
    }

    /// Writes a time.
    pub(super) fn time(&self, time: EventTime) -> String {
        match self {
            Form::Unix => time.nanoseconds().div_euclid(1_000_000_000).to_string(),
            Form::UnixMilliseconds => time.nanoseconds().div_euclid(1_000_000).to_string(),
            Form::Time(form) => time.to_chrono().format(form).to_string(),
            Form::Json => Value::from(render_time(time)).to_string(),
            Form::Base64 => STANDARD.encode(render_time(time)),
            Form::Plain => render_time(time),
        }
    }

    /// Gives the time that [`Form::time`] writes of a time, which may be less: a form may know only
    /// seconds, or days.
    pub(super) fn meant(&self, time: EventTime) -> EventTime {
        let cut = |unit: i64| {
            let behind = time.nanoseconds().rem_euclid(unit).unsigned_abs();
            time.saturating_sub(Duration::from_nanos(behind))
        };
        match self {
            Form::Unix => cut(1_000_000_000),
            Form::UnixMilliseconds => cut(1_000_000),
            Form::Time(form) => {
                let text = self.time(time);
                let day = || NaiveDate::parse_from_str(&text, form).map(NaiveDateTime::from);
                let read = NaiveDateTime::parse_from_str(&text, form).or_else(|_| day());
                // One that cannot be read back is taken for exact.
                read.map_or(time, |read| EventTime::from_chrono(read.and_utc()).min(time))
            }
            Form::Json | Form::Base64 | Form::Plain => time,
        }
    }

    /// Whether a text is a time in this form.
    pub(super) fn reads(&self, text: &str) -> bool {
        let Form::Time(form) = self else { return false };
        NaiveDateTime::parse_from_str(text, form).is_ok()
            || NaiveDate::parse_from_str(text, form).is_ok()
    }

    fn text(&self, text: String) -> Option<String> {
        match self {
            Form::Plain => Some(text),
            Form::Json => Some(Value::from(text).to_string()),
            Form::Base64 => Some(STANDARD.encode(text)),
            form => parse_time(&Value::from(text)).map(|time| form.time(time)),
        }
    }
}

impl Text {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &str) -> Result<Text, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            let close = rest[open..].find("}}").ok_or("`{{` without `}}`")?;
            parts.push(parse_part(&rest[open + 2..open + close])?);
            rest = &rest[open + close + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Text(parts))
    }

    /// Whether it names this value.
    pub(super) fn uses(&self, wanted: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value { name, .. } if name == wanted))
    }

    /// Lists the places that it names of a value: `parent`, `last`.
    pub(super) fn places<'a>(&'a self, of: &'a str) -> impl Iterator<Item = &'a OwnedValuePath> {
        self.0.iter().filter_map(move |part| match part {
            Part::Value { name, path, .. } if name == of => path.as_ref(),
            _ => None,
        })
    }

    /// Lists the values that it names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Value { name, .. } => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// Gives the text; `None` when a value that it names is not there.
    pub(super) fn render(&self, values: &Values) -> Option<String> {
        self.0.iter().map(|part| render(part, values)).collect()
    }

    /// Gives an address whose host is right; values further behind that are not there yet have a
    /// place-holder.
    pub(super) fn origin(&self, values: &Values) -> Option<azud_client::Url> {
        let render = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            part => render(part, values)
                .map_or_else(|| "x".to_owned(), |value| azud_client::url::encode(&value)),
        };
        azud_client::Url::parse(&self.0.iter().map(render).collect::<String>()).ok()
    }

    /// Gives the text as a part of an address: values are encoded.
    pub(super) fn render_address(&self, values: &Values) -> Option<String> {
        let render = |(index, part): (usize, &Part)| match part {
            // An address that begins with a value is one, such as a link out of an answer.
            Part::Value { .. } if index > 0 => {
                render(part, values).map(|value| azud_client::url::encode(&value))
            }
            part => render(part, values),
        };
        self.0.iter().enumerate().map(render).collect()
    }
}

fn parse_part(inner: &str) -> Result<Part, String> {
    let (value, form) = match inner.split_once('|') {
        Some((value, form)) => (value.trim(), Form::parse(form.trim().trim_matches(['"', '\'']))?),
        None => (inner.trim(), Form::Plain),
    };
    let mut words = value.split_whitespace();
    let path = words.next().unwrap_or_default();
    let shift = match (words.next(), words.next(), words.next()) {
        (None, ..) => Shift::None,
        (Some(sign @ ("+" | "-")), Some(span), None) => {
            let span = parse_duration(span).ok_or(format!("`{span}` is no span of time"))?;
            if sign == "+" { Shift::Later(span) } else { Shift::Earlier(span) }
        }
        _ => return Err(format!("`{value}` is read as `name`, `name + 5m` or `name - 5m`")),
    };
    let (name, path) = match path.split_once(['.', '[']) {
        Some((name, _)) => {
            let rest = &path[name.len()..];
            let field = parse_field(rest).ok_or(format!("`{rest}` is no place in {name}"))?;
            (name, Some(field))
        }
        None => (path, None),
    };
    if !NAMES.iter().any(|(known, _)| *known == name) {
        let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no `{name}`; there are {}", known.join(", ")));
    }
    let has_parts = matches!(name, "job" | "label" | "last" | "parent");
    if path.is_some() != has_parts && !matches!(name, "job" | "parent") {
        return Err(match has_parts {
            true => format!("`{name}` is written with a field: `{name}.id`"),
            false => format!("`{name}` has no fields"),
        });
    }
    Ok(Part::Value { name: name.to_owned(), path, shift, form })
}

fn render(part: &Part, values: &Values) -> Option<String> {
    let (name, path, shift, form) = match part {
        Part::Literal(text) => return Some(text.clone()),
        Part::Value { name, path, shift, form } => (name, path, shift, form),
    };
    let time = match name.as_str() {
        "now" => values.now,
        "start" => values.start,
        "end" => values.end,
        _ => None,
    };
    let within = |value: &Option<Value>| -> Option<Value> {
        let value = value.as_ref()?;
        path.as_ref().map_or(Some(value), |path| json::at(value, path)).cloned()
    };
    let value = match name.as_str() {
        "now" | "start" | "end" => Value::from(render_time(time?)),
        "connector" => Value::from(values.connector.clone()),
        "cursor" => Value::from(values.cursor.clone()?),
        "token" => Value::from(values.token.clone()?),
        "label" => Value::from(values.labels.get(&label(path.as_ref()?)?)?.clone()),
        "last" => values.last.get(&path.as_ref()?.to_string())?.clone(),
        "parent" => within(&values.parent)?,
        _ => within(&values.job)?,
    };
    match shift {
        Shift::None => match (time, form) {
            (Some(time), form) => Some(form.time(time)),
            (None, Form::Json) => Some(value.to_string()),
            (None, form) => form.text(json::text(&value)?),
        },
        Shift::Later(span) => Some(form.time(parse_time(&value)?.saturating_add(*span))),
        Shift::Earlier(span) => Some(form.time(parse_time(&value)?.saturating_sub(*span))),
    }
}

fn label(path: &OwnedValuePath) -> Option<String> {
    match path.segments.as_slice() {
        [vrl::path::OwnedSegment::Field(name)] => Some(name.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values {
            connector: "okta-a".to_owned(),
            labels: BTreeMap::from([("site".to_owned(), "mad/1".to_owned())]),
            cursor: Some("2026-03-01T10:00:00Z".to_owned()),
            now: EventTime::from_rfc3339("2026-03-01T10:05:00.5Z"),
            parent: Some(serde_json::json!({"id": 7, "a": {"b": "x y"}})),
            last: BTreeMap::from([("seen.at".to_owned(), 1_772_359_200.into())]),
            ..Values::default()
        }
    }

    #[test]
    fn a_time_is_what_is_written_of_it() {
        let time = EventTime::from_rfc3339("2026-03-01T10:05:07.123456789Z").unwrap();
        for (form, meant) in [
            ("rfc3339", "2026-03-01T10:05:07.123456789Z"),
            ("unix", "2026-03-01T10:05:07Z"),
            ("unix_ms", "2026-03-01T10:05:07.123Z"),
            ("date", "2026-03-01T00:00:00Z"),
            ("%Y-%m-%dT%H:%M:%SZ", "2026-03-01T10:05:07Z"),
            ("%Y-%m-%d %H:%M", "2026-03-01T10:05:00Z"),
            ("%H:%M", "2026-03-01T10:05:07.123456789Z"),
        ] {
            let form = Form::parse(form).unwrap();
            let meant = EventTime::from_rfc3339(meant).unwrap();
            assert_eq!(form.meant(time), meant, "{form:?}");
            if form != Form::Time("%H:%M".to_owned()) {
                assert_eq!(form.time(meant), form.time(time));
            }
        }
        let before = EventTime::from_rfc3339("1969-12-31T23:59:59.5Z").unwrap();
        assert_eq!(Form::Unix.meant(before).nanoseconds(), -1_000_000_000);
        assert_eq!(Form::Unix.meant(EventTime::MIN), EventTime::MIN);
    }

    fn rendered(text: &str) -> Option<String> {
        Text::parse(text).unwrap().render(&values())
    }

    #[test]
    fn values_are_filled_in_shifted_and_formed() {
        for (text, expected) in [
            ("plain", "plain"),
            ("since={{ cursor }}&x", "since=2026-03-01T10:00:00Z&x"),
            ("{{ cursor - 10m }}", "2026-03-01T09:50:00Z"),
            ("{{cursor + 1s | unix}}", "1772359201"),
            ("{{ now | unix_ms }}", "1772359500500"),
            ("{{ now - 1d | date }}", "2026-02-28"),
            ("{{ now | '%Y/%m' }}", "2026/03"),
            ("{{ parent.id }}-{{ parent.a.b }}", "7-x y"),
            ("{{ parent.a | json }}", r#"{"b":"x y"}"#),
            ("{{ last.seen.at }} {{ last.seen.at + 1s | date }}", "1772359200 2026-03-01"),
            ("{{ connector }}.{{ label.site }}", "okta-a.mad/1"),
            ("{{ cursor | base64 }}", "MjAyNi0wMy0wMVQxMDowMDowMFo="),
        ] {
            assert_eq!(rendered(text).as_deref(), Some(expected), "{text}");
        }
        for missing in
            ["{{ token }}", "x{{ parent.none }}", "{{ job.id }}", "{{ start }}", "{{ last.id }}"]
        {
            assert_eq!(rendered(missing), None, "{missing}");
        }
        let address = Text::parse("https://{{ label.site }}.example/{{ parent.a.b }}").unwrap();
        let address = address.render_address(&values()).unwrap();
        assert_eq!(address, "https://mad%2F1.example/x%20y", "a value stays in its place");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for bad in [
            "{{ cursor",
            "{{ curser }}",
            "{{ cursor.x }}",
            "{{ label }}",
            "{{ last }}",
            "{{ now - soon }}",
            "{{ now * 5m }}",
            "{{ now | stardate }}",
            "{{ now | %! }}",
            "{{ }}",
        ] {
            assert!(Text::parse(bad).is_err(), "{bad}");
        }
    }
}
