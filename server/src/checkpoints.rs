//! `azud checkpoint`: what a restart goes on from.

use crate::cli::{Checkpoint, DataFolder, Form, Global, InspectCheckpoint};
use crate::data_folder;
use crate::outcome::Outcome;
use crate::table::{ago, size, table};
use azud_engine::inspect::{self, CheckpointFile, CheckpointReport, Checkpoints};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use serde_json::{Value, json};

/// Lists checkpoints, or inspects the newest of each pipeline.
pub fn checkpoint(command: &Checkpoint, global: &Global) -> Outcome {
    let (Checkpoint::List(data) | Checkpoint::Inspect(InspectCheckpoint { data, .. })) = command;
    let found = match found(data, global) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    let now = Clock::system().now();
    match command {
        Checkpoint::List(_) => list(&found, data.format, now),
        Checkpoint::Inspect(InspectCheckpoint { pipeline, .. }) => {
            inspect_newest(found, pipeline.as_deref(), data.format, now)
        }
    }
}

fn found(data: &DataFolder, global: &Global) -> Result<Vec<Checkpoints>, Outcome> {
    let folder = data_folder::find(data.data_dir.as_deref(), global)?;
    inspect::checkpoints(&folder).map_err(|error| data_folder::explain(&error))
}

fn list(found: &[Checkpoints], format: Form, now: EventTime) -> Outcome {
    let files =
        found.iter().flat_map(|it| it.files.iter().map(|file| (it.pipeline.as_str(), file)));
    match format {
        Form::Json => files.for_each(|(pipeline, file)| println!("{}", to_json(pipeline, file))),
        Form::Human => print!("{}", listing(found, now)),
    }
    Outcome::Well
}

/// Sets all checkpoints in a table, and says what is wrong with those that are damaged.
fn listing(found: &[Checkpoints], now: EventTime) -> String {
    let (mut rows, mut faults) = (Vec::new(), String::new());
    for Checkpoints { pipeline, files } in found {
        for file in files {
            match &file.content {
                Ok(known) => rows.push(row(pipeline, file, known, now)),
                Err(error) => {
                    rows.push(damaged_row(pipeline, file));
                    let cost = cost(files, file);
                    faults.push_str(&format!("damaged: {error}; {cost}\n"));
                }
            }
        }
    }
    if rows.is_empty() {
        return "no checkpoints\n".to_owned();
    }
    let head =
        ["pipeline", "next epoch", "at", "age", "bytes", "keys", "needs the log from", "whole"];
    table(head, rows) + &faults
}

fn row(
    pipeline: &str,
    file: &CheckpointFile,
    known: &CheckpointReport,
    now: EventTime,
) -> [String; 8] {
    let keys: u64 = known.steps.iter().map(|step| step.keys).sum();
    [
        pipeline.to_owned(),
        known.next.to_string(),
        known.now.map_or_else(unknown, EventTime::to_rfc3339),
        known.now.map_or_else(unknown, |at| ago(now.since(at))),
        size(file.bytes),
        keys.to_string(),
        known.needs_log_from.map_or_else(unknown, |from| from.to_string()),
        "yes".to_owned(),
    ]
}

fn damaged_row(pipeline: &str, file: &CheckpointFile) -> [String; 8] {
    let [mut next, at, age] = [unknown(), unknown(), unknown()];
    if let Some(epoch) = inspect::epoch_of(&file.path) {
        next = epoch.to_string();
    }
    let bytes = size(file.bytes);
    [pipeline.to_owned(), next, at, age, bytes, unknown(), unknown(), "no".to_owned()]
}

/// Says what it costs that a checkpoint is damaged.
fn cost(files: &[CheckpointFile], damaged: &CheckpointFile) -> &'static str {
    let newest = files.last().is_some_and(|last| last.path == damaged.path);
    let any = files.iter().any(|file| file.content.is_ok());
    match (any, newest) {
        (true, true) => "a start goes on from the one before, and repeats more of the log",
        (true, false) => "it is not needed as long as a newer one is whole",
        (false, _) => {
            "a start is refused unless the log reaches back to the first epoch; restore it from a copy"
        }
    }
}

