//! What the options of a table say, as words to be hashed: where they stand and how they are laid
//! out is not part of it.

use azud_event::id::Id;
use azud_plan::component::Options;
use azud_plan::document::Node;

/// Hashes what is written under these options, in their order.
pub fn hash(options: &Options<'_>, names: &[&str]) -> Id {
    let mut words = Vec::new();
    for name in names {
        if let Some(node) = options.node(name) {
            words.push((*name).to_owned());
            said(node, &mut words);
        }
    }
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    Id::of(&words)
}

/// Hashes what is written under these options to a number, as
/// [`azud_plan::component::TransformSpec::shape`] wants it.
pub fn shape(options: &Options<'_>, names: &[&str]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash(options, names).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

fn said(node: &Node, out: &mut Vec<String>) {
    match (node.as_table(), node.as_array()) {
        (Some(table), _) => {
            for entry in &table.entries {
                out.push(entry.key.clone());
                said(&entry.node, out);
            }
        }
        (None, Some(items)) => items.iter().for_each(|item| said(item, out)),
        (None, None) => out.push(node.to_record_value().to_string()),
    }
}
