//! A killed process, started again: with the real program, a real log, and `kill -9` at moments
//! that nobody chose.
//!
//! The input is a file that the test goes on writing while the program is killed and started, for a
//! file tells exactly what was there to be taken in. Afterwards every line must be in the file of
//! the sink, and the table of alerts and the windows must have each line once.

mod archive;
mod damage;
mod kills;
pub(crate) mod load;
mod looks;
mod power;
mod refusals;
mod restored;
mod turns;
