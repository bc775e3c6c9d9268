use super::*;
use crate::alert::draft::Draft;
use crate::alert::shares::{Share, Shares};
use azud_event::alert::{Evidence, Rule};
use azud_event::id::{KeyGroup, StreamId};
use azud_event::row::Place;
use azud_plan::component::{Merge, Merged, Merging, Template};
use azud_plan::diagnostic::Checker;
use azud_plan::document::{Document, Node};
use proptest::prelude::*;
use std::collections::BTreeMap;
use vrl::owned_value_path;
use vrl::value::Value;

const MINUTE: i64 = 60;

fn time(second: i64) -> EventTime {
    EventTime::from_nanoseconds(second * 1_000_000_000)
}

fn rules() -> Rules {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    Rules {
        each_window: false,
        longest: minutes(24 * 60),
        resolve_after: minutes(10),
        amended_for: minutes(60),
        windows_max: 10_000,
        parts_max: 1 << 20,
    }
}

fn episodes(rules: Rules) -> Episodes {
    let rule = Rule { id: "rule".to_owned(), ..Rule::default() };
    let head = Arc::new(Head { rule, description: None, mode: "active" });
    Episodes::new(head, rules, Some(union()))
}

/// Takes parts that are lists of numbers of records, and adds up how many they are: what comes
/// twice is counted twice.
#[derive(Debug)]
struct Adding;

const BY: u64 = 7;

impl Merge for Adding {
    fn by(&self) -> u64 {
        BY
    }

    fn merge(&self, parts: &[&[u8]]) -> Option<Merged> {
        let event_count = parts.iter().map(|part| part.len() as u64).sum();
        let failures = Value::Integer(event_count as i64);
        let fields = vec![(owned_value_path!("failures"), failures)];
        Some(Merged { event_count, span: None, fields })
    }
}

fn union() -> Arc<Union> {
    let mut checker = Checker::default();
    let document = Document::parse(0, "a = '{{ failures }} of {{ name }}'", &mut checker).unwrap();
    let title = document.root.node("a").and_then(Node::as_text).unwrap();
    let title = Template::parse(title, &mut checker);
    Arc::new(Union { merging: Merging::new(Adding), title })
}

/// Gives the records of a minute, as they are known at a step: later there may be more.
fn records(minute: i64, step: usize) -> Vec<u8> {
    let more = (0..=step).filter(|at| (at + minute as usize).is_multiple_of(5)).count();
    (0..(minute as usize % 4 + more) as u8).collect()
}

/// Gives a result with the parts that it came of, one for each minute that has records.
fn with_parts(row: Row, step: usize) -> Row {
    let mut sighting: Sighting = serde_json::from_slice(&row.payload).unwrap();
    let Some(seen) = &mut sighting.seen else { return row };
    seen.named = Some(serde_json::json!({ "name": "eve", "failures": 0 }));
    let start = sighting.start.nanoseconds() / 1_000_000_000 / MINUTE;
    let parts = (start..start + 10).map(|minute| (minute, records(minute, step)));
    let parts = parts.filter(|(_, records)| !records.is_empty());
    let parts = parts.map(|(minute, records)| Share(minute, records.len() as u64, records));
    let of = Id::of(&[&row.key]);
    sighting.shares = Some(Shares { by: BY, of, parts: parts.collect() });
    Row { payload: serde_json::to_vec(&sighting).unwrap().into(), ..row }
}

/// A result of a window of ten minutes: its start in minutes, its revision, and the events counted
/// in it if the condition holds.
#[derive(Clone, Debug)]
struct Result {
    start: i64,
    revision: u64,
    events: Option<u64>,
    /// Whether `resolve_when` holds, and not the condition.
    calms: bool,
}

