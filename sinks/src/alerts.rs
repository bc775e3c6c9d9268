//! `alerts` keeps alerts in the instance's database, where the dashboard, the API and `azud alerts`
//! find them.

use crate::deliver::{GroupLimits, Trouble, causes, next_group};
use crate::limits::{ALERTS_LINGER, ALERTS_PER_TRANSACTION, GROUP_BYTES_MAX};
use azud_event::alert::Alert;
use azud_event::codec::json::encode_json;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use azud_plan::component::{
    Batch, Batches, BuildContext, BuildError, Encoder, Example, Kind, Options, Resource, RunError,
    SinkFactory, SinkSpec, SinkTask,
};
use azud_plan::diagnostic::Checker;
use azud_store::{Delivery, Store, check_alert};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::error::Error;
use std::sync::Arc;
use tokio::time::sleep;

/// The registry's entry of `alerts`.
pub const ALERTS: SinkFactory = SinkFactory {
    name: "alerts",
    summary: "Keeps alerts in the instance's database.",
    description: "\
Writes every revision of an alert into the database of the instance: the last one into `alerts`, \
its history into `alert_revisions`, whom it names into `alert_entities`. `azud alerts` lists them.

Up to 500 alerts, or those of 200 ms, share a transaction; they are confirmed when it is on the \
disk. A revision that comes twice is written once. What people write about an alert (triage, \
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

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        let store = context.services.find::<Store>().ok_or_else(|| BuildError {
            message: "this instance runs without a database".to_owned(),
            help: None,
        })?;
        let trouble = Trouble::new(&context.id);
        Ok(Box::new(Running { id: context.id.clone(), store, trouble }))
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
    store: Arc<Store>,
    trouble: Trouble,
}

impl SinkTask for Running {
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
    async fn deliver(mut self: Box<Self>, mut batches: Batches) -> Result<(), RunError> {
        while let Some(group) = next_group(&mut batches, LIMITS).await {
            let alerts = read(&group)?;
            let delivery = Delivery { sink_id: &self.id, progress: None, alerts: &alerts };
            while let Err(error) = self.store.apply(&delivery).await {
                if !error.retry_helps() {
                    return Err(RunError { message: causes(&error) });
                }
                sleep(self.trouble.failed(&error)).await;
            }
            self.trouble.over();
            group.into_iter().for_each(|batch| batch.confirmation.confirm());
        }
        Ok(())
    }
}

/// Reads back what the encoder wrote.
fn read(group: &[Batch]) -> Result<Vec<Alert>, RunError> {
    let lines = group.iter().flat_map(|batch| batch.bytes.split(|byte| *byte == b'\n'));
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
    use azud_store::{AlertFilter, Location};
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
        Arc::new(Store::open(&Location::file(&folder.join("azud.db")), None).await.unwrap())
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
