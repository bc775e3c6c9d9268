//! Whole flows through the engine, with components made for it: real workers, real queues, no
//! sockets.

use crate::dead_letter::{self, Census};
use crate::intake::Acknowledge;
use crate::recovery::Durability;
use crate::supervise::{Built, Engine, Settings};
use azud_event::block::{Block, Frame, Layout};
use azud_event::clock::Clock;
use azud_event::codec::Decoder;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::id::{SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{
    Batches, Body, BuildContext, BuildError, Encoder, EpochClock, KeyedState, Kind, Next, Port,
    Progress, Resource, RowContext, RowMaker, RunError, Running, SinkSpec, SinkTask, SourceContext,
    SourceSpec, SourceTask, Taken, Told, Transform, TransformSpec,
};
use azud_plan::plan::{
    Output, Pipeline, Plan, Reader, SinkNode, Source, SourceInput, Stall, Timing, TransformNode,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use vrl::owned_value_path;
use vrl::value::Value;

type Event = serde_json::Value;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A source that has everything it will ever send: for each stream its lines, cut into blocks of so
/// many lines.
#[derive(Clone)]
struct Script {
    streams: Vec<Vec<String>>,
    cuts: Vec<usize>,
    submitted: Arc<AtomicUsize>,
}

impl SourceSpec for Script {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(Lines)
    }
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
    fn build(&self, _: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        Ok(Box::new(self.clone()))
    }
}

impl SourceTask for Script {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        async move {
            let mut cuts = self.cuts.iter().cycle();
            let mut rest: Vec<&[String]> = self.streams.iter().map(Vec::as_slice).collect();
            let mut ends = vec![0; rest.len()];
            while rest.iter().any(|lines| !lines.is_empty()) {
                for (stream, lines) in rest.iter_mut().enumerate() {
                    let cut = (*cuts.next().expect("a script has cuts")).min(lines.len());
                    let (now, later) = lines.split_at(cut);
                    *lines = later;
                    if now.is_empty() {
                        continue;
                    }
                    let bytes = Bytes::from(now.join("\n") + "\n");
                    let position = ends[stream];
                    ends[stream] += bytes.len() as u64;
                    let block = Block {
                        source: context.source,
                        stream: StreamId(stream as u64),
                        position,
                        end: ends[stream],
                        received_at: EventTime::EPOCH,
                        layout: Layout::Lines,
                        peers: Arc::new([]),
                        bytes,
                    };
                    self.submitted.fetch_add(block.bytes.len(), SeqCst);
                    context.intake.submit(block).await;
                }
            }
            Ok(())
        }
        .boxed()
    }
}

/// Each line is `.message`.
struct Lines;

impl Decoder for Lines {
    fn decode(
        &mut self,
        _: &Block,
        frame: &Frame,
        record: &mut Record,
        emit: &mut dyn FnMut(&mut Record),
    ) -> Result<(), Fault> {
        record.push_text("message", frame.range.clone());
        if record.raw() == b"malformed" {
            return Err(Fault::new(Reason::Malformed, "as asked for"));
        }
        emit(record);
        Ok(())
    }
}

