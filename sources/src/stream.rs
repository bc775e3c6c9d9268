//! From a stream of bytes to blocks: what connections, files and standard input have in common.
//!
//! [`StreamBlocks`] puts the pieces that a [`StreamFramer`] cuts into blocks and keeps their
//! positions; [`Pump`] reads an asynchronous stream into one and hands the blocks over. While the
//! intake has no room the pump does not read, and that is all the back pressure there is: the
//! sender's own buffers fill.

use crate::limits::{READ_BYTES_MAX, READ_BYTES_MIN};
use crate::outlet::Outlet;
use azud_event::block::{Block, Layout, Peer};
use azud_event::clock::Clock;
use azud_event::codec::framing::{Cut, Framing, StreamFramer};
use azud_event::id::{SourceIndex, StreamId};
use azud_event::limits::BLOCK_RECORDS_MAX;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Makes blocks of what is read from one stream. Positions are byte offsets in the stream, and
/// exact: a stream that is read again from a block's `end` goes on with the record behind it.
#[derive(Debug)]
pub(crate) struct StreamBlocks {
    source: SourceIndex,
    stream: StreamId,
    framing: Framing,
    frame_bytes_max: usize,
    framer: StreamFramer,
    peers: Arc<[Peer]>,
    /// Where the next block starts.
    position: u64,
    /// Where the next byte that is read stands in the stream.
    read_to: u64,
    /// Parts of a cut that held too many records for one block.
    parts: VecDeque<Block>,
}

impl StreamBlocks {
    /// Makes the blocks of `stream` from byte `position` on.
    pub(crate) fn new(
        source: SourceIndex,
        stream: StreamId,
        framing: Framing,
        frame_bytes_max: usize,
        position: u64,
    ) -> Self {
        StreamBlocks {
            source,
            stream,
            framing,
            frame_bytes_max,
            framer: StreamFramer::new(framing, frame_bytes_max),
            peers: Arc::new([]),
            position,
            read_to: position,
            parts: VecDeque::new(),
        }
    }

    /// Says who sends the stream.
    pub(crate) fn set_peer(&mut self, peer: Peer) {
        self.peers = Arc::new([peer]);
    }

