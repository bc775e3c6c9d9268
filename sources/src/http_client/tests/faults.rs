//! What goes wrong on the other side, on this disk, or between: and what becomes of it.

use super::server::{Seen, json, with};
use super::world::World;
use super::{OKTA, linked, parameter, record, records};
use azud_plan::component::Cause;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A clock of the other side that is wrong must not take the cursor with it: everything behind it
/// would not be asked for until then.
#[tokio::test]
async fn a_record_of_the_future_is_taken_once_and_does_not_take_the_cursor_with_it() {
    let toml = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
event_time = \".t\"
cursor = { value = \"last_event_time\", param = \"from\", format = \"unix\", first = { start = \"0\" } }
dedupe = { id = \".id\" }";
    const FUTURE: &str = "{\"id\":99,\"t\":4070908800}";
    let count = Arc::new(AtomicUsize::new(2));
    let now = Arc::clone(&count);
    let world = World::start(toml, move |seen: &Seen| {
        let from = parameter(seen, "from").unwrap_or(0);
        let all = (0..now.load(Ordering::SeqCst)).filter(|id| 1_772_359_200 + id >= from);
        let mut all: Vec<String> = all.map(record).collect();
        all.insert(0, FUTURE.to_owned());
        json(&format!("[{}]", all.join(",")))
    })
    .await;
    let running = world.run();
    world.until_records(3).await;
    world.until_polled().await;
    count.store(4, Ordering::SeqCst);
    world.until_records(5).await;
    world.until_polled().await;
    running.stop().await;
    let mut records = world.records();
    records.sort();
    let mut expected: Vec<String> = (0..4).map(record).collect();
    expected.push(FUTURE.to_owned());
    expected.sort();
    assert_eq!(records, expected);
    let reached = world.db.cursor("in").unwrap().event_time.unwrap();
    assert_eq!(reached.seconds(), 1_772_359_203);
}

#[tokio::test]
async fn addresses_of_a_result_that_have_run_out_are_asked_for_again() {
    let toml = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
method = \"post\"
job = { status = \"ORIGIN/jobs/{{ job.id }}\", state = \".state\", every = \"10ms\", downloads = \".files\" }";
    let (made, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let world = World::start(toml, move |seen| match seen.path.as_str() {
        "/logs" => match made.fetch_add(1, Ordering::SeqCst) {
            0 => json("{\"id\":1}"),
            _ => json("{\"id\":2}"),
        },
        "/jobs/1" => {
            let origin = format!("http://{}", seen.header("host").unwrap());
            let key = asked.fetch_add(1, Ordering::SeqCst);
            let files = [1, 2].map(|file| format!("\"{origin}/f/{file}?key={key}\"")).join(",");
            json(&format!("{{\"state\":\"done\",\"files\":[{files}]}}"))
        }
        "/jobs/2" => json("{\"state\":\"running\"}"),
        "/f/1?key=0" => json(&records(0..2)),
        // Its first key has run out.
        "/f/2?key=1" => json(&records(2..3)),
        _ => with("403 Forbidden", &[], "expired"),
    })
    .await;
    let running = world.run();
    world.until_records(3).await;
    running.stop().await;
    world.assert_each_once(3);
    let failed = world.failures();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].message.contains("the result of the job"), "{}", failed[0].message);
}

/// A page of this folder that somebody removed was not handed over by anybody: it is asked for
/// again. One of another folder is the other's.
#[tokio::test]
async fn a_claimed_page_that_is_gone_is_asked_for_again() {
    let world = World::start(OKTA, linked(5)).await;
    // Up to where the first page is claimed, and its claim is saved.
    for step in 1.. {
        let running = world.run_until(step);
        tokio::select! {
            () = world.steps.hit() => {}
            () = world.until_records_and_saved(5) => panic!("no step was between"),
        }
        running.kill().await;
        let state = world.db.cursor("in").map(|cursor| cursor.state);
        let state: serde_json::Value =
            state.and_then(|state| serde_json::from_slice(&state).ok()).unwrap_or_default();
        if !state["claim"].is_null() && world.records().is_empty() {
            break;
        }
    }
    assert_eq!(world.remove_pages(), 1);
    let running = world.run();
    world.until_records_and_saved(5).await;
    running.stop().await;
    world.assert_each_once(5);
}

#[tokio::test]
async fn each_row_of_a_definition_has_secrets_of_its_own() {
    let toml = "\
connector = \"okta-*\"
scrape_interval_secs = 0.1
decoding.codec = \"json\"
headers.X-Site = [\"SECRET[vault.{{ label.site }}/api#key]\"]
auth = { strategy = \"bearer\", token = \"SECRET[azud.{{ connector }}_token]\" }";
    let world = World::start(toml, |_| json("[]")).await;
    world.db.add("okta-a", &[("site", "mad")]);
    world.db.add("okta-b", &[("site", "../bcn")]);
    let running = world.run();
    world.until_asked_by("Bearer value-of-azud.okta-a_token").await;
    world.until_attempts_of("okta-b", 1).await;
    running.stop().await;
    let sites = world.server.seen();
    let sites: Vec<_> = sites.iter().map(|seen| seen.header("x-site").unwrap()).collect();
    assert!(sites.iter().all(|site| *site == "value-of-vault.mad/api#key"), "{sites:?}");
    let failed = world.failures_of("okta-b");
    assert_eq!(failed[0].cause, Cause::Authentication);
    assert!(failed[0].message.contains("names a label that `okta-b` does not have"), "{failed:?}");
}
