//! Formats that leave out the year: it is guessed from the time at which the record was received.

use super::super::moment;
use super::ours::{Call, Replacement};
use chrono::{DateTime, Datelike, NaiveDateTime, Utc};
use regex::Regex;
use std::sync::LazyLock;
use syslog_loose::{Message, ProcId, Protocol, Variant, parse_message_with_year_exact_tz};
use vrl::prelude::{ObjectMap, Resolved, TimeZone, Value, VrlValueConvert};

/// `parse_syslog`, of any of the usual forms.
pub const PARSE_SYSLOG: Replacement =
    Replacement { name: "parse_syslog", arguments: &["value"], run: syslog, reason: YEAR };

/// `parse_linux_authorization` reads what `parse_syslog` reads.
pub const PARSE_LINUX_AUTHORIZATION: Replacement = Replacement {
    name: "parse_linux_authorization",
    arguments: &["value"],
    run: syslog,
    reason: YEAR,
};

/// `parse_klog`, the form of Kubernetes' components.
pub const PARSE_KLOG: Replacement =
    Replacement { name: "parse_klog", arguments: &["value"], run: klog, reason: YEAR };

const YEAR: &str = "it guesses the year from the machine's clock";

/// Guesses the year of a date without one: that of the receive time, but in January a December is
/// last year's.
fn year_of(month: u32) -> i32 {
    let received_at = moment::received_at().to_chrono();
    let last_year = received_at.month() == 1 && month == 12;
    received_at.year() - i32::from(last_year)
}

fn syslog(call: &Call<'_>) -> Resolved {
    let text = call.required(0)?.try_bytes_utf8_lossy()?;
    let zone = match call.zone {
        TimeZone::Named(zone) => zone,
        // Programs run in a named zone only; see `super`.
        TimeZone::Local => chrono_tz::UTC,
    };
    let message = parse_message_with_year_exact_tz(
        &text,
        |(month, ..)| year_of(month),
        Some(zone),
        Variant::Either,
    )?;
    Ok(Value::Object(fields(message)))
}

fn fields(message: Message<&str>) -> ObjectMap {
    let mut fields = ObjectMap::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.into(), value);
        }
    };
    put("message", Some(message.msg.into()));
    put("hostname", message.hostname.map(Value::from));
    put("severity", message.severity.map(|severity| severity.as_str().into()));
    put("facility", message.facility.map(|facility| facility.as_str().into()));
    put("appname", message.appname.map(Value::from));
    put("msgid", message.msgid.map(Value::from));
    put("timestamp", message.timestamp.map(|time| time.with_timezone(&Utc).into()));
    if let Protocol::RFC5424(version) = message.protocol {
        put("version", Some(version.into()));
    }
    let procid = message.procid.map(|procid| match procid {
        ProcId::PID(number) => number.into(),
        ProcId::Name(name) => name.into(),
    });
    put("procid", procid);
    for element in message.structured_data {
        let parameters = element.params().map(|(name, value)| ((*name).into(), value.into()));
        put(element.id, Some(Value::Object(parameters.collect())));
    }
    fields
}

static KLOG: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r"^\s*(\w)(\d{2})(\d{2} \d{2}:\d{2}:\d{2}\.\d{6})\s+(\d+)\s(.+):(\d+)\]\s(.*?)\s*$";
    Regex::new(pattern).expect("the pattern is fixed and valid")
});

fn klog(call: &Call<'_>) -> Resolved {
    let text = call.required(0)?.try_bytes_utf8_lossy()?;
    let parts = KLOG.captures(&text).ok_or("failed parsing klog message")?;
    let (_, [level, month, rest, id, file, line, message]) = parts.extract();
    let level = match level {
        "I" => "info",
        "W" => "warning",
        "E" => "error",
        "F" => "fatal",
        other => return Err(format!("unrecognized log level \"{other}\"").into()),
    };
    let year = year_of(month.parse().map_err(|_| "failed parsing month")?);
    let written = format!("{year}{month}{rest}");
    let time: DateTime<Utc> = NaiveDateTime::parse_from_str(&written, "%Y%m%d %H:%M:%S%.f")
        .map_err(|error| format!("failed parsing timestamp {month}{rest}: {error}"))?
        .and_utc();
    let id: i64 = id.parse().map_err(|_| "failed parsing id")?;
    let line: i64 = line.parse().map_err(|_| "failed parsing line")?;
    Ok(Value::Object(ObjectMap::from([
        ("level".into(), level.into()),
        ("timestamp".into(), time.into()),
        ("id".into(), id.into()),
        ("file".into(), file.into()),
        ("line".into(), line.into()),
        ("message".into(), message.into()),
    ])))
}

#[cfg(test)]
mod tests {
    use crate::vrl::compile::resolve;
    use crate::vrl::testing::{evaluate, evaluate_at};
    use azud_event::time::EventTime;
    use vrl::value;
    use vrl::value::Value;

    fn at(text: &str) -> EventTime {
        EventTime::from_chrono(text.parse().unwrap())
    }

    #[test]
    fn the_year_is_that_of_the_receive_time() {
        let source = "parse_syslog!(.message).timestamp";
        let december = value!({ "message": "<38>Dec 31 23:59:58 web1 sshd[7]: bye" });
        let time = evaluate_at(source, december.clone(), at("2021-01-01T00:00:01Z")).unwrap();
        assert_eq!(time.to_string(), "t'2020-12-31T23:59:58Z'");
        let time = evaluate_at(source, december, at("2020-12-31T23:59:59Z")).unwrap();
        assert_eq!(time.to_string(), "t'2020-12-31T23:59:58Z'");
    }

    #[test]
    fn klog_is_read_on_a_leap_day() {
        let source = r#"parse_klog!("W0229 17:59:40.692994   28133 klog.go:70] hello  ")"#;
        let fields = evaluate_at(source, value!({}), at("2024-03-01T00:00:00Z")).unwrap();
        let time: chrono::DateTime<chrono::Utc> = "2024-02-29T17:59:40.692994Z".parse().unwrap();
        let expected = value!({
            "level": "warning", "id": 28133, "file": "klog.go", "line": 70, "message": "hello",
            "timestamp": time,
        });
        assert_eq!(fields, expected);
        assert!(evaluate_at(source, value!({}), at("2023-03-01T00:00:00Z")).is_err());
    }

    /// All but the year must be as VRL's own functions give it.
    #[test]
    fn ours_agree_with_vrls() {
        let lines = [
            r#"<13>1 2020-03-13T20:45:38.119Z web.name non 2426 ID931 [id@1 a="3" b= "x y"] Try"#,
            r#"<165>1 2003-10-11T22:14:15.003Z host app name - [id k="\"test\""][empty] Entry"#,
            "<38>2020-03-01T10:00:00Z web1 sshd[4]: x",
            "no header at all",
            "",
        ];
        for line in lines {
            let theirs = vrl::compiler::compile("parse_syslog(.m) ?? null", &vrl::stdlib::all());
            let theirs = resolve(&theirs.unwrap().program, value!({ "m": line })).unwrap();
            let ours = evaluate("parse_syslog(.m) ?? null", value!({ "m": line })).unwrap();
            assert_eq!(ours, theirs, "{line}");
            assert!(ours == Value::Null || ours.is_object());
        }
    }
}
