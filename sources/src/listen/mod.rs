//! Listeners: what `syslog` and `socket` have in common. They differ in framing and decoding only.

mod complaint;
mod options;
mod permit;
mod tcp;
mod tls;
mod udp;

pub(crate) use options::{
    ADDRESS, CONNECTION_LIMIT, IDLE_TIMEOUT, KEEPALIVE, Listen, MAX_LENGTH, MODE, PERMIT_ORIGIN,
    RECEIVE_BUFFER_BYTES, TLS,
};

use crate::outlet::WhenFull;
use azud_event::codec::framing::Framing;
use azud_plan::component::{BuildContext, BuildError, SourceTask};
use options::Mode;
use std::io;
use std::net::SocketAddr;

/// How the streams of a listener are cut into records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// How records are told apart.
    pub(crate) framing: Framing,
    /// The longest record, in bytes; of a datagram as well.
    pub(crate) frame_bytes_max: usize,
}

impl Listen {
    /// Binds the port.
    ///
    /// # Errors
    /// When the system, or a file of `tls`, refuses.
    pub(crate) fn build(
        &self,
        context: &BuildContext,
        streams: Streams,
        when_full: WhenFull,
    ) -> Result<Box<dyn SourceTask>, BuildError> {
        Ok(match self.mode {
            Mode::Tcp => Box::new(tcp::TcpTask::bind(&context.id, self, streams, when_full)?),
            Mode::Udp => Box::new(udp::UdpTask::bind(&context.id, self, streams, when_full)?),
        })
    }
}

/// Says why a port could not be bound, and what to do.
fn refused(protocol: &str, address: SocketAddr, error: &io::Error) -> BuildError {
    let port = address.port();
    let help = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process has this port: `ss -lnp 'sport = :{port}'` says which; choose another \
             port, or stop it"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {port} needs a privilege: give the program CAP_NET_BIND_SERVICE, or choose a \
             port above 1023"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "no network of this machine has this address; `0.0.0.0` means all it has".to_owned()
        }
        _ => String::new(),
    };
    BuildError {
        message: format!("cannot listen on {protocol} {address}: {error}"),
        help: (!help.is_empty()).then_some(help),
    }
}

#[cfg(test)]
mod tests;
