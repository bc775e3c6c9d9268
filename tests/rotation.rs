//! Credentials that are rotated: the new value is tried as it is, by whoever asks for it, and the
//! old one is back when it does not work.

use crate::support::api::{Client, ask_with};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::ask;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A server that takes one token on each path, and no other.
struct Server {
    address: SocketAddr,
    wanted: Arc<Mutex<HashMap<String, String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let wanted = Arc::<Mutex<HashMap<String, String>>>::default();
        let shared = Arc::clone(&wanted);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let lines = BufReader::new(connection.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1));
                let wanted = shared.lock().unwrap().get(path.unwrap_or_default()).cloned();
                let authorization = format!("authorization: bearer {}", wanted.unwrap_or_default());
                let known = head.iter().any(|line| line.to_ascii_lowercase() == authorization);
                let status = if known { "200 OK" } else { "401 Unauthorized" };
                let head = "Content-Type: application/json\r\nConnection: close";
                // The program may have ended meanwhile.
                let _ = write!(
                    connection,
                    "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: 10\r\n\r\n[{{\"id\":1}}]"
                );
            }
        });
        Server { address, wanted }
    }

    fn want(&self, path: &str, token: &str) {
        self.wanted.lock().unwrap().insert(path.to_owned(), token.to_owned());
    }
}

fn document(server: &Server) -> String {
    let source = |id: &str, secret: &str| {
        format!(
            "[sources.{id}]\ntype = \"http_client\"\nendpoint = \"http://{}/{id}\"\n\
             scrape_interval_secs = 3600\ndecoding.codec = \"json\"\n\
             auth = {{ strategy = \"bearer\", token = \"SECRET[azud.{secret}]\" }}\n",
            server.address
        )
    };
    let sink = "[sinks.out]\ntype = \"file\"\ninputs = [\"whole\", \"member\"]\n\
                path = \"@OUT@/out.jsonl\"\nencoding.codec = \"json\"\n";
    [source("whole", "key"), source("member", "pair#token"), sink.to_owned()].concat()
}

