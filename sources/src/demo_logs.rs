//! `demo_logs` makes up lines, so that a pipeline can be tried without a sender.
//!
//! Everything in a line but its time follows from the seed and the number of the line (`lines`), so
//! two runs with one seed can be compared. The times are real: windows and lateness behave as they
//! would.

mod lines;

use crate::decoding::{DECODING, Decoding};
use crate::outlet::{Common, Outlet, WhenFull};
use azud_event::block::{Block, Layout};
use azud_event::codec::Decoder;
use azud_event::codec::source_fields::SourceFields;
use azud_event::id::StreamId;
use azud_event::limits::BLOCK_RECORDS_MAX;
use azud_plan::component::{
    BuildContext, BuildError, Default as Unwritten, Example, OptionKind, OptionSpec, Options,
    Resource, RunError, SourceContext, SourceFactory, SourceSpec, SourceTask,
};
use azud_plan::diagnostic::codes::{CONTRADICTION, MISSING_OPTION};
use azud_plan::diagnostic::{Checker, Diagnostic};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lines::{Format, Lines};
use std::sync::Arc;
use std::time::Duration;

/// The registry's entry.
pub const DEMO_LOGS: SourceFactory = SourceFactory {
    name: "demo_logs",
    summary: "Make up log lines, and an attack if asked to.",
    description: "\
Makes a line every `interval`, in one of the formats below, with made-up names and addresses of the
ranges for documentation. The line becomes `message`, unless `decoding.codec` says otherwise.

The same `seed` gives the same lines, their times aside. `episode = \"brute_force\"` puts an attack
on SSH between them: after two seconds 25 failed logins for `root` and `admin` from one address of
`203.0.113.0/24` within four seconds, then one that succeeds; again every minute, from another
address.",
    options: OPTIONS,
    check,
    examples: &[
        Example {
            title: "Lines of syslog as text",
            toml: "format = \"bsd_syslog\"",
            input: "<38>Mar  1 10:00:00 web-1 sshd[4242]: \
                    Connection closed by 198.51.100.7 port 40022",
            output: concat!(
                r#"{"message":"<38>Mar  1 10:00:00 web-1 sshd[4242]: Connection closed by "#,
                r#"198.51.100.7 port 40022","#,
                r#""host":"localhost","source_type":"demo_logs","#,
                r#""timestamp":"2026-03-01T10:00:00Z"}"#,
            ),
        },
        Example {
            title: "An attack on SSH, decoded",
            toml: "\
format = \"syslog\"
episode = \"brute_force\"
decoding.codec = \"syslog\"",
            input: "<38>1 2026-03-01T10:00:00.000Z web-1 sshd 4242 - - \
                    Failed password for root from 203.0.113.77 port 50211 ssh2",
            output: concat!(
                r#"{"timestamp":"2026-03-01T10:00:00Z","hostname":"web-1","appname":"sshd","#,
                r#""procid":4242,"facility":"auth","severity":"info","version":1,"#,
                r#""message":"Failed password for root from 203.0.113.77 port 50211 ssh2","#,
                r#""host":"web-1","source_type":"demo_logs"}"#,
            ),
        },
    ],
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "format",
        kind: OptionKind::OneOf(&[
            ("apache_common", "a web server's access log"),
            ("apache_error", "a web server's error log"),
            ("bsd_syslog", "syslog of RFC 3164"),
            ("json", "requests as JSON"),
            ("shuffle", "the lines of `lines`, at random"),
            ("syslog", "syslog of RFC 5424"),
        ]),
        default: Unwritten::Required,
        summary: "What lines look like.",
    },
    OptionSpec {
        name: "lines",
        kind: OptionKind::List(&OptionKind::Text),
        default: Unwritten::None,
        summary: "The lines for `shuffle`.",
    },
    OptionSpec {
        name: "interval",
        kind: OptionKind::Seconds,
        default: Unwritten::Value("1.0"),
        summary: "The time between two lines, in seconds. `0` means as fast as they are taken.",
    },
    OptionSpec {
        name: "count",
        kind: OptionKind::Integer { min: 0, max: i64::MAX },
        default: Unwritten::None,
        summary: "How many lines to make, those of episodes included; then the source ends. \
                  Without it it goes on for ever.",
    },
    OptionSpec {
        name: "seed",
        kind: OptionKind::Integer { min: 0, max: i64::MAX },
        default: Unwritten::Value("0"),
        summary: "What the lines follow from.",
    },
    OptionSpec {
        name: "episode",
        kind: OptionKind::OneOf(&[
            ("brute_force", "an attack on SSH every minute, for `syslog` and `bsd_syslog`"),
            ("none", "nothing but the lines"),
        ]),
        default: Unwritten::Value("\"none\""),
        summary: "What happens between the lines.",
    },
    DECODING,
];

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SourceSpec>> {
    let format = options.one_of("format")?;
    let attacked = options.one_of("episode")? == "brute_force";
    if attacked && !matches!(format, "syslog" | "bsd_syslog") {
        let title = "an attack on SSH shows in syslog only";
        checker.report(
            Diagnostic::error(CONTRADICTION, options.span("episode"), title, "cannot be written…")
                .label(options.span("format"), "…in this format")
                .help("write `format = \"syslog\"`, or remove `episode`"),
        );
        return None;
    }
    let format = match format {
        "apache_common" => Format::ApacheCommon,
        "apache_error" => Format::ApacheError,
        "bsd_syslog" => Format::BsdSyslog,
        "json" => Format::Json,
        "shuffle" => Format::Shuffle(check_lines(options, checker)?),
        _ => Format::Syslog,
    };
    let seed = options.integer("seed")?.unsigned_abs();
    Some(Box::new(DemoLogs {
        common: Common::check(options),
        decoding: Decoding::check(options)?,
        lines: Lines { format, seed },
        attacked,
        interval: options.duration("interval")?,
        count: options.integer("count").map_or(u64::MAX, i64::unsigned_abs),
    }))
}

