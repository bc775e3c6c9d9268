//! What a connector asks and is answered: shown, recorded without secrets, and played again where
//! nobody answers.

use crate::support::api::Client;
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program;
use crate::support::wait::{self, PATIENCE};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Planted in the request and, as a careless API does, in the answer.
const SECRET: &str = "planted-4b7e19aa02";

/// Serves a page of three records to each request, and counts requests.
fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            count.fetch_add(1, Ordering::SeqCst);
            let body = format!(r#"[{{"id":1}},{{"id":2}},{{"id":3,"echo":"{SECRET}"}}]"#);
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            // The program may have ended meanwhile.
            let _ = write!(connection, "{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    (address, asked)
}

fn document(server: SocketAddr) -> String {
    format!(
        r#"
[sources.api]
type = "http_client"
endpoint = "http://{server}/events"
scrape_interval_secs = 3600
decoding.codec = "json"
auth = {{ strategy = "bearer", token = "SECRET[env.TOKEN]" }}
[sinks.out]
type = "file"
inputs = ["api"]
path = "@OUT@/out.jsonl"
encoding = {{ codec = "json", only_fields = ["id"] }}
[secret]
env = {{ type = "env", allow = ["TOKEN"] }}
"#
    )
}

/// Runs a command where the instance has its documents.
fn ask(folder: &Folder, arguments: &[&str]) -> (i32, String, String) {
    let ended = program::run(folder.path(), arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

#[test]
fn what_was_recorded_answers_again_and_holds_no_secret() {
    let (server, asked) = server();
    let token = [("TOKEN", SECRET.to_owned())];
    let document = document(server);
    let folder = Folder::new();
    let instance = Instance::start_with(folder, &document, &[], &token);
    let first = instance.lines("out.jsonl", 3);

    let record = ["connectors", "record", "api", "recorded", "--for", "3s"];
    let (code, out, errors) = ask(&instance.folder, &record);
    assert_eq!((code, out.starts_with("1 exchanges are in recorded")), (0, true), "{out}{errors}");
    let recorded = std::fs::read_to_string(instance.folder.join("recorded/0001.json")).unwrap();
    assert!(recorded.contains(r#"\"id\":3"#) && recorded.contains("/events"), "{recorded}");
    let (code, traced, errors) = ask(&instance.folder, &["connectors", "trace", "api"]);
    assert_eq!(code, 0, "{errors}");
    assert!(traced.contains("GET http://") && traced.contains("authorization: ***"), "{traced}");
    for told in [&recorded, &traced] {
        assert!(!told.contains(SECRET), "{told}");
    }
    let again = ask(&instance.folder, &record);
    assert!(again.0 != 0 && again.2.contains("recorded is not empty"), "{again:?}");
    let (_, folder) = instance.stop();

    let before = asked.load(Ordering::SeqCst);
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    std::fs::remove_file(folder.path().join("out.jsonl")).unwrap();
    let replay = ["--replay", "api=recorded"];
    let instance = Instance::start_with(folder, &document, &replay, &token);
    assert_eq!(instance.lines("out.jsonl", 3), first);
    assert_eq!(asked.load(Ordering::SeqCst), before, "the server was asked");
}

#[test]
fn a_replay_needs_no_secrets_and_the_name_of_a_connector() {
    let (server, asked) = server();
    let folder = Folder::new();
    let exchange = serde_json::json!({
        "request": { "method": "GET", "url": format!("http://{server}/events") },
        "response": { "status": 200, "headers": [], "body": "[{\"id\":7}]" },
    });
    std::fs::create_dir(folder.join("recorded")).unwrap();
    folder.write("recorded/0001.json", exchange.to_string());
    let assertion = "auth = { strategy = \"oauth2\", token_endpoint = \"https://a.example/token\", \
                     client_id = \"a\", client_assertion = { algorithm = \"RS256\", private_key = \
                     \"SECRET[env.TOKEN]\" } }\nheaders.X-Own = \"SECRET[azud.nobody]\"";
    let bearer = document(server);
    let bearer_line = bearer.lines().find(|line| line.starts_with("auth")).unwrap().to_owned();
    let api = program::free_address();
    let out = folder.path().display().to_string();
    let head = format!("data_dir = \"data\"\napi.address = \"{api}\"\n");
    folder.write("azud.toml", head + &bearer.replace("@OUT@", &out));
    let (code, _, errors) = ask(&folder, &["run", "azud.toml", "--replay", "apy=recorded"]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("no connector `apy` is polled here; there are api"), "{errors}");
    let replay = ["--replay", "api=recorded"];
    let instance = Instance::start_with(folder, &bearer, &replay, &[]);
    assert_eq!(instance.lines("out.jsonl", 1), [r#"{"id":7}"#]);
    let (_, folder) = instance.stop();
    std::fs::remove_dir_all(folder.join("data")).unwrap();
    std::fs::remove_file(folder.join("out.jsonl")).unwrap();
    // A key that is none signs nothing, and nothing is to be signed.
    let signed = bearer.replace(&bearer_line, assertion);
    let instance = Instance::start_with(folder, &signed, &replay, &[]);
    assert_eq!(instance.lines("out.jsonl", 1), [r#"{"id":7}"#]);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "the server was asked");
}

#[test]
fn recordings_that_nobody_ends_or_takes_away_are_bounded() {
    let (server, _) = server();
    let token = [("TOKEN", SECRET.to_owned())];
    let instance = Instance::start_with(Folder::new(), &document(server), &[], &token);
    instance.lines("out.jsonl", 3);
    let (_, made, _) =
        program::ask(&instance.folder, &["tokens", "create", "ed", "--role", "editor"]);
    let editor = Client { address: instance.api, token: Some(made.trim().to_owned()) };
    let path = "/connectors/api/recording";
    for seconds in [0, 3601] {
        assert_eq!(editor.call("PUT", &format!("{path}?seconds={seconds}")).status, 400);
    }
    assert_eq!(editor.call("DELETE", path).status, 409, "nothing is recorded");
    let begun = editor.call("PUT", &format!("{path}?seconds=60"));
    assert_eq!(begun.status, 200, "{begun:?}");
    let folder = begun.body["folder"].as_str().unwrap();
    assert_eq!(editor.call("POST", "/connectors/api/poll").status, 202);
    let file = Path::new(folder).join("0001.json");
    wait::until("an exchange to be recorded", PATIENCE, || file.exists().then_some(()));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(Path::new(folder)), mode(&file)), (0o700, 0o600));
    let ended = editor.call("DELETE", path);
    assert_eq!((ended.status, &ended.body["exchanges"]), (200, &1.into()), "{ended:?}");
    assert!(ended.body["ended"].is_null() && ended.body["bytes"].as_u64() > Some(0), "{ended:?}");
    let codes: Vec<u16> = (0..16).map(|_| editor.call("PUT", path).status).collect();
    assert_eq!((codes[..15].iter().all(|code| *code == 200), codes[15]), (true, 409), "{codes:?}");
    let (code, _, errors) =
        ask(&instance.folder, &["connectors", "record", "api", "recorded", "--for", "2h"]);
    assert!(code == 3 && errors.contains("at most 60m"), "{errors}");
}
