//! What a window has gathered, in parts that it shares with windows that overlap it: for those who
//! put several windows together and must count nothing twice.

use crate::id::Id;

/// What a window has gathered, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Who can put them together: parts that another has made are of no use to it.
    pub by: u64,
    /// Whose windows they are of: numbers of others are others.
    pub of: Id,
    /// The parts, by number.
    pub parts: Vec<Part>,
}

/// A part of one or more windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is known by.
    pub number: i64,
    /// How many records are in it. It only grows: of two of one number the greater holds the other.
    pub records: u64,
    /// What was gathered of them, in the form of who made it.
    pub bytes: Vec<u8>,
}
