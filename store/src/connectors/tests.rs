//! Tests of the registry, each on a real file and on a real server.

use super::*;
use crate::keys::{KeyError, Keyring, Master, MasterKey, MasterKind, MasterPlace};
use crate::testing::{ME, Place, execute, number, on_both};
use crate::{Retained, Store, StoreError};
use azud_event::clock::Clock;
use azud_plan::component::{
    Asked, Attempt, Cause, ConnectorError, Connectors, Cursor, Failed, Outcome, StatusHistory,
};
use futures_util::FutureExt;
use std::path::Path;
use std::sync::Arc;

const SECRET: &str = "planted-3f9c1";

on_both! {
    what_documents_declare_has_rows_and_what_left_them_is_disabled
    what_is_told_is_written_with_its_history
    changes_without_end_become_one_row
    who_reads_changes_on_misses_none
    cursors_are_sealed_and_come_back
    what_somebody_set_is_not_overwritten_by_who_has_not_read_it
    what_is_copied_to_another_place_does_not_open
    a_wrong_or_lost_master_key_is_an_error_and_changes_nothing
    keys_are_rotated_while_others_work
    another_master_key_takes_over_all_or_nothing
    a_new_key_is_never_wrapped_by_an_old_master_key
    what_people_switch_is_followed
    what_is_removed_and_added_again_is_another
    one_definition_runs_for_every_row_that_matches
    nothing_of_a_secret_lies_open_in_the_database
    a_name_that_is_taken_does_not_give_up_the_database
}

fn declared(name: &str) -> Declared {
    let endpoint = Endpoint::new(ConnectorKind::Api, json!({ "url": "https://api.example" }));
    Declared::new(name, "http_client", "pipelines/a.toml", &format!("key = '{SECRET}'"), endpoint)
}

fn master() -> Master {
    Master::Ready(MasterKey::new(MasterKind::Environment, None, [7; 32]))
}

async fn keyring(store: &Store) -> Arc<Keyring> {
    Arc::new(Keyring::open(store, &master()).await.unwrap())
}

async fn registry(store: &Arc<Store>, names: &[&str]) -> Arc<Registry> {
    let keyring = keyring(store).await;
    let declared: Vec<_> = names.iter().map(|name| declared(name)).collect();
    Registry::open(Arc::clone(store), keyring, &declared).await.unwrap()
}

/// Ends an instance, so that the next may begin with its database.
async fn end(registry: Arc<Registry>, store: Arc<Store>) {
    registry.close().await;
    drop(registry);
    let store = Arc::into_inner(store).expect("nobody else holds the store");
    store.close().await;
}

fn succeeded(at: u64) -> Attempt {
    attempt(at, Outcome::Succeeded)
}

fn failed(at: u64, cause: Cause) -> Attempt {
    let message = "no route".to_owned();
    attempt(at, Outcome::Failed(Failed { cause, message, http_status: Some(503) }))
}

fn attempt(at: u64, outcome: Outcome) -> Attempt {
    let at = EventTime::EPOCH.saturating_add(Duration::from_secs(at));
    Attempt { at, outcome, requests: 2, records: 10, bytes: 100 }
}

fn cursor(state: &str) -> Cursor {
    Cursor {
        state: state.as_bytes().to_vec(),
        format: 3,
        summary: "since yesterday".to_owned(),
        event_time: Some(EventTime::EPOCH),
    }
}

async fn row(store: &Store, name: &str) -> ConnectorRow {
    store.connector(name).await.unwrap().unwrap()
}

async fn history(store: &Store, name: &str) -> Vec<String> {
    let rows = store.connector_history(&row(store, name).await, None, 1_000).await.unwrap();
    let tell = |row: &HistoryRow| format!("{}>{} {}", row.from, row.to, row.reason);
    rows.iter().map(tell).collect()
}

