//! Sinks whose receiver keeps its progress: databases that crash with us, or are restored from an
//! older copy.

use super::ledger::{Ledger, SpillState};
use super::queue::{Spill, SpillParts};
use super::stage_tests::{PATIENCE, until};
use super::{Bell, Follow, SinkState, Stage, StageParts, StallMeter};
use crate::egress::SinkQueue;
use crate::log::Folder;
use crate::telemetry::SinkMeter;
use azud_event::clock::Clock;
use azud_plan::component::{Batch, Batches, Confirmation, RunError, SinkProgress, Stored};
use azud_plan::plan::{Stall, StallPolicy};
use futures_channel::mpsc;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use proptest::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What a database holds: it can be copied, and a copy be put in its place.
#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    rows: Vec<(u64, String)>,
    next: u64,
}

type Database = Arc<Mutex<Content>>;

/// Writes rows and progress together, as a sink of a database does; a row that is there is left
/// alone.
fn sink(
    mut batches: Batches,
    database: Database,
    progress: Arc<SinkProgress>,
) -> BoxFuture<'static, Result<(), RunError>> {
    async move {
        let mut last = database.lock().unwrap().next;
        progress.tell(Stored { next: last, at: None });
        while let Some(batch) = batches.next().await {
            let word = (batch.records == 0 && progress.is_rewound()).then_some(batch.epoch);
            let content = &mut *database.lock().unwrap();
            let went_back = content.next < last;
            if went_back {
                progress.tell(Stored { next: content.next, at: None });
            }
            if batch.records > 0 && batch.epoch >= content.next {
                let text = String::from_utf8(batch.bytes.to_vec()).unwrap();
                let row = (batch.epoch, text);
                if !content.rows.contains(&row) {
                    content.rows.push(row);
                }
            }
            if let Some(next) = word.filter(|next| !went_back && *next > content.next) {
                content.next = next;
                progress.tell(Stored { next, at: None });
            }
            last = content.next;
            batch.confirmation.confirm();
        }
        Ok(())
    }
    .boxed()
}

struct Rig {
    inbox: Option<mpsc::Sender<Batch>>,
    database: Database,
    meter: Arc<SinkMeter>,
    ledger: Arc<Ledger>,
    stall: Arc<StallMeter>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), RunError>>,
}

impl Rig {
    fn start(
        folder: &Path,
        database: &Database,
        first: u64,
        known: Option<SpillState>,
        accept_gap: bool,
    ) -> Rig {
        let clock = Clock::system();
        let ledger = Arc::new(Ledger::new("out", known));
        let bell = Arc::new(Bell::new(Arc::clone(&ledger)));
        let parts = SpillParts {
            disk: Arc::new(Folder::new(folder)),
            max_bytes: 1 << 30,
            retain: Duration::from_secs(3_600),
            incarnation: [1; 16],
            clock: clock.clone(),
            ledger: Arc::clone(&ledger),
        };
        let open = Spill::open(parts.clone(), Arc::clone(&bell) as Arc<_>).unwrap().0;
        let (inbox_sender, inbox) = mpsc::channel(1);
        let (queue, batches) = mpsc::channel(2);
        let (letters, _) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let meter = Arc::new(SinkMeter::new("out", "test", "p", clock.clone()));
        let stall = Arc::new(StallMeter::new("out", &[], clock.clone(), None));
        let progress = Arc::new(SinkProgress::default());
        let stage = Stage::new(StageParts {
            id: "out".to_owned(),
            stall: Stall {
                policy: StallPolicy::Spill { max_bytes: 1 << 30 },
                after: Duration::from_millis(200),
            },
            share_bytes: None,
            inbox,
            queue,
            letters: SinkQueue {
                sender: letters,
                meter: Arc::clone(&meter),
                staged: false,
                completeness: None,
            },
            meter: Arc::clone(&meter),
            stall_meter: Arc::clone(&stall),
            clock,
            ledger: Arc::clone(&ledger),
            bell,
            spill: Some(parts),
            open: Some(open),
            follow: Some(Follow { progress: Arc::clone(&progress), first }),
            accept_gap,
            shutdown: stopped.map(drop).boxed().shared(),
        });
        let running = tokio::spawn(stage.run(sink(batches, Arc::clone(database), progress)));
        let (database, stop) = (Arc::clone(database), Some(stop));
        Rig { inbox: Some(inbox_sender), database, meter, ledger, stall, stop, running }
    }

    /// Sends the batches of an epoch, of two operators that stand interleaved with the next.
    async fn send(&mut self, epochs: std::ops::Range<u64>) {
        for epoch in epochs {
            for (of, text) in [(epoch + 1, "early"), (epoch, "a"), (epoch, "b")] {
                self.batch(of, 1, format!("{of} {text}")).await;
            }
            self.batch(epoch + 1, 0, String::new()).await;
        }
    }

    async fn batch(&mut self, epoch: u64, records: usize, text: String) {
        if records > 0 {
            self.meter.queued(records);
        }
        let confirmation = Confirmation::new(|| {});
        let bytes = text.into_bytes().into();
        let batch = Batch { bytes, records, partition: "".into(), epoch, confirmation };
        self.inbox.as_mut().unwrap().send(batch).await.unwrap();
    }

    async fn reaches(&self, next: u64) {
        until("the progress", || self.database.lock().unwrap().next >= next).await;
    }

    async fn end(&mut self) -> Option<SpillState> {
        self.inbox = None;
        let ended = tokio::time::timeout(PATIENCE, &mut self.running).await;
        ended.expect("the stage ends").unwrap().unwrap();
        // The last epoch whose batches were all sent is the one before the last.
        self.ledger.state(u64::MAX - 1)
    }
}

