//! Writes a table as TOML again: what a checkpoint keeps of a document. Comments and layout are
//! gone, so two texts that mean the same are written the same.

use super::{Node, Table, Value};

/// Writes a table, a line for each of its values in the order in which they were written; tables in
/// it become dotted keys.
pub fn write(table: &Table) -> String {
    let mut out = String::new();
    write_below("", table, &mut out);
    out
}

fn write_below(prefix: &str, table: &Table, out: &mut String) {
    for entry in &table.entries {
        let key = format!("{prefix}{}", key(&entry.key));
        match &entry.node.value {
            Value::Table(inner) if !inner.entries.is_empty() => {
                write_below(&format!("{key}."), inner, out);
            }
            value => {
                let value = match value {
                    Value::Text(text) if text.text.contains('\n') => block(&text.text),
                    value => inline(value),
                };
                out.push_str(&format!("{key} = {value}\n"));
            }
        }
    }
}

fn key(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { quoted(key) }
}

/// Writes a text of many lines as it stands, if TOML can.
fn block(text: &str) -> String {
    let plain = |sign: char| sign == '\n' || sign == '\t' || !sign.is_control();
    if text.contains("'''") || text.ends_with('\'') || !text.chars().all(plain) {
        return quoted(text);
    }
    format!("'''\n{text}'''")
}

fn inline(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(&text.text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) if number.is_nan() => "nan".to_owned(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item: &Node| inline(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let entries = table.entries.iter();
            let entries = entries.map(|entry| {
                let (key, value) = (key(&entry.key), inline(&entry.node.value));
                format!("{key} = {value}")
            });
            let entries: Vec<String> = entries.collect();
            if entries.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }
}

/// Writes a text between quotes, every control escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            sign if sign.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(sign))),
            sign => out.push(sign),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Checker, Span};
    use crate::document::{Document, Entry, Text};
    use proptest::prelude::*;

    const SPAN: Span = Span { file: 0, start: 0, end: 0 };

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["\\PC{0,9}", "([a-z'\"\\\\\n\r\t\u{7f}\u{1}]{0,4}\n){0,3}"];
        let text = text.prop_map(|text| Value::Text(Text { text, span: SPAN, steps: Vec::new() }));
        let leaf = prop_oneof![
            text,
            any::<i64>().prop_map(Value::Integer),
            any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(Value::Float),
            any::<bool>().prop_map(Value::Boolean),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let node = inner.prop_map(|value| Node { span: SPAN, value });
            let list = proptest::collection::vec(node.clone(), 0..4).prop_map(Value::Array);
            prop_oneof![list, table(node).prop_map(Value::Table)]
        })
    }

    fn table(node: impl Strategy<Value = Node>) -> impl Strategy<Value = Table> {
        proptest::collection::btree_map("[a-z]{1,3}|\\PC{0,3}", node, 0..4).prop_map(|entries| {
            let entries = entries.into_iter();
            let entry = |(key, node)| Entry { key, key_span: SPAN, node };
            Table { span: SPAN, entries: entries.map(entry).collect() }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_means_the_same(
            table in table(value().prop_map(|value| Node { span: SPAN, value })),
        ) {
            let text = write(&table);
            let mut checker = Checker::default();
            let read = Document::parse(0, &text, &mut checker);
            prop_assert!(checker.diagnostics.is_empty(), "{text}: {:?}", checker.diagnostics);
            let values = |table: Table| Node { span: SPAN, value: Value::Table(table) };
            let read = values(read.unwrap().root).to_record_value();
            prop_assert_eq!(read, values(table).to_record_value(), "{}", text);
        }
    }

    #[test]
    fn a_component_is_written_as_people_write_it() {
        let text = "type = 'remap'\n# why\nsource = '''\n.a = 1\n.b = 2\n'''\n\
                    [window]\nsize = \"1m\"\n[fields]\n\"a b\" = { of = [1, 2.0] }\n";
        let document = Document::parse(0, text, &mut Checker::default()).unwrap();
        let expected = "type = \"remap\"\nsource = '''\n.a = 1\n.b = 2\n'''\n\
                        window.size = \"1m\"\nfields.\"a b\".of = [1, 2.0]\n";
        assert_eq!(write(&document.root), expected);
    }
}
