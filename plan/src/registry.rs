//! The [`Registry`]: every component that this program has, in sorted lists.

use crate::component::option::check::check_value;
use crate::component::{
    Default, OptionKind, OptionSpec, SINK_OPTIONS, SOURCE_OPTIONS, SinkFactory, SourceFactory,
    TransformFactory,
};
use crate::diagnostic::Checker;
use crate::document::Node;
use crate::resolve::{INSTANCE_OPTIONS, TEST_OPTIONS};

/// Every component that this program has. The lists are sorted by name.
#[derive(Clone, Copy, Debug)]
pub struct Registry {
    /// The sources.
    pub sources: &'static [&'static SourceFactory],
    /// The transforms.
    pub transforms: &'static [&'static TransformFactory],
    /// The sinks.
    pub sinks: &'static [&'static SinkFactory],
}

impl Registry {
    /// Finds a source by its `type`.
    pub fn source(&self, name: &str) -> Option<&'static SourceFactory> {
        self.sources.iter().copied().find(|factory| factory.name == name)
    }

    /// Finds a transform by its `type`.
    pub fn transform(&self, name: &str) -> Option<&'static TransformFactory> {
        self.transforms.iter().copied().find(|factory| factory.name == name)
    }

    /// Finds a sink by its `type`.
    pub fn sink(&self, name: &str) -> Option<&'static SinkFactory> {
        self.sinks.iter().copied().find(|factory| factory.name == name)
    }

    /// Lists what is not in order in the components' own descriptions, for tests: lists that are
    /// not sorted, options that are described twice or not at all, defaults that the option itself
    /// would refuse. Empty when all is well.
    pub fn untidy(&self) -> Vec<String> {
        let mut found = Vec::new();
        let sources = self.sources.iter().map(|factory| (factory.name, factory.options));
        let transforms = self.transforms.iter().map(|factory| (factory.name, factory.options));
        let sinks = self.sinks.iter().map(|factory| (factory.name, factory.options));
        for list in [sources.collect::<Vec<_>>(), transforms.collect(), sinks.collect()] {
            let names: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
            if !names.is_sorted_by(|a, b| a < b) {
                found.push(format!("not sorted, or not unique: {}", names.join(", ")));
            }
            list.iter().for_each(|(name, options)| untidy_options(name, options, &mut found));
        }
        untidy_options("every sink", SINK_OPTIONS, &mut found);
        untidy_options("every source", SOURCE_OPTIONS, &mut found);
        untidy_options("the instance", INSTANCE_OPTIONS, &mut found);
        untidy_options("tests", TEST_OPTIONS, &mut found);
        found
    }
}

fn untidy_options(owner: &str, options: &[OptionSpec], found: &mut Vec<String>) {
    for (number, option) in options.iter().enumerate() {
        let name = format!("{owner}: {}", option.name);
        if options[..number].iter().any(|other| other.name == option.name) {
            found.push(format!("{name} is there twice"));
        }
        if option.summary.is_empty() || !option.summary.ends_with('.') {
            found.push(format!("{name} has no summary of whole sentences"));
        }
        if let Default::Value(literal) = option.default {
            match Node::of_literal(literal) {
                None => found.push(format!("{name}: the default {literal} is not TOML")),
                Some(node) => {
                    let mut checker = Checker::default();
                    check_value(&node, &option.kind, option.name, &mut checker);
                    let faults = checker.diagnostics.into_iter();
                    found.extend(faults.map(|fault| format!("{name}: default: {}", fault.title)));
                }
            }
        }
        untidy_kind(&name, &option.kind, found);
    }
}

/// Looks into nested tables.
fn untidy_kind(name: &str, kind: &OptionKind, found: &mut Vec<String>) {
    match kind {
        OptionKind::Table(options) => untidy_options(name, options, found),
        OptionKind::Tagged { variants, .. } => {
            if !variants.is_sorted_by(|a, b| a.name < b.name) {
                found.push(format!("{name}: variants are not sorted, or not unique"));
            }
            for variant in *variants {
                untidy_options(&format!("{name}.{}", variant.name), variant.options, found);
            }
        }
        OptionKind::List(item) | OptionKind::Map(item) => untidy_kind(name, item, found),
        OptionKind::Either(one, other) => {
            untidy_kind(name, one, found);
            untidy_kind(name, other, found);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_s_own_options_are_tidy() {
        let registry = Registry { sources: &[], transforms: &[], sinks: &[] };
        assert_eq!(registry.untidy(), [""; 0]);
    }

    #[test]
    fn a_wrong_default_is_found() {
        const OPTIONS: &[OptionSpec] = &[
            OptionSpec {
                name: "a",
                kind: OptionKind::Integer { min: 1, max: 2 },
                default: Default::Value("3"),
                summary: "One.",
            },
            OptionSpec {
                name: "a",
                kind: OptionKind::Duration,
                default: Default::Value("10s"),
                summary: "",
            },
        ];
        let mut found = Vec::new();
        untidy_options("x", OPTIONS, &mut found);
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
