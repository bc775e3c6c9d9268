//! Every diagnostic of this crate, as people see it: a document beside what is said of it.
//!
//! A case is `golden/<code>-<what>.toml`, or a folder of documents of such a name, with the
//! expected text in `golden/<code>-<what>.stderr`. `UPDATE_GOLDEN=1 cargo test -p azud-plan` writes
//! what is said now; the change is read in review like code.
#![allow(clippy::unwrap_used, missing_docs)]

mod registry;

use azud_plan::diagnostic::CODES;
use azud_plan::{render, resolve};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Codes that are tested elsewhere, with the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("E001", "needs components that can be started: the server's tests"),
    ("E002", "needs backends that are asked: the server's tests"),
    ("E003", "needs a taken port: `resolve::environment`"),
    ("E004", "depends on who runs the test: the end-to-end tests"),
    ("E005", "needs a file system: `resolve::environment`"),
    ("E006", "needs a file system: `resolve::environment`"),
    ("E007", "needs a database: the store, and the end-to-end tests"),
    ("E008", "is said of a data folder, by the commands that look at one"),
    ("E009", "needs a master key: the store, and the end-to-end tests"),
    ("P020", "belongs to the components that have VRL"),
    ("P021", "belongs to the components that have VRL"),
    ("P022", "belongs to the components that have VRL"),
    ("P023", "belongs to the components that have VRL"),
    ("P024", "belongs to the components that have VRL"),
    ("T001", "needs pipelines that run: the server's tests"),
];

/// Lists the cases: documents, folders of documents, and names of what is not there.
fn cases() -> Vec<PathBuf> {
    let mut cases = BTreeSet::from([PathBuf::from("tests/golden/P035-missing.toml")]);
    for entry in fs::read_dir("tests/golden").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "stderr") {
            cases.insert(path);
        }
    }
    cases.into_iter().collect()
}

fn environment(name: &str) -> Option<String> {
    (name == "SITE").then(|| "madrid".to_owned())
}

/// Says what is said of a case.
fn said(case: &Path) -> (String, Vec<&'static str>) {
    let loaded = resolve::load_with_cases(&[case.to_owned()], &registry::REGISTRY, &environment);
    let failed = loaded
        .diagnostics
        .iter()
        .any(|found| found.severity == azud_plan::diagnostic::Severity::Error);
    assert_eq!(loaded.plan.is_none(), failed, "{}: a plan, exactly if no fault", case.display());
    let human = render::human(&loaded.diagnostics, &loaded.sources, false);
    let codes = loaded.diagnostics.iter().map(|found| found.code.0).collect();
    (format!("{human}{}\n", render::closing(&loaded.diagnostics)), codes)
}

fn code_of(case: &Path) -> String {
    let name = case.file_name().unwrap().to_str().unwrap();
    name.split('-').next().unwrap().to_owned()
}

#[test]
fn every_case_is_said_as_it_was() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for case in cases() {
        let (said, codes) = said(&case);
        let code = code_of(&case);
        let ok = code == "ok";
        assert!(
            ok && codes.is_empty() || codes.contains(&code.as_str()),
            "{}: {said}",
            case.display()
        );
        let golden = case.with_extension("stderr");
        if update {
            fs::write(&golden, said).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != said {
            different.push(format!("{}:\n{said}", golden.display()));
        }
    }
    assert!(different.is_empty(), "differs from\n{}", different.join("\n"));
}

#[test]
fn every_code_has_a_case() {
    let shown: BTreeSet<String> = cases().iter().map(|case| code_of(case)).collect();
    for code in CODES {
        let elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == code.code);
        assert_ne!(
            elsewhere,
            shown.contains(code.code),
            "{}: a case, or a reason, not both",
            code.code
        );
    }
}

/// What is wrong with one part of a document keeps nothing from being said of another.
#[test]
fn everything_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = String::new();
    for code in ["P003-unknown-option", "P006-malformed", "P008-unknown-word"] {
        let text = fs::read_to_string(format!("tests/golden/{code}.toml")).unwrap();
        fs::write(folder.path().join(code).with_extension("toml"), &text).unwrap();
        all.push_str(&text);
    }
    let (_, codes) = said(folder.path());
    for code in ["P003", "P006", "P008"] {
        assert!(codes.contains(&code), "{code} in {codes:?}");
    }
}

/// The plan of the documents that have everything, as text: ids, order, and who reads whom.
#[test]
fn documents_become_pipelines() {
    use azud_plan::plan::Output;
    let case = PathBuf::from("tests/golden/ok-everything");
    let loaded = resolve::load_with_cases(&[case], &registry::REGISTRY, &environment);
    let plan = loaded.plan.unwrap();
    let readers = |outputs: &[Output]| {
        let port = |output: &Output| {
            let name = output.port.name.as_deref().unwrap_or("_");
            format!("{name}{:?}", output.readers)
        };
        outputs.iter().map(port).collect::<Vec<_>>().join(" ")
    };
    let mut shown = Vec::new();
    for pipeline in &plan.pipelines {
        shown.push(format!("pipeline {}", pipeline.name));
        for input in &pipeline.sources {
            let source = &plan.sources[input.source.0 as usize];
            shown.push(format!("  source {} {}", source.id, readers(&input.outputs)));
        }
        for transform in &pipeline.transforms {
            shown.push(format!("  transform {} {}", transform.id, readers(&transform.outputs)));
        }
        for sink in &pipeline.sinks {
            shown.push(format!("  sink {} {}", sink.id, sink.input.name()));
        }
    }
    let expected = "\
pipeline archive
  source shared/net_a _[Transform(0)] future[]
  source shared/net_b _[Transform(0), Sink(0)] future[]
  transform auth/ssh/login _[Transform(1)] dropped[Sink(1)]
  transform auth/ssh/rule _[Sink(2)]
  sink archive/b log
  sink archive/dropped log
  sink auth/ssh/store alert
pipeline other
  source shared/net_a _[Sink(0)] future[]
  source shared/net_b _[Sink(0)] future[]
  sink other/other log";
    assert_eq!(shown.join("\n"), expected);
    let [test] = loaded.tests.as_slice() else { panic!("{:?}", loaded.tests) };
    let inserted: Vec<&str> = test.inputs.iter().map(|input| input.insert_at.as_str()).collect();
    assert_eq!(inserted, ["auth/ssh/login"; 3]);
    assert_eq!(test.inputs[0].repeat.count, 2);
    assert_eq!(test.outputs[0].extract_from.len(), 2);
    assert_eq!((test.no_outputs_from[0].port, test.outputs[0].conditions.len()), (1, 2));
    assert_eq!(loaded.instance.threads, Some(2));
    assert_eq!(loaded.instance.api_address, None);
}

proptest! {
    /// A document with a piece cut out or a sign put in is refused or runs; nothing panics, and
    /// what is said can be shown.
    #[test]
    fn broken_documents_are_only_faulty(
        number in 0..1000_usize,
        start in 0..1000_usize,
        length in 0..12_usize,
        sign in "[\\[\\]{}\"'=.,*/$\\\\\n0-9é]{0,2}",
    ) {
        let documents: Vec<PathBuf> =
            cases().into_iter().filter(|case| case.is_file()).collect();
        let text = fs::read_to_string(&documents[number % documents.len()]).unwrap();
        let mut letters: Vec<char> = text.chars().collect();
        let start = start % letters.len();
        let end = (start + length).min(letters.len());
        letters.splice(start..end, sign.chars());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        fs::write(&path, letters.into_iter().collect::<String>()).unwrap();
        said(&path);
    }
}
