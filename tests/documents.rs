//! Documents from the outside: Vector's own, ours that ship, and what the commands say of them.

use crate::support::files::Folder;
use crate::support::program;
use std::path::{Path, PathBuf};

/// A document in Vector's TOML, as its users have it, with tests of its own.
const VECTOR: &str = r#"
[sources.in]
type = "stdin"
decoding.codec = "json"

[transforms.parse]
type = "remap"
inputs = ["in"]
drop_on_error = true
reroute_dropped = true
source = '''
. |= object!(parse_json!(string!(.message)))
.status = to_int!(.status)
.level = downcase(string!(.level))
del(.message)
'''

[transforms.errors]
type = "filter"
inputs = ["parse"]
condition = 'int!(.status) >= 500'

[transforms.by_team]
type = "route"
inputs = ["errors"]
route.web.type = "vrl"
route.web.source = '.service == "web"'
route.billing = 'starts_with(string!(.service), "bill")'

[sinks.web]
type = "console"
inputs = ["by_team.web"]
encoding.codec = "json"

[sinks.rest]
type = "blackhole"
inputs = ["by_team.billing", "by_team._unmatched", "parse.dropped"]

[[tests]]
name = "an error of the web team goes its way"
[[tests.inputs]]
insert_at = "parse"
type = "log"
[tests.inputs.log_fields]
message = '{"status": "503", "level": "WARN", "service": "web"}'
[[tests.outputs]]
extract_from = "parse"
[[tests.outputs.conditions]]
type = "vrl"
source = '''
assert_eq!(.status, 503)
assert_eq!(.level, "warn")
assert!(!exists(.message))
'''
[[tests.outputs]]
extract_from = "by_team.web"
[[tests.outputs.conditions]]
type = "vrl"
source = '.service == "web"'

[[tests]]
name = "what is fine is filtered away"
no_outputs_from = ["errors"]
[[tests.inputs]]
insert_at = "parse"
type = "log"
log_fields.message = '{"status": "200", "level": "INFO", "service": "web"}'

[[tests]]
name = "what cannot be parsed is dropped with its reason"
no_outputs_from = ["errors"]
[tests.input]
insert_at = "parse"
type = "raw"
value = "no json"
[[tests.outputs]]
extract_from = "parse.dropped"
[[tests.outputs.conditions]]
type = "vrl"
source = 'assert_eq!(.message, "no json")'
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines")
}

#[test]
fn a_document_of_vector_passes_its_own_tests_unchanged() {
    let folder = Folder::new();
    folder.write("vector.toml", VECTOR);
    let tested = program::run(folder.path(), &["test", "vector.toml"]);
    assert!(tested.status.success(), "{}{}", text(&tested.stdout), text(&tested.stderr));
    assert!(text(&tested.stdout).contains("3 passed"), "{}", text(&tested.stdout));
}

#[test]
fn a_test_that_fails_says_which_and_why() {
    let folder = Folder::new();
    folder.write(
        "vector.toml",
        VECTOR.replace("assert_eq!(.status, 503)", "assert_eq!(.status, 504)"),
    );
    let tested = program::run(folder.path(), &["test", "vector.toml"]);
    assert_eq!(tested.status.code(), Some(1));
    let said = text(&tested.stdout) + &text(&tested.stderr);
    for words in ["an error of the web team goes its way", "503", "504", "1 failed"] {
        assert!(said.contains(words), "no `{words}` in\n{said}");
    }
}

#[test]
fn what_ships_is_valid_and_passes_its_tests() {
    let folder = Folder::new();
    let mut documents = Vec::new();
    let mut folders = vec![shipped()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                documents.push(path);
            }
        }
    }
    let (cases, documents): (Vec<_>, Vec<_>) =
        documents.into_iter().partition(|path| path.to_str().unwrap().ends_with(".case.toml"));
    assert!(documents.len() >= 3, "{documents:?}");
    for case in &cases {
        let of = case.to_str().unwrap().replace(".case.toml", ".toml");
        assert!(documents.contains(&PathBuf::from(&of)), "{of} is missing");
    }
    for document in documents {
        let case = document.with_extension("case.toml");
        let document = document.to_str().unwrap();
        for command in [&["validate", "--no-environment", "--deny-warnings"][..], &["test"]] {
            let mut arguments: Vec<&str> = command.iter().copied().chain([document]).collect();
            if cases.contains(&case) && command == ["test"] {
                arguments.push(case.to_str().unwrap());
            }
            let said = program::run(folder.path(), &arguments);
            let words = text(&said.stdout) + &text(&said.stderr);
            assert!(said.status.success(), "{arguments:?}\n{words}");
        }
    }
}

