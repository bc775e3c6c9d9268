//! Rules as the store keeps them.

use azud_event::alert::Severity;

/// A rule of the running plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its stable id.
    pub id: String,
    /// The pipeline that it stands in.
    pub pipeline: String,
    /// Which text of the rule.
    pub version: String,
    /// One line.
    pub title: String,
    /// How bad its alerts are at least.
    pub severity: Severity,
    /// `active` or `shadow`.
    pub mode: String,
    /// Free words.
    pub tags: Vec<String>,
}
