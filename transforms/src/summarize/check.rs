//! Checks the table of `summarize`, and finds all that is wrong with it at once.

use super::fire::Fire;
use super::having::Having;
use super::merge::Merger;
use super::result::{RESERVED, ResultField, Shape};
use super::{KEYS_PER_GROUP_MIN, SummarizeSpec};
use crate::aggregate::Aggregate;
use crate::key::KeyField;
use crate::revised::{self, Revisions};
use crate::vrl::{Compiler, Program, growing};
use crate::window::{
    Bounds, Early, Evidence, Field, Fields, Gap, Grid, PANES_PER_WINDOW_MAX, Panes, Sessions,
    Windows, Zone,
};
use crate::wording;
use azud_event::id::KEY_GROUPS;
use azud_plan::component::{Kind, Merging, Options, Results, TransformSpec, parse_field};
use azud_plan::diagnostic::{Checker, Diagnostic, Span, codes};
use azud_plan::document::Text;
use std::sync::Arc;
use std::time::Duration;
use vrl::path::OwnedValuePath;

/// Checks a table.
pub fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn TransformSpec>> {
    let before = checker.diagnostics.len();
    let takes_logs = refuse_inputs(options, checker);
    let group_by = group_by(options, checker);
    let fields = fields(options, checker);
    let windows = options.table("window").and_then(|window| windows(options, &window, checker));
    let places = [group_by.as_deref().map(named_keys), fields.as_deref().map(named_fields)];
    let apart = are_apart(&places.into_iter().flatten().flatten().collect::<Vec<_>>(), checker);
    let evidence = evidence(options);
    let (group_by, fields) = (group_by.unwrap_or_default(), fields);
    let keys: Vec<KeyField> = group_by.into_iter().map(|(field, _)| field).collect();
    let shape = fields.as_ref().map(|fields| {
        let fields = fields.iter().map(Taken::result).collect();
        Shape::new(options.id, keys.clone(), fields, evidence != Evidence::default())
    });
    let having = match (options.condition("having"), &shape) {
        (Some(text), Some(shape)) => Having::compile(text, shape.kind(), checker).map(Some),
        (Some(_), None) => None,
        (None, _) if options.has("having") => None,
        (None, _) => Some(None),
    };
    let (fields, mut windows, shape, having) = (fields?, windows?, shape?, having?);
    if !takes_logs || !apart || checker.failed_since(before) {
        return None;
    }
    let over_results = Revisions::of(options.inputs).follow();
    let fire = Fire::decide(options, over_results, &fields, &mut windows);
    let aggregates = fields.iter().map(|field| Field { aggregate: field.aggregate.clone() });
    let max_keys = usize::try_from(options.integer("max_keys")?).ok()?;
    let max_bytes = usize::try_from(options.bytes("max_bytes")?).ok()?;
    let max_disk_bytes = options.bytes("max_disk_bytes")?;
    let kept_under = wording::shape(options, &["fields", "group_by", "window"]);
    let gathers = Fields { fields: aggregates.collect(), evidence };
    let shape = Arc::new(shape);
    let mut results = results_of(options, &keys, &shape, &fire)?;
    // A result that others are made of is revised: what was in a pane need not be in it later.
    results.merging = (!over_results)
        .then(|| Merging::new(Merger::new(kept_under, &gathers, Arc::clone(&shape))));
    Some(Box::new(SummarizeSpec {
        gathers: Arc::new(gathers),
        takes: fields.into_iter().map(|field| (field.condition, field.field)).collect(),
        having,
        over_results,
        windows: Arc::new(windows),
        results,
        fire,
        kept_under,
        shape,
        group_by: keys,
        bounds: Bounds {
            keys: max_keys.div_ceil(KEY_GROUPS).max(KEYS_PER_GROUP_MIN),
            bytes: max_bytes / KEY_GROUPS,
            closed_bytes: max_disk_bytes / KEY_GROUPS as u64,
        },
        shares: false,
    }))
}

/// Says what those who read the results must know of them.
fn results_of(
    options: &Options<'_>,
    keys: &[KeyField],
    shape: &Shape,
    fire: &Fire,
) -> Option<Results> {
    let window = options.table("window")?;
    let span = |name: &str| window.has(name).then(|| window.duration(name)).flatten();
    let gap = span("gap").unwrap_or_default();
    Some(Results {
        key: keys.iter().map(|field| field.name.clone()).collect(),
        size: span("size").unwrap_or(gap),
        amended_for: window
            .duration("allowed_lateness")?
            .max(amended_for(options))
            .saturating_add(gap),
        kind: shape.result_kind(),
        grows: fire.paths(),
        merging: None,
    })
}