/// What a database has that got everything of these epochs.
fn everything(epochs: std::ops::Range<u64>) -> Vec<(u64, String)> {
    let texts = |epoch: u64| {
        let early = (epoch > epochs.start).then_some("early");
        early.into_iter().chain(["a", "b"]).map(move |text| (epoch, format!("{epoch} {text}")))
    };
    epochs.clone().flat_map(texts).collect()
}

/// The rows of whole epochs, in the order in which they came.
fn rows(database: &Database, before: u64) -> Vec<(u64, String)> {
    let rows = &database.lock().unwrap().rows;
    rows.iter().filter(|(epoch, _)| *epoch < before).cloned().collect()
}

#[tokio::test]
async fn rows_come_in_the_order_of_epochs_and_progress_with_them() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
    let mut rig = Rig::start(folder.path(), &database, 0, None, false);
    rig.send(0..20).await;
    rig.reaches(20).await;
    assert_eq!(rows(&database, 20), everything(0..20));
    until("the sink to flow", || rig.stall.state().0 == SinkState::Flowing).await;
    let state = rig.end().await.unwrap();
    // One record came early, of an epoch that was never complete.
    assert_eq!((state.stored, state.records), (20, 1), "{state:?}");
}

#[tokio::test]
async fn a_database_that_goes_back_while_it_is_written_is_given_what_it_lacks() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
    let mut rig = Rig::start(folder.path(), &database, 0, None, false);
    rig.send(0..10).await;
    rig.reaches(10).await;
    let copy = database.lock().unwrap().clone();
    rig.send(10..30).await;
    rig.reaches(30).await;
    *database.lock().unwrap() = copy;
    rig.send(30..40).await;
    rig.reaches(40).await;
    let mut found = rows(&database, 40);
    found.sort();
    let mut expected = everything(0..40);
    expected.sort();
    assert_eq!(found, expected);
    rig.end().await;
}

#[tokio::test]
async fn a_gap_that_cannot_be_closed_is_named_and_waits_to_be_accepted() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
    let mut rig = Rig::start(folder.path(), &database, 0, None, false);
    rig.send(0..5).await;
    rig.reaches(5).await;
    let copy = database.lock().unwrap().clone();
    rig.send(5..20).await;
    rig.reaches(20).await;
    let known = rig.end().await;
    *database.lock().unwrap() = copy.clone();
    // What was kept is gone too.
    let elsewhere = tempfile::tempdir().unwrap();
    let stored = known.as_ref().unwrap().stored;
    let mut rig = Rig::start(elsewhere.path(), &database, stored, known.clone(), false);
    rig.send(stored..stored + 3).await;
    until("the sink to be held", || rig.stall.state().0 == SinkState::Held).await;
    let word = rig.stall.word().unwrap();
    let lost = format!("{} epochs of `out`", stored - copy.next);
    assert!(word.contains(&lost) && word.contains("--accept-gap out"), "{word}");
    assert_eq!(*database.lock().unwrap(), copy, "it is given nothing");
    let known = rig.end().await;
    let mut rig = Rig::start(elsewhere.path(), &database, stored + 3, known, true);
    rig.send(stored + 3..stored + 5).await;
    rig.reaches(stored + 5).await;
    let found = rows(&database, stored + 5);
    let mut expected = everything(0..copy.next);
    expected.extend(everything(stored..stored + 3));
    expected.push((stored + 3, format!("{} early", stored + 3)));
    expected.extend(everything(stored + 3..stored + 5));
    // The copy has already what came early of the epoch behind it.
    expected.retain(|row| !copy.rows.contains(row));
    expected.splice(0..0, copy.rows.iter().cloned());
    assert_eq!(found, expected);
    drop(rig.stop.take());
    rig.end().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Runs that end at any epoch, some by a kill that leaves a mark of before them, and databases
    /// that go back to any earlier moment between runs or within one: at the end each row is there
    /// once.
    #[test]
    fn whenever_a_database_goes_back_it_ends_with_every_row(
        lengths in proptest::collection::vec(1u64..25, 1..5),
        backs in proptest::collection::vec(any::<(bool, bool, prop::sample::Index)>(), 5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
            let mut copies = vec![Content::default()];
            let (mut known, mut first) = (None, 0);
            for (length, (within, killed, back)) in lengths.iter().zip(&backs) {
                let mark = std::fs::read(folder.path().join("delivered")).ok();
                let mut rig = Rig::start(folder.path(), &database, first, known.take(), false);
                rig.send(first..first + length).await;
                if *within {
                    rig.reaches(first + length).await;
                    *database.lock().unwrap() = back.get(&copies).clone();
                }
                copies.push(database.lock().unwrap().clone());
                rig.batch(first + length, 1, format!("{} last", first + length)).await;
                rig.batch(first + length + 1, 0, String::new()).await;
                first += length + 1;
                rig.reaches(first).await;
                known = rig.end().await;
                if let Some(mark) = mark.filter(|_| *killed) {
                    std::fs::write(folder.path().join("delivered"), mark).unwrap();
                }
                copies.push(database.lock().unwrap().clone());
                if !within {
                    *database.lock().unwrap() = back.get(&copies).clone();
                }
            }
            let mut rig = Rig::start(folder.path(), &database, first, known, false);
            rig.reaches(first).await;
            rig.end().await;
            let mut found = rows(&database, first);
            found.sort();
            let mut expected = Vec::new();
            let mut from = 0;
            for length in &lengths[..lengths.len().min(backs.len())] {
                expected.extend(everything(from..from + length));
                let end = from + length;
                expected.extend([(end, format!("{end} early")), (end, format!("{end} last"))]);
                from = end + 1;
            }
            expected.sort();
            prop_assert_eq!(found, expected);
            Ok(())
        })?;
    }
}
