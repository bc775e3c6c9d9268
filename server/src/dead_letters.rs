//! `azud dead-letters`: what was set aside, why, and discarding it.

use crate::cli::{DeadLetters, DiscardLetters, Form, Global, ListLetters, ShowLetters};
use crate::data_folder;
use crate::documents::plural;
use crate::outcome::Outcome;
use crate::table::{plain, size, table};
use azud_engine::dead_letter::{
    Census, DiscardError, Discarded, Letters, Listing, Word, discard as discard_letters,
};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// How many digits of an id are shown; any beginning that only one has will do.
const ID_DIGITS: usize = 12;

/// How much of a record is shown to people, in bytes.
const SHOWN_BYTES: usize = 4 * 1024;

/// Lists, shows or discards.
pub fn dead_letters(command: &DeadLetters, global: &Global) -> Outcome {
    match command {
        DeadLetters::List(arguments) => list(arguments, global),
        DeadLetters::Show(arguments) => show(arguments, global),
        DeadLetters::Discard(arguments) => discard(arguments, global),
    }
}

/// The dead letters of a data folder.
struct Found {
    folder: PathBuf,
    incarnation: [u8; 16],
    census: Census,
    listing: Listing,
}

/// Finds out what there is.
///
/// # Errors
/// Said on standard error.
fn take(data_dir: Option<&PathBuf>, global: &Global) -> Result<Found, Outcome> {
    let folder = data_folder::find(data_dir.map(PathBuf::as_path), global)?;
    let incarnation = data_folder::incarnation(&folder);
    let incarnation = incarnation.map_err(|error| data_folder::explain(&error))?;
    let mut census = Census::of(&folder, incarnation);
    let listing = census.take().map_err(|error| data_folder::explain(&error))?;
    Ok(Found { folder, incarnation, census, listing })
}

fn list(arguments: &ListLetters, global: &Global) -> Outcome {
    let found = match take(arguments.data.data_dir.as_ref(), global) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    let now = Clock::system().now();
    let chosen = |letters: &&Letters| arguments.has(letters, now);
    let groups: Vec<&Letters> = found.listing.groups.iter().filter(chosen).collect();
    let shown = &groups[..groups.len().min(arguments.limit)];
    match arguments.data.format {
        Form::Json => shown.iter().for_each(|letters| println!("{}", to_json(letters))),
        Form::Human => print!("{}", listing(&groups, shown.len(), &found.listing)),
    }
    Outcome::Well
}

impl ListLetters {
    fn has(&self, letters: &Letters, now: EventTime) -> bool {
        let key = &letters.group.key;
        let is =
            |wanted: &Option<String>, have: &str| wanted.as_deref().is_none_or(|it| it == have);
        let since = self.since.map(|since| since.before(now).to_rfc3339());
        is(&self.component, &key.component)
            && is(&self.source, &key.source)
            && is(&self.reason, &key.reason)
            && since.is_none_or(|since| letters.group.last_received_at >= since)
    }
}

/// Sets the first `shown` groups in columns, and adds all of them up.
fn listing(groups: &[&Letters], shown: usize, all: &Listing) -> String {
    let mut out = if groups.is_empty() {
        "no dead letters\n".to_owned()
    } else {
        let head = ["id", "minute", "component", "source", "reason", "letters", "bytes", "message"];
        table(head, groups[..shown].iter().map(|letters| row(letters)))
    };
    if shown < groups.len() {
        let more = plural(groups.len() - shown, "group");
        out.push_str(&format!("and {more} more; --limit shows them\n"));
    }
    if !groups.is_empty() {
        let letters: u64 = groups.iter().map(|letters| letters.group.letters).sum();
        let count = plural(letters as usize, "letter");
        let groups = plural(groups.len(), "group");
        out.push_str(&format!("{count} in {groups}; all files have {}\n", size(all.bytes)));
    }
    if all.unreadable > 0 {
        let lines = plural(all.unreadable as usize, "line");
        out.push_str(&format!("{lines} of the segments cannot be read: their files are damaged\n"));
    }
    out
}

