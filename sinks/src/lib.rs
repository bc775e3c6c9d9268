//! Sinks: where results go, a file each.
//!
//! A sink is checked and run as `azud_plan::component` says. What they share stands in `deliver.rs` (groups of
//! batches, trying again) and `encoding.rs` (records to bytes). None holds more than a bounded group of batches
//! beside its queue; what it cannot deliver now it keeps trying, so that nothing is confirmed that was not delivered.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alerts;
mod blackhole;
mod console;
mod deliver;
mod encoding;
mod file;
mod limits;

#[cfg(test)]
mod testing;

use azud_plan::component::SinkFactory;

/// Every sink, sorted by name.
pub const SINKS: &[&SinkFactory] =
    &[&alerts::ALERTS, &blackhole::BLACKHOLE, &console::CONSOLE, &file::FILE];
