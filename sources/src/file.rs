//! `file` reads lines from files, as they are written, and remembers how far it came.
//!
//! The parts that know about files block, and live in `file/`: what a file is known by
//! (`fingerprint`), what happens to files (`watch`), what is remembered (`checkpoints`). Here they
//! are run, one round after the other, in a thread where blocking is allowed; what a round gives is
//! handed over before the next begins, so that back pressure holds here, too.

mod checkpoints;
mod fingerprint;
#[cfg(test)]
mod tests;
mod watch;

use crate::decoding::{DECODING, Decoding, HOST_KEY, check_key};
use crate::host;
use crate::limits::{CHECKPOINT_EVERY, FILE_PAUSE, RECORDING_MAX_HOLD, SETTLE_WAIT};
use crate::outlet::{Common, Outlet, WhenFull};
use azud_event::codec::Decoder;
use azud_event::codec::source_fields::SourceFields;
use azud_event::limits::RECORD_BYTES_MAX;
use azud_plan::component::{
    BuildContext, BuildError, Default as Unwritten, Example, OptionKind, OptionSpec, Options,
    Resource, RunError, SourceContext, SourceFactory, SourceSpec, SourceTask,
};
use azud_plan::diagnostic::codes::MALFORMED_VALUE;
use azud_plan::diagnostic::{Checker, Diagnostic};
use checkpoints::{Checkpoint, CheckpointFile, Loaded};
use fingerprint::Strategy;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use vrl::path::OwnedValuePath;
use watch::{Files, Selection};

/// The registry's entry.
pub const FILE: SourceFactory = SourceFactory {
    name: "file",
    summary: "Read lines from files as they are written.",
    description: "\
Each line is a record; `decoding.codec` says what it is. Records get `file`, the path, `host`, the
name of this machine, `source_type`, and `timestamp`, when they were read, each unless they have
one.

New files are found by their pattern. A file is known by its fingerprint, not by its name: it may
be renamed, and rotated by renaming or by copying and emptying it, and no line is read twice or
left out. A line that is written in parts is read when it is whole. A file that begins exactly like
another counts as its copy; where that is wrong (every file begins with the same header), let more
`fingerprint.lines` count, or skip the header.

How far each file has been read is kept in the data folder once its lines are in the log, or
delivered if `intake.acknowledge` says so, and a restart goes on from there. What is read again after
a crash is known by the log and taken once; by `device_and_inode`, or without a log, it is taken twice.

Compressed files are not read.",
    options: OPTIONS,
    check,
    examples: &[Example {
        title: "The lines of two folders, without debug logs",
        toml: "\
include = [\"/var/log/nginx/*.log\", \"/srv/*/log/**/*.log\"]
exclude = [\"/var/log/nginx/debug*.log\"]
read_from = \"end\"",
        input: "GET / 200\nGET /admin 403\n",
        output: concat!(
            r#"{"message":"GET / 200","host":"web-1","file":"/var/log/nginx/access.log","#,
            r#""source_type":"file","timestamp":"2026-03-01T10:00:00Z"}"#,
            "\n",
            r#"{"message":"GET /admin 403","host":"web-1","file":"/var/log/nginx/access.log","#,
            r#""source_type":"file","timestamp":"2026-03-01T10:00:00Z"}"#,
        ),
    }],
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "include",
        kind: OptionKind::List(&OptionKind::Text),
        default: Unwritten::Required,
        summary: "The files to read, as paths with `*`, `?`, `[a-z]` and `**` for any folders.",
    },
    OptionSpec {
        name: "exclude",
        kind: OptionKind::List(&OptionKind::Text),
        default: Unwritten::None,
        summary: "Files that are not read though `include` has them. This goes before `include`.",
    },
    DECODING,
    OptionSpec {
        name: "read_from",
        kind: OptionKind::OneOf(&[
            ("beginning", "all lines"),
            ("end", "only lines written from now on, of files that are there at start"),
        ]),
        default: Unwritten::Value("\"beginning\""),
        summary: "Where reading starts in files that were never read. Files that appear later are \
                  read from their beginning.",
    },
    OptionSpec {
        name: "ignore_checkpoints",
        kind: OptionKind::Boolean,
        default: Unwritten::Value("false"),
        summary: "Whether to forget at start how far files were read. Then `read_from` decides for \
                  each.",
    },
    OptionSpec {
        name: "fingerprint",
        kind: OptionKind::Table(&[
            OptionSpec {
                name: "strategy",
                kind: OptionKind::OneOf(&[
                    (
                        "checksum",
                        "by its first lines: known again under another name, and as a copy",
                    ),
                    ("device_and_inode", "by where it stands on disk"),
                ]),
                default: Unwritten::Value("\"checksum\""),
                summary: "What a file is known by.",
            },
            OptionSpec {
                name: "lines",
                kind: OptionKind::Integer { min: 1, max: 1_000 },
                default: Unwritten::Value("1"),
                summary: "How many of its first lines a checksum is made of. Until they are there \
                          the file is not read.",
            },
            OptionSpec {
                name: "ignored_header_bytes",
                kind: OptionKind::Bytes { min: 0, max: RECORD_BYTES_MAX as u64 },
                default: Unwritten::Value("0"),
                summary: "How many bytes before those lines do not count.",
            },
        ]),
        default: Unwritten::Value("{}"),
        summary: "How a file is known again.",
    },
    OptionSpec {
        name: "glob_minimum_cooldown_ms",
        kind: OptionKind::Integer { min: 1, max: 3_600_000 },
        default: Unwritten::Value("1_000"),
        summary: "How often new files are looked for, in milliseconds.",
    },
    OptionSpec {
        name: "rotate_wait_secs",
        kind: OptionKind::Seconds,
        default: Unwritten::Value("60"),
        summary: "How long a file is still read after it was removed, or renamed to something that \
                  `include` does not have: its writer may not have noticed yet.",
    },
    OptionSpec {
        name: "max_line_bytes",
        kind: OptionKind::Bytes { min: 1, max: RECORD_BYTES_MAX as u64 },
        default: Unwritten::Value("102_400"),
        summary: "The longest line, in bytes. The start of a longer one is set aside as a dead \
                  letter.",
    },
    HOST_KEY,
    OptionSpec {
        name: "file_key",
        kind: OptionKind::Text,
        default: Unwritten::Value("\"file\""),
        summary: "The field that the path is written to, unless the record has one. Empty: none.",
    },
];

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SourceSpec>> {
    let include = check_patterns(options, "include", checker);
    let exclude = check_patterns(options, "exclude", checker);
    let host_key = check_key(options, "host_key", checker);
    let file_key = check_key(options, "file_key", checker);
    let cooldown = options.integer("glob_minimum_cooldown_ms")?;
    let selection = Selection {
        include: include?,
        exclude: exclude?,
        from_end: options.one_of("read_from")? == "end",
        ignore_checkpoints: options.boolean("ignore_checkpoints")?,
        strategy: check_strategy(&options.table("fingerprint")?)?,
        scan_every: Duration::from_millis(cooldown.unsigned_abs()),
        rotate_wait: options.duration("rotate_wait_secs")?,
        line_bytes_max: usize::try_from(options.bytes("max_line_bytes")?).ok()?,
    };
    Some(Box::new(FileSource {
        common: Common::check(options),
        decoding: Decoding::check(options)?,
        host_key: host_key?,
        file_key: file_key?,
        selection,
    }))
}

