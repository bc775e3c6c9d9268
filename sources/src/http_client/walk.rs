//! One poll: from page to page, until there is no more, each claimed and handed over before the
//! next is asked for.

use super::extract::add;
use super::paging::{Had, Kind, Next, Turn};
use super::parents::Parents;
use super::poller::{Poller, Tally};
use super::seen::Seen;
use super::settings::{CursorValue, RestartFrom};
use super::state::{State, Walk};
use super::value::{compare, parse_time, render_time};
use crate::limits::RECORD_AHEAD_MAX;
use azud_client::{Answer, Failure, Request, StatusCode, http_date, json};
use azud_event::id::StreamId;
use azud_event::time::EventTime;
use azud_plan::component::Cause;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use vrl::path::OwnedValuePath;

/// How many pages of a walk are remembered, to know a circle by.
const HAD_MAX: usize = 2_000;

/// How many records of the future are known by heart.
const AHEAD_MAX: usize = 256;

/// From how many bytes on a body is read apart from what else runs.
const BUSY_BYTES: usize = 64 * 1024;

const MINUTE: Duration = Duration::from_secs(60);

/// What is known of the records of a page.
#[derive(Default)]
struct Page {
    lines: Vec<Vec<u8>>,
    seen: Vec<u64>,
    /// Those that were taken before.
    again: Vec<u64>,
    /// How many the other side gave, those that were taken already included.
    given: u64,
    last: Option<Value>,
}

/// What came of asking for a page.
enum Asked {
    /// Records, and what follows.
    Page(Box<(Page, Turn)>),
    /// Nothing has changed.
    Unchanged,
    /// The other side does not know where we were.
    Rejected(Failure),
}

impl Poller {
    /// Polls: goes on with the walk that is under way, or begins one.
    pub(super) async fn poll(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        // Some APIs refuse times with more digits.
        let began = self.clock().now().aligned_to(Duration::from_millis(1));
        self.told_at = self.clock().monotonic();
        let polled = self.walk(began, tally).await;
        if polled.is_ok() && self.state.walk.is_none() {
            self.state.polled_at = Some(began.nanoseconds());
            self.dirty |= self.keeps_polled_at();
        }
        self.settle_up().await?;
        polled
    }

    async fn walk(&mut self, began: EventTime, tally: &mut Tally) -> Result<(), Failure> {
        let parents = self.parents(began, tally).await?;
        let (mut restarted, mut answered) = (false, false);
        // Each parent has pages of its own.
        let count = parents.as_ref().map_or(1, |parents| parents.count().max(1));
        for _ in 0..self.settings.paging.max_pages.saturating_mul(count) {
            let mut state = self.state.clone();
            let fresh = || Walk { begun: began.nanoseconds(), ..Walk::default() };
            self.begun_here |= state.walk.is_none();
            let mut walk = state.walk.take().unwrap_or_else(fresh);
            let begun = EventTime::from_nanoseconds(walk.begun);
            if !self.slice(&state, &mut walk) {
                return self.end(begun, answered).await;
            }
            let parent = match &parents {
                Some(parents) => match parents.at(&mut walk) {
                    Some(parent) => Some(&parent.value),
                    None => return self.over(state, walk, answered).await,
                },
                None => None,
            };
            if self.settings.job.is_some() {
                self.job(&state, &mut walk, tally).await?;
            }
            let (request, answer) = self.ask(&state, &walk, parent, tally).await?;
            let understood = busy(&answer.body.clone(), || {
                self.understand(&mut state, &mut walk, &request, answer)
            });
            match understood? {
                Asked::Unchanged => return self.over(state, walk, false).await,
                Asked::Rejected(failure) if restarted => return Err(failure),
                Asked::Rejected(failure) => {
                    restarted = true;
                    self.restart(failure)?;
                }
                Asked::Page(page) => {
                    let (page, turn) = *page;
                    answered = true;
                    self.context().meter.paged();
                    tally.pages += 1;
                    tally.records += page.lines.len() as u64;
                    let more = self.turn(&mut state, walk, &turn, parents.as_ref());
                    // Before new ones are noted: of too many the oldest leave.
                    self.renew(&page.again)?;
                    self.commit(page.lines, page.seen, state).await?;
                    if !more {
                        return self.end(begun, answered).await;
                    }
                    self.say_complete(begun).await;
                    self.progress(tally);
                }
            }
        }
        Ok(())
    }

