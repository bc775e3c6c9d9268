//! What happens to records: the transforms, a file each, and the programs that they run.
//!
//! Nothing here knows an engine, a thread or a clock. A stateless transform sees one record at a
//! time; a keyed one makes rows of records and applies them in a plain state machine, a whole epoch
//! at once.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod aggregate;
mod alert;
mod evidence;
mod filter;
mod key;
mod remap;
mod revised;
mod route;
mod summarize;
#[cfg(test)]
mod testing;
pub mod vrl;
mod window;
mod wording;

use azud_plan::component::TransformFactory;

/// Every transform, sorted by name.
pub const TRANSFORMS: &[&TransformFactory] =
    &[&alert::ALERT, &filter::FILTER, &remap::REMAP, &route::ROUTE, &summarize::SUMMARIZE];
