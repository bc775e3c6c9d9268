//! The commands of connectors, credentials, tokens and keys.

pub mod connectors;
pub mod credentials;
mod exchanges;
pub mod keys;
pub mod tokens;

use azud_event::time::EventTime;

/// Writes a time as tables show it; `-` where there is none.
fn time(time: Option<EventTime>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339()[..19].to_owned() + "Z")
}
