//! Diagnostics for people, for programs, and for the annotations of forges.

use crate::diagnostic::{CODES, Diagnostic, Severity, Span};
use crate::document::{SourceFile, Sources};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};
use std::fmt::Write;
use std::ops::Range;

/// Writes diagnostics for people: each with its lines, underlined, and what to do. Ends with a
/// newline unless there is nothing to say.
pub fn human(diagnostics: &[Diagnostic], sources: &Sources, colors: bool) -> String {
    let renderer = if colors { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for found in diagnostics {
        let level = match found.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&found.title).id(found.code.0));
        for snippet in snippets(found, sources) {
            group = group.element(snippet);
        }
        for words in &found.notes {
            group = group.element(Level::NOTE.message(words));
        }
        for words in &found.help {
            group = group.element(Level::HELP.message(words));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

/// Gives one snippet for each file that has a label, the file of the first label first.
fn snippets<'a>(
    found: &'a Diagnostic,
    sources: &'a Sources,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut snippets: Vec<(u32, Snippet<'a, _>)> = Vec::new();
    for (number, (span, words)) in found.labels.iter().enumerate() {
        let Some(file) = sources.file(*span) else { continue };
        let kind = if number == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let mut annotation = kind.span(first_line(*span, &file.text));
        if !words.is_empty() {
            annotation = annotation.label(words);
        }
        match snippets.iter().position(|(file, _)| *file == span.file) {
            Some(at) => {
                let (number, snippet) = snippets.remove(at);
                snippets.insert(at, (number, snippet.annotation(annotation)));
            }
            None => {
                let snippet = Snippet::source(&file.text).path(&file.name).annotation(annotation);
                snippets.push((span.file, snippet));
            }
        }
    }
    snippets.into_iter().map(|(_, snippet)| snippet).collect()
}

/// Gives the bytes of a place up to the end of its first line: a program of fifty lines is not
/// worth fifty lines of brackets.
fn first_line(span: Span, text: &str) -> Range<usize> {
    let start = text.floor_char_boundary(span.start as usize);
    let end = text.floor_char_boundary(span.end as usize).max(start);
    let line = text[start..end].find('\n').map_or(end, |newline| start + newline);
    let line = if text[start..line].ends_with('\r') { line - 1 } else { line };
    start..line
}

