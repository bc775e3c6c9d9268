//! What a connector asks and is answered: shown, recorded without secrets, and played again where
//! nobody answers.

use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
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
