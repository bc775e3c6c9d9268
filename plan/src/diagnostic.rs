//! A [`Diagnostic`]: what a person wrote wrong, with the place, the reason and the remedy; all of
//! them at once.

pub mod codes;

pub use codes::{CODES, Explanation};

use std::ops::Range;

/// A place in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Which file, as numbered by the [`Checker`]'s sources.
    pub file: u32,
    /// The first byte.
    pub start: u32,
    /// The byte behind the last.
    pub end: u32,
}

impl Span {
    /// Gives the bytes.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It runs, but probably not as meant.
    Warning,
    /// It does not run.
    Error,
}

/// Something in a document that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its stable code, `P012`; explained by `azud explain`.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, one line.
    pub title: String,
    /// Where, the most telling place first; each with a few words. May be empty for faults of the
    /// environment.
    pub labels: Vec<(Span, String)>,
    /// What to do, each a line.
    pub help: Vec<String>,
    /// Further words: VRL's own explanation, the system's answer.
    pub notes: Vec<String>,
}

/// A diagnostic's code, with what `azud explain` says of it. Defined in one sorted list: [`CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl Diagnostic {
    /// Makes an error at a place.
    pub fn error(
        code: Code,
        span: Span,
        title: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Diagnostic {
            code,
            severity: Severity::Error,
            title: title.into(),
            labels: vec![(span, label.into())],
            help: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Makes a warning at a place.
    pub fn warning(
        code: Code,
        span: Span,
        title: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Diagnostic { severity: Severity::Warning, ..Self::error(code, span, title, label) }
    }

    /// Makes an error that has no place in a document.
    pub fn nowhere(code: Code, title: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: Severity::Error,
            title: title.into(),
            labels: Vec::new(),
            help: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a place, where there is one.
    #[must_use]
    pub fn at(mut self, span: Option<Span>) -> Self {
        self.labels.extend(span.map(|span| (span, String::new())));
        self
    }

    /// Adds a place.
    #[must_use]
    pub fn label(mut self, span: Span, words: impl Into<String>) -> Self {
        self.labels.push((span, words.into()));
        self
    }

    /// Adds a remedy.
    #[must_use]
    pub fn help(mut self, words: impl Into<String>) -> Self {
        self.help.push(words.into());
        self
    }

    /// Adds further words.
    #[must_use]
    pub fn note(mut self, words: impl Into<String>) -> Self {
        self.notes.push(words.into());
        self
    }
}

/// Collects what checks find.
#[derive(Debug, Default)]
pub struct Checker {
    /// What was found so far, in the order of finding.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checker {
    /// Adds a finding.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Whether anything found so far keeps the plan from running.
    pub fn failed(&self) -> bool {
        self.failed_since(0)
    }

    /// Whether anything found behind the first `count` diagnostics keeps the plan from running.
    pub fn failed_since(&self, count: usize) -> bool {
        self.diagnostics.iter().skip(count).any(|found| found.severity == Severity::Error)
    }
}

/// Gives the word of `known` that was probably meant by `word`; the first of several that are
/// equally near.
///
/// Near is at most a third of the letters wrong, swapped, missing or too many.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word that nobody would mistype for a name of ours must not cost the product of both
    // lengths.
    let length = word.chars().count().min(128);
    let word: String = word.chars().take(length).collect::<String>().to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= (length / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["size", "slide", "type"];
        assert_eq!(nearest("slidde", known), Some("slide"));
        assert_eq!(nearest("Type", known), Some("type"));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(nearest("", known), None);
    }
}
