//! A flood on one source does not stand in the way of another: an alert of the quiet one comes long
//! before what was there first.

use crate::support::instance::Instance;
use crate::support::program::free_address;
use crate::support::receiver::Receiver;
use crate::support::tail::Tail;
use crate::support::wait::{self, PATIENCE};
use std::io::Write;
use std::net::TcpStream;

/// How many lines there are of the flood, all of them there before the first record of the other.
const FLOOD: usize = 200_000;

/// How many alerts come one after the other.
const ALERTS: usize = 2;

#[test]
fn an_alert_comes_before_the_flood_that_was_there_first() {
    let (address, receiver) = (free_address(), Receiver::silent());
    receiver.listen();
    let document = format!(
        r#"
[sources.flood]
type = "file"
include = ["@OUT@/flood.log"]
decoding.codec = "json"
glob_minimum_cooldown_ms = 20
[sources.quiet]
type = "syslog"
mode = "tcp"
address = "{address}"
[transforms.shape]
type = "remap"
inputs = ["flood"]
source = '.odd = mod(int!(.number), 2) == 1'
[transforms.told]
type = "alert"
inputs = ["quiet"]
rule = "quiet"
severity = "high"
title = "{{{{ procid }}}}"
[sinks.out]
type = "file"
inputs = ["shape"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
encoding.only_fields = ["number", "odd"]
[sinks.far]
type = "http"
inputs = ["told"]
uri = "http://{}/"
framing.method = "newline_delimited"
encoding.only_fields = ["title"]
batch.timeout_secs = 0.01
"#,
        receiver.address()
    );
    let instance = Instance::start(&document);
    let padding = "x".repeat(80);
    let line = |number| format!("{{\"number\":{number},\"is\":\"{padding}\"}}\n");
    instance.folder.write("flood.next", (0..FLOOD).map(line).collect::<String>());
    let flood = ["flood.next", "flood.log"].map(|name| instance.folder.join(name));
    std::fs::rename(&flood[0], &flood[1]).unwrap();
    instance.lines("out.jsonl", 1);
    let mut sender = TcpStream::connect(address).unwrap();
    for number in 0..ALERTS {
        writeln!(sender, "<13>1 - h app {number} - - only one").unwrap();
        wait::until("the alert", PATIENCE, || {
            let wanted = format!("{{\"title\":\"{number}\"}}");
            receiver.lines().contains(&wanted).then_some(())
        });
    }
    let before = instance.folder.lines("out.jsonl").len();
    assert!(before < FLOOD, "the alerts came behind the whole flood");
    println!("{ALERTS} alerts within the first {before} of {FLOOD} lines");
    let mut tail = Tail::new("out.jsonl");
    let mut written = 0;
    wait::until("the rest of the flood", 4 * PATIENCE, || {
        written += tail.lines(&instance.folder).len();
        (written >= FLOOD).then_some(())
    });
    assert_eq!((written, receiver.lines().len()), (FLOOD, ALERTS));
}
