//! Episodes: one alert for windows of one key that touch, however many there are.
//!
//! A window of ten minutes that hops by one would otherwise page ten times for one attack. Windows
//! for which the condition holds are put in a row; those that touch are an *episode*, and an
//! episode is one alert. Its identity is given when it is first told, by the start of its first
//! window then, and stays with it when later records move that start.
//!
//! ```text
//!  windows   [──────]            told: A raised
//!              [──────]          A amended
//!                                [──────]           B raised
//!                    [──────────────]   (late)      A amended, supersedes B; B withdrawn
//! ```
//!
//! # Invariants
//!
//! - Which episodes there are, and what each says, is a function of the last revisions of the
//!   windows alone. Only ids and the number of revisions depend on what was told when.
//! - An episode is as severe as its *decisive* window: the most severe, of several the one with the
//!   most events, then the last. Its fields, its count and its title are those of the records of
//!   all its windows, each counted once; where the parts of some are not known, those of the
//!   decisive one.
//! - An episode is resolved while a window behind all of its own, which has closed, says so
//!   (`resolve_when`), or once it has been silent for long enough.
//! - A revision goes out only if something that people see has changed; the first, a worse
//!   severity, an end and a withdrawal at once, others not within [`SETTLE`] of the last.
//! - Nothing is forgotten while a window may still be amended.

use super::rule::Head;
use super::shares::Pool;
use super::sighting::{Seen, Sighting};
use super::union::Union;
use azud_event::alert::{Alert, Completeness, Entity, Severity};
use azud_event::id::Id;
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{Body, Due, EpochClock, KeyedState, Progress, Told};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long amendments wait for each other, by the logged clock: who delivers an hour of records at
/// once must not cause a hundred revisions.
pub const SETTLE: Duration = Duration::from_secs(5);

/// How many records an alert carries; those of the decisive window come first.
const EVIDENCE_MAX: usize = 6;

/// The version of snapshots, their first byte.
const SNAPSHOT_VERSION: u8 = 3;

/// How windows become episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether every window is an alert of its own.
    pub each_window: bool,
    /// How long an episode may be; a longer one is divided.
    pub longest: Duration,
    /// How long after its end an episode is resolved.
    pub resolve_after: Duration,
    /// For how long after its end a window may still be amended, or touched by one that is new.
    pub amended_for: Duration,
    /// How many windows a key group may hold.
    pub windows_max: usize,
    /// How much a key group may hold of the parts of windows, in bytes.
    pub parts_max: usize,
}

/// The episodes of one key group.
pub struct Episodes {
    head: Arc<Head>,
    rules: Rules,
    union: Option<Arc<Union>>,
    kept: Kept,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// How many windows had to leave so far.
    evicted: u64,
    windows: usize,
    keys: Vec<(Vec<u8>, OfKey)>,
}

/// What is known of one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OfKey {
    /// The windows, by start, end and id: what the last revision says.
    windows: Vec<Sighting>,
    /// The parts of these windows.
    pool: Pool,
    /// Where windows lie, or lay, of which a revision came that was not looked at yet. Between
    /// epochs there is none.
    #[serde(skip)]
    changed: Vec<(EventTime, EventTime)>,
    episodes: Vec<Episode>,
    /// Alerts that were withdrawn: one that comes back goes on from its last revision.
    gone: Vec<Gone>,
}

/// An alert that was withdrawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Gone {
    anchor: EventTime,
    end: EventTime,
    revision: u64,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Episode {
    /// The start of its first window when it was first told.
    anchor: EventTime,
    /// Where each window is an alert: the id of the window's result, else nothing.
    of: String,
    start: EventTime,
    end: EventTime,
    revision: u64,
    raised_at: EventTime,
    told_at: EventTime,
    /// What was told last: its severity, and a hash of what people see.
    told: Option<(Severity, [u8; 16])>,
    /// What people know it by, as it was told last. A withdrawal says it, too, though the windows
    /// that it came of are gone.
    known_as: KnownAs,
    resolved_at: Option<EventTime>,
    supersedes: BTreeSet<EventTime>,
    /// Whether something is to be told once the last revision has settled.
    waits: bool,
}

