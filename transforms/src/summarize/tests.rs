//! `summarize` against naive models: all records at once, sorted, grouped by the plain definition
//! of each kind of window. What is fed is cut at random: into workers, drains, epochs and lives of
//! the state; within allowed lateness none of it may show in what windows end as.

use super::*;
use crate::testing::{Said, check, checked};
use crate::vrl::testing::record_of;
use azud_event::id::{Partitioner, StreamId};
use azud_event::record::Record;
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{
    Archive, ArchiveError, EachEntry, Early, Entry, EpochClock, KeyedState, Kind, Progress,
    RowContext, RowMaker, Taken, Told, TransformSpec,
};
use azud_plan::diagnostic::{Diagnostic, codes};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use vrl::value;
use vrl::value::Value;
use vrl::{owned_value_path, path};

/// Times of tests are seconds after this: 2026-03-01T10:00:00Z, a whole number of everything here.
const START: i64 = 1_772_359_200;
/// The allowed lateness of tests, in seconds.
const LATENESS: i64 = 60;
const LEAST: EventTime = EventTime::from_nanoseconds(i64::MIN);
const END: EventTime = EventTime::from_nanoseconds(i64::MAX);

fn time(second: i64) -> EventTime {
    EventTime::from_nanoseconds((START + second) * 1_000_000_000)
}

/// A record, before it is one.
#[derive(Clone, Debug)]
struct Event {
    second: i64,
    key: u8,
    n: i64,
    stream: u8,
}

fn record((position, event): (u64, &Event)) -> Record {
    let mut record = record_of(value!({ "key": (i64::from(event.key)), "n": (event.n) }));
    let origin = record.origin_mut();
    origin.event_time = Some(time(event.second));
    origin.stream = StreamId(u64::from(event.stream));
    (origin.position, origin.index) = (position, 0);
    record
}

/// How events are fed: in which order, and how they are cut.
#[derive(Clone, Debug)]
struct Feeding {
    /// By event, in the order of arrival: which event, on which worker, whether the worker is
    /// drained behind it, whether the epoch ends there, and how far the watermark then goes beyond
    /// what is still to come.
    steps: Vec<(usize, bool, bool, bool, i64)>,
    /// After which epochs every state is written and read back.
    restores: u64,
    /// After which epochs every state puts away what it can, before that.
    puts_away: u64,
}

fn feeding(events: usize) -> impl Strategy<Value = Feeding> {
    let order = Just((0..events).collect::<Vec<_>>()).prop_shuffle();
    let cut = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3), 0..LATENESS);
    let cuts = prop::collection::vec(cut, events);
    (order, cuts, any::<u64>(), any::<u64>()).prop_map(|(order, cuts, restores, puts_away)| {
        let steps = order.into_iter().zip(cuts);
        let steps = steps
            .map(|(event, (worker, drain, epoch, ahead))| (event, worker, drain, epoch, ahead));
        Feeding { steps: steps.collect(), restores, puts_away }
    })
}

fn events(seconds: i64) -> impl Strategy<Value = Vec<Event>> {
    let event = (0..seconds, 0..3_u8, 0..6_i64, 0..3_u8)
        .prop_map(|(second, key, n, stream)| Event { second, key, n, stream });
    prop::collection::vec(event, 1..40)
}

fn fed(seconds: i64) -> impl Strategy<Value = (Vec<Event>, Feeding)> {
    events(seconds).prop_flat_map(|events| {
        let count = events.len();
        (Just(events), feeding(count))
    })
}

type States = BTreeMap<u8, Box<dyn KeyedState>>;

/// What was put away, by key and number.
type Entries = BTreeMap<(Vec<u8>, i64), Vec<u8>>;

/// An archive in memory, of one key group.
#[derive(Clone, Default)]
struct PutAway(Arc<Mutex<Entries>>);

impl Archive for PutAway {
    fn read(
        &mut self,
        key: &[u8],
        numbers: RangeInclusive<i64>,
        each: EachEntry<'_>,
    ) -> Result<(), ArchiveError> {
        let of = |number: i64| (key.to_vec(), number);
        let entries = self.0.lock().unwrap();
        let mut found = entries.range(of(*numbers.start())..=of(*numbers.end()));
        found.try_for_each(|((_, number), value)| each(*number, value))
    }
}

/// Runs epochs over the states of all key groups.
struct Run {
    make: Box<dyn Fn() -> Box<dyn KeyedState> + Send>,
    states: States,
    archives: BTreeMap<u8, PutAway>,
    watermark: EventTime,
    told: Vec<Said>,
}

