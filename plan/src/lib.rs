//! What is to run: documents are parsed with spans, checked, and become a plan; and the contract of
//! a component.
//!
//! ```text
//! text ──parse──▶ Document ──check──▶ Plan ──build──▶ (engine) ──run──▶ …
//!                    └────── every fault a Diagnostic with its place ─────┘
//! ```
//!
//! Nothing here knows a concrete component, a runtime or a worker thread. Components implement the
//! traits of [`component`] and are listed in a [`registry::Registry`]; the engine runs what a
//! [`plan::Plan`] says.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod component;
pub mod diagnostic;
pub mod document;
pub mod fill;
pub mod firing;
pub mod plan;
pub mod reference;
pub mod registry;
pub mod render;
pub mod resolve;
pub mod schema;
pub mod telemetry;
