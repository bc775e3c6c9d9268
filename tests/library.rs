//! The definitions of `pipelines/connectors`: each polls the recorded answers of its API, from the
//! first page to what it asks when it goes on, and gives the records that are expected.

use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program;
use crate::support::recorded::Recorded;
use crate::support::wait::{self, PATIENCE};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Makes a test of each definition.
macro_rules! definitions {
    ($($name:ident),* $(,)?) => {
        const DEFINITIONS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                play(stringify!($name));
            }
        )*
    };
}

definitions! {
    aws_cloudtrail,
    cloudflare_audit_logs,
    crowdstrike_alerts,
    duo_authentications,
    github_audit_log,
    gitlab_audit_events,
    google_workspace_admin,
    google_workspace_login,
    jira_audit_records,
    microsoft_directory_audits,
    microsoft_sign_ins,
    okta_system_log,
    onepassword_sign_ins,
    slack_audit_logs,
}

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/connectors")
}

fn text(name: &str) -> String {
    let path = library().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Polls the recorded answers, all of them.
fn play(name: &str) {
    let document = text(&format!("{name}.toml"));
    let recorded = serde_json::from_str(&text(&format!("recorded/{name}.json"))).unwrap();
    let expected = text(&format!("recorded/{name}.expected.jsonl"));
    let expected: BTreeSet<String> = expected.lines().map(normal).collect();
    let server = Recorded::start(recorded, &origins(&document));
    let folder = Folder::new();
    for secret in secrets(&document) {
        folder.write("secret", value(&secret, server.address()));
        let set = ["credentials", "set", &secret, "--file", "secret"];
        let (code, out, errors) = program::ask(&folder, &set);
        assert_eq!(code, 0, "{out}{errors}");
    }
    let instance = Instance::start_in(folder, &prepared(&document, server.address()), &[]);
    let start = Instant::now();
    wait::until(&format!("the recording of {name}"), PATIENCE * 2, || {
        let (played, given) = (server.played(), instance.folder.lines("out.jsonl").len());
        let late = start.elapsed() > PATIENCE;
        assert!(!late, "{name}: {played} exchanges, {given} records, {:#?}", instance.errors());
        (server.is_over() && given >= expected.len()).then_some(())
    });
    let dead = instance.dead_letters_now();
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{name}: {:#?}", ended.errors);
    assert_eq!(dead, Vec::<Value>::new(), "{name}: what the mapping cannot read");
    let given = folder.lines("out.jsonl");
    let normal: BTreeSet<String> = given.iter().map(|line| normal(line)).collect();
    assert_eq!(normal, expected, "{name}");
    assert_eq!(given.len(), expected.len(), "{name}: a record comes twice");
}

/// Writes a record in one way, whatever the order of its members.
fn normal(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap().to_string()
}

/// Gives what the lines name that say where requests go.
fn origins(document: &str) -> Vec<String> {
    let addresses = document.lines().filter_map(address);
    let origin = |address: &str| address.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    addresses.map(origin).collect::<BTreeSet<_>>().into_iter().collect()
}

fn address(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(" = ")?;
    let is_address = matches!(name, "endpoint" | "token_endpoint");
    is_address.then(|| value.trim_matches('"'))
}

/// Gives the names of the secrets.
fn secrets(document: &str) -> BTreeSet<String> {
    let named = document.split("SECRET[azud.").skip(1);
    named.map(|rest| rest.split(']').next().unwrap().to_owned()).collect()
}

/// Gives the value of a secret, as recordings have it.
fn value(secret: &str, server: SocketAddr) -> String {
    match secret {
        "google_service_account" => {
            let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
            serde_json::json!({
                "type": "service_account",
                "client_email": "azud@example.iam.gserviceaccount.com",
                "private_key_id": "example",
                "private_key": key.serialize_pem(),
                "token_uri": format!("http://{server}/token"),
            })
            .to_string()
        }
        secret => format!("{}-example", secret.replace('_', "-")),
    }
}

/// Points a definition to the server, lets it poll without rest, and writes what it gives to a
/// file.
fn prepared(document: &str, server: SocketAddr) -> String {
    let origins = origins(document);
    let here = format!("http://{server}");
    let line = |line: &str| match address(line) {
        Some(_) => origins.iter().fold(line.to_owned(), |line, origin| line.replace(origin, &here)),
        None if line.starts_with("scrape_interval_secs = ") => {
            "scrape_interval_secs = 0.2".to_owned()
        }
        None if line == "type = \"console\"" => {
            "type = \"file\"\npath = \"@OUT@/out.jsonl\"".to_owned()
        }
        None => line.to_owned(),
    };
    document.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn each_definition_is_played_and_says_how_its_secrets_are_set() {
    let documents = std::fs::read_dir(library()).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.strip_suffix(".toml")?.to_owned();
        (!name.ends_with(".case")).then_some(name)
    });
    let documents: BTreeSet<String> = documents.collect();
    let played: BTreeSet<String> = DEFINITIONS.iter().map(ToString::to_string).collect();
    assert_eq!(documents, played);
    let readme = text("README.md");
    for name in DEFINITIONS {
        assert!(readme.contains(&format!("({name}.toml)")), "README.md does not name {name}");
        let document = text(&format!("{name}.toml"));
        let named = secrets(&document);
        assert!(!named.is_empty(), "{name} has no credentials");
        for secret in named {
            let command = format!("azud credentials set {secret}");
            assert!(document.contains(&format!("#   {command}")), "{name}: {command}");
            assert!(readme.contains(&format!("`{secret}`")), "README.md does not name {secret}");
        }
    }
}