impl Run {
    fn new(make: Box<dyn Fn() -> Box<dyn KeyedState> + Send>) -> Self {
        let (states, archives) = (States::new(), BTreeMap::new());
        Run { make, states, archives, watermark: LEAST, told: Vec::new() }
    }

    fn epoch(&mut self, mut rows: Vec<Row>, watermark: EventTime) {
        rows.sort_by_key(|row| (row.group, row.place));
        let late_before = std::mem::replace(&mut self.watermark, watermark);
        let missing = Arc::new([]);
        let clock = EpochClock { now: time(0), watermark, late_before, missing };
        for row in &rows {
            self.states.entry(row.group.0).or_insert_with(|| {
                let mut state = (self.make)();
                state.attach(Box::new(self.archives.entry(row.group.0).or_default().clone()));
                state
            });
        }
        for (group, state) in &mut self.states {
            let rows: Vec<Row> = rows.iter().filter(|row| row.group.0 == *group).cloned().collect();
            let due = state.due().watermark.is_some_and(|due| due <= watermark);
            if rows.is_empty() && !due {
                continue;
            }
            let mut rows = rows.as_slice();
            let mut tell = |told: Told<'_>| self.told.push(told.into());
            while state.on_epoch(rows, &clock, &mut tell) == Progress::More {
                rows = &[];
            }
        }
    }

    fn restore(&mut self) {
        for (group, state) in &mut self.states {
            let snapshot = state.snapshot();
            let mut again = (self.make)();
            again.restore(&snapshot).unwrap();
            assert_eq!(again.snapshot(), snapshot);
            assert_eq!(again.due(), state.due());
            again.attach(Box::new(self.archives[group].clone()));
            *state = again;
        }
    }

    fn put_away(&mut self) {
        for (group, state) in &mut self.states {
            let due = state.due();
            let mut entries = self.archives[group].0.lock().unwrap();
            let mut behind = None;
            state.put_away(&mut |Entry { key, number, value, .. }| {
                let place = (key.to_vec(), number);
                assert!(behind.as_ref() < Some(&place), "they come in their order");
                entries.insert(place.clone(), value.to_vec());
                behind = Some(place);
            });
            state.let_go();
            assert_eq!(state.closed_bytes(), 0);
            state.put_away(&mut |entry| panic!("{entry:?} is still there"));
            // When something is over is not waited for by each any more; to tell there is the same.
            assert!(state.due().watermark >= due.watermark || state.due().watermark.is_none());
        }
    }
}

/// The second of two steps: it takes what the first tells in the epoch in which that is told.
struct Behind {
    maker: Box<dyn RowMaker>,
    run: Run,
    epoch: u64,
}

impl Behind {
    fn new(spec: &dyn TransformSpec) -> Self {
        let Running::Keyed { rows: maker, state: make } = spec.build() else {
            panic!("it is stateless")
        };
        let run = Run::new(make);
        Behind { maker, run, epoch: 0 }
    }

    /// Takes what was told in an epoch; gives what became of each.
    fn take(&mut self, told: &[Said], watermark: EventTime) -> Vec<Taken> {
        let mut taken = Vec::new();
        let late_before = self.run.watermark;
        let context = RowContext { partitioner: Partitioner::new([7; 16]), late_before };
        for (index, told) in (0..).zip(told) {
            let mut record = record_of(told.value.clone());
            record.set_parts(told.parts.clone());
            let origin = record.origin_mut();
            origin.event_time = Some(told.event_time);
            (origin.position, origin.index) = (self.epoch, index);
            taken.push(self.maker.take(&record, &context).unwrap());
        }
        let mut rows = Vec::new();
        self.maker.drain(&mut rows);
        self.run.epoch(rows, watermark);
        if self.epoch % 3 == 1 {
            self.run.restore();
        }
        self.epoch += 1;
        taken
    }
}

#[cfg(test)]
#[path = "early_tests.rs"]
mod early;
#[cfg(test)]
#[path = "merge_tests.rs"]
mod merge;
#[cfg(test)]
#[path = "nested_tests.rs"]
mod nested;

/// Feeds events; gives everything that was told, and how many were too late.
fn feed(spec: &dyn TransformSpec, events: &[Event], feeding: &Feeding) -> (Vec<Said>, usize) {
    let mut all = Vec::new();
    let late = feed_into(spec, events, feeding, &mut |told, _| all.extend_from_slice(told));
    (all, late)
}

