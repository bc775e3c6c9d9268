//! The JSON Schema of documents, made from the registry; editors complete and check with it.
//!
//! A first line `#:schema PATH` in a document names the file that `azud schema` wrote.

use crate::component::{Default, OptionKind, OptionSpec, SINK_OPTIONS, SOURCE_OPTIONS};
use crate::registry::Registry;
use crate::resolve::TEST_OPTIONS;
use serde_json::{Map, Value, json};

/// Gives the schema of a whole document: instance keys, `sources`, `transforms`, `sinks` and
/// `tests`.
pub fn schema(registry: &Registry, instance: &[OptionSpec]) -> Value {
    let sources = registry
        .sources
        .iter()
        .map(|found| component(found.name, found.summary, &[found.options, SOURCE_OPTIONS], false));
    let transforms = registry
        .transforms
        .iter()
        .map(|found| component(found.name, found.summary, &[found.options], true));
    let sinks = registry
        .sinks
        .iter()
        .map(|found| component(found.name, found.summary, &[found.options, SINK_OPTIONS], true));
    let mut properties = options(instance).0;
    properties.insert("sources".into(), section(sources.collect()));
    properties.insert("transforms".into(), section(transforms.collect()));
    properties.insert("sinks".into(), section(sinks.collect()));
    let tests = json!({ "type": "array", "items": kind(&OptionKind::Table(TEST_OPTIONS)) });
    properties.insert("tests".into(), tests);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A document of Azud",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// A table from ids to components, each one of these by its `type`.
fn section(components: Vec<(&'static str, Value)>) -> Value {
    let names: Vec<&str> = components.iter().map(|(name, _)| *name).collect();
    let conditionals = components.iter().map(|(name, schema)| {
        json!({ "if": { "properties": { "type": { "const": name } } }, "then": schema })
    });
    json!({
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": { "type": { "enum": names } },
            "required": ["type"],
            "allOf": conditionals.collect::<Vec<_>>(),
        },
    })
}

fn component(
    name: &'static str,
    summary: &str,
    lists: &[&[OptionSpec]],
    inputs: bool,
) -> (&'static str, Value) {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (more, needed) in lists.iter().map(|list| options(list)) {
        properties.extend(more);
        required.extend(needed);
    }
    properties.insert("type".into(), json!({ "const": name, "description": summary }));
    if inputs {
        let items = json!({ "type": "string" });
        let words = "The components whose output it takes.";
        properties.insert(
            "inputs".into(),
            json!({ "type": "array", "items": items, "minItems": 1, "description": words }),
        );
        required.push("inputs".to_owned());
    }
    let schema = json!({
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    (name, schema)
}

/// Gives the properties of options, and which of them are required.
fn options(specs: &[OptionSpec]) -> (Map<String, Value>, Vec<String>) {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for spec in specs {
        let mut schema = kind(&spec.kind);
        schema["description"] =
            spec.summary.split_whitespace().collect::<Vec<_>>().join(" ").into();
        match spec.default {
            Default::Required => required.push(spec.name.to_owned()),
            Default::None => {}
            Default::Value(text) => {
                if let Some(value) = value(text) {
                    schema["default"] = value;
                }
            }
        }
        properties.insert(spec.name.to_owned(), schema);
    }
    (properties, required)
}

/// Reads a default as it is written in TOML.
fn value(text: &str) -> Option<Value> {
    let document: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    serde_json::to_value(document.get("value")?).ok()
}

fn kind(of: &OptionKind) -> Value {
    let text = || json!({ "type": "string" });
    match of {
        OptionKind::Text
        | OptionKind::Program
        | OptionKind::Template
        | OptionKind::Confidential
        | OptionKind::SocketAddress
        | OptionKind::Path
        | OptionKind::Field
        | OptionKind::TimeZone => text(),
        OptionKind::Condition => json!({ "anyOf": [text(), {
            "type": "object",
            "properties": { "type": { "const": "vrl" }, "source": text() },
            "required": ["type", "source"],
            "additionalProperties": false,
        }] }),
        OptionKind::Boolean => json!({ "type": "boolean" }),
        OptionKind::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        OptionKind::Bytes { .. } => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+ *([KMGT]i?B|kB|B)$" },
        ] }),
        OptionKind::Duration => {
            json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$" })
        }
        OptionKind::Seconds => json!({ "type": "number", "minimum": 0 }),
        OptionKind::OneOf(words) => {
            let each =
                words.iter().map(|(word, means)| json!({ "const": word, "description": means }));
            json!({ "oneOf": each.collect::<Vec<_>>() })
        }
        OptionKind::List(of) => json!({ "type": "array", "items": kind(of) }),
        OptionKind::Map(of) => json!({ "type": "object", "additionalProperties": kind(of) }),
        OptionKind::Table(specs) => {
            let (properties, required) = options(specs);
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        }
        OptionKind::Tagged { tag, variants } => {
            let each = variants.iter().map(|variant| {
                let mut schema = kind(&OptionKind::Table(variant.options));
                let about = json!({ "const": variant.name, "description": variant.summary });
                schema["properties"][tag] = about;
                if let Some(required) = schema["required"].as_array_mut() {
                    required.push((*tag).into());
                }
                schema
            });
            json!({ "oneOf": each.collect::<Vec<_>>() })
        }
        OptionKind::Either(one, other) => json!({ "anyOf": [kind(one), kind(other)] }),
        OptionKind::Any => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::INSTANCE_OPTIONS;

    #[test]
    fn defaults_and_bounds_are_in_the_schema() {
        let registry = Registry { sources: &[], transforms: &[], sinks: &[] };
        let schema = schema(&registry, INSTANCE_OPTIONS);
        assert_eq!(schema["properties"]["threads"]["maximum"], 1024);
        let api = &schema["properties"]["api"]["properties"]["address"];
        assert_eq!(api["default"], "127.0.0.1:8686");
        let test = &schema["properties"]["tests"]["items"];
        assert_eq!(test["required"], json!(["name"]));
        assert_eq!(
            test["properties"]["input"]["properties"]["repeat"]["required"],
            json!(["count"])
        );
    }
}
