//! What happens to records: the transforms, a file each.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod vrl;
