//! What is kept of secrets in memory: one answer for all who ask, and what was read stays.
//!
//! A secret counts as fresh for the `refresh` of its backend. After that the next who asks is given
//! it all the same, and it is read again meanwhile; only one that nobody has asked for in twice
//! that time, or that the other side refused, is waited for. What follows from an answer:
//!
//! | the backend says | then |
//! |---|---|
//! | a value | it is kept, and fresh |
//! | nothing (it is down, or fails) | what was read before stays, however old |
//! | that there is none | what was read before stays until it is twice as old as fresh: a secret
//! that is put in anew is gone for a moment |
//!
//! Reads that fail are tried again after a pause that grows. Of each secret one read is under way
//! at a time, for all who wait; it goes on when they stop waiting. Who has replaced a secret has it
//! read anew ([`Secrets::reread`]): what a read gives that began before that is not kept.

use crate::limits::{
    READ_TIMEOUT, READS_MAX, REFUSED_PAUSE, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN, SECRETS_MAX,
};
use crate::tell::unavailable;
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::component::{Secret, SecretBackend, SecretError, SecretName, SecretUse, Secrets};
use azud_plan::telemetry::SecretMeter;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The secrets of an instance. Clones share what is kept.
#[derive(Clone)]
pub struct Cache {
    clock: Clock,
    backends: BTreeMap<String, Arc<Backend>>,
}

/// A backend, and what was read of it.
struct Backend {
    name: String,
    asked: Arc<dyn SecretBackend>,
    refresh: Duration,
    clock: Clock,
    /// Each lets one read go.
    permits: Semaphore,
    secrets: Mutex<BTreeMap<String, Arc<Mutex<State>>>>,
    meter: SecretMeter,
}

/// What is known of one secret.
#[derive(Default)]
struct State {
    kept: Option<Kept>,
    failed: Option<Failed>,
    /// The other side does not take what is kept.
    refused: bool,
    /// What is kept is another secret by now.
    replaced: bool,
    reading: Option<Reading>,
    /// Counts how often the secret was replaced: a read of before that is not kept.
    replacements: u64,
    /// When somebody asked last, by the monotonic clock.
    used_at: Duration,
}

struct Kept {
    secret: Secret,
    /// When it was read, by the monotonic clock.
    read_at: Duration,
    /// The same, by the wall clock.
    told_at: EventTime,
}

/// Reads that failed, since the last that did not.
struct Failed {
    error: SecretError,
    at: Duration,
    times: u32,
}

impl Failed {
    fn over_at(&self) -> Duration {
        let pause = RETRY_PAUSE_MIN.saturating_mul(1 << self.times.saturating_sub(1).min(16));
        self.at + pause.min(RETRY_PAUSE_MAX)
    }
}

/// A read that is under way, for all who wait for it.
type Reading = Shared<BoxFuture<'static, Result<Secret, SecretError>>>;

/// What is done for somebody who asks.
enum Step {
    Give(Secret),
    /// Give what is kept, and read meanwhile.
    GiveAndRead(Secret),
    Wait,
    Fail(SecretError),
}

impl State {
    fn step(&self, now: Duration, refresh: Duration) -> Step {
        let may_read = self.failed.as_ref().is_none_or(|failed| now >= failed.over_at());
        let Some(kept) = &self.kept else {
            return match &self.failed {
                Some(failed) if !may_read => Step::Fail(failed.error.clone()),
                _ => Step::Wait,
            };
        };
        let age = now.saturating_sub(kept.read_at);
        let refused = self.replaced || self.refused && age >= REFUSED_PAUSE;
        let secret = kept.secret.clone();
        match () {
            () if age < refresh && !refused => Step::Give(secret),
            () if !may_read => self.after(secret, age, refresh),
            () if refused || age >= refresh * 2 => Step::Wait,
            () => Step::GiveAndRead(secret),
        }
    }

    /// Says what is given when no read helped: what is kept, unless it is taken away.
    fn after(&self, secret: Secret, age: Duration, refresh: Duration) -> Step {
        match &self.failed {
            Some(Failed { error: error @ SecretError::Missing(_), .. })
                if self.refused || self.replaced || age >= refresh * 2 =>
            {
                Step::Fail(error.clone())
            }
            _ => Step::Give(secret),
        }
    }

    /// Takes in that the secret is another one: the next who asks waits for it.
    fn replace(&mut self) {
        self.replaced = true;
        self.replacements += 1;
        self.failed = None;
        self.reading = None;
    }
}

impl Cache {
    /// Makes one without backends.
    pub fn new(clock: Clock) -> Self {
        Cache { clock, backends: BTreeMap::new() }
    }

