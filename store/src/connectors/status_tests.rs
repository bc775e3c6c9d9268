use super::*;
use azud_plan::component::{Cause, Late};
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { unreachable_after: Duration::from_secs(300), limits_max: 3 };

fn second(second: u64) -> EventTime {
    EventTime::EPOCH.saturating_add(Duration::from_secs(second))
}

fn attempt(at: u64, outcome: Outcome) -> Attempt {
    Attempt { at: second(at), outcome, requests: 1, records: 0, bytes: 0 }
}

fn failed(cause: Cause) -> Outcome {
    Outcome::Failed(Failed { cause, message: "no".to_owned(), http_status: None })
}

/// Feeds attempts, a second and an outcome each, and gives the changes in short.
fn tell(machine: &mut Machine, attempts: &[(u64, Outcome)]) -> Vec<String> {
    let told = attempts.iter().filter_map(|(at, outcome)| {
        let told = machine.attempt(&attempt(*at, outcome.clone()))?;
        Some(format!("{at} {} {}: {}", told.to.name(), told.reason, told.message))
    });
    told.collect()
}

fn machine() -> Machine {
    Machine::new(BOUNDS, second(0), None)
}

#[test]
fn a_hostile_server_is_told_with_the_right_reasons() {
    let (ok, server, auth) =
        (Outcome::Succeeded, failed(Cause::Server), failed(Cause::Authentication));
    let attempts = [
        (1, ok.clone()),
        (11, server.clone()),
        (21, ok.clone()),
        (31, server.clone()),
        (41, server),
        (51, ok.clone()),
        (61, auth.clone()),
        (71, auth),
        (81, ok),
    ];
    let mut machine = machine();
    let told = tell(&mut machine, &attempts);
    assert_eq!(
        told,
        [
            "1 active succeeded: it works",
            "41 warning server: no",
            "51 active succeeded: it works",
            "61 error authentication: no",
            // The second fall within an hour: it must go for half a minute without failure.
        ]
    );
    assert_eq!(machine.reason.as_deref(), Some("authentication"));
    assert_eq!(
        tell(&mut machine, &[(101, Outcome::Succeeded)]),
        ["101 active succeeded: it works"]
    );
    assert_eq!((machine.reason, machine.message), (None, None));
    assert_eq!(machine.last_success, Some(second(101)));
}

/// A sink that has nothing more to send makes no attempt that could say that all is well.
#[test]
fn what_worked_last_has_recovered_when_the_hold_is_over() {
    let mut machine = machine();
    let auth = failed(Cause::Authentication);
    let attempts: Vec<_> = (0..6)
        .map(|at| (at, if at % 2 == 0 { Outcome::Succeeded } else { auth.clone() }))
        .collect();
    assert_eq!(tell(&mut machine, &attempts).len(), 4, "it must hold from the second fall on");
    assert_eq!(machine.tick(second(100)), None, "what failed last has not recovered");
    assert_eq!(tell(&mut machine, &[(101, auth), (102, Outcome::Succeeded)]), [""; 0]);
    assert_eq!(machine.tick(second(130)), None);
    let told = machine.tick(second(131)).unwrap();
    assert_eq!((told.from, told.to, told.at), (Status::Error, Status::Active, second(131)));
    assert_eq!(machine.tick(second(132)), None);
}

#[test]
fn one_failure_is_an_accident_and_three_of_ten_are_not() {
    let mut machine = machine();
    let mut attempts = vec![(0, Outcome::Succeeded)];
    for at in 1..=9 {
        let outcome = if at % 3 == 0 { failed(Cause::Timeout) } else { Outcome::Succeeded };
        attempts.push((at, outcome));
    }
    let told = tell(&mut machine, &attempts);
    assert_eq!(
        told,
        ["0 active succeeded: it works", "9 warning timeout: 3 of the last 9 attempts failed: no"]
    );
}

