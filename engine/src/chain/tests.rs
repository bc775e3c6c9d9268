//! A chain without a worker around it.

use crate::chain::Chain;
use crate::event_clock::{EventClock, Patience};
use azud_event::block::{Block, Frame, Layout};
use azud_event::codec::Decoder;
use azud_event::codec::source_fields::SourceFields;
use azud_event::codec::syslog::{SyslogDecoder, SyslogOptions, Zone};
use azud_event::dead_letter::Fault;
use azud_event::id::{Partitioner, SourceIndex, StreamId};
use azud_event::record::{Record, Wanted};
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{
    BuildContext, BuildError, Encoder, EpochClock, KeyedState, Kind, Needle, Next, Port, Progress,
    Resource, RowContext, RowMaker, Running, SinkSpec, SinkTask, SourceSpec, SourceTask, Taken,
    Told, Transform, TransformSpec,
};
use azud_plan::plan::{
    Output, Pipeline, Plan, Reader, SinkNode, Source, SourceInput, Stall, Timing, TransformNode,
};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;

/// A source of syslog, whose message stands in the frame as it is; a frame of spaces is a fault.
struct Text;

impl SourceSpec for Text {
    fn decoder(&self) -> Box<dyn Decoder> {
        let fields = SourceFields::new("test");
        let options = SyslogOptions { zone: Zone::UTC, fields, source_ip: false };
        Box::new(SyslogDecoder::new(options))
    }
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
    fn build(&self, _: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        Err(BuildError { message: "never run".into(), help: None })
    }
}

/// Lets through what holds a text; says so beforehand, or not.
struct Holds {
    text: &'static str,
    needle: Option<Needle>,
}

impl TransformSpec for Holds {
    fn outputs(&self, _: &Port) -> Vec<Port> {
        vec![Port::logs()]
    }
    fn build(&self) -> Running {
        Running::Stateless(Box::new(Holds { text: self.text, needle: None }))
    }
    fn needle(&self) -> Option<&Needle> {
        self.needle.as_ref()
    }
}

impl Transform for Holds {
    fn apply(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault> {
        let message = record.get_bytes(&owned_value_path!("message"));
        let message = message.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if message.is_some_and(|message| message.contains(self.text)) {
            next.emit(0, record, true);
        } else {
            next.discard();
        }
        Ok(())
    }
}

struct Messages;

impl SinkSpec for Messages {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(Messages)
    }
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
    fn build(&self, _: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        Err(BuildError { message: "never run".into(), help: None })
    }
}

impl Encoder for Messages {
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(record.raw());
        out.push(b'\n');
        Ok(())
    }
}

/// Makes a row of each record.
#[derive(Default)]
struct Gathers(Vec<Row>);

impl TransformSpec for Gathers {
    fn outputs(&self, _: &Port) -> Vec<Port> {
        vec![Port::logs()]
    }
    fn build(&self) -> Running {
        let state = || Box::new(Gathers::default()) as _;
        Running::Keyed { rows: Box::new(Gathers::default()), state: Box::new(state) }
    }
}

impl RowMaker for Gathers {
    fn take(&mut self, record: &Record, context: &RowContext) -> Result<Taken, Fault> {
        let (key, payload) = (b"all".to_vec(), record.raw().to_vec());
        let group = context.partitioner.group(&key);
        let (key, payload) = (key.into(), payload.into());
        self.0.push(Row { group, place: record.place(), key, payload });
        Ok(Taken::Counted)
    }
    fn drain(&mut self, rows: &mut Vec<Row>) {
        rows.append(&mut self.0);
    }
}

