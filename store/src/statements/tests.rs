//! Tests of the tables, each on a real file and on a real server.

use super::ROWS_MAX;
use crate::sqlite;
use crate::testing::{ME, Place, Server, execute, number, on_both};
use crate::{
    AlertFilter, DeadLetters, Delivery, LettersEnd, Progress, Reached, Retained, Rule, Store,
    StoreError, check_alert,
};
use azud_event::alert::{Alert, Severity};
use azud_event::id::Id;
use azud_event::time::EventTime;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use tokio::runtime::Runtime;

/// Makes a revision of the alert about `host`, with the events of the seconds `from..to`.
fn alert(host: &str, revision: u64, from: i64, to: i64) -> Alert {
    let at = |second: i64| EventTime::from_nanoseconds(second * 1_000_000_000).to_rfc3339();
    let alert = json!({
        "schema": "azud.alert/1", "id": Id::of(&[host.as_bytes()]).to_string(),
        "revision": revision, "change": if revision == 1 { "raised" } else { "amended" },
        "state": "firing", "mode": "active", "origin": "live",
        "rule": {
            "id": "failed-login", "version": "b3:71d0c2", "pipeline": "auth",
            "tags": ["attack.t1110"], "runbook_url": null,
        },
        "severity": "medium", "severity_id": 3,
        "title": format!("failed logins on {host}"), "description": null,
        "key": { "host.name": host }, "fields": { "failures": to - from },
        "window": { "type": "tumbling", "start": at(0), "end": at(600) },
        "first_event_at": at(from), "last_event_at": at(to - 1), "event_count": to - from,
        "raised_at": at(from), "revised_at": at(to), "resolved_at": null, "delay_ms": 5,
        "completeness": {
            "complete_to": at(to), "missing": [], "late_events": 0, "keys_evicted": 0,
        },
        "entities": [{ "type": "host", "value": host, "role": "target", "asset_id": null }],
        "evidence": [], "indicator": null, "supersedes": [], "superseded_by": null,
        "reason": null, "link": null,
        "triage": { "state": "new", "assignee": null, "verdict": null },
    });
    serde_json::from_value(alert).unwrap()
}

async fn apply(store: &Store, alerts: &[Alert]) -> usize {
    let delivery = Delivery { sink_id: "store", expects: None, progress: None, alerts };
    let applied = store.apply(&delivery).await.unwrap();
    assert_eq!(applied.written + applied.repeated, alerts.len());
    applied.written
}

on_both! {
    a_listing_is_filtered_and_read_page_by_page
    a_reader_sees_what_was_committed
    a_restart_continues_an_alert
    an_alert_is_read_back_as_it_was_delivered
    an_instance_keeps_its_id_and_begins_a_new_incarnation
    only_one_writes_and_others_read_meanwhile
    progress_goes_with_the_rows
    rules_that_left_the_documents_are_marked
    the_history_has_every_revision_and_entities_only_grow
    what_a_sender_may_put_into_an_alert_is_taken
    what_people_wrote_stays
    dead_letters_are_counted_as_they_are_and_end
    what_is_old_leaves_batch_by_batch
    a_database_of_a_later_version_is_refused_by_name
}