fn seen(start: i64, events: u64) -> Seen {
    let draft = Draft {
        severity: if events > 50 { Severity::Critical } else { Severity::High },
        reason: None,
        title: format!("{events} events"),
        key: BTreeMap::new(),
        fields: BTreeMap::from([("failures".to_owned(), events.into())]),
        entities: BTreeSet::new(),
        evidence: Evidence {
            event_time: time(0),
            source: None,
            peer: None,
            raw: String::new(),
            encoding: "utf8".to_owned(),
            cut: false,
            r#ref: String::new(),
        },
        received_at: time(start * MINUTE),
    };
    Seen {
        draft,
        event_count: events,
        first_event_at: time(start * MINUTE),
        last_event_at: time((start + 9) * MINUTE),
        evidence: Vec::new(),
        late_events: 0,
        keys_evicted: 0,
        named: None,
    }
}

fn row(position: u64, key: u8, result: &Result) -> Row {
    let Result { start, revision, events, calms } = *result;
    let sighting = Sighting {
        id: start.to_string(),
        superseded_by: None,
        revision,
        start: time(start * MINUTE),
        end: time((start + 10) * MINUTE),
        seen: events.map(|events| Box::new(seen(start, events))),
        calms,
        shares: None,
    };
    row_of(position, key, &sighting)
}

fn row_of(position: u64, key: u8, sighting: &Sighting) -> Row {
    let place =
        Place { event_time: sighting.end, source: 1, stream: StreamId(2), position, index: 0 };
    let payload = serde_json::to_vec(sighting).unwrap().into();
    Row { group: KeyGroup(0), place, key: vec![key].into(), payload }
}

/// A result of a session: its id, revision, minutes, and the events counted in it.
fn session(id: &str, revision: u64, (start, end): (i64, i64), events: Option<u64>) -> Row {
    let sighting = Sighting {
        id: id.to_owned(),
        superseded_by: events.is_none().then(|| "a".to_owned()),
        revision,
        start: time(start * MINUTE),
        end: time(end * MINUTE),
        seen: events.map(|events| Box::new(seen(start, events))),
        calms: false,
        shares: None,
    };
    row_of(revision, 0, &sighting)
}

fn epoch(state: &mut Episodes, rows: &[Row], now: i64, watermark: i64) -> Vec<Alert> {
    epoch_to(state, rows, now, time(watermark))
}

fn epoch_to(state: &mut Episodes, rows: &[Row], now: i64, watermark: EventTime) -> Vec<Alert> {
    let (now, missing) = (time(now), Arc::new([]));
    let clock = EpochClock { now, watermark, late_before: watermark, missing };
    let mut told = Vec::new();
    assert_eq!(
        state.on_epoch(rows, &clock, &mut |one| {
            told.push(
                serde_json::from_value(serde_json::to_value(one.body.to_value()).unwrap()).unwrap(),
            );
        }),
        Progress::Done
    );
    told
}

fn result(start: i64, revision: u64, events: u64) -> Result {
    Result { start, revision, events: Some(events), calms: false }
}

#[test]
fn windows_that_touch_are_one_alert_with_one_id() {
    let mut state = episodes(rules());
    let first = epoch(&mut state, &[row(1, 0, &result(0, 1, 20))], 600, 600);
    assert_eq!((first.len(), first[0].change.as_str(), first[0].revision), (1, "raised", 1));
    // Hops by a minute: amended, but not before the last revision has settled.
    assert_eq!(epoch(&mut state, &[row(2, 0, &result(1, 1, 25))], 602, 660), []);
    assert_eq!(state.due().now, Some(time(605)));
    let next = epoch(&mut state, &[row(3, 0, &result(2, 1, 24))], 606, 720);
    assert_eq!((next.len(), next[0].change.as_str()), (1, "amended"));
    assert_eq!((&next[0].id, next[0].title.as_str()), (&first[0].id, "25 events"));
    let window = next[0].window.as_ref().unwrap();
    assert_eq!((window["windows"].as_u64(), next[0].revision), (Some(3), 2));
    // What is worse is told at once.
    let worse = epoch(&mut state, &[row(4, 0, &result(3, 1, 60))], 606, 780);
    assert_eq!((worse[0].change.as_str(), worse[0].severity), ("escalated", Severity::Critical));
}

