//! What a program costs a record: `cargo bench -p azud-transforms`.
//!
//! Decodes a JSON line into the reused record and runs one `remap` on it, as a worker does; prints
//! the least and the median time of a record over some repeats: decoded only, with the program, and
//! with the program and written as JSON again. Under callgrind, divide the inclusive count of
//! `Remapping::apply` by its calls; `-- 500` takes fewer records than usual for it.

use azud_event::block::{Block, Frame, Layout};
use azud_event::codec::json::encode_json;
use azud_event::dead_letter::Fault;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{Next, Options, Port, Running, Transform, TransformSpec};
use azud_plan::diagnostic::Checker;
use azud_plan::document::Document;
use std::hint::black_box;
use std::time::Instant;

const SYSLOG: &str = concat!(
    r#"
source = '''
.event.dataset = "syslog"
.host.name = del(.hostname)
.process.name = del(.appname)
.process.pid = del(.procid)
.log.level = del(.severity)
if .process.name == "sshd" {
  m, err = parse_regex(
    .message,
    r'^(?P<verb>Failed|Accepted) (?P<method>\w+) for (?P<invalid>invalid user )?"#,
    r#"(?P<user>\S+) from (?P<ip>\S+) port (?P<port>\d+)'
  )
  if err == null {
    .event.outcome = if m.verb == "Failed" { "failure" } else { "success" }
    .event.action = "ssh_login"
    .user.name = m.user
    .source.ip = m.ip
    .source.port = to_int!(m.port)
  }
}
.priority = if includes(["err", "crit", "alert", "emerg"], .log.level) { "high" } else { "low" }
'''
"#,
);

const SYSLOG_LINE: &str = concat!(
    r#"{"appname":"sshd","facility":"auth","hostname":"web1","message":"Failed password for "#,
    r#"invalid user admin from 203.0.113.9 port 40022 ssh2","procid":4711,"severity":"info","#,
    r#""timestamp":"2026-03-01T10:00:00Z","version":1}"#,
);

const JSON: &str = r#"
source = '''
.http.response.status_code = del(.http.status)
.url.path = del(.http.path)
.event.duration_ns = to_int!(del(.duration_ms)) * 1000000
.service.name = downcase!(del(.service))
.tags = [.level, .event.action]
del(.user.id)
'''
"#;

const JSON_LINE: &str = concat!(
    r#"{"timestamp":"2026-03-01T10:00:00Z","level":"error","service":"CHECKOUT","#,
    r#""duration_ms":"12","http":{"status":500,"path":"/api/v1/cart","method":"POST"},"#,
    r#""event":{"action":"checkout","outcome":"failure"},"#,
    r#""user":{"id":"u-1","name":"alice"},"source":{"ip":"203.0.113.9"},"#,
    r#""message":"the request took too long"}"#,
);

/// How many records a repeat has, unless the command line says how many.
const RECORDS: u32 = 20_000;
const REPEATS: usize = 9;

/// Takes records and forgets them, or writes them over and over into the same memory.
struct Nowhere {
    out: Vec<u8>,
    writes: bool,
}

impl Next for Nowhere {
    fn emit(&mut self, _port: usize, record: &mut Record, _last: bool) {
        if self.writes {
            self.out.clear();
            encode_json(record, &mut self.out);
        }
        black_box((record, &self.out));
    }

    fn connected(&self, _port: usize) -> bool {
        true
    }

    fn discard(&mut self) {
        panic!("the program let a record go");
    }

    fn error(&mut self, fault: &Fault) {
        panic!("the program failed: {fault}");
    }
}

fn spec_of(toml: &str) -> Box<dyn TransformSpec> {
    let factory = azud_transforms::TRANSFORMS.iter().find(|factory| factory.name == "remap");
    let factory = factory.expect("there is a `remap`");
    let mut checker = Checker::default();
    let document = Document::parse(0, toml, &mut checker).expect("it is TOML");
    let inputs = [Port::logs()];
    let options =
        Options { inputs: &inputs, ..Options::new("bench", &document.root, factory.options) };
    (factory.check)(&options, &mut checker).expect("the program compiles")
}

/// Gives the nanoseconds of a record, repeat by repeat, in ascending order.
fn time(
    line: &str,
    records: u32,
    journal: bool,
    transform: Option<&mut Box<dyn Transform>>,
    writes: bool,
) -> Vec<f64> {
    let (mut transform, mut next) = (transform, Nowhere { out: Vec::new(), writes });
    let block = Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: line.len() as u64,
        received_at: EventTime::EPOCH,
        bytes: line.to_owned().into_bytes().into(),
        layout: Layout::Lines,
        peers: [].into(),
    };
    let frame = Frame { range: 0..line.len(), peer: 0, received_delta_us: 0 };
    let mut record = Record::new();
    record.set_journaling(journal);
    let mut repeat = || {
        let start = Instant::now();
        for _ in 0..records {
            record.begin(&block, &frame);
            record.decode_json(0..line.len()).expect("it is JSON");
            match &mut transform {
                Some(transform) => transform.apply(&mut record, &mut next).expect("it goes on"),
                None => {
                    black_box(&mut record);
                }
            }
        }
        start.elapsed().as_nanos() as f64 / f64::from(records)
    };
    let mut times: Vec<f64> = (0..REPEATS).map(|_| repeat()).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn main() {
    let records = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(RECORDS);
    for (name, toml, line) in [("syslog", SYSLOG, SYSLOG_LINE), ("json", JSON, JSON_LINE)] {
        let spec = spec_of(toml);
        let Running::Stateless(mut transform) = spec.build() else { panic!("remap is stateless") };
        let journal = spec.rolls_back();
        for (what, runs, writes) in [
            ("decode", false, false),
            ("decode and remap", true, false),
            ("decode, remap, encode", true, true),
        ] {
            let transform = runs.then_some(&mut transform);
            let times = time(line, records, journal, transform, writes);
            let (least, median) = (times[0], times[REPEATS / 2]);
            println!("{name:<8} {what:<22} {least:>8.0} ns least {median:>8.0} ns median");
        }
    }
}
