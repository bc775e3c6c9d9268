//! Tests of `elasticsearch` against a server on a real socket, which holds requests to the letter
//! of `_bulk`, and keeps documents as the two servers do.

use super::ELASTICSEARCH;
use crate::testing::{
    FakeSecrets, Received, batch, check_sink, context, queue, read_request, record, refusing,
};
use azud_event::time::EventTime;
use azud_plan::component::{Batch, Options, Services, SinkSpec, check_options};
use azud_plan::diagnostic::Checker;
use azud_plan::document::Document;
use flate2::read::GzDecoder;
use futures_util::SinkExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// What a server knows.
#[derive(Default)]
struct Known {
    /// By index and id, with the version.
    documents: BTreeMap<(String, String), (Value, u64)>,
    /// How often the server is too busy for a document with this message.
    busy: HashMap<String, usize>,
    /// Answers to whole requests, before those that it looks at.
    whole: VecDeque<&'static str>,
    /// Whether refusals repeat what was sent.
    repeats: bool,
    requests: Vec<Received>,
    /// What was wrong with requests.
    broken: Vec<String>,
}

impl Known {
    fn bulk(&mut self, request: &Received) -> Value {
        let gzip = request.header("content-encoding") == Some("gzip");
        let mut body = String::new();
        match gzip {
            true => GzDecoder::new(&request.body[..]).read_to_string(&mut body).unwrap(),
            false => (&request.body[..]).read_to_string(&mut body).unwrap(),
        };
        if !body.ends_with('\n') || request.header("content-type") != Some("application/x-ndjson") {
            self.broken.push(format!("{}{body}", request.head));
        }
        let lines: Vec<&str> = body.lines().collect();
        if lines.len() % 2 == 1 {
            self.broken.push(body.clone());
        }
        let items: Vec<Value> =
            lines.chunks(2).map(|pair| self.item(pair[0], pair.get(1).unwrap_or(&""))).collect();
        let failed = |item: &Value| {
            item.as_object().unwrap().values().any(|item| item["status"].as_u64() >= Some(400))
        };
        json!({ "took": 1, "errors": items.iter().any(failed), "items": items })
    }

    fn item(&mut self, action: &str, document: &str) -> Value {
        let action: Value = serde_json::from_str(action).unwrap();
        let (name, about) = action.as_object().unwrap().iter().next().unwrap();
        let document: Value = serde_json::from_str(document).unwrap();
        let text = |part: &str| about[part].as_str().unwrap_or_default().to_owned();
        let key = (text("_index"), text("_id"));
        let message = document["message"].as_str().unwrap_or_default();
        let version = about["version"].as_u64();
        let status = if message.contains('!') {
            400
        } else if self.busy.get_mut(message).is_some_and(|times| {
            *times = times.wrapping_sub(1);
            *times != usize::MAX
        }) {
            429
        } else {
            match self.documents.get(&key) {
                Some(_) if name == "create" => 409,
                Some((_, known)) if version.is_some_and(|version| version <= *known) => 409,
                _ => {
                    self.documents.insert(key, (document, version.unwrap_or(1)));
                    201
                }
            }
        };
        let error = json!({ "type": "some_exception", "reason": "because" });
        match status {
            201 => json!({ name: { "status": status } }),
            _ => json!({ name: { "status": status, "error": error } }),
        }
    }

