//! An API of numbered records, given by offset; how far it may be read is up to the test.

use super::recorded::{Seen, read};
use super::wait;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many records a page has.
pub const PAGE: usize = 1_000;

/// A server on the loopback. Its records have `number` (from one on), `page` and `timestamp`.
pub struct Paged {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    records: usize,
    /// How many records may be read so far; who asks for more waits.
    open: AtomicUsize,
    /// How many of them were answered.
    answered: AtomicUsize,
    /// The requests, as (after, offset).
    asked: Mutex<Vec<(usize, usize)>>,
}

impl Paged {
    /// Serves so many records, on threads that live as long as the tests do.
    pub fn start(records: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (open, answered, asked) = Default::default();
        let shared = Arc::new(Shared { records, open, answered, asked });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(connection.unwrap(), &shared));
            }
        });
        Paged { address, shared }
    }

    /// Gives its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the first so many records be read.
    pub fn open(&self, records: usize) {
        self.shared.open.store(records, SeqCst);
    }

    /// Gives how many records were answered, each counted once.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(SeqCst)
    }

    /// Gives the requests so far: behind which number they begin, and the offset from there.
    pub fn asked(&self) -> Vec<(usize, usize)> {
        self.shared.asked.lock().unwrap().clone()
    }
}

/// Answers the requests of a connection, until it ends.
fn serve(connection: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(connection);
    while let Some(seen) = read(&mut reader) {
        let (after, offset) = (number(&seen, "after"), number(&seen, "offset"));
        shared.asked.lock().unwrap().push((after, offset));
        let first = after + offset;
        let end = (first + PAGE).min(shared.records);
        wait::until("the page to be opened", Duration::from_secs(600), || {
            (end <= shared.open.load(SeqCst)).then_some(())
        });
        let records: Vec<String> = (first + 1..=end).map(record).collect();
        let body = format!("[{}]", records.join(","));
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // Who asked may have been killed.
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
        shared.answered.fetch_max(end, SeqCst);
    }
}

fn number(seen: &Seen, name: &str) -> usize {
    seen.query[name].parse().unwrap()
}

fn record(number: usize) -> String {
    let (page, second) = ((number - 1) / PAGE, number / PAGE);
    let (minute, second) = (second / 60, second % 60);
    format!(
        r#"{{"number":{number},"page":{page},"timestamp":"2026-03-01T10:{minute:02}:{second:02}Z"}}"#
    )
}
