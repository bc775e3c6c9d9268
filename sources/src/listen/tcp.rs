//! TCP and TLS: a task per connection, as many as the limit allows.

use super::complaint::Complaint;
use super::tls::{Acceptor, HANDSHAKE_TIMEOUT, Refusal, refusal_of};
use super::{Listen, Streams, refused};
use crate::limits::{ACCEPT_PAUSE, BACKLOG};
use crate::outlet::{Outlet, WhenFull};
use crate::stream::{End, Pump, StreamBlocks};
use azud_event::block::Peer;
use azud_event::clock::Clock;
use azud_event::id::StreamId;
use azud_plan::component::{BuildError, RunError, SourceContext, SourceTask};
use azud_plan::telemetry::SourceMeter;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A bound listener that accepts nothing yet.
pub(crate) struct TcpTask {
    id: String,
    listener: std::net::TcpListener,
    acceptor: Option<Acceptor>,
    settings: Listen,
    streams: Streams,
    when_full: WhenFull,
}

impl TcpTask {
    /// Reads the certificates and binds the port.
    ///
    /// # Errors
    /// When the system, or a file of `tls`, refuses.
    pub(crate) fn bind(
        id: &str,
        settings: &Listen,
        streams: Streams,
        when_full: WhenFull,
    ) -> Result<Self, BuildError> {
        let acceptor = settings.tls.as_ref().map(|tls| tls.acceptor()).transpose()?;
        let listener =
            listen(settings).map_err(|error| refused("TCP", settings.address, &error))?;
        let id = id.to_owned();
        Ok(TcpTask { id, listener, acceptor, settings: settings.clone(), streams, when_full })
    }

    /// Gives the address that was bound, with the port that the system chose if it was asked to.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    async fn serve(self, context: SourceContext) -> Result<(), RunError> {
        let listener = TcpListener::from_std(self.listener).map_err(|error| RunError {
            message: format!("cannot listen on TCP {}: {error}", self.settings.address),
        })?;
        let clock = context.clock.clone();
        let shared = Arc::new(Shared {
            id: self.id,
            acceptor: self.acceptor,
            settings: self.settings,
            streams: self.streams,
            outlet: Outlet::new(context, self.when_full),
            complaints: Complaints::new(&clock),
        });
        let mut shutdown = shared.outlet.shutdown();
        let mut connections = JoinSet::new();
        let mut started = 0;
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => shared.ended(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if shared.admits(peer, connections.len()) {
                            started += 1;
                            let shared = Arc::clone(&shared);
                            connections.spawn(shared.connection(stream, peer, started));
                        }
                    }
                    Err(error) => shared.not_accepted(&error).await,
                },
            }
        }
        drop(listener);
        while let Some(ended) = connections.join_next().await {
            shared.ended(ended);
        }
        Ok(())
    }
}

impl SourceTask for TcpTask {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        self.serve(context).boxed()
    }
}

fn listen(settings: &Listen) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(settings.address), Type::STREAM, None)?;
    // Without it the port of a listener that was just closed could not be bound again for a minute.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = settings.receive_buffer_bytes {
        // Connections inherit it; TCP takes its window from it, so it is set before listening.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&settings.address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What the connections of one listener share.
struct Shared {
    id: String,
    acceptor: Option<Acceptor>,
    settings: Listen,
    streams: Streams,
    outlet: Outlet,
    complaints: Complaints,
}

struct Complaints {
    accept: Complaint,
    limit: Complaint,
    origin: Complaint,
    handshake: Complaint,
    read: Complaint,
}

impl Complaints {
    fn new(clock: &Clock) -> Self {
        let complaint = || Complaint::new(clock.clone());
        Complaints {
            accept: complaint(),
            limit: complaint(),
            origin: complaint(),
            handshake: complaint(),
            read: complaint(),
        }
    }
}

impl Shared {
    fn meter(&self) -> &SourceMeter {
        &self.outlet.context.meter
    }

