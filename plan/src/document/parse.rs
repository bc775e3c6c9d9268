//! From text to [`Document`], with the place of every byte of every string.

use super::{DOCUMENT_BYTES_MAX, Document, Entry, Node, Table, Text, Value, offset};
use crate::diagnostic::{Checker, Diagnostic, Span, codes};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

impl Document {
    /// Reads a document.
    ///
    /// Everything that is not TOML becomes a diagnostic, several at once; then there is no
    /// document, because what is left of a broken one would only lead to faults that are none.
    pub fn parse(file: u32, source: &str, checker: &mut Checker) -> Option<Document> {
        if source.len() > DOCUMENT_BYTES_MAX {
            let title = format!(
                "a document of {} bytes is above the limit of {DOCUMENT_BYTES_MAX} bytes",
                source.len()
            );
            checker.report(Diagnostic::error(
                codes::UNREADABLE,
                Span { file, start: 0, end: 0 },
                title,
                "",
            ));
            return None;
        }
        let (root, errors) = DeTable::parse_recoverable(source);
        for error in &errors {
            let range = error.span().unwrap_or(source.len()..source.len());
            let span = Span { file, start: offset(range.start), end: offset(range.end) };
            let title = format!("this is not TOML: {}", error.message());
            checker.report(Diagnostic::error(codes::SYNTAX, span, title, ""));
        }
        if !errors.is_empty() {
            return None;
        }
        let mut reader = Reader { file, source, checker, failed: false };
        let root = reader.table(root.get_ref(), Span { file, start: 0, end: 0 });
        (!reader.failed).then_some(Document { file, root })
    }
}

impl Node {
    /// Reads a single value that the program itself holds, as the default of an option. `None` when
    /// it is not TOML.
    pub(crate) fn of_literal(literal: &str) -> Option<Node> {
        let parsed = DeValue::parse(literal).ok()?;
        let mut checker = Checker::default();
        let mut reader = Reader { file: 0, source: literal, checker: &mut checker, failed: false };
        let node = reader.node(&parsed, Span { file: 0, start: 0, end: 0 });
        (!reader.failed).then_some(node)
    }
}

struct Reader<'a> {
    file: u32,
    source: &'a str,
    checker: &'a mut Checker,
    failed: bool,
}

impl Reader<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        Span { file: self.file, start: offset(range.start), end: offset(range.end) }
    }

    /// Reads a table; the entries are put back into the order in which they were written.
    fn table(&mut self, table: &DeTable<'_>, span: Span) -> Table {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| {
                let key_span = self.span(key.span());
                let node = self.node(value, key_span);
                Entry { key: key.get_ref().to_string(), key_span, node }
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Table { span, entries }
    }

    /// Reads a value. A table that is only implied by longer keys stands where its key stands.
    fn node(&mut self, value: &Spanned<DeValue<'_>>, key_span: Span) -> Node {
        let range = value.span();
        let span = if range.is_empty() { key_span } else { self.span(range.clone()) };
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(self.text(text, range)),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(parsed.unwrap_or_else(|_| self.refuse(span, "64 bits with a sign")))
            }
            DeValue::Float(number) => {
                let parsed: f64 = number.as_str().parse().unwrap_or(f64::NAN);
                let infinite = parsed.is_infinite() && !number.as_str().contains("inf");
                Value::Float(if infinite { self.refuse(span, "64 bits") } else { parsed })
            }
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(_) => Value::Datetime(self.source[range].to_owned()),
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.node(item, key_span)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, span)),
        };
        Node { span, value }
    }

    fn refuse<T: std::default::Default>(&mut self, span: Span, bound: &str) -> T {
        self.failed = true;
        let title = format!("this number does not fit into {bound}");
        self.checker.report(Diagnostic::error(codes::SYNTAX, span, title, ""));
        T::default()
    }

    fn text(&self, decoded: &str, range: Range<usize>) -> Text {
        let steps = steps(&self.source[range.clone()], range.start);
        Text { text: decoded.to_owned(), span: self.span(range), steps }
    }
}

/// Lists where text and file run in step, for a string with its quotes as it stands at `base` in
/// the file.
///
/// TOML has four forms. In the literal ones ('…') both run in step but for the newline that opens a
/// long string. In the others an escape is longer in the file than in the text, and a backslash at
/// a line's end takes everything up to the next word out of it; there two steps of the same text
/// offset say where the text stops and where it goes on.
fn steps(raw: &str, base: usize) -> Vec<(u32, u32)> {
    let long = raw.starts_with("\"\"\"") || raw.starts_with("'''");
    let quotes = if long { 3 } else { 1 };
    let mut at = quotes.min(raw.len());
    if long && raw[at..].starts_with("\r\n") {
        at += 2;
    } else if long && raw[at..].starts_with('\n') {
        at += 1;
    }
    let end = raw.len().saturating_sub(quotes).max(at);
    let mut steps = vec![(0, offset(base + at))];
    if raw.starts_with('\'') {
        steps.push((offset(end - at), offset(base + end)));
        return steps;
    }
    let mut text = 0;
    while at < end {
        let Some(backslash) = raw[at..end].find('\\') else { break };
        text += backslash;
        at += backslash;
        steps.push((offset(text), offset(base + at)));
        let (taken, given) = escape(&raw[at..end]);
        at += taken;
        text += given;
        steps.push((offset(text), offset(base + at)));
    }
    text += end - at;
    steps.push((offset(text), offset(base + end)));
    steps
}

