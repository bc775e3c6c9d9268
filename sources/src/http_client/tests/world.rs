//! The world of a poller: a server, a database that several processes share, a log with its door,
//! and a disk.

use super::server::{Seen, Server};
use crate::testing::spec;
use azud_event::block::{Block, Layout};
use azud_event::clock::Clock;
use azud_event::codec::framing::frames;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::time::EventTime;
use azud_plan::component::{
    Acknowledged, Asked, Attempt, Behind, BuildContext, Connector, ConnectorError, Connectors,
    Cursor, Failed, Intake, Lease, Outcome, Secret, SecretError, SecretName, SecretService,
    Secrets, Services, Shutdown, SourceContext,
};
use azud_plan::telemetry::{SourceMeter, component_labels};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

/// Counts the steps of a process, and holds it at one of them for ever.
#[derive(Default)]
pub(super) struct Steps {
    counted: Mutex<(usize, usize)>,
    hit: Notify,
}

impl Steps {
    async fn pass(&self) {
        let held = {
            let mut counted = self.counted.lock().unwrap();
            counted.0 += 1;
            counted.0 == counted.1
        };
        if held {
            self.hit.notify_one();
            pending::<()>().await;
        }
    }

    /// Has it held at this step from now on.
    pub(super) fn hold_at(&self, step: usize) {
        *self.counted.lock().unwrap() = (0, step);
    }

    /// Resolves when the process is held.
    pub(super) async fn hit(&self) {
        self.hit.notified().await;
    }
}

/// The database.
#[derive(Default)]
pub(super) struct Db {
    rows: Mutex<BTreeMap<String, Row>>,
    /// Who has the leases, in which term, until when.
    lease: Mutex<Option<(usize, u64, Duration)>>,
    failing: Mutex<(usize, usize)>,
    asked: Notify,
    changed: Notify,
}

#[derive(Default)]
struct Row {
    labels: BTreeMap<String, String>,
    cursor: Option<Cursor>,
    attempts: Vec<Attempt>,
    behind: Vec<Option<Behind>>,
    asked: VecDeque<Asked>,
    disabled: bool,
}

impl Db {
    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Row) -> T) -> T {
        change(self.rows.lock().unwrap().entry(name.to_owned()).or_default())
    }

    pub(super) fn add(&self, name: &str, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        self.with(name, |row| row.labels = labels.collect());
    }

    pub(super) fn cursor(&self, name: &str) -> Option<Cursor> {
        self.with(name, |row| row.cursor.clone())
    }

    pub(super) fn set_cursor(&self, name: &str, state: &str) {
        let state = state.as_bytes().to_vec();
        let cursor = Cursor { state, format: 1, summary: String::new(), event_time: None };
        self.with(name, |row| row.cursor = Some(cursor));
    }

    pub(super) fn attempts(&self, name: &str) -> Vec<Attempt> {
        self.with(name, |row| row.attempts.clone())
    }

    pub(super) fn behind(&self, name: &str) -> Vec<Option<Behind>> {
        self.with(name, |row| row.behind.clone())
    }

    pub(super) fn ask(&self, name: &str, asked: Asked) {
        self.with(name, |row| row.asked.push_back(asked));
        self.asked.notify_waiters();
    }

    /// As [`Db::ask`] for a poll now, unless something is asked already.
    pub(super) fn nudge(&self, name: &str) {
        if self.with(name, |row| row.asked.is_empty()) {
            self.ask(name, Asked::Now);
        }
    }

    /// Disables a connector, or enables it again.
    pub(super) fn disable(&self, name: &str, disabled: bool) {
        self.with(name, |row| row.disabled = disabled);
        if disabled {
            self.ask(name, Asked::Stop);
        }
        // Kept for one who waits later.
        self.changed.notify_one();
    }

    pub(super) fn expire_lease(&self) {
        if let Some(lease) = &mut *self.lease.lock().unwrap() {
            lease.2 = Duration::ZERO;
        }
    }

    /// Has every so many-th save fail, before or behind its work in turn.
    pub(super) fn fail_every(&self, saves: usize) {
        self.failing.lock().unwrap().0 = saves;
    }

    fn fails(&self) -> Option<bool> {
        let mut failing = self.failing.lock().unwrap();
        failing.1 += 1;
        let (every, count) = *failing;
        (every > 0 && count % every == 0).then(|| count / every % 2 == 0)
    }
}

