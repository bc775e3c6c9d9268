//! Finds what `inputs` name.
//!
//! | written | is |
//! |---|---|
//! | `conn` | a component of the same document; else of any, if only one has it |
//! | `network/firewall/conn` | the component `conn` of the document `network/firewall` |
//! | `conn.dropped`, `network/firewall/conn.dropped` | an output of it |
//! | `net_*` | every other source and transform like it, of the same document, else of all |
//!
//! A pattern stands for the unnamed outputs, and for named ones where `id.name` is like it too, as
//! in Vector.

use super::components::{Component, Edge, Graph, Role, Selected};
use crate::diagnostic::{Checker, Diagnostic, codes, nearest};
use crate::document::Text;
use std::collections::HashMap;

/// Components by what they may be called.
pub(super) struct Names<'g, 'a> {
    components: &'g [Component<'a>],
    by_id: HashMap<&'g str, Vec<usize>>,
    by_path: HashMap<String, usize>,
}

/// Turns what is written under `inputs` into edges.
pub(super) fn connect(graph: &mut Graph<'_>, checker: &mut Checker) {
    let names = Names::new(&graph.components);
    let mut missing = false;
    let mut all: Vec<Vec<Edge>> = Vec::new();
    for (index, component) in graph.components.iter().enumerate() {
        let mut edges: Vec<Edge> = Vec::new();
        for (number, text) in component.written_inputs.iter().enumerate() {
            if let Some(earlier) =
                component.written_inputs[..number].iter().find(|earlier| earlier.text == text.text)
            {
                let title = format!("the input `{}` is listed twice", text.text);
                let found = Diagnostic::error(codes::DUPLICATE, text.span, title, "here again");
                checker.report(found.label(earlier.span, "first listed here"));
                continue;
            }
            match names.find(component.document, Some(index), text) {
                Ok(found) => edges.extend(found),
                Err(found) => {
                    missing = true;
                    if !graph.holes {
                        checker.report(*found);
                    }
                }
            }
        }
        all.push(edges);
    }
    for (component, edges) in graph.components.iter_mut().zip(all) {
        component.edges = edges;
    }
    graph.incomplete |= missing;
}

