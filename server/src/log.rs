//! `azud log`: what is in the log of an instance, who needs it still, and whether it is whole.

use crate::cli::{DataFolder, Form, Global, Log};
use crate::data_folder;
use crate::documents::plural;
use crate::outcome::Outcome;
use crate::table::{size, table};
use azud_engine::inspect::{self, LogReport, Reading};
use azud_engine::log::{EntryKind, LogPosition, SegmentKind, SegmentReport};
use azud_event::time::EventTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Inspects or verifies the log.
pub fn log(command: &Log, global: &Global) -> Outcome {
    let (DataFolder { data_dir, format }, reading) = match command {
        Log::Inspect(data) => (data, Reading::Headers),
        Log::Verify(data) => (data, Reading::Everything),
    };
    let folder = match data_folder::find(data_dir.as_deref(), global) {
        Ok(folder) => folder,
        Err(outcome) => return outcome,
    };
    let report = match inspect::log(&folder, reading) {
        Ok(report) => report,
        Err(error) => return data_folder::explain(&error),
    };
    match (format, reading) {
        (Form::Json, _) => println!("{}", to_json(&report, reading)),
        (Form::Human, Reading::Headers) => print!("{}", inspected(&folder, &report)),
        (Form::Human, Reading::Everything) => print!("{}", verified(&report)),
    }
    match reading {
        Reading::Everything if !is_whole(&report) => Outcome::Environment,
        _ => Outcome::Well,
    }
}

fn is_whole(report: &LogReport) -> bool {
    report.log.damaged_count == 0 && report.log.missing.is_empty()
}

/// Shows segments, sources, pipelines, and what holds the log back.
fn inspected(folder: &Path, report: &LogReport) -> String {
    let log = &report.log;
    let bytes = log.segments.iter().map(|segment| segment.file_bytes).sum();
    let count = plural(log.segments.len(), "segment");
    let mut out = format!("{}: {count}, {} on disk\n\n", folder.display(), size(bytes));
    out.push_str(&segments(report));
    let sources = log.sources.iter().map(|(key, blocks)| {
        let time = |time: Option<EventTime>| time.map_or_else(unknown, EventTime::to_rfc3339);
        [
            name(&report.sources, *key),
            blocks.entries.to_string(),
            size(blocks.bytes),
            blocks.first.to_string(),
            blocks.last.to_string(),
            time(blocks.received.map(|(first, _)| first)),
            time(blocks.received.map(|(_, last)| last)),
        ]
    });
    out.push('\n');
    let head = ["source", "blocks", "bytes", "first at", "last at", "received from", "to"];
    out.push_str(&table(head, sources));
    out.push('\n');
    out.push_str(&pipelines(report));
    out.push('\n');
    out.push_str(&held(report));
    out.push_str(&damage(report));
    out
}

fn segments(report: &LogReport) -> String {
    let last = report.log.segments.len().saturating_sub(1);
    let rows = report.log.segments.iter().enumerate().map(|(number, segment)| {
        let count = |kind| segment.entries.get(&kind).copied().unwrap_or_default();
        let state = match &segment.header {
            None => "unreadable".to_owned(),
            Some(header) if header.kind == SegmentKind::Packed => "packed".to_owned(),
            Some(_) if number == last => "open".to_owned(),
            Some(_) => "closed".to_owned(),
        };
        [
            segment.name.clone(),
            state,
            size(segment.file_bytes),
            segment.header.as_ref().map_or_else(unknown, |header| header.start.to_string()),
            segment.end.to_string(),
            segment.header.as_ref().map_or_else(unknown, |header| header.made_at.to_rfc3339()),
            count(EntryKind::Block).to_string(),
            count(EntryKind::Epoch).to_string(),
            needed_by(report, segment).unwrap_or_else(|| "nobody".to_owned()),
        ]
    });
    let head = ["segment", "state", "bytes", "from", "to", "made", "blocks", "epochs", "needed by"];
    table(head, rows)
}

