//! Listeners: what `syslog` and `socket` have in common. They differ in framing and decoding only.

mod complaint;
mod options;
mod permit;
mod tcp;
mod tls;
mod udp;

pub(crate) use options::{
    ADDRESS, CONNECTION_LIMIT, IDLE_TIMEOUT, KEEPALIVE, Listen, MODE, PERMIT_ORIGIN,
    RECEIVE_BUFFER_BYTES, TLS,
};

#[cfg(test)]
mod tests;
