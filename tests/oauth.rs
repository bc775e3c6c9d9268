//! OAuth 2 against a server of Authlib: each grant, tokens that end or are revoked, refresh tokens
//! of one use, and kills in between.

use crate::recovery::load::{Dice, OFTEN};
use crate::support::api::{Client, ask_with};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::ask;
use crate::support::python::OAuth;
use crate::support::soak::Soak;
use crate::support::tools::sqlite;
use crate::support::wait::{self, PATIENCE};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How many records a page has.
const PAGE: usize = 100;

/// The secret of every client: it stands otherwise in a header, in a form and in JSON.
const SECRET: &str = "s3cret/+ %&\"=";

/// The same as a value of a query.
const SECRET_IN_QUERY: &str = "s3cret%2F%2B%20%25%26%22%3D";

/// Starts the server; gives also the key that clients sign with.
fn server() -> (OAuth, KeyPair) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let server = OAuth::start(&key.public_key_pem());
    server.set(&format!("secret={SECRET_IN_QUERY}"));
    (server, key)
}

/// A source that polls all records, which go to a file, and are counted by the alert of its name.
fn source(server: &OAuth, id: &str, auth: &str) -> String {
    let address = server.address;
    format!(
        r#"
[sources.{id}]
type = "http_client"
endpoint = "http://{address}/records"
decoding.codec = "json"
event_time = ".timestamp"
scrape_interval_secs = 0.2
retry = {{ max = "1s" }}
pagination = {{ type = "offset", param = "offset", size = {PAGE}, size_param = "limit" }}
cursor = {{ value = "max", field = ".number", param = "after", first = {{ start = "0" }} }}
[sources.{id}.auth]
strategy = "oauth2"
token_endpoint = "http://{address}/token"
scopes = ["records"]
{auth}
[sinks.file_{id}]
type = "file"
inputs = ["{id}"]
path = "@OUT@/{id}.jsonl"
encoding.codec = "json"
encoding.only_fields = ["number"]
[transforms.told_{id}]
type = "alert"
inputs = ["{id}"]
rule = "{id}"
title = "{id}"
key = ["key"]
every = "1h"
[sinks.alerts_{id}]
type = "alerts"
inputs = ["told_{id}"]
"#
    )
}

/// Where secrets come from that are there before the start.
const OWN: &str = "secret.own = { type = \"file\", path = \"@OUT@/secrets.json\" }\n";

fn folder(secrets: &Value) -> Folder {
    let folder = Folder::new();
    folder.write("secrets.json", secrets.to_string());
    folder
}

/// Waits until so many records of a source were taken, each once.
#[track_caller]
fn taken(folder: &Folder, id: &str, records: usize) {
    let query = format!("SELECT coalesce(sum(event_count), 0) FROM alerts WHERE title = '{id}'");
    wait::until(&format!("{records} records of {id}"), 2 * PATIENCE, || {
        let counted: usize = sqlite(folder, &query)[0].parse().unwrap();
        assert!(counted <= records, "{counted} records of {records}: some were taken twice");
        (counted == records).then_some(())
    });
}

/// Checks that a file has each number; gives how many lines it has.
#[track_caller]
fn each_is_there(folder: &Folder, id: &str, records: usize) -> usize {
    let lines = folder.lines(&format!("{id}.jsonl"));
    // A kill may have torn a line of the file, which is then there again.
    let read = |line: &String| serde_json::from_str::<Value>(line).ok()?["number"].as_u64();
    let known: BTreeSet<u64> = lines.iter().filter_map(read).collect();
    assert!(known.iter().copied().eq(1..=records as u64), "{} of {records}", known.len());
    lines.len()
}

/// Waits until a connector has a status; gives its row.
#[track_caller]
fn status(instance: &Instance, name: &str, wanted: &str) -> Value {
    let client = Client { address: instance.api, token: None };
    let mut last = Value::Null;
    let found = wait::until(&format!("the status {wanted} of {name}"), 2 * PATIENCE, || {
        last = client.call("GET", &format!("/connectors/{name}")).body;
        (last["status"] == wanted).then(|| last.clone())
    });
    assert!(!found.to_string().contains("s3cret"), "{found}");
    found
}

/// Checks that a status says all of this.
#[track_caller]
fn says(found: &Value, reason: &str, words: &[&str]) {
    assert_eq!(found["status_reason"], reason, "{found}");
    let message = found["status_message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{message}");
    }
}

/// Sets a credential by command.
#[track_caller]
fn credential(folder: &Folder, name: &str, value: &str) {
    let (code, _, errors) = ask_with(folder, &["credentials", "set", name], value);
    assert_eq!(code, 0, "{errors}");
}

