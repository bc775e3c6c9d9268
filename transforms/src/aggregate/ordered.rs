//! First, last and collect: what stands where in the canonical order.
//!
//! The order is that of places, never that of arrival; so there are no ties but between values of
//! one record, which their bytes decide.

use super::code::{self, Malformed};
use super::extreme::End;
use super::packed::Packed;
use azud_event::row::Place;
use vrl::value::Value;

/// A value and where it stands. Ordered by place, then by the bytes of the value.
type Placed = (Place, Packed);

fn encode_placed((place, value): &Placed, out: &mut Vec<u8>) {
    code::push_place(place, out);
    value.encode(out);
}

fn decode_placed(bytes: &mut &[u8]) -> Result<Placed, Malformed> {
    Ok((code::take_place(bytes)?, Packed::decode(bytes)?))
}

/// The value of the first or the last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    end: End,
    kept: Option<Placed>,
}

impl Edge {
    /// Makes the one of no records.
    pub fn new(end: End) -> Edge {
        Edge { end, kept: None }
    }

    /// Adds a record.
    pub fn add(&mut self, value: &Value, place: &Place) {
        let beaten = self.kept.as_ref().is_some_and(|(kept, _)| match self.end {
            End::Least => kept < place,
            End::Greatest => kept > place,
        });
        // Most are beaten by place; those need not be packed.
        if !beaten {
            self.offer(&(*place, Packed::of(value)));
        }
    }

    /// Adds what another has kept.
    pub fn merge(&mut self, other: &Edge) {
        if let Some(kept) = &other.kept {
            self.offer(kept);
        }
    }

    fn offer(&mut self, placed: &Placed) {
        let better = self.kept.as_ref().is_none_or(|kept| match self.end {
            End::Least => placed < kept,
            End::Greatest => placed > kept,
        });
        if better {
            self.kept = Some(placed.clone());
        }
    }

    /// Gives the value, null of none.
    pub fn value(&self) -> Value {
        self.kept.as_ref().map_or(Value::Null, |(_, value)| value.value())
    }

    /// Whether the value lacks its end.
    pub fn is_approximate(&self) -> bool {
        self.kept.as_ref().is_some_and(|(_, value)| value.is_cut())
    }

    /// Gives how much memory it holds beside itself, in bytes.
    pub fn bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |(_, value)| value.bytes())
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_truth(self.kept.is_some(), out);
        if let Some(kept) = &self.kept {
            encode_placed(kept, out);
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(end: End, bytes: &mut &[u8]) -> Result<Edge, Malformed> {
        let kept = code::take_truth(bytes)?.then(|| decode_placed(bytes)).transpose()?;
        Ok(Edge { end, kept })
    }
}

/// The values of the first records: the `max` that stand first, or the `max` values that do.
///
/// Order-free, since what is among the first of all is among the first of any part: it is never let
/// go before. Of distinct values each stands where its first record does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    max: usize,
    distinct: bool,
    /// Sorted, at most `max`.
    kept: Vec<Placed>,
}

impl Collected {
    /// Makes the one of no records.
    pub fn new(max: usize, distinct: bool) -> Collected {
        Collected { max, distinct, kept: Vec::new() }
    }

    /// Adds a record.
    pub fn add(&mut self, value: &Value, place: &Place) {
        // What stands behind the last of a full list changes nothing, and most records do.
        if !self.is_full() || self.kept.last().is_some_and(|(last, _)| place <= last) {
            self.offer((*place, Packed::of(value)));
        }
    }

    /// Adds what another has kept.
    pub fn merge(&mut self, other: &Collected) {
        for placed in &other.kept {
            // They are sorted: when one stands behind the last of a full list, all others do.
            if self.is_full() && self.kept.last().is_some_and(|last| placed > last) {
                return;
            }
            self.offer(placed.clone());
        }
    }

    fn is_full(&self) -> bool {
        self.kept.len() >= self.max
    }

    fn offer(&mut self, placed: Placed) {
        if self.distinct
            && let Some(at) = self.kept.iter().position(|(_, value)| *value == placed.1)
        {
            if self.kept[at].0 <= placed.0 {
                return;
            }
            self.kept.remove(at);
        }
        let at = self.kept.partition_point(|kept| *kept <= placed);
        self.kept.insert(at, placed);
        self.kept.truncate(self.max);
    }

    /// Gives the values as a list, in the canonical order of their records.
    pub fn value(&self) -> Value {
        Value::Array(self.kept.iter().map(|(_, value)| value.value()).collect())
    }

    /// Whether a value lacks its end. That there were more than `max` is what the author asked for.
    pub fn is_approximate(&self) -> bool {
        self.kept.iter().any(|(_, value)| value.is_cut())
    }

    /// Gives how much memory it holds beside itself, in bytes.
    pub fn bytes(&self) -> usize {
        let values = self.kept.iter().map(|(_, value)| value.bytes());
        self.kept.capacity() * size_of::<Placed>() + values.sum::<usize>()
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_number(self.kept.len() as u64, out);
        self.kept.iter().for_each(|placed| encode_placed(placed, out));
    }

    /// Reads what `encode` wrote.
    pub fn decode(max: usize, distinct: bool, bytes: &mut &[u8]) -> Result<Collected, Malformed> {
        let count = code::take_count(bytes, max)?;
        let kept = (0..count).map(|_| decode_placed(bytes)).collect::<Result<Vec<_>, _>>()?;
        if !kept.is_sorted() {
            return Err(Malformed("a list is out of order"));
        }
        Ok(Collected { max, distinct, kept })
    }
}
