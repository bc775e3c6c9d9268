//! Tests of credentials, tokens and the trail, each on a real file and on a real server.

use super::*;
use crate::access::{Deed, Role};

use crate::connectors::{ConnectorFilter, Declared, NewConnector, Origin, Registry};
use crate::keys::{Master, MasterKey, MasterKind};
use crate::testing::{ME, Place as At, number, on_both};
use crate::uses::CredentialNote;
use azud_event::clock::Clock;

use azud_plan::component::{ConnectorKind, Connectors, Cursor, Endpoint, SecretUse};
use std::sync::Arc;

on_both! {
    a_credential_is_set_rotated_and_revoked
    who_uses_a_credential_is_known
    who_uses_a_credential_by_its_definition_is_known
    tokens_are_kept_by_version
    what_comes_of_the_use_of_a_credential_is_written
    a_token_of_the_api_opens_until_it_is_over
    the_trail_is_read_backwards
    people_work_beside_an_instance_that_runs
}

async fn keyring(store: &Store) -> Arc<Keyring> {
    let master = MasterKey::new(MasterKind::Environment, None, [7; 32]);
    Arc::new(Keyring::open(store, &Master::Ready(master)).await.unwrap())
}

fn new(name: &str, value: &str, overlap: Option<u64>) -> NewCredential {
    NewCredential {
        name: name.to_owned(),
        kind: Some(CredentialKind::Token),
        value: Secret::new(value.to_owned()),
        expires_at: None,
        overlap: overlap.map(Duration::from_secs),
        by: "ana".to_owned(),
    }
}

fn declared(name: &str, table: &str) -> Declared {
    let endpoint = Endpoint::new(ConnectorKind::Api, json!({}));
    Declared::new(name, "http_client", "a.toml", table, endpoint)
}

fn shown(secret: Option<Secret>) -> Option<String> {
    secret.map(|secret| secret.reveal().to_owned())
}

async fn a_credential_is_set_rotated_and_revoked(place: &At) {
    let clock = Clock::manual(EventTime::EPOCH);
    let store = Store::open_at(&place.location(), ME, clock.clone()).await.unwrap();
    let keyring = keyring(&store).await;
    let set = async |value: &str, overlap| {
        store.set_credential(&keyring, &new("okta", value, overlap)).await.unwrap()
    };
    let now = async || shown(store.credential(&keyring, "okta").await.unwrap());
    let before = async || shown(store.previous_credential(&keyring, "okta").await.unwrap());
    assert_eq!(now().await, None);
    let first = set("one", None).await;
    assert_eq!((first.version, first.kind.as_str(), first.state.as_str()), (1, "token", "active"));
    assert_eq!((now().await.as_deref(), before().await), (Some("one"), None));
    let refused = CredentialNote {
        name: "okta".to_owned(),
        at: EventTime::EPOCH,
        taken: Some(Err("401".to_owned())),
        refreshed: false,
    };
    statements::note_credentials(store.writer().unwrap(), &[refused]).await.unwrap();
    assert_eq!(store.credential_row("okta").await.unwrap().unwrap().state, "refused");
    let second = set("two", Some(60)).await;
    assert_eq!((second.version, second.state.as_str(), &second.id), (2, "active", &first.id));
    assert_ne!(first.fingerprint, second.fingerprint);
    assert_eq!((now().await.as_deref(), before().await.as_deref()), (Some("two"), Some("one")));
    let again = set("one", None).await;
    assert_eq!((again.version, &again.fingerprint), (3, &first.fingerprint));
    assert_eq!((now().await.as_deref(), before().await), (Some("one"), None));
    // The overlap ends by itself.
    set("four", Some(60)).await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(before().await, None);
    assert_eq!(store.forget_previous_credentials().await.unwrap(), 1);
    // What it was does not show in what keys are rotated to.
    keyring.rotate(&store).await.unwrap();
    assert_eq!(now().await.as_deref(), Some("four"));
    assert_eq!(set("one", None).await.fingerprint, first.fingerprint);
    assert!(store.revoke_credential(&keyring, "okta").await.unwrap());
    assert_eq!(now().await, None);
    assert_eq!(store.credentials(None, 10).await.unwrap()[0].state, "revoked");
    assert!(!store.revoke_credential(&keyring, "nobody").await.unwrap());
}

