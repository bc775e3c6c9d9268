//! Answers that hold secrets: JSON whose texts are wiped when it goes.

use crate::limits::SECRET_BYTES_MAX;
use azud_plan::component::Secret;
use serde_json::Value;
use std::ops::Deref;
use zeroize::Zeroize;

/// A JSON value that holds secrets.
pub(crate) struct Wiped(Value);

impl Wiped {
    /// Reads JSON; the error says the place, and nothing of the text.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map(Wiped).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("not JSON at line {line}, column {column}")
        })
    }
}

impl Deref for Wiped {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        let mut rest = vec![&mut self.0];
        while let Some(value) = rest.pop() {
            match value {
                Value::String(text) => text.zeroize(),
                Value::Array(items) => rest.extend(items),
                Value::Object(members) => rest.extend(members.values_mut()),
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
    }
}

/// Gives the secret that a value is; the error says why it is none.
pub(crate) fn secret(value: Option<&Value>) -> Result<Secret, &'static str> {
    match value {
        None | Some(Value::Null) => Err("not there"),
        Some(Value::String(text)) => bounded(text),
        Some(Value::Number(number)) => Ok(Secret::new(number.to_string())),
        Some(Value::Bool(_)) => Err("a boolean, not a text"),
        Some(Value::Array(_)) => Err("a list, not a text"),
        Some(Value::Object(_)) => Err("an object, not a text"),
    }
}

/// Gives a text as a secret, if it can be one.
pub(crate) fn bounded(text: &str) -> Result<Secret, &'static str> {
    match text.len() {
        0 => Err("empty"),
        length if length > SECRET_BYTES_MAX => Err("above the limit of 64 KiB"),
        _ => Ok(Secret::new(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_is_a_secret() {
        let value = Wiped::parse(br#"{"a":"x","b":7,"c":null,"d":[],"e":"","f":{}}"#).unwrap();
        let secret = |key| secret(value.get(key)).map(|secret| secret.reveal().to_owned());
        assert_eq!((secret("a"), secret("b")), (Ok("x".to_owned()), Ok("7".to_owned())));
        assert_eq!((secret("c"), secret("x")), (Err("not there"), Err("not there")));
        assert_eq!((secret("d"), secret("e")), (Err("a list, not a text"), Err("empty")));
        assert_eq!(secret("f"), Err("an object, not a text"));
        assert!(bounded(&"x".repeat(SECRET_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn what_is_no_json_is_not_shown() {
        let error = Wiped::parse(b"{\"a\": hidden").err().unwrap();
        assert_eq!(error, "not JSON at line 1, column 7");
    }
}