    /// Asks for the page that a walk is at.
    async fn ask(
        &mut self,
        state: &State,
        walk: &Walk,
        parent: Option<&Value>,
        tally: &mut Tally,
    ) -> Result<(Request, Answer), Failure> {
        let values = self.values(state, walk, parent);
        let mut request = self.request(state, &values).await?;
        match walk.downloads.first() {
            Some(link) => {
                let url = link.parse().map_err(|_| {
                    Failure::new(Cause::Response, "the result of the job is at no address")
                })?;
                request = Request { headers: request.headers, ..Request::get(url) };
            }
            None => self.settings.paging.apply(&mut request, walk.next.as_ref(), &values)?,
        }
        self.ask_for_changes(&mut request, state);
        let answer = self.fetch(&request, tally).await?;
        Ok((request, answer))
    }

    /// Reads an answer, and says how the state is behind it.
    fn understand(
        &mut self,
        state: &mut State,
        walk: &mut Walk,
        request: &Request,
        answer: Answer,
    ) -> Result<Asked, Failure> {
        if answer.status == StatusCode::NOT_MODIFIED && self.settings.conditional {
            return Ok(Asked::Unchanged);
        }
        if !answer.status.is_success() {
            let failure = answer.failure(self.http.redactor());
            if !walk.downloads.is_empty() && matches!(answer.status.as_u16(), 400..=499) {
                self.give_up_downloads(walk.clone());
                return Err(failure.during("the result of the job"));
            }
            let stale = matches!(answer.status.as_u16(), 400 | 404 | 410 | 422);
            let has_cursor = walk.next.is_some() || state.cursor.is_some();
            let policy = self.settings.cursor.as_ref().and_then(|cursor| cursor.on_rejected);
            return match stale && has_cursor && policy.is_some() {
                true => Ok(Asked::Rejected(failure)),
                false => Err(failure),
            };
        }
        let reads = self.settings.paging.reads_body() || self.reads_answer();
        let extracted = self.settings.extract.records(&answer, reads)?;
        let page = self.page(extracted.lines, self.latest(&answer), state, walk)?;
        let body = extracted.body.as_ref();
        let had = Had { answer: &answer, body, records: page.given, last: page.last.as_ref() };
        let mut turn = match walk.downloads.is_empty() {
            true => self.settings.paging.turn(&had, walk.next.as_ref())?,
            false => Turn { next: None, ends: walk.downloads.len() == 1 },
        };
        self.check_circle(walk, request, &mut turn)?;
        self.note_answer(state, walk, &answer, body);
        if let Some(Next::Url(link) | Next::Token(link)) = &turn.next
            && self.keeps_next()
        {
            state.cursor = Some(link.clone());
            state.begin = None;
        }
        Ok(Asked::Page(Box::new((page, turn))))
    }

    /// Notices when the next page is one that was had. One that names itself as the next is the
    /// last: there is nothing behind it yet.
    fn check_circle(
        &self,
        walk: &mut Walk,
        request: &Request,
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let Some(next @ (Next::Url(_) | Next::Token(_) | Next::After(_))) = &turn.next else {
            return Ok(());
        };
        let key = |next: &Next| {
            let text = serde_json::to_string(next).unwrap_or_default();
            StreamId::named(format!("{}\0{text}", walk.parent).as_bytes()).0
        };
        let asked = Next::Url(request.url.to_string());
        if walk.next.as_ref() == Some(next) || *next == asked {
            turn.ends = true;
        }
        if turn.ends {
            return Ok(());
        }
        let (next, asked) = (key(next), key(&asked));
        if walk.had.contains(&next) {
            let message = "the pages go round in a circle: the next is one that was had";
            return Err(Failure::new(Cause::Bound, message));
        }
        walk.had.extend([asked, next]);
        let surplus = walk.had.len().saturating_sub(HAD_MAX);
        walk.had.drain(..surplus);
        Ok(())
    }

