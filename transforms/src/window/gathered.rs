//! What has been gathered of a set of records: merged in any order with the same result.

use super::code::{self, Damaged};
use super::partials::Partials;
use super::sorted::Sorted;
use crate::aggregate::{Aggregate, Partial};
use azud_event::id::StreamId;
use azud_event::row::Place;
use azud_event::time::EventTime;
use std::collections::BTreeMap;

/// What is gathered of records.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// What becomes of them, by field of the result.
    pub fields: Vec<Field>,
    /// Which of them are kept as they came.
    pub evidence: Evidence,
}

/// A field of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// What it is made by.
    pub aggregate: Aggregate,
}

/// How many records are kept as they came: the first and the last in the canonical order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// From the beginning.
    pub first: usize,
    /// From the end.
    pub last: usize,
}

/// What has been gathered of a set of records.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    /// How many records.
    pub count: u64,
    /// Event time of the first.
    pub first: EventTime,
    /// Event time of the last.
    pub last: EventTime,
    /// By field, what its aggregate has of them.
    pub partials: Partials,
    /// Few windows keep records.
    kept: Option<Box<Kept>>,
}

/// Records as they came, each in the form that a result shows it in.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kept {
    first: Sorted<Place, Vec<u8>>,
    last: Sorted<Place, Vec<u8>>,
}

impl Gathered {
    /// Makes what is gathered of no record at all.
    pub fn new(fields: &Fields) -> Self {
        Gathered {
            count: 0,
            first: EventTime::from_nanoseconds(i64::MAX),
            last: EventTime::from_nanoseconds(i64::MIN),
            partials: fields.fields.iter().map(|field| field.aggregate.partial()).collect(),
            kept: None,
        }
    }

    /// Makes it that of no record again.
    pub fn reset(&mut self, fields: &Fields) {
        self.count = 0;
        self.first = EventTime::from_nanoseconds(i64::MAX);
        self.last = EventTime::from_nanoseconds(i64::MIN);
        for (partial, field) in self.partials.iter_mut().zip(&fields.fields) {
            *partial = field.aggregate.partial();
        }
        self.kept = None;
    }

    /// Counts a record, which tells of what happened from `first` to `last`; what its fields make
    /// of it is for the caller to add to `partials`.
    pub fn count(&mut self, first: EventTime, last: EventTime) {
        self.count = self.count.saturating_add(1);
        self.first = self.first.min(first);
        self.last = self.last.max(last);
    }

    /// Whether a record of this place would be kept as it came.
    pub fn keeps(&self, place: &Place, evidence: Evidence) -> bool {
        let (first, last) = match &self.kept {
            Some(kept) => (&kept.first, &kept.last),
            None => return evidence.first > 0 || evidence.last > 0,
        };
        let early = first.len() < evidence.first || first.last().is_some_and(|last| *place < last);
        let late = last.len() < evidence.last || last.first().is_some_and(|first| *place > first);
        (early && evidence.first > 0) || (late && evidence.last > 0)
    }

    /// Keeps a record as it came, as far as it is among the first or the last.
    pub fn keep(&mut self, place: Place, record: &[u8], evidence: Evidence) {
        let kept = self.kept.get_or_insert_default();
        if evidence.first > 0 {
            kept.first.insert(place, record.to_vec());
        }
        if evidence.last > 0 {
            kept.last.insert(place, record.to_vec());
        }
        kept.cut(evidence);
    }