#[test]
fn the_end_of_all_input_leaves_what_was_silent_and_nothing_that_grows_in_it() {
    let window = |start| row(start as u64, 0, &result(start, 1, 20));
    for (grows, expected) in [(None, "resolved"), (Some(window(5)), "firing")] {
        let mut state = episodes(rules());
        epoch(&mut state, &[window(0)], 600, 600);
        let resolved = epoch(&mut state, &[], 1_200, 20 * MINUTE);
        assert_eq!(resolved[0].state, "resolved");
        let rows: Vec<Row> = grows.into_iter().collect();
        let ended = epoch_to(&mut state, &rows, 1_300, EventTime::MAX);
        let last = ended.last().unwrap_or(&resolved[0]);
        assert_eq!((last.state.as_str(), &last.id), (expected, &resolved[0].id));
    }
}

#[test]
fn silence_resolves_and_what_is_over_is_forgotten() {
    let mut state = episodes(rules());
    let raised = epoch(&mut state, &[row(1, 0, &result(0, 1, 20))], 600, 600);
    assert_eq!(state.due().watermark, Some(time(20 * MINUTE)));
    assert_eq!(epoch(&mut state, &[], 1_000, 19 * MINUTE), []);
    let resolved = epoch(&mut state, &[], 1_200, 20 * MINUTE);
    assert_eq!((resolved[0].change.as_str(), resolved[0].state.as_str()), ("resolved", "resolved"));
    assert_eq!((&resolved[0].id, resolved[0].revision), (&raised[0].id, 2));
    assert_eq!(epoch(&mut state, &[], 1_300, 21 * MINUTE), []);
    assert_eq!(epoch(&mut state, &[], 5_000, 71 * MINUTE), []);
    assert_eq!((state.kept.keys.len(), state.kept.windows, state.due()), (0, 0, Due::default()));
}

fn calm(start: i64, revision: u64) -> Result {
    Result { start, revision, events: None, calms: true }
}

#[test]
fn a_calm_window_resolves_at_once_and_what_is_no_longer_calm_does_not() {
    let mut state = episodes(rules());
    let raised = epoch(&mut state, &[row(1, 0, &result(0, 1, 20))], 600, 600);
    // It must be behind the last window that fires, and closed.
    assert_eq!(epoch(&mut state, &[row(2, 0, &calm(-5, 1))], 700, 600), []);
    assert_eq!(epoch(&mut state, &[row(3, 0, &calm(2, 1))], 701, 700), []);
    assert_eq!(state.due().watermark, Some(time(12 * MINUTE)));
    let resolved = epoch(&mut state, &[], 702, 12 * MINUTE);
    assert_eq!((resolved[0].change.as_str(), resolved[0].state.as_str()), ("resolved", "resolved"));
    assert_eq!(resolved[0].reason.as_deref(), Some("resolve_when"));
    assert_eq!((&resolved[0].id, resolved[0].revision), (&raised[0].id, 2));
    // A late record takes it back.
    let again = epoch(&mut state, &[row(4, 0, &result(2, 2, 21))], 800, 12 * MINUTE);
    assert_eq!((again[0].state.as_str(), again[0].resolved_at), ("firing", None));
    assert_eq!((&again[0].id, again[0].reason.as_deref()), (&raised[0].id, None));
}

#[test]
fn keys_that_are_only_calm_leave_first_and_nothing_is_lost_with_them() {
    let mut state = episodes(Rules { windows_max: 2, ..rules() });
    epoch(&mut state, &[row(1, 0, &result(0, 1, 20))], 600, 600);
    let calm: Vec<_> = (1..9).map(|key| row(2, key, &calm(20, 1))).collect();
    epoch(&mut state, &calm, 600, 600);
    assert_eq!((state.kept.windows, state.kept.evicted), (2, 0));
    let keys: Vec<u8> = state.kept.keys.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(keys, [0, 8]);
}

