//! The one list of aggregates, and the check of a field's table. The words of the option, its
//! reference and the table of the manual are made from the list, so they cannot drift apart.

use super::Aggregate;
use azud_plan::component::{Default, OptionKind, OptionSpec, Options};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::document::Value;

/// An aggregate as people see it.
#[derive(Debug)]
pub struct AggregateSpec {
    /// Its name: the word of `aggregate`.
    pub name: &'static str,
    /// What it makes of the records.
    pub makes: &'static str,
    /// What type that has.
    pub gives: &'static str,
    /// Options that it must have.
    pub needs: &'static [&'static str],
    /// Further options that it may have.
    pub takes: &'static [&'static str],
}

macro_rules! aggregates {
    ($($name:literal makes $makes:literal gives $gives:literal
        needs [$($need:literal),*] takes [$($take:literal),*])*) => {
        /// Every aggregate, sorted by name.
        pub const AGGREGATES: &[AggregateSpec] = &[$(AggregateSpec {
            name: $name,
            makes: $makes,
            gives: $gives,
            needs: &[$($need),*],
            takes: &[$($take),*],
        }),*];

        const WORDS: &[(&str, &str)] = &[$(($name, concat!($makes, "; gives ", $gives))),*];

        /// The aggregates as a table in Markdown, for the manual.
        pub const TABLE: &str = concat!(
            "| aggregate | makes | gives | options (bold: needed) |\n|---|---|---|---|\n",
            $("| `", $name, "` | ", $makes, " | ", $gives, " |",
                $(" **`", $need, "`**",)* $(" `", $take, "`",)* " |\n"),*
        );
    };
}

aggregates! {
    "collect"
        makes "the values of the first records, by event time"
        gives "a list"
        needs ["field"] takes ["distinct", "max"]
    "count"
        makes "how many records there are; with `field`, how many have it"
        gives "a whole number"
        needs [] takes ["field"]
    "distinct"
        makes "how many different values there are, beyond `exact_max` within some 2 %"
        gives "a whole number"
        needs ["field"] takes ["exact_max"]
    "first"
        makes "the value of the first record, by event time"
        gives "any value, null of none"
        needs ["field"] takes []
    "last"
        makes "the value of the last record, by event time"
        gives "any value, null of none"
        needs ["field"] takes []
    "max"
        makes "the greatest number; of times and texts only where there are no numbers"
        gives "a number, time or text, null of none"
        needs ["field"] takes []
    "mean"
        makes "the mean of the numbers"
        gives "a float, null of none"
        needs ["field"] takes []
    "min"
        makes "the least number; of times and texts only where there are no numbers"
        gives "a number, time or text, null of none"
        needs ["field"] takes []
    "quantile"
        makes "the number that the share `quantile` of all numbers does not exceed, within 0.8 %"
        gives "a float, null of none"
        needs ["field", "quantile"] takes []
    "stddev"
        makes "the standard deviation of the numbers, as of a sample"
        gives "a float, null of fewer than two"
        needs ["field"] takes []
    "sum"
        makes "the sum of the numbers, each rounded to nine decimals"
        gives "a whole number when all are, else a float; 0 of none"
        needs ["field"] takes []
    "top_k"
        makes "the most frequent values, exact up to `exact_max` different ones"
        gives "a list of `{ count, value }`, the most frequent first"
        needs ["field"] takes ["exact_max", "k"]
}

/// Options that every field has: whatever the aggregate is.
const ALWAYS: &[&str] = &["aggregate", "condition"];