/// Starts an instance whose two sources have polled, so that their secrets are in memory.
fn start(server: &Server) -> Instance {
    server.want("/whole", "one");
    server.want("/member", "one");
    let folder = Folder::new();
    for (name, value) in [("key", "one"), ("pair", r#"{"token":"one"}"#)] {
        let (code, _, errors) = ask_with(&folder, &["credentials", "set", name], value);
        assert_eq!(code, 0, "{errors}");
    }
    let instance = Instance::start_in(folder, &document(server), &[]);
    instance.lines("out.jsonl", 2);
    instance
}

fn shown(instance_folder: &Folder, name: &str) -> Value {
    let (code, out, errors) = ask(instance_folder, &["credentials", "show", name, "--json"]);
    assert_eq!(code, 0, "{errors}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_command_rotates_by_the_instance_that_runs() {
    let server = Server::start();
    let instance = start(&server);
    let before = shown(&instance.folder, "key");
    // However short the old value would be kept: it is back.
    let wrong = ["credentials", "rotate", "key", "--overlap", "1ms"];
    let (code, out, errors) = ask_with(&instance.folder, &wrong, "wrong");
    assert_eq!(code, 3, "{out}{errors}");
    assert!(errors.contains("the old one is in use again: connector whole"), "{errors}");
    assert_eq!(shown(&instance.folder, "key")["fingerprint"], before["fingerprint"]);
    let (code, out, errors) = ask(&instance.folder, &["credentials", "test", "key"]);
    assert_eq!(code, 0, "{out}{errors}");
    // The issuer takes the old one no more: the new one is good all the same.
    server.want("/whole", "two");
    let (code, out, errors) =
        ask_with(&instance.folder, &["credentials", "rotate", "key"], "two\n");
    assert_eq!(code, 0, "{out}{errors}");
    assert!(out.contains("key is rotated") && out.contains("it works with whole"), "{out}");
    assert_ne!(shown(&instance.folder, "key")["fingerprint"], before["fingerprint"]);
    let (code, out, _) = ask(&instance.folder, &["connectors", "test", "whole"]);
    assert_eq!(code, 0, "{out}");

    let create = ["tokens", "create", "ad", "--role", "admin"];
    let (_, token, _) = ask(&instance.folder, &create);
    let admin = Client { address: instance.api, token: Some(token.trim().to_owned()) };
    let trail = admin.call("GET", "/audit").body["items"].clone();
    let did = |action: &str| {
        let done = trail.as_array().unwrap().iter().filter(|row| row["action"] == action);
        done.map(|row| row["actor"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (rotated, restored) = (did("credential.rotate"), did("credential.restore"));
    assert_eq!((rotated.len(), restored.len()), (2, 1), "{trail}");
    assert!(rotated.iter().chain(&restored).all(|by| by.starts_with("command of ")), "{trail}");

    let (_, folder) = instance.stop();
    let version = shown(&folder, "key")["version"].clone();
    let (code, _, errors) = ask_with(&folder, &["credentials", "rotate", "key"], "three");
    assert!(code == 3 && errors.contains("no instance runs that could try"), "{errors}");
    assert_eq!(shown(&folder, "key")["version"], version);
    let untested = ["credentials", "rotate", "key", "--untested"];
    let (code, out, errors) = ask_with(&folder, &untested, "three");
    assert_eq!((code, out.contains("key is rotated")), (0, true), "{out}{errors}");
}

#[test]
fn rows_of_a_definition_are_tried_with_the_credentials_that_it_names() {
    let server = Server::start();
    server.want("/mad", "one");
    server.want("/bcn", "one");
    let folder = Folder::new();
    for name in ["client", "okta-b_token"] {
        let (code, _, errors) = ask_with(&folder, &["credentials", "set", name], "one");
        assert_eq!(code, 0, "{errors}");
    }
    for (name, site) in [("okta-a", "site=mad"), ("okta-b", "site=bcn")] {
        let (code, _, errors) = ask(&folder, &["connectors", "add", name, "--label", site]);
        assert_eq!(code, 0, "{errors}");
    }
    let document = format!(
        "[sources.tenants]\ntype = \"http_client\"\nconnector = \"okta-*\"\n\
         endpoint = \"http://{}/{{{{ label.site }}}}\"\nscrape_interval_secs = 3600\n\
         decoding.codec = \"json\"\n\
         auth = {{ strategy = \"bearer\", token = \"SECRET[azud.client]\" }}\n\
         headers.X-Own = \"SECRET[azud.{{{{ connector }}}}_token]\"\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"tenants\"]\n",
        server.address
    );
    let instance = Instance::start_in(folder, &document, &[]);
    let command = |arguments: &[&str]| ask(&instance.folder, arguments);
    let (_, out, errors) = command(&["credentials", "uses", "client"]);
    assert_eq!(out, "okta-a\nokta-b\n", "{errors}");
    let (_, out, errors) = command(&["credentials", "uses", "okta-b_token"]);
    assert_eq!(out, "okta-b\n", "{errors}");
    let (_, out, errors) = command(&["credentials", "test", "okta-b_token"]);
    assert!(out.contains("okta-b:") && !out.contains("okta-a:"), "{out}{errors}");
    let rotate = ["credentials", "rotate", "okta-b_token"];
    let (code, out, errors) = ask_with(&instance.folder, &rotate, "two");
    assert!(code == 0 && out.contains("it works with okta-b"), "{out}{errors}");
}

#[test]
fn members_of_a_credential_are_rotated_with_it() {
    let server = Server::start();
    let instance = start(&server);
    let (_, token, _) = ask(&instance.folder, &["tokens", "create", "ed", "--role", "editor"]);
    let editor = Client { address: instance.api, token: Some(token.trim().to_owned()) };
    let rotate = |token: &str| {
        let value = json!({ "token": token }).to_string();
        editor.call_with("POST", "/credentials/pair/rotate", &json!({ "value": value }))
    };
    let wrong = rotate("wrong");
    assert_eq!(wrong.status, 409, "{wrong:?}");
    assert!(wrong.body["detail"].as_str().unwrap().starts_with("connector member: "), "{wrong:?}");
    let works = || editor.call("POST", "/connectors/member/test").body["passed"] == true;
    assert!(works(), "the old one is in use again");
    server.want("/member", "two");
    let right = rotate("two");
    assert_eq!((right.status, &right.body["tried"]), (200, &json!(["member"])), "{right:?}");
    assert!(works());
    // What is set is used at once, too.
    server.want("/member", "three");
    let value = json!({ "value": r#"{"token":"three"}"# });
    assert_eq!(editor.call_with("PUT", "/credentials/pair/value", &value).status, 200);
    assert!(works());
}
