//! Listeners: what `syslog` and `socket` have in common. They differ in framing and decoding only.

mod complaint;
mod options;
mod permit;
mod tcp;
pub mod tls;
mod udp;

pub(crate) use options::{
    ADDRESS, CONNECTION_LIMIT, IDLE_TIMEOUT, KEEPALIVE, Listen, MAX_LENGTH, MODE, PERMIT_ORIGIN,
    RECEIVE_BUFFER_BYTES, TLS,
};

use crate::outlet::WhenFull;
use azud_event::codec::framing::Framing;
use azud_plan::component::{
    Attempt, BuildContext, BuildError, Cause, Connector, ConnectorKind, Endpoint, Failed, Outcome,
    RunError, SourceContext, SourceTask,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use options::Mode;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

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
        let task: Box<dyn SourceTask> = match self.mode {
            Mode::Tcp => Box::new(tcp::TcpTask::bind(&context.id, self, streams, when_full)?),
            Mode::Udp => Box::new(udp::UdpTask::bind(&context.id, self, streams, when_full)?),
        };
        let connector = context.services.connectors().map(|all| all.of(&context.id));
        Ok(match connector {
            Some(connector) => Box::new(Listening { task, connector }),
            None => task,
        })
    }

    /// Says what it is as a connector.
    pub(crate) fn endpoint(&self, kind: ConnectorKind) -> Endpoint {
        let mode = match self.mode {
            Mode::Tcp => "tcp",
            Mode::Udp => "udp",
        };
        let address = self.address.to_string();
        let summary = json!({ "mode": mode, "address": address, "tls": self.tls.is_some() });
        Endpoint::new(kind, summary)
    }
}

/// A listener that says how it is: it works as long as its port is bound, whatever those who send
/// to it do.
struct Listening {
    task: Box<dyn SourceTask>,
    connector: Arc<dyn Connector>,
}

impl SourceTask for Listening {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        let Listening { task, connector } = *self;
        let clock = context.clock.clone();
        let tell = move |outcome| {
            let at = clock.now();
            connector.report(Attempt { at, outcome, requests: 0, records: 0, bytes: 0 });
        };
        async move {
            tell(Outcome::Succeeded);
            let ended = task.run(context).await;
            if let Err(error) = &ended {
                let (cause, message) = (Cause::Local, error.message.clone());
                tell(Outcome::Failed(Failed { cause, message, http_status: None }));
            }
            ended
        }
        .boxed()
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