    fn messages(&self) -> Vec<&str> {
        let each = self.documents.values().map(|(document, _)| document["message"].as_str());
        let mut messages: Vec<&str> = each.map(Option::unwrap).collect();
        messages.sort_unstable();
        messages
    }
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    known: Arc<Mutex<Known>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { address: listener.local_addr().unwrap(), known: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        let answer = server.answer(request);
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    fn answer(&self, request: Received) -> String {
        let mut known = self.known.lock().unwrap();
        known.requests.push(request.clone());
        let (status, body) = match known.whole.pop_front() {
            Some(status) => (status, "{}".to_owned()),
            None if request.head.starts_with("GET / ") => {
                let version = json!({ "number": "2.19.0", "distribution": "opensearch" });
                ("200 OK", json!({ "cluster_name": "c", "version": version }).to_string())
            }
            None => ("200 OK", known.bulk(&request).to_string()),
        };
        let body = match known.repeats {
            true => {
                let proof = request.header("authorization").unwrap_or_default();
                let sent = Value::from(format!("{proof} {}", request.head)).to_string();
                let body = if body == "{}" { "{\"error\":\"because\"}" } else { &body };
                body.replace("\"because\"", &sent)
            }
            false => body,
        };
        let length = body.len();
        let kind = "application/json";
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }
}

/// The table of a sink that tries again soon.
fn table(servers: &[SocketAddr], more: &str) -> String {
    let endpoints: Vec<String> = servers.iter().map(|at| format!("'http://{at}/es'")).collect();
    format!(
        "endpoints = [{}]\nbatch.timeout_secs = 0.01\n\
         request = {{ retry_initial_backoff_secs = 0.001, retry_max_duration_secs = 0.01, \
         timeout_secs = 5 }}\n{more}",
        endpoints.join(", ")
    )
}

/// Encodes records as a worker does.
fn encoded(sink: &dyn SinkSpec, records: &[&str]) -> String {
    let mut encoder = sink.encoder();
    let mut out = Vec::new();
    for (number, json) in records.iter().enumerate() {
        let mut record = record(json);
        record.origin_mut().index = number as u64;
        encoder.encode(&record, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

async fn run(sink: &dyn SinkSpec, batches: Vec<Batch>, services: Services) {
    let (mut sender, queue) = queue();
    for batch in batches {
        sender.send(batch).await.unwrap();
    }
    drop(sender);
    sink.build(&context(Path::new(""), services)).unwrap().run(queue).await.unwrap();
}

#[tokio::test]
async fn each_record_is_there_once_however_often_it_is_sent() {
    for more in ["", "mode = 'data_stream'", "bulk.action = 'create'", "compression = 'gzip'"] {
        let server = Server::start().await;
        let sink = check_sink(&ELASTICSEARCH, &table(&[server.address], more));
        let lines = encoded(&*sink, &[r#"{"message":"a"}"#, r#"{"message":"a"}"#]);
        for _ in 0..2 {
            let (batch, confirmed) = batch("", &lines);
            run(&*sink, vec![batch], Services::default()).await;
            assert_eq!(confirmed.count(), 1, "{more}");
        }
        let known = server.known();
        assert_eq!(known.messages(), ["a", "a"], "{more}");
        assert_eq!((known.requests.len(), known.broken.len()), (2, 0), "{:?}", known.broken);
        assert!(known.requests[0].head.starts_with("POST /es/_bulk?"), "{more}");
    }
}

#[tokio::test]
async fn who_is_busy_for_some_gets_these_again_and_what_is_wrong_is_set_aside_alone() {
    let server = Server::start().await;
    server.known().busy = HashMap::from([("b".to_owned(), 2), ("d".to_owned(), 1)]);
    let sink = check_sink(&ELASTICSEARCH, &table(&[server.address], ""));
    let messages = ["a", "b", "!c", "d"].map(|text| json!({ "message": text }).to_string());
    let lines = encoded(&*sink, &messages.each_ref().map(String::as_str));
    let (batch, confirmed, refused) = refusing(&lines);
    run(&*sink, vec![batch], Services::default()).await;
    assert_eq!(confirmed.count(), 1);
    let known = server.known();
    assert_eq!((known.messages(), known.requests.len()), (vec!["a", "b", "d"], 3));
    drop(known);
    let refused = refused.lock().unwrap();
    let [refused] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!(refused.response_code, Some(400));
    assert_eq!(refused.fault.message, "the server answered 400 some_exception: because");
    assert!(String::from_utf8_lossy(&refused.bytes).contains("!c"));
}

#[tokio::test]
async fn what_a_server_repeats_tells_no_secret() {
    let secrets = [("u", "us3r-pl4nted"), ("p", "p4ss/pl4nted+"), ("t", "t0ken-pl4nted")];
    let fake = FakeSecrets::of(&secrets.map(|(key, value)| (key, value, value)));
    for whole in [None, Some("401 Unauthorized"), Some("500 Oops")] {
        let server = Server::start().await;
        server.known().repeats = true;
        server.known().whole = whole.into_iter().collect();
        let toml = format!(
            "endpoints = ['http://{}/es']\nbatch.timeout_secs = 0.01\n\
             request = {{ retry_attempts = 0, headers = {{ X-Own = 'SECRET[a.t]' }} }}\n\
             auth = {{ strategy = 'basic', user = 'SECRET[a.u]', password = 'SECRET[a.p]' }}",
            server.address
        );
        let sink = check_sink(&ELASTICSEARCH, &toml);
        let lines = encoded(&*sink, &["{\"message\":\"!\"}", "{\"message\":\"a\"}"]);
        let (batch, _, refused) = refusing(&lines);
        run(&*sink, vec![batch], Arc::clone(&fake).service()).await;
        let refused = refused.lock().unwrap();
        let told = &refused[0].fault.message;
        let basic = "dXMzci1wbDRudGVkOnA0c3MvcGw0bnRlZCs=";
        let head = server.known().requests[0].head.clone();
        assert!(head.contains(basic) && head.contains(secrets[2].1), "{head}");
        assert!(told.contains("_bulk"), "what was sent is repeated: {told}");
        for secret in secrets.map(|(_, value)| value).into_iter().chain([basic]) {
            assert!(!told.contains(secret), "{whole:?}: {told}");
        }
    }
}

#[tokio::test]
async fn whatever_the_servers_do_everything_comes_once() {
    let (one, two) = (Server::start().await, Server::start().await);
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    one.known().whole = VecDeque::from([
        "429 Too Many Requests",
        "503 Service Unavailable",
        "500 Internal Server Error",
        "401 Unauthorized",
        "413 Content Too Large",
        "200 OK",
    ]);
    two.known().whole = VecDeque::from(["502 Bad Gateway", "408 Request Timeout"]);
    // Both are of one cluster.
    let mut both = two.clone();
    both.known = Arc::clone(&two.known);
    let toml = table(&[dead, one.address, two.address], "mode = 'data_stream'");
    let sink = check_sink(&ELASTICSEARCH, &toml);
    let messages: Vec<String> =
        (0..20).map(|number| json!({ "message": number.to_string() }).to_string()).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let lines = encoded(&*sink, &messages);
    let (batch, confirmed, refused) = refusing(&lines);
    run(&*sink, vec![batch], Services::default()).await;
    assert_eq!((confirmed.count(), refused.lock().unwrap().len()), (1, 0));
    let mut all: Vec<String> = Vec::new();
    for server in [&one, &two] {
        all.extend(server.known().messages().iter().map(|text| text.to_string()));
        assert!(server.known().broken.is_empty());
    }
    all.sort_by_key(|text| text.parse::<u32>().unwrap());
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn who_we_are_is_said_and_said_anew_when_it_is_refused() {
    let server = Server::start().await;
    server.known().whole = VecDeque::from(["401 Unauthorized"]);
    let more = "auth = { strategy = 'basic', user = 'azud', password = 'SECRET[b.es]' }";
    let sink = check_sink(&ELASTICSEARCH, &table(&[server.address], more));
    let lines = encoded(&*sink, &[r#"{"message":"a"}"#]);
    let secrets = FakeSecrets::of(&[("es", "old-password", "new-password")]);
    let (batch, confirmed) = batch("", &lines);
    run(&*sink, vec![batch], secrets.service()).await;
    assert_eq!(confirmed.count(), 1);
    let known = server.known();
    let said: Vec<_> = known.requests.iter().map(|one| one.header("authorization")).collect();
    let (old, new) = ("Basic YXp1ZDpvbGQtcGFzc3dvcmQ=", "Basic YXp1ZDpuZXctcGFzc3dvcmQ=");
    assert_eq!(said, [Some(old), Some(new)]);
}

#[test]
fn names_are_of_the_record_and_stay_within_what_was_written() {
    let named = |index: &str, json: &str| {
        let toml = format!("endpoints = ['http://x']\nbulk.index = '{index}'");
        let mut out = Vec::new();
        let mut encoder = check_sink(&ELASTICSEARCH, &toml).encoder();
        let encoded = encoder.encode(&record(json), &mut out);
        let line = String::from_utf8(out).unwrap();
        let action = line.split('\t').next().unwrap().to_owned();
        encoded.ok()?;
        let action: Value = serde_json::from_str(&action).unwrap();
        Some(action["index"]["_index"].as_str().unwrap().to_owned())
    };
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(named("a-%Y.%m.%d", "{}"), is("a-1970.01.01"));
    assert_eq!(named("a-{{ x }}", r#"{"x":"B/../c,d*"}"#), is("a-b_.._c_d_"));
    assert_eq!(named("{{ x }}", r#"{"x":"b"}"#), is("b"));
    for hidden in [r#"{"x":".security"}"#, r#"{"x":"-b"}"#, r#"{"x":"_all"}"#, r#"{"y":"b"}"#] {
        assert_eq!(named("{{ x }}", hidden), None, "{hidden}");
    }
    assert_eq!(named(".own-{{ x }}", r#"{"x":"b"}"#), is(".own-b"));
    assert_eq!(named("a-{{ x }}", &json!({ "x": "b".repeat(254) }).to_string()), None);
}

#[test]
fn an_id_may_be_a_field_and_is_of_one_record_else() {
    let sink = check_sink(&ELASTICSEARCH, "endpoints = ['http://x']\nid_key = 'event.id'");
    let lines = encoded(
        &*sink,
        &[
            r#"{"event":{"id":"7","x":1}}"#,
            r#"{"event":{"id":8}}"#,
            r#"{"a":1}"#,
            r#"{"a":1}"#,
            r#"{"event":{"id":""}}"#,
        ],
    );
    let ids: Vec<String> = lines
        .lines()
        .map(|line| {
            let action: Value = serde_json::from_str(line.split('\t').next().unwrap()).unwrap();
            action["index"]["_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(&ids[..2], ["7", "8"]);
    assert!(ids[2..].iter().all(|id| id.len() == 32) && ids[2] != ids[3], "{ids:?}");
    assert!(lines.starts_with(
        "{\"index\":{\"_id\":\"7\",\"_index\":\"azud-1970.01.01\"}}\t{\"event\":{\"x\":1}}\n"
    ));
}

#[test]
fn an_update_holds_the_document() {
    let toml = "endpoints = ['http://x']\nid_key = 'i'\nbulk.action = 'update'";
    let lines = encoded(&*check_sink(&ELASTICSEARCH, toml), &[r#"{"i":"7","a":1}"#]);
    let document = lines.split('\t').nth(1).unwrap();
    assert_eq!(document, "{\"doc\":{\"a\":1},\"doc_as_upsert\":true}\n");
}

#[test]
fn a_data_stream_has_its_time() {
    let toml = "endpoints = ['http://x']\nmode = 'data_stream'\ndata_stream.dataset = '{{ d }}'\n\
                data_stream.sync_fields = false";
    let sink = check_sink(&ELASTICSEARCH, toml);
    let document = |json: &str| -> Value {
        let lines = encoded(&*sink, &[json]);
        assert!(lines.contains("\"_index\":\"logs-okta-default\""), "{lines}");
        serde_json::from_str(lines.split('\t').nth(1).unwrap()).unwrap()
    };
    let epoch = EventTime::EPOCH.to_rfc3339();
    assert_eq!(document(r#"{"d":"okta"}"#), json!({ "d": "okta", "@timestamp": epoch }));
    let given = document(r#"{"d":"okta","timestamp":"2026-03-01T10:00:00Z"}"#);
    assert_eq!(given, json!({ "d": "okta", "@timestamp": "2026-03-01T10:00:00Z" }));
    let own = document(r#"{"d":"okta","timestamp":"x","@timestamp":"y"}"#);
    assert_eq!(own, json!({ "d": "okta", "timestamp": "x", "@timestamp": "y" }));
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (toml, code) in [
        ("", "P004"),
        ("endpoints = []", "P006"),
        ("endpoints = ['es.example:9200']", "P006"),
        ("endpoints = ['http://a:b@x']", "P006"),
        ("endpoints = ['http://x']\nbulk.index = 'A'", "P006"),
        ("endpoints = ['http://x']\nbulk.index = '_a'", "P006"),
        ("endpoints = ['http://x']\nbulk.index = 'a/b'", "P006"),
        ("endpoints = ['http://x']\nbulk.index = ''", "P006"),
        ("endpoints = ['http://x']\nbulk.index = 'a-{{ x'", "P029"),
        ("endpoints = ['http://x']\ndata_stream.dataset = 'x'", "P012"),
        ("endpoints = ['http://x']\nmode = 'data_stream'\nbulk.index = 'x'", "P012"),
        ("endpoints = ['http://x']\nencoding.codec = 'text'", "P012"),
    ] {
        let mut checker = Checker::default();
        let document = Document::parse(0, toml, &mut checker).unwrap();
        let specs = ELASTICSEARCH.options;
        check_options(&document.root, specs, &[], "a sink", &mut checker);
        let options = Options::new("out", &document.root, specs);
        (ELASTICSEARCH.check)(&options, &mut checker);
        let found: Vec<_> = checker.diagnostics.iter().map(|found| found.code.0).collect();
        assert_eq!(found, [code], "{toml}");
    }
}
