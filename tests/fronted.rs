//! An API behind nginx, as most are: certificates on both sides, limits of rate, renewals.

use crate::recovery::load::OFTEN;
use crate::support::api::Client;
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::nginx::Nginx;
use crate::support::paged::{PAGE, Paged};
use crate::support::program::{self, Program, ask};
use crate::support::tls::Authority;
use crate::support::tools::sqlite;
use crate::support::wait::{self, PATIENCE};
use rcgen::{CertificateParams, SanType, date_time_ymd};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

/// A source that polls all records of an address, which an alert of its name counts.
fn source(id: &str, origin: &str, tls: &str) -> String {
    format!(
        r#"
[sources.{id}]
type = "http_client"
endpoint = "{origin}/records"
decoding.codec = "json"
event_time = ".timestamp"
scrape_interval_secs = 0.2
retry = {{ min = "100ms", max = "500ms" }}
pagination = {{ type = "offset", param = "offset", size = {PAGE}, size_param = "limit" }}
cursor = {{ value = "max", field = ".number", param = "after", first = {{ start = "0" }} }}
tls = {{ {tls} }}
[transforms.told_{id}]
type = "alert"
inputs = ["{id}"]
rule = "{id}"
title = "{id}"
key = ["page"]
every = "1h"
[sinks.alerts_{id}]
type = "alerts"
inputs = ["told_{id}"]
"#
    )
}

/// The options for a client certificate of this name in the instance's folder.
fn own(name: &str) -> String {
    format!(
        "ca_file = \"@OUT@/ca.crt\", crt_file = \"@OUT@/{name}.crt\", key_file = \"@OUT@/{name}.key\""
    )
}

/// A server of nginx with this certificate, which wants one of `ca.crt`, before an API.
fn server(at: SocketAddr, certificate: &str, api: &Paged, more: &str) -> String {
    format!(
        "server {{\n listen {at} ssl;\n ssl_certificate @HERE@/{certificate}.crt;\n \
         ssl_certificate_key @HERE@/{certificate}.key;\n \
         ssl_client_certificate @HERE@/ca.crt;\n ssl_verify_client on;\n {more}\n \
         location / {{ proxy_pass http://{}; }}\n}}\n",
        api.address()
    )
}

fn https(at: SocketAddr) -> String {
    format!("https://localhost:{}", at.port())
}

/// Waits until so many records of a source were taken, each once.
#[track_caller]
fn taken(folder: &Folder, id: &str, records: usize) {
    let query = format!("SELECT coalesce(sum(event_count), 0) FROM alerts WHERE title = '{id}'");
    wait::until(&format!("{records} records of {id}"), 4 * PATIENCE, || {
        let counted: usize = sqlite(folder, &query)[0].parse().unwrap();
        assert!(counted <= records, "{counted} records of {records}: some were taken twice");
        (counted == records).then_some(())
    });
}

/// Waits until a connector has a status for a reason; gives the words of it.
#[track_caller]
fn told(instance: &Instance, name: &str, status: &str, reason: Option<&str>) -> String {
    let client = Client { address: instance.api, token: None };
    let mut last = Value::Null;
    let what = format!("the status {status} of {name} for {reason:?}");
    let message = wait::until(&what, 2 * PATIENCE, || {
        let now = client.call("GET", &format!("/connectors/{name}")).body;
        let (is, why) = (&now["status"], &now["status_message"]);
        if (is, why) != (&last["status"], &last["status_message"]) {
            println!("{name}: {is} {why}");
        }
        last = now;
        let fits = last["status"] == status && last["status_reason"].as_str() == reason;
        fits.then(|| last["status_message"].as_str().unwrap_or_default().to_owned())
    });
    assert!(!message.contains("KEY"), "{message}");
    message
}

