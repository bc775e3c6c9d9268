//! Connectors, credentials, tokens and keys, by commands and by the API, while the program runs.

use crate::recovery::load::{Lines, OFTEN, SOURCE};
use crate::stalls::{SOON, sinks};
use crate::support::api::{Client, ask_with};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::postgres::Postgres;
use crate::support::program::{self, Program, READY, ask};
use crate::support::receiver::{Answer, Receiver};
use crate::support::tools::sqlite;
use crate::support::wait;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Planted wherever something secret may go in.
const SECRET: &str = "planted-9d2f71c0a4";

/// A listener and a sink over the network.
fn document(receiver: &Receiver) -> String {
    let syslog = program::free_address();
    let listener = format!(
        "[sources.logs]\ntype = \"syslog\"\nmode = \"udp\"\naddress = \"{syslog}\"\n\
         [sinks.gone]\ntype = \"blackhole\"\ninputs = [\"logs\"]\n"
    );
    [OFTEN, SOURCE, &sinks(receiver, "batch.max_events = 50\n"), &listener].concat()
}

fn anonymous(instance: &Instance) -> Client {
    Client { address: instance.api, token: None }
}

/// Makes a token by command.
#[track_caller]
fn token(instance: &Instance, name: &str, role: &str) -> Client {
    let (code, out, errors) = ask(&instance.folder, &["tokens", "create", name, "--role", role]);
    assert_eq!(code, 0, "{errors}");
    Client { address: instance.api, token: Some(out.trim().to_owned()) }
}

/// Waits until the sink has a status; gives its connector.
#[track_caller]
fn status(instance: &Instance, wanted: &str) -> Value {
    status_of(instance, "far", wanted)
}

#[track_caller]
fn status_of(instance: &Instance, name: &str, wanted: &str) -> Value {
    wait::until(&format!("the status {wanted} of {name}"), SOON, || {
        let found = anonymous(instance).call("GET", &format!("/connectors/{name}")).body;
        (found["status"] == wanted).then_some(found)
    })
}

