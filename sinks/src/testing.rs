//! What the tests of sinks share: a queue, batches that tell when they are confirmed, records,
//! checked tables.

use azud_event::block::{Block, Layout};
use azud_event::clock::Clock;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{
    Batch, Batches, BuildContext, Confirmation, OptionSpec, Options, Refused, Secret, SecretError,
    SecretName, SecretService, Secrets, Services, SinkFactory, SinkSpec, check_options,
};
use azud_plan::diagnostic::Checker;
use azud_plan::document::Document;
use futures_channel::mpsc;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

/// Counts how often a batch was confirmed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confirmed(Arc<(AtomicUsize, Notify)>);

impl Confirmed {
    /// How often.
    pub fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    /// Returns once it is confirmed.
    pub async fn wait(&self) {
        while self.count() == 0 {
            self.0.1.notified().await;
        }
    }
}

/// Makes a queue into a sink.
pub(crate) fn queue() -> (mpsc::Sender<Batch>, Batches) {
    mpsc::channel(1024)
}

/// Makes a batch of the lines of `text`.
pub(crate) fn batch(partition: &str, text: &str) -> (Batch, Confirmed) {
    let confirmed = Confirmed::default();
    let batch = Batch {
        epoch: 0,
        bytes: text.as_bytes().to_vec().into(),
        records: text.lines().count(),
        partition: Arc::from(partition),
        confirmation: Confirmation::new({
            let confirmed = confirmed.clone();
            move || {
                confirmed.0.0.fetch_add(1, Ordering::SeqCst);
                confirmed.0.1.notify_one();
            }
        }),
    };
    (batch, confirmed)
}

/// Makes a batch of the lines of `text` that has a way out for what is refused.
pub(crate) fn refusing(text: &str) -> (Batch, Confirmed, Arc<Mutex<Vec<Refused>>>) {
    let (mut batch, confirmed) = batch("", text);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let aside = Arc::clone(&refused);
    let out = move |record| aside.lock().unwrap().push(record);
    batch.confirmation = batch.confirmation.or_refused(out);
    (batch, confirmed, refused)
}

/// Makes a record of a JSON object, received at the start of 1970.
pub(crate) fn record(json: &str) -> Record {
    let block = Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: json.len() as u64,
        received_at: EventTime::EPOCH,
        bytes: json.as_bytes().to_vec().into(),
        layout: Layout::Lines,
        peers: Arc::new([]),
    };
    let mut record = Record::new();
    let range = 0..json.len();
    let frame = azud_event::block::Frame { range: range.clone(), peer: 0, received_delta_us: 0 };
    record.begin(&block, &frame);
    record.decode_json(range).unwrap();
    record
}

/// Checks a table against `options` and reads it; its faults fail the test.
pub(crate) fn check_table<T>(
    toml: &str,
    options: &'static [OptionSpec],
    read: impl FnOnce(&Options<'_>) -> Option<T>,
) -> Option<T> {
    let mut checker = Checker::default();
    let document = Document::parse(0, toml, &mut checker).unwrap();
    check_options(&document.root, options, &["type", "inputs"], "a sink", &mut checker);
    assert!(!checker.failed(), "{toml}\n{:#?}", checker.diagnostics);
    read(&Options::new("sink", &document.root, options))
}

/// Checks a sink's table.
pub(crate) fn check_sink(factory: &SinkFactory, toml: &str) -> Box<dyn SinkSpec> {
    let mut checker = Checker::default();
    let spec = check_table(toml, factory.options, |options| (factory.check)(options, &mut checker));
    assert!(!checker.failed(), "{:#?}", checker.diagnostics);
    spec.unwrap()
}

/// Makes what a sink may use when it is built.
pub(crate) fn context(folder: &Path, services: Services) -> BuildContext {
    BuildContext {
        id: "sink".to_owned(),
        pipeline: "p".to_owned(),
        data_dir: folder.to_owned(),
        clock: Clock::manual(EventTime::EPOCH),
        services: Arc::new(services),
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub head: String,
    pub body: Vec<u8>,
}

impl Received {
    /// Gives the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Reads one request; `None` at the end of the connection.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let mut received = Received { head, body: Vec::new() };
    let length: usize = received.header("content-length").unwrap_or("0").parse().unwrap();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    received.body = body;
    Some(received)
}

/// Secrets in memory: by key what each is, and what it becomes once it was refused.
pub(crate) struct FakeSecrets(Mutex<HashMap<String, (String, String)>>);

impl FakeSecrets {
    pub fn of(secrets: &[(&str, &str, &str)]) -> Arc<Self> {
        let each = secrets
            .iter()
            .map(|(key, is, becomes)| (key.to_string(), (is.to_string(), becomes.to_string())));
        Arc::new(FakeSecrets(Mutex::new(each.collect())))
    }

    /// Makes them a service.
    pub fn service(self: Arc<Self>) -> Services {
        let mut services = Services::default();
        services.add(Arc::new(SecretService(self)));
        services
    }
}

impl Secrets for FakeSecrets {
    fn get<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        let is = self.0.lock().unwrap().get(&name.key).map(|(is, _)| is.clone());
        let missing = || SecretError::Missing(format!("there is no {name}"));
        ready(is.map(Secret::new).ok_or_else(missing)).boxed()
    }

    fn refused(&self, name: &SecretName) {
        if let Some((is, becomes)) = self.0.lock().unwrap().get_mut(&name.key) {
            is.clone_from(becomes);
        }
    }
}