    /// Gives the place in the stream where the next block starts: what lies before it was given.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Gives the place in the stream up to which it was read.
    pub(crate) fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Gives the buffer that reads are appended to; each is then told to [`StreamBlocks::added`].
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.framer.buffer()
    }

    /// Takes note of bytes that were appended to the buffer.
    pub(crate) fn added(&mut self, bytes: usize) {
        self.read_to += bytes as u64;
    }

    /// Gives the memory back that the last reads needed, which may be much more than what waits for
    /// the rest of its record. A long wait is not copied: a sender that trickles would have us copy
    /// it again and again.
    pub(crate) fn release(&mut self) {
        let buffer = self.framer.buffer();
        if buffer.len() < READ_BYTES_MIN {
            *buffer = BytesMut::from(&buffer[..]);
        }
    }

    /// Gives the next block of whole records, or `None` when more has to be read first.
    pub(crate) fn next(&mut self, clock: &Clock) -> Option<Block> {
        if let Some(part) = self.parts.pop_front() {
            return Some(part);
        }
        let cut = self.framer.next_cut()?;
        Some(self.block_of(cut, clock))
    }

    /// Gives what remains at the end of the stream, when [`StreamBlocks::next`] gives nothing more.
    pub(crate) fn finish(&mut self, clock: &Clock) -> Option<Block> {
        let cut = self.framer.finish()?;
        Some(self.block_of(cut, clock))
    }

    /// Gives the mark that the stream has ended, to be handed over last.
    pub(crate) fn end(&self, clock: &Clock) -> Block {
        Block {
            source: self.source,
            stream: self.stream,
            position: self.position,
            end: self.position,
            received_at: clock.now(),
            bytes: Bytes::new(),
            layout: Layout::End,
            peers: Arc::clone(&self.peers),
        }
    }

    fn block_of(&mut self, cut: Cut, clock: &Clock) -> Block {
        let end = self.read_to - self.framer.waiting_bytes() as u64;
        let (bytes, layout) = match cut {
            Cut::Records(bytes) => (bytes, self.framing.layout()),
            Cut::Refused { reason, bytes, length } => {
                (bytes, Layout::Refused { reason, length: length as u64 })
            }
        };
        let block = Block {
            source: self.source,
            stream: self.stream,
            position: self.position,
            end,
            received_at: clock.now(),
            bytes,
            layout,
            peers: Arc::clone(&self.peers),
        };
        self.position = end;
        if matches!(block.layout, Layout::Refused { .. }) || !self.is_dense(&block.bytes) {
            return block;
        }
        self.split(block)
    }

    /// Whether there may be more records in `bytes` than a block can hold. Each record has a line
    /// feed behind it or, counted, a space before it, and at least two bytes.
    fn is_dense(&self, bytes: &Bytes) -> bool {
        // Two counts, not one search for both: counting one byte does not stop at each.
        let count = |byte| memchr::memchr_iter(byte, bytes).count();
        let counted = || match self.framing {
            Framing::Lines => 0,
            Framing::Syslog => count(b' '),
        };
        bytes.len() > 2 * BLOCK_RECORDS_MAX && count(b'\n') + counted() > BLOCK_RECORDS_MAX
    }

    /// Divides a block into several, none with more records than allowed. How a frame is measured
    /// does not depend on how a stream is read, so reading it again in smaller pieces finds the
    /// same frames.
    fn split(&mut self, block: Block) -> Block {
        let mut framer = StreamFramer::new(self.framing, self.frame_bytes_max);
        let mut position = block.position;
        let mut add = |cut: Option<Cut>, parts: &mut VecDeque<Block>| {
            if let Some(Cut::Records(bytes)) = cut {
                let end = position + bytes.len() as u64;
                parts.push_back(Block { position, end, bytes, ..block.clone() });
                position = end;
            }
        };
        for piece in block.bytes.chunks(BLOCK_RECORDS_MAX) {
            framer.push(piece);
            while let Some(cut) = framer.next_cut() {
                add(Some(cut), &mut self.parts);
            }
        }
        add(framer.finish(), &mut self.parts);
        self.parts.pop_front().unwrap_or(block)
    }
}

/// Reads one stream to its end, and hands over its blocks.
pub(crate) struct Pump {
    /// The stream's blocks.
    pub(crate) blocks: StreamBlocks,
    /// Where they go, and when to stop.
    pub(crate) outlet: Outlet,
    /// How long the stream may be silent.
    pub(crate) idle_timeout: Option<Duration>,
}

/// How a stream ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Its sender closed it.
    Closed,
    /// It was silent for too long.
    Idle,
    /// It was told to stop.
    Shutdown,
    /// It could not be read any more.
    Failed(io::Error),
}

impl Pump {
    /// Reads until the stream ends or it is time to stop. Everything that was read is handed over
    /// then, what never became a whole frame as well.
    pub(crate) async fn run(mut self, mut reader: impl AsyncRead + Unpin) -> End {
        let mut room = READ_BYTES_MIN;
        let end = loop {
            let read = match self.read_ready(&mut reader, room) {
                Some(read) => read,
                None => {
                    // A connection that waits holds little more than its unfinished frame.
                    room = READ_BYTES_MIN;
                    self.blocks.release();
                    match self.read_awaited(&mut reader, room).await {
                        Ok(read) => read,
                        Err(end) => break end,
                    }
                }
            };
            match read {
                Ok(0) => break End::Closed,
                Ok(bytes) if bytes >= room => room = (2 * room).min(READ_BYTES_MAX),
                Ok(bytes) if bytes < room / 4 => room = (room / 2).max(READ_BYTES_MIN),
                Ok(_) => {}
                Err(error) => break End::Failed(error),
            }
            self.hand_over().await;
            if self.outlet.is_closing() {
                break End::Shutdown;
            }
        };
        self.hand_over().await;
        if let Some(block) = self.blocks.finish(self.outlet.clock()) {
            self.outlet.give(block).await;
        }
        self.outlet.give(self.blocks.end(self.outlet.clock())).await;
        end
    }

