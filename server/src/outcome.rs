//! How a command ends: the exit codes, which scripts may rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked for: 0.
    Well,
    /// The documents have faults, or their tests failed: 1.
    Faults,
    /// The environment did not allow it, now or while running: 3.
    Environment,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        // 2 is a fault in how the program was called; clap answers that by itself.
        ExitCode::from(match outcome {
            Outcome::Well => 0,
            Outcome::Faults => 1,
            Outcome::Environment => 3,
        })
    }
}
