//! How a command ends: the exit codes, which scripts may rely on.

use azud_plan::diagnostic::Diagnostic;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked for: 0.
    Well,
    /// The documents have faults, or their tests failed: 1.
    Faults,
    /// It was called in a way that means nothing: 2.
    Usage,
    /// The environment did not allow it, now or while running: 3.
    Environment,
}

/// Says on standard error what of the environment does not allow it.
pub fn tell(fault: &Diagnostic) -> Outcome {
    eprintln!("error[{}]: {}", fault.code.0, fault.title);
    fault.help.iter().for_each(|help| eprintln!("help: {help}"));
    Outcome::Environment
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        // Most faults in how the program was called are found, and answered with 2, by clap.
        ExitCode::from(match outcome {
            Outcome::Well => 0,
            Outcome::Faults => 1,
            Outcome::Usage => 2,
            Outcome::Environment => 3,
        })
    }
}