/// Rules over windows: one that waits for a count, one through a filter, one that may be taken
/// back, one that its windows keep waiting, one over windows of windows; and one over single
/// records.
const RULES: &str = r#"
[sources.in]
type = "stdin"
decoding.codec = "json"
lateness = "10s"
max_hold = "15s"

[transforms.windows]
type = "summarize"
inputs = ["in"]
window = { type = "hopping", size = "10m", slide = "1m" }
fields.failures = { aggregate = "count" }
fields.hosts = { aggregate = "distinct", field = "host" }

[transforms.many]
type = "filter"
inputs = ["windows"]
condition = ".hosts >= 3"

[transforms.kept]
type = "summarize"
inputs = ["in"]
window = { type = "session", gap = "2m", max = "1h" }
having = ".failures != 7"
fields.failures = { aggregate = "count" }

[transforms.hours]
type = "summarize"
inputs = ["windows"]
window = { type = "tumbling", size = "1h" }
fields.worst = { aggregate = "max", field = "failures" }

[transforms]
counted = { type = "alert", rule = "counted", inputs = ["windows"], condition = ".failures >= 20" }
filtered = { type = "alert", rule = "filtered", inputs = ["many"], condition = ".failures > 5" }
exactly = { type = "alert", rule = "exactly", inputs = ["windows"], condition = ".failures == 3" }
waits = { type = "alert", rule = "waits", inputs = ["kept"], condition = ".failures >= 20" }
nested = { type = "alert", rule = "nested", inputs = ["hours"], condition = ".worst >= 20 ?? false" }
single = { type = "alert", rule = "single", inputs = ["in"], condition = ".a == 1" }

[sinks.out]
type = "blackhole"
inputs = ["counted", "filtered", "exactly", "waits", "nested", "single"]
"#;

#[test]
fn validate_says_when_rules_fire_and_how_late_at_worst() {
    let folder = Folder::new();
    folder.write("p.toml", RULES);
    let said = program::run(folder.path(), &["validate", "--no-environment", "p.toml"]);
    let words = text(&said.stdout);
    let lines: Vec<&str> = words.lines().collect();
    let expected = [
        "1 pipeline · 1 source · 10 transforms · 1 sink · 6 rules · 0 faults",
        "rule counted: fires early, worst delay 1 s",
        "rule exactly: waits for the close, worst delay 10 min 26 s",
        "rule filtered: fires early, worst delay 1 s",
        "rule nested: waits for the close, worst delay 1 h 10 min 51 s",
        "rule single: fires at once, worst delay 1 s",
        "rule waits: waits for the close, worst delay 1 h 2 min 26 s",
    ];
    assert_eq!(lines, expected, "{}", text(&said.stderr));
    let example = shipped().join("examples/ssh_bruteforce.toml");
    let said =
        program::run(folder.path(), &["validate", "--no-environment", &example.to_string_lossy()]);
    let words = text(&said.stdout);
    assert!(words.contains(" · 1 rule (fires early, worst delay 1 s) · "), "{words}");
}

#[test]
fn everything_wrong_is_said_at_once_also_as_json() {
    let folder = Folder::new();
    folder.write(
        "p.toml",
        "[sources.in]\ntype = \"sylog\"\n[transforms.t]\ntype = \"filter\"\ninputs = [\"inn\"]\n\
         condition = '.a == '\ncolour = 1\n[sinks.out]\ntype = \"console\"\ninputs = [\"t\"]\nencoding.codec = \"jsn\"\n",
    );
    let said = program::run(folder.path(), &["validate", "--format", "json", "p.toml"]);
    assert_eq!(said.status.code(), Some(1));
    let lines = text(&said.stdout);
    let found: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let titles: Vec<&str> = found.iter().map(|found| found["title"].as_str().unwrap()).collect();
    for word in ["sylog", "inn", "colour", "jsn"] {
        assert!(titles.iter().any(|title| title.contains(word)), "`{word}` is not in {titles:?}");
    }
    assert!(found.iter().any(|found| found["code"] == "P020"), "{titles:?}");
}

