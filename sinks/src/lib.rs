//! Sinks: where results go, a file each.
//!
//! A sink is checked and run as `azud_plan::component` says. What they share stands in `deliver.rs`
//! (groups of batches, trying again, requests over the network) and `encoding.rs` (records to
//! bytes). None holds more than a bounded group of batches beside its queue; what it cannot deliver
//! now it keeps trying, so that nothing is confirmed that was not delivered.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alerts;
mod blackhole;
mod console;
mod deliver;
mod elasticsearch;
mod encoding;
mod file;
mod headers;
mod http;
mod limits;

#[cfg(test)]
mod testing;

use azud_plan::component::SinkFactory;

/// Every sink, sorted by name.
pub const SINKS: &[&SinkFactory] = &[
    &alerts::ALERTS,
    &blackhole::BLACKHOLE,
    &console::CONSOLE,
    &elasticsearch::ELASTICSEARCH,
    &file::FILE,
    &http::HTTP,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_sink, record};

    #[test]
    fn the_list_is_sorted_and_complete_in_words() {
        assert!(SINKS.is_sorted_by(|a, b| a.name < b.name), "sort the list by name");
        for sink in SINKS {
            assert!(!sink.examples.is_empty(), "{}", sink.name);
            assert!(!sink.description.is_empty() && sink.summary.ends_with('.'), "{}", sink.name);
        }
    }

    #[test]
    fn the_examples_give_what_they_say() {
        for sink in SINKS {
            for example in sink.examples {
                let mut encoder = check_sink(sink, example.toml).encoder();
                let mut out = Vec::new();
                for line in example.input.lines() {
                    let mut name = String::new();
                    let record = record(line);
                    encoder.partition(&record, &mut name).unwrap();
                    encoder.encode(&record, &mut out).unwrap();
                }
                let written = String::from_utf8(out).unwrap();
                let written: Vec<_> = written.lines().filter(|line| !line.is_empty()).collect();
                let expected: Vec<_> = example.output.lines().collect();
                assert_eq!(written, expected, "{}: {}", sink.name, example.title);
            }
        }
    }
}