    async fn hand_over(&mut self) {
        while let Some(block) = self.blocks.next(self.outlet.clock()) {
            self.outlet.give(block).await;
        }
    }

    /// Reads what is there now, up to `room` bytes; `None` when nothing is. Zero bytes mean the end
    /// of the stream.
    fn read_ready(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        room: usize,
    ) -> Option<io::Result<usize>> {
        let mut total = 0;
        while total < room {
            let buffer = self.blocks.buffer();
            buffer.reserve(room - total);
            match reader.read_buf(buffer).now_or_never() {
                Some(Ok(bytes)) if bytes > 0 => {
                    self.blocks.added(bytes);
                    total += bytes;
                }
                // The end and errors come again with the next read, when what came before is handed
                // over.
                Some(last) if total == 0 => return Some(last),
                _ => break,
            }
        }
        (total > 0).then_some(Ok(total))
    }

    /// Waits for the next bytes, at most for the idle timeout or until it is time to stop.
    async fn read_awaited(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        room: usize,
    ) -> Result<io::Result<usize>, End> {
        let mut shutdown = self.outlet.shutdown();
        let idle_timeout = self.idle_timeout;
        let buffer = self.blocks.buffer();
        buffer.reserve(room);
        let read = async {
            match idle_timeout {
                Some(span) => tokio::time::timeout(span, reader.read_buf(buffer)).await,
                None => Ok(reader.read_buf(buffer).await),
            }
        };
        tokio::select! {
            biased;
            () = &mut shutdown => Err(End::Shutdown),
            read = read => match read {
                Ok(read) => {
                    self.blocks.added(*read.as_ref().unwrap_or(&0));
                    Ok(read)
                }
                Err(_) => Err(End::Idle),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_joined, records_of};
    use azud_event::time::EventTime;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn blocks_of(framing: Framing, text: &[u8], from: usize, reads: &[usize]) -> Vec<Block> {
        let clock = Clock::manual(EventTime::EPOCH);
        let stream = StreamId(1);
        let mut stream = StreamBlocks::new(SourceIndex(0), stream, framing, 20, from as u64);
        let mut blocks = Vec::new();
        let mut rest = &text[from..];
        let mut sizes = reads.iter().cycle();
        while !rest.is_empty() {
            let (read, later) = rest.split_at(sizes.next().unwrap().min(&rest.len()).to_owned());
            stream.buffer().extend_from_slice(read);
            stream.added(read.len());
            stream.release();
            blocks.extend(std::iter::from_fn(|| stream.next(&clock)));
            rest = later;
        }
        blocks.extend(stream.finish(&clock));
        blocks
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let pieces = proptest::sample::select(vec![
            "\n",
            "\n\n",
            "a",
            "bc\n",
            "<13>x\n",
            "5 <13>y",
            "7 <13>y\n\n",
            "a line of text\n",
            "a line that is far too long\n",
            "40 <13> a frame that is far too long ...... ",
        ]);
        vec(pieces, 0..30).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn a_stream_that_is_read_again_from_a_block_on_gives_the_same_rest(
            text in text(),
            reads in vec(1_usize..40, 1..10),
            lines in any::<bool>(),
        ) {
            let framing = if lines { Framing::Lines } else { Framing::Syslog };
            let whole = blocks_of(framing, &text, 0, &[text.len().max(1)]);
            let blocks = blocks_of(framing, &text, 0, &reads);
            prop_assert_eq!(records_of(&blocks), records_of(&whole));
            assert_joined(&blocks);
            let end = blocks.last().map_or(0, |block| block.end);
            prop_assert_eq!(end, text.len() as u64);
            for (index, block) in blocks.iter().enumerate() {
                let rest = blocks_of(framing, &text, block.end as usize, &reads);
                prop_assert_eq!(records_of(&rest), records_of(&blocks[index + 1..]));
            }
        }
    }
}