#[test]
fn the_registry_speaks_for_itself() {
    let folder = Folder::new();
    let listed = text(&program::run(folder.path(), &["list"]).stdout);
    for name in ["syslog", "remap", "alerts"] {
        assert!(listed.contains(name), "{listed}");
        let page = text(&program::run(folder.path(), &["explain", name]).stdout);
        assert!(page.contains(name) && page.len() > 500, "{page}");
    }
    let schema = program::run(folder.path(), &["schema"]).stdout;
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    assert!(schema["properties"]["sources"].is_object());
    let wrong = program::run(folder.path(), &["explain", "sylog"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("did you mean `syslog`"));
    let drawn = program::run(
        folder.path(),
        &["graph", shipped().join("quickstart.toml").to_str().unwrap()],
    );
    assert!(text(&drawn.stdout).contains("\"failed_login\" -> \"ssh_failed_login\""));
}

/// Ids name cursors, windows and spills: another document must not change them.
#[test]
fn ids_do_not_hang_on_what_else_is_there() {
    let folder = Folder::new();
    let document = "[sources.in]\ntype = \"stdin\"\n[sinks.out]\ntype = \"console\"\n\
                    inputs = [\"in\"]\nencoding.codec = \"text\"\n";
    let ids = |paths: &[&str]| {
        let arguments: Vec<&str> = ["graph"].iter().chain(paths).copied().collect();
        let drawn = program::run(folder.path(), &arguments);
        assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
        String::from_utf8(drawn.stdout).unwrap()
    };
    folder.write("azud.toml", "data_dir = \"data\"\n");
    folder.write("pipelines/one.toml", document);
    let alone = ids(&[]);
    assert!(alone.contains("one/in"), "{alone}");
    let format = "format = \"syslog\"\n[sinks";
    let other = document.replace("stdin", "demo_logs").replace("[sinks", format);
    folder.write("pipelines/two.toml", &other);
    let both = ids(&[]);
    assert!(both.contains("one/in") && both.contains("two/in"), "{both}");
    // That of the instance has no name before its components, nor has one that stands alone.
    folder.write("azud.toml", format!("data_dir = \"data\"\n{other}"));
    folder.write("pipelines/two.toml", "");
    let with_own = ids(&[]);
    assert!(with_own.contains("one/in") && !with_own.contains("azud/in"), "{with_own}");
    assert!(!ids(&["pipelines/one.toml"]).contains("one/in"));
}

#[test]
fn commands_look_at_an_instance_whose_pipelines_have_faults() {
    let folder = Folder::new();
    folder.write("azud.toml", "data_dir = \"here\"\n");
    folder.write("pipelines/bad.toml", "[sinks.out]\ntype = \"nothing\"\n");
    let listed = program::run(folder.path(), &["connectors"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(folder.join("here/azud.db").exists());
    folder.write("azud.toml", "data_dir = 7\n");
    let listed = program::run(folder.path(), &["connectors"]);
    let told = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert_eq!(listed.status.code(), Some(1), "{told}");
    assert!(told.contains("data_dir"), "{told}");
}

#[test]
fn who_stops_reading_gets_no_panic() {
    let folder = Folder::new();
    let azud = program::azud(folder.path(), &["schema"]);
    let line = format!("{} schema | head -c 10", azud.get_program().to_string_lossy());
    let ended = std::process::Command::new("bash").args(["-o", "pipefail", "-c", &line]).output();
    let ended = ended.unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn what_was_taken_in_is_for_who_runs_the_instance() {
    use std::os::unix::fs::PermissionsExt;
    let instance = crate::support::instance::Instance::start(
        "[sources.in]\ntype = \"demo_logs\"\nformat = \"syslog\"\n[sinks.out]\ntype = \
         \"blackhole\"\ninputs = [\"in\"]\n",
    );
    let mode = instance.folder.join("data").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