fn check_strategy(options: &Options<'_>) -> Option<Strategy> {
    if options.one_of("strategy")? == "device_and_inode" {
        return Some(Strategy::DeviceAndInode);
    }
    let lines = usize::try_from(options.integer("lines")?).ok()?;
    let ignored_header_bytes = options.bytes("ignored_header_bytes")?;
    Some(Strategy::Checksum { lines, ignored_header_bytes })
}

fn check_patterns(
    options: &Options<'_>,
    name: &str,
    checker: &mut Checker,
) -> Option<Vec<glob::Pattern>> {
    let mut patterns = Some(Vec::new());
    for text in options.list_of_text(name) {
        match parse_pattern(&text.text) {
            Ok(pattern) => {
                if let Some(patterns) = &mut patterns {
                    patterns.push(pattern);
                }
            }
            Err(error) => {
                patterns = None;
                let place = text.place(error.pos..error.pos + 1);
                let title = format!("`{}` is not a pattern of paths", text.text);
                checker.report(
                    Diagnostic::error(MALFORMED_VALUE, place, title, error.msg)
                        .help("write `[*]` or `[?]` for a `*` or `?` in a name"),
                );
            }
        }
    }
    patterns
}

/// Reads a pattern, and also its parts between slashes, each of which must be a pattern by itself.
fn parse_pattern(text: &str) -> Result<glob::Pattern, glob::PatternError> {
    let mut start = 0;
    for part in text.split('/') {
        glob::Pattern::new(part)
            .map_err(|error| glob::PatternError { pos: start + error.pos, msg: error.msg })?;
        start += part.len() + 1;
    }
    glob::Pattern::new(text)
}

/// The checked source.
struct FileSource {
    common: Common,
    decoding: Decoding,
    host_key: Option<OwnedValuePath>,
    file_key: Option<OwnedValuePath>,
    selection: Selection,
}

impl SourceSpec for FileSource {
    fn decoder(&self) -> Box<dyn Decoder> {
        let fields = SourceFields::of_files(FILE.name, host::name())
            .with_host_key(self.host_key.clone())
            .with_file_key(self.file_key.clone());
        self.decoding.decoder(fields)
    }

    fn max_hold(&self) -> Duration {
        RECORDING_MAX_HOLD
    }

    /// Positions are stored now and then, so a crash has some lines read again. An inode may by
    /// then be another file's, whose lines must not be taken for them.
    fn resumes(&self) -> bool {
        self.selection.strategy != Strategy::DeviceAndInode
    }

