//! `file` appends records to files whose names may come from the records.
//!
//! ```text
//!  worker   record ─▶ encode ─▶ buffer of its file ─▶ queue
//!  task     queue ─▶ group of batches ─▶ (a thread that may block) append, sync ─▶ confirm
//!                          ▲                              │ refused
//!                          └──── waiting, in order ◀──────┘
//! ```
//!
//! A file that cannot be written holds up its own batches, not those of other files. What waits is
//! bounded: beyond the bound nothing is taken from the queue, so the pipeline slows down, and
//! nothing is lost.

mod disk;
mod files;

#[cfg(test)]
mod tests;

use crate::deliver::{GroupLimits, Trouble, next_group};
use crate::encoding::{ENCODING, Encoding, FRAMING, RecordEncoder};
use crate::limits::{GROUP_BATCHES_MAX, GROUP_BYTES_MAX, PATH_BYTES_MAX, SEGMENT_BYTES_MAX};
use azud_event::clock::Clock;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use azud_plan::component::{
    self, Batch, Batches, BuildContext, BuildError, Confine, Encoder, Example, Kind, Missing,
    OptionKind, OptionSpec, Options, Resource, RunError, SinkFactory, SinkSpec, SinkTask, Template,
};
use azud_plan::diagnostic::Checker;
use azud_plan::document::Text;
use disk::LocalDisk;
use files::{Files, WriteError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, Sleep, interval, sleep};

/// The registry's entry of `file`.
pub const FILE: SinkFactory = SinkFactory {
    name: "file",
    summary: "Appends records to files.",
    description: "\
Appends each record as one line to the file that `path` names. Folders are made as they are \
needed. Fields in `path` can name a file or folder below its fixed part, never one elsewhere: a \
value that could is changed so that it cannot.

A batch is appended whole or not at all. When the disk is full or refuses, what was written of the \
batch is cut off again and the sink tries again, with growing pauses; meanwhile \
nothing is lost. A file that was moved away or removed (`logrotate`) is made anew at the \
next batch; `copytruncate` works as well.

A record is confirmed when the system has taken it. It may then still be lost with the power; with \
`sync = true` it is confirmed when it is on the disk.",
    inputs: &[Kind::Log, Kind::Alert],
    options: &[
        OptionSpec {
            name: "path",
            kind: OptionKind::Template,
            default: component::Default::Required,
            summary: "The file: fields as `{{ host }}`, and the event time (UTC) as `%Y-%m-%d`.",
        },
        OptionSpec {
            name: "compression",
            kind: OptionKind::OneOf(&[("none", "as it is")]),
            default: component::Default::Value("\"none\""),
            summary: "How the file is compressed.",
        },
        ENCODING,
        FRAMING,
        OptionSpec {
            name: "idle_timeout_secs",
            kind: OptionKind::Integer { min: 1, max: 86_400 },
            default: component::Default::Value("30"),
            summary: "A file that was not written to for so many seconds is closed.",
        },
        OptionSpec {
            name: "sync",
            kind: OptionKind::Boolean,
            default: component::Default::Value("false"),
            summary: "Whether records are on the disk before they are confirmed.",
        },
    ],
    check,
    examples: &[
        Example {
            title: "One file for each day",
            toml: "type = \"file\"\npath = \"/var/log/azud/%Y-%m-%d.log\"\n",
            input: "{\"message\":\"hello\",\"host\":\"web1\"}\n",
            output: "{\"message\":\"hello\",\"host\":\"web1\"}\n",
        },
        Example {
            title: "One folder for each host, as text",
            toml: "type = \"file\"\npath = \"/var/log/azud/{{ host }}/messages.log\"\n\
                   encoding.codec = \"text\"\n",
            input: "{\"message\":\"hello\",\"host\":\"web1\"}\n",
            output: "hello\n",
        },
    ],
};

/// A checked `file`.
struct FileSink {
    place: Place,
    encoding: Encoding,
    idle_timeout: Duration,
    sync: bool,
}

/// Where records go.
#[derive(Clone)]
enum Place {
    /// All to one file.
    Fixed(Arc<str>),
    /// Each to the file that its fields and event time name, below a folder.
    Named { template: Template, folder: Arc<str> },
}

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SinkSpec>> {
    let encoding = Encoding::check(options);
    let place = options.text("path").and_then(|path| Place::check(path, checker));
    let seconds = options.integer("idle_timeout_secs").and_then(|count| u64::try_from(count).ok());
    let sync = options.boolean("sync");
    Some(Box::new(FileSink {
        place: place?,
        encoding: encoding?,
        idle_timeout: Duration::from_secs(seconds?),
        sync: sync?,
    }))
}

impl Place {
    fn check(path: &Text, checker: &mut Checker) -> Option<Self> {
        let template = Template::parse(path, checker)?;
        let template = template.confined(Confine::Path).missing(Missing::Fault);
        if let Some(path) = template.fixed() {
            return Some(Place::Fixed(Arc::from(path)));
        }
        let prefix = template.prefix();
        let folder = Arc::from(prefix.rfind('/').map_or("", |at| &prefix[..=at]));
        Some(Place::Named { template, folder })
    }
}

