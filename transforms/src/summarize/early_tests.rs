//! Windows that are told before they close: who decides it, that it does not show in how alerts
//! end, and that it is one announcement for each.

use super::*;
use crate::alert::ALERT;
use azud_event::alert::Alert;
use std::time::Duration;

/// A `summarize`, and a rule that reads it directly.
fn carried(head: &str, rule: &str) -> (Box<dyn TransformSpec>, Box<dyn TransformSpec>) {
    let windows = spec(head);
    let results = windows.outputs(&Port::logs()).remove(0);
    let (rule, found) = check(&ALERT, &format!("rule = \"r\"\n{rule}"), &[results]);
    assert_eq!(found, []);
    (windows, rule.unwrap())
}

/// Gives what a rule behind has told.
pub(super) fn alerts(ruled: &mut Behind) -> Vec<Alert> {
    let told = std::mem::take(&mut ruled.run.told);
    told.iter()
        .map(|told| serde_json::from_value(serde_json::to_value(&told.value).unwrap()).unwrap())
        .collect()
}

/// Gives how the alerts of events end, but for what tells how they came there; and how many epochs
/// told one of a window that was still open.
fn ends(
    windows: &dyn TransformSpec,
    rule: &dyn TransformSpec,
    (events, feeding): &(Vec<Event>, Feeding),
) -> (BTreeSet<String>, usize) {
    // Every window is told with its parts, as a plan would have it.
    let giving = windows.giving_parts().filter(|_| rule.wants_parts(false));
    let windows = giving.as_deref().unwrap_or(windows);
    let (mut ruled, mut early) = (Behind::new(rule), 0);
    feed_into(windows, events, feeding, &mut |told, watermark| {
        early += usize::from(told.iter().any(|told| told.event_time > watermark));
        assert!(!ruled.take(told, watermark).contains(&Taken::Late));
    });
    let mut last: BTreeMap<String, Alert> = BTreeMap::new();
    for alert in alerts(&mut ruled) {
        let before = last.insert(alert.id.to_string(), alert.clone());
        assert_eq!(alert.revision, before.map_or(0, |before| before.revision) + 1);
    }
    let end = |alert: &Alert| {
        serde_json::json!([
            alert.state,
            alert.severity,
            alert.title,
            alert.key,
            alert.fields,
            alert.window,
            alert.first_event_at,
            alert.last_event_at,
            alert.event_count,
            alert.reason,
        ])
        .to_string()
    };
    let standing: Vec<&Alert> = last.values().filter(|it| it.state != "withdrawn").collect();
    let set: BTreeSet<String> = standing.iter().map(|alert| end(alert)).collect();
    assert_eq!(set.len(), standing.len(), "one alert stands under two ids: {set:?}");
    (set, early)
}