/// A process's view of the database.
struct FakeConnectors {
    db: Arc<Db>,
    steps: Arc<Steps>,
    clock: Clock,
    process: usize,
}

struct FakeConnector {
    name: String,
    db: Arc<Db>,
    steps: Arc<Steps>,
    clock: Clock,
    process: usize,
}

impl Connectors for FakeConnectors {
    fn of(&self, component: &str) -> Arc<dyn Connector> {
        let (db, steps) = (Arc::clone(&self.db), Arc::clone(&self.steps));
        let (name, clock) = (component.to_owned(), self.clock.clone());
        Arc::new(FakeConnector { name, db, steps, clock, process: self.process })
    }

    fn matching<'a>(
        &'a self,
        pattern: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Arc<dyn Connector>>, ConnectorError>> {
        let rows = self.db.rows.lock().unwrap();
        let enabled = rows.iter().filter(|(_, row)| !row.disabled);
        let names: Vec<String> = enabled.map(|(name, _)| name.clone()).collect();
        drop(rows);
        let beginning = pattern.trim_end_matches('*').to_owned();
        async move {
            let whole = !pattern.ends_with('*');
            let fits =
                |name: &&String| name.starts_with(&beginning) && !(whole && **name != pattern);
            let fitting = names.iter().filter(fits);
            Ok(fitting.map(|name| self.of(name)).collect())
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let db = Arc::clone(&self.db);
        async move { db.changed.notified().await }.boxed()
    }
}

impl Connector for FakeConnector {
    fn name(&self) -> &str {
        &self.name
    }

    fn labels(&self) -> BTreeMap<String, String> {
        self.db.with(&self.name, |row| row.labels.clone())
    }

    fn report(&self, attempt: Attempt) {
        self.db.with(&self.name, |row| row.attempts.push(attempt));
    }

    fn behind(&self, _: EventTime, behind: Option<Behind>) {
        self.db.with(&self.name, |row| row.behind.push(behind));
    }

    fn next_attempt(&self, _: EventTime) {}

    fn cursors(&self) -> BoxFuture<'_, Result<BTreeMap<String, Cursor>, ConnectorError>> {
        let cursor = self.db.cursor(&self.name).map(|cursor| (String::new(), cursor));
        async move { Ok(cursor.into_iter().collect()) }.boxed()
    }

    fn save<'a>(
        &'a self,
        partition: &'a str,
        cursor: &'a Cursor,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        assert_eq!(partition, "");
        async move {
            self.steps.pass().await;
            let owner = self.db.lease.lock().unwrap().map(|(owner, ..)| owner);
            if owner != Some(self.process) {
                return Err(ConnectorError::Lost);
            }
            let down = || Err(ConnectorError::Unavailable("the database is down".to_owned()));
            let fails = self.db.fails();
            if fails == Some(true) {
                return down();
            }
            self.db.with(&self.name, |row| {
                row.cursor = Some(cursor.clone());
            });
            self.steps.pass().await;
            if fails == Some(false) { down() } else { Ok(()) }
        }
        .boxed()
    }

    fn forget<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), ConnectorError>> {
        self.db.with(&self.name, |row| row.cursor = None);
        async { Ok(()) }.boxed()
    }

    fn lease(&self, length: Duration) -> BoxFuture<'_, Result<Option<Lease>, ConnectorError>> {
        let now = self.clock.monotonic();
        let mut lease = self.db.lease.lock().unwrap();
        let until = now + length;
        let taken = match *lease {
            Some((owner, term, _)) if owner == self.process => Some((owner, term, until)),
            Some((_, _, until)) if until > now => None,
            Some((_, term, _)) => Some((self.process, term + 1, until)),
            None => Some((self.process, 1, until)),
        };
        *lease = taken.or(*lease);
        let lease = taken.map(|(_, term, until)| Lease { until, term });
        async move { Ok(lease) }.boxed()
    }

    fn token<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Secret>, ConnectorError>> {
        async { Ok(None) }.boxed()
    }

    fn keep_token<'a>(
        &'a self,
        _: &'a str,
        _: &'a Secret,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        async { Ok(()) }.boxed()
    }

    fn asked(&self) -> BoxFuture<'_, Asked> {
        async {
            loop {
                let notified = self.db.asked.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if let Some(asked) = self.db.with(&self.name, |row| row.asked.pop_front()) {
                    return asked;
                }
                notified.await;
            }
        }
        .boxed()
    }
}

