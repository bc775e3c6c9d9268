//! What all sources share: their common options, and the way of a block into the engine.

use azud_event::block::{Block, Layout};
use azud_event::clock::Clock;
use azud_event::codec::framing::frames;
use azud_plan::component::{Options, Shutdown, SourceContext};
use futures_util::FutureExt;

/// The options that every source has.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    /// What happens when there is no room.
    pub(crate) when_full: WhenFull,
}

impl Common {
    /// Reads them.
    pub(crate) fn check(options: &Options<'_>) -> Common {
        let when_full = match options.one_of("when_full") {
            Some("drop_newest") => WhenFull::DropNewest,
            _ => WhenFull::Block,
        };
        Common { when_full }
    }
}

/// What happens when the source has used up its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Nothing more is read until there is room.
    Block,
    /// The records are counted and let go.
    DropNewest,
}

/// The way out of a source.
#[derive(Clone)]
pub(crate) struct Outlet {
    /// What the source runs with.
    pub(crate) context: SourceContext,
    when_full: WhenFull,
}

impl Outlet {
    /// Makes the way out of a source under its policy.
    pub(crate) fn new(context: SourceContext, when_full: WhenFull) -> Self {
        Outlet { context, when_full }
    }

    /// Hands over a block. It waits for room, or counts the block's records and lets them go, as
    /// the author chose.
    pub(crate) async fn give(&self, block: Block) {
        match self.when_full {
            WhenFull::Block => self.context.intake.submit(block).await,
            WhenFull::DropNewest => {
                if let Err(block) = self.context.intake.try_submit(block) {
                    let records = match block.layout {
                        Layout::Refused { .. } => 1,
                        // Lost, it would have others wait for the stream a little longer.
                        Layout::Complete { .. } | Layout::End => 0,
                        _ => frames(&block).count() as u64,
                    };
                    self.context.meter.discarded(records);
                }
            }
        }
    }

    /// Gives the clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// Gives what resolves when it is time to stop.
    pub(crate) fn shutdown(&self) -> Shutdown {
        self.context.shutdown.clone()
    }

    /// Whether it is time to stop. It polls: to peek would not tell as long as nobody else waits.
    pub(crate) fn is_closing(&self) -> bool {
        self.shutdown().now_or_never().is_some()
    }
}
