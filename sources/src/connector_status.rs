//! `connector_status` tells how the status of connectors changes, a record for each change.
//!
//! ```text
//!  status changes ─▶ row of the history ─▶ read on behind the last ─▶ a block each ─▶ the log
//!                    (in the database)      ▲                          (position: its number)
//!                                           └── file: the last that is logged, or delivered
//! ```
//!
//! The history has each change durable before it is read here, and the file is behind the log. So
//! what was on its way when the process was killed is read again, and given at the same position of
//! the same stream, where the door of the log drops what it has. Each change is told once.
//!
//! A record may make a sink fail, and that another change: it does not go round for ever, because
//! a status only changes with hysteresis, some dozen times an hour at most.

mod position;
#[cfg(test)]
mod tests;

use crate::limits::{HISTORY_PAUSE, SETTLE_WAIT, STATUS_CHANGES_MAX};
use crate::outlet::{Common, Outlet, WhenFull};
use azud_client::Backoff;
use azud_event::block::{Block, Frame, Layout};
use azud_event::codec::Decoder;
use azud_event::codec::json::JsonDecoder;
use azud_event::codec::source_fields::SourceFields;
use azud_event::dead_letter::Fault;
use azud_event::id::StreamId;
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{
    BuildContext, BuildError, Default as Unwritten, Example, OptionKind, OptionSpec, Options,
    Resource, RunError, SourceContext, SourceFactory, SourceSpec, SourceTask, StatusChange,
    StatusHistory, matches, parse_field,
};
use azud_plan::diagnostic::Checker;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use position::{Position, PositionFile};
use serde_json::json;
use std::sync::Arc;
use vrl::path::OwnedValuePath;

/// The registry's entry.
pub const CONNECTOR_STATUS: SourceFactory = SourceFactory {
    name: "connector_status",
    summary: "Tell how the status of connectors changes.",
    description: "\
Each change of the status of a connector of this instance (a source or sink that talks to the \
outside, see `azud connectors`) is a record: `connector` says which it is, and has its `status` \
since then; `from`, `to`, `reason` and `message` say what changed, and why. `http_status` is there \
where an answer was the reason, `labels` where the connector has some. It happened when the status \
changed, which is `timestamp` too.

So an alert may be written on it, as on any other record. Each change is told once, also when the \
process is killed in between. The first start begins with what that start changes; a later one goes \
on where the last stopped, and tells what people changed by command meanwhile. A status does not \
flap, so neither does what is told. Where a connector changes more than sixty times an hour all the \
same, `flaps` says how many changes before this one may not have been told.

A start makes every connector `starting`, and then what it is. One that no document has any more is \
`disabled` with the reason `removed`; of one that was deleted nothing is told.",
    options: OPTIONS,
    check,
    examples: &[Example {
        title: "The credentials of a poller are refused",
        toml: "connectors = [\"okta*\"]",
        input: concat!(
            r#"{"timestamp":"2026-03-01T09:59:30.250000Z","event":{"kind":"event","#,
            r#""action":"connector-status-changed","dataset":"azud.connector_status"},"#,
            r#""connector":{"id":"0196a0c4-8f5e-7cc1-9b1f-6a3d0d6c2f10","name":"okta","#,
            r#""kind":"api","type":"http_client","status":"error"},"from":"active","to":"error","#,
            r#""reason":"authentication","message":"the server answered 401 Unauthorized","#,
            r#""http_status":401,"flaps":0}"#,
        ),
        output: concat!(
            r#"{"timestamp":"2026-03-01T09:59:30.250000Z","event":{"kind":"event","#,
            r#""action":"connector-status-changed","dataset":"azud.connector_status"},"#,
            r#""connector":{"id":"0196a0c4-8f5e-7cc1-9b1f-6a3d0d6c2f10","name":"okta","#,
            r#""kind":"api","type":"http_client","status":"error"},"from":"active","to":"error","#,
            r#""reason":"authentication","message":"the server answered 401 Unauthorized","#,
            r#""http_status":401,"flaps":0,"source_type":"connector_status"}"#,
        ),
    }],
};

const OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: "connectors",
    kind: OptionKind::List(&OptionKind::Text),
    default: Unwritten::Value("[\"*\"]"),
    summary: "The names of the connectors that are told of; `*` stands for any signs.",
}];

