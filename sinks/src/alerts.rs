//! `alerts` keeps alerts in the instance's database, where the dashboard, the API and `azud alerts`
//! find them.

use crate::deliver::{GroupLimits, Groups, Trouble, causes};
use crate::limits::{ALERTS_LINGER, ALERTS_PER_TRANSACTION, GROUP_BYTES_MAX, PROGRESS_INTERVAL};
use azud_event::alert::Alert;
use azud_event::clock::Clock;
use azud_event::codec::json::encode_json;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{
    Batch, Batches, BuildContext, BuildError, Encoder, Example, Kind, Options, Resource, RunError,
    SinkFactory, SinkProgress, SinkSpec, SinkTask, Stored,
};
use azud_plan::diagnostic::Checker;
use azud_store::{Delivery, Reached, Store, StoreError, check_alert};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// The registry's entry of `alerts`.
pub const ALERTS: SinkFactory = SinkFactory {
    name: "alerts",
    summary: "Keeps alerts in the instance's database.",
    description: "\
Writes every revision of an alert into the database of the instance: the last one into `alerts`, \
its history into `alert_revisions`, whom it names into `alert_entities`. `azud alerts` lists them.

Up to 500 alerts, or those of 200 ms, share a transaction; they are confirmed when it is on the \
disk. How far everything is there is written in the same transaction, so after a crash nothing is \
written twice. When the database goes back (it was restored from an older copy), what it lacks is \
written again, as far as it is kept: as long as `intake.retain` says, within `spill.max_bytes`. What \
is not kept any more is named, and the sink waits until it is accepted (`--accept-gap`). With another \
`on_stall` than `spill` nothing is kept for that. What people write about an alert (triage, \
assignee, verdict) is never touched.",
    inputs: &[Kind::Alert],
    options: &[],
    check,
    examples: &[Example {
        title: "An alert, as it reaches the tables",
        toml: "type = \"alerts\"\n",
        input: ALERT,
        output: ALERT,
    }],
};

/// One alert in both directions: the table has what the alert has.
const ALERT: &str = concat!(
    r#"{"schema":"azud.alert/1","id":"1c9a5f0e6b7d4c21a8e3f2904d5b6c77","revision":1,"#,
    r#""change":"raised","state":"firing","mode":"active","origin":"live","#,
    r#""rule":{"id":"ssh-failed-login","version":"b3:71d0c2","pipeline":"quickstart","#,
    r#""tags":["attack.t1110"],"runbook_url":null},"severity":"medium","severity_id":3,"#,
    r#""title":"failed logins from 203.0.113.9","description":null,"#,
    r#""key":{"source.ip":"203.0.113.9"},"fields":{"user.name":"root"},"window":null,"#,
    r#""first_event_at":"2026-03-01T10:00:00.000000Z","#,
    r#""last_event_at":"2026-03-01T10:00:09.000000Z","event_count":5,"#,
    r#""raised_at":"2026-03-01T10:00:10.000000Z","#,
    r#""revised_at":"2026-03-01T10:00:10.000000Z","resolved_at":null,"delay_ms":840,"#,
    r#""completeness":{"complete_to":"2026-03-01T10:00:10.000000Z","missing":[],"#,
    r#""late_events":0,"keys_evicted":0},"entities":[{"type":"ip","value":"203.0.113.9","#,
    r#""role":"source","asset_id":null}],"evidence":[],"indicator":null,"supersedes":[],"#,
    r#""superseded_by":null,"reason":null,"link":null,"triage":{"state":"new","#,
    r#""assignee":null,"verdict":null}}"#,
);

/// A checked `alerts`; there is nothing to choose.
struct Alerts;

fn check(_options: &Options<'_>, _checker: &mut Checker) -> Option<Box<dyn SinkSpec>> {
    Some(Box::new(Alerts))
}

impl SinkSpec for Alerts {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(AlertEncoder)
    }

    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    fn keeps_progress(&self) -> bool {
        true
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        let store = context.services.find::<Store>().ok_or_else(|| BuildError {
            message: "this instance runs without a database".to_owned(),
            help: None,
        })?;
        let trouble = Trouble::new(&context.id);
        Ok(Box::new(Running {
            id: context.id.clone(),
            pipeline: context.pipeline.clone(),
            store,
            trouble,
            clock: context.clock.clone(),
            progress: Arc::default(),
            last: None,
            complete: 0,
            untold: false,
            written_at: Duration::ZERO,
        }))
    }
}

/// Writes alerts as JSON, one a line.
struct AlertEncoder;

impl Encoder for AlertEncoder {
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        encode_json(record, out);
        // Here and not in the task: here a record that is no alert can still be set aside.
        let fault = |error: &dyn Error| {
            Fault::new(Reason::EncodeFailed, format!("this is no alert: {error}"))
        };
        let alert = serde_json::from_slice::<Alert>(&out[start..]);
        check_alert(&alert.map_err(|error| fault(&error))?).map_err(|error| fault(&error))?;
        out.push(b'\n');
        Ok(())
    }
}

