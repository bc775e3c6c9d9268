//! Listeners over real sockets of this machine.

use super::options::Mode;
use super::permit::{Network, Permit};
use super::tcp::TcpTask;
use super::tls::TlsSettings;
use super::udp::UdpTask;
use super::{Listen, Streams};
use crate::limits::DATAGRAM_BYTES;
use crate::outlet::WhenFull;
use crate::syslog::SYSLOG;
use crate::testing::{Bench, Running, assert_joined, check, records_of};
use azud_event::block::Layout;
use azud_event::codec::framing::{Framing, frames};
use azud_event::dead_letter::Reason;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

fn listen(mode: Mode) -> Listen {
    Listen {
        mode,
        address: "127.0.0.1:0".parse().unwrap(),
        receive_buffer_bytes: None,
        permit: Permit(None),
        connection_limit: 8,
        idle_timeout: Duration::from_secs(60),
        keepalive: Some(Duration::from_secs(60)),
        tls: None,
    }
}

fn streams(framing: Framing) -> Streams {
    Streams { framing, frame_bytes_max: 102_400 }
}

fn start_tcp(bench: &Bench, settings: &Listen, streams: Streams) -> (Running, SocketAddr) {
    let task = TcpTask::bind("in", settings, streams, WhenFull::Block).unwrap();
    let address = task.address();
    (bench.start(Box::new(task)), address)
}