#[test]
fn a_window_that_no_longer_holds_withdraws_and_may_come_back() {
    let mut state = episodes(rules());
    let raised = epoch(&mut state, &[row(1, 0, &result(0, 1, 20))], 600, 600);
    let gone = Result { start: 0, revision: 2, events: None, calms: false };
    let withdrawn = epoch(&mut state, &[row(2, 0, &gone)], 601, 600);
    assert_eq!((withdrawn[0].change.as_str(), withdrawn[0].revision), ("withdrawn", 2));
    // Who hears of it knows what it was about.
    assert_eq!((&withdrawn[0].title, &withdrawn[0].key), (&raised[0].title, &raised[0].key));
    assert_eq!(withdrawn[0].title, "20 events");
    let again = epoch(&mut state, &[row(3, 0, &result(0, 3, 21))], 602, 600);
    assert_eq!((&again[0].id, again[0].revision), (&raised[0].id, 3));
    // An older revision changes nothing.
    assert_eq!(epoch(&mut state, &[row(4, 0, &gone)], 900, 600), []);
}

#[test]
fn what_was_withdrawn_is_known_while_its_windows_may_come_back() {
    let mut state = episodes(rules());
    epoch(&mut state, &[row(1, 0, &result(0, 1, 20))], 600, 600);
    let gone = Result { start: 0, revision: 2, events: None, calms: false };
    assert_eq!(epoch(&mut state, &[row(2, 0, &gone)], 601, 600).len(), 1);
    // It began more than an hour ago, but has not ended so long ago.
    assert_eq!(epoch(&mut state, &[], 4_000, 65 * MINUTE), []);
    let again = epoch(&mut state, &[row(3, 0, &result(0, 3, 21))], 4_001, 65 * MINUTE);
    assert_eq!(again[0].revision, 3);
}

#[test]
fn a_session_that_grows_takes_its_own_place() {
    let mut state = episodes(rules());
    let mut session = |revision: u64, minutes: i64, events: Option<u64>| {
        let Row { payload, .. } =
            row(revision, 0, &Result { start: 0, revision, events, calms: false });
        let sighting: Sighting = serde_json::from_slice(&payload).unwrap();
        let sighting = Sighting { end: time(minutes * MINUTE), ..sighting };
        let payload = serde_json::to_vec(&sighting).unwrap().into();
        let row = Row { payload, ..row(revision, 0, &result(0, revision, 0)) };
        epoch(&mut state, &[row], revision as i64 * 60, 600)
    };
    let windows = |alert: &Alert| alert.window.as_ref().unwrap()["windows"].as_u64();
    let raised = session(1, 12, Some(20));
    assert_eq!(windows(&raised[0]), Some(1));
    let grown = session(2, 15, Some(25));
    assert_eq!((grown[0].change.as_str(), windows(&grown[0])), ("amended", Some(1)));
    // Taken over by another: nothing of it is left.
    assert_eq!(session(3, 18, None)[0].change, "withdrawn");
}

#[test]
fn a_bridge_makes_two_episodes_one() {
    let mut state = episodes(rules());
    let rows = [row(1, 0, &result(0, 1, 20)), row(2, 0, &result(15, 1, 30))];
    let two = epoch(&mut state, &rows, 1_500, 1_500);
    assert_eq!(two.len(), 2);
    let told = epoch(&mut state, &[row(3, 0, &result(8, 1, 22))], 1_600, 1_500);
    let [withdrawn, amended] = &told[..] else { panic!("{told:?}") };
    assert_eq!(withdrawn.id, two[1].id);
    assert_eq!(withdrawn.superseded_by, Some(two[0].id.to_string()));
    assert_eq!((&amended.id, amended.change.as_str()), (&two[0].id, "amended"));
    assert_eq!(amended.supersedes, [two[1].id.to_string()]);
}

#[test]
fn each_window_may_be_an_alert_and_long_episodes_are_divided() {
    let rows: Vec<_> = (0..5).map(|n| row(n as u64, 0, &result(n, 1, 20))).collect();
    let mut each = episodes(Rules { each_window: true, ..rules() });
    assert_eq!(epoch(&mut each, &rows, 900, 600).len(), 5);
    let mut short = episodes(Rules { longest: Duration::from_secs(12 * 60), ..rules() });
    assert_eq!(epoch(&mut short, &rows, 900, 600).len(), 2);
}

