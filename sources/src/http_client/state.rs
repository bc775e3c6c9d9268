//! What a poller must know to go on, as it is kept in the database: sealed, since the cursors of
//! others may open doors.
//!
//! ```text
//!  page ─▶ 1 file on disk ─▶ 2 claim saved ─▶ 3 handed over ─▶ 4 logged or delivered ─▶ 5 saved
//!          (its records)     (file's name,     (dropped at       (file is of no       (behind it)
//!                             state behind)     the door if       use any more)
//!                                               it was before)
//! ```
//!
//! Killed before 2, the file is not claimed: it is removed, and the page is asked for again. Killed
//! behind 2, the file is handed over again, at the same positions of the same stream; what is in
//! the log already is dropped at the door. So each record of a page is taken once, wherever the
//! kill comes. A process that takes over finds the claim and goes on behind it, and says so: the
//! records are on the disk of the other, most likely in its log, and it hands them over when it is
//! back (`passed` says so to it). Asked for again they would come twice. Only where the claim is of
//! this folder, and the file is gone from it, the page is asked for again.

use super::paging::Next;
use azud_event::id::StreamId;
use azud_event::time::EventTime;
use azud_plan::component::{ConnectorError, Cursor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the form.
pub(super) const FORMAT: u32 = 1;

/// How many claims of other processes are remembered that were passed over.
const PASSED_MAX: usize = 16;

/// How far a poller has come. Members that are missing have their defaults, so that a person may
/// set `{"cursor": "…"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct State {
    /// The cursor, as it goes into requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
    /// The greatest event time of all records, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_event_time: Option<i64>,
    /// Members of the record that was given last, which requests name, by their places.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) last: BTreeMap<String, serde_json::Value>,
    /// Records whose time is in the future, by their hashes: the cursor does not reach them, so
    /// they come again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ahead: Vec<u64>,
    /// Where to begin in place of where the first poll began, in nanoseconds: the other side did
    /// not know the cursor any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) begin: Option<i64>,
    /// Up to where slices of time were taken, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sliced_to: Option<i64>,
    /// When the last poll began that went to its end, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) polled_at: Option<i64>,
    /// `ETag` and `Last-Modified` of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) modified: Option<String>,
    /// A walk through pages that has not come to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) walk: Option<Walk>,
    /// Where the stream of records stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<Stream>,
    /// Counts pages with records.
    pub(super) sequence: u64,
    /// The page that is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) claim: Option<Box<Claim>>,
    /// Claims of other processes that were passed over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) passed: Vec<String>,
}

/// A walk through pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Walk {
    /// When it began, in nanoseconds: the `now` of its requests.
    pub(super) begun: i64,
    /// The page to ask for.
    pub(super) next: Option<Next>,
    /// What the cursor becomes at its end, as far as that is known.
    pub(super) reached: Option<String>,
    /// The end of the slice of time that it goes through, in nanoseconds.
    pub(super) slice_end: Option<i64>,
    /// Which parent it is at, or behind (see `parents`).
    pub(super) parent: u64,
    /// The answer that made its job, and how many of its addresses were had.
    pub(super) job: Option<serde_json::Value>,
    pub(super) downloaded: u64,
    /// Whether an address was refused: they are asked for again, once.
    pub(super) was_refused: bool,
    /// The addresses that are still to be had. Not kept: they are good for a while only, so after a
    /// restart they are asked for again.
    #[serde(skip)]
    pub(super) downloads: Vec<String>,
    /// The greatest event time of its records, in nanoseconds.
    pub(super) shown: Option<i64>,
    /// Whether records came that are older than others before them.
    pub(super) unordered: bool,
    /// The pages that were had, by their hashes: one that comes again is a circle.
    pub(super) had: Vec<u64>,
}

/// Where a stream of records stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stream {
    /// A stream that lost its state begins anew under another name: its positions would be taken
    /// for repeats.
    pub(super) generation: u64,
    /// Where the next record stands.
    pub(super) position: u64,
}

impl Stream {
    /// Gives the stream that begins now.
    pub(super) fn beginning(now: EventTime) -> Stream {
        Stream { generation: now.nanoseconds().unsigned_abs(), position: 0 }
    }