async fn who_uses_a_credential_is_known(place: &At) {
    let store = Arc::new(place.open().await);
    let keyring = keyring(&store).await;
    let all = [
        declared("a", "token = \"SSWS SECRET[azud.okta]\""),
        declared("b", "token = \"SECRET[azud.okta2]\""),
        declared("c", "key = \"SECRET[azud.okta#key]\""),
    ];
    Registry::open(Arc::clone(&store), Arc::clone(&keyring), &all).await.unwrap();
    assert_eq!(store.credential_uses(&keyring, "okta").await.unwrap(), ["a", "c"]);
    assert_eq!(store.credential_uses(&keyring, "okta2").await.unwrap(), ["b"]);
}

/// Adds a row for a definition.
async fn add_row(store: &Store, keyring: &Keyring, name: &str, labels: &[(&str, &str)]) {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let row = NewConnector {
        origin: Origin::Api,
        origin_path: None,
        labels: labels.collect(),
        ..declared(name, "{}").new
    };
    store.add_connector(keyring, &row).await.unwrap();
}

async fn who_uses_a_credential_by_its_definition_is_known(place: &At) {
    let store = Arc::new(place.open().await);
    let keyring = keyring(&store).await;
    let table = "id = \"SECRET[azud.client]\"\n\
                 token = \"SECRET[azud.{{ connector }}_token#key]\"\n\
                 secret = \"SECRET[azud.{{label.site}}/x]\"\n\
                 other = \"SECRET[azud.{{ label.site | base64 }}_b]\"";
    let mut shared = declared("tenants", table);
    shared.endpoint.runs_for = Some("okta-*".to_owned());
    shared.new.interval = Some(Duration::from_secs(60));
    add_row(&store, &keyring, "okta-a", &[("site", "mad")]).await;
    add_row(&store, &keyring, "other", &[("site", "mad")]).await;
    let all = [shared];
    let open = Registry::open(Arc::clone(&store), Arc::clone(&keyring), &all);
    let registry = open.await.unwrap();
    let before = store.connector("okta-a").await.unwrap().unwrap().version;
    // One that comes while it runs.
    add_row(&store, &keyring, "okta-b", &[]).await;
    registry.refresh().await.unwrap();
    let uses = async |name: &str| store.credential_uses(&keyring, name).await.unwrap();
    assert_eq!(uses("client").await, ["okta-a", "okta-b"]);
    assert_eq!(uses("okta-a_token").await, ["okta-a"]);
    assert_eq!(uses("okta-b_token").await, ["okta-b"]);
    assert_eq!(uses("mad/x").await, ["okta-a"], "the other has no such label");
    assert_eq!(uses("bWFk_b").await, ["okta-a", "okta-b"], "rather one too many");
    assert_eq!(uses("other_token").await, Vec::<String>::new());
    assert!(store.connector("tenants").await.unwrap().is_none(), "a definition has no row");
    let row = store.connector("okta-a").await.unwrap().unwrap();
    assert_eq!((row.version, row.interval_seconds), (before, Some(60)));
}