fn check_lines(options: &Options<'_>, checker: &mut Checker) -> Option<Vec<String>> {
    let lines = options.strings("lines");
    if lines.is_empty() {
        let (title, place) = ("there is nothing to shuffle", "asks for lines to shuffle");
        checker.report(
            Diagnostic::error(MISSING_OPTION, options.span("format"), title, place)
                .help("add `lines = [\"one\", \"another\"]`"),
        );
        return None;
    }
    // A line break within would make two records of one.
    Some(lines.into_iter().map(|line| line.replace(['\n', '\r'], " ")).collect())
}

/// The checked source.
struct DemoLogs {
    common: Common,
    decoding: Decoding,
    lines: Lines,
    attacked: bool,
    interval: Duration,
    count: u64,
}

impl SourceSpec for DemoLogs {
    fn decoder(&self) -> Box<dyn Decoder> {
        let host = Bytes::from_static(b"localhost");
        self.decoding.decoder(SourceFields::new(DEMO_LOGS.name).with_host(host))
    }

    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        Ok(Box::new(DemoTask {
            id: context.id.clone(),
            lines: self.lines.clone(),
            schedule: Schedule::new(self.interval, self.attacked, self.count),
            when_full: self.common.when_full,
        }))
    }
}

/// When an episode begins, from the start of the source and then from the start of the last one.
const EPISODE_START: Duration = Duration::from_secs(2);
const EPISODE_EVERY: Duration = Duration::from_secs(60);
/// How long after one try of an attack the next is made.
const TRY_EVERY: Duration = Duration::from_millis(150);
/// How many tries an attack has; the last succeeds.
const TRIES: u64 = 26;

/// Which line is due when.
#[derive(Clone, Debug)]
struct Schedule {
    interval: Duration,
    attacked: bool,
    left: u64,
    /// The next line of the background.
    line: u64,
    /// The next try of an attack, counted over all attacks.
    attempt: u64,
}

/// A line that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The background's line of this number.
    Line(u64),
    /// The try of this number of the attack of this number.
    Try { episode: u64, attempt: u64 },
}

