//! Every statement, once for both databases.

mod alerts;
mod dead_letters;
mod instances;
mod progress;
mod rules;

#[cfg(test)]
mod tests;

pub(crate) use alerts::{apply, get, list, revisions};
pub(crate) use dead_letters::{held_dead_letters, keep_dead_letters};
pub(crate) use instances::{begin_incarnation, check};
pub(crate) use progress::progress;
pub(crate) use rules::load_rules;