async fn dead_letters_are_counted_as_they_are_and_end(place: &Place) {
    let store = place.open().await;
    let at = |second: i64| EventTime::from_nanoseconds(second * 1_000_000_000);
    let letters = |id: &str, records: u64| DeadLetters {
        id: id.to_owned(),
        pipeline: "auth".to_owned(),
        component_id: id.to_owned(),
        stage: "transform".to_owned(),
        reason: "program_failed".to_owned(),
        message: "no\0 number".to_owned(),
        source_id: String::new(),
        peer: Some("\0".to_owned()),
        records,
        bytes: 7 * records,
        sample: vec![0xff; 9_000],
        segment_from: "00000001.jsonl".to_owned(),
        segment_to: "00000001.jsonl".to_owned(),
        minute: at(60),
        first_received_at: at(61),
        last_received_at: at(61 + records as i64),
        incarnation: [7; 16],
        epoch: Some(records),
        response_code: None,
    };
    let keep = async |held: &[DeadLetters], gone: &[LettersEnd]| {
        store.keep_dead_letters(held, gone).await.unwrap();
    };
    // Twice the same is once; more is as many as there are.
    for records in [3, 3, 5] {
        keep(&[letters("a", records), letters("b", 1)], &[]).await;
    }
    let sum = "SELECT CAST(sum(records) AS bigint) FROM dead_letters WHERE state = 'held'";
    let sum_of_sqlite = "SELECT sum(records) FROM dead_letters WHERE state = 'held'";
    let sum = if matches!(place, Place::Sqlite(_)) { sum_of_sqlite } else { sum };
    assert_eq!(number(&store, sum).await, 6);
    let mut held = store.held_dead_letters([7; 16]).await.unwrap();
    held.sort();
    assert_eq!(held, ["a", "b"]);
    assert_eq!(store.held_dead_letters([8; 16]).await.unwrap(), [""; 0]);
    let end = |id: &str, by: Option<&str>| LettersEnd {
        id: id.to_owned(),
        at: at(100),
        discarded_by: by.map(str::to_owned),
    };
    keep(&[], &[end("a", Some("ann")), end("b", None)]).await;
    let ended = "SELECT count(*) FROM dead_letters
                 WHERE state = 'discarded' AND handled_by = 'ann' OR state = 'lost'";
    assert_eq!(number(&store, ended).await, 2);
    // What comes later makes it held again, and what was handled long ago goes.
    keep(&[letters("b", 2)], &[]).await;
    assert_eq!(store.held_dead_letters([7; 16]).await.unwrap(), ["b"]);
    assert_eq!(store.retire(Retained::DeadLetters, at(100)).await.unwrap(), 0);
    assert_eq!(store.retire(Retained::DeadLetters, at(101)).await.unwrap(), 1);
    assert_eq!(number(&store, "SELECT count(*) FROM dead_letters").await, 1);
}

async fn what_is_old_leaves_batch_by_batch(place: &Place) {
    let store = place.open().await;
    let at = |second: i64| EventTime::from_nanoseconds(second * 1_000_000_000);
    let revisions = ROWS_MAX.unsigned_abs() + 10;
    let mut alerts: Vec<_> = (1..revisions).map(|revision| alert("over", revision, 0, 5)).collect();
    alerts.push(Alert { revision: revisions, ..resolved("over", 5) });
    alerts.extend([resolved("later", 50), alert("fires", 1, 0, 5)]);
    assert_eq!(apply(&store, &alerts).await, alerts.len());
    // One with many revisions goes in several batches; what fires, and what is younger, stays.
    let mut batches = Vec::new();
    loop {
        match store.retire(Retained::Alerts, at(50)).await.unwrap() {
            0 => break,
            rows => batches.push(rows),
        }
    }
    assert_eq!(batches, [ROWS_MAX.unsigned_abs(), 11]);
    let kept = "SELECT count(*) FROM alerts WHERE title LIKE '%later' OR title LIKE '%fires'";
    assert_eq!(number(&store, kept).await, 2);
    assert_eq!(number(&store, "SELECT count(*) FROM alerts").await, 2);
    assert_eq!(number(&store, "SELECT count(*) FROM alert_revisions").await, 2);
    assert_eq!(number(&store, "SELECT count(*) FROM alert_entities").await, 2);

    let trail = match place {
        Place::Sqlite(_) => AUDIT_OF_SQLITE,
        Place::Postgres { .. } => AUDIT,
    };
    execute(&store, trail).await;
    let retire = async |before| store.retire(Retained::AuditLog, at(before)).await.unwrap();
    let batches = [retire(900).await, retire(900).await, retire(900).await];
    assert_eq!(batches, [ROWS_MAX.unsigned_abs(), 899 - ROWS_MAX.unsigned_abs(), 0]);
    assert_eq!(store.audit_log(None, 1_000).await.unwrap().len(), 101);
}

const AUDIT: &str = "
    INSERT INTO audit_log (at, actor, action, object, outcome)
    SELECT to_timestamp(second), 'a', 'b', 'c', 'done' FROM generate_series(1, 1000) AS second";

const AUDIT_OF_SQLITE: &str = "
    WITH RECURSIVE seconds(second) AS
      (SELECT 1 UNION ALL SELECT second + 1 FROM seconds WHERE second < 1000)
    INSERT INTO audit_log (at, actor, action, object, outcome)
    SELECT strftime('%Y-%m-%dT%H:%M:%S.000000Z', second, 'unixepoch'), 'a', 'b', 'c', 'done'
    FROM seconds";

