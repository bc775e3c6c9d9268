//! The secrets that documents name, and those that they hold in clear.
//!
//! A text of an option that is confidential names secrets, is filled from the environment, or
//! stands there in clear. In clear it may be harmless (a user's name, an address without a token);
//! what is not known to be harmless is masked wherever a document is shown, and what is surely a
//! secret is warned of.

use super::backends::{CREDENTIALS, SecretBackendSpec};
use super::components::Graph;
use super::files::Documents;
use super::instance::{INSTANCE_OPTIONS, Instance};
use crate::component::option::check::has_shape;
use crate::component::option::variant_of;
use crate::component::{Confidential, OptionKind, OptionSpec, SecretName};
use crate::diagnostic::{Checker, Diagnostic, Span, codes, nearest};
use crate::document::{Node, Sources, Table, Text, Value};
use std::collections::BTreeMap;

/// A secret that the documents name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSecret {
    /// Its name.
    pub name: SecretName,
    /// Where it is named first.
    pub span: Span,
}

/// What the documents say of secrets.
#[derive(Default)]
pub(super) struct Secrets {
    /// Those that are named, each once, sorted.
    pub named: Vec<NamedSecret>,
    /// What must not be shown.
    pub masked: Vec<Span>,
}

/// A confidential text of a document.
struct Found<'t> {
    text: &'t Text,
    /// Whether the environment gave it.
    filled: bool,
    /// Its option, with those above it: `request.headers.Authorization`.
    option: String,
}

/// Finds all secrets of the documents, and says what is wrong with them.
pub(super) fn review(
    documents: &Documents,
    graph: &Graph<'_>,
    instance: &Instance,
    checker: &mut Checker,
) -> Secrets {
    let mut review = Review {
        backends: &instance.secret_backends,
        written: backend_names(documents),
        incomplete: documents.incomplete,
        named: BTreeMap::new(),
        masked: Vec::new(),
        checker,
    };
    for file in documents.read.iter().filter(|file| !file.is_case) {
        for spec in INSTANCE_OPTIONS {
            let Some(node) = file.document.root.node(spec.name) else { continue };
            let unfilled = file.unfilled.node(spec.name);
            walk(node, unfilled, &spec.kind, spec.name, &mut |found| review.found(&found));
        }
        if let Some(text) = database_url(&file.document.root) {
            let written = database_url(&file.unfilled);
            review.database(text, written.is_some_and(|written| written.text.contains("${")));
        }
    }
    for component in &graph.components {
        let Some(factory) = component.factory else { continue };
        let (table, unfilled) = (component.table, component.unfilled);
        for specs in [factory.options(), factory.common()] {
            walk_table(table, Some(unfilled), specs, "", &mut |found| review.found(&found));
        }
    }
    let Review { named, masked, .. } = review;
    let named = named.into_iter().map(|(name, span)| NamedSecret { name, span }).collect();
    Secrets { named, masked }
}

/// Gives the address of the database. It names no secrets, and may hold one.
fn database_url(root: &Table) -> Option<&Text> {
    root.node("database")?.as_table()?.node("url")?.as_text()
}

fn backend_names(documents: &Documents) -> Vec<String> {
    let tables = documents.read.iter().filter_map(|file| file.document.root.node("secret"));
    let entries = tables.filter_map(Node::as_table).flat_map(|table| &table.entries);
    entries.map(|entry| entry.key.clone()).chain([CREDENTIALS.to_owned()]).collect()
}

struct Review<'a> {
    backends: &'a [SecretBackendSpec],
    /// The names of backends, of those with faults too.
    written: Vec<String>,
    /// Whether a table `[secret]` may stand in a document that was not read.
    incomplete: bool,
    named: BTreeMap<SecretName, Span>,
    masked: Vec<Span>,
    checker: &'a mut Checker,
}