async fn tokens_are_kept_by_version(place: &At) {
    let store = Arc::new(place.open().await);
    let keyring = keyring(&store).await;
    let all = [declared("okta", "")];
    let registry = Registry::open(Arc::clone(&store), keyring, &all).await.unwrap();
    let keyring = registry.keyring();
    let load = async |credential| load_tokens(&store, keyring, credential, "okta").await.unwrap();
    let keep = async |credential, tokens: &Tokens| {
        store_tokens(&store, keyring, (credential, "okta"), tokens).await.unwrap()
    };
    let tokens = |version: u64| Tokens {
        access: Some(Secret::new(format!("access {version}"))),
        refresh: (version > 1).then(|| Secret::new(format!("refresh {version}"))),
        expires_at: EventTime::EPOCH.saturating_add(Duration::from_secs(version)),
        obtained_at: EventTime::EPOCH,
        version,
    };
    for credential in ["azud.okta", "vault.okta#refresh"] {
        assert_eq!(load(credential).await, None);
        assert!(!keep(credential, &tokens(2)).await, "there is no first");
        assert!(keep(credential, &tokens(1)).await);
        // Two that refresh at the same time: one stores, the other loads what that one stored.
        let (one, two) = (tokens(2), tokens(2));
        let (one, two) = tokio::join!(keep(credential, &one), keep(credential, &two));
        assert!(one != two, "both are stored");
        assert_eq!(load(credential).await, Some(tokens(2)));
    }
    let connector = Connectors::of(&*registry, "okta");
    let next = Secret::new("refresh 3".to_owned());
    connector.keep_token("azud.okta", &next).await.unwrap();
    assert_eq!(connector.token("azud.okta").await, Ok(Some(next.clone())));
    let nobody = keep_refresh_token(&store, keyring, ("azud.okta", "nobody"), &next).await;
    assert!(matches!(nobody, Err(ConnectorError::Unavailable(_))), "{nobody:?}");
    // Another value of the credential: its tokens are not those of the old one.
    store.set_credential(registry.keyring(), &new("okta", "x", None)).await.unwrap();
    assert_eq!(load("azud.okta").await, None);
    assert_eq!(number(&store, "SELECT count(*) FROM oauth_tokens").await, 1);
    assert_eq!(registry.keyring().verify(&store).await.unwrap().1, []);
}

async fn a_token_of_the_api_opens_until_it_is_over(place: &At) {
    let clock = Clock::manual(EventTime::EPOCH);
    let store = Store::open_at(&place.location(), ME, clock.clone()).await.unwrap();
    let until = EventTime::EPOCH.saturating_add(Duration::from_secs(60));
    let (row, token) = store.create_token("ana", Role::Editor, Some(until)).await.unwrap();
    assert!(token.reveal().starts_with("azud_") && token.reveal().len() > 40);
    let twice = store.create_token("ana", Role::Viewer, None).await;
    assert!(matches!(twice, Err(StoreError::Taken { .. })));
    let role = async |token: &str| {
        store.authenticate(token).await.unwrap().map(|row| (row.name, row.role))
    };
    assert_eq!(role(token.reveal()).await, Some(("ana".to_owned(), Role::Editor)));
    assert_eq!((role("azud_").await, role("").await), (None, None));
    assert_eq!(store.tokens(None, 10).await.unwrap()[0].last_used_at, Some(EventTime::EPOCH));
    clock.advance(Duration::from_secs(60));
    assert_eq!(role(token.reveal()).await, None, "it is over");
    let (_, token) = store.create_token("ben", Role::Admin, None).await.unwrap();
    assert!(role(token.reveal()).await.is_some());
    assert!(store.revoke_token("ben").await.unwrap() && store.revoke_token(&row.id).await.unwrap());
    assert!(!store.revoke_token("nobody").await.unwrap());
    assert_eq!(role(token.reveal()).await, None, "it was revoked");
}

async fn the_trail_is_read_backwards(place: &At) {
    let store = place.open().await;
    for number in 0..5 {
        let deed = Deed {
            actor: "ana".to_owned(),
            address: None,
            action: "connector.disable".to_owned(),
            object: format!("connector/{number}"),
            before: None,
            after: Some(json!({ "enabled": false })),
            outcome: "done".to_owned(),
        };
        store.audit(&deed).await.unwrap();
    }
    let first = store.audit_log(None, 3).await.unwrap();
    let rest = store.audit_log(Some(first[2].id), 3).await.unwrap();
    let objects: Vec<_> = first.iter().chain(&rest).map(|row| row.deed.object.as_str()).collect();
    assert_eq!(objects, [4, 3, 2, 1, 0].map(|number| format!("connector/{number}")));
    assert_eq!(first[0].to_json()["after"], json!({ "enabled": false }));
}