/// A running `alerts`.
struct Running {
    id: String,
    pipeline: String,
    store: Arc<Store>,
    trouble: Trouble,
    clock: Clock,
    progress: Arc<SinkProgress>,
    /// How far everything is in the database, by its own word.
    last: Option<Reached>,
    /// Everything of the epochs before this has come.
    complete: u64,
    /// Whether alerts were written since the database was last told how far everything is there.
    untold: bool,
    /// When that was.
    written_at: Duration,
}

impl SinkTask for Running {
    fn progress(&self) -> Option<Arc<SinkProgress>> {
        Some(Arc::clone(&self.progress))
    }

    fn run(self: Box<Self>, batches: Batches) -> BoxFuture<'static, Result<(), RunError>> {
        self.deliver(batches).boxed()
    }
}

const LIMITS: GroupLimits = GroupLimits {
    bytes: GROUP_BYTES_MAX,
    records: ALERTS_PER_TRANSACTION,
    batches: ALERTS_PER_TRANSACTION,
    linger: ALERTS_LINGER,
};

impl Running {
    async fn deliver(mut self: Box<Self>, batches: Batches) -> Result<(), RunError> {
        let incarnation = self.store.incarnation().map_err(|error| failed(&error))?;
        self.begin(incarnation).await?;
        let mut groups = Groups::new(batches, LIMITS);
        let mut look = interval(PROGRESS_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let group = tokio::select! {
                group = groups.next() => group,
                _ = look.tick() => {
                    self.look(incarnation).await;
                    continue;
                }
            };
            let Some(group) = group else { break };
            // What came before the database went back does not follow on what it has.
            if self.progress.is_rewound() {
                let complete = group.iter().filter(|batch| batch.records == 0);
                let complete = complete.map(|batch| batch.epoch).max();
                self.complete = self.complete.max(complete.unwrap_or(0));
            }
            let news = group.iter().filter(|batch| batch.epoch >= self.stored());
            let alerts = read(news)?;
            self.write(incarnation, &alerts).await?;
            group.into_iter().for_each(|batch| batch.confirmation.confirm());
        }
        self.written_at = Duration::ZERO;
        self.write(incarnation, &[]).await
    }

    /// Looks whether the database went back while there was nothing to write. One that does not
    /// answer is asked again.
    async fn look(&mut self, incarnation: [u8; 16]) {
        let Ok(found) = self.store.progress(&self.id).await else { return };
        let epoch = found.as_ref().and_then(|it| it.epoch_of(incarnation, &self.pipeline));
        if epoch < self.last.as_ref().map(|last| last.epoch) {
            self.went_back(incarnation, epoch, found.and_then(|found| found.updated_at));
        }
    }

    /// Notes that the database has less than it had.
    fn went_back(&mut self, incarnation: [u8; 16], epoch: Option<u64>, at: Option<EventTime>) {
        self.last = epoch.map(|epoch| self.reached(incarnation, epoch));
        self.complete = 0;
        self.progress.tell(Stored { next: self.stored(), at });
    }

    /// Finds out what the database has.
    async fn begin(&mut self, incarnation: [u8; 16]) -> Result<(), RunError> {
        let found = loop {
            match self.store.progress(&self.id).await {
                Ok(found) => break found,
                Err(error) if error.retry_helps() => sleep(self.trouble.failed(&error)).await,
                Err(error) => return Err(failed(&error)),
            }
        };
        self.trouble.over();
        let epoch = found.as_ref().and_then(|it| it.epoch_of(incarnation, &self.pipeline));
        let at = found.and_then(|found| found.updated_at);
        self.last = epoch.map(|epoch| self.reached(incarnation, epoch));
        self.progress.tell(Stored { next: self.stored(), at });
        Ok(())
    }

    fn reached(&self, incarnation: [u8; 16], epoch: u64) -> Reached {
        Reached { incarnation, pipeline: self.pipeline.clone(), epoch, plan_version: None }
    }

    /// The database has everything of the epochs before this.
    fn stored(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.epoch + 1)
    }

    /// Writes alerts, and how far everything is there; that alone only now and then.
    async fn write(&mut self, incarnation: [u8; 16], alerts: &[Alert]) -> Result<(), RunError> {
        let now = self.clock.monotonic();
        self.untold |= !alerts.is_empty();
        // Once word of it is confirmed, what was written must be under it.
        let due = self.untold || self.written_at + PROGRESS_INTERVAL <= now;
        let news = self.complete > self.stored();
        let mut progress = (due && news).then(|| self.reached(incarnation, self.complete - 1));
        if alerts.is_empty() && progress.is_none() {
            return Ok(());
        }
        loop {
            let (expects, progress_now) = (self.last.as_ref(), progress.as_ref());
            let sink_id = &self.id;
            let delivery = Delivery { sink_id, expects, progress: progress_now, alerts };
            match self.store.apply(&delivery).await {
                Ok(_) => break,
                Err(StoreError::WentBack { epoch, at }) => {
                    // The rows are written all the same; how far everything is there follows when
                    // it has come again.
                    self.went_back(incarnation, epoch, at);
                    progress = None;
                }
                Err(error) if error.retry_helps() => sleep(self.trouble.failed(&error)).await,
                Err(error) => return Err(failed(&error)),
            }
        }
        self.trouble.over();
        if let Some(reached) = progress {
            (self.written_at, self.untold) = (now, false);
            self.last = Some(reached);
            self.progress.tell(Stored { next: self.stored(), at: None });
        }
        Ok(())
    }
}

