//! Alerts as the store keeps them: what is delivered, what is asked for, what is answered.

mod columns;
mod merge;
mod row;

pub(crate) use columns::Columns;
pub(crate) use merge::{Merge, Stored, Tally, merge};
pub use row::{AlertRevision, AlertRow};

use azud_event::alert::Alert;
use azud_event::time::EventTime;

/// Some revisions of alerts, to be written in one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The sink that delivers.
    pub sink_id: &'a str,
    /// The last epoch that is complete with these, when the sink is told.
    pub epoch: Option<u64>,
    /// The revisions, in their order.
    pub alerts: &'a [Alert],
}

/// What a delivery changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Revisions that made or changed a row.
    pub written: usize,
    /// Revisions that were there before, or were overtaken by a later one.
    pub repeated: usize,
}

/// Which alerts are asked for; what is `None` does not restrict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertFilter {
    /// `firing`, `resolved` or `withdrawn`.
    pub state: Option<String>,
    /// This severity or a higher one: its name, or 1 to 5.
    pub severity: Option<String>,
    /// Alerts of this rule.
    pub rule: Option<String>,
    /// Revised then or later.
    pub since: Option<EventTime>,
    /// Behind this alert in the order of the listing: the last of the page before.
    pub after: Option<AlertCursor>,
    /// At most so many.
    pub limit: u32,
}

impl Default for AlertFilter {
    fn default() -> Self {
        AlertFilter {
            state: None,
            severity: None,
            rule: None,
            since: None,
            after: None,
            limit: 50,
        }
    }
}

/// Where an alert stands in a listing, which is ordered by `revised_at`, the latest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertCursor {
    /// When it was last revised, as the row says it.
    pub revised_at: String,
    /// Its id.
    pub id: String,
}

/// The names of severities; the first is 1.
pub(crate) const SEVERITIES: [&str; 5] = ["informational", "low", "medium", "high", "critical"];

/// Gives the number of a severity, by its name or number.
pub(crate) fn severity_number(text: &str) -> Option<i64> {
    let by_name = SEVERITIES.iter().position(|name| *name == text).map(|place| place as i64 + 1);
    by_name.or_else(|| text.parse().ok().filter(|number| (1..=5).contains(number)))
}
