//! Prometheus, the real one, scrapes us; its figures are ours, and promtool finds nothing to say.

use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::metrics;
use crate::support::program::{Program, free_address};
use crate::support::tools::succeed;
use crate::support::wait::{self, PATIENCE};
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};

const EVENTS: usize = 1_000;

fn instance() -> Instance {
    let address = free_address();
    let instance = Instance::start(&format!(
        r#"
[sources.in]
type = "syslog"
mode = "tcp"
address = "{address}"
[transforms.even]
type = "filter"
inputs = ["in"]
condition = 'mod(to_int!(.procid), 2) == 0'
[transforms.minutes]
type = "summarize"
inputs = ["even"]
window = {{ type = "tumbling", size = "1m" }}
fire = "early"
[sinks.results]
type = "file"
inputs = ["minutes"]
path = "@OUT@/results.jsonl"
encoding.codec = "json"
[sinks.out]
type = "file"
inputs = ["even"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
"#
    ));
    let mut sender = TcpStream::connect(address).unwrap();
    for number in 0..EVENTS {
        writeln!(sender, "<13>1 2026-03-01T10:00:00Z web1 app {number} - - hello").unwrap();
    }
    instance.lines("out.jsonl", EVENTS / 2);
    instance
}

#[test]
fn promtool_finds_nothing_to_say() {
    let instance = instance();
    let text = instance.get("/metrics").body;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut promtool = promtool.stderr(Stdio::piped()).spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert_eq!(said, "", "{text}");
}

#[test]
fn the_figures_of_prometheus_are_ours() {
    let instance = instance();
    let address = free_address();
    let configuration = format!(
        "scrape_configs:\n- job_name: azud\n  scrape_interval: 1s\n  static_configs:\n  - targets: ['{}']\n",
        instance.api
    );
    let file = instance.folder.write("prometheus.yml", configuration);
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", file.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", instance.folder.join("tsdb").display()));
    prometheus.arg(format!("--web.listen-address={address}"));
    let _prometheus = Program::start(prometheus, "Server is ready");
    let complete = format!("\"event_count\":{},", EVENTS / 2);
    let results = wait::until("all to be counted", PATIENCE, || {
        let lines = instance.folder.lines("results.jsonl");
        lines.last()?.contains(&complete).then_some(lines.len())
    });
    for (query, expected) in [
        ("azud_component_received_events_total{component_id=\"minutes\"}", EVENTS / 2),
        ("azud_component_sent_events_total{component_id=\"minutes\"}", results),
        ("azud_component_received_events_total{component_id=\"in\"}", EVENTS),
        ("azud_component_received_events_total{component_id=\"even\"}", EVENTS),
        ("azud_component_discarded_events_total{component_id=\"even\"}", EVENTS / 2),
        ("azud_component_sent_events_total{component_id=\"out\"}", EVENTS / 2),
    ] {
        let path = format!("/api/v1/query?query=sum({})", encode(query));
        wait::until(&format!("{query} to be {expected}"), PATIENCE, || {
            let answer = metrics::get(address, &path).ok()?;
            let answer: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
            let value = answer["data"]["result"][0]["value"][1].as_str()?.to_owned();
            (value == expected.to_string()).then_some(())
        });
    }
}

/// What promtool is to find: of connectors that succeeded at 0, after so many minutes those with an
/// interval of a minute and those without one, but not what is no poller or was switched off.
const RULES_CASES: &str = r#"
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - { series: 'azud_connector_interval_seconds{connector="often",kind="api",type="http_client"}', values: '60x2000' }
  - { series: 'azud_connector_interval_seconds{connector="off",kind="api",type="http_client"}', values: '60x2000' }
  - { series: 'azud_connector_last_success_timestamp_seconds{connector="often",kind="api",type="http_client"}', values: '0x2000' }
  - { series: 'azud_connector_last_success_timestamp_seconds{connector="off",kind="api",type="http_client"}', values: '0x2000' }
  - { series: 'azud_connector_last_success_timestamp_seconds{connector="nightly",kind="api",type="http_client"}', values: '0x2000' }
  - { series: 'azud_connector_last_success_timestamp_seconds{connector="sink",kind="sink",type="http"}', values: '0x2000' }
  - { series: 'azud_connector_status{connector="off",kind="api",type="http_client",status="disabled"}', values: '1x2000' }
  - { series: 'azud_connector_status{connector="often",kind="api",type="http_client",status="disabled"}', values: '0x2000' }
  - { series: 'azud_connector_status{connector="sink",kind="sink",type="http",status="error"}', values: '1x2000' }
  alert_rule_test:
  - { eval_time: 3m, alertname: AzudConnectorSilent, exp_alerts: [] }
  - eval_time: 4m
    alertname: AzudConnectorSilent
    exp_alerts: [ { exp_labels: { connector: often, kind: api, type: http_client } } ]
  - { eval_time: 24h, alertname: AzudConnectorSilent, exp_alerts: [ { exp_labels: { connector: often, kind: api, type: http_client } } ] }
  - eval_time: 1441m
    alertname: AzudConnectorSilent
    exp_alerts:
    - { exp_labels: { connector: often, kind: api, type: http_client } }
    - { exp_labels: { connector: nightly, kind: api, type: http_client } }
  - eval_time: 4m
    alertname: AzudConnectorError
    exp_alerts: [ { exp_labels: { connector: sink, kind: sink, type: http, status: error } } ]
"#;

#[test]
fn the_rules_of_the_manual_find_who_is_silent() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/connectors.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let (_, rules) = manual.split_once("```yaml\ngroups:").expect("the manual has rules");
    let (rules, _) = rules.split_once("```").unwrap();
    let folder = Folder::new();
    folder.write("rules.yml", format!("groups:{rules}"));
    folder.write("cases.yml", RULES_CASES);
    let mut promtool = Command::new("promtool");
    succeed(promtool.args(["test", "rules", "cases.yml"]).current_dir(folder.path()));
}

/// Writes a query so that it may stand in a URL.
fn encode(query: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let escaped =
        |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    query.bytes().map(escaped).collect()
}