    /// Adds a backend under its name; secrets of it are fresh for so long.
    pub fn add(&mut self, name: &str, refresh: Duration, backend: Arc<dyn SecretBackend>) {
        let backend = Backend {
            name: name.to_owned(),
            asked: backend,
            refresh,
            clock: self.clock.clone(),
            permits: Semaphore::new(READS_MAX),
            secrets: Mutex::new(BTreeMap::new()),
            meter: SecretMeter::new(name),
        };
        self.backends.insert(name.to_owned(), Arc::new(backend));
    }

    fn backend(&self, name: &SecretName) -> Result<&Arc<Backend>, SecretError> {
        self.backends.get(&name.backend).ok_or_else(|| {
            SecretError::Missing(format!("there is no secret backend `{}`", name.backend))
        })
    }
}

impl Secrets for Cache {
    fn get<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        async { self.backend(name)?.get(&name.key).await }.boxed()
    }

    fn refused(&self, name: &SecretName) {
        let Ok(backend) = self.backend(name) else { return };
        let state = locked(&backend.secrets).get(&name.key).cloned();
        if let Some(state) = state {
            locked(&state).refused = true;
        }
    }

    fn used(&self, name: &SecretName, how: SecretUse<'_>) {
        if let Ok(backend) = self.backend(name) {
            backend.asked.used(&name.key, how);
        }
    }

    fn reread<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<(), SecretError>> {
        async { self.backend(name)?.reread(&name.key).await }.boxed()
    }
}

impl Backend {
    async fn get(self: &Arc<Self>, key: &str) -> Result<Secret, SecretError> {
        let entry = self.entry(key);
        let reading = {
            let mut state = locked(&entry);
            let now = self.clock.monotonic();
            state.used_at = now;
            match state.step(now, self.refresh) {
                Step::Give(secret) => return Ok(secret),
                Step::Fail(error) => return Err(error),
                Step::GiveAndRead(secret) => {
                    // It reads by itself; nobody waits here.
                    drop(self.reading(key, &entry, &mut state));
                    return Ok(secret);
                }
                Step::Wait => self.reading(key, &entry, &mut state),
            }
        };
        let error = match reading.await {
            Ok(secret) => return Ok(secret),
            Err(error) => error,
        };
        let state = locked(&entry);
        let Some(kept) = &state.kept else { return Err(error) };
        let age = self.clock.monotonic().saturating_sub(kept.read_at);
        match state.after(kept.secret.clone(), age, self.refresh) {
            Step::Fail(error) => Err(error),
            _ => Ok(kept.secret.clone()),
        }
    }

    /// Reads anew what is kept of a key and of members of it; what nobody asked for is read when
    /// somebody does.
    async fn reread(self: &Arc<Self>, key: &str) -> Result<(), SecretError> {
        let is_meant = |known: &str| {
            known.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
        };
        let known: Vec<_> = {
            let secrets = locked(&self.secrets);
            let meant = secrets.iter().filter(|(known, _)| is_meant(known));
            meant.map(|(known, entry)| (known.clone(), Arc::clone(entry))).collect()
        };
        let readings = known.iter().map(|(known, entry)| {
            let mut state = locked(entry);
            state.replace();
            self.reading(known, entry, &mut state)
        });
        let read = join_all(readings.collect::<Vec<_>>()).await;
        // A member that is no more is how things are.
        let failed = |read: Result<Secret, SecretError>| match read {
            Err(error @ SecretError::Unavailable(_)) => Some(error),
            _ => None,
        };
        read.into_iter().find_map(failed).map_or(Ok(()), Err)
    }