fn row(letters: &Letters) -> [String; 8] {
    let group = &letters.group;
    let message: String = group.message.lines().next().unwrap_or_default().to_owned();
    [
        short(letters),
        group.key.minute.get(..16).unwrap_or(&group.key.minute).to_owned(),
        group.key.component.clone(),
        named(&group.key.source),
        group.key.reason.clone(),
        group.letters.to_string(),
        size(group.bytes),
        message,
    ]
}

fn short(letters: &Letters) -> String {
    letters.id.to_string()[..ID_DIGITS].to_owned()
}

fn named(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn to_json(letters: &Letters) -> Value {
    let group = &letters.group;
    let name = |path: &PathBuf| path.file_name().map(|it| it.to_string_lossy().into_owned());
    json!({
        "id": letters.id.to_string(),
        "pipeline": letters.pipeline,
        "component": group.key.component,
        "source": group.key.source,
        "stage": group.stage,
        "reason": group.key.reason,
        "minute": group.key.minute,
        "letters": group.letters,
        "bytes": group.bytes,
        "first_received_at": group.first_received_at,
        "last_received_at": group.last_received_at,
        "message": group.message,
        "peer": group.peer,
        "response_code": group.response_code,
        "segment_from": name(&letters.from),
        "segment_to": name(&letters.to),
    })
}

fn show(arguments: &ShowLetters, global: &Global) -> Outcome {
    let found = match take(arguments.data.data_dir.as_ref(), global) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    let letters = match one(&found.listing, &arguments.id) {
        Ok(letters) => letters,
        Err(outcome) => return outcome,
    };
    let samples = match found.census.letters(letters, arguments.samples) {
        Ok(samples) => samples,
        Err(error) => return data_folder::explain(&error),
    };
    let samples = samples.iter().filter_map(|line| serde_json::from_slice(line).ok());
    let samples: Vec<Value> = samples.collect();
    match arguments.data.format {
        Form::Json => {
            let mut shown = to_json(letters);
            shown["samples"] = samples.into();
            println!("{shown}");
        }
        Form::Human => print!("{}", page(letters, &samples)),
    }
    Outcome::Well
}

/// Finds the one group whose id begins with `id`.
///
/// # Errors
/// Said on standard error: there is none, or more than one.
fn one<'a>(listing: &'a Listing, id: &str) -> Result<&'a Letters, Outcome> {
    let begins = |letters: &&Letters| letters.id.to_string().starts_with(id);
    let mut found = listing.groups.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(one), None) if !id.is_empty() => Ok(one),
        (None, _) => {
            eprintln!("error[E008]: no group of dead letters has the id `{}`", plain(id));
            eprintln!("help: `azud dead-letters list` shows them; one goes when it is discarded");
            Err(Outcome::Environment)
        }
        _ => {
            eprintln!(
                "error[E008]: more than one group has an id that begins with `{}`",
                plain(id)
            );
            eprintln!("help: write more of it");
            Err(Outcome::Environment)
        }
    }
}

/// Shows a group with samples of its letters.
fn page(letters: &Letters, samples: &[Value]) -> String {
    let group = &letters.group;
    let key = &group.key;
    let mut out = format!(
        "{}: {} ({}) at `{}` of {}\n",
        letters.id,
        key.reason,
        group.stage,
        plain(&key.component),
        plain(&letters.pipeline),
    );
    out.push_str(&format!(
        "{} with {} of records, received from {} to {}\n",
        plural(group.letters as usize, "letter"),
        size(group.bytes),
        group.first_received_at,
        group.last_received_at,
    ));
    if !key.source.is_empty() {
        out.push_str(&format!("source `{}`\n", plain(&key.source)));
    }
    if let Some(code) = group.response_code {
        out.push_str(&format!("answered with {code}\n"));
    }
    for sample in samples {
        let text = |field: &str| sample[field].as_str().unwrap_or_default();
        let raw_bytes = sample["raw_bytes"].as_u64().unwrap_or_default();
        let from = match text("peer") {
            "" => String::new(),
            peer => format!(" from {}", plain(peer)),
        };
        out.push_str(&format!("\n{}{from}, {}\n", text("received_at"), size(raw_bytes)));
        text("message").lines().for_each(|line| out.push_str(&format!("  {}\n", plain(line))));
        let (form, raw) = match sample["raw"].as_str() {
            Some(raw) => ("", raw),
            None => ("in base64: ", text("raw_base64")),
        };
        let shown = &raw[..raw.floor_char_boundary(SHOWN_BYTES)];
        let cut = if shown.len() < raw.len() { " …" } else { "" };
        out.push_str(&format!("> {form}{}{cut}\n", plain(shown)));
    }
    let left = group.letters.saturating_sub(samples.len() as u64);
    if left > 0 {
        out.push_str(&format!("\nand {left} more; --samples shows them\n"));
    }
    out
}

