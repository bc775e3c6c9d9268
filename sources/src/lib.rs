//! Where records come from: sources, a file each.
//!
//! A source finds whole records in bytes and hands them over in blocks; it decodes nothing. All of
//! them share three things: the listeners (`listen`), the way from a stream of bytes to blocks
//! (`stream`), and the way of a block into the engine (`outlet`), which is also where back pressure
//! comes from: a source that waits there reads nothing.
//!
//! Adding a source means a file, a `mod` line and a line in [`SOURCES`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod decoding;
mod host;
mod limits;
mod listen;
mod outlet;
mod stream;

pub mod connector_status;
pub mod demo_logs;
pub mod file;
pub mod http_client;
pub mod socket;
pub mod stdin;
pub mod syslog;

#[cfg(test)]
mod testing;

/// TLS for those who listen.
pub use listen::tls;

use azud_plan::component::SourceFactory;

/// Every source, sorted by name.
pub const SOURCES: &[&SourceFactory] = &[
    &connector_status::CONNECTOR_STATUS,
    &demo_logs::DEMO_LOGS,
    &file::FILE,
    &http_client::HTTP_CLIENT,
    &socket::SOCKET,
    &stdin::STDIN,
    &syslog::SYSLOG,
];
