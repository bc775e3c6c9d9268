//! Secrets end to end: of every backend into requests, replaced without a restart, kept while their
//! backend is down, and shown nowhere.

use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::postgres::Postgres;
use crate::support::program;
use crate::support::python::{Aws, SECRET_ID, Vault};
use crate::support::receiver::{Answer, Receiver};
use crate::support::wait::{self, PATIENCE};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

const SOURCE: &str = r#"
checkpoint.interval = "200ms"
[sources.in]
type = "file"
include = ["@OUT@/in.log"]
glob_minimum_cooldown_ms = 20
"#;

/// A rule behind it, whose alerts go into the database.
const ALERT: &str = r#"
[transforms.alert]
type = "alert"
inputs = ["in"]
rule = "r"
condition = '.message == "alert"'
key = ["message"]
severity = "low"
title = "t"
[sinks.store]
type = "alerts"
inputs = ["alert"]
"#;

/// An `http` sink that says with this token who it is.
fn sink(id: &str, receiver: &Receiver, token: &str) -> String {
    format!(
        r#"
[sinks.{id}]
type = "http"
inputs = ["in"]
uri = "http://{}/"
encoding.codec = "text"
batch.timeout_secs = 0.05
request = {{ retry_initial_backoff_secs = 0.05, retry_max_duration_secs = 0.2 }}
auth = {{ strategy = "bearer", token = "{token}" }}
"#,
        receiver.address()
    )
}

fn listening() -> Receiver {
    let receiver = Receiver::silent();
    receiver.listen();
    receiver
}

/// Writes a line that the source reads.
fn write(folder: &Folder, line: &str) {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).open(folder.join("in.log")).unwrap();
    writeln!(file, "{line}").unwrap();
}

/// Waits until a receiver took this line; gives who sent it.
#[track_caller]
fn taken(instance: &Instance, receiver: &Receiver, line: &str) -> String {
    wait::until(&format!("`{line}` to be taken"), PATIENCE, || {
        let requests = receiver.requests(0).into_iter();
        let mut taken = requests.filter(|request| request.answer == Answer::Taken);
        let request = taken.find(|request| request.lines.iter().any(|other| other == line));
        if request.is_none() && instance.errors().iter().any(|error| error.contains("panicked")) {
            panic!("{:?}", instance.errors());
        }
        request.map(|request| request.authorization.unwrap_or_default())
    })
}

fn vault(address: std::net::SocketAddr) -> String {
    format!(
        "[secret.vault]\ntype = \"vault\"\naddress = \"http://{address}\"\nmount = \"kv\"\n\
         refresh = \"1s\"\ntimeout_secs = 5\n\
         auth = {{ method = \"approle\", role_id = \"azud\", secret_id_file = \"@OUT@/vault.id\" }}\n"
    )
}

fn folder_with_role() -> Folder {
    let folder = Folder::new();
    folder.write("vault.id", format!("{SECRET_ID}\n"));
    folder
}