impl SinkSpec for FileSink {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(FileEncoder { records: self.encoding.encoder(), place: self.place.clone() })
    }

    fn resources(&self) -> Vec<Resource> {
        vec![match &self.place {
            Place::Fixed(path) => Resource::Writes(PathBuf::from(&**path)),
            Place::Named { folder, .. } if folder.is_empty() => Resource::WritesBelow(".".into()),
            Place::Named { folder, .. } => Resource::WritesBelow(PathBuf::from(&**folder)),
        }]
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        let fixed = match &self.place {
            Place::Fixed(path) => Some(Arc::clone(path)),
            Place::Named { .. } => None,
        };
        // Opened at the first batch: a build that is thrown away leaves no empty file behind.
        if let Some(path) = fixed.as_deref().filter(|path| Path::new(path).is_dir()) {
            return Err(BuildError {
                message: format!("{path} is a folder"),
                help: Some("let `path` name a file in it".to_owned()),
            });
        }
        Ok(Box::new(Running {
            desk: Desk {
                files: Files::new(Box::new(LocalDisk), self.sync),
                fixed,
                waiting: VecDeque::new(),
                blocked: HashSet::new(),
            },
            idle_timeout: self.idle_timeout,
            clock: context.clock.clone(),
            trouble: Trouble::new(&context.id),
        }))
    }
}

/// Writes records, and the names of their files.
struct FileEncoder {
    records: RecordEncoder,
    place: Place,
}

impl Encoder for FileEncoder {
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.records.encode(record, out)
    }

    fn partition(&mut self, record: &Record, name: &mut String) -> Result<(), Fault> {
        let Place::Named { template, folder } = &self.place else { return Ok(()) };
        template.render(record, name)?;
        // The template has made each field harmless by itself; this holds for what several give
        // together.
        if !is_below(folder, name) {
            let message = format!("`{name}` is no file below `{folder}`");
            return Err(Fault::new(Reason::EncodeFailed, message));
        }
        Ok(())
    }

    fn is_json_lines(&self) -> bool {
        matches!(self.place, Place::Fixed(_)) && self.records.is_json_lines()
    }
}

/// Whether `name` is a file in `folder` or in a folder below it, that a file system can have. Both
/// as written, without asking the disk.
fn is_below(folder: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(folder) else { return false };
    let is_segment =
        |part: &str| !matches!(part, "" | "." | "..") && part.len() <= SEGMENT_BYTES_MAX;
    name.len() <= PATH_BYTES_MAX && !rest.contains('\0') && rest.split('/').all(is_segment)
}

/// A running `file`.
struct Running {
    desk: Desk,
    idle_timeout: Duration,
    clock: Clock,
    trouble: Trouble,
}

/// What goes to and fro between the task and the threads that may block.
struct Desk {
    files: Files,
    fixed: Option<Arc<str>>,
    /// Batches to be written, in the order of the queue.
    waiting: VecDeque<Batch>,
    /// Files that refused; their batches are not tried before the pause is over.
    blocked: HashSet<Arc<str>>,
}

const LIMITS: GroupLimits = GroupLimits {
    bytes: GROUP_BYTES_MAX,
    records: usize::MAX,
    batches: GROUP_BATCHES_MAX,
    linger: Duration::ZERO,
};

impl SinkTask for Running {
    fn run(self: Box<Self>, batches: Batches) -> BoxFuture<'static, Result<(), RunError>> {
        self.deliver(batches).boxed()
    }
}

impl Running {
    async fn deliver(mut self: Box<Self>, mut batches: Batches) -> Result<(), RunError> {
        let mut ended = false;
        let mut pause: Option<Pin<Box<Sleep>>> = None;
        let mut idle = interval(self.idle_timeout);
        idle.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !ended || !self.desk.waiting.is_empty() {
            tokio::select! {
                group = next_group(&mut batches, LIMITS), if !ended && self.desk.has_room() => {
                    match group {
                        Some(group) => self.desk.waiting.extend(group),
                        None => ended = true,
                    }
                }
                () = over(pause.as_mut()) => {
                    pause = None;
                    self.desk.blocked.clear();
                }
                _ = idle.tick() => {
                    let now = self.clock.monotonic();
                    self.desk.files.close_idle(now.saturating_sub(self.idle_timeout));
                    continue;
                }
            }
            let now = self.clock.monotonic();
            let mut desk = self.desk;
            let writing = tokio::task::spawn_blocking(move || {
                let refused = desk.write(now);
                (desk, refused)
            });
            let refused;
            (self.desk, refused) =
                writing.await.map_err(|error| RunError { message: error.to_string() })?;
            match refused {
                Some(error) => {
                    let length = self.trouble.failed(&error);
                    pause.get_or_insert_with(|| Box::pin(sleep(length)));
                }
                None if self.desk.waiting.is_empty() => self.trouble.over(),
                None => {}
            }
        }
        Ok(())
    }
}

impl Desk {
    fn has_room(&self) -> bool {
        let bytes: usize = self.waiting.iter().map(|batch| batch.bytes.len()).sum();
        bytes < GROUP_BYTES_MAX && self.waiting.len() < GROUP_BATCHES_MAX
    }

    /// Writes and confirms what can be written, and keeps the rest in its order. Gives the first
    /// error. Blocks.
    fn write(&mut self, now: Duration) -> Option<WriteError> {
        let mut first = None;
        for _ in 0..self.waiting.len() {
            let Some(batch) = self.waiting.pop_front() else { break };
            let name = self.fixed.as_ref().unwrap_or(&batch.partition);
            if self.blocked.contains(name) {
                self.waiting.push_back(batch);
                continue;
            }
            match self.files.write(name, &batch.bytes, now) {
                Ok(()) => batch.confirmation.confirm(),
                Err(error) => {
                    self.blocked.insert(Arc::clone(name));
                    self.waiting.push_back(batch);
                    first.get_or_insert(error);
                }
            }
        }
        first
    }
}

/// Waits for the end of a pause; for ever when there is none.
async fn over(pause: Option<&mut Pin<Box<Sleep>>>) {
    match pause {
        Some(pause) => pause.await,
        None => std::future::pending().await,
    }
}