/// Feeds events; hands on what each epoch tells with its watermark, and gives how many were too
/// late.
fn feed_into(
    spec: &dyn TransformSpec,
    events: &[Event],
    feeding: &Feeding,
    behind: &mut dyn FnMut(&[Said], EventTime),
) -> usize {
    let makers = || match spec.build() {
        Running::Keyed { rows, state } => (rows, state),
        Running::Stateless(_) => panic!("it is stateless"),
    };
    let ((mut one, make), (mut other, _)) = (makers(), makers());
    let mut run = Run::new(make);
    let (mut rows, mut late, mut epoch) = (Vec::new(), 0, 0);
    for (number, (event, worker, drain, ends, ahead)) in feeding.steps.iter().enumerate() {
        let late_before = run.watermark;
        let context = RowContext { partitioner: Partitioner::new([7; 16]), late_before };
        let maker = if *worker { &mut one } else { &mut other };
        let taken = maker.take(&record((*event as u64, &events[*event])), &context).unwrap();
        late += usize::from(taken == Taken::Late);
        if *drain {
            maker.drain(&mut rows);
        }
        if !ends {
            continue;
        }
        one.drain(&mut rows);
        other.drain(&mut rows);
        let to_come = feeding.steps[number + 1..].iter().map(|step| events[step.0].second).min();
        let watermark = to_come.map_or(run.watermark, |least| time(least + ahead));
        run.epoch(std::mem::take(&mut rows), watermark.max(run.watermark));
        behind(&std::mem::take(&mut run.told), run.watermark);
        if feeding.puts_away >> (epoch % 64) & 1 == 1 {
            run.put_away();
        }
        if feeding.restores >> (epoch % 64) & 1 == 1 {
            run.restore();
        }
        epoch += 1;
    }
    one.drain(&mut rows);
    other.drain(&mut rows);
    run.epoch(rows, END);
    behind(&run.told, END);
    for state in run.states.values() {
        assert_eq!(state.due().watermark, None, "everything is told and forgotten");
    }
    late
}

/// What a window ends as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ended {
    key: i64,
    start: i64,
    end: i64,
    count: i64,
    odd: i64,
    sum: i64,
    values: Vec<i64>,
}

const FIELDS: &str = r#"
[fields]
count = { aggregate = "count" }
odd = { aggregate = "count", condition = "mod(int!(.n), 2) == 1" }
sum = { aggregate = "sum", field = "n" }
values = { aggregate = "collect", field = "n", max = 5 }
"#;

fn integer(value: &Value, path: &OwnedValuePath) -> i64 {
    value.get(path).and_then(Value::as_integer).unwrap_or_else(|| panic!("{path} of {value}"))
}

fn second(value: &Value, path: &OwnedValuePath) -> i64 {
    value.get(path).and_then(Value::as_timestamp).unwrap().timestamp() - START
}

fn ended(value: &Value) -> Ended {
    let number = |name: &str| integer(value, &owned_value_path!(name));
    let values = value.get(path!("values")).and_then(Value::as_array).unwrap();
    assert_eq!(number("count"), number("event_count"));
    Ended {
        key: number("key"),
        start: second(value, &owned_value_path!("window", "start")),
        end: second(value, &owned_value_path!("window", "end")),
        count: number("count"),
        odd: number("odd"),
        sum: number("sum"),
        values: values.iter().map(|value| value.as_integer().unwrap()).collect(),
    }
}

/// Reads the last revision of every window that stands, and checks that none left out a number.
fn last_revisions(told: &[Said]) -> BTreeSet<Ended> {
    let mut last: BTreeMap<String, &Value> = BTreeMap::new();
    for Said { value, .. } in told {
        let id = value.get(path!("id")).unwrap().to_string_lossy().into_owned();
        let before = last.insert(id, value);
        let revision = integer(value, &owned_value_path!("revision"));
        let expected =
            before.map_or(0, |before| integer(before, &owned_value_path!("revision"))) + 1;
        assert_eq!(revision, expected, "{value}");
        let new = value.get(path!("change")) == Some(&Value::from("new"));
        assert_eq!(new, revision == 1, "{value}");
    }
    let stands = |value: &&&Value| value.get(path!("change")) != Some(&Value::from("withdrawn"));
    let standing: Vec<Ended> = last.values().filter(stands).map(|value| ended(value)).collect();
    let set: BTreeSet<Ended> = standing.iter().cloned().collect();
    assert_eq!(set.len(), standing.len(), "one window stands under two ids: {standing:?}");
    set
}

