//! Programs in Python that tests talk to: a server with Vault's API, driven by its users' own
//! client (hvac), AWS as moto plays it, Okta's system log, a server that takes `_bulk`, one of
//! OAuth 2. `tests/run` installs what they need below `target/tools`.

use super::metrics;
use super::program::{self, Program};
use super::tools::succeed;
use serde_json::Value;
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

    /// Starts one that can look at who asks, with the web identity that stands in a file.
    pub fn start_strict(web_identity: &Path) -> Self {
        let address = program::free_address();
        let mut command = python();
        command.arg(here("python/aws.py")).args(["-p", &address.port().to_string()]);
        command.env("WEB_IDENTITY", web_identity);
        Aws { address, _program: Program::start(command, "Running on") }
    }

    /// Forgets everything, sets things up by a line of Python as [`Aws::boto3`] does, and looks at
    /// who asks from then on.
    #[track_caller]
    pub fn begin(&self, line: &str) {
        let address = self.address;
        let post = format!("requests.post('http://{address}/moto-api");
        self.boto3(&format!(
            "import requests\n\
             {post}/reset-auth', data='inf').raise_for_status()\n\
             {post}/reset').raise_for_status()\n\
             {line}\n\
             {post}/reset-auth', data='0').raise_for_status()"
        ));
    }

    /// Runs a line of Python with `client`, boto3's client of Secrets Manager, and `iam`.
    #[track_caller]
    pub fn boto3(&self, line: &str) {
        let head = format!(
            "import boto3\nabout = dict(region_name='eu-west-1', endpoint_url='http://{}', \
             aws_access_key_id='x', aws_secret_access_key='y')\n\
             client, iam = boto3.client('secretsmanager', **about), boto3.client('iam', **about)\n",
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

/// A server of OAuth 2 by Authlib, with an API of numbered records that wants its tokens.
pub struct OAuth {
    /// Where it is.
    pub address: SocketAddr,
    _program: Program,
}

impl OAuth {
    /// Starts it; clients that sign have this key, in PEM.
    pub fn start(public_key: &str) -> Self {
        let address = program::free_address();
        let mut command = python();
        command.arg(here("python/oauth.py")).arg(address.port().to_string());
        command.env("PUBLIC_KEY", public_key);
        OAuth { address, _program: Program::start(command, "Running on") }
    }

    /// Sets something (`life=2&open=100`); gives what it has counted.
    #[track_caller]
    pub fn set(&self, query: &str) -> Value {
        let answer = metrics::get(self.address, &format!("/stub?{query}")).unwrap();
        serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body))
    }

    /// Tells how often something was: `given`, `refused`, `shown again`; see its counts.
    #[track_caller]
    pub fn count(&self, what: &str) -> u64 {
        self.set("")[what].as_u64().unwrap_or(0)
    }
}
