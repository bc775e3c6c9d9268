//! The stage before a sink, with sinks that take, stop, and refuse.

use super::ledger::{Ledger, SpillState};
use super::queue::{Spill, SpillParts};
use super::{Bell, SinkState, Stage, StageParts, StallMeter};
use crate::egress::SinkQueue;
use crate::log::{Folder, Observer, Phase};
use crate::telemetry::SinkMeter;
use azud_event::clock::Clock;
use azud_event::dead_letter::{Fault, Reason};
use azud_plan::component::{Batch, Batches, Confirmation, Refused, RunError};
use azud_plan::plan::{Stall, StallPolicy};
use futures_channel::mpsc;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

const SPILL: StallPolicy = StallPolicy::Spill { max_bytes: 1 << 20 };

/// A stage with a sink behind it that takes while its gate is open, and what became of everything.
struct Rig {
    inbox: Option<mpsc::Sender<Batch>>,
    gate: watch::Sender<bool>,
    taken: Arc<Mutex<Vec<String>>>,
    letters: Arc<Mutex<Vec<String>>>,
    confirmed: Arc<AtomicUsize>,
    meter: Arc<SinkMeter>,
    stall: Arc<StallMeter>,
    ledger: Arc<Ledger>,
    bell: Arc<Bell>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), RunError>>,
}

impl Rig {
    fn start(folder: &Path, policy: StallPolicy, known: Option<SpillState>) -> Rig {
        let clock = Clock::system();
        let ledger = Arc::new(Ledger::new("out", known));
        let bell = Arc::new(Bell::new(Arc::clone(&ledger)));
        let parts = SpillParts {
            disk: Arc::new(Folder::new(folder)),
            max_bytes: 1 << 20,
            retain: Duration::ZERO,
            incarnation: [1; 16],
            clock: clock.clone(),
            ledger: Arc::clone(&ledger),
        };
        let left = !ledger.earlier().is_empty();
        let open = left.then(|| Spill::open(parts.clone(), Arc::clone(&bell) as Arc<_>).unwrap().0);
        let (inbox_sender, inbox) = mpsc::channel(1);
        let (queue, batches) = mpsc::channel(2);
        let (letters_sender, letter_batches) = mpsc::channel(1);
        let (gate, opened) = watch::channel(false);
        let (stop, stopped) = oneshot::channel::<()>();
        let meter = Arc::new(SinkMeter::new("out", "test", "p", clock.clone()));
        let stall = Arc::new(StallMeter::new("out", &[], clock.clone(), None));
        let letters_meter = Arc::new(SinkMeter::new("letters", "test", "p", clock.clone()));
        let letters_queue = SinkQueue {
            sender: letters_sender,
            meter: letters_meter,
            staged: false,
            completeness: None,
        };
        let stage = Stage::new(StageParts {
            id: "out".to_owned(),
            stall: Stall { policy, after: Duration::from_millis(50) },
            share_bytes: None,
            inbox,
            queue,
            letters: letters_queue,
            meter: Arc::clone(&meter),
            stall_meter: Arc::clone(&stall),
            clock,
            ledger: Arc::clone(&ledger),
            bell: Arc::clone(&bell),
            spill: Some(parts),
            open,
            follow: None,
            accept_gap: false,
            shutdown: stopped.map(drop).boxed().shared(),
        });
        let (taken, letters) = (Arc::default(), Arc::default());
        tokio::spawn(sink(letter_batches, watch::channel(true).1, Arc::clone(&letters)));
        let running = tokio::spawn(stage.run(sink(batches, opened, Arc::clone(&taken))));
        Rig {
            inbox: Some(inbox_sender),
            gate,
            taken,
            letters,
            confirmed: Arc::default(),
            meter,
            stall,
            ledger,
            bell,
            stop: Some(stop),
            running,
        }
    }

