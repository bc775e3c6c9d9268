//! Fills `${NAME}` in the strings of a document with environment variables.
//!
//! This happens after parsing, in string values only: what a variable holds can become neither a
//! key nor a table, and a quote in it breaks nothing. Only variables that the instance allows are
//! read, so that a document cannot reach what its operator keeps in the environment for others.
//!
//! | written | becomes |
//! |---|---|
//! | `${NAME}` | the variable |
//! | `${NAME:-text}` | the variable, or `text` where it is not set or empty |
//! | `$${` | `${` |
//!
//! A `$` alone stays: VRL's templates and regular expressions have it.

use crate::diagnostic::{Checker, Diagnostic, Span, codes};
use crate::document::{Document, Node, Table, Text, Value};
use std::ops::Range;

/// Where variables come from: gives the value of a name, if it is set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Fills all strings of a document from the variables that are `allowed`.
pub fn fill(
    document: &mut Document,
    allowed: &[String],
    lookup: Lookup<'_>,
    checker: &mut Checker,
) {
    let mut filler = Filler { allowed, lookup, checker };
    filler.table(&mut document.root);
}

struct Filler<'a> {
    allowed: &'a [String],
    lookup: Lookup<'a>,
    checker: &'a mut Checker,
}

impl Filler<'_> {
    fn table(&mut self, table: &mut Table) {
        table.entries.iter_mut().for_each(|entry| self.node(&mut entry.node));
    }

    fn node(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Text(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.node(item)),
            Value::Table(table) => self.table(table),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
        }
    }

    fn text(&mut self, text: &mut Text) {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(found) = text.text[at..].find("${") {
            let start = at + found;
            if text.text[..start].ends_with('$') {
                parts.push((start - 1..start + 2, "${".to_owned()));
                at = start + 2;
                continue;
            }
            let Some(length) = text.text[start..].find('}') else { break };
            let end = start + length + 1;
            if let Some(value) = self.variable(text, start..end) {
                parts.push((start..end, value));
            }
            at = end;
        }
        if !parts.is_empty() {
            text.replace(&parts);
        }
    }

    /// Gives what takes the place of `${…}`.
    fn variable(&mut self, text: &Text, range: Range<usize>) -> Option<String> {
        let inner = &text.text[range.start + 2..range.end - 1];
        let (name, fallback) = match inner.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (inner, None),
        };
        let span = text.place(range);
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(letters) {
            self.report(
                span,
                format!("`{name}` is no name of an environment variable"),
                &["write `$${` for a `${` that is meant as such"],
            );
            return None;
        }
        if !self.allowed.iter().any(|allowed| allowed == name) {
            let allow = format!("allow it with `limits.environment = [\"{name}\"]` in azud.toml");
            self.report(
                span,
                format!("the environment variable `{name}` may not be read"),
                &[&allow, "write `$${` for a `${` that is meant as such"],
            );
            return None;
        }
        let value = (self.lookup)(name).filter(|value| fallback.is_none() || !value.is_empty());
        match value.or_else(|| fallback.map(str::to_owned)) {
            Some(value) => Some(value),
            None => {
                let give = format!("set it, or give a text for that case: `${{{name}:-text}}`");
                self.report(
                    span,
                    format!("the environment variable `{name}` is not set"),
                    &[&give],
                );
                None
            }
        }
    }

    fn report(&mut self, span: Span, title: String, help: &[&str]) {
        let found = Diagnostic::error(codes::ENVIRONMENT, span, title, "");
        self.checker.report(help.iter().fold(found, |found, words| found.help(*words)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills `a = '…'`; gives the text, and the places of faults.
    fn filled(value: &str) -> (Text, Vec<Diagnostic>) {
        let mut checker = Checker::default();
        let source = format!("a = '{value}'");
        let mut document = Document::parse(0, &source, &mut checker).unwrap();
        let allowed = ["SITE", "EMPTY", "UNSET"].map(str::to_owned);
        let lookup = |name: &str| match name {
            "SITE" => Some("a long name".to_owned()),
            "EMPTY" => Some(String::new()),
            "HOME" => Some("/root".to_owned()),
            _ => None,
        };
        fill(&mut document, &allowed, &lookup, &mut checker);
        let text = document.root.node("a").and_then(Node::as_text).cloned().unwrap();
        (text, checker.diagnostics)
    }

    #[test]
    fn allowed_variables_are_filled() {
        for (written, given) in [
            ("x ${SITE} y ${SITE}", "x a long name y a long name"),
            ("${EMPTY}", ""),
            ("${EMPTY:-none}", "none"),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${UNSET:-}", ""),
            ("$${SITE} $ $x ${", "${SITE} $ $x ${"),
        ] {
            let (text, faults) = filled(written);
            assert_eq!((text.text.as_str(), faults.len()), (given, 0), "{written}");
        }
    }

    #[test]
    fn other_variables_are_faults_with_their_place() {
        for written in ["x ${HOME}", "x ${UNSET}", "x ${A B}"] {
            let (text, faults) = filled(written);
            assert_eq!(text.text, written);
            let [fault] = faults.as_slice() else { panic!("{faults:?}") };
            assert_eq!(fault.labels[0].0.range(), 7..5 + written.len(), "{written}");
        }
    }

    #[test]
    fn places_behind_a_filled_variable_are_right() {
        let (text, _) = filled("x ${SITE} y");
        let y = text.text.find('y').unwrap();
        assert_eq!(text.place(y..y + 1).range(), 15..16);
        let site = text.text.find("long").unwrap();
        assert!(text.place(site..site + 4).range().end <= 14);
        assert_eq!(text.place(0..1).range(), 5..6);
    }
}
