//! A server that takes what an `http` sink sends, and remembers it.

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

/// An address at which nobody answers, until it listens. It is held all the time, so that nobody
/// else answers there either.
pub struct Receiver {
    address: SocketAddr,
    socket: OwnedFd,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// Takes an address.
    pub fn silent() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        bind(socket.as_raw_fd(), &any).unwrap();
        let bound: SockaddrIn = getsockname(socket.as_raw_fd()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port()));
        Receiver { address, socket, lines: Arc::default() }
    }

    /// Gives its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on, on threads that live as long as the tests do.
    pub fn listen(&self) {
        listen(&self.socket, Backlog::new(16).unwrap()).unwrap();
        let listener = TcpListener::from(self.socket.try_clone().unwrap());
        let taken = Arc::clone(&self.lines);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let lines = Arc::clone(&taken);
                std::thread::spawn(move || serve(connection.unwrap(), &lines));
            }
        });
    }

    /// Gives the lines of all bodies so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// Answers the requests of a connection, until it ends.
fn serve(connection: TcpStream, lines: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(connection);
    while let Some(body) = request(&mut reader) {
        lines.lock().unwrap().extend(body.lines().map(str::to_owned));
        if reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// Reads a request; gives its body, `None` when there is none any more.
fn request(reader: &mut impl BufRead) -> Option<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        if line.is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            return Some(String::from_utf8(body).unwrap());
        }
    }
}
