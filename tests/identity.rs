//! The log of an identity provider, polled, mapped and delivered to a lake: by a program that is
//! killed, from an API that forgets a cursor and limits requests, into a server that is busy.

use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::metrics;
use crate::support::program;
use crate::support::python::{Elasticsearch, Okta, SECRET_ID, Vault};
use crate::support::wait::{self, PATIENCE};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const INSTANCE: &str = r#"
checkpoint.interval = "200ms"
[secret]
vault = { type = "vault", address = "http://@VAULT@", mount = "kv", auth = { method = "approle", role_id = "azud", secret_id_file = "@OUT@/vault.id" }, refresh = "15m" }
"#;

/// As somebody would write it, but for the addresses and how often it polls.
const PIPELINE: &str = r#"
[sources.okta]
type = "http_client"
endpoint = "http://@OKTA@/api/v1/logs"
scrape_interval_secs = 1
headers.Accept = ["application/json"]
query = { limit = "1000", sortOrder = "ASCENDING" }
decoding.codec = "json"                    # an array is its elements
event_time = ".published"
auth = { strategy = "oauth2", grant = "client_credentials", token_endpoint = "http://@OKTA@/oauth2/v1/token", client_id = "0oa1azud", scopes = ["okta.logs.read"], client_assertion = { algorithm = "RS256", key_id = "azud-1", private_key = "SECRET[vault.okta/azud#private_key]" } }
pagination = { type = "link_header", rel = "next", stop = "empty_page", max_pages = 500 }      # Okta always sends a next link. Also next_url, token, offset, page, keyset
cursor = { value = "next_link", first = { param = "since", start = "-7d" }, on_rejected = { restart_from = "last_event_time", overlap = "10m" } }   # encrypted; saved after acknowledgement
dedupe = { id = ".uuid", window = "1h", max_keys = 200_000 }
rate_limit = { remaining_header = "x-rate-limit-remaining", reset_header = "x-rate-limit-reset", reserve = 0.1 }
[transforms.identity]
type = "remap"
inputs = ["okta"]
drop_on_error = true
source = '''
o = .
. = {
  "timestamp": parse_timestamp!(o.published, "%+"),
  "event": { "id": o.uuid, "action": o.eventType, "dataset": "okta.system", "reason": o.outcome.reason },
  "user": { "id": o.actor.id, "name": downcase!(o.actor.alternateId), "full_name": o.actor.displayName },
  "source": { "ip": o.client.ipAddress, "geo": { "country_name": o.client.geographicalContext.country } },
  "okta": { "target": o.target, "severity": o.severity }
}
.event.outcome = if includes(["SUCCESS", "ALLOW"], o.outcome.result) { "success" } else if includes(["FAILURE", "DENY"], o.outcome.result) { "failure" } else { "unknown" }
'''
[sinks]
lake = { type = "elasticsearch", inputs = ["identity"], endpoints = ["http://@LAKE@"], bulk = { index = "okta-%Y.%m.%d" }, auth = { strategy = "basic", user = "azud", password = "SECRET[azud.es_password]" } }
"#;

/// The password of the lake's user, and what goes over the wire of it.
const PASSWORD: &str = "planted-2b7d";
const AUTHORIZATION: &str = "Basic YXp1ZDpwbGFudGVkLTJiN2Q=";

const EVENTS: usize = 12_500;

fn seen(server: &Elasticsearch) -> Value {
    serde_json::from_str(&metrics::get(server.address, "/stub").unwrap().body).unwrap()
}

/// Waits until the lake has so many documents.
#[track_caller]
fn until_documents(instance: &Instance, lake: &Elasticsearch, count: usize) {
    let start = std::time::Instant::now();
    wait::until("documents", PATIENCE * 5, || {
        let found = seen(lake)["documents"].as_object().unwrap().len();
        let late = start.elapsed() > PATIENCE * 4;
        assert!(!late, "{found} documents of {count}: {:#?}", instance.errors());
        (found >= count).then_some(())
    });
}

/// What becomes of an event, and the index that it belongs to.
fn mapped(event: &Value) -> (String, Value) {
    let outcome = match event["outcome"]["result"].as_str().unwrap() {
        "SUCCESS" | "ALLOW" => "success",
        "FAILURE" | "DENY" => "failure",
        _ => "unknown",
    };
    let published = event["published"].as_str().unwrap();
    let (actor, client) = (&event["actor"], &event["client"]);
    let document = json!({
        // A whole second is written without its fraction.
        "timestamp": published.replace(".000Z", "Z"),
        "event": {
            "id": event["uuid"],
            "action": event["eventType"],
            "dataset": "okta.system",
            "reason": event["outcome"]["reason"],
            "outcome": outcome,
        },
        "user": {
            "id": actor["id"],
            "name": actor["alternateId"].as_str().unwrap().to_lowercase(),
            "full_name": actor["displayName"],
        },
        "source": {
            "ip": client["ipAddress"],
            "geo": { "country_name": client["geographicalContext"]["country"] },
        },
        "okta": { "target": event["target"], "severity": event["severity"] },
    });
    (format!("okta-{}", published[..10].replace('-', ".")), document)
}

