//! [`Renewal`]: the connections of a client, made anew when certificates on disk have changed.
//!
//! Certificates that live for days or hours are renewed beside us: by cert-manager, `certbot`,
//! Vault's agent, a sidecar of SPIFFE. What connects after that shows the new one. What is
//! half-done (the certificate there, its key not yet) is not used: those before go on, and it is
//! looked at again when a file changes again.

use crate::failure::causes;
use crate::guard::Guard;
use crate::limits::{IDLE_CONNECTION, RENEWAL_EVERY};
use crate::options::HttpOptions;
use azud_event::clock::Clock;
use azud_plan::component::BuildError;
use reqwest::{Client, redirect};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The connections, and what they were made of.
pub(crate) struct Renewal {
    options: HttpOptions,
    guard: Guard,
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
    /// Reads the files of TLS and makes the client; nothing is connected yet.
    ///
    /// # Errors
    /// When a file cannot be read, or does not hold what it should.
    pub(crate) fn build(
        options: &HttpOptions,
        guard: &Guard,
        clock: &Clock,
    ) -> Result<Self, BuildError> {
        // Before they are read: what is written meanwhile is read again.
        let read = stamps(options);
        let client = make(options, guard)?;
        let looked_at = clock.monotonic();
        let state = Mutex::new(State { client, read, looked_at });
        Ok(Renewal { options: options.clone(), guard: guard.clone(), clock: clock.clone(), state })
    }

    /// Gives the client, a new one when a file has changed.
    pub(crate) async fn client(self: &Arc<Self>) -> Client {
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
        let found = stamps(&self.options);
        let mut state = self.lock();
        if state.read == found {
            return state.client.clone();
        }
        state.read = found;
        drop(state);
        let made = make(&self.options, &self.guard);
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
        let files = self.options.files().map(|path| path.display().to_string());
        files.collect::<Vec<_>>().join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(options: &HttpOptions) -> Vec<Option<Stamp>> {
    options.files().map(|path| Stamp::of(path)).collect()
}

fn make(options: &HttpOptions, guard: &Guard) -> Result<Client, BuildError> {
    let unbuilt = |error: reqwest::Error| BuildError {
        message: format!("the HTTP client cannot be made: {}", causes(&error.without_url())),
        help: None,
    };
    let mut builder = Client::builder()
        .user_agent(concat!("azud/", env!("CARGO_PKG_VERSION")))
        // Redirects are followed by us, who know what may be sent on.
        .redirect(redirect::Policy::none())
        .referer(false)
        // What the environment says is for the author to let in.
        .no_proxy()
        .dns_resolver(Arc::new(guard.clone()))
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .pool_idle_timeout(IDLE_CONNECTION);
    if let Some(proxy) = &options.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(unbuilt)?);
    }
    options.tls.apply(builder)?.build().map_err(unbuilt)
}