    /// Looks through the records of a page: which are new, when they happened, how far they reach.
    fn page(
        &self,
        lines: Vec<Vec<u8>>,
        latest: EventTime,
        state: &mut State,
        walk: &mut Walk,
    ) -> Result<Page, Failure> {
        let keyset = matches!(self.settings.paging.kind, Kind::Keyset { .. });
        let named = !self.settings.last.is_empty();
        let looks = self.cursor_field().is_some()
            || self.settings.dedupe.is_some()
            || self.settings.event_time.is_some()
            || keyset
            || named;
        let labels = self.labels_json();
        let mut ahead = 0;
        let (lag, now) = (self.context().meter.lag(), self.clock().now());
        let mut page = Page { given: lines.len() as u64, ..Page::default() };
        let mut here = HashSet::new();
        for mut line in lines {
            let value: Option<Value> = looks.then(|| serde_json::from_slice(&line).ok()).flatten();
            let is_new = value.as_ref().is_none_or(|value| {
                self.follow(state, walk, (value, &line), (latest, &mut ahead))
                    && self.is_unseen(value, &mut page, &mut here)
            });
            let event_time = self.settings.event_time.as_ref().zip(value.as_ref());
            let happened = event_time.and_then(|(path, value)| parse_time(json::at(value, path)?));
            page.last = value.or(page.last);
            if !is_new {
                continue;
            }
            if let Some(labels) = &labels
                && !has_member(&line, "labels")
            {
                add(&mut line, "labels", labels);
            }
            if let Some(time) = happened {
                lag.record(now.since(time));
            }
            page.lines.push(line);
        }
        if ahead > 0 {
            self.context().meter.error("ahead");
            tracing::warn!(
                connector = self.connector.name(),
                records = ahead,
                "records say that they happen in the future; the cursor does not follow them"
            );
        }
        if let Some(last) = &page.last {
            let member =
                |path: &OwnedValuePath| Some((path.to_string(), json::at(last, path)?.clone()));
            state.last = self.settings.last.iter().filter_map(member).collect();
        }
        Ok(page)
    }

    fn cursor_value(&self) -> Option<&CursorValue> {
        self.settings.cursor.as_ref().map(|cursor| &cursor.value)
    }

    /// Gives the member of records that the cursor is made of.
    fn cursor_field(&self) -> Option<&OwnedValuePath> {
        match self.cursor_value() {
            Some(
                CursorValue::First(field) | CursorValue::Last(field) | CursorValue::Max(field),
            ) => Some(field),
            _ => None,
        }
    }

    /// Notes how far a record reaches; `false` of one of the future that came before.
    fn follow(
        &self,
        state: &mut State,
        walk: &mut Walk,
        (value, line): (&Value, &[u8]),
        (latest, ahead): (EventTime, &mut u64),
    ) -> bool {
        let event_time = self.settings.event_time.as_ref();
        let time = event_time.and_then(|path| parse_time(json::at(value, path)?));
        let is_ahead = time.is_some_and(|time| time > latest);
        let field = self.cursor_field();
        let by_time = field.map_or_else(
            || matches!(self.cursor_value(), Some(CursorValue::LastEventTime)),
            |field| Some(field) == event_time,
        );
        if !(is_ahead && by_time) {
            let found = field.and_then(|field| json::text_at(value, field));
            reach(walk, self.cursor_value(), found);
        }
        if is_ahead {
            *ahead += 1;
            return !by_time || note_ahead(state, line);
        }
        let time = time.map(EventTime::nanoseconds);
        state.last_event_time = state.last_event_time.max(time);
        self.note_order(walk, time);
        true
    }

    /// Whether a record was not taken before, as far as its id tells.
    fn is_unseen(&self, value: &Value, page: &mut Page, here: &mut HashSet<u64>) -> bool {
        let dedupe = self.settings.dedupe.as_ref();
        let id = dedupe.and_then(|dedupe| json::at(value, &dedupe.id)).map(Seen::hash);
        let Some(id) = id else { return true };
        if self.seen.as_ref().is_some_and(|seen| seen.has(id)) {
            page.again.push(id);
            return false;
        }
        let is_new = here.insert(id);
        if is_new {
            page.seen.push(id);
        }
        is_new
    }

