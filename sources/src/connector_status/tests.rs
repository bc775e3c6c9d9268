//! A history that grows, a log with its door, and a process that is killed wherever it hurts.

use super::*;
use crate::testing::{build_context, events_of, spec};
use azud_event::clock::Clock;
use azud_event::codec::framing::frames;
use azud_event::id::SourceIndex;
use azud_plan::component::{Acknowledged, ConnectorError, Intake, Services, Shutdown};
use azud_plan::telemetry::{SourceMeter, component_labels};
use futures_util::future::pending;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

const DEADLINE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(2);

/// The database, the log and the disk: what outlives a process.
struct World {
    rows: Mutex<Vec<StatusChange>>,
    grown: watch::Sender<()>,
    database: Mutex<String>,
    is_down: Mutex<bool>,
    /// Of each stream where the log goes on, and the blocks that it has.
    log: Mutex<(HashMap<StreamId, u64>, Vec<Block>)>,
    /// What is on its way to the disk; a kill loses it.
    undurable: Mutex<Vec<Block>>,
    taken: Notify,
    /// Whether the log is there: without one nothing is known at the door.
    has_log: bool,
    /// How many steps were made, and at which the process is held for ever.
    steps: Mutex<(usize, usize)>,
    hit: Notify,
    folder: tempfile::TempDir,
}

/// A process's view of the database.
struct View {
    world: Arc<World>,
    beginning: u64,
}

struct Door(Arc<World>);