    /// Gives the entry of a key; of too many the one that was used least recently goes.
    fn entry(&self, key: &str) -> Arc<Mutex<State>> {
        let mut secrets = locked(&self.secrets);
        if let Some(entry) = secrets.get(key) {
            return Arc::clone(entry);
        }
        if secrets.len() >= SECRETS_MAX {
            let oldest = secrets.iter().min_by_key(|(_, entry)| locked(entry).used_at);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| secrets.remove(&key));
        }
        Arc::clone(secrets.entry(key.to_owned()).or_default())
    }

    /// Gives the read that is under way, or begins one: a task of its own, which goes on when
    /// nobody waits any more.
    fn reading(
        self: &Arc<Self>,
        key: &str,
        entry: &Arc<Mutex<State>>,
        state: &mut State,
    ) -> Reading {
        if let Some(reading) = &state.reading {
            return reading.clone();
        }
        let (backend, entry, key) = (Arc::clone(self), Arc::clone(entry), key.to_owned());
        let (name, since) = (self.name.clone(), state.replacements);
        let task = tokio::spawn(async move { backend.read(&key, &entry, since).await });
        let ended = task.map(move |ended| {
            ended.unwrap_or_else(|_| Err(unavailable(&name, "the read broke off")))
        });
        state.reading.insert(ended.boxed().shared()).clone()
    }

    /// Reads, and keeps what came of it, unless the secret was replaced `since`.
    async fn read(
        &self,
        key: &str,
        entry: &Mutex<State>,
        since: u64,
    ) -> Result<Secret, SecretError> {
        let asked = async {
            let _permit = self.permits.acquire().await;
            self.asked.read(key).await
        };
        // A backend that panics has failed, and nothing else: somebody must note it, or its read
        // would be under way for ever.
        let read = timeout(READ_TIMEOUT, AssertUnwindSafe(asked).catch_unwind()).await;
        let read = match read {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(unavailable(&self.name, "the read broke off")),
            Err(_) => Err(unavailable(&self.name, format!("nothing within {READ_TIMEOUT:?}"))),
        };
        let mut state = locked(entry);
        if state.replacements == since {
            state.reading = None;
            self.note(key, &mut state, &read);
        }
        drop(state);
        if let Some(oldest) = self.oldest() {
            self.meter.oldest(oldest.nanoseconds() as f64 / 1e9);
        }
        read
    }

    /// Notes what came of a read.
    fn note(&self, key: &str, state: &mut State, read: &Result<Secret, SecretError>) {
        let now = self.clock.monotonic();
        let backend = self.name.as_str();
        match read {
            Ok(secret) => {
                self.meter.read("read");
                let (secret, told_at) = (secret.clone(), self.clock.now());
                state.kept = Some(Kept { secret, read_at: now, told_at });
                state.refused = false;
                state.replaced = false;
                if state.failed.take().is_some() {
                    tracing::info!(backend, key, "the secret can be read again");
                }
            }
            Err(error) => {
                let missing = matches!(error, SecretError::Missing(_));
                self.meter.read(if missing { "missing" } else { "unavailable" });
                let before = state.failed.as_ref();
                if before.is_none_or(|failed| failed.error != *error) {
                    let kept = state.kept.is_some();
                    tracing::warn!(backend, key, kept, "a secret cannot be read: {error}");
                }
                let times = before.map_or(0, |failed| failed.times).saturating_add(1);
                state.failed = Some(Failed { error: error.clone(), at: now, times });
            }
        }
    }

    /// Gives when the oldest secret that is kept was read.
    fn oldest(&self) -> Option<EventTime> {
        let entries: Vec<_> = locked(&self.secrets).values().cloned().collect();
        let kept = entries.iter().filter_map(|entry| Some(locked(entry).kept.as_ref()?.told_at));
        kept.min()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics is done under these locks, and none is held across an await.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    const REFRESH: Duration = Duration::from_secs(60);

    type Answer = Result<&'static str, &'static str>;

    /// A backend that answers what it was told to, and then that it is down.
    #[derive(Default)]
    struct Script {
        answers: Mutex<VecDeque<Answer>>,
        reads: AtomicUsize,
        read: Notify,
        /// Whether a read waits until it is let go.
        holds: bool,
        go: Notify,
    }

    impl Script {
        fn then(&self, answer: Answer) {
            locked(&self.answers).push_back(answer);
        }

        fn reads(&self) -> usize {
            self.reads.load(Ordering::SeqCst)
        }

        async fn wait(&self, reads: usize) {
            while self.reads() < reads {
                self.read.notified().await;
            }
        }
    }

    impl SecretBackend for Script {
        fn read<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
            async move {
                if self.holds {
                    self.go.notified().await;
                }
                let answer = locked(&self.answers).pop_front();
                self.reads.fetch_add(1, Ordering::SeqCst);
                self.read.notify_one();
                match answer.unwrap_or(Err("down")) {
                    Err("panic") => panic!("as a library may"),
                    Ok(text) => Ok(Secret::new(text.to_owned())),
                    Err("none") => Err(SecretError::Missing("none".to_owned())),
                    Err(why) => Err(SecretError::Unavailable(why.to_owned())),
                }
            }
            .boxed()
        }
    }

    struct Bench {
        script: Arc<Script>,
        cache: Cache,
        clock: Clock,
    }

    impl Bench {
        fn new(script: Script) -> Self {
            let (script, clock) = (Arc::new(script), Clock::manual(EventTime::EPOCH));
            let mut cache = Cache::new(clock.clone());
            cache.add("b", REFRESH, Arc::clone(&script) as Arc<dyn SecretBackend>);
            Bench { script, cache, clock }
        }

        fn saying(answers: &[Answer]) -> Self {
            let script = Script {
                answers: Mutex::new(answers.iter().copied().collect()),
                ..Script::default()
            };
            Bench::new(script)
        }

        async fn get(&self) -> Result<String, String> {
            self.get_key("k").await
        }

        async fn get_key(&self, key: &str) -> Result<String, String> {
            let secret = self.cache.get(&name("b", key)).await;
            secret.map(|secret| secret.reveal().to_owned()).map_err(|error| error.to_string())
        }

        async fn reread(&self) -> Result<(), String> {
            let read = self.cache.reread(&name("b", "k")).await;
            read.map_err(|error| error.to_string())
        }

        /// Asks once more after so long.
        async fn later(&self, seconds: u64) -> Result<String, String> {
            self.clock.advance(Duration::from_secs(seconds));
            self.get().await
        }

        /// Waits until nothing is being read.
        async fn settle(&self) {
            let entry = locked(&self.cache.backends["b"].secrets).get("k").cloned().unwrap();
            let reading = locked(&entry).reading.clone();
            if let Some(reading) = reading {
                let _ = reading.await;
            }
        }

        fn refuse(&self) {
            self.cache.refused(&name("b", "k"));
        }
    }

    fn name(backend: &str, key: &str) -> SecretName {
        SecretName { backend: backend.to_owned(), key: key.to_owned() }
    }

    fn is(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    #[tokio::test]
    async fn what_is_fresh_is_given_from_memory_and_then_read_again_meanwhile() {
        let bench = Bench::saying(&[Ok("one"), Ok("two")]);
        assert_eq!(bench.get().await, is("one"));
        assert_eq!(bench.later(59).await, is("one"));
        assert_eq!(bench.script.reads(), 1);
        assert_eq!(bench.later(1).await, is("one"), "nobody waits for a backend");
        bench.settle().await;
        assert_eq!((bench.get().await, bench.script.reads()), (is("two"), 2));
    }

    #[tokio::test]
    async fn what_nobody_asked_for_in_a_long_time_is_waited_for() {
        let bench = Bench::saying(&[Ok("one"), Ok("two")]);
        assert_eq!(bench.get().await, is("one"));
        assert_eq!(bench.later(120).await, is("two"));
    }

    #[tokio::test]
    async fn a_backend_that_is_down_takes_back_nothing_and_is_left_alone() {
        let bench = Bench::saying(&[Ok("one")]);
        assert_eq!(bench.get().await, is("one"));
        for seconds in [60, 60, 10_000] {
            assert_eq!(bench.later(seconds).await, is("one"));
            bench.settle().await;
        }
        let reads = bench.script.reads();
        assert_eq!((bench.get().await, bench.script.reads()), (is("one"), reads), "it has a pause");
        bench.script.then(Ok("two"));
        assert_eq!(bench.later(RETRY_PAUSE_MAX.as_secs()).await, is("two"));
    }

    #[tokio::test]
    async fn a_secret_that_is_gone_for_a_moment_is_kept_and_one_that_stays_away_is_not() {
        let bench = Bench::saying(&[Ok("one"), Err("none"), Ok("two"), Err("none"), Err("none")]);
        assert_eq!(bench.get().await, is("one"));
        assert_eq!(bench.later(60).await, is("one"));
        bench.settle().await;
        assert_eq!(bench.get().await, is("one"));
        assert_eq!(bench.later(1).await, is("one"));
        bench.settle().await;
        assert_eq!(bench.get().await, is("two"));
        assert_eq!(bench.later(60).await, is("two"));
        bench.settle().await;
        assert_eq!(bench.later(60).await, Err("none".to_owned()));
    }

    #[tokio::test]
    async fn a_refused_secret_is_read_again_at_most_every_few_seconds() {
        let bench = Bench::saying(&[Ok("one"), Ok("one"), Ok("two")]);
        assert_eq!(bench.get().await, is("one"));
        bench.refuse();
        assert_eq!((bench.later(4).await, bench.script.reads()), (is("one"), 1));
        assert_eq!((bench.later(1).await, bench.script.reads()), (is("one"), 2));
        assert_eq!((bench.later(10).await, bench.script.reads()), (is("one"), 2), "all is well");
        bench.refuse();
        assert_eq!((bench.get().await, bench.script.reads()), (is("two"), 3));
        bench.refuse();
        // The backend is down: what was refused is better than nothing.
        assert_eq!((bench.later(5).await, bench.script.reads()), (is("two"), 4));
    }

    #[tokio::test]
    async fn what_was_refused_and_is_gone_is_missing() {
        let bench = Bench::saying(&[Ok("one"), Err("none")]);
        assert_eq!(bench.get().await, is("one"));
        bench.refuse();
        assert_eq!(bench.later(5).await, Err("none".to_owned()));
        assert_eq!(bench.get().await, Err("none".to_owned()));
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_had_is_not_asked_for_all_the_time() {
        let bench = Bench::saying(&[Err("none"), Err("down"), Ok("one")]);
        assert_eq!(bench.get().await, Err("none".to_owned()));
        assert_eq!((bench.get().await, bench.script.reads()), (Err("none".to_owned()), 1));
        assert_eq!(bench.later(1).await, Err("down".to_owned()));
        assert_eq!((bench.later(1).await, bench.script.reads()), (Err("down".to_owned()), 2));
        assert_eq!(bench.later(1).await, is("one"));
    }

    #[tokio::test]
    async fn a_backend_that_panics_fails_once_and_is_asked_again() {
        let bench = Bench::saying(&[Err("panic"), Ok("one"), Err("panic"), Ok("two")]);
        let broke_off = Err("secret backend `b` does not answer: the read broke off".to_owned());
        assert_eq!(bench.get().await, broke_off);
        assert_eq!(bench.later(1).await, is("one"));
        // Nobody waits for this one.
        assert_eq!(bench.later(60).await, is("one"));
        bench.settle().await;
        assert_eq!(bench.later(1).await, is("one"));
        bench.settle().await;
        assert_eq!((bench.get().await, bench.script.reads()), (is("two"), 4));
    }

    #[tokio::test]
    async fn what_was_replaced_is_read_at_once_and_its_members_too() {
        let bench = Bench::saying(&[Ok("one"), Ok("a"), Ok("other"), Ok("two"), Ok("b")]);
        for key in ["k", "k#m", "k2"] {
            bench.get_key(key).await.unwrap();
        }
        assert_eq!(bench.reread().await, Ok(()));
        assert_eq!((bench.get().await, bench.script.reads()), (is("two"), 5));
        assert_eq!(bench.get_key("k#m").await, is("b"));
        assert_eq!((bench.get_key("k2").await, bench.script.reads()), (is("other"), 5));
        // What cannot be had is said; who uses it goes on meanwhile.
        assert_eq!(bench.reread().await, Err("down".to_owned()));
        assert_eq!(bench.get().await, is("two"));
        bench.script.then(Err("none"));
        assert_eq!(bench.later(1).await, Err("none".to_owned()), "it was taken out of use");
    }

    #[tokio::test]
    async fn a_read_of_before_is_not_kept() {
        let bench = Bench::new(Script { holds: true, ..Script::default() });
        bench.script.then(Ok("old"));
        bench.script.then(Ok("new"));
        assert!(bench.get().now_or_never().is_none(), "the read of before");
        let reread = bench.reread();
        futures_util::pin_mut!(reread);
        assert!(reread.as_mut().now_or_never().is_none());
        bench.script.go.notify_one();
        bench.script.wait(1).await;
        bench.script.go.notify_one();
        assert_eq!(reread.await, Ok(()));
        assert_eq!((bench.get().await, bench.script.reads()), (is("new"), 2));
    }

    #[tokio::test]
    async fn all_who_ask_share_one_read_which_goes_on_when_they_leave() {
        let bench = Bench::new(Script { holds: true, ..Script::default() });
        bench.script.then(Ok("one"));
        assert!(bench.get().now_or_never().is_none(), "it waits, and leaves");
        bench.script.go.notify_one();
        bench.script.wait(1).await;
        let asked = join_all((0..50).map(|_| bench.get())).await;
        assert!(asked.iter().all(|secret| *secret == is("one")));
        assert_eq!(bench.script.reads(), 1);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let bench = Bench::saying(&[]);
        for number in 0..=SECRETS_MAX {
            bench.clock.advance(Duration::from_millis(1));
            let _ = bench.cache.get(&name("b", &number.to_string())).now_or_never();
        }
        let secrets = locked(&bench.cache.backends["b"].secrets);
        assert_eq!(secrets.len(), SECRETS_MAX);
        assert!(!secrets.contains_key("0") && secrets.contains_key("1"));
    }

    #[tokio::test]
    async fn a_backend_that_is_not_there_is_named() {
        let bench = Bench::saying(&[]);
        let error = bench.cache.get(&name("c", "k")).await.unwrap_err();
        let text = "there is no secret backend `c`".to_owned();
        assert_eq!(error, SecretError::Missing(text));
    }
}