impl Review<'_> {
    fn found(&mut self, found: &Found<'_>) {
        let Found { text, filled, option } = found;
        // What cannot be read has been said.
        let Ok(confidential) = Confidential::parse(&text.text) else { return };
        if confidential.open().is_none() {
            for (range, name) in references(&text.text) {
                let span = text.place(range);
                // One that is made for each row of a definition has no name yet.
                if !name.key.contains("{{") {
                    self.named.entry(name.clone()).or_insert(span);
                }
                self.check(&name, option, span);
            }
            return;
        }
        let kind = if *filled { Clear::Harmless } else { clear(option, &text.text) };
        if kind != Clear::Harmless {
            self.masked.push(text.place(0..text.text.len()));
        }
        if kind == Clear::Secret {
            let title = format!("`{option}` is a secret written in clear");
            let label = "who may read this document has it";
            let found = Diagnostic::warning(codes::SECRET_IN_CLEAR, text.span, title, label);
            self.checker.report(found.help(
                "write `SECRET[backend.key]` and keep it in a backend of `[secret]`, or `${NAME}` \
                 and allow that variable with `limits.environment`",
            ));
        }
    }

    /// Looks for a password in the address of the database.
    fn database(&mut self, text: &Text, filled: bool) {
        let rest = text.text.split_once("://").map(|(_, rest)| rest);
        if filled || rest.is_none_or(|rest| address(rest, false) != Clear::Secret) {
            return;
        }
        self.masked.push(text.place(0..text.text.len()));
        let title = "`database.url` holds a password in clear";
        let label = "who may read this document has it";
        let found = Diagnostic::warning(codes::SECRET_IN_CLEAR, text.span, title, label);
        self.checker.report(found.help(
            "write `database.password = \"SECRET[backend.key]\"` and keep it in a backend of \
             `[secret]`",
        ));
    }

    /// Checks that there is such a backend, and that it can be asked when this option needs it.
    fn check(&mut self, name: &SecretName, option: &str, span: Span) {
        let backend = name.backend.as_str();
        if !self.written.iter().any(|written| written == backend) {
            if self.incomplete {
                return;
            }
            let title = format!("there is no secret backend `{backend}`");
            let near = nearest(backend, self.written.iter().map(String::as_str));
            let label = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            let help = format!(
                "write `secret.{backend} = {{ type = \"…\" }}` in azud.toml; `{CREDENTIALS}` is \
                 always there"
            );
            let found = Diagnostic::error(codes::SECRET, span, title, label);
            return self.checker.report(found.help(help));
        }
        // One that is faulty has been told of.
        let is_far = |spec: &SecretBackendSpec| spec.name == backend && !spec.kind.is_local();
        let is_far = backend == CREDENTIALS || self.backends.iter().any(is_far);
        let (title, help) = if option.starts_with("secret.") && is_far {
            let title = "a backend's own options cannot hang on this one".to_owned();
            (title, "they may name secrets of `directory`, `env`, `exec` and `file`")
        } else if option.starts_with("keys.") && backend == CREDENTIALS {
            let title = format!("`{CREDENTIALS}` is sealed by the key that this is");
            (title, "keep it in another backend of `[secret]`")
        } else if option.starts_with("database.") && backend == CREDENTIALS {
            let title = format!("`{CREDENTIALS}` is in the database, which this is to open");
            (title, "keep it in another backend of `[secret]`")
        } else {
            return;
        };
        self.checker.report(Diagnostic::error(codes::SECRET, span, title, "").help(help));
    }
}

/// Lists the references in a text that can be read, with their places.
fn references(text: &str) -> Vec<(std::ops::Range<usize>, SecretName)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("SECRET[").map(|start| at + start) {
        let Some(length) = text[start..].find(']') else { break };
        at = start + length + 1;
        let inner = Confidential::parse(&text[start..at]);
        let name = inner.ok().and_then(|inner| inner.names().next().cloned());
        found.extend(name.map(|name| (start..at, name)));
    }
    found
}

/// What a confidential text is that names no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clear {
    /// Nothing that anybody hides.
    Harmless,
    /// Perhaps a secret.
    Unknown,
    /// A secret.
    Secret,
}

/// Names of options and headers that hold no secret.
const HARMLESS: &[&str] = &[
    "accept",
    "access_key_id",
    "audience",
    "client_id",
    "content_type",
    "key_id",
    "role_id",
    "scope",
    "user",
    "user_agent",
    "username",
];

/// Words of names whose values are secrets.
const TELLING: &[&str] = &[
    "apikey",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "key",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "signature",
    "token",
];

/// How long a part of an address may be before it counts as a token: identifiers and words are
/// shorter, or have no digits among their letters.
const WORD_BYTES_MAX: usize = 20;

fn clear(option: &str, text: &str) -> Clear {
    if text.trim().is_empty() {
        return Clear::Harmless;
    }
    let parts = text.split_once("://");
    let is_web = |scheme| matches!(scheme, "http" | "https");
    if let Some((_, rest)) = parts.filter(|(scheme, _)| is_web(scheme)) {
        return address(rest, true);
    }
    let option = option.to_ascii_lowercase().replace('-', "_");
    let name = option.rsplit('.').next().unwrap_or_default();
    if HARMLESS.contains(&name) {
        return Clear::Harmless;
    }
    let begins = ["bearer ", "basic ", "token ", "-----begin "];
    let lower = text.to_ascii_lowercase();
    let telling = name.split(['_', '[']).any(|word| TELLING.contains(&word));
    // `auth.value`: what it is says the table.
    let value = name == "value" && option.split('.').any(|word| TELLING.contains(&word));
    if telling || value || begins.iter().any(|begin| lower.starts_with(begin)) {
        return Clear::Secret;
    }
    let is_scheme = |scheme: &str| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match parts.filter(|(scheme, _)| is_scheme(scheme)) {
        Some((_, rest)) => address(rest, false),
        None => Clear::Unknown,
    }
}