#[test]
fn a_secret_of_vault_is_replaced_without_a_restart_and_outlives_its_server() {
    let (mut vault_server, receiver) = (Vault::start(3600), listening());
    vault_server.put("azud/collector", "token", "first-token");
    receiver.want("Bearer first-token");
    let document = [
        SOURCE,
        &vault(vault_server.address),
        &sink("far", &receiver, "SECRET[vault.azud/collector#token]"),
    ]
    .concat();
    let instance = Instance::start_in(folder_with_role(), &document, &[]);
    write(&instance.folder, "one");
    assert_eq!(taken(&instance, &receiver, "one"), "Bearer first-token");

    // The other side takes the new one only: who is refused reads the secret anew.
    vault_server.put("azud/collector", "token", "second-token");
    receiver.want("Bearer second-token");
    write(&instance.folder, "two");
    assert_eq!(taken(&instance, &receiver, "two"), "Bearer second-token");

    // A token that is taken back is replaced by a new login.
    let logins = vault_server.count("login");
    vault_server.hvac("client.adapter.post('/v1/auth/token/revoke-all')");
    vault_server.put("azud/collector", "token", "third-token");
    receiver.want("Bearer third-token");
    write(&instance.folder, "three");
    assert_eq!(taken(&instance, &receiver, "three"), "Bearer third-token");
    assert_eq!(vault_server.count("login"), logins + 1);

    // Sealed, then gone: what was read stays.
    vault_server.hvac("client.sys.seal()");
    let failures = || {
        let labels = [("backend", "vault"), ("outcome", "unavailable")];
        instance.metrics().sum("azud_secret_reads_total", &labels)
    };
    let mut number = 0;
    wait::until("a read that failed", PATIENCE, || {
        number += 1;
        write(&instance.folder, &format!("sealed {number}"));
        taken(&instance, &receiver, &format!("sealed {number}"));
        (failures() > 0.0).then_some(())
    });
    vault_server.kill();
    write(&instance.folder, "four");
    assert_eq!(taken(&instance, &receiver, "four"), "Bearer third-token");
    let (ended, _) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let told =
        ended.errors.iter().filter(|line| line.contains("secret backend `vault` does not answer"));
    assert!(told.count() > 0, "{:?}", ended.errors);
}

#[test]
fn a_token_of_vault_is_renewed_before_it_ends() {
    let (vault_server, receiver) = (Vault::start(4), listening());
    vault_server.put("azud/collector", "token", "a-token");
    let token = sink("far", &receiver, "SECRET[vault.azud/collector#token]");
    let document = [SOURCE, &vault(vault_server.address), &token].concat();
    let instance = Instance::start_in(folder_with_role(), &document, &[]);
    write(&instance.folder, "one");
    taken(&instance, &receiver, "one");
    wait::until("two renewals", PATIENCE, || (vault_server.count("renew") >= 2).then_some(()));
    write(&instance.folder, "two");
    assert_eq!(taken(&instance, &receiver, "two"), "Bearer a-token");
    let failed = [("backend", "vault"), ("outcome", "missing")];
    assert_eq!(instance.metrics().sum("azud_secret_reads_total", &failed), 0.0);
}

#[test]
fn secrets_of_aws_are_had_with_a_role_and_replaced() {
    let (aws, receiver) = (Aws::start(), listening());
    aws.boto3("client.create_secret(Name='azud/c', SecretString='{\"token\": \"aws-first\"}')");
    receiver.want("Bearer aws-first");
    let secrets = format!(
        r#"
[secret.own]
type = "file"
path = "@OUT@/own.json"
[secret.aws]
type = "aws_secrets_manager"
region = "eu-west-1"
endpoint = "http://{0}"
refresh = "1s"
[secret.aws.auth]
access_key_id = "AKIAPLANTED"
secret_access_key = "SECRET[own.key]"
assume_role = "arn:aws:iam::123456789012:role/azud"
sts_endpoint = "http://{0}"
"#,
        aws.address
    );
    let token = sink("far", &receiver, "SECRET[aws.azud/c#token]");
    let folder = Folder::new();
    folder.write("own.json", r#"{"key":"planted-aws-key"}"#);
    let instance = Instance::start_in(folder, &[SOURCE, &secrets, &token].concat(), &[]);
    write(&instance.folder, "one");
    assert_eq!(taken(&instance, &receiver, "one"), "Bearer aws-first");
    aws.boto3("client.put_secret_value(SecretId='azud/c', SecretString='{\"token\": \"aws-2\"}')");
    receiver.want("Bearer aws-2");
    write(&instance.folder, "two");
    assert_eq!(taken(&instance, &receiver, "two"), "Bearer aws-2");
}

/// Everything that is planted: none of it may be found.
const PLANTED: [&str; 8] = [
    "planted-env-c0ffee",
    "planted-file-c0ffee",
    "planted-dir-c0ffee",
    "planted-exec-c0ffee",
    "planted-vault-c0ffee",
    "planted-aws-key",
    SECRET_ID,
    "planted-clear-c0ffee",
];

const LOCAL: &str = r#"
[secret.env]
type = "env"
prefix = "PLANTED_"
[secret.file]
type = "file"
path = "@OUT@/secrets/all.json"
[secret.dir]
type = "directory"
remove_trailing_whitespace = true
[secret.exec]
type = "exec"
command = ["sh", "-c", "cat >/dev/null; echo noise planted-exec-c0ffee >&2; cat @OUT@/secrets/exec.json"]
"#;

/// Looks for what was planted in a text.
#[track_caller]
fn nothing_planted(what: &str, text: &[u8]) {
    for planted in PLANTED {
        let found = text.windows(planted.len()).any(|window| window == planted.as_bytes());
        assert!(!found, "`{planted}` is in {what}");
    }
}

fn nothing_planted_below(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files += nothing_planted_below(&entry.path());
        } else if entry.file_type().unwrap().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            // Segments of the log are made as long as they may become.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            nothing_planted(&entry.path().display().to_string(), &bytes[..end]);
            files += 1;
        }
    }
    files
}