async fn people_work_beside_an_instance_that_runs(place: &At) {
    // Who comes first makes the database.
    let first = Store::administer(&place.location()).await.unwrap();
    let keys = keyring(&first).await;
    first.set_credential(&keys, &new("okta", "one", None)).await.unwrap();
    first.close().await;
    drop(first);
    let store = Arc::new(place.open().await);
    let keys = keyring(&store).await;
    let registry =
        Registry::open(Arc::clone(&store), Arc::clone(&keys), &[declared("far", "")]).await;
    let registry = registry.unwrap();
    let beside = Store::administer(&place.location()).await.unwrap();
    let row = beside.connector("far").await.unwrap().unwrap();
    let cursor =
        Cursor { state: b"here".to_vec(), format: 1, summary: "here".to_owned(), event_time: None };
    beside.set_cursor(&keys, &row, "", &cursor).await.unwrap();
    registry.refresh().await.unwrap();
    let far = azud_plan::component::Connectors::of(&*registry, "far");
    assert_eq!(far.asked().await, azud_plan::component::Asked::Reread);
    assert_eq!(far.cursors().await.unwrap()[""], cursor);
    assert_eq!(beside.cursors(&keys, &row).await.unwrap()[""], cursor);
    assert_eq!(beside.reset_cursors(&row, None).await.unwrap(), 1);
    assert!(far.cursors().await.unwrap().is_empty());
    assert_eq!(shown(beside.credential(&keys, "okta").await.unwrap()).as_deref(), Some("one"));
    let rows = beside.connectors(&ConnectorFilter::default()).await.unwrap();
    assert_eq!(rows.len(), 1);
    // What only the instance may write, it alone writes.
    let rules = beside.load_rules(&[]).await;
    assert!(matches!(rules, Err(StoreError::Replaced)), "{rules:?}");
}

async fn what_comes_of_the_use_of_a_credential_is_written(place: &At) {
    let clock = Clock::manual(EventTime::EPOCH);
    let store = Arc::new(Store::open_at(&place.location(), ME, clock.clone()).await.unwrap());
    let keyring = keyring(&store).await;
    for name in ["okta", "other"] {
        store.set_credential(&keyring, &new(name, "one", None)).await.unwrap();
    }
    let registry = Registry::open(Arc::clone(&store), keyring.clone(), &[]).await.unwrap();
    let now = async || {
        registry.flush().await;
        let row = store.credential_row("okta").await.unwrap().unwrap();
        (row.state, row.last_error, row.last_used_at, row.last_refreshed_at)
    };
    let at = |seconds| Some(EventTime::EPOCH.saturating_add(Duration::from_secs(seconds)));
    let error = Some("the server answered 401".to_owned());
    assert_eq!(now().await, ("active".to_owned(), None, None, None));
    clock.advance(Duration::from_secs(1));
    registry.note_use("okta", SecretUse::Refused("the server answered 401"));
    assert_eq!(now().await, ("refused".to_owned(), error.clone(), at(1), None));
    clock.advance(Duration::from_secs(1));
    registry.note_use("okta", SecretUse::Refreshed);
    assert_eq!(now().await, ("refused".to_owned(), error.clone(), at(2), at(2)));
    clock.advance(Duration::from_secs(1));
    registry.note_use("okta", SecretUse::Taken);
    assert_eq!(now().await, ("active".to_owned(), error.clone(), at(3), at(2)));
    let other = store.credential_row("other").await.unwrap().unwrap();
    assert_eq!((other.state.as_str(), other.last_used_at), ("active", None));
    store.revoke_credential(&keyring, "okta").await.unwrap();
    registry.note_use("okta", SecretUse::Refused("401"));
    registry.note_use("nobody", SecretUse::Taken);
    assert_eq!(now().await.0, "revoked");
}
