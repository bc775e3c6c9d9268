//! What flows through Azud: blocks of raw bytes, lazy records over them, rows between workers,
//! alerts.
//!
//! Nothing here knows a plan, a runtime, a socket or a worker thread. The crate is the vocabulary
//! that the other rooms share; see `ARCHITECTURE.md` for the way of the data.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod alert;
pub mod block;
pub mod clock;
pub mod codec;
pub mod dead_letter;
pub mod id;
pub mod limits;
mod padded;
pub mod parts;
pub mod record;
pub mod row;
pub mod short_bytes;
pub mod time;
pub mod varint;