#[test]
fn what_does_not_answer_for_too_long_is_an_error() {
    let mut machine = machine();
    let attempts: Vec<_> = (1..=8).map(|n| (n * 60, failed(Cause::Unreachable))).collect();
    let told = tell(&mut machine, &attempts);
    assert_eq!(
        told,
        ["60 warning unreachable: no", "360 error unreachable: nothing has worked for 5 min: no"]
    );
    assert!(machine.message.unwrap().starts_with("nothing has worked for 7 min"));
}

#[test]
fn limits_of_rate_are_in_order_until_there_are_too_many() {
    let mut machine = machine();
    let limited = |at| (at, Outcome::Limited { until: Some(second(99)) });
    let told = tell(
        &mut machine,
        &[(1, Outcome::Succeeded), limited(2), limited(3), limited(4), (5, Outcome::Succeeded)],
    );
    assert_eq!(told.len(), 1, "{told:?}");
    let told = tell(&mut machine, &[limited(6), limited(7), limited(8), limited(9), limited(10)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("9 warning rate_limited: the other side limited"), "{told:?}");
    assert!(told[0].contains("4 times in a row, until 1970-01-01T00:01:39"), "{told:?}");
    let told = tell(&mut machine, &[(11, Outcome::Succeeded)]);
    assert_eq!(told, ["11 active succeeded: it works"]);
}

fn late(what: Late) -> Option<Behind> {
    Some(Behind { what, message: format!("{} for 3 min", what.name()) })
}

/// Feeds polls that succeed, a second and what is late each; gives the changes in short.
fn tell_polls(machine: &mut Machine, polls: &[(u64, Option<Behind>)]) -> Vec<String> {
    let told = polls.iter().flat_map(|(at, behind)| {
        let first = machine.attempt(&attempt(*at, Outcome::Succeeded));
        [first, machine.behind(second(*at), behind.clone())]
    });
    let told = told.flatten();
    let words = |told: Transition| format!("{} {}: {}", told.to.name(), told.reason, told.message);
    told.map(words).collect()
}

#[test]
fn what_is_late_twice_in_a_row_is_a_warning_until_it_is_not() {
    let mut machine = machine();
    let overdue = || late(Late::Overdue);
    assert_eq!(tell_polls(&mut machine, &[(0, None)]), ["active succeeded: it works"]);
    // A poll that catches up is in order.
    let polls = [(60, overdue()), (120, None), (180, overdue()), (240, None)];
    assert_eq!(tell_polls(&mut machine, &polls), [""; 0]);
    let told = tell_polls(&mut machine, &[(300, overdue()), (360, overdue())]);
    assert_eq!(told, ["warning overdue: overdue for 3 min"]);
    // As long as it is late, success does not help; and the words are those of the last time.
    assert_eq!(tell_polls(&mut machine, &[(420, late(Late::Lagging))]), [""; 0]);
    assert_eq!(machine.reason.as_deref(), Some("lagging"));
    assert_eq!(tell_polls(&mut machine, &[(480, None)]), ["active succeeded: it works"]);
    // The second fall within the hour has it hold for half a minute.
    let polls = [(481, overdue()), (482, overdue()), (483, None), (511, None), (512, None)];
    let told = tell_polls(&mut machine, &polls);
    assert_eq!(told, ["warning overdue: overdue for 3 min", "active succeeded: it works"]);
    assert_eq!(machine.since, second(512));
}

#[test]
fn what_fails_is_worse_than_what_is_late() {
    let mut machine = machine();
    let lagging = || late(Late::Lagging);
    let polls = [(0, None), (1, lagging()), (2, lagging())];
    assert_eq!(tell_polls(&mut machine, &polls).len(), 2);
    let told = tell(&mut machine, &[(3, failed(Cause::Authentication))]);
    assert_eq!(told, ["3 error authentication: no"]);
    assert_eq!(machine.behind(second(4), lagging()), None);
    assert_eq!(machine.status, Status::Error);
    // What works again is still late; that it fell from there counts as a relapse, the second.
    let told = tell(&mut machine, &[(5, Outcome::Succeeded), (33, Outcome::Succeeded)]);
    assert_eq!(told, ["33 warning lagging: lagging for 3 min"]);
    assert_eq!(tell_polls(&mut machine, &[(34, None)]), ["active succeeded: it works"]);
    machine.disable(second(35), "disabled", "off");
    assert_eq!(tell_polls(&mut machine, &[(36, lagging()), (37, lagging())]), [""; 0]);
}

#[test]
fn what_is_switched_off_says_nothing_until_it_is_switched_on() {
    let mut machine = machine();
    assert!(machine.enable(second(0)).is_none());
    let off = machine.disable(second(1), "removed", "gone from a.toml").unwrap();
    assert_eq!((off.from, off.to), (Status::Starting, Status::Disabled));
    assert!(machine.disable(second(2), "removed", "gone").is_none());
    let attempts = [(3, Outcome::Succeeded), (4, failed(Cause::Authentication))];
    assert_eq!(tell(&mut machine, &attempts), [""; 0]);
    let on = machine.enable(second(5)).unwrap();
    assert_eq!(
        (on.from, on.to, on.reason.as_str()),
        (Status::Disabled, Status::Starting, "enabled")
    );
    assert_eq!(tell(&mut machine, &attempts[..1]), ["3 active succeeded: it works"]);
}

#[test]
fn a_message_is_cut_between_two_signs() {
    let cut = bounded(&"ä".repeat(400));
    assert!(cut.len() <= MESSAGE_BYTES_MAX + "…".len() && cut.ends_with("ä…"));
    assert_eq!(bounded("short"), "short");
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => Just(Outcome::Succeeded),
        1 => Just(Outcome::Limited { until: None }),
        3 => Just(failed(Cause::Server)),
        1 => Just(failed(Cause::Authentication)),
    ]
}

