//! `summarize` gathers records by key and window of event time, and tells what each window comes
//! to.
//!
//! Keyed and stateful. [`rows`] folds records where they are, [`crate::window`] merges and tells
//! where the keys live, [`result`] makes records of it. What it holds is bounded by `max_keys`,
//! `max_bytes` and `max_disk_bytes`, each divided over the key groups.

mod check;
mod fire;
mod having;
mod layout;
mod merge;
mod result;
mod rows;

use crate::aggregate::FIELD_OPTIONS;
use crate::key::KeyField;
use crate::vrl::Program;
use crate::window::{
    Bounds, Fields, MembersMaker, PanesMaker, SessionsMaker, Sharing, State, Windows,
};
use azud_plan::component::{
    Change, Default, Demand, Example, Firing, OptionKind, OptionSpec, Port, Results as ResultsOf,
    Running, TransformFactory, TransformSpec,
};
use fire::Fire;
use having::Having;
pub use result::RESERVED;
use result::{Results, Shape};
use rows::{Maker, RowField, Rows};
use std::sync::Arc;
use vrl::path::OwnedValuePath;

/// The registry's entry.
pub const SUMMARIZE: TransformFactory = TransformFactory {
    name: "summarize",
    summary: "Aggregate records by key and window of event time.",
    description: DESCRIPTION,
    options: OPTIONS,
    check: check::check,
    examples: EXAMPLES,
};

const DESCRIPTION: &str = "\
Gathers records by the fields of `group_by` and by window, and tells what each window comes to as
soon as the watermark has passed its end: nothing older is expected then. (What Vector calls
`window` counts events, and its `aggregate` adds up metrics by the clock on the wall; this goes by
when events happened.)

A *tumbling* window begins where the one before ended. *Hopping* ones begin every `slide` and
overlap. A *session* lasts until nothing came for `gap`; one that is longer than `max` is cut where
the clock reaches a multiple of `max`. Tumbling and hopping windows are aligned to midnight in
`timezone`, whole weeks to Mondays. Windows that begin every hour or more often run evenly over
changes of the clock; longer ones follow the clock on the wall, so that a day may have 23 or 25
hours.

A window is told before its end where somebody waits for what can only become truer: that a count, a
number of different values or a greatest value is at least, or above, a number, and several of these
joined by `&&` and `||`. If `having` is such a condition, a window is told as soon as it holds.
Without `having`, it is told as soon as the condition of an `alert` that reads the results, directly
or through a `filter` of this kind, is one and holds. From then on it is told again whenever something
changes, to all who read it. All else waits for the end, and `fire` says it otherwise. (A greatest
value may be no number at all: write `(.peak >= 5) ?? false`. A sum counts where the condition of its
field keeps negative numbers out, as `int!(.bytes) >= 0` does. Over results of windows nothing does.)

A record that comes after its window was told corrects it, until `allowed_lateness` after the
window's end: the result is told again under the same `id` as the next `revision`, but only if
something changed. `change` says what a revision does: it is `new`, `revised`, or `withdrawn` when
`having` held before and does not any more, or when a late record made one session of two
(`superseded_by` then names the one that goes on). Records that are later still go to the output
`late`. So what a window ends as does not depend on the order in which records arrived.

A result has the fields of the key at their places, those of `fields`, `window.start` and
`window.end`, `event_count`, `first_event_at`, `last_event_at`, and `completeness`: up to when
everything is in it (`complete_to`), the sources that were not waited for (`missing`), how many
records of the key came too late since it is known (`late_events`), how many keys of the same key
group, or oldest parts of one, had to be forgotten so far (`keys_evicted`), and whether some bound
was hit, so that it is not exact (`approximate`). When it happened is the window's end.

Results of another `summarize` are gathered, too, in tumbling and hopping windows: a result lies
where its window ends, its revisions take each other's place, and one that is withdrawn counts no
more. Then `event_count` counts results, `group_by` names fields that they are grouped by, and
windows stay open for as long as the results may be amended.

A key that is spelled otherwise is another key: `1` and `\"1\"` differ, and so do a field that is
absent and one that is null. A record on which a condition of a field fails is set aside as a dead
letter.";

/// How many keys are held, by default: with few aggregates each takes about 1 KiB.
const MAX_KEYS: &str = "100_000";
/// How much is held, by default. A key group has 4 MiB of it, ten times what its share of the
/// default keys needs with few aggregates: keys do not fall into groups evenly, and some are heavy.
const MAX_BYTES: &str = "\"1GiB\"";
/// How much is kept of windows that have ended, by default.
const MAX_DISK_BYTES: &str = "\"16GiB\"";
/// How much a key group may hold however little all may: one key with some aggregates that keep
/// values.
const MAX_BYTES_LEAST: u64 = 16 * 1024 * 1024;
/// How many keys a key group may hold however few all may: keys do not fall into groups evenly.
const KEYS_PER_GROUP_MIN: usize = 16;
/// How many records a result carries of each end: they are up to 4 KiB each.
const EVIDENCE_MAX: i64 = 10;

