//! Where a program was written: in the document, or in a file of its own.

use azud_plan::diagnostic::{Checker, Diagnostic, Severity, Span, codes};
use azud_plan::document::Text;
use std::path::PathBuf;
use vrl::diagnostic::{Diagnostic as VrlDiagnostic, DiagnosticList, Note};

/// The text of a program, and how its places are told.
pub enum Source<'a> {
    /// Written in the document.
    Written(&'a Text),
    /// Written in a file that the document names.
    File {
        /// The file.
        path: PathBuf,
        /// What is in it.
        text: String,
        /// Where the document names it.
        span: Span,
    },
}

/// The codes of VRL that say: this may fail, and nobody looks.
const UNHANDLED: [usize; 5] = [100, 103, 110, 630, 631];

impl Source<'_> {
    /// Gives the program's text.
    pub fn text(&self) -> &str {
        match self {
            Source::Written(text) => &text.text,
            Source::File { text, .. } => text,
        }
    }

    /// Gives where the whole program stands.
    pub fn span(&self) -> Span {
        match self {
            Source::Written(text) => text.span,
            Source::File { span, .. } => *span,
        }
    }

    /// Reports what VRL found.
    pub fn report(&self, found: &DiagnosticList, checker: &mut Checker) {
        for found in found.iter() {
            checker.report(self.diagnostic(found));
        }
    }

    fn diagnostic(&self, found: &VrlDiagnostic) -> Diagnostic {
        let refused = self.refused_function(found);
        let warning = !found.is_problem();
        let code = match found.code {
            _ if warning => codes::VRL_WARNING,
            code if UNHANDLED.contains(&code) => codes::VRL_FALLIBLE,
            _ => codes::VRL_INVALID,
        };
        let mut diagnostic = Diagnostic {
            code,
            severity: if warning { Severity::Warning } else { Severity::Error },
            title: found.message.clone(),
            labels: Vec::new(),
            help: Vec::new(),
            notes: Vec::new(),
        };
        if let Some((name, reason, place)) = refused {
            diagnostic.title = format!("programs may not call `{name}`");
            diagnostic.labels.push(self.label(place, reason));
            return diagnostic;
        }
        // The most telling place first, as everywhere.
        for primary in [true, false] {
            for label in found.labels.iter().filter(|label| label.primary == primary) {
                let place = label.span.start()..label.span.end();
                diagnostic.labels.push(self.label(place, &label.message));
            }
        }
        if diagnostic.labels.is_empty() {
            diagnostic.labels.push((self.span(), "in this program".to_owned()));
        }
        for note in &found.notes {
            let words = note.to_string();
            match note {
                _ if words.trim().is_empty() => {}
                Note::Hint(hint) => diagnostic.help.push(hint.clone()),
                Note::Basic(_) | Note::Example(_) | Note::CoerceValue => {
                    diagnostic.help.push(words)
                }
                _ => diagnostic.notes.push(words),
            }
        }
        if found.code != 0 {
            diagnostic.notes.push(format!("VRL calls this E{:03}", found.code));
        }
        diagnostic
    }

    /// Finds out whether the author called a function that programs may not call; VRL only says
    /// that it knows none.
    fn refused_function(
        &self,
        found: &VrlDiagnostic,
    ) -> Option<(String, &'static str, std::ops::Range<usize>)> {
        const UNDEFINED_FUNCTION: usize = 105;
        if found.code != UNDEFINED_FUNCTION {
            return None;
        }
        let label = found.labels.iter().find(|label| label.primary)?;
        let place = label.span.start()..label.span.end();
        let name = self.text().get(place.clone())?.trim_end_matches('!');
        let reason = super::functions::refusal(name)?;
        Some((name.to_owned(), reason, place))
    }

    fn label(&self, place: std::ops::Range<usize>, words: &str) -> (Span, String) {
        match self {
            Source::Written(text) => (text.place(place), words.to_owned()),
            Source::File { path, text, span } => {
                let (line, column) = line_and_column(text, place.start);
                (*span, format!("{}:{line}:{column}: {words}", path.display()))
            }
        }
    }
}

/// Gives the line and the column, in characters, of a byte of a text, both counted from 1.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        assert_eq!(line_and_column("abc", 0), (1, 1));
        assert_eq!(line_and_column("a\nñb", 4), (2, 2));
        assert_eq!(line_and_column("a\n", 99), (2, 1));
    }
}