/// Looks for what opens a door in an address: credentials, a parameter of a telling name, and on
/// the web a part of the path that nobody would choose.
fn address(rest: &str, is_web: bool) -> Clear {
    let (host, below) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = below.split_once('?').unwrap_or((below, ""));
    let telling = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = name.to_ascii_lowercase();
        let words =
            |word: &str| TELLING.contains(&word) || matches!(word, "code" | "sig" | "sslpassword");
        !value.is_empty() && name.split(['_', '-', '.']).any(words)
    };
    let random = |part: &str| {
        let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        part.len() >= WORD_BYTES_MAX && letters > 0 && digits > 0
    };
    // Databases are told the name of a user alone, too; and what stands there may be faulty.
    let place = if is_web { host } else { rest.split('?').next().unwrap_or(rest) };
    let credentials = place.rsplit_once('@').is_some_and(|(user, _)| is_web || user.contains(':'));
    let opens = credentials
        || query.split('&').any(telling)
        || is_web && path.split(['/', ':']).any(random);
    if opens { Clear::Secret } else { Clear::Harmless }
}

/// Calls `visit` for every confidential text of a table.
fn walk_table<'t>(
    table: &'t Table,
    unfilled: Option<&'t Table>,
    specs: &'static [OptionSpec],
    above: &str,
    visit: &mut dyn FnMut(Found<'t>),
) {
    for spec in specs {
        let Some(node) = table.node(spec.name) else { continue };
        let unfilled = unfilled.and_then(|table| table.node(spec.name));
        let name = match above {
            "" => spec.name.to_owned(),
            above => format!("{above}.{}", spec.name),
        };
        walk(node, unfilled, &spec.kind, &name, visit);
    }
}

fn walk<'t>(
    node: &'t Node,
    unfilled: Option<&'t Node>,
    kind: &'static OptionKind,
    name: &str,
    visit: &mut dyn FnMut(Found<'t>),
) {
    let below = unfilled.and_then(Node::as_table);
    match (kind, &node.value) {
        (OptionKind::Confidential, Value::Text(text)) => {
            let written = unfilled.and_then(Node::as_text);
            let filled = written.is_some_and(|written| written.text.contains("${"));
            visit(Found { text, filled, option: name.to_owned() });
        }
        (OptionKind::Table(specs), Value::Table(table)) => {
            walk_table(table, below, specs, name, visit);
        }
        (OptionKind::Tagged { tag, variants }, Value::Table(table)) => {
            let Some(variant) = variant_of(table, tag, variants) else { return };
            walk_table(table, below, variant.options, name, visit);
        }
        (OptionKind::Map(item), Value::Table(table)) => {
            for entry in &table.entries {
                let unfilled = below.and_then(|table| table.node(&entry.key));
                walk(&entry.node, unfilled, item, &format!("{name}.{}", entry.key), visit);
            }
        }
        (OptionKind::List(item), Value::Array(items)) => {
            let below = unfilled.and_then(Node::as_array);
            for (number, node) in items.iter().enumerate() {
                let unfilled = below.and_then(|items| items.get(number));
                walk(node, unfilled, item, &format!("{name}[{number}]"), visit);
            }
        }
        (OptionKind::Either(one, other), _) => {
            let kind = if has_shape(node, one) { one } else { other };
            walk(node, unfilled, kind, name, visit);
        }
        _ => {}
    }
}

/// Hides places of documents, so that no message shows them.
pub(super) fn mask(sources: &mut Sources, places: &[Span]) {
    for place in places {
        let Some(file) = sources.files.get_mut(place.file as usize) else { continue };
        let range = place.range();
        // As many bytes as before, so that all places stay right.
        let stars = |text: &str| -> String {
            text.bytes()
                .map(|byte| if b"\r\n".contains(&byte) { byte as char } else { '*' })
                .collect()
        };
        if let Some(text) = file.text.get(range.clone()).map(stars) {
            file.text.replace_range(range, &text);
        }
    }
}

