//! Reads the event time that a source declares.

use azud_event::record::{Look, Path, Record};
use azud_event::time::EventTime;
use vrl::value::Value;

/// Sets the record's event time from the field that the source's author named, and fills
/// `.timestamp` with it.
///
/// Takes a timestamp, RFC 3339 text, or a number since the Unix epoch (seconds, milliseconds,
/// microseconds or nanoseconds, told apart by their size, as dates between 1973 and 2286 allow).
/// Anything else leaves the time that the codec knew, or the receive time.
pub fn read(path: &Path, record: &mut Record) {
    let time = match record.look(path) {
        Look::Nothing => None,
        Look::Text(text) => EventTime::from_rfc3339(record.text(text)),
        Look::Scalar(value) => time_of(&value),
        Look::Value(value) => time_of(value),
    };
    if let Some(time) = time {
        record.origin_mut().event_time = Some(time);
    }
}

fn time_of(value: &Value) -> Option<EventTime> {
    match value {
        Value::Timestamp(time) => Some(EventTime::from_chrono(*time)),
        Value::Integer(number) => from_number(*number),
        Value::Float(seconds) => {
            Some(EventTime::from_nanoseconds((seconds.into_inner() * 1e9) as i64))
        }
        other => EventTime::from_rfc3339(&*other.to_str_lossy()?),
    }
}

fn from_number(number: i64) -> Option<EventTime> {
    let per_unit = match number.unsigned_abs() {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    number.checked_mul(per_unit).map(EventTime::from_nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_number_follows_from_its_size() {
        let expected = Some(EventTime::from_nanoseconds(1_772_000_000_000_000_000));
        for number in [1_772_000_000, 1_772_000_000_000, 1_772_000_000_000_000] {
            assert_eq!(from_number(number), expected);
        }
        assert_eq!(from_number(1_772_000_000_000_000_000), expected);
    }

    #[test]
    fn text_must_be_rfc_3339() {
        assert_eq!(
            time_of(&Value::from("2026-02-25T06:13:20Z")).map(EventTime::seconds),
            Some(1_772_000_000)
        );
        assert_eq!(time_of(&Value::from("yesterday")), None);
    }
}