fn discard(arguments: &DiscardLetters, global: &Global) -> Outcome {
    if azud_event::dead_letter::Reason::ALL.iter().any(|it| it.name() == arguments.reason) {
        eprintln!(
            "error: `--reason` says why they are not needed, for the audit; `{}` is why they were set aside",
            arguments.reason
        );
        eprintln!(
            "help: name groups by id (`azud dead-letters list --reason {}`)",
            arguments.reason
        );
        return Outcome::Usage;
    }
    let found = match take(arguments.data.data_dir.as_ref(), global) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    let mut ids = Vec::new();
    for id in &arguments.ids {
        match one(&found.listing, id) {
            Ok(letters) => ids.push(letters.id),
            Err(outcome) => return outcome,
        }
    }
    let chosen = |letters: &Letters| {
        let is =
            |wanted: &Option<String>, have: &str| wanted.as_deref().is_some_and(|it| it == have);
        arguments.all
            || ids.contains(&letters.id)
            || is(&arguments.component, &letters.group.key.component)
            || is(&arguments.source, &letters.group.key.source)
    };
    let because = arguments.reason.trim().to_owned();
    let word = Word { at: Clock::system().now(), by: who(), because };
    match discard_letters(&found.folder, found.incarnation, &chosen, &word) {
        Ok(gone) => {
            match arguments.data.format {
                Form::Json => gone.iter().for_each(|one| println!("{}", json!(one))),
                Form::Human => println!("{}", said(&gone)),
            }
            Outcome::Well
        }
        Err(DiscardError::Unreadable(error)) => data_folder::explain(&error),
        Err(error) => {
            eprintln!("error[E008]: {error}");
            eprintln!("help: {}", remedy(&error));
            Outcome::Environment
        }
    }
}

fn said(gone: &[Discarded]) -> String {
    let letters: u64 = gone.iter().map(|one| one.letters).sum();
    let bytes = gone.iter().map(|one| one.bytes).sum();
    match gone.len() {
        0 => "there was nothing to discard".to_owned(),
        groups => format!(
            "discarded {} of {}, with {} of records",
            plural(letters as usize, "letter"),
            plural(groups, "group"),
            size(bytes),
        ),
    }
}

fn remedy(error: &DiscardError) -> &'static str {
    match error {
        DiscardError::Busy => "wait until it has ended, and look at what is left",
        _ => {
            "run it as the user of the instance, with room on its disk; what is left can be \
             discarded again"
        }
    }
}

