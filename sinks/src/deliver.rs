//! What sinks share: taking batches in bounded groups, and trying again when the outside is in
//! trouble; and for sinks over the network everything between the queue and one request.

mod circuit;
mod groups;
mod network;
mod options;
mod retry;

#[cfg(test)]
mod network_tests;

pub(crate) use groups::{GroupLimits, Groups, next_group};
pub(crate) use network::{Delivery, Failure, FailureKind, Outlet, Unsent};
pub(crate) use options::{BATCH, DeliveryOptions, REQUEST};
pub(crate) use retry::{Trouble, causes};