/// Makes the revision that resolves the alert about `host`, in this second.
fn resolved(host: &str, second: i64) -> Alert {
    let mut alert = serde_json::to_value(alert(host, 1, 0, second)).unwrap();
    alert["state"] = "resolved".into();
    alert["change"] = "resolved".into();
    alert["resolved_at"] = alert["revised_at"].clone();
    serde_json::from_value(alert).unwrap()
}

async fn an_alert_is_read_back_as_it_was_delivered(place: &Place) {
    let store = place.open().await;
    let mut one = alert("web1", 1, 0, 5);
    one.description = Some("more".to_owned());
    one.link = Some("https://azud.example/alerts/1".to_owned());
    one.fields.insert("hosts".to_owned(), json!(["a", {"b": null}]));
    assert_eq!(apply(&store, std::slice::from_ref(&one)).await, 1);
    let row = store.get(&one.id.to_string()).await.unwrap().unwrap();
    assert_eq!(row.to_json(), serde_json::to_value(&one).unwrap());
    assert_eq!(row.key_text(), "host.name=web1");
    assert_eq!(row.severity_name(), "medium");
    assert!(store.get("00").await.unwrap().is_none());
    let times = "SELECT count(*) FROM alerts WHERE window_start = '1970-01-01T00:00:00.000000Z'
                 AND window_end = '1970-01-01T00:10:00.000000Z'";
    assert_eq!(number(&store, times).await, 1);
}

async fn what_people_wrote_stays(place: &Place) {
    let store = place.open().await;
    apply(&store, &[alert("web1", 1, 0, 5)]).await;
    execute(
        &store,
        "UPDATE alerts SET triage = 'closed', assignee = 'ana', verdict = 'benign', note = 'backup',
                triage_version = 3, triaged_at = '1970-01-01T00:00:00.000000Z'",
    )
    .await;
    apply(&store, &[alert("web1", 2, 0, 9)]).await;
    let rows = store.list(&AlertFilter::default()).await.unwrap();
    let row = &rows[0];
    let people = (row.triage.as_str(), row.assignee.as_deref(), row.verdict.as_deref());
    assert_eq!((row.revision, people), (2, ("closed", Some("ana"), Some("benign"))));
    let kept = "SELECT count(*) FROM alerts WHERE note = 'backup' AND triage_version = 3";
    assert_eq!(number(&store, kept).await, 1);
}

async fn the_history_has_every_revision_and_entities_only_grow(place: &Place) {
    let store = place.open().await;
    let mut second = alert("web1", 2, 0, 9);
    second.severity = Severity::High;
    second.change = "escalated".to_owned();
    second.entities[0].value = "web2".to_owned();
    apply(&store, &[alert("web1", 1, 0, 5), second.clone()]).await;
    assert_eq!(apply(&store, &[alert("web1", 1, 0, 5), second.clone()]).await, 0);
    let history = store.revisions(&second.id.to_string()).await.unwrap();
    let history: Vec<_> = history
        .iter()
        .map(|entry| (entry.revision, entry.change.as_str(), entry.severity, entry.event_count))
        .collect();
    assert_eq!(history, [(1, "raised", Severity::Medium, 5), (2, "escalated", Severity::High, 9)]);
    assert_eq!(number(&store, "SELECT count(*) FROM alert_entities").await, 2);
    assert_eq!(number(&store, "SELECT alerts_total FROM rules").await, 1);
    assert_eq!(number(&store, "SELECT rows_total FROM sink_progress").await, 2);
}

async fn a_restart_continues_an_alert(place: &Place) {
    let store = place.open().await;
    let mut before = alert("web1", 3, 0, 5);
    before.severity = Severity::Critical;
    apply(&store, &[before]).await;
    store.close().await;
    drop(store);
    let store = place.open().await;
    apply(&store, &[alert("web1", 1, 20, 22)]).await;
    apply(&store, &[alert("web1", 1, 20, 22), alert("web1", 2, 20, 25)]).await;
    let rows = store.list(&AlertFilter::default()).await.unwrap();
    let row = &rows[0];
    assert_eq!((row.revision, row.event_count, row.severity), (5, 10, Severity::Critical));
    assert_eq!(row.change, "amended");
    assert_eq!(row.first_event_at, "1970-01-01T00:00:00.000000Z");
    assert_eq!(row.last_event_at, "1970-01-01T00:00:24.000000Z");
    assert_eq!(row.raised_at, "1970-01-01T00:00:00.000000Z");
    let history = store.revisions(&row.id).await.unwrap();
    let changes: Vec<_> = history.iter().map(|entry| entry.change.as_str()).collect();
    assert_eq!(changes, ["amended", "amended", "amended"]);
    assert_eq!(number(&store, "SELECT alerts_total FROM rules").await, 1);
}

