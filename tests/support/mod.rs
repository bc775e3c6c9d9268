//! What end-to-end tests share: the running program, its folder, its metrics, and waiting.

pub mod files;
pub mod metrics;
pub mod program;
pub mod wait;