/// What people know an alert by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct KnownAs {
    title: String,
    key: BTreeMap<String, serde_json::Value>,
}

/// Windows that touch.
struct Run<'a> {
    windows: Vec<(&'a Sighting, &'a Seen)>,
    start: EventTime,
    end: EventTime,
    /// When the first window closes that resolves it.
    calmed_at: Option<EventTime>,
}

impl Episodes {
    /// Begins without any; `union` makes what they say of several windows together.
    pub fn new(head: Arc<Head>, rules: Rules, union: Option<Arc<Union>>) -> Self {
        Episodes { head, rules, union, kept: Kept::default() }
    }

    /// Gives what is known of a key, and where it stands in the order of keys.
    fn of_key(&mut self, key: &[u8]) -> &mut OfKey {
        let keys = &mut self.kept.keys;
        let index = match keys.binary_search_by(|(known, _)| known.as_slice().cmp(key)) {
            Ok(index) => index,
            Err(index) => {
                keys.insert(index, (key.to_vec(), OfKey::default()));
                index
            }
        };
        &mut keys[index].1
    }

    fn add(&mut self, row: &Row) {
        let sighting: Sighting = match serde_json::from_slice(&row.payload) {
            Ok(sighting) => sighting,
            Err(error) => {
                // Rows are made by this program and live no longer than it.
                tracing::error!(rule = %self.head.rule.id, "a row is no result: {error}");
                return;
            }
        };
        self.kept.windows += self.of_key(&row.key).add(sighting);
    }

    /// Lets keys go until the bound holds: first those that have nothing but windows that would
    /// resolve something, whose loss takes no alert away; then those whose last window ended first.
    fn evict(&mut self) {
        let Kept { evicted, windows, keys } = &mut self.kept;
        if *windows <= self.rules.windows_max {
            return;
        }
        let alerts = |of_key: &OfKey| of_key.windows.iter().filter(|it| it.seen.is_some()).count();
        let last = |of_key: &OfKey| of_key.windows.last().map(|window| window.end);
        let mut by_age: Vec<_> = keys
            .iter()
            .map(|(key, of_key)| (alerts(of_key) > 0, last(of_key), key.clone()))
            .collect();
        by_age.sort_unstable();
        let (before, mut gone) = (*evicted, BTreeSet::new());
        for (_, _, key) in by_age {
            if *windows <= self.rules.windows_max {
                break;
            }
            if let Ok(index) = keys.binary_search_by(|(known, _)| known.cmp(&key)) {
                *windows -= keys[index].1.windows.len();
                *evicted += alerts(&keys[index].1) as u64;
                gone.insert(key);
            }
        }
        keys.retain(|(key, _)| !gone.contains(key));
        if *evicted > before {
            tracing::warn!(
                rule = %self.head.rule.id, evicted = *evicted,
                "the rule has more windows than it may hold; the oldest left"
            );
        }
    }

    /// Lets parts of windows go until the bound holds, those of the keys first whose last window
    /// ended first. Their alerts stay, and say what their decisive windows say.
    fn let_parts_go(&mut self) {
        let keys = &mut self.kept.keys;
        let mut left: usize = keys.iter().map(|(_, of_key)| of_key.pool.bytes()).sum();
        if left <= self.rules.parts_max {
            return;
        }
        let last = |of_key: &OfKey| of_key.windows.last().map(|window| window.end);
        let mut by_age: Vec<_> =
            (0..).zip(keys.iter()).map(|(at, (_, of_key))| (last(of_key), at)).collect();
        by_age.sort_unstable();
        for (_, at) in by_age {
            if left <= self.rules.parts_max {
                break;
            }
            let OfKey { windows, pool, .. } = &mut keys[at].1;
            left -= std::mem::take(pool).bytes();
            windows.iter_mut().for_each(|window| window.shares = None);
        }
        tracing::warn!(
            rule = %self.head.rule.id,
            "there is more behind the rule's windows than it may hold; some alerts say what their \
             most severe window says"
        );
    }
}

