//! Gathers the components of all documents: their ids, their types, and their options held against
//! the registry.

use super::files::{Documents, File, Prefix};
use super::{SECTIONS, vector};
use crate::component::option::check::{check_value, check_with};
use crate::component::{
    OptionKind, OptionSpec, Options, Port, SINK_OPTIONS, SOURCE_OPTIONS, SinkFactory, SinkSpec,
    SourceFactory, SourceSpec, TransformFactory, TransformSpec,
};
use crate::diagnostic::{Checker, Diagnostic, Span, codes, nearest};
use crate::document::{Entry, Table, Text};
use crate::registry::Registry;
use std::path::Path;
use std::sync::Arc;

/// How long an id may be, in bytes: it is a label of metrics and part of names of files.
const ID_BYTES_MAX: usize = 128;

/// All components as far as they are known.
pub(super) struct Graph<'a> {
    /// In the order of documents and places.
    pub components: Vec<Component<'a>>,
    /// The indices of sources and transforms, every one behind those that feed it; set by ordering.
    pub order: Vec<usize>,
    /// Whether something is missing, so that what follows from it must not be told: a document that
    /// is not TOML, an unknown type, an input that was not found.
    pub incomplete: bool,
    /// Whether components may be missing that somebody wrote, so that an input that is not found
    /// must not be told.
    pub holes: bool,
}

/// A component, from its table to its checked form.
pub(super) struct Component<'a> {
    /// The index of its document.
    pub document: usize,
    /// The name of its document.
    pub document_name: &'a str,
    pub folder: &'a Path,
    pub role: Role,
    pub id: &'a str,
    pub id_span: Span,
    /// Unique in the plan.
    pub full_id: String,
    pub table: &'a Table,
    /// The same before anything was filled in.
    pub unfilled: &'a Table,
    /// What the registry has; `None` when the type is unknown.
    pub factory: Option<Factory>,
    /// What is written under `inputs`.
    pub written_inputs: Vec<&'a Text>,
    /// What feeds it; set by the resolution of names.
    pub edges: Vec<Edge>,
    /// Its outputs; `None` until it was checked, and when the check failed.
    pub ports: Option<Vec<Port>>,
    pub spec: Option<Spec>,
}

/// Where a component stands in the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Source,
    Transform,
    Sink,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Transform => "transform",
            Role::Sink => "sink",
        }
    }
}

/// An entry of the registry.
#[derive(Clone, Copy)]
pub(super) enum Factory {
    Source(&'static SourceFactory),
    Transform(&'static TransformFactory),
    Sink(&'static SinkFactory),
}

impl Factory {
    pub(super) fn name(self) -> &'static str {
        match self {
            Factory::Source(factory) => factory.name,
            Factory::Transform(factory) => factory.name,
            Factory::Sink(factory) => factory.name,
        }
    }

    pub(super) fn options(self) -> &'static [OptionSpec] {
        match self {
            Factory::Source(factory) => factory.options,
            Factory::Transform(factory) => factory.options,
            Factory::Sink(factory) => factory.options,
        }
    }

    pub(super) fn common(self) -> &'static [OptionSpec] {
        match self {
            Factory::Source(_) => SOURCE_OPTIONS,
            Factory::Transform(_) => &[],
            Factory::Sink(_) => SINK_OPTIONS,
        }
    }
}

/// A checked component.
#[derive(Clone)]
pub(super) enum Spec {
    Source(Arc<dyn SourceSpec>),
    Transform(Arc<dyn TransformSpec>),
    Sink(Arc<dyn SinkSpec>),
}

/// A way from a component into another.
pub(super) struct Edge {
    /// Who feeds.
    pub from: usize,
    /// Through which output.
    pub output: Selected,
    /// Where that is written.
    pub span: Span,
}

/// Which outputs an input names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// One of them: by name, or the unnamed.
    One(Option<String>),
    /// Those whose id with its name is like this pattern.
    Like(String),
}

impl<'a> Component<'a> {
    /// Gives the options for the component's own check.
    pub(super) fn options<'b>(&'b self, factory: Factory, inputs: &'b [Port]) -> Options<'b> {
        Options {
            id: self.id,
            table: self.table,
            specs: factory.options(),
            common: factory.common(),
            inputs,
            folder: self.folder,
            place: self.table.span,
        }
    }

    /// Gives where the address stands that it listens on; else where the component does.
    pub(super) fn span_of(&self, option: &str) -> Span {
        self.table.node(option).map_or(self.id_span, |node| node.span)
    }
}