/// Reads off what the records of one window come to.
fn read_off(key: u8, start: i64, end: i64, members: &[&Event]) -> Ended {
    Ended {
        key: i64::from(key),
        start,
        end,
        count: members.len() as i64,
        odd: members.iter().filter(|event| event.n % 2 == 1).count() as i64,
        sum: members.iter().map(|event| event.n).sum(),
        values: members.iter().take(5).map(|event| event.n).collect(),
    }
}

/// Sorts events by their place.
fn sorted(events: &[Event]) -> Vec<&Event> {
    let mut sorted: Vec<(usize, &Event)> = events.iter().enumerate().collect();
    sorted.sort_by_key(|(position, event)| (event.second, event.stream, *position));
    sorted.into_iter().map(|(_, event)| event).collect()
}

/// The naive model of tumbling and hopping windows.
fn hopping(events: &[Event], size: i64, slide: i64, empty: bool) -> BTreeSet<Ended> {
    let mut ended = BTreeSet::new();
    for key in 0..3 {
        let events: Vec<&Event> =
            sorted(events).into_iter().filter(|event| event.key == key).collect();
        let Some((first, last)) = events.first().zip(events.last()) else { continue };
        for number in (first.second - size).div_euclid(slide) + 1..=last.second.div_euclid(slide) {
            let (start, end) = (number * slide, number * slide + size);
            let inside = |event: &&&Event| (start..end).contains(&event.second);
            let members: Vec<&Event> = events.iter().filter(inside).copied().collect();
            if empty || !members.is_empty() {
                ended.insert(read_off(key, start, end, &members));
            }
        }
    }
    ended
}

/// The naive model of sessions.
fn sessions(events: &[Event], gap: i64, max: i64) -> BTreeSet<Ended> {
    let mut ended = BTreeSet::new();
    for key in 0..3 {
        let events: Vec<&Event> =
            sorted(events).into_iter().filter(|event| event.key == key).collect();
        for run in events.chunk_by(|one, next| next.second - one.second < gap) {
            let span = run[run.len() - 1].second - run[0].second;
            let cell = |event: &Event| (START + event.second).div_euclid(max);
            let long = span > max;
            for members in run.chunk_by(|one, next| !long || cell(one) == cell(next)) {
                let (first, last) = (members[0], members[members.len() - 1]);
                let mut end = last.second + gap;
                if long {
                    end = end.min((cell(first) + 1) * max - START);
                }
                ended.insert(read_off(key, first.second, end, members));
            }
        }
    }
    ended
}

fn spec(head: &str) -> Box<dyn TransformSpec> {
    checked(&SUMMARIZE, &format!("group_by = [\"key\"]\n{head}\n{FIELDS}"))
}

/// Feeds twice, the second time drained otherwise and with no restart, and holds the end against
/// the model and the histories against one another.
#[track_caller]
fn hold(head: &str, events: &[Event], feeding: &Feeding, model: &BTreeSet<Ended>) {
    let spec = spec(head);
    let (told, late) = feed(&*spec, events, feeding);
    assert_eq!(late, 0);
    let mut last = last_revisions(&told);
    // How far empty windows are told behind a key's last record depends on how far the watermark
    // came while there was more of others.
    let behind = |key: i64| {
        let of_key = events.iter().filter(|event| i64::from(event.key) == key);
        of_key.map(|event| event.second).max()
    };
    last.retain(|ended| ended.count > 0 || Some(ended.start) <= behind(ended.key));
    assert!(last == *model, "{head}\nends as {last:#?}\nand not as {model:#?}\ntold {told:#?}");
    let mut otherwise = Feeding { restores: 0, puts_away: 0, ..feeding.clone() };
    for (_, worker, drain, ..) in &mut otherwise.steps {
        (*worker, *drain) = (*drain, !*worker);
    }
    assert_eq!(feed(&*spec, events, &otherwise).0, told);
}

const WIDE: &str = "allowed_lateness = \"60s\"";

