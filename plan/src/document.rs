//! Documents: TOML as a tree in which every key and value knows its place.

mod parse;
mod write;

pub use write::write;

use crate::diagnostic::Span;

/// The most bytes that one document may have. Far above what people write; places are 32 bits wide.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The texts of documents, by the number that [`Span::file`] says.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The files, in the order of their numbers.
    pub files: Vec<SourceFile>,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path, as messages show it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Sources {
    /// Adds a file; gives its number.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> u32 {
        self.files.push(SourceFile { name: name.into(), text: text.into() });
        u32::try_from(self.files.len() - 1).expect("nobody has 2³² documents")
    }

    /// Gives the file of a place.
    pub fn file(&self, span: Span) -> Option<&SourceFile> {
        self.files.get(span.file as usize)
    }
}

/// A document that is TOML; nothing more is known of it yet.
#[derive(Clone, Debug)]
pub struct Document {
    /// The number of its file.
    pub file: u32,
    /// What it holds.
    pub root: Table,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

impl Node {
    /// Names the type in words, for messages: `a list`.
    pub fn type_name(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Gives the same value as records hold it; a date becomes a text.
    pub fn to_record_value(&self) -> vrl::value::Value {
        use vrl::value::Value as Record;
        match &self.value {
            Value::Text(text) => Record::from(text.text.as_str()),
            Value::Integer(number) => Record::Integer(*number),
            Value::Float(number) => Record::from_f64_or_zero(*number),
            Value::Boolean(truth) => Record::Boolean(*truth),
            Value::Datetime(text) => Record::from(text.as_str()),
            Value::Array(items) => Record::Array(items.iter().map(Node::to_record_value).collect()),
            Value::Table(table) => Record::Object(
                table
                    .entries
                    .iter()
                    .map(|entry| (entry.key.as_str().into(), entry.node.to_record_value()))
                    .collect(),
            ),
        }
    }

    /// Gives the text, when it is one.
    pub fn as_text(&self) -> Option<&Text> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Gives the table, when it is one.
    pub fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Gives the items, when it is an array.
    pub fn as_array(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }
}

/// A value of TOML.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    Text(Text),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A date or time, as written.
    Datetime(String),
    /// An array.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

/// A string of a document, which can tell where each of its bytes was written.
#[derive(Clone, Debug)]
pub struct Text {
    /// The string after TOML's escapes.
    pub text: String,
    /// Where it stands, quotes included.
    pub span: Span,
    /// Pairs (offset in `text`, offset in the file), ascending: from each on, both run in step
    /// until the next.
    pub(crate) steps: Vec<(u32, u32)>,
}

impl Text {
    /// Makes a text that nobody wrote, a default: all of it is at this place.
    pub fn unwritten(text: &str, span: Span) -> Self {
        Text { text: text.to_owned(), span, steps: Vec::new() }
    }

    /// Gives the place in the file of a range of the string: what VRL reports, shown where it was
    /// written.
    pub fn place(&self, range: std::ops::Range<usize>) -> Span {
        let start = self.start(offset(range.start));
        let end = self.end(offset(range.end)).max(start);
        Span { file: self.span.file, start, end }
    }

    /// Gives where the byte at `at` was written; of several places the last, so that a start is
    /// behind what TOML leaves out.
    fn start(&self, at: u32) -> u32 {
        match self.steps.partition_point(|(text, _)| *text <= at).checked_sub(1) {
            Some(step) => self.within(step, at),
            None => self.span.start,
        }
    }

    /// Gives where the bytes before `at` end; of several places the first.
    fn end(&self, at: u32) -> u32 {
        let step = self.steps.partition_point(|(text, _)| *text < at);
        match (self.steps.get(step), step.checked_sub(1)) {
            (Some((text, file)), _) if *text == at => *file,
            (_, Some(before)) => self.within(before, at),
            (_, None) => self.span.start,
        }
    }

    /// Goes on from a step, at most to the next: a filled-in variable is longer than what was
    /// written for it.
    fn within(&self, step: usize, at: u32) -> u32 {
        let (text, file) = self.steps[step];
        let limit = self.steps.get(step + 1).map_or(self.span.end, |(_, file)| *file);
        file.saturating_add(at - text).min(limit)
    }

    /// Replaces parts of the text; `parts` are ranges of it, ascending and apart, each with what
    /// takes its place.
    pub(crate) fn replace(&mut self, parts: &[(std::ops::Range<usize>, String)]) {
        let mut text = String::with_capacity(self.text.len());
        let mut steps = Vec::new();
        let mut done = 0;
        for (range, value) in parts {
            self.keep(done..range.start, &mut text, &mut steps);
            steps.push((offset(text.len()), self.start(offset(range.start))));
            text.push_str(value);
            done = range.end;
        }
        self.keep(done..self.text.len(), &mut text, &mut steps);
        self.text = text;
        self.steps = steps;
    }

    fn keep(&self, range: std::ops::Range<usize>, out: &mut String, steps: &mut Vec<(u32, u32)>) {
        let base = offset(out.len());
        let (start, end) = (offset(range.start), offset(range.end));
        steps.push((base, self.start(start)));
        let within = self.steps.iter().filter(|(text, _)| start < *text && *text < end);
        steps.extend(within.map(|(text, file)| (base + (text - start), *file)));
        out.push_str(&self.text[range]);
        steps.push((offset(out.len()), self.end(end)));
    }
}

/// Narrows an offset. Documents and what fills them are bounded far below 4 GiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A table, in the order in which it was written.
#[derive(Clone, Debug)]
pub struct Table {
    /// Where its header or braces stand.
    pub span: Span,
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// An entry of a table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub node: Node,
}

impl Table {
    /// Gives an entry's value.
    pub fn node(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// Gives an entry.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}
