//! Windows over results of windows, against the plain definition.

use super::*;

/// What a wide window over narrow ones ends as: how many narrow ones counted, all records in them,
/// and the greatest count of one.
type Wide = (i64, i64, i64, i64, i64);

const INNER: &str = "window = { type = \"tumbling\", size = \"10s\", allowed_lateness = \"60s\" }
    having = \".count < 4\"";

const OUTER: &str = r#"
group_by = ["key"]
[fields]
all = { aggregate = "sum", field = "count" }
most = { aggregate = "max", field = "count" }
"#;

fn outer(head: &str, inner: &dyn TransformSpec) -> Box<dyn TransformSpec> {
    let results = inner.outputs(&Port::logs()).remove(0);
    let (spec, found) = check(&SUMMARIZE, &format!("{head}\n{OUTER}"), &[results]);
    assert_eq!(found, []);
    spec.unwrap()
}

fn ended(told: &[Said]) -> BTreeSet<Wide> {
    let mut last: BTreeMap<String, (i64, Option<Wide>)> = BTreeMap::new();
    for Said { value, .. } in told {
        let number = |name: &str| integer(value, &OwnedValuePath::single_field(name));
        let id = value.get(path!("id")).unwrap().to_string_lossy().into_owned();
        let withdrawn = value.get(path!("change")).unwrap().to_string_lossy() == "withdrawn";
        let start = super::second(value, &owned_value_path!("window", "start"));
        let wide = || (number("key"), start, number("event_count"), number("all"), number("most"));
        let revision = number("revision");
        let before = last.insert(id, (revision, (!withdrawn).then(wide)));
        assert!(before.is_none_or(|(before, _)| before + 1 == revision), "revisions count");
    }
    last.into_values().filter_map(|(_, wide)| wide).collect()
}

/// Counts events in windows of ten seconds, keeps the counts below four, and gathers them in
/// windows of `size` that begin every `slide` seconds.
fn model(events: &[Event], size: i64, slide: i64) -> BTreeSet<Wide> {
    let mut narrow: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for event in events {
        *narrow.entry((i64::from(event.key), event.second.div_euclid(10) * 10)).or_default() += 1;
    }
    narrow.retain(|_, count| *count < 4);
    let mut wide: BTreeMap<(i64, i64), Vec<i64>> = BTreeMap::new();
    for ((key, start), count) in narrow {
        let mut first = start.div_euclid(slide) * slide;
        while first + size >= start + 10 {
            wide.entry((key, first)).or_default().push(count);
            first -= slide;
        }
    }
    let ended = wide.into_iter().map(|((key, start), counts)| {
        let most = counts.iter().max().copied().unwrap_or_default();
        (key, start, counts.len() as i64, counts.iter().sum(), most)
    });
    ended.collect()
}

fn hold(head: &str, (events, feeding): &(Vec<Event>, Feeding), size: i64, slide: i64) {
    let inner = spec(INNER);
    let mut behind = Behind::new(&*outer(head, &*inner));
    feed_into(&*inner, events, feeding, &mut |told, watermark| {
        let taken = behind.take(told, watermark);
        assert!(taken.iter().all(|taken| *taken == Taken::Counted), "{taken:?}");
    });
    assert_eq!(ended(&behind.run.told), model(events, size, slide));
}

proptest! {
    #[test]
    fn windows_over_windows_end_as_the_model(fed in fed(200), early in any::<bool>()) {
        let fire = if early { "early" } else { "on_close" };
        let window = "{ type = \"tumbling\", size = \"1m\" }";
        hold(&format!("window = {window}\nfire = \"{fire}\""), &fed, 60, 60);
    }

    #[test]
    fn overlapping_windows_over_windows_end_as_the_model(fed in fed(200)) {
        let window = "{ type = \"hopping\", size = \"1m\", slide = \"20s\" }";
        hold(&format!("window = {window}"), &fed, 60, 20);
    }
}

#[test]
fn what_cannot_follow_revisions_is_refused() {
    let inner = spec(INNER);
    let results = inner.outputs(&Port::logs()).remove(0);
    let tumbling = "window = { type = \"tumbling\", size = \"1m\" }";
    for (toml, inputs, code) in [
        (format!("{tumbling}\ngroup_by = [\"sum\"]"), vec![results.clone()], codes::CONTRADICTION),
        (
            "window = { type = \"session\", gap = \"1m\" }".to_owned(),
            vec![results.clone()],
            codes::NOT_IN_THIS_VERSION,
        ),
        (tumbling.to_owned(), vec![results, Port::logs()], codes::CONTRADICTION),
    ] {
        let (spec, found) = check(&SUMMARIZE, &toml, &inputs);
        assert!(spec.is_none(), "{toml}");
        assert_eq!(found[0].code, code, "{toml}");
    }
}