proptest! {
    #[test]
    fn tumbling_windows_end_as_the_model(
        (events, feeding) in fed(200), early in any::<bool>(), empty in any::<bool>(),
    ) {
        let fire = if early { "early" } else { "on_close" };
        let head = format!("window = {{ type = \"tumbling\", size = \"30s\", {WIDE} }}
            fire = \"{fire}\"\nempty = {empty}");
        hold(&head, &events, &feeding, &hopping(&events, 30, 30, empty));
    }

    #[test]
    fn hopping_windows_end_as_the_model(
        (events, feeding) in fed(200), early in any::<bool>(), empty in any::<bool>(),
        slide in 0..3_usize,
    ) {
        let slide = [5, 10, 30][slide];
        let fire = if early { "early" } else { "on_close" };
        let head = format!("window = {{ type = \"hopping\", size = \"30s\", slide = \"{slide}s\",
            {WIDE} }}\nfire = \"{fire}\"\nempty = {empty}").replace(",\n", ", ");
        hold(&head, &events, &feeding, &hopping(&events, 30, slide, empty));
    }

    #[test]
    fn sessions_end_as_the_model(
        (events, feeding) in fed(400), early in any::<bool>(), gap in 3..40_i64, over in 0..60_i64,
    ) {
        let (fire, max) = (if early { "early" } else { "on_close" }, gap + over);
        let head = format!("window = {{ type = \"session\", gap = \"{gap}s\", max = \"{max}s\", \
            {WIDE} }}\nfire = \"{fire}\"");
        hold(&head, &events, &feeding, &sessions(&events, gap, max));
    }

    #[test]
    fn what_does_not_hold_any_more_is_withdrawn(
        (events, feeding) in fed(200), early in any::<bool>(), session in any::<bool>(),
    ) {
        let fire = if early { "early" } else { "on_close" };
        let (window, mut model) = match session {
            true => ("type = \"session\", gap = \"10s\"", sessions(&events, 10, 86_400)),
            false => ("type = \"hopping\", size = \"30s\", slide = \"10s\"",
                hopping(&events, 30, 10, false)),
        };
        model.retain(|ended| ended.count < 3 || ended.odd > 2);
        let head = format!("window = {{ {window}, {WIDE} }}\nfire = \"{fire}\"
            having = \".count < 3 || .odd > 2\"");
        hold(&head, &events, &feeding, &model);
    }

    #[test]
    fn late_or_not_it_holds_its_bounds_and_no_bytes_break_it(
        events in events(2_000), noise in any::<Vec<u8>>(), cut in any::<prop::sample::Index>(),
    ) {
        let spec = spec("window = { type = \"session\", gap = \"5s\", allowed_lateness = \"5s\" }");
        let feeding = Feeding {
            steps: (0..events.len())
                .map(|event| (event, true, false, event % 3 == 0, 59))
                .collect(),
            restores: u64::MAX,
            puts_away: u64::MAX,
        };
        feed(&*spec, &events, &feeding);
        let Running::Keyed { state, .. } = spec.build() else { panic!("it is stateless") };
        let mut one = state();
        let mut bytes = vec![1];
        bytes.extend(&noise);
        _ = one.restore(&bytes);
        let mut whole = state();
        let (rows, clock) = rows_at(&*spec, &events);
        whole.on_epoch(&rows, &clock, &mut |_| {});
        let snapshot = whole.snapshot();
        let part = &snapshot[..cut.index(snapshot.len())];
        prop_assert!(state().restore(part).is_err());
    }
}

/// Makes the rows of events that are all taken in before anything is over, as of one group.
fn rows_at(spec: &dyn TransformSpec, events: &[Event]) -> (Vec<Row>, EpochClock) {
    let Running::Keyed { mut rows, .. } = spec.build() else { panic!("it is stateless") };
    let context = RowContext { partitioner: Partitioner::new([7; 16]), late_before: LEAST };
    for event in (0..).zip(events) {
        rows.take(&record(event), &context).unwrap();
    }
    let mut made = Vec::new();
    rows.drain(&mut made);
    made.sort_by_key(|row| row.place);
    let missing = Arc::new([]);
    (made, EpochClock { now: time(0), watermark: LEAST, late_before: LEAST, missing })
}

fn event(second: i64, key: u8) -> Event {
    Event { second, key, n: 1, stream: 0 }
}

/// A state with its clock, fed by hand.
struct ByHand {
    spec: Box<dyn TransformSpec>,
    run: Run,
}

impl ByHand {
    fn new(head: &str) -> Self {
        let spec = spec(head);
        let Running::Keyed { state: make, .. } = spec.build() else { panic!("it is stateless") };
        let run = Run::new(make);
        ByHand { spec, run }
    }

    /// Gives what an epoch tells: change, revision and count of each.
    fn epoch(&mut self, events: &[Event], watermark: i64) -> Vec<String> {
        let (rows, _) = rows_at(&*self.spec, events);
        self.run.epoch(rows, time(watermark));
        let told = std::mem::take(&mut self.run.told);
        let told = told.iter().map(|told| {
            let word = |path: &OwnedValuePath| told.value.get(path).unwrap().to_string_lossy();
            format!(
                "{} {} {}",
                word(&owned_value_path!("change")),
                word(&owned_value_path!("revision")),
                word(&owned_value_path!("count"))
            )
        });
        told.collect()
    }
}