const BASIC: &str = r#"client_id = "basic"
client_secret = "SECRET[own.client]""#;

const POST: &str = r#"client_id = "post"
client_secret = "SECRET[own.client]"
client_auth = "body""#;

#[test]
fn a_token_is_had_anew_before_it_ends_and_once_when_it_is_revoked() {
    let (server, _) = server();
    let given = || ["basic", "post"].map(|client| server.count(&format!("given to {client}")));
    server.set("life=6");
    let document =
        [OFTEN, OWN, &source(&server, "basic", BASIC), &source(&server, "post", POST)].concat();
    let instance = Instance::start_in(folder(&json!({ "client": SECRET })), &document, &[]);
    let mut open = 0;
    wait::until("three tokens for each", 2 * PATIENCE, || {
        open += 1;
        server.set(&format!("open={open}"));
        given().iter().all(|given| *given >= 3).then_some(())
    });
    assert_eq!(server.count("refused"), 0, "a token that had ended was shown");
    assert_eq!(server.count("at once"), 1);
    assert_eq!(server.count("shown client_secret_basic"), given()[0]);
    assert_eq!(server.count("shown client_secret_post"), given()[1]);

    // From now on none ends, and each is revoked once.
    let before = given();
    server.set("life=3600");
    wait::until("tokens that last", 2 * PATIENCE, || {
        (given()[0] > before[0] && given()[1] > before[1]).then_some(())
    });
    let (before, read) = (given(), server.count("read"));
    wait::until("polls with them", PATIENCE, || (server.count("read") > read + 4).then_some(()));
    server.set(&format!("revoke=1&open={}", open + 250));
    for id in ["basic", "post"] {
        taken(&instance.folder, id, open + 250);
    }
    assert_eq!(given(), [before[0] + 1, before[1] + 1]);
    assert_eq!(server.count("refused"), 2, "each was refused once");
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    for id in ["basic", "post"] {
        assert_eq!(each_is_there(&folder, id, open + 250), open + 250);
    }
}

#[test]
fn a_client_signs_who_it_is_and_the_server_checks_it() {
    let (server, key) = server();
    let other = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let auth = |key: &str, more: &str| {
        format!(
            "client_id = \"signer\"\n\
             client_assertion = {{ private_key = \"SECRET[own.{key}]\", key_id = \"k1\"{more} }}"
        )
    };
    let document = [
        OFTEN.to_owned(),
        OWN.to_owned(),
        source(&server, "signer", &auth("key", "")),
        source(&server, "stranger", &auth("other", "")),
        source(&server, "astray", &auth("key", ", audience = \"https://elsewhere.example/\"")),
    ]
    .concat();
    server.set("open=150");
    let secrets = json!({ "key": key.serialize_pem(), "other": other.serialize_pem() });
    let instance = Instance::start_in(folder(&secrets), &document, &[]);
    taken(&instance.folder, "signer", 150);
    for (revoked, open) in [(1, 300), (2, 450)] {
        // Each assertion is another: the server takes none twice.
        server.set(&format!("revoke=1&open={open}"));
        taken(&instance.folder, "signer", open);
        assert_eq!(server.count("given to signer"), revoked + 1);
    }
    assert_eq!(server.count("shown client_assertion_jwt"), 3);
    let stranger = status(&instance, "stranger", "error");
    says(&stranger, "authentication", &["invalid_client", "SECRET[own.other]"]);
    says(&status(&instance, "astray", "error"), "authentication", &["invalid_client", "'aud'"]);
    let (ended, folder) = instance.stop();
    assert!(!ended.errors.join("\n").contains("PRIVATE KEY"));
    assert_eq!(each_is_there(&folder, "signer", 450), 450);
}