/// Makes the folder of an instance with its secrets, where the documents say.
fn folder(okta: &Okta, vault: &Vault) -> Folder {
    let key = okta.ask("/stub/key")["pem"].as_str().unwrap().replace('\n', "\\n");
    vault.put("okta/azud", "private_key", &key);
    let folder = Folder::new();
    folder.write("vault.id", format!("{SECRET_ID}\n"));
    folder.write("secret", PASSWORD);
    let set = ["credentials", "set", "es_password", "--file", "secret"];
    let (code, out, errors) = program::ask(&folder, &set);
    assert_eq!(code, 0, "{out}{errors}");
    folder
}

fn check(okta: &Okta, lake: &Elasticsearch) {
    let known = seen(lake);
    assert_eq!(known["wrong"], json!([]));
    let documents = known["documents"].as_object().unwrap();
    assert_eq!(documents.len(), EVENTS, "each once");
    let mut ids = BTreeSet::new();
    let mut days = BTreeSet::new();
    for (place, document) in documents {
        let id = document["event"]["id"].as_str().unwrap();
        let number: usize = id.rsplit('-').next().unwrap().parse().unwrap();
        // All are there, and some are looked at closely: each is asked for by a request.
        if number.is_multiple_of(97) {
            let (index, expected) = mapped(&okta.ask(&format!("/stub/event?number={number}")));
            assert_eq!(document, &expected);
            assert!(place.starts_with(&format!("{index}/")), "{place}: {document}");
        }
        let day = document["timestamp"].as_str().unwrap()[..10].replace('-', ".");
        assert!(place.starts_with(&format!("okta-{day}/")), "{place}: {document}");
        days.insert(day);
        ids.insert(number);
    }
    assert!(ids.iter().copied().eq(0..EVENTS), "{} of {EVENTS}", ids.len());
    assert!(days.len() >= 3, "{days:?}");
}

#[test]
fn each_event_of_the_system_log_is_in_the_index_of_its_day_once() {
    let (okta, vault) = (Okta::start(), Vault::start(3600));
    let lake = Elasticsearch::start_for(AUTHORIZATION);
    let document = [INSTANCE, PIPELINE].concat();
    let document = document
        .replace("@OKTA@", &okta.address.to_string())
        .replace("@VAULT@", &vault.address.to_string())
        .replace("@LAKE@", &lake.address.to_string());
    // The limit is met on the way.
    okta.ask("/stub/open?events=5300");
    okta.ask("/stub/limit");
    let instance = Instance::start_in(folder(&okta, &vault), &document, &[]);
    until_documents(&instance, &lake, 1_500);
    let (_, folder) = instance.kill();
    okta.ask("/stub/open?events=9100");
    let instance = Instance::start_in(folder, &document, &[]);
    until_documents(&instance, &lake, 6_000);
    let (_, folder) = instance.kill();
    let instance = Instance::start_in(folder, &document, &[]);
    until_documents(&instance, &lake, 9_100);
    // The cursor is forgotten: what comes again for ten minutes is kept out.
    okta.ask("/stub/reject");
    okta.ask(&format!("/stub/open?events={EVENTS}"));
    until_documents(&instance, &lake, EVENTS);
    assert_eq!(instance.dead_letters_now(), Vec::<Value>::new());
    let (ended, _) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    check(&okta, &lake);

    let asked = okta.ask("/stub");
    assert_eq!(asked["wrong"], json!([]));
    assert_eq!((&asked["rejected"], &asked["limited"]), (&json!(1), &json!(1)));
    assert_eq!(asked["tokens"], 3, "one for each start, and no more");
    let since = asked["since"].as_array().unwrap();
    assert_eq!(since.len(), 2, "where the first poll began, and before the last event: {since:?}");
    // Every twenty seconds there is an event: of ten minutes thirty came again.
    let pages = asked["pages"].as_array().unwrap();
    let again = pages.iter().filter(|page| page[0].as_u64() == Some(9_100 - 30));
    assert_eq!(again.count(), 1, "{pages:?}");
}