async fn a_listing_is_filtered_and_read_page_by_page(place: &Place) {
    let store = place.open().await;
    let alerts: Vec<_> = (0..7i64)
        .map(|number| {
            let mut alert = alert(&format!("web{number}"), 1, 0, 5 + number / 2);
            alert.severity = Severity::ALL[number as usize % 5];
            if number == 3 {
                alert.state = "resolved".to_owned();
                alert.rule.id = "other".to_owned();
            }
            alert
        })
        .collect();
    apply(&store, &alerts).await;
    let count = async |filter: AlertFilter| store.list(&filter).await.unwrap().len();
    let all = AlertFilter::default();
    assert_eq!(count(all.clone()).await, 7);
    assert_eq!(count(AlertFilter { state: Some("resolved".into()), ..all.clone() }).await, 1);
    assert_eq!(count(AlertFilter { rule: Some("other".into()), ..all.clone() }).await, 1);
    assert_eq!(count(AlertFilter { severity: Some(Severity::High), ..all.clone() }).await, 2);
    let since = Some(EventTime::from_nanoseconds(7_000_000_000));
    assert_eq!(count(AlertFilter { since, ..all.clone() }).await, 3);
    let whole = store.list(&all).await.unwrap();
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = AlertFilter { after, limit: 2, ..all.clone() };
        let page = store.list(&page).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.cursor());
        pages.extend(page);
    }
    assert_eq!(pages, whole);
    assert!(whole.is_sorted_by(|one, next| one.revised_at >= next.revised_at));
}

async fn rules_that_left_the_documents_are_marked(place: &Place) {
    let store = place.open().await;
    let rule = |id: &str| Rule {
        id: id.to_owned(),
        pipeline: "auth".to_owned(),
        version: "b3:1".to_owned(),
        title: "a rule".to_owned(),
        severity: Severity::Low,
        mode: "active".to_owned(),
        tags: vec!["it's \"quoted\"".to_owned()],
    };
    store.load_rules(&[rule("one"), rule("two")]).await.unwrap();
    store.load_rules(&[rule("two")]).await.unwrap();
    let removed = "SELECT count(*) FROM rules WHERE removed_at IS NOT NULL";
    assert_eq!(number(&store, removed).await, 1);
    store.load_rules(&[rule("one")]).await.unwrap();
    assert_eq!(number(&store, removed).await, 1);
    let one = "SELECT count(*) FROM rules WHERE id = 'one' AND removed_at IS NULL";
    assert_eq!(number(&store, one).await, 1);
}

#[tokio::test]
async fn a_database_that_another_holds_is_busy_and_nothing_is_written() {
    let place = Place::sqlite();
    let store = place.open().await;
    let shell =
        sqlx::sqlite::SqlitePool::connect_with(sqlite::options(place.location().path().unwrap()));
    let shell = shell.await.unwrap();
    let held = shell.begin_with("BEGIN IMMEDIATE").await.unwrap();
    execute(&store, "PRAGMA busy_timeout = 10").await;
    let alerts = [alert("web1", 1, 0, 5)];
    let delivery = Delivery { sink_id: "store", expects: None, progress: None, alerts: &alerts };
    let busy = store.apply(&delivery).await.unwrap_err();
    assert!(matches!(busy, StoreError::Busy(_)), "{busy:?}");
    assert!(busy.retry_helps());
    held.rollback().await.unwrap();
    assert_eq!(apply(&store, &alerts).await, 1);
}

#[tokio::test]
async fn a_database_that_may_not_grow_is_full_and_nothing_is_written() {
    let place = Place::sqlite();
    let store = place.open().await;
    let pages = number(&store, "SELECT page_count FROM pragma_page_count").await;
    // SQLite answers as on a full disk, and takes the bound back when it is raised again.
    assert!(pages < 64, "{pages}");
    execute(&store, "PRAGMA max_page_count = 64").await;
    let many: Vec<_> = (0..500).map(|host| alert(&format!("web{host}"), 1, 0, 5)).collect();
    let delivery = Delivery { sink_id: "store", expects: None, progress: None, alerts: &many };
    let full = store.apply(&delivery).await.unwrap_err();
    assert!(matches!(full, StoreError::DiskFull(_)), "{full:?}");
    assert!(full.retry_helps());
    assert_eq!(number(&store, "SELECT count(*) FROM alerts").await, 0);
    execute(&store, "PRAGMA max_page_count = 1000000").await;
    assert_eq!(apply(&store, &many).await, 500);
}

