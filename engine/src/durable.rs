//! Who is told what is on disk, and who keeps checkpoints.

use crate::archive::Cabinet;
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::feed::{Epoch, Feed};
use crate::intake::Ring;
use crate::log::{Log, LogError, LogPosition, Observer, Phase};
use crate::plan_text::Planned;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// Passes on what the log tells: to the sources' rings, which answer senders, and to the feeds,
/// which let results leave.
#[derive(Default)]
pub struct LogBells {
    rings: OnceLock<Vec<Arc<Ring>>>,
    feeds: OnceLock<Vec<Arc<Feed>>>,
}

impl LogBells {
    /// Says whom to tell; once, before anything is appended.
    pub fn connect(&self, rings: Vec<Arc<Ring>>, feeds: Vec<Arc<Feed>>) {
        // A second call could only come from starting two plans on one log, which nothing does.
        let _ = (self.rings.set(rings), self.feeds.set(feeds));
    }

    fn rings(&self) -> impl Iterator<Item = &Arc<Ring>> {
        self.rings.get().into_iter().flatten()
    }

    fn feeds(&self) -> impl Iterator<Item = &Arc<Feed>> {
        self.feeds.get().into_iter().flatten()
    }
}

impl Observer for LogBells {
    fn durable(&self, up_to: LogPosition) {
        self.rings().for_each(|ring| ring.durable(up_to));
        self.feeds().for_each(|feed| feed.durable(up_to));
    }

    fn room(&self) {
        self.feeds().for_each(|feed| feed.nudge());
        self.rings().for_each(|ring| ring.nudge());
    }

    fn phase(&self, phase: Phase) {
        match phase {
            Phase::Full => tracing::error!(
                "the log has no room on its disk: sources wait; free some, and they go on"
            ),
            Phase::Running => tracing::info!("the log has room again"),
            Phase::Stopped => {}
        }
        self.room();
    }

    /// Ends the process: what was told durable is there at the next start, and nothing else may be
    /// told.
    fn fatal(&self, error: LogError) {
        tracing::error!("the log has failed, and nothing may be taken in without it: {error}");
        std::process::abort();
    }
}

/// Takes a checkpoint, or gives it back when it is busy.
pub type Door = Box<dyn Fn(Box<Checkpoint>) -> Result<(), Box<Checkpoint>> + Send>;

/// Writes the checkpoints of all pipelines, on a thread of its own, and lets go of the log behind
/// them.
pub struct Keeper {
    sender: SyncSender<(usize, Box<Checkpoint>)>,
    /// How many were given to be written.
    given: Arc<AtomicU64>,
    /// How many were written, or could not be.
    written: watch::Receiver<u64>,
}

/// The whole checkpoints of one pipeline.
pub struct Kept {
    folder: PathBuf,
    plan: Arc<[Planned]>,
    archive: Arc<Cabinet>,
    /// The oldest first; at most [`checkpoint::KEPT`] of them.
    whole: VecDeque<Whole>,
    /// Segments of the archive that are not named any more, and not removed yet.
    unnamed: BTreeSet<u64>,
}

/// What a checkpoint that is kept needs to be there.
struct Whole {
    epoch: Epoch,
    log_from: Option<LogPosition>,
    /// The numbers of segments.
    segments: BTreeSet<u64>,
}

/// What the thread has.
struct Keeping {
    receiver: Receiver<(usize, Box<Checkpoint>)>,
    pipelines: Vec<Kept>,
    log: Arc<Log>,
    feeds: Arc<OnceLock<Vec<Arc<Feed>>>>,
    written: watch::Sender<u64>,
}

impl Keeper {
    /// Starts the thread. `feeds` are set once they are made, before any checkpoint is.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        pipelines: Vec<Kept>,
        log: Arc<Log>,
        feeds: Arc<OnceLock<Vec<Arc<Feed>>>>,
    ) -> Result<Keeper, LogError> {
        // One waits while one is written; a pipeline whose turn it is not asks again.
        let (sender, receiver) = sync_channel(1);
        let (report, written) = watch::channel(0);
        let keeping = Keeping { receiver, pipelines, log, feeds, written: report };
        let builder = std::thread::Builder::new().name("checkpoints".to_owned());
        builder.spawn(move || keeping.run()).map_err(LogError::Thread)?;
        Ok(Keeper { sender, given: Arc::default(), written })
    }

    /// Gives what takes the checkpoints of one pipeline.
    pub fn door(&self, pipeline: usize) -> Door {
        let (sender, given) = (self.sender.clone(), Arc::clone(&self.given));
        Box::new(move |checkpoint| {
            given.fetch_add(1, Ordering::SeqCst);
            sender.try_send((pipeline, checkpoint)).map_err(|refused| {
                given.fetch_sub(1, Ordering::SeqCst);
                match refused {
                    TrySendError::Full((_, checkpoint))
                    | TrySendError::Disconnected((_, checkpoint)) => checkpoint,
                }
            })
        })
    }

    /// Whether a checkpoint is being written, or waits to be.
    pub fn is_busy(&self) -> bool {
        self.given.load(Ordering::SeqCst) > *self.written.borrow()
    }

    /// Gives what changes with every checkpoint that was written.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }
}