async fn what_documents_declare_has_rows_and_what_left_them_is_disabled(place: &Place) {
    let clock = Clock::manual(EventTime::EPOCH);
    let open =
        async || Arc::new(Store::open_at(&place.location(), ME, clock.clone()).await.unwrap());
    let store = open().await;
    let first = registry(&store, &["okta", "github"]).await;
    let rows = store.connectors(&ConnectorFilter::default()).await.unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["github", "okta"]);
    let okta = row(&store, "okta").await;
    assert_eq!((okta.status, okta.version, okta.origin.as_str()), (Status::Starting, 1, "file"));
    assert_eq!(okta.summary, json!({ "url": "https://api.example" }));
    assert_eq!(row(&store, &okta.id).await, okta);
    end(first, store).await;
    clock.advance(Duration::from_secs(86_400));
    let store = open().await;
    let second = registry(&store, &["okta"]).await;
    // What is as it was has the same row; the sealed bytes stay too.
    let again = row(&store, "okta").await;
    assert_eq!((&again.id, again.version), (&okta.id, 1));
    assert_eq!(again.configuration, okta.configuration);
    let github = row(&store, "github").await;
    assert_eq!((github.status, github.enabled), (Status::Disabled, true));
    assert_eq!(github.status_message.as_deref(), Some("no longer in pipelines/a.toml"));
    assert_eq!(history(&store, "github").await, ["starting>disabled removed"]);
    let listed = store.connectors(&ConnectorFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 1);
    end(second, store).await;
    // It comes back as it was, or is forgotten after a month.
    let store = open().await;
    let third = registry(&store, &["okta", "github"]).await;
    let back = row(&store, "github").await;
    assert_eq!((back.id, back.status, back.removed_at), (github.id, Status::Starting, None));
    end(third, store).await;
    let store = open().await;
    let fourth = registry(&store, &["okta"]).await;
    end(fourth, store).await;
    clock.advance(Duration::from_secs(31 * 86_400));
    let store = open().await;
    registry(&store, &["okta"]).await;
    assert!(store.connector("github").await.unwrap().is_none());
}

async fn what_is_told_is_written_with_its_history(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    let okta = registry.of("okta");
    okta.report(succeeded(10));
    okta.report(failed(20, Cause::Server));
    okta.report(failed(30, Cause::Server));
    okta.next_attempt(EventTime::EPOCH.saturating_add(Duration::from_secs(40)));
    registry.flush().await;
    let told = row(&store, "okta").await;
    assert_eq!((told.status, told.status_reason.as_deref()), (Status::Warning, Some("server")));
    assert_eq!(told.status_since.seconds(), 30);
    assert_eq!(told.last_successful_connection.map(EventTime::seconds), Some(10));
    assert_eq!(told.last_attempt_at.map(EventTime::seconds), Some(30));
    assert_eq!(told.next_attempt_at.map(EventTime::seconds), Some(40));
    assert_eq!(told.last_error.as_deref(), Some("no route"));
    assert_eq!((told.attempts_total, told.failures_total, told.consecutive_failures), (3, 2, 2));
    assert_eq!((told.records_total, told.bytes_total), (30, 300));
    okta.report(succeeded(50));
    registry.flush().await;
    let told = row(&store, "okta").await;
    assert_eq!((told.status, told.status_reason, told.attempts_total), (Status::Active, None, 4));
    assert_eq!(
        history(&store, "okta").await,
        ["warning>active succeeded", "active>warning server", "starting>active succeeded"]
    );
    assert_eq!(registry.troubles(), [""; 0]);
    okta.report(failed(60, Cause::Authentication));
    assert_eq!(registry.troubles(), ["connector okta: no route"]);
    // Who has no row is no trouble, and keeps nothing.
    let nobody = registry.of("nobody");
    nobody.report(succeeded(1));
    assert!(matches!(nobody.cursors().await, Err(ConnectorError::Unreadable(_))));
}

