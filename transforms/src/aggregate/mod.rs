//! Aggregates: what `summarize` makes of the records of a window.
//!
//! A worker folds the records it has into a [`Partial`], one for each key and pane, before they are
//! exchanged. Where the key lives, the partials of all workers, blocks and panes are merged, and
//! [`Partial::finish`] makes a value of them. So that an answer depends on neither workers nor
//! cuts:
//!
//! - **A merge is commutative and associative, bit for bit**: a partial is a function of the *set*
//!   of records (each known by its place), not of the way they came. Floats are never added as such
//!   (`number`), nothing asks for the first that arrived (`ordered`), sketches are unions
//!   (`distinct`, `quantile`). One exception, and it is marked: beyond its bound on different
//!   values `top_k` only bounds its error (`top`).
//! - **A partial is bounded**, and says with [`Partial::is_approximate`] when a bound was hit.
//! - **Its bytes are canonical**: equal partials encode equally. They cross threads and outlive the
//!   process.
//! - **Absent and null fields count for nothing**, as NULL does in SQL. A value of a type that the
//!   aggregate cannot use is passed over and counted ([`Partial::ignored`]): a text is not silently
//!   read as a number.
//!
//! The naive model of each, and the tests that hold these against it, are in `model`.

mod check;
mod code;
mod distinct;
mod extreme;
#[cfg(test)]
mod model;
mod number;
mod ordered;
mod packed;
mod quantile;
mod top;

pub use check::{AGGREGATES, AggregateSpec, FIELD_OPTIONS, TABLE};
pub use code::Malformed;
pub use packed::VALUE_BYTES_MAX;

use azud_event::row::Place;
use distinct::Distinct;
use extreme::{End, Extreme};
use number::{Spread, Sum};
use ordered::{Collected, Edge};
use quantile::Sketch;
use top::Top;
use vrl::value::kind::Collection;
use vrl::value::{Kind, Value};

/// A checked aggregate: what to make of the records of a window. Made by [`Aggregate::check`].
#[derive(Clone, Debug, PartialEq)]
pub enum Aggregate {
    /// The values of the records that stand first.
    Collect {
        /// How many.
        max: usize,
        /// Each value once.
        distinct: bool,
    },
    /// How many records there are.
    Count {
        /// Only those that have the field.
        present: bool,
    },
    /// How many different values there are.
    Distinct {
        /// Up to how many of them the count is exact.
        exact_max: usize,
    },
    /// The value of the record that stands first.
    First,
    /// The value of the record that stands last.
    Last,
    /// The greatest value.
    Max,
    /// The mean of the numbers.
    Mean,
    /// The least value.
    Min,
    /// The number below which a share of all numbers is.
    Quantile {
        /// The share, from 0 to 1.
        share: f64,
    },
    /// The standard deviation of the numbers.
    Stddev,
    /// The sum of the numbers.
    Sum,
    /// The most frequent values.
    TopK {
        /// How many.
        k: usize,
        /// Up to how many different values the counts are exact.
        exact_max: usize,
    },
}

impl Aggregate {
    /// Gives the partial of no record at all.
    pub fn partial(&self) -> Partial {
        let state = match self {
            Aggregate::Collect { max, distinct } => {
                State::Collect(Box::new(Collected::new(*max, *distinct)))
            }
            Aggregate::Count { present } => State::Count { records: 0, present: *present },
            Aggregate::Distinct { exact_max } => {
                State::Distinct(Box::new(Distinct::new(*exact_max)))
            }
            Aggregate::First => State::Edge(Box::new(Edge::new(End::Least))),
            Aggregate::Last => State::Edge(Box::new(Edge::new(End::Greatest))),
            Aggregate::Max => State::Extreme(Box::new(Extreme::new(End::Greatest))),
            Aggregate::Min => State::Extreme(Box::new(Extreme::new(End::Least))),
            Aggregate::Mean | Aggregate::Sum => State::Sum(Box::default()),
            Aggregate::Quantile { .. } => State::Quantile(Box::new(Sketch::new())),
            Aggregate::Stddev => State::Spread(Box::default()),
            Aggregate::TopK { exact_max, .. } => State::Top(Box::new(Top::new(*exact_max))),
        };
        Partial { ignored: 0, state }
    }

    /// Whether it makes something of a field, and so needs one.
    pub fn needs_field(&self) -> bool {
        !matches!(self, Aggregate::Count { .. })
    }

    /// Whether `result >= number` can only become truer as records are added, so that a condition
    /// of that form may be told before the window closes. A sum grows only if no value is negative,
    /// which is for the caller to know.
    pub fn grows(&self, no_value_is_negative: bool) -> bool {
        match self {
            Aggregate::Count { .. } | Aggregate::Distinct { .. } | Aggregate::Max => true,
            Aggregate::Sum => no_value_is_negative,
            _ => false,
        }
    }