/// Every secret is its name.
struct Names;

impl Secrets for Names {
    fn get<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        async move { Ok(Secret::new(format!("value-of-{name}"))) }.boxed()
    }

    fn refused(&self, _: &SecretName) {}
}

/// The log of a process: what it has of a stream already is dropped at its door.
#[derive(Default)]
struct Log {
    taken: Mutex<(HashMap<StreamId, u64>, Vec<String>)>,
    /// What was said, with how many records were there before.
    words: Mutex<Vec<(usize, Layout)>>,
    /// Who looks at each word when it is said.
    listener: Mutex<Option<Listener>>,
}

/// Looks at a word when it is said.
type Listener = Arc<dyn Fn(&Layout) + Send + Sync>;

struct Door {
    log: Arc<Log>,
    steps: Arc<Steps>,
    acknowledged: Arc<Acknowledged>,
}

impl Intake for Door {
    fn submit(&self, block: Block) -> BoxFuture<'_, ()> {
        async move {
            self.steps.pass().await;
            if block.layout.is_word() {
                let count = self.log.taken.lock().unwrap().1.len();
                self.log.words.lock().unwrap().push((count, block.layout.clone()));
                let listener = self.log.listener.lock().unwrap().clone();
                listener.inspect(|listener| listener(&block.layout));
            } else {
                let mut taken = self.log.taken.lock().unwrap();
                let mark = taken.0.entry(block.stream).or_insert(0);
                if block.end > *mark {
                    // Another process may have had the stream in between.
                    assert!(block.position >= *mark, "blocks do not overlap");
                    *mark = block.end;
                    let text = |range| String::from_utf8_lossy(&block.bytes[range]).into_owned();
                    let records: Vec<_> = frames(&block).map(|f| text(f.range)).collect();
                    taken.1.extend(records);
                }
            }
            self.steps.pass().await;
            self.acknowledged.note(block.stream, block.end);
        }
        .boxed()
    }

    fn try_submit(&self, block: Block) -> Result<(), Block> {
        Err(block)
    }
}

/// One process with its surroundings.
pub(super) struct World {
    toml: String,
    pub(super) server: Arc<Server>,
    pub(super) db: Arc<Db>,
    pub(super) steps: Arc<Steps>,
    log: Arc<Log>,
    clock: Clock,
    folder: tempfile::TempDir,
    process: usize,
}

/// What a process has of records.
pub(super) struct Held {
    log: Arc<Log>,
    folder: PathBuf,
}

impl Held {
    /// Whether a record is in its log.
    pub(super) fn took(&self, record: &str) -> bool {
        self.log.taken.lock().unwrap().1.iter().any(|taken| taken == record)
    }

    /// Whether a record is in a page on its disk.
    pub(super) fn keeps(&self, record: &str) -> bool {
        let has = |file: Vec<u8>| String::from_utf8_lossy(&file).contains(record);
        pages(&self.folder).iter().any(|page| std::fs::read(page).is_ok_and(has))
    }
}

/// Lists the files of pages below a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = |path: PathBuf| match path.is_dir() {
        true => pages(&path),
        false if path.extension().is_some_and(|end| end == "page") => vec![path],
        false => Vec::new(),
    };
    entries.flat_map(found).collect()
}

