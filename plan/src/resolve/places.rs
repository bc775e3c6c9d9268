//! Where documents say what of the instance, for what is found wrong with it by trying.

use crate::diagnostic::Span;
use crate::document::Table;
use std::collections::BTreeMap;

/// The values of settings by their names: `data_dir`, `database.url`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, Span>);

impl Places {
    /// Notes where each setting of a table, and of those in it, is written.
    pub(super) fn of(table: &Table) -> Self {
        let mut places = Places::default();
        places.note("", table);
        places
    }

    fn note(&mut self, above: &str, table: &Table) {
        for entry in &table.entries {
            let name = format!("{above}{}", entry.key);
            if let Some(table) = entry.node.as_table() {
                self.note(&format!("{name}."), table);
            }
            self.0.insert(name, entry.node.span);
        }
    }

    /// Gives where a setting is written: the first of `names` that is.
    pub fn find(&self, names: &[&str]) -> Option<Span> {
        names.iter().find_map(|name| self.0.get(*name).copied())
    }
}