    /// Gives a number that the result over all `parts` is not above, without merging them. Of an
    /// aggregate that does not grow it says nothing.
    pub fn at_most<'a>(&self, parts: impl Iterator<Item = &'a Partial>) -> f64 {
        let numbers = parts.map(|part| match part.finish(self) {
            Value::Integer(number) => number as f64,
            Value::Float(number) => *number,
            _ => f64::NEG_INFINITY,
        });
        match self {
            Aggregate::Count { .. } => numbers.sum(),
            Aggregate::Max => numbers.fold(f64::NEG_INFINITY, f64::max),
            Aggregate::Distinct { exact_max } => {
                let sum: f64 = numbers.sum();
                // An estimate is off by 0.81 % in one case of three, by a tenth in none.
                if sum > *exact_max as f64 { sum * 1.1 } else { sum }
            }
            // What was rounded while adding is far less than this.
            Aggregate::Sum => numbers.sum::<f64>() * (1.0 + 1e-9),
            _ => f64::INFINITY,
        }
    }

    /// Gives the type of what [`Partial::finish`] gives.
    pub fn result_kind(&self) -> Kind {
        let any = || Kind::any().without_undefined();
        match self {
            Aggregate::Collect { .. } => Kind::array(Collection::from_unknown(any())),
            Aggregate::Count { .. } | Aggregate::Distinct { .. } => Kind::integer(),
            Aggregate::First | Aggregate::Last => any(),
            Aggregate::Max | Aggregate::Min => {
                Kind::integer().or_float().or_timestamp().or_bytes().or_null()
            }
            Aggregate::Mean | Aggregate::Quantile { .. } | Aggregate::Stddev => {
                Kind::float().or_null()
            }
            Aggregate::Sum => Kind::integer().or_float(),
            Aggregate::TopK { .. } => {
                let item = Collection::empty()
                    .with_known("count", Kind::integer())
                    .with_known("value", any());
                Kind::array(Collection::from_unknown(Kind::object(item)))
            }
        }
    }
}

/// What has been gathered so far: a bounded state, merged in any order with the same result.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// How many values were of a type that the aggregate cannot use.
    ignored: u64,
    state: State,
}

// Boxed, as most fields are counts, of which a window has many.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Collect(Box<Collected>),
    Count { records: u64, present: bool },
    Distinct(Box<Distinct>),
    Edge(Box<Edge>),
    Extreme(Box<Extreme>),
    Quantile(Box<Sketch>),
    Spread(Box<Spread>),
    Sum(Box<Sum>),
    Top(Box<Top>),
}

impl Partial {
    /// Adds a record, by its value of the field; `None` when it has no such field.
    ///
    /// A record is added once; partials of the same record must not be merged. For `count` without
    /// a field `value` does not matter.
    pub fn add(&mut self, value: Option<&Value>, place: &Place) {
        let value = value.filter(|value| !value.is_null());
        if let State::Count { records, present } = &mut self.state {
            if value.is_some() || !*present {
                *records = records.saturating_add(1);
            }
            return;
        }
        let Some(value) = value else { return };
        let used = match &mut self.state {
            State::Count { .. } => true,
            State::Collect(collected) => {
                collected.add(value, place);
                true
            }
            State::Distinct(distinct) => {
                distinct.add(value);
                true
            }
            State::Edge(edge) => {
                edge.add(value, place);
                true
            }
            State::Top(top) => {
                top.add(value);
                true
            }
            State::Extreme(extreme) => extreme.add(value),
            State::Quantile(sketch) => sketch.add(value),
            State::Spread(spread) => spread.add(value),
            State::Sum(sum) => sum.add(value),
        };
        self.ignored = self.ignored.saturating_add(u64::from(!used));
    }

    /// Adds what another partial of the same aggregate has gathered.
    ///
    /// # Panics
    /// In tests, when the other is of another aggregate; else it then changes nothing.
    pub fn merge(&mut self, other: &Partial) {
        self.ignored = self.ignored.saturating_add(other.ignored);
        match (&mut self.state, &other.state) {
            (State::Collect(one), State::Collect(other)) => one.merge(other),
            (State::Count { records, .. }, State::Count { records: others, .. }) => {
                *records = records.saturating_add(*others);
            }
            (State::Distinct(one), State::Distinct(other)) => one.merge(other),
            (State::Edge(one), State::Edge(other)) => one.merge(other),
            (State::Extreme(one), State::Extreme(other)) => one.merge(other),
            (State::Quantile(one), State::Quantile(other)) => one.merge(other),
            (State::Spread(one), State::Spread(other)) => one.merge(other),
            (State::Sum(one), State::Sum(other)) => one.merge(other),
            (State::Top(one), State::Top(other)) => one.merge(other),
            (one, other) => debug_assert!(false, "{one:?} is merged with {other:?}"),
        }
    }

