//! [`Renewal`]: the connections of a client, made anew when certificates on disk have changed.
//!
//! Certificates that live for days or hours are renewed beside us: by cert-manager, `certbot`,
//! Vault's agent, a sidecar of SPIFFE. What connects after that shows the new one. What is
//! half-done (the certificate there, its key not yet) is not used: those before go on, and it is
//! looked at again when a file changes again.

use crate::limits::RENEWAL_EVERY;
use azud_event::clock::Clock;
use azud_plan::component::BuildError;
use reqwest::Client;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Makes a client of what the files hold now.
type Make = Box<dyn Fn() -> Result<Client, BuildError> + Send + Sync>;

/// The connections, and what they were made of.
pub struct Renewal {
    files: Vec<PathBuf>,
    make: Make,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    client: Client,
    /// The files as they were when they were last read, whether they could be used or not.
    read: Vec<Option<Stamp>>,
    /// When they were looked at, by the monotonic clock.
    looked_at: Duration,
}

/// What differs when a file was written or replaced: device, inode, size, time of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let about = fs::metadata(path).ok()?;
        let (seconds, nanoseconds) = (about.ctime(), about.ctime_nsec());
        Some(Stamp(about.dev(), about.ino(), about.size(), seconds, nanoseconds))
    }
}

impl Renewal {
    /// Makes the client by `make`, which reads `files`; nothing is connected yet.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn build(
        files: Vec<PathBuf>,
        clock: &Clock,
        make: impl Fn() -> Result<Client, BuildError> + Send + Sync + 'static,
    ) -> Result<Self, BuildError> {
        // Before they are read: what is written meanwhile is read again.
        let read = stamps(&files);
        let client = make()?;
        let looked_at = clock.monotonic();
        let state = Mutex::new(State { client, read, looked_at });
        Ok(Renewal { files, make: Box::new(make), clock: clock.clone(), state })
    }

    /// Gives the client, a new one when a file has changed.
    pub async fn client(self: &Arc<Self>) -> Client {
        let client = {
            let mut state = self.lock();
            let now = self.clock.monotonic();
            let is_due = now.saturating_sub(state.looked_at) >= RENEWAL_EVERY;
            if state.read.is_empty() || !is_due {
                return state.client.clone();
            }
            state.looked_at = now;
            state.client.clone()
        };
        let renewal = Arc::clone(self);
        // Files may be anywhere. Who asks meanwhile gets the client that is here.
        let looked = tokio::task::spawn_blocking(move || renewal.look()).await;
        looked.unwrap_or(client)
    }

    /// Looks at the files, and reads those that have changed.
    fn look(&self) -> Client {
        let found = stamps(&self.files);
        let mut state = self.lock();
        if state.read == found {
            return state.client.clone();
        }
        state.read = found;
        drop(state);
        let made = (self.make)();
        let mut state = self.lock();
        match made {
            Ok(client) => {
                tracing::info!(files = %self.names(), "certificates were read anew");
                state.client = client;
            }
            Err(error) => tracing::warn!(
                error = error.message,
                "certificates have changed and cannot be used; those before go on"
            ),
        }
        state.client.clone()
    }

    fn names(&self) -> String {
        let files = self.files.iter().map(|path| path.display().to_string());
        files.collect::<Vec<_>>().join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| Stamp::of(path)).collect()
}