impl World {
    /// Starts a server; `ORIGIN` in the table stands for it.
    pub(super) async fn start(
        toml: &str,
        answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> World {
        World::start_at(toml, Clock::system(), answer).await
    }

    /// As [`World::start`], by another clock. Only waiting is by that of the machine.
    pub(super) async fn start_at(
        toml: &str,
        clock: Clock,
        answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> World {
        let server = Arc::new(Server::start(answer).await);
        let mut toml = toml.replace("ORIGIN", &server.origin);
        if !toml.lines().any(|line| line.starts_with("endpoint")) {
            toml = format!("endpoint = \"{}/logs\"\n{toml}", server.origin);
        }
        World::over(toml, server, Arc::default(), clock, 1)
    }

    fn over(toml: String, server: Arc<Server>, db: Arc<Db>, clock: Clock, process: usize) -> World {
        let folder = tempfile::tempdir().unwrap();
        let (steps, log) = (Arc::default(), Arc::default());
        let db: Arc<Db> = db;
        db.with("in", |_| ());
        World { toml, server, db, steps, log, clock, folder, process }
    }

    /// Gives another process over the same database, with a disk of its own.
    pub(super) fn beside(&self) -> World {
        let (server, db) = (Arc::clone(&self.server), Arc::clone(&self.db));
        World::over(self.toml.clone(), server, db, self.clock.clone(), self.process + 1)
    }

    /// Has somebody look at each word when it is said.
    pub(super) fn on_word(&self, listener: impl Fn(&Layout) + Send + Sync + 'static) {
        *self.log.listener.lock().unwrap() = Some(Arc::new(listener));
    }

    pub(super) fn held(&self) -> Held {
        Held { log: Arc::clone(&self.log), folder: self.folder.path().to_owned() }
    }

    pub(super) fn run(&self) -> Running {
        self.run_until(usize::MAX)
    }

    /// Runs the process until this step, where it is held.
    pub(super) fn run_until(&self, step: usize) -> Running {
        self.steps.hold_at(step);
        let mut services = Services::default();
        let connectors: Arc<dyn Connectors> = Arc::new(FakeConnectors {
            db: Arc::clone(&self.db),
            steps: Arc::clone(&self.steps),
            clock: self.clock.clone(),
            process: self.process,
        });
        services.add(Arc::new(connectors));
        services.add(Arc::new(SecretService(Arc::new(Names))));
        let context = BuildContext {
            id: "in".to_owned(),
            pipeline: String::new(),
            data_dir: self.folder.path().to_owned(),
            clock: self.clock.clone(),
            services: Arc::new(services),
        };
        let task = spec(&super::super::HTTP_CLIENT, &self.toml).build(&context).unwrap();
        let acknowledged = Arc::<Acknowledged>::default();
        let door = Door {
            log: Arc::clone(&self.log),
            steps: Arc::clone(&self.steps),
            acknowledged: Arc::clone(&acknowledged),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown: Shutdown = stopped.map(|_| ()).boxed().shared();
        let labels = component_labels("in", "source", "http_client", "p");
        let context = SourceContext {
            source: SourceIndex(0),
            intake: Arc::new(door),
            acknowledged,
            shutdown,
            clock: self.clock.clone(),
            meter: Arc::new(SourceMeter::new(labels)),
        };
        Running { stop, task: tokio::spawn(task.run(context)) }
    }

    /// Gives what is in the log.
    pub(super) fn records(&self) -> Vec<String> {
        self.log.taken.lock().unwrap().1.clone()
    }

    /// Gives what was said, with how many records were there before.
    pub(super) fn words(&self) -> Vec<(usize, Layout)> {
        self.log.words.lock().unwrap().clone()
    }

    /// Counts the streams in the log.
    pub(super) fn streams(&self) -> usize {
        self.log.taken.lock().unwrap().0.len()
    }

    pub(super) fn failures(&self) -> Vec<Failed> {
        self.failures_of("in")
    }

    pub(super) fn failures_of(&self, name: &str) -> Vec<Failed> {
        let failed = |attempt: Attempt| match attempt.outcome {
            Outcome::Failed(failed) => Some(failed),
            _ => None,
        };
        self.db.attempts(name).into_iter().filter_map(failed).collect()
    }

    pub(super) fn assert_each_once(&self, count: usize) {
        let records = self.records();
        let distinct: HashSet<&String> = records.iter().collect();
        assert_eq!((records.len(), distinct.len()), (count, count), "{records:?}");
        for id in 0..count {
            assert!(distinct.contains(&super::record(id)), "{id} is missing");
        }
    }

    /// Removes the pages on disk; gives how many.
    pub(super) fn remove_pages(&self) -> usize {
        let pages = self.pages();
        pages.iter().for_each(|page| std::fs::remove_file(page).unwrap());
        pages.len()
    }

    /// Counts the pages on disk.
    pub(super) fn pages_left(&self) -> usize {
        self.pages().len()
    }

    fn pages(&self) -> Vec<PathBuf> {
        pages(self.folder.path())
    }

    /// Whether it may poll.
    pub(super) fn has_lease(&self) -> bool {
        self.db.lease.lock().unwrap().is_some_and(|(owner, ..)| owner == self.process)
    }

    async fn until(&self, what: &str, condition: impl Fn(&World) -> bool) {
        let wait = async {
            let mut look = tokio::time::interval(LOOK);
            while !condition(self) {
                look.tick().await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, wait).await.is_ok();
        let (records, failed) = (self.records().len(), self.failures());
        assert!(in_time, "{what}: not in time; {records} records, {failed:?}");
    }

    pub(super) async fn until_records(&self, count: usize) {
        self.until("records", |world| world.records().len() >= count).await;
    }

    /// Waits until two processes have so many records together.
    pub(super) async fn until_both(&self, other: &World, count: usize) {
        let both = |world: &World| world.records().len() + other.records().len() >= count;
        self.until("records of both", both).await;
    }

    /// Waits for records whose cursor is saved behind them, with nothing on its way.
    pub(super) async fn until_records_and_saved(&self, count: usize) {
        self.until("records and their cursor", |world| {
            let saved = world.db.cursor("in").map(|cursor| cursor.state);
            let state: serde_json::Value =
                saved.and_then(|state| serde_json::from_slice(&state).ok()).unwrap_or_default();
            let settled = state["claim"].is_null() && !state["sequence"].is_null();
            let walked = state["walk"].is_null();
            world.records().len() >= count && settled && walked && world.pages_left() == 0
        })
        .await;
    }

    pub(super) async fn until_said(&self, is_it: impl Fn(&Layout) -> bool) {
        self.until("a word", |world| world.words().iter().any(|(_, layout)| is_it(layout))).await;
    }

    pub(super) async fn until_failed(&self) {
        self.until("a failure", |world| !world.failures().is_empty()).await;
    }

    pub(super) async fn until_attempts(&self, count: usize) {
        self.until_attempts_of("in", count).await;
    }

    pub(super) async fn until_attempts_of(&self, name: &str, count: usize) {
        self.until("attempts", |world| world.db.attempts(name).len() >= count).await;
    }

    pub(super) async fn until_asked_by(&self, authorization: &str) {
        let is_it =
            |seen: &Seen| seen.header("authorization").is_some_and(|it| it == authorization);
        self.until("a request", |world| world.server.seen().iter().any(&is_it)).await;
    }

    pub(super) async fn until_requests(&self, count: usize) {
        self.until("requests", |world| world.server.seen().len() >= count).await;
    }

    /// Waits until two more polls have gone well.
    pub(super) async fn until_polled(&self) {
        let known = self.db.attempts("in").len();
        self.until_attempts(known + 2).await;
    }

    pub(super) async fn until_any_polled(&self) {
        self.until_attempts(1).await;
    }
}

/// A running process.
pub(super) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), azud_plan::component::RunError>>,
}

impl Running {
    /// Tells it to stop, and waits until it has.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("the source ends in time").unwrap().unwrap();
    }

    /// Tells it to stop, and ends it where it stands if it does not at once.
    pub(super) async fn kill_or_stop(self) {
        let _ = self.stop.send(());
        tokio::task::yield_now().await;
        self.task.abort();
        let _ = self.task.await;
    }

    /// Ends it where it stands.
    pub(super) async fn kill(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()));
    }
}
