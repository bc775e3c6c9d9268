//! Episodes over windows: they say what the union of the records of their windows says, however the
//! windows overlap and whatever was told when.

use super::early::alerts;
use super::*;
use crate::alert::ALERT;
use crate::{filter::FILTER, remap::REMAP, route::ROUTE};
use azud_event::alert::Alert;

const GATHERED: &str = r#"
[fields]
count = { aggregate = "count" }
odd = { aggregate = "count", condition = "mod(int!(.n), 2) == 1" }
sum = { aggregate = "sum", field = "n" }
"seen.different" = { aggregate = "distinct", field = "n" }
values = { aggregate = "collect", field = "n", max = 5 }
"#;

const TITLE: &str = "title = \"{{ count }} of {{ key }}, {{ seen.different }} kinds\"";

/// What an alert ends as, beside where it lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    key: i64,
    start: i64,
    end: i64,
    windows: u64,
    events: u64,
    span: (i64, i64),
    title: String,
    fields: String,
}

/// The naive model: of the windows that hold enough, those that touch; of these, the set of all
/// records that lie in one of them.
fn model(events: &[Event], windows: &BTreeSet<Ended>, least: i64) -> BTreeSet<Said> {
    let mut runs: Vec<(i64, Vec<&Ended>)> = Vec::new();
    for window in windows.iter().filter(|window| window.count >= least) {
        match runs.last_mut() {
            Some((key, run)) if *key == window.key && window.start <= run[run.len() - 1].end => {
                run.push(window);
            }
            _ => runs.push((window.key, vec![window])),
        }
    }
    let said = |(key, run): &(i64, Vec<&Ended>)| {
        let inside = |event: &&&Event| {
            let within = |window: &&Ended| (window.start..window.end).contains(&event.second);
            i64::from(event.key) == *key && run.iter().any(within)
        };
        let sorted = sorted(events);
        let of: Vec<i64> = sorted.iter().filter(inside).map(|event| event.n).collect();
        let seconds = || sorted.iter().filter(inside).map(|event| event.second);
        let different = of.iter().collect::<BTreeSet<_>>().len();
        let fields = serde_json::json!({
            "key": key,
            "count": of.len(),
            "odd": of.iter().filter(|n| *n % 2 == 1).count(),
            "sum": of.iter().sum::<i64>(),
            "seen": { "different": different },
            "values": of.iter().take(5).collect::<Vec<_>>(),
        });
        Said {
            key: *key,
            start: run[0].start,
            end: run[run.len() - 1].end,
            windows: run.len() as u64,
            events: of.len() as u64,
            span: (seconds().min().unwrap(), seconds().max().unwrap()),
            title: format!("{} of {key}, {different} kinds", of.len()),
            fields: fields.to_string(),
        }
    };
    runs.iter().map(said).collect()
}

fn said(alert: &Alert) -> Said {
    let second = |time: EventTime| time.nanoseconds() / 1_000_000_000 - START;
    let window = alert.window.as_ref().unwrap();
    let bound = |name: &str| {
        let time: chrono::DateTime<chrono::Utc> = window[name].as_str().unwrap().parse().unwrap();
        second(EventTime::from_chrono(time))
    };
    Said {
        key: alert.fields["key"].as_i64().unwrap(),
        start: bound("start"),
        end: bound("end"),
        windows: window["windows"].as_u64().unwrap(),
        events: alert.event_count,
        span: (second(alert.first_event_at), second(alert.last_event_at)),
        title: alert.title.clone(),
        fields: serde_json::to_value(&alert.fields).unwrap().to_string(),
    }
}

fn summarize(window: &str) -> Box<dyn TransformSpec> {
    let toml = format!("group_by = [\"key\"]\nwindow = {{ {window}, {WIDE} }}\n{GATHERED}");
    checked(&SUMMARIZE, &toml)
}

fn rule(toml: &str, inputs: &[Port]) -> Box<dyn TransformSpec> {
    let (rule, found) = check(&ALERT, &format!("rule = \"r\"\n{toml}"), inputs);
    assert_eq!(found, []);
    rule.unwrap()
}

/// Gives how the alerts over windows end, the windows told as the rule wants them.
fn ends(
    windows: &dyn TransformSpec,
    rule: &dyn TransformSpec,
    (events, feeding): &(Vec<Event>, Feeding),
) -> Vec<Alert> {
    let giving = windows.giving_parts().unwrap();
    let knowing = rule.wants(None).and_then(|wanted| giving.knowing(&wanted)).unwrap_or(giving);
    let mut ruled = Behind::new(rule);
    feed_into(&*knowing, events, feeding, &mut |told, watermark| {
        ruled.take(told, watermark);
    });
    let mut last: BTreeMap<String, Alert> = BTreeMap::new();
    for alert in alerts(&mut ruled) {
        last.insert(alert.id.to_string(), alert);
    }
    last.into_values().filter(|alert| alert.state != "withdrawn").collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn episodes_say_what_the_union_of_their_records_says(
        fed in fed(200), kind in 0..4_usize, least in 1..6_i64, early in any::<bool>(),
    ) {
        let (window, model_of): (_, BTreeSet<Ended>) = match kind {
            0 => ("type = \"tumbling\", size = \"30s\"", hopping(&fed.0, 30, 30, false)),
            1 => ("type = \"session\", gap = \"12s\", max = \"40s\"", sessions(&fed.0, 12, 40)),
            2 => ("type = \"hopping\", size = \"30s\", slide = \"10s\"",
                hopping(&fed.0, 30, 10, false)),
            _ => ("type = \"hopping\", size = \"30s\", slide = \"5s\"",
                hopping(&fed.0, 30, 5, false)),
        };
        let windows = summarize(window);
        let results = windows.outputs(&Port::logs()).remove(0);
        // `!=` waits for the close.
        let condition = match early {
            true => format!(".count >= {least}"),
            false => format!(".count >= {least} && .count != -1"),
        };
        let rule = rule(&format!("condition = \"{condition}\"\n{TITLE}"), &[results]);
        let said: BTreeSet<Said> = ends(&*windows, &*rule, &fed).iter().map(said).collect();
        prop_assert_eq!(said, model(&fed.0, &model_of, least));
    }
}

