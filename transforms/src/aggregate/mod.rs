//! Aggregates: what `summarize` makes of the records of a window.
//!
//! A worker folds the records it has into a [`Partial`]; where the key lives, partials of all workers,
//! blocks and panes are merged, and [`Partial::finish`] makes a value of them.

mod code;

pub use code::Malformed;

use azud_event::row::Place;
use azud_plan::component::{Default, OptionKind, OptionSpec, Options};
use azud_plan::diagnostic::Checker;
use vrl::value::{Kind, Value};

/// The options of one field of a result, sorted: those of all aggregates.
pub const FIELD_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "aggregate",
        kind: OptionKind::OneOf(&[("count", "how many records there are")]),
        default: Default::Required,
        summary: "What to make of the records.",
    },
    OptionSpec {
        name: "condition",
        kind: OptionKind::Condition,
        default: Default::None,
        summary: "What must hold of a record to count for this field. Without it all count.",
    },
    OptionSpec {
        name: "field",
        kind: OptionKind::Field,
        default: Default::None,
        summary: "The field to look at.",
    },
];

/// A checked aggregate: what to make of the records of a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Aggregate {
    /// How many records there are.
    Count {
        /// Only those that have the field.
        present: bool,
    },
}

impl Aggregate {
    /// Reads one field's table, whose options are [`FIELD_OPTIONS`].
    ///
    /// The caller compiles `condition` and reads `field` with [`Options::field`]. None, and the
    /// faults are in `checker`, when the table is not sound.
    pub fn check(options: &Options<'_>, _checker: &mut Checker) -> Option<Aggregate> {
        options.one_of("aggregate")?;
        Some(Aggregate::Count { present: options.has("field") })
    }

    /// Gives the partial of no record at all.
    pub fn partial(&self) -> Partial {
        match self {
            Aggregate::Count { present } => Partial::Count { records: 0, present: *present },
        }
    }

    /// Whether it makes something of a field, and so needs one.
    pub fn needs_field(&self) -> bool {
        !matches!(self, Aggregate::Count { .. })
    }

    /// Whether `result >= constant` can only become truer as records are added.
    pub fn grows(&self) -> bool {
        matches!(self, Aggregate::Count { .. })
    }

    /// Gives the type of what [`Partial::finish`] gives.
    pub fn result_kind(&self) -> Kind {
        Kind::integer()
    }
}

/// What has been gathered so far: bounded, and merged in any order with the same result.
#[derive(Clone, Debug, PartialEq)]
pub enum Partial {
    /// Of [`Aggregate::Count`].
    Count {
        /// How many there were.
        records: u64,
        /// Only those that have the field.
        present: bool,
    },
}

impl Partial {
    /// Adds a record, by its value of the field; `None` when it has none.
    ///
    /// `count` without a field counts every record, so `None` is right for it.
    pub fn add(&mut self, value: Option<&Value>, _place: &Place) {
        let Partial::Count { records, present } = self;
        if !*present || value.is_some_and(|value| !value.is_null()) {
            *records = records.saturating_add(1);
        }
    }

    /// Adds what another partial of the same aggregate has gathered.
    pub fn merge(&mut self, other: &Partial) {
        let (Partial::Count { records, .. }, Partial::Count { records: more, .. }) = (self, other);
        *records = records.saturating_add(*more);
    }

    /// Gives the result.
    pub fn finish(&self, _aggregate: &Aggregate) -> Value {
        let Partial::Count { records, .. } = self;
        Value::Integer(i64::try_from(*records).unwrap_or(i64::MAX))
    }

    /// Whether a bound was hit, so that the result is not exact.
    pub fn is_approximate(&self) -> bool {
        false
    }

    /// Gives how many values were passed over because they are of a type that the aggregate cannot
    /// use, such as a text under `sum`. Absent and null ones are not counted.
    pub fn ignored(&self) -> u64 {
        0
    }

    /// Appends its canonical form: equal partials have equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Partial::Count { records, .. } = self;
        code::push_number(*records, out);
    }

    /// Reads what [`Partial::encode`] wrote for a partial of `aggregate`, and moves `bytes` behind it.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not of such a partial.
    pub fn decode(aggregate: &Aggregate, bytes: &mut &[u8]) -> Result<Partial, Malformed> {
        let Aggregate::Count { present } = aggregate;
        Ok(Partial::Count { records: code::take_number(bytes)?, present: *present })
    }

    /// Gives about how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Partial>()
    }
}