/// Names who runs this: by the environment, which can say anything, and by the user's number.
fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let number = std::fs::metadata("/proc/self").map(|it| it.uid().to_string());
    let number = number.unwrap_or_else(|_| "unknown".to_owned());
    format!("{} (user {number})", plain(&named.unwrap_or_else(|| "somebody".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Since;
    use azud_engine::dead_letter::{Group, GroupKey};
    use azud_event::id::Id;
    use std::time::Duration;

    fn letters(component: &str, minute: &str, count: u64) -> Letters {
        let key = GroupKey {
            component: component.to_owned(),
            source: if component == "out" { "" } else { "in" }.to_owned(),
            reason: "program_failed".to_owned(),
            minute: format!("2026-03-01T{minute}:00.000000Z"),
        };
        let group = Group {
            key,
            stage: "transform".to_owned(),
            letters: count,
            bytes: 2_048,
            first_received_at: format!("2026-03-01T{minute}:01.000000Z"),
            last_received_at: format!("2026-03-01T{minute}:59.000000Z"),
            message: "function call error\nat the second line".to_owned(),
            peer: Some("203.0.113.9".to_owned()),
            response_code: (component == "out").then_some(400),
            epoch: Some(7),
            at: 0,
        };
        let path = PathBuf::from("dead_letters/auth/00000001.jsonl");
        Letters {
            id: Id::of(&[component.as_bytes(), minute.as_bytes()]),
            pipeline: "auth".to_owned(),
            group,
            from: path.clone(),
            to: path,
        }
    }

    #[test]
    fn groups_are_listed_and_added_up() {
        let groups = [letters("shape", "10:01", 12), letters("out", "10:00", 1)];
        let all = Listing { groups: Vec::new(), bytes: 4_096, unreadable: 2 };
        let shown = listing(&groups.iter().collect::<Vec<_>>(), 1, &all);
        let id = &groups[0].id.to_string()[..12];
        let expected = format!(
            "\
id            minute            component  source  reason          letters  bytes  message
{id}  2026-03-01T10:01  shape      in      program_failed  12       2 KiB  function call error
and 1 group more; --limit shows them
13 letters in 2 groups; all files have 4 KiB
2 lines of the segments cannot be read: their files are damaged
"
        );
        assert_eq!(shown, expected);
        assert_eq!(listing(&[], 0, &Listing::default()), "no dead letters\n");
        assert_eq!(to_json(&groups[1])["response_code"], 400);
    }

    #[test]
    fn a_group_is_shown_with_samples_that_stay_on_their_lines() {
        let group = letters("out", "10:00", 3);
        let sample = json!({
            "received_at": "2026-03-01T10:00:01.000000Z",
            "message": "the first\nand the second line",
            "raw": "a\u{1b}[2Jb",
            "raw_bytes": 6,
            "peer": "203.0.113.9",
        });
        let binary =
            json!({ "received_at": "-", "message": "no", "raw_base64": "/wA=", "raw_bytes": 2 });
        let shown = page(&group, &[sample, binary]);
        let expected = format!(
            "\
{}: program_failed (transform) at `out` of auth
3 letters with 2 KiB of records, received from 2026-03-01T10:00:01.000000Z to 2026-03-01T10:00:59.000000Z
answered with 400

2026-03-01T10:00:01.000000Z from 203.0.113.9, 6 B
  the first
  and the second line
> a\\u{{1b}}[2Jb

-, 2 B
  no
> in base64: /wA=

and 1 more; --samples shows them
",
            group.id
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn filters_hold_together() {
        let now = EventTime::from_rfc3339("2026-03-01T10:02:00Z").unwrap();
        let wanted = |component: Option<&str>, since| {
            let data = crate::cli::DataFolder { data_dir: None, format: Form::Human };
            let component = component.map(str::to_owned);
            let arguments =
                ListLetters { component, source: None, reason: None, since, limit: 9, data };
            arguments.has(&letters("shape", "10:00", 1), now)
        };
        assert!(wanted(None, None) && wanted(Some("shape"), None));
        assert!(!wanted(Some("out"), None));
        assert!(wanted(None, Some(Since::Ago(Duration::from_secs(61)))));
        assert!(!wanted(None, Some(Since::Ago(Duration::from_secs(60)))));
    }

    #[test]
    fn an_id_is_known_by_its_beginning() {
        let groups = vec![letters("shape", "10:01", 12), letters("out", "10:00", 1)];
        let listing = Listing { groups, ..Listing::default() };
        let id = listing.groups[1].id.to_string();
        assert_eq!(one(&listing, &id[..12]).unwrap().group.key.component, "out");
        assert!(one(&listing, "").is_err());
        assert!(one(&listing, "no").is_err());
    }
}