    /// Gives the result of the aggregate that made this.
    pub fn finish(&self, aggregate: &Aggregate) -> Value {
        let whole = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        match (&self.state, aggregate) {
            (State::Collect(collected), _) => collected.value(),
            (State::Count { records, .. }, _) => whole(*records),
            (State::Distinct(distinct), _) => whole(distinct.count()),
            (State::Edge(edge), _) => edge.value(),
            (State::Extreme(extreme), _) => extreme.value(),
            (State::Quantile(sketch), Aggregate::Quantile { share }) => sketch.quantile(*share),
            (State::Spread(spread), _) => spread.stddev(),
            (State::Sum(sum), Aggregate::Mean) => sum.mean(),
            (State::Sum(sum), _) => sum.sum(),
            (State::Top(top), Aggregate::TopK { k, .. }) => top.value(*k),
            (state @ (State::Quantile(_) | State::Top(_)), aggregate) => {
                debug_assert!(false, "{state:?} is finished as {aggregate:?}");
                Value::Null
            }
        }
    }

    /// Whether a bound was hit, so that the result may differ from that of all records: too many
    /// different values to tell apart, a number out of range, a value that had to be cut.
    ///
    /// That `quantile` is within 0.8 %, and `collect` has at most `max` items, is their definition
    /// and not told here.
    pub fn is_approximate(&self) -> bool {
        match &self.state {
            State::Collect(collected) => collected.is_approximate(),
            State::Count { .. } => false,
            State::Distinct(distinct) => distinct.is_approximate(),
            State::Edge(edge) => edge.is_approximate(),
            State::Extreme(extreme) => extreme.is_approximate(),
            State::Quantile(sketch) => sketch.is_approximate(),
            State::Spread(spread) => spread.is_approximate(),
            State::Sum(sum) => sum.is_approximate(),
            State::Top(top) => top.is_approximate(),
        }
    }

    /// Gives how many values were passed over because they are of a type that the aggregate cannot
    /// use, such as a text under `sum`. Absent and null fields are not among them.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Appends its canonical form: equal partials have equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_number(self.ignored, out);
        match &self.state {
            State::Collect(collected) => collected.encode(out),
            State::Count { records, .. } => code::push_number(*records, out),
            State::Distinct(distinct) => distinct.encode(out),
            State::Edge(edge) => edge.encode(out),
            State::Extreme(extreme) => extreme.encode(out),
            State::Quantile(sketch) => sketch.encode(out),
            State::Spread(spread) => spread.encode(out),
            State::Sum(sum) => sum.encode(out),
            State::Top(top) => top.encode(out),
        }
    }

    /// Reads what [`Partial::encode`] wrote for a partial of `aggregate`, and moves `bytes` behind
    /// it.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not of such a partial.
    pub fn decode(aggregate: &Aggregate, bytes: &mut &[u8]) -> Result<Partial, Malformed> {
        let ignored = code::take_number(bytes)?;
        let state = match aggregate {
            Aggregate::Collect { max, distinct } => {
                State::Collect(Box::new(Collected::decode(*max, *distinct, bytes)?))
            }
            Aggregate::Count { present } => {
                State::Count { records: code::take_number(bytes)?, present: *present }
            }
            Aggregate::Distinct { exact_max } => {
                State::Distinct(Box::new(Distinct::decode(*exact_max, bytes)?))
            }
            Aggregate::First => State::Edge(Box::new(Edge::decode(End::Least, bytes)?)),
            Aggregate::Last => State::Edge(Box::new(Edge::decode(End::Greatest, bytes)?)),
            Aggregate::Max => State::Extreme(Box::new(Extreme::decode(End::Greatest, bytes)?)),
            Aggregate::Min => State::Extreme(Box::new(Extreme::decode(End::Least, bytes)?)),
            Aggregate::Mean | Aggregate::Sum => State::Sum(Box::new(Sum::decode(bytes)?)),
            Aggregate::Quantile { .. } => State::Quantile(Box::new(Sketch::decode(bytes)?)),
            Aggregate::Stddev => State::Spread(Box::new(Spread::decode(bytes)?)),
            Aggregate::TopK { exact_max, .. } => {
                State::Top(Box::new(Top::decode(*exact_max, bytes)?))
            }
        };
        Ok(Partial { ignored, state })
    }

    /// Gives about how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let held = match &self.state {
            State::Collect(collected) => size_of::<Collected>() + collected.bytes(),
            State::Count { .. } => 0,
            State::Distinct(distinct) => size_of::<Distinct>() + distinct.bytes(),
            State::Edge(edge) => size_of::<Edge>() + edge.bytes(),
            State::Extreme(extreme) => size_of::<Extreme>() + extreme.bytes(),
            State::Quantile(sketch) => size_of::<Sketch>() + sketch.bytes(),
            State::Spread(_) => size_of::<Spread>(),
            State::Sum(_) => size_of::<Sum>(),
            State::Top(top) => size_of::<Top>() + top.bytes(),
        };
        size_of::<Partial>() + held
    }
}