async fn changes_without_end_become_one_row(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    for number in 0..100 {
        let okta = row(&store, "okta").await;
        assert!(store.enable_connector(&okta, number % 2 == 1, "by a script").await.unwrap());
    }
    let okta = row(&store, "okta").await;
    assert!(!store.enable_connector(&okta, true, "again").await.unwrap(), "it is on");
    let rows = store.connector_history(&okta, None, 1_000).await.unwrap();
    let limit = usize::try_from(crate::statements::CHANGES_AN_HOUR).unwrap();
    assert_eq!(rows.len(), limit);
    assert_eq!((rows[0].flaps, rows[1].flaps), (100 - limit as u64, 0));
    assert_eq!((rows[0].to.as_str(), okta.status), ("starting", Status::Starting));
    // Each had a number of its own, so who had read the ones before reads the last as well.
    let newest = registry.behind(99, 10).await.unwrap();
    let newest: Vec<_> =
        newest.iter().map(|one| (one.number, one.to.as_str(), one.flaps)).collect();
    assert_eq!(newest, [(100, "starting", 100 - limit as u64)]);
    let table = Retained::ConnectorStatusHistory;
    assert_eq!(store.retire(table, EventTime::EPOCH).await.unwrap(), 0);
    let later = EventTime::EPOCH.saturating_add(Duration::from_secs(1));
    assert_eq!(store.retire(table, later).await.unwrap(), limit as u64);
    let stale = ConnectorRow { version: okta.version - 1, ..okta };
    let refused = store.enable_connector(&stale, false, "late").await;
    assert!(matches!(refused, Err(StoreError::Changed)), "{refused:?}");
}

/// Several write at once, and somebody reads on behind what was read last.
async fn who_reads_changes_on_misses_none(place: &Place) {
    let store = Arc::new(place.open().await);
    let names = ["a", "b", "c", "d"];
    let registry = registry(&store, &names).await;
    let location = place.location();
    let switching = names.map(async |name| {
        let store = Store::administer(&location).await.unwrap();
        for number in 0..50 {
            let row = row(&store, name).await;
            store.enable_connector(&row, number % 2 == 1, "by a script").await.unwrap();
        }
    });
    let writing = futures_util::future::join_all(switching);
    tokio::pin!(writing);
    let (mut read, mut last, mut written) = (Vec::new(), 0, false);
    loop {
        let found = registry.behind(last, 7).await.unwrap();
        if let Some(newest) = found.last() {
            last = newest.number;
        } else if written {
            break;
        }
        read.extend(found.into_iter().map(|one| one.number));
        if !written {
            written = tokio::select! {
                biased;
                done = &mut writing => done.len() == names.len(),
                () = tokio::task::yield_now() => false,
            };
        }
    }
    let all = registry.behind(0, 1_000).await.unwrap();
    let all: Vec<_> = all.into_iter().map(|one| one.number).collect();
    assert_eq!((read.len(), read), (200, all));
}

async fn cursors_are_sealed_and_come_back(place: &Place) {
    let store = Arc::new(place.open().await);
    let first = registry(&store, &["okta"]).await;
    let okta = first.of("okta");
    assert!(okta.lease(Duration::from_secs(20)).await.unwrap().is_some());
    assert!(okta.cursors().await.unwrap().is_empty());
    okta.save("", &cursor("one")).await.unwrap();
    okta.save("tenant", &cursor("other")).await.unwrap();
    okta.save("", &cursor(SECRET)).await.unwrap();
    let kept = okta.cursors().await.unwrap();
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["", "tenant"]);
    assert_eq!(kept[""], cursor(SECRET));
    okta.forget("tenant").await.unwrap();
    drop(okta);
    end(first, store).await;
    let store = Arc::new(place.open().await);
    let okta = registry(&store, &["okta"]).await.of("okta");
    assert_eq!(
        okta.cursors().await.unwrap().into_iter().collect::<Vec<_>>(),
        [(String::new(), cursor(SECRET))]
    );
}