impl KeyedState for Episodes {
    fn on_epoch(
        &mut self,
        rows: &[Row],
        clock: &EpochClock,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Progress {
        let mut touched: BTreeSet<Vec<u8>> = BTreeSet::new();
        for row in rows {
            self.add(row);
            touched.insert(row.key.to_vec());
        }
        let Episodes { head, rules, union, kept } = self;
        let (union, evicted) = (union.as_deref(), kept.evicted);
        let telling = Telling { head, rules, union, clock, evicted };
        for (key, of_key) in &mut kept.keys {
            if touched.contains(key) || of_key.is_due(rules, clock) {
                of_key.tell(key, &telling, tell);
                kept.windows -= of_key.forget(rules, clock);
            }
        }
        kept.keys.retain(|(_, of_key)| !of_key.is_empty());
        self.evict();
        self.let_parts_go();
        Progress::Done
    }

    fn due(&self) -> Due {
        let keys = self.kept.keys.iter().map(|(_, of_key)| of_key.due(&self.rules));
        keys.fold(Due::default(), |least, due| Due {
            watermark: [least.watermark, due.watermark].into_iter().flatten().min(),
            now: [least.now, due.now].into_iter().flatten().min(),
        })
    }

    fn keys(&self) -> u64 {
        self.kept.keys.len() as u64
    }

    fn evicted(&self) -> u64 {
        self.kept.evicted
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut snapshot = vec![SNAPSHOT_VERSION];
        serde_json::to_writer(&mut snapshot, &self.kept)
            .expect("texts, numbers and lists have a form in JSON");
        snapshot
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let kept = match snapshot {
            [SNAPSHOT_VERSION, kept @ ..] => kept,
            _ => return Err("episodes of this version are not known".to_owned()),
        };
        self.kept = serde_json::from_slice(kept).map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// What is needed to tell.
struct Telling<'a> {
    head: &'a Head,
    rules: &'a Rules,
    union: Option<&'a Union>,
    clock: &'a EpochClock,
    evicted: u64,
}

impl OfKey {
    /// Notes a revision, unless a later one is known; gives by how many windows there are more.
    fn add(&mut self, mut sighting: Sighting) -> usize {
        let known = self.windows.iter().position(|known| known.id == sighting.id);
        if known.is_some_and(|known| self.windows[known].revision >= sighting.revision) {
            return 0;
        }
        let before = known.map(|known| self.windows.remove(known));
        self.pool.add(&mut sighting);
        if let Some(before) = &before {
            self.pool.remove(before);
        }
        self.changed.extend(before.as_ref().map(|before| (before.start, before.end)));
        self.changed.push((sighting.start, sighting.end));
        let place = |known: &Sighting| {
            (known.start, known.end, &known.id) < (sighting.start, sighting.end, &sighting.id)
        };
        let index = self.windows.partition_point(place);
        self.windows.insert(index, sighting);
        usize::from(before.is_none())
    }

    /// Tells what has changed.
    fn tell(&mut self, key: &[u8], telling: &Telling<'_>, tell: &mut dyn FnMut(Told<'_>)) {
        let OfKey { windows, pool, changed, episodes, gone } = self;
        let runs = runs(windows, telling.rules);
        let mut left = std::mem::take(episodes);
        for run in &runs {
            let mut mine: Vec<Episode> =
                left.extract_if(.., |it| run.is_told_by(it, windows, telling.rules)).collect();
            // The one that goes on: its own, else the earliest that was joined to it.
            mine.sort_by_key(|it| !it.of.is_empty() && it.of != run.windows[0].0.id);
            let changed = mine.len() != 1 || changed.iter().any(|it| run.has(*it));
            let mut episode = match mine.is_empty() {
                true => Episode::begin(run, telling.clock, gone),
                false => mine.remove(0),
            };
            for later in mine {
                let by = Some(telling.head.id(key, episode.anchor));
                gone.extend(later.withdraw(key, by, telling, tell));
                episode.supersedes.insert(later.anchor);
                episode.supersedes.extend(later.supersedes.iter().copied());
            }
            episode.of = telling.rules.of(run);
            episode.tell(key, (run, pool, changed), telling, tell);
            (episode.start, episode.end) = (run.start, run.end);
            episodes.push(episode);
        }
        for empty in left {
            gone.extend(empty.withdraw(key, None, telling, tell));
        }
        changed.clear();
    }

    fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.episodes.is_empty() && self.gone.is_empty()
    }

