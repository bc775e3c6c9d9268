//! The reference pages, made from the registry: what a component is and does is written once,
//! beside its code.

use crate::component::{
    Default, Example, OptionKind, OptionSpec, SINK_OPTIONS, SOURCE_OPTIONS, Variant,
};
use crate::diagnostic::{CODES, Explanation};
use crate::registry::Registry;
use crate::resolve::{INSTANCE_OPTIONS, TEST_OPTIONS};
use crate::telemetry::{METRICS, MetricKind};
use std::fmt::Write;

/// What pages need of a component, whatever its kind.
struct Component {
    kind: &'static str,
    name: &'static str,
    summary: &'static str,
    description: &'static str,
    options: &'static [OptionSpec],
    common: &'static [OptionSpec],
    examples: &'static [Example],
}

/// Gives every page, as (file name, Markdown), the index first.
pub fn pages(registry: &Registry) -> Vec<(String, String)> {
    let components = components(registry);
    let mut pages = vec![("README.md".to_owned(), index(&components))];
    for component in &components {
        pages.push((format!("{}s/{}.md", component.kind, component.name), page(component)));
    }
    pages.push(("instance.md".to_owned(), instance()));
    pages.push(("tests.md".to_owned(), tests_page()));
    pages.push(("diagnostics.md".to_owned(), diagnostics()));
    pages.push(("metrics.md".to_owned(), metrics()));
    pages
}

/// Gives the pages of the components with this name, of any kind or of one.
pub fn component_pages(registry: &Registry, kind: Option<&str>, name: &str) -> Vec<String> {
    let components = components(registry);
    let wanted = components.iter().filter(|component| {
        component.name == name && kind.is_none_or(|kind| kind == component.kind)
    });
    wanted.map(page).collect()
}

/// Gives the page of a diagnostic.
pub fn diagnostic_page(found: &Explanation) -> String {
    format!("## {}: {}\n\n{}\n", found.code, found.title, found.explanation.trim_end())
}

fn components(registry: &Registry) -> Vec<Component> {
    let sources = registry.sources.iter().map(|found| Component {
        kind: "source",
        name: found.name,
        summary: found.summary,
        description: found.description,
        options: found.options,
        common: SOURCE_OPTIONS,
        examples: found.examples,
    });
    let transforms = registry.transforms.iter().map(|found| Component {
        kind: "transform",
        name: found.name,
        summary: found.summary,
        description: found.description,
        options: found.options,
        common: &[],
        examples: found.examples,
    });
    let sinks = registry.sinks.iter().map(|found| Component {
        kind: "sink",
        name: found.name,
        summary: found.summary,
        description: found.description,
        options: found.options,
        common: SINK_OPTIONS,
        examples: found.examples,
    });
    sources.chain(transforms).chain(sinks).collect()
}

fn index(components: &[Component]) -> String {
    let mut out = String::from(
        "# Reference\n\nMade from the program's own registry; `azud explain NAME` prints a page of \
         it.\n",
    );
    for kind in ["source", "transform", "sink"] {
        let _ = write!(out, "\n## {}s\n\n| type | |\n|---|---|\n", capital(kind));
        for found in components.iter().filter(|found| found.kind == kind) {
            let _ = writeln!(out, "| [`{0}`]({kind}s/{0}.md) | {1} |", found.name, found.summary);
        }
    }
    out.push_str(
        "\n[Settings of the instance](instance.md) · [Tests in documents](tests.md) · \
         [Diagnostics](diagnostics.md) · [Metrics](metrics.md)\n",
    );
    out
}

fn page(component: &Component) -> String {
    let Component { kind, name, summary, description, .. } = component;
    let mut out = format!("# {} `{name}`\n\n{summary}\n", capital(kind));
    if !description.is_empty() {
        let _ = write!(out, "\n{}\n", description.trim());
    }
    out.push_str("\n## Options\n\n| option | type | default | |\n|---|---|---|---|\n");
    if *kind != "source" {
        out.push_str(
            "| `inputs` | list of text | required | The components whose output it takes. |\n",
        );
    }
    rows(&mut out, "", component.options);
    rows(&mut out, "", component.common);
    for (number, example) in component.examples.iter().enumerate() {
        if number == 0 {
            out.push_str("\n## Examples\n");
        }
        self::example(&mut out, component, example);
    }
    out
}