impl Schedule {
    fn new(interval: Duration, attacked: bool, count: u64) -> Self {
        Schedule { interval, attacked, left: count, line: 0, attempt: 0 }
    }

    /// Tells when the next line is due, counted from the start; `None` when all were made.
    fn next_at(&self) -> Option<Duration> {
        let line = self.line_at();
        let at = if self.attacked { line.min(self.attempt_at()) } else { line };
        (self.left > 0).then_some(at)
    }

    /// Takes the next line if it is due at `now`, counted from the start.
    fn take(&mut self, now: Duration) -> Option<Due> {
        if self.next_at()? > now {
            return None;
        }
        self.left -= 1;
        // Without an interval there is always a line due; the attack must not wait for the last of
        // them.
        if self.attacked && self.attempt_at() <= now {
            let attempt = self.attempt;
            self.attempt += 1;
            return Some(Due::Try { episode: attempt / TRIES, attempt: attempt % TRIES });
        }
        self.line += 1;
        Some(Due::Line(self.line - 1))
    }

    fn line_at(&self) -> Duration {
        times(self.interval, self.line)
    }

    fn attempt_at(&self) -> Duration {
        let (episode, attempt) = (self.attempt / TRIES, self.attempt % TRIES);
        EPISODE_START + times(EPISODE_EVERY, episode) + times(TRY_EVERY, attempt)
    }
}

fn times(span: Duration, count: u64) -> Duration {
    let nanoseconds = span.as_nanos().saturating_mul(u128::from(count));
    u64::try_from(nanoseconds).map_or(Duration::MAX, Duration::from_nanos)
}

/// How many bytes of lines go into one block.
const BLOCK_BYTES: usize = 64 * 1024;

/// A source that is ready to run.
struct DemoTask {
    id: String,
    lines: Lines,
    schedule: Schedule,
    when_full: WhenFull,
}

impl DemoTask {
    async fn serve(mut self, context: SourceContext) {
        let clock = context.clock.clone();
        let (source, start) = (context.source, clock.monotonic());
        let name = format!("{} demo {}", self.id, clock.now().nanoseconds());
        let stream = StreamId::named(name.as_bytes());
        let outlet = Outlet::new(context, self.when_full);
        let mut shutdown = outlet.shutdown();
        let mut position = 0;
        while let Some(at) = self.schedule.next_at() {
            let now = clock.monotonic().saturating_sub(start);
            let wait = at.saturating_sub(now);
            if wait.is_zero() {
                if outlet.is_closing() {
                    return;
                }
            } else {
                tokio::select! {
                    biased;
                    () = &mut shutdown => return,
                    () = tokio::time::sleep(wait) => {}
                }
            }
            let received_at = clock.now();
            let bytes = self.fill(clock.monotonic().saturating_sub(start), received_at);
            if bytes.is_empty() {
                continue;
            }
            let end = position + bytes.len() as u64;
            let block = Block {
                source,
                stream,
                position,
                end,
                received_at,
                bytes: bytes.into(),
                layout: Layout::Lines,
                peers: Arc::new([]),
            };
            position = end;
            outlet.give(block).await;
            // Without an interval nothing else would come to run on this thread.
            tokio::task::yield_now().await;
        }
    }

    /// Writes the lines that are due, at most a block of them.
    fn fill(&mut self, now: Duration, time: azud_event::time::EventTime) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..BLOCK_RECORDS_MAX {
            if out.len() >= BLOCK_BYTES {
                break;
            }
            match self.schedule.take(now) {
                Some(Due::Line(number)) => self.lines.line(number, time, &mut out),
                Some(Due::Try { episode, attempt }) => {
                    let succeeds = attempt == TRIES - 1;
                    self.lines.login(episode, attempt, succeeds, time, &mut out);
                }
                None => break,
            }
            out.push(b'\n');
        }
        out
    }
}

impl SourceTask for DemoTask {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        self.serve(context).map(Ok).boxed()
    }
}

#[cfg(test)]
mod tests;