/// Gathers and checks everything that one table alone can tell.
pub(super) fn gather<'a>(
    documents: &'a Documents,
    registry: &Registry,
    checker: &mut Checker,
) -> Graph<'a> {
    let mut components = Vec::new();
    let mut holes = documents.incomplete;
    for (number, file) in documents.read.iter().enumerate().filter(|(_, file)| !file.is_case) {
        holes |= has_misspelt_section(file);
        for role in [Role::Source, Role::Transform, Role::Sink] {
            holes |= !section(number, file, role, registry, &mut components, checker);
        }
    }
    refuse_equal_ids(&components, checker);
    let mut with_components: Vec<usize> = components.iter().map(|found| found.document).collect();
    with_components.dedup();
    let alone = with_components.len() == 1;
    for component in &mut components {
        let is_plain = match documents.read[component.document].prefix {
            Prefix::Always => false,
            Prefix::Never => true,
            Prefix::AmongOthers => alone,
        };
        component.full_id = match is_plain {
            true => component.id.to_owned(),
            false => format!("{}/{}", component.document_name, component.id),
        };
    }
    let unknown = components.iter().any(|component| component.factory.is_none());
    let unfed = |component: &Component<'_>| {
        component.role != Role::Source && component.written_inputs.is_empty()
    };
    let unfed = components.iter().any(unfed);
    Graph { components, order: Vec::new(), incomplete: holes || unknown || unfed, holes }
}

/// Whether a document has something like a section, under a name that is none.
fn has_misspelt_section(file: &File) -> bool {
    let keys = file.document.root.entries.iter().map(|entry| entry.key.as_str());
    keys.filter(|key| !SECTIONS.contains(key)).any(|key| nearest(key, SECTIONS).is_some())
}

/// Gathers one section of a document. Gives whether everything in it was understood as a component.
fn section<'a>(
    number: usize,
    file: &'a File,
    role: Role,
    registry: &Registry,
    components: &mut Vec<Component<'a>>,
    checker: &mut Checker,
) -> bool {
    let name = format!("{}s", role.name());
    let Some(node) = file.document.root.node(&name) else { return true };
    let Some(section) = node.as_table() else {
        let title = format!("`{name}` is a table from ids to components, not {}", node.type_name());
        checker.report(Diagnostic::error(codes::WRONG_TYPE, node.span, title, ""));
        return false;
    };
    let mut whole = true;
    for entry in &section.entries {
        check_id(entry, checker);
        let Some(table) = entry.node.as_table() else {
            let title = format!(
                "the {} `{}` is a table, not {}",
                role.name(),
                entry.key,
                entry.node.type_name()
            );
            let found = Diagnostic::error(codes::WRONG_TYPE, entry.node.span, title, "");
            checker.report(found.help(format!("write `[{name}.{}]`, then its options", entry.key)));
            whole = false;
            continue;
        };
        let factory = find_type(entry, table, role, registry, checker);
        components.push(Component {
            document: number,
            document_name: &file.name,
            folder: &file.folder,
            role,
            id: &entry.key,
            id_span: entry.key_span,
            full_id: String::new(),
            table,
            unfilled: unfilled(file, &name, &entry.key).unwrap_or(table),
            factory,
            written_inputs: written_inputs(entry, table, role, checker),
            edges: Vec::new(),
            ports: None,
            spec: None,
        });
        if let Some(factory) = factory {
            check_table(table, factory, role, checker);
        }
    }
    whole
}

/// Finds the table of a component as it was written.
fn unfilled<'a>(file: &'a File, section: &str, id: &str) -> Option<&'a Table> {
    file.unfilled.node(section)?.as_table()?.node(id)?.as_table()
}

fn check_table(table: &Table, factory: Factory, role: Role, checker: &mut Checker) {
    let specs: Vec<&OptionSpec> = factory.options().iter().chain(factory.common()).collect();
    let framework: &[&str] = if role == Role::Source { &["type"] } else { &["inputs", "type"] };
    let owner = format!("a `{}` {}", factory.name(), role.name());
    check_with(table, &specs, framework, &owner, checker);
}

fn check_id(entry: &Entry, checker: &mut Checker) {
    let id = entry.key.as_str();
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(letters) {
        let title = format!("`{id}` is no id of a component");
        let found = Diagnostic::error(codes::BAD_ID, entry.key_span, title, "");
        let rule = format!("ids are letters, digits, `_` and `-`, at most {ID_BYTES_MAX} of them");
        checker.report(found.help(rule));
    }
}