impl<'g, 'a> Names<'g, 'a> {
    pub(super) fn new(components: &'g [Component<'a>]) -> Self {
        let mut names = Names { components, by_id: HashMap::new(), by_path: HashMap::new() };
        for (index, component) in components.iter().enumerate() {
            names.by_id.entry(component.id).or_default().push(index);
            names.by_path.insert(format!("{}/{}", component.document_name, component.id), index);
        }
        names
    }

    /// Finds what `text` names in a document; `reader` does not name itself by a pattern.
    pub(super) fn find(
        &self,
        document: usize,
        reader: Option<usize>,
        text: &Text,
    ) -> Result<Vec<Edge>, Box<Diagnostic>> {
        if text.text.contains('*') {
            return self.find_like(document, reader, text);
        }
        let (id, output) = split_output(&text.text);
        let from = self.find_one(document, id, text)?;
        if self.components[from].role == Role::Sink {
            let title = format!("`{id}` is a sink, and sinks give nothing on");
            return Err(Box::new(Diagnostic::error(codes::UNKNOWN_INPUT, text.span, title, "")));
        }
        let output = Selected::One(output.map(str::to_owned));
        Ok(vec![Edge { from, output, span: text.span }])
    }

    fn find_one(&self, document: usize, id: &str, text: &Text) -> Result<usize, Box<Diagnostic>> {
        let everywhere = self.by_id.get(id).map(Vec::as_slice).unwrap_or_default();
        let here = everywhere.iter().find(|index| self.components[**index].document == document);
        if let Some(index) = here.or_else(|| self.by_path.get(id)) {
            return Ok(*index);
        }
        match everywhere {
            [] => Err(Box::new(self.missing(id, text))),
            [index] => Ok(*index),
            many => {
                let title = format!("`{id}` is in several documents");
                let found =
                    Diagnostic::error(codes::AMBIGUOUS_INPUT, text.span, title, "which of them?");
                let ids =
                    many.iter().map(|index| format!("\"{}\"", self.components[*index].full_id));
                let ids: Vec<String> = ids.collect();
                Err(Box::new(found.help(format!("write one of {}", ids.join(", ")))))
            }
        }
    }

    fn missing(&self, id: &str, text: &Text) -> Diagnostic {
        let title = format!("there is no source or transform `{id}`");
        let givers = || self.components.iter().filter(|component| component.role != Role::Sink);
        let known = givers().map(|component| component.id);
        let full = givers().map(|component| component.full_id.as_str());
        match nearest(id, known.chain(full)) {
            Some(near) => {
                let label = format!("did you mean `{near}`?");
                Diagnostic::error(codes::UNKNOWN_INPUT, text.span, title, label)
            }
            None => Diagnostic::error(codes::UNKNOWN_INPUT, text.span, title, ""),
        }
    }

    fn find_like(
        &self,
        document: usize,
        reader: Option<usize>,
        text: &Text,
    ) -> Result<Vec<Edge>, Box<Diagnostic>> {
        let (pattern, _) = split_output(&text.text);
        let by_path = pattern.contains('/');
        let givers = || {
            let all = self.components.iter().enumerate();
            all.filter(|(index, found)| found.role != Role::Sink && Some(*index) != reader)
        };
        let like = |component: &Component<'_>| match by_path {
            true => is_like(&format!("{}/{}", component.document_name, component.id), pattern),
            false => is_like(component.id, pattern),
        };
        let here = |component: &Component<'_>| component.document == document && !by_path;
        let mut found: Vec<usize> = givers()
            .filter(|(_, component)| here(component) && like(component))
            .map(|(index, _)| index)
            .collect();
        if found.is_empty() {
            found =
                givers().filter(|(_, component)| like(component)).map(|(index, _)| index).collect();
        }
        if found.is_empty() {
            let title = format!("no source or transform is like `{}`", text.text);
            return Err(Box::new(Diagnostic::error(codes::UNKNOWN_INPUT, text.span, title, "")));
        }
        // Outputs are matched by the last part of the pattern; the document is found by now.
        let last = text.text.rfind('/').map_or(text.text.as_str(), |slash| &text.text[slash + 1..]);
        let output = Selected::Like(last.to_owned());
        let edge = |from| Edge { from, output: output.clone(), span: text.span };
        Ok(found.into_iter().map(edge).collect())
    }
}

/// Divides `document/id.output`. The names of documents may have dots, ids have none.
fn split_output(text: &str) -> (&str, Option<&str>) {
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[last..].split_once('.') {
        Some((id, output)) => (&text[..last + id.len()], Some(output)),
        None => (text, None),
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters.
pub(super) fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // Each part at its first place leaves the most room for those behind it.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_people_expect() {
        for (text, pattern, expected) in [
            ("net_a", "net_*", true),
            ("net_", "net_*", true),
            ("a_net_", "net_*", false),
            ("abc", "a*c", true),
            ("ac", "a*c", true),
            ("a", "a*a", false),
            ("aXbYbZ", "a*b*Z", true),
            ("anything", "*", true),
            ("abc", "abc", true),
            ("abcd", "abc", false),
        ] {
            assert_eq!(is_like(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn outputs_are_behind_the_last_dot_free_id() {
        assert_eq!(split_output("conn"), ("conn", None));
        assert_eq!(split_output("conn.dropped"), ("conn", Some("dropped")));
        assert_eq!(split_output("net/fw.v2/conn"), ("net/fw.v2/conn", None));
        assert_eq!(split_output("net/fw.v2/conn.a"), ("net/fw.v2/conn", Some("a")));
    }
}
