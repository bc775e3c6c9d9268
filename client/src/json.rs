//! Places in JSON, as documents name them: `.data.items[0].id`.

use serde_json::Value;
use vrl::path::{OwnedSegment, OwnedValuePath};

/// Gives what stands at a place.
pub fn at<'a>(value: &'a Value, path: &OwnedValuePath) -> Option<&'a Value> {
    path.segments.iter().try_fold(value, |value, segment| match segment {
        OwnedSegment::Field(name) => value.get(name.as_str()),
        OwnedSegment::Index(index) => {
            let items = value.as_array()?;
            let index = match usize::try_from(*index) {
                Ok(index) => index,
                Err(_) => items.len().checked_sub(index.unsigned_abs())?,
            };
            items.get(index)
        }
    })
}

/// Gives a text, number or boolean as text; `None` for what is none of them, or empty.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Gives what stands at a place as text.
pub fn text_at(value: &Value, path: &OwnedValuePath) -> Option<String> {
    at(value, path).and_then(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_plan::component::parse_field;

    #[test]
    fn places_are_found() {
        let value = serde_json::json!({"a": {"b-c": [1, {"d": "x"}]}, "e": "", "f": null});
        let found = |path: &str| text_at(&value, &parse_field(path).unwrap());
        assert_eq!(found(r#".a."b-c"[0]"#).as_deref(), Some("1"));
        assert_eq!(found(r#".a."b-c"[-1].d"#).as_deref(), Some("x"));
        for none in [".a", ".e", ".f", ".g.h", r#".a."b-c"[2]"#, r#".a."b-c"[-3]"#] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(at(&value, &parse_field(".").unwrap()), Some(&value));
    }
}