/// The options of one field of a result, sorted: those of all aggregates.
pub const FIELD_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "aggregate",
        kind: OptionKind::OneOf(WORDS),
        default: Default::Required,
        summary: "What to make of the records. Fields that are absent or null do not count, nor do \
                  values of a type that it cannot use, such as a text under `sum`.",
    },
    OptionSpec {
        name: "condition",
        kind: OptionKind::Condition,
        default: Default::None,
        summary: "What must hold of a record to count for this field. Without it all do.",
    },
    OptionSpec {
        name: "distinct",
        kind: OptionKind::Boolean,
        default: Default::Value("false"),
        summary: "Whether `collect` lists each value once.",
    },
    OptionSpec {
        name: "exact_max",
        // Fewer would take less memory than the sketch that follows them, more than a window
        // should.
        kind: OptionKind::Integer { min: 1_000, max: 1_000_000 },
        default: Default::Value("10_000"),
        summary: "Up to how many different values `distinct` and `top_k` are exact. Beyond it the \
                  result is marked as approximate. Each takes some 24 bytes in `distinct`, and its \
                  length and some 40 bytes in `top_k`.",
    },
    OptionSpec {
        name: "field",
        kind: OptionKind::Field,
        default: Default::None,
        summary: "The field to look at. All aggregates but `count` need one.",
    },
    OptionSpec {
        name: "k",
        kind: OptionKind::Integer { min: 1, max: 1_000 },
        default: Default::Value("10"),
        summary: "How many of the most frequent values `top_k` lists.",
    },
    OptionSpec {
        name: "max",
        kind: OptionKind::Integer { min: 1, max: 1_000 },
        default: Default::Value("20"),
        summary: "How many values `collect` lists.",
    },
    OptionSpec {
        name: "quantile",
        kind: OptionKind::Any,
        default: Default::None,
        summary: "Which quantile, a number from 0 to 1: `0.95` for the 95th percentile.",
    },
];

impl Aggregate {
    /// Reads one field's table, whose options are [`FIELD_OPTIONS`] and already held against them.
    ///
    /// The caller compiles `condition`, and reads `field` with [`Options::field`]. `None` when the
    /// table is not sound; the faults are in `checker`.
    pub fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Aggregate> {
        let name = options.one_of("aggregate")?;
        let spec = AGGREGATES.iter().find(|spec| spec.name == name)?;
        let fits = fits(spec, options, checker);
        let count = |name| options.integer(name).and_then(|count| usize::try_from(count).ok());
        let aggregate = match name {
            "collect" => {
                Aggregate::Collect { max: count("max")?, distinct: options.boolean("distinct")? }
            }
            "count" => Aggregate::Count { present: options.has("field") },
            "distinct" => Aggregate::Distinct { exact_max: count("exact_max")? },
            "first" => Aggregate::First,
            "last" => Aggregate::Last,
            "max" => Aggregate::Max,
            "mean" => Aggregate::Mean,
            "min" => Aggregate::Min,
            "quantile" => Aggregate::Quantile { share: share(options, checker)? },
            "stddev" => Aggregate::Stddev,
            "sum" => Aggregate::Sum,
            "top_k" => Aggregate::TopK { k: count("k")?, exact_max: count("exact_max")? },
            _ => return None,
        };
        fits.then_some(aggregate)
    }
}

/// Whether the table has what the aggregate needs, and nothing that it does not take.
fn fits(spec: &AggregateSpec, options: &Options<'_>, checker: &mut Checker) -> bool {
    let mut fits = true;
    for need in spec.needs.iter().filter(|need| !options.has(need)) {
        let title = format!("`{}` needs the option `{need}`", spec.name);
        let found = Diagnostic::error(codes::MISSING_OPTION, options.place, title, "");
        let example = match *need {
            "field" => "name the field to look at: field = \"user.name\"",
            _ => "quantile = 0.95 gives the 95th percentile",
        };
        checker.report(found.help(example));
        fits = false;
    }
    let known: Vec<_> = [ALWAYS, spec.needs, spec.takes].concat();
    for entry in &options.table.entries {
        let ours = FIELD_OPTIONS.iter().any(|option| option.name == entry.key);
        if ours && !known.contains(&entry.key.as_str()) {
            let title = format!("`{}` is no option of `{}`", entry.key, spec.name);
            let takers = AGGREGATES
                .iter()
                .filter(|other| [other.needs, other.takes].concat().contains(&entry.key.as_str()));
            let takers: Vec<_> = takers.map(|taker| format!("`{}`", taker.name)).collect();
            let found = Diagnostic::error(codes::UNKNOWN_OPTION, entry.key_span, title, "");
            checker.report(found.help(format!("it is one of {}", takers.join(", "))));
            fits = false;
        }
    }
    fits
}