const EVIDENCE: &[OptionSpec] = &[
    OptionSpec {
        name: "first",
        kind: OptionKind::Integer { min: 0, max: EVIDENCE_MAX },
        default: Default::Value("0"),
        summary: "How many of the first.",
    },
    OptionSpec {
        name: "last",
        kind: OptionKind::Integer { min: 0, max: EVIDENCE_MAX },
        default: Default::Value("0"),
        summary: "How many of the last.",
    },
];

const WINDOW: &[OptionSpec] = &[
    OptionSpec {
        name: "allowed_lateness",
        kind: OptionKind::Duration,
        default: Default::Value("\"1h\""),
        summary: "How long after its end a window is still corrected.",
    },
    OptionSpec {
        name: "gap",
        kind: OptionKind::Duration,
        default: Default::None,
        summary: "Of sessions: how long a pause ends one.",
    },
    OptionSpec {
        name: "max",
        kind: OptionKind::Duration,
        default: Default::Value("\"1d\""),
        summary: "Of sessions: how long one may be.",
    },
    OptionSpec {
        name: "offset",
        kind: OptionKind::Duration,
        default: Default::Value("\"0s\""),
        summary: "How much later than at midnight windows begin: `\"8h\"` for days that begin at \
                  eight. Shorter than what they begin every.",
    },
    OptionSpec {
        name: "size",
        kind: OptionKind::Duration,
        default: Default::None,
        summary: "How long a tumbling or hopping window is.",
    },
    OptionSpec {
        name: "slide",
        kind: OptionKind::Duration,
        default: Default::None,
        summary: "Of hopping windows: one begins every so often. `size` is a multiple of it.",
    },
    OptionSpec {
        name: "timezone",
        kind: OptionKind::TimeZone,
        default: Default::Value("\"UTC\""),
        summary: "Whose midnight tumbling and hopping windows are aligned to.",
    },
    OptionSpec {
        name: "type",
        kind: OptionKind::OneOf(&[
            ("tumbling", "each begins where the one before ended"),
            ("hopping", "one begins every `slide`, and they overlap"),
            ("session", "each lasts until nothing came for `gap`"),
        ]),
        default: Default::Required,
        summary: "Which windows.",
    },
];

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "empty",
        kind: OptionKind::Boolean,
        default: Default::Value("false"),
        summary: "Whether tumbling and hopping windows without a record are told too, of keys that \
                  had one before: up to 1,440 in a row.",
    },
    OptionSpec {
        name: "evidence",
        kind: OptionKind::Table(EVIDENCE),
        default: Default::None,
        summary: "Which records a result carries as they came, as its `evidence`.",
    },
    OptionSpec {
        name: "fields",
        kind: OptionKind::Map(&OptionKind::Table(FIELD_OPTIONS)),
        default: Default::None,
        summary: "The fields of the result by name, each with its aggregate. A name may be a path: \
                  `\"user.count\"`.",
    },
    OptionSpec {
        name: "fire",
        kind: OptionKind::OneOf(&[
            ("early", "at once when something changed, and again when it closes if it did"),
            ("on_close", "when the watermark has passed its end"),
        ]),
        default: Default::None,
        summary: "When a window is told first. Without it, that is decided by who waits for what: \
                  see above.",
    },
    OptionSpec {
        name: "group_by",
        kind: OptionKind::List(&OptionKind::Field),
        default: Default::None,
        summary: "The fields that tell groups apart. Without them there is one.",
    },
    OptionSpec {
        name: "having",
        kind: OptionKind::Condition,
        default: Default::None,
        summary: "What must hold of a result for it to be told. Its fields have the types of their \
                  aggregates.",
    },
    OptionSpec {
        name: "max_bytes",
        kind: OptionKind::Bytes { min: MAX_BYTES_LEAST, max: 1 << 42 },
        default: Default::Value(MAX_BYTES),
        summary: "How much may be held in memory, about: keys, and windows that have not ended; \
                  each of 256 groups of keys has its part. Beyond it the keys with the oldest last \
                  event are forgotten.",
    },
    OptionSpec {
        name: "max_disk_bytes",
        kind: OptionKind::Bytes { min: MAX_BYTES_LEAST, max: 1 << 44 },
        default: Default::Value(MAX_DISK_BYTES),
        summary: "How much may be kept on disk, about, of windows that have ended, so that late \
                  records can correct them; each of 256 groups of keys has its part. Beyond it the \
                  oldest are not corrected any more.",
    },
    OptionSpec {
        name: "max_keys",
        kind: OptionKind::Integer { min: 1, max: 100_000_000 },
        default: Default::Value(MAX_KEYS),
        summary: "How many keys may be held; with few, up to 16 for each of 256 groups of keys. \
                  Beyond it those with the oldest last event are forgotten.",
    },
    OptionSpec {
        name: "window",
        kind: OptionKind::Table(WINDOW),
        default: Default::Required,
        summary: "The stretches of event time by which records are gathered.",
    },
];