    /// Gives its name within the source.
    pub(super) fn id(&self, source: &str, connector: &str) -> StreamId {
        let name = format!("http_client\0{source}\0{connector}\0{}", self.generation);
        StreamId::named(name.as_bytes())
    }
}

/// A page that is on its way, and the state behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// The name of its file.
    pub(super) page: String,
    /// The folder that it is in: another process has another.
    #[serde(default)]
    pub(super) folder: String,
    pub(super) after: State,
}

impl State {
    /// Reads what was kept.
    ///
    /// # Errors
    /// When it is of another form.
    pub(super) fn read(cursor: &Cursor) -> Result<State, ConnectorError> {
        let unreadable = |why: String| ConnectorError::Unreadable(format!("the cursor {why}"));
        if cursor.format != FORMAT {
            let format = cursor.format;
            return Err(unreadable(format!("has the format {format}, and {FORMAT} is known")));
        }
        serde_json::from_slice(&cursor.state)
            .map_err(|error| unreadable(format!("cannot be read: {error}")))
    }

    /// Makes what is kept.
    pub(super) fn write(&self) -> Cursor {
        Cursor {
            state: serde_json::to_vec(self).unwrap_or_default(),
            format: FORMAT,
            summary: self.summary(),
            event_time: self.last_event_time.map(EventTime::from_nanoseconds),
        }
    }

    fn summary(&self) -> String {
        let shown = self.claim.as_ref().map_or(self, |claim| &claim.after);
        let time = |nanoseconds: i64| EventTime::from_nanoseconds(nanoseconds).to_rfc3339();
        let mut words = match (shown.sliced_to, shown.last_event_time, shown.polled_at) {
            (Some(to), ..) => format!("everything before {}", time(to)),
            (None, Some(last), _) => format!("last event {}", time(last)),
            (None, None, Some(at)) => format!("polled at {}", time(at)),
            (None, None, None) => "begun".to_owned(),
        };
        if shown.walk.is_some() {
            words.push_str(", in the middle of its pages");
        }
        words
    }

    /// Gives the state with a page claimed.
    pub(super) fn claiming(&self, page: &str, folder: &str, after: &State) -> State {
        let (page, folder) = (page.to_owned(), folder.to_owned());
        let claim = Box::new(Claim { page, folder, after: after.clone() });
        State { claim: Some(claim), ..self.clone() }
    }

    /// Gives the state behind a claim that another process made.
    pub(super) fn passing(&self, claim: &Claim) -> State {
        let mut passed = self.passed.clone();
        passed.push(claim.page.clone());
        let surplus = passed.len().saturating_sub(PASSED_MAX);
        passed.drain(..surplus);
        State { passed, ..claim.after.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_a_person_may_write_it() {
        let state = State {
            cursor: Some("c".to_owned()),
            walk: Some(Walk { next: Some(Next::Offset(7)), ..Walk::default() }),
            stream: Some(Stream { generation: u64::MAX, position: 5 }),
            ..State::default()
        };
        let claimed = state.claiming("p1", "f", &State { sequence: 3, ..state.clone() });
        assert_eq!(State::read(&claimed.write()).unwrap(), claimed);
        let written = |text: &str| {
            State::read(&Cursor { state: text.into(), format: 1, ..State::default().write() })
        };
        assert_eq!(written(r#"{"cursor":"x"}"#).unwrap().cursor.as_deref(), Some("x"));
        assert!(written(r#"{"curser":"x"}"#).is_err());
        assert!(State::read(&Cursor { format: 2, ..state.write() }).is_err());
    }

    #[test]
    fn claims_of_others_are_passed_over_and_remembered_within_a_bound() {
        let mut state = State::default();
        for page in 0..40 {
            let after =
                State { sequence: page + 1, passed: state.passed.clone(), ..State::default() };
            let claimed = state.claiming(&format!("p{page}"), "f", &after);
            state = claimed.passing(claimed.claim.as_ref().unwrap());
        }
        assert_eq!((state.sequence, state.passed.len()), (40, PASSED_MAX));
        assert_eq!(state.passed.last().unwrap(), "p39");
        assert!(state.claim.is_none());
    }
}