/// What tells that session `b` was joined to `a` names the same stretch as what `a` is now.
#[test]
fn sessions_grow_and_are_joined_though_their_ends_move() {
    for each_window in [false, true] {
        let mut state = episodes(Rules { each_window, ..rules() });
        let rows = [session("a", 1, (0, 10), Some(20)), session("b", 1, (20, 30), Some(30))];
        let two = epoch(&mut state, &rows, 600, 0);
        assert_eq!(two.len(), 2);
        let grown = epoch(&mut state, &[session("a", 2, (0, 15), Some(22))], 610, 0);
        assert_eq!((&grown[0].id, grown[0].title.as_str()), (&two[0].id, "22 events"));
        assert_eq!((grown.len(), state.kept.windows), (1, 2));
        let joined = [session("b", 2, (0, 30), None), session("a", 3, (0, 30), Some(60))];
        let told = epoch(&mut state, &joined, 620, 0);
        let [withdrawn, amended] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&withdrawn.id, withdrawn.change.as_str()), (&two[1].id, "withdrawn"));
        assert_eq!(withdrawn.superseded_by, Some(two[0].id.to_string()));
        assert_eq!((&amended.id, amended.title.as_str()), (&two[0].id, "60 events"));
        assert_eq!(amended.supersedes, [two[1].id.to_string()]);
    }
}

#[test]
fn windows_that_overlap_stay_alerts_of_their_own() {
    let mut state = episodes(Rules { each_window: true, ..rules() });
    let rows: Vec<_> = (0..5).map(|n| row(n as u64, 0, &result(n, 1, 20))).collect();
    let first = epoch(&mut state, &rows, 900, 600);
    let next = epoch(&mut state, &[row(5, 0, &result(5, 1, 20))], 910, 660);
    assert_eq!((next.len(), next[0].change.as_str()), (1, "raised"), "{next:?}");
    let gone = Result { start: 2, revision: 2, events: None, calms: false };
    let withdrawn = epoch(&mut state, &[row(6, 0, &gone)], 920, 660);
    assert_eq!((withdrawn.len(), withdrawn[0].change.as_str()), (1, "withdrawn"));
    assert_eq!((&withdrawn[0].id, &withdrawn[0].superseded_by), (&first[2].id, &None));
}

#[test]
fn windows_are_bounded_and_the_oldest_key_leaves() {
    let mut state = episodes(Rules { windows_max: 2, ..rules() });
    let rows: Vec<_> = (0..4).map(|n| row(n, n as u8, &result(n as i64 * 20, 1, 20))).collect();
    epoch(&mut state, &rows, 9_000, 600);
    assert_eq!((state.kept.windows, state.kept.keys.len(), state.kept.evicted), (2, 2, 2));
    assert_eq!(state.kept.keys[0].0, [2]);
}

#[test]
fn an_episode_says_what_all_its_records_say_each_once() {
    let mut state = episodes(rules());
    let first = epoch(&mut state, &[with_parts(row(1, 0, &result(0, 1, 20)), 0)], 600, 600);
    assert_eq!((first[0].title.as_str(), first[0].event_count), ("20 events", 20));
    let worse = with_parts(row(2, 0, &result(5, 1, 60)), 0);
    let both = epoch(&mut state, &[worse], 610, 900);
    let all: usize = (0..15).map(|minute| records(minute, 0).len()).sum();
    let said = |alert: &Alert| (alert.event_count, alert.fields["failures"].as_u64());
    assert_eq!(said(&both[0]), (all as u64, Some(all as u64)));
    assert_eq!(both[0].title, format!("{all} of eve"));
    assert_eq!(both[0].severity, Severity::Critical);
    // One whose parts are not known says what it is alone, and so do all that it touches.
    let third = epoch(&mut state, &[row(3, 0, &result(9, 1, 30))], 620, 1_200);
    assert_eq!((said(&third[0]), third[0].title.as_str()), ((60, Some(60)), "60 events"));
    let known = epoch(&mut state, &[with_parts(row(4, 0, &result(9, 2, 30)), 0)], 630, 1_200);
    let all: usize = (0..19).map(|minute| records(minute, 0).len()).sum();
    assert_eq!(said(&known[0]).0, all as u64);
}