fn failed(error: &StoreError) -> RunError {
    RunError { message: causes(error) }
}

/// Reads back what the encoder wrote.
fn read<'a>(batches: impl Iterator<Item = &'a Batch>) -> Result<Vec<Alert>, RunError> {
    let lines = batches.flat_map(|batch| batch.bytes.split(|byte| *byte == b'\n'));
    let alerts = lines.filter(|line| !line.is_empty()).map(serde_json::from_slice);
    alerts.collect::<Result<_, _>>().map_err(|error| RunError {
        message: format!("a batch holds something else than alerts: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, check_sink, context, queue, record};
    use azud_plan::component::Services;
    use azud_store::{AlertFilter, Identity, Location};
    use futures_util::SinkExt;
    use serde_json::Value;
    use std::path::Path;

    /// Makes the line of an alert about `host`.
    fn line(host: &str, revision: u64) -> String {
        let mut alert: Value = serde_json::from_str(ALERT).unwrap();
        alert["id"] = format!("{:032x}", host.len()).into();
        alert["revision"] = revision.into();
        alert["title"] = host.into();
        format!("{alert}\n")
    }

    async fn store(folder: &Path) -> Arc<Store> {
        let me = Identity { folder: [1; 16], resumes: false };
        Arc::new(Store::open(&Location::file(&folder.join("azud.db")), me).await.unwrap())
    }

    fn task(folder: &Path, store: &Arc<Store>) -> Box<dyn SinkTask> {
        let mut services = Services::default();
        services.add(Arc::clone(store));
        check_sink(&ALERTS, "").build(&context(folder, services)).unwrap()
    }

    #[tokio::test]
    async fn alerts_reach_the_table_and_are_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let (mut sender, batches) = queue();
        let run = tokio::spawn(task(folder.path(), &store).run(batches));
        let (one, first) = batch("", &(line("a", 1) + &line("bb", 1)));
        sender.send(one).await.unwrap();
        first.wait().await;
        assert_eq!(store.list(&AlertFilter::default()).await.unwrap().len(), 2);
        // The same again, as after a restart of what stands before the sink, and one step further.
        let (two, second) = batch("", &(line("a", 1) + &line("bb", 2)));
        sender.send(two).await.unwrap();
        drop(sender);
        run.await.unwrap().unwrap();
        assert_eq!((first.count(), second.count()), (1, 1));
        let rows = store.list(&AlertFilter::default()).await.unwrap();
        let revisions: Vec<_> = rows.iter().map(|row| (row.title.as_str(), row.revision)).collect();
        assert_eq!(revisions, [("bb", 2), ("a", 1)]);
    }

    #[tokio::test]
    async fn many_batches_come_in_few_transactions_and_all_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let (mut sender, batches) = queue();
        let mut confirmed = Vec::new();
        for number in 1..=1000 {
            let (batch, counter) = batch("", &line("a", number));
            sender.send(batch).await.unwrap();
            confirmed.push(counter);
        }
        drop(sender);
        task(folder.path(), &store).run(batches).await.unwrap();
        assert!(confirmed.iter().all(|counter| counter.count() == 1));
        let rows = store.list(&AlertFilter::default()).await.unwrap();
        assert_eq!(rows[0].revision, 1000);
        assert_eq!(store.revisions(&rows[0].id).await.unwrap().len(), 1000);
    }

    #[test]
    fn what_is_no_alert_is_set_aside() {
        let mut encoder = check_sink(&ALERTS, "").encoder();
        let mut state: Value = serde_json::from_str(ALERT).unwrap();
        state["state"] = "on fire".into();
        for json in ["{}", r#"{"message":"hello"}"#, &state.to_string()] {
            let fault = encoder.encode(&record(json), &mut Vec::new()).unwrap_err();
            assert_eq!(fault.reason, Reason::EncodeFailed);
            assert!(fault.message.starts_with("this is no alert: "), "{fault}");
        }
        encoder.encode(&record(ALERT), &mut Vec::new()).unwrap();
    }

    #[test]
    fn an_instance_without_a_database_refuses_the_sink() {
        let spec = check_sink(&ALERTS, "");
        let refused = spec.build(&context(Path::new(""), Services::default())).err().unwrap();
        assert!(refused.message.contains("without a database"), "{refused}");
    }
}