    /// Adds what was gathered of other records.
    pub fn merge(&mut self, other: &Gathered, evidence: Evidence) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for (partial, other) in self.partials.iter_mut().zip(other.partials.iter()) {
            partial.merge(other);
        }
        if let Some(other) = &other.kept {
            self.kept.get_or_insert_default().merge(other, evidence);
        }
    }

    /// Gives the records that are kept, in the canonical order, each once.
    pub fn evidence(&self) -> impl Iterator<Item = &[u8]> {
        let mut all: BTreeMap<Place, &[u8]> = BTreeMap::new();
        for kept in self.kept.iter().flat_map(|kept| [&kept.first, &kept.last]) {
            all.extend(kept.iter().map(|(place, record)| (place, record.as_slice())));
        }
        all.into_values()
    }

    /// Whether a bound was hit, so that some field is not exact.
    pub fn is_approximate(&self) -> bool {
        self.partials.iter().any(Partial::is_approximate)
    }

    /// Gives about how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.partials.iter().map(Partial::bytes).sum::<usize>()
            + self.kept.as_ref().map_or(0, |kept| kept.bytes())
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_with(self.kept.as_deref(), out);
    }

    /// Appends the same, but without the records that were kept as they came.
    pub fn encode_without_records(&self, out: &mut Vec<u8>) {
        self.encode_with(None, out);
    }

    fn encode_with(&self, kept: Option<&Kept>, out: &mut Vec<u8>) {
        code::push_number(self.count, out);
        if self.count == 0 {
            return;
        }
        code::push_signed(self.first.nanoseconds(), out);
        // The span may be longer than an `i64` says; as a number without sign it never is.
        let span = self.last.nanoseconds().wrapping_sub(self.first.nanoseconds()) as u64;
        code::push_number(span, out);
        self.partials.iter().for_each(|partial| partial.encode(out));
        match kept {
            Some(kept) => [&kept.first, &kept.last].iter().for_each(|kept| push_kept(kept, out)),
            None => out.extend([0, 0]),
        }
    }

    /// Reads of what [`Gathered::encode`] wrote only when the first and the last record happened,
    /// if there is one.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes do not begin so.
    pub fn span(mut bytes: &[u8]) -> Result<Option<(EventTime, EventTime)>, Damaged> {
        match code::take_number(&mut bytes)? {
            0 => Ok(None),
            _ => take_span(&mut bytes).map(Some),
        }
    }

    /// Reads what [`Gathered::encode`] wrote.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not of something gathered for `fields`.
    pub fn decode(fields: &Fields, bytes: &mut &[u8]) -> Result<Self, Damaged> {
        let count = code::take_number(bytes)?;
        if count == 0 {
            return Ok(Gathered::new(fields));
        }
        let (first, last) = take_span(bytes)?;
        let partials = fields.fields.iter().map(|field| Partial::decode(&field.aggregate, bytes));
        let partials = partials.collect::<Result<_, _>>()?;
        Ok(Gathered { count, first, last, partials, kept: take_all_kept(fields.evidence, bytes)? })
    }
}

impl Kept {
    fn merge(&mut self, other: &Kept, evidence: Evidence) {
        for (place, record) in other.first.iter() {
            self.first.insert(place, record.clone());
        }
        for (place, record) in other.last.iter() {
            self.last.insert(place, record.clone());
        }
        self.cut(evidence);
    }

    fn cut(&mut self, evidence: Evidence) {
        while self.first.len() > evidence.first {
            self.first.pop_last();
        }
        while self.last.len() > evidence.last {
            self.last.pop_first();
        }
    }

    fn bytes(&self) -> usize {
        let records = self.first.iter().chain(self.last.iter());
        let bytes = records.map(|(_, record)| size_of::<(Place, Vec<u8>)>() + record.len());
        size_of::<Self>() + bytes.sum::<usize>()
    }
}

fn take_span(bytes: &mut &[u8]) -> Result<(EventTime, EventTime), Damaged> {
    let first = code::take_signed(bytes)?;
    let last = first.checked_add_unsigned(code::take_number(bytes)?);
    let last = last.ok_or(Damaged("a span is too long"))?;
    Ok((EventTime::from_nanoseconds(first), EventTime::from_nanoseconds(last)))
}

fn push_kept(kept: &Sorted<Place, Vec<u8>>, out: &mut Vec<u8>) {
    code::push_number(kept.len() as u64, out);
    for (place, record) in kept.iter() {
        push_place(&place, out);
        code::push_bytes(record, out);
    }
}

/// Reads the records that were kept as they came; few windows keep any.
fn take_all_kept(evidence: Evidence, bytes: &mut &[u8]) -> Result<Option<Box<Kept>>, Damaged> {
    if let [0, 0, rest @ ..] = bytes {
        *bytes = rest;
        return Ok(None);
    }
    let first = take_kept(evidence.first, bytes)?;
    Ok(Some(Box::new(Kept { first, last: take_kept(evidence.last, bytes)? })))
}

fn take_kept(most: usize, bytes: &mut &[u8]) -> Result<Sorted<Place, Vec<u8>>, Damaged> {
    let count = code::take_number(bytes)?;
    if count > most as u64 {
        return Err(Damaged("it keeps more records than it may"));
    }
    let mut kept = Sorted::default();
    for _ in 0..count {
        let place = take_place(bytes)?;
        kept.insert(place, code::take_bytes(bytes)?.to_vec());
    }
    Ok(kept)
}

fn push_place(place: &Place, out: &mut Vec<u8>) {
    code::push_signed(place.event_time.nanoseconds(), out);
    out.extend(place.source.to_le_bytes());
    out.extend(place.stream.0.to_le_bytes());
    code::push_number(place.position, out);
    code::push_number(place.index, out);
}

fn take_place(bytes: &mut &[u8]) -> Result<Place, Damaged> {
    Ok(Place {
        event_time: EventTime::from_nanoseconds(code::take_signed(bytes)?),
        source: u64::from_le_bytes(code::take_array(bytes)?),
        stream: StreamId(u64::from_le_bytes(code::take_array(bytes)?)),
        position: code::take_number(bytes)?,
        index: code::take_number(bytes)?,
    })
}