impl KeyedState for Gathers {
    fn on_epoch(&mut self, _: &[Row], _: &EpochClock, _: &mut dyn FnMut(Told<'_>)) -> Progress {
        Progress::Done
    }
    fn keys(&self) -> u64 {
        0
    }
    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

const TEXT: &str = "ab";

fn reads(reader: Reader) -> Vec<Output> {
    vec![Output { port: Port::logs(), readers: vec![reader] }]
}

/// Makes a plan: a source, the filter that looks for [`TEXT`], what stands behind it, and a sink.
fn plan(needle: bool, behind: Option<TransformNode>) -> Plan {
    let needle = needle.then(|| Needle { field: "message".into(), text: TEXT.into() });
    let last = behind.as_ref().map_or(Reader::Sink(0), |_| Reader::Transform(1));
    let holds = TransformNode {
        id: "holds".into(),
        kind: "test",
        spec: Arc::new(Holds { text: TEXT, needle }),
        outputs: reads(last),
        written: "".into(),
    };
    Plan {
        sources: vec![Source {
            id: "in".into(),
            kind: "test",
            spec: Arc::new(Text),
            timing: Timing::default(),
            written: "".into(),
            document: "".into(),
        }],
        pipelines: vec![Pipeline {
            name: "test".into(),
            sources: vec![SourceInput {
                source: SourceIndex(0),
                outputs: reads(Reader::Transform(0)),
            }],
            transforms: [holds].into_iter().chain(behind).collect(),
            sinks: vec![SinkNode {
                id: "out".into(),
                kind: "test",
                spec: Arc::new(Messages),
                input: Kind::Log,
                stall: Stall::default(),
                written: "".into(),
                document: "".into(),
            }],
        }],
    }
}

/// Runs a block through source, filter and sink; gives what the sink gets, and the dead letters.
fn run(block: &Block, needle: bool) -> Vec<usize> {
    let plan = plan(needle, None);
    let partitioner = Partitioner::new([0; 16]);
    let mut chain = Chain::behind_sources(&plan, &plan.pipelines[0], partitioner, |_| true);
    chain.block(block, &mut Record::new());
    let mut out = Vec::new();
    chain.flush(true, |encoded| {
        out.push(encoded.sink);
        out.extend(encoded.bytes.into_iter().map(usize::from));
    });
    out
}

proptest! {
    #[test]
    fn a_needle_does_not_show(
        lines in vec("[ab \r\u{0}é]{0,6}", 0..40),
        syslog in any::<bool>(),
    ) {
        let bytes = Bytes::from(lines.join("\n"));
        let block = Block {
            source: SourceIndex(0),
            stream: StreamId(0),
            position: 0,
            end: bytes.len() as u64,
            received_at: EventTime::EPOCH,
            bytes,
            layout: if syslog { Layout::Syslog } else { Layout::Lines },
            peers: Arc::new([]),
        };
        prop_assert_eq!(run(&block, true), run(&block, false));
    }
}

/// How many records are one epoch.
const OF_AN_EPOCH: usize = 1_000;

/// How many records there are, one of which the filter lets through: a million where soaks are
/// long.
fn records() -> usize {
    if std::env::var_os("AZUD_SOAK_SECONDS").is_some() { 1_000_000 } else { 100_000 }
}

/// Gives for each epoch how many records came to the windows, and how far event time had come.
fn epochs(records: usize, needle: bool) -> Vec<(usize, EventTime)> {
    let gathers = TransformNode {
        id: "gathers".into(),
        kind: "test",
        spec: Arc::new(Gathers::default()),
        outputs: reads(Reader::Sink(0)),
        written: "".into(),
    };
    let plan = plan(needle, Some(gathers));
    let partitioner = Partitioner::new([0; 16]);
    let mut chain = Chain::behind_sources(&plan, &plan.pipelines[0], partitioner, |_| true);
    let patience = Patience {
        lateness: Duration::from_secs(10),
        max_hold: Duration::from_secs(15),
        expected: Vec::new(),
    };
    let mut clock = EventClock::new(vec![("in".to_owned(), patience)], vec![vec![0]]);
    let mut record = Record::new();
    let epoch = |number: usize| {
        let (minute, second) = (number / 60, number % 60);
        let line =
            |text: &str| format!("<13>1 2026-03-01T10:{minute:02}:{second:02}Z h a - - - {text}\n");
        let mut lines = line("x").repeat(OF_AN_EPOCH - 1);
        let hit = number == records / OF_AN_EPOCH / 2;
        lines.push_str(&line(if hit { TEXT } else { "x" }));
        let bytes = Bytes::from(lines);
        let received_at =
            EventTime::from_nanoseconds(1_772_359_200_000_000_000 + number as i64 * 1_000_000_000);
        let block = Block {
            source: SourceIndex(0),
            stream: StreamId(0),
            position: number as u64 * bytes.len() as u64,
            end: (number as u64 + 1) * bytes.len() as u64,
            received_at,
            bytes,
            layout: Layout::Syslog,
            peers: Arc::new([]),
        };
        chain.block(&block, &mut record);
        let mut rows = 0;
        chain.take_rows(|_, made| rows += made.len());
        chain.take_observed().into_iter().for_each(|seen| clock.observe(seen));
        clock.advance(received_at);
        (rows, clock.of(0).0)
    };
    (0..records / OF_AN_EPOCH).map(epoch).collect()
}

#[test]
fn a_needle_does_not_show_in_when_windows_fire() {
    let records = records();
    let without = epochs(records, false);
    let fires: Vec<usize> = (0..).zip(&without).filter(|(_, it)| it.0 > 0).map(|it| it.0).collect();
    assert_eq!(fires, [records / OF_AN_EPOCH / 2]);
    assert!(without.is_sorted_by(|a, b| a.1 < b.1), "event time goes on with every epoch");
    assert_eq!(epochs(records, true), without);
}

/// A source whose decoder notes which fields it is told are looked at.
#[derive(Default)]
struct Noting(Arc<Mutex<Vec<Wanted>>>);

impl SourceSpec for Noting {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(Noting(Arc::clone(&self.0)))
    }
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
    fn build(&self, _: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        Err(BuildError { message: "never run".into(), help: None })
    }
}

impl Decoder for Noting {
    fn decode(
        &mut self,
        _: &Block,
        _: &Frame,
        _: &mut Record,
        _: &mut dyn FnMut(&mut Record),
    ) -> Result<(), Fault> {
        Ok(())
    }
    fn narrow(&mut self, wanted: Wanted) {
        self.0.lock().unwrap().push(wanted);
    }
}

/// Looks at some fields, or maybe at all; keyed or not.
struct Looks {
    at: Option<Vec<OwnedValuePath>>,
    keyed: bool,
}

impl TransformSpec for Looks {
    fn outputs(&self, _: &Port) -> Vec<Port> {
        vec![Port::logs()]
    }
    fn build(&self) -> Running {
        match self.keyed {
            true => Gathers::default().build(),
            false => Running::Stateless(Box::new(Holds { text: TEXT, needle: None })),
        }
    }
    fn reads(&self) -> Option<Vec<OwnedValuePath>> {
        self.at.clone()
    }
}

/// Gives the fields that a decoder is told of, if it is: behind its source stands what looks at
/// `first`, and behind that what looks at `keyed`, and a sink, if it is to be `watched`.
fn told(
    first: Option<Vec<OwnedValuePath>>,
    keyed: Option<Vec<OwnedValuePath>>,
    watched: bool,
    expect: &[&str],
) -> Vec<Wanted> {
    let looks = |at, keyed, outputs| TransformNode {
        id: format!("looks {keyed}"),
        kind: "test",
        spec: Arc::new(Looks { at, keyed }),
        outputs,
        written: "".into(),
    };
    let mut plan = plan(false, Some(looks(keyed, true, reads(Reader::Sink(0)))));
    let mut outputs = reads(Reader::Transform(1));
    outputs[0].readers.extend(watched.then_some(Reader::Sink(0)));
    plan.pipelines[0].transforms[0] = looks(first, false, outputs);
    let noting = Noting::default();
    let seen = Arc::clone(&noting.0);
    let source = &mut plan.sources[0];
    source.spec = Arc::new(noting);
    source.timing.event_time = Some(owned_value_path!("at"));
    source.timing.expect = expect.iter().map(|name| (*name).to_owned()).collect();
    Chain::behind_sources(&plan, &plan.pipelines[0], Partitioner::new([0; 16]), |_| true);
    std::mem::take(&mut *seen.lock().unwrap())
}

#[test]
fn a_decoder_is_told_what_is_looked_at_unless_that_may_be_all() {
    let (message, user) = (owned_value_path!("message"), owned_value_path!("user", "name"));
    let (one, other) = (Some(vec![message.clone()]), Some(vec![user.clone()]));
    let mut paths = vec![owned_value_path!("at"), message, user];
    let wanted = |paths: &[OwnedValuePath]| vec![Wanted::of(paths).unwrap()];
    assert_eq!(told(one.clone(), other.clone(), false, &[]), wanted(&paths));
    assert_eq!(told(None, other.clone(), false, &[]), []);
    assert_eq!(told(one.clone(), None, false, &[]), []);
    assert_eq!(told(one.clone(), other.clone(), true, &[]), []);
    paths.splice(1..1, [owned_value_path!("hostname"), owned_value_path!("host")]);
    assert_eq!(told(one, other, false, &["web-1"]), wanted(&paths));
}