/// The field in which a record says when the status changed.
const TIMESTAMP: &str = "timestamp";

fn check(options: &Options<'_>, _: &mut Checker) -> Option<Box<dyn SourceSpec>> {
    let (common, patterns) = (Common::check(options), options.strings("connectors"));
    let timestamp = parse_field(TIMESTAMP)?;
    Some(Box::new(ConnectorStatus { common, patterns: patterns.into(), timestamp }))
}

/// The checked source.
struct ConnectorStatus {
    common: Common,
    patterns: Arc<[String]>,
    timestamp: OwnedValuePath,
}

impl SourceSpec for ConnectorStatus {
    fn decoder(&self) -> Box<dyn Decoder> {
        let json = JsonDecoder::new(Some(SourceFields::new(CONNECTOR_STATUS.name)));
        Box::new(Timed { json, timestamp: self.timestamp.clone() })
    }

    /// What is not known to be in the log is given again.
    fn resumes(&self) -> bool {
        true
    }

    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        let history = context.services.status_history().ok_or_else(|| BuildError {
            message: "there is no database, and so no history of statuses".to_owned(),
            help: None,
        })?;
        let folder = context.data_dir.join("sources").join(&context.id);
        let refused = |error: std::io::Error| BuildError {
            message: format!("cannot keep a position in {}: {error}", folder.display()),
            help: Some("let `data_dir` be a folder that this program may write to".to_owned()),
        };
        let file = PositionFile::new(&folder).map_err(refused)?;
        let begin = || Position {
            database: history.database(),
            generation: context.clock.now().nanoseconds().unsigned_abs(),
            number: history.beginning(),
        };
        // A database that was put back gives numbers again that were given before: a stream of
        // another name begins, or they would be taken for repeats.
        let goes_on = |known: &Position| {
            known.database == history.database() && known.number <= history.beginning()
        };
        let position = match file.load().map_err(refused)?.filter(goes_on) {
            Some(position) => position,
            None => {
                // Durable before anything is told, so that a start that is killed loses nothing.
                let position = begin();
                file.store(&position).map_err(refused)?;
                position
            }
        };
        let (id, patterns) = (context.id.clone(), Arc::clone(&self.patterns));
        let when_full = self.common.when_full;
        Ok(Box::new(Task { id, patterns, when_full, history, file, position }))
    }
}

/// Reads records, and knows which of their fields says when they happened.
struct Timed {
    json: JsonDecoder,
    timestamp: OwnedValuePath,
}

impl Decoder for Timed {
    fn decode(
        &mut self,
        block: &Block,
        frame: &Frame,
        record: &mut Record,
        emit: &mut dyn FnMut(&mut Record),
    ) -> Result<(), Fault> {
        let timestamp = &self.timestamp;
        self.json.decode(block, frame, record, &mut |record| {
            let time = record.get_bytes(timestamp).and_then(EventTime::from_rfc3339);
            record.origin_mut().event_time = time;
            emit(record);
        })
    }
}

/// A source that is ready to run.
struct Task {
    id: String,
    patterns: Arc<[String]>,
    when_full: WhenFull,
    history: Arc<dyn StatusHistory>,
    file: PositionFile,
    position: Position,
}

impl SourceTask for Task {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        let stream = self.position.stream(&self.id);
        let number = self.position.number;
        let outlet = Outlet::new(context, self.when_full);
        let reader = Reader {
            task: *self,
            outlet,
            stream,
            read: number,
            given: number,
            done: number,
            is_down: false,
        };
        reader.run().map(Ok).boxed()
    }
}

/// Reads the history on.
struct Reader {
    task: Task,
    outlet: Outlet,
    stream: StreamId,
    /// The number of the last change that was read, of the last that was handed over, and of the
    /// last that is in the log, or delivered.
    read: u64,
    given: u64,
    done: u64,
    /// Whether the database does not answer, and that was said.
    is_down: bool,
}

