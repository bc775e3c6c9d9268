use super::lines::{Format, Lines};
use super::*;
use crate::testing::{Bench, events_of, run_to_end, spec};
use azud_event::time::EventTime;

const TIME: EventTime = EventTime::from_nanoseconds(1_772_359_200 * 1_000_000_000);

fn texts(lines: &Lines, count: u64) -> Vec<String> {
    let text = |number| {
        let mut out = Vec::new();
        lines.line(number, TIME, &mut out);
        String::from_utf8(out).unwrap()
    };
    (0..count).map(text).collect()
}

#[test]
fn a_line_follows_from_seed_and_number() {
    for format in [
        Format::ApacheCommon,
        Format::ApacheError,
        Format::BsdSyslog,
        Format::Json,
        Format::Shuffle(vec!["one".to_owned(), "two".to_owned()]),
        Format::Syslog,
    ] {
        let lines = |seed| Lines { format: format.clone(), seed };
        let (first, again, other) =
            (texts(&lines(1), 100), texts(&lines(1), 100), texts(&lines(2), 100));
        assert_eq!(first, again);
        assert_ne!(first, other, "{format:?} does not depend on the seed");
        assert!(first.iter().all(|line| !line.is_empty() && !line.contains('\n')));
    }
}

#[test]
fn json_is_json() {
    for line in texts(&Lines { format: Format::Json, seed: 3 }, 200) {
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }
}

#[test]
fn an_attack_fails_25_times_and_then_succeeds_within_seconds_every_minute() {
    let mut schedule = Schedule::new(Duration::from_secs(1), true, u64::MAX);
    let mut tries = Vec::new();
    let mut background = 0;
    for millisecond in 0..120_000 {
        let now = Duration::from_millis(millisecond);
        while let Some(due) = schedule.take(now) {
            match due {
                Due::Line(number) => {
                    assert_eq!(number, background);
                    background += 1;
                }
                Due::Try { episode, attempt } => tries.push((episode, attempt, millisecond)),
            }
        }
    }
    assert_eq!(background, 120);
    let expected = (0..2).flat_map(|episode| {
        (0..26).map(move |attempt| (episode, attempt, 2_000 + 60_000 * episode + 150 * attempt))
    });
    assert_eq!(tries, expected.collect::<Vec<_>>());

    let lines = Lines { format: Format::Syslog, seed: 0 };
    let text = |episode, attempt| {
        let mut out = Vec::new();
        lines.login(episode, attempt, attempt == TRIES - 1, TIME, &mut out);
        String::from_utf8(out).unwrap()
    };
    let address =
        |line: &str| line.split(" from ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let first = address(&text(0, 0));
    assert!(first.starts_with("203.0.113."));
    for attempt in 0..26 {
        let line = text(0, attempt);
        assert_eq!(address(&line), first);
        let verb = if attempt == 25 { " Accepted " } else { " Failed " };
        assert!(line.contains(verb), "{line}");
    }
    assert_ne!(address(&text(1, 0)), first, "another attack comes from elsewhere");
}

#[test]
fn without_an_interval_the_attack_still_comes_when_it_is_due() {
    let mut schedule = Schedule::new(Duration::ZERO, true, u64::MAX);
    assert_eq!(schedule.take(Duration::ZERO), Some(Due::Line(0)));
    let now = Duration::from_secs(2);
    assert_eq!(schedule.take(now), Some(Due::Try { episode: 0, attempt: 0 }));
    assert_eq!(schedule.take(now), Some(Due::Line(1)));
}

#[tokio::test]
async fn as_many_lines_as_asked_for_are_made_and_decoded() {
    let spec = spec(
        &DEMO_LOGS,
        "format = \"syslog\"\ninterval = 0\ncount = 3_000\n\
                                 decoding.codec = \"syslog\"",
    );
    let bench = Bench::new("demo_count", usize::MAX);
    run_to_end(&*spec, &bench).await;
    let events = events_of(&*spec, &bench.taken());
    assert_eq!(events.len(), 3_000);
    assert!(events.iter().all(|event| event["appname"].is_string()));
}
