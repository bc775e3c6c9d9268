//! How far a sink is: kept in the transaction of the rows that it counts, so that neither is ever
//! ahead of the other.
//!
//! Epochs are numbered in a pipeline of an incarnation and mean nothing without it (DESIGN §3). A
//! sink reads its progress when it begins; where the database went back (a backup, a replica that
//! was behind), it is behind what the engine knows, and the engine delivers again from there.

use azud_event::time::EventTime;
use uuid::Uuid;

/// What a delivery confirms with its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The incarnation that numbers the epochs: the 16 bytes of a UUID.
    pub incarnation: [u8; 16],
    /// The pipeline whose epochs they are.
    pub pipeline: String,
    /// Every row of this epoch and those before it is delivered with these.
    pub epoch: u64,
    /// Which plan made them, if that has a name.
    pub plan_version: Option<String>,
}

/// The progress of a sink as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The pipeline of the sink.
    pub pipeline: String,
    /// What numbers `epoch`; that of the store while there is none.
    pub incarnation: [u8; 16],
    /// Up to where everything is delivered; `None` when the sink was never told.
    pub epoch: Option<u64>,
    /// The plan of that epoch.
    pub plan_version: Option<String>,
    /// Rows that made or changed something, since the sink is known.
    pub rows_total: u64,
    /// When it was written.
    pub updated_at: Option<EventTime>,
}

impl Progress {
    /// Gives up to where everything is delivered, if that is counted in the epochs of this pipeline
    /// of this incarnation.
    pub fn epoch_of(&self, incarnation: [u8; 16], pipeline: &str) -> Option<u64> {
        let same = self.incarnation == incarnation && self.pipeline == pipeline;
        self.epoch.filter(|_| same)
    }

    /// Makes the progress of a sink that never delivered to the store of this incarnation.
    pub(crate) fn none(incarnation: Uuid) -> Self {
        Progress {
            pipeline: String::new(),
            incarnation: *incarnation.as_bytes(),
            epoch: None,
            plan_version: None,
            rows_total: 0,
            updated_at: None,
        }
    }

    /// Adds a delivery.
    ///
    /// Within a pipeline of an incarnation an epoch is never taken back: what comes again was not
    /// news. Another one counts anew.
    pub(crate) fn advance(&mut self, reached: Option<&Reached>, rows: u64) {
        self.rows_total = self.rows_total.saturating_add(rows);
        let Some(reached) = reached else { return };
        if self.epoch_of(reached.incarnation, &reached.pipeline) >= Some(reached.epoch) {
            return;
        }
        self.incarnation = reached.incarnation;
        self.pipeline.clone_from(&reached.pipeline);
        self.epoch = Some(reached.epoch);
        self.plan_version.clone_from(&reached.plan_version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // The model: the greatest epoch since the last change of incarnation.
        #[test]
        fn progress_follows_the_model(
            steps in prop::collection::vec((0u8..2, 0u64..9, 0u64..3), 0..20),
        ) {
            let mut progress = Progress::none(Uuid::from_u128(7));
            let mut rows_total = 0;
            for (index, (_, _, rows)) in steps.iter().enumerate() {
                rows_total += rows;
                let (incarnation, epoch, _) = steps[index];
                let reached = Reached {
                    incarnation: [incarnation; 16],
                    pipeline: "auth".to_owned(),
                    epoch,
                    plan_version: Some("b3:1".to_owned()),
                };
                progress.advance(Some(&reached), *rows);
                progress.advance(None, 0);
                let since = steps[..=index].iter().rev();
                let same = since.take_while(|(other, ..)| *other == incarnation);
                prop_assert_eq!(progress.epoch, same.map(|(_, epoch, _)| *epoch).max());
                prop_assert_eq!(progress.incarnation, [incarnation; 16]);
                prop_assert_eq!(progress.rows_total, rows_total);
            }
        }
    }
}