#[test]
fn what_the_tables_would_refuse_is_refused_before() {
    assert_eq!(check_alert(&alert("web1", 1, 0, 5)), Ok(()));
    for (field, value) in [
        ("schema", json!("azud.alert/9")),
        ("change", json!("exploded")),
        ("state", json!("")),
        ("mode", json!("loud")),
        ("origin", json!("elsewhere")),
        ("revision", json!(0)),
    ] {
        let mut wrong = serde_json::to_value(alert("web1", 1, 0, 5)).unwrap();
        wrong[field] = value;
        let wrong: Alert = serde_json::from_value(wrong).unwrap();
        assert_eq!(check_alert(&wrong).unwrap_err().what, field);
    }
}

/// What the row of an alert must say: the sum over incarnations of the last revision of each.
#[derive(Default)]
struct Model {
    ledgers: BTreeMap<usize, (u64, u64)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Delivers these revisions of these hosts, in this order.
    Deliver(Vec<(u8, u64)>),
    /// Delivers the last delivery again.
    Repeat,
    /// Ends the process and starts it again.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let revisions = prop::collection::vec((0u8..3, 1u64..6), 1..8);
    let step = prop_oneof![
        6 => revisions.prop_map(Step::Deliver),
        2 => Just(Step::Repeat),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..16)
}

/// Applies steps to a store and to the model, and compares them.
async fn follow(place: &Place, steps: &[Step]) {
    let mut store = place.open().await;
    let mut models: HashMap<u8, Model> = HashMap::new();
    let mut incarnation = 0;
    let mut last: Vec<(u8, u64)> = Vec::new();
    for step in steps {
        match step {
            Step::Restart => {
                incarnation += 1;
                last.clear();
                store.close().await;
                drop(store);
                store = place.open().await;
                continue;
            }
            Step::Deliver(revisions) => last.clone_from(revisions),
            Step::Repeat => {}
        }
        // Each incarnation sees events of its own, and a later revision has seen more of them.
        let from = incarnation as i64 * 1000;
        let make = |&(host, revision): &(u8, u64)| {
            alert(&format!("web{host}"), revision, from, from + revision as i64)
        };
        let alerts: Vec<_> = last.iter().map(make).collect();
        apply(&store, &alerts).await;
        for (host, revision) in &last {
            let ledger = models.entry(*host).or_default().ledgers.entry(incarnation);
            let entry = ledger.or_insert((0, 0));
            *entry = (*entry).max((*revision, *revision));
        }
    }
    for (host, model) in &models {
        let id = Id::of(&[format!("web{host}").as_bytes()]).to_string();
        let row = store.get(&id).await.unwrap().unwrap();
        let sum = |part: fn(&(u64, u64)) -> u64| model.ledgers.values().map(part).sum();
        let expected: (u64, u64) = (sum(|ledger| ledger.0), sum(|ledger| ledger.1));
        assert_eq!((row.revision, row.event_count), expected, "{steps:?}");
        let history = store.revisions(&id).await.unwrap();
        assert!(history.is_sorted_by(|one, next| one.revision < next.revision));
        assert_eq!(history.last().unwrap().revision, row.revision);
        assert_eq!(history.last().unwrap().fields, row.fields);
    }
    let rows = number(&store, "SELECT count(*) FROM alerts").await;
    assert_eq!(rows, models.len() as i64);
    store.close().await;
}

/// Whatever is delivered twice or out of order, and wherever the process ends, a row holds for each
/// incarnation what its greatest revision says, and the history has each revision once.
fn rows_follow_the_model(place: &Place) {
    let runtime = Runtime::new().unwrap();
    let config = ProptestConfig { cases: 24, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let followed = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            place.begin_anew().await;
            follow(place, &steps).await;
        });
        Ok(())
    });
    followed.unwrap();
}

#[test]
fn rows_in_a_file_follow_the_model() {
    rows_follow_the_model(&Place::sqlite());
}

#[test]
fn rows_on_a_server_follow_the_model() {
    rows_follow_the_model(&Place::postgres());
}

