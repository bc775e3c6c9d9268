//! Alerts as the store keeps them: what is delivered, what is asked for, what is answered.

mod columns;
mod merge;
mod row;

pub(crate) use columns::Columns;
pub(crate) use merge::{Carried, Merge, Stored, Tally, merge};
pub use row::{AlertRevision, AlertRow};

use crate::Reached;
use azud_event::alert::{Alert, SCHEMA, Severity};
use azud_event::time::EventTime;

/// Some revisions of alerts, to be written in one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The sink that delivers.
    pub sink_id: &'a str,
    /// How far the sink was when it last looked: what is stored may not be less.
    pub expects: Option<&'a Reached>,
    /// How far the sink is with these, when it is told.
    pub progress: Option<&'a Reached>,
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
    /// This severity or a higher one.
    pub severity: Option<Severity>,
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
        AlertFilter { state: None, severity: None, rule: None, since: None, after: None, limit: 50 }
    }
}

/// Where an alert stands in a listing, which is ordered by `revised_at`, the latest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertCursor {
    /// When it was last revised.
    pub revised_at: EventTime,
    /// Its id.
    pub id: String,
}

/// Why an alert cannot be stored: it is not of the form that the tables hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no {what} of an alert")]
pub struct Unstorable {
    /// What is wrong: `schema`, `change`, `state`, `mode`, `origin` or `revision`.
    pub what: &'static str,
    /// What it says.
    pub value: String,
}

/// Checks what the tables check, so that one alert is refused and not the transaction that it is
/// in.
///
/// # Errors
/// [`Unstorable`] with the first word that the tables do not know.
pub fn check_alert(alert: &Alert) -> Result<(), Unstorable> {
    const CHANGES: &[&str] = &["raised", "amended", "escalated", "resolved", "withdrawn"];
    const STATES: &[&str] = &["firing", "resolved", "withdrawn"];
    const MODES: &[&str] = &["active", "shadow"];
    const ORIGINS: &[&str] = &["live", "retroactive", "backfill", "replay"];
    let words = [
        ("schema", &alert.schema, &[SCHEMA] as &[&str]),
        ("change", &alert.change, CHANGES),
        ("state", &alert.state, STATES),
        ("mode", &alert.mode, MODES),
        ("origin", &alert.origin, ORIGINS),
    ];
    for (what, value, known) in words {
        if !known.contains(&value.as_str()) {
            return Err(Unstorable { what, value: value.clone() });
        }
    }
    if alert.revision == 0 {
        return Err(Unstorable { what: "revision", value: "0".to_owned() });
    }
    Ok(())
}
