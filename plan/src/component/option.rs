//! What an option is, declared once: the check, "did you mean", the reference page and the schema
//! come from it.

pub(crate) mod check;
mod value;

pub use check::check_options;
pub use value::{parse_duration, parse_field};

use super::{Confidential, Port};
use crate::diagnostic::Span;
use crate::document::{Entry, Node, Table, Text, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vrl::path::OwnedValuePath;

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
    /// A VRL condition: a program whose last expression is a boolean, or Vector's table form `{
    /// type = "vrl", source }`.
    Condition,
    /// Text with `{{ field }}` and strftime specifiers.
    Template,
    /// Text that is never shown, and may name secrets: `Token SECRET[vault.api#token]`.
    Confidential,
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
    /// A table that has one of several lists of options: its `tag` says which.
    Tagged {
        /// The key, required: `type`, `strategy`.
        tag: &'static str,
        /// The lists, sorted by name.
        variants: &'static [Variant],
    },
    /// Either of two forms.
    Either(&'static OptionKind, &'static OptionKind),
    /// Any value: a part of a record.
    Any,
}

/// One of the lists of options that a table may have.
#[derive(Debug)]
pub struct Variant {
    /// What is written under the tag.
    pub name: &'static str,
    /// What it means, a few words.
    pub summary: &'static str,
    /// The options beside the tag.
    pub options: &'static [OptionSpec],
}

/// The options that every source has beside its own. What concerns time is read by the plan
/// ([`crate::plan::Timing`]), the rest by the source.
pub const SOURCE_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "event_time",
        kind: OptionKind::Field,
        default: Default::None,
        summary: "The field that says when an event happened. Without it that is the time its \
                  codec knows, else when it was received. It is read before any transform, and never altered.",
    },
    OptionSpec {
        name: "expect",
        kind: OptionKind::List(&OptionKind::Text),
        default: Default::None,
        summary: "The senders that must speak, each by the address that it sends from or by the \
                  name that its records carry in `hostname`, else `host`. One that is silent \
                  for `max_hold` is named as missing in every result until it speaks again.",
    },
    OptionSpec {
        name: "lateness",
        kind: OptionKind::Duration,
        default: Default::Value("\"10s\""),
        summary: "How much older than the newest of its stream (connection, sender, file) an event may \
                  be and still be in time: windows wait so much longer.",
    },
    OptionSpec {
        name: "max_ahead",
        kind: OptionKind::Duration,
        default: Default::Value("\"24h\""),
        summary: "How far ahead of its receipt an event may say it happened. What is beyond goes to \
                  the output `future`, and is set aside if nobody reads that.",
    },
    OptionSpec {
        name: "max_hold",
        kind: OptionKind::Duration,
        default: Default::None,
        summary: "How long windows wait for a stream that is silent, and for one that is behind the \
                  others, how far. Without it 15 s; for files and standard input 7 days, for \
                  `http_client` 2 min behind when it should have polled.",
    },
    OptionSpec {
        name: "when_full",
        kind: OptionKind::OneOf(&[
            ("block", "the sender waits: nothing more is read until there is room again"),
            ("drop_newest", "what comes is counted and let go until there is room again"),
        ]),
        default: Default::Value("\"block\""),
        summary: "What happens when the source has used up its budget, `intake.max_bytes`. \
                  Senders of datagrams cannot wait: under `block` the kernel's buffer fills, and \
                  it drops and counts.",
    },
];

/// The options that every sink has beside its own; read by the plan ([`crate::plan::Stall`]).
pub const SINK_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "on_stall",
        kind: OptionKind::OneOf(&[
            ("spill", "what it cannot take is kept on disk, and delivered in order when it can"),
            ("block", "its pipeline waits for it, and with it the other sinks of the pipeline"),
            ("drop", "what it cannot take is let go, and counted"),
        ]),
        default: Default::None,
        summary: "What happens when the sink does not deliver for `stalled_after`, or holds up \
                  the other sinks of its pipeline. Without it `spill`; and `block` where \
                  `intake.durability` is `memory`, which has no `spill`.",
    },
    OptionSpec {
        name: "spill",
        kind: OptionKind::Table(&[OptionSpec {
            name: "max_bytes",
            kind: OptionKind::Bytes { min: 1 << 20, max: 1 << 50 },
            default: Default::Value("\"1GiB\""),
            summary: "How much of what the sink cannot take is kept, below `spill` in `data_dir`. \
                      Then its pipeline waits.",
        }]),
        default: Default::Value("{}"),
        summary: "What is kept under `on_stall = \"spill\"`.",
    },
    OptionSpec {
        name: "stalled_after",
        kind: OptionKind::Duration,
        default: Default::Value("\"5s\""),
        summary: "How long a record may wait to be delivered before the sink counts as stalled.",
    },
];

