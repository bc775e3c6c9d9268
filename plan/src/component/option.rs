//! What an option is, declared once: the check, "did you mean", the reference page and the schema come from it.

use crate::diagnostic::Span;
use crate::document::{Node, Table, Text};

/// An option of a component's table.
#[derive(Debug)]
pub struct OptionSpec {
    /// Its key.
    pub name: &'static str,
    /// What it may be.
    pub kind: OptionKind,
    /// What holds when it is not written.
    pub default: Default,
    /// One or two sentences of Markdown for the reference.
    pub summary: &'static str,
}

/// What holds when an option is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It must be written.
    Required,
    /// Nothing; the summary says what that means.
    None,
    /// This value, as it would be written in TOML (`"10m"`, `102_400`, `true`).
    Value(&'static str),
}

/// What an option may be.
#[derive(Debug)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A VRL program.
    Program,
    /// A VRL condition: a program whose last expression is a boolean, or Vector's table form `{ type = "vrl", source }`.
    Condition,
    /// Text with `{{ field }}` and strftime specifiers.
    Template,
    /// `true` or `false`.
    Boolean,
    /// A whole number between the bounds, both included.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A size: bytes as a whole number, or `"16KiB"`, `"10MiB"`, `"1GiB"`, `"10MB"`.
    Bytes {
        /// The least, in bytes.
        min: u64,
        /// The greatest, in bytes.
        max: u64,
    },
    /// A span of time: `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"7d"`.
    Duration,
    /// A span of time in seconds, a whole number or a fraction (Vector's `_secs`).
    Seconds,
    /// An address to listen on or send to: `127.0.0.1:5514`, `[::1]:514`.
    SocketAddress,
    /// A path of a file or folder.
    Path,
    /// A field of a record: `user.name`, `.user.name`.
    Field,
    /// An IANA time zone (`Europe/Madrid`), `UTC`, or an offset (`+05:30`).
    TimeZone,
    /// One of these words, each with what it means.
    OneOf(&'static [(&'static str, &'static str)]),
    /// A list.
    List(&'static OptionKind),
    /// A table from any name to a value; names are at most 256 bytes.
    Map(&'static OptionKind),
    /// A table with these options.
    Table(&'static [OptionSpec]),
    /// Either of two forms.
    Either(&'static OptionKind, &'static OptionKind),
    /// Any value: a part of a record.
    Any,
}

/// The written options of one table, already held against their specification.
///
/// An accessor gives what was written, else the default of the specification; `None` when there is neither, or when what
/// was written was faulty (which is then already a diagnostic). So a check reads on and finds further faults.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The id of the component.
    pub id: &'a str,
    /// The table as written.
    pub table: &'a Table,
    /// Its specification.
    pub specs: &'static [OptionSpec],
    /// The kinds and names of what feeds this component (empty for a source).
    pub inputs: &'a [crate::component::Port],
    /// The folder of the document, against which relative paths of programs are read.
    pub folder: &'a std::path::Path,
}

impl<'a> Options<'a> {
    /// Gives where the option was written, else where the table was.
    pub fn span(&self, name: &str) -> Span {
        self.node(name).map_or(self.table.span, |node| node.span)
    }

    /// Gives the node of an option as written.
    pub fn node(&self, name: &str) -> Option<&'a Node> {
        self.table.node(name)
    }

    /// Whether the option was written.
    pub fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    /// Gives text with its place, as written.
    pub fn text(&self, name: &str) -> Option<&'a Text> {
        self.node(name).and_then(Node::as_text)
    }
}
