//! The naive model of each aggregate over the list of all records, and the tests that hold partials
//! against it: cut anywhere, merged in any order and tree, kept and read again.

use super::{Aggregate, Partial, packed};
use azud_event::id::StreamId;
use azud_event::row::Place;
use azud_event::time::EventTime;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use vrl::value::{ObjectMap, Value};

/// A record, as an aggregate sees it.
type Item = (Place, Option<Value>);

/// Any value of a record: few different small ones, so that they meet again, and wild ones.
pub fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => (-3..4_i64).prop_map(Value::Integer),
        2 => (-6..6_i64).prop_map(|half| Value::from_f64_or_zero(half as f64 / 2.0)),
        1 => any::<i64>().prop_map(Value::Integer),
        1 => any::<f64>().prop_map(Value::from_f64_or_zero),
        1 => (-1e9..1e9_f64).prop_map(Value::from_f64_or_zero),
        1 => Just(Value::from_f64_or_zero(f64::INFINITY)),
        3 => "[ab\u{e9}]{0,2}".prop_map(|text| Value::from(text.as_str())),
        1 => prop::collection::vec(any::<u8>(), 0..4).prop_map(|text| Value::from(&text[..])),
        1 => Just(Value::from("\u{e9}".repeat(packed::VALUE_BYTES_MAX))),
        1 => any::<i64>().prop_map(|time| {
            Value::Timestamp(EventTime::from_nanoseconds(time).to_chrono())
        }),
        1 => any::<bool>().prop_map(Value::Boolean),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[ab]{0,2}", inner, 0..4).prop_map(|members| {
                Value::Object(members.into_iter().map(|(k, v)| (k.into(), v)).collect())
            }),
        ]
    })
}

/// Records in canonical order, with few different times, as those of whole seconds are.
fn any_items() -> impl Strategy<Value = Vec<Item>> {
    let place = (-3..3_i64, 0..2_u64, 0..2_u64, 0..3_u64, 0..20_u64).prop_map(
        |(event_time, source, stream, position, index)| Place {
            event_time: EventTime::from_nanoseconds(event_time),
            source,
            stream: StreamId(stream),
            position,
            index,
        },
    );
    let value = prop_oneof![1 => Just(None), 12 => any_value().prop_map(Some)];
    prop::collection::btree_map(place, value, 0..60).prop_map(|items| items.into_iter().collect())
}

fn any_aggregate() -> impl Strategy<Value = Aggregate> {
    prop_oneof![
        (1..6_usize, any::<bool>())
            .prop_map(|(max, distinct)| Aggregate::Collect { max, distinct }),
        any::<bool>().prop_map(|present| Aggregate::Count { present }),
        prop_oneof![1..8_usize, Just(100)].prop_map(|exact_max| Aggregate::Distinct { exact_max }),
        Just(Aggregate::First),
        Just(Aggregate::Last),
        Just(Aggregate::Max),
        Just(Aggregate::Mean),
        Just(Aggregate::Min),
        prop_oneof![0.0..=1.0_f64, Just(0.0), Just(1.0)]
            .prop_map(|share| Aggregate::Quantile { share }),
        Just(Aggregate::Stddev),
        Just(Aggregate::Sum),
        (1..6_usize).prop_map(|k| Aggregate::TopK { k, exact_max: 100 }),
    ]
}

fn folded<'a>(aggregate: &Aggregate, items: impl IntoIterator<Item = &'a Item>) -> Partial {
    let mut partial = aggregate.partial();
    for (place, value) in items {
        partial.add(value.as_ref(), place);
    }
    partial
}

fn encoded(partial: &Partial) -> Vec<u8> {
    let mut out = Vec::new();
    partial.encode(&mut out);
    out
}

fn read_again(aggregate: &Aggregate, partial: &Partial) -> Partial {
    let mut bytes = encoded(partial);
    bytes.push(0xab);
    let mut rest = &bytes[..];
    let again = Partial::decode(aggregate, &mut rest).unwrap();
    assert_eq!(rest, [0xab], "it reads what it wrote and no more");
    again
}