/// The written options of one table, already held against their specification.
///
/// An accessor gives what was written, else the default of the specification; `None` when there is
/// neither, or when what was written was faulty (which is then already a diagnostic). So a check
/// reads on and finds further faults.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The id of the component.
    pub id: &'a str,
    /// The table as written.
    pub table: &'a Table,
    /// Its specification.
    pub specs: &'static [OptionSpec],
    /// Options that its kind of component has beside these.
    pub common: &'static [OptionSpec],
    /// The kinds and names of what feeds this component (empty for a source).
    pub inputs: &'a [Port],
    /// The folder of the document, against which relative paths of programs are read.
    pub folder: &'a Path,
    /// Where to point when an option was not written.
    pub place: Span,
}

/// Stands for a table that was not written but whose options have defaults.
static EMPTY: Table = Table { span: Span { file: 0, start: 0, end: 0 }, entries: Vec::new() };

impl<'a> Options<'a> {
    /// Makes the options of a component's table, without inputs, in the present folder.
    pub fn new(id: &'a str, table: &'a Table, specs: &'static [OptionSpec]) -> Self {
        let (folder, place) = (Path::new(""), table.span);
        Options { id, table, specs, common: &[], inputs: &[], folder, place }
    }

    /// Gives where the option was written, else where the table was.
    pub fn span(&self, name: &str) -> Span {
        self.node(name).map_or(self.place, |node| node.span)
    }

