//! How far a poller believes to have come: what grows, is late or lies about its time while pages
//! are asked for is neither left out nor said to be there.

use super::server::{Seen, json, with};
use super::world::World;
use super::{TOKENS, parameter, record};
use azud_event::block::Layout;
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::component::Asked;
use std::sync::Mutex;
use std::time::Duration;

/// When the first record of the model happened, in seconds.
const FIRST: i64 = 1_772_359_200;

const MINUTE: Duration = Duration::from_secs(60);

/// A clock that stands where the first record happened.
fn clock() -> Clock {
    Clock::manual(EventTime::from_nanoseconds(FIRST * 1_000_000_000))
}

/// A record that happened so many seconds behind the first.
fn at(id: usize, second: usize) -> String {
    format!("{{\"id\":{id},\"t\":{}}}", FIRST as usize + second)
}

fn page(records: &[String], next: &str) -> Vec<u8> {
    json(&format!("{{\"data\":[{}],\"next\":\"{next}\"}}", records.join(",")))
}

/// Gives up to where each word says that all is there, in seconds behind the first record.
fn said(world: &World) -> Vec<Option<i64>> {
    let to = |layout: Layout| match layout {
        Layout::Complete { to, .. } if to > EventTime::MIN => {
            Some(to.nanoseconds().div_euclid(1_000_000_000) - FIRST)
        }
        _ => None,
    };
    world.words().into_iter().map(|(_, layout)| to(layout)).collect()
}

/// Gives the values that a parameter had in all requests of a path.
fn asked(world: &World, path: &str, name: &str) -> Vec<i64> {
    let seen = world.server.seen();
    let of = seen.iter().filter(|seen| seen.path.starts_with(path));
    of.map(|seen| parameter(seen, name).unwrap() as i64 - FIRST).collect()
}