/// Gives what a value looks like once it was kept.
fn kept(value: &Value) -> Value {
    packed::Packed::of(value).value()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(**number),
        _ => None,
    }
}

/// The value in units of 10⁻⁹, by way of decimals, at most the magnitude of the smallest `i64`.
fn units(value: &Value) -> Option<i128> {
    let bound = (1_i128 << 63) * 1_000_000_000;
    match value {
        Value::Integer(number) => Some(i128::from(*number) * 1_000_000_000),
        Value::Float(number) if number.abs() > 2_f64.powi(63) => {
            Some(if **number < 0.0 { -bound } else { bound })
        }
        Value::Float(number) => format!("{:.9}", **number).replace('.', "").parse().ok(),
        _ => None,
    }
}

fn near(found: &Value, expected: Option<f64>, tolerance: f64) -> bool {
    match (found, expected) {
        (Value::Null, None) => true,
        (Value::Float(found), Some(expected)) => {
            **found == expected || (**found - expected).abs() <= expected.abs() * tolerance
        }
        _ => false,
    }
}

/// Whether the result is that of the definition, over the list of all present values.
fn holds(aggregate: &Aggregate, items: &[Item], result: &Value) -> bool {
    let values: Vec<&Value> =
        items.iter().filter_map(|(_, value)| value.as_ref()).filter(|v| !v.is_null()).collect();
    let units: Vec<i128> = values.iter().filter_map(|value| units(value)).collect();
    let total = units.iter().sum::<i128>();
    match aggregate {
        Aggregate::Collect { max, distinct } => {
            let mut list: Vec<Value> = Vec::new();
            for value in values.into_iter().map(kept) {
                let known = |other: &Value| packed::hash(other) == packed::hash(&value);
                if !distinct || !list.iter().any(known) {
                    list.push(value);
                }
            }
            list.truncate(*max);
            *result == Value::Array(list)
        }
        Aggregate::Count { present: true } => *result == Value::Integer(values.len() as i64),
        Aggregate::Count { present: false } => *result == Value::Integer(items.len() as i64),
        Aggregate::Distinct { exact_max } => {
            let mut different: Vec<_> = values.into_iter().map(packed::hash).collect();
            different.sort_unstable();
            different.dedup();
            let Value::Integer(found) = *result else { return false };
            let (found, expected) = (found as usize, different.len());
            // So few leave almost each a register of its own.
            let bound = if expected > *exact_max { 2 } else { 0 };
            found.abs_diff(expected) <= bound && (bound == 0 || found > *exact_max)
        }
        Aggregate::First => *result == values.first().map_or(Value::Null, |value| kept(value)),
        Aggregate::Last => *result == values.last().map_or(Value::Null, |value| kept(value)),
        Aggregate::Max | Aggregate::Min => extreme(aggregate, &values) == *result,
        Aggregate::Mean => {
            let mean = (!units.is_empty()).then(|| total as f64 / units.len() as f64 / 1e9);
            near(result, mean, 1e-15)
        }
        Aggregate::Quantile { share } => {
            let mut numbers: Vec<f64> = values.into_iter().filter_map(number).collect();
            numbers.sort_by(f64::total_cmp);
            let rank = ((share * numbers.len() as f64).ceil() as usize).max(1);
            near(result, numbers.get(rank - 1).copied(), 1.0 / 128.0)
        }
        Aggregate::Stddev => near(result, deviation(&units), 1e-12),
        Aggregate::Sum => {
            let whole = values.iter().all(|value| !matches!(value, Value::Float(_)));
            match result {
                Value::Integer(sum) => whole && i128::from(*sum) * 1_000_000_000 == total,
                Value::Float(sum) => **sum == total as f64 / 1e9,
                _ => false,
            }
        }
        Aggregate::TopK { k, .. } => *result == top(*k, &values),
    }
}

