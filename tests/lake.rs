//! `elasticsearch` end to end: a server that is busy now and then, and a process that is killed.

use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::metrics;
use crate::support::python::Elasticsearch;
use crate::support::wait::{self, PATIENCE};
use serde_json::Value;
use std::fmt::Write;

const DOCUMENT: &str = r#"
checkpoint.interval = "200ms"
[sources.in]
type = "file"
include = ["@OUT@/in.log"]
decoding.codec = "json"
glob_minimum_cooldown_ms = 20
[sinks.lake]
type = "elasticsearch"
inputs = ["in"]
endpoints = ["http://@LAKE@"]
bulk = { index = "lake-{{ kind }}" }
batch = { max_events = 100, timeout_secs = 0.05 }
request = { retry_initial_backoff_secs = 0.02, retry_max_duration_secs = 0.1 }
"#;

const RECORDS: usize = 3_000;

/// Every three hundredth is of a kind that the server never takes.
fn records() -> String {
    let mut text = String::new();
    for number in 0..RECORDS {
        let kind = ["a", "B/../c"][number % 2];
        let bad = number % 300 == 299;
        writeln!(text, r#"{{"number":{number},"kind":"{kind}","bad":{bad}}}"#).unwrap();
    }
    text
}

fn seen(server: &Elasticsearch) -> Value {
    serde_json::from_str(&metrics::get(server.address, "/stub").unwrap().body).unwrap()
}

#[test]
fn each_record_is_in_the_lake_once_whoever_is_killed() {
    let server = Elasticsearch::start();
    let document = DOCUMENT.replace("@LAKE@", &server.address.to_string());
    let folder = Folder::new();
    folder.write("in.log", records());
    let mut instance = Instance::start_in(folder, &document, &[]);
    let bad = RECORDS / 300;
    for part in 1..=3 {
        wait::until("more documents", PATIENCE, || {
            let count = seen(&server)["documents"].as_object().unwrap().len();
            (count >= part * RECORDS / 5).then_some(())
        });
        let (_, folder) = instance.kill();
        instance = Instance::start_in(folder, &document, &[]);
    }
    let known = wait::until("all documents", PATIENCE, || {
        let known = seen(&server);
        (known["documents"].as_object().unwrap().len() >= RECORDS - bad).then_some(known)
    });
    let letters = instance.dead_letters(bad);
    let (ended, _) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);

    assert_eq!(known["wrong"], serde_json::json!([]));
    let documents = known["documents"].as_object().unwrap();
    let mut numbers: Vec<u64> =
        documents.values().map(|document| document["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    let good = (0..RECORDS as u64).filter(|number| number % 300 != 299);
    assert_eq!(numbers, good.collect::<Vec<_>>(), "each once");
    let of_a_kind = |prefix: &str| documents.keys().filter(|key| key.starts_with(prefix)).count();
    assert_eq!(of_a_kind("lake-a/") + of_a_kind("lake-b_.._c/"), documents.len());
    assert_eq!(letters.len(), bad);
    let refused = |letter: &Value| letter.to_string().contains("document_parsing_exception");
    assert!(letters.iter().all(refused), "{letters:?}");
}
