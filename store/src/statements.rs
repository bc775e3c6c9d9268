//! Every statement, once for both databases.

mod alerts;
mod instances;
mod progress;
mod rules;

#[cfg(test)]
mod tests;

pub(crate) use alerts::{apply, get, list, revisions};
pub(crate) use instances::{begin_incarnation, check};
pub(crate) use progress::progress;
pub(crate) use rules::load_rules;
