//! UDP: many datagrams a system call, one record each, and every drop of the kernel counted.
//!
//! UDP has no back pressure, so there are two places where datagrams can go missing, and both are
//! counted. While the intake has no room nothing is read here; the kernel's buffer fills, and the
//! kernel drops. It counts what it drops for each socket: with datagrams it says so in a control
//! message (`SO_RXQ_OVFL`), and at any time in
//! `/proc/net/udp`. Both show the same counter, so the greater one is right.
//!
//! A datagram waits for at most [`DATAGRAM_WAIT`]. Blocks are handed over as soon as the socket is
//! empty, but a busy socket is left alone for [`DATAGRAM_LINGER`] between two of them: otherwise a
//! stream of datagrams that come one by one, each a little later than we read, would make a block
//! of each.

use super::complaint::Complaint;
use super::{Listen, Streams, refused};
use crate::limits::{
    ACCEPT_PAUSE, DATAGRAM_BYTES, DATAGRAM_LINGER, DATAGRAM_WAIT, DATAGRAMS_MAX, DROPS_EVERY,
    PEERS_MAX,
};
use crate::outlet::{Outlet, WhenFull};
use azud_event::block::{Block, HeadWriter, Layout, Peer};
use azud_event::dead_letter::Reason;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::limits::{BLOCK_BYTES, BLOCK_RECORDS_MAX, DEAD_LETTER_RAW_BYTES};
use azud_event::time::EventTime;
use azud_plan::component::{BuildError, RunError, SourceContext, SourceTask};
use azud_plan::telemetry::SourceMeter;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};
use socket2::{Domain, Socket, Type};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval};

/// The receive buffer that is asked for when the document names none: what comes in 50 ms at a
/// gigabit a second.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// How often the socket is read on shutdown, at most, for what the kernel had already taken in.
const LAST_READS: usize = 1_024;

/// A bound socket that is not read yet.
pub(crate) struct UdpTask {
    id: String,
    socket: std::net::UdpSocket,
    settings: Listen,
    streams: Streams,
    when_full: WhenFull,
}

impl UdpTask {
    /// Binds the port.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn bind(
        id: &str,
        settings: &Listen,
        streams: Streams,
        when_full: WhenFull,
    ) -> Result<Self, BuildError> {
        let socket =
            bind(id, settings).map_err(|error| refused("UDP", settings.address, &error))?;
        let (id, settings) = (id.to_owned(), settings.clone());
        Ok(UdpTask { id, socket, settings, streams, when_full })
    }

    /// Gives the address that was bound, with the port that the system chose if it was asked to.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    async fn serve(self, context: SourceContext) -> Result<(), RunError> {
        let failed = |error: io::Error| RunError {
            message: format!("cannot read from UDP {}: {error}", self.settings.address),
        };
        let inode =
            nix::sys::stat::fstat(&self.socket).map_err(|error| failed(error.into()))?.st_ino;
        let socket = UdpSocket::from_std(self.socket).map_err(failed)?;
        let start = context.clock.now().nanoseconds();
        let name = format!("{} udp {} {start}", self.id, self.settings.address);
        let stream = StreamId::named(name.as_bytes());
        let complaint = || Complaint::new(context.clock.clone());
        let mut reader = Reader {
            storage: vec![0; DATAGRAMS_MAX * DATAGRAM_BYTES],
            blocks: DatagramBlocks::new(context.source, stream, self.streams.frame_bytes_max),
            drops: Drops { known: 0, meter: Arc::clone(&context.meter) },
            inode,
            origin: complaint(),
            broken: complaint(),
            handed_over: Duration::ZERO,
            last: false,
            id: self.id,
            settings: self.settings,
            socket,
            outlet: Outlet::new(context, self.when_full),
        };
        reader.run().await;
        Ok(())
    }
}

impl SourceTask for UdpTask {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        self.serve(context).boxed()
    }
}

fn bind(id: &str, settings: &Listen) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(settings.address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    let wanted = settings.receive_buffer_bytes.unwrap_or(RECEIVE_BUFFER_BYTES);
    // With the privilege the system's bound does not apply; without it the kernel gives what the
    // bound allows.
    if setsockopt(&socket, sockopt::RcvBufForce, &wanted).is_err() {
        socket.set_recv_buffer_size(wanted)?;
    }
    socket.bind(&settings.address.into())?;
    // The kernel doubles what it is asked for, to cover its own bookkeeping.
    let effective = socket.recv_buffer_size()? / 2;
    if effective < wanted {
        tracing::warn!(
            component = id,
            wanted,
            effective,
            "the receive buffer is smaller than wanted; raise net.core.rmem_max, or bursts of \
             datagrams may be dropped"
        );
    } else {
        tracing::info!(component = id, effective, "receive buffer, in bytes");
    }
    Ok(socket.into())
}

