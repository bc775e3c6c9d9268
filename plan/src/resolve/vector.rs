//! What Vector's users know and Azud has by another name, or does not have yet: each with a
//! pointer.

/// Sections and settings; sorted.
const SECTIONS: &[(&str, &str)] = &[
    (
        "acknowledgements",
        "when senders are answered is `intake.acknowledge` of the instance; take it out",
    ),
    ("agents", "agents are not in this version; read files and syslog of the hosts"),
    ("assist", "there is no help with unknown formats in this version"),
    ("enrichment_tables", "there are no enrichment tables in this version"),
    ("healthchecks", "`azud validate` tries the environment; take it out"),
    (
        "log_schema",
        "the names of fields are fixed as `message`, `timestamp`, `host`; rename with a `remap`",
    ),
    ("provider", "documents are files; name them, or a folder of them"),
    ("proxy", "set the proxy where a component asks for it"),
    ("schema", "there is no schema checking in this version; take it out"),
];

/// Types of components; sorted.
const TYPES: &[(&str, &str)] = &[
    ("absence", "`absence` comes later"),
    ("agent", "agents come later; read files and syslog of the hosts"),
    ("aggregate", "aggregation over event time is `summarize`"),
    ("amqp", "messages over AMQP come later"),
    ("aws_s3", "S3 comes later"),
    ("clickhouse", "ClickHouse comes later; write with `file`"),
    (
        "datadog_agent",
        "this does not speak Datadog's protocol; send syslog or JSON lines to `socket`",
    ),
    ("datadog_logs", "this does not speak Datadog's protocol"),
    ("dedupe", "`dedupe` comes later"),
    ("elasticsearch", "Elasticsearch comes later; write with `file`"),
    ("email", "mail comes later"),
    ("exec", "programs are not run; pipe them into `stdin`"),
    ("fluent", "Fluent's protocol comes later; send JSON lines to `socket`"),
    ("http", "receiving over HTTP comes later; the sink `http` sends"),
    ("http_client", "polling comes later"),
    ("http_poll", "the poller is called `http_client`, and comes later"),
    ("http_server", "HTTP comes later; send lines to `socket`"),
    ("internal_logs", "our own log goes to standard error"),
    ("internal_metrics", "our own metrics are at `/metrics` of the API"),
    ("journald", "the journal comes later; pipe `journalctl -f -o json` into `stdin`"),
    ("kafka", "Kafka comes later"),
    ("kubernetes_logs", "Kubernetes comes later"),
    ("log_to_metric", "metrics of logs come later"),
    ("logstash", "Beats' protocol comes later; send JSON lines to `socket`"),
    ("loki", "Loki comes later; write with `file`"),
    ("lua", "there is no Lua; write it as VRL in a `remap`"),
    ("match_indicators", "`match_indicators` comes later"),
    ("metrics", "the tables of metrics come later"),
    ("nats", "NATS comes later"),
    ("opentelemetry", "OpenTelemetry comes later"),
    ("prometheus_exporter", "metrics of logs come later; our own are at `/metrics` of the API"),
    ("prometheus_remote_write", "metrics of logs come later; our own are at `/metrics` of the API"),
    ("reduce", "events of one key are put together by `summarize`; `sequence` comes later"),
    ("route_all", "use `route`"),
    ("sample", "`sample` comes later"),
    ("sequence", "`sequence` comes later"),
    (
        "socket",
        "writing to a socket comes later; write with `file`, or to standard output with `console`",
    ),
    ("splunk_hec", "Splunk's protocol comes later; send JSON lines to `socket`"),
    ("splunk_hec_logs", "Splunk's protocol comes later; write with `file`"),
    ("statsd", "metrics come later"),
    ("swimlanes", "use `route`"),
    ("tag_cardinality_limit", "metrics come later"),
    ("throttle", "`throttle` comes later"),
    ("vector", "Vector's protocol comes later; send JSON lines to `socket`"),
    ("webhook", "`http` sends to any server; alerts are kept by the sink `alerts`"),
    ("window", "windows over event time are `summarize`"),
];

/// Gives what to do instead of a section or setting that is known but not here.
pub(super) fn section(key: &str) -> Option<&'static str> {
    find(SECTIONS, key)
}

/// Gives what to do instead of a type of component that is known but not here.
pub(super) fn component(name: &str) -> Option<&'static str> {
    find(TYPES, name)
}

fn find(table: &[(&str, &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(name, _)| *name == key).map(|(_, pointer)| *pointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        for table in [SECTIONS, TYPES] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
        }
    }
}
