//! The API off the machine: by TLS and with a token, as Prometheus does it; and the socket by which
//! commands ask, which needs neither.

use crate::support::files::Folder;
use crate::support::metrics;
use crate::support::program::{self, Program, READY, free_address};
use crate::support::tls::write_certificates;
use crate::support::tools::succeed;
use crate::support::wait::{self, PATIENCE};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// An instance whose API listens on every address of the machine.
struct Open {
    folder: Folder,
    address: SocketAddr,
    _program: Program,
}

impl Open {
    fn start(tls: &str) -> Self {
        let folder = Folder::new();
        write_certificates(&folder);
        let (address, source) = (free_address(), free_address());
        let port = address.port();
        let document = format!(
            r#"
data_dir = "data"
api = {{ address = "0.0.0.0:{port}", tls = {{ {tls} }} }}
[sources.in]
type = "syslog"
mode = "udp"
address = "{source}"
[sinks.out]
type = "file"
inputs = ["in"]
path = "out.jsonl"
encoding.codec = "json"
"#
        );
        folder.write("azud.toml", document);
        let program = Program::start(program::azud(folder.path(), &["run", "azud.toml"]), READY);
        Open { folder, address, _program: program }
    }

    fn token(&self) -> String {
        let create = ["tokens", "create", "prometheus", "--role", "viewer", "--out", "token"];
        let (code, _, errors) = program::ask(&self.folder, &create);
        assert_eq!(code, 0, "{errors}");
        self.folder.lines("token").remove(0)
    }

    /// Asks by TLS, with `openssl`; gives what it answers, or why there is no connection.
    fn ask(&self, path: &str, token: Option<&str>, authority: &str) -> Result<String, String> {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1"]);
        command.arg("-CAfile").arg(self.folder.join(authority));
        command.args(["-connect", &format!("127.0.0.1:{}", self.address.port())]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut openssl = command.spawn().unwrap();
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!("GET {path} HTTP/1.0\r\nHost: azud.example\r\n");
        let request = head + &authorization.unwrap_or_default() + "\r\n";
        // Where the handshake failed it has gone already.
        let _ = openssl.stdin.take().unwrap().write_all(request.as_bytes());
        let ended = openssl.wait_with_output().unwrap();
        match ended.status.success() {
            true => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&ended.stderr).into_owned()),
        }
    }
}

const TLS: &str = r#"crt_file = "server.crt", key_file = "server.key""#;

#[test]
fn prometheus_scrapes_by_tls_with_a_token() {
    let open = Open::start(TLS);
    let token = open.token();
    let address = free_address();
    let job = |name: &str, more: &str| {
        format!(
            "- job_name: {name}\n  scrape_interval: 1s\n  scheme: https\n  tls_config: \
             {{ ca_file: ca.crt }}\n{more}  static_configs: [{{ targets: ['127.0.0.1:{}'] }}]\n",
            open.address.port()
        )
    };
    let known = format!("  authorization: {{ credentials: {token} }}\n");
    let jobs = job("known", &known) + &job("stranger", "");
    let file = open.folder.write("prometheus.yml", format!("scrape_configs:\n{jobs}"));
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", file.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", open.folder.join("tsdb").display()));
    prometheus.arg(format!("--web.listen-address={address}"));
    let _prometheus = Program::start(prometheus, "Server is ready");
    wait::until("one target to be up and the other to be refused", PATIENCE, || {
        let answer = metrics::get(address, "/api/v1/targets").ok()?;
        let answer: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
        let targets = answer["data"]["activeTargets"].as_array()?;
        let of = |job: &str| targets.iter().find(|target| target["labels"]["job"] == job);
        let (known, stranger) = (of("known")?, of("stranger")?);
        let told = stranger["lastError"].as_str()?;
        (known["health"] == "up" && stranger["health"] == "down" && told.contains("401"))
            .then_some(())
    });
}

#[test]
fn off_the_machine_nobody_looks_without_a_token() {
    let open = Open::start(TLS);
    let token = open.token();
    let ask = |path: &str, token: Option<&str>| open.ask(path, token, "ca.crt").unwrap();
    assert!(ask("/health", None).contains(" 200 "));
    let ready = ask("/ready", None);
    assert!(ready.ends_with(r#"{"ready":true}"#), "{ready}");
    for path in ["/metrics", "/api/v1/connectors"] {
        assert!(ask(path, None).contains(" 401 "), "{path}");
        assert!(ask(path, Some("azud_wrong")).contains(" 401 "), "{path}");
        assert!(ask(path, Some(&token)).contains(" 200 "), "{path}");
    }
    let plain = metrics::get(SocketAddr::from(([127, 0, 0, 1], open.address.port())), "/health");
    assert!(plain.is_err(), "without TLS nothing is answered");
}

#[test]
fn a_certificate_that_is_renewed_is_shown_from_then_on() {
    let open = Open::start(TLS);
    let (other, read) =
        (Folder::new(), |folder: &Folder, name: &str| std::fs::read(folder.join(name)).unwrap());
    write_certificates(&other);
    open.folder.write("other.crt", read(&other, "ca.crt"));
    assert!(open.ask("/health", None, "other.crt").is_err());
    // Between the two files they do not belong together: what was there before serves.
    open.folder.write("server.crt", read(&other, "server.crt"));
    assert!(open.ask("/health", None, "ca.crt").is_ok());
    open.folder.write("server.key", read(&other, "server.key"));
    assert!(open.ask("/health", None, "other.crt").unwrap().contains(" 200 "));
    assert!(open.ask("/health", None, "ca.crt").is_err());
}

#[test]
fn commands_ask_by_the_folder_wherever_the_api_is() {
    let open = Open::start("enabled = false");
    let (code, output, errors) = program::ask(&open.folder, &["health"]);
    assert_eq!((code, output.contains("alive")), (0, true), "{errors}");
    // It is a listener, so the instance refuses: but it was asked.
    let (_, _, errors) = program::ask(&open.folder, &["connectors", "poll", "in"]);
    assert!(errors.contains("in"), "{errors}");
    assert!(!errors.contains("must run"), "{errors}");
    let empty = Folder::new();
    let (code, _, errors) = program::ask(&empty, &["health"]);
    assert_eq!(code, 3);
    assert!(errors.contains("no instance runs with the data folder data"), "{errors}");
}

/// Who is neither the owner nor root gets no answer, although the folder lets them in.
#[test]
fn another_user_may_not_ask_by_the_folder() {
    let open = Open::start("enabled = false");
    if !nix::unistd::Uid::effective().is_root() {
        // Only root can be somebody else; the file's permissions say the same for all others.
        let socket = open.folder.join("data/azud.sock");
        let mode = succeed(Command::new("stat").args(["-c", "%a"]).arg(socket));
        assert_eq!(String::from_utf8_lossy(&mode.stdout).trim(), "600");
        return;
    }
    let socket = open.folder.join("data/azud.sock");
    succeed(Command::new("chmod").arg("777").arg(&socket));
    succeed(Command::new("chmod").arg("755").arg(open.folder.path()).arg(open.folder.join("data")));
    let mut socat = Command::new("setpriv");
    socat.args(["--reuid=65534", "--regid=65534", "--clear-groups", "socat", "-"]);
    socat.arg(format!("UNIX-CONNECT:{}", socket.display()));
    socat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut socat = socat.spawn().unwrap();
    let request = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let _ = socat.stdin.take().unwrap().write_all(request);
    let ended = socat.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "");
}