fn inspect_newest(
    mut found: Vec<Checkpoints>,
    pipeline: Option<&str>,
    format: Form,
    now: EventTime,
) -> Outcome {
    if let Some(wanted) = pipeline {
        let known: Vec<String> = found.iter().map(|it| it.pipeline.clone()).collect();
        found.retain(|it| it.pipeline == wanted);
        if found.is_empty() {
            return no_pipeline(wanted, &known);
        }
    }
    let mut outcome = Outcome::Well;
    for Checkpoints { pipeline, files } in &found {
        let newest = files.iter().rev().find(|file| file.content.is_ok());
        let passed = files.iter().rev().take_while(|file| file.content.is_err());
        for file in passed {
            if let Err(error) = &file.content {
                eprintln!("error[E008]: {error}; {}", cost(files, file));
            }
        }
        let Some(file) = newest else {
            outcome = Outcome::Environment;
            continue;
        };
        match (&file.content, format) {
            (_, Form::Json) => println!("{}", to_json(pipeline, file)),
            (Ok(known), Form::Human) => print!("{}", page(pipeline, file, known, now)),
            (Err(_), Form::Human) => {}
        }
    }
    outcome
}

fn no_pipeline(wanted: &str, known: &[String]) -> Outcome {
    eprintln!("error[E008]: no pipeline `{wanted}` has a checkpoint here");
    match azud_plan::diagnostic::nearest(wanted, known.iter().map(String::as_str)) {
        Some(near) => eprintln!("help: did you mean `{near}`?"),
        None => eprintln!("help: those that have one: {}", known.join(", ")),
    }
    Outcome::Environment
}

/// Shows one checkpoint.
fn page(pipeline: &str, file: &CheckpointFile, known: &CheckpointReport, now: EventTime) -> String {
    let at = match known.now {
        Some(at) => format!("at {at}, {}", ago(now.since(at))),
        None => "of nothing: the pipeline begins there".to_owned(),
    };
    let mut out = format!(
        "{pipeline}: before epoch {}, {at}\n{}, {}, whole\n\n",
        known.next,
        file.path.display(),
        size(file.bytes),
    );
    let sources = known.sources.iter().map(|source| {
        [
            source.id.clone(),
            source.position.to_string(),
            source.streams.to_string(),
            source.farthest.map_or_else(unknown, EventTime::to_rfc3339),
            source.marks.to_string(),
        ]
    });
    let head = ["source", "taken before", "streams waited for", "event time shown", "marks"];
    out.push_str(&table(head, sources));
    if !known.steps.is_empty() {
        let steps = known.steps.iter().map(|step| {
            [
                step.id.clone().unwrap_or_else(|| format!("(unknown {:016x})", step.key)),
                step.keys.to_string(),
                size(step.bytes),
                size(step.archived),
                step.groups.to_string(),
                step.watermark.filter(is_a_time).map_or_else(unknown, EventTime::to_rfc3339),
            ]
        });
        out.push('\n');
        let head = ["step", "keys", "bytes", "in the archive", "key groups", "watermark"];
        out.push_str(&table(head, steps));
    }
    for (sink, records) in known.spills.iter().filter(|(_, records)| *records > 0) {
        out.push_str(&format!(
            "\nsink `{sink}` owes about {records} records, which are in its spill\n"
        ));
    }
    out.push('\n');
    out.push_str(&plan(known));
    out
}

/// Writes the plan that made a checkpoint, as documents do.
fn plan(known: &CheckpointReport) -> String {
    let mut out = String::new();
    for it in known.plan.iter() {
        out.push_str(&format!("[{}s.{}]\n", it.role, it.id));
        match it.text.is_empty() {
            // Of a sink no more is kept.
            true => out.push_str(&format!("type = \"{}\"\n", it.kind)),
            false => out.push_str(&it.text),
        }
        out.push('\n');
    }
    out
}

/// Whether a watermark stands somewhere, and neither before nor behind everything.
fn is_a_time(watermark: &EventTime) -> bool {
    *watermark > EventTime::MIN && *watermark < EventTime::MAX
}

fn to_json(pipeline: &str, file: &CheckpointFile) -> Value {
    let path = file.path.display().to_string();
    let known = match &file.content {
        Ok(known) => known,
        Err(error) => {
            return json!({
                "pipeline": pipeline,
                "next_epoch": inspect::epoch_of(&file.path),
                "file": path,
                "bytes": file.bytes,
                "whole": false,
                "error": error.to_string(),
            });
        }
    };
    let sources = known.sources.iter().map(|source| {
        json!({
            "source": source.id,
            "position": source.position.0,
            "streams": source.streams,
            "event_time": source.farthest.map(EventTime::to_rfc3339),
            "marks": source.marks,
        })
    });
    let steps = known.steps.iter().map(|step| {
        json!({
            "step": step.id,
            "key": format!("{:016x}", step.key),
            "watermark": step.watermark.filter(is_a_time).map(EventTime::to_rfc3339),
            "keys": step.keys,
            "bytes": step.bytes,
            "archived_bytes": step.archived,
            "key_groups": step.groups,
        })
    });
    let spills = known.spills.iter();
    let spills = spills.map(|(sink, records)| json!({ "sink": sink, "records": records }));
    json!({
        "pipeline": pipeline,
        "next_epoch": known.next,
        "at": known.now.map(EventTime::to_rfc3339),
        "file": path,
        "bytes": file.bytes,
        "whole": true,
        "needs_log_from": known.needs_log_from.map(|from| from.0),
        "sources": sources.collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(),
        "owed": spills.collect::<Vec<_>>(),
        "plan": *known.plan,
    })
}