#[test]
fn all_pages_come_though_the_gateway_wants_certificates_and_limits_the_rate() {
    let (authority, at) = (Authority::new("one"), program::free_address());
    let mut nginx = Nginx::new(Folder::new());
    nginx.folder().write("ca.crt", authority.certificate());
    authority.sign(nginx.folder(), "server", |_| ());
    let api = Paged::start(14 * PAGE);
    // As long as there is a file `hard`, nothing comes through.
    let limits = "limit_req zone=often;\n limit_req zone=hard;\n set $hard \"\";\n \
                  if (-f @HERE@/hard) { set $hard all; }";
    nginx.serve(&format!(
        "limit_req_zone $binary_remote_addr zone=often:64k rate=1r/s;\n\
         limit_req_zone $hard zone=hard:64k rate=1r/m;\n{}",
        server(at, "server", &api, limits)
    ));
    let folder = Folder::new();
    folder.write("ca.crt", authority.certificate());
    authority.sign(&folder, "client", |_| ());
    api.open(8 * PAGE);
    let document = [OFTEN, &source("in", &https(at), &own("client"))].concat();
    let instance = Instance::start_in(folder, &document, &[]);
    wait::until("8 pages", 4 * PATIENCE, || (api.answered() >= 8 * PAGE).then_some(()));
    told(&instance, "in", "active", None);
    assert!(nginx.answered(429) > 0, "the limit was never reached");
    let history = |folder: &Folder| {
        let (code, out, errors) = ask(folder, &["connectors", "show", "in", "--json"]);
        assert_eq!(code, 0, "{errors}");
        let shown: Value = serde_json::from_str(&out).unwrap();
        let rows = shown["history"].as_array().unwrap().iter().rev();
        rows.map(|row| row["to_status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(history(&instance.folder), ["active"]);

    nginx.folder().write("hard", "");
    api.open(14 * PAGE);
    let message = told(&instance, "in", "warning", Some("rate_limited"));
    assert!(message.contains("poll less often, or ask for a higher limit"), "{message}");
    fs::remove_file(nginx.folder().join("hard")).unwrap();
    taken(&instance.folder, "in", 14 * PAGE);
    told(&instance, "in", "active", None);
    assert_eq!(history(&instance.folder), ["active", "warning", "active"]);
}

/// Makes a certificate one that has ended.
fn ended(certificate: &mut CertificateParams) {
    certificate.not_before = date_time_ymd(2020, 1, 1);
    certificate.not_after = date_time_ymd(2020, 2, 1);
}

/// A server of OpenSSL that refuses in the handshake who has no certificate of `ca.crt`.
fn strict(folder: &Folder, at: SocketAddr) -> Program {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", "-Verify", "1", "-verify_return_error", "-accept"]);
    command.arg(at.to_string()).current_dir(folder.path());
    command.args(["-cert", "server.crt", "-key", "server.key", "-CAfile", "ca.crt"]);
    let program = Program::start_silent(command);
    wait::until("OpenSSL to accept", PATIENCE, || {
        program.output().iter().any(|line| line == "ACCEPT").then_some(())
    });
    program
}

#[test]
fn what_is_wrong_with_certificates_is_told_in_words_that_help() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let mut nginx = Nginx::new(Folder::new());
    let behind = nginx.folder();
    behind.write("ca.crt", authority.certificate());
    authority.sign(behind, "server", |_| ());
    authority.sign(behind, "ended", ended);
    let elsewhere = SanType::DnsName("elsewhere.example".try_into().unwrap());
    authority.sign(behind, "named", |made| made.subject_alt_names = vec![elsewhere]);
    other.sign(behind, "foreign", |_| ());
    let api = Paged::start(2 * PAGE);
    api.open(2 * PAGE);
    let names = ["server", "ended", "named", "foreign"];
    let at = names.map(|_| program::free_address());
    let clear = program::free_address();
    let servers = names.iter().zip(at).map(|(name, at)| server(at, name, &api, ""));
    let open = format!("server {{ listen {clear}; location / {{ return 204; }} }}\n");
    let servers = servers.chain([open]).collect::<String>();
    nginx.serve(&servers);
    let handshake = program::free_address();
    let _strict = strict(nginx.folder(), handshake);

    let folder = Folder::new();
    folder.write("ca.crt", authority.certificate());
    authority.sign(&folder, "client", |_| ());
    authority.sign(&folder, "late", ended);
    other.sign(&folder, "stranger", |_| ());
    let (good, none) = (own("client"), "ca_file = \"@OUT@/ca.crt\"");
    let unknown = good.replace("ca_file = \"@OUT@/ca.crt\",", "");
    let [server, ended, named, foreign] = at.map(https);
    let all = [
        ("good", &server, good.as_str()),
        ("without", &server, none),
        ("stranger", &server, &own("stranger")),
        ("late", &server, &own("late")),
        ("expired", &ended, &good),
        ("misnamed", &named, &good),
        ("untrusted", &foreign, &good),
        ("unknown", &server, &unknown),
        ("unclear", &format!("http://{}", at[0]), ""),
        ("clear", &https(clear), &good),
        ("nobody", &https(handshake), none),
        ("refused", &https(handshake), &own("stranger")),
    ];
    let sources = all.iter().map(|(id, origin, tls)| source(id, origin, tls));
    let document = [OFTEN.to_owned()].into_iter().chain(sources).collect::<String>();
    let instance = Instance::start_in(folder, &document, &[]);
    taken(&instance.folder, "good", 2 * PAGE);
    let (warning, error) = (("warning", "unreachable"), ("error", "authentication"));
    for (id, (status, reason), words) in [
        ("without", error, ["No required SSL certificate was sent", "`tls.crt_file`"]),
        ("stranger", error, ["The SSL certificate error", "`tls.crt_file`"]),
        ("late", error, ["The SSL certificate error", "`tls.crt_file`"]),
        ("expired", warning, ["the server's certificate has expired", "renewed"]),
        ("misnamed", warning, ["for other names", "elsewhere.example"]),
        ("untrusted", warning, ["an authority that is not trusted", "`tls.ca_file`"]),
        ("unknown", warning, ["an authority that is not trusted", "`tls.ca_file`"]),
        ("unclear", ("error", "configuration"), ["plain HTTP request", "HTTPS port"]),
        ("clear", warning, ["does not speak TLS", "http://"]),
        ("nobody", error, ["wants a certificate of ours", "`tls.crt_file`"]),
        ("refused", error, ["does not take our certificate", "`tls.crt_file`"]),
    ] {
        let message = told(&instance, id, status, Some(reason));
        for word in words {
            assert!(message.contains(word), "{id}: {message}");
        }
    }
    let (ended, _) = instance.stop();
    assert!(!ended.errors.join("\n").contains("KEY"), "{:?}", ended.errors);
}

#[test]
fn certificates_that_are_renewed_are_used_without_a_restart() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let at = program::free_address();
    let api = Paged::start(4 * PAGE);
    let mut nginx = Nginx::new(Folder::new());
    let mut front = |authority: &Authority| {
        nginx.folder().write("ca.crt", authority.certificate());
        authority.sign(nginx.folder(), "server", |_| ());
        nginx.serve(&server(at, "server", &api, ""));
    };
    front(&first);
    let folder = Folder::new();
    folder.write("ca.crt", first.certificate());
    first.sign(&folder, "client", |_| ());
    api.open(PAGE);
    let document = [OFTEN, &source("in", &https(at), &own("client"))].concat();
    let instance = Instance::start_in(folder, &document, &[]);
    taken(&instance.folder, "in", PAGE);

    // The same authority, another certificate.
    first.sign(&instance.folder, "client", |_| ());
    api.open(2 * PAGE);
    taken(&instance.folder, "in", 2 * PAGE);
    wait::until("the new one to be read", PATIENCE, || {
        instance.errors().iter().any(|line| line.contains("read anew")).then_some(())
    });

    // Another authority on both sides, one after the other.
    front(&second);
    api.open(3 * PAGE);
    told(&instance, "in", "warning", Some("unreachable"));
    instance.folder.write("ca.crt", second.certificate());
    told(&instance, "in", "error", Some("authentication"));
    // What is half-written is not used, and not in the way.
    instance.folder.write("client.crt", "-----BEGIN CERTIFICATE-----\nAAAA");
    wait::until("it to be told", PATIENCE, || {
        instance.errors().iter().any(|line| line.contains("cannot be used")).then_some(())
    });
    second.sign(&instance.folder, "client", |_| ());
    taken(&instance.folder, "in", 3 * PAGE);
    // nginx goes and comes back.
    front(&second);
    api.open(4 * PAGE);
    taken(&instance.folder, "in", 4 * PAGE);
    told(&instance, "in", "active", None);
    let (ended, _) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
}
