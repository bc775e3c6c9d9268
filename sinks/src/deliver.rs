//! What sinks share: taking batches in bounded groups, and trying again when the outside is in
//! trouble.

use crate::limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use azud_plan::component::{Batch, Batches};
use futures_util::{FutureExt, StreamExt};
use std::error::Error;
use std::pin::pin;
use std::time::Duration;
use tokio::time::sleep;

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

/// Waits for a batch and takes it, with those that follow it within the limits. `None` is the end
/// of the queue.
///
/// May be dropped while it waits for the first batch, and loses none.
pub(crate) async fn next_group(batches: &mut Batches, limits: GroupLimits) -> Option<Vec<Batch>> {
    let first = batches.next().await?;
    let mut lingering = pin!(sleep(limits.linger));
    let (mut bytes, mut records) = (first.bytes.len(), first.records);
    let mut group = vec![first];
    while bytes < limits.bytes && records < limits.records && group.len() < limits.batches {
        let more = match limits.linger.is_zero() {
            true => batches.next().now_or_never().flatten(),
            false => tokio::select! {
                biased;
                more = batches.next() => more,
                () = &mut lingering => None,
            },
        };
        // Nothing within the time, or the end of the queue: the caller meets that end at its next
        // call.
        let Some(batch) = more else { break };
        bytes += batch.bytes.len();
        records += batch.records;
        group.push(batch);
    }
    Some(group)
}

/// The trouble of one sink with the outside: how long to wait before the next attempt, and what is
/// told.
///
/// Pauses double from [`RETRY_PAUSE_MIN`] to [`RETRY_PAUSE_MAX`], each shortened by up to a half at
/// random, so that sinks that failed together do not try again together. The log gets one line when
/// trouble begins or changes, and one when it is over, however many attempts lie between.
#[derive(Debug)]
pub(crate) struct Trouble {
    sink: String,
    seed: u64,
    attempts: u32,
    told: Option<String>,
}

impl Trouble {
    /// Makes the record of a sink that is well. Its id is also the seed of its pauses.
    pub fn new(sink: &str) -> Self {
        // FNV-1a: any spread will do, as long as two sinks differ and a run can be repeated.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let seed = sink.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
        Trouble { sink: sink.to_owned(), seed, attempts: 0, told: None }
    }

    /// Notes a failed attempt and gives the pause before the next.
    pub fn failed(&mut self, error: &dyn Error) -> Duration {
        let text = causes(error);
        if self.told.as_ref() != Some(&text) {
            let sink = self.sink.as_str();
            tracing::error!(
                sink,
                error = text,
                "the sink cannot deliver; it waits and tries again"
            );
            self.told = Some(text);
        }
        let longest = RETRY_PAUSE_MIN.saturating_mul(1 << self.attempts.min(16));
        let longest = longest.min(RETRY_PAUSE_MAX);
        self.attempts += 1;
        longest / 2 + (longest / 2).mul_f64(self.random())
    }

    /// Notes a delivery.
    pub fn over(&mut self) {
        self.attempts = 0;
        if self.told.take().is_some() {
            tracing::info!(sink = self.sink.as_str(), "the sink delivers again");
        }
    }

    /// Gives the next of a sequence in `[0, 1)` (SplitMix64, Steele et al., OOPSLA 2014).
    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Writes an error with what caused it, in one line.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
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

    #[test]
    fn pauses_grow_to_a_bound_and_differ_between_sinks() {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let mut one = Trouble::new("one");
        let mut other = Trouble::new("other");
        let pauses: Vec<_> = (0..40).map(|_| one.failed(&error)).collect();
        assert!(pauses[0] >= RETRY_PAUSE_MIN / 2 && pauses[0] <= RETRY_PAUSE_MIN);
        assert!(pauses[39] >= RETRY_PAUSE_MAX / 2 && pauses[39] <= RETRY_PAUSE_MAX);
        assert_ne!(pauses[39], (0..40).map(|_| other.failed(&error)).next_back().unwrap());
        one.over();
        assert!(one.failed(&error) <= RETRY_PAUSE_MIN);
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("/var/log/x cannot be written")]
        struct Outer(#[source] std::io::Error);
        let text = causes(&Outer(std::io::Error::other("no more ink")));
        assert_eq!(text, "/var/log/x cannot be written: no more ink");
    }
}
