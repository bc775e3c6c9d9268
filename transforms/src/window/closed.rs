//! How much there is of windows that are closed, and until when: what is kept of them is only for
//! late records, and may lie on disk.

use super::code::{self, Damaged};
use azud_event::time::EventTime;
use std::collections::BTreeMap;
use std::time::Duration;

/// By how many steps of the allowed lateness it is told apart when something is over.
const STEPS: u32 = 64;
/// The shortest step.
const STEP_MIN: Duration = Duration::from_secs(1);

/// The account of one key group: the same whether a window lies in memory or on disk, so that what
/// has to leave depends on records alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    step: Duration,
    /// In bytes, by when it is over.
    over: BTreeMap<EventTime, u64>,
    bytes: u64,
    /// How much of it is in memory, about.
    here: usize,
}

impl Closed {
    /// Makes an empty account of windows with this allowed lateness.
    pub fn new(lateness: Duration) -> Self {
        let step = (lateness / STEPS).max(STEP_MIN);
        Closed { step, over: BTreeMap::new(), bytes: 0, here: 0 }
    }

    fn bucket(&self, over_at: EventTime) -> EventTime {
        over_at.aligned_to(self.step).saturating_add(self.step)
    }

    /// Adds what is over at a time.
    pub fn add(&mut self, over_at: EventTime, bytes: usize) {
        *self.over.entry(self.bucket(over_at)).or_default() += bytes as u64;
        self.bytes += bytes as u64;
        self.here += bytes;
    }

    /// Takes out what was added for that time.
    pub fn subtract(&mut self, over_at: EventTime, bytes: usize) {
        self.here = self.here.saturating_sub(bytes);
        // Where the step is over already, it is not counted any more.
        if let Some(counted) = self.over.get_mut(&self.bucket(over_at)) {
            let bytes = (bytes as u64).min(*counted);
            *counted -= bytes;
            self.bytes -= bytes;
        }
    }

    /// Counts what came back from disk.
    pub fn came_back(&mut self, bytes: usize) {
        self.here += bytes;
    }

    /// Counts that nothing is in memory any more.
    pub fn put_away(&mut self) {
        self.here = 0;
    }

    /// Gives how much is in memory, in bytes, about.
    pub fn here(&self) -> usize {
        self.here
    }

    /// Gives how much there is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts what is over no more.
    pub fn forget(&mut self, before: EventTime) {
        while self.over.first_key_value().is_some_and(|(over_at, _)| *over_at <= before) {
            self.drop_first();
        }
    }

    /// Counts what is over first no more; gives when it would have been over.
    pub fn drop_first(&mut self) -> Option<EventTime> {
        let (over_at, bytes) = self.over.pop_first()?;
        self.bytes -= bytes;
        Some(over_at)
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_number(self.over.len() as u64, out);
        for (over_at, bytes) in &self.over {
            code::push_signed(over_at.nanoseconds(), out);
            code::push_number(*bytes, out);
        }
    }

    /// Reads what [`Closed::encode`] wrote, in the place of what there is.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<(), Damaged> {
        self.over.clear();
        (self.bytes, self.here) = (0, 0);
        for _ in 0..code::take_number(bytes)? {
            let over_at = EventTime::from_nanoseconds(code::take_signed(bytes)?);
            let counted = code::take_number(bytes)?;
            self.over.insert(over_at, counted);
            self.bytes = self.bytes.saturating_add(counted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn second(second: i64) -> EventTime {
        EventTime::from_nanoseconds(second * 1_000_000_000)
    }

    proptest! {
        #[test]
        fn it_counts_what_is_not_over(
            added in prop::collection::vec((0..1_000_i64, 1..50_usize, any::<bool>()), 0..40),
            before in 0..1_100_i64,
        ) {
            let lateness = Duration::from_secs(640);
            let mut closed = Closed::new(lateness);
            for (at, bytes, _) in &added {
                closed.add(second(*at), *bytes);
            }
            for (at, bytes, taken) in &added {
                if *taken {
                    closed.subtract(second(*at), *bytes);
                }
            }
            let mut bytes = Vec::new();
            closed.encode(&mut bytes);
            let mut again = Closed::new(lateness);
            again.read(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!(&again.over, &closed.over);
            prop_assert_eq!(again.bytes, closed.bytes);

            closed.forget(second(before));
            let left = |at: i64| (at / 10 + 1) * 10 > before;
            let model = added.iter().filter(|(at, _, taken)| !taken && left(*at));
            prop_assert_eq!(closed.bytes(), model.map(|(_, bytes, _)| *bytes as u64).sum::<u64>());
            while let Some(over_at) = closed.drop_first() {
                prop_assert!(over_at > second(before));
            }
            prop_assert_eq!(closed.bytes(), 0);
        }
    }
}