    /// Forgets windows that can no longer be amended, of episodes that are over.
    fn forget(&mut self, rules: &Rules, clock: &EpochClock) -> usize {
        let over = |end: EventTime| {
            clock.late_before >= end.saturating_add(rules.amended_for.max(rules.resolve_after))
        };
        let before = self.windows.len();
        let done: Vec<_> = self
            .episodes
            .extract_if(.., |episode| over(episode.end) && !episode.waits)
            .map(|episode| (episode.start, episode.end))
            .collect();
        let pool = &mut self.pool;
        self.windows.retain(|window| {
            let of_done =
                done.iter().any(|(start, end)| window.start >= *start && window.end <= *end);
            let stays = !(of_done || window.seen.is_none() && over(window.end));
            if !stays {
                pool.remove(window);
            }
            stays
        });
        self.gone.retain(|gone| !over(gone.end));
        before - self.windows.len()
    }

    fn due(&self, rules: &Rules) -> Due {
        let resolves = |episode: &Episode| {
            let silent = episode.end.saturating_add(rules.resolve_after);
            let calm = || calmed_at(&self.windows, episode.end);
            let open = episode.resolved_at.is_none();
            open.then(|| calm().map_or(silent, |calm| calm.min(silent)))
        };
        let settles =
            |episode: &Episode| episode.waits.then(|| episode.told_at.saturating_add(SETTLE));
        let kept_for = rules.amended_for.max(rules.resolve_after);
        let ends = self.windows.iter().map(|window| window.end);
        let ends = ends.chain(self.gone.iter().map(|gone| gone.end));
        let forgets = ends.map(|end| end.saturating_add(kept_for));
        Due {
            watermark: self.episodes.iter().filter_map(resolves).chain(forgets).min(),
            now: self.episodes.iter().filter_map(settles).min(),
        }
    }

    fn is_due(&self, rules: &Rules, clock: &EpochClock) -> bool {
        let due = self.due(rules);
        let reached = |due: Option<EventTime>, now| due.is_some_and(|due| due <= now);
        reached(due.watermark, clock.watermark) || reached(due.now, clock.now)
    }
}

/// Puts the windows that are a reason for an alert into runs of those that touch. They are sorted
/// by their start.
fn runs<'a>(windows: &'a [Sighting], rules: &Rules) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for window in windows {
        let Some(seen) = &window.seen else { continue };
        if let Some(run) = runs.last_mut()
            && !rules.each_window
            && window.start <= run.end
            && window.end.since(run.start) <= rules.longest
        {
            run.end = run.end.max(window.end);
            run.windows.push((window, seen));
            continue;
        }
        let windows: Vec<(&Sighting, &Seen)> = vec![(window, seen)];
        runs.push(Run { windows, start: window.start, end: window.end, calmed_at: None });
    }
    for run in &mut runs {
        run.calmed_at = calmed_at(windows, run.end);
    }
    runs
}

impl Rules {
    /// Gives what an alert is of, where each window is one.
    fn of(&self, run: &Run<'_>) -> String {
        if self.each_window { run.windows[0].0.id.clone() } else { String::new() }
    }
}

/// Says when the first window closes that resolves what ended at `end`.
fn calmed_at(windows: &[Sighting], end: EventTime) -> Option<EventTime> {
    let calm = windows.iter().filter(|window| window.calms && window.end > end);
    calm.map(|window| window.end).min()
}

