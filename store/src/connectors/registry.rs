//! The connectors of the running instance.

use super::handle::{Handle, Shared};
use super::status::Bounds;
use super::writer::{self, REQUESTS_MAX, Request};
use super::{ConnectorFilter, ConnectorRow, Declared, Origin, Status};
use crate::keys::Keyring;
use crate::seal::Place;
use crate::statements::{self, Declaration, Known};
use crate::uses::Uses;
use crate::{Store, StoreError, new_uuid};
use azud_event::id::Id;
use azud_event::time::EventTime;
use azud_plan::component::{
    Asked, Attempt, Behind, Connector, ConnectorError, Connectors, Cursor, Lease, Secret,
    SecretUse, StatusChange, StatusHistory, matches,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending, ready};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// How often the database is asked whether somebody has changed a connector or a key.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// The bounds of a connector that no component declares.
const BOUNDS: Bounds = Bounds { unreachable_after: Duration::from_secs(300), limits_max: 10 };

/// The services [`Connectors`] and [`StatusHistory`] of an instance, over its store.
/// [`Registry::close`] writes what was told last.
pub struct Registry {
    shared: Arc<Shared>,
    handles: Arc<RwLock<Vec<Arc<Handle>>>>,
    bounds: HashMap<String, Bounds>,
    /// The components that run for rows which are not their own.
    definitions: Vec<Definition>,
    changed: watch::Sender<u64>,
    /// The number that the newest change of status had before there was anything of this process.
    beginning: u64,
    watching: Mutex<Option<JoinHandle<()>>>,
    writing: Mutex<Option<JoinHandle<()>>>,
}

/// A component that runs for every row whose name matches.
struct Definition {
    pattern: String,
    r#type: String,
    /// Its table, with secrets unfilled.
    table: String,
    interval: Option<Duration>,
}

