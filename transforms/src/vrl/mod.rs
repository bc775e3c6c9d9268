//! Programs: VRL compiled against the plan and run on records.
//!
//! [`compile`] turns what an author wrote into a [`Program`], or into diagnostics at the place in
//! the document. [`functions`] are what programs may call: nothing that a replay could answer
//! otherwise. [`run`] runs them on records, within bounds: by VRL's own runtime, or, where every
//! part of a program is known to it, by [`native`], to which [`lower`] brings it.

pub mod compile;
pub mod functions;
pub mod growing;
mod lower;
mod moment;
mod native;
pub mod needle;
pub mod run;
pub mod source;
#[cfg(test)]
pub(crate) mod testing;

pub use compile::{Assertion, Compiler, Program};
pub use run::{Outcome, Runner};
