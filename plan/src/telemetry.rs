//! Our own metrics: every name in one table, and the handles that components count with.
//!
//! Names are Vector's with `azud_` before them wherever Vector has the same thing; labels are
//! bounded by the plan (components, pipelines, reasons), never by data.

use crate::component::{Attempt, Outcome};
use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were at most so large, by the bounds of [`BUCKETS`]; with their sum and count.
    Histogram,
}

/// A metric that `/metrics` may show.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// What it counts, with its unit.
    pub help: &'static str,
}

macro_rules! metrics_table {
    ($($kind:ident $constant:ident $name:literal $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*
        /// Every metric, sorted by name.
        pub const METRICS: &[Metric] = &[
            $(Metric { name: $name, kind: MetricKind::$kind, help: $help }),*
        ];
    };
}

metrics_table! {
    Counter ALERTS "azud_alerts_total"
        "Revisions of alerts that a rule gave, by rule, severity and change.";
    Gauge BUILD_INFO "azud_build_info" "Always 1; its labels say the version.";
    Counter DISCARDED_EVENTS "azud_component_discarded_events_total"
        "Events that a component let go, by whether its author asked for it.";
    Counter ERRORS "azud_component_errors_total" "Errors of a component, by kind of error.";
    Counter RECEIVED_BYTES "azud_component_received_bytes_total"
        "Bytes that a component received from the outside.";
    Counter RECEIVED_EVENTS "azud_component_received_events_total"
        "Events that a component received.";
    Counter SENT_BYTES "azud_component_sent_bytes_total" "Bytes that a sink delivered.";
    Counter SENT_EVENTS "azud_component_sent_events_total"
        "Events that a component gave on; of a sink, delivered.";
    Counter CONNECTOR_ATTEMPTS "azud_connector_attempts_total"
        "Attempts of a connector to reach the other side, by what came of them: `succeeded`, `limited`, or the cause of the failure.";
    Counter CONNECTOR_BYTES "azud_connector_bytes_total"
        "Bytes of body that came or went by a connector.";
    Gauge CONNECTOR_INTERVAL "azud_connector_interval_seconds" "How often a connector is polled.";
    Gauge CONNECTOR_LAST_SUCCESS "azud_connector_last_success_timestamp_seconds"
        "When a connector last reached the other side, in Unix time.";
    Counter CONNECTOR_RECORDS "azud_connector_records_total"
        "Records that came or went by a connector.";
    Counter CONNECTOR_REQUESTS "azud_connector_requests_total" "Requests of a connector.";
    Gauge CONNECTOR_STATUS "azud_connector_status"
        "1 for the status that a connector has, 0 for the others.";
    Gauge CREDIT_AVAILABLE_BYTES "azud_credit_available_bytes"
        "Bytes that a pipeline may still take before its sinks confirm some.";
    Gauge DATABASE_UP "azud_database_up"
        "Whether the database of the instance answers; absent where there is none.";
    Gauge DEAD_LETTER_BYTES "azud_dead_letters_bytes"
        "Bytes of a pipeline's dead letters on disk.";
    Gauge DEAD_LETTER_MAX_BYTES "azud_dead_letters_max_bytes"
        "How many bytes a pipeline's dead letters may have; then it waits.";
    Counter DEAD_LETTERS "azud_dead_letters_total" "Records set aside, by component and reason.";
    Gauge EPOCH_AGE_SECONDS "azud_epoch_age_seconds"
        "How long the oldest epoch of a pipeline has been under way.";
    Counter HTTP_CLIENT_PAGES "azud_http_client_pages_total" "Pages that a source polled.";
    Histogram HTTP_CLIENT_POLL_PAGES "azud_http_client_poll_pages"
        "Pages of each poll of a source that went to its end.";
    Counter HTTP_CLIENT_REQUESTS "azud_http_client_requests_sent_total"
        "Requests of a source that polls.";
    Counter HTTP_CLIENT_RESPONSES "azud_http_client_responses_total"
        "Answers to a source that polls, by the class of their status (`2xx`); `none` where there was none.";
    Histogram HTTP_CLIENT_RTT "azud_http_client_rtt_seconds"
        "How long each request of a source that polls took, its answer included.";
    Gauge INTAKE_BYTES "azud_intake_bytes" "Bytes of a source that wait in memory to be taken by a pipeline.";
    Gauge LOG_BYTES "azud_intake_log_bytes"
        "Bytes of the log that a restart would need: what waits to be delivered and checkpointed.";
    Gauge LOG_DAMAGED_BYTES "azud_intake_log_damaged_bytes"
        "Bytes of the log that were found damaged and set aside.";
    Gauge LOG_FILE_BYTES "azud_intake_log_file_bytes" "Bytes of the log's files, what is retained included.";
    Gauge LOG_MAX_BYTES "azud_intake_log_max_bytes" "How large the log may be.";
    Gauge LOG_SYNC_SECONDS "azud_intake_log_sync_seconds" "How long the log's last sync took.";
    Gauge OPEN_CONNECTIONS "azud_open_connections" "Connections that a source has open.";
    Gauge COMPLETE_TO "azud_pipeline_complete_to_timestamp_seconds"
        "Up to when what a pipeline says over event time is complete, in Unix time.";
    Counter RETIRED_ROWS "azud_retention_removed_rows_total"
        "Rows that left a table of the database because they were older than `[retention]` says, with those that hang on them.";
    Gauge RULE_MISSING_SOURCES "azud_rule_missing_sources"
        "Sources and senders that a rule over event time does without: its answers are not complete.";
    Counter SECRET_READS "azud_secret_reads_total"
        "Reads of secrets, by backend and by what came of them: `read`, `missing`, `unavailable`.";
    Gauge SECRETS_OLDEST "azud_secrets_oldest_timestamp_seconds"
        "When the oldest secret of a backend that is kept in memory was read, in Unix time; a backend that is down lets it grow old.";
    Counter SINK_ATTEMPTS "azud_sink_attempts_total"
        "Requests of a sink over the network, by what came of them.";
    Gauge SINK_CIRCUIT_OPEN "azud_sink_circuit_open"
        "Whether a sink has stopped sending because its receiver failed again and again.";
    Gauge SINK_QUEUE_BATCHES "azud_sink_queue_batches" "Batches that wait for a sink.";
    Counter SINK_REQUEST_SECONDS "azud_sink_request_seconds_total"
        "Time that requests of a sink took; by the attempts, how long one takes.";
    Gauge SINK_SPILL_BYTES "azud_sink_spill_bytes" "Bytes that wait in the spill of a sink.";
    Counter SINK_SPILL_DAMAGED_BYTES "azud_sink_spill_damaged_bytes_total"
        "Bytes of the spill of a sink that were found damaged and set aside.";
    Gauge SINK_SPILL_EVENTS "azud_sink_spill_events"
        "Events that wait in the spill of a sink; after a restart as many as the last checkpoint knew.";
    Gauge SINK_SPILL_MAX_BYTES "azud_sink_spill_max_bytes" "How much the spill of a sink may hold.";
    Gauge SINK_SPILL_OLDEST_SECONDS "azud_sink_spill_oldest_seconds"
        "How long ago the first event that waits in the spill of a sink was put there.";
    Counter SINK_SPILLED_BYTES "azud_sink_spilled_bytes_total" "Bytes that were put into the spill of a sink.";
    Counter SINK_SPILLED_EVENTS "azud_sink_spilled_events_total"
        "Events that were put into the spill of a sink.";
    Gauge SINK_STATE "azud_sink_state"
        "1 for the state that a sink is in, 0 for the others: `flowing`; `spilling`, what comes goes to disk; `draining`, what is on disk goes out; `dropping`; `full`, its spill has its size and its pipeline waits; `no_room`, the disk of its spill is full and its pipeline waits; `held`, its receiver went back and what it lacks is not kept.";
    Gauge SINK_UNCONFIRMED_SECONDS "azud_sink_unconfirmed_seconds"
        "How long the oldest batch of a sink has waited for its delivery.";
    Histogram SOURCE_LAG "azud_source_lag_time_seconds"
        "How old each record of a source that polls was when it was had, by its event time.";
    Gauge SOURCE_STREAMS "azud_source_streams"
        "Streams of a source (connections, senders, files) by state: `live` are waited for, `straggler` are too far behind for that, `missing` are expected and silent.";
    Counter UDP_KERNEL_DROPS "azud_udp_kernel_drops_total"
        "Datagrams that the kernel dropped because the socket's buffer was full.";
    Gauge UPTIME_SECONDS "azud_uptime_seconds" "How long this process has run.";
    Gauge WATERMARK_LAG_SECONDS "azud_watermark_lag_seconds"
        "How far the watermark of a step is behind the clock: what happened before it is no longer waited for.";
    Gauge WINDOW_DISK_BYTES "azud_window_disk_bytes"
        "Bytes on disk of windows of a step that have ended, kept for late records.";
    Counter KEYS_EVICTED "azud_window_keys_evicted_total"
        "Keys, windows and alerts that a step had to forget because it held as many as it may; what it tells of them is not complete.";
    Counter WORKER_BUSY_SECONDS "azud_worker_busy_seconds_total" "Time that a worker was busy.";
}

/// The upper bounds of the buckets of each histogram, by its name.
pub const BUCKETS: &[(&str, &[f64])] = &[
    // A poll takes a page, or catches up; `max_pages` is 1,000 unless somebody says otherwise.
    (HTTP_CLIENT_POLL_PAGES, &[1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0]),
    // From a server next door to the 60 s after which a request is given up.
    (HTTP_CLIENT_RTT, &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]),
    // From a moment to the days for which APIs keep what happened.
    (SOURCE_LAG, &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0]),
];