proptest! {
    // Whatever the other side does: the changes hang together, are few, and say what is.
    #[test]
    fn it_never_flaps(
        attempts in prop::collection::vec((0u64..40, outcomes(), 0u8..5), 0..1500),
        begin in 0u64..50,
    ) {
        let mut machine = Machine::new(BOUNDS, second(begin), None);
        let (mut at, mut status, mut told) = (begin, Status::Starting, Vec::new());
        for (pause, outcome, late_by) in attempts {
            at += pause;
            let lasting = matches!(&outcome, Outcome::Failed(failed) if failed.cause.is_lasting());
            let told_now = machine.tick(second(at.saturating_sub(pause / 2)));
            let told_now = told_now.into_iter().chain(machine.attempt(&attempt(at, outcome)));
            let told_now: Vec<_> = told_now.collect();
            let behind = if late_by < 2 { late(Late::Overdue) } else { None };
            let told_now = told_now.into_iter().chain(machine.behind(second(at), behind));
            for change in told_now.collect::<Vec<_>>() {
                prop_assert_eq!(change.from, status);
                prop_assert_ne!(change.to, status);
                prop_assert!(!change.reason.is_empty() && !change.message.is_empty());
                status = change.to;
                told.push(at);
            }
            prop_assert_eq!(machine.status, status);
            prop_assert!(!lasting || status == Status::Error);
            let is_down = matches!(status, Status::Warning | Status::Error);
            prop_assert_eq!(machine.reason.is_some(), is_down);
            let hour = told.iter().filter(|time| **time + 3_600 > at).count();
            prop_assert!(hour <= 40, "{} changes within an hour", hour);
        }
        // And it recovers: eleven minutes of success are enough whatever was before.
        for _ in 0..12 {
            at += 60;
            machine.attempt(&attempt(at, Outcome::Succeeded));
            machine.behind(second(at), None);
        }
        prop_assert_eq!(machine.status, Status::Active);
    }

    // A change needs a reason: without two failures in a row, three of ten, or a lasting cause,
    // what was active stays active.
    #[test]
    fn accidents_change_nothing(gaps in prop::collection::vec(5usize..20, 0..40)) {
        let mut machine = machine();
        machine.attempt(&attempt(0, Outcome::Succeeded));
        let mut at = 0;
        for gap in gaps {
            for step in 0..gap {
                at += 1;
                let outcome = if step == 0 { failed(Cause::Server) } else { Outcome::Succeeded };
                prop_assert_eq!(machine.attempt(&attempt(at, outcome)), None);
            }
        }
    }
}