const BY_TIME: &str = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
content.records = \".data\"
event_time = \".t\"
pagination = { type = \"token\", field = \".next\", param = \"token\" }
cursor = { value = \"last_event_time\", param = \"from\", format = \"unix\", overlap = \"1s\", first = { start = \"-1d\" } }
dedupe = { id = \".id\" }";

const PARENTS: &str = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
content.records = \".data\"
event_time = \".t\"
parents = { endpoint = \"ORIGIN/orgs\" }
endpoint = \"ORIGIN/orgs/{{ parent.n }}/logs\"
pagination = { type = \"token\", field = \".next\", param = \"token\" }
cursor = { value = \"last_event_time\", param = \"from\", format = \"unix\", first = { start = \"-1d\" } }
dedupe = { id = \".id\" }";

#[tokio::test]
async fn what_comes_while_other_parents_are_asked_is_neither_claimed_nor_left_out() {
    let clock = clock();
    let (now, first) = (clock.clone(), Mutex::new(None::<String>));
    let world = World::start_at(PARENTS, clock, move |seen| {
        let mut first = first.lock().unwrap();
        let path = seen.path.split('?').next().unwrap().to_owned();
        match path.as_str() {
            "/orgs" => json("[{\"n\":1},{\"n\":2}]"),
            // Whoever is asked first has nothing yet; the other has what happened meanwhile.
            path if first.is_none() => {
                *first = Some(path.to_owned());
                now.advance(10 * MINUTE);
                page(&[], "")
            }
            path if first.as_deref() == Some(path) => page(&[at(1, 300)], ""),
            _ => page(&[at(2, 600)], ""),
        }
    })
    .await;
    let running = world.run();
    world.until_records(1).await;
    world.until_polled().await;
    running.stop().await;
    let from = asked(&world, "/orgs/", "from");
    // The second poll; a third, if there is one, has nothing to make up for.
    assert!(from[2..4].iter().all(|from| *from <= 300), "{from:?}");
    assert_eq!(world.records().len(), 2, "{:?}", world.records());
    let words = world.words();
    let before = words.iter().position(|(count, _)| *count == 2).unwrap();
    let said = said(&world);
    assert!(said[..before].iter().flatten().all(|to| *to <= 300), "{said:?}");
}

#[tokio::test]
async fn what_comes_late_while_pages_are_asked_for_is_asked_for_again() {
    let clock = clock();
    let now = clock.clone();
    let world = World::start_at(BY_TIME, clock, move |seen| match parameter(seen, "token") {
        None if parameter(seen, "from").unwrap() < FIRST as usize - 3600 => {
            now.advance(10 * MINUTE);
            page(&[at(1, 0)], "2")
        }
        Some(2) => page(&[at(3, 590)], ""),
        // It happened when the first page had been given, and stands before the second.
        _ if parameter(seen, "from").unwrap() <= FIRST as usize + 580 => {
            page(&[at(2, 580), at(3, 590)], "")
        }
        _ => page(&[at(3, 590)], ""),
    })
    .await;
    let running = world.run();
    world.until_records(2).await;
    world.until_polled().await;
    running.stop().await;
    assert_eq!(world.records().len(), 3, "{:?}", asked(&world, "/logs", "from"));
}

#[tokio::test]
async fn pages_that_come_newest_first_say_nothing_however_close_their_times() {
    // All within the ten seconds that records may be out of order.
    let world = World::start(TOKENS, |seen| {
        let already = parameter(seen, "token").unwrap_or(0);
        let here: Vec<String> = (0..6).rev().skip(already).take(2).map(record).collect();
        let next = if already < 4 { (already + 2).to_string() } else { String::new() };
        page(&here, &next)
    })
    .await;
    let running = world.run();
    world.until_records(6).await;
    world.until_polled().await;
    running.stop().await;
    assert_eq!(said(&world)[..3], [None, None, None], "{:?}", world.words());
    assert!(said(&world)[3].is_some());
}

#[tokio::test]
async fn a_record_of_a_wrong_clock_moves_neither_the_cursor_nor_what_is_complete() {
    let clock = clock();
    clock.advance(MINUTE);
    let world = World::start_at(BY_TIME, clock.clone(), |seen| {
        let all = [at(1, 50), at(2, 86_400 / 2)];
        let from = parameter(seen, "from").unwrap();
        if from > FIRST as usize + 50 { page(&all[1..], "") } else { page(&all, "") }
    })
    .await;
    let running = world.run();
    world.until_records(2).await;
    world.until_polled().await;
    running.stop().await;
    let from = asked(&world, "/logs", "from");
    assert_eq!(*from.last().unwrap(), 49, "an overlap before the last that can be: {from:?}");
    let said = said(&world);
    assert!(said.iter().flatten().all(|to| *to <= 60), "{said:?}");
    assert_eq!(said.last().unwrap(), &Some(50));
}

#[tokio::test]
async fn who_believes_a_wrong_clock_of_its_own_goes_by_that_of_the_other_side() {
    // Ours is a day behind.
    let date = "Mon, 02 Mar 2026 10:00:00 GMT";
    let world = World::start_at(BY_TIME, clock(), move |_| {
        let body = format!("{{\"data\":[{}],\"next\":\"\"}}", at(1, 86_000));
        with("200 OK", &[("content-type", "application/json"), ("date", date)], &body)
    })
    .await;
    let running = world.run();
    world.until_records(1).await;
    world.until_polled().await;
    running.stop().await;
    let state = world.db.cursor("in").unwrap();
    assert_eq!(state.event_time.unwrap().nanoseconds() / 1_000_000_000 - FIRST, 86_000);
}

#[tokio::test]
async fn a_slice_is_complete_as_far_as_it_was_asked_for() {
    let toml = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
event_time = \".t\"
time_slices = { start = \"2026-03-01T10:00:00Z\", step = \"1h\", start_param = \"from\", end_param = \"to\", format = \"unix\" }";
    let clock = clock();
    clock.advance(Duration::from_millis(7_900));
    let world = World::start_at(toml, clock.clone(), |_: &Seen| json("[]")).await;
    let running = world.run();
    world.until_polled().await;
    clock.advance(Duration::from_millis(1_000));
    world.until_polled().await;
    running.stop().await;
    let (from, to) = (asked(&world, "/logs", "from"), asked(&world, "/logs", "to"));
    assert_eq!((&from[..], &to[..]), (&[0, 7][..], &[7, 8][..]));
    let words = world.words();
    let told = words.iter().filter_map(|(_, layout)| match layout {
        Layout::Complete { to, .. } if *to > EventTime::MIN => Some(to.nanoseconds()),
        _ => None,
    });
    assert!(told.clone().all(|to| to % 1_000_000_000 == 0), "{words:?}");
    assert_eq!(told.max(), Some((FIRST + 8) * 1_000_000_000));
}

#[tokio::test]
async fn days_are_asked_for_as_days() {
    let toml = "\
scrape_interval_secs = 0.1
decoding.codec = \"json\"
event_time = \".t\"
time_slices = { start = \"-2d\", step = \"1h\", start_param = \"from\", end_param = \"to\", format = \"date\" }";
    let world = World::start_at(toml, clock(), |_: &Seen| json("[]")).await;
    let running = world.run();
    world.until_polled().await;
    running.stop().await;
    let asked: Vec<String> = world.server.seen().iter().map(|seen| seen.path.clone()).collect();
    let expected = ["/logs?from=2026-02-27&to=2026-02-28", "/logs?from=2026-02-28&to=2026-03-01"];
    assert_eq!(asked, expected);
    assert_eq!(said(&world).last().unwrap(), &Some(-10 * 3600), "the beginning of this day");
}

#[tokio::test]
async fn a_list_of_parents_that_changes_within_a_walk_hides_none() {
    let toml = format!("{PARENTS}\nretry = {{ attempts = 1, min = \"1ms\", max = \"1ms\" }}");
    let (clock, failed) = (clock(), Mutex::new(Vec::<String>::new()));
    let world = World::start_at(&toml, clock.clone(), move |seen| {
        let path = seen.path.split('?').next().unwrap().to_owned();
        let mut failed = failed.lock().unwrap();
        match path.as_str() {
            // Until somebody was refused there is one more, which is asked first or last.
            "/orgs" => match failed.len() {
                0 => json("[{\"n\":8},{\"n\":1},{\"n\":2},{\"n\":3},{\"n\":9}]"),
                _ => json("[{\"n\":3},{\"n\":1},{\"n\":2}]"),
            },
            "/orgs/8/logs" | "/orgs/9/logs" => page(&[], ""),
            path => {
                let parent: usize = path.split('/').nth(2).unwrap().parse().unwrap();
                // Each is refused once.
                if !failed.contains(&path.to_owned()) {
                    failed.push(path.to_owned());
                    return with("503 Service Unavailable", &[], "later");
                }
                // What is older than the cursor is not asked for again.
                match parameter(seen, "from").unwrap() > FIRST as usize {
                    true => page(&[], ""),
                    false => page(&[at(parent, 30 * parent)], ""),
                }
            }
        }
    })
    .await;
    clock.advance(10 * MINUTE);
    let running = world.run();
    world.until_records(2).await;
    for _ in 0..4 {
        world.until_polled().await;
    }
    running.stop().await;
    assert_eq!(world.records().len(), 3, "{:?}", world.server.seen());
}

#[tokio::test]
async fn a_walk_that_another_process_began_lets_go_of_no_ids() {
    let toml = "\
scrape_interval_secs = 3600
decoding.codec = \"json\"
content.records = \".data\"
pagination = { type = \"token\", field = \".next\", param = \"token\" }
dedupe = { id = \".id\", window = \"1ms\" }";
    let clock = clock();
    let one = World::start_at(toml, clock.clone(), |seen| {
        let already = parameter(seen, "token").unwrap_or(0);
        let here: Vec<String> = (already..already + 2).map(record).collect();
        page(&here, if already < 2 { "2" } else { "" })
    })
    .await;
    let running = one.run();
    one.db.ask("in", Asked::Now);
    one.until_records(4).await;
    running.kill().await;
    // Another is killed when it has claimed the first page of its walk.
    clock.advance(MINUTE);
    one.db.expire_lease();
    let other = one.beside();
    let running = other.run_until(5);
    other.db.ask("in", Asked::Now);
    other.steps.hit().await;
    running.kill().await;
    one.db.expire_lease();
    clock.advance(MINUTE);
    let running = one.run();
    for _ in 0..3 {
        let known = one.db.attempts("in").len();
        one.db.ask("in", Asked::Now);
        one.until_attempts(known + 1).await;
    }
    running.stop().await;
    let asked: Vec<String> = one.server.seen().iter().map(|seen| seen.path.clone()).collect();
    assert_eq!(asked[2..4], ["/logs", "/logs?token=2"], "one goes on where the other was");
    one.assert_each_once(4);
}