#[test]
fn parts_of_others_are_not_put_together() {
    let mut state = episodes(rules());
    let stranger = |row: Row| {
        let mut sighting: Sighting = serde_json::from_slice(&row.payload).unwrap();
        sighting.shares.as_mut().unwrap().by = BY + 1;
        Row { payload: serde_json::to_vec(&sighting).unwrap().into(), ..row }
    };
    let rows = [
        with_parts(row(1, 0, &result(0, 1, 20)), 0),
        stranger(with_parts(row(2, 0, &result(5, 1, 30)), 0)),
    ];
    assert_eq!(epoch(&mut state, &rows, 900, 900)[0].event_count, 30);
}

#[test]
fn parts_are_bounded_and_those_of_the_oldest_key_leave() {
    let rows: Vec<Row> = (0..8_u64)
        .map(|n| {
            let (key, start) = ((n / 4) as u8, (n / 4 * 30 + n % 4) as i64);
            with_parts(row(n, key, &result(start, 1, 20)), 0)
        })
        .collect();
    let mut whole = episodes(rules());
    epoch(&mut whole, &rows, 9_000, 600);
    let bytes: Vec<usize> = whole.kept.keys.iter().map(|(_, of_key)| of_key.pool.bytes()).collect();
    assert!(bytes[0] > 1_000 && bytes[1] > 1_000, "{bytes:?}");
    let mut state = episodes(Rules { parts_max: bytes[0] + bytes[1] - 1, ..rules() });
    let told = epoch(&mut state, &rows, 9_000, 600);
    assert_eq!(told.len(), 2);
    let left: Vec<usize> = state.kept.keys.iter().map(|(_, of_key)| of_key.pool.bytes()).collect();
    assert_eq!(left, [0, bytes[1]]);
    assert_eq!((state.kept.windows, state.kept.evicted), (8, 0));
    // The alert of the older goes on, and says what its decisive window says.
    let more = epoch(&mut state, &[with_parts(row(9, 0, &result(4, 1, 40)), 0)], 9_010, 600);
    assert_eq!((more[0].change.as_str(), more[0].event_count), ("amended", 40));
    // What is over takes its parts with it.
    epoch(&mut state, &[], 9_020, 200 * MINUTE);
    assert!(state.kept.keys.is_empty());
}

/// How an alert ends, but for what tells how it came there: key, start, end, events, windows, and
/// whether it is resolved.
type End = (u8, i64, i64, u64, usize, bool);

/// Whether the result of a step comes without parts.
fn is_bare(bare: u64, step: usize) -> bool {
    bare >> (step % 64) & 1 == 1
}

/// The naive model: the last revision of each window, sorted, those that touch together; resolved
/// by silence or by a window behind them, if event time has come so far. There are as many events
/// as records in the union of the windows; of one window, or if some has no parts, as in the one
/// with the most.
fn model(results: &[(u8, Result)], bare: u64, minute: i64) -> Vec<End> {
    let mut last: BTreeMap<(u8, i64), (usize, &Result)> = BTreeMap::new();
    for (step, (key, result)) in results.iter().enumerate() {
        let known = last.entry((*key, result.start)).or_insert((step, result));
        if known.1.revision < result.revision {
            *known = (step, result);
        }
    }
    let mut ends: Vec<End> = Vec::new();
    let mut unions: Vec<Option<BTreeSet<(i64, u8)>>> = Vec::new();
    for ((key, start), (step, result)) in &last {
        let (key, start) = (*key, *start);
        let Some(events) = result.events else { continue };
        match ends.last_mut() {
            Some(end) if end.0 == key && start <= end.2 => {
                (end.2, end.3, end.4) = (start + 10, end.3.max(events), end.4 + 1);
            }
            _ => {
                ends.push((key, start, start + 10, events, 1, false));
                unions.push(Some(BTreeSet::new()));
            }
        }
        let of = |minute| records(minute, *step).into_iter().map(move |record| (minute, record));
        let union = unions.last_mut().unwrap();
        match union {
            Some(_) if is_bare(bare, *step) => *union = None,
            Some(union) => union.extend((start..start + 10).flat_map(of)),
            None => {}
        }
    }
    for (end, union) in ends.iter_mut().zip(unions) {
        if let Some(union) = union.filter(|_| end.4 > 1) {
            end.3 = union.len() as u64;
        }
    }
    for (key, _, end, .., resolved) in &mut ends {
        let resolves = |((of, start), (_, result)): (&(u8, i64), &(usize, &Result))| {
            let closes = *start + 10;
            of == key && result.calms && closes > *end && closes <= minute
        };
        *resolved = minute >= *end + 10 || last.iter().any(resolves);
    }
    ends
}

