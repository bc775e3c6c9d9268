//! Programs in Python that tests talk to: a server with Vault's API, driven by its users' own
//! client (hvac), AWS as moto plays it, Okta's system log, and a server that takes `_bulk`.
//! `tests/run` installs what they need below `target/tools`.

use super::metrics;
use super::program::{self, Program};
use super::tools::succeed;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The secret id that the role `azud` proves itself with.
pub const SECRET_ID: &str = "7d1fe0aa-planted-secret-id";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Gives the interpreter that `tests/run` set up.
fn python() -> Command {
    Command::new(here("../target/tools/servers/bin/python"))
}

/// A server with the API of Vault.
pub struct Vault {
    /// Where it is.
    pub address: SocketAddr,
    program: Option<Program>,
}

impl Vault {
    /// Starts one whose tokens last so many seconds.
    pub fn start(token_seconds: u64) -> Self {
        let mut vault = Vault { address: program::free_address(), program: None };
        vault.resume(token_seconds);
        vault
    }

    /// Starts it again, at the same address and with nothing in it.
    pub fn resume(&mut self, token_seconds: u64) {
        let mut command = python();
        command.arg(here("python/vault.py")).arg(self.address.port().to_string());
        command.env("SECRET_ID", SECRET_ID).env("TOKEN_TTL", token_seconds.to_string());
        self.program = Some(Program::start(command, "ready"));
    }

    /// Ends it.
    pub fn kill(&mut self) {
        self.program.take().expect("it runs").kill();
    }

    /// Runs a line of Python with `client`, hvac's client with the root token.
    #[track_caller]
    pub fn hvac(&self, line: &str) -> String {
        let head = format!(
            "import hvac\nclient = hvac.Client(url='http://{}', token='root')\n",
            self.address
        );
        let output = succeed(python().arg("-c").arg(head + line));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Puts a secret.
    #[track_caller]
    pub fn put(&self, path: &str, field: &str, value: &str) {
        self.hvac(&format!(
            "client.secrets.kv.v2.create_or_update_secret('{path}', {{'{field}': '{value}'}}, \
             mount_point='kv')"
        ));
    }

    /// Tells how often it was asked for so: `login`, `renew`, `read`.
    #[track_caller]
    pub fn count(&self, what: &str) -> u64 {
        let line = format!("print(client.adapter.get('/v1/stub/counts')['data'].get('{what}', 0))");
        self.hvac(&line).parse().unwrap()
    }
}

/// AWS, as moto plays it.
pub struct Aws {
    /// Where it is.
    pub address: SocketAddr,
    _program: Program,
}

impl Aws {
    /// Starts it.
    pub fn start() -> Self {
        let address = program::free_address();
        let mut command = python();
        command.args(["-m", "moto.server", "-p", &address.port().to_string()]);
        Aws { address, _program: Program::start(command, "Running on") }
    }

    /// Runs a line of Python with `client`, boto3's client of Secrets Manager.
    #[track_caller]
    pub fn boto3(&self, line: &str) {
        let head = format!(
            "import boto3\nclient = boto3.client('secretsmanager', region_name='eu-west-1', \
             endpoint_url='http://{}', aws_access_key_id='x', aws_secret_access_key='y')\n",
            self.address
        );
        succeed(python().arg("-c").arg(head + line));
    }
}

/// A server with the API of Okta's system log.
pub struct Okta {
    /// Where it is.
    pub address: SocketAddr,
    _program: Program,
}

impl Okta {
    /// Starts it; nothing has happened there yet.
    pub fn start() -> Self {
        let address = program::free_address();
        let mut command = python();
        command.arg(here("python/okta.py")).arg(address.port().to_string());
        Okta { address, _program: Program::start(command, "ready") }
    }

    /// Tells it something, or asks what it saw.
    #[track_caller]
    pub fn ask(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&metrics::get(self.address, path).unwrap().body).unwrap()
    }
}

/// A server that takes `_bulk`.
pub struct Elasticsearch {
    /// Where it is.
    pub address: SocketAddr,
    _program: Program,
}

impl Elasticsearch {
    /// Starts it, for anybody.
    pub fn start() -> Self {
        Self::start_for("")
    }

    /// Starts one that looks at the header `Authorization`.
    pub fn start_for(authorization: &str) -> Self {
        let address = program::free_address();
        let mut command = python();
        command.arg(here("python/elasticsearch.py")).arg(address.port().to_string());
        command.arg(authorization);
        Elasticsearch { address, _program: Program::start(command, "ready") }
    }
}