    /// Gives up to when times of records are believed, by the clocks of both sides.
    fn latest(&self, answer: &Answer) -> EventTime {
        let there = answer.header("date").and_then(http_date);
        let now = self.clock().now();
        there.map_or(now, |there| there.max(now)).saturating_add(RECORD_AHEAD_MAX)
    }

    /// Notes whether records come in their order.
    fn note_order(&self, walk: &mut Walk, time: Option<i64>) {
        let Some(time) = time else { return };
        let lateness = i64::try_from(self.settings.lateness.as_nanos()).unwrap_or(i64::MAX);
        let is_older = |shown: i64| time < shown.saturating_sub(lateness);
        walk.unordered |= walk.shown.is_some_and(is_older);
        walk.shown = walk.shown.max(Some(time));
    }

    /// Moves a walk on; tells whether there is more of it.
    fn turn(
        &self,
        state: &mut State,
        mut walk: Walk,
        turn: &Turn,
        parents: Option<&Parents>,
    ) -> bool {
        if !walk.downloads.is_empty() {
            walk.downloads.remove(0);
            walk.downloaded += 1;
        }
        if !turn.ends {
            walk.next = turn.next.clone().or(walk.next);
            state.walk = Some(walk);
            return true;
        }
        walk.next = None;
        walk.had.clear();
        walk.job = None;
        walk.downloaded = 0;
        if parents.is_some_and(|parents| parents.pass(&mut walk)) {
            state.walk = Some(walk);
            return true;
        }
        self.conclude(state, &walk);
        // Another slice may follow at once.
        self.settings.slices.is_some()
    }

    /// Ends a walk in which there was nothing more.
    async fn over(&mut self, mut state: State, walk: Walk, answered: bool) -> Result<(), Failure> {
        self.conclude(&mut state, &walk);
        self.commit(Vec::new(), Vec::new(), state).await?;
        self.end(EventTime::from_nanoseconds(walk.begun), answered).await
    }

    /// Notes that there is nothing more for now; `answered` with pages.
    async fn end(&mut self, begun: EventTime, answered: bool) -> Result<(), Failure> {
        if answered
            && self.begun_here
            && let Some(seen) = &mut self.seen
        {
            seen.forget(begun.nanoseconds());
        }
        self.say_complete(begun).await;
        Ok(())
    }

    /// Moves the cursor at the end of a walk.
    fn conclude(&self, state: &mut State, walk: &Walk) {
        state.walk = None;
        state.sliced_to = walk.slice_end.or(state.sliced_to);
        let Some(cursor) = &self.settings.cursor else { return };
        let time = |nanoseconds: i64| render_time(EventTime::from_nanoseconds(nanoseconds));
        let moved = match &cursor.value {
            CursorValue::LastEventTime => {
                // What came late, or to a parent that was asked before, while others were asked for
                // is older than the newest; it is no older than when the walk began.
                let again = self.settings.dedupe.is_some()
                    || !cursor.overlap.is_zero()
                    || self.settings.parents.is_some();
                let most = if again { walk.begun } else { i64::MAX };
                state.last_event_time.map(|last| time(last.min(most)))
            }
            CursorValue::Now => Some(time(walk.begun)),
            CursorValue::NextLink | CursorValue::Token => None,
            CursorValue::Max(_) => match (&walk.reached, &state.cursor) {
                // Asked for again with some overlap, it must not go back.
                (Some(reached), Some(known)) if compare(reached, known) == Ordering::Less => None,
                (reached, _) => reached.clone(),
            },
            _ => walk.reached.clone(),
        };
        if moved.is_some() {
            state.cursor = moved;
        }
    }

