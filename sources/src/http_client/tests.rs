//! Polls against a server that does what it likes, by processes that are killed wherever it hurts.

mod faults;
mod model;
pub(super) mod packing;
mod reach;
mod server;
mod words;
mod world;

use super::settings::Settings;
use crate::testing::{check, spec, warnings};
use azud_plan::component::{Asked, Cause, Late, Options, Outcome, SOURCE_OPTIONS};
use azud_plan::diagnostic::{Checker, codes};
use azud_plan::document::Document;
use packing::gzip;
use server::{Seen, answer, json, with};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use world::World;

const OKTA: &str = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
event_time = \".t\"
pagination = { type = \"link_header\", stop = \"empty_page\" }
cursor = { value = \"next_link\", first = { param = \"after\", start = \"0\" } }";

/// A record of the model: its id, and a time.
fn record(id: usize) -> String {
    format!("{{\"id\":{id},\"t\":{}}}", 1_772_359_200 + id)
}

fn records(ids: std::ops::Range<usize>) -> String {
    format!("[{}]", ids.map(record).collect::<Vec<_>>().join(","))
}

fn parameter(seen: &Seen, name: &str) -> Option<usize> {
    let query = seen.path.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))?.parse().ok())
}

/// An API with `count` records, two a page, that gives a next link always.
fn linked(count: usize) -> impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static {
    move |seen| {
        let from = parameter(seen, "after").unwrap_or(0).min(count);
        let to = (from + 2).min(count);
        let link = format!("</logs?after={to}>; rel=\"next\"");
        with("200 OK", &[("content-type", "application/json"), ("link", &link)], &records(from..to))
    }
}

/// As [`linked`], with a token in the body.
fn tokens(count: usize) -> impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static {
    move |seen| {
        let from = parameter(seen, "after").unwrap_or(0) + parameter(seen, "token").unwrap_or(0);
        let (from, to) = (from.min(count), (from + 2).min(count));
        let already = parameter(seen, "token").unwrap_or(0);
        let next = if to < count { (already + 2).to_string() } else { String::new() };
        json(&format!("{{\"data\":{},\"next\":\"{next}\"}}", records(from..to)))
    }
}

