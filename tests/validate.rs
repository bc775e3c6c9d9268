//! `azud validate` says what a start would say of the environment, and makes nothing.

use crate::support::api::tell;
use crate::support::files::Folder;
use crate::support::postgres::Postgres;
use crate::support::program;
use crate::support::tls::write_certificates;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A sink over the network, which has a row of its own in the database.
const SINK: &str = r#"
[sources.in]
type = "file"
include = ["in.log"]
[sinks.far]
type = "http"
inputs = ["in"]
uri = "http://127.0.0.1:9/"
encoding.codec = "json"
"#;

/// A folder with a document and a file to read.
fn folder(head: &str) -> Folder {
    let folder = Folder::new();
    folder.write("in.log", "");
    document(&folder, head);
    folder
}

fn document(folder: &Folder, head: &str) {
    let api = program::free_address();
    let listens = format!("api.address = \"{api}\"\n");
    let listens = if head.contains("api.") { "" } else { &listens };
    folder.write("azud.toml", ["data_dir = \"data\"\n", listens, head, "\n", SINK].concat());
}

/// Runs a command over the document; gives its code and what it said on standard error.
fn said(folder: &Folder, command: &str) -> (i32, String) {
    let ended = program::run(folder.path(), &[command, "azud.toml"]);
    (ended.status.code().unwrap(), String::from_utf8(ended.stderr).unwrap())
}

/// Checks that `validate` names a fault at a line, in the words of a start.
#[track_caller]
fn refused(folder: &Folder, line: &str, fault: &str) {
    let (code, told) = said(folder, "validate");
    assert_eq!(code, 3, "{told}");
    assert!(told.contains(fault), "{told}");
    assert!(told.contains(line) && told.contains("--> azud.toml:"), "{told}");
    assert!(told.contains("help: ") && told.contains("\n1 fault"), "{told}");
    let (code, started) = said(folder, "run");
    assert_eq!(code, 3, "{started}");
    assert!(started.contains(fault.trim_start_matches("error[E001]: ")), "{started}");
    let ended = program::run(folder.path(), &["validate", "--no-environment", "azud.toml"]);
    assert_eq!(ended.status.code(), Some(0));
}

#[track_caller]
fn passes(folder: &Folder) {
    let (code, told) = said(folder, "validate");
    assert_eq!(code, 0, "{told}");
}

/// Lists a folder and all below it, with lengths.
fn contents(folder: &Path) -> BTreeSet<(String, u64)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let each = entries.flat_map(|entry| {
        let metadata = entry.metadata().unwrap();
        let below = if metadata.is_dir() { contents(&entry.path()) } else { BTreeSet::new() };
        below.into_iter().chain([(entry.path().display().to_string(), metadata.len())])
    });
    each.collect()
}

#[test]
fn a_server_that_is_not_there_or_of_a_later_version_is_told() {
    let gone = program::free_address();
    let fault = format!("error[E007]: the database postgres://azud@{gone}/azud");
    let here = folder(&format!("database.url = \"postgres://azud@{gone}/azud\""));
    refused(&here, "database.url", &fault);
    let here = folder(&format!("database.url = \"postgres://azud:planted@{gone}/azud\""));
    let (code, told) = said(&here, "validate");
    assert!(code == 3 && told.contains(&fault) && !told.contains("planted"), "{told}");

    let postgres = Postgres::start();
    let here = folder(&format!("database.url = \"{}\"", postgres.url()));
    passes(&here);
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(postgres.ask(tables).trim(), "0", "something was made");
    set(&here, "x");
    passes(&here);
    postgres.ask(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
         values (9999, 'later', true, '', 0)",
    );
    refused(&here, "database.url", "the database was made by a newer azud");
}

/// Sets the credential `okta`.
#[track_caller]
fn set(folder: &Folder, value: &str) {
    let (code, _, errors) = tell(folder, &["credentials", "set", "okta"], value);
    assert_eq!(code, 0, "{errors}");
}

#[test]
fn looking_leaves_no_trace_and_a_damaged_database_is_told() {
    let here = folder("");
    let before = contents(here.path());
    passes(&here);
    assert_eq!(contents(here.path()), before, "before the first start");
    set(&here, "x");
    let before = contents(here.path());
    passes(&here);
    assert_eq!(contents(here.path()), before, "behind a start");
    here.write("data/azud.db", "this is no database, but a text of some length".repeat(100));
    refused_anywhere(&here, "error[E007]");
}

/// As [`refused`], of what no line of the document names.
#[track_caller]
fn refused_anywhere(folder: &Folder, fault: &str) {
    let (code, told) = said(folder, "validate");
    assert!(code == 3 && told.contains(fault), "{told}");
    let (code, started) = said(folder, "run");
    assert!(code == 3 && started.contains(fault), "{started}");
}

#[test]
fn a_master_key_that_opens_nothing_is_told() {
    let here = folder("keys.master = { type = \"file\", path = \"master.key\" }");
    here.write("master.key", "too short");
    fs::set_permissions(
        here.join("master.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    refused(&here, "keys.master", "error[E009]: master.key holds no master key");
    fs::remove_file(here.join("master.key")).unwrap();
    passes(&here);
    set(&here, "x");
    passes(&here);
    fs::rename(here.join("master.key"), here.join("moved.key")).unwrap();
    refused(&here, "keys.master", "error[E009]: the master key master.key is not there");
}

#[test]
fn a_credential_that_nobody_has_set_is_told_with_what_to_do() {
    let here = folder("");
    let auth = "auth = { strategy = \"bearer\", token = \"SECRET[azud.okta#key]\" }\n";
    let text = fs::read_to_string(here.join("azud.toml")).unwrap() + auth;
    here.write("azud.toml", text);
    let (code, told) = said(&here, "validate");
    assert!(code == 3 && told.contains("error[E002]: "), "{told}");
    assert!(told.contains("set it with `azud credentials set okta`"), "{told}");
    assert!(told.contains("SECRET[azud.okta#key]"), "{told}");
    set(&here, "{}");
    let (code, told) = said(&here, "validate");
    assert!(code == 3 && told.contains("has no text `key`"), "{told}");
    set(&here, "{\"key\":\"x\"}");
    passes(&here);
}

#[test]
fn a_certificate_of_the_api_that_cannot_be_used_is_told() {
    let api = program::free_address();
    let tls = |key: &str| {
        format!(
            "api.address = \"{api}\"\napi.tls = {{ enabled = true, crt_file = \"server.crt\", \
             key_file = \"{key}\" }}"
        )
    };
    let here = folder(&tls("client.key"));
    refused(&here, "api.tls", "error[E001]: `api.tls`: cannot read server.crt");
    write_certificates(&here);
    refused(&here, "api.tls", "error[E001]: `api.tls`: the certificate in server.crt and the key");
    document(&here, &tls("server.key"));
    passes(&here);
}

#[test]
fn a_data_folder_that_cannot_be_made_is_told_where_it_is_named() {
    let here = folder("");
    let text = fs::read_to_string(here.join("azud.toml")).unwrap();
    here.write("azud.toml", text.replace("\"data\"", "\"in.log/data\""));
    let (code, told) = said(&here, "validate");
    assert!(code == 3 && told.contains("error[E006]"), "{told}");
    assert!(told.contains("--> azud.toml:1:12") && told.contains("\n1 fault"), "{told}");
    assert_eq!(said(&here, "run").0, 3);
}
