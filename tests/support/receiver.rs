//! A server that takes what an `http` sink sends, and remembers it.

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Takes it: 200.
    Taken,
    /// Fails: 500.
    Failed,
    /// Wants to be left alone for so many seconds: 429.
    Later(u64),
    /// Does not know who sends: 401.
    Denied,
    /// Reads it, and says nothing, for as long as the other side waits.
    Nothing,
}

/// A request that came.
#[derive(Clone)]
pub struct Request {
    /// What became of it.
    pub answer: Answer,
    /// When it was there.
    pub at: Instant,
    /// Who it says sends it.
    pub authorization: Option<String>,
    /// The lines of its body.
    pub lines: Vec<String>,
}

/// An address at which nobody answers, until it listens. It is held all the time, so that nobody
/// else answers there either.
pub struct Receiver {
    address: SocketAddr,
    socket: OwnedFd,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    answer: Answer,
    /// The only `Authorization` that is taken, if there is one.
    wanted: Option<String>,
    requests: Vec<Request>,
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
        let shared = Shared { answer: Answer::Taken, wanted: None, requests: Vec::new() };
        Receiver { address, socket, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Gives its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does so with every request from now on; it takes them until it is told otherwise.
    pub fn answer(&self, answer: Answer) {
        self.shared.lock().unwrap().answer = answer;
    }

    /// Takes only requests with this `Authorization` from now on.
    pub fn want(&self, authorization: &str) {
        self.shared.lock().unwrap().wanted = Some(authorization.to_owned());
    }

    /// Answers from now on, on threads that live as long as the tests do.
    pub fn listen(&self) {
        listen(&self.socket, Backlog::new(16).unwrap()).unwrap();
        let listener = TcpListener::from(self.socket.try_clone().unwrap());
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(connection.unwrap(), &shared));
            }
        });
    }

    /// Gives the requests from the one of this number on.
    pub fn requests(&self, from: usize) -> Vec<Request> {
        self.shared.lock().unwrap().requests[from..].to_vec()
    }

    /// Gives the lines of all requests that it took.
    pub fn lines(&self) -> Vec<String> {
        let requests = self.requests(0).into_iter();
        let taken = requests.filter(|request| request.answer == Answer::Taken);
        taken.flat_map(|request| request.lines).collect()
    }
}

/// Answers the requests of a connection, until it ends.
fn serve(connection: TcpStream, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(connection);
    while let Some((authorization, body)) = request(&mut reader) {
        let answer = {
            let mut shared = shared.lock().unwrap();
            let lines = body.lines().map(str::to_owned).collect();
            let is_known = shared.wanted.is_none() || shared.wanted == authorization;
            let answer = if is_known { shared.answer } else { Answer::Denied };
            let request = Request { answer, at: Instant::now(), authorization, lines };
            shared.requests.push(request);
            answer
        };
        let head = match answer {
            Answer::Taken => "200 OK".to_owned(),
            Answer::Failed => "500 Internal Server Error".to_owned(),
            Answer::Later(seconds) => format!("429 Too Many Requests\r\nRetry-After: {seconds}"),
            Answer::Denied => "401 Unauthorized".to_owned(),
            Answer::Nothing => {
                // Until the other side hangs up.
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads a request; gives who it says sends it, and its body. `None` when there is none any more.
fn request(reader: &mut impl BufRead) -> Option<(Option<String>, String)> {
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let value = line.split_once(": ").map(|(_, value)| value.trim_end().to_owned());
        let line = line.trim_end().to_ascii_lowercase();
        if line.starts_with("authorization:") {
            authorization = value;
        }
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        if line.is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            return Some((authorization, String::from_utf8(body).unwrap()));
        }
    }
}
