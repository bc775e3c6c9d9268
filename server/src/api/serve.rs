//! How the API is reached: at its address, with TLS or without, and by a socket in the data folder.
//! Each connection is bounded in time, and so is their number.

use super::local::LocalSocket;
use super::{Api, routes};
use axum::Router;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use azud_plan::component::BuildError;
use azud_plan::resolve::ApiTls;
use azud_sources::tls::{Acceptor, HANDSHAKE_TIMEOUT, Refusal, TlsSettings, refusal_of};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service;

/// How many connections are open at a time. Further ones wait in the backlog of the system.
const CONNECTIONS_MAX: usize = 512;

/// How long a handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request may take, its body and its work: to try a connector takes up to two minutes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(150);

/// How long a connection may be open: one that never reads its answers ends, too.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How long to wait when the system gives no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on the network, or on this machine.
    Network(IpAddr),
    /// Who runs the instance, or may do anything here: by the socket in the data folder.
    Local,
}

/// Where the API listens on the network.
pub struct Listener {
    listener: TcpListener,
    acceptor: Option<Acceptor>,
}

impl Listener {
    /// Reads the certificate, where there is one, and opens the port.
    ///
    /// # Errors
    /// A sentence that names what is refused, and the remedy.
    pub async fn bind(address: SocketAddr, tls: Option<&ApiTls>) -> Result<Self, String> {
        let acceptor = tls.map(acceptor).transpose().map_err(|error| {
            let help = error.help.map(|help| format!("; {help}")).unwrap_or_default();
            format!("{}{help}", error.message)
        })?;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!(
                "the API cannot listen on {address}: {error}; choose another with `api.address`, \
                 or switch it off with `api.enabled = false`"
            )
        })?;
        Ok(Listener { listener, acceptor })
    }
}

/// Reads the certificate and the key of the API.
///
/// # Errors
/// A file cannot be read, or they do not belong together.
pub fn acceptor(tls: &ApiTls) -> Result<Acceptor, BuildError> {
    let settings = TlsSettings {
        crt_file: tls.crt_file.clone(),
        key_file: tls.key_file.clone(),
        clients_of: None,
        handshake_timeout: HANDSHAKE_PATIENCE,
    };
    let named = |error: BuildError| BuildError {
        message: format!("`api.tls`: {}", error.message),
        help: error.help,
    };
    settings.acceptor().map_err(named)
}

/// Serves until the process ends.
pub async fn serve(network: Option<Listener>, local: Option<LocalSocket>, api: Api) {
    let routes = routes(api);
    let over_network = async {
        if let Some(listener) = network {
            serve_network(listener, &routes).await;
        }
    };
    let here = async {
        if let Some(socket) = local {
            serve_local(socket, &routes).await;
        }
    };
    futures_util::future::join(over_network, here).await;
}

async fn serve_network(Listener { listener, acceptor }: Listener, routes: &Router) {
    let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let acceptor = acceptor.map(Arc::new);
    loop {
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the API cannot take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, routes) = (acceptor.clone(), routes.clone());
        tokio::spawn(async move {
            let peer = Peer::Network(address.ip().to_canonical());
            match acceptor {
                None => converse(stream, peer, routes).await,
                Some(acceptor) => {
                    if let Some(stream) = handshake(&acceptor, stream, address).await {
                        converse(stream, peer, routes).await;
                    }
                }
            }
            drop(permit);
        });
    }
}

async fn handshake(
    acceptor: &Acceptor,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
    let accepted = tokio::time::timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await;
    let Refusal { kind, words } = match accepted {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => refusal_of(&error),
        Err(_) => HANDSHAKE_TIMEOUT,
    };
    tracing::debug!(%peer, kind, "the API: {words}");
    None
}

async fn serve_local(socket: LocalSocket, routes: &Router) {
    loop {
        match socket.accept().await {
            Ok(Some(stream)) => {
                tokio::spawn(converse(stream, Peer::Local, routes.clone()));
            }
            // Somebody else's, who was told.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the socket of commands cannot take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of a connection.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    routes: Router,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let mut routes = routes.clone();
        let answer = async move { routes.call(request).await };
        tokio::time::timeout(REQUEST_TIMEOUT, answer).map(|answered| match answered {
            Ok(answer) => answer,
            Err(_) => Ok::<Response<_>, Infallible>(StatusCode::REQUEST_TIMEOUT.into_response()),
        })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // What went wrong is the other side's: it hung up, or sent something else than HTTP.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
}
