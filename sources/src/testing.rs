//! What the tests of sources share: a document's table made a source, an intake with a bound,
//! events read back.

use azud_event::block::{Block, Layout, Peer};
use azud_event::clock::Clock;
use azud_event::codec::framing::frames;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{
    Acknowledged, BuildContext, Intake, Options, SOURCE_OPTIONS, Shutdown, SourceContext,
    SourceFactory, SourceSpec, SourceTask, check_options,
};
use azud_plan::diagnostic::{Checker, Diagnostic};
use azud_plan::document::Document;
use azud_plan::telemetry::{SourceMeter, component_labels};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// 2026-03-01T10:00:00Z, when the blocks of examples are received.
pub(crate) const RECEIVED_AT: EventTime =
    EventTime::from_nanoseconds(1_772_359_200 * 1_000_000_000);

/// Checks a table as a document would have it.
pub(crate) fn check(
    factory: &'static SourceFactory,
    toml: &str,
) -> Result<Box<dyn SourceSpec>, Vec<Diagnostic>> {
    checked(factory, toml).map(|(spec, _)| spec)
}

/// Checks a table that has no fault, and gives what is told of it all the same.
pub(crate) fn warnings(factory: &'static SourceFactory, toml: &str) -> Vec<Diagnostic> {
    let checked = checked(factory, toml);
    checked.map(|(_, told)| told).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

type Checked = (Box<dyn SourceSpec>, Vec<Diagnostic>);

fn checked(factory: &'static SourceFactory, toml: &str) -> Result<Checked, Vec<Diagnostic>> {
    let mut checker = Checker::default();
    let document = Document::parse(0, toml, &mut checker).expect("the table is TOML");
    let common: Vec<&str> = SOURCE_OPTIONS.iter().map(|option| option.name).collect();
    check_options(&document.root, factory.options, &common, "a source", &mut checker);
    let mut options = Options::new("in", &document.root, factory.options);
    options.common = SOURCE_OPTIONS;
    let spec = (factory.check)(&options, &mut checker);
    match spec {
        Some(spec) if !checker.failed() => Ok((spec, checker.diagnostics)),
        _ => {
            assert!(checker.failed(), "a source was refused without a word");
            Err(checker.diagnostics)
        }
    }
}

/// Checks a table that has no fault.
pub(crate) fn spec(factory: &'static SourceFactory, toml: &str) -> Box<dyn SourceSpec> {
    check(factory, toml).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// Gives what `build` gives for a folder.
pub(crate) fn build_context(data_dir: &Path) -> BuildContext {
    BuildContext {
        id: "in".to_owned(),
        pipeline: String::new(),
        data_dir: data_dir.to_owned(),
        clock: Clock::system(),
        services: Arc::default(),
    }
}

/// The engine, as far as a source sees it.
pub(crate) struct Bench {
    intake: Arc<FakeIntake>,
    pub(crate) acknowledged: Arc<Acknowledged>,
    name: &'static str,
}

struct FakeIntake {
    acknowledged: Option<Arc<Acknowledged>>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// Bytes that may wait.
    room: usize,
    waiting: usize,
    blocks: Vec<Block>,
    queue: VecDeque<oneshot::Sender<()>>,
}

impl FakeIntake {
    fn admit(&self, state: &mut State, block: Block) -> Result<(), Block> {
        if state.waiting >= state.room {
            return Err(block);
        }
        if let Some(acknowledged) = &self.acknowledged {
            acknowledged.note(block.stream, block.end);
        }
        state.waiting += block.bytes.len();
        state.blocks.push(block);
        Ok(())
    }
}

impl Intake for FakeIntake {
    fn submit(&self, block: Block) -> BoxFuture<'_, ()> {
        async move {
            let mut block = block;
            loop {
                let turn = {
                    let mut state = self.state.lock().unwrap();
                    match self.admit(&mut state, block) {
                        Ok(()) => break,
                        Err(back) => block = back,
                    }
                    let (sender, turn) = oneshot::channel();
                    state.queue.push_back(sender);
                    turn
                };
                self.changed.notify_waiters();
                let _ = turn.await;
            }
            self.changed.notify_waiters();
        }
        .boxed()
    }

    fn try_submit(&self, block: Block) -> Result<(), Block> {
        let admitted = self.admit(&mut self.state.lock().unwrap(), block);
        self.changed.notify_waiters();
        admitted
    }
}

impl Bench {
    /// Makes an engine that takes in `room` bytes, about, until it is given more room. `name` must
    /// be used once: the counters go by it. What it takes is delivered at once.
    pub(crate) fn new(name: &'static str, room: usize) -> Self {
        let acknowledged = Arc::<Acknowledged>::default();
        Self::with(name, room, Arc::clone(&acknowledged), Some(acknowledged))
    }

    /// Makes an engine that delivers nothing until it is told to.
    pub(crate) fn undelivering(name: &'static str) -> Self {
        Self::with(name, usize::MAX, Arc::default(), None)
    }

    fn with(
        name: &'static str,
        room: usize,
        acknowledged: Arc<Acknowledged>,
        at_once: Option<Arc<Acknowledged>>,
    ) -> Self {
        let (blocks, queue) = (Vec::new(), VecDeque::new());
        let state = Mutex::new(State { room, waiting: 0, blocks, queue });
        let intake = FakeIntake { acknowledged: at_once, state, changed: Notify::new() };
        Bench { intake: Arc::new(intake), acknowledged, name }
    }

    /// Makes room without end.
    pub(crate) fn open(&self) {
        let mut state = self.intake.state.lock().unwrap();
        state.room = usize::MAX;
        for turn in state.queue.drain(..) {
            let _ = turn.send(());
        }
    }

    /// Gives the blocks of records so far.
    pub(crate) fn taken(&self) -> Vec<Block> {
        self.blocks(|block| !block.layout.is_word())
    }

    /// Gives the marks so far that streams have ended.
    pub(crate) fn ends(&self) -> Vec<Block> {
        self.blocks(|block| block.layout == Layout::End)
    }

    fn blocks(&self, wanted: impl Fn(&Block) -> bool) -> Vec<Block> {
        let state = self.intake.state.lock().unwrap();
        state.blocks.iter().filter(|block| wanted(block)).cloned().collect()
    }

    /// How many bytes the blocks so far have.
    pub(crate) fn bytes_taken(&self) -> usize {
        self.intake.state.lock().unwrap().blocks.iter().map(|block| block.bytes.len()).sum()
    }

    /// How many blocks wait for room.
    pub(crate) fn blocked(&self) -> usize {
        self.intake.state.lock().unwrap().queue.len()
    }

    /// Waits until `condition` holds, looking again whenever a block came, and now and then.
    pub(crate) async fn until(&self, what: &str, mut condition: impl FnMut(&Bench) -> bool) {
        let wait = async {
            let mut look = tokio::time::interval(Duration::from_millis(5));
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !condition(self) {
                tokio::select! {
                    () = self.intake.changed.notified() => {}
                    _ = look.tick() => {}
                }
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, wait).await.is_ok();
        assert!(in_time, "{what}: not in time; {} blocks", self.taken().len());
    }

    /// Waits until the frames of all blocks are these.
    pub(crate) async fn until_records(&self, expected: &[&str]) {
        let records = |bench: &Bench| records_of(&bench.taken());
        self.until("records", |bench| records(bench).len() >= expected.len()).await;
        assert_eq!(records(self), expected);
    }

    /// Starts a source.
    pub(crate) fn start(&self, task: Box<dyn SourceTask>) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown: Shutdown = stopped.map(|_| ()).boxed().shared();
        let context = self.context(shutdown);
        Running { stop: Some(stop), task: tokio::spawn(task.run(context)) }
    }

    /// Gives what a source runs with.
    pub(crate) fn context(&self, shutdown: Shutdown) -> SourceContext {
        install_recorder();
        SourceContext {
            source: SourceIndex(0),
            intake: Arc::clone(&self.intake) as Arc<dyn Intake>,
            acknowledged: Arc::clone(&self.acknowledged),
            shutdown,
            clock: Clock::system(),
            meter: Arc::new(SourceMeter::new(component_labels(self.name, "source", "test", "p"))),
        }
    }

    /// Gives a counter or gauge of the source, added up over its other labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.metric_with(name, "")
    }

    /// Gives the part of a counter whose labels have this value.
    pub(crate) fn metric_with(&self, name: &str, label: &str) -> f64 {
        let metrics = METRICS.lock().unwrap();
        let own = metrics.iter().flatten().filter(|(key, _)| {
            let has = |value: &str| key.labels().any(|label| label.value() == value);
            key.name() == name && has(self.name) && (label.is_empty() || has(label))
        });
        own.map(|(key, metric)| {
            let bits = metric.load(Ordering::SeqCst);
            if key.name().ends_with("_total") { bits as f64 } else { f64::from_bits(bits) }
        })
        .sum()
    }
}

