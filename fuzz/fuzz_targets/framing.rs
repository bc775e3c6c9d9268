//! However a stream is cut into reads, the same frames come out, and every byte is accounted for.
#![no_main]

use arbitrary::Arbitrary;
use azud_event::block::{Block, Layout};
use azud_event::codec::framing::{Cut, Framing, StreamFramer, frames};
use azud_event::id::{SourceIndex, StreamId};
use azud_event::time::EventTime;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

#[derive(Arbitrary, Debug)]
struct Input {
    lines: bool,
    frame_bytes_max: u8,
    cuts: Vec<u8>,
    bytes: Vec<u8>,
}

/// What became of a stream: records, and frames refused with their lengths.
#[derive(Debug, PartialEq)]
enum Piece {
    Record(Vec<u8>),
    Refused(usize),
}

fn pieces(cut: Cut, layout: &Layout, into: &mut Vec<Piece>) {
    match cut {
        Cut::Refused { length, .. } => into.push(Piece::Refused(length)),
        Cut::Records(bytes) => {
            let block = block(bytes, layout.clone());
            let records =
                frames(&block).map(|frame| Piece::Record(block.bytes[frame.range].to_vec()));
            into.extend(records);
        }
    }
}

fn block(bytes: Bytes, layout: Layout) -> Block {
    Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: bytes.len() as u64,
        received_at: EventTime::EPOCH,
        bytes,
        layout,
        peers: Arc::new([]),
    }
}

fn run(framing: Framing, max: usize, reads: impl Iterator<Item = Vec<u8>>) -> Vec<Piece> {
    let mut framer = StreamFramer::new(framing, max);
    let mut out = Vec::new();
    for read in reads {
        framer.push(&read);
        while let Some(cut) = framer.next_cut() {
            pieces(cut, &framing.layout(), &mut out);
        }
    }
    if let Some(cut) = framer.finish() {
        pieces(cut, &framing.layout(), &mut out);
    }
    out
}

fuzz_target!(|input: Input| {
    let framing = if input.lines { Framing::Lines } else { Framing::Syslog };
    let max = usize::from(input.frame_bytes_max) + 1;
    let whole = run(framing, max, std::iter::once(input.bytes.clone()));
    let mut rest = input.bytes.as_slice();
    let mut cuts = input.cuts.iter().cycle();
    let reads = std::iter::from_fn(|| {
        let cut = usize::from(cuts.next().copied().unwrap_or(7)).clamp(1, rest.len().max(1));
        let (now, later) = rest.split_at_checked(cut)?;
        rest = later;
        Some(now.to_vec())
    });
    assert_eq!(run(framing, max, reads), whole);
});