/// Sets a field, unless the message tells it to do something else.
#[derive(Clone)]
struct Mark(&'static str);

impl TransformSpec for Mark {
    fn outputs(&self, _: &Port) -> Vec<Port> {
        vec![Port::logs()]
    }
    fn build(&self) -> Running {
        Running::Stateless(Box::new(self.clone()))
    }
}

impl Transform for Mark {
    fn apply(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault> {
        let message = message(record);
        assert_ne!(message, "panic", "as asked for");
        if message == "fail" {
            return Err(Fault::new(Reason::ProgramFailed, "as asked for"));
        }
        record.insert(&owned_value_path!(self.0), Value::from(true));
        next.emit(0, record, true);
        Ok(())
    }
}

/// Counts messages by their first letter.
struct Count;

impl TransformSpec for Count {
    fn outputs(&self, _: &Port) -> Vec<Port> {
        vec![Port::logs()]
    }
    fn build(&self) -> Running {
        Running::Keyed {
            rows: Box::new(CountRows::default()),
            state: Box::new(|| Box::new(Counts::default())),
        }
    }
}

#[derive(Default)]
struct CountRows(Vec<Row>);

impl RowMaker for CountRows {
    fn take(&mut self, record: &Record, context: &RowContext) -> Result<Taken, Fault> {
        let message = message(record);
        let key = message.as_bytes()[..1].to_vec();
        let group = context.partitioner.group(&key);
        let (key, payload) = (key.into(), message.into_bytes().into());
        let row = Row { group, place: record.place(), key, payload };
        self.0.push(row);
        Ok(Taken::Counted)
    }
    fn drain(&mut self, rows: &mut Vec<Row>) {
        rows.append(&mut self.0);
    }
}

#[derive(Default)]
struct Counts(BTreeMap<Vec<u8>, (u64, Vec<u8>)>);

impl KeyedState for Counts {
    fn on_epoch(
        &mut self,
        rows: &[Row],
        clock: &EpochClock,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Progress {
        assert!(rows.is_sorted_by_key(|row| row.place), "rows come in canonical order");
        let mut touched = BTreeMap::new();
        for row in rows {
            let known = self.0.entry(row.key.to_vec()).or_default();
            known.0 += 1;
            known.1 = row.payload.to_vec();
            touched.insert(row.key.to_vec(), known.clone());
        }
        for (key, (count, last)) in touched {
            let value = vrl::value!({
                "key": (Value::from(Bytes::from(key))),
                "count": (count as i64),
                "last": (Value::from(Bytes::from(last))),
            });
            tell(Told { port: 0, event_time: clock.now, body: Body::Value(value), parts: None });
        }
        Progress::Done
    }
    fn keys(&self) -> u64 {
        self.0.len() as u64
    }
    fn snapshot(&self) -> Vec<u8> {
        let pairs: Vec<_> = self.0.iter().collect();
        serde_json::to_vec(&pairs).unwrap()
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let pairs: Vec<_> = serde_json::from_slice(snapshot).map_err(|error| error.to_string())?;
        self.0 = pairs.into_iter().collect();
        Ok(())
    }
}

/// Keeps what it gets, and confirms while its gate is open.
#[derive(Clone)]
struct Keep {
    kept: Arc<Mutex<Vec<String>>>,
    gate: watch::Receiver<bool>,
}

impl SinkSpec for Keep {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(Json)
    }
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
    fn build(&self, _: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        Ok(Box::new(self.clone()))
    }
}

impl SinkTask for Keep {
    fn run(self: Box<Self>, mut batches: Batches) -> BoxFuture<'static, Result<(), RunError>> {
        async move {
            let mut gate = self.gate.clone();
            while let Some(batch) = batches.next().await {
                let _ = gate.wait_for(|open| *open).await;
                let text = String::from_utf8(batch.bytes.to_vec()).unwrap();
                assert_eq!(text.lines().count(), batch.records);
                self.kept.lock().unwrap().extend(text.lines().map(str::to_owned));
                batch.confirmation.confirm();
            }
            Ok(())
        }
        .boxed()
    }
}

struct Json;

impl Encoder for Json {
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend(
            format!("{}\n", serde_json::to_string(&record.to_value()).unwrap()).into_bytes(),
        );
        Ok(())
    }
}