const TUMBLING: &str =
    "window = { type = \"tumbling\", size = \"10s\", allowed_lateness = \"20s\" }";

#[test]
fn a_late_record_corrects_and_later_ones_do_not() {
    let mut state = ByHand::new(TUMBLING);
    assert_eq!(state.epoch(&[event(1, 0), event(2, 0)], 9), [""; 0]);
    assert_eq!(state.epoch(&[], 10), ["new 1 2"]);
    assert_eq!(state.epoch(&[event(3, 0)], 29), ["revised 2 3"]);
    assert_eq!(state.epoch(&[], 30), [""; 0]);
    // Over by now, but what was known of it before this epoch is still corrected.
    assert_eq!(state.epoch(&[event(35, 0)], 31), [""; 0]);
    assert_eq!(state.epoch(&[], 40), ["new 1 1"]);
}

#[test]
fn a_window_before_the_first_of_a_key_waits_for_its_end_too() {
    let mut state = ByHand::new(TUMBLING);
    assert_eq!(state.epoch(&[event(25, 0)], -5), [""; 0]);
    assert_eq!(state.epoch(&[event(1, 0)], 5), [""; 0]);
    assert_eq!(state.epoch(&[event(2, 0)], 10), ["new 1 2"]);
    assert_eq!(state.epoch(&[], 30), ["new 1 1"]);
}

#[test]
fn records_too_late_are_refused_and_counted() {
    let spec = spec(TUMBLING);
    let Running::Keyed { mut rows, state } = spec.build() else { panic!("it is stateless") };
    let partitioner = Partitioner::new([7; 16]);
    let mut state = state();
    let mut told = Vec::new();
    for (second, before, expected) in [
        (1, -1_000, Taken::Counted),
        (1, 29, Taken::Counted),
        (9, 30, Taken::Late),
        (10, 30, Taken::Counted),
        (9, 39, Taken::Late),
        (11, 39, Taken::Counted),
    ] {
        let context = RowContext { partitioner, late_before: time(before) };
        assert_eq!(rows.take(&record((0, &event(second, 0))), &context), Ok(expected));
        let mut made = Vec::new();
        rows.drain(&mut made);
        let (late_before, missing) = (time(before), Arc::new([]));
        let clock = EpochClock { now: time(0), watermark: time(before), late_before, missing };
        state.on_epoch(&made, &clock, &mut |one| told.push(one.body.to_value()));
    }
    let late = owned_value_path!("completeness", "late_events");
    let late: Vec<i64> = told.iter().map(|value| integer(value, &late)).collect();
    assert_eq!(late, [0, 0, 1]);
}

#[test]
fn a_bridge_makes_one_session_of_two() {
    let mut state = ByHand::new("window = { type = \"session\", gap = \"10s\" }");
    assert_eq!(state.epoch(&[event(0, 0), event(15, 0), event(16, 0)], 30), ["new 1 1", "new 1 2"]);
    assert_eq!(state.epoch(&[event(8, 0)], 31), ["withdrawn 2 4", "revised 2 4"]);
    assert_eq!(state.epoch(&[event(-3, 0)], 32), ["revised 3 5"]);
}

#[test]
fn firing_is_taken_up_where_it_stopped() {
    let spec = spec("window = { type = \"hopping\", size = \"1400s\", slide = \"1s\" }");
    let (rows, clock) = rows_at(&*spec, &[event(0, 0), event(1, 0)]);
    let Running::Keyed { state, .. } = spec.build() else { panic!("it is stateless") };
    let mut state = state();
    let mut told = 0;
    assert_eq!(state.on_epoch(&rows, &clock, &mut |_| told += 1), Progress::Done);
    let clock = EpochClock { watermark: time(1_300), ..clock };
    let due = state.due().watermark;
    assert_eq!(due, Some(time(1)));
    assert_eq!(state.on_epoch(&[], &clock, &mut |_| told += 1), Progress::More);
    assert_eq!(told, 1_024);
    assert_eq!(state.on_epoch(&[], &clock, &mut |_| told += 1), Progress::Done);
    assert_eq!(told, 1_300);
    assert_eq!(state.due().watermark, Some(time(1_301)));
}