    /// Whether a new connection may stay. One that may not is closed at once, so that its sender
    /// can try elsewhere.
    fn admits(&self, peer: SocketAddr, open: usize) -> bool {
        if !self.settings.permit.permits(peer.ip()) {
            self.meter().error("origin");
            if let Some(held_back) = self.complaints.origin.due() {
                tracing::warn!(component = %self.id, %peer, held_back,
                    "closed a connection from outside of `permit_origin`");
            }
            return false;
        }
        let limit = self.settings.connection_limit;
        if open >= limit {
            self.meter().error("connection_limit");
            if let Some(held_back) = self.complaints.limit.due() {
                tracing::warn!(component = %self.id, %peer, limit, held_back,
                    "closed a connection above `connection_limit`");
            }
            return false;
        }
        true
    }

    /// A listener outlives what the system cannot do for it just now: file descriptors come free
    /// again.
    async fn not_accepted(&self, error: &io::Error) {
        self.meter().error("accept");
        if let Some(held_back) = self.complaints.accept.due() {
            tracing::warn!(component = %self.id, %error, held_back, "cannot accept a connection");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    fn ended(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            self.meter().error("connection_task");
            tracing::error!(component = %self.id, %error, "the task of a connection failed");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, number: u64) {
        let _open = OpenConnection::count(&self.outlet.context.meter);
        if let Some(time) = self.settings.keepalive {
            let keepalive = TcpKeepalive::new().with_time(time);
            if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
                // The connection works all the same; a dead peer is found by the idle timeout.
                tracing::debug!(component = %self.id, %peer, %error, "cannot set keepalive");
            }
        }
        match &self.acceptor {
            None => self.read(stream, peer, number).await,
            Some(acceptor) => {
                if let Some(stream) = self.handshake(acceptor, stream, peer).await {
                    self.read(stream, peer, number).await;
                }
            }
        }
    }

    async fn handshake(
        &self,
        acceptor: &Acceptor,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<impl AsyncRead + AsyncWrite + Unpin + use<>> {
        let timeout =
            self.settings.tls.as_ref().map_or(Duration::ZERO, |tls| tls.handshake_timeout);
        let mut shutdown = self.outlet.shutdown();
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return None,
            accepted = tokio::time::timeout(timeout, acceptor.accept(stream)) => accepted,
        };
        let (Refusal { kind, words }, error) = match accepted {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => (refusal_of(&error), Some(error)),
            Err(_) => (HANDSHAKE_TIMEOUT, None),
        };
        self.meter().error(kind);
        if let Some(held_back) = self.complaints.handshake.due() {
            let error = error.map(|error| error.to_string()).unwrap_or_default();
            tracing::warn!(component = %self.id, %peer, held_back, error, "{words}");
        }
        None
    }

    async fn read(&self, stream: impl AsyncRead + Unpin, peer: SocketAddr, number: u64) {
        let context = &self.outlet.context;
        let start = context.clock.now().nanoseconds();
        // A port is soon used again by another connection, and after a restart its number as well.
        let name = format!("{} tcp {peer} {number} {start}", self.id);
        let id = StreamId::named(name.as_bytes());
        let Streams { framing, frame_bytes_max } = self.streams;
        let mut blocks = StreamBlocks::new(context.source, id, framing, frame_bytes_max, 0);
        blocks.set_peer(Peer::from_address(peer));
        let idle_timeout = Some(self.settings.idle_timeout);
        let pump = Pump { blocks, outlet: self.outlet.clone(), idle_timeout };
        match pump.run(stream).await {
            End::Closed | End::Shutdown => {}
            End::Idle => tracing::debug!(component = %self.id, %peer, "closed an idle connection"),
            // Many senders of TLS go without saying so. What they sent is here, and a frame that
            // was cut short is set aside like any other.
            End::Failed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            End::Failed(error) => {
                self.meter().error("read");
                if let Some(held_back) = self.complaints.read.due() {
                    tracing::warn!(component = %self.id, %peer, %error, held_back,
                        "a connection broke");
                }
            }
        }
    }
}

/// A connection, counted as open as long as this lives.
struct OpenConnection(Arc<SourceMeter>);

impl OpenConnection {
    fn count(meter: &Arc<SourceMeter>) -> Self {
        meter.open_connections.increment(1.0);
        OpenConnection(Arc::clone(meter))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open_connections.decrement(1.0);
    }
}
