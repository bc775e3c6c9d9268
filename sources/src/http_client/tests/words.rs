//! What a poller says of how complete its records are, and what its overlap brings again.

use super::server::{json, with};
use super::world::World;
use super::{OKTA, TOKENS, linked, parameter, record, records, tokens};
use azud_event::block::Layout;
use azud_plan::component::Asked;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// When the first record of the model happened, in seconds.
const FIRST: i64 = 1_772_359_200;

/// Gives up to where each word so far says that all is there, in seconds behind the first record,
/// with how many records were there before.
fn complete(world: &World) -> Vec<(usize, Option<i64>)> {
    let to = |layout: &Layout| match layout {
        Layout::Complete { to, .. } if to.nanoseconds() == i64::MIN => None,
        Layout::Complete { to, .. } => Some(to.nanoseconds() / 1_000_000_000 - FIRST),
        other => panic!("{other:?}"),
    };
    world.words().iter().map(|(count, layout)| (*count, to(layout))).collect()
}

#[tokio::test]
async fn pages_in_order_are_complete_one_by_one_and_the_end_up_to_now() {
    let world = World::start(OKTA, linked(5)).await;
    let running = world.run();
    world.until_polled().await;
    running.stop().await;
    let words = complete(&world);
    assert_eq!(words[0], (0, None), "it has begun");
    assert_eq!(words[1..4], [(2, Some(1)), (4, Some(3)), (5, Some(4))]);
    let (count, to) = words[4];
    // The records are of March; what was asked for was everything up to now, less two minutes.
    assert!(count == 5 && to.is_some_and(|to| to > 1_000_000), "{words:?}");
}

/// An API that gives its newest records first, two a page.
fn newest_first(count: usize) -> impl Fn(&super::Seen) -> Vec<u8> + Send + Sync + 'static {
    move |seen| {
        let already = parameter(seen, "token").unwrap_or(0).min(count);
        let here: Vec<String> = (0..count).rev().skip(already).take(2).map(record).collect();
        let next = if already + 2 < count { (already + 2).to_string() } else { String::new() };
        json(&format!("{{\"data\":[{}],\"next\":\"{next}\"}}", here.join(",")))
    }
}

#[tokio::test]
async fn pages_that_come_newest_first_are_complete_at_their_end_only() {
    // In order are records that are as much older as the source allows.
    let toml = format!("{TOKENS}\nlateness = \"0s\"");
    let world = World::start(&toml, newest_first(6)).await;
    let running = world.run();
    world.until_records(6).await;
    world.until_polled().await;
    running.stop().await;
    let words = complete(&world);
    assert_eq!(words[..3], [(0, None), (2, None), (4, None)]);
    assert!(words[3].0 == 6 && words[3].1.is_some(), "{words:?}");
}

#[tokio::test]
async fn windows_wait_for_the_next_poll_unless_their_author_says_how_long() {
    for (more, again) in [("", 100), ("\nmax_hold = \"1s\"", 0)] {
        let world = World::start(&format!("{OKTA}{more}"), linked(1)).await;
        let running = world.run();
        world.until_polled().await;
        running.stop().await;
        let again = std::time::Duration::from_millis(again);
        let said = |layout: &Layout| match layout {
            Layout::Complete { again: said, .. } => *said == again,
            _ => false,
        };
        assert!(world.words().iter().all(|(_, layout)| said(layout)), "{:?}", world.words());
    }
}

#[tokio::test]
async fn a_poll_that_fails_says_nothing() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let toml = format!("{OKTA}\nretry = {{ attempts = 1 }}");
    let world = World::start(&toml, move |seen| match is_broken.load(Ordering::SeqCst) {
        true => with("503 Service Unavailable", &[], "later"),
        false => linked(1)(seen),
    })
    .await;
    let running = world.run();
    world.until_attempts(3).await;
    assert_eq!(complete(&world), [(0, None)], "it has begun, and nothing else is known");
    broken.store(false, Ordering::SeqCst);
    world.until_polled().await;
    running.stop().await;
    assert!(complete(&world).len() > 1);
}

#[tokio::test]
async fn a_connector_of_a_pattern_that_is_no_more_says_so() {
    let toml = format!("{OKTA}\nconnector = \"okta-*\"");
    let world = World::start(&toml, linked(1)).await;
    world.db.add("okta-1", &[]);
    let running = world.run();
    world.until_records(1).await;
    world.db.disable("okta-1", true);
    world.until_said(|layout| *layout == Layout::End).await;
    running.stop().await;
}

#[tokio::test]
async fn one_that_is_there_again_before_it_has_ended_is_polled_again() {
    let toml = format!("{OKTA}\nconnector = \"okta-*\"");
    let world = World::start(&toml, linked(1)).await;
    world.db.add("okta-1", &[]);
    let running = world.run();
    world.until_attempts_of("okta-1", 1).await;
    // It is looked up while the first still runs, which ends then.
    world.db.add("okta-2", &[]);
    world.db.disable("okta-1", false);
    world.until_attempts_of("okta-2", 1).await;
    world.db.ask("okta-1", Asked::Stop);
    world.until_said(|layout| *layout == Layout::End).await;
    let known = world.db.attempts("okta-1").len();
    world.until_attempts_of("okta-1", known + 1).await;
    running.stop().await;
}

#[tokio::test]
async fn what_an_overlap_brings_again_is_known_however_long_nobody_answered() {
    let count = Arc::new(AtomicUsize::new(3));
    let now = Arc::clone(&count);
    // Everything comes with every poll.
    let answer = move |_: &super::Seen| json(&records(0..now.load(Ordering::SeqCst)));
    let toml = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
event_time = \".t\"
dedupe = { id = \".id\", window = \"1ms\" }";
    let world = World::start(toml, answer).await;
    let running = world.run();
    world.until_records(3).await;
    world.until_polled().await;
    running.stop().await;
    count.store(4, Ordering::SeqCst);
    let running = world.run();
    world.until_records(4).await;
    world.until_polled().await;
    running.stop().await;
    world.assert_each_once(4);
}

#[tokio::test]
async fn words_do_not_count_as_records_after_a_kill() {
    let world = World::start(TOKENS, tokens(7)).await;
    let running = world.run();
    world.until_records_and_saved(7).await;
    running.kill().await;
    let running = world.run();
    world.until_polled().await;
    running.stop().await;
    world.assert_each_once(7);
    assert_eq!(world.streams(), 1);
}
