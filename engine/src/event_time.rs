//! Reads the event time that a source declares.

use azud_event::record::{Look, Path, Record};
use azud_event::time::EventTime;
use vrl::value::Value;

/// Sets the record's event time from the field that the source's author named, and fills
/// `.timestamp` with it.
///
/// Takes a timestamp, and what [`EventTime::from_text`] and [`EventTime::from_number`] read.
/// Anything else leaves the time that the codec knew, or the receive time.
pub fn read(path: &Path, record: &mut Record) {
    let time = match record.look(path) {
        Look::Nothing => None,
        Look::Text(text) => EventTime::from_text(record.text(text)),
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
        Value::Integer(number) => EventTime::from_number(*number),
        Value::Float(seconds) => {
            Some(EventTime::from_nanoseconds((seconds.into_inner() * 1e9) as i64))
        }
        other => EventTime::from_text(&*other.to_str_lossy()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_must_be_a_time() {
        assert_eq!(
            time_of(&Value::from("2026-02-25T06:13:20Z")).map(EventTime::seconds),
            Some(1_772_000_000)
        );
        assert_eq!(time_of(&Value::from("yesterday")), None);
    }
}