impl Registry {
    /// Makes the rows of what the documents declare, and begins to keep them. What runs for rows
    /// that are not its own (`Endpoint::runs_for`) gets none; those have its settings.
    ///
    /// # Errors
    /// What the database answers; [`StoreError::ReadOnly`] when it was opened for reading.
    pub async fn open(
        store: Arc<Store>,
        keyring: Arc<Keyring>,
        declared: &[Declared],
    ) -> Result<Arc<Self>, StoreError> {
        let beginning = statements::newest_change(&store.readers).await?;
        let (own, shared): (Vec<_>, Vec<_>) =
            declared.iter().partition(|one| one.endpoint.runs_for.is_none());
        declare(&store, &keyring, &own).await?;
        let definitions = shared.into_iter().filter_map(|Declared { new, endpoint }| {
            let (r#type, table) = (new.r#type.clone(), new.configuration.clone());
            let (pattern, interval) = (endpoint.runs_for.clone()?, new.interval);
            Some(Definition { pattern, r#type, table, interval })
        });
        let definitions = definitions.collect();
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let (urgent, told) = (Notify::new(), watch::channel(0).0);
        let uses = Uses::default();
        let shared = Arc::new(Shared { store, keyring, requests, urgent, told, uses });
        let bounds = declared.iter().map(|one| {
            let Declared { new, endpoint } = one;
            let unreachable_after = endpoint.unreachable_after;
            (new.name.clone(), Bounds { unreachable_after, limits_max: endpoint.limits_max })
        });
        let registry = Arc::new(Registry {
            shared: Arc::clone(&shared),
            handles: Arc::default(),
            bounds: bounds.collect(),
            definitions,
            changed: watch::channel(0).0,
            beginning,
            watching: Mutex::new(None),
            writing: Mutex::new(None),
        });
        let seen = registry.follow().await?;
        let writing = writer::run(shared, Arc::downgrade(&registry.handles), receiver);
        let writing = tokio::spawn(writing);
        set(&registry.writing, writing);
        let watching = tokio::spawn(watch_rows(Arc::downgrade(&registry), seen));
        set(&registry.watching, watching);
        Ok(registry)
    }

    /// Writes all that was told until now.
    pub async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        if self.shared.requests.send(Request::Report { reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Writes all that was told until now, and no more.
    pub async fn close(&self) {
        self.flush().await;
        let _ = self.shared.requests.send(Request::End).await;
        let (watching, writing) = (take(&self.watching), take(&self.writing));
        if let Some(watching) = watching {
            watching.abort();
            let _ = watching.await;
        }
        if let Some(writing) = writing {
            let _ = writing.await;
        }
    }

    /// Asks a connector for something; `false` when there is none of that name.
    pub fn ask(&self, name: &str, asked: Asked) -> bool {
        let found = self.find(name);
        found.inspect(|handle| handle.ask(asked)).is_some()
    }

    /// Notes what came of the use of a credential that the database keeps. Never waits: it is
    /// written within seconds, with what is told of connectors.
    pub fn note_use(&self, credential: &str, how: SecretUse<'_>) {
        let Shared { uses, store, .. } = &*self.shared;
        uses.note(credential, how, store.clock.now());
    }

    /// Says of each connector that does not work why, a sentence each.
    pub fn troubles(&self) -> Vec<String> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let trouble = |handle: &Arc<Handle>| {
            let (status, message) = handle.status();
            let message = message.unwrap_or_default();
            (status == Status::Error).then(|| format!("connector {}: {message}", handle.name()))
        };
        handles.iter().filter_map(trouble).collect()
    }

    /// Gives the store.
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Gives the keys.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.shared.keyring
    }

    /// Looks at once whether somebody has changed something, instead of soon.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.follow().await?;
        self.note_change();
        Ok(())
    }

    /// Tells who waits that rows have changed, and so perhaps statuses.
    fn note_change(&self) {
        self.changed.send_modify(|count| *count += 1);
        self.shared.told.send_modify(|count| *count += 1);
    }

    fn find(&self, name: &str) -> Option<Arc<Handle>> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.iter().find(|handle| handle.name() == name).cloned()
    }

    /// Gives rows that no document has the settings of the definition that runs for them, so that
    /// it is known which credentials they use; says whether that changed something.
    async fn configure(&self, rows: &[ConnectorRow]) -> Result<bool, StoreError> {
        let mut changed = false;
        let Shared { store, keyring, .. } = &*self.shared;
        for row in rows.iter().filter(|row| row.origin == Origin::Api.name()) {
            let runs =
                |one: &&Definition| one.r#type == row.r#type && matches(&one.pattern, &row.name);
            let Some(definition) = self.definitions.iter().find(runs) else { continue };
            let table = definition.table.as_bytes();
            let known = keyring.open_fresh(store, place(&row.id), &row.configuration).await;
            if known.is_ok_and(|known| **known == *table) {
                continue;
            }
            let id = Uuid::parse_str(&row.id).expect("it was written from a UUID");
            let sealed = keyring.seal(place(&row.id), table)?;
            let configured = (sealed.as_slice(), definition.interval);
            statements::configure_connector(store.writer()?, id, configured).await?;
            changed = true;
        }
        Ok(changed)
    }

    /// Takes in how the rows are; gives their version.
    async fn follow(&self) -> Result<Id, StoreError> {
        let readers = &self.shared.store.readers;
        let version = statements::connectors_version(readers).await?;
        let mut rows = statements::connectors(readers, &everything()).await?;
        if self.configure(&rows).await? {
            rows = statements::connectors(readers, &everything()).await?;
        }
        let now = self.shared.store.clock.now();
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        let known: HashMap<Uuid, usize> =
            handles.iter().enumerate().map(|(index, handle)| (handle.id, index)).collect();
        for row in &rows {
            let id = Uuid::parse_str(&row.id).expect("it was written from a UUID");
            match known.get(&id) {
                Some(index) => handles[*index].follow(row, now),
                None if row.removed_at.is_none() => {
                    let bounds = *self.bounds.get(&row.name).unwrap_or(&BOUNDS);
                    handles.push(Arc::new(Handle::new(Arc::clone(&self.shared), row, bounds)));
                }
                None => {}
            }
        }
        // By the id: a row that was removed and added again is another one, of the same name.
        let ids: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        handles.retain(|handle| {
            let there = ids.contains(handle.id.to_string().as_str());
            if !there {
                handle.ask(Asked::Stop);
            }
            there
        });
        Ok(version)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(watching) = take(&self.watching) {
            watching.abort();
        }
    }
}

fn take(task: &Mutex<Option<JoinHandle<()>>>) -> Option<JoinHandle<()>> {
    task.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn set(place: &Mutex<Option<JoinHandle<()>>>, task: JoinHandle<()>) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
}

fn everything() -> ConnectorFilter {
    ConnectorFilter { removed: true, limit: u32::MAX, ..ConnectorFilter::default() }
}

fn place(row: &str) -> Place<'_> {
    Place { table: "connectors", row, field: "configuration" }
}

