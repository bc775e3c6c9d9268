//! A server that answers byte for byte what it is told to.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    head: String,
    pub(super) body: String,
}

impl Seen {
    /// Gives a header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| {
            line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name))
        })?;
        Some(line.split_once(':')?.1.trim())
    }
}

/// The server. After each answer it ends the connection, but for one with the header `x-hang`; one
/// with `x-slow` comes in two parts.
pub(super) struct Server {
    pub(super) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (noted, answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut stream = stream;
                    let Some(request) = read(&mut stream).await else { return };
                    noted.lock().unwrap().push(request.clone());
                    let bytes = answer(&request);
                    // In two parts, with a pause of the other tasks' lengths between them.
                    let slow = bytes.windows(6).any(|six| six == b"x-slow");
                    let (first, rest) = bytes.split_at(if slow { bytes.len() / 2 } else { 0 });
                    let _ = stream.write_all(first).await;
                    for _ in 0..if slow { 50 } else { 0 } {
                        tokio::task::yield_now().await;
                    }
                    let _ = stream.write_all(rest).await;
                    let hangs = bytes.windows(6).any(|six| six == b"x-hang");
                    // Until the other side gives up.
                    while hangs && stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                    let _ = stream.shutdown().await;
                });
            }
        });
        Server { origin, seen, task }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Writes an answer of just these headers.
pub(super) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    [out.as_bytes(), body].concat()
}

/// Writes a whole answer.
pub(super) fn with(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", length.as_str())]].concat();
    answer(status, &headers, body.as_bytes())
}

pub(super) fn json(body: &str) -> Vec<u8> {
    with("200 OK", &[("content-type", "application/json")], body)
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
            });
            while bytes.len() < end + 4 + length.unwrap_or(0) {
                let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
                bytes.extend_from_slice(&chunk[..read]);
            }
            let path = head.lines().next()?.split(' ').nth(1)?.to_owned();
            let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
            return Some(Seen { path, head, body });
        }
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    }
}