impl Run<'_> {
    /// Whether an alert is about these windows, or about one that was joined to them.
    fn is_told_by(&self, episode: &Episode, windows: &[Sighting], rules: &Rules) -> bool {
        if !rules.each_window {
            return episode.start < self.end && self.start < episode.end;
        }
        let mine = &self.windows[0].0.id;
        let mut id = &episode.of;
        // A session is joined to one that begins earlier, so this comes to an end.
        while id != mine {
            let next = windows.iter().find(|window| window.id == *id);
            let Some(next) = next.and_then(|window| window.superseded_by.as_ref()) else {
                return false;
            };
            id = next;
        }
        true
    }

    /// Whether a window that lies there may be one of these, or have been one.
    fn has(&self, (start, end): (EventTime, EventTime)) -> bool {
        start <= self.end && self.start <= end
    }

    /// Whether a window that has closed resolves it.
    fn is_calmed(&self, clock: &EpochClock) -> bool {
        self.calmed_at.is_some_and(|at| at <= clock.watermark)
    }

    /// The window that decides what is said.
    fn decisive(&self) -> &Seen {
        let rank = |(window, seen): &&(&Sighting, &Seen)| {
            (seen.draft.severity, seen.event_count, window.start)
        };
        let decisive = self.windows.iter().max_by_key(rank);
        decisive.expect("a run begins with a window").1
    }

    /// Gives the title, the fields and the count: of all records, if they can be put together.
    fn say(
        &self,
        pool: &Pool,
        union: Option<&Union>,
    ) -> (String, BTreeMap<String, serde_json::Value>, u64) {
        let decisive = self.decisive();
        let span = (self.start, self.end);
        let title = || decisive.draft.title.clone();
        match union.and_then(|union| union.say(pool, &self.windows, decisive, span)) {
            Some(said) => (said.title.unwrap_or_else(title), said.fields, said.event_count),
            None => (title(), decisive.draft.fields.clone(), decisive.event_count),
        }
    }
}

impl Episode {
    fn begin(run: &Run<'_>, clock: &EpochClock, gone: &mut Vec<Gone>) -> Self {
        let before = gone.extract_if(.., |gone| gone.anchor == run.start).next();
        Episode {
            anchor: run.start,
            of: String::new(),
            start: run.start,
            end: run.end,
            revision: before.map_or(0, |gone| gone.revision),
            raised_at: clock.now,
            told_at: clock.now,
            told: None,
            known_as: KnownAs::default(),
            resolved_at: None,
            supersedes: BTreeSet::new(),
            waits: false,
        }
    }