async fn what_somebody_set_is_not_overwritten_by_who_has_not_read_it(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    let connector = registry.of("okta");
    assert!(connector.lease(Duration::from_secs(20)).await.unwrap().is_some());
    connector.save("", &cursor("before")).await.unwrap();
    assert_eq!(connector.cursors().await.unwrap().len(), 1);
    connector.save("", &cursor("page 1")).await.unwrap();
    let (keys, row) = (keyring(&store).await, row(&store, "okta").await);
    store.set_cursor(&keys, &row, "", &cursor("set")).await.unwrap();
    assert_eq!(connector.save("", &cursor("page 2")).await, Err(ConnectorError::Changed));
    assert_eq!(connector.cursors().await.unwrap()[""].state, b"set");
    connector.save("", &cursor("page 3")).await.unwrap();
    // One that is broken off is done all the same, before anything is read.
    let broken_off = cursor("page 4");
    let mut save = connector.save("", &broken_off);
    assert!(futures_util::poll!(&mut save).is_pending());
    drop(save);
    assert_eq!(connector.cursors().await.unwrap()[""].state, b"page 4");
    drop(connector);
    end(registry, store).await;
}

async fn what_is_copied_to_another_place_does_not_open(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["github", "okta"]).await;
    let (github, okta) = (registry.of("github"), registry.of("okta"));
    for connector in [&github, &okta] {
        connector.lease(Duration::from_secs(20)).await.unwrap().unwrap();
        connector.save("", &cursor(connector.name())).await.unwrap();
    }
    let copy = "UPDATE connector_cursors SET cursor = (SELECT cursor FROM connector_cursors
                  WHERE connector_id = (SELECT id FROM connectors WHERE name = 'github'))
                WHERE connector_id = (SELECT id FROM connectors WHERE name = 'okta')";
    execute(&store, copy).await;
    let copy = "UPDATE connectors SET configuration =
                  (SELECT configuration FROM connectors WHERE name = 'github')
                WHERE name = 'okta'";
    execute(&store, copy).await;
    assert_eq!(github.cursors().await.unwrap()[""], cursor("github"));
    let refused = okta.cursors().await.unwrap_err();
    assert!(
        matches!(&refused, ConnectorError::Unreadable(text) if text.contains("okta")),
        "{refused:?}"
    );
    let (opened, unopened) = registry.keyring().verify(&store).await.unwrap();
    assert_eq!(opened, 2);
    let named: Vec<_> =
        unopened.iter().map(|one| (one.table, one.field, one.name.as_str())).collect();
    assert_eq!(
        named,
        [("connector_cursors", "cursor", "okta"), ("connectors", "configuration", "okta")]
    );
    assert!(unopened.iter().all(|one| one.why.contains("copied")), "{unopened:?}");
}

async fn a_wrong_or_lost_master_key_is_an_error_and_changes_nothing(place: &Place) {
    let store = Arc::new(place.open().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let made = Keyring::open(&store, &Master::file(&path).unwrap()).await.unwrap();
    Registry::open(Arc::clone(&store), Arc::new(made), &[declared("okta")]).await.unwrap();
    let before = row(&store, "okta").await;
    Keyring::open(&store, &Master::file(&path).unwrap()).await.unwrap();
    let refused = Keyring::open(&store, &master()).await.unwrap_err();
    assert!(matches!(refused, KeyError::Wrong { .. }), "{refused}");
    std::fs::remove_file(&path).unwrap();
    let lost = Master::file(&path).unwrap();
    let refused = Keyring::open(&store, &lost).await.unwrap_err();
    assert!(matches!(&refused, KeyError::Lost { .. }), "{refused}");
    assert!(!Path::new(&path).exists(), "no key is made where rows are sealed");
    assert_eq!(row(&store, "okta").await, before);
    assert_eq!(number(&store, "SELECT count(*) FROM encryption_keys").await, 1);
}

async fn keys_are_rotated_while_others_work(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["github", "okta"]).await;
    let okta = registry.of("okta");
    okta.lease(Duration::from_secs(20)).await.unwrap().unwrap();
    okta.save("", &cursor("0")).await.unwrap();
    // Another process, with its own idea of which keys there are.
    let admin = keyring(&store).await;
    for round in 1..=5_u32 {
        let save = async {
            for step in 0..4 {
                okta.save("", &cursor(&format!("{round} {step}"))).await.unwrap();
            }
        };
        let (rotated, ()) = tokio::join!(admin.rotate(&store), save);
        let rotated = rotated.unwrap();
        assert!(rotated.sealed >= 2 && rotated.left == 0, "{rotated:?}");
        assert_eq!(okta.cursors().await.unwrap()[""], cursor(&format!("{round} 3")));
    }
    assert_eq!(admin.verify(&store).await.unwrap(), (3, vec![]));
    assert_eq!(number(&store, "SELECT count(*) FROM encryption_keys").await, 6);
    let active = "SELECT count(*) FROM encryption_keys WHERE state = 'active'";
    assert_eq!(number(&store, active).await, 1);
    // A running process learns of the new key by itself, when it meets it or soon.
    registry.keyring().reload(&store).await.unwrap();
    okta.save("", &cursor("new")).await.unwrap();
    assert_eq!(admin.verify(&store).await.unwrap(), (3, vec![]));
}