async fn a_reader_sees_what_was_committed(place: &Place) {
    let store = place.open().await;
    let reader = Store::read_only(&place.location()).await.unwrap();
    apply(&store, &[alert("web1", 1, 0, 5)]).await;
    let seen = reader.list(&AlertFilter::default()).await.unwrap();
    assert_eq!(seen, store.list(&AlertFilter::default()).await.unwrap());
    assert_eq!(seen[0].fields, Value::from_iter([("failures", 5)]));
}

async fn an_instance_keeps_its_id_and_begins_a_new_incarnation(place: &Place) {
    let first = place.open().await;
    let one = first.writer().unwrap();
    let (instance, incarnation) = (one.instance, one.incarnation);
    first.close().await;
    drop(first);
    let second = place.open().await;
    assert_eq!(second.writer().unwrap().instance, instance);
    assert_ne!(second.writer().unwrap().incarnation, incarnation);
}

async fn only_one_writes_and_others_read_meanwhile(place: &Place) {
    let missing = Store::read_only(&place.location()).await.unwrap_err();
    let empty = matches!(missing, StoreError::Missing { .. } | StoreError::OlderSchema { .. });
    assert!(empty, "{missing:?}");
    let writer = place.open().await;
    let second = Store::open(&place.location(), ME).await.unwrap_err();
    assert!(matches!(second, StoreError::Locked { .. }), "{second:?}");
    let reader = Store::read_only(&place.location()).await.unwrap();
    assert_eq!(reader.list(&AlertFilter::default()).await.unwrap(), []);
    let refused = reader.load_rules(&[]).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly), "{refused:?}");
    writer.check().await.unwrap();
    writer.close().await;
    drop(writer);
    Store::open(&place.location(), ME).await.unwrap();
}

async fn a_database_of_a_later_version_is_refused_by_name(place: &Place) {
    let store = place.open().await;
    execute(
        &store,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'of tomorrow', TRUE, '00', 0)",
    )
    .await;
    store.close().await;
    drop(store);
    let refused = Store::open(&place.location(), ME).await.unwrap_err();
    assert!(matches!(refused, StoreError::NewerSchema { found: 99, .. }), "{refused:?}");
    let refused = Store::read_only(&place.location()).await.unwrap_err();
    assert!(refused.to_string().contains("made by a newer azud"), "{refused}");
}

async fn progress_goes_with_the_rows(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.progress("store").await.unwrap(), None);
    let reached = |epoch| Reached {
        incarnation: [7; 16],
        pipeline: "auth".to_owned(),
        epoch,
        plan_version: Some("b3:9".to_owned()),
    };
    let deliver = async |epoch: u64, alerts: &[Alert]| {
        let progress = reached(epoch);
        let delivery =
            Delivery { sink_id: "store", expects: None, progress: Some(&progress), alerts };
        store.apply(&delivery).await.unwrap();
    };
    deliver(3, &[alert("web1", 1, 0, 5), alert("web2", 1, 0, 5)]).await;
    // An epoch may have had no alert, and one that was delivered may come again.
    deliver(9, &[]).await;
    deliver(3, &[alert("web1", 1, 0, 5)]).await;
    let progress = store.progress("store").await.unwrap().unwrap();
    let expected = Progress {
        pipeline: "auth".to_owned(),
        incarnation: [7; 16],
        epoch: Some(9),
        plan_version: Some("b3:9".to_owned()),
        rows_total: 2,
        updated_at: Some(EventTime::EPOCH),
    };
    assert_eq!(progress, expected);
    assert_eq!(progress.epoch_of([7; 16], "auth"), Some(9));
    assert_eq!(progress.epoch_of([7; 16], "net").or(progress.epoch_of([8; 16], "auth")), None);
    apply(&store, &[alert("web3", 1, 0, 5)]).await;
    let progress = store.progress("store").await.unwrap().unwrap();
    assert_eq!(progress, Progress { rows_total: 3, ..expected });
    // A database that is behind what a sink knows takes nothing.
    let alerts = [alert("web4", 1, 0, 5)];
    for (known, refused) in [(9, false), (10, true)] {
        let (known, next) = (reached(known), reached(11));
        let (expects, progress) = (Some(&known), Some(&next));
        let delivery = Delivery { sink_id: "store", expects, progress, alerts: &alerts };
        if refused {
            // As the restored copy of before.
            execute(&store, "UPDATE sink_progress SET confirmed_epoch = 9").await;
            let error = store.apply(&delivery).await.unwrap_err();
            assert!(matches!(error, StoreError::WentBack { epoch: Some(9), .. }), "{error:?}");
        } else {
            store.apply(&delivery).await.unwrap();
        }
    }
    let epochs = "SELECT count(*) FROM alert_revisions WHERE epoch = 3";
    assert_eq!(number(&store, epochs).await, 2);
}

