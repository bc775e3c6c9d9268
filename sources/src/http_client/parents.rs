//! Parents: things whose records are asked for one after the other.
//!
//! The list is had anew with each poll, and may have changed when a walk goes on that was broken
//! off. So a walk does not count parents. It goes by what tells their requests apart, in an order
//! of its own: who is added or removed meanwhile moves nobody else.

use super::extract::{Content, Extract};
use super::paging::{Had, Kind, Paging};
use super::poller::{Poller, Tally};
use super::state::Walk;
use azud_client::{Failure, Request, Url, json};
use azud_event::id::StreamId;
use azud_event::time::EventTime;
use azud_plan::component::Cause;
use serde_json::Value;
use std::sync::Arc;

/// How many pages of parents are asked for.
const PAGES_MAX: usize = 1_000;

/// One whose records are asked for.
pub(super) struct Parent {
    key: u64,
    pub(super) value: Value,
}

/// All of them, in the order of a walk.
pub(super) struct Parents(Vec<Parent>);

impl Parents {
    /// Gives the one that a walk is at; `None` behind the last. When who it was at is gone, so is
    /// where the walk was within it.
    pub(super) fn at(&self, walk: &mut Walk) -> Option<&Parent> {
        let place = self.0.partition_point(|parent| parent.key < walk.parent);
        let parent = self.0.get(place)?;
        if parent.key != walk.parent {
            (walk.next, walk.job) = (None, None);
            walk.had.clear();
            walk.downloads.clear();
            walk.downloaded = 0;
            walk.parent = parent.key;
        }
        Some(parent)
    }

    /// Counts them.
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Moves a walk behind the one that it is at; tells whether there are more.
    pub(super) fn pass(&self, walk: &mut Walk) -> bool {
        walk.parent = walk.parent.saturating_add(1);
        self.0.last().is_some_and(|last| last.key >= walk.parent)
    }
}

impl Poller {
    /// Gives the list of parents, where there is one.
    pub(super) async fn parents(
        &mut self,
        began: EventTime,
        tally: &mut Tally,
    ) -> Result<Option<Parents>, Failure> {
        let settings = Arc::clone(&self.settings);
        let Some(parents) = &settings.parents else { return Ok(None) };
        let walk = Walk { begun: began.nanoseconds(), ..Walk::default() };
        let values = self.values(&self.state, &walk, None);
        let address = parents.endpoint.render_address(&values).unwrap_or_default();
        let no_address = |_| Failure::new(Cause::Configuration, "`parents.endpoint` is no address");
        let mut request = Request::get(Url::parse(&address).map_err(no_address)?);
        request.headers = self.requests().headers(&values).await?;
        let extract = Extract {
            content: Content::Json,
            records: parents.records.clone(),
            keep: Vec::new(),
            ..settings.extract.clone()
        };
        let kind = Kind::LinkHeader { rel: "next".to_owned() };
        let paging = Paging { kind, ..Paging::none() };
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let answer = self.fetch(&request, tally).await?.succeeded(self.http.redactor());
            let answer = answer.map_err(|failure| failure.during("the list of parents"))?;
            let lines = extract.records(&answer, false)?.lines;
            let count = lines.len() as u64;
            found.extend(lines.iter().filter_map(|line| serde_json::from_slice(line).ok()));
            let had = Had { answer: &answer, body: None, records: count, last: None };
            match paging.turn(&had, None)?.next {
                Some(next) if count > 0 => paging.apply(&mut request, Some(&next), &values)?,
                _ => return Ok(Some(self.in_order(found))),
            }
        }
        Err(Failure::new(Cause::Bound, "the list of parents has no end"))
    }

    fn in_order(&self, found: Vec<Value>) -> Parents {
        let parent = |value: Value| Parent { key: self.key(&value), value };
        let mut parents: Vec<Parent> = found.into_iter().map(parent).collect();
        parents.sort_by_key(|parent| parent.key);
        // Two whose requests are the same have the same records.
        parents.dedup_by_key(|parent| parent.key);
        Parents(parents)
    }

    /// Gives what tells the requests of a parent apart; what else is said of it may change.
    fn key(&self, parent: &Value) -> u64 {
        let places = self.settings.texts().flat_map(|text| text.places("parent"));
        let named: Vec<String> =
            places.map(|place| json::text_at(parent, place).unwrap_or_default()).collect();
        let named = if named.is_empty() { parent.to_string() } else { named.join("\0") };
        // Half of the numbers leave room behind the last.
        StreamId::named(named.as_bytes()).0 >> 1
    }
}