fn example(out: &mut String, component: &Component, example: &Example) {
    let _ = write!(out, "\n### {}\n\n```toml\n", example.title);
    out.push_str(&document(component, example.toml));
    out.push_str("```\n");
    for (what, text) in [("In", example.input), ("Out", example.output)] {
        if !text.is_empty() {
            let _ = write!(out, "\n{what}:\n\n```text\n{}\n```\n", text.trim_end());
        }
    }
}

/// Writes the options of an example as the table of a component in a document, which somebody may
/// copy.
fn document(component: &Component, toml: &str) -> String {
    let mut out = format!("[{}s.my_id]\ntype = \"{}\"\n", component.kind, component.name);
    let options = || toml.trim().lines().filter(|line| !line.starts_with("type = "));
    if component.kind != "source" && !options().any(|line| line.starts_with("inputs = ")) {
        out.push_str("inputs = [\"…\"]\n");
    }
    for line in options() {
        let header = line.trim_start_matches('[');
        let brackets = line.len() - header.len();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let name = header.trim_end_matches(']');
        let _ = match brackets {
            1 | 2 if header.len() == name.len() + brackets && name.bytes().all(is_name) => {
                writeln!(out, "{}{}s.my_id.{header}", &line[..brackets], component.kind)
            }
            _ => writeln!(out, "{line}"),
        };
    }
    out
}

/// Writes a row for each option, those of nested tables under their dotted names.
fn rows(out: &mut String, prefix: &str, options: &[OptionSpec]) {
    for option in options {
        let name = format!("{prefix}{}", option.name);
        let default = match option.default {
            Default::Required => "required".to_owned(),
            Default::None => String::new(),
            Default::Value(value) => format!("`{value}`"),
        };
        let summary = option.summary.split_whitespace().collect::<Vec<_>>().join(" ");
        let kind = kind_words(&option.kind);
        let _ = writeln!(
            out,
            "| `{name}` | {kind} | {default} | {}{} |",
            cell(&summary),
            words(&option.kind)
        );
        for nested in nested(&option.kind) {
            let list = if matches!(option.kind, OptionKind::List(_)) { "[]" } else { "" };
            rows(out, &format!("{name}{list}."), nested);
        }
        for (below, tag, variants) in tagged(&option.kind) {
            for variant in variants {
                let means = cell(variant.summary);
                let written = format!("{name}{below}.{tag} = \"{}\"", variant.name);
                let _ = writeln!(out, "| `{written}` | | | {means} |");
                rows(out, &format!("{name}{below}."), variant.options);
            }
        }
    }
}

/// Gives the tables with variants that an option may be: what stands between its name and theirs,
/// the tag, and the variants.
fn tagged(kind: &OptionKind) -> Vec<(&'static str, &'static str, &'static [Variant])> {
    match kind {
        OptionKind::Tagged { tag, variants } => vec![("", tag, variants)],
        OptionKind::Map(of) => {
            tagged(of).into_iter().map(|(_, tag, variants)| (".*", tag, variants)).collect()
        }
        OptionKind::Either(one, other) => [tagged(one), tagged(other)].concat(),
        _ => Vec::new(),
    }
}

/// Gives the options of the tables that an option may be.
fn nested(kind: &OptionKind) -> Vec<&'static [OptionSpec]> {
    match kind {
        OptionKind::Table(options) => vec![options],
        OptionKind::List(of) => nested(of),
        OptionKind::Either(one, other) => [nested(one), nested(other)].concat(),
        _ => Vec::new(),
    }
}