const EXAMPLES: &[Example] = &[
    Example {
        title: "Failures by attacker in every five minutes",
        toml: r#"
type = "summarize"
inputs = ["in"]
group_by = ["source.ip"]
window = { type = "tumbling", size = "5m" }
[fields]
failures = { aggregate = "count", condition = '.event.outcome == "failure"' }
successes = { aggregate = "count", condition = '.event.outcome == "success"' }
"#,
        input: include_str!("summarize/logins.jsonl"),
        output: include_str!("summarize/by_attacker.jsonl"),
    },
    Example {
        title: "Only windows with enough of them, and what is in them",
        toml: r#"
type = "summarize"
inputs = ["in"]
group_by = ["source.ip"]
window = { type = "hopping", size = "10m", slide = "5m" }
having = ".failures >= 2"
evidence = { first = 1 }
[fields]
failures = { aggregate = "count", condition = '.event.outcome == "failure"' }
"#,
        input: include_str!("summarize/logins.jsonl"),
        output: include_str!("summarize/having.jsonl"),
    },
    Example {
        title: "Sessions end with a pause",
        toml: r#"
type = "summarize"
inputs = ["in"]
window = { type = "session", gap = "2m" }
"#,
        input: include_str!("summarize/logins.jsonl"),
        output: include_str!("summarize/sessions.jsonl"),
    },
];

/// A checked `summarize`.
#[derive(Clone)]
struct SummarizeSpec {
    group_by: Vec<KeyField>,
    /// By field, what it takes of a record.
    takes: Vec<(Option<Program>, Option<OwnedValuePath>)>,
    having: Option<Having>,
    /// Whether what it gathers is results of windows.
    over_results: bool,
    windows: Arc<Windows>,
    fire: Fire,
    gathers: Arc<Fields>,
    results: ResultsOf,
    /// A hash of what the state hangs on.
    kept_under: u64,
    shape: Arc<Shape>,
    bounds: Bounds,
    /// Whether somebody wants the parts behind the results.
    shares: bool,
}

impl TransformSpec for SummarizeSpec {
    fn outputs(&self, _input: &Port) -> Vec<Port> {
        let late = Port { name: Some("late".to_owned()), optional: true, ..Port::logs() };
        let results = Some(self.results.clone());
        vec![Port { change: Change::Revised, results, ..Port::logs() }, late]
    }

    fn shape(&self) -> u64 {
        self.kept_under
    }

    fn reads(&self) -> Option<Vec<OwnedValuePath>> {
        if self.over_results || self.shape.evidence {
            return None;
        }
        let mut paths: Vec<_> = self.group_by.iter().map(|field| field.path.clone()).collect();
        for (condition, field) in &self.takes {
            if let Some(condition) = condition {
                paths.extend(condition.paths()?);
            }
            paths.extend(field.clone());
        }
        Some(paths)
    }

    fn late_port(&self) -> Option<usize> {
        Some(1)
    }

    fn firing(&self) -> Option<Firing> {
        Some(self.fire.firing(&self.windows))
    }

    fn knowing(&self, wanted: &Demand) -> Option<Arc<dyn TransformSpec>> {
        let windows = Arc::new(self.fire.for_readers(wanted, &self.windows)?);
        Some(Arc::new(SummarizeSpec { windows, ..self.clone() }))
    }

    fn giving_parts(&self) -> Option<Arc<dyn TransformSpec>> {
        self.results.merging.as_ref()?;
        Some(Arc::new(SummarizeSpec { shares: true, ..self.clone() }))
    }

    fn build(&self) -> Running {
        let fields = self.takes.iter().map(|(condition, field)| RowField {
            condition: condition.as_ref().map(Program::runner),
            field: field.clone(),
        });
        let maker = match self.windows.as_ref() {
            Windows::Panes(panes) if self.over_results => {
                Maker::Members(MembersMaker::new(panes.clone()))
            }
            Windows::Panes(panes) => Maker::Panes(PanesMaker::new(panes.clone())),
            Windows::Sessions(sessions) => Maker::Sessions(SessionsMaker::new(sessions.clone())),
        };
        let gathers = Arc::clone(&self.gathers);
        let rows = Rows::new(self.group_by.clone(), fields.collect(), gathers, maker);
        let (windows, gathers) = (Arc::clone(&self.windows), Arc::clone(&self.gathers));
        let (shape, having, bounds) = (Arc::clone(&self.shape), self.having.clone(), self.bounds);
        let sharing = self
            .shares
            .then(|| Sharing { by: self.kept_under, component: self.shape.component.clone() });
        let state = move || {
            let having = having.as_ref().map(Having::judge);
            let results = Results::new(Arc::clone(&shape), having);
            let (windows, gathers) = (Arc::clone(&windows), Arc::clone(&gathers));
            let state = State::new(windows, gathers, bounds, results);
            Box::new(state.sharing(sharing.clone())) as _
        };
        Running::Keyed { rows: Box::new(rows), state: Box::new(state) }
    }
}

#[cfg(test)]
#[path = "summarize/tests.rs"]
mod tests;
