//! Dead letters as the store keeps them: a row for each group of those that are in files.

use azud_event::time::EventTime;

/// The most bytes of a sample.
pub const SAMPLE_BYTES_MAX: usize = 4096;

/// Letters of one component, source, reason and minute, as they are in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// The group's identity.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// The component that could not go on.
    pub component_id: String,
    /// The stage of the way at which it happened.
    pub stage: String,
    /// The name of the reason.
    pub reason: String,
    /// What went wrong with the first.
    pub message: String,
    /// The source that took them in; empty where that is not known.
    pub source_id: String,
    /// Who sent the first.
    pub peer: Option<String>,
    /// How many there are.
    pub records: u64,
    /// How many bytes their records have.
    pub bytes: u64,
    /// The beginning of the first record; more than [`SAMPLE_BYTES_MAX`] is cut off.
    pub sample: Vec<u8>,
    /// The first file that has some.
    pub segment_from: String,
    /// The last.
    pub segment_to: String,
    /// The minute of their receipt.
    pub minute: EventTime,
    /// When the first was received.
    pub first_received_at: EventTime,
    /// When the last was.
    pub last_received_at: EventTime,
    /// The life of the data folder that they are in.
    pub incarnation: [u8; 16],
    /// The greatest epoch of one of them.
    pub epoch: Option<u64>,
    /// What the receiver of a sink answered to the first.
    pub response_code: Option<u16>,
}

/// A group that is in the files no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LettersEnd {
    /// The group's identity.
    pub id: String,
    /// When.
    pub at: EventTime,
    /// Who discarded it; `None` when its files were taken away.
    pub discarded_by: Option<String>,
}
