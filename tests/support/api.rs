//! Calling `/api/v1` as a program would, and commands that read standard input.

use super::files::Folder;
use super::program;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Called {
    /// The status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body; `null` when there is none.
    pub body: Value,
}

impl Called {
    /// Gives a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Who calls an instance, and where it is.
#[derive(Clone)]
pub struct Client {
    /// Where it listens.
    pub address: SocketAddr,
    /// The token; none says nothing.
    pub token: Option<String>,
}

impl Client {
    /// Calls without a body.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str) -> Called {
        self.send(method, path, &[], None)
    }

    /// Calls with a body in JSON.
    #[track_caller]
    pub fn call_with(&self, method: &str, path: &str, body: &Value) -> Called {
        self.send(method, path, &[], Some(body.to_string()))
    }

    /// Calls with further headers.
    #[track_caller]
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Called {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} /api/v1{path} HTTP/1.0\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &body {
            head.push_str("Content-Type: application/json\r\n");
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let text = format!("{head}\r\n{}", body.unwrap_or_default());
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")),
        };
        Called { status, head: head.to_owned(), body }
    }
}

/// Runs a command on the data of an instance's folder with something on its standard input; gives
/// its exit code and what it said on both outputs.
pub fn ask_with(folder: &Folder, arguments: &[&str], input: &str) -> (i32, String, String) {
    tell(folder, &[arguments, &["--data-dir", "data"]].concat(), input)
}

/// As [`ask_with`], on the instance of the document in the folder.
pub fn tell(folder: &Folder, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = program::azud(folder.path(), arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses before it reads closes its input.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}
