//! End to end: the real program with real sockets, files and databases, and the style guide as a
//! test.
//!
//! Everything is one binary, because each further one would link the whole program once more. Build
//! the program first (`cargo build`); `tests/run` does, and sets up the other programs that tests
//! talk to.
#![allow(clippy::unwrap_used)]

mod amended;
mod answers;
mod api;
mod clock;
mod connectors;
mod documents;
mod exchanges;
mod flood;
mod fronted;
mod health;
mod hostile;
mod identity;
mod lake;
mod letters;
mod library;
mod oauth;
mod polling;
mod pressure;
mod quickstart;
mod recovery;
mod retention;
mod rotation;
mod scrape;
mod secrets;
mod senders;
mod shuffles;
mod silence;
mod soak;
mod stalls;
mod support;
mod tidy;
mod validate;
