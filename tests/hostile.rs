//! Bad input of every kind: each with its message, and nothing lost.

use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::{self, free_address};
use crate::support::wait::{self, PATIENCE};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Output;

fn syslog(address: SocketAddr, more: &str) -> String {
    format!(
        r#"
[sources.in]
type = "syslog"
mode = "tcp"
address = "{address}"
{more}
[sinks.out]
type = "file"
inputs = ["in"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
"#
    )
}

fn json(address: SocketAddr, program: &str) -> String {
    format!(
        r#"
[sources.in]
type = "socket"
mode = "tcp"
address = "{address}"
decoding.codec = "json"
max_length = 2097152
[transforms.shape]
type = "remap"
inputs = ["in"]
drop_on_error = true
source = '''
{program}
'''
[sinks.out]
type = "file"
inputs = ["shape"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
"#
    )
}

/// Validates and runs a faulty document; both must refuse it alike, with this code and these words.
#[track_caller]
fn refused(document: &str, code: i32, words: &[&str]) {
    let folder = Folder::new();
    folder.write("p.toml", document.replace("@OUT@", &folder.path().display().to_string()));
    for command in [&["validate", "p.toml"][..], &["run", "p.toml"]] {
        let Output { status, stderr, .. } = program::run(folder.path(), command);
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{command:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{command:?} does not say `{word}`:\n{said}");
        }
    }
}

#[test]
fn malformed_toml_names_the_place() {
    refused("[sources.in]\ntype = \"stdin\n", 1, &["error[P001]", "p.toml:2:"]);
}

#[test]
fn bad_vrl_is_shown_where_it_stands_in_the_file() {
    let document = "[sources.in]\ntype = \"stdin\"\n[transforms.t]\ntype = \"remap\"\ninputs = [\"in\"]\n\
                    source = '''\n.a = 1\n.b = = 2\n'''\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"t\"]\n";
    refused(document, 1, &["error[P020]", "p.toml:8:"]);
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let document =
        "api.enabled = false\ndata_dir = \"@OUT@/data\"\n".to_owned() + &syslog(address, "");
    refused(&document, 3, &[&address.to_string(), "in use"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let document = format!(
        "api.enabled = false\ndata_dir = \"@OUT@/p.toml/data\"\n{}",
        syslog(free_address(), "")
    );
    refused(&document, 3, &["p.toml/data"]);
}

#[test]
fn a_line_of_ten_megabytes_and_binary_noise_are_set_aside() {
    let address = free_address();
    let instance = Instance::start(&syslog(address, ""));
    let mut sender = TcpStream::connect(address).unwrap();
    sender.write_all(b"<13>1 2026-03-01T10:00:00Z h app - - - before\n<13>").unwrap();
    sender.write_all(&vec![b'x'; 10 << 20]).unwrap();
    sender.write_all(b"\n<13>1 2026-03-01T10:00:00Z h app - - - after\n").unwrap();
    let noise: Vec<u8> = (0..=255u8).filter(|byte| *byte != b'\n').cycle().take(4_000).collect();
    sender.write_all(&noise).unwrap();
    sender.write_all(b"\n").unwrap();
    let events = instance.lines("out.jsonl", 3);
    assert!(events[0].contains("before") && events[1].contains("after"), "{events:?}");
    let letters = instance.dead_letters(1);
    assert_eq!(letters[0]["reason"], "too_long");
    assert_eq!(letters[0]["raw_bytes"], (10 << 20) + 4);
    assert!(instance.memory_peak() < 150 << 20, "{} bytes", instance.memory_peak());
}

#[test]
fn half_a_frame_and_then_silence_is_set_aside() {
    let address = free_address();
    let instance = Instance::start(&syslog(address, "idle_timeout = \"1s\""));
    let mut sender = TcpStream::connect(address).unwrap();
    sender.write_all(b"100 <13>1 2026-03-01T10:00:00Z h app - - - half").unwrap();
    let letters = instance.dead_letters(1);
    assert_eq!(letters[0]["reason"], "incomplete_frame", "{letters:?}");
    assert_eq!(sender.read(&mut [0]).unwrap_or(0), 0, "the connection is closed");
}

#[test]
fn json_nested_a_hundred_thousand_deep_is_set_aside() {
    let address = free_address();
    let instance = Instance::start(&json(address, ".seen = true"));
    let mut sender = TcpStream::connect(address).unwrap();
    let deep = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    writeln!(sender, "{deep}\n{{\"half\":\n{{\"n\":1}}").unwrap();
    assert_eq!(instance.lines("out.jsonl", 1).len(), 1);
    let letters = instance.dead_letters(2);
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].clone()).collect();
    assert_eq!(reasons, ["too_deep", "malformed"]);
}

#[test]
fn a_record_that_fails_or_never_ends_a_program_is_set_aside() {
    let address = free_address();
    let program = r#"
if .fail == true { assert!(false, message: "as asked for") }
.doubled = to_int!(.n) * 2
"#;
    let instance = Instance::start(&json(address, program));
    let mut sender = TcpStream::connect(address).unwrap();
    for number in 0..1_000 {
        writeln!(sender, "{{\"n\":{number}}}").unwrap();
    }
    writeln!(sender, "{{\"n\":\"many\"}}\n{{\"fail\":true}}").unwrap();
    instance.lines("out.jsonl", 1_000);
    let letters = instance.dead_letters(2);
    assert!(letters.iter().all(|letter| letter["component"] == "shape"), "{letters:?}");
    assert!(letters[1]["message"].as_str().unwrap().contains("as asked for"), "{letters:?}");
    let dead = instance.metrics().sum("azud_dead_letters_total", &[("component_id", "shape")]);
    assert_eq!(dead, 2.0);
}

#[test]
fn a_full_disk_at_the_file_sink_loses_and_tears_nothing() {
    let address = free_address();
    let folder = Folder::new();
    let small = folder.join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(&small)
        .status();
    let document = syslog(address, "").replace("@OUT@/out.jsonl", "@OUT@/small/out.jsonl");
    if !mounted.is_ok_and(|status| status.success()) {
        // Without the right to mount, a quota of the process does the same to its files.
        return full_by_limit(&document, address, folder);
    }
    let instance = Instance::start_in(folder, &document, &[]);
    fill_then_make_room(&instance, address, || {
        let remount = ["-o", "remount,size=64m"];
        let status = std::process::Command::new("mount").args(remount).arg(&small).status();
        assert!(status.unwrap().success());
    });
    drop(instance);
    let status = std::process::Command::new("umount").arg("-l").arg(&small).status();
    assert!(status.unwrap().success());
}

/// The same by `/dev/full`'s kin: the file is a link into a folder that appears only later.
fn full_by_limit(document: &str, address: SocketAddr, folder: Folder) {
    std::os::unix::fs::symlink("/dev/full", folder.join("small/out.jsonl")).unwrap();
    let instance = Instance::start_in(folder, document, &[]);
    let path = instance.folder.join("small/out.jsonl");
    fill_then_make_room(&instance, address, || std::fs::remove_file(&path).unwrap());
}

fn fill_then_make_room(instance: &Instance, address: SocketAddr, make_room: impl FnOnce()) {
    const EVENTS: usize = 4_000;
    let mut sender = TcpStream::connect(address).unwrap();
    for number in 0..EVENTS {
        writeln!(sender, "<13>1 2026-03-01T10:00:00Z h app {number} - - {}", "x".repeat(100))
            .unwrap();
    }
    wait::until("a word about the full disk", PATIENCE, || {
        instance.errors().iter().any(|line| line.contains("No space left")).then_some(())
    });
    make_room();
    let events = instance.lines("small/out.jsonl", EVENTS);
    assert_eq!(events.len(), EVENTS);
    for (number, event) in events.iter().enumerate() {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(event["procid"], number, "in order, none torn, none twice");
    }
}

#[test]
fn sigterm_under_load_delivers_everything_that_was_acknowledged_by_tcp() {
    let address = free_address();
    let instance = Instance::start(&syslog(address, ""));
    let sending = std::thread::spawn(move || {
        let mut sender = TcpStream::connect(address).unwrap();
        let line =
            format!("<13>1 2026-03-01T10:00:00Z h app - - - {}\n", "x".repeat(200)).repeat(100);
        let mut sent = 0usize;
        while sender.write_all(line.as_bytes()).is_ok() {
            sent += 100;
        }
        sent
    });
    instance.lines("out.jsonl", 10_000);
    let received = |instance: &Instance| {
        instance.metrics().sum("azud_component_received_events_total", &[("component_id", "in")])
    };
    let before = received(&instance);
    let (ended, folder) = instance.stop();
    sending.join().unwrap();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let lines = folder.lines("out.jsonl");
    assert!(lines.len() as f64 >= before, "{} of at least {before}", lines.len());
    assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')));
    let said = ended.errors.join("\n");
    assert!(said.contains(&format!("out delivered {} records", lines.len())), "{said}");
}

#[test]
fn a_datagram_flood_is_counted_to_the_last() {
    let address = free_address();
    let document = syslog(address, "receive_buffer_bytes = 65536").replace("\"tcp\"", "\"udp\"");
    let instance = Instance::start(&document);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    const SENT: usize = 50_000;
    for number in 0..SENT {
        let line = format!("<13>1 2026-03-01T10:00:00Z h app {number} - - flood");
        sender.send_to(line.as_bytes(), address).unwrap();
    }
    wait::until("every datagram to be received or counted as dropped", PATIENCE, || {
        let metrics = instance.metrics();
        let dropped = metrics.sum("azud_udp_kernel_drops_total", &[]);
        let labels = [("component_id", "in")];
        let received = metrics.sum("azud_component_received_events_total", &labels);
        (received + dropped == SENT as f64).then_some(())
    });
}
