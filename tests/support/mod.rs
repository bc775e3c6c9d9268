//! What end-to-end tests share: the running program, its folder, its metrics, and waiting.

pub mod files;
pub mod instance;
pub mod metrics;
pub mod program;
pub mod tls;
pub mod tools;
pub mod wait;
