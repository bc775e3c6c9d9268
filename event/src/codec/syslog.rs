//! Syslog, as it is sent: RFC 5424, RFC 3164, and everything that calls itself either.
//!
//! [`parse`] reads a frame without allocation and never fails: a part that is recognised leaves the
//! text, everything else stays in it, so that no byte of a message is lost to a header that was
//! misread. [`SyslogDecoder`] makes records of that, with the field names of Vector's source of the
//! same name.
//!
//! | text | becomes |
//! |---|---|
//! | `<13>` | `facility`, `severity`; above 191 or without `>`: none, and the text stays whole |
//! | `1 ` | `version`; it makes the rest RFC 5424 |
//! | a time | `timestamp` and event time; `*` or `.` before it: `clock_synced` = false |
//! | `29: ` before a time | `sequence`, of Cisco |
//! | words | `hostname`, `appname`, `procid` (an integer if it is one), `msgid` |
//! | `[id name="value"]` | an object named `id`, with string members |
//! | the rest | `message` |

mod decoder;
mod digits;
mod header;
mod legacy;
mod structured;
mod tag;
#[cfg(test)]
mod tests;
mod time;
mod zone;

pub use decoder::{SyslogDecoder, SyslogOptions};
pub use header::{Message, Priority, Span, parse};
pub use zone::Zone;