/// Makes the rows of the documents.
async fn declare(
    store: &Arc<Store>,
    keyring: &Keyring,
    declared: &[&Declared],
) -> Result<(), StoreError> {
    let rows = statements::connectors(&store.readers, &everything()).await?;
    let known: HashMap<&str, &ConnectorRow> =
        rows.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut prepared = Vec::new();
    for Declared { new, .. } in declared.iter().copied() {
        let row = known.get(new.name.as_str()).copied();
        let (id, configured) = match row {
            Some(row) => {
                let opened = keyring.open_fresh(store, place(&row.id), &row.configuration).await;
                if let Err(why) = &opened {
                    let connector = row.name.as_str();
                    tracing::error!(
                        connector,
                        "its stored settings did not open: {why}; \
                        they are those of its document again"
                    );
                }
                let same = opened.is_ok_and(|text| **text == *new.configuration.as_bytes());
                (Uuid::parse_str(&row.id).expect("it was written from a UUID"), same)
            }
            None => (new_uuid(store.clock.now())?, false),
        };
        let configuration = match row.filter(|_| configured) {
            Some(row) => row.configuration.clone(),
            None => keyring.seal(place(&id.to_string()), new.configuration.as_bytes())?,
        };
        let known = row.map(|row| Known {
            status: row.status,
            enabled: row.enabled,
            changed: !configured
                || (row.kind.as_str(), row.r#type.as_str(), row.origin.as_str())
                    != (new.kind.name(), new.r#type.as_str(), new.origin.name())
                || row.removed_at.is_some(),
        });
        prepared.push((id, new, known, configuration));
    }
    let declared: Vec<_> = prepared
        .iter_mut()
        .map(|(id, new, known, configuration)| Declaration {
            id: *id,
            new,
            known: known.take(),
            configuration,
        })
        .collect();
    statements::declare_connectors(store.writer()?, &declared, store.clock.now()).await
}

/// Looks again and again whether somebody has changed something.
async fn watch_rows(registry: Weak<Registry>, mut seen: Id) {
    let mut timer = interval(WATCH_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let Some(registry) = registry.upgrade() else { return };
        let Shared { store, keyring, .. } = &*registry.shared;
        // A database that is down is told of by who writes to it.
        let Ok(now) = statements::connectors_version(&store.readers).await else { continue };
        if let Err(error) = keyring.reload(store).await {
            tracing::debug!(%error, "the data keys cannot be read again");
        }
        if now == seen {
            continue;
        }
        if let Ok(version) = registry.follow().await {
            seen = version;
            registry.note_change();
        }
    }
}

impl Connectors for Registry {
    fn of(&self, component: &str) -> Arc<dyn Connector> {
        match self.find(component) {
            Some(handle) => handle,
            None => Arc::new(Detached(component.to_owned())),
        }
    }

    fn matching<'a>(
        &'a self,
        pattern: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Arc<dyn Connector>>, ConnectorError>> {
        async move {
            let filter = ConnectorFilter { limit: u32::MAX, ..ConnectorFilter::default() };
            let rows = statements::connectors(&self.shared.store.readers, &filter).await;
            let rows = rows.map_err(|error| ConnectorError::Unavailable(error.to_string()))?;
            // A star stands for rows that were made for it; a document's own row only by its name.
            let meant = |row: &ConnectorRow| match row.origin.as_str() {
                "api" => matches(pattern, &row.name),
                _ => row.name == pattern,
            };
            let rows = rows.iter().filter(|row| row.enabled && meant(row));
            let mut found: Vec<Arc<dyn Connector>> = Vec::new();
            for row in rows {
                match self.find(&row.name) {
                    Some(handle) => found.push(handle),
                    None => {
                        let followed = self.follow().await;
                        followed.map_err(|error| ConnectorError::Unavailable(error.to_string()))?;
                        found.extend(
                            self.find(&row.name).map(|handle| handle as Arc<dyn Connector>),
                        );
                    }
                }
            }
            Ok(found)
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        next(self.changed.subscribe())
    }
}

impl StatusHistory for Registry {
    fn database(&self) -> String {
        let writer = self.shared.store.writer();
        writer.map_or_else(|_| String::new(), |writer| writer.instance.to_string())
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
            let changes = statements::changes(&self.shared.store.readers, number, limit).await;
            changes.map_err(|error| ConnectorError::Unavailable(error.to_string()))
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        next(self.shared.told.subscribe())
    }
}

/// Resolves when a count moves on.
fn next(mut counts: watch::Receiver<u64>) -> BoxFuture<'static, ()> {
    async move {
        if counts.changed().await.is_err() {
            pending::<()>().await;
        }
    }
    .boxed()
}

/// A connector without a row: what is told of it goes nowhere, and nothing is kept.
struct Detached(String);

impl Detached {
    fn nothing<T: Send + 'static>(&self) -> BoxFuture<'static, Result<T, ConnectorError>> {
        let name = &self.0;
        let text = format!("no component `{name}` was declared as a connector");
        ready(Err(ConnectorError::Unreadable(text))).boxed()
    }
}

impl Connector for Detached {
    fn name(&self) -> &str {
        &self.0
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn report(&self, _: Attempt) {}

    fn behind(&self, _: EventTime, _: Option<Behind>) {}

    fn next_attempt(&self, _: EventTime) {}

    fn cursors(&self) -> BoxFuture<'_, Result<BTreeMap<String, Cursor>, ConnectorError>> {
        self.nothing()
    }

    fn save<'a>(&'a self, _: &'a str, _: &'a Cursor) -> BoxFuture<'a, Result<(), ConnectorError>> {
        self.nothing()
    }

    fn forget<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), ConnectorError>> {
        self.nothing()
    }

    fn token<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Secret>, ConnectorError>> {
        self.nothing()
    }

    fn keep_token<'a>(
        &'a self,
        _: &'a str,
        _: &'a Secret,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        self.nothing()
    }

    fn lease(&self, _: Duration) -> BoxFuture<'_, Result<Option<Lease>, ConnectorError>> {
        self.nothing()
    }

    fn asked(&self) -> BoxFuture<'_, Asked> {
        pending().boxed()
    }
}