fn message(record: &Record) -> String {
    let value = record.get(&owned_value_path!("message"));
    value
        .and_then(Value::as_bytes)
        .map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn reads(readers: &[Reader]) -> Vec<Output> {
    vec![Output { port: Port::logs(), readers: readers.to_vec() }]
}

/// `lines → { a → kept 0, b → kept 1, count → kept 2 }`: one record three ways, two of which change
/// it.
fn plan(script: &Script, keeps: &[Keep; 3], stall: &Stall) -> Plan {
    let transform = |id: &str, spec: Arc<dyn TransformSpec>, sink| TransformNode {
        id: id.to_owned(),
        kind: "test",
        spec,
        outputs: reads(&[Reader::Sink(sink)]),
        written: "".into(),
    };
    let sink = |(index, keep): (usize, &Keep)| SinkNode {
        id: format!("keep{index}"),
        kind: "test",
        spec: Arc::new(keep.clone()),
        input: Kind::Log,
        stall: stall.clone(),
        written: "".into(),
        document: "".into(),
    };
    let readers = [Reader::Transform(0), Reader::Transform(1), Reader::Transform(2)];
    let input = SourceInput { source: SourceIndex(0), outputs: reads(&readers) };
    let pipeline = Pipeline {
        name: "test".to_owned(),
        sources: vec![input],
        transforms: vec![
            transform("a", Arc::new(Mark("a")), 0),
            transform("b", Arc::new(Mark("b")), 1),
            transform("count", Arc::new(Count), 2),
        ],
        sinks: keeps.iter().enumerate().map(sink).collect(),
    };
    let spec = Arc::new(script.clone());
    let source = Source {
        id: "lines".into(),
        kind: "test",
        spec,
        timing: Timing::default(),
        written: "".into(),
        document: "".into(),
    };
    Plan { sources: vec![source], pipelines: vec![pipeline] }
}

pub(crate) struct Flow {
    pub(crate) engine: Engine,
    kept: [Arc<Mutex<Vec<String>>>; 3],
    /// The data folder, for the letters in it, and what removes it unless somebody else does.
    data: (PathBuf, Option<tempfile::TempDir>),
    submitted: Arc<AtomicUsize>,
}

impl Flow {
    /// Starts a flow that keeps what it takes in in memory only.
    fn start(
        streams: Vec<Vec<String>>,
        cuts: Vec<usize>,
        threads: usize,
        gates: [watch::Receiver<bool>; 3],
    ) -> Flow {
        Flow::start_with(None, Stall::default(), streams, cuts, threads, gates)
    }

    /// Starts a flow that keeps what it takes in in a folder.
    pub(crate) fn start_in(
        folder: &Path,
        streams: Vec<Vec<String>>,
        cuts: Vec<usize>,
        threads: usize,
        gates: [watch::Receiver<bool>; 3],
    ) -> Flow {
        Flow::start_stalling(folder, Stall::default(), streams, cuts, threads, gates)
    }

    /// Does what [`Flow::start_in`] does, with sinks that do this when they stall.
    pub(crate) fn start_stalling(
        folder: &Path,
        stall: Stall,
        streams: Vec<Vec<String>>,
        cuts: Vec<usize>,
        threads: usize,
        gates: [watch::Receiver<bool>; 3],
    ) -> Flow {
        let durability = Durability {
            folder: folder.to_owned(),
            incarnation: [3; 16],
            max_bytes: 1 << 30,
            retain: Duration::ZERO,
            acknowledge: Acknowledge::Logged,
            checkpoint_interval: Duration::from_millis(30),
            drop_state: Vec::new(),
            accept_gap: Vec::new(),
        };
        Flow::start_with(Some(durability), stall, streams, cuts, threads, gates)
    }

    fn start_with(
        durability: Option<Durability>,
        stall: Stall,
        streams: Vec<Vec<String>>,
        cuts: Vec<usize>,
        threads: usize,
        gates: [watch::Receiver<bool>; 3],
    ) -> Flow {
        let submitted = Arc::new(AtomicUsize::new(0));
        let script = Script { streams, cuts, submitted: Arc::clone(&submitted) };
        let keeps = gates.map(|gate| Keep { kept: Arc::default(), gate });
        let kept = [0, 1, 2].map(|index| Arc::clone(&keeps[index].kept));
        let data = match &durability {
            Some(durability) => (durability.folder.clone(), None),
            None => {
                let folder = tempfile::tempdir().unwrap();
                (folder.path().to_owned(), Some(folder))
            }
        };
        let settings = Settings {
            threads,
            credit_bytes: 64 * 1024,
            intake_bytes: 16 * 1024,
            durability,
            dead_letters: data.0.join(dead_letter::FOLDER),
            dead_letter_bytes: 1 << 20,
            partition_secret: [7; 16],
            clock: Clock::system(),
        };
        let sinks = keeps.iter().map(|keep| Box::new(keep.clone()) as Box<dyn SinkTask>).collect();
        let built = Built { sources: vec![Box::new(script.clone())], sinks: vec![sinks] };
        Flow {
            engine: Engine::start(plan(&script, &keeps, &stall), built, settings).unwrap(),
            kept,
            data,
            submitted,
        }
    }

    /// Tells how many bytes were handed to the intake, taken or not.
    pub(crate) fn submitted(&self) -> usize {
        self.submitted.load(SeqCst)
    }

    pub(crate) async fn ended(&self) {
        tokio::time::timeout(PATIENCE, self.engine.ended()).await.expect("it ends").unwrap();
    }

    pub(crate) fn kept(&self, sink: usize) -> Vec<serde_json::Value> {
        let kept = self.kept[sink].lock().unwrap();
        kept.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Gives the dead letters.
    pub(crate) fn letters(&self) -> Vec<serde_json::Value> {
        let mut census = Census::of(&self.data.0, [3; 16]);
        let groups = census.take().unwrap().groups;
        let letters = groups.iter().flat_map(|group| census.letters(group, usize::MAX).unwrap());
        letters.map(|line| serde_json::from_slice(&line).unwrap()).collect()
    }
}

pub(crate) fn open() -> [watch::Receiver<bool>; 3] {
    [0; 3].map(|_| watch::channel(true).1)
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Lines of one stream among kept events, in order.
pub(crate) fn of_stream(kept: &[serde_json::Value], stream: usize) -> Vec<String> {
    let suffix = format!("@{stream}");
    let messages = kept.iter().filter_map(|event| event["message"].as_str());
    messages.filter(|message| message.ends_with(&suffix)).map(str::to_owned).collect()
}

/// The last result for each key.
pub(crate) fn last_counts(kept: &[serde_json::Value]) -> BTreeMap<String, u64> {
    let count = |event: &serde_json::Value| {
        (event["key"].as_str().unwrap().to_owned(), event["count"].as_u64().unwrap())
    };
    let mut last = BTreeMap::new();
    for (key, count) in kept.iter().map(count) {
        let known = last.entry(key).or_insert(0);
        *known = count.max(*known);
    }
    last
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn workers_and_cuts_do_not_show(
        lines in vec(vec("[a-e][0-9]{0,12}", 0..300), 1..6),
        cuts in vec(1usize..40, 1..8),
    ) {
        let streams: Vec<Vec<String>> = lines.iter().enumerate().map(|(stream, lines)| {
            lines.iter().map(|line| format!("{line}@{stream}")).collect()
        }).collect();
        let mut counts = Vec::new();
        for threads in [1, 2, 4] {
            let (kept, counted) = runtime().block_on(async {
                // A log, and none: that does not show, either.
                let folder = tempfile::tempdir().unwrap();
                let (streams, cuts) = (streams.clone(), cuts.clone());
                let flow = match threads {
                    2 => Flow::start_in(folder.path(), streams, cuts, threads, open()),
                    _ => Flow::start(streams, cuts, threads, open()),
                };
                flow.ended().await;
                ([flow.kept(0), flow.kept(1)], last_counts(&flow.kept(2)))
            });
            for (stream, lines) in streams.iter().enumerate() {
                prop_assert_eq!(&of_stream(&kept[0], stream), lines);
                prop_assert_eq!(&of_stream(&kept[1], stream), lines);
            }
            // What one way changed, the other does not see.
            for (kept, own, other) in [(&kept[0], "a", "b"), (&kept[1], "b", "a")] {
                let alone = |event: &Event| event[own] == true && event[other].is_null();
                prop_assert!(kept.iter().all(alone));
            }
            counts.push(counted);
        }
        prop_assert_eq!(&counts[0], &counts[1]);
        prop_assert_eq!(&counts[0], &counts[2]);
    }
}

#[test]
fn what_panics_fails_or_is_malformed_is_set_aside_alone() {
    let mut lines: Vec<String> = (0..100).map(|n| format!("x{n}@0")).collect();
    for (at, word) in [(10, "panic"), (20, "fail"), (30, "malformed"), (31, "panic")] {
        lines.insert(at, word.to_owned());
    }
    runtime().block_on(async {
        let flow = Flow::start(vec![lines], vec![64], 2, open());
        flow.ended().await;
        for sink in [0, 1] {
            assert_eq!(of_stream(&flow.kept(sink), 0).len(), 100, "sink {sink}");
        }
        let mut letters: Vec<_> = flow
            .letters()
            .iter()
            .map(|letter| {
                (letter["raw"].as_str().unwrap().to_owned(), letter["reason"].to_string())
            })
            .collect();
        letters.sort();
        let expected = [
            // Both transforms refuse it, each for itself.
            ("fail", "program_failed"),
            ("fail", "program_failed"),
            ("malformed", "malformed"),
            ("panic", "panic"),
            ("panic", "panic"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(raw, reason)| ((*raw).to_owned(), format!("{reason:?}")))
            .collect();
        assert_eq!(letters, expected);
    });
}

#[test]
fn a_sink_that_stops_holds_the_source_and_loses_nothing() {
    let streams: Vec<Vec<String>> =
        (0..4).map(|stream| (0..20_000).map(|n| format!("line {n}@{stream}")).collect()).collect();
    let total: usize = streams.iter().flatten().map(|line| line.len() + 1).sum();
    runtime().block_on(async {
        let (gate, closed) = watch::channel(false);
        let [first, _, third] = open();
        let flow = Flow::start(streams.clone(), vec![50], 2, [first, closed, third]);
        // It has stopped when nothing was taken in for a while; the source has no reason of its own
        // to pause.
        let mut timer = tokio::time::interval(Duration::from_millis(20));
        let (mut seen, mut still) = (0, 0);
        while still < 20 {
            timer.tick().await;
            let now = flow.submitted.load(SeqCst);
            still = if now == seen && !flow.kept(0).is_empty() { still + 1 } else { 0 };
            seen = now;
        }
        // Credit (64 KiB), the ring (16 KiB), and at most one block more at each of them.
        assert!(seen < 64 * 1024 + 16 * 1024 + 4 * 1024, "{seen} of {total} bytes were taken in");
        gate.send_replace(true);
        flow.ended().await;
        for (stream, lines) in streams.iter().enumerate() {
            assert_eq!(&of_stream(&flow.kept(1), stream), lines);
        }
    });
}

#[test]
fn shutting_down_delivers_what_was_taken_or_says_that_it_could_not() {
    let lines: Vec<String> = (0..1_000).map(|n| format!("x{n}@0")).collect();
    runtime().block_on(async {
        let (_gate, closed) = watch::channel(false);
        let [first, _, third] = open();
        let flow = Flow::start(vec![lines], vec![10], 1, [first, closed, third]);
        let outcome = flow.engine.shut_down(Duration::from_millis(200)).await;
        assert!(outcome.unwrap_err().to_string().contains("200ms"));
    });
}