fn refuse_inputs(options: &Options<'_>, checker: &mut Checker) -> bool {
    let takes_logs = options.inputs.iter().all(|input| input.kind == Kind::Log);
    if !takes_logs {
        let title = "`summarize` takes logs, and is fed with something else";
        checker.report(Diagnostic::error(codes::KIND_MISMATCH, options.place, title, ""));
    }
    takes_logs && takes_results(options, checker)
}

/// Whether it may gather the results that feed it, if any do.
fn takes_results(options: &Options<'_>, checker: &mut Checker) -> bool {
    if !Revisions::of(options.inputs).follow() {
        return true;
    }
    let results: Option<Vec<&Results>> =
        options.inputs.iter().map(|input| input.results.as_ref()).collect();
    let Some(results) = results else {
        let title = "`summarize` is fed with results of windows and with single records";
        let found = Diagnostic::error(codes::CONTRADICTION, options.place, title, "");
        checker.report(found.help("write a `summarize` for each"));
        return false;
    };
    let window = options.table("window");
    if window.and_then(|window| window.one_of("type")) == Some("session") {
        let title = "sessions of results are not in this version";
        let span = options.span("window");
        let found = Diagnostic::error(codes::NOT_IN_THIS_VERSION, span, title, "");
        checker.report(found.help("gather results in tumbling or hopping windows"));
        return false;
    }
    let mut whole = true;
    for field in options.list_of_text("group_by") {
        let name = field.text.strip_prefix('.').unwrap_or(&field.text);
        if results.iter().all(|results| results.key.iter().any(|key| key == name)) {
            continue;
        }
        whole = false;
        let title =
            format!("results are not grouped by `{name}`, so it may change with a revision");
        let found = Diagnostic::error(codes::CONTRADICTION, field.span, title, "");
        let keys: Vec<String> =
            results.iter().flat_map(|it| &it.key).map(|key| format!("`{key}`")).collect();
        let help = match keys.as_slice() {
            [] => "group the results by it as well".to_owned(),
            keys => format!("they are grouped by {}", keys.join(", ")),
        };
        checker.report(found.help(help));
    }
    whole
}

/// Gives how long results that feed it may still be amended: so long its own windows are.
fn amended_for(options: &Options<'_>) -> Duration {
    let results = options.inputs.iter().filter_map(|input| input.results.as_ref());
    results.map(|results| results.amended_for).max().unwrap_or_default()
}

/// A field of the result, with what it takes of records.
pub struct Taken {
    pub path: OwnedValuePath,
    name: String,
    span: Span,
    pub aggregate: Aggregate,
    condition: Option<Program>,
    field: Option<OwnedValuePath>,
    /// Whether its condition keeps negative numbers out.
    refuses_negative: bool,
}

impl Taken {
    /// Whether it grows while a window is open.
    pub fn grows(&self) -> bool {
        self.aggregate.grows(self.refuses_negative)
    }

    fn result(&self) -> ResultField {
        ResultField { path: self.path.clone(), aggregate: self.aggregate.clone() }
    }
}

/// A place in the result, with its name and where it was written.
type Named<'a> = (&'a OwnedValuePath, &'a str, Span);

fn named_keys(keys: &[(KeyField, Span)]) -> Vec<Named<'_>> {
    keys.iter().map(|(field, span)| (&field.path, field.name.as_str(), *span)).collect()
}

fn named_fields(fields: &[Taken]) -> Vec<Named<'_>> {
    fields.iter().map(|field| (&field.path, field.name.as_str(), field.span)).collect()
}

fn group_by(options: &Options<'_>, checker: &mut Checker) -> Option<Vec<(KeyField, Span)>> {
    let mut keys = Vec::new();
    let mut sound = true;
    for text in options.list_of_text("group_by") {
        let name = text.text.trim_start_matches('.').to_owned();
        match parse_field(&text.text) {
            Some(path) if path.is_root() => {
                let title = "`group_by` cannot be the whole record";
                let label = "name fields: `source.ip`";
                let found = Diagnostic::error(codes::MALFORMED_VALUE, text.span, title, label);
                checker.report(found);
                sound = false;
            }
            Some(path) => keys.push((KeyField { name, path }, text.span)),
            // Reported when the options were checked.
            None => sound = false,
        }
    }
    sound.then_some(keys)
}

