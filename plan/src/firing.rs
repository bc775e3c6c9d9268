//! When the rules of a plan fire: at once, early or at the close of their windows, and how long
//! after the records that decide at worst.

use crate::component::{Demand, Early};
use crate::plan::{Output, Pipeline, Plan, Reader, Source};
use std::time::Duration;

/// How long what need not wait may take: an epoch is open for some milliseconds; the rest is for
/// workers that are busy.
const AT_ONCE: Duration = Duration::from_secs(1);

/// When a rule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fires {
    /// The rule.
    pub rule: String,
    /// For what it waits.
    pub when: When,
    /// How long after the records that decide were received it fires at worst, unless the machine
    /// is overloaded.
    pub worst: Duration,
}

/// For what a rule waits before it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// For nothing: a record is enough.
    AtOnce,
    /// For a window to come so far.
    Early,
    /// For a window to close.
    AtTheClose,
}

/// Says of every rule when it fires, by name.
pub fn fires(plan: &Plan) -> Vec<Fires> {
    let mut all = Vec::new();
    for pipeline in &plan.pipelines {
        let ways = Ways::of(plan, pipeline);
        for (index, transform) in pipeline.transforms.iter().enumerate() {
            if let Some((rule, _)) = transform.spec.rule() {
                let wanted = transform.spec.wants(None);
                let (when, worst) = ways.behind(index, wanted.as_ref());
                all.push(Fires { rule: rule.to_owned(), when, worst });
            }
        }
    }
    all.sort_by(|a, b| a.rule.cmp(&b.rule));
    all
}

/// The ways to the transforms of a pipeline.
struct Ways<'a> {
    pipeline: &'a Pipeline,
    /// By transform, the transforms whose results it reads.
    feeders: Vec<Vec<usize>>,
    /// By transform, for how long the clock of event time may stand behind what is received.
    behind: Vec<Duration>,
}

impl<'a> Ways<'a> {
    fn of(plan: &Plan, pipeline: &'a Pipeline) -> Self {
        let mut feeders = vec![Vec::new(); pipeline.transforms.len()];
        let results = |output: &&Output| output.port.results.is_some();
        for (index, transform) in pipeline.transforms.iter().enumerate() {
            for reader in transform.outputs.iter().filter(results).flat_map(|it| &it.readers) {
                if let Reader::Transform(reader) = reader {
                    feeders[*reader].push(index);
                }
            }
        }
        let behind = |lane: &usize| {
            let source = pipeline.sources[*lane].source.0 as usize;
            let Source { timing, spec, .. } = &plan.sources[source];
            let speaks = spec.speaks_every().unwrap_or_default();
            timing.lateness.saturating_add(timing.max_hold).saturating_add(speaks)
        };
        let reach = pipeline.reach().into_iter();
        let behind = reach.map(|lanes| lanes.iter().map(behind).max().unwrap_or_default());
        Ways { pipeline, feeders, behind: behind.collect() }
    }

    /// Says when what stands behind the feeders of a transform learns of something, if this is what
    /// it wants of them.
    fn behind(&self, index: usize, wanted: Option<&Demand>) -> (When, Duration) {
        let ways = self.feeders[index].iter().map(|feeder| self.through(*feeder, wanted));
        let worst = |a: (When, Duration), b: (When, Duration)| (a.0.max(b.0), a.1.max(b.1));
        ways.reduce(worst).unwrap_or((When::AtOnce, AT_ONCE))
    }

    fn through(&self, index: usize, wanted: Option<&Demand>) -> (When, Duration) {
        let spec = &self.pipeline.transforms[index].spec;
        let Some(firing) = spec.firing() else {
            return self.behind(index, spec.wants(wanted).as_ref());
        };
        let early = match firing.early {
            Early::Never => false,
            Early::OnDemand => wanted.is_some(),
            Early::Always => true,
        };
        let (before, so_far) = self.behind(index, None);
        match early {
            true => (before.max(When::Early), so_far),
            false => {
                let closes = firing.closes_after.saturating_add(self.behind[index]);
                (When::AtTheClose, so_far.saturating_add(closes))
            }
        }
    }
}
