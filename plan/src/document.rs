//! Documents: TOML as a tree in which every key and value knows its place.

use crate::diagnostic::Span;

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

impl Node {
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
    /// Pairs (offset in `text`, offset in the file), ascending: from each on, both run in step until the next.
    pub(crate) steps: Vec<(u32, u32)>,
}

impl Text {
    /// Gives the place in the file of a range of the string: what VRL reports, shown where it was written.
    pub fn place(&self, range: std::ops::Range<usize>) -> Span {
        let start = self.offset(range.start);
        let end = self.offset(range.end).max(start);
        Span { file: self.span.file, start, end }
    }

    fn offset(&self, at: usize) -> u32 {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let step = self.steps.partition_point(|(text, _)| *text <= at).checked_sub(1);
        step.map_or(self.span.start, |step| {
            let (text, file) = self.steps[step];
            file + (at - text)
        })
    }
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
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }
}
