//! Times and orders of values in answers.

use azud_event::time::EventTime;
use serde_json::Value;
use std::cmp::Ordering;

/// Reads a time as `event_time` reads it: RFC 3339, or a number since the Unix epoch whose unit
/// follows from its size; a number may be written as a text.
pub(super) fn parse_time(value: &Value) -> Option<EventTime> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(number) => EventTime::from_number(number),
            None => {
                let nanoseconds = number.as_f64()? * 1e9;
                Some(EventTime::from_nanoseconds(nanoseconds as i64))
            }
        },
        Value::String(text) => EventTime::from_text(text),
        _ => None,
    }
}

/// Writes a time as most APIs take it: RFC 3339, UTC, with milliseconds where there are any.
pub(super) fn render_time(time: EventTime) -> String {
    let form = match time.nanoseconds().rem_euclid(1_000_000_000) {
        0 => "%Y-%m-%dT%H:%M:%SZ",
        part if part % 1_000_000 == 0 => "%Y-%m-%dT%H:%M:%S%.3fZ",
        part if part % 1_000 == 0 => "%Y-%m-%dT%H:%M:%S%.6fZ",
        _ => "%Y-%m-%dT%H:%M:%S%.9fZ",
    };
    time.to_chrono().format(form).to_string()
}

/// Compares two values of a field that grows: as numbers, as times, else as texts, longer numbers
/// in texts being greater.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return one.cmp(&other);
    }
    let time = |text: &str| parse_time(&Value::from(text));
    if let (Some(one), Some(other)) = (time(one), time(other)) {
        return one.cmp(&other);
    }
    one.cmp(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_read_in_the_forms_of_vendors_and_written_in_one() {
        for (value, expected) in [
            (json!("2026-03-01T10:00:00.5+01:00"), "2026-03-01T09:00:00.500Z"),
            (json!("2026-03-01T10:00:00.000+0000"), "2026-03-01T10:00:00Z"),
            (json!(1_772_359_200), "2026-03-01T10:00:00Z"),
            (json!(1_772_359_200_123_i64), "2026-03-01T10:00:00.123Z"),
            (json!("1772359200"), "2026-03-01T10:00:00Z"),
            (json!("1772359200.000001"), "2026-03-01T10:00:00.000001Z"),
        ] {
            let time = parse_time(&value).map(render_time);
            // Fractions of seconds as binary fractions are exact to the microsecond only.
            let time =
                time.map(|time| if time.len() > 28 { time[..26].to_owned() + "Z" } else { time });
            assert_eq!(time.as_deref(), Some(expected), "{value}");
        }
        for none in [json!(null), json!("soon"), json!([1]), json!("")] {
            assert_eq!(parse_time(&none), None, "{none}");
        }
    }

    #[test]
    fn greater_is_meant_as_people_mean_it() {
        for (less, greater) in [
            ("9", "10"),
            ("a9", "b1"),
            ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.001Z"),
            ("2026-03-01T10:30:00+01:00", "2026-03-01T10:00:00Z"),
            ("340282366920938463463374607431768211", "340282366920938463463374607431768212"),
        ] {
            assert_eq!(compare(less, greater), Ordering::Less, "{less} {greater}");
            assert_eq!(compare(greater, less), Ordering::Greater);
        }
    }
}
