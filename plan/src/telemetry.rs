//! Our own metrics: every name in one table, and the handles that components count with.
//!
//! Names are Vector's with `azud_` before them wherever Vector has the same thing; labels are
//! bounded by the plan (components, pipelines, reasons), never by data.

use metrics::{Counter, Gauge, Label, counter, describe_counter, describe_gauge, gauge};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
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
        "1 for the state that a sink is in, 0 for the others: `flowing`; `spilling`, what comes goes to disk; `draining`, what is on disk goes out; `dropping`; `full`, its pipeline waits; `held`, its receiver went back and what it lacks is not kept.";
    Gauge SINK_UNCONFIRMED_SECONDS "azud_sink_unconfirmed_seconds"
        "How long the oldest batch of a sink has waited for its delivery.";
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

/// Tells the recorder what every metric of the table is. Called once, after the recorder is
/// installed.
pub fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, metric.help),
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
    }
}
