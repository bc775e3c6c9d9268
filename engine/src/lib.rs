//! How a plan runs: intake, feed, chains on timely workers, egress, acknowledgement.
//!
//! The two worlds meet at two bridges: async sources put blocks into [`intake`], and workers put
//! batches into [`egress`], from where async sinks take them. Only [`dataflow`] says timely;
//! everything it runs is plain code that tests call without a thread.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
pub mod case;
mod chain;
mod checkpoint;
mod dataflow;
pub mod dead_letter;
mod doorbell;
mod durable;
mod egress;
mod epoch_record;
mod event_clock;
mod event_time;
mod feed;
pub mod inspect;
mod intake;
mod limits;
pub mod log;
mod plan_text;
mod recovery;
mod spill;
mod supervise;
mod telemetry;

pub use intake::Acknowledge;
pub use recovery::{Durability, StartError};
pub use supervise::{Built, Engine, EngineError, Settings};

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod restart_tests;
