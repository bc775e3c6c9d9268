//! The ledger against a naive model: all records of an alert at once, in canonical order.

use super::*;
use azud_event::alert::Rule;
use azud_event::id::{KeyGroup, StreamId};
use proptest::prelude::*;

const EVERY: Duration = Duration::from_secs(60);
const WIDE: Bounds = Bounds { alerts: 1_000, bytes: 1 << 30 };

/// A record, before it is a row.
#[derive(Clone, Debug)]
struct Event {
    key: u8,
    second: i64,
    severity: Severity,
    user: u8,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event =
        (0..3_u8, 0..240_i64, 0..3_usize, 0..50_u8).prop_map(|(key, second, severity, user)| {
            Event { key, second, severity: Severity::ALL[severity], user }
        });
    prop::collection::vec(event, 1..60)
}

fn time(second: i64) -> EventTime {
    EventTime::from_nanoseconds(second * 1_000_000_000)
}

fn row((position, event): (u64, &Event)) -> Row {
    let place = Place {
        event_time: time(event.second),
        source: 1,
        stream: StreamId(2),
        position,
        index: 0,
    };
    let entity = Entity {
        r#type: "user".to_owned(),
        value: event.user.to_string(),
        role: "user".to_owned(),
        asset_id: None,
    };
    let draft = Draft {
        severity: event.severity,
        reason: None,
        title: format!("{position}"),
        key: BTreeMap::from([("key".to_owned(), event.key.into())]),
        fields: BTreeMap::new(),
        entities: BTreeSet::from([entity]),
        evidence: Evidence {
            event_time: place.event_time,
            source: None,
            peer: None,
            raw: format!("event {position}"),
            encoding: "utf8".to_owned(),
            cut: false,
            r#ref: format!("{position}"),
        },
        received_at: time(event.second + 1),
    };
    let payload = serde_json::to_vec(&draft).unwrap();
    Row { group: KeyGroup(0), place, key: vec![event.key].into(), payload: payload.into() }
}

fn rows_of(events: &[Event]) -> Vec<Row> {
    (0..).zip(events).map(row).collect()
}

fn ledger(bounds: Bounds) -> Ledger {
    let rule = Rule { id: "rule".to_owned(), ..Rule::default() };
    Ledger::new(Arc::new(Head { rule, description: None, mode: "active" }), EVERY, bounds)
}

fn epoch(ledger: &mut Ledger, rows: &[Row], now: i64) -> Vec<Alert> {
    let mut told = Vec::new();
    let now = time(now);
    let missing = Arc::new([]);
    let clock = EpochClock { now, watermark: now, late_before: now, missing };
    ledger.on_epoch(rows, &clock, &mut |one| {
        told.push(
            serde_json::from_value(serde_json::to_value(one.body.to_value()).unwrap()).unwrap(),
        );
    });
    told
}

/// Cuts rows into epochs before each of these positions.
fn cut<'a>(rows: &'a [Row], cuts: &[prop::sample::Index]) -> Vec<&'a [Row]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(rows.len())).collect();
    ends.push(rows.len());
    ends.sort_unstable();
    let mut start = 0;
    let epochs = ends.into_iter().map(|end| &rows[std::mem::replace(&mut start, end)..end]);
    epochs.collect()
}

/// What an alert ends as, but for the part that says how it came there.
#[derive(Debug, PartialEq)]
struct End {
    count: u64,
    severity: Severity,
    title: String,
    first_event_at: EventTime,
    last_event_at: EventTime,
    users: Vec<String>,
    evidence: Vec<String>,
}

/// The naive model: group the records, sort each group, and read everything off.
fn model(events: &[Event]) -> Vec<End> {
    let mut alerts: BTreeMap<(u8, i64), Vec<(i64, usize)>> = BTreeMap::new();
    for (position, event) in events.iter().enumerate() {
        let alert = alerts.entry((event.key, event.second / 60)).or_default();
        alert.push((event.second, position));
    }
    let ends = alerts.into_values().map(|mut members| {
        members.sort_unstable();
        let worst = members.iter().map(|(_, position)| events[*position].severity).max().unwrap();
        let decisive = |(_, position): &&(i64, usize)| events[*position].severity == worst;
        let users: BTreeSet<String> =
            members.iter().map(|(_, position)| events[*position].user.to_string()).collect();
        let from_end = members.len().saturating_sub(EVIDENCE_MAX);
        let kept = |place: &usize| *place < EVIDENCE_MAX || *place >= from_end;
        End {
            count: members.len() as u64,
            severity: worst,
            title: members.iter().rev().find(decisive).unwrap().1.to_string(),
            first_event_at: time(members[0].0),
            last_event_at: time(members[members.len() - 1].0),
            users: users.into_iter().take(super::super::draft::ENTITIES_MAX).collect(),
            evidence: (0..members.len())
                .filter(kept)
                .map(|place| format!("event {}", members[place].1))
                .collect(),
        }
    });
    ends.collect()
}

