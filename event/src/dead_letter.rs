//! What is set aside instead of lost: raw bytes, with the reason and the place.

use serde::Serialize;
use std::fmt;

/// Why a record was set aside. The names are stable: they are labels of metrics and values in
/// files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Longer than the source allows.
    TooLong,
    /// A frame that began and never ended.
    IncompleteFrame,
    /// Not a frame of the source's framing.
    BadFrame,
    /// The decoder could not read it.
    Malformed,
    /// Nested deeper than allowed.
    TooDeep,
    /// A program failed on it.
    ProgramFailed,
    /// A program ran longer than allowed.
    ProgramTimeout,
    /// A program aborted on it.
    ProgramAborted,
    /// A program or decoder panicked on it.
    Panic,
    /// Everything that it belongs to was over when it came.
    Late,
    /// Its event time is further ahead of its receive time than its source allows.
    Future,
    /// It could not be written in the form that a sink asks for.
    EncodeFailed,
    /// A sink's receiver refused it for good.
    Refused,
}

impl Reason {
    /// Lists all of them, in the order of a record's way.
    pub const ALL: [Reason; 13] = [
        Reason::TooLong,
        Reason::IncompleteFrame,
        Reason::BadFrame,
        Reason::Malformed,
        Reason::TooDeep,
        Reason::ProgramFailed,
        Reason::ProgramTimeout,
        Reason::ProgramAborted,
        Reason::Panic,
        Reason::Late,
        Reason::Future,
        Reason::EncodeFailed,
        Reason::Refused,
    ];

    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Reason::TooLong => "too_long",
            Reason::IncompleteFrame => "incomplete_frame",
            Reason::BadFrame => "bad_frame",
            Reason::Malformed => "malformed",
            Reason::TooDeep => "too_deep",
            Reason::ProgramFailed => "program_failed",
            Reason::ProgramTimeout => "program_timeout",
            Reason::ProgramAborted => "program_aborted",
            Reason::Panic => "panic",
            Reason::Late => "late",
            Reason::Future => "future",
            Reason::EncodeFailed => "encode_failed",
            Reason::Refused => "refused",
        }
    }

    /// Gives the stage of the way at which this happens.
    pub fn stage(self) -> &'static str {
        match self {
            Reason::TooLong | Reason::IncompleteFrame | Reason::BadFrame => "frame",
            Reason::Malformed | Reason::TooDeep => "decode",
            Reason::ProgramFailed
            | Reason::ProgramTimeout
            | Reason::ProgramAborted
            | Reason::Panic => "transform",
            Reason::Late | Reason::Future => "window",
            Reason::EncodeFailed => "encode",
            Reason::Refused => "deliver",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a record could not go on: the reason, and words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The class of what went wrong.
    pub reason: Reason,
    /// What went wrong with this record, lower case, without a full stop.
    pub message: String,
}

impl Fault {
    /// Makes a fault.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Fault { reason, message: message.into() }
    }
}