#[test]
fn the_least_recent_keys_leave_and_that_is_told() {
    let spec = checked(
        &SUMMARIZE,
        &format!(
            "group_by = [\"n\"]\nmax_keys = 1\n{TUMBLING}\n[fields]\ncount.aggregate = 'count'"
        ),
    );
    let Running::Keyed { state, .. } = spec.build() else { panic!("it is stateless") };
    let events: Vec<Event> = (0..20).map(|n| Event { n, ..event(40 - n, 0) }).collect();
    let (rows, clock) = rows_at(&*spec, &events);
    let mut state = state();
    state.on_epoch(&rows, &clock, &mut |_| {});
    let mut told = Vec::new();
    let clock = EpochClock { watermark: END, ..clock };
    state.on_epoch(&[], &clock, &mut |one| told.push(one.body.to_value()));
    let kept: Vec<i64> = told.iter().map(|value| integer(value, &owned_value_path!("n"))).collect();
    assert_eq!(kept, (0..16).collect::<Vec<_>>());
    let evicted = owned_value_path!("completeness", "keys_evicted");
    assert!(told.iter().all(|value| integer(value, &evicted) == 4));
    assert_eq!(state.evicted(), 4);
    let Running::Keyed { state: make, .. } = spec.build() else { panic!("it is stateless") };
    let mut restored = make();
    restored.restore(&state.snapshot()).unwrap();
    assert_eq!(restored.evicted(), 4);
}

#[test]
fn what_is_too_much_for_the_disk_is_not_corrected_and_that_is_told() {
    for window in ["type = \"tumbling\", size = \"2s\"", "type = \"session\", gap = \"1s\""] {
        // A key group has 64 KiB of 16 MiB: some hundred of the windows that an hour would keep.
        let head = format!("max_disk_bytes = \"16MiB\"\nwindow = {{ {window} }}");
        let histories = [false, true].map(|puts_away| {
            let mut by_hand = ByHand::new(&head);
            for second in (0..3_000).step_by(2) {
                let told = by_hand.epoch(&[event(second, 0)], second + 2);
                assert_eq!(told, ["new 1 1"]);
                if puts_away && second % 100 == 0 {
                    by_hand.run.put_away();
                }
            }
            let early = by_hand.epoch(&[event(2, 0)], 3_000);
            assert_eq!(early, [""; 0], "it is over for good");
            assert_eq!(by_hand.epoch(&[event(2_990, 0)], 3_000), ["revised 2 2"]);
            let (rows, _) = rows_at(&*by_hand.spec, &[event(3_001, 0)]);
            by_hand.run.epoch(rows, time(3_010));
            std::mem::take(&mut by_hand.run.told)
        });
        assert_eq!(histories[0], histories[1], "when something is put away does not show");
        let last = &histories[0][0].value;
        let said = |name| integer(last, &owned_value_path!("completeness", name));
        assert_eq!(said("late_events"), 1);
        assert!(said("keys_evicted") > 10, "{last}");
    }
}

#[test]
fn one_heavy_key_loses_its_oldest_parts_and_that_is_told() {
    for window in ["type = \"tumbling\", size = \"2s\"", "type = \"session\", gap = \"2s\""] {
        let spec = checked(
            &SUMMARIZE,
            &format!("max_bytes = \"16MiB\"\nwindow = {{ {window} }}\n{FIELDS}"),
        );
        let events: Vec<Event> = (0..1_000).map(|number| event(number * 2, 0)).collect();
        let (rows, clock) = rows_at(&*spec, &events);
        let Running::Keyed { state, .. } = spec.build() else { panic!("it is stateless") };
        let mut state = state();
        state.on_epoch(&rows, &clock, &mut |_| {});
        // A key group has 64 KiB of 16 MiB, and what is held is no larger when it is written.
        assert!(state.snapshot().len() < 64 * 1024);
        let mut told = Vec::new();
        let clock = EpochClock { watermark: END, ..clock };
        state.on_epoch(&[], &clock, &mut |one| told.push(one.body.to_value()));
        assert!((10..900).contains(&told.len()), "{}", told.len());
        let last = told.last().unwrap();
        assert_eq!(second(last, &owned_value_path!("last_event_at")), 1_998);
        let evicted = integer(last, &owned_value_path!("completeness", "keys_evicted"));
        assert_eq!(evicted, 1_000 - told.len() as i64);
    }
}