/// Gives what a rule says of twelve records, four in each of three panes of which windows have two.
fn said_of_three_panes(rule: &dyn TransformSpec, windows: &dyn TransformSpec) -> Vec<u64> {
    let events: Vec<Event> = (0..12).map(|n| event(n * 20, 0)).collect();
    let steps = (0..12).map(|event| (event, true, true, true, 0)).collect();
    let feeding = Feeding { steps, restores: 0, puts_away: 0 };
    ends(windows, rule, &(events, feeding)).iter().map(|alert| alert.event_count).collect()
}

#[test]
fn a_block_of_parts_that_is_too_large_is_left_out() {
    // The values of one pane alone take more than a window may give.
    let hopping = "type = \"hopping\", size = \"160s\", slide = \"80s\"";
    let windows = |fields: &str| {
        let toml = format!(
            "group_by = [\"key\"]\nwindow = {{ {hopping}, {WIDE} }}\n[fields]\n\
             count = {{ aggregate = \"count\" }}\n{fields}"
        );
        checked(&SUMMARIZE, &toml)
    };
    let small = windows("");
    let results = small.outputs(&Port::logs()).remove(0);
    let over = |results: Port| rule("condition = \".count >= 1\"", &[results]);
    assert_eq!(said_of_three_panes(&*over(results), &*small), [12]);
    let many: String = (0..500)
        .map(|n| format!("f{n} = {{ aggregate = \"collect\", field = \"n\", max = 9 }}\n"))
        .collect();
    let large = windows(&many);
    let results = large.outputs(&Port::logs()).remove(0);
    assert_eq!(said_of_three_panes(&*over(results), &*large), [8]);
}

#[test]
fn parts_go_through_what_lets_results_through_as_they_are() {
    let windows = summarize("type = \"tumbling\", size = \"30s\"");
    let results = windows.outputs(&Port::logs());
    let behind = |factory, toml: &str| {
        let (spec, found) = check(factory, toml, &results[..1]);
        assert_eq!(found, []);
        spec.unwrap()
    };
    let filter = behind(&FILTER, "condition = '.count > 1'");
    let route = behind(&ROUTE, "route.many = '.count > 1'");
    let remap = behind(&REMAP, "source = '.count = 1'");
    for (step, passes) in [(&filter, true), (&route, true), (&remap, false)] {
        assert_eq!(step.wants_parts(true), passes);
        assert!(!step.wants_parts(false));
        let output = step.outputs(&results[0]).remove(0);
        assert_eq!(rule("condition = \".odd >= 1\"", &[output]).wants_parts(false), passes);
    }
    let wants = |toml: &str, inputs: &[Port]| rule(toml, inputs).wants_parts(false);
    // Each window for itself needs none, and what two have gathered does not go together.
    assert!(!wants("merge = \"window\"", &results[..1]));
    let other = summarize("type = \"tumbling\", size = \"30s\"").outputs(&Port::logs());
    assert!(!wants("", &[results[0].clone(), other[0].clone()]));
    assert!(wants("", &[results[0].clone(), filter.outputs(&results[0]).remove(0)]));
    // Over results of windows, a part may shrink.
    let wide = "window = { type = \"tumbling\", size = \"1h\" }";
    assert!(behind(&SUMMARIZE, wide).giving_parts().is_none());
}

#[test]
fn a_rule_of_a_wider_key_counts_all_keys_of_the_windows() {
    let toml = "group_by = [\"key\", \"n\"]\n\
        window = { type = \"tumbling\", size = \"30s\", allowed_lateness = \"60s\" }\n[fields]\n\
        count = { aggregate = \"count\" }\ndifferent = { aggregate = \"distinct\", field = \"n\" }";
    let windows = checked(&SUMMARIZE, toml);
    let results = windows.outputs(&Port::logs()).remove(0);
    let rule = rule("key = [\"key\"]\ncondition = \".count >= 1\"", &[results]);
    let events: Vec<Event> = (0..9).map(|n| Event { n: n % 3, ..event(n * 3, 0) }).collect();
    let steps = (0..9).map(|event| (event, true, true, true, 0)).collect();
    let feeding = Feeding { steps, restores: u64::MAX, puts_away: u64::MAX };
    let alerts = ends(&*windows, &*rule, &(events, feeding));
    let windows = |alert: &Alert| alert.window.as_ref().unwrap()["windows"].as_u64();
    assert_eq!((alerts.len(), windows(&alerts[0]), alerts[0].event_count), (1, Some(3), 9));
    assert_eq!(alerts[0].fields["different"], 3);
}