fn kind_words(kind: &OptionKind) -> String {
    match kind {
        OptionKind::Text => "text".into(),
        OptionKind::Program => "VRL program".into(),
        OptionKind::Condition => "VRL condition".into(),
        OptionKind::Template => "template".into(),
        OptionKind::Confidential => "text, `SECRET[…]`".into(),
        OptionKind::Boolean => "boolean".into(),
        OptionKind::Integer { min, max } => match (*min, *max) {
            (min, i64::MAX) => format!("integer ≥ {min}"),
            (min, max) => format!("integer, {min} to {max}"),
        },
        OptionKind::Bytes { .. } => "size".into(),
        OptionKind::Duration => "duration".into(),
        OptionKind::Seconds => "seconds".into(),
        OptionKind::SocketAddress => "socket address".into(),
        OptionKind::Path => "path".into(),
        OptionKind::Field => "field".into(),
        OptionKind::TimeZone => "time zone".into(),
        OptionKind::OneOf(_) => "one of".into(),
        OptionKind::List(of) => format!("list of {}", kind_words(of)),
        OptionKind::Map(of) => format!("table of {}", kind_words(of)),
        OptionKind::Table(_) | OptionKind::Tagged { .. } => "table".into(),
        OptionKind::Either(one, other) => format!("{} or {}", kind_words(one), kind_words(other)),
        OptionKind::Any => "any value".into(),
    }
}

/// Gives the words that an option may be, each with what it means.
fn words(kind: &OptionKind) -> String {
    match kind {
        OptionKind::OneOf(words) => {
            let words = words.iter().map(|(word, means)| match *means {
                "" => format!("`{word}`"),
                means => format!("`{word}`: {}", cell(means)),
            });
            format!("<br>{}", words.collect::<Vec<_>>().join("<br>"))
        }
        OptionKind::List(of) | OptionKind::Map(of) => self::words(of),
        OptionKind::Either(one, other) => self::words(one) + &self::words(other),
        _ => String::new(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn instance() -> String {
    let mut out = String::from(
        "# Settings of the instance\n\nThey stand at the top of `azud.toml`, or of any one document; \
         each is written once.\n\n| setting | type | default | |\n|---|---|---|---|\n",
    );
    rows(&mut out, "", INSTANCE_OPTIONS);
    out
}

fn tests_page() -> String {
    let mut out = String::from(
        "# Tests in documents\n\nEach `[[tests]]` of a document, or of the `*.case.toml` beside it, \
         puts events into transforms and looks at what transforms give. `azud test` runs them.\n\n\
         Each input is a stream of its own. A test whose transforms go by event time is run again, ten\n\
         times or as often as `--shuffles` says: the streams interleaved and cut into epochs at random,\n\
         and every state written and read back in between. It must end alike each time; what was taken\n\
         back in between, and how often something was told, does not count.\n\n\
         | option | type | default | |\n|---|---|---|---|\n",
    );
    rows(&mut out, "", TEST_OPTIONS);
    out
}

fn diagnostics() -> String {
    let pages: Vec<String> = CODES.iter().map(diagnostic_page).collect();
    format!(
        "# Diagnostics\n\nWhat `azud validate` and `azud run` may say of documents.\n\n{}",
        pages.join("\n")
    )
}

fn metrics() -> String {
    let mut out = String::from(
        "# Metrics\n\nWhat `/metrics` shows, in Prometheus' text format.\n\n\
         | name | kind | |\n|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let _ = writeln!(out, "| `{}` | {kind} | {} |", metric.name, cell(metric.help));
    }
    out
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_whole_and_every_page_is_linked() {
        let pages = pages(&Registry { sources: &[], transforms: &[], sinks: &[] });
        let index = &pages[0].1;
        for (name, text) in &pages[1..] {
            assert!(index.contains(&format!("({name})")), "{name} is not in the index");
            for row in text.lines().filter(|line| line.starts_with('|')) {
                let columns = row.replace("\\|", "").matches('|').count();
                assert!(columns == 5 || (name == "metrics.md" && columns == 4), "{name}: {row}");
            }
        }
    }

    #[test]
    fn an_example_stands_as_it_may_be_copied() {
        let component = Component {
            kind: "transform",
            name: "summarize",
            summary: "",
            description: "",
            options: &[],
            common: &[],
            examples: &[],
        };
        let own = "type = \"summarize\"\ninputs = [\"in\"]\nsizes = [\n1]\n[fields]\na = 1\n[[fields.b]]\nc = 2";
        assert_eq!(
            document(&component, own),
            "[transforms.my_id]\ntype = \"summarize\"\ninputs = [\"in\"]\nsizes = [\n1]\n\
             [transforms.my_id.fields]\na = 1\n[[transforms.my_id.fields.b]]\nc = 2\n"
        );
        assert!(document(&component, "x = 1").contains("inputs = [\"…\"]\nx = 1\n"));
    }
}