fn faults(toml: &str) -> Vec<Diagnostic> {
    let (spec, found) = check(&SUMMARIZE, toml, &[Port::logs()]);
    assert_eq!(spec.is_none(), !found.is_empty(), "{toml}: {found:?}");
    found
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let hopping = |rest: &str| faults(&format!("window = {{ type = \"hopping\", {rest} }}"));
    let shorter = hopping("size = \"1m\", slide = \"5m\"");
    assert_eq!(shorter.len(), 1);
    assert_eq!(shorter[0].code, codes::CONTRADICTION);
    assert_eq!(shorter[0].title, "this window is shorter than its slide");
    assert_eq!(shorter[0].labels[0].1, "a hopping window of 1m…");
    assert_eq!(shorter[0].labels[1].1, "…would skip 4m of events each time");
    assert_eq!(shorter[0].help, ["make `size` at least \"5m\", or use a tumbling window"]);

    let uneven = hopping("size = \"10m\", slide = \"4m\"");
    assert_eq!(uneven[0].code, codes::CONTRADICTION);
    assert_eq!(uneven[0].help, ["make `size` \"8m\" or \"12m\""]);

    let codes_of = |window: &str| {
        let found = faults(&format!("window = {{ {window} }}"));
        found.into_iter().map(|found| found.code).collect::<Vec<_>>()
    };
    assert_eq!(
        codes_of("type = \"hopping\", size = \"1d\", slide = \"1s\""),
        [codes::OUT_OF_BOUNDS]
    );
    assert_eq!(codes_of("type = \"hopping\", size = \"1d\""), [codes::MISSING_OPTION]);
    assert_eq!(codes_of("type = \"tumbling\", size = \"0s\""), [codes::OUT_OF_BOUNDS]);
    assert_eq!(
        codes_of("type = \"tumbling\", size = \"1m\", slide = \"1m\""),
        [codes::CONTRADICTION]
    );
    assert_eq!(codes_of("type = \"session\", gap = \"0s\""), [codes::OUT_OF_BOUNDS]);
    assert_eq!(codes_of("type = \"session\", gap = \"2m\", max = \"1m\""), [codes::CONTRADICTION]);
    assert_eq!(codes_of("type = \"session\", gap = \"2m\", size = \"1m\""), [codes::CONTRADICTION]);
    assert_eq!(
        codes_of("type = \"tumbling\", size = \"1h\", offset = \"2h\""),
        [codes::OUT_OF_BOUNDS]
    );
}

#[test]
fn faults_are_found_all_at_once() {
    let found = faults(
        "group_by = [\"id\", \"user\"]\nwindow = { type = \"session\" }\nhaving = \".n > 1\"\n\
         [fields]\nn = { aggregate = \"cuont\" }\n\"user.count\" = { aggregate = \"count\" }\n\
         bad = { aggregate = \"count\", condition = \".x\" }",
    );
    let codes_found: Vec<_> = found.iter().map(|found| found.code).collect();
    for code in [codes::MISSING_OPTION, codes::UNKNOWN_WORD, codes::VRL_INVALID] {
        assert!(codes_found.contains(&code), "{code:?} in {codes_found:?}");
    }
    let misspelt = found.iter().find(|found| found.code == codes::UNKNOWN_WORD).unwrap();
    assert_eq!(misspelt.labels[0].1, "did you mean \"count\"?");
    let twice = faults(
        "group_by = [\"id\", \"user\"]\nwindow = { type = \"tumbling\", size = \"1m\" }\n\
         [fields]\n\"user.count\" = { aggregate = \"count\" }",
    );
    let twice: Vec<_> = twice.iter().map(|found| found.code).collect();
    assert_eq!(twice, [codes::DUPLICATE, codes::DUPLICATE]);
}

#[test]
fn having_sees_types_and_cannot_fail() {
    let having = |condition: &str| {
        let toml = format!(
            "window = {{ type = \"tumbling\", size = \"1m\" }}\nhaving = '{condition}'\n\
             [fields]\nn = {{ aggregate = \"count\" }}"
        );
        let found = check(&SUMMARIZE, &toml, &[Port::logs()]).1;
        found.into_iter().map(|found| found.code).collect::<Vec<_>>()
    };
    assert_eq!(having(".n >= 20 && .event_count < 100"), []);
    assert_eq!(having(".n"), [codes::VRL_INVALID]);
    assert_eq!(having("now() > .window.end"), [codes::VRL_INVALID]);
    assert_eq!(having("int!(.x) > 1"), [codes::VRL_FALLIBLE]);
}

#[test]
fn alerts_are_refused() {
    let toml = "window = { type = \"tumbling\", size = \"1m\" }";
    let alerts = Port { kind: Kind::Alert, ..Port::logs() };
    let (spec, found) = check(&SUMMARIZE, toml, &[alerts]);
    assert!(spec.is_none());
    assert_eq!(found[0].code, codes::KIND_MISMATCH);
}