#[test]
fn users_robots_and_service_accounts_get_tokens_too() {
    let (server, key) = server();
    let account = json!({
        "type": "service_account",
        "client_email": "robot@project.example",
        "private_key_id": "k1",
        "private_key": key.serialize_pem(),
        "token_uri": format!("http://{}/token", server.address),
    });
    let secrets = json!({
        "client": SECRET,
        "password": "pass word&+%",
        "key": key.serialize_pem(),
        "account": account.to_string(),
    });
    let password = "grant = \"password\"\nclient_id = \"password\"\nclient_auth = \"body\"\n\
                    client_secret = \"SECRET[own.client]\"\nuser = \"ana\"\n\
                    password = \"SECRET[own.password]\"";
    let bearer = "grant = \"jwt_bearer\"\nissuer = \"robot@project.example\"\n\
                  subject = \"ana@project.example\"\nprivate_key = \"SECRET[own.key]\"";
    let service = "grant = \"jwt_bearer\"\nsubject = \"ana@project.example\"\n\
                   service_account = \"SECRET[own.account]\"";
    let wrong = bearer.replace("ana@", "eve@");
    let document = [
        OFTEN,
        OWN,
        &source(&server, "user", password),
        &source(&server, "robot", bearer),
        &source(&server, "account", service),
        &source(&server, "eve", &wrong),
        &source(&server, "bob", &password.replace("ana", "bob")),
    ]
    .concat();
    server.set("open=150");
    let instance = Instance::start_in(folder(&secrets), &document, &[]);
    for id in ["user", "robot", "account"] {
        taken(&instance.folder, id, 150);
    }
    server.set("revoke=1&open=250");
    for id in ["user", "robot", "account"] {
        taken(&instance.folder, id, 250);
    }
    assert_eq!(server.count("given to password"), 2);
    assert_eq!(server.count("given to robot@project.example"), 4);
    says(&status(&instance, "eve", "error"), "authentication", &["'sub'", "`subject`"]);
    let words = ["`user` and `password`", "SECRET[own.password]"];
    says(&status(&instance, "bob", "error"), "authentication", &words);
}

#[test]
fn a_client_that_is_not_known_is_told_does_not_storm_and_recovers() {
    let (server, _) = server();
    let auth = "client_id = \"basic\"\nclient_secret = \"SECRET[azud.app]\"";
    server.set("open=150");
    let instance = Instance::start(&[OFTEN, &source(&server, "in", auth)].concat());
    says(&status(&instance, "in", "error"), "authentication", &["`azud credentials set app`"]);
    assert_eq!(server.count("asked"), 0, "there is nothing to ask with");
    credential(&instance.folder, "app", "s3cret-and-wrong");
    wait::until("some refusals", 2 * PATIENCE, || (server.count("not given") >= 4).then_some(()));
    let told = wait::until("what was refused to be told", PATIENCE, || {
        let told = status(&instance, "in", "error");
        let message = told["status_message"].as_str().unwrap().to_owned();
        message.contains("invalid_client").then_some(told)
    });
    let place = format!("http://{}/token", server.address);
    says(&told, "authentication", &[&place, "`client_id`", "SECRET[azud.app]"]);
    // The status may be older than the last poll; each poll asks once.
    let asked = server.count("asked");
    let failed = [("component_id", "in"), ("error_type", "authentication")];
    let polls = instance.metrics().sum("azud_component_errors_total", &failed);
    assert!(asked as f64 <= polls + 1.0, "{asked} requests in {polls} polls");
    assert_eq!(server.count("read") + server.count("refused"), 0, "nothing was polled without");
    credential(&instance.folder, "app", SECRET);
    status(&instance, "in", "active");
    taken(&instance.folder, "in", 150);
    let (ended, _) = instance.stop();
    assert!(!ended.errors.join("\n").contains("s3cret"), "{:?}", ended.errors);
}

const ROTATING: &str = r#"grant = "refresh_token"
client_id = "rotating"
client_secret = "SECRET[own.client]"
refresh_token = "SECRET[azud.refresh]""#;

fn rotating(server: &OAuth) -> String {
    [OFTEN, OWN, &source(server, "in", ROTATING)].concat()
}

/// An instance that has taken the first records with tokens of a second.
fn begun(server: &OAuth) -> Instance {
    server.set("family=first&life=1&open=100");
    let instance = Instance::start_in(folder(&json!({ "client": SECRET })), &rotating(server), &[]);
    credential(&instance.folder, "refresh", "first");
    taken(&instance.folder, "in", 100);
    instance
}

/// Waits until the server has taken a refresh token, and keeps its answer back.
fn held(server: &OAuth) {
    server.set("hold=1");
    wait::until("an answer that is kept back", PATIENCE, || {
        (server.count("held") == 1).then_some(())
    });
}

/// Checks that no refresh token was shown twice, and that the next exchange is like the last.
#[track_caller]
fn the_family_lives(server: &OAuth) {
    let given = server.count("given");
    wait::until("further exchanges", 2 * PATIENCE, || {
        (server.count("given") > given + 1).then_some(())
    });
    assert_eq!((server.count("shown again"), server.count("families revoked")), (0, 0));
}

