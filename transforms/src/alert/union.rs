//! What an episode says of the records of all its windows, each counted once.
//!
//! ```text
//!  windows   [ 3 │ 5 │ 2 ]               10 failures
//!                [ 5 │ 2 │ 9 ]           16, the decisive one
//!  episode   [ 3 │ 5 │ 2 │ 9 ]           19
//! ```
//!
//! Windows that overlap have parts in common. So it is not their values that are put together, but
//! the parts of what they have gathered.

use super::draft::{TITLE_BYTES_MAX, fit};
use super::shares::{PartId, Pool, Share};
use super::sighting::{Seen, Sighting};
use azud_event::id::StreamId;
use azud_event::record::{Origin, Record};
use azud_event::row::Place;
use azud_event::time::EventTime;
use azud_plan::component::{Merged, Merging, Template};
use std::collections::{BTreeMap, BTreeSet};
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;
use vrl::value::{ObjectMap, Value};

/// Makes what episodes of a rule say.
#[derive(Debug)]
pub struct Union {
    /// What puts parts together.
    pub merging: Merging,
    /// The rule's title, where one was written.
    pub title: Option<Template>,
}

/// What an episode says.
pub struct Said {
    /// The title; `None` when it is the same for all.
    pub title: Option<String>,
    /// The fields, as far as they fit.
    pub fields: BTreeMap<String, serde_json::Value>,
    /// How many records there are.
    pub event_count: u64,
}

impl Union {
    /// Gives what the windows of an episode say together, which lasts from `start` to `end`; `None`
    /// when it is of one window, or the parts of some are not known.
    pub fn say(
        &self,
        pool: &Pool,
        windows: &[(&Sighting, &Seen)],
        decisive: &Seen,
        (start, end): (EventTime, EventTime),
    ) -> Option<Said> {
        if windows.len() < 2 {
            return None;
        }
        let merged = self.merge(pool, windows)?;
        Some(Said {
            title: self.title(decisive, &merged, (start, end)),
            fields: fields(&decisive.draft.fields, &merged),
            event_count: merged.event_count,
        })
    }

    fn merge(&self, pool: &Pool, windows: &[(&Sighting, &Seen)]) -> Option<Merged> {
        // A window that is not amended any more may know less of a part than one that is.
        let mut latest: BTreeMap<_, u64> = BTreeMap::new();
        for (window, _) in windows {
            let shares = window.shares.as_ref().filter(|it| it.by == self.merging.by())?;
            for Share(number, records, _) in &shares.parts {
                let known = latest.entry((shares.of, *number)).or_default();
                *known = (*known).max(*records);
            }
        }
        let ids = latest
            .into_iter()
            .map(|((of, number), records): (_, u64)| -> PartId { (of, number, records) });
        let parts: Option<Vec<&[u8]>> = ids.map(|id| pool.get(&id)).collect();
        self.merging.merge(&parts?)
    }

    /// Fills the title with what one window over the whole span would say.
    fn title(
        &self,
        decisive: &Seen,
        merged: &Merged,
        (start, end): (EventTime, EventTime),
    ) -> Option<String> {
        let template = self.title.as_ref()?;
        let named = decisive.named.clone().unwrap_or_default();
        let mut value = Value::from(named);
        if !value.is_object() {
            value = Value::Object(ObjectMap::new());
        }
        let time = |time: EventTime| Value::Timestamp(time.to_chrono());
        let (first, last) = match merged.span {
            Some((first, last)) => (time(first), time(last)),
            None => (Value::Null, Value::Null),
        };
        let count = Value::Integer(i64::try_from(merged.event_count).unwrap_or(i64::MAX));
        let of_all = [
            (owned_value_path!("event_count"), count),
            (owned_value_path!("first_event_at"), first),
            (owned_value_path!("last_event_at"), last),
            (owned_value_path!("window", "start"), time(start)),
            (owned_value_path!("window", "end"), time(end)),
        ];
        for (path, of) in merged.fields.iter().cloned().chain(of_all) {
            value.insert(&path, of);
        }
        let place =
            Place { event_time: end, source: 0, stream: StreamId(0), position: 0, index: 0 };
        let mut record = Record::new();
        record.begin_value(value, Origin::made(place, end));
        let mut title = String::new();
        template.render(&record, &mut title).ok()?;
        title.truncate(title.floor_char_boundary(TITLE_BYTES_MAX));
        Some(title)
    }
}

/// Puts what was merged in the place of what the decisive window says.
fn fields(
    decisive: &BTreeMap<String, serde_json::Value>,
    merged: &Merged,
) -> BTreeMap<String, serde_json::Value> {
    let mut cut = decisive.get("_cut").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let top = |path: &OwnedValuePath| path.segments.first().map(ToString::to_string);
    let tops: BTreeSet<String> = merged.fields.iter().filter_map(|(path, _)| top(path)).collect();
    // What did not fit before is judged anew.
    cut = cut.saturating_sub(tops.iter().filter(|top| !decisive.contains_key(*top)).count() as u64);
    let kept = decisive.iter().filter(|(name, _)| *name != "_cut");
    let kept = kept.map(|(name, value)| (name.as_str().into(), Value::from(value.clone())));
    let mut all = Value::Object(kept.collect());
    for (path, value) in &merged.fields {
        all.insert(path, value.clone());
    }
    fit(all, cut)
}