    fn resources(&self) -> Vec<Resource> {
        let folders = self.selection.include.iter().map(|pattern| folder_of(pattern.as_str()));
        folders.map(Resource::Reads).collect()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        let folder = context.data_dir.join("sources").join(&context.id);
        let refused = |error: io::Error| BuildError {
            message: format!("cannot keep positions of files in {}: {error}", folder.display()),
            help: Some("let `data_dir` be a folder that this program may write to".to_owned()),
        };
        let store = CheckpointFile::new(&folder).map_err(refused)?;
        let checkpoints = match store.load().map_err(refused)? {
            Loaded::Checkpoints(checkpoints) => checkpoints,
            Loaded::Damaged(aside) => {
                tracing::error!(component = %context.id, aside = %aside.display(),
                    "the positions of files are damaged and were put aside; files are read as if \
                     for the first time");
                Vec::new()
            }
        };
        Ok(Box::new(FileTask {
            id: context.id.clone(),
            selection: self.selection.clone(),
            when_full: self.common.when_full,
            checkpoints,
            store,
        }))
    }
}

/// Gives the folder in which a pattern begins to have choices.
fn folder_of(pattern: &str) -> PathBuf {
    let fixed = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    match pattern[..fixed].rfind('/') {
        Some(0) => PathBuf::from("/"),
        Some(end) => PathBuf::from(&pattern[..end]),
        None => PathBuf::from("."),
    }
}

/// A source that is ready to run; it has no file open yet.
struct FileTask {
    id: String,
    selection: Selection,
    when_full: WhenFull,
    checkpoints: Vec<Checkpoint>,
    store: CheckpointFile,
}

impl FileTask {
    async fn serve(self, context: SourceContext) -> Result<(), RunError> {
        let FileTask { id, selection, when_full, checkpoints, store } = self;
        let clock = context.clock.clone();
        let files = Files::new(id.clone(), context.source, selection, checkpoints, clock);
        let outlet = Outlet::new(context, when_full);
        let mut runner = Runner { id, files: Some(files), store, outlet, stored: Duration::ZERO };
        let mut pause = FILE_PAUSE.0;
        let mut shutdown = runner.outlet.shutdown();
        loop {
            let busy = runner.round().await?;
            if runner.outlet.is_closing() {
                break;
            }
            if busy {
                pause = FILE_PAUSE.0;
                continue;
            }
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = tokio::time::sleep(pause) => pause = (2 * pause).min(FILE_PAUSE.1),
            }
        }
        runner.settle().await
    }
}

impl SourceTask for FileTask {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        self.serve(context).boxed()
    }
}

/// Runs rounds where blocking is allowed.
struct Runner {
    id: String,
    /// `None` only while a round has them.
    files: Option<Files>,
    store: CheckpointFile,
    outlet: Outlet,
    /// When positions were last stored.
    stored: Duration,
}

impl Runner {
    /// Reads, hands over, stores; tells whether there was something to read.
    async fn round(&mut self) -> Result<bool, RunError> {
        let blocks = self.blocking(Files::round).await?;
        let busy = !blocks.is_empty();
        for block in blocks {
            self.outlet.give(block).await;
        }
        let now = self.outlet.clock().monotonic();
        if now.saturating_sub(self.stored) >= CHECKPOINT_EVERY {
            self.stored = now;
            self.store().await?;
        }
        Ok(busy)
    }

    /// Waits for what was handed over to be delivered, not for long, and stores how far that is:
    /// what is not stored is read again.
    async fn settle(&mut self) -> Result<(), RunError> {
        let acknowledged = std::sync::Arc::clone(&self.outlet.context.acknowledged);
        let wait = async {
            while !self.files.as_ref().is_none_or(Files::is_settled) {
                let ends = acknowledged.changed().await;
                if let Some(files) = &mut self.files {
                    files.acknowledge(ends);
                }
            }
        };
        // In vain is no fault: the rest is read again at the next start.
        let _ = tokio::time::timeout(SETTLE_WAIT, wait).await;
        self.store().await
    }

    async fn store(&mut self) -> Result<(), RunError> {
        let ends = self.outlet.context.acknowledged.take();
        let store = self.store.clone();
        let stored = self
            .blocking(move |files| {
                files.acknowledge(ends);
                let checkpoints = files.checkpoints()?;
                let result = store.store(checkpoints);
                if result.is_err() {
                    files.not_stored();
                }
                Some(result)
            })
            .await?;
        if let Some(Err(error)) = stored {
            // Reading goes on. A restart would read twice what could not be stored, and lose
            // nothing.
            self.outlet.context.meter.error("checkpoint");
            let path = self.store.path().display();
            tracing::error!(component = %self.id, %path, %error, "cannot store positions of files");
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Files) -> T + Send + 'static,
    ) -> Result<T, RunError> {
        let failed = || RunError { message: "the reader of files failed".to_owned() };
        let mut files = self.files.take().ok_or_else(failed)?;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work(&mut files);
            (files, result)
        });
        let (files, result) = worked.await.map_err(|_| failed())?;
        self.files = Some(files);
        Ok(result)
    }
}