fn find_type(
    entry: &Entry,
    table: &Table,
    role: Role,
    registry: &Registry,
    checker: &mut Checker,
) -> Option<Factory> {
    let Some(node) = table.node("type") else {
        let title = format!("the {} `{}` needs a `type`", role.name(), entry.key);
        let found = Diagnostic::error(codes::MISSING_OPTION, entry.key_span, title, "");
        checker.report(found.help("`azud list` shows the types"));
        return None;
    };
    check_value(node, &OptionKind::Text, "type", checker);
    let name = node.as_text()?.text.as_str();
    let factory = match role {
        Role::Source => registry.source(name).map(Factory::Source),
        Role::Transform => registry.transform(name).map(Factory::Transform),
        Role::Sink => registry.sink(name).map(Factory::Sink),
    };
    if factory.is_none() {
        checker.report(unknown_type(name, node.span, role, registry));
    }
    factory
}

fn unknown_type(name: &str, span: Span, role: Role, registry: &Registry) -> Diagnostic {
    let title = format!("there is no {} of type `{name}`", role.name());
    let others =
        [Role::Source, Role::Transform, Role::Sink].into_iter().filter(|other| *other != role);
    let elsewhere = others.into_iter().find(|other| names(registry, *other).contains(&name));
    if let Some(pointer) = vector::component(name).filter(|_| elsewhere.is_none()) {
        return Diagnostic::error(codes::UNKNOWN_TYPE, span, title, "").help(pointer);
    }
    if let Some(other) = elsewhere {
        let label = format!("`{name}` is a {}", other.name());
        let found = Diagnostic::error(codes::UNKNOWN_TYPE, span, title, label);
        return match vector::component(name) {
            Some(pointer) => found.help(pointer),
            None => found.help(format!("move it below `{}s`", other.name())),
        };
    }
    if let Some(near) = nearest(name, names(registry, role)) {
        let label = format!("did you mean `{near}`?");
        return Diagnostic::error(codes::UNKNOWN_TYPE, span, title, label);
    }
    let known: Vec<String> = names(registry, role).iter().map(|name| format!("`{name}`")).collect();
    let found = Diagnostic::error(codes::UNKNOWN_TYPE, span, title, "");
    found.help(format!("{}s are {}", role.name(), known.join(", ")))
}

fn names(registry: &Registry, role: Role) -> Vec<&'static str> {
    match role {
        Role::Source => registry.sources.iter().map(|factory| factory.name).collect(),
        Role::Transform => registry.transforms.iter().map(|factory| factory.name).collect(),
        Role::Sink => registry.sinks.iter().map(|factory| factory.name).collect(),
    }
}

fn written_inputs<'a>(
    entry: &Entry,
    table: &'a Table,
    role: Role,
    checker: &mut Checker,
) -> Vec<&'a Text> {
    if role == Role::Source {
        return Vec::new();
    }
    let Some(node) = table.node("inputs") else {
        let title = format!("the {} `{}` has no inputs", role.name(), entry.key);
        let found = Diagnostic::error(
            codes::NO_INPUTS,
            entry.key_span,
            title,
            "nothing would ever reach it",
        );
        checker
            .report(found.help("write `inputs = [\"…\"]` with the ids of sources or transforms"));
        return Vec::new();
    };
    let before = checker.diagnostics.len();
    check_value(node, &OptionKind::List(&OptionKind::Text), "inputs", checker);
    let texts: Vec<&Text> =
        node.as_array().unwrap_or_default().iter().filter_map(|node| node.as_text()).collect();
    if texts.is_empty() && checker.diagnostics.len() == before {
        let title = format!("the {} `{}` has no inputs", role.name(), entry.key);
        checker.report(Diagnostic::error(
            codes::NO_INPUTS,
            node.span,
            title,
            "nothing would ever reach it",
        ));
    }
    texts
}

fn refuse_equal_ids(components: &[Component<'_>], checker: &mut Checker) {
    for (number, component) in components.iter().enumerate() {
        let same = |other: &&Component<'_>| {
            other.document == component.document && other.id == component.id
        };
        if let Some(other) = components[..number].iter().find(same) {
            let title = format!("the id `{}` is used twice", component.id);
            let label = format!("a {} here", component.role.name());
            let found = Diagnostic::error(codes::DUPLICATE, component.id_span, title, label);
            checker.report(found.label(other.id_span, format!("a {} here", other.role.name())));
        }
    }
}
