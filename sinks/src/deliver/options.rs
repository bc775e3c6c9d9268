//! The tables `batch` and `request`, which sinks over the network share. Names and meanings are
//! Vector's.

use super::GroupLimits;
use crate::limits::REQUEST_BATCHES_MAX;
use azud_plan::component::{Default, OptionKind, OptionSpec, Options};
use std::time::Duration;

/// The option `batch`.
pub(crate) const BATCH: OptionSpec = OptionSpec {
    name: "batch",
    kind: OptionKind::Table(&[
        OptionSpec {
            name: "max_bytes",
            kind: OptionKind::Bytes { min: 1, max: 1 << 30 },
            default: Default::Value("10_000_000"),
            summary: "How large a request may become, before it is compressed. A record that is \
                      larger goes alone.",
        },
        OptionSpec {
            name: "max_events",
            kind: OptionKind::Integer { min: 1, max: 1 << 32 },
            default: Default::None,
            summary: "How many records a request may hold.",
        },
        OptionSpec {
            name: "timeout_secs",
            kind: OptionKind::Seconds,
            default: Default::Value("1"),
            summary: "How long a record waits for others to share a request with.",
        },
    ]),
    default: Default::Value("{}"),
    summary: "How records are gathered into requests.",
};

/// The option `request`.
pub(crate) const REQUEST: OptionSpec = OptionSpec {
    name: "request",
    kind: OptionKind::Table(&[
        OptionSpec {
            name: "concurrency",
            kind: OptionKind::Integer { min: 1, max: 1024 },
            default: Default::Value("1"),
            summary: "How many requests may be under way. With more than one, records may arrive \
                      in another order.",
        },
        OptionSpec {
            name: "headers",
            kind: OptionKind::Map(&OptionKind::Confidential),
            default: Default::None,
            summary: "Headers of every request, by name. A value may name secrets.",
        },
        OptionSpec {
            name: "retry_attempts",
            kind: OptionKind::Integer { min: 0, max: 1 << 32 },
            default: Default::None,
            summary: "How often a request is tried again before its records are set aside. \
                      Without it, for ever.",
        },
        OptionSpec {
            name: "retry_initial_backoff_secs",
            kind: OptionKind::Seconds,
            default: Default::Value("1"),
            summary: "The bound of the first pause before trying again; it doubles each time. A \
                      pause is a random part of its bound.",
        },
        OptionSpec {
            name: "retry_max_duration_secs",
            kind: OptionKind::Seconds,
            default: Default::Value("30"),
            summary: "The longest bound of a pause. `Retry-After` of the other side counts too, \
                      up to 15 minutes.",
        },
        OptionSpec {
            name: "timeout_secs",
            kind: OptionKind::Seconds,
            default: Default::Value("60"),
            summary: "How long a request may take. One that took longer may have arrived, and \
                      is sent again.",
        },
    ]),
    default: Default::Value("{}"),
    summary: "How requests are sent, and sent again.",
};

/// The checked tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveryOptions {
    /// Bytes of a request, as they are encoded.
    pub bytes_max: usize,
    /// Records of a request.
    pub records_max: usize,
    /// How long a record waits for others.
    pub linger: Duration,
    /// Requests under way.
    pub concurrency: usize,
    /// How long a request may take.
    pub timeout: Duration,
    /// Attempts beyond the first; `None` is for ever.
    pub retries_max: Option<u64>,
    /// The bound of the first pause.
    pub pause_first: Duration,
    /// The bound of every pause.
    pub pause_longest: Duration,
}

impl DeliveryOptions {
    /// Reads the tables of a sink.
    pub fn check(options: &Options<'_>) -> Option<Self> {
        let (batch, request) = (options.table("batch")?, options.table("request")?);
        let count = |options: &Options<'_>, name| {
            options.integer(name).and_then(|number| u64::try_from(number).ok())
        };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let pause_first = request.duration("retry_initial_backoff_secs")?;
        Some(DeliveryOptions {
            bytes_max: size(batch.bytes("max_bytes")?),
            records_max: count(&batch, "max_events").map_or(usize::MAX, size),
            linger: batch.duration("timeout_secs")?,
            concurrency: size(count(&request, "concurrency")?),
            timeout: request.duration("timeout_secs")?,
            retries_max: count(&request, "retry_attempts"),
            pause_first,
            pause_longest: request.duration("retry_max_duration_secs")?.max(pause_first),
        })
    }

    /// Gives how far batches are gathered.
    pub fn group_limits(&self) -> GroupLimits {
        GroupLimits {
            bytes: self.bytes_max,
            records: self.records_max,
            batches: REQUEST_BATCHES_MAX,
            linger: self.linger,
        }
    }
}