/// Gives the last revision of each alert, by key and anchor.
fn ends(told: &[Alert]) -> Vec<End> {
    let mut last: BTreeMap<(String, EventTime), &Alert> = BTreeMap::new();
    for alert in told {
        let anchor = alert.first_event_at.aligned_to(EVERY);
        last.insert((alert.key["key"].to_string(), anchor), alert);
    }
    let ends = last.into_values().map(|alert| End {
        count: alert.event_count,
        severity: alert.severity,
        title: alert.title.clone(),
        first_event_at: alert.first_event_at,
        last_event_at: alert.last_event_at,
        users: alert.entities.iter().map(|entity| entity.value.clone()).collect(),
        evidence: alert.evidence.iter().map(|evidence| evidence.raw.clone()).collect(),
    });
    ends.collect()
}

/// What each revision must be after the one before it.
fn check_history(told: &[Alert]) {
    let mut last: BTreeMap<String, &Alert> = BTreeMap::new();
    for alert in told {
        match last.insert(alert.id.to_string(), alert) {
            None => assert_eq!((alert.revision, alert.change.as_str()), (1, "raised")),
            Some(before) => {
                assert_eq!(alert.revision, before.revision + 1);
                assert_eq!(alert.raised_at, before.raised_at);
                assert!(alert.severity >= before.severity);
                assert!(alert.event_count > before.event_count);
                let worse = alert.severity > before.severity;
                assert_eq!(alert.change, if worse { "escalated" } else { "amended" });
            }
        }
    }
}

proptest! {
    /// Neither the cuts between epochs nor the order of rows shows in what an alert ends as.
    #[test]
    fn it_ends_as_the_model_says(
        events in events(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        order in any::<prop::sample::Index>(),
    ) {
        let mut rows = rows_of(&events);
        rows.rotate_left(order.index(events.len()));
        let mut ledger = ledger(WIDE);
        let mut told = Vec::new();
        for (now, rows) in (1_000..).zip(cut(&rows, &cuts)) {
            let mut shuffled = rows.to_vec();
            shuffled.reverse();
            let mut other = super::Ledger { kept: ledger.kept.clone(), ..self::ledger(WIDE) };
            let alerts = epoch(&mut ledger, rows, now);
            prop_assert_eq!(&epoch(&mut other, &shuffled, now), &alerts);
            let ids: BTreeSet<_> = alerts.iter().map(|alert| alert.id).collect();
            prop_assert_eq!(ids.len(), alerts.len(), "an alert is told once an epoch");
            told.extend(alerts);
        }
        check_history(&told);
        prop_assert_eq!(ends(&told), model(&events));
    }

    /// A ledger that was written and read back goes on as the one that was not.
    #[test]
    fn a_restored_ledger_is_the_same(events in events(), at in any::<prop::sample::Index>()) {
        let rows = rows_of(&events);
        let (before, behind) = rows.split_at(at.index(rows.len()));
        let mut whole = ledger(WIDE);
        epoch(&mut whole, before, 1_000);
        let mut restored = ledger(WIDE);
        restored.restore(&whole.snapshot()).unwrap();
        prop_assert_eq!(&restored.kept, &whole.kept);
        prop_assert_eq!(epoch(&mut restored, behind, 1_001), epoch(&mut whole, behind, 1_001));
        prop_assert_eq!(restored.snapshot(), whole.snapshot());
    }

    /// Whatever comes, the bounds hold at the end of an epoch, and the count of bytes is right.
    #[test]
    fn bounds_hold(
        events in events(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        alerts in 1..4_usize,
        bytes in 1_000..8_000_usize,
    ) {
        let rows = rows_of(&events);
        let mut ledger = ledger(Bounds { alerts, bytes });
        for rows in cut(&rows, &cuts) {
            epoch(&mut ledger, rows, 1_000);
            let kept = &ledger.kept;
            prop_assert!(kept.entries.len() <= alerts && kept.bytes <= bytes);
            prop_assert_eq!(kept.bytes, kept.entries.values().map(Entry::bytes).sum::<usize>());
        }
    }
}

#[test]
fn the_oldest_leave_first_and_are_counted() {
    let event = |key, second| Event { key, second, severity: Severity::Low, user: 0 };
    let mut ledger = ledger(Bounds { alerts: 2, ..WIDE });
    let rows = rows_of(&[event(0, 50), event(1, 10), event(2, 30)]);
    assert_eq!(epoch(&mut ledger, &rows, 100).len(), 3);
    let keys: Vec<u8> = ledger.kept.entries.keys().map(|(key, _)| key[0]).collect();
    assert_eq!(keys, [0, 2]);
    let told = epoch(&mut ledger, &rows_of(&[event(0, 51)]), 101);
    assert_eq!(told[0].completeness.keys_evicted, 1);
    assert_eq!(told[0].delay_ms, Some(49_000));
}

#[test]
fn another_version_is_refused() {
    for snapshot in [&[][..], &[2, b'{'], &[1, b'{']] {
        assert!(ledger(WIDE).restore(snapshot).is_err());
    }
}
