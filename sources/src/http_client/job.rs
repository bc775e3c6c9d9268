//! Jobs: a request makes one, its state is asked for until it is done, then its result is had, an
//! address after the other.

use super::poller::{Poller, Tally};
use super::settings::{Job, JobResult};
use super::state::{State, Walk};
use azud_client::{ANSWER_TOLD_BYTES_MAX, Answer, Failure, Request, Url, json};
use azud_plan::component::Cause;
use serde_json::Value;
use std::sync::Arc;

/// How many addresses a result may have.
const DOWNLOADS_MAX: usize = 10_000;

impl Poller {
    /// Has the result of the job ready to be had: makes the job, unless it is under way.
    pub(super) async fn job(
        &mut self,
        state: &State,
        walk: &mut Walk,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let settings = Arc::clone(&self.settings);
        let Some(job) = &settings.job else { return Ok(()) };
        if !walk.downloads.is_empty() {
            return Ok(());
        }
        if walk.job.is_none() {
            let values = self.values(state, walk, None);
            let request = self.request(state, &values).await?;
            let made = self.answer(&request, tally).await;
            walk.job = Some(made.map_err(|failure| failure.during("making the job"))?);
            // Kept, so that a restart does not make another.
            self.state.walk = Some(walk.clone());
            self.dirty = true;
            self.settle_up().await?;
        }
        let done = self.wait(job, state, walk, tally).await;
        if done.is_err() {
            // Another is made by the next poll.
            self.state.walk = None;
            self.dirty = true;
        }
        let mut found = done?;
        if found.len() > DOWNLOADS_MAX {
            let more = found.len();
            let message = format!("the job has {more} results, above the limit of {DOWNLOADS_MAX}");
            return Err(Failure::new(Cause::Bound, message));
        }
        let had = usize::try_from(walk.downloaded).unwrap_or(usize::MAX).min(found.len());
        walk.downloads = found.split_off(had);
        match walk.downloads.is_empty() {
            true => Err(Failure::new(Cause::Response, "the job is done and has no result")),
            false => Ok(()),
        }
    }

    /// Notes that an address of a result is not good any more. They are asked for again; where that
    /// does not help, the next poll makes another job.
    pub(super) fn give_up_downloads(&mut self, mut walk: Walk) {
        walk.downloads.clear();
        self.state.walk = (!walk.was_refused).then_some(Walk { was_refused: true, ..walk });
        self.dirty = true;
    }

    /// Waits until the job is done; gives the addresses of its result.
    async fn wait(
        &mut self,
        job: &Job,
        state: &State,
        walk: &Walk,
        tally: &mut Tally,
    ) -> Result<Vec<String>, Failure> {
        let values = self.values(state, walk, None);
        let lacks = || Failure::new(Cause::Response, "the answer that made the job lacks a value");
        let no_address = |_| Failure::new(Cause::Configuration, "`job` has what is no address");
        let status = job.status.render_address(&values).ok_or_else(lacks)?;
        let headers = self.requests().headers(&values).await?;
        let status = Request { headers, ..Request::get(Url::parse(&status).map_err(no_address)?) };
        let begun = self.clock().monotonic();
        loop {
            let told = self.answer(&status, tally).await;
            let told = told.map_err(|failure| failure.during("the state of the job"))?;
            let now = json::text_at(&told, &job.state).unwrap_or_default();
            if job.failed.contains(&now) {
                let message = format!(
                    "the job ended as `{}`",
                    self.http.redactor().quote(now.as_bytes(), ANSWER_TOLD_BYTES_MAX)
                );
                return Err(Failure::new(Cause::Server, message));
            }
            if job.done.contains(&now) {
                return match &job.result {
                    JobResult::At(address) => {
                        Ok(vec![address.render_address(&values).ok_or_else(lacks)?])
                    }
                    JobResult::Listed(path) => Ok(match json::at(&told, path) {
                        Some(Value::Array(items)) => items.iter().filter_map(json::text).collect(),
                        Some(one) => json::text(one).into_iter().collect(),
                        None => Vec::new(),
                    }),
                };
            }
            if self.clock().monotonic().saturating_sub(begun) >= job.timeout {
                let message = format!("the job is not done after {:?}", job.timeout);
                return Err(Failure::new(Cause::Timeout, message));
            }
            tokio::time::sleep(job.every).await;
        }
    }

    async fn answer(&mut self, request: &Request, tally: &mut Tally) -> Result<Value, Failure> {
        let answer: Answer = self.fetch(request, tally).await?.succeeded(self.http.redactor())?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            Failure::new(Cause::Response, format!("the answer is no JSON: {error}"))
        })
    }
}
