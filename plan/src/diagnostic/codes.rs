//! The codes of diagnostics, each with its text for `azud explain`. Codes are never used again for
//! something else.

use super::Code;

/// What `azud explain` says of a code.
#[derive(Clone, Copy, Debug)]
pub struct Explanation {
    /// The code: `P003`.
    pub code: &'static str,
    /// What it is about, a few words.
    pub title: &'static str,
    /// Why it is a fault and what to do, in Markdown, with an example.
    pub explanation: &'static str,
}

macro_rules! codes {
    ($($constant:ident $code:literal $title:literal;)*) => {
        $(#[doc = concat!($code, ": ", $title, ".")] pub const $constant: Code = Code($code);)*

        /// Every code, sorted.
        pub const CODES: &[Explanation] = &[
            $(Explanation {
                code: $code,
                title: $title,
                explanation: include_str!(concat!("../explain/", $code, ".md")),
            }),*
        ];
    };
}

codes! {
    NOT_STARTED "E001" "a component could not be started";
    SECRET_NOT_HAD "E002" "a secret that cannot be had";
    ADDRESS_TAKEN "E003" "an address cannot be listened on";
    PORT_PRIVILEGED "E004" "a port below 1024 needs a privilege";
    NOT_READABLE "E005" "a file to read is missing or closed to us";
    NOT_WRITABLE "E006" "a file or folder cannot be written";
    DATABASE "E007" "a database that cannot be opened";
    DATA_FOLDER "E008" "a data folder that cannot be looked at";
    KEYS "E009" "a master key that is lost, wrong or open to others";
    SYNTAX "P001" "this is not TOML";
    UNKNOWN_SECTION "P002" "an unknown section";
    UNKNOWN_OPTION "P003" "an unknown option";
    MISSING_OPTION "P004" "a missing option";
    WRONG_TYPE "P005" "a value of another type";
    MALFORMED_VALUE "P006" "a value that is not in the right form";
    OUT_OF_BOUNDS "P007" "a value out of its bounds";
    UNKNOWN_WORD "P008" "an unknown word";
    KIND_MISMATCH "P009" "a component that is fed with another kind of data than it takes";
    UNKNOWN_TYPE "P010" "an unknown type of component";
    UNKNOWN_INPUT "P011" "an input that does not exist";
    CONTRADICTION "P012" "options that contradict each other";
    CYCLE "P013" "components that feed each other in a circle";
    DUPLICATE "P014" "a name that is used twice";
    NO_INPUTS "P015" "a component without inputs";
    UNREAD_OUTPUT "P016" "an output that nobody reads";
    UNREAD_SOURCE "P017" "a source that nobody reads";
    UNRECEIVED_ALERT "P018" "an alert that no sink receives";
    BAD_ID "P019" "a name with characters that names do not have";
    VRL_INVALID "P020" "VRL that does not compile";
    VRL_UNKNOWN_FIELD "P021" "a field that is not there";
    VRL_FALLIBLE "P022" "an expression that may fail, unhandled";
    VRL_CONSTANT "P023" "a condition that is always the same";
    VRL_WARNING "P024" "VRL that is probably not meant so";
    AMBIGUOUS_INPUT "P025" "an input that several documents have";
    ENVIRONMENT "P026" "an environment variable that may not be read, or is not set";
    SECRET "P027" "a secret that cannot be named so, or there";
    NOT_IN_THIS_VERSION "P028" "something that this version does not have";
    TEMPLATE "P029" "a template that cannot be read";
    UNKNOWN_OUTPUT "P030" "an output that a component does not have";
    RULE_TWICE "P031" "a rule that is defined twice";
    ADDRESS_TWICE "P032" "an address that is listened on twice";
    FILE_TWICE "P033" "a file that two sinks write";
    INSTANCE_TWICE "P034" "a setting of the instance that is written twice";
    UNREADABLE "P035" "a document that cannot be read";
    TEST "P036" "a test that cannot run";
    EMPTY "P037" "nothing to run";
    SECRET_IN_CLEAR "P038" "a secret that is written in clear";
    TEST_FAILED "T001" "a test that does not hold";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_explains() {
        assert!(CODES.is_sorted_by(|a, b| a.code < b.code), "sort the table by code");
        for Explanation { code, title, explanation } in CODES {
            assert!(explanation.len() > 100, "{code} explains nothing");
            assert!(explanation.contains("```"), "{code} has no example");
            assert!(!title.ends_with('.') && explanation.ends_with('\n'), "{code}");
            assert!(explanation.lines().all(|line| line.chars().count() <= 100), "{code}");
        }
    }
}