const KINDS: [&str; 3] = [
    "type = \"tumbling\", size = \"30s\"",
    "type = \"hopping\", size = \"30s\", slide = \"5s\"",
    "type = \"session\", gap = \"12s\", max = \"40s\"",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn firing_early_does_not_show_in_how_alerts_end(
        fed in fed(200), kind in 0..KINDS.len(), least in 1..6_i64, in_having in any::<bool>(),
    ) {
        let condition = format!(".count >= {least} && (.odd > 1 || .event_count >= 4)");
        let rule = "key = [\"key\"]\nseverity = \"low\"
            escalate = [{ condition = \".odd > 3\", severity = \"high\" }]";
        let window = format!("window = {{ {}, {WIDE} }}", KINDS[kind]);
        let (having, condition) = match in_having {
            true => (format!("having = \"{condition}\""), String::new()),
            false => (String::new(), format!("condition = \"{condition}\"")),
        };
        let rule = format!("{rule}\n{condition}");
        let head = format!("{window}\n{having}");
        let (windows, rule_behind) = carried(&head, &rule);
        let wanted = rule_behind.wants(None);
        let windows = match wanted {
            Some(wanted) => windows.knowing(&wanted).unwrap(),
            None => Arc::from(windows),
        };
        let (closing, _) = carried(&format!("{head}\nfire = \"on_close\""), &rule);
        let (early, _) = ends(&*windows, &*rule_behind, &fed);
        let (late, told_open) = ends(&*closing, &*rule_behind, &fed);
        prop_assert_eq!(told_open, 0);
        prop_assert_eq!(early, late);
    }

    #[test]
    fn a_window_is_told_in_the_epoch_that_makes_it_true(
        (events, feeding) in fed(60), least in 1..5_i64,
    ) {
        // All in one window of one key, whose end no watermark reaches before the end of input.
        let events: Vec<Event> =
            events.into_iter().map(|event| Event { key: 0, ..event }).collect();
        let head = format!("window = {{ type = \"tumbling\", size = \"1h\", {WIDE} }}
            having = \".count >= {least}\"");
        let (mut fed_so_far, mut told_at) = (0, None);
        let mut epochs = Vec::new();
        for (_, _, _, ends, _) in &feeding.steps {
            fed_so_far += 1;
            if *ends {
                epochs.push(fed_so_far);
            }
        }
        epochs.push(fed_so_far);
        let mut epoch = 0;
        feed_into(&*spec(&head), &events, &feeding, &mut |told, _| {
            if !told.is_empty() {
                told_at.get_or_insert(epoch);
            }
            epoch += 1;
        });
        prop_assert_eq!(told_at, epochs.iter().position(|fed| *fed >= least));
    }
}

fn firing_of(head: &str) -> Early {
    spec(head).firing().unwrap().early
}

#[test]
fn who_decides_when_windows_are_told() {
    let tumbling =
        |rest: &str| format!("window = {{ type = \"tumbling\", size = \"1m\" }}\n{rest}");
    for (rest, expected) in [
        ("", Early::Never),
        ("fire = \"early\"", Early::Always),
        ("having = \".count >= 3\"", Early::Always),
        ("having = \".count >= 3\"\nfire = \"on_close\"", Early::Never),
        ("having = \".count < 3\"", Early::Never),
        // Nobody knows that what is summed up is not negative.
        ("having = \".sum >= 3\"", Early::Never),
    ] {
        assert_eq!(firing_of(&tumbling(rest)), expected, "{rest}");
    }
    let wants = |head: &str, condition: &str| {
        let (windows, rule) = carried(&tumbling(head), &format!("condition = \"{condition}\""));
        let knowing = windows.knowing(&rule.wants(None)?)?;
        Some(knowing.firing().unwrap().early)
    };
    assert_eq!(wants("", ".count >= 3"), Some(Early::OnDemand));
    assert_eq!(wants("", ".count == 3"), None);
    // What a condition of the windows may take back, no reader hurries.
    assert_eq!(wants("having = \".count < 9\"", ".count >= 3"), None);
    assert_eq!(wants("fire = \"on_close\"", ".count >= 3"), None);
    let closes = |window: &str| spec(window).firing().unwrap().closes_after;
    let session = "window = { type = \"session\", gap = \"2m\", max = \"1h\" }";
    assert_eq!(closes(session), Duration::from_secs(62 * 60));
}

#[test]
fn a_sum_grows_where_its_condition_keeps_negative_numbers_out() {
    let early = |condition: &str| {
        let toml = format!(
            "window = {{ type = \"tumbling\", size = \"1m\" }}\nhaving = \".sum >= 3\"
            [fields]\nsum = {{ aggregate = \"sum\", field = \"n\", condition = \"{condition}\" }}"
        );
        checked(&SUMMARIZE, &toml).firing().unwrap().early
    };
    assert_eq!(early("int!(.n) >= 0"), Early::Always);
    assert_eq!(early("int!(.n) >= -1"), Early::Never);
    assert_eq!(early("int!(.key) >= 0"), Early::Never);
}

#[test]
fn a_filter_between_hurries_if_it_can_only_let_more_through() {
    let (windows, rule) =
        carried("window = { type = \"tumbling\", size = \"1m\" }", "condition = \".count >= 3\"");
    let results = windows.outputs(&Port::logs());
    let wanted = rule.wants(None);
    let through = |condition: &str| {
        let toml = format!("condition = \"{condition}\"");
        let (filter, found) = check(&crate::filter::FILTER, &toml, &results[..1]);
        assert_eq!(found, []);
        filter.unwrap().wants(wanted.as_ref())
    };
    assert!(through(".odd > 1").is_some());
    assert_eq!(through(".odd < 1"), None);
    let (nobody, _) = check(&crate::filter::FILTER, "condition = \".odd > 1\"", &results[..1]);
    assert_eq!(nobody.unwrap().wants(None), None);
}

#[test]
fn out_of_order_records_amend_one_alert() {
    for kind in KINDS {
        let (windows, rule) = carried(
            &format!("window = {{ {kind}, {WIDE} }}"),
            "key = [\"key\"]\ncondition = \".count >= 3\"",
        );
        let windows = windows.knowing(&rule.wants(None).unwrap()).unwrap();
        let Running::Keyed { state: make, .. } = windows.build() else { panic!("it is stateless") };
        let mut run = Run::new(make);
        let mut ruled = Behind::new(&*rule);
        let mut epoch = |seconds: &[i64], watermark: i64| {
            let events: Vec<Event> = seconds.iter().map(|second| event(*second, 0)).collect();
            let (rows, _) = rows_at(&*windows, &events);
            run.epoch(rows, time(watermark));
            let taken = ruled.take(&std::mem::take(&mut run.told), time(watermark));
            assert!(!taken.contains(&Taken::Late));
            alerts(&mut ruled)
        };
        assert_eq!(epoch(&[10, 12], -20), []);
        let raised = epoch(&[11], -20);
        assert_eq!((raised.len(), raised[0].change.as_str()), (1, "raised"), "{kind}");
        // Earlier and earlier, each out of order; and nothing of it is new.
        let mut told = epoch(&[6], -20);
        told.extend(epoch(&[3, 4], -19));
        told.extend(epoch(&[], 100));
        assert!(told.iter().all(|alert| alert.id == raised[0].id), "{kind}: {told:?}");
        assert!(told.iter().all(|alert| alert.change != "raised"), "{kind}");
        let last = told.last().unwrap();
        assert_eq!(last.event_count, 6, "{kind}");
        assert_eq!(last.first_event_at, time(3), "{kind}");
    }
}
