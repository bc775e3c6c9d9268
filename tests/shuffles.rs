//! An hour of events in streams that arrive in two hundred interleavings, cut into epochs at random
//! and with every state written and read back in between: windows and alerts end alike.

use crate::support::files::Folder;
use crate::support::program;
use std::fmt::Write;

const STEPS: &str = r#"
[sources.in]
type = "stdin"
decoding.codec = "json"

[transforms.all]
type = "remap"
inputs = ["in"]
source = '.user = downcase(string!(.user))'

[transforms.failures]
type = "filter"
inputs = ["all"]
condition = '.outcome == "failure"'

[transforms.minutes]
type = "summarize"
inputs = ["failures"]
group_by = ["user"]
window = { type = "tumbling", size = "5m" }
fields.failures = { aggregate = "count" }
fields.addresses = { aggregate = "distinct", field = "ip" }
fields.first = { aggregate = "first", field = "ip" }
fields.last = { aggregate = "last", field = "ip" }

[transforms.overlapping]
type = "summarize"
inputs = ["all"]
group_by = ["user"]
window = { type = "hopping", size = "10m", slide = "2m" }
having = '.rate > 1'
fields.rate = { aggregate = "count", condition = '.outcome == "success"' }
fields.slow = { aggregate = "quantile", field = "ms", quantile = 0.95 }

[transforms.visits]
type = "summarize"
inputs = ["all"]
group_by = ["user", "ip"]
window = { type = "session", gap = "3m" }
fields.events = { aggregate = "count" }

[transforms.busy]
type = "filter"
inputs = ["minutes"]
condition = '.failures > 2'

[transforms.quarter]
type = "summarize"
inputs = ["busy"]
window = { type = "tumbling", size = "15m" }
fields.worst = { aggregate = "max", field = "failures" }
fields.users = { aggregate = "distinct", field = "user" }

[transforms.bruteforce]
type = "alert"
inputs = ["minutes"]
rule = "bruteforce"
condition = '.failures >= 4'
severity = "high"
title = "{{ failures }} failures of {{ user }}"

[transforms.single]
type = "alert"
inputs = ["failures"]
rule = "single"
condition = 'int!(.ms) > 800'
key = ["user"]
every = "10m"
severity = "low"
title = "slow failure of {{ user }}"

[sinks.out]
type = "blackhole"
inputs = ["overlapping", "visits", "quarter", "bruteforce", "single"]
"#;

/// How many streams there are; one in twenty is far behind.
const STREAMS: usize = 20;

fn document() -> String {
    let mut document = STEPS.to_owned();
    document.push_str("[[tests]]\nname = \"an hour\"\n");
    for stream in 0..STREAMS {
        let user = ["anna", "ben", "carl"][stream % 3];
        let outcome = if stream % 4 == 0 { "success" } else { "failure" };
        let (minute, second) = (stream * 7 % 50, stream * 13 % 60);
        let (count, every) = (8 + stream % 5 * 4, 17 + stream * 11 % 80);
        let ms = 100 + stream * 53;
        writeln!(
            document,
            r#"[[tests.inputs]]
insert_at = "all"
type = "log"
at = "2026-03-01T10:{minute:02}:{second:02}Z"
repeat = {{ count = {count}, every = "{every}s" }}
log_fields = {{ user = "{user}", ip = "10.0.0.{ip}", outcome = "{outcome}", ms = {ms} }}"#,
            ip = stream % 6,
        )
        .unwrap();
    }
    for output in ["overlapping", "visits", "quarter", "bruteforce", "single"] {
        writeln!(document, "[[tests.outputs]]\nextract_from = \"{output}\"").unwrap();
        document.push_str("conditions = [{ type = \"vrl\", source = 'exists(.id)' }]\n");
    }
    document
}

#[test]
fn two_hundred_interleavings_end_alike() {
    let folder = Folder::new();
    let path = folder.write("hour.toml", document());
    let output = program::run(folder.path(), &["test", &path.to_string_lossy(), "--shuffles=200"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("test an hour … ok"), "{said}");
}