/// A shutdown that never comes.
pub(crate) fn no_shutdown() -> Shutdown {
    std::future::pending().boxed().shared()
}

/// A running source.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), azud_plan::component::RunError>>,
}

impl Running {
    /// Tells it to stop.
    pub(crate) fn tell(&mut self) {
        self.stop.take();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.tell();
        self.ended().await;
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(self) {
        let _stop = self.stop;
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("the source ends in time").unwrap().unwrap();
    }
}

/// Builds and runs a source that ends by itself.
pub(crate) async fn run_to_end(spec: &dyn SourceSpec, bench: &Bench) {
    let folder = tempfile::tempdir().unwrap();
    let task = spec.build(&build_context(folder.path())).unwrap();
    let running = bench.start(task);
    running.ended().await;
}

/// Gives the frames of blocks as text; of refused bytes `!reason: bytes`.
pub(crate) fn records_of(blocks: &[Block]) -> Vec<String> {
    let mut records = Vec::new();
    for block in blocks {
        if let Layout::Refused { reason, .. } = block.layout {
            let text = String::from_utf8_lossy(&block.bytes).into_owned();
            records.push(format!("!{reason}: {text}"));
        }
        let text = |range| String::from_utf8_lossy(&block.bytes[range]).into_owned();
        records.extend(frames(block).map(|frame| text(frame.range)));
    }
    records
}

/// Checks that each stream's blocks join without gaps.
pub(crate) fn assert_joined(blocks: &[Block]) {
    let mut ends = HashMap::<StreamId, u64>::new();
    for block in blocks {
        let end = ends.entry(block.stream).or_insert(block.position);
        assert_eq!(*end, block.position, "a block starts where the one before it ended");
        assert!(block.end > block.position || block.layout.is_word());
        *end = block.end;
    }
}

/// Gives the events of blocks as JSON.
pub(crate) fn events_of(spec: &dyn SourceSpec, blocks: &[Block]) -> Vec<serde_json::Value> {
    let mut decoder = spec.decoder();
    let mut record = Record::new();
    let mut events = Vec::new();
    for block in blocks {
        for frame in frames(block) {
            record.begin(block, &frame);
            let mut emit = |record: &mut Record| {
                let mut text = Vec::new();
                azud_event::codec::json::encode_json(record, &mut text);
                events.push(serde_json::from_slice(&text).unwrap());
            };
            decoder.decode(block, &frame, &mut record, &mut emit).unwrap();
        }
    }
    events
}

/// Makes a block of an example's input.
fn example_block(factory: &SourceFactory, input: &str) -> Block {
    let peers = match factory.name {
        "file" => vec![Peer::named("/var/log/nginx/access.log")],
        "syslog" | "socket" => vec![Peer::from_address("203.0.113.9:40000".parse().unwrap())],
        _ => Vec::new(),
    };
    let layout = if factory.name == "syslog" { Layout::Syslog } else { Layout::Lines };
    Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: input.len() as u64,
        received_at: RECEIVED_AT,
        bytes: Bytes::copy_from_slice(input.as_bytes()),
        layout,
        peers: peers.into(),
    }
}

#[test]
fn examples_do_what_they_say() {
    for factory in crate::SOURCES {
        assert!(!factory.examples.is_empty(), "{} has no example", factory.name);
        for example in factory.examples {
            let spec = spec(factory, example.toml);
            let events = events_of(&*spec, &[example_block(factory, example.input)]);
            let expected: Vec<serde_json::Value> =
                example.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(events, expected, "{}: {}", factory.name, example.title);
        }
    }
}

#[test]
fn the_list_is_sorted() {
    assert!(crate::SOURCES.is_sorted_by(|one, other| one.name < other.name));
}

type Metrics = Option<HashMap<Key, Arc<AtomicU64>>>;

static METRICS: Mutex<Metrics> = Mutex::new(None);

/// Remembers counters and gauges.
struct TestRecorder;

impl TestRecorder {
    fn metric(&self, key: &Key) -> Arc<AtomicU64> {
        let mut metrics = METRICS.lock().unwrap();
        Arc::clone(metrics.get_or_insert_default().entry(key.clone()).or_default())
    }
}

impl Recorder for TestRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.metric(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.metric(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn install_recorder() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| metrics::set_global_recorder(TestRecorder).unwrap());
}
