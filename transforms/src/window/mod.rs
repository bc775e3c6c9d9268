//! Windows over event time: which records belong together, when that is told, and how it is
//! corrected.
//!
//! A record is folded into the *pane* or *segment* that its event time falls into, by key, where
//! the record is; what crosses to the worker that owns the key is one row for each of them. There
//! they are merged, and once the watermark has passed the end of a window its panes are merged once
//! more into the answer.
//!
//! ```text
//!  panes of a slide    │ 10:00 │ 10:01 │ 10:02 │ 10:03 │ 10:04 │      each record is in one pane
//!  hopping windows     ├───────────────────────┤                      each is size/slide panes
//!                              ├───────────────────────┤
//!                                      ├───────────────────────┤
//!                                            ▲ watermark              the first two are told
//!
//!  segments            ●──●●───●     ●──●            ●●●              runs of near records
//!  sessions            ├─────────┤                                    end `gap` behind the last
//!                                      ▲ a late record here bridges two: they become one
//! ```
//!
//! # Invariants
//!
//! - What a window has gathered is a function of the *set* of its records ([`Gathered`]), so
//!   neither drains, epochs nor workers show in its last answer (the model in
//!   `summarize/tests.rs`).
//! - A record that is taken finds everything that it belongs to still there: a maker refuses as
//!   late what ends, with the allowed lateness, at or before the bound that the state forgets by.
//! - A window is told again only if something visible changed, as the next revision ([`told`]).
//! - What is of ended windows alone may lie on disk, and is brought back before a late record is
//!   merged; when it went there does not show ([`State`]).
//! - Everything is bounded: keys, bytes in memory and on disk for each key group, open panes and
//!   segments for each key, answers for each call.

mod agenda;
mod closed;
mod code;
mod early;
mod gathered;
mod grid;
mod held;
mod members;
mod panes;
mod panes_maker;
mod partials;
mod parts;
mod sessions;
mod shelf;
mod sorted;
mod state;
mod timeline;
mod told;

pub use early::{Early, Grown, Growth};
pub use gathered::{Evidence, Field, Fields, Gathered};
pub use grid::{Grid, PANES_PER_WINDOW_MAX};
pub use held::Windows;
pub use members::{MembersMaker, Revision};
pub use panes::Panes;
pub use panes_maker::PanesMaker;
pub use parts::{Sharing, merge_parts};
pub use sessions::{Gap, Sessions, SessionsMaker};
pub use state::{Answer, Bounds, Look, State, Teller, Telling};
pub use timeline::Zone;
pub use told::Digest;
