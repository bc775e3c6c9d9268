//! A server that takes what an `http` sink sends, and remembers it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server on a thread of its own, which lives as long as the tests do.
pub struct Receiver(Arc<Mutex<Vec<String>>>);

impl Receiver {
    /// Listens on an address.
    pub fn listen(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let lines = Arc::default();
        let taken = Arc::clone(&lines);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let lines = Arc::clone(&taken);
                std::thread::spawn(move || serve(connection.unwrap(), &lines));
            }
        });
        Receiver(lines)
    }

    /// Gives the lines of all bodies so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
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
