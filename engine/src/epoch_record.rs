//! The record of an epoch in the log: the decisions that a later run must repeat.
//!
//! The log holds data, and an epoch record says what a pipeline took of it: for each source up to
//! which position, under which clock, and what was over for which step when the epoch opened.
//! Sources and steps are named by hashes of their ids, because their places change with the plan.
//!
//! ```text
//! version (1) · now (8) · sources (2) · { key (8) · taken to (8) · closed (1) }*
//!                        · steps (2) · { key (8) · over (8) }*
//! ```
//!
//! All numbers are little endian.

use crate::log::LogPosition;
use azud_event::time::EventTime;
use bytes::{Buf, BufMut};

/// The version that this program writes, and the only one that it reads.
const VERSION: u8 = 1;

/// What is recorded of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochDecision {
    /// Its clock.
    pub now: EventTime,
    /// For each source of the pipeline what was taken.
    pub sources: Vec<TakenTo>,
    /// For each step, by key, what was over when it opened.
    pub late_before: Vec<(u64, EventTime)>,
}

/// What an epoch has of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenTo {
    /// The source's key.
    pub source: u64,
    /// Every block of the source before this is in this epoch or an earlier one.
    pub position: LogPosition,
    /// Whether the source ended for good in it.
    pub closed: bool,
}

impl EpochDecision {
    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(16 + 17 * self.sources.len() + 16 * self.late_before.len());
        out.put_u8(VERSION);
        out.put_i64_le(self.now.nanoseconds());
        out.put_u16_le(count(self.sources.len()));
        for taken in &self.sources {
            out.put_u64_le(taken.source);
            out.put_u64_le(taken.position.0);
            out.put_u8(u8::from(taken.closed));
        }
        out.put_u16_le(count(self.late_before.len()));
        for (step, over) in &self.late_before {
            out.put_u64_le(*step);
            out.put_i64_le(over.nanoseconds());
        }
        out
    }

    /// Reads it; `None` when the bytes are not of this version's form.
    pub fn decode(mut bytes: &[u8]) -> Option<EpochDecision> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let now = EventTime::from_nanoseconds(bytes.try_get_i64_le().ok()?);
        let mut sources = Vec::new();
        for _ in 0..bytes.try_get_u16_le().ok()? {
            sources.push(TakenTo {
                source: bytes.try_get_u64_le().ok()?,
                position: LogPosition(bytes.try_get_u64_le().ok()?),
                closed: bytes.try_get_u8().ok()? == 1,
            });
        }
        let mut late_before = Vec::new();
        for _ in 0..bytes.try_get_u16_le().ok()? {
            let step = bytes.try_get_u64_le().ok()?;
            let over = EventTime::from_nanoseconds(bytes.try_get_i64_le().ok()?);
            late_before.push((step, over));
        }
        bytes.is_empty().then_some(EpochDecision { now, sources, late_before })
    }
}

fn count(length: usize) -> u16 {
    u16::try_from(length).expect("no document has 65,536 components")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decision() -> impl Strategy<Value = EpochDecision> {
        let taken = (any::<u64>(), any::<u64>(), any::<bool>())
            .prop_map(|(source, at, closed)| TakenTo { source, position: LogPosition(at), closed });
        let over = (any::<u64>(), any::<i64>())
            .prop_map(|(step, over)| (step, EventTime::from_nanoseconds(over)));
        let lists = (proptest::collection::vec(taken, 0..9), proptest::collection::vec(over, 0..9));
        (any::<i64>(), lists).prop_map(|(now, (sources, late_before))| EpochDecision {
            now: EventTime::from_nanoseconds(now),
            sources,
            late_before,
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(decision in decision()) {
            let bytes = decision.encode();
            prop_assert_eq!(EpochDecision::decode(&bytes), Some(decision));
        }

        #[test]
        fn anything_else_is_refused(
            decision in decision(),
            at: prop::sample::Index,
            junk: Vec<u8>,
        ) {
            let bytes = decision.encode();
            prop_assert_eq!(EpochDecision::decode(&bytes[..at.index(bytes.len())]), None);
            // Whatever it is, it is no reason to panic.
            let _ = EpochDecision::decode(&junk);
        }
    }
}