/// Tells the recorder what every metric of the table is. Called once, after the recorder is
/// installed.
pub fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

/// Gives the labels of a component.
pub fn component_labels(
    id: &str,
    kind: &'static str,
    r#type: &'static str,
    pipeline: &str,
) -> Vec<Label> {
    vec![
        Label::new("component_id", id.to_owned()),
        Label::new("component_kind", kind),
        Label::new("component_type", r#type),
        Label::new("pipeline", pipeline.to_owned()),
    ]
}

/// The counters of a source that its own task moves; the rest the engine counts.
pub struct SourceMeter {
    labels: Vec<Label>,
    /// Connections open now.
    pub open_connections: Gauge,
    /// Datagrams the kernel dropped.
    pub kernel_drops: Counter,
}

impl SourceMeter {
    /// Makes the counters of the source with these labels (see [`component_labels`]).
    pub fn new(labels: Vec<Label>) -> Self {
        SourceMeter {
            open_connections: gauge!(OPEN_CONNECTIONS, labels.clone()),
            kernel_drops: counter!(UDP_KERNEL_DROPS, labels.clone()),
            labels,
        }
    }

    /// Counts an error of this kind: `handshake`, `accept`, `connection_limit`, `read`.
    pub fn error(&self, kind: &'static str) {
        let mut labels = self.labels.clone();
        labels.push(Label::new("error_type", kind));
        counter!(ERRORS, labels).increment(1);
    }

    /// Counts a request of a poll, what class of status it was answered by, and how long it took.
    pub fn requested(&self, class: &'static str, took: std::time::Duration) {
        counter!(HTTP_CLIENT_REQUESTS, self.labels.clone()).increment(1);
        let mut labels = self.labels.clone();
        labels.push(Label::new("status", class));
        counter!(HTTP_CLIENT_RESPONSES, labels).increment(1);
        histogram!(HTTP_CLIENT_RTT, self.labels.clone()).record(took);
    }

    /// Notes how many pages a poll had that went to its end.
    pub fn polled(&self, pages: u64) {
        histogram!(HTTP_CLIENT_POLL_PAGES, self.labels.clone()).record(pages as f64);
    }

    /// Gives what notes how old records were when they were had, in seconds.
    pub fn lag(&self) -> Histogram {
        histogram!(SOURCE_LAG, self.labels.clone())
    }

    /// Counts a page of a poll.
    pub fn paged(&self) {
        counter!(HTTP_CLIENT_PAGES, self.labels.clone()).increment(1);
    }

    /// Counts datagrams or records let go by a policy that the author wrote.
    pub fn discarded(&self, records: u64) {
        let mut labels = self.labels.clone();
        labels.push(Label::new("intentional", "false"));
        counter!(DISCARDED_EVENTS, labels).increment(records);
    }
}

/// What a sink over the network counts itself; what it delivered the engine counts.
pub struct SinkMeter {
    labels: Vec<Label>,
    seconds: Counter,
    circuit: Gauge,
}

impl SinkMeter {
    /// Makes the counters of a sink.
    pub fn new(id: &str, r#type: &'static str) -> Self {
        let labels = vec![
            Label::new("component_id", id.to_owned()),
            Label::new("component_kind", "sink"),
            Label::new("component_type", r#type),
        ];
        let circuit = gauge!(SINK_CIRCUIT_OPEN, labels.clone());
        circuit.set(0.0);
        let seconds = counter!(SINK_REQUEST_SECONDS, labels.clone());
        SinkMeter { labels, seconds, circuit }
    }

    /// Counts a request: `delivered`, `retried` or `refused`.
    pub fn attempt(&self, outcome: &'static str) {
        let mut labels = self.labels.clone();
        labels.push(Label::new("outcome", outcome));
        counter!(SINK_ATTEMPTS, labels).increment(1);
    }

    /// Adds whole seconds that requests took; the rest of a second is for the caller to keep.
    pub fn took(&self, seconds: u64) {
        self.seconds.increment(seconds);
    }

    /// Counts a failure of this kind: `unreachable`, `timeout`, `throttled`, `status`, `rejected`,
    /// `refused`.
    pub fn error(&self, kind: &'static str) {
        let mut labels = self.labels.clone();
        labels.push(Label::new("error_type", kind));
        counter!(ERRORS, labels).increment(1);
    }

    /// Says whether the circuit is open.
    pub fn circuit(&self, open: bool) {
        self.circuit.set(if open { 1.0 } else { 0.0 });
    }
}

/// What is counted of a backend of secrets.
pub struct SecretMeter {
    backend: String,
    oldest: Gauge,
}

impl SecretMeter {
    /// Makes the counters of the backend of this name.
    pub fn new(backend: &str) -> Self {
        let oldest = gauge!(SECRETS_OLDEST, "backend" => backend.to_owned());
        SecretMeter { backend: backend.to_owned(), oldest }
    }

    /// Counts a read: `read`, `missing` or `unavailable`.
    pub fn read(&self, outcome: &'static str) {
        counter!(SECRET_READS, "backend" => self.backend.clone(), "outcome" => outcome)
            .increment(1);
    }

    /// Says when the oldest secret that is kept was read, in seconds of Unix time.
    pub fn oldest(&self, seconds: f64) {
        self.oldest.set(seconds);
    }
}

/// The statuses of a connector, as the metric names them.
const CONNECTOR_STATUSES: [&str; 5] = ["active", "disabled", "error", "starting", "warning"];

/// What is counted of a connector.
pub struct ConnectorMeter {
    labels: Vec<Label>,
    statuses: [Gauge; 5],
    last_success: Option<Gauge>,
    requests: Counter,
    records: Counter,
    bytes: Counter,
}

impl ConnectorMeter {
    /// Makes the counters of a connector.
    pub fn new(name: &str, kind: &str, r#type: &str) -> Self {
        let labels = vec![
            Label::new("connector", name.to_owned()),
            Label::new("kind", kind.to_owned()),
            Label::new("type", r#type.to_owned()),
        ];
        let statuses = CONNECTOR_STATUSES.map(|status| {
            let mut labels = labels.clone();
            labels.push(Label::new("status", status));
            gauge!(CONNECTOR_STATUS, labels)
        });
        ConnectorMeter {
            statuses,
            last_success: None,
            requests: counter!(CONNECTOR_REQUESTS, labels.clone()),
            records: counter!(CONNECTOR_RECORDS, labels.clone()),
            bytes: counter!(CONNECTOR_BYTES, labels.clone()),
            labels,
        }
    }

    /// Says which status it has.
    pub fn status(&self, status: &str) {
        for (gauge, name) in self.statuses.iter().zip(CONNECTOR_STATUSES) {
            gauge.set(if name == status { 1.0 } else { 0.0 });
        }
    }

    /// Says how often it is polled, in seconds.
    pub fn interval(&self, seconds: f64) {
        gauge!(CONNECTOR_INTERVAL, self.labels.clone()).set(seconds);
    }

    /// Says when it last reached the other side, in Unix time. Absent until it did.
    pub fn succeeded(&mut self, at: f64) {
        let last_success = self
            .last_success
            .get_or_insert_with(|| gauge!(CONNECTOR_LAST_SUCCESS, self.labels.clone()));
        last_success.set(at);
    }

    /// Counts an attempt.
    pub fn attempt(&mut self, attempt: &Attempt) {
        let outcome = match &attempt.outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Limited { .. } => "limited",
            Outcome::Failed(failed) => failed.cause.name(),
        };
        let mut labels = self.labels.clone();
        labels.push(Label::new("outcome", outcome));
        counter!(CONNECTOR_ATTEMPTS, labels).increment(1);
        self.requests.increment(attempt.requests);
        self.records.increment(attempt.records);
        self.bytes.increment(attempt.bytes);
        if attempt.outcome == Outcome::Succeeded {
            self.succeeded(attempt.at.nanoseconds() as f64 / 1e9);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_well_named() {
        assert!(METRICS.is_sorted_by(|a, b| a.name < b.name), "sort the table by name");
        for metric in METRICS {
            let counter = metric.kind == MetricKind::Counter;
            assert_eq!(counter, metric.name.ends_with("_total"), "{}", metric.name);
        }
        let histograms = METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram);
        let histograms: Vec<_> = histograms.map(|metric| metric.name).collect();
        let with_buckets: Vec<_> = BUCKETS.iter().map(|(name, _)| *name).collect();
        assert_eq!(histograms, with_buckets);
        assert!(BUCKETS.iter().all(|(_, bounds)| bounds.is_sorted_by(|a, b| a < b)));
    }
}
