//! Rules as the store keeps them.

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
    /// 1 to 5.
    pub severity: u8,
    /// `active` or `shadow`.
    pub mode: String,
    /// Free words.
    pub tags: Vec<String>,
}
