//! What the tests share: secrets that are there, and a server that answers what it is told to.

use crate::auth::Keys;
use azud_plan::component::{Secret, SecretError, SecretName, SecretUse, Secrets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Secrets in memory, by the key of their names.
#[derive(Default)]
pub(crate) struct FakeSecrets {
    pub(crate) values: Mutex<HashMap<String, String>>,
    pub(crate) refused: Mutex<Vec<String>>,
    /// What came of their uses.
    pub(crate) used: Mutex<Vec<String>>,
    /// What a secret becomes once it was refused.
    pub(crate) rotated: Mutex<HashMap<String, String>>,
}

impl FakeSecrets {
    pub(crate) fn of(values: &[(&str, &str)]) -> Arc<Self> {
        let values = values.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Arc::new(FakeSecrets { values: Mutex::new(values.collect()), ..FakeSecrets::default() })
    }
}

impl Secrets for FakeSecrets {
    fn get<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        let value = self.values.lock().unwrap().get(&name.key).cloned();
        let missing = move || SecretError::Missing(format!("there is no {name}"));
        async move { value.map(Secret::new).ok_or_else(missing) }.boxed()
    }

    fn used(&self, name: &SecretName, how: SecretUse<'_>) {
        self.used.lock().unwrap().push(format!("{} {how:?}", name.key));
    }

    fn refused(&self, name: &SecretName) {
        self.refused.lock().unwrap().push(name.key.clone());
        if let Some(rotated) = self.rotated.lock().unwrap().remove(&name.key) {
            self.values.lock().unwrap().insert(name.key.clone(), rotated);
        }
    }
}

pub(crate) fn keys(secrets: &Arc<FakeSecrets>) -> Keys {
    Keys { secrets: Arc::clone(secrets) as Arc<dyn Secrets>, tokens: None }
}

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    /// Gives a header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| {
            line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name))
        })?;
        Some(line.split_once(':')?.1.trim())
    }
}

/// A server that gives each request to a function and writes what it gives, byte for byte, and ends
/// the connection.
pub(crate) struct Server {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (noted, answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut stream = stream;
                    let Some(request) = read(&mut stream).await else { return };
                    noted.lock().unwrap().push(request.clone());
                    let _ = stream.write_all(&answer(&request)).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Server { url, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn at(&self, path: &str) -> Url {
        self.url.join(path).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Writes a whole answer.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    [out.as_bytes(), body].concat()
}

pub(crate) fn json(body: &str) -> Vec<u8> {
    answer("200 OK", &[("content-type", "application/json")], body.as_bytes())
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
            let mut words = head.lines().next()?.split(' ').map(str::to_owned);
            let (method, path) = (words.next()?, words.next()?);
            let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
            return Some(Seen { method, path, head, body });
        }
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    }
}