/// Names the pipelines whose restart needs a segment.
fn needed_by(report: &LogReport, segment: &SegmentReport) -> Option<String> {
    let first = report.log.first();
    let needs = report.holds.iter().filter(|hold| hold.from >= first && hold.from < segment.end);
    let names: Vec<&str> = needs.map(|hold| hold.pipeline.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn pipelines(report: &LogReport) -> String {
    let mut known = report.pipelines.clone();
    // A pipeline without a checkpoint has no name here, only the hash of it.
    for key in report.log.pipelines.keys() {
        known.entry(*key).or_insert_with(|| unnamed(*key));
    }
    let rows = known.iter().map(|(key, name)| {
        let epochs = report.log.pipelines.get(key);
        let hold = report.holds.iter().find(|hold| hold.pipeline == *name);
        [
            name.clone(),
            epochs.map_or(0, |epochs| epochs.count).to_string(),
            epochs.map_or_else(unknown, |epochs| epochs.first.to_string()),
            epochs.map_or_else(unknown, |epochs| epochs.last.to_string()),
            hold.map_or_else(unknown, |hold| hold.next.to_string()),
            hold.map_or_else(unknown, |hold| hold.from.to_string()),
        ]
    });
    let head = ["pipeline", "epochs", "first", "last", "a restart begins at", "needs the log from"];
    table(head, rows)
}

/// Says in a sentence what holds the log.
fn held(report: &LogReport) -> String {
    let end = report.log.segments.last().map_or(LogPosition(0), |last| last.end);
    match report.holder() {
        Some(hold) => format!(
            "the checkpoint of `{}` before epoch {} holds the log from {} on ({}); what is before \
             is kept for `intake.retain`\n",
            hold.pipeline,
            hold.next,
            hold.from,
            size(end.0.saturating_sub(hold.from.0)),
        ),
        None => "no checkpoint says what is needed, so all of it is held\n".to_owned(),
    }
}

/// Shows what is damaged or missing, and what that costs; nothing where all is well.
fn damage(report: &LogReport) -> String {
    let log = &report.log;
    let mut out = String::new();
    for (from, to) in &log.damaged {
        let segment = log
            .segments
            .iter()
            .rfind(|it| it.header.as_ref().is_some_and(|header| header.start <= *from));
        let segment = segment.or(log.segments.first()).map_or("", |segment| segment.name.as_str());
        let bytes = size(to.0 - from.0);
        out.push_str(&format!(
            "damaged: {bytes} from {from} to {to} in {segment}; {}\n",
            cost(report, *to)
        ));
    }
    let more = log.damaged_count - log.damaged.len() as u64;
    if more > 0 {
        out.push_str(&format!("damaged: {more} stretches more\n"));
    }
    for (from, to) in &log.missing {
        let bytes = size(to.0 - from.0);
        out.push_str(&format!(
            "missing: {bytes} from {from} to {to}, a file was taken away; {}\n",
            cost(report, *to)
        ));
    }
    if log.torn_bytes > 0 {
        let bytes = size(log.torn_bytes);
        out.push_str(&format!(
            "the last {bytes} are no entry: a running instance is about to write there, else the \
             next start cuts them; nobody was told that they are safe\n"
        ));
    }
    out
}

/// Says what a stretch that cannot be read costs.
fn cost(report: &LogReport, to: LogPosition) -> &'static str {
    if to <= report.needed_from() {
        "no restart needs it: only what would be looked up in the kept log is lost"
    } else {
        "a restart passes over it: the records in it that are not delivered yet are lost, and told"
    }
}

/// Says whether the log is whole, and else what is not.
fn verified(report: &LogReport) -> String {
    let log = &report.log;
    let entries: u64 = log.segments.iter().flat_map(|segment| segment.entries.values()).sum();
    let bytes = log.segments.iter().map(|segment| segment.file_bytes).sum();
    let read =
        format!("{entries} entries in {}, {}", plural(log.segments.len(), "segment"), size(bytes));
    match is_whole(report) {
        true => format!("well: {read}\n{}", damage(report)),
        false => format!("{}damaged: the rest is well, {read}\n", damage(report)),
    }
}

fn to_json(report: &LogReport, reading: Reading) -> Value {
    let log = &report.log;
    let stretch = |(from, to): &(LogPosition, LogPosition)| json!({ "from": from.0, "to": to.0 });
    let sources = log.sources.iter().map(|(key, blocks)| {
        json!({
            "source": report.sources.get(key),
            "key": format!("{key:016x}"),
            "blocks": blocks.entries,
            "bytes": blocks.bytes,
            "first_position": blocks.first.0,
            "last_position": blocks.last.0,
            "first_received_at": blocks.received.map(|(first, _)| first.to_rfc3339()),
            "last_received_at": blocks.received.map(|(_, last)| last.to_rfc3339()),
        })
    });
    let pipelines = log.pipelines.iter().map(|(key, epochs)| {
        json!({
            "pipeline": report.pipelines.get(key),
            "key": format!("{key:016x}"),
            "epochs": epochs.count,
            "first_epoch": epochs.first,
            "last_epoch": epochs.last,
        })
    });
    let hold = |hold: &inspect::Hold| json!({ "pipeline": hold.pipeline, "next_epoch": hold.next, "position": hold.from.0 });
    json!({
        "segments": log.segments.iter().map(segment_json).collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
        "pipelines": pipelines.collect::<Vec<_>>(),
        "needed_by": report.holds.iter().map(hold).collect::<Vec<_>>(),
        "held_by": report.holder().map(hold),
        "payloads_read": reading == Reading::Everything,
        "damaged": log.damaged.iter().map(stretch).collect::<Vec<_>>(),
        "damaged_total": log.damaged_count,
        "missing": log.missing.iter().map(stretch).collect::<Vec<_>>(),
        "torn_bytes": log.torn_bytes,
    })
}

fn segment_json(segment: &SegmentReport) -> Value {
    let header = segment.header.as_ref();
    let packed = header.map(|header| header.kind == SegmentKind::Packed);
    let closed = header.filter(|header| header.kind == SegmentKind::Packed);
    let count = |kind| segment.entries.get(&kind).copied().unwrap_or_default();
    json!({
        "file": segment.name,
        "bytes": segment.file_bytes,
        "start": header.map(|header| header.start.0),
        "end": segment.end.0,
        "packed": packed,
        "made_at": header.map(|header| header.made_at.to_rfc3339()),
        "closed_at": closed.map(|header| header.closed_at.to_rfc3339()),
        "blocks": count(EntryKind::Block),
        "epochs": count(EntryKind::Epoch),
    })
}

fn name(names: &BTreeMap<u64, String>, key: u64) -> String {
    names.get(&key).cloned().unwrap_or_else(|| unnamed(key))
}

/// Stands for a name of which only the hash is known.
fn unnamed(key: u64) -> String {
    format!("(unknown {key:016x})")
}

fn unknown() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_engine::inspect::Hold;
    use azud_engine::log::{Blocks, Epochs, Inspection, SegmentHeader};

    fn at(second: i64) -> EventTime {
        EventTime::from_nanoseconds((1_772_359_200 + second) * 1_000_000_000)
    }

    fn segment(start: u64, end: u64, kind: SegmentKind) -> SegmentReport {
        let start = LogPosition(start);
        let header = SegmentHeader {
            kind,
            incarnation: [0; 16],
            start,
            previous_end: start,
            made_at: at(start.0 as i64 / 1_000),
            end: LogPosition(end),
            closed_at: at(end as i64 / 1_000),
        };
        SegmentReport {
            name: format!(
                "{:016x}.{}",
                start.0,
                if kind == SegmentKind::Raw { "log" } else { "packed" }
            ),
            header: Some(header),
            end: LogPosition(end),
            file_bytes: 1_200,
            entries: [(EntryKind::Block, 2), (EntryKind::Epoch, 3)].into(),
        }
    }

    fn report() -> LogReport {
        let blocks = Blocks {
            entries: 6,
            bytes: 3_000,
            first: LogPosition(0),
            last: LogPosition(2_500),
            received: Some((at(0), at(9))),
        };
        let segments = vec![
            segment(0, 1_000, SegmentKind::Packed),
            segment(1_000, 2_000, SegmentKind::Raw),
            segment(2_000, 3_000, SegmentKind::Raw),
        ];
        let log = Inspection {
            segments,
            sources: [(1, blocks), (2, Blocks { received: None, ..blocks })].into(),
            pipelines: [(7, Epochs { first: 1, last: 9, count: 9 })].into(),
            ..Inspection::default()
        };
        let hold = |pipeline: &str, from| Hold {
            pipeline: pipeline.to_owned(),
            next: 4,
            from: LogPosition(from),
        };
        LogReport {
            log,
            holds: vec![hold("auth", 1_500), hold("quick", 2_900)],
            sources: [(1, "in".to_owned())].into(),
            pipelines: [(7, "auth".to_owned()), (8, "quick".to_owned())].into(),
        }
    }

    #[test]
    fn a_log_is_shown_with_who_needs_it() {
        let shown = inspected(Path::new("data"), &report());
        let expected = "\
data: 3 segments, 3.5 KiB on disk

segment                  state   bytes    from  to    made                         blocks  epochs  needed by
0000000000000000.packed  packed  1.2 KiB  0     1000  2026-03-01T10:00:00.000000Z  2       3       nobody
00000000000003e8.log     closed  1.2 KiB  1000  2000  2026-03-01T10:00:01.000000Z  2       3       auth
00000000000007d0.log     open    1.2 KiB  2000  3000  2026-03-01T10:00:02.000000Z  2       3       auth, quick

source                      blocks  bytes    first at  last at  received from                to
in                          6       2.9 KiB  0         2500     2026-03-01T10:00:00.000000Z  2026-03-01T10:00:09.000000Z
(unknown 0000000000000002)  6       2.9 KiB  0         2500     -                            -

pipeline  epochs  first  last  a restart begins at  needs the log from
auth      9       1      9     4                    1500
quick     0       -      -     4                    2900

the checkpoint of `auth` before epoch 4 holds the log from 1500 on (1.5 KiB); what is before is kept for `intake.retain`
";
        assert_eq!(shown, expected);
        let json = to_json(&report(), Reading::Headers);
        assert_eq!(json["held_by"]["pipeline"], "auth");
        assert_eq!(json["sources"][0]["last_received_at"], "2026-03-01T10:00:09.000000Z");
        assert_eq!(json["segments"][2]["closed_at"], Value::Null);
    }

    #[test]
    fn damage_is_named_with_what_it_costs() {
        assert!(verified(&report()).starts_with("well: 15 entries in 3 segments, 3.5 KiB\n"));
        let mut damaged = report();
        damaged.log.damaged =
            vec![(LogPosition(200), LogPosition(400)), (LogPosition(2_100), LogPosition(2_900))];
        damaged.log.damaged_count = 5;
        damaged.log.missing = vec![(LogPosition(1_000), LogPosition(2_000))];
        damaged.log.torn_bytes = 10;
        assert!(!is_whole(&damaged));
        let expected = "\
damaged: 200 B from 200 to 400 in 0000000000000000.packed; no restart needs it: only what would be looked up in the kept log is lost
damaged: 800 B from 2100 to 2900 in 00000000000007d0.log; a restart passes over it: the records in it that are not delivered yet are lost, and told
damaged: 3 stretches more
missing: 1000 B from 1000 to 2000, a file was taken away; a restart passes over it: the records in it that are not delivered yet are lost, and told
the last 10 B are no entry: a running instance is about to write there, else the next start cuts them; nobody was told that they are safe
damaged: the rest is well, 15 entries in 3 segments, 3.5 KiB
";
        assert_eq!(verified(&damaged), expected);
    }

    #[test]
    fn a_pipeline_whose_log_was_let_go_holds_nothing() {
        let mut report = report();
        report.log.segments.remove(0);
        report.holds[0].from = LogPosition(10);
        assert_eq!(report.holder().map(|hold| hold.pipeline.as_str()), Some("quick"));
        assert_eq!(needed_by(&report, &report.log.segments[0]), None);
        report.holds.clear();
        assert_eq!(held(&report), "no checkpoint says what is needed, so all of it is held\n");
    }
}
