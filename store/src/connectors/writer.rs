//! The task that writes: what connectors tell every few seconds and when a status changes, and what
//! they wait for as soon as it can, all that waits in one transaction.
//!
//! Five hundred connectors that poll every ten seconds are so some transactions a second. While the
//! database is down nothing is lost but time: counts add up, statuses are as they are, and of the
//! changes the latest are kept.

use super::handle::{Handle, Shared};
use crate::StoreError;
use crate::statements::{self, CursorChange, CursorChanged};
use azud_plan::component::ConnectorError;
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

/// How often is written how connectors are.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a change of status waits for others: a network that is gone changes many at once.
const GATHER: Duration = Duration::from_millis(100);

/// How many requests wait for the task, and how many go in one transaction.
pub(super) const REQUESTS_MAX: usize = 512;

/// What a connector waits for.
pub(super) enum Request {
    /// A cursor is saved or given up.
    Cursor { change: CursorChange, reply: oneshot::Sender<Result<(), ConnectorError>> },
    /// A lease is taken or renewed: gives its term, if it is ours.
    Lease {
        id: Uuid,
        length: Duration,
        reply: oneshot::Sender<Result<Option<u64>, ConnectorError>>,
    },
    /// What was asked for before this was done: also where nobody waits for it any more.
    Flush { reply: oneshot::Sender<()> },
    /// All is written that was told until now.
    Report { reply: oneshot::Sender<()> },
    /// Nothing any more.
    End,
}

/// All connectors, as far as somebody holds the registry.
pub(super) type Handles = Weak<RwLock<Vec<Arc<Handle>>>>;

/// Says that the store is closed.
pub(super) fn unavailable() -> ConnectorError {
    ConnectorError::Unavailable("the store is closed".to_owned())
}

/// Writes until the registry is gone.
pub(super) async fn run(
    shared: Arc<Shared>,
    handles: Handles,
    mut requests: mpsc::Receiver<Request>,
) {
    let mut timer = interval(REPORT_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = Vec::new();
    let mut down = false;
    loop {
        tokio::select! {
            taken = requests.recv_many(&mut waiting, REQUESTS_MAX) => {
                let ends = waiting.iter().any(|request| matches!(request, Request::End));
                serve(&shared, &handles, &mut waiting, &mut down).await;
                if taken == 0 || ends {
                    return;
                }
            }
            _ = timer.tick() => report(&shared, &handles, &mut down).await,
            () = shared.urgent.notified() => {
                sleep(GATHER).await;
                report(&shared, &handles, &mut down).await;
            }
        }
    }
}

/// Does what is waited for, of each kind in one transaction.
async fn serve(
    shared: &Arc<Shared>,
    handles: &Handles,
    waiting: &mut Vec<Request>,
    down: &mut bool,
) {
    let (mut changes, mut saved) = (Vec::new(), Vec::new());
    let (mut wanted, mut leased) = (Vec::new(), Vec::new());
    let (mut reported, mut flushed) = (Vec::new(), Vec::new());
    for request in waiting.drain(..) {
        match request {
            Request::Cursor { change, reply } => {
                changes.push(change);
                saved.push(reply);
            }
            Request::Lease { id, length, reply } => {
                wanted.push((id, length));
                leased.push(reply);
            }
            Request::Report { reply } => reported.push(reply),
            Request::Flush { reply } => flushed.push(reply),
            Request::End => {}
        }
    }
    let now = shared.store.clock.now();
    if !changes.is_empty() {
        let done = match shared.store.writer() {
            Ok(writer) => statements::change_cursors(writer, &changes, now).await,
            Err(error) => Err(error),
        };
        answer(saved, done, |changed| match changed {
            CursorChanged::Done => Ok(()),
            CursorChanged::Lost => Err(ConnectorError::Lost),
            CursorChanged::Overtaken => Err(ConnectorError::Changed),
        });
    }
    if !wanted.is_empty() {
        let done = match shared.store.writer() {
            Ok(writer) => statements::take_leases(writer, &wanted, now).await,
            Err(error) => Err(error),
        };
        answer(leased, done, Ok);
    }
    for reply in flushed {
        // As below.
        let _ = reply.send(());
    }
    if !reported.is_empty() {
        report(shared, handles, down).await;
        // Who asked and went has no answer to get.
        for reply in reported {
            let _ = reply.send(());
        }
    }
}

fn answer<T, A>(
    replies: Vec<oneshot::Sender<Result<A, ConnectorError>>>,
    done: Result<Vec<T>, StoreError>,
    each: impl Fn(T) -> Result<A, ConnectorError>,
) {
    match done {
        Ok(done) => replies.into_iter().zip(done).for_each(|(reply, one)| {
            let _ = reply.send(each(one));
        }),
        Err(error) => {
            let error = match error {
                StoreError::Replaced => ConnectorError::Lost,
                error => ConnectorError::Unavailable(error.to_string()),
            };
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

/// Writes what came of the use of credentials; what cannot be written is put back.
async fn report_uses(shared: &Shared) {
    let notes = shared.uses.take();
    if notes.is_empty() {
        return;
    }
    let written = match shared.store.writer() {
        Ok(writer) => statements::note_credentials(writer, &notes).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "how credentials are cannot be written; it is kept in memory");
        shared.uses.put_back(notes);
    }
}

/// Writes how connectors and credentials are; what cannot be written is put back.
async fn report(shared: &Arc<Shared>, handles: &Handles, down: &mut bool) {
    report_uses(shared).await;
    let Some(handles) = handles.upgrade() else { return };
    let handles = handles.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let now = shared.store.clock.now();
    handles.iter().for_each(|handle| handle.tick(now));
    let taken: Vec<_> = handles
        .iter()
        .filter_map(|handle| handle.take_progress().map(|progress| (handle, progress)))
        .collect();
    if taken.is_empty() {
        return;
    }
    let progress: Vec<_> = taken.iter().map(|(_, progress)| progress.clone()).collect();
    let written = match shared.store.writer() {
        Ok(writer) => {
            statements::report_connectors(writer, &progress, shared.store.clock.now()).await
        }
        Err(error) => Err(error),
    };
    if written.is_ok() && progress.iter().any(|one| !one.changes.is_empty()) {
        shared.told.send_modify(|count| *count += 1);
    }
    if let Err(error) = &written {
        taken.into_iter().for_each(|(handle, progress)| handle.put_back(progress));
        if !*down {
            tracing::warn!(%error, "how connectors are cannot be written; it is kept in memory");
        }
    }
    *down = written.is_err();
}
