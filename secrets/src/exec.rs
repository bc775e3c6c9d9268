//! `exec`: a program that is asked, in Vector's protocol.
//!
//! It is given a JSON object on standard input, `{"version": "1.0", "secrets": ["key"]}`, and
//! answers with `{"key": {"value": "…", "error": null}}`. Version 1.1 adds `type` and `config` to
//! the question. What it says on standard error is let go: nobody knows whether it is a secret.
//!
//! Source: vector, `src/secrets/exec.rs`; Datadog Agent, *Secrets management*, "executable API".

use crate::limits::ANSWER_BYTES_MAX;
use crate::tell::{line, missing, unavailable};
use crate::wiped::{Wiped, secret};
use azud_plan::component::{Secret, SecretBackend, SecretError};
use azud_plan::resolve::ExecProtocol;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// A program.
pub(crate) struct Exec {
    name: String,
    command: Vec<String>,
    timeout: Duration,
    protocol: ExecProtocol,
}

impl Exec {
    /// Makes the backend of this name.
    pub fn new(
        name: String,
        command: Vec<String>,
        timeout: Duration,
        protocol: ExecProtocol,
    ) -> Self {
        Exec { name, command, timeout, protocol }
    }

    fn question(&self, key: &str) -> Value {
        match &self.protocol {
            ExecProtocol::V1 => json!({ "version": "1.0", "secrets": [key] }),
            ExecProtocol::V1_1 { backend_type, backend_config } => json!({
                "version": "1.1",
                "secrets": [key],
                "type": backend_type,
                "config": backend_config,
            }),
        }
    }

    async fn find(&self, key: &str) -> Result<Secret, SecretError> {
        let down = |why: String| unavailable(&self.name, why);
        let mut group = Group::start(&self.command)
            .map_err(|error| down(format!("{} cannot be run: {error}", self.program())))?;
        let question = self.question(key).to_string();
        let answer = timeout(self.timeout, group.ask(question.as_bytes())).await;
        let answer = answer
            .map_err(|_| down(format!("{} took more than {:?}", self.program(), self.timeout)))?
            .map_err(|error| down(format!("{}: {error}", self.program())))?;
        let answer = Wiped::parse(&answer)
            .map_err(|why| down(format!("the answer of {} is {why}", self.program())))?;
        let Some(found) = answer.get(key) else {
            return Err(missing(&self.name, key, "the answer does not name it"));
        };
        if let Some(error) = found.get("error").and_then(Value::as_str)
            && !error.is_empty()
        {
            return Err(missing(&self.name, key, line(error)));
        }
        secret(found.get("value")).map_err(|why| missing(&self.name, key, why))
    }

    fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }
}

impl SecretBackend for Exec {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        self.find(key).boxed()
    }
}

/// A running program, and what it started itself; all of it ends when this goes.
struct Group(Child);

impl Group {
    fn start(command: &[String]) -> io::Result<Self> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("there is no program"))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Group(child))
    }

    /// Writes the question, and reads the answer up to its end.
    async fn ask(&mut self, question: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        let (input, output) = (self.0.stdin.take(), self.0.stdout.take());
        let write = async {
            if let Some(mut input) = input {
                // A program that answers without having read the question is none of our faults.
                let _ = input.write_all(question).await;
            }
        };
        let read = async {
            let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX.min(16 * 1024)));
            if let Some(output) = output {
                output.take(ANSWER_BYTES_MAX as u64 + 1).read_to_end(&mut answer).await?;
            }
            io::Result::Ok(answer)
        };
        let ((), answer) = tokio::join!(write, read);
        let answer = answer?;
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("the answer is above {ANSWER_BYTES_MAX} bytes")));
        }
        let status = self.0.wait().await?;
        match status.success() {
            true => Ok(answer),
            false => Err(io::Error::other(format!("it ended with {status}"))),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once it was waited for its number may be somebody else's.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, protocol: ExecProtocol) -> Exec {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        Exec::new("exec".to_owned(), command, Duration::from_secs(60), protocol)
    }

    #[tokio::test]
    async fn a_program_is_asked_and_answers() {
        // It answers with its own question, so that it shows.
        let echo = r#"q=$(cat | sed 's/"/\\"/g'); printf '{"a": {"value": "%s"}}' "$q""#;
        let asked = shell(echo, ExecProtocol::V1).read("a").await.unwrap();
        assert_eq!(asked.reveal(), r#"{"secrets":["a"],"version":"1.0"}"#);
        let protocol = ExecProtocol::V1_1 {
            backend_type: "file.json".to_owned(),
            backend_config: json!({ "file_path": "/x" }),
        };
        let asked = shell(echo, protocol).read("a").await.unwrap();
        let asked: Value = serde_json::from_str(asked.reveal()).unwrap();
        let expected = json!({ "secrets": ["a"], "version": "1.1", "type": "file.json",
            "config": { "file_path": "/x" } });
        assert_eq!(asked, expected);
    }

    #[tokio::test]
    async fn what_it_refuses_is_missing_and_what_breaks_is_unavailable() {
        let told =
            async |script: &str| shell(script, ExecProtocol::V1).read("a").await.unwrap_err();
        let refused = told(r#"echo '{"a": {"value": null, "error": "no such key"}}'"#).await;
        let text = "secret backend `exec` has no `a` (no such key)";
        assert_eq!(refused, SecretError::Missing(text.to_owned()));
        let other = told(r#"echo '{"b": {"value": "hidden"}}'"#).await;
        assert!(matches!(other, SecretError::Missing(_)), "{other}");
        for broken in ["exit 3", "echo hidden", "echo hidden >&2; exit 1", "kill -9 $$"] {
            let error = told(broken).await;
            assert!(matches!(error, SecretError::Unavailable(_)), "{broken}: {error}");
            assert!(!error.to_string().contains("hidden"), "{broken}: {error}");
        }
        let flood = told("yes hidden").await;
        assert!(flood.to_string().contains("above 1048576 bytes"), "{flood}");
        let command = vec!["/nowhere/program".to_owned()];
        let none = Exec::new("x".into(), command, Duration::from_secs(1), ExecProtocol::V1);
        assert!(matches!(none.read("a").await, Err(SecretError::Unavailable(_))));
    }

    #[tokio::test]
    async fn who_takes_too_long_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("alive");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // A grandchild holds the pipe open for as long as it lives.
        let script = format!("(exec 3>{0}; sleep 600) & sleep 600", fifo.display());
        let mut backend = shell(&script, ExecProtocol::V1);
        backend.timeout = Duration::from_millis(300);
        let reading = tokio::task::spawn_blocking(move || std::fs::read(fifo));
        let error = backend.read("a").await.unwrap_err();
        assert!(error.to_string().contains("took more than 300ms"), "{error}");
        assert_eq!(reading.await.unwrap().unwrap(), b"", "the pipe has no writer any more");
    }
}