#[test]
fn a_hostile_server_is_told_with_the_right_reasons_and_without_flapping() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    receiver.listen();
    let instance = Instance::start(&document(&receiver));
    let logs = status_of(&instance, "logs", "active");
    assert_eq!(logs["kind"], "syslog", "{logs}");
    lines.append(&instance.folder, 100);
    let far = status(&instance, "active");
    assert!(far["last_successful_connection"].is_string(), "{far}");
    receiver.answer(Answer::Failed);
    lines.append(&instance.folder, 100);
    let far = status(&instance, "warning");
    assert_eq!(far["status_reason"], "server", "{far}");
    assert!(far["status_message"].as_str().unwrap().contains("500"), "{far}");
    receiver.answer(Answer::Taken);
    status(&instance, "active");
    receiver.answer(Answer::Denied);
    lines.append(&instance.folder, 100);
    let far = status(&instance, "error");
    assert_eq!(far["status_reason"], "authentication", "{far}");
    let ready = instance.get("/ready");
    assert!(ready.status == 200 && ready.body.contains("connector far: "), "{}", ready.body);
    let metric = |status| {
        let labels = [("connector", "far"), ("status", status)];
        instance.metrics().sum("azud_connector_status", &labels)
    };
    assert_eq!((metric("error"), metric("active")), (1.0, 0.0));
    receiver.answer(Answer::Taken);
    status(&instance, "active");
    let (_, folder) = instance.stop();
    let (code, out, errors) = ask(&folder, &["connectors", "show", "far", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    let told = shown["history"].as_array().unwrap().iter().rev();
    let told: Vec<_> = told.map(|row| row["to_status"].as_str().unwrap()).collect();
    assert_eq!(told, ["active", "warning", "active", "error", "active"]);
    assert!(shown["records_total"].as_u64().unwrap() >= 300, "{shown}");
}

#[test]
fn whoever_has_no_token_may_look_and_not_change() {
    let receiver = Receiver::silent();
    let instance = Instance::start(&document(&receiver));
    let (viewer, editor) = (token(&instance, "vi", "viewer"), token(&instance, "ed", "editor"));
    let admin = token(&instance, "ad", "admin");
    let wrong = Client { token: Some("azud_wrong".to_owned()), ..viewer };
    let new = json!({ "name": "okta", "type": "http_client" });
    assert_eq!(anonymous(&instance).call_with("POST", "/connectors", &new).status, 401);
    assert_eq!(editor.call_with("POST", "/connectors", &new).status, 201);
    let any = [("If-Match", "*")];
    let switch = |client: &Client, to: &str| {
        client.send("POST", &format!("/connectors/okta/{to}"), &any, None)
    };
    let disable = |client: &Client| switch(client, "disable").status;
    assert_eq!(anonymous(&instance).call("GET", "/connectors").status, 200);
    assert_eq!(
        [disable(&anonymous(&instance)), disable(&wrong), disable(&viewer)],
        [401, 401, 403]
    );
    // Who may not change anything learns nothing of what is wrong with the change.
    let malformed = json!({ "nonsense": 1 });
    assert_eq!(viewer.call_with("POST", "/connectors", &malformed).status, 403);
    assert_eq!(editor.call_with("POST", "/connectors", &malformed).status, 422);
    assert_eq!(editor.call_with("POST", "/tokens", &malformed).status, 403);
    assert_eq!(editor.call("POST", "/connectors/okta/disable").status, 428);
    let version = editor.call("GET", "/connectors/okta");
    let version = [("If-Match", version.header("etag").unwrap())];
    let disabled = editor.send("POST", "/connectors/okta/disable", &version, None);
    assert_eq!((disabled.status, &disabled.body["status"]), (200, &json!("disabled")));
    assert_eq!(disabled.body["status_message"], "disabled by ed");
    assert_eq!(editor.call("POST", "/connectors/okta/poll").status, 409);
    let stale = editor.send("POST", "/connectors/okta/enable", &version, None);
    assert_eq!(stale.status, 412, "{stale:?}");
    assert_eq!(switch(&editor, "enable").body["status"], "starting");
    let untried = editor.call("POST", "/connectors/okta/test");
    let why = untried.body["title"].as_str().unwrap();
    assert!(why.contains("no definition that runs matches it"), "{untried:?}");
    assert_eq!(editor.call("POST", "/connectors/far/disable").status, 409, "it is a sink");
    // A page of a browser that was led here by a name of its own does not see a thing.
    let led = anonymous(&instance).send("GET", "/connectors", &[("Host", "evil.example")], None);
    assert!(matches!(led.status, 400 | 401), "{led:?}");
    assert_eq!(
        [editor.call("GET", "/tokens").status, admin.call("GET", "/tokens").status],
        [403, 200]
    );
    assert_eq!(
        [editor.call("GET", "/audit").status, admin.call("GET", "/audit").status],
        [403, 200]
    );
    let trail = admin.call("GET", "/audit").body["items"].clone();
    let did = |action: &str| {
        let trail = trail.as_array().unwrap().iter();
        let mut found = trail.filter(|row| row["action"] == action);
        found.next().unwrap_or_else(|| panic!("{action} is not in the trail")).clone()
    };
    let disabled = did("connector.disable");
    assert_eq!((&disabled["actor"], &disabled["object"]), (&json!("ed"), &json!("connector/okta")));
    assert_eq!((&disabled["address"], &disabled["outcome"]), (&json!("127.0.0.1"), &json!("done")));
    assert!(did("token.create")["actor"].as_str().unwrap().starts_with("command of "));
    let (code, _, errors) = ask(&instance.folder, &["tokens", "revoke", "ed"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(disable(&editor), 401);
}

#[test]
fn what_a_document_has_is_changed_there_and_what_was_added_here() {
    let receiver = Receiver::silent();
    let instance = Instance::start(&document(&receiver));
    let admin = token(&instance, "ad", "admin");
    let refused = admin.call_with("PATCH", "/connectors/far", &json!({ "labels": {} }));
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body["detail"].as_str().unwrap().contains("azud.toml"), "{refused:?}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let new = json!({ "name": "okta-a", "type": "http_client", "labels": { "tenant": "a" } });
    let body = || Some(new.to_string());
    let key = [("Idempotency-Key", "one")];
    let first = admin.send("POST", "/connectors", &key, body());
    let again = admin.send("POST", "/connectors", &key, body());
    assert_eq!((first.status, again.status), (201, 201), "{first:?} {again:?}");
    assert_eq!((&first.body, first.header("etag")), (&again.body, Some("\"1\"")));
    assert_eq!(admin.call_with("POST", "/connectors", &new).status, 409);
    let change = json!({ "labels": { "tenant": "b" } });
    let patch = |headers: &[(&str, &str)]| {
        admin.send("PATCH", "/connectors/okta-a", headers, Some(change.to_string()))
    };
    assert_eq!(patch(&[]).status, 428);
    assert_eq!(patch(&[("If-Match", "\"7\"")]).status, 412);
    let changed = patch(&[("If-Match", "\"1\"")]);
    assert_eq!((changed.status, &changed.body["labels"]["tenant"]), (200, &json!("b")));
    assert_eq!(changed.header("etag"), Some("\"2\""));
    let listed = admin.call("GET", "/connectors?limit=2").body;
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["next"]), (2, &json!("logs")));
    let rest = admin.call("GET", "/connectors?limit=2&after=logs").body;
    assert_eq!((&rest["items"][0]["name"], &rest["next"]), (&json!("okta-a"), &Value::Null));
    let (code, out, _) = ask(&instance.folder, &["connectors", "--json"]);
    assert_eq!((code, out.lines().count()), (0, 3), "{out}");
    let delete = admin.send("DELETE", "/connectors/okta-a", &[("If-Match", "\"2\"")], None);
    assert_eq!((delete.status, admin.call("GET", "/connectors/okta-a").status), (204, 404));
    for (method, path, status) in
        [("GET", "/nothing", 404), ("PUT", "/connectors", 405), ("GET", "/connectors?x=1", 400)]
    {
        let answer = admin.call(method, path);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
}

/// Asks by the socket of commands, as who runs the instance.
fn locally(instance: &Instance, path: &str, key: &str, body: &Value) -> String {
    let mut stream = UnixStream::connect(instance.folder.join("data/azud.sock")).unwrap();
    let (body, json) = (body.to_string(), "Content-Type: application/json");
    let head = format!("POST /api/v1{path} HTTP/1.0\r\nHost: localhost\r\n{json}");
    let length = body.len();
    write!(stream, "{head}\r\nIdempotency-Key: {key}\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn nobody_is_given_the_answer_of_somebody_else() {
    let receiver = Receiver::silent();
    let instance = Instance::start(&document(&receiver));
    let key = [("Idempotency-Key", "one")];
    let new = json!({ "name": "okta", "type": "http_client" });
    let first = locally(&instance, "/connectors", "one", &new);
    assert!(first.starts_with("HTTP/1.0 201"), "{first}");
    let again = locally(&instance, "/connectors", "one", &new);
    assert_eq!(again.split_once("\r\n\r\n").unwrap().1, first.split_once("\r\n\r\n").unwrap().1);
    let replayed = anonymous(&instance).send("POST", "/connectors", &key, Some(new.to_string()));
    assert_eq!(replayed.status, 401, "{replayed:?}");
    // A token is shown once, and one that was revoked opens nothing.
    let admin = token(&instance, "ad", "admin");
    let new = json!({ "name": "made", "role": "admin" });
    let create = || admin.send("POST", "/tokens", &key, Some(new.to_string()));
    let made = create();
    assert_eq!((made.status, made.body["token"].is_string()), (201, true));
    let again = create();
    assert_eq!((again.status, again.body.get("token")), (409, None), "{again:?}");
    let both = [key[0], ("If-Match", "*")];
    let enable = || admin.send("POST", "/connectors/okta/enable", &both, None);
    assert_eq!((enable().status, enable().status), (200, 200));
    let (code, _, errors) = ask(&instance.folder, &["tokens", "revoke", "ad"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(enable().status, 401);
}

/// What the API refuses, commands do, too: both call the same.
#[test]
fn commands_check_what_the_api_checks() {
    let receiver = Receiver::silent();
    let instance = Instance::start(&document(&receiver));
    let labels: Vec<String> = (0..33).map(|number| format!("--label=l{number}=x")).collect();
    let mut many = vec!["connectors", "add", "okta"];
    many.extend(labels.iter().map(String::as_str));
    for (arguments, why) in [
        (&["connectors", "add", "a b"] as &[&str], "a name has"),
        (&["connectors", "add", "okta", "--type", "syslog"], "http_client"),
        (&many, "at most 32"),
        (&["connectors", "remove", "far"], "belongs to"),
        (&["connectors", "disable", "far"], "is not polled"),
        (&["tokens", "create", "a b"], "a name has"),
        (&["tokens", "revoke", "nobody"], "there is no token"),
    ] {
        let (code, out, errors) = ask(&instance.folder, arguments);
        assert_eq!((code, errors.contains(why)), (3, true), "{arguments:?}: {out}{errors}");
    }
    let long = "x".repeat(64 * 1024 + 1);
    let (code, _, errors) = ask_with(&instance.folder, &["credentials", "set", "okta"], &long);
    assert!(code == 3 && errors.contains("65536 signs"), "{errors}");
}

/// Sends the API all that its description allows, and much that it does not, and holds every answer
/// against the description.
#[test]
fn the_api_is_as_it_is_described() {
    let receiver = Receiver::silent();
    let instance = Instance::start(&document(&receiver));
    // Nothing that is sent by chance is its name, so that nothing revokes it.
    let name = "x9Zq-of-the-caller";
    let create = ["tokens", "create", name, "--role", "admin", "--out", "caller.token"];
    let (code, _, errors) = program::ask(&instance.folder, &create);
    assert_eq!(code, 0, "{errors}");
    let token = fs::read_to_string(instance.folder.join("caller.token")).unwrap();
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = here.join("../target/tools/schemathesis/bin/schemathesis");
    let mut command = std::process::Command::new(program);
    command.current_dir(instance.folder.path()).arg("--config-file");
    command.arg(here.join("python/schemathesis.toml"));
    let origin = format!("http://{}", instance.api);
    command.args(["run", &format!("{origin}/api/v1/openapi.json"), "--origin", &origin]);
    let authorization = format!("Authorization: Bearer {}", token.trim());
    command.args(["--header", &authorization, "--no-color", "--seed", "7"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10"]);
    let ended = command.output().unwrap_or_else(|error| panic!("{error}; run `tests/run`"));
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
}

/// Sends the API what is secret, and looks at everything; gives all that it answers.
fn planted_by_the_api(admin: &Client) -> Vec<String> {
    let value = json!({ "value": SECRET });
    let new = json!({ "name": "two", "kind": "token", "value": SECRET });
    let cursor = json!({ "state": "cGxhbnRlZC05ZDJmNzFjMGE0", "format": 1, "summary": "far" });
    let mut called = vec![
        admin.call_with("POST", "/credentials", &new),
        admin.call_with("POST", "/credentials", &new),
        admin.call_with("PUT", "/credentials/okta/value", &value),
        admin.call_with("POST", "/credentials/okta/rotate", &value),
        admin.call_with("PUT", "/connectors/far/cursor", &cursor),
        // What is not of the right form is not shown again either.
        admin.call_with("POST", "/credentials", &json!({ "name": 7, "value": SECRET })),
        admin.call_with("PUT", "/credentials/okta/value", &json!({ "value": [SECRET] })),
        admin.call_with("PUT", "/credentials/okta/value", &json!(SECRET)),
    ];
    let codes: Vec<u16> = called.iter().map(|call| call.status).collect();
    assert_eq!(codes, [201, 409, 200, 200, 204, 422, 422, 422]);
    let paths = [
        "/audit",
        "/connectors",
        "/connectors/far",
        "/connectors/far/cursor",
        "/connectors/far/history",
        "/credentials",
        "/credentials/okta",
        "/credentials/okta/uses",
        "/tokens",
    ];
    called.extend(paths.map(|path| admin.call("GET", path)));
    called.iter().map(|call| format!("{}{}", call.head, call.body)).collect()
}

#[test]
fn nothing_secret_comes_out_again() {
    let receiver = Receiver::silent();
    receiver.listen();
    let folder = Folder::new();
    // The table of a component is kept sealed: it may hold what its author should not have written.
    let text = document(&receiver).replace(
        "framing.method",
        &format!("auth = {{ strategy = \"bearer\", token = \"{SECRET}\" }}\nframing.method"),
    );
    let instance = Instance::start_in(folder, &text, &["-vv"]);
    let (code, out, errors) =
        ask_with(&instance.folder, &["credentials", "set", "okta", "--kind", "token"], SECRET);
    assert_eq!(code, 0, "{errors}");
    let mut seen = vec![out, errors];
    let admin = token(&instance, "ad", "admin");
    let open = admin.token.clone().unwrap();
    seen.extend(planted_by_the_api(&admin));
    for command in [
        &["connectors"] as &[&str],
        &["connectors", "show", "far"],
        &["connectors", "cursor", "show", "far"],
        &["credentials"],
        &["credentials", "show", "okta"],
        &["tokens"],
        &["keys", "verify"],
    ] {
        let (code, out, errors) = ask(&instance.folder, command);
        assert_eq!(code, 0, "{command:?}: {errors}");
        seen.extend([out, errors]);
    }
    seen.push(instance.get("/metrics").body);
    let dump = sqlite(&instance.folder, ".dump").join("\n");
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(dump.contains("okta") && !dump.contains(&hex));
    seen.push(dump);
    let (ended, folder) = instance.stop();
    seen.extend(ended.errors);
    for text in &seen {
        assert!(!text.contains(SECRET) && !text.contains("cGxhbnRlZC05"), "{text}");
        assert!(!text.contains(&open), "the token is shown once only: {text}");
    }
    for entry in fs::read_dir(folder.join("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!holds(SECRET) && !holds(&open), "{}", path.display());
        }
    }
}

#[test]
fn a_master_key_that_is_lost_wrong_or_open_is_refused_and_nothing_changes() {
    let receiver = Receiver::silent();
    let instance = Instance::start(&document(&receiver));
    let (_, folder) = instance.stop();
    let key = folder.join("data/master.key");
    let right = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = sqlite(&folder, "SELECT id, hex(wrapped_key) FROM encryption_keys");
    let refused = |folder: &Folder, word: &str| {
        let ended = program::run(folder.path(), &["run", "azud.toml"]);
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(3), "{errors}");
        assert!(errors.contains("error[E009]") && errors.contains(word), "{errors}");
        assert!(errors.contains("help: "), "{errors}");
    };
    fs::remove_file(&key).unwrap();
    refused(&folder, "is not there");
    assert!(!key.exists(), "no key is made where rows are sealed");
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    refused(&folder, "is not the one");
    fs::write(&key, &right).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&folder, "0644");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(sqlite(&folder, "SELECT id, hex(wrapped_key) FROM encryption_keys"), before);
    Instance::start_in(folder, &document(&receiver), &[]).stop();
}

#[test]
fn keys_are_rotated_while_the_instance_runs() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    receiver.listen();
    let instance = Instance::start(&document(&receiver));
    let command = |arguments: &[&str]| {
        let (code, out, errors) = ask(&instance.folder, arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{errors}");
        out
    };
    let (code, _, errors) = ask_with(&instance.folder, &["credentials", "set", "okta"], SECRET);
    assert_eq!(code, 0, "{errors}");
    for _ in 0..3 {
        command(&["keys", "rotate"]);
        lines.append(&instance.folder, 100);
    }
    assert!(command(&["keys", "verify"]).contains("all 3 secrets open"));
    let to = instance.folder.join("data/master2.key").display().to_string();
    command(&["keys", "rotate", "--to", &to]);
    lines.append(&instance.folder, 100);
    status(&instance, "active");
    let master = instance.folder.join("data/master.key");
    let old = fs::read(&master).unwrap();
    let (code, _, errors) = ask(&instance.folder, &["keys", "rotate"]);
    assert!(code == 3 && errors.contains("error[E009]"), "the old master key is no good: {errors}");
    fs::rename(&to, &master).unwrap();
    command(&["keys", "rotate"]);
    // The instance reads the new master key by itself, and opens what is sealed anew.
    let editor = token(&instance, "ed", "editor");
    let value = json!({ "value": SECRET, "overlap": "1h" });
    let set = editor.call_with("PUT", "/credentials/okta/value", &value);
    assert_eq!(set.status, 200, "{set:?}");
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let new = fs::read(&master).unwrap();
    fs::write(&master, old).unwrap();
    let (code, _, errors) = ask(&folder, &["keys", "verify"]);
    assert!(code == 3 && errors.contains("error[E009]"), "the old master key is no good: {errors}");
    fs::write(&master, new).unwrap();
    let (code, out, errors) = ask(&folder, &["keys", "verify", "--json"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        json!({ "opened": 4, "unopened": [] })
    );
}

#[test]
fn how_far_a_connector_has_come_can_be_carried_elsewhere() {
    let receiver = Receiver::silent();
    let instance = Instance::start(&document(&receiver));
    let line = json!({
        "partition": "", "state": "eHl6", "format": 2, "summary": "since noon",
        "event_time": "2026-03-01T12:00:00.000000Z",
    });
    let set = ["connectors", "cursor", "set", "far"];
    let (code, _, errors) = ask_with(&instance.folder, &set, &format!("{line}\n"));
    assert_eq!(code, 0, "{errors}");
    let (_, out, _) = ask(&instance.folder, &["connectors", "cursor", "export", "far"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), line);
    let shown = anonymous(&instance).call("GET", "/connectors/far/cursor").body;
    assert_eq!(shown["items"][0]["summary"], "since noon");
    assert!(!shown.to_string().contains("eHl6"));
    let (code, _, _) = ask_with(&instance.folder, &set, "no cursor");
    assert_eq!(code, 3);
    // As a person writes it.
    let written = json!({ "cursor": "2026-03-01T10:00:00Z" });
    let state = |folder: &Folder| {
        let (_, out, _) = ask(folder, &["connectors", "cursor", "export", "far"]);
        let line: Value = serde_json::from_str(&out).unwrap();
        (line["state"].clone(), line["format"].clone(), line["summary"].clone())
    };
    let (code, _, errors) = ask_with(&instance.folder, &set, &written.to_string());
    assert_eq!(code, 0, "{errors}");
    let by_command = state(&instance.folder);
    // `{"cursor":"2026-03-01T10:00:00Z"}`
    let expected = json!("eyJjdXJzb3IiOiIyMDI2LTAzLTAxVDEwOjAwOjAwWiJ9");
    assert_eq!(by_command, (expected, json!(1), json!("set by hand")));
    let editor = token(&instance, "ed", "editor");
    let (code, _, _) = ask(&instance.folder, &["connectors", "cursor", "reset", "far"]);
    assert_eq!(code, 0);
    let put = editor.call_with("PUT", "/connectors/far/cursor", &written);
    assert_eq!((put.status, state(&instance.folder)), (204, by_command), "{put:?}");
    for wrong in [json!({ "cursor": "" }), json!({ "cursor": 7 }), json!({ "cursr": "x" })] {
        let put = editor.call_with("PUT", "/connectors/far/cursor", &wrong);
        assert!(matches!(put.status, 400 | 422), "{wrong}: {put:?}");
        assert_eq!(ask_with(&instance.folder, &set, &wrong.to_string()).0, 3);
    }
    let (code, out, _) = ask(&instance.folder, &["connectors", "cursor", "reset", "far"]);
    assert_eq!((code, out.starts_with("1 cursors")), (0, true), "{out}");
    let (_, out, _) = ask(&instance.folder, &["connectors", "cursor", "export", "far"]);
    assert_eq!(out, "");
}

/// Two over one database: the second takes over when the first is gone without a word.
#[test]
fn who_stands_by_takes_over_within_half_a_minute() {
    let server = Postgres::start();
    let receiver = Receiver::silent();
    receiver.listen();
    let database = format!("database.url = \"{}\"\n", server.url());
    let one = Instance::start(&(database.clone() + &document(&receiver)));
    let folder = one.folder_beside();
    let out = folder.path().display().to_string();
    let api = program::free_address();
    let head = format!("data_dir = \"{out}/data\"\napi.address = \"{api}\"\n");
    folder.write("azud.toml", (head + &database + &document(&receiver)).replace("@OUT@", &out));
    let command = program::azud(folder.path(), &["run", "azud.toml", "--standby"]);
    let other = Program::start(command, "stands by");
    let far = anonymous(&one).call("GET", "/connectors/far").body;
    let (_, _folder) = one.kill();
    wait::until("the other to be ready", Duration::from_secs(30), || {
        other.errors().iter().any(|line| line.contains(READY)).then_some(())
    });
    let client = Client { address: api, token: None };
    let taken = client.call("GET", "/connectors/far").body;
    assert_eq!(taken["id"], far["id"]);
    assert!(other.stop().status.success());
}