async fn another_master_key_takes_over_all_or_nothing(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    registry.keyring().rotate(&store).await.unwrap();
    let other = MasterKey::new(MasterKind::Vault, Some("4"), [9; 32]);
    keyring(&store).await.change_master(&store, &other).await.unwrap();
    let refused = Keyring::open(&store, &master()).await.unwrap_err();
    assert!(matches!(&refused, KeyError::Wrong { wanted, .. } if wanted.ends_with("version 4")));
    let new = Keyring::open(&store, &Master::Ready(other)).await.unwrap();
    assert_eq!(new.verify(&store).await.unwrap(), (1, vec![]));
    // Who runs still has the data keys, and goes on.
    let okta = registry.of("okta");
    okta.lease(Duration::from_secs(20)).await.unwrap().unwrap();
    okta.save("", &cursor("on")).await.unwrap();
    assert_eq!(okta.cursors().await.unwrap()[""], cursor("on"));
}

async fn a_new_key_is_never_wrapped_by_an_old_master_key(place: &Place) {
    let store = Arc::new(place.open().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let (read, old) = (path.clone(), Master::file(&path).unwrap());
    let runs = Keyring::open(&store, &old).await.unwrap();
    let runs = runs.reading_again(MasterPlace::new(move || {
        let read = read.clone();
        async move { Master::file(&read) }.boxed()
    }));
    let registry = Registry::open(Arc::clone(&store), Arc::new(runs), &[declared("okta")]).await;
    let registry = registry.unwrap();
    let stale = Keyring::open(&store, &Master::file(&path).unwrap()).await.unwrap();
    let new = MasterKey::make_file(&folder.path().join("new.key")).unwrap();
    let admin = Keyring::open(&store, &Master::file(&path).unwrap()).await.unwrap();
    admin.change_master(&store, &new).await.unwrap();
    let refused = stale.rotate(&store).await.unwrap_err();
    assert!(matches!(&refused, KeyError::Wrong { wanted, .. } if wanted == new.version()));
    let refused = stale.change_master(&store, &new).await.unwrap_err();
    assert!(matches!(refused, KeyError::Store(StoreError::Changed)), "{refused}");
    assert_eq!(number(&store, "SELECT count(*) FROM encryption_keys").await, 1);
    // Who runs has what it needs until there is another data key, and then needs the new one.
    assert_eq!(registry.keyring().verify(&store).await.unwrap(), (1, vec![]));
    admin.rotate(&store).await.unwrap();
    let refused = registry.keyring().reload(&store).await.unwrap_err();
    assert!(matches!(refused, KeyError::Wrong { .. }), "{refused}");
    std::fs::rename(folder.path().join("new.key"), &path).unwrap();
    registry.keyring().reload(&store).await.unwrap();
    assert_eq!(registry.keyring().verify(&store).await.unwrap(), (1, vec![]));
    registry.keyring().rotate(&store).await.unwrap();
}

async fn what_is_removed_and_added_again_is_another(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &[]).await;
    let new = NewConnector { origin: Origin::Api, ..declared("okta").new };
    store.add_connector(registry.keyring(), &new).await.unwrap();
    registry.refresh().await.unwrap();
    let old = registry.of("okta");
    let version = crate::statements::connectors_version(&store.readers).await.unwrap();
    store.remove_connector(&row(&store, "okta").await).await.unwrap();
    store.add_connector(registry.keyring(), &new).await.unwrap();
    assert_ne!(crate::statements::connectors_version(&store.readers).await.unwrap(), version);
    registry.refresh().await.unwrap();
    assert_eq!(old.asked().await, Asked::Stop);
    let okta = registry.of("okta");
    okta.lease(Duration::from_secs(20)).await.unwrap().unwrap();
    okta.save("", &cursor("one")).await.unwrap();
    assert_eq!(okta.cursors().await.unwrap()[""], cursor("one"));
}