impl World {
    fn new(has_log: bool) -> Arc<World> {
        Arc::new(World {
            rows: Mutex::default(),
            grown: watch::channel(()).0,
            database: Mutex::new("one".to_owned()),
            is_down: Mutex::default(),
            log: Mutex::default(),
            undurable: Mutex::default(),
            taken: Notify::new(),
            has_log,
            steps: Mutex::new((0, usize::MAX)),
            hit: Notify::new(),
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// Adds changes of connectors; one of them is `other`.
    fn add(&self, count: u64) {
        let mut rows = self.rows.lock().unwrap();
        for _ in 0..count {
            let number = rows.last().map_or(0, |row| row.number) + 1;
            rows.push(change(number));
        }
        self.grown.send_modify(|()| ());
    }

    async fn pass(&self) {
        let held = {
            let mut steps = self.steps.lock().unwrap();
            steps.0 += 1;
            steps.0 == steps.1
        };
        if held {
            self.hit.notify_one();
            pending::<()>().await;
        }
    }

    /// Writes what was taken to the disk, again and again, and says so.
    async fn write(self: Arc<Self>, acknowledged: Arc<Acknowledged>) {
        loop {
            self.taken.notified().await;
            self.pass().await;
            let blocks = std::mem::take(&mut *self.undurable.lock().unwrap());
            for block in blocks {
                let (stream, end) = (block.stream, block.end);
                let mut log = self.log.lock().unwrap();
                let mark = log.0.entry(stream).or_insert(0);
                if end > *mark || !self.has_log {
                    assert!(block.position >= *mark || !self.has_log, "they overlap");
                    *mark = end;
                    log.1.push(block);
                }
                drop(log);
                acknowledged.note(stream, end);
            }
        }
    }

    fn newest(&self) -> u64 {
        self.rows.lock().unwrap().last().map_or(0, |row| row.number)
    }

    fn told(&self) -> Vec<u64> {
        self.log.lock().unwrap().1.iter().map(|block| block.position).collect()
    }

    async fn until(&self, what: &str, condition: impl Fn(&World) -> bool) {
        let wait = async {
            let mut look = tokio::time::interval(LOOK);
            while !condition(self) {
                look.tick().await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, wait).await.is_ok();
        assert!(in_time, "{what}: not in time; told are {:?}", self.told());
    }

    async fn until_told(&self, last: u64) {
        self.until("changes", |world| world.told().last() == Some(&last)).await;
    }

    /// Waits until the position on disk is this one.
    async fn until_kept(&self, number: u64) {
        let file = PositionFile::new(&self.folder.path().join("sources/in")).unwrap();
        self.until("position", |_| {
            file.load().unwrap().is_some_and(|position| position.number == number)
        })
        .await;
    }

    fn run(self: &Arc<Self>, step: usize) -> Running {
        *self.steps.lock().unwrap() = (0, step);
        let view = View { world: Arc::clone(self), beginning: self.newest() };
        let mut services = Services::default();
        services.add(Arc::new(Arc::new(view) as Arc<dyn StatusHistory>));
        let mut context = build_context(self.folder.path());
        context.services = Arc::new(services);
        let spec = spec(&CONNECTOR_STATUS, "connectors = [\"okta-*\", \"far\"]");
        let task = spec.build(&context).unwrap();
        let acknowledged = Arc::<Acknowledged>::default();
        let door = Door(Arc::clone(self));
        let writing = Arc::clone(self).write(Arc::clone(&acknowledged));
        let writing = tokio::spawn(writing);
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown: Shutdown = stopped.map(|_| ()).boxed().shared();
        let labels = component_labels("in", "source", "connector_status", "p");
        let context = SourceContext {
            source: SourceIndex(0),
            intake: Arc::new(door),
            acknowledged,
            shutdown,
            clock: Clock::system(),
            meter: Arc::new(SourceMeter::new(labels)),
        };
        let world = Arc::clone(self);
        Running { stop, task: tokio::spawn(task.run(context)), writing, world }
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
    writing: JoinHandle<()>,
    world: Arc<World>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        self.writing.abort();
    }

    async fn kill(self) {
        self.task.abort();
        self.writing.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        assert!(self.writing.await.unwrap_err().is_cancelled());
        self.world.undurable.lock().unwrap().clear();
    }
}

impl StatusHistory for View {
    fn database(&self) -> String {
        self.world.database.lock().unwrap().clone()
    }

    fn beginning(&self) -> u64 {
        self.beginning
    }

    fn behind(
        &self,
        number: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<StatusChange>, ConnectorError>> {
        async move {
            self.world.pass().await;
            if *self.world.is_down.lock().unwrap() {
                return Err(ConnectorError::Unavailable("it is down".to_owned()));
            }
            let rows = self.world.rows.lock().unwrap().clone().into_iter();
            let behind = rows.filter(|row| row.number > number).take(limit as usize).collect();
            Ok(behind)
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut grown = self.world.grown.subscribe();
        async move {
            let _ = grown.changed().await;
        }
        .boxed()
    }
}

impl Intake for Door {
    fn submit(&self, block: Block) -> BoxFuture<'_, ()> {
        async move {
            self.0.pass().await;
            assert_eq!(frames(&block).count(), 1);
            self.0.undurable.lock().unwrap().push(block);
            self.0.taken.notify_one();
            self.0.pass().await;
        }
        .boxed()
    }

    fn try_submit(&self, block: Block) -> Result<(), Block> {
        Err(block)
    }
}

/// The change of a number; every fourth is of a connector that is not asked for.
fn change(number: u64) -> StatusChange {
    let name = if number.is_multiple_of(4) { "other" } else { "okta-a" };
    StatusChange {
        number,
        at: EventTime::from_nanoseconds(1_772_359_200_000_000_000),
        id: "7".to_owned(),
        name: name.to_owned(),
        kind: "api".to_owned(),
        r#type: "http_client".to_owned(),
        labels: [("tenant".to_owned(), "a".to_owned())].into(),
        from: "active".to_owned(),
        to: "error".to_owned(),
        reason: "authentication".to_owned(),
        message: Some("the server answered 401".to_owned()),
        http_status: Some(401),
        flaps: 2,
    }
}

fn wanted(from: u64, to: u64) -> Vec<u64> {
    (from..=to).filter(|number| !number.is_multiple_of(4)).collect()
}

#[tokio::test]
async fn a_kill_at_any_step_tells_each_change_once() {
    for step in 1.. {
        let world = World::new(true);
        world.add(3);
        let running = world.run(step);
        world.add(6);
        let was_hit = tokio::select! {
            () = world.hit.notified() => true,
            () = world.until_kept(9) => false,
        };
        running.kill().await;
        // What happened before the first start is not told; what happens while nobody runs is.
        world.add(2);
        let running = world.run(usize::MAX);
        world.until_told(11).await;
        running.stop().await;
        assert_eq!(world.told(), wanted(4, 11), "step {step}");
        if !was_hit {
            assert!(step > 10, "{step} steps are too few");
            return;
        }
    }
}

#[tokio::test]
async fn without_a_log_what_was_delivered_is_not_told_again() {
    let world = World::new(false);
    let running = world.run(usize::MAX);
    // The last is not asked for, and need not be read again either.
    world.add(8);
    world.until_kept(8).await;
    running.stop().await;
    let running = world.run(usize::MAX);
    world.add(1);
    world.until_told(9).await;
    running.stop().await;
    assert_eq!(world.told(), wanted(1, 9));
}

#[tokio::test]
async fn a_database_that_is_down_has_changes_told_later() {
    let world = World::new(true);
    *world.is_down.lock().unwrap() = true;
    let running = world.run(usize::MAX);
    world.add(3);
    world.until("some tries", |world| world.steps.lock().unwrap().0 > 2).await;
    assert_eq!(world.told(), [0; 0]);
    *world.is_down.lock().unwrap() = false;
    world.until_told(3).await;
    running.stop().await;
}

#[tokio::test]
async fn another_database_and_one_that_was_put_back_begin_anew() {
    let world = World::new(true);
    let running = world.run(usize::MAX);
    world.add(7);
    world.until_kept(7).await;
    running.stop().await;
    // A backup: numbers come again that were given before.
    world.rows.lock().unwrap().truncate(5);
    let running = world.run(usize::MAX);
    world.add(2);
    world.until_kept(7).await;
    running.stop().await;
    *world.database.lock().unwrap() = "another".to_owned();
    world.rows.lock().unwrap().truncate(1);
    let running = world.run(usize::MAX);
    world.add(2);
    world.until_told(3).await;
    running.stop().await;
    assert_eq!(world.told(), [1, 2, 3, 5, 6, 7, 6, 7, 2, 3]);
}

#[tokio::test]
async fn a_record_says_what_changed_and_happened_then() {
    let world = World::new(true);
    let running = world.run(usize::MAX);
    world.add(1);
    world.until_told(1).await;
    running.stop().await;
    let spec = spec(&CONNECTOR_STATUS, "");
    let blocks = world.log.lock().unwrap().1.clone();
    let told = &events_of(&*spec, &blocks)[0];
    let expected = json!({
        "timestamp": "2026-03-01T10:00:00.000000Z", "from": "active", "to": "error",
        "reason": "authentication", "message": "the server answered 401", "http_status": 401,
        "flaps": 2, "labels": { "tenant": "a" }, "source_type": "connector_status",
        "connector": {
            "id": "7", "name": "okta-a", "kind": "api", "type": "http_client", "status": "error",
        },
        "event": {
            "kind": "event", "action": "connector-status-changed",
            "dataset": "azud.connector_status",
        },
    });
    assert_eq!(*told, expected);
    let nothing = StatusChange { http_status: None, labels: BTreeMap::new(), ..change(1) };
    assert!(!line(&nothing).contains("http_status") && !line(&nothing).contains("labels"));
    let mut record = Record::new();
    let frame = frames(&blocks[0]).next().unwrap();
    let mut times = Vec::new();
    let mut decoder = spec.decoder();
    record.begin(&blocks[0], &frame);
    let decoded = decoder.decode(&blocks[0], &frame, &mut record, &mut |record| {
        times.push(record.event_time());
    });
    assert_eq!((decoded, times), (Ok(()), vec![change(1).at]));
}