fn start_udp(bench: &Bench, settings: &Listen, streams: Streams) -> (Running, SocketAddr) {
    let task = UdpTask::bind("in", settings, streams, WhenFull::Block).unwrap();
    let address = task.address();
    (bench.start(Box::new(task)), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Waits until the other side has closed the connection; what it said before (an alert of TLS) does
/// not count.
async fn closed(mut stream: TcpStream) {
    let read = move || std::io::copy(&mut stream, &mut std::io::sink());
    let read = tokio::task::spawn_blocking(read).await.unwrap();
    assert!(!read.is_err_and(|error| timed_out(&error)), "the connection stays open");
}

fn timed_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[tokio::test]
async fn both_framings_on_one_connection() {
    let bench = Bench::new("both_framings", usize::MAX);
    let (running, address) = start_tcp(&bench, &listen(Mode::Tcp), streams(Framing::Syslog));
    let mut sender = connect(address);
    sender.write_all(b"8 <13>a\nbc<13>line\r\n").unwrap();
    bench.until_records(&["<13>a\nbc", "<13>line"]).await;
    // Cut anywhere, even within a count.
    for piece in ["1", "0 <13>coun", "ted", "<13>split ", "line\n<13>unfinished"] {
        sender.write_all(piece.as_bytes()).unwrap();
    }
    drop(sender);
    let records = ["<13>a\nbc", "<13>line", "<13>counte", "d<13>split line", "<13>unfinished"];
    bench.until_records(&records).await;
    assert_joined(&bench.taken());
    let peer = &bench.taken()[0].peers[0];
    assert_eq!(peer.host, "127.0.0.1");
    assert!(peer.port.is_some());
    running.stop().await;
}

#[tokio::test]
async fn connections_are_streams_of_their_own() {
    let bench = Bench::new("own_streams", usize::MAX);
    let (running, address) = start_tcp(&bench, &listen(Mode::Tcp), streams(Framing::Lines));
    let (mut one, mut two) = (connect(address), connect(address));
    bench.until("two connections", |bench| bench.metric("azud_open_connections") == 2.0).await;
    one.write_all(b"one\n").unwrap();
    bench.until("a block", |bench| bench.taken().len() == 1).await;
    two.write_all(b"two\n").unwrap();
    bench.until("a block", |bench| bench.taken().len() == 2).await;
    let blocks = bench.taken();
    assert_ne!(blocks[0].stream, blocks[1].stream);
    assert_ne!(blocks[0].peers[0].port, blocks[1].peers[0].port);
    drop((one, two));
    bench.until("none open", |bench| bench.metric("azud_open_connections") == 0.0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_half_frame_and_then_silence_is_set_aside() {
    let bench = Bench::new("idle", usize::MAX);
    let settings = Listen { idle_timeout: Duration::from_millis(40), ..listen(Mode::Tcp) };
    let (running, address) = start_tcp(&bench, &settings, streams(Framing::Syslog));
    let mut sender = connect(address);
    sender.write_all(b"<13>whole\n100 <13>half").unwrap();
    closed(sender).await;
    bench.until("the rest", |bench| bench.taken().len() == 2).await;
    assert_eq!(records_of(&bench.taken()), ["<13>whole", "!incomplete_frame: <13>half"]);
    assert_joined(&bench.taken());
    running.stop().await;
}

#[tokio::test]
async fn a_line_of_10_mb_is_set_aside_and_the_next_is_not() {
    let bench = Bench::new("long_line", usize::MAX);
    let (running, address) = start_tcp(&bench, &listen(Mode::Tcp), streams(Framing::Syslog));
    let mut sender = connect(address);
    let send = move || {
        sender.write_all(b"<13>before\n").unwrap();
        sender.write_all(&vec![b'x'; 10_000_000]).unwrap();
        sender.write_all(b"\n<13>after\n").unwrap();
    };
    tokio::task::spawn_blocking(send).await.unwrap();
    bench
        .until("all", |bench| bench.taken().last().is_some_and(|b| b.bytes.ends_with(b"after\n")))
        .await;
    let blocks = bench.taken();
    let refused: Vec<_> = blocks
        .iter()
        .filter(|block| matches!(block.layout, Layout::Refused { reason: Reason::TooLong, .. }))
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].bytes.len(), azud_event::limits::DEAD_LETTER_RAW_BYTES);
    assert_eq!(refused[0].end - refused[0].position, 10_000_001);
    assert_joined(&blocks);
    running.stop().await;
}

#[tokio::test]
async fn binary_noise_does_no_harm() {
    let bench = Bench::new("noise", usize::MAX);
    let (running, address) = start_tcp(&bench, &listen(Mode::Tcp), streams(Framing::Syslog));
    let mut state = 7_u64;
    let mut noise = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for _ in 0..8 {
        let bytes: Vec<u8> = (0..100_000).map(|_| noise()).collect();
        let mut sender = connect(address);
        tokio::task::spawn_blocking(move || sender.write_all(&bytes).unwrap()).await.unwrap();
    }
    let bytes =
        |bench: &Bench| bench.taken().iter().map(|block| block.end - block.position).sum::<u64>();
    bench.until("every byte accounted for", |bench| bytes(bench) == 800_000).await;
    assert_joined(&bench.taken());
    let mut sender = connect(address);
    sender.write_all(b"<13>still here\n").unwrap();
    bench
        .until("a record", |bench| {
            records_of(&bench.taken()).last().is_some_and(|record| record == "<13>still here")
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn many_short_lines_do_not_make_a_block_of_too_many_records() {
    let bench = Bench::new("dense", usize::MAX);
    let (running, address) = start_tcp(&bench, &listen(Mode::Tcp), streams(Framing::Lines));
    let mut sender = connect(address);
    let send = move || sender.write_all(&b"a\n".repeat(1_000_000)).unwrap();
    tokio::task::spawn_blocking(send).await.unwrap();
    bench.until("all", |bench| bench.bytes_taken() == 2_000_000).await;
    let records: Vec<_> = bench.taken().iter().map(|block| frames(block).count()).collect();
    assert_eq!(records.iter().sum::<usize>(), 1_000_000);
    let most = records.into_iter().max().unwrap();
    assert!(most <= azud_event::limits::BLOCK_RECORDS_MAX, "{most}");
    assert_joined(&bench.taken());
    running.stop().await;
}

#[tokio::test]
async fn above_the_limit_connections_are_closed_at_once() {
    let bench = Bench::new("limit", usize::MAX);
    let settings = Listen { connection_limit: 2, ..listen(Mode::Tcp) };
    let (running, address) = start_tcp(&bench, &settings, streams(Framing::Lines));
    let (one, _two) = (connect(address), connect(address));
    bench.until("two", |bench| bench.metric("azud_open_connections") == 2.0).await;
    closed(connect(address)).await;
    let refused =
        |bench: &Bench| bench.metric_with("azud_component_errors_total", "connection_limit");
    assert_eq!(refused(&bench), 1.0);
    drop(one);
    bench.until("one", |bench| bench.metric("azud_open_connections") == 1.0).await;
    let mut three = connect(address);
    three.write_all(b"three\n").unwrap();
    bench.until_records(&["three"]).await;
    running.stop().await;
}

#[tokio::test]
async fn who_is_not_permitted_is_turned_away() {
    let bench = Bench::new("origin", usize::MAX);
    let permit = Permit(Some(vec![Network::parse("192.0.2.0/24").unwrap()]));
    let settings = Listen { permit: permit.clone(), ..listen(Mode::Tcp) };
    let (running, address) = start_tcp(&bench, &settings, streams(Framing::Lines));
    closed(connect(address)).await;
    assert_eq!(bench.metric_with("azud_component_errors_total", "origin"), 1.0);
    running.stop().await;

    let settings = Listen { permit, ..listen(Mode::Udp) };
    let (running, address) = start_udp(&bench, &settings, streams(Framing::Lines));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"x", address).unwrap();
    let discarded = |bench: &Bench| bench.metric("azud_component_discarded_events_total");
    bench.until("a datagram let go", |bench| discarded(bench) == 1.0).await;
    assert!(bench.taken().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn without_room_the_sender_waits_and_nothing_is_lost() {
    const LINES: usize = 400_000;
    let bench = Bench::new("pressure", 1);
    let (running, address) = start_tcp(&bench, &listen(Mode::Tcp), streams(Framing::Lines));
    let mut sender = connect(address);
    sender.set_nonblocking(true).unwrap();
    let text: Vec<u8> = (0..LINES).flat_map(|n| format!("line {n:0>60}\n").into_bytes()).collect();
    let mut sent = 0;
    // The sender's own writes come to a stop.
    bench
        .until("the sender is blocked", |bench| {
            loop {
                match sender.write(&text[sent..]) {
                    Ok(bytes) => sent += bytes,
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                        return bench.blocked() > 0;
                    }
                }
            }
        })
        .await;
    assert!(sent < text.len(), "the system took it all");
    assert_eq!(bench.taken().len(), 1);
    bench.open();
    sender.set_nonblocking(false).unwrap();
    let rest = text[sent..].to_vec();
    tokio::task::spawn_blocking(move || sender.write_all(&rest).unwrap()).await.unwrap();
    bench.until("all bytes", |bench| bench.bytes_taken() == text.len()).await;
    assert_eq!(
        bench.taken().iter().flat_map(|block| block.bytes.to_vec()).collect::<Vec<_>>(),
        text
    );
    assert_joined(&bench.taken());
    running.stop().await;
}

#[tokio::test]
async fn what_was_read_is_handed_over_on_shutdown() {
    let bench = Bench::new("shutdown", 1);
    let (mut running, address) = start_tcp(&bench, &listen(Mode::Tcp), streams(Framing::Lines));
    let mut sender = connect(address);
    sender.write_all(b"one\n").unwrap();
    bench.until("a block", |bench| bench.taken().len() == 1).await;
    sender.write_all(b"two\nhal").unwrap();
    bench.until("one waits", |bench| bench.blocked() == 1).await;
    running.tell();
    bench.open();
    running.ended().await;
    assert_eq!(records_of(&bench.taken()), ["one", "two", "hal"]);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

// TLS

/// Certificates of one authority, in files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    fn certificate(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Writes what a listener needs, and gives its settings.
    fn settings(&self, folder: &Path, verifies_clients: bool) -> TlsSettings {
        let (certificate, key) = self.certificate();
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).unwrap();
            folder.join(name)
        };
        let ca_file = write("ca.pem", self.issuer.pem());
        TlsSettings {
            crt_file: write("server.crt", certificate.pem()),
            key_file: write("server.key", key.serialize_pem()),
            clients_of: verifies_clients.then_some(ca_file),
            handshake_timeout: Duration::from_secs(20),
        }
    }
}

/// Connects by TLS, with a certificate of `own` if there is one.
async fn connect_tls(
    address: SocketAddr,
    trusted: &Authority,
    own: Option<&Authority>,
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted.roots());
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (certificate, key) = own.certificate();
            let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn tls_carries_records_and_plain_text_is_told_so() {
    let bench = Bench::new("tls", usize::MAX);
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = Some(authority.settings(folder.path(), false));
    let settings = Listen { tls, ..listen(Mode::Tcp) };
    let (running, address) = start_tcp(&bench, &settings, streams(Framing::Syslog));

    let mut plain = connect(address);
    plain.write_all(b"<13>Mar  1 10:00:00 host app: plain text\n").unwrap();
    closed(plain).await;
    let errors = |kind: &str| bench.metric_with("azud_component_errors_total", kind);
    bench.until("counted", |_| errors("handshake_plaintext") == 1.0).await;

    drop(connect(address));
    bench.until("counted", |_| errors("handshake_closed") == 1.0).await;

    let stranger = Authority::new();
    connect_tls(address, &stranger, None).await.unwrap_err();
    bench.until("counted", |_| errors("handshake_refused") == 1.0).await;

    let mut sender = connect_tls(address, &authority, None).await.unwrap();
    sender.write_all(b"<13>one\n<13>two").await.unwrap();
    // Gone without a word, as many senders go.
    drop(sender);
    bench.until_records(&["<13>one", "<13>two"]).await;
    assert_eq!(errors("read"), 0.0);
    running.stop().await;
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_stays_outside() {
    let bench = Bench::new("mutual_tls", usize::MAX);
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = Some(authority.settings(folder.path(), true));
    let settings = Listen { tls, ..listen(Mode::Tcp) };
    let (running, address) = start_tcp(&bench, &settings, streams(Framing::Syslog));
    let errors = |kind: &str| bench.metric_with("azud_component_errors_total", kind);

    // Under TLS 1.3 a client thinks itself connected until it reads.
    let refused = async |own: Option<&Authority>| {
        if let Ok(mut stream) = connect_tls(address, &authority, own).await {
            stream.read(&mut [0; 16]).await.unwrap_err();
        }
    };
    refused(None).await;
    bench.until("counted", |_| errors("handshake_no_certificate") == 1.0).await;
    let stranger = Authority::new();
    refused(Some(&stranger)).await;
    bench.until("counted", |_| errors("handshake_certificate") == 1.0).await;

    let mut sender = connect_tls(address, &authority, Some(&authority)).await.unwrap();
    sender.write_all(b"<13>hello\n").await.unwrap();
    bench.until_records(&["<13>hello"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let bench = Bench::new("handshake_timeout", usize::MAX);
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.settings(folder.path(), false);
    let tls = Some(TlsSettings { handshake_timeout: Duration::from_millis(20), ..tls });
    let settings = Listen { tls, ..listen(Mode::Tcp) };
    let (running, address) = start_tcp(&bench, &settings, streams(Framing::Syslog));
    closed(connect(address)).await;
    let errors = |kind: &str| bench.metric_with("azud_component_errors_total", kind);
    bench.until("counted", |_| errors("handshake_timeout") == 1.0).await;
    running.stop().await;
}

#[test]
fn a_faulty_file_of_tls_is_named_with_the_remedy() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let good = authority.settings(folder.path(), true);
    good.acceptor().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let refused = |settings: TlsSettings| {
        let error = settings.acceptor().err().expect("the files are refused");
        (error.message, error.help.unwrap_or_default())
    };
    let missing = folder.path().join("missing.pem");
    let (message, _) = refused(TlsSettings { crt_file: missing, ..good.clone() });
    assert!(message.contains("missing.pem: No such file"), "{message}");

    let empty = file("empty.pem", "");
    let (message, help) = refused(TlsSettings { crt_file: empty.clone(), ..good.clone() });
    assert!(message.ends_with("empty.pem has no certificate"), "{message}");
    assert!(help.contains("PEM"));
    let (message, help) = refused(TlsSettings { key_file: empty.clone(), ..good.clone() });
    assert!(message.ends_with("empty.pem has no private key"), "{message}");
    assert!(help.contains("openssl pkey"));
    let (message, _) = refused(TlsSettings { clients_of: Some(empty), ..good.clone() });
    assert!(message.ends_with("empty.pem has no certificate"), "{message}");

    let other = file("other.key", &KeyPair::generate().unwrap().serialize_pem());
    let (message, help) = refused(TlsSettings { key_file: other, ..good });
    assert!(message.contains("other.key") && message.contains("server.crt"), "{message}");
    assert!(help.contains("the key must be"));
}

// UDP

#[tokio::test]
async fn a_datagram_is_a_record_whatever_stands_behind_it() {
    let bench = Bench::new("datagrams", usize::MAX);
    let (running, address) = start_udp(&bench, &listen(Mode::Udp), streams(Framing::Syslog));
    let (one, two) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for (sender, datagram) in
        [(&one, &b"<13>a\nb\n\0"[..]), (&two, b"<13>c\r\n"), (&one, b"\n"), (&one, b"<13>d")]
    {
        sender.send_to(datagram, address).unwrap();
    }
    bench.until_records(&["<13>a\nb", "<13>c", "<13>d"]).await;
    assert_joined(&bench.taken());
    let mut ports = Vec::new();
    for block in bench.taken() {
        ports.extend(frames(&block).map(|frame| block.peers[frame.peer].port.unwrap()));
    }
    let port = |sender: &UdpSocket| sender.local_addr().unwrap().port();
    assert_eq!(ports, [port(&one), port(&two), port(&one)]);
    running.stop().await;
}

#[tokio::test]
async fn a_datagram_above_the_maximum_is_set_aside() {
    let bench = Bench::new("long_datagram", usize::MAX);
    let streams = Streams { framing: Framing::Syslog, frame_bytes_max: 10 };
    let (running, address) = start_udp(&bench, &listen(Mode::Udp), streams);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in ["<13>before", "<13>too long", "<13>after"] {
        sender.send_to(datagram.as_bytes(), address).unwrap();
    }
    bench.until_records(&["<13>before", "!too_long: <13>too long", "<13>after"]).await;
    assert_joined(&bench.taken());
    // The largest that UDP can carry is taken whole.
    let largest = vec![b'x'; 65_507];
    sender.send_to(&largest, address).unwrap();
    bench.until("the largest", |bench| records_of(&bench.taken()).len() == 4).await;
    assert!(largest.len() < DATAGRAM_BYTES);
    let refused = &bench.taken()[bench.taken().len() - 1];
    assert_eq!(refused.bytes.len(), largest.len());
    running.stop().await;
}

#[tokio::test]
async fn every_datagram_of_a_burst_is_received_or_counted_as_dropped() {
    const SENT: usize = 20_000;
    let bench = Bench::new("burst", 1);
    let settings = Listen { receive_buffer_bytes: Some(64 * 1024), ..listen(Mode::Udp) };
    let (running, address) = start_udp(&bench, &settings, streams(Framing::Syslog));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"<13>first", address).unwrap();
    bench.until("a block", |bench| bench.taken().len() == 1).await;
    for n in 1..SENT {
        sender.send_to(format!("<13>datagram {n}").as_bytes(), address).unwrap();
    }
    bench.open();
    let received = |bench: &Bench| records_of(&bench.taken()).len();
    let dropped = |bench: &Bench| bench.metric("azud_udp_kernel_drops_total") as usize;
    bench.until("all accounted for", |bench| received(bench) + dropped(bench) == SENT).await;
    assert!(dropped(&bench) > 0, "the kernel's buffer held all of it");
    assert!(received(&bench) > 1);
    assert_joined(&bench.taken());
    running.stop().await;
}

#[tokio::test]
async fn datagrams_that_the_kernel_holds_on_shutdown_are_read() {
    let bench = Bench::new("udp_shutdown", 1);
    let (mut running, address) = start_udp(&bench, &listen(Mode::Udp), streams(Framing::Syslog));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"first", address).unwrap();
    bench.until("a block", |bench| bench.taken().len() == 1).await;
    sender.send_to(b"second", address).unwrap();
    bench.until("one waits", |bench| bench.blocked() == 1).await;
    for _ in 0..500 {
        sender.send_to(b"more", address).unwrap();
    }
    running.tell();
    bench.open();
    running.ended().await;
    assert_eq!(records_of(&bench.taken()).len(), 502);
}

#[tokio::test]
async fn what_the_author_lets_go_is_counted() {
    let bench = Bench::new("drop_newest", 1);
    let task =
        UdpTask::bind("in", &listen(Mode::Udp), streams(Framing::Syslog), WhenFull::DropNewest);
    let task = task.unwrap();
    let address = task.address();
    let running = bench.start(Box::new(task));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"first", address).unwrap();
    bench.until("a block", |bench| bench.taken().len() == 1).await;
    for _ in 0..100 {
        sender.send_to(b"more", address).unwrap();
    }
    let discarded = |bench: &Bench| bench.metric("azud_component_discarded_events_total");
    bench.until("all counted", |bench| discarded(bench) == 100.0).await;
    assert_eq!(bench.taken().len(), 1);
    running.stop().await;
}

#[test]
fn a_port_in_use_is_refused_with_a_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Listen { address: taken.local_addr().unwrap(), ..listen(Mode::Tcp) };
    let error = TcpTask::bind("in", &settings, streams(Framing::Lines), WhenFull::Block);
    let error = error.err().expect("the port is refused");
    assert!(error.message.starts_with("cannot listen on TCP 127.0.0.1:"), "{}", error.message);
    assert!(error.help.unwrap().contains("another process"));
}

// Options

fn titles(toml: &str) -> Vec<String> {
    let faults = check(&SYSLOG, toml).err().unwrap_or_default();
    faults.into_iter().map(|fault| fault.title).collect()
}

#[test]
fn faulty_options_are_told_all_at_once() {
    let titles = titles(
        "mode = \"udp\"\naddress = \"127.0.0.1:514\"\ntls.enabled = true\nconnection_limit = 1\n\
         permit_origin = [\"10.0.0.0/8\", \"10.0.0.0/99\"]\ntimezone = \"Middle/Earth\"\n\
         host_key = \"a b c..\"",
    );
    for expected in [
        "`connection_limit` is for connections, and UDP has none",
        "`tls` is for connections, and UDP has none",
        "`10.0.0.0/99` is not a network",
        "TLS needs `crt_file`",
        "TLS needs `key_file`",
        "`a b c..` is not a field",
    ] {
        assert!(titles.iter().any(|title| title == expected), "{expected} is not in {titles:#?}");
    }
    assert!(titles.iter().any(|title| title.contains("Middle/Earth")), "{titles:#?}");
}

#[test]
fn clients_cannot_be_verified_without_an_authority() {
    let titles = titles(
        "mode = \"tcp\"\naddress = \"127.0.0.1:6514\"\n\
         tls = { enabled = true, crt_file = \"a\", key_file = \"b\", verify_certificate = true }",
    );
    assert_eq!(titles, ["TLS needs `ca_file`"]);
}

#[test]
fn what_a_listener_holds_is_listed() {
    let spec = crate::testing::spec(
        &SYSLOG,
        "mode = \"tcp\"\naddress = \"127.0.0.1:6514\"\n\
         tls = { enabled = true, crt_file = \"a.crt\", key_file = \"a.key\" }",
    );
    use azud_plan::component::Resource::{Reads, TcpPort};
    let address = "127.0.0.1:6514".parse().unwrap();
    assert_eq!(spec.resources(), [TcpPort(address), Reads("a.crt".into()), Reads("a.key".into())]);
}