/// Says how much was found: `5 faults, 1 warning; nothing was started`.
pub fn closing(diagnostics: &[Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
    let plural = |count: usize, noun: &str| {
        let s = if count == 1 { "" } else { "s" };
        format!("{count} {noun}{s}")
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut parts = vec![plural(errors, "fault")];
    if warnings > 0 {
        parts.push(plural(warnings, "warning"));
    }
    let nothing = if errors > 0 { "; nothing was started" } else { "" };
    parts.join(", ") + nothing
}

/// Writes one JSON object a line: `code`, `severity`, `title`, `labels` (`file`, `line`, `column`,
/// `end_line`, `end_column`, `text`), `help`, `notes`. Lines and columns count from 1, columns in
/// characters.
pub fn json(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut out = String::new();
    for found in diagnostics {
        let labels: Vec<Value> = found
            .labels
            .iter()
            .filter_map(|(span, words)| {
                let Place { file, start, end } = place(*span, sources)?;
                Some(json!({
                    "file": file.name,
                    "line": start.line, "column": start.column,
                    "end_line": end.line, "end_column": end.column,
                    "text": words,
                }))
            })
            .collect();
        let object = json!({
            "code": found.code.0,
            "severity": severity(found),
            "title": found.title,
            "labels": labels,
            "help": found.help,
            "notes": found.notes,
        });
        let _ = writeln!(out, "{object}");
    }
    out
}

/// Writes workflow commands of GitHub, one a line, which become annotations beside the lines.
pub fn github(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for found in diagnostics {
        let first = found.labels.first();
        let at =
            first.and_then(|(span, _)| place(*span, sources)).map(|Place { file, start, end }| {
                let (line, column) = (start.line, start.column);
                let file = property(&file.name);
                format!(
                    "file={file},line={line},col={column},endLine={},endColumn={},",
                    end.line, end.column
                )
            });
        let at = at.unwrap_or_default();
        let _ = writeln!(
            out,
            "::{} {at}title={}::{}",
            severity(found),
            found.code.0,
            escape(&message(found))
        );
    }
    out
}

/// Writes a log of SARIF 2.1.0, the exchange format of static analysers (OASIS).
pub fn sarif(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|found| {
            let mut places = found.labels.iter().filter_map(|(span, _)| location(*span, sources));
            json!({
                "ruleId": found.code.0,
                "level": severity(found),
                "message": { "text": message(found) },
                "locations": places.next().into_iter().collect::<Vec<_>>(),
                "relatedLocations": places.collect::<Vec<_>>(),
            })
        })
        .collect();
    let rules: Vec<Value> = CODES
        .iter()
        .map(|code| {
            json!({
                "id": code.code,
                "shortDescription": { "text": code.title },
                "help": { "text": code.explanation, "markdown": code.explanation },
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "azud", "version": env!("CARGO_PKG_VERSION"), "rules": rules,
            } },
            // Columns are counted in characters, not in UTF-16 units.
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn location(span: Span, sources: &Sources) -> Option<Value> {
    let Place { file, start, end } = place(span, sources)?;
    Some(json!({ "physicalLocation": {
        "artifactLocation": { "uri": file.name.replace('\\', "/") },
        "region": {
            "startLine": start.line, "startColumn": start.column,
            "endLine": end.line, "endColumn": end.column,
        },
    } }))
}

fn severity(found: &Diagnostic) -> &'static str {
    match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Gives title, first label and help as one text.
fn message(found: &Diagnostic) -> String {
    let mut text = found.title.clone();
    if let Some((_, words)) = found.labels.first().filter(|(_, words)| !words.is_empty()) {
        let _ = write!(text, ": {words}");
    }
    found.help.iter().for_each(|words| text.extend(["\nhelp: ", words]));
    text
}

/// A place as people count: lines and characters from 1.
struct Place<'a> {
    file: &'a SourceFile,
    start: Position,
    end: Position,
}

struct Position {
    line: usize,
    column: usize,
}

fn place(span: Span, sources: &Sources) -> Option<Place<'_>> {
    let file = sources.file(span)?;
    let position = |at: u32| {
        let before = &file.text[..file.text.floor_char_boundary(at as usize)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    };
    Some(Place { file, start: position(span.start), end: position(span.end) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::codes;

    fn example() -> (Vec<Diagnostic>, Sources) {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "é = 1\nslidde = '''\nx\n'''\n");
        let span = Span { file, start: 7, end: 24 };
        let error =
            Diagnostic::error(codes::UNKNOWN_OPTION, span, "unknown, 100%", "did you mean?")
                .label(Span { file, start: 0, end: 2 }, "because of this")
                .help("write `slide`");
        let mut warning = Diagnostic::warning(codes::UNREAD_OUTPUT, span, "nobody", "");
        warning.labels.clear();
        (vec![error, warning], sources)
    }

    #[test]
    fn people_see_lines_and_help() {
        let (diagnostics, sources) = example();
        let text = human(&diagnostics, &sources, false);
        for part in ["error[P003]: unknown, 100%", "a.toml:2:1", "did you mean?", "help: write"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.contains("warning[P016]: nobody"));
        assert!(!text.contains('\u{1b}') && human(&diagnostics, &sources, true).contains('\u{1b}'));
        assert_eq!(closing(&diagnostics), "1 fault, 1 warning; nothing was started");
        assert_eq!(closing(&[]), "0 faults");
    }

    #[test]
    fn programs_get_lines_and_columns() {
        let (diagnostics, sources) = example();
        let lines = json(&diagnostics, &sources);
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first["labels"][0]["line"], 2);
        assert_eq!(first["labels"][0]["end_line"], 4);
        assert_eq!(first["labels"][1]["end_column"], 2, "a letter is one column");
        assert_eq!(lines.lines().count(), 2);
    }

    #[test]
    fn forges_get_their_forms() {
        let (diagnostics, sources) = example();
        let commands = github(&diagnostics, &sources);
        assert!(commands.starts_with("::error file=a.toml,line=2,col=1,endLine=4,"), "{commands}");
        assert!(commands.contains("unknown, 100%25"));
        let log: Value = serde_json::from_str(&sarif(&diagnostics, &sources)).unwrap();
        assert_eq!(log["runs"][0]["results"][0]["ruleId"], "P003");
        assert_eq!(log["runs"][0]["results"][1]["locations"], json!([]));
    }

    #[test]
    fn places_beyond_the_text_are_shown_at_its_end() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "é");
        for (start, end) in [(1, 1), (0, 1), (9, 12), (2, 2), (5, 1)] {
            let span = Span { file, start, end };
            let found = [Diagnostic::error(codes::SYNTAX, span, "x", "")];
            assert!(human(&found, &sources, false).contains("a.toml:1:"));
            assert!(json(&found, &sources).contains("\"line\":1"));
        }
    }
}