    /// Gives a walk its slice of time; `false` when there is none yet.
    fn slice(&self, state: &State, walk: &mut Walk) -> bool {
        let Some(slices) = &self.settings.slices else { return true };
        if walk.slice_end.is_some() {
            return true;
        }
        let now = EventTime::from_nanoseconds(walk.begun);
        let Some(start) = self.slice_start(state, now) else { return false };
        // What is not asked for, because the form has no signs for it, was not given.
        let meant = |time: EventTime| slices.format.meant(time);
        let start = meant(start);
        let steps = [slices.step, MINUTE, 60 * MINUTE, 24 * 60 * MINUTE];
        let mut ends = steps.into_iter().map(|step| meant(start.saturating_add(step)));
        let end = ends.find(|end| *end > start).unwrap_or(start);
        let end = end.min(meant(now.saturating_sub(slices.lag)));
        walk.slice_end = Some(end.nanoseconds());
        end > start
    }

    /// Begins again where the author says.
    fn restart(&mut self, failure: Failure) -> Result<(), Failure> {
        let Some(cursor) = &self.settings.cursor else { return Err(failure) };
        let Some(policy) = cursor.on_rejected else { return Err(failure) };
        let last = self.state.last_event_time.map(EventTime::from_nanoseconds);
        let from = match policy.restart_from {
            RestartFrom::LastEventTime => last,
            RestartFrom::Now => Some(self.clock().now()),
            RestartFrom::Start => None,
        };
        let from = from.map(|from| from.saturating_sub(policy.overlap));
        tracing::warn!(connector = self.connector.name(), error = %failure,
            "the other side does not know the cursor any more; polling begins again before it");
        self.state.walk = None;
        let is_time = matches!(
            cursor.value,
            CursorValue::LastEventTime | CursorValue::Now | CursorValue::Max(_)
        );
        self.state.cursor = from.filter(|_| is_time).map(render_time);
        self.state.begin = from.filter(|_| !is_time).map(EventTime::nanoseconds);
        self.dirty = true;
        Ok(())
    }

    fn keeps_next(&self) -> bool {
        matches!(self.cursor_value(), Some(CursorValue::NextLink | CursorValue::Token))
    }

    fn reads_answer(&self) -> bool {
        matches!(self.cursor_value(), Some(CursorValue::Response(_)))
    }

    fn note_answer(
        &self,
        state: &mut State,
        walk: &mut Walk,
        answer: &Answer,
        body: Option<&Value>,
    ) {
        if self.settings.conditional {
            state.etag = answer.header("etag").map(str::to_owned);
            state.modified = answer.header("last-modified").map(str::to_owned);
        }
        if let (Some(CursorValue::Response(path)), Some(body)) = (self.cursor_value(), body)
            && let Some(found) = json::text_at(body, path)
        {
            walk.reached = Some(found);
        }
    }
}

/// Does what takes long with a large body without holding up what else runs on this thread.
fn busy<T>(body: &[u8], work: impl FnOnce() -> T) -> T {
    let is_shared = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    match is_shared && body.len() > BUSY_BYTES {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}

/// Notes a record that says it happens in the future; `false` when it came before. A cursor that is
/// a time does not follow it, so that it is given again and again.
fn note_ahead(state: &mut State, line: &[u8]) -> bool {
    let hash = StreamId::named(line).0;
    if state.ahead.contains(&hash) {
        return false;
    }
    state.ahead.push(hash);
    let surplus = state.ahead.len().saturating_sub(AHEAD_MAX);
    state.ahead.drain(..surplus);
    true
}

/// Notes how far a record reaches.
fn reach(walk: &mut Walk, cursor: Option<&CursorValue>, found: Option<String>) {
    let Some(found) = found else { return };
    let known = walk.reached.as_ref();
    let moves = match cursor {
        Some(CursorValue::First(_)) => known.is_none(),
        Some(CursorValue::Last(_)) => true,
        Some(CursorValue::Max(_)) => {
            known.is_none_or(|known| compare(&found, known) == Ordering::Greater)
        }
        _ => false,
    };
    if moves {
        walk.reached = Some(found);
    }
}

fn has_member(line: &[u8], name: &str) -> bool {
    line.first() != Some(&b'{')
        || serde_json::from_slice::<Value>(line).is_ok_and(|value| value.get(name).is_some())
}