/// This server knows no grace: a refresh token that is shown twice ends everything.
#[test]
fn an_end_or_a_pause_in_the_middle_of_an_exchange_loses_no_refresh_token() {
    let (server, _) = server();
    let instance = begun(&server);
    let (code, out, errors) = ask(&instance.folder, &["tokens", "create", "ed", "--role", "admin"]);
    assert_eq!(code, 0, "{errors}");
    let editor = Client { address: instance.api, token: Some(out.trim().to_owned()) };

    held(&server);
    let any = [("If-Match", "*")];
    assert_eq!(editor.send("POST", "/connectors/in/disable", &any, None).status, 200);
    status(&instance, "in", "disabled");
    server.set("hold=0&open=200");
    assert_eq!(editor.send("POST", "/connectors/in/enable", &any, None).status, 200);
    taken(&instance.folder, "in", 200);
    the_family_lives(&server);

    // Somebody tries the connector meanwhile: that wants a token, too.
    held(&server);
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| editor.call("POST", "/connectors/in/test"));
        // Whether it has come so far cannot be seen; a second exchange could be.
        (0..50).for_each(|_| wait::rest());
        server.set("hold=0");
        let tried = tried.join().unwrap();
        assert!(tried.status == 200 && !tried.body.to_string().contains("refused"), "{tried:?}");
    });
    the_family_lives(&server);

    held(&server);
    instance.terminate();
    wait::until("the stop to be told", PATIENCE, || {
        instance.errors().iter().any(|line| line.contains("stopping")).then_some(())
    });
    server.set("hold=0&open=300");
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let instance = Instance::start_in(folder, &rotating(&server), &[]);
    taken(&instance.folder, "in", 300);
    the_family_lives(&server);
    let (_, folder) = instance.stop();
    assert_eq!(each_is_there(&folder, "in", 300), 300);
}

/// A kill between the server's exchange and our keeping of what it gave: nobody has the next token.
/// A server without grace takes who shows the last one for a thief. That is told, and mended by
/// authorizing anew; no record is lost or taken twice.
#[test]
fn a_kill_in_the_middle_of_an_exchange_is_told_where_the_server_has_no_grace() {
    let (server, _) = server();
    let instance = begun(&server);
    // Elsewhere a kill is nothing: what is used was kept.
    let given = server.count("given");
    server.set("life=3600");
    wait::until("a token that lasts", 2 * PATIENCE, || {
        (server.count("given") > given).then_some(())
    });
    let read = server.count("read");
    wait::until("polls with it", PATIENCE, || (server.count("read") > read + 2).then_some(()));
    let (_, folder) = instance.kill();
    server.set("life=1&open=150");
    let instance = Instance::start_in(folder, &rotating(&server), &[]);
    taken(&instance.folder, "in", 150);
    the_family_lives(&server);

    held(&server);
    let (_, folder) = instance.kill();
    server.set("hold=0&open=200");
    let instance = Instance::start_in(folder, &rotating(&server), &[]);
    let told = status(&instance, "in", "error");
    let words = ["invalid_grant", "authorize azud anew", "SECRET[azud.refresh]"];
    says(&told, "authentication", &words);
    assert_eq!(server.count("families revoked"), 1);
    server.set("family=second");
    credential(&instance.folder, "refresh", "second");
    taken(&instance.folder, "in", 200);
    status(&instance, "in", "active");
    let (_, folder) = instance.stop();
    each_is_there(&folder, "in", 200);
}

/// A server with grace, as Okta and Auth0 have it, takes the last refresh token again for a while:
/// then no kill loses anything. The whole is fifty kills: `AZUD_SOAK_SECONDS=1`.
#[test]
fn soak_of_kills_between_refresh_tokens() {
    let soak = Soak::begin(0);
    let kills = if soak.length().is_zero() { 6 } else { 50 };
    let (server, mut dice) = (server().0, Dice::new());
    server.set("grace=600&late_ms=20");
    let mut open = 100;
    let (_, mut folder) = begun(&server).kill();
    for kill in 0..kills {
        open += dice.throw(1..3 * PAGE);
        server.set(&format!("open={open}"));
        let given = server.count("given");
        let instance = Instance::start_in(folder, &rotating(&server), &[]);
        match kill % 2 {
            0 => held(&server),
            _ => {
                wait::until("an exchange", 2 * PATIENCE, || {
                    (server.count("given") > given).then_some(())
                });
                for _ in 0..dice.throw(0..100) {
                    wait::rest();
                }
            }
        }
        folder = instance.kill().1;
        server.set("hold=0");
    }
    let instance = Instance::start_in(folder, &rotating(&server), &[]);
    taken(&instance.folder, "in", open);
    status(&instance, "in", "active");
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let lines = each_is_there(&folder, "in", open);
    assert_eq!(server.count("families revoked"), 0);
    let again = server.count("shown again");
    assert!(again >= kills as u64 / 2, "no kill came between an exchange and its answer");
    println!(
        "{kills} kills in {:?}: {open} records in {lines} lines, {} tokens, {again} shown again",
        soak.elapsed(),
        server.count("given"),
    );
}