/// A folder whose backends have all that is planted.
fn planted() -> Folder {
    let folder = folder_with_role();
    folder.write("secrets/all.json", r#"{"token":"planted-file-c0ffee"}"#);
    folder.write("credentials/token", "planted-dir-c0ffee\n");
    folder.write("secrets/exec.json", r#"{"token":{"value":"planted-exec-c0ffee"}}"#);
    folder
}

#[test]
fn nothing_secret_shows() {
    let vault_server = Vault::start(3600);
    vault_server.put("azud/c", "token", "planted-vault-c0ffee");
    let tokens = ["env.TOKEN", "file.token", "dir.token", "exec.token", "vault.azud/c#token"];
    let receivers: Vec<Receiver> = tokens.iter().map(|_| listening()).collect();
    let mut document = [SOURCE, LOCAL, &vault(vault_server.address)].concat();
    for (number, (token, receiver)) in tokens.iter().zip(&receivers).enumerate() {
        document += &sink(&format!("far{number}"), receiver, &format!("SECRET[{token}]"));
    }
    // One that refuses us for good, one in clear, an address that is a secret: all are told of.
    let refusing = listening();
    refusing.want("nobody");
    document += &sink("refusing", &refusing, "planted-clear-c0ffee");
    document += "[sinks.hook]\ntype = \"http\"\ninputs = [\"in\"]\nuri = \"SECRET[file.token]\"\n";
    document += ALERT;
    document.insert_str(0, "shutdown_timeout = \"2s\"\n");
    let folder = planted();
    let environment = [
        ("PLANTED_TOKEN", PLANTED[0].to_owned()),
        ("CREDENTIALS_DIRECTORY", folder.join("credentials").display().to_string()),
    ];
    let instance = Instance::start_with(folder, &document, &["-vv"], &environment);
    for line in ["one", "alert"] {
        write(&instance.folder, line);
        for (receiver, planted) in receivers.iter().zip(PLANTED) {
            assert_eq!(taken(&instance, receiver, line), format!("Bearer {planted}"));
        }
    }
    wait::until("a refusal", PATIENCE, || (refusing.requests(0).len() > 3).then_some(()));
    for path in ["/metrics", "/ready", "/health"] {
        nothing_planted(path, instance.get(path).body.as_bytes());
    }
    let checkpoints = instance.folder.join("data/checkpoints");
    wait::until("a checkpoint", PATIENCE, || checkpoints.is_dir().then_some(()));
    let shown = program::ask(&instance.folder, &["checkpoint", "inspect"]);
    nothing_planted("azud checkpoint inspect", shown.1.as_bytes());
    let validate = ["validate", "--no-environment", "azud.toml"];
    let validated = program::run(instance.folder.path(), &validate);
    let validated = [validated.stdout, validated.stderr].concat();
    nothing_planted("azud validate", &validated);
    assert!(String::from_utf8_lossy(&validated).contains("warning[P038]"));

    let (ended, folder) = instance.stop();
    let log = ended.errors.join("\n");
    assert!(log.contains("DEBUG"), "the log is not at its most talkative");
    nothing_planted("the log", log.as_bytes());
    nothing_planted("standard output", ended.output.join("\n").as_bytes());
    assert!(nothing_planted_below(&folder.join("data")) > 5, "there is no data to look at");
}

#[test]
fn validate_tries_every_secret_that_is_named() {
    let vault_server = Vault::start(3600);
    vault_server.put("azud/c", "token", "x");
    let receiver = listening();
    let folder = folder_with_role();
    let document = [
        "data_dir = \"data\"\n",
        SOURCE,
        &vault(vault_server.address),
        &sink("good", &receiver, "SECRET[vault.azud/c#token]"),
        &sink("bad", &receiver, "SECRET[vault.okta/azud#private_key]"),
    ];
    let document = document.concat().replace("@OUT@", &folder.path().display().to_string());
    folder.write("in.log", "");
    folder.write("azud.toml", document);
    let validate = |arguments: &[&str]| {
        let ended = program::run(folder.path(), &[&["validate", "azud.toml"], arguments].concat());
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    let (code, told) = validate(&[]);
    let expected = "error[E002]: secret backend `vault` has no `okta/azud#private_key` (404)";
    assert!(told.contains(expected) && told.matches("error[").count() == 1, "{told}");
    assert_ne!(code, Some(0));
    assert_eq!(validate(&["--no-environment"]).0, Some(0));
}

#[test]
fn the_password_of_the_database_may_be_a_secret() {
    let mut postgres = Postgres::start();
    postgres.ask("alter role azud password 'planted-database'");
    postgres.want_passwords();
    let folder = Folder::new();
    folder.write("secrets.json", r#"{"db":"wrong"}"#);
    let head = "database = { url = \"@URL@\", password = \"SECRET[file.db]\" }\n\
                secret.file = { type = \"file\", path = \"@OUT@/secrets.json\" }\n";
    let document = [head, SOURCE, ALERT].concat().replace("@URL@", &postgres.url());
    folder.write("azud.toml", document.replace("@OUT@", &folder.path().display().to_string()));
    let refused = program::run(folder.path(), &["run", "azud.toml"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && told.contains("error[E007]"), "{told}");
    folder.write("secrets.json", r#"{"db":"planted-database"}"#);
    let instance = Instance::start_in(folder, &document, &[]);
    write(&instance.folder, "alert");
    wait::until("the alert", PATIENCE, || {
        let shown = program::run(instance.folder.path(), &["alerts", "--json"]);
        let shown = String::from_utf8(shown.stdout).unwrap();
        shown.contains("\"r\"").then_some(())
    });
    let (ended, _) = instance.stop();
    assert!(!ended.errors.iter().any(|line| line.contains("planted")), "{:?}", ended.errors);
}

#[test]
fn the_master_key_may_be_in_vault() {
    let mut vault_server = Vault::start(3600);
    let key = |byte: &str| format!("{}=", byte.repeat(43));
    vault_server.put("azud/keys", "master", &key("A"));
    let head = "keys.master = { type = \"vault\", key = \"SECRET[vault.azud/keys#master]\" }\n";
    let document = [head, SOURCE, &vault(vault_server.address), ALERT].concat();
    let instance = Instance::start_in(folder_with_role(), &document, &[]);
    write(&instance.folder, "alert");
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let refused = |expected: &str| {
        let ended = program::run(folder.path(), &["run", "azud.toml"]);
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && told.contains(expected), "{told}");
    };
    vault_server.put("azud/keys", "master", &key("E"));
    refused("error[E009]");
    vault_server.kill();
    refused("error[E002]: the master key cannot be had: secret backend `vault` does not answer");
    vault_server.resume(3600);
    vault_server.put("azud/keys", "master", &key("A"));
    let (ended, _) = Instance::start_in(folder, &document, &[]).stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
}

/// Sets up an account: the role `pod`, which whoever shows the web identity has, may only take on
/// the role `keys`, which may only read secrets.
fn account(aws: &Aws, master: &str, token: &str) {
    let policy = |action: &str, who: &str, whom: Value| {
        let statement = json!({ "Effect": "Allow", "Action": action, who: whom });
        json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
    };
    let take_on = policy("sts:AssumeRole", "Resource", json!("*"));
    let read = policy("secretsmanager:GetSecretValue", "Resource", json!("*"));
    let trust = policy("sts:AssumeRole", "Principal", json!({ "AWS": "*" }));
    let keys = json!({ "master": master });
    aws.begin(&format!(
        "for role, policy in (('pod', '{take_on}'), ('keys', '{read}')):\n    \
         iam.create_role(RoleName=role, AssumeRolePolicyDocument='{trust}')\n    \
         iam.put_role_policy(RoleName=role, PolicyName='p', PolicyDocument=policy)\n\
         client.create_secret(Name='azud/keys', SecretString='{keys}')\n\
         client.create_secret(Name='azud/c', SecretString='{token}')"
    ));
}

/// As a pod has it: a token in a file that is replaced now and then, and no key of ours anywhere.
#[test]
fn the_master_key_may_be_in_aws_which_a_web_identity_opens() {
    let folder = Folder::new();
    let (key, other) = (format!("{}=", "A".repeat(43)), format!("{}=", "E".repeat(43)));
    let identity = folder.write("aws/known", "planted-identity-1");
    folder.write("token", "planted-identity-1\n");
    let aws = Aws::start_strict(&identity);
    let address = aws.address;
    account(&aws, &key, "planted-token-1");
    let receiver = listening();
    let head = format!(
        r#"
[keys]
master = {{ type = "aws_secrets_manager", key = "SECRET[aws.azud/keys#master]" }}
[secret.aws]
type = "aws_secrets_manager"
region = "eu-west-1"
endpoint = "http://{address}"
refresh = "1s"
auth = {{ sts_endpoint = "http://{address}", assume_role = "arn:aws:iam::123456789012:role/keys" }}
"#
    );
    let token = sink("far", &receiver, "SECRET[aws.azud/c]");
    let document = [SOURCE, head.as_str(), &token, ALERT].concat();
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", folder.join("token").display().to_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod".to_owned()),
    ];
    receiver.want("Bearer planted-token-1");
    let instance = Instance::start_with(folder, &document, &["-vv"], &environment);
    write(&instance.folder, "one");
    taken(&instance, &receiver, "one");

    // The identity is replaced, and what was made of the old one is no good any more.
    fs::write(&identity, "planted-identity-2").unwrap();
    instance.folder.write("token", "planted-identity-2\n");
    account(&aws, &key, "planted-token-2");
    receiver.want("Bearer planted-token-2");
    write(&instance.folder, "two");
    taken(&instance, &receiver, "two");
    let (ended, folder) = instance.stop();
    assert!(!ended.errors.join("\n").contains("planted"), "{:?}", ended.errors);

    let refused = |expected: &[&str]| {
        let mut command = program::azud(folder.path(), &["run", "azud.toml"]);
        let ended = command.envs(environment.clone()).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && !told.contains("planted"), "{told}");
        expected.iter().for_each(|words| assert!(told.contains(words), "{told}"));
    };
    folder.write("token", "planted-stolen");
    refused(&["error[E002]: the master key cannot be had", "web identity", "InvalidIdentityToken"]);
    folder.write("token", "planted-identity-2\n");
    account(&aws, &other, "planted-token-2");
    refused(&["error[E009]"]);
    account(&aws, &key, "planted-token-2");
    let instance = Instance::start_with(folder, &document, &[], &environment);
    receiver.want("Bearer planted-token-2");
    write(&instance.folder, "three");
    taken(&instance, &receiver, "three");
    assert!(instance.stop().0.status.success());
}