async fn what_a_sender_may_put_into_an_alert_is_taken(place: &Place) {
    let store = place.open().await;
    let mut hostile = alert("web1", 1, 0, 5);
    hostile.title = "nul \0 in it".to_owned();
    hostile.fields.insert("\0".to_owned(), json!(["\\u0000", "\0", u64::MAX, -1.5]));
    // Far longer than an entry of an index may be.
    hostile.entities[0].value = "é".repeat(100_000);
    apply(&store, std::slice::from_ref(&hostile)).await;
    let row = store.get(&hostile.id.to_string()).await.unwrap().unwrap();
    assert!(row.title.starts_with("nul ") && row.title.ends_with(" in it"), "{}", row.title);
    assert_eq!(row.entities[0]["value"].as_str().unwrap().len(), 200_000);
    let fields = row.fields.as_object().unwrap();
    let odd = fields.iter().find(|(name, _)| name.chars().count() == 1).unwrap().1;
    assert_eq!((&odd[0], &odd[2], &odd[3]), (&json!("\\u0000"), &json!(u64::MAX), &json!(-1.5)));
    assert_eq!(number(&store, "SELECT count(*) FROM alert_entities").await, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_called_damaged() {
    let place = Place::sqlite();
    let location = place.location();
    let text = "this was never a database, and it is long enough to tell";
    fs::write(location.path().unwrap(), text).unwrap();
    let refused = Store::open(&location, ME).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
    assert!(!refused.retry_helps());
}

/// Opens a place on a server that the test may end.
async fn on_server(place: &mut Place) -> (Store, &mut Server) {
    let store = place.open().await;
    let Place::Postgres { server, .. } = place else { panic!("it is a server") };
    (store, server)
}

#[tokio::test]
async fn a_server_that_comes_back_is_written_to_again() {
    let mut place = Place::postgres();
    let (store, server) = on_server(&mut place).await;
    apply(&store, &[alert("web1", 1, 0, 5)]).await;
    server.kill();
    let alerts = [alert("web1", 2, 0, 9)];
    let delivery = Delivery { sink_id: "store", expects: None, progress: None, alerts: &alerts };
    for _ in 0..2 {
        let gone = store.apply(&delivery).await.unwrap_err();
        assert!(matches!(gone, StoreError::Unreachable(_)), "{gone:?}");
        assert!(gone.retry_helps());
    }
    server.resume();
    assert_eq!(store.apply(&delivery).await.unwrap().written, 1);
    store.check().await.unwrap();
    assert_eq!(store.list(&AlertFilter::default()).await.unwrap()[0].revision, 2);
}

#[tokio::test]
async fn who_was_replaced_writes_no_more() {
    let mut place = Place::postgres();
    let location = place.location();
    let (old, server) = on_server(&mut place).await;
    // As when the network between it and the server is cut: its lock goes with its connection.
    server.run(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
    );
    let new = Store::open(&location, ME).await.unwrap();
    let replaced = old.load_rules(&[]).await.unwrap_err();
    // The connection that was ended may first have to be noticed.
    let replaced = match replaced.retry_helps() {
        true => old.load_rules(&[]).await.unwrap_err(),
        false => replaced,
    };
    assert!(matches!(replaced, StoreError::Replaced), "{replaced:?}");
    assert!(!replaced.retry_helps());
    assert_eq!(apply(&new, &[alert("web1", 1, 0, 5)]).await, 1);
}

#[tokio::test]
async fn a_server_that_refuses_is_told_from_one_that_is_not_there() {
    let mut place = Place::postgres();
    let Place::Postgres { server, .. } = &mut place else { panic!("it is a server") };
    server.run("CREATE ROLE nobody");
    let refused = server.location_as("nobody", "case_0");
    let refused = Store::open(&refused, ME).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    server.kill();
    let gone = Store::open(&server.location("case_0"), ME).await.unwrap_err();
    assert!(matches!(gone, StoreError::Unreachable(_)), "{gone:?}");
}