async fn what_people_switch_is_followed(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    let okta = registry.of("okta");
    assert!(okta.asked().now_or_never().is_none());
    let changed = Connectors::changed(&*registry);
    store.enable_connector(&row(&store, "okta").await, false, "by ana").await.unwrap();
    registry.refresh().await.unwrap();
    changed.await;
    assert_eq!(okta.asked().await, Asked::Stop);
    okta.report(succeeded(1));
    registry.flush().await;
    let off = row(&store, "okta").await;
    assert_eq!((off.status, off.status_message.as_deref()), (Status::Disabled, Some("by ana")));
    assert_eq!(off.attempts_total, 0);
    store.enable_connector(&off, true, "by ana").await.unwrap();
    registry.refresh().await.unwrap();
    okta.report(succeeded(2));
    registry.flush().await;
    assert_eq!(row(&store, "okta").await.status, Status::Active);
    assert!(registry.ask("okta", Asked::Now) && registry.ask("okta", Asked::Now));
    assert!(!registry.ask("nobody", Asked::Now));
    assert_eq!(okta.asked().await, Asked::Now);
    assert!(okta.asked().now_or_never().is_none(), "what is asked twice is done once");
}

async fn one_definition_runs_for_every_row_that_matches(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta-file"]).await;
    for name in ["okta-b", "okta-a", "github"] {
        let new = NewConnector {
            name: name.to_owned(),
            kind: ConnectorKind::Api,
            r#type: "http_client".to_owned(),
            origin: Origin::Api,
            origin_path: None,
            labels: BTreeMap::from([("tenant".to_owned(), name.to_owned())]),
            enabled: true,
            configuration: "{}".to_owned(),
            summary: json!({}),
            interval: None,
        };
        store.add_connector(registry.keyring(), &new).await.unwrap();
        let twice = store.add_connector(registry.keyring(), &new).await;
        assert!(matches!(twice, Err(StoreError::Taken { .. })), "{twice:?}");
    }
    let found = registry.matching("okta-*").await.unwrap();
    let names: Vec<_> = found.iter().map(|one| one.name().to_owned()).collect();
    assert_eq!(names, ["okta-a", "okta-b"]);
    assert_eq!(found[0].labels()["tenant"], "okta-a");
    found[0].report(succeeded(1));
    store.enable_connector(&row(&store, "okta-b").await, false, "").await.unwrap();
    assert_eq!(registry.matching("okta-*").await.unwrap().len(), 1);
    registry.flush().await;
    assert_eq!(row(&store, "okta-a").await.status, Status::Active);
}

/// Who waits for the database must not get it because somebody was refused something.
async fn a_name_that_is_taken_does_not_give_up_the_database(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    let taken = NewConnector { origin: Origin::Api, ..declared("okta").new };
    let refused = store.add_connector(registry.keyring(), &taken).await;
    assert!(matches!(refused, Err(StoreError::Taken { .. })), "{refused:?}");
    let second = Store::open(&place.location(), ME).await.err();
    assert!(matches!(second, Some(StoreError::Locked { .. })), "{second:?}");
    // Nor is anything in the way of what follows.
    let okta = registry.of("okta");
    assert!(okta.lease(Duration::from_secs(20)).await.unwrap().is_some());
    okta.save("", &cursor("one")).await.unwrap();
    drop(okta);
    end(registry, store).await;
}

