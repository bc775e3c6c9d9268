//! `blackhole` takes records and forgets them: for trying out what stands before it.

use crate::deliver::{GroupLimits, next_group};
use azud_event::dead_letter::Fault;
use azud_event::record::Record;
use azud_plan::component::{
    self, Batches, BuildContext, BuildError, Encoder, Example, Kind, OptionKind, OptionSpec,
    Options, Resource, RunError, SinkFactory, SinkSpec, SinkTask,
};
use azud_plan::diagnostic::Checker;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// The registry's entry of `blackhole`.
pub const BLACKHOLE: SinkFactory = SinkFactory {
    name: "blackhole",
    summary: "Takes records and forgets them.",
    description: "\
Takes records, confirms them at once and forgets them. It says how many there were, when it is \
asked to, and its counters move like those of any sink: good for measuring what stands before it.

Records are counted, not encoded, so their size is unknown here.",
    inputs: &[Kind::Log, Kind::Metric, Kind::Alert],
    options: &[OptionSpec {
        name: "print_interval_secs",
        kind: OptionKind::Integer { min: 0, max: 86_400 },
        default: component::Default::Value("0"),
        summary: "How often to log the number of records so far, in seconds; `0` is never.",
    }],
    check,
    examples: &[Example {
        title: "Nothing comes out",
        toml: "type = \"blackhole\"\nprint_interval_secs = 10\n",
        input: "{\"message\":\"gone\"}\n",
        output: "",
    }],
};

/// A checked `blackhole`.
struct Blackhole {
    print_interval: Option<Duration>,
}

fn check(options: &Options<'_>, _checker: &mut Checker) -> Option<Box<dyn SinkSpec>> {
    let seconds = u64::try_from(options.integer("print_interval_secs")?).ok()?;
    let print_interval = (seconds > 0).then(|| Duration::from_secs(seconds));
    Some(Box::new(Blackhole { print_interval }))
}

impl SinkSpec for Blackhole {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(Tally)
    }

    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        let print_interval = self.print_interval;
        Ok(Box::new(Running { id: context.id.clone(), print_interval, records: 0 }))
    }
}

/// Writes a line end for each record: a batch has to hold something for each.
struct Tally;

impl Encoder for Tally {
    fn encode(&mut self, _record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.push(b'\n');
        Ok(())
    }
}

/// A running `blackhole`.
struct Running {
    id: String,
    print_interval: Option<Duration>,
    records: u64,
}

impl SinkTask for Running {
    fn run(self: Box<Self>, batches: Batches) -> BoxFuture<'static, Result<(), RunError>> {
        self.forget(batches).boxed()
    }
}

impl Running {
    async fn forget(mut self: Box<Self>, mut batches: Batches) -> Result<(), RunError> {
        const LIMITS: GroupLimits = GroupLimits {
            bytes: usize::MAX,
            records: usize::MAX,
            batches: 1,
            linger: Duration::ZERO,
        };
        let mut ticks = self.print_interval.map(|every| {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        loop {
            let group = tokio::select! {
                group = next_group(&mut batches, LIMITS) => group,
                () = tick(ticks.as_mut()) => {
                    self.print();
                    continue;
                }
            };
            let Some(group) = group else { break };
            for batch in group {
                self.records += batch.records as u64;
                batch.confirmation.confirm();
            }
        }
        if self.print_interval.is_some() {
            self.print();
        }
        Ok(())
    }

    fn print(&self) {
        tracing::info!(sink = self.id.as_str(), records = self.records, "records so far");
    }
}

async fn tick(ticks: Option<&mut tokio::time::Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, queue};
    use futures_util::SinkExt;

    #[tokio::test]
    async fn everything_is_confirmed_once() {
        let (mut sender, batches) = queue();
        let mut confirmed = Vec::new();
        for _ in 0..10 {
            let (batch, counter) = batch("", "\n\n");
            sender.send(batch).await.unwrap();
            confirmed.push(counter);
        }
        drop(sender);
        let print_interval = Some(Duration::from_secs(1));
        let sink = Running { id: "nowhere".into(), print_interval, records: 0 };
        Box::new(sink).run(batches).await.unwrap();
        assert!(confirmed.iter().all(|confirmed| confirmed.count() == 1));
    }
}
