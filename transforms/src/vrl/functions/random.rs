//! The clock and chance: functions of the record's position in the log, so that a replay draws the
//! same.

use super::super::moment;
use super::ours::{Call, Replacement};
use vrl::prelude::{NotNan, Resolved, Value, VrlValueConvert};
use vrl::value::value::timestamp_to_string;

/// `now` gives the time at which the record was received.
pub const NOW: Replacement = Replacement {
    name: "now",
    arguments: &[],
    run: |_| Ok(moment::received_at().to_chrono().into()),
    reason: "a replay would be told another time",
};

/// `random_bool` gives a drawn bit.
pub const RANDOM_BOOL: Replacement = Replacement {
    name: "random_bool",
    arguments: &[],
    run: |_| Ok(Value::Boolean(moment::draw_bits() & 1 == 1)),
    reason: CHANCE,
};

/// `random_bytes` gives drawn bytes, at most 64 KiB.
pub const RANDOM_BYTES: Replacement =
    Replacement { name: "random_bytes", arguments: &["length"], run: bytes, reason: CHANCE };

/// `random_float` gives a drawn number of a half-open range.
pub const RANDOM_FLOAT: Replacement =
    Replacement { name: "random_float", arguments: &["min", "max"], run: float, reason: CHANCE };

/// `random_int` gives a drawn number of a half-open range.
pub const RANDOM_INT: Replacement =
    Replacement { name: "random_int", arguments: &["min", "max"], run: integer, reason: CHANCE };

/// `uuid_v4` gives a UUID of drawn bits.
pub const UUID_V4: Replacement = Replacement {
    name: "uuid_v4",
    arguments: &[],
    run: |_| {
        let mut bytes = [0; 16];
        moment::draw(&mut bytes);
        Ok(uuid(bytes, 4))
    },
    reason: CHANCE,
};

/// `uuid_v7` gives a UUID of a time, by default the receive time, and drawn bits.
pub const UUID_V7: Replacement =
    Replacement { name: "uuid_v7", arguments: &["timestamp"], run: uuid_v7, reason: CHANCE };

const CHANCE: &str = "a replay would draw something else";
const BYTES_MAX: i64 = 64 * 1024;
const EMPTY_RANGE: &str = "max must be greater than min";

fn bytes(call: &Call<'_>) -> Resolved {
    let length = call.required(0)?.clone().try_integer()?;
    if length > BYTES_MAX {
        return Err("Length is too large. Maximum is 64k".into());
    }
    let length = usize::try_from(length).map_err(|_| "Length cannot be negative")?;
    let mut bytes = vec![0; length];
    moment::draw(&mut bytes);
    Ok(Value::Bytes(bytes.into()))
}

fn float(call: &Call<'_>) -> Resolved {
    let min = call.required(0)?.clone().try_float()?;
    let max = call.required(1)?.clone().try_float()?;
    if max <= min {
        return Err(EMPTY_RANGE.into());
    }
    // 53 bits are what the mantissa holds; rounding may still reach `max`, which is outside.
    let part = (moment::draw_bits() >> 11) as f64 / (1_u64 << 53) as f64;
    let drawn = min + part * (max - min);
    let drawn = if drawn < max { drawn } else { min };
    Ok(Value::Float(NotNan::new(drawn).map_err(|_| "the range is too wide")?))
}

fn integer(call: &Call<'_>) -> Resolved {
    let min = call.required(0)?.clone().try_integer()?;
    let max = call.required(1)?.clone().try_integer()?;
    if max <= min {
        return Err(EMPTY_RANGE.into());
    }
    let width = max.abs_diff(min);
    let part = (u128::from(moment::draw_bits()) * u128::from(width)) >> 64;
    // `part` is below `width`, so the sum is below `max`.
    Ok(Value::Integer(min.wrapping_add(part as i64)))
}

fn uuid_v7(call: &Call<'_>) -> Resolved {
    let time = match call.optional(0) {
        Some(time) => time.clone().try_timestamp()?,
        None => moment::received_at().to_chrono(),
    };
    let since = u64::try_from(time.timestamp_millis()).ok().filter(|since| since >> 48 == 0);
    let Some(since) = since else {
        return Err(
            format!("{} is outside of what a UUIDv7 holds", timestamp_to_string(&time)).into()
        );
    };
    let mut bytes = [0; 16];
    moment::draw(&mut bytes);
    bytes[..6].copy_from_slice(&since.to_be_bytes()[2..]);
    Ok(uuid(bytes, 7))
}

/// Writes 16 bytes as a UUID of this version (RFC 9562).
fn uuid(mut bytes: [u8; 16], version: u8) -> Value {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    Value::from(text)
}

#[cfg(test)]
mod tests {
    use crate::vrl::testing::{RECEIVED_AT, evaluate};
    use vrl::value;
    use vrl::value::Value;

    #[test]
    fn now_is_the_receive_time() {
        let now = evaluate("now()", value!({})).unwrap();
        assert_eq!(now, Value::Timestamp(RECEIVED_AT.to_chrono()));
    }

    #[test]
    fn the_same_record_draws_the_same() {
        let source = "[random_int!(-5, 5), random_float!(0.0, 1.0), random_bool(), uuid_v4(), \
                      uuid_v7(), random_bytes(20)]";
        let once = evaluate(source, value!({})).unwrap();
        assert_eq!(evaluate(source, value!({})).unwrap(), once);
        let twice = evaluate("[uuid_v4(), uuid_v4()]", value!({})).unwrap();
        let uuids = twice.as_array().unwrap();
        assert_ne!(uuids[0], uuids[1]);
    }

    #[test]
    fn ranges_are_half_open() {
        let source = "
            least = 100
            most = -100
            for_each(array!(.many)) -> |_index, _value| {
                drawn = random_int(-3, 4)
                if drawn < least { least = drawn }
                if drawn > most { most = drawn }
            }
            [least, most]";
        let many = Value::Array(vec![Value::Null; 500]);
        let ends = evaluate(source, value!({ "many": many })).unwrap();
        assert_eq!(ends, value!([(-3), 3]));
        let whole =
            evaluate("random_int!(.min, .max)", value!({ "min": (i64::MIN), "max": (i64::MAX) }));
        assert!(whole.is_ok());
        assert!(evaluate("random_int!(.min, 1)", value!({ "min": 1 })).is_err());
    }

    #[test]
    fn uuids_have_their_version_and_time() {
        let source = "[uuid_v4(), uuid_v7(t'2020-12-30T22:20:53.824727Z')]";
        let uuids = evaluate(source, value!({})).unwrap();
        let uuids = uuids.as_array().unwrap();
        let (four, seven) = (uuids[0].to_str_lossy().unwrap(), uuids[1].to_str_lossy().unwrap());
        assert_eq!((four.len(), &four[14..15]), (36, "4"));
        assert!(["8", "9", "a", "b"].contains(&&four[19..20]));
        assert!(seven.starts_with("0176b5bd-58c0-7"), "{seven}");
        let early = evaluate("uuid_v7(t'1969-01-01T00:00:00Z')", value!({}));
        assert!(early.unwrap_err().contains("outside"));
    }
}