fn unknown() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_engine::inspect::{InspectError, Planned, SourceReport, StepReport};
    use azud_engine::log::LogPosition;
    use std::path::{Path, PathBuf};

    const NOW: EventTime = EventTime::from_nanoseconds(1_772_359_200_000_000_000);

    fn file(epoch: u64, content: CheckpointReport) -> CheckpointFile {
        let path = PathBuf::from(format!("data/checkpoints/auth/{epoch:020}.checkpoint"));
        CheckpointFile { path, bytes: 2_048, content: Ok(content) }
    }

    fn known(next: u64) -> CheckpointReport {
        let before = NOW.saturating_sub(std::time::Duration::from_secs(90));
        CheckpointReport {
            next,
            now: (next > 0).then_some(before),
            needs_log_from: Some(LogPosition(70)),
            sources: vec![SourceReport {
                id: "in".to_owned(),
                position: LogPosition(70),
                marks: 3,
                streams: 2,
                farthest: Some(before),
            }],
            steps: vec![StepReport {
                key: 9,
                id: Some("minutes".to_owned()),
                watermark: Some(EventTime::MIN),
                groups: 4,
                keys: 23,
                bytes: 1_024,
                archived: 5 << 20,
            }],
            spills: vec![("out".to_owned(), 7), ("other".to_owned(), 0)],
            plan: [("transform", "minutes", "type = \"summarize\"\n"), ("sink", "out", "")]
                .map(|(role, id, text)| {
                    let [role, id, kind, text] = [role, id, "file", text].map(str::to_owned);
                    Planned { role, id, kind, text }
                })
                .into(),
        }
    }

    /// A checkpoint that is none, as it is found on a disk.
    fn damaged() -> CheckpointFile {
        let folder = std::env::temp_dir().join(format!("azud-checkpoints-{}", std::process::id()));
        let path = folder.join("checkpoints/auth/00000000000000000050.checkpoint");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"azud").unwrap();
        let mut found = inspect::checkpoints(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        found.pop().and_then(|mut it| it.files.pop()).unwrap()
    }

    #[test]
    fn checkpoints_are_listed_with_those_that_are_damaged() {
        let files = vec![file(0, known(0)), file(40, known(40)), damaged()];
        let shown = listing(&[Checkpoints { pipeline: "auth".to_owned(), files }], NOW);
        let expected = "\
pipeline  next epoch  at                           age       bytes  keys  needs the log from  whole
auth      0           -                            -         2 KiB  23    70                  yes
auth      40          2026-03-01T09:58:30.000000Z  90 s ago  2 KiB  23    70                  yes
auth      50          -                            -         4 B    -     -                   no
damaged: ";
        assert!(shown.starts_with(expected), "{shown}");
        assert!(
            shown.ends_with("goes on from the one before, and repeats more of the log\n"),
            "{shown}"
        );
        assert_eq!(to_json("auth", &damaged())["whole"], false);
    }

    #[test]
    fn a_checkpoint_shows_its_sources_and_steps() {
        let checkpoint = file(40, known(40));
        let shown = page("auth", &checkpoint, &known(40), NOW);
        let expected = "\
auth: before epoch 40, at 2026-03-01T09:58:30.000000Z, 90 s ago
data/checkpoints/auth/00000000000000000040.checkpoint, 2 KiB, whole

source  taken before  streams waited for  event time shown             marks
in      70            2                   2026-03-01T09:58:30.000000Z  3

step     keys  bytes  in the archive  key groups  watermark
minutes  23    1 KiB  5 MiB           4           -

sink `out` owes about 7 records, which are in its spill

[transforms.minutes]
type = \"summarize\"

[sinks.out]
type = \"file\"

";
        assert_eq!(shown, expected);
        assert_eq!(to_json("auth", &checkpoint)["steps"][0]["keys"], 23);
    }

    #[test]
    fn what_is_no_data_folder_is_said() {
        let nowhere = inspect::checkpoints(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(matches!(nowhere, InspectError::NoFolder { .. }), "{nowhere}");
        assert_eq!(data_folder::explain(&nowhere), Outcome::Environment);
        let here = inspect::checkpoints(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert!(matches!(here, InspectError::Nothing { what: "checkpoints", .. }), "{here}");
    }
}