fn fields(options: &Options<'_>, checker: &mut Checker) -> Option<Vec<Taken>> {
    let event = revised::kind_of(options.inputs);
    let compiler = Compiler { event, ..Compiler::new(options.id) };
    let mut fields = Some(Vec::new());
    for (entry, table) in options.map_of_tables("fields") {
        let name = &entry.key;
        let path = parse_field(name).filter(|path| !path.is_root());
        if path.is_none() {
            let title = format!("{name:?} is not the name of a field");
            let label = "like `failures` or `\"user.count\"`";
            checker.report(Diagnostic::error(codes::BAD_ID, entry.key_span, title, label));
        }
        let aggregate = Aggregate::check(&table, checker);
        let written = table.condition("condition");
        let field = table.field("field");
        let refuses = |text: &Text| {
            field.as_ref().is_some_and(|field| growing::refuses_negative(&text.text, field))
        };
        let refuses_negative = written.is_some_and(refuses);
        let condition = match written {
            Some(text) => compiler.condition(text, &format!("fields {name}"), checker).map(Some),
            None if table.has("condition") => None,
            None => Some(None),
        };
        match (path, aggregate, condition, &mut fields) {
            (Some(path), Some(aggregate), Some(condition), Some(list)) => list.push(Taken {
                path,
                name: name.clone(),
                span: entry.key_span,
                aggregate,
                condition,
                field,
                refuses_negative,
            }),
            _ => fields = None,
        }
    }
    fields
}

