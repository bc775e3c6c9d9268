//! What is told when a secret cannot be had: where, which, and why; never what.

use crate::limits::TOLD_BYTES_MAX;
use azud_plan::component::SecretError;

/// Says that a backend has no such secret, or does not give it.
pub(crate) fn missing(backend: &str, key: &str, why: impl AsRef<str>) -> SecretError {
    let why = why.as_ref();
    SecretError::Missing(format!("secret backend `{backend}` has no `{key}` ({why})"))
}

/// Says that a backend does not answer as it should.
pub(crate) fn unavailable(backend: &str, why: impl AsRef<str>) -> SecretError {
    let why = why.as_ref();
    SecretError::Unavailable(format!("secret backend `{backend}` does not answer: {why}"))
}

/// Cuts what another program says to a line that can be told.
pub(crate) fn line(text: &str) -> String {
    let text = text.trim();
    let cut = &text[..text.floor_char_boundary(TOLD_BYTES_MAX)];
    cut.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_one_short_line() {
        assert_eq!(line(" no\r\nsuch\u{1b}[0m thing \n"), "no  such [0m thing");
        assert_eq!(line(&"é".repeat(400)).len(), TOLD_BYTES_MAX);
    }
}