    /// Sends a batch of one record for each text, all of one epoch.
    async fn send(&mut self, epoch: u64, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            let confirmed = Arc::clone(&self.confirmed);
            let confirmation = Confirmation::new(move || _ = confirmed.fetch_add(1, SeqCst));
            let bytes = format!("{text}\n").into_bytes().into();
            let partition = format!("of {epoch}").into();
            let batch = Batch { bytes, records: 1, partition, epoch, confirmation };
            self.meter.queued(1);
            self.inbox.as_mut().unwrap().send(batch).await.unwrap();
        }
    }

    async fn confirmed(&self, count: usize) {
        until("batches to be confirmed", || self.confirmed.load(SeqCst) == count).await;
    }

    async fn took(&self, count: usize) -> Vec<String> {
        until("batches to be taken", || self.taken.lock().unwrap().len() == count).await;
        self.taken.lock().unwrap().clone()
    }

    async fn state(&self, state: SinkState) {
        until("the state of the sink", || self.stall.state().0 == state).await;
    }

    async fn end(&mut self) {
        self.inbox = None;
        let ended = tokio::time::timeout(PATIENCE, &mut self.running).await;
        ended.expect("the stage ends").unwrap().unwrap();
    }
}

/// Takes batches; a record that begins with `!` is refused.
fn sink(
    mut batches: Batches,
    mut gate: watch::Receiver<bool>,
    taken: Arc<Mutex<Vec<String>>>,
) -> BoxFuture<'static, Result<(), RunError>> {
    async move {
        while let Some(mut batch) = batches.next().await {
            if gate.wait_for(|open| *open).await.is_err() {
                return std::future::pending().await;
            }
            let text = String::from_utf8(batch.bytes.to_vec()).unwrap();
            if text.starts_with('!') {
                let fault = Fault::new(Reason::Refused, "as asked for");
                let bytes = text.clone().into_bytes();
                let refused = Refused { fault, response_code: None, bytes };
                assert!(batch.confirmation.refuse(refused).is_ok());
            } else {
                taken.lock().unwrap().push(text.trim_end().to_owned());
            }
            batch.confirmation.confirm();
        }
        Ok(())
    }
    .boxed()
}

pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    let mut timer = tokio::time::interval(Duration::from_millis(2));
    let waiting = async {
        while !holds() {
            timer.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number} {}", "x".repeat(1_000))).collect()
}

fn is_untouched(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[tokio::test]
async fn what_is_taken_goes_through_memory_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), SPILL, None);
    rig.gate.send_replace(true);
    rig.send(0, texts(0..100)).await;
    rig.confirmed(100).await;
    rig.end().await;
    assert_eq!(rig.took(100).await, texts(0..100));
    assert!(is_untouched(folder.path()));
}

#[tokio::test]
async fn a_sink_that_stops_holds_up_nobody_and_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), SPILL, None);
    for epoch in 0..30 {
        rig.send(epoch, texts(10 * epoch as usize..10 * (epoch as usize + 1))).await;
    }
    rig.confirmed(300).await;
    rig.state(SinkState::Spilling).await;
    assert!(rig.taken.lock().unwrap().is_empty());
    assert_eq!(rig.ledger.records(), 300);
    rig.gate.send_replace(true);
    rig.send(30, texts(300..400)).await;
    assert_eq!(rig.took(400).await, texts(0..400));
    rig.state(SinkState::Flowing).await;
    assert_eq!((rig.ledger.state(31), rig.ledger.records()), (None, 0));
    rig.send(31, texts(400..410)).await;
    rig.end().await;
    assert_eq!(rig.took(410).await, texts(0..410));
    assert_eq!(rig.meter.delivered_total(), 410);
    rig.confirmed(410).await;
}

#[tokio::test]
async fn what_is_refused_behind_its_confirmation_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), SPILL, None);
    rig.send(0, ["a", "!b", "c", "!d"].map(str::to_owned)).await;
    rig.send(0, texts(0..20)).await;
    rig.confirmed(24).await;
    rig.gate.send_replace(true);
    rig.took(22).await;
    rig.end().await;
    let letters = rig.letters.lock().unwrap().join("\n");
    let letters = letters.lines().map(|line| serde_json::from_str(line).unwrap());
    let letters: Vec<serde_json::Value> = letters.collect();
    let raw: Vec<_> = letters.iter().map(|letter| letter["raw"].as_str().unwrap()).collect();
    assert_eq!(raw, ["!b\n", "!d\n"]);
    assert_eq!(letters[0]["component"], "out");
    assert_eq!(rig.ledger.state(1), None);
}

