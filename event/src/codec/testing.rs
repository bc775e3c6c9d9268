//! Blocks for the tests of decoders.

use crate::block::{Block, Layout, Peer};
use crate::id::{SourceIndex, StreamId};
use crate::time::EventTime;
use bytes::Bytes;

/// 2026-03-01T10:00:00Z, when the blocks of tests are received.
pub(crate) const RECEIVED_AT: EventTime =
    EventTime::from_nanoseconds(1_772_359_200 * 1_000_000_000);

pub(crate) fn block_of(bytes: &[u8], layout: Layout, peers: Vec<Peer>) -> Block {
    Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: bytes.len() as u64,
        received_at: RECEIVED_AT,
        bytes: Bytes::copy_from_slice(bytes),
        layout,
        peers: peers.into(),
    }
}

pub(crate) fn socket_peer() -> Vec<Peer> {
    let address = "203.0.113.9:40000".parse().unwrap();
    vec![Peer::from_address(address)]
}