/// Reads the socket of a running source.
struct Reader {
    id: String,
    settings: Listen,
    socket: UdpSocket,
    inode: u64,
    /// Room for [`DATAGRAMS_MAX`] datagrams of any size. Only what is used of it becomes memory.
    storage: Vec<u8>,
    blocks: DatagramBlocks,
    drops: Drops,
    outlet: Outlet,
    origin: Complaint,
    broken: Complaint,
    /// When the last block was handed over.
    handed_over: Duration,
    /// Whether these are the last reads: then the kernel itself is asked, not the runtime, which
    /// may not have heard yet of what came while we waited for room.
    last: bool,
}

impl Reader {
    async fn run(&mut self) {
        let mut shutdown = self.outlet.shutdown();
        let mut drops = interval(DROPS_EVERY);
        drops.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                _ = drops.tick() => self.ask_for_drops().await,
                ready = self.socket.readable() => {
                    if let Err(error) = ready {
                        self.failed(&error).await;
                    }
                    self.drain(usize::MAX).await;
                    let passed = self.outlet.clock().monotonic().saturating_sub(self.handed_over);
                    if passed < DATAGRAM_LINGER {
                        tokio::time::sleep(DATAGRAM_LINGER).await;
                        self.drain(usize::MAX).await;
                    }
                    self.hand_over().await;
                }
            }
        }
        self.last = true;
        self.drain(LAST_READS).await;
        self.hand_over().await;
        self.ask_for_drops().await;
    }

    /// Reads until the socket is empty, at most `reads` times. Blocks that are full, or held a
    /// datagram for long enough, are handed over on the way.
    async fn drain(&mut self, reads: usize) {
        for _ in 0..reads {
            match self.read() {
                Ok(count) => {
                    let waited = self
                        .blocks
                        .first_at
                        .map(|first_at| self.outlet.clock().monotonic().saturating_sub(first_at));
                    if waited.is_some_and(|waited| waited >= DATAGRAM_WAIT) {
                        self.blocks.close();
                    }
                    self.hand_over_ready().await;
                    if count < DATAGRAMS_MAX {
                        return;
                    }
                    // A flood must not keep this thread from its other sources.
                    tokio::task::yield_now().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.failed(&error).await,
            }
        }
    }

    /// Reads once; gives how many datagrams there were.
    fn read(&mut self) -> io::Result<usize> {
        let now = self.outlet.clock().now();
        let monotonic = self.outlet.clock().monotonic();
        let (socket, storage) = (&self.socket, &mut self.storage);
        let (blocks, drops) = (&mut self.blocks, &mut self.drops);
        let (permit, origin, id) = (&self.settings.permit, &self.origin, &self.id);
        let take = |datagram: &[u8], sender: SocketAddr| {
            if permit.permits(sender.ip()) {
                blocks.push(datagram, sender, now, monotonic);
                return;
            }
            drops.meter.discarded(1);
            if let Some(held_back) = origin.due() {
                tracing::warn!(component = %id, peer = %sender, held_back,
                    "let a datagram go that came from outside of `permit_origin`");
            }
        };
        let received = if self.last {
            receive(socket, storage, take)?
        } else {
            socket.try_io(Interest::READABLE, || receive(socket, storage, take))?
        };
        if let Some(total) = received.dropped {
            drops.seen(total);
        }
        Ok(received.count)
    }

    async fn hand_over(&mut self) {
        self.blocks.close();
        self.hand_over_ready().await;
        self.handed_over = self.outlet.clock().monotonic();
    }

    async fn hand_over_ready(&mut self) {
        while let Some(block) = self.blocks.ready.pop_front() {
            self.outlet.give(block).await;
        }
    }

    async fn ask_for_drops(&mut self) {
        for table in ["/proc/net/udp", "/proc/net/udp6"] {
            // Where /proc is closed to us the control messages alone have to do.
            if let Ok(text) = tokio::fs::read_to_string(table).await
                && let Some(total) = drops_of(&text, self.inode)
            {
                self.drops.seen(total);
            }
        }
    }

    async fn failed(&self, error: &io::Error) {
        self.drops.meter.error("read");
        if let Some(held_back) = self.broken.due() {
            tracing::warn!(component = %self.id, %error, held_back, "cannot read datagrams");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// What one call of the kernel gave.
struct Received {
    count: usize,
    /// How many datagrams the kernel has dropped since the socket was opened, modulo 2³², if it
    /// said so.
    dropped: Option<u32>,
}

/// Receives as many datagrams as there are, at most [`DATAGRAMS_MAX`], without waiting.
fn receive(
    socket: &UdpSocket,
    storage: &mut [u8],
    mut take: impl FnMut(&[u8], SocketAddr),
) -> io::Result<Received> {
    // The headers cannot be used twice: the kernel shortens the room for control messages to what
    // it wrote.
    let room = Some(nix::cmsg_space!(u32));
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(DATAGRAMS_MAX, room);
    let mut slices: Vec<_> =
        storage.chunks_exact_mut(DATAGRAM_BYTES).map(|chunk| [IoSliceMut::new(chunk)]).collect();
    let flags = MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_fd().as_raw_fd();
    let messages = recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None)?;
    let mut received = Received { count: 0, dropped: None };
    for message in messages {
        received.count += 1;
        if let Ok(mut controls) = message.cmsgs()
            && let Some(ControlMessageOwned::RxqOvfl(total)) = controls.next()
        {
            received.dropped = Some(total);
        }
        let datagram = message.iovs().next().unwrap_or_default();
        if let Some(sender) = message.address.as_ref().and_then(address_of) {
            take(datagram, sender);
        }
    }
    Ok(received)
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4(SocketAddrV4::from(*address)));
    v4.or_else(|| {
        address.as_sockaddr_in6().map(|address| SocketAddr::V6(SocketAddrV6::from(*address)))
    })
}

/// Counts what the kernel drops.
struct Drops {
    known: u32,
    meter: Arc<SourceMeter>,
}

impl Drops {
    /// Takes note of the kernel's counter. It may wrap around, and be told late, behind a newer
    /// one.
    fn seen(&mut self, total: u32) {
        let new = total.wrapping_sub(self.known);
        if new < u32::MAX / 2 {
            self.known = total;
            self.meter.kernel_drops.increment(u64::from(new));
        }
    }
}

/// Finds the counter of the socket with this inode in the text of `/proc/net/udp`: its last column.
fn drops_of(table: &str, inode: u64) -> Option<u32> {
    let row = table.lines().skip(1).map(|line| line.split_ascii_whitespace());
    let mut row = row.into_iter().find_map(|mut columns| {
        let own = columns.nth(9)?.parse::<u64>().ok()? == inode;
        own.then_some(columns)
    })?;
    row.nth(2)?.parse().ok()
}

/// Makes blocks of datagrams from many peers. Positions count records.
struct DatagramBlocks {
    source: SourceIndex,
    stream: StreamId,
    record_bytes_max: usize,
    writer: HeadWriter,
    peers: Vec<Peer>,
    table: HashMap<SocketAddr, u32>,
    received_at: EventTime,
    /// When the first datagram of the open block came, by the clock that never goes back.
    first_at: Option<Duration>,
    position: u64,
    ready: VecDeque<Block>,
}

impl DatagramBlocks {
    fn new(source: SourceIndex, stream: StreamId, record_bytes_max: usize) -> Self {
        DatagramBlocks {
            source,
            stream,
            record_bytes_max,
            writer: HeadWriter::new(),
            peers: Vec::new(),
            table: HashMap::new(),
            received_at: EventTime::EPOCH,
            first_at: None,
            position: 0,
            ready: VecDeque::new(),
        }
    }

    /// Adds a datagram. What its sender put behind the message (line ends, NUL) is no part of it;
    /// if nothing else is there, it is no record.
    fn push(&mut self, datagram: &[u8], sender: SocketAddr, now: EventTime, monotonic: Duration) {
        let mut record = datagram;
        while let [rest @ .., b'\n' | b'\r' | 0] = record {
            record = rest;
        }
        if record.is_empty() {
            return;
        }
        if record.len() > self.record_bytes_max {
            return self.refuse(record, sender, now);
        }
        if self.writer.is_empty() {
            self.received_at = now;
            self.first_at = Some(monotonic);
        }
        let peers = &mut self.peers;
        let peer = *self.table.entry(sender).or_insert_with(|| {
            peers.push(Peer::from_address(sender));
            (peers.len() - 1) as u32
        });
        let later = now.since(self.received_at).as_micros();
        self.writer.push(record, peer, u32::try_from(later).unwrap_or(u32::MAX));
        let full = self.writer.len() >= BLOCK_BYTES
            || self.writer.records() >= BLOCK_RECORDS_MAX
            || self.peers.len() >= PEERS_MAX;
        if full {
            self.close();
        }
    }

    fn refuse(&mut self, record: &[u8], sender: SocketAddr, now: EventTime) {
        self.close();
        let kept = &record[..record.len().min(DEAD_LETTER_RAW_BYTES)];
        let block = Block {
            source: self.source,
            stream: self.stream,
            position: self.position,
            end: self.position + 1,
            received_at: now,
            bytes: Bytes::copy_from_slice(kept),
            layout: Layout::Refused { reason: Reason::TooLong, length: record.len() as u64 },
            peers: Arc::new([Peer::from_address(sender)]),
        };
        self.position = block.end;
        self.ready.push_back(block);
    }

    /// Closes the open block, if it has a record.
    fn close(&mut self) {
        if self.writer.is_empty() {
            return;
        }
        let end = self.position + self.writer.records() as u64;
        let bytes = self.writer.take();
        if bytes.len() > BLOCK_BYTES / 2 {
            // The rest of its memory would not do for another block.
            self.writer = HeadWriter::new();
        }
        self.ready.push_back(Block {
            source: self.source,
            stream: self.stream,
            position: self.position,
            end,
            received_at: self.received_at,
            bytes,
            layout: Layout::Heads,
            peers: std::mem::take(&mut self.peers).into(),
        });
        self.table.clear();
        self.first_at = None;
        self.position = end;
    }
}
