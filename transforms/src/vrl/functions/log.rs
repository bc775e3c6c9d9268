//! `log`: a program's own words in our log.
//!
//! It changes no result. What it writes is bounded, because the records that make it write are
//! chosen by others: at most one line a second (or `rate_limit_secs`) from each place of a program,
//! by the receive time of the records. Zero takes the limit away, as its author asked.

use super::super::moment;
use super::ours::{Call, Replacement};
use std::sync::atomic::Ordering;
use vrl::prelude::{Resolved, Value, VrlValueConvert};

/// `log`, limited by the receive time.
pub const LOG: Replacement = Replacement {
    name: "log",
    arguments: &["value", "level", "rate_limit_secs"],
    run,
    reason: "it leaves its limit to a subscriber of Vector's",
};

fn run(call: &Call<'_>) -> Resolved {
    let span = call.optional(2).cloned().unwrap_or(Value::Integer(1)).try_integer()?;
    if !due(call, span) {
        return Ok(Value::Null);
    }
    let words = call.required(0)?.to_string_lossy();
    let level = call.optional(1).and_then(Value::to_str_lossy).unwrap_or_default();
    match &*level {
        "trace" => tracing::trace!(target: "azud::program", "{words}"),
        "debug" => tracing::debug!(target: "azud::program", "{words}"),
        "warn" => tracing::warn!(target: "azud::program", "{words}"),
        "error" => tracing::error!(target: "azud::program", "{words}"),
        _ => tracing::info!(target: "azud::program", "{words}"),
    }
    Ok(Value::Null)
}

/// Tells whether `seconds` have passed since this place last wrote; if so, it counts as writing
/// now.
fn due(call: &Call<'_>, seconds: i64) -> bool {
    let now = moment::received_at().seconds();
    let last = call.site.load(Ordering::Relaxed);
    // A receive time before the last is another worker's record or a replay's; either may write.
    let quiet = last <= now && now < last.saturating_add(seconds.max(0));
    if !quiet {
        call.site.store(now, Ordering::Relaxed);
    }
    !quiet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrl::testing::RECEIVED_AT;
    use azud_event::record::Record;
    use std::sync::atomic::AtomicI64;
    use std::time::Duration;
    use vrl::compiler::TimeZone;

    #[test]
    fn one_place_writes_once_in_its_span() {
        let zone = TimeZone::Named(chrono_tz::UTC);
        let site = AtomicI64::new(0);
        let call = Call { arguments: &[], zone, site: &site };
        let mut origin = Record::new().origin().clone();
        let mut at = |seconds| {
            origin.received_at = RECEIVED_AT.saturating_add(Duration::from_secs(seconds));
            moment::begin(&origin, &[0; 16]);
            (due(&call, 10), due(&call, 0))
        };
        assert_eq!(at(0), (true, true));
        assert_eq!(at(9), (false, true));
        assert_eq!(at(18), (false, true));
        assert_eq!(at(28), (true, true));
    }
}