#[tokio::test]
async fn a_full_spill_pushes_back_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), SPILL, None);
    rig.send(0, texts(0..2_000)).await;
    rig.state(SinkState::Full).await;
    until("the budget to be confirmed", || rig.confirmed.load(SeqCst) > 900).await;
    let confirmed = rig.confirmed.load(SeqCst);
    assert!(confirmed < 1_100, "{confirmed} of a kilobyte each");
    rig.gate.send_replace(true);
    assert_eq!(rig.took(2_000).await, texts(0..2_000));
    rig.confirmed(2_000).await;
    rig.end().await;
}

#[tokio::test]
async fn a_full_disk_is_not_told_as_a_full_spill() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), SPILL, None);
    rig.send(0, texts(0..10)).await;
    rig.state(SinkState::Spilling).await;
    rig.bell.phase(Phase::Full);
    rig.state(SinkState::NoRoom).await;
    let word = rig.stall.word().unwrap();
    assert!(word.contains("the disk has no room for its spill"), "{word}");
    rig.bell.phase(Phase::Running);
    rig.state(SinkState::Spilling).await;
    rig.gate.send_replace(true);
    rig.took(10).await;
    rig.end().await;
}

#[tokio::test]
async fn what_is_dropped_is_counted_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), StallPolicy::Drop, None);
    rig.send(0, texts(0..100)).await;
    rig.confirmed(100).await;
    rig.state(SinkState::Dropping).await;
    rig.gate.send_replace(true);
    rig.state(SinkState::Flowing).await;
    let taken = rig.taken.lock().unwrap().len();
    // What was in its hands it has delivered: its queue, and the one that it held.
    assert!((1..=4).contains(&taken), "{taken}");
    rig.send(1, texts(100..110)).await;
    let all = rig.took(taken + 10).await;
    assert_eq!(all[taken..], texts(100..110));
    rig.end().await;
    assert!(is_untouched(folder.path()));
}

#[tokio::test]
async fn a_restart_goes_on_behind_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), SPILL, None);
    for epoch in 0..4 {
        rig.send(epoch, texts(10 * epoch as usize..10 * (epoch as usize + 1))).await;
    }
    rig.confirmed(40).await;
    let checkpoint = rig.ledger.state(3).unwrap();
    rig.end().await;
    // Epoch 3 is made again, and comes behind what was there.
    let mut rig = Rig::start(folder.path(), SPILL, Some(checkpoint));
    rig.send(3, texts(30..45)).await;
    rig.gate.send_replace(true);
    assert_eq!(rig.took(45).await, texts(0..45));
    rig.state(SinkState::Flowing).await;
    rig.end().await;
    assert_eq!(rig.ledger.state(4), None);
}

#[tokio::test]
async fn what_a_run_has_delivered_the_next_does_not_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), SPILL, None);
    rig.send(0, texts(0..40)).await;
    rig.confirmed(40).await;
    let checkpoint = rig.ledger.state(1).unwrap();
    rig.gate.send_replace(true);
    rig.took(40).await;
    rig.end().await;
    let mut rig = Rig::start(folder.path(), SPILL, Some(checkpoint));
    rig.gate.send_replace(true);
    rig.send(1, texts(40..41)).await;
    assert_eq!(rig.took(1).await, texts(40..41));
    rig.end().await;
}

#[tokio::test]
async fn a_sink_that_may_not_spill_any_more_still_gets_what_is_there() {
    for policy in [StallPolicy::Block, StallPolicy::Drop] {
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Rig::start(folder.path(), SPILL, None);
        rig.send(0, texts(0..20)).await;
        rig.confirmed(20).await;
        let checkpoint = rig.ledger.state(1).unwrap();
        rig.end().await;
        let mut rig = Rig::start(folder.path(), policy, Some(checkpoint));
        rig.gate.send_replace(true);
        assert_eq!(rig.took(20).await, texts(0..20));
        rig.send(1, texts(20..25)).await;
        assert_eq!(rig.took(25).await, texts(0..25));
        rig.end().await;
    }
}

#[tokio::test]
async fn an_end_does_not_wait_for_a_sink_that_is_gone_nor_when_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path(), SPILL, None);
    rig.send(0, texts(0..20)).await;
    rig.confirmed(20).await;
    rig.end().await;
    let checkpoint = rig.ledger.state(1).unwrap();
    assert_eq!((checkpoint.records, rig.taken.lock().unwrap().len()), (20, 0));
    let mut rig = Rig::start(folder.path(), SPILL, Some(checkpoint));
    drop(rig.stop.take());
    rig.end().await;
    assert!(!rig.ledger.is_empty());
}