    /// Gives the node of an option as written.
    pub fn node(&self, name: &str) -> Option<&'a Node> {
        debug_assert!(self.spec(name).is_some(), "`{name}` is not an option of `{}`", self.id);
        self.table.node(name)
    }

    /// Whether the option was written.
    pub fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    /// Gives text with its place, as written; of an option's default there is none.
    pub fn text(&self, name: &str) -> Option<&'a Text> {
        self.node(name).and_then(Node::as_text)
    }

    /// Gives the program of a condition with its place, whether it was written as text or as
    /// Vector's table.
    pub fn condition(&self, name: &str) -> Option<&'a Text> {
        self.node(name).and_then(condition_of)
    }

    /// Gives text.
    pub fn string(&self, name: &str) -> Option<String> {
        self.read(name, |node| node.as_text().map(|text| text.text.clone()))
    }

    /// Gives confidential text.
    pub fn confidential(&self, name: &str) -> Option<Confidential> {
        self.read(name, |node| Confidential::parse(&node.as_text()?.text).ok())
    }

    /// Gives a boolean.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.read(name, |node| match node.value {
            Value::Boolean(truth) => Some(truth),
            _ => None,
        })
    }

    /// Gives a whole number within its bounds.
    pub fn integer(&self, name: &str) -> Option<i64> {
        let bounds = self.find_kind(name, |kind| match kind {
            OptionKind::Integer { min, max } => Some(*min..=*max),
            _ => None,
        });
        self.read(name, |node| match node.value {
            Value::Integer(number) => Some(number),
            _ => None,
        })
        .filter(|number| bounds.is_none_or(|bounds| bounds.contains(number)))
    }

    /// Gives a size in bytes within its bounds.
    pub fn bytes(&self, name: &str) -> Option<u64> {
        let bounds = self.find_kind(name, |kind| match kind {
            OptionKind::Bytes { min, max } => Some(*min..=*max),
            _ => None,
        });
        self.read(name, value::bytes)
            .filter(|bytes| bounds.is_none_or(|bounds| bounds.contains(bytes)))
    }

    /// Gives a span of time, of a duration as well as of a number of seconds.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.read(name, |node| value::duration(node).or_else(|| value::seconds(node)))
    }

    /// Gives an address.
    pub fn socket_address(&self, name: &str) -> Option<SocketAddr> {
        self.read(name, |node| node.as_text()?.text.parse().ok())
    }

    /// Gives a path as written: relative to the folder that the program runs in.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.read(name, |node| node.as_text().map(|text| PathBuf::from(&text.text)))
    }

    /// Gives the path of a field, written with or without its leading dot.
    pub fn field(&self, name: &str) -> Option<OwnedValuePath> {
        self.read(name, |node| parse_field(&node.as_text()?.text))
    }

    /// Gives the word that was chosen.
    pub fn one_of(&self, name: &str) -> Option<&'static str> {
        let words = self.find_kind(name, |kind| match kind {
            OptionKind::OneOf(words) => Some(*words),
            _ => None,
        })?;
        let written = self.string(name)?;
        words.iter().map(|(word, _)| *word).find(|word| *word == written)
    }

    /// Gives the texts of a list with their places, as written; a single text counts as a list of
    /// one.
    pub fn list_of_text(&self, name: &str) -> Vec<&'a Text> {
        self.node(name).map(texts_of).unwrap_or_default()
    }

    /// Gives the texts of a list, of the default too.
    pub fn strings(&self, name: &str) -> Vec<String> {
        let read =
            |node: &Node| Some(texts_of(node).iter().map(|text| text.text.clone()).collect());
        self.read(name, read).unwrap_or_default()
    }

    /// Gives the options of a nested table. One that was not written is there, with its defaults,
    /// when the specification's default is `{}`.
    pub fn table(&self, name: &str) -> Option<Options<'a>> {
        let specs = self.table_specs(name)?;
        match self.node(name) {
            Some(node) => node.as_table().map(|table| self.nested(table, specs, node.span)),
            None => {
                let empty =
                    self.spec(name).is_some_and(|spec| spec.default == Default::Value("{}"));
                empty.then(|| self.nested(&EMPTY, specs, self.place))
            }
        }
    }

    /// Gives the options of each table of a list, as written; what is not a table is left out.
    pub fn tables(&self, name: &str) -> Vec<Options<'a>> {
        let Some(specs) = self.table_specs(name) else { return Vec::new() };
        let items = self.node(name).and_then(Node::as_array).unwrap_or_default();
        let tables = items.iter().filter_map(|item| Some((item.as_table()?, item.span)));
        tables.map(|(table, span)| self.nested(table, specs, span)).collect()
    }

    /// Gives the entries of a map, as written.
    pub fn map(&self, name: &str) -> Vec<&'a Entry> {
        let table = self.node(name).and_then(Node::as_table);
        table.map(|table| table.entries.iter().collect()).unwrap_or_default()
    }

    /// Gives the options of each table of a map from names, as written.
    pub fn map_of_tables(&self, name: &str) -> Vec<(&'a Entry, Options<'a>)> {
        let Some(specs) = self.table_specs(name) else { return Vec::new() };
        let tables = self.map(name).into_iter().filter_map(|entry| {
            let table = entry.node.as_table()?;
            Some((entry, self.nested(table, specs, entry.node.span)))
        });
        tables.collect()
    }

    /// Gives what is written under the tag of a table, and the other options of it.
    pub fn tagged(&self, name: &str) -> Option<(&'static str, Options<'a>)> {
        self.tagged_node(name, self.node(name)?)
    }

    /// Gives the same of each table of a map from names.
    pub fn map_of_tagged(&self, name: &str) -> Vec<(&'a Entry, &'static str, Options<'a>)> {
        let tables = self.map(name).into_iter().filter_map(|entry| {
            let (tag, options) = self.tagged_node(name, &entry.node)?;
            Some((entry, tag, options))
        });
        tables.collect()
    }

    fn tagged_node(&self, name: &str, node: &'a Node) -> Option<(&'static str, Options<'a>)> {
        let (tag, variants) = self.find_kind(name, |kind| match kind {
            OptionKind::Tagged { tag, variants } => Some((*tag, *variants)),
            _ => None,
        })?;
        let table = node.as_table()?;
        let variant = variant_of(table, tag, variants)?;
        Some((variant.name, self.nested(table, variant.options, node.span)))
    }

    fn nested(&self, table: &'a Table, specs: &'static [OptionSpec], place: Span) -> Options<'a> {
        Options { table, specs, common: &[], place, ..*self }
    }

    fn spec(&self, name: &str) -> Option<&'static OptionSpec> {
        self.specs.iter().chain(self.common).find(|spec| spec.name == name)
    }

    /// Looks through the forms that an option may have for one that `find` knows.
    fn find_kind<T>(&self, name: &str, find: fn(&'static OptionKind) -> Option<T>) -> Option<T> {
        fn search<T>(
            kind: &'static OptionKind,
            find: fn(&'static OptionKind) -> Option<T>,
        ) -> Option<T> {
            match kind {
                OptionKind::Either(one, other) => search(one, find).or_else(|| search(other, find)),
                OptionKind::List(item) | OptionKind::Map(item) => search(item, find),
                kind => find(kind),
            }
        }
        search(&self.spec(name)?.kind, find)
    }

    fn table_specs(&self, name: &str) -> Option<&'static [OptionSpec]> {
        self.find_kind(name, |kind| match kind {
            OptionKind::Table(specs) => Some(*specs),
            _ => None,
        })
    }

    /// Reads what was written; else the default.
    fn read<T>(&self, name: &str, read: impl Fn(&Node) -> Option<T>) -> Option<T> {
        if let Some(node) = self.node(name) {
            return read(node);
        }
        match self.spec(name)?.default {
            Default::Value(literal) => read(&Node::of_literal(literal)?),
            Default::Required | Default::None => None,
        }
    }
}