impl Reader {
    async fn run(mut self) {
        let acknowledged = Arc::clone(&self.outlet.context.acknowledged);
        let mut shutdown = self.outlet.shutdown();
        let (first, longest) = HISTORY_PAUSE;
        let mut pauses = Backoff::new(&self.task.id, first, longest);
        loop {
            // Asked for first, so that no change is missed.
            let changed = self.task.history.changed();
            let all = self.read_on().await;
            self.keep().await;
            let pause = match all {
                true => {
                    pauses.reset();
                    changed
                }
                false => tokio::time::sleep(pauses.next_pause()).boxed(),
            };
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    biased;
                    () = &mut shutdown => return self.settle().await,
                    ends = acknowledged.changed() => {
                        self.acknowledge(ends);
                        self.keep().await;
                    }
                    () = &mut pause => break,
                }
            }
        }
    }

    /// Hands over what there is behind the last that was read; `false` when the database does not
    /// answer.
    async fn read_on(&mut self) -> bool {
        while !self.outlet.is_closing() {
            let found = match self.task.history.behind(self.read, STATUS_CHANGES_MAX).await {
                Ok(found) => found,
                Err(error) => {
                    self.outlet.context.meter.error("read");
                    if !std::mem::replace(&mut self.is_down, true) {
                        tracing::warn!(component = %self.task.id, %error,
                            "changes of status cannot be read now; they are told later");
                    }
                    return false;
                }
            };
            self.is_down = false;
            if found.is_empty() {
                return true;
            }
            for change in found {
                self.read = change.number;
                let told = self.task.patterns.iter().any(|known| matches(known, &change.name));
                if told {
                    self.given = change.number;
                    let block = self.block(&change);
                    self.outlet.give(block).await;
                }
            }
        }
        true
    }

    /// Makes the block of a change. Its place is its number, whatever is written in it: so it is
    /// known again also when a label has changed meanwhile.
    fn block(&self, change: &StatusChange) -> Block {
        let mut bytes = line(change).into_bytes();
        bytes.push(b'\n');
        Block {
            source: self.outlet.context.source,
            stream: self.stream,
            position: change.number,
            end: change.number + 1,
            received_at: self.outlet.clock().now(),
            bytes: bytes.into(),
            layout: Layout::Lines,
            peers: [].into(),
        }
    }

    fn acknowledge(&mut self, ends: Vec<(StreamId, u64)>) {
        for (stream, end) in ends {
            if stream == self.stream {
                self.done = self.done.max(end.saturating_sub(1));
            }
        }
    }

    /// Stores up to where changes need not be read again, where that has moved.
    async fn keep(&mut self) {
        // What nobody wanted to be told of counts once everything before it is done.
        let number = if self.done >= self.given { self.read } else { self.done };
        if number <= self.task.position.number {
            return;
        }
        let position = Position { number, ..self.task.position.clone() };
        let (file, written) = (self.task.file.clone(), position.clone());
        let stored = tokio::task::spawn_blocking(move || file.store(&written)).await;
        match stored.map_err(std::io::Error::other).and_then(|stored| stored) {
            Ok(()) => self.task.position = position,
            Err(error) => {
                // What could not be stored is read again by the next start, and lost by none.
                self.outlet.context.meter.error("checkpoint");
                let (component, path) = (&self.task.id, self.task.file.path().display());
                tracing::error!(%component, %path, %error, "cannot store the position");
            }
        }
    }

    /// Waits for what was handed over, not for long, and stores how far that is.
    async fn settle(&mut self) {
        let acknowledged = Arc::clone(&self.outlet.context.acknowledged);
        let wait = async {
            while self.done < self.given {
                let ends = acknowledged.changed().await;
                self.acknowledge(ends);
            }
        };
        // In vain is no fault: the rest is read again at the next start.
        let _ = tokio::time::timeout(SETTLE_WAIT, wait).await;
        self.keep().await;
    }
}

/// Writes a change as a line of JSON; what there is nothing of is not in it.
fn line(change: &StatusChange) -> String {
    let mut record = json!({
        TIMESTAMP: change.at.to_rfc3339(),
        "event": {
            "kind": "event", "action": "connector-status-changed",
            "dataset": "azud.connector_status",
        },
        "connector": {
            "id": change.id, "name": change.name, "kind": change.kind, "type": change.r#type,
            "status": change.to,
        },
        "from": change.from, "to": change.to, "reason": change.reason, "message": change.message,
        "http_status": change.http_status, "flaps": change.flaps,
    });
    if !change.labels.is_empty() {
        record["labels"] = json!(change.labels);
    }
    if let Some(members) = record.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    record.to_string()
}
