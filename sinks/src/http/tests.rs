//! Tests of `http` against a server on a real socket that does what it is told.

use super::HTTP;
use crate::testing::{
    FakeSecrets, Received, batch, check_sink, context, queue, read_request, record, refusing,
};
use azud_plan::component::{Batch, Options, Services, SinkTask, check_options};
use azud_plan::diagnostic::{Checker, codes};
use azud_plan::document::Document;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use futures_util::SinkExt;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::collections::{BTreeSet, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{fs, str};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the server does with a request.
#[derive(Clone, Debug)]
enum Answer {
    /// Answers with these lines, after having taken the body if they say 2xx.
    Says(&'static str),
    /// Answers with this status, and with all headers that it was sent.
    Repeats(&'static str),
    /// Takes the body and closes the connection.
    Cuts,
    /// Takes the body, says nothing, and keeps the connection.
    Stalls,
}

/// A server that answers by a list, then 200.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    async fn start(answers: Vec<Answer>) -> Self {
        Server::start_with(answers, None).await
    }

    async fn start_with(answers: Vec<Answer>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::default();
        let server = Server { address, received };
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, answers, tls) = (serving.clone(), Arc::clone(&answers), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => server.serve(stream, &answers).await,
                        // A client that does not trust us ends the handshake.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                server.serve(stream, &answers).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    async fn serve(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        answers: &Mutex<VecDeque<Answer>>,
    ) {
        while let Some(request) = read_request(&mut stream).await {
            let bad = request.body.contains(&b'!');
            let proof = request.header("authorization").unwrap_or_default();
            let sent = format!("{proof} {}", request.head);
            self.received.lock().unwrap().push(request);
            let answer = answers.lock().unwrap().pop_front();
            let says = match answer {
                Some(Answer::Cuts) => return,
                Some(Answer::Stalls) => std::future::pending().await,
                Some(Answer::Says(says)) => says.to_owned(),
                Some(Answer::Repeats(status)) => {
                    format!("{status}\r\nContent-Length: {}\r\n\r\n{sent}", sent.len())
                }
                None if bad => "400 Bad Request\r\nContent-Length: 9\r\n\r\nnot this!".to_owned(),
                None => "200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            };
            let answer = format!("HTTP/1.1 {says}");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    fn bodies(&self) -> Vec<String> {
        let text = |request: Received| String::from_utf8(request.body).unwrap();
        self.received().into_iter().map(text).collect()
    }
}

const OK: &str = "200 OK\r\nContent-Length: 0\r\n\r\n";

fn task(toml: &str) -> Box<dyn SinkTask> {
    check_sink(&HTTP, toml).build(&context(Path::new(""), Services::default())).unwrap()
}

/// Runs a sink over batches until its queue ends.
async fn deliver(toml: &str, batches: Vec<Batch>) {
    let (mut sender, queue) = queue();
    for batch in batches {
        sender.send(batch).await.unwrap();
    }
    drop(sender);
    task(toml).run(queue).await.unwrap();
}

/// The table of a sink that tries again soon.
fn table(server: &Server, more: &str) -> String {
    format!(
        "uri = 'http://{}/logs?a=b'\nbatch.timeout_secs = 0.01\n\
         request = {{ retry_initial_backoff_secs = 0.001, retry_max_duration_secs = 0.01, \
         timeout_secs = 0.2 }}\n{more}",
        server.address
    )
}

#[tokio::test]
async fn records_come_as_an_array_with_who_we_are() {
    let server = Server::start(vec![]).await;
    let more = "auth = { strategy = 'basic', user = 'azud', password = 'p:w' }\n\
                headers.x-one = '1'\nmethod = 'put'\n\
                payload_prefix = '{\"data\":'\npayload_suffix = '}'";
    let (one, first) = batch("", "{\"a\":1}\n{\"a\":2}\n");
    let (two, second) = batch("", "{\"a\":3}\n");
    deliver(&table(&server, more), vec![one, two]).await;
    assert_eq!((first.count(), second.count()), (1, 1));
    let received = server.received();
    assert_eq!(server.bodies(), ["{\"data\":[{\"a\":1},{\"a\":2},{\"a\":3}]}"]);
    assert!(received[0].head.starts_with("PUT /logs?a=b HTTP/1.1\r\n"), "{}", received[0].head);
    let header = |name| received[0].header(name);
    assert_eq!(header("authorization"), Some("Basic YXp1ZDpwOnc="));
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("x-one"), Some("1"));
    assert_eq!(header("idempotency-key").map(str::len), Some(32));
    assert_eq!(header("content-encoding"), None);
}

#[tokio::test]
async fn a_body_is_what_framing_and_compression_say() {
    for (more, expected) in [
        ("framing.method = 'newline_delimited'", "{\"m\":1}\n{\"m\":2}"),
        ("encoding.codec = 'text'", "{\"m\":1}\n{\"m\":2}"),
        ("encoding.codec = 'text'\nframing.method = 'character_delimited'", "{\"m\":1},{\"m\":2}"),
        ("compression = 'gzip'", "[{\"m\":1},{\"m\":2}]"),
        ("compression = 'zstd'", "[{\"m\":1},{\"m\":2}]"),
    ] {
        let server = Server::start(vec![]).await;
        deliver(&table(&server, more), vec![batch("", "{\"m\":1}\n{\"m\":2}\n").0]).await;
        let received = &server.received()[0];
        let mut body = received.body.clone();
        match received.header("content-encoding") {
            Some("gzip") => {
                body.clear();
                GzDecoder::new(&received.body[..]).read_to_end(&mut body).unwrap();
            }
            Some("zstd") => body = zstd::bulk::decompress(&received.body, 1000).unwrap(),
            other => assert_eq!(other, None),
        }
        assert_eq!(str::from_utf8(&body).unwrap(), expected, "{more}");
    }
}

#[tokio::test]
async fn trouble_of_every_kind_is_waited_out() {
    let server = Server::start(vec![
        Answer::Says("500 Oh\r\nContent-Length: 4\r\n\r\noops"),
        Answer::Says("429 Slow\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"),
        Answer::Cuts,
        Answer::Stalls,
        Answer::Says("401 Who\r\nContent-Length: 0\r\n\r\n"),
        Answer::Says("this is no HTTP"),
    ])
    .await;
    let (one, confirmed, refused) = refusing("{}\n");
    deliver(&table(&server, ""), vec![one]).await;
    assert_eq!((confirmed.count(), refused.lock().unwrap().len()), (1, 0));
    let received = server.received();
    assert!(received.len() >= 7, "{}", received.len());
    let keys: BTreeSet<_> = received.iter().map(|one| one.header("idempotency-key")).collect();
    assert_eq!(keys.len(), 1, "the same request has the same key");
}

#[tokio::test]
async fn a_record_that_is_refused_is_set_aside_with_the_answer() {
    let server = Server::start(vec![]).await;
    let (one, confirmed, refused) = refusing("{\"a\":1}\n{\"a\":\"!\"}\n{\"a\":3}\n");
    deliver(&table(&server, ""), vec![one]).await;
    assert_eq!(confirmed.count(), 1);
    let refused = refused.lock().unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].bytes, b"{\"a\":\"!\"}\n");
    assert_eq!(refused[0].response_code, Some(400));
    let message = &refused[0].fault.message;
    assert_eq!(message, "the server answered 400 Bad Request: not this!");
    let bodies = server.bodies();
    assert!(bodies.contains(&"[{\"a\":1}]".to_owned()), "{bodies:?}");
    assert!(bodies.contains(&"[{\"a\":3}]".to_owned()), "{bodies:?}");
}

#[tokio::test]
async fn what_a_receiver_repeats_tells_no_secret() {
    let planted = ["us3r-pl4nted", "p4ss/pl4nted+", "t0ken-pl4nted"];
    let secrets = [("u", planted[0]), ("p", planted[1]), ("t", planted[2])];
    let secrets = FakeSecrets::of(&secrets.map(|(key, value)| (key, value, value)));
    let basic = "auth = { strategy = 'basic', user = 'SECRET[a.u]', password = 'SECRET[a.p]' }";
    let bearer = "auth = { strategy = 'bearer', token = 'SECRET[a.p]' }";
    for more in [basic, bearer, "headers.X-Own = 'SECRET[a.p]'"] {
        for status in ["400 Bad Request", "401 Unauthorized", "500 Internal Server Error"] {
            let server = Server::start(vec![Answer::Repeats(status)]).await;
            let toml = format!(
                "uri = 'http://{}/logs/SECRET[a.t]'\nbatch.timeout_secs = 0.01\n\
                 request.retry_attempts = 0\n{more}",
                server.address
            );
            let services = Arc::clone(&secrets).service();
            let task = check_sink(&HTTP, &toml).build(&context(Path::new(""), services)).unwrap();
            let (one, _, refused) = refusing("{}\n");
            let (mut sender, queue) = queue();
            sender.send(one).await.unwrap();
            drop(sender);
            task.run(queue).await.unwrap();
            let sent = server.received()[0].head.clone();
            assert!(sent.contains("/logs/t0ken-pl4nted"), "{sent}");
            let basic = STANDARD.encode(format!("{}:{}", planted[0], planted[1]));
            // The status of the sink and its line in the log are made of the same message.
            let told = refused.lock().unwrap()[0].fault.message.clone();
            assert!(told.contains(status) && told.contains("POST /logs/***"), "{told}");
            for secret in planted.iter().copied().chain([basic.as_str()]) {
                assert!(!told.contains(secret), "{more}: {told}");
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_carries_nothing_elsewhere() {
    let elsewhere = Server::start(vec![]).await;
    let location = format!(
        "307 There\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        elsewhere.address
    );
    let server = Server::start(vec![Answer::Says(location.leak()), Answer::Says(OK)]).await;
    let more = "auth = { strategy = 'bearer', token = 'abc' }";
    deliver(&table(&server, more), vec![batch("", "{}\n").0]).await;
    assert_eq!((server.received().len(), elsewhere.received().len()), (2, 0));
    assert_eq!(server.received()[1].header("authorization"), Some("Bearer abc"));
}

/// Makes an authority, and a server's certificate for `name`, in files and as rustls wants it.
fn certificates(folder: &Path, name: &str) -> TlsAcceptor {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

#[tokio::test]
async fn a_server_must_prove_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let ca_file = format!("tls.ca_file = '{}'", ca.display());
    let cases = [
        ("127.0.0.1", ca_file.clone(), true),
        ("127.0.0.1", String::new(), false),
        ("other.example", ca_file.clone(), false),
        ("other.example", format!("{ca_file}\ntls.verify_hostname = false"), true),
        ("127.0.0.1", "tls.verify_certificate = false".to_owned(), true),
    ];
    for (name, tls, trusted) in cases {
        let acceptor = certificates(folder.path(), name);
        let server = Server::start_with(vec![], Some(acceptor)).await;
        let more = format!("{tls}\nrequest.retry_attempts = 1");
        let toml =
            format!("uri = 'https://{}/'\nbatch.timeout_secs = 0.01\n{more}", server.address);
        let toml = toml + "\nrequest.retry_initial_backoff_secs = 0.001";
        let (one, confirmed, refused) = refusing("{}\n");
        deliver(&toml, vec![one]).await;
        assert_eq!(confirmed.count(), 1);
        let seen = (server.received().len(), refused.lock().unwrap().len());
        assert_eq!(seen, if trusted { (1, 0) } else { (0, 1) }, "{name} {tls}");
    }
}

#[tokio::test]
async fn certificates_that_are_renewed_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let acceptor = certificates(folder.path(), "127.0.0.1");
    let right = fs::read(&ca).unwrap();
    // Another authority, which the server is not of.
    certificates(folder.path(), "127.0.0.1");
    let server = Server::start_with(vec![], Some(acceptor)).await;
    let table = table(&server, &format!("tls.ca_file = '{}'", ca.display()));
    let place = context(Path::new(""), Services::default());
    let task = check_sink(&HTTP, &table.replace("http:", "https:")).build(&place).unwrap();
    fs::write(&ca, right).unwrap();
    place.clock.advance(std::time::Duration::from_secs(1));
    let (mut sender, queue) = queue();
    let (one, confirmed, refused) = refusing("{}\n");
    sender.send(one).await.unwrap();
    drop(sender);
    let delivered = tokio::time::timeout(std::time::Duration::from_secs(60), task.run(queue)).await;
    delivered.expect("the authority is read again").unwrap();
    assert_eq!((confirmed.count(), refused.lock().unwrap().len()), (1, 0));
    assert_eq!(server.received().len(), 1);
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer = prop_oneof![
        4 => Just(Answer::Says(OK)),
        2 => Just(Answer::Says("503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")),
        2 => Just(Answer::Cuts),
        1 => Just(Answer::Stalls),
        1 => Just(Answer::Says("200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")),
    ];
    prop::collection::vec(answer, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Whatever the server and the connections do, every record arrives, the first times in order.
    #[test]
    fn every_record_arrives_in_order(
        answers in answers(),
        sizes in prop::collection::vec(1usize..6, 1..8),
        events in 1usize..4,
    ) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(answers).await;
            let mut next = 0;
            let (mut batches, mut counters) = (Vec::new(), Vec::new());
            for size in &sizes {
                let text: String =
                    (next..next + size).map(|number| format!("{number}\n")).collect();
                next += size;
                let (batch, counter) = batch("", &text);
                batches.push(batch);
                counters.push(counter);
            }
            let more = format!("framing.method = 'newline_delimited'\nbatch.max_events = {events}");
            deliver(&table(&server, &more), batches).await;
            assert!(counters.iter().all(|counter| counter.count() == 1));
            let mut seen: Vec<usize> = Vec::new();
            for body in server.bodies() {
                assert!(body.lines().count() <= events, "{body:?}");
                for number in body.lines().map(|line| line.parse().unwrap()) {
                    if !seen.contains(&number) {
                        seen.push(number);
                    }
                }
            }
            assert_eq!(seen, (0..next).collect::<Vec<_>>());
        });
    }
}

/// The codes of the faults of a table.
fn faults(toml: &str) -> Vec<&'static str> {
    let mut checker = Checker::default();
    let document = Document::parse(0, toml, &mut checker).unwrap();
    check_options(&document.root, HTTP.options, &["type", "inputs"], "a sink", &mut checker);
    let options = Options::new("out", &document.root, HTTP.options);
    let spec = (HTTP.check)(&options, &mut checker);
    assert_eq!(spec.is_none(), checker.failed(), "{toml}");
    checker.diagnostics.iter().map(|found| found.code.0).collect()
}

#[test]
fn what_cannot_be_is_a_fault_of_the_document() {
    let uri = "uri = 'https://a.example/'\n";
    assert_eq!(faults(uri), [""; 0]);
    for uri in ["a.example", "ftp://a.example", "https://", "https://u:p@a.example/"] {
        let found = faults(&format!("uri = '{uri}'"));
        assert_eq!(found, [codes::MALFORMED_VALUE.0], "{uri}");
    }
    for (more, code) in [
        ("auth = { strategy = 'basic', user = 'u' }", codes::CONTRADICTION),
        ("auth = { strategy = 'bearer', token = 't', user = 'u' }", codes::CONTRADICTION),
        ("auth = { strategy = 'bearer', token = \"a\\nb\" }", codes::MALFORMED_VALUE),
        (
            "auth = { strategy = 'bearer', token = 't' }\nheaders.authorization = 'x'",
            codes::CONTRADICTION,
        ),
        ("headers.Host = 'x'", codes::MALFORMED_VALUE),
        ("headers.'a b' = 'x'", codes::MALFORMED_VALUE),
        ("tls.key_file = '/k'", codes::CONTRADICTION),
        ("tls.crt_file = '/k'", codes::CONTRADICTION),
        ("tls.verify_hostname = false", codes::CONTRADICTION),
        ("encoding.codec = 'text'\npayload_prefix = '{'", codes::CONTRADICTION),
        ("framing.method = 'newline_delimited'\npayload_suffix = '}'", codes::CONTRADICTION),
    ] {
        assert_eq!(faults(&format!("{uri}{more}")), [code.0], "{more}");
    }
}

#[test]
fn an_encoder_writes_a_line_for_each_record() {
    let mut encoder = check_sink(&HTTP, "uri = 'http://a.example'").encoder();
    let mut out = Vec::new();
    encoder.encode(&record(r#"{"a":1}"#), &mut out).unwrap();
    assert_eq!(out, b"{\"a\":1}\n");
}

#[tokio::test]
async fn a_secret_that_is_refused_is_read_anew_and_the_request_goes_again() {
    let refused = "401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(vec![Answer::Says(refused)]).await;
    let secrets = FakeSecrets::of(&[("token", "old", "new"), ("hook", "h1", "h1")]);
    let toml = format!(
        "uri = 'http://{}/SECRET[b.hook]'\nbatch.timeout_secs = 0.01\n\
         request = {{ retry_initial_backoff_secs = 0.001 }}\n\
         auth = {{ strategy = 'bearer', token = 'SECRET[b.token]' }}\n\
         headers.X-Both = 'SECRET[b.hook]-SECRET[b.token]'",
        server.address
    );
    let (batch, confirmed) = batch("", "{\"a\":1}\n");
    let (mut sender, queue) = queue();
    sender.send(batch).await.unwrap();
    drop(sender);
    let context = context(Path::new(""), secrets.service());
    check_sink(&HTTP, &toml).build(&context).unwrap().run(queue).await.unwrap();
    assert_eq!(confirmed.count(), 1);
    let received = server.received();
    let seen =
        |name: &str| received.iter().map(|one| one.header(name).unwrap()).collect::<Vec<_>>();
    assert_eq!(seen("authorization"), ["Bearer old", "Bearer new"]);
    assert_eq!(seen("x-both"), ["h1-old", "h1-new"]);
    assert!(received.iter().all(|one| one.head.starts_with("POST /h1 HTTP/1.1")));
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_waited_for() {
    let server = Server::start(vec![]).await;
    let secrets = FakeSecrets::of(&[]);
    let toml =
        format!("uri = 'SECRET[b.hook]'\nrequest = {{ retry_attempts = 0 }}\n# {}", server.address);
    let (batch, _, aside) = refusing("{\"a\":1}\n");
    let (mut sender, queue) = queue();
    sender.send(batch).await.unwrap();
    drop(sender);
    let context = context(Path::new(""), secrets.service());
    check_sink(&HTTP, &toml).build(&context).unwrap().run(queue).await.unwrap();
    assert_eq!(aside.lock().unwrap()[0].fault.message, "there is no b.hook");
    assert!(server.received().is_empty());
}
