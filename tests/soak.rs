//! Soaks: a steady load while something goes wrong again and again, or all the time. Afterwards
//! every record is looked for.
//!
//! Each goes on for some seconds, or for as long as `AZUD_SOAK_SECONDS` says. They print what they
//! counted: `cargo nextest run --profile soak --no-capture` shows it.

mod database;
mod kills;
mod load;
mod silent;
mod straight;
mod tables;