async fn nothing_of_a_secret_lies_open_in_the_database(place: &Place) {
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    let okta = registry.of("okta");
    okta.lease(Duration::from_secs(20)).await.unwrap().unwrap();
    okta.save("", &cursor(SECRET)).await.unwrap();
    let shown = format!("{:?} {}", row(&store, "okta").await, row(&store, "okta").await.to_json());
    assert!(!shown.contains(SECRET));
    match place {
        Place::Sqlite(folder) => {
            for entry in std::fs::read_dir(folder).unwrap() {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
            }
        }
        Place::Postgres { server, .. } => {
            let dump = server.dump();
            assert!(dump.contains("connector_cursors") && dump.contains("okta"));
            assert!(!dump.contains(SECRET) && !dump.contains(&hex(SECRET)));
        }
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn one_process_holds_the_lease_until_it_ends() {
    let place = Place::postgres();
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    let okta = registry.of("okta");
    // Without a lease nothing is saved.
    assert_eq!(okta.save("", &cursor("early")).await, Err(ConnectorError::Lost));
    let lease = okta.lease(Duration::from_secs(3_600)).await.unwrap().unwrap();
    assert!(lease.until <= Duration::from_secs(25), "another takes over within 30 s");
    okta.save("", &cursor("mine")).await.unwrap();
    // It is renewed from memory while it is good for long enough.
    assert_eq!(okta.lease(Duration::from_secs(20)).await.unwrap(), Some(lease));
    store.clock.advance(Duration::from_secs(20));
    let renewed = okta.lease(Duration::from_secs(20)).await.unwrap().unwrap();
    assert!(renewed.until > lease.until && renewed.term == lease.term);
    // Another instance takes it: nothing of ours is written any more.
    let take = "UPDATE connectors SET owner_instance = '00000000-0000-7000-8000-000000000001',
                  lease_term = lease_term + 1, lease_until = clock_timestamp() + interval '1 hour'";
    execute(&store, take).await;
    assert_eq!(okta.save("", &cursor("late")).await, Err(ConnectorError::Lost));
    store.clock.advance(Duration::from_secs(20));
    assert_eq!(okta.lease(Duration::from_secs(20)).await, Ok(None));
    assert_eq!(okta.cursors().await.unwrap()[""], cursor("mine"));
    // It went without a word: its lease ends by itself.
    execute(&store, "UPDATE connectors SET lease_until = clock_timestamp()").await;
    let ours = okta.lease(Duration::from_secs(20)).await.unwrap().unwrap();
    assert_eq!(ours.term, lease.term + 2, "somebody was in between");
    okta.save("", &cursor("again")).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_down_holds_nobody_and_loses_nothing() {
    let mut place = Place::postgres();
    let store = Arc::new(place.open().await);
    let registry = registry(&store, &["okta"]).await;
    let okta = registry.of("okta");
    okta.lease(Duration::from_secs(20)).await.unwrap().unwrap();
    let Place::Postgres { server, .. } = &mut place else { unreachable!() };
    server.kill();
    for round in 0..100 {
        okta.report(succeeded(round * 60));
        okta.report(failed(round * 60 + 20, Cause::Timeout));
        okta.report(failed(round * 60 + 40, Cause::Timeout));
    }
    registry.flush().await;
    let saved = okta.save("", &cursor("one")).await;
    assert!(matches!(saved, Err(ConnectorError::Unavailable(_))), "{saved:?}");
    server.resume();
    okta.save("", &cursor("two")).await.unwrap();
    okta.report(succeeded(6_040));
    registry.flush().await;
    let told = row(&store, "okta").await;
    assert_eq!((told.attempts_total, told.failures_total), (301, 200));
    let rows = store.connector_history(&told, None, 1_000).await.unwrap();
    assert_eq!(rows[0].to, told.status.name());
}