    /// Tells the next revision, if it is time for one. Nothing is made of windows of which none has
    /// changed: a key may have thousands that are over and may still be amended.
    fn tell(
        &mut self,
        key: &[u8],
        (run, pool, changed): (&Run<'_>, &Pool, bool),
        telling: &Telling<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) {
        let clock = telling.clock;
        let ended = clock.watermark == EventTime::MAX;
        // The end of all input is no silence: nothing more is known then. What was silent before
        // stays so, unless a window that was still open has made it longer.
        let silent = match ended {
            true => self.resolved_at.is_some() && run.end <= self.end,
            false => clock.watermark >= run.end.saturating_add(telling.rules.resolve_after),
        };
        let calmed = run.is_calmed(clock);
        let resolved = calmed || silent;
        let ends = resolved && self.resolved_at.is_none();
        let was_resolved = self.resolved_at.is_some();
        self.resolved_at = if resolved { self.resolved_at.or(Some(clock.now)) } else { None };
        if self.told.is_some() && !self.waits && !changed && was_resolved == resolved {
            return;
        }
        let settled = clock.now >= self.told_at.saturating_add(SETTLE) || ended;
        let worst = run.decisive().draft.severity;
        if self.told.is_some_and(|(severity, _)| worst <= severity) && !ends && !settled {
            // What it says by then is put together then.
            self.waits = true;
            return;
        }
        let mut alert = self.alert(key, (run, pool), telling);
        let seen = digest(&alert);
        let change = match self.told {
            None => "raised",
            Some((severity, _)) if alert.severity > severity => "escalated",
            Some(_) if ends => "resolved",
            Some((_, known)) if known == seen => {
                self.waits = false;
                return;
            }
            Some(_) => "amended",
        };
        self.revision += 1;
        self.told_at = clock.now;
        self.told = Some((alert.severity, seen));
        self.known_as = KnownAs { title: alert.title.clone(), key: alert.key.clone() };
        self.waits = false;
        alert.revision = self.revision;
        alert.change = change.to_owned();
        let value = telling.head.to_value(&alert);
        tell(Told {
            port: 0,
            event_time: alert.last_event_at,
            body: Body::Value(value),
            parts: None,
        });
    }

    /// Makes the alert as it is now, but for what tells its revision.
    fn alert(&self, key: &[u8], (run, pool): (&Run<'_>, &Pool), telling: &Telling<'_>) -> Alert {
        let (head, clock) = (telling.head, telling.clock);
        let decisive = run.decisive();
        let draft = &decisive.draft;
        let (title, fields, event_count) = run.say(pool, telling.union);
        let anchor = self.anchor.nanoseconds().to_le_bytes();
        let all = || run.windows.iter().map(|(_, seen)| seen);
        let entities: BTreeSet<Entity> =
            all().flat_map(|seen| seen.draft.entities.iter().cloned()).collect();
        let ended = clock.watermark == EventTime::MAX;
        let calmed = run.is_calmed(clock);
        let state = if self.resolved_at.is_some() { "resolved" } else { "firing" };
        Alert {
            state: state.to_owned(),
            title,
            key: draft.key.clone(),
            fields,
            window: Some(serde_json::json!({
                "start": run.start.to_rfc3339(),
                "end": run.end.to_rfc3339(),
                "windows": run.windows.len(),
            })),
            first_event_at: all().map(|seen| seen.first_event_at).min().unwrap_or(run.start),
            last_event_at: all().map(|seen| seen.last_event_at).max().unwrap_or(run.end),
            event_count,
            raised_at: self.raised_at,
            resolved_at: self.resolved_at,
            delay_ms: i64::try_from(clock.now.since(draft.received_at).as_millis()).ok(),
            completeness: Completeness {
                complete_to: if ended { clock.now } else { clock.watermark },
                missing: clock.missing.to_vec(),
                late_events: all().map(|seen| seen.late_events).max().unwrap_or(0),
                keys_evicted: decisive.keys_evicted.saturating_add(telling.evicted),
            },
            entities: entities.into_iter().take(super::draft::ENTITIES_MAX).collect(),
            evidence: decisive.evidence.iter().take(EVIDENCE_MAX).cloned().collect(),
            supersedes: self.supersedes.iter().map(|it| head.id(key, *it).to_string()).collect(),
            reason: if calmed { Some("resolve_when".to_owned()) } else { draft.reason.clone() },
            ..head.alert(&[key, &anchor], draft.severity, clock.now)
        }
    }

    /// Tells that there is nothing in it any more; gives what is to be kept of it.
    fn withdraw(
        &self,
        key: &[u8],
        by: Option<Id>,
        telling: &Telling<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Option<Gone> {
        let (severity, _) = self.told?;
        let (head, clock) = (telling.head, telling.clock);
        let anchor = self.anchor.nanoseconds().to_le_bytes();
        let alert = Alert {
            revision: self.revision + 1,
            change: "withdrawn".to_owned(),
            state: "withdrawn".to_owned(),
            title: self.known_as.title.clone(),
            key: self.known_as.key.clone(),
            first_event_at: self.start,
            last_event_at: self.end,
            event_count: 0,
            raised_at: self.raised_at,
            superseded_by: by.map(|id| id.to_string()),
            ..head.alert(&[key, &anchor], severity, clock.now)
        };
        let value = head.to_value(&alert);
        tell(Told { port: 0, event_time: self.end, body: Body::Value(value), parts: None });
        let (anchor, end) = (self.anchor, self.end);
        Some(Gone { anchor, end, revision: self.revision + 1 })
    }
}

/// Hashes what people see of an alert: not how long it took, nor how complete it is.
fn digest(alert: &Alert) -> [u8; 16] {
    let seen = serde_json::json!([
        alert.state,
        alert.severity,
        alert.title,
        alert.fields,
        alert.window,
        alert.event_count,
        alert.first_event_at.nanoseconds(),
        alert.last_event_at.nanoseconds(),
        alert.supersedes,
    ]);
    *Id::of(&[seen.to_string().as_bytes()]).as_bytes()
}

#[cfg(test)]
#[path = "episodes_tests.rs"]
mod tests;
