//! Values that are written as text: sizes, spans of time, fields, time zones.

use crate::document::{Node, Value};
use std::time::Duration;
use vrl::path::OwnedValuePath;

/// The longest span of time that a document may name: a hundred years, so that adding it to any
/// time of ours stays within range.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Reads a size: a whole number of bytes, or a number with its unit.
pub(super) fn bytes(node: &Node) -> Option<u64> {
    match &node.value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Text(text) => {
            let (number, unit) = split_unit(&text.text)?;
            let factor: u64 = match unit {
                "B" => 1,
                "kB" | "KB" => 1_000,
                "MB" => 1_000_000,
                "GB" => 1_000_000_000,
                "TB" => 1_000_000_000_000,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                "TiB" => 1 << 40,
                _ => return None,
            };
            number.checked_mul(factor)
        }
        _ => None,
    }
}

/// Writes a size as a person would.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units.iter().find(|(_, bits)| bytes > 0 && bytes.is_multiple_of(1 << bits));
    whole.map_or(format!("{bytes} bytes"), |(unit, bits)| format!("{} {unit}", bytes >> bits))
}

/// Reads a span of time with its unit.
pub(super) fn duration(node: &Node) -> Option<Duration> {
    parse_duration(&node.as_text()?.text)
}

/// Reads a span of time with its unit: `250ms`, `10s`, `5m`, `1h`, `7d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let span = Duration::from_millis(number.checked_mul(milliseconds)?);
    (span <= DURATION_MAX).then_some(span)
}

/// Reads a span of time in seconds, whole or not.
pub(super) fn seconds(node: &Node) -> Option<Duration> {
    let span = match node.value {
        Value::Integer(seconds) => Duration::from_secs(u64::try_from(seconds).ok()?),
        Value::Float(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        _ => return None,
    };
    (span <= DURATION_MAX).then_some(span)
}

/// Reads the path of a field, with or without its leading dot.
pub fn parse_field(text: &str) -> Option<OwnedValuePath> {
    vrl::path::parse_value_path(text).ok().filter(|path| !path.is_root() || text == ".")
}

/// Whether `text` names a time zone: of the IANA database, or an offset like `+05:30`.
pub(super) fn is_time_zone(text: &str) -> bool {
    text.parse::<chrono_tz::Tz>().is_ok() || text.parse::<chrono::FixedOffset>().is_ok()
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_and_an_end() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        for bad in ["", "s", "10", "-1s", "1 fortnight", "99999999999999999999s", "999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_have_an_optional_dot() {
        assert_eq!(parse_field("user.name"), parse_field(".user.name"));
        assert!(parse_field("user.name").is_some());
        assert!(parse_field(".").is_some_and(|path| path.is_root()));
        for bad in ["", "..", "a..b", "a b"] {
            assert_eq!(parse_field(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_short() {
        assert_eq!(show_bytes(16 << 20), "16 MiB");
        assert_eq!(show_bytes(1500), "1500 bytes");
        assert_eq!(show_bytes(0), "0 bytes");
    }

    #[test]
    fn zones_are_names_or_offsets() {
        for zone in ["UTC", "Europe/Madrid", "+05:30"] {
            assert!(is_time_zone(zone), "{zone}");
        }
        assert!(!is_time_zone("Europe/Nowhere"));
    }
}
