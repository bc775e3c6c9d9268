//! Taking batches from the queue in bounded groups.

use azud_plan::component::{Batch, Batches};
use futures_util::{FutureExt, StreamExt};
use std::mem;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// How far a group of batches may grow. The bound that is reached first counts, and may be passed
/// by one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    /// Bytes of all batches.
    pub bytes: usize,
    /// Records of all batches.
    pub records: usize,
    /// Batches.
    pub batches: usize,
    /// How long the first batch waits for further ones; zero takes only what is there.
    pub linger: Duration,
}

impl GroupLimits {
    fn reached(&self, group: &[Batch]) -> bool {
        let bytes: usize = group.iter().map(|batch| batch.bytes.len()).sum();
        let records: usize = group.iter().map(|batch| batch.records).sum();
        bytes >= self.bytes || records >= self.records || group.len() >= self.batches
    }
}

/// Waits for a batch and takes it, with those that follow it within the limits. `None` is the end
/// of the queue.
///
/// May be dropped while it waits for the first batch, and loses none; [`Groups`] may be dropped at
/// any time.
pub(crate) async fn next_group(batches: &mut Batches, limits: GroupLimits) -> Option<Vec<Batch>> {
    Gathering::default().next(batches, limits).await
}

/// The groups of a queue, for a task that does something else meanwhile: what is gathered is here,
/// not in the future that waits for more.
pub(crate) struct Groups {
    batches: Batches,
    limits: GroupLimits,
    gathering: Gathering,
}

impl Groups {
    pub fn new(batches: Batches, limits: GroupLimits) -> Self {
        Groups { batches, limits, gathering: Gathering::default() }
    }

    /// Does what [`next_group`] does; may be dropped at any time.
    pub async fn next(&mut self) -> Option<Vec<Batch>> {
        self.gathering.next(&mut self.batches, self.limits).await
    }
}

/// A group that is being gathered.
#[derive(Default)]
struct Gathering {
    group: Vec<Batch>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Gathering {
    async fn next(&mut self, batches: &mut Batches, limits: GroupLimits) -> Option<Vec<Batch>> {
        if self.group.is_empty() {
            self.group.push(batches.next().await?);
            self.lingering = None;
        }
        while !limits.reached(&self.group) {
            let more = match limits.linger.is_zero() {
                true => batches.next().now_or_never().flatten(),
                false => {
                    let lingering =
                        self.lingering.get_or_insert_with(|| Box::pin(sleep(limits.linger)));
                    tokio::select! {
                        biased;
                        more = batches.next() => more,
                        () = lingering => None,
                    }
                }
            };
            // Nothing within the time, or the end of the queue: the caller meets that end at its
            // next call.
            let Some(batch) = more else { break };
            self.group.push(batch);
        }
        Some(mem::take(&mut self.group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, queue};
    use futures_util::SinkExt;
    use tokio::time::Instant;

    const LIMITS: GroupLimits =
        GroupLimits { bytes: 100, records: 10, batches: 3, linger: Duration::ZERO };

    #[tokio::test]
    async fn a_group_takes_what_is_there_within_its_limits() {
        let (mut sender, mut batches) = queue();
        for text in ["a\n", "b\n", "c\n", "d\n"] {
            sender.send(batch("", text).0).await.unwrap();
        }
        drop(sender);
        assert_eq!(next_group(&mut batches, LIMITS).await.unwrap().len(), 3);
        assert_eq!(next_group(&mut batches, LIMITS).await.unwrap().len(), 1);
        assert!(next_group(&mut batches, LIMITS).await.is_none());
    }

    #[tokio::test]
    async fn a_large_batch_goes_alone() {
        let (mut sender, mut batches) = queue();
        sender.send(batch("", &"x".repeat(200)).0).await.unwrap();
        sender.send(batch("", "b\n").0).await.unwrap();
        assert_eq!(next_group(&mut batches, LIMITS).await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_batch_waits_for_others_only_so_long() {
        let (mut sender, mut batches) = queue();
        let limits = GroupLimits { linger: Duration::from_millis(200), ..LIMITS };
        sender.send(batch("", "a\n").0).await.unwrap();
        let begun = Instant::now();
        assert_eq!(next_group(&mut batches, limits).await.unwrap().len(), 1);
        assert_eq!(begun.elapsed(), limits.linger);
    }

    #[tokio::test]
    async fn who_stops_waiting_for_more_loses_nothing() {
        let (mut sender, batches) = queue();
        let limits = GroupLimits { linger: Duration::from_secs(3600), ..LIMITS };
        let mut groups = Groups::new(batches, limits);
        for text in ["a\n", "b\n"] {
            sender.send(batch("", text).0).await.unwrap();
            assert!(groups.next().now_or_never().is_none());
        }
        drop(sender);
        assert_eq!(groups.next().await.unwrap().len(), 2);
        assert!(groups.next().await.is_none());
    }
}