impl Keeping {
    fn run(mut self) {
        while let Ok((pipeline, mut checkpoint)) = self.receiver.recv() {
            checkpoint.plan = Arc::clone(&self.pipelines[pipeline].plan);
            match self.write(&self.pipelines[pipeline].folder, &checkpoint) {
                Ok(()) => {
                    self.pipelines[pipeline].add(&checkpoint);
                    if let Err(error) = self.pipelines[pipeline].remove_old() {
                        tracing::warn!("an old checkpoint cannot be removed: {error}");
                    }
                    self.let_go();
                }
                // The older ones are there, and the log behind them; the next one is tried in time.
                Err(error) => tracing::error!("a checkpoint could not be kept: {error}"),
            }
            self.written.send_modify(|count| *count += 1);
            let feeds = self.feeds.get().into_iter().flatten();
            feeds.for_each(|feed| feed.kept());
        }
    }

    fn write(
        &self,
        folder: &Path,
        checkpoint: &Checkpoint,
    ) -> Result<(), Box<dyn std::error::Error>> {
        if checkpoint.write(folder).is_ok() {
            return Ok(());
        }
        // Room for it was set aside: it is what lets the log go.
        let reserve = self.log.open_reserve()?;
        let written = checkpoint.write(folder);
        drop(reserve);
        Ok(written?)
    }

    /// Lets go of the log behind what every pipeline has kept.
    fn let_go(&self) {
        let held = self.pipelines.iter().flat_map(|kept| kept.whole.front());
        if let Some(least) = held.filter_map(|whole| whole.log_from).min() {
            self.log.release(least);
        }
    }
}

impl Kept {
    /// Looks at what is kept of a pipeline, which now runs by `plan`.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn below(
        folder: PathBuf,
        plan: Arc<[Planned]>,
        archive: Arc<Cabinet>,
    ) -> Result<Kept, CheckpointError> {
        let (whole, unnamed) = (VecDeque::new(), BTreeSet::new());
        let mut kept = Kept { folder, plan, archive, whole, unnamed };
        for path in checkpoint::list(&kept.folder)? {
            if let Ok(known) = Checkpoint::read(&path) {
                kept.add(&known);
            }
        }
        Ok(kept)
    }

    fn add(&mut self, checkpoint: &Checkpoint) {
        // One that is made again, because it could not be read for a while, takes its own place.
        let again = self.whole.partition_point(|whole| whole.epoch < checkpoint.next);
        let mut gone: Vec<Whole> = self.whole.drain(again..).collect();
        self.whole.push_back(Whole {
            epoch: checkpoint.next,
            log_from: checkpoint.needs_log_from(),
            segments: checkpoint.segments.iter().map(|segment| segment.number).collect(),
        });
        let surplus = self.whole.len().saturating_sub(checkpoint::KEPT);
        gone.extend(self.whole.drain(..surplus));
        self.unnamed.extend(gone.into_iter().flat_map(|whole| whole.segments));
        for whole in &self.whole {
            self.unnamed.retain(|number| !whole.segments.contains(number));
        }
    }

    /// Removes what is before the oldest that is kept. One that is damaged does not count, and
    /// goes when two whole ones are behind it.
    fn remove_old(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let Some(Whole { epoch, .. }) = self.whole.front() else { return Ok(()) };
        checkpoint::remove_before(&self.folder, *epoch)?;
        // Only now nothing on disk names them.
        self.archive.remove(self.unnamed.iter().copied())?;
        self.unnamed.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Folder;
    use std::fs;

    #[test]
    fn a_damaged_checkpoint_pushes_out_no_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_owned();
        let made = |next| Checkpoint { next, ..Checkpoint::default() };
        for next in [10, 20, 30] {
            made(next).write(&folder).unwrap();
        }
        let damaged = checkpoint::list(&folder).unwrap().pop().unwrap();
        fs::write(&damaged, b"azud").unwrap();
        let disk = Arc::new(Folder::new(folder.join("archive")));
        let archive = Arc::new(Cabinet::open(disk, std::iter::empty()).unwrap());
        let mut kept = Kept::below(folder.clone(), [].into(), archive).unwrap();
        let epochs = || -> Vec<_> {
            let paths = checkpoint::list(&folder).unwrap();
            paths.iter().filter_map(|path| checkpoint::epoch_of(path)).collect()
        };
        // The run that follows begins at 20, so its first checkpoints may be before the damaged.
        for (next, left) in [
            (25, vec![20, 25, 30]),
            (28, vec![25, 28, 30]),
            (40, vec![28, 30, 40]),
            (50, vec![40, 50]),
        ] {
            made(next).write(&folder).unwrap();
            kept.add(&made(next));
            kept.remove_old().unwrap();
            assert_eq!(epochs(), left);
            let (newest, _) = Checkpoint::newest(&folder).unwrap();
            assert_eq!(newest.unwrap().next, next);
        }
    }
}