const TOKENS: &str = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
content.records = \".data\"
event_time = \".t\"
pagination = { type = \"token\", field = \".next\", param = \"token\" }
cursor = { value = \"max\", field = \".id\", param = \"last\", first = { start = \"-1\" } }
query = { after = \"{{ cursor }}\" }
dedupe = { id = \".id\" }";

const OFFSETS: &str = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
content.records = \".data\"
pagination = { type = \"offset\", param = \"token\", size = 2 }
cursor = { value = \"last\", field = \".id\", param = \"last\", first = { start = \"0\" } }
dedupe = { id = \".id\" }";

#[tokio::test]
async fn pages_are_followed_and_the_next_poll_goes_on_behind_them() {
    let count = Arc::new(AtomicUsize::new(5));
    let now = Arc::clone(&count);
    let world = World::start(OKTA, move |seen| linked(now.load(Ordering::SeqCst))(seen)).await;
    let running = world.run();
    world.until_records(5).await;
    count.store(8, Ordering::SeqCst);
    world.until_records_and_saved(8).await;
    running.stop().await;
    world.assert_each_once(8);
    let asked: Vec<String> = world.server.seen().iter().map(|seen| seen.path.clone()).collect();
    assert_eq!(asked[0], "/logs?after=0", "where the first poll begins");
    assert!(!asked[1..].contains(&asked[0]), "and no later one");
    let summary = world.db.cursor("in").unwrap();
    assert_eq!(summary.event_time.unwrap().nanoseconds(), (1_772_359_200 + 7) * 1_000_000_000);
    assert!(world.db.attempts("in").iter().all(|attempt| attempt.outcome == Outcome::Succeeded));
}

type Api = Box<dyn Fn(&Seen) -> Vec<u8> + Send + Sync>;

/// Kills the process at each step of its way in turn: before and behind each write to the database,
/// and each block that is handed over.
async fn kill_at_each_step(toml: &str, api: fn(usize) -> Api) {
    const RECORDS: usize = 7;
    for step in 1.. {
        let world = World::start(toml, api(RECORDS)).await;
        let running = world.run_until(step);
        let was_hit = tokio::select! {
            () = world.steps.hit() => true,
            () = world.until_records_and_saved(RECORDS) => false,
        };
        running.kill().await;
        if !was_hit {
            assert!(step > 10, "{step} steps are too few for {RECORDS} records");
            return;
        }
        let running = world.run();
        world.until_records_and_saved(RECORDS).await;
        running.stop().await;
        world.assert_each_once(RECORDS);
        assert_eq!(world.pages_left(), 0, "step {step}");
    }
}

#[tokio::test]
async fn a_kill_at_any_step_loses_nothing_and_takes_nothing_twice() {
    kill_at_each_step(OKTA, |count| Box::new(linked(count))).await;
}

#[tokio::test]
async fn so_it_is_in_the_middle_of_a_walk_by_tokens() {
    kill_at_each_step(TOKENS, |count| Box::new(tokens(count))).await;
}

#[tokio::test]
async fn so_it_is_with_numbers() {
    kill_at_each_step(OFFSETS, |count| Box::new(tokens(count))).await;
}

#[tokio::test]
async fn who_takes_over_goes_on_behind_what_the_other_has_on_disk() {
    const RECORDS: usize = 7;
    for step in 1..20 {
        let one = World::start(OKTA, linked(RECORDS)).await;
        let running = one.run_until(step);
        tokio::select! {
            () = one.steps.hit() => {}
            () = one.until_records_and_saved(RECORDS) => {}
        }
        running.kill().await;
        one.db.expire_lease();
        // Another process, with a disk of its own, over the same database.
        let other = one.beside();
        let running = other.run();
        other.until_polled().await;
        // The first comes back, without the lease.
        let back = one.run();
        one.until_both(&other, RECORDS).await;
        back.stop().await;
        running.stop().await;
        let mut ids: Vec<String> = [one.records(), other.records()].concat();
        ids.sort();
        let expected: Vec<String> = (0..RECORDS).map(record).collect();
        assert_eq!(ids, expected, "step {step}");
    }
}

#[tokio::test]
async fn two_processes_do_not_poll_together() {
    let one = World::start(OKTA, linked(4)).await;
    let other = one.beside();
    let (first, second) = (one.run(), other.run());
    one.until_any_polled().await;
    one.until_both(&other, 4).await;
    assert!(one.records().is_empty() || other.records().is_empty());
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_failed_page_fails_the_poll_and_is_asked_for_again() {
    let broken = Arc::new(AtomicUsize::new(2));
    let left = Arc::clone(&broken);
    let world = World::start(&format!("{OKTA}\nretry = {{ attempts = 1 }}"), move |seen| {
        if parameter(seen, "after") == Some(2) && left.load(Ordering::SeqCst) > 0 {
            left.fetch_sub(1, Ordering::SeqCst);
            return with("503 Service Unavailable", &[], "later");
        }
        linked(5)(seen)
    })
    .await;
    let running = world.run();
    world.until_records(5).await;
    running.stop().await;
    world.assert_each_once(5);
    let failed = world.failures();
    assert_eq!(failed.len(), 2);
    assert_eq!((failed[0].cause, failed[0].http_status), (Cause::Server, Some(503)));
    assert!(failed[0].message.contains("503 Service Unavailable: later"), "{}", failed[0].message);
    let first = world.server.seen().iter().filter(|seen| seen.path == "/logs?after=0").count();
    assert_eq!(first, 1, "what was taken before stays taken");
}

/// What a hostile server answers, and what is said of it.
async fn told(
    toml: &str,
    hostile: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
) -> (Cause, String) {
    let toml = format!("{OKTA}\nretry = {{ attempts = 1 }}\n{toml}");
    let world = World::start(&toml, hostile).await;
    let running = world.run();
    world.until_failed().await;
    running.stop().await;
    assert_eq!(world.records(), [""; 0]);
    let failed = world.failures().remove(0);
    (failed.cause, failed.message)
}

#[tokio::test]
async fn whatever_is_wrong_with_an_answer_is_told_by_its_cause() {
    let (cause, message) =
        told("", |_| with("200 OK", &[("content-type", "text/html")], "<html>log in")).await;
    assert_eq!(
        (cause, message.as_str()),
        (Cause::Response, "the answer is a page of HTML, and no data")
    );

    let (cause, _) = told("", |_| answer("200 OK", &[("content-length", "999")], b"[1]")).await;
    assert_eq!(cause, Cause::Response, "cut short");

    let (cause, message) = told("", |_| {
        let whole = gzip(b"[{\"id\":1}]");
        let cut = &whole[..whole.len() - 9];
        let headers = [("content-encoding", "gzip"), ("content-length", &*cut.len().to_string())];
        answer("200 OK", &headers, cut)
    })
    .await;
    assert_eq!(cause, Cause::Response);
    assert!(message.contains("no whole gzip"), "{message}");

    let large = format!("[{}]", "1,".repeat(4096));
    let (cause, message) = told("max_response_bytes = 1024", move |_| json(&large)).await;
    assert_eq!(cause, Cause::Bound);
    assert!(message.contains("larger than the limit of 1024 bytes"), "{message}");

    let (cause, _) = told("", |_| json("[{\"id\":1},")).await;
    assert_eq!(cause, Cause::Response);

    let (cause, _) = told("read_timeout_secs = 0.2", |_| {
        answer("200 OK", &[("content-length", "5"), ("x-hang", "1")], b"[1")
    })
    .await;
    assert_eq!(cause, Cause::Timeout);

    let (cause, message) = told("", |_| with("401 Unauthorized", &[], "who are you?")).await;
    assert_eq!(cause, Cause::Authentication);
    assert!(message.contains("401 Unauthorized: who are you?"), "{message}");

    let (cause, _) = told("", |_| with("400 Bad Request", &[], "no such parameter")).await;
    assert_eq!(cause, Cause::Configuration);
}

#[tokio::test]
async fn a_redirect_to_a_metadata_service_is_not_followed() {
    for to in ["http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "http://127.0.0.2:1/x"] {
        let headers = format!("location: {to}");
        let (cause, message) = told("", move |_| {
            let (name, value) = headers.split_once(": ").unwrap();
            with("302 Found", &[(name, value)], "")
        })
        .await;
        assert_eq!(cause, Cause::Configuration, "{message}");
        let never = message.contains("never connected to") || message.contains("private network");
        assert!(never, "{message}");
    }
}

#[tokio::test]
async fn a_link_to_a_private_address_is_not_followed() {
    let world = World::start(OKTA, |_| {
        let link = "<http://10.0.0.1/steal>; rel=\"next\"";
        with("200 OK", &[("content-type", "application/json"), ("link", link)], &records(0..2))
    })
    .await;
    let running = world.run();
    world.until_failed().await;
    running.stop().await;
    assert!(world.failures()[0].message.contains("private network"));
}

#[tokio::test]
async fn pages_that_go_round_in_a_circle_are_an_error() {
    let world = World::start(OKTA, |seen| {
        let to = if parameter(seen, "after") == Some(2) { 4 } else { 2 };
        let link = format!("</logs?after={to}>; rel=\"next\"");
        with("200 OK", &[("content-type", "application/json"), ("link", &link)], &records(0..2))
    })
    .await;
    let running = world.run();
    world.until_failed().await;
    running.stop().await;
    let failed = world.failures().remove(0);
    assert_eq!(failed.cause, Cause::Bound);
    assert!(failed.message.contains("circle"), "{}", failed.message);
    assert!(world.records().len() < 20, "it is not gone round");
}

#[tokio::test]
async fn a_limit_is_kept_and_told_with_its_end() {
    let world = World::start(OKTA, |_| {
        with("429 Too Many Requests", &[("retry-after", "120")], "slow down")
    })
    .await;
    let running = world.run();
    world.until_attempts(1).await;
    running.stop().await;
    let attempts = world.db.attempts("in");
    let Outcome::Limited { until: Some(until) } = attempts[0].outcome else {
        panic!("{attempts:?}");
    };
    let ahead = until.since(attempts[0].at);
    assert!(ahead >= Duration::from_secs(119) && ahead <= Duration::from_secs(121), "{ahead:?}");
    assert_eq!(world.server.seen().len(), 1, "and nothing is asked meanwhile");
}

#[tokio::test]
async fn a_cursor_that_is_not_known_any_more_is_begun_anew_before_the_last_event() {
    let toml = OKTA.replace(
        "start = \"0\" }",
        "start = \"0\" }, on_rejected = { restart_from = \"last_event_time\", overlap = \"10s\" }",
    );
    let rejected = Arc::new(Mutex::new(false));
    let once = Arc::clone(&rejected);
    let world = World::start(&format!("{toml}\ndedupe = {{ id = \".id\" }}"), move |seen| {
        if seen.path == "/logs?after=4" && !*once.lock().unwrap() {
            *once.lock().unwrap() = true;
            return with("410 Gone", &[], "unknown cursor");
        }
        let restarted = seen.path.contains("2026-03-01");
        let from = parameter(seen, "after").filter(|_| !restarted).unwrap_or(0);
        let to = (from + 2).min(6);
        let link = format!("</logs?after={to}&again={}>; rel=\"next\"", *once.lock().unwrap());
        with(
            "200 OK",
            &[("content-type", "application/json"), ("link", &link)],
            &records(from.min(6)..to),
        )
    })
    .await;
    // The link of the first walk has another form, so that the fourth is rejected once.
    let running = world.run();
    world.until_records(6).await;
    running.stop().await;
    world.assert_each_once(6);
}

#[tokio::test]
async fn a_record_that_is_asked_for_twice_is_taken_once() {
    let toml = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
event_time = \".t\"
cursor = { value = \"last_event_time\", param = \"from\", format = \"unix\", overlap = \"1h\", first = { start = \"-1d\" } }
dedupe = { id = \".id\" }";
    let polls = Arc::new(AtomicUsize::new(0));
    let world = World::start(toml, move |_| {
        let poll = polls.fetch_add(1, Ordering::SeqCst);
        json(&records(0..(poll + 1).min(4)))
    })
    .await;
    let running = world.run();
    world.until_records(4).await;
    running.stop().await;
    let running = world.run();
    let asked = world.server.seen().len();
    world.until_requests(asked + 2).await;
    running.stop().await;
    world.assert_each_once(4);
    let last = world.server.seen().last().unwrap().path.clone();
    assert_eq!(
        parameter(world.server.seen().last().unwrap(), "from"),
        Some(1_772_359_203 - 3600),
        "{last}"
    );
}

#[tokio::test]
async fn what_has_not_changed_is_a_good_poll_without_records() {
    let toml = "scrape_interval_secs = 0.1\nconditional = true\ndecoding.codec = \"json\"";
    let world = World::start(toml, |seen| match seen.header("if-none-match") {
        Some("\"v1\"") => with("304 Not Modified", &[], ""),
        _ => with(
            "200 OK",
            &[("content-type", "application/json"), ("etag", "\"v1\"")],
            &records(0..3),
        ),
    })
    .await;
    let running = world.run();
    world.until_attempts(4).await;
    running.stop().await;
    world.assert_each_once(3);
    assert!(world.failures().is_empty());
    let running = world.run();
    let attempts = world.db.attempts("in").len();
    world.until_attempts(attempts + 2).await;
    running.stop().await;
    world.assert_each_once(3);
}

#[tokio::test]
async fn time_is_asked_for_in_slices_that_join() {
    let toml = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
time_slices = { start = \"-10h\", step = \"1h\", start_param = \"from\", end_param = \"to\", format = \"unix\" }";
    let world = World::start(toml, |_| json("[]")).await;
    let running = world.run();
    world.until_requests(11).await;
    running.stop().await;
    let slices: Vec<(usize, usize)> = world
        .server
        .seen()
        .iter()
        .map(|seen| (parameter(seen, "from").unwrap(), parameter(seen, "to").unwrap()))
        .collect();
    assert!(slices.windows(2).all(|two| two[0].1 == two[1].0), "{slices:?}");
    assert_eq!(slices[0].1 - slices[0].0, 3600);
}

#[tokio::test]
async fn each_parent_is_asked_for_its_records() {
    let toml = "\
scrape_interval_secs = 60
decoding.codec = \"json\"
parents = { endpoint = \"ORIGIN/orgs\" }
endpoint = \"ORIGIN/orgs/{{ parent.name }}/logs\"";
    let world = World::start(toml, |seen| match seen.path.as_str() {
        "/orgs" => with("200 OK", &[("link", "</orgs?p=2>; rel=\"next\"")], "[{\"name\":\"a/b\"}]"),
        "/orgs?p=2" => json("[{\"name\":\"c\"}]"),
        "/orgs/a%2Fb/logs" => json(&records(0..2)),
        "/orgs/c/logs" => json(&records(2..3)),
        _ => with("404 Not Found", &[], ""),
    })
    .await;
    let running = world.run();
    world.until_records(3).await;
    running.stop().await;
    world.assert_each_once(3);
    assert!(world.failures().is_empty());
}

#[tokio::test]
async fn the_result_of_a_job_is_had_when_it_is_done() {
    let toml = "\
scrape_interval_secs = 60
decoding.codec = \"json\"
method = \"post\"
body = '{\"query\":\"all\"}'
job = { status = \"ORIGIN/jobs/{{ job.id }}\", state = \".state\", every = \"10ms\", downloads = \".files\" }";
    let asked = AtomicUsize::new(0);
    let world = World::start(toml, move |seen| match seen.path.as_str() {
        "/logs" if seen.body == "{\"query\":\"all\"}" => json("{\"id\":\"j 1\"}"),
        "/jobs/j%201" if asked.fetch_add(1, Ordering::SeqCst) < 2 => {
            json("{\"state\":\"running\"}")
        }
        "/jobs/j%201" => {
            let origin = format!("http://{}", seen.header("host").unwrap());
            json(&format!("{{\"state\":\"done\",\"files\":[\"{origin}/f/1\",\"{origin}/f/2\"]}}"))
        }
        "/f/1" => json(&records(0..2)),
        "/f/2" => json(&records(2..3)),
        _ => with("404 Not Found", &[], ""),
    })
    .await;
    let running = world.run();
    world.until_records(3).await;
    running.stop().await;
    world.assert_each_once(3);
    assert!(world.failures().is_empty(), "{:?}", world.failures());
}

#[tokio::test]
async fn one_definition_runs_for_every_row_that_matches() {
    let toml = "\
connector = \"okta-*\"
endpoint = \"ORIGIN/{{ label.site }}/logs\"
scrape_interval_secs = 0.1
decoding.codec = \"json\"
pagination = { type = \"link_header\", stop = \"empty_page\" }
cursor = { value = \"next_link\", first = { param = \"after\", start = \"0\" } }";
    let world = World::start(toml, |seen| {
        let site = seen.path.split('/').nth(1).unwrap().to_owned();
        let from = parameter(seen, "after").unwrap_or(0).min(2);
        let link = format!("</{site}/logs?after=2>; rel=\"next\"");
        let headers = [("content-type", "application/json"), ("link", link.as_str())];
        with("200 OK", &headers, &records(from..2))
    })
    .await;
    world.db.add("okta-a", &[("site", "mad")]);
    world.db.add("okta-b", &[("site", "bcn")]);
    world.db.add("other", &[("site", "x")]);
    let running = world.run();
    world.until_records(4).await;
    running.stop().await;
    let records = world.records();
    let of = |site: &str| records.iter().filter(|record| record.contains(site)).count();
    assert_eq!(
        (of("\"labels\":{\"site\":\"mad\"}"), of("bcn"), of("\"x\"")),
        (2, 2, 0),
        "{records:?}"
    );
    assert!(world.db.cursor("okta-a").is_some() && world.db.cursor("okta-b").is_some());
    assert_eq!(world.streams(), 2, "each is a stream of its own");
}

#[tokio::test]
async fn what_somebody_asks_for_is_done() {
    let toml = OKTA.replace("0.1", "3600");
    let world = World::start(&toml, linked(4)).await;
    let running = world.run();
    world.db.ask("in", Asked::Now);
    world.until_records(4).await;
    let asked = world.server.seen().len();
    // The cursor is set from outside; a stream of its own begins, so that nothing looks like a
    // repeat.
    world.db.set_cursor("in", "{}");
    world.db.ask("in", Asked::Reread);
    world.db.ask("in", Asked::Now);
    world.until_records(8).await;
    assert!(world.server.seen().len() > asked);
    world.db.ask("in", Asked::Stop);
    running.stop().await;
    assert_eq!(world.streams(), 2);
}

#[tokio::test]
async fn who_is_disabled_asks_nothing_until_it_is_enabled() {
    let world = World::start(OKTA, linked(4)).await;
    world.db.disable("in", true);
    let running = world.run();
    world.db.disable("in", false);
    world.until_records(4).await;
    world.db.disable("in", true);
    world.db.ask("in", Asked::Now);
    let known = world.db.attempts("in").len();
    world.db.disable("in", false);
    world.until_attempts(known + 3).await;
    running.stop().await;
    world.assert_each_once(4);
}

#[tokio::test]
async fn a_database_that_fails_now_and_then_costs_nothing() {
    let world = World::start(OKTA, linked(9)).await;
    world.db.fail_every(3);
    let running = world.run();
    world.until_records(9).await;
    world.db.fail_every(0);
    world.until_records_and_saved(9).await;
    running.stop().await;
    world.assert_each_once(9);
    assert!(world.failures().iter().all(|failed| failed.cause == Cause::Local));
}

#[test]
fn contradictions_are_told() {
    let base = "endpoint = \"https://api.example/\"\n";
    for (toml, code) in [
        ("cursor = { value = \"next_link\" }", codes::CONTRADICTION),
        ("cursor = { value = \"last_event_time\" }", codes::CONTRADICTION),
        ("cursor = { value = \"max\" }", codes::CONTRADICTION),
        (
            "auth = { strategy = \"bearer\", token = \"SECRET[azud.{{ connector }}]\" }",
            codes::CONTRADICTION,
        ),
        (
            "connector = \"a-*\"\n\
             auth = { strategy = \"bearer\", token = \"SECRET[azud.{{ cursor }}]\" }",
            codes::TEMPLATE,
        ),
        ("rate_limit = { reserve = 0.1 }", codes::CONTRADICTION),
        (
            "parents.endpoint = \"https://a.example/p\"\n\
             cursor = { value = \"max\", field = \".id\", param = \"after\" }",
            codes::CONTRADICTION,
        ),
        (
            "parents.endpoint = \"https://a.example/p\"\nevent_time = \".t\"\n\
             cursor = { value = \"last_event_time\", param = \"since\" }",
            codes::CONTRADICTION,
        ),
        ("cursor = { value = \"max\", field = \".id\" }", codes::CONTRADICTION),
        ("cursor = { value = \"now\", format = \"stardate\" }", codes::MALFORMED_VALUE),
        ("pagination = { type = \"token\", field = \".next\" }", codes::CONTRADICTION),
        ("pagination = { type = \"token\", param = \"x\" }", codes::CONTRADICTION),
        ("pagination = { type = \"offset\" }", codes::MISSING_OPTION),
        ("pagination = { type = \"link_header\", param = \"x\" }", codes::CONTRADICTION),
        ("conditional = true\npagination = { type = \"link_header\" }", codes::CONTRADICTION),
        (
            "parents = { endpoint = \"https://api.example/orgs\" }\npagination = { type = \
             \"link_header\" }\ncursor = { value = \"next_link\" }",
            codes::CONTRADICTION,
        ),
        (
            "parents = { endpoint = \"https://api.example/orgs\" }\ncursor = { value = \"max\", \
             field = \".id\", param = \"after\" }",
            codes::CONTRADICTION,
        ),
        ("schedule = \"* * * *\"", codes::MALFORMED_VALUE),
        ("schedule = \"* * * * *\"\nscrape_interval_secs = 5", codes::CONTRADICTION),
        ("scrape_interval_secs = 0", codes::MALFORMED_VALUE),
        ("query = { a = \"{{ curser }}\" }", codes::TEMPLATE),
        ("headers = { Host = \"x\" }", codes::MALFORMED_VALUE),
        ("when_full = \"drop_newest\"", codes::CONTRADICTION),
        ("content.type = \"csv\"", codes::CONTRADICTION),
        ("rate_limit = { remaining_header = \"x\" }", codes::CONTRADICTION),
        ("auth = { strategy = \"oauth2\" }", codes::MISSING_OPTION),
        ("auth = { strategy = \"basic\", user = \"a\", token = \"b\" }", codes::CONTRADICTION),
        ("proxy = \"http://a:b@proxy\"", codes::MALFORMED_VALUE),
    ] {
        let faults = check(&super::HTTP_CLIENT, &format!("{base}{toml}")).err().unwrap_or_default();
        assert!(faults.iter().any(|fault| fault.code == code), "{toml}: {faults:#?}");
    }
    for bad in ["ftp://x/", "https://u:p@x/", "x", "https://{{ cursor }}/"] {
        assert!(check(&super::HTTP_CLIENT, &format!("endpoint = \"{bad}\"")).is_err(), "{bad}");
    }
}

#[test]
fn what_means_nothing_is_told() {
    let base = "endpoint = \"https://api.example/\"\n";
    for (toml, code) in [
        (
            "pagination = { type = \"page\", param = \"p\", stop = \"short_page\" }",
            codes::CONTRADICTION,
        ),
        ("pagination = { type = \"link_header\", stop = \"short_page\" }", codes::CONTRADICTION),
        (
            "auth = { strategy = \"bearer\", token = \"t\" }\nheaders = { authorization = \"x\" }",
            codes::CONTRADICTION,
        ),
        (
            "auth = { strategy = \"api_key\", key = \"k\", header = \"X-Key\" }\n\
             headers = { x-key = \"x\" }",
            codes::CONTRADICTION,
        ),
        (
            "cursor = { value = \"max\", field = \".id\", param = \"a\", first.start = \"-7dd\" }",
            codes::MALFORMED_VALUE,
        ),
        (
            "cursor = { value = \"now\", param = \"a\", first.start = \"yesterday\" }",
            codes::MALFORMED_VALUE,
        ),
    ] {
        let faults = check(&super::HTTP_CLIENT, &format!("{base}{toml}")).err().unwrap_or_default();
        assert!(faults.iter().any(|fault| fault.code == code), "{toml}: {faults:#?}");
    }
}

#[test]
fn the_longest_pause_is_a_minute_where_nobody_says_more() {
    let mut checker = Checker::default();
    let toml = "endpoint = \"https://api.example/\"";
    let document = Document::parse(0, toml, &mut checker).unwrap();
    let mut options = Options::new("in", &document.root, super::HTTP_CLIENT.options);
    options.common = SOURCE_OPTIONS;
    let settings = Settings::check(&options, &mut checker).unwrap();
    assert_eq!(settings.retry.max, Duration::from_secs(60));
}

#[test]
fn what_does_no_harm_passes() {
    let base = "endpoint = \"https://{{ label.host }}:{{ label.port }}/\"\n";
    for toml in [
        "pagination = { type = \"page\", param = \"p\", size = 5, stop = \"short_page\" }",
        "auth = { strategy = \"api_key\", key = \"k\", header = \"X-Key\" }\n\
         headers = { Authorization = \"x\" }",
        "auth = { strategy = \"api_key\", key = \"k\", query = \"key\" }\n\
         headers = { key = \"x\" }",
        "cursor = { value = \"max\", field = \".id\", param = \"a\", first.start = \"-1\" }",
        "cursor = { value = \"max\", field = \".id\", param = \"a\", first.start = \"0\" }",
        "cursor = { value = \"now\", param = \"a\", first.start = \"1772359200\" }",
        "cursor = { value = \"now\", param = \"a\", format = \"%Y/%m/%d\", \
         first.start = \"2026/03/01\" }",
    ] {
        let warnings = warnings(&super::HTTP_CLIENT, &format!("{base}{toml}"));
        assert!(warnings.is_empty(), "{toml}: {warnings:#?}");
    }
}

#[test]
fn what_was_hardly_meant_so_is_told() {
    let base = "endpoint = \"https://api.example/\"\n";
    let cursor = "cursor = { value = \"max\", field = \".t\", param = \"since\", ";
    for (more, code, place) in [
        ("first.start = \"yesterday\" }", codes::MALFORMED_VALUE, "\"yesterday\""),
        ("first.start = \"7d\" }", codes::MALFORMED_VALUE, "\"7d\""),
        ("overlap = \"5m\" }", codes::CONTRADICTION, "\"5m\""),
    ] {
        let toml = format!("{base}{cursor}{more}");
        let warnings = warnings(&super::HTTP_CLIENT, &toml);
        let [warning] = &warnings[..] else { panic!("{more}: {warnings:#?}") };
        assert_eq!((warning.code, &toml[warning.labels[0].0.range()]), (code, place));
        assert!(!warning.help.is_empty());
    }
    let toml = format!("{base}{cursor}overlap = \"5m\" }}\ndedupe.id = \".id\"");
    assert!(warnings(&super::HTTP_CLIENT, &toml).is_empty());
}

#[tokio::test]
async fn a_port_in_a_label_is_told_with_the_remedy() {
    let toml = "connector = \"site-*\"\nscrape_interval_secs = 0.1\ndecoding.codec = \"json\"\n\
                endpoint = \"http://{{ label.host }}/logs\"";
    let world = World::start(toml, |_: &Seen| json("[]")).await;
    world.db.add("site-a", &[("host", "127.0.0.1:8080")]);
    let running = world.run();
    world.until_attempts_of("site-a", 1).await;
    running.stop().await;
    let failed = world.db.attempts("site-a");
    let told = format!("{failed:?}");
    assert!(told.contains("write `{{ label.host }}:{{ label.port }}`"), "{told}");
}

#[test]
fn the_second_pipeline_of_the_manual_is_read() {
    let okta = r#"
endpoint = "https://acme.okta.com/api/v1/logs"
scrape_interval_secs = 60
headers.Accept = ["application/json"]
query = { limit = "1000", sortOrder = "ASCENDING" }
decoding.codec = "json"
event_time = ".published"
auth = { strategy = "oauth2", grant = "client_credentials", token_endpoint = "https://acme.okta.com/oauth2/v1/token", client_id = "0oa1azud", scopes = ["okta.logs.read"], client_assertion = { algorithm = "RS256", key_id = "azud-1", private_key = "SECRET[vault.okta/azud#private_key]" } }
pagination = { type = "link_header", rel = "next", stop = "empty_page", max_pages = 500 }
cursor = { value = "next_link", first = { param = "since", start = "-7d" }, on_rejected = { restart_from = "last_event_time", overlap = "10m" } }
dedupe = { id = ".uuid", window = "1h", max_keys = 200_000 }
rate_limit = { remaining_header = "x-rate-limit-remaining", reset_header = "x-rate-limit-reset", reserve = 0.1 }
"#;
    let endpoint = spec(&super::HTTP_CLIENT, okta).endpoint().unwrap();
    assert_eq!(endpoint.interval, Some(Duration::from_secs(60)));
    let feodo = r#"
endpoint = "https://feodotracker.abuse.ch/downloads/ipblocklist.json"
scrape_interval_secs = 300
conditional = true
decoding = { codec = "json" }"#;
    assert!(spec(&super::HTTP_CLIENT, feodo).resumes());
}

/// An API that goes on behind two values, which it wants together.
#[tokio::test]
async fn requests_go_on_behind_members_of_the_last_record() {
    let toml = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
event_time = \".at.t\"
pagination = { type = \"keyset\", field = \".id\", param = \"page_after\" }
query = { t = \"{{ last.at.t }}\", id = \"{{ last.id }}\" }";
    let count = Arc::new(AtomicUsize::new(5));
    let now = Arc::clone(&count);
    let answer = move |seen: &Seen| {
        let (time, id) = (parameter(seen, "t"), parameter(seen, "id"));
        let from = match (time, id) {
            (None, None) => 0,
            (Some(time), Some(id)) if time == 1_772_359_200 + id => id + 1,
            _ => return with("400 Bad Request", &[], "both, or none"),
        };
        let to = now.load(Ordering::SeqCst).min(from + 2);
        let record = |id| format!("{{\"id\":{id},\"at\":{{\"t\":{}}}}}", 1_772_359_200 + id);
        json(&format!("[{}]", (from..to).map(record).collect::<Vec<_>>().join(",")))
    };
    let world = World::start(toml, answer).await;
    let running = world.run();
    world.until_records(5).await;
    running.kill().await;
    count.store(8, Ordering::SeqCst);
    let running = world.run();
    world.until_records(8).await;
    world.until_polled().await;
    running.stop().await;
    let records = world.records();
    let ids = records.iter().map(|record| record.split([':', ',']).nth(1).unwrap());
    assert!(ids.eq(["0", "1", "2", "3", "4", "5", "6", "7"]), "{records:?}");
}

#[tokio::test]
async fn records_that_are_too_old_are_told_where_the_author_wants_that() {
    for (max_lag, expected) in [("", None), ("max_lag = \"1h\"\n", Some(Late::Lagging))] {
        let world = World::start(&format!("{max_lag}{OKTA}"), linked(3)).await;
        let running = world.run();
        world.until_records_and_saved(3).await;
        world.until_polled().await;
        running.stop().await;
        let told = world.db.behind("in");
        let told: Vec<_> = told.into_iter().map(|told| told.map(|behind| behind.what)).collect();
        assert!(told.iter().all(|what| *what == expected), "{told:?}");
        assert!(!told.is_empty());
    }
    let refused = check(&super::HTTP_CLIENT, "endpoint = \"https://x\"\nmax_lag = \"1h\"");
    let refused = refused.err().unwrap();
    assert_eq!(refused[0].code, codes::CONTRADICTION, "{refused:?}");
}
