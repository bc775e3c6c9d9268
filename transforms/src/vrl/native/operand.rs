//! What native expressions give each other: texts of the block as ranges, all else as values.

use azud_event::record::{Look, Path, Record, TextRange};
use vrl::compiler::value::{ValueError, VrlValueArithmetic, VrlValueConvert};
use vrl::value::Value;

/// The value of an expression.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A string that stands in the block of the record.
    Text(TextRange),
    /// Any other value.
    Value(Value),
}

/// The value of an expression, only to be looked at.
#[derive(Debug)]
pub(super) enum Peek<'a> {
    /// The bytes of a string.
    Text(&'a [u8]),
    /// A value that nobody holds.
    Scalar(Value),
    /// A value that somebody holds.
    Value(&'a Value),
}

impl From<bool> for Operand {
    fn from(truth: bool) -> Self {
        Operand::Value(Value::Boolean(truth))
    }
}

impl Operand {
    pub(super) const NULL: Operand = Operand::Value(Value::Null);

    /// Reads a field; what is not there is `null`.
    pub(super) fn look(record: &Record, path: &Path) -> Self {
        match record.look(path) {
            Look::Nothing => Operand::NULL,
            Look::Text(text) => Operand::Text(text),
            Look::Scalar(value) => Operand::Value(value),
            Look::Value(value) => Operand::Value(value.clone()),
        }
    }

    pub(super) fn into_value(self, record: &Record) -> Value {
        match self {
            Operand::Text(text) => record.text_value(text),
            Operand::Value(value) => value,
        }
    }

    pub(super) fn peek<'a>(&'a self, record: &'a Record) -> Peek<'a> {
        match self {
            Operand::Text(text) => Peek::Text(record.text(*text)),
            Operand::Value(value) => Peek::Value(value),
        }
    }

    pub(super) fn try_boolean(self, record: &Record) -> Result<bool, ValueError> {
        match self {
            Operand::Value(Value::Boolean(truth)) => Ok(truth),
            other => other.into_value(record).try_boolean(),
        }
    }
}

impl<'a> Peek<'a> {
    pub(super) const NULL: Peek<'static> = Peek::Scalar(Value::Null);

    /// Reads a field; what is not there is `null`.
    #[inline]
    pub(super) fn look(record: &'a Record, path: &Path) -> Self {
        match record.look(path) {
            Look::Nothing => Peek::NULL,
            Look::Text(text) => Peek::Text(record.text(text)),
            Look::Scalar(value) => Peek::Scalar(value),
            Look::Value(value) => Peek::Value(value),
        }
    }

    /// Gives the bytes, when it is a string.
    #[inline]
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self.content() {
            Ok(bytes) => Some(bytes),
            Err(Value::Bytes(bytes)) => Some(bytes),
            Err(Value::String(string)) => Some(string.as_bytes()),
            Err(_) => None,
        }
    }

    #[inline]
    fn content(&self) -> Result<&[u8], &Value> {
        match self {
            Peek::Text(bytes) => Ok(bytes),
            Peek::Scalar(value) => Err(value),
            Peek::Value(value) => Err(value),
        }
    }

    /// Compares as `==` does.
    #[inline]
    pub(super) fn eq_lossy(&self, other: &Peek<'_>) -> bool {
        match (self.bytes(), other.bytes()) {
            (Some(one), Some(other)) => one == other,
            (None, None) => match (self.content(), other.content()) {
                (Err(one), Err(other)) => one.eq_lossy(other),
                // What has no bytes is no text.
                _ => false,
            },
            // Strings equal nothing but strings.
            _ => false,
        }
    }

    /// Compares as `includes` does: an integer equals no float.
    pub(super) fn eq_strictly(&self, other: &Value) -> bool {
        match self.content() {
            Ok(bytes) => match other {
                Value::Bytes(other) => bytes == &other[..],
                Value::String(other) => bytes == &other.as_bytes()[..],
                _ => false,
            },
            Err(value) => value == other,
        }
    }

    /// Tells whether it is `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.content(), Err(Value::Null))
    }
}