/// Measures the escape at the start of `raw`: its bytes in the file, and those of what it stands
/// for.
fn escape(raw: &str) -> (usize, usize) {
    let digits = |count: usize| {
        let end = (2 + count).min(raw.len());
        let code = raw.get(2..end).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        (end, code.and_then(char::from_u32).map_or(0, char::len_utf8))
    };
    match raw.as_bytes().get(1) {
        Some(b'x') => digits(2),
        Some(b'u') => digits(4),
        Some(b'U') => digits(8),
        Some(b' ' | b'\t' | b'\r' | b'\n') => {
            let rest = raw[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            (raw.len() - rest.len(), 0)
        }
        Some(_) => (2, 1),
        None => (1, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(source: &str) -> Document {
        let mut checker = Checker::default();
        let document = Document::parse(0, source, &mut checker);
        assert_eq!(checker.diagnostics, []);
        document.unwrap()
    }

    fn text_of(source: &str) -> Text {
        parse(source).root.node("a").and_then(Node::as_text).cloned().unwrap()
    }

    /// Where `word` of the decoded text stands in the file.
    fn written<'a>(source: &'a str, word: &str) -> &'a str {
        let text = text_of(source);
        let start = text.text.find(word).unwrap();
        &source[text.place(start..start + word.len()).range()]
    }

    #[test]
    fn literal_strings_run_in_step() {
        assert_eq!(written("a = '.x == 1'", "== 1"), "== 1");
        assert_eq!(written("a = '''\n.x\n.y\n'''", ".y"), ".y");
        assert_eq!(written("a = '''\r\n.x\r\n.y'''", ".y"), ".y");
        assert_eq!(text_of("a = ''").place(0..0).range(), 5..5);
    }

    #[test]
    fn escapes_are_shown_as_written() {
        assert_eq!(written(r#"a = "x\ty""#, "\t"), r"\t");
        assert_eq!(written(r#"a = "x\u00e9y""#, "y"), "y");
        assert_eq!(written(r#"a = "x\u00e9y""#, "é"), r"\u00e9");
        assert_eq!(written("a = \"\"\"one \\\n   two\"\"\"", "two"), "two");
        assert_eq!(written("a = \"\"\"one \\\n   two\"\"\"", "one "), "one ");
        assert_eq!(written("a = \"\"\"\none\"two\"\"\"\"", "two\""), "two\"");
    }

    #[test]
    fn entries_keep_their_order_and_places() {
        let source = "[z]\nb = 1\na.c = 2\n[[y]]\n[[y]]\nq = 1979-05-27\n";
        let document = parse(source);
        let keys: Vec<&str> =
            document.root.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["z", "y"]);
        let z = document.root.node("z").unwrap();
        assert_eq!(&source[z.span.range()], "[z]");
        let a = z.as_table().unwrap().entry("a").unwrap();
        assert_eq!(&source[a.key_span.range()], "a");
        assert_eq!(&source[a.node.span.range()], "a");
        let y = document.root.node("y").unwrap().as_array().unwrap();
        assert_eq!(y.len(), 2);
        let q = y[1].as_table().unwrap().node("q").unwrap();
        assert!(matches!(&q.value, Value::Datetime(text) if text == "1979-05-27"));
    }

    #[test]
    fn several_faults_are_found_at_once() {
        let mut checker = Checker::default();
        assert!(Document::parse(0, "a = \nb = 1\nb = 2\n", &mut checker).is_none());
        assert!(Document::parse(0, "c = 99999999999999999999\nd = 1e999", &mut checker).is_none());
        assert_eq!(checker.diagnostics.len(), 4, "{:#?}", checker.diagnostics);
        assert!(checker.diagnostics.iter().all(|found| found.code == codes::SYNTAX));
    }

    proptest! {
        /// Characters that need no escape stand in the file where the map says, around any escapes.
        #[test]
        fn plain_characters_are_found_where_they_stand(
            parts in proptest::collection::vec(
                prop_oneof![
                    "[a-zé]{1,4}",
                    Just(r"\n".to_owned()), Just(r"\u00e9".to_owned()), Just(r"\x41".to_owned()),
                    Just("\\\n  ".to_owned()), Just(r"\\".to_owned()),
                    Just(r"\U0001F600".to_owned()),
                ],
                0..12,
            )
        ) {
            let source = format!("a = \"\"\"{}\"\"\"", parts.concat());
            let text = text_of(&source);
            let (last, _) = *text.steps.last().unwrap();
            prop_assert_eq!(last as usize, text.text.len());
            for (at, character) in text.text.char_indices() {
                let place = text.place(at..at + character.len_utf8());
                let shown = &source[place.range()];
                prop_assert!(
                    shown == character.to_string() || shown.starts_with('\\'),
                    "{:?} is shown as {:?}", character, shown
                );
            }
        }

        #[test]
        fn no_input_panics(source in "\\PC{0,80}") {
            Document::parse(0, &source, &mut Checker::default());
        }
    }
}
