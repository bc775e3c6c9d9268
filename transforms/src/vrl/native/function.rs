//! Calls of functions: what is plain natively, the rest by VRL's own function.

use super::operand::Operand;
use super::slow::Slow;
use super::{Expression, Failure, Run, failure};
use vrl::compiler::ExpressionError;
use vrl::compiler::value::VrlValueConvert;
use vrl::prelude::Bytes;
use vrl::value::Value;

/// A call of a function.
#[derive(Clone, Debug)]
pub(in crate::vrl) struct Call {
    pub(in crate::vrl) name: &'static str,
    /// Where it stands in the program, which its errors tell.
    pub(in crate::vrl) start: usize,
    pub(in crate::vrl) end: usize,
    pub(in crate::vrl) function: Function,
    /// The first argument. All others are literals, and part of the function.
    pub(in crate::vrl) argument: Expression,
    /// VRL's own; `None` where the native form takes every argument.
    pub(in crate::vrl) slow: Option<Slow>,
}

/// The functions that have native forms. Texts are literals of the program.
#[derive(Clone, Debug)]
pub(in crate::vrl) enum Function {
    Contains(String),
    Downcase,
    EndsWith(String),
    /// `includes([…], item)`; the argument is the item.
    Includes(Vec<Value>),
    IsNull,
    IsString,
    /// By the number of the pattern.
    ParseRegex(usize),
    StartsWith(String),
    String,
    ToInt,
    ToString,
    Upcase,
    /// Any other function of one argument, always called by VRL.
    Other,
}

/// The most digits of which every number fits an `i64`.
const DIGITS_MAX: usize = 18;

impl Run<'_> {
    /// Calls a function.
    pub(super) fn call(&mut self, call: &Call) -> Result<Operand, Failure> {
        if let Function::ParseRegex(number) = call.function {
            self.find(call, number)?;
            return Ok(Operand::Value(self.matched(number)));
        }
        self.answer(call).map_err(|failure| call.place(failure))
    }

    /// Searches with the pattern of `parse_regex`; the match is remembered under its number.
    pub(super) fn find(&mut self, call: &Call, number: usize) -> Result<(), Failure> {
        self.search(call, number).map_err(|failure| call.place(failure))
    }

    fn search(&mut self, call: &Call, number: usize) -> Result<(), Failure> {
        let text = self.evaluate(&call.argument)?;
        let found = &mut self.memory.matches[number];
        match self.patterns[number].find(&text, self.ground.record(), found) {
            Some(true) => Ok(()),
            // In VRL's words.
            Some(false) => Err(Box::new("could not find any pattern matches".into())),
            None => {
                let value = text.into_value(self.record());
                value.try_bytes().map(drop).map_err(failure)
            }
        }
    }

    fn answer(&mut self, call: &Call) -> Result<Operand, Failure> {
        if call.function.asks()
            && let Some(peek) = self.peek(&call.argument)
            && let Some(truth) = call.function.test(&peek)
        {
            return Ok(truth.into());
        }
        let argument = self.evaluate(&call.argument)?;
        let peek = argument.peek(self.record());
        if let Some(truth) = call.function.test(&peek) {
            return Ok(truth.into());
        }
        let plain = peek.bytes().map(|bytes| (bytes, &call.function));
        let value = match plain {
            Some((_, Function::String | Function::ToString)) => return Ok(argument),
            Some((bytes, Function::ToInt)) => integer(bytes).map(Value::Integer),
            Some((bytes, Function::Downcase)) if bytes.is_ascii() => {
                if !bytes.iter().any(u8::is_ascii_uppercase) {
                    return Ok(argument);
                }
                Some(Value::Bytes(Bytes::from(bytes.to_ascii_lowercase())))
            }
            Some((bytes, Function::Upcase)) if bytes.is_ascii() => {
                if !bytes.iter().any(u8::is_ascii_lowercase) {
                    return Ok(argument);
                }
                Some(Value::Bytes(Bytes::from(bytes.to_ascii_uppercase())))
            }
            _ => None,
        };
        match (value, &argument, &call.function) {
            (Some(value), ..) => Ok(Operand::Value(value)),
            (None, Operand::Value(Value::Integer(_)), Function::ToInt) => Ok(argument),
            _ => self.slowly(call, argument).map(Operand::Value),
        }
    }

    fn slowly(&mut self, call: &Call, argument: Operand) -> Result<Value, Failure> {
        let argument = argument.into_value(self.ground.record());
        let (first, second) = match &call.function {
            Function::Contains(text) | Function::EndsWith(text) | Function::StartsWith(text) => {
                (argument, Some(Value::from(text.as_str())))
            }
            _ => (argument, None),
        };
        let arguments = std::iter::once(first).chain(second);
        let slow = call.slow.as_ref().expect("only functions with a slow form leave arguments");
        slow.call(&mut self.memory.runtime, self.zone, arguments)
    }
}

impl Function {
    /// Tells whether [`Function::test`] may answer it.
    fn asks(&self) -> bool {
        !matches!(
            self,
            Function::Downcase
                | Function::ParseRegex(_)
                | Function::String
                | Function::ToInt
                | Function::ToString
                | Function::Upcase
                | Function::Other
        )
    }

    /// Answers a function that asks something, if that is plain; of others `None`.
    #[inline]
    fn test(&self, argument: &super::Peek<'_>) -> Option<bool> {
        let valid = || std::str::from_utf8(argument.bytes()?).ok();
        Some(match self {
            Function::Contains(part) => valid()?.contains(part.as_str()),
            Function::EndsWith(end) => valid()?.ends_with(end.as_str()),
            Function::StartsWith(start) => argument.bytes()?.starts_with(start.as_bytes()),
            Function::Includes(list) => list.iter().any(|item| argument.eq_strictly(item)),
            Function::IsNull => argument.is_null(),
            Function::IsString => argument.bytes().is_some(),
            _ => return None,
        })
    }
}

impl Call {
    /// Says in an error where the call stands, as VRL does. An `abort` within stays what it is.
    fn place(&self, failure: Failure) -> Failure {
        match *failure {
            ExpressionError::Error { message, .. } => {
                let Call { name, start, end, .. } = self;
                let message =
                    format!("function call error for \"{name}\" at ({start}:{end}): {message}");
                Box::new(message.into())
            }
            _ => failure,
        }
    }
}

/// Reads a number of plain digits; `None` of anything else, numbers included.
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        number = number * 10 + i64::from(value);
    }
    Some(if negative { -number } else { number })
}
