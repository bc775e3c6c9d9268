//! What end-to-end tests share: the running program, its folder, its metrics, and waiting.

pub mod api;
pub mod files;
pub mod instance;
pub mod metrics;
pub mod nginx;
pub mod paged;
pub mod postgres;
pub mod program;
pub mod python;
pub mod receiver;
pub mod recorded;
pub mod soak;
pub mod tail;
pub mod tls;
pub mod tools;
pub mod wait;