/// Whether no two parts of the result stand in the same place, or in one that every result has.
fn are_apart(places: &[Named<'_>], checker: &mut Checker) -> bool {
    let mut apart = true;
    for (number, (path, name, span)) in places.iter().enumerate() {
        let segments = &path.segments;
        let reserved = RESERVED
            .iter()
            .find(|reserved| segments.first().is_some_and(|first| first.to_string() == **reserved));
        if let Some(reserved) = reserved {
            let title = format!("every result has a field `{reserved}` of its own");
            let found = Diagnostic::error(codes::DUPLICATE, *span, title, "this would replace it");
            checker.report(found.help(format!("`{}`", RESERVED.join("`, `"))));
            apart = false;
        }
        for (other, other_name, other_span) in &places[..number] {
            let common = segments.len().min(other.segments.len());
            if segments[..common] == other.segments[..common] {
                let title = format!("`{name}` and `{other_name}` stand in one place of the result");
                let found = Diagnostic::error(codes::DUPLICATE, *span, title, "this one…");
                checker.report(found.label(*other_span, "…would replace this"));
                apart = false;
            }
        }
    }
    apart
}

fn evidence(options: &Options<'_>) -> Evidence {
    let Some(table) = options.table("evidence") else { return Evidence::default() };
    let count = |name| table.integer(name).and_then(|count| usize::try_from(count).ok());
    Evidence { first: count("first").unwrap_or(0), last: count("last").unwrap_or(0) }
}

fn windows(options: &Options<'_>, window: &Options<'_>, checker: &mut Checker) -> Option<Windows> {
    let lateness = window.duration("allowed_lateness");
    let lateness = lateness.map(|lateness| lateness.max(amended_for(options)));
    // Which are told before they close is decided once the fields are known.
    let early = Early::Never;
    let empty = options.boolean("empty")?;
    let kind = window.one_of("type")?;
    let session = kind == "session";
    refuse_others(window, kind, checker);
    if session && empty {
        let title = "there are no empty sessions";
        let found = Diagnostic::error(codes::CONTRADICTION, options.span("empty"), title, "");
        checker.report(found.label(window.span("type"), "a session begins with a record"));
    }
    if session {
        let gap = gap(window, checker)?;
        return Some(Windows::Sessions(Sessions { gap, lateness: lateness?, early }));
    }
    let size = needed(window, "size", kind, checker);
    let slide = match kind {
        "hopping" => needed(window, "slide", kind, checker),
        _ => size,
    };
    let (size, slide) = (size?, slide?);
    let panes = panes_of(window, size, slide, checker)?;
    let offset = window.duration("offset")?;
    if offset >= slide {
        let title = "windows begin so often that such an offset changes nothing";
        let label = format!("it is shorter than {}", show(slide));
        let found = Diagnostic::error(codes::OUT_OF_BOUNDS, window.span("offset"), title, label);
        checker.report(found);
        return None;
    }
    let zone = Zone::parse(&window.string("timezone")?)?;
    let grid = Grid::new(zone, slide, panes, offset);
    Some(Windows::Panes(Panes { grid, lateness: lateness?, early, empty }))
}

/// Reads a span of time that this kind of window needs, and that is not zero.
fn needed(window: &Options<'_>, name: &str, kind: &str, checker: &mut Checker) -> Option<Duration> {
    if !window.has(name) {
        let title = format!("a {kind} window needs the option `{name}`");
        let found =
            Diagnostic::error(codes::MISSING_OPTION, window.place, title, "not written here");
        checker.report(found.help(format!("for example `{name} = \"5m\"`")));
        return None;
    }
    let span = window.duration(name)?;
    if span.is_zero() {
        let title = format!("`{name}` cannot be no time at all");
        checker.report(Diagnostic::error(codes::OUT_OF_BOUNDS, window.span(name), title, ""));
        return None;
    }
    Some(span)
}

/// Reports options that windows of this kind do not have.
fn refuse_others(window: &Options<'_>, kind: &str, checker: &mut Checker) {
    let (others, help): (&[&str], _) = match kind {
        "tumbling" => (&["gap", "max", "slide"], "windows that overlap are `type = \"hopping\"`"),
        "hopping" => (&["gap", "max"], "windows that end with a pause are `type = \"session\"`"),
        _ => (&["offset", "size", "slide", "timezone"], "a session ends with a pause of `gap`"),
    };
    for name in others.iter().filter(|name| window.has(name)) {
        let title = format!("a {kind} window has no `{name}`");
        let found = Diagnostic::error(codes::CONTRADICTION, window.span(name), title, "");
        checker.report(found.label(window.span("type"), "with this type").help(help));
    }
}

/// Gives how many slides a window has.
fn panes_of(
    window: &Options<'_>,
    size: Duration,
    slide: Duration,
    checker: &mut Checker,
) -> Option<u64> {
    let (size_span, slide_span) = (window.span("size"), window.span("slide"));
    let (size_shown, slide_shown) = (show(size), show(slide));
    if slide > size {
        let title = "this window is shorter than its slide";
        let label = format!("a hopping window of {size_shown}…");
        let skipped = show(slide.saturating_sub(size));
        let found = Diagnostic::error(codes::CONTRADICTION, size_span, title, label)
            .label(slide_span, format!("…would skip {skipped} of events each time"));
        checker.report(
            found.help(format!("make `size` at least \"{slide_shown}\", or use a tumbling window")),
        );
        return None;
    }
    let panes = size.as_nanos() / slide.as_nanos();
    if !size.as_nanos().is_multiple_of(slide.as_nanos()) {
        let title = "this window is not a whole number of slides";
        let label = format!("a hopping window of {size_shown}…");
        let less = u32::try_from(panes).ok().and_then(|panes| slide.checked_mul(panes));
        let more = less.and_then(|less| less.checked_add(slide));
        let found = Diagnostic::error(codes::CONTRADICTION, size_span, title, label)
            .label(slide_span, "…does not end where another begins");
        checker.report(match less.zip(more) {
            Some((less, more)) => {
                found.help(format!("make `size` \"{}\" or \"{}\"", show(less), show(more)))
            }
            None => found,
        });
        return None;
    }
    let panes = u64::try_from(panes).unwrap_or(u64::MAX);
    if panes > PANES_PER_WINDOW_MAX {
        let title = format!(
            "each record would be in {panes} windows, above the limit of {PANES_PER_WINDOW_MAX}"
        );
        let found = Diagnostic::error(codes::OUT_OF_BOUNDS, slide_span, title, "");
        let least = size.as_nanos().div_ceil(u128::from(PANES_PER_WINDOW_MAX));
        let least = Duration::from_nanos(u64::try_from(least).unwrap_or(u64::MAX));
        let seconds = Duration::from_secs(least.as_secs() + 1);
        checker.report(found.help(format!("make `slide` at least \"{}\"", show(seconds))));
        return None;
    }
    Some(panes)
}

fn gap(window: &Options<'_>, checker: &mut Checker) -> Option<Gap> {
    let gap = needed(window, "gap", "session", checker)?;
    let max = window.duration("max")?;
    if max < gap {
        let title = "these sessions may be no longer than the pause that ends them";
        let label = format!("a session of at most {}…", show(max));
        let span = if window.has("max") { window.span("max") } else { window.span("gap") };
        let found = Diagnostic::error(codes::CONTRADICTION, span, title, label)
            .label(window.span("gap"), format!("…never outlasts a pause of {}", show(gap)));
        checker.report(found.help(format!("make `max` at least \"{}\"", show(gap))));
        return None;
    }
    Some(Gap { gap, max })
}

/// Writes a span of time as a document would.
fn show(span: Duration) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let milliseconds = span.as_millis();
    let whole = units.iter().find(|(length, _)| milliseconds.is_multiple_of(*length));
    whole.map_or(String::new(), |(length, unit)| format!("{}{unit}", milliseconds / length))
}