/// Reads `quantile`: the specification lets any value through.
fn share(options: &Options<'_>, checker: &mut Checker) -> Option<f64> {
    let node = options.node("quantile")?;
    let share = match node.value {
        Value::Float(share) => share,
        Value::Integer(share) => share as f64,
        _ => {
            let title = format!("`quantile` is a number from 0 to 1, not {}", node.type_name());
            checker.report(Diagnostic::error(codes::WRONG_TYPE, node.span, title, ""));
            return None;
        }
    };
    if (0.0..=1.0).contains(&share) {
        return Some(share);
    }
    let title = format!("`quantile` is {share}, and not from 0 to 1");
    let found = Diagnostic::error(codes::OUT_OF_BOUNDS, node.span, title, "");
    let percent = (1.0..=100.0).contains(&share);
    let help = percent.then(|| format!("the {share}th percentile is {}", share / 100.0));
    checker.report(help.into_iter().fold(found, Diagnostic::help));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_plan::component::check_options;
    use azud_plan::document::Document;

    fn check(toml: &str) -> (Option<Aggregate>, Vec<Diagnostic>) {
        let mut checker = Checker::default();
        let document = Document::parse(0, toml, &mut checker).unwrap();
        check_options(&document.root, FIELD_OPTIONS, &[], "a field", &mut checker);
        let options = Options::new("x", &document.root, FIELD_OPTIONS);
        (Aggregate::check(&options, &mut checker), checker.diagnostics)
    }

    fn codes_of(toml: &str) -> Vec<&'static str> {
        let (aggregate, found) = check(toml);
        assert!(aggregate.is_none(), "{toml}: {aggregate:?}");
        found.iter().map(|found| found.code.0).collect()
    }

    #[test]
    fn the_lists_are_sorted_and_agree() {
        assert!(AGGREGATES.is_sorted_by(|one, next| one.name < next.name));
        assert!(FIELD_OPTIONS.is_sorted_by(|one, next| one.name < next.name));
        let mut known: Vec<_> =
            AGGREGATES.iter().flat_map(|spec| [spec.needs, spec.takes, ALWAYS].concat()).collect();
        known.sort_unstable();
        known.dedup();
        let options: Vec<_> = FIELD_OPTIONS.iter().map(|option| option.name).collect();
        assert_eq!(known, options);
        let line = "| `sum` | the sum of the numbers, each rounded to nine decimals | a whole \
                    number when all are, else a float; 0 of none | **`field`** |\n";
        assert!(TABLE.contains(line), "{TABLE}");
    }

    #[test]
    fn every_aggregate_is_read() {
        for spec in AGGREGATES {
            let mut toml = format!("aggregate = '{}'\n", spec.name);
            for need in spec.needs {
                let value = if *need == "quantile" { "0.5" } else { "'a.b'" };
                toml.push_str(&format!("{need} = {value}\n"));
            }
            let (aggregate, found) = check(&toml);
            let aggregate = aggregate.unwrap_or_else(|| panic!("{}: {found:?}", spec.name));
            assert_eq!(aggregate.needs_field(), spec.needs.contains(&"field"), "{}", spec.name);
        }
        let collect = "aggregate = 'collect'\nfield = '.a'\nmax = 3\ndistinct = true";
        assert_eq!(check(collect).0, Some(Aggregate::Collect { max: 3, distinct: true }));
        let top = "aggregate = 'top_k'\nfield = 'a'\nk = 5\nexact_max = 2_000";
        assert_eq!(check(top).0, Some(Aggregate::TopK { k: 5, exact_max: 2_000 }));
        let count = "aggregate = 'count'\nfield = 'a'\ncondition = 'true'";
        assert_eq!(check(count).0, Some(Aggregate::Count { present: true }));
        let quantile = "aggregate = 'quantile'\nfield = 'a'\nquantile = 1";
        assert_eq!(check(quantile).0, Some(Aggregate::Quantile { share: 1.0 }));
    }

    #[test]
    fn faults_are_found_all_at_once() {
        assert_eq!(codes_of("aggregate = 'cuont'"), ["P008"]);
        assert_eq!(codes_of("aggregate = 'sum'"), ["P004"]);
        assert_eq!(codes_of("aggregate = 'quantile'\nmax = 1"), ["P004", "P004", "P003"]);
        assert_eq!(codes_of("aggregate = 'collect'\nfield = 'a'\nmax = 0"), ["P007"]);
        let quantile = "aggregate = 'quantile'\nfield = 'a'\nquantile = ";
        assert_eq!(codes_of(&format!("{quantile}'p95'")), ["P005"]);
        assert_eq!(codes_of(&format!("{quantile}nan")), ["P007"]);
        let (_, found) = check(&format!("{quantile}95"));
        assert_eq!(found[0].help, ["the 95th percentile is 0.95"]);
        let (_, found) = check("aggregate = 'count'\nmax = 1");
        assert_eq!(found[0].help, ["it is one of `collect`"]);
    }
}