/// Gives a table as it was written, less what is confidential in it and in clear.
pub(super) fn without_secrets(table: &Table, lists: &[&'static [OptionSpec]]) -> Table {
    let mut hidden = Vec::new();
    for specs in lists {
        walk_table(table, None, specs, "", &mut |found: Found<'_>| {
            let text = &found.text.text;
            let open = Confidential::parse(text).is_ok_and(|text| text.open().is_some());
            if open && !text.contains("${") && clear(&found.option, text) != Clear::Harmless {
                hidden.push(found.text.span);
            }
        });
    }
    let mut table = table.clone();
    table.entries.iter_mut().for_each(|entry| hide(&mut entry.node, &hidden));
    table
}

fn hide(node: &mut Node, hidden: &[Span]) {
    match &mut node.value {
        Value::Text(text) if hidden.contains(&text.span) => text.text = "***".to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, hidden)),
        Value::Table(table) => {
            table.entries.iter_mut().for_each(|entry| hide(&mut entry.node, hidden));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Default;
    use crate::document::{Document, write};

    const SPECS: &[OptionSpec] = &[
        OptionSpec {
            name: "auth",
            kind: OptionKind::Table(&[OptionSpec {
                name: "password",
                kind: OptionKind::Confidential,
                default: Default::None,
                summary: "",
            }]),
            default: Default::None,
            summary: "",
        },
        OptionSpec {
            name: "headers",
            kind: OptionKind::Map(&OptionKind::Confidential),
            default: Default::None,
            summary: "",
        },
        OptionSpec {
            name: "uri",
            kind: OptionKind::Either(
                &OptionKind::Confidential,
                &OptionKind::List(&OptionKind::Confidential),
            ),
            default: Default::None,
            summary: "",
        },
    ];

    #[test]
    fn what_opens_a_door_is_told_from_what_does_not() {
        for (option, text, kind) in [
            ("auth.password", "hunter2", Clear::Secret),
            ("auth.password", "", Clear::Harmless),
            ("auth.password", "hunter2://x", Clear::Secret),
            ("auth.user", "azud", Clear::Harmless),
            ("auth.value", "SSWS 00abc", Clear::Secret),
            ("auth.client_assertion.private_key", "x", Clear::Secret),
            ("auth.client_assertion.key_id", "azud-1", Clear::Harmless),
            ("request.headers.Authorization", "x", Clear::Secret),
            ("request.headers.X-Api-Key", "x", Clear::Secret),
            ("request.headers.Content-Type", "text/csv", Clear::Harmless),
            ("request.headers.X-Scope", "Bearer x", Clear::Secret),
            ("request.headers.X-Scope", "tenant", Clear::Unknown),
            ("uri", "https://collector.example/logs", Clear::Harmless),
            ("uri", "https://collector.example/api/v1/system-log-of-the-site", Clear::Harmless),
            ("uri", "https://a:b@collector.example/", Clear::Secret),
            ("uri", "https://collector.example/?limit=10&token=x", Clear::Secret),
            ("uri", "https://collector.example/?api_key=x", Clear::Secret),
            ("uri", "https://hooks.example/services/T1/B2/aB3dE5fG7hI9jK1lM2nO", Clear::Secret),
            ("database.url", "sqlite:///var/lib/azud/production-2026-eu-west.db", Clear::Harmless),
            ("database.url", "postgres://azud@db/azud_production_eu_1", Clear::Harmless),
            ("database.url", "postgres://azud:hunter2@db/azud", Clear::Secret),
            ("database.url", "postgres://azud:hun/ter2@db/azud", Clear::Secret),
            ("database.url", "postgres://db/azud?user=azud&password=hunter2", Clear::Secret),
        ] {
            assert_eq!(clear(option, text), kind, "{option} = {text:?}");
        }
    }

    #[test]
    fn a_table_is_written_without_what_it_hides() {
        let text = "uri = ['https://a/', 'https://a:b@c/', 'SECRET[a.b]']\n\
                    headers = { X-Token = 'x', X-Key = '${KEY}', Accept = 'y' }\n\
                    auth.password = 'Pass SECRET[a.b]'";
        let table = Document::parse(0, text, &mut Checker::default()).unwrap().root;
        let written = write(&without_secrets(&table, &[SPECS]));
        let expected = "uri = [\"https://a/\", \"***\", \"SECRET[a.b]\"]\n\
                        headers.X-Token = \"***\"\nheaders.X-Key = \"${KEY}\"\n\
                        headers.Accept = \"y\"\nauth.password = \"Pass SECRET[a.b]\"\n";
        assert_eq!(written, expected);
    }
}