fn extreme(aggregate: &Aggregate, values: &[&Value]) -> Value {
    let greatest = *aggregate == Aggregate::Max;
    let numbers: Vec<&Value> = values.iter().copied().filter(|v| number(v).is_some()).collect();
    let times: Vec<&Value> = values.iter().copied().filter(|v| v.is_timestamp()).collect();
    let texts: Vec<&Value> = values.iter().copied().filter(|v| v.is_bytes()).collect();
    let candidates = [numbers, times, texts].into_iter().find(|list| !list.is_empty());
    let found = candidates.unwrap_or_default().into_iter().reduce(|one, other| {
        let order = match (number(one), number(other)) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap().then(match (one, other) {
                (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
                (Value::Integer(_), _) => std::cmp::Ordering::Less,
                (_, Value::Integer(_)) => std::cmp::Ordering::Greater,
                _ => std::cmp::Ordering::Equal,
            }),
            _ => one.partial_cmp(other).unwrap(),
        };
        if order.is_gt() == greatest { one } else { other }
    });
    found.map_or(Value::Null, kept)
}

/// Twice through the list, as in school. What two passes of floats lose is far below the tolerance.
fn deviation(units: &[i128]) -> Option<f64> {
    let count = units.len() as f64;
    let mean = units.iter().sum::<i128>() / i128::try_from(units.len().max(1)).unwrap();
    let from_mean = units.iter().map(|unit| (unit - mean) as f64);
    // The mean was rounded down to a unit; this takes back what that adds.
    let rest = from_mean.clone().sum::<f64>();
    let squares = from_mean.map(|difference| difference * difference).sum::<f64>();
    let variance = (squares - rest * rest / count).max(0.0) / (count - 1.0);
    (units.len() >= 2).then(|| variance.sqrt() / 1e9)
}

fn top(k: usize, values: &[&Value]) -> Value {
    let mut counts: BTreeMap<packed::Packed, i64> = BTreeMap::new();
    for value in values {
        *counts.entry(packed::Packed::of(value)).or_default() += 1;
    }
    let mut list: Vec<_> = counts.into_iter().collect();
    // Sorting is stable, so values of equal counts stay in their order.
    list.sort_by_key(|(_, count)| -count);
    let items = list.into_iter().take(k).map(|(value, count)| {
        let mut members = ObjectMap::new();
        members.insert("value".into(), value.value());
        members.insert("count".into(), Value::Integer(count));
        Value::Object(members)
    });
    Value::Array(items.collect())
}

