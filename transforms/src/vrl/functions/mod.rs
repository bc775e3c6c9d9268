//! The functions that programs may call: VRL's standard library, with every function that asks the
//! machine replaced.
//!
//! The same log must give the same answer (DESIGN §1), so a function may depend on its arguments
//! and on the record, and on nothing else. Every function of the standard library is in exactly one
//! of four lists here, and a test fails when a release of VRL brings one that is in none:
//!
//! - [`PURE`] as they are;
//! - [`REPLACED`] under the same name, signature and type, by ours, which read the record's
//!   [`super::moment`];
//! - [`RESTRICTED`] as they are, but for some arguments;
//! - [`REFUSED`] with a diagnostic that says why.
//!
//! All times are in the program's own zone, which is never the machine's: UTC unless its `timezone`
//! says otherwise.

mod log;
mod ours;
mod pure;
mod random;
mod restricted;
mod shannon_entropy;
mod years;

pub use pure::PURE;

pub use ours::AskedForMoment;

use ours::{Replaced, Replacement};
use restricted::{Restricted, Restriction};
use std::sync::LazyLock;
use vrl::compiler::Function;

/// Functions of VRL that ours take the place of, sorted by name.
pub const REPLACED: &[Replacement] = &[
    log::LOG,
    random::NOW,
    years::PARSE_KLOG,
    years::PARSE_LINUX_AUTHORIZATION,
    years::PARSE_SYSLOG,
    random::RANDOM_BOOL,
    random::RANDOM_BYTES,
    random::RANDOM_FLOAT,
    random::RANDOM_INT,
    shannon_entropy::SHANNON_ENTROPY,
    random::UUID_V4,
    random::UUID_V7,
];

/// Functions of VRL of which some arguments are refused, sorted by name.
pub const RESTRICTED: &[Restriction] = &[
    restricted::FORMAT_TIMESTAMP,
    restricted::PARSE_CEF,
    restricted::PARSE_ETLD,
    restricted::PARSE_GROKS,
    restricted::PARSE_TIMESTAMP,
];

/// Functions of VRL and of Vector that programs may not call, sorted by name, each with the reason.
pub const REFUSED: &[(&str, &str)] = &[
    ("dns_lookup", "it asks the network, and a replay would be told something else"),
    ("encode_proto", "it reads a file that is no part of the plan"),
    ("find_enrichment_table_records", NO_TABLES),
    ("get_enrichment_table_record", NO_TABLES),
    ("get_env_var", "it reads the environment; write `${NAME}` in the document instead"),
    (
        "get_hostname",
        "it depends on the machine that runs it; the sender's name is a field of the record",
    ),
    ("get_secret", "records carry no secrets"),
    ("http_request", "it asks the network, and a replay would be told something else"),
    ("parse_proto", "it reads a file that is no part of the plan"),
    ("remove_secret", "records carry no secrets"),
    ("reverse_dns", "it asks the network, and a replay would be told something else"),
    ("set_secret", "records carry no secrets"),
    ("validate_json_schema", "it reads a file that is no part of the plan"),
];

const NO_TABLES: &str = "this version has no enrichment tables";

/// Gives all functions that programs may call.
pub fn all() -> &'static [Box<dyn Function>] {
    static ALL: LazyLock<Vec<Box<dyn Function>>> =
        LazyLock::new(|| vrl::stdlib::all().into_iter().filter_map(admit).collect());
    &ALL
}

/// Says why a function may not be called, if it is one of those.
pub fn refusal(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason)
}

/// Gives what stands for a function of the standard library: itself, ours, or nothing.
fn admit(function: Box<dyn Function>) -> Option<Box<dyn Function>> {
    let name = function.identifier();
    if let Some(ours) = REPLACED.iter().find(|ours| ours.name == name) {
        return Some(Box::new(Replaced::new(function, ours)));
    }
    if let Some(ours) = RESTRICTED.iter().find(|ours| ours.name == name) {
        return Some(Box::new(Restricted::new(function, ours)));
    }
    PURE.binary_search(&name).is_ok().then_some(function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_function_of_the_standard_library_is_in_one_list() {
        let mut lists: BTreeMap<&str, usize> = BTreeMap::new();
        let names = PURE.iter().copied();
        let names = names.chain(REPLACED.iter().map(|ours| ours.name));
        let names = names.chain(RESTRICTED.iter().map(|ours| ours.name));
        for name in names.chain(REFUSED.iter().map(|(name, _)| *name)) {
            *lists.entry(name).or_default() += 1;
        }
        let twice: Vec<_> = lists.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "in two lists: {twice:?}");
        for function in vrl::stdlib::all() {
            let name = function.identifier();
            assert!(lists.contains_key(name), "`{name}` is in no list: does it ask the machine?");
        }
    }

    #[test]
    fn every_listed_function_exists() {
        let known: Vec<_> = vrl::stdlib::all().iter().map(|f| f.identifier()).collect();
        for name in PURE.iter().copied().chain(REPLACED.iter().map(|ours| ours.name)) {
            assert!(known.contains(&name), "`{name}` is no function of VRL any more");
        }
        for ours in RESTRICTED {
            assert!(known.contains(&ours.name), "`{}` is no function of VRL any more", ours.name);
        }
    }

    #[test]
    fn the_lists_are_sorted() {
        assert!(PURE.is_sorted());
        assert!(REPLACED.is_sorted_by_key(|ours| ours.name));
        assert!(RESTRICTED.is_sorted_by_key(|ours| ours.name));
        assert!(REFUSED.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn what_vrl_calls_impure_is_not_in_the_pure_list() {
        for function in vrl::stdlib::all().iter().filter(|function| !function.pure()) {
            // These change the event or end the program, as a function of it alone.
            let allowed = ["assert", "assert_eq", "del"].contains(&function.identifier());
            let pure = PURE.contains(&function.identifier());
            assert!(!pure || allowed, "`{}`", function.identifier());
        }
    }
}