/// Gives the variant that a table names.
pub(crate) fn variant_of(
    table: &Table,
    tag: &str,
    variants: &'static [Variant],
) -> Option<&'static Variant> {
    let written = &table.node(tag)?.as_text()?.text;
    variants.iter().find(|variant| variant.name == written)
}

/// Gives the program of a condition in either of its forms.
pub(crate) fn condition_of(node: &Node) -> Option<&Text> {
    match &node.value {
        Value::Text(text) => Some(text),
        Value::Table(table) => table.node("source").and_then(Node::as_text),
        _ => None,
    }
}

fn texts_of(node: &Node) -> Vec<&Text> {
    match &node.value {
        Value::Text(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Node::as_text).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Checker, codes};
    use crate::document::Document;

    const SPECS: &[OptionSpec] = &[
        option("address", OptionKind::SocketAddress, Default::Required),
        option("bytes", OptionKind::Bytes { min: 1024, max: 1 << 20 }, Default::Value("\"16KiB\"")),
        option("condition", OptionKind::Condition, Default::None),
        option("count", OptionKind::Integer { min: 1, max: 10 }, Default::Value("3")),
        option("confidence", OptionKind::Confidential, Default::None),
        option("every", OptionKind::Duration, Default::Value("\"10s\"")),
        option("field", OptionKind::Field, Default::Value("\"message\"")),
        option("framing", OptionKind::Table(FRAMING), Default::Value("{}")),
        option("inner", OptionKind::List(&OptionKind::Table(FRAMING)), Default::None),
        option("labels", OptionKind::Map(&OptionKind::Text), Default::None),
        option("mode", OptionKind::OneOf(&[("tcp", ""), ("udp", "")]), Default::None),
        option("names", TEXTS, Default::Value("[\"a\", \"b\"]")),
        option("stores", OptionKind::Map(&STORE), Default::None),
        option("timeout_secs", OptionKind::Seconds, Default::Value("0.5")),
        option("zone", OptionKind::TimeZone, Default::Value("\"UTC\"")),
    ];
    const FRAMING: &[OptionSpec] =
        &[option("max_length", OptionKind::Bytes { min: 1, max: 4096 }, Default::Value("2_048"))];
    const STORE: OptionKind = OptionKind::Tagged {
        tag: "type",
        variants: &[
            Variant { name: "file", summary: "", options: FRAMING },
            Variant { name: "none", summary: "", options: &[] },
        ],
    };
    const TEXTS: OptionKind =
        OptionKind::Either(&OptionKind::Text, &OptionKind::List(&OptionKind::Text));

    const fn option(name: &'static str, kind: OptionKind, default: Default) -> OptionSpec {
        OptionSpec { name, kind, default, summary: "" }
    }

    fn table(source: &str) -> Table {
        Document::parse(0, source, &mut Checker::default()).unwrap().root
    }

    fn faults(source: &str) -> Vec<&'static str> {
        let mut checker = Checker::default();
        check_options(&table(source), SPECS, &["type"], "a `test`", &mut checker);
        checker.diagnostics.iter().map(|found| found.code.0).collect()
    }

    #[test]
    fn defaults_hold_where_nothing_is_written() {
        let table = table("");
        let options = Options::new("x", &table, SPECS);
        assert_eq!(options.bytes("bytes"), Some(16 * 1024));
        assert_eq!(options.integer("count"), Some(3));
        assert_eq!(options.duration("every"), Some(Duration::from_secs(10)));
        assert_eq!(options.duration("timeout_secs"), Some(Duration::from_millis(500)));
        assert_eq!(options.field("field"), parse_field(".message"));
        assert_eq!(options.table("framing").unwrap().bytes("max_length"), Some(2048));
        assert_eq!(options.strings("names"), ["a", "b"]);
        assert_eq!(options.string("zone").as_deref(), Some("UTC"));
        assert_eq!(options.socket_address("address"), None);
        assert_eq!(options.one_of("mode"), None);
    }

    #[test]
    fn what_is_written_counts() {
        let table = table(
            "address = '[::1]:514'\nbytes = '2KiB'\nframing.max_length = 9\nmode = 'udp'\n\
             names = 'x'\nlabels.a = 'b'\ncondition = { type = 'vrl', source = 'true' }\n\
             inner = [{ max_length = 7 }]\n\
             stores = { a = { type = 'file', max_length = 8 }, b = { type = 'none' } }",
        );
        let options = Options::new("x", &table, SPECS);
        assert_eq!(options.socket_address("address").unwrap().port(), 514);
        assert_eq!(options.bytes("bytes"), Some(2048));
        assert_eq!(options.table("framing").unwrap().bytes("max_length"), Some(9));
        assert_eq!(options.one_of("mode"), Some("udp"));
        assert_eq!(options.strings("names"), ["x"]);
        assert_eq!(options.map("labels")[0].key, "a");
        assert_eq!(options.condition("condition").unwrap().text, "true");
        assert_eq!(options.tables("inner")[0].bytes("max_length"), Some(7));
        let stores = options.map_of_tagged("stores");
        let [(a, "file", file), (_, "none", _)] = stores.as_slice() else { panic!("{stores:?}") };
        assert_eq!((a.key.as_str(), file.bytes("max_length")), ("a", Some(8)));
    }

    #[test]
    fn faults_are_found_all_at_once() {
        let ok = "address = '127.0.0.1:1'\n";
        assert_eq!(faults(ok), [""; 0]);
        assert_eq!(faults("type = 'x'"), [codes::MISSING_OPTION.0]);
        let code_of = |line: &str| faults(&format!("{ok}{line}"));
        assert_eq!(code_of("bites = 1"), [codes::UNKNOWN_OPTION.0]);
        assert_eq!(code_of("framing.max = 1"), [codes::UNKNOWN_OPTION.0]);
        assert_eq!(code_of("inner = [{ max = 1 }, { max_length = true }]"), ["P003", "P005"]);
        assert_eq!(code_of("bytes = '1B'"), [codes::OUT_OF_BOUNDS.0]);
        assert_eq!(code_of("bytes = '1 parsec'"), [codes::MALFORMED_VALUE.0]);
        assert_eq!(code_of("count = 11"), [codes::OUT_OF_BOUNDS.0]);
        assert_eq!(code_of("count = '1'"), [codes::WRONG_TYPE.0]);
        assert_eq!(code_of("every = 10"), [codes::WRONG_TYPE.0]);
        assert_eq!(code_of("every = '10'"), [codes::MALFORMED_VALUE.0]);
        assert_eq!(code_of("field = '..'"), [codes::MALFORMED_VALUE.0]);
        assert_eq!(code_of("confidence = 'x SECRET[a.b]'"), [""; 0]);
        assert_eq!(code_of("confidence = 'x SECRET[a]'"), [codes::SECRET.0]);
        assert_eq!(code_of("names = 'x SECRET[a.b]'"), [codes::SECRET.0]);
        assert_eq!(code_of("names = ['x', 'SECRET[a.b]']"), [codes::SECRET.0]);
        assert_eq!(code_of("stores.a = { max_length = 1 }"), ["P004"]);
        assert_eq!(code_of("stores.a = { type = 'fill' }"), ["P008"]);
        assert_eq!(code_of("stores.a = { type = 'none', max_length = 1 }"), ["P003"]);
        assert_eq!(code_of("stores.a = { type = 'file', max_length = 0 }"), ["P007"]);
        assert_eq!(code_of("mode = 'upd'"), [codes::UNKNOWN_WORD.0]);
        assert_eq!(code_of("names = [1]"), [codes::WRONG_TYPE.0]);
        assert_eq!(code_of("names = 1"), [codes::WRONG_TYPE.0]);
        assert_eq!(code_of("timeout_secs = -1"), [codes::OUT_OF_BOUNDS.0]);
        assert_eq!(code_of("zone = 'Europe/Nowhere'"), [codes::MALFORMED_VALUE.0]);
        assert_eq!(code_of("condition = { type = 'lua', source = '1' }"), [codes::UNKNOWN_WORD.0]);
        assert_eq!(code_of("labels.a = 1\nlabels.b = 2"), ["P005", "P005"]);
    }
}