proptest! {
    #[test]
    fn parts_and_orders_do_not_show(
        aggregate in any_aggregate(),
        items in any_items(),
        parts in 1..7_usize,
        assigned in prop::collection::vec(any::<Index>(), 60),
        order in any::<u64>(),
        merges in prop::collection::vec(any::<(Index, bool)>(), 7),
    ) {
        let whole = folded(&aggregate, &items);
        let mut lists = vec![Vec::new(); parts];
        for (item, part) in items.iter().zip(&assigned) {
            lists[part.index(parts)].push(item);
        }
        let mut partials = Vec::new();
        for list in &mut lists {
            // Another order within the part.
            list.sort_by_key(|(place, _)| {
                azud_event::id::Id::of(&[&order.to_le_bytes(), &place.index.to_le_bytes()])
            });
            partials.push(folded(&aggregate, list.iter().copied()));
        }
        for (chosen, again) in merges {
            if partials.len() < 2 {
                break;
            }
            let other = partials.swap_remove(chosen.index(partials.len()));
            let at = chosen.index(partials.len());
            partials[at].merge(&other);
            if again {
                partials[at] = read_again(&aggregate, &partials[at]);
            }
        }
        let merged = partials.pop().unwrap();
        prop_assert_eq!(encoded(&merged), encoded(&whole));
        prop_assert_eq!(&read_again(&aggregate, &merged), &whole);
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(merged.is_approximate(), whole.is_approximate());
        let result = whole.finish(&aggregate);
        prop_assert!(holds(&aggregate, &items, &result), "{:?}: {:?}", aggregate, result);
        prop_assert!(aggregate.result_kind().is_superset(&(&result).into()).is_ok());
    }

    #[test]
    fn what_is_no_number_is_counted(aggregate in any_aggregate(), items in any_items()) {
        let partial = folded(&aggregate, &items);
        let present = items.iter().filter_map(|(_, value)| value.as_ref());
        let expected = match aggregate {
            Aggregate::Mean | Aggregate::Stddev | Aggregate::Sum | Aggregate::Quantile { .. } => {
                present.filter(|value| !value.is_null() && number(value).is_none()).count()
            }
            Aggregate::Max | Aggregate::Min => {
                let other = |v: &&Value| v.is_boolean() || v.is_array() || v.is_object();
                present.filter(other).count()
            }
            _ => 0,
        };
        prop_assert_eq!(partial.ignored(), expected as u64);
    }

    #[test]
    fn what_grows_never_falls(
        aggregate in any_aggregate().prop_filter("it grows", |it| it.grows(true)),
        items in any_items(),
        least: i64,
    ) {
        let mut partial = aggregate.partial();
        let mut reached = false;
        let is_negative = |value: &Value| number(value).is_some_and(|number| number < 0.0);
        for (place, value) in &items {
            if !aggregate.grows(false) && value.as_ref().is_some_and(is_negative) {
                continue;
            }
            partial.add(value.as_ref(), place);
            let result = number(&partial.finish(&aggregate));
            let now = result.is_some_and(|number| number >= (least >> 60) as f64);
            prop_assert!(now || !reached);
            reached |= now;
        }
    }

    #[test]
    fn parts_say_what_they_come_to_at_most(
        aggregate in any_aggregate().prop_filter("it grows", |it| it.grows(true)),
        parts in prop::collection::vec(any_items(), 1..4),
    ) {
        let is_negative = |value: &Value| number(value).is_some_and(|number| number < 0.0);
        let parts = parts.into_iter().map(|mut items| {
            let negative = |value: &Option<Value>| value.as_ref().is_some_and(is_negative);
            items.retain(|(_, value)| aggregate.grows(false) || !negative(value));
            folded(&aggregate, &items)
        });
        let parts: Vec<Partial> = parts.collect();
        let mut all = aggregate.partial();
        parts.iter().for_each(|part| all.merge(part));
        if let Some(result) = number(&all.finish(&aggregate)) {
            prop_assert!(aggregate.at_most(parts.iter()) >= result);
        }
    }

    #[test]
    fn no_bytes_panic(
        aggregate in any_aggregate(),
        items in any_items(),
        flips in prop::collection::vec(any::<(Index, u8)>(), 0..4),
        end in any::<Index>(),
    ) {
        let mut bytes = encoded(&folded(&aggregate, &items));
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len() + 1));
        if let Ok(partial) = Partial::decode(&aggregate, &mut &bytes[..]) {
            partial.finish(&aggregate);
            partial.clone().merge(&partial);
            prop_assert_eq!(&read_again(&aggregate, &partial), &partial);
        }
    }
}

#[test]
fn a_partial_is_bounded() {
    let place = |index| Place {
        event_time: EventTime::EPOCH,
        source: 0,
        stream: StreamId(0),
        position: 0,
        index,
    };
    let long =
        |number: u64| Value::from(format!("{number:04000}").chars().rev().collect::<String>());
    for (aggregate, bound) in [
        (Aggregate::Collect { max: 20, distinct: true }, 30_000),
        (Aggregate::Collect { max: 20, distinct: false }, 30_000),
        (Aggregate::Distinct { exact_max: 100 }, 20_000),
        (Aggregate::First, 2_000),
        (Aggregate::Max, 2_000),
        (Aggregate::TopK { k: 3, exact_max: 100 }, 120_000),
    ] {
        let mut partial = aggregate.partial();
        for number in 0..2_000 {
            partial.add(Some(&long(number)), &place(number));
        }
        assert!(partial.bytes() <= bound, "{aggregate:?} takes {}", partial.bytes());
        assert!(encoded(&partial).len() <= bound);
        assert!(partial.is_approximate(), "{aggregate:?}");
    }
    assert!(size_of::<Partial>() <= 32);
}
