//! How long a soak goes on.

use super::wait;
use std::time::{Duration, Instant};

/// The variable of the environment that makes soaks longer.
const VARIABLE: &str = "AZUD_SOAK_SECONDS";

/// A stretch of time in which a test loads the program.
///
/// No test asserts anything about it: it says only how much is sent, and how often something goes
/// wrong.
pub struct Soak {
    start: Instant,
    length: Duration,
}

impl Soak {
    /// Begins one of so many seconds, or as many as `AZUD_SOAK_SECONDS` says.
    pub fn begin(seconds: u64) -> Self {
        let wanted = std::env::var(VARIABLE).ok();
        let wanted =
            wanted.map(|text| text.parse().unwrap_or_else(|_| panic!("{VARIABLE}={text}")));
        Soak { start: Instant::now(), length: Duration::from_secs(wanted.unwrap_or(seconds)) }
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        self.start.elapsed() < self.length
    }

    /// Gives how long it goes on in all.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Gives how long it has gone on.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Gives how long what comes behind it may take: longer when more was sent.
    pub fn patience(&self) -> Duration {
        self.length + 4 * wait::PATIENCE
    }
}