fn results() -> impl Strategy<Value = Vec<(u8, Result)>> {
    let one = (0..3u8, 0..60i64, proptest::option::weighted(0.7, 20..80u64), any::<bool>());
    prop::collection::vec(one, 1..40).prop_map(|list| {
        let mut revisions: BTreeMap<(u8, i64), u64> = BTreeMap::new();
        let mut revise = |(key, start, events, calms): (u8, i64, Option<u64>, bool)| {
            let revision = revisions.entry((key, start)).or_default();
            *revision += 1;
            let calms = calms && events.is_none();
            (key, Result { start, revision: *revision, events, calms })
        };
        list.into_iter().map(&mut revise).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn they_end_as_the_model_says_whatever_the_epochs(
        results in results(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        minute in 10..60i64, further in 0..11i64, bare in prop_oneof![Just(0), any::<u64>()],
    ) {
        let row = |(at, (key, result)): (usize, &(u8, Result))| {
            let row = row(at as u64, *key, result);
            if is_bare(bare, at) { row } else { with_parts(row, at) }
        };
        let rows: Vec<_> = results.iter().enumerate().map(row).collect();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(rows.len())).collect();
        ends.push(rows.len());
        ends.sort_unstable();
        let mut state = episodes(rules());
        let mut last: BTreeMap<Id, (u8, Alert)> = BTreeMap::new();
        let (mut start, mut now) = (0, 600);
        // Keys are told one after the other, and each alert is of one of them.
        let mut of_key = |state: &mut Episodes, rows: &[Row], now: i64, minute: i64| {
            for alert in epoch(state, rows, now, minute * MINUTE) {
                let keys = 0..3u8;
                let is_of = |key: &u8| {
                    let anchors = 0..60;
                    anchors.map(|at| state.head.id(&[*key], time(at * MINUTE)))
                        .any(|id| id == alert.id)
                };
                let key = keys.into_iter().find(is_of).unwrap();
                let known = last.insert(alert.id, (key, alert.clone()));
                // Revisions have no gaps.
                let before = known.map_or(0, |(_, known)| known.revision);
                assert_eq!(alert.revision, before + 1);
            }
        };
        for end in ends {
            of_key(&mut state, &rows[start..end], now, minute);
            start = end;
            now += 60;
            // A restore changes nothing.
            let mut again = episodes(rules());
            again.restore(&state.snapshot()).unwrap();
            prop_assert_eq!(again.snapshot(), state.snapshot());
            prop_assert_eq!(&again.kept, &state.kept);
            state = again;
            of_key(&mut state, &[], now, minute);
            now += 60;
        }
        let minute = minute + further;
        of_key(&mut state, &[], now, minute);
        let at_minute = |at: &serde_json::Value| {
            let at: chrono::DateTime<chrono::Utc> = at.as_str().unwrap().parse().unwrap();
            at.timestamp() / MINUTE
        };
        let mut told: Vec<End> = last.into_values()
            .filter(|(_, alert)| alert.state != "withdrawn")
            .map(|(key, alert)| {
                let window = alert.window.unwrap();
                let windows = window["windows"].as_u64().unwrap() as usize;
                let resolved = alert.state == "resolved";
                let (start, end) = (at_minute(&window["start"]), at_minute(&window["end"]));
                (key, start, end, alert.event_count, windows, resolved)
            })
            .collect();
        told.sort_unstable();
        prop_assert_eq!(told, model(&results, bare, minute));
    }
}
