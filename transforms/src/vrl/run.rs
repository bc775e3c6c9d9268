//! Running programs on records, within bounds.

use super::compile::Compiled;
use super::moment::{self, Salt};
use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use std::ops::ControlFlow;
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::{ExpressionError, TimeZone};
use vrl::value::Value;

/// How many expressions one run may evaluate. A program of ten statements needs some fifty; a loop over a record of a
/// thousand elements some ten thousand; this many take about 50 ms, after which the other records of the worker have
/// waited long enough. A count and not a time, so that a replay ends where the first run ended.
pub const EXPRESSIONS_MAX: u32 = 1_000_000;

/// A program that one worker runs.
#[derive(Debug)]
pub struct Runner {
    program: vrl::compiler::Program,
    zone: TimeZone,
    salt: Salt,
    runtime: Runtime,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// To the end, with the value of its last expression.
    Done(Value),
    /// By `abort`, with its message.
    Aborted(String),
    /// By an error, with its message.
    Failed(String),
    /// By the bound [`EXPRESSIONS_MAX`].
    TimedOut,
}

impl Outcome {
    /// Gives the fault of a run that did not come to its end.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Outcome::Done(_) => None,
            Outcome::Aborted(message) => Some(Fault::new(Reason::ProgramAborted, message)),
            Outcome::Failed(message) => Some(Fault::new(Reason::ProgramFailed, message)),
            Outcome::TimedOut => Some(Fault::new(
                Reason::ProgramTimeout,
                format!("the program evaluated the most of {EXPRESSIONS_MAX} expressions"),
            )),
        }
    }
}

impl Runner {
    pub(super) fn new(compiled: &Compiled) -> Self {
        // A clone for each worker, not a shared program: regular expressions keep scratch memory, which workers would
        // wait for.
        Runner {
            program: compiled.program.clone(),
            zone: compiled.zone,
            salt: compiled.salt,
            runtime: Runtime::default(),
        }
    }

    /// Runs the program on a record. What it changed before it ended early is for the caller to undo.
    pub fn run(&mut self, record: &mut Record) -> Outcome {
        // At the beginning and not at the end: a run that unwound has left its variables behind.
        self.runtime.clear();
        moment::begin(record.origin(), &self.salt);
        let mut left = EXPRESSIONS_MAX;
        let mut bound = || {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut target = record.as_program_target();
        let ended = self.runtime.resolve_with_control(
            &mut target,
            &self.program,
            &self.zone,
            &mut bound,
        );
        match ended {
            Ok(value) => Outcome::Done(value),
            Err(Terminate::Interrupted) => Outcome::TimedOut,
            Err(Terminate::Abort(ExpressionError::Abort { message, .. })) => {
                Outcome::Aborted(message.unwrap_or_else(|| "aborted".to_owned()))
            }
            Err(Terminate::Abort(error) | Terminate::Error(error)) => {
                Outcome::Failed(error.to_string())
            }
        }
    }

    /// Runs a condition on a record.
    ///
    /// # Errors
    /// A [`Fault`] when it ended early.
    pub fn holds(&mut self, record: &mut Record) -> Result<bool, Fault> {
        match self.run(record) {
            Outcome::Done(value) => Ok(value == Value::Boolean(true)),
            other => Err(other.fault().unwrap_or_else(|| {
                Fault::new(Reason::ProgramFailed, "the condition gave no boolean")
            })),
        }
    }
}
