//! Files of this machine: written, rotated, emptied, read again after a restart.

use super::*;
use crate::testing::{
    Bench, Running, assert_joined, build_context, check, events_of, records_of, spec,
};
use azud_event::block::Layout;
use azud_event::dead_letter::Reason;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

/// A folder with logs, and one for positions.
struct Place {
    logs: TempDir,
    data: TempDir,
}

impl Place {
    fn new() -> Self {
        Place { logs: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Starts a source of `pattern`, which looks for files every few milliseconds.
    fn start(&self, bench: &Bench, pattern: &str, more: &str) -> Running {
        let include = self.path(pattern);
        let toml = format!("include = [{include:?}]\nglob_minimum_cooldown_ms = 5\n{more}");
        let spec = spec(&FILE, &toml);
        bench.start(spec.build(&build_context(self.data.path())).unwrap())
    }

    fn checkpoints(&self) -> String {
        let path = self.data.path().join("sources/in/checkpoints.json");
        fs::read_to_string(path).unwrap_or_default()
    }
}

#[tokio::test]
async fn lines_are_read_as_they_are_written() {
    let (place, bench) = (Place::new(), Bench::new("file_follow", usize::MAX));
    place.append("a.log", "one\ntwo\n");
    let running = place.start(&bench, "*.log", "");
    bench.until_records(&["one", "two"]).await;
    place.append("a.log", "three\n");
    bench.until_records(&["one", "two", "three"]).await;
    let blocks = bench.taken();
    assert_joined(&blocks);
    assert_eq!(blocks.last().unwrap().end, 14);
    let path = place.path("a.log");
    assert_eq!(blocks[0].peers[0].host, path.to_str().unwrap());
    running.stop().await;
}

#[tokio::test]
async fn half_a_line_waits_for_its_other_half() {
    let (place, bench) = (Place::new(), Bench::new("file_half", usize::MAX));
    place.append("a.log", "one\nhal");
    let running = place.start(&bench, "*.log", "");
    bench.until_records(&["one"]).await;
    assert_eq!(bench.taken()[0].end, 4, "the half is not acknowledged with the line before it");
    place.append("a.log", "f\n");
    bench.until_records(&["one", "half"]).await;
    running.stop().await;
}

#[tokio::test]
async fn new_files_are_found_and_excluded_ones_are_not() {
    let (place, bench) = (Place::new(), Bench::new("file_new", usize::MAX));
    let exclude = format!("exclude = [{:?}]", place.path("**/debug*"));
    let running = place.start(&bench, "**/*.log", &exclude);
    fs::create_dir(place.path("deep")).unwrap();
    place.append("debug.log", "noise\n");
    place.append("deep/debug.log", "noise in the deep\n");
    place.append("deep/a.log", "in the deep\n");
    bench.until_records(&["in the deep"]).await;
    place.append("b.log", "later\n");
    bench.until_records(&["in the deep", "later"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_is_renamed_is_read_on_under_both_names() {
    let (place, bench) = (Place::new(), Bench::new("file_rename", usize::MAX));
    place.append("a.log", "one\n");
    // The first only sees the name, the second also what it becomes.
    let running = place.start(&bench, "a.log", "");
    bench.until_records(&["one"]).await;
    fs::rename(place.path("a.log"), place.path("a.log.1")).unwrap();
    place.append("a.log.1", "two\n");
    bench.until_records(&["one", "two"]).await;
    place.append("a.log", "new one\n");
    bench.until_records(&["one", "two", "new one"]).await;
    // Its writer has not noticed yet.
    place.append("a.log.1", "three\n");
    bench.until_records(&["one", "two", "new one", "three"]).await;
    running.stop().await;

    let bench = Bench::new("file_rename_seen", usize::MAX);
    let running = place.start(&bench, "a.log*", "ignore_checkpoints = true");
    bench.until("all", |bench| records_of(&bench.taken()).len() == 4).await;
    fs::rename(place.path("a.log.1"), place.path("a.log.2")).unwrap();
    fs::rename(place.path("a.log"), place.path("a.log.1")).unwrap();
    place.append("a.log.1", "new two\n");
    bench.until("the fifth", |bench| records_of(&bench.taken()).len() == 5).await;
    let last = bench.taken().pop().unwrap();
    assert_eq!(records_of(&[last]), ["new two"]);
    assert_joined(&bench.taken());
    running.stop().await;
}

#[tokio::test]
async fn a_file_out_of_sight_is_closed_after_a_while_with_its_last_half_line() {
    let (place, bench) = (Place::new(), Bench::new("file_gone", usize::MAX));
    place.append("a.log", "one\nhalf");
    let running = place.start(&bench, "a.log", "rotate_wait_secs = 0.02");
    bench.until_records(&["one"]).await;
    fs::remove_file(place.path("a.log")).unwrap();
    bench.until_records(&["one", "half"]).await;
    assert_joined(&bench.taken());
    running.stop().await;
}

#[tokio::test]
async fn an_emptied_file_is_read_from_its_start() {
    let (place, bench) = (Place::new(), Bench::new("file_emptied", usize::MAX));
    place.append("a.log", "header\none\n");
    let running = place.start(&bench, "a.log", "");
    bench.until_records(&["header", "one"]).await;
    // The same first line, and shorter: the fingerprint alone would not tell.
    fs::write(place.path("a.log"), "header\n").unwrap();
    bench.until_records(&["header", "one", "header"]).await;
    place.append("a.log", "two\n");
    bench.until_records(&["header", "one", "header", "two"]).await;
    let blocks = bench.taken();
    assert_joined(&blocks);
    assert_ne!(blocks[0].stream, blocks.last().unwrap().stream, "positions started again");
    running.stop().await;
}

#[tokio::test]
async fn a_file_written_anew_is_noticed_even_if_it_is_longer() {
    let (place, bench) = (Place::new(), Bench::new("file_anew", usize::MAX));
    place.append("a.log", "one\n");
    let running = place.start(&bench, "a.log", "");
    bench.until_records(&["one"]).await;
    fs::write(place.path("a.log"), "eins\nzwei\ndrei\n").unwrap();
    bench
        .until("from the start", |bench| {
            let records = records_of(&bench.taken());
            records.ends_with(&["eins".to_owned(), "zwei".to_owned(), "drei".to_owned()])
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn copied_and_emptied_no_line_is_lost_and_none_read_twice() {
    let (place, bench) = (Place::new(), Bench::new("file_copytruncate", 1));
    place.append("a.log", "one\n");
    let running = place.start(&bench, "a.log*", "");
    bench.until_records(&["one"]).await;
    // The source can hand over nothing now, and will meet the copy, the rest of the original in it,
    // and the emptied original all at once.
    place.append("a.log", "two\n");
    bench.until("a block waits", |bench| bench.blocked() == 1).await;
    place.append("a.log", "three\n");
    fs::copy(place.path("a.log"), place.path("a.log.1")).unwrap();
    fs::write(place.path("a.log"), "").unwrap();
    place.append("a.log", "four\n");
    bench.open();
    bench.until("all", |bench| records_of(&bench.taken()).len() >= 4).await;
    let mut records = records_of(&bench.taken());
    records.sort();
    assert_eq!(records, ["four", "one", "three", "two"]);
    assert_joined(&bench.taken());
    running.stop().await;
}

#[tokio::test]
async fn a_restart_goes_on_where_delivery_ended() {
    let place = Place::new();
    place.append("a.log", "one\ntwo\n");
    place.append("b.log", "eins\n");
    let bench = Bench::new("file_restart_1", usize::MAX);
    let running = place.start(&bench, "*.log", "");
    bench.until("all", |bench| records_of(&bench.taken()).len() == 3).await;
    running.stop().await;
    assert!(place.checkpoints().contains("\"position\": 8"), "{}", place.checkpoints());

    // Renamed and written to while nobody looked.
    fs::rename(place.path("a.log"), place.path("c.log")).unwrap();
    place.append("c.log", "three\n");
    let bench = Bench::undelivering("file_restart_2");
    let mut running = place.start(&bench, "*.log", "");
    bench.until_records(&["three"]).await;
    place.append("c.log", "four\n");
    bench.until_records(&["three", "four"]).await;
    // Only the first of the two is delivered.
    let block = &bench.taken()[0];
    assert_eq!((block.position, block.end), (8, 14));
    bench.acknowledged.note(block.stream, block.end);
    running.tell();
    running.ended().await;

    let bench = Bench::new("file_restart_3", usize::MAX);
    let running = place.start(&bench, "*.log", "");
    bench.until_records(&["four"]).await;
    running.stop().await;

    let bench = Bench::new("file_restart_4", usize::MAX);
    let running = place.start(&bench, "*.log", "ignore_checkpoints = true");
    bench.until("all", |bench| records_of(&bench.taken()).len() == 5).await;
    running.stop().await;
}

#[tokio::test]
async fn positions_are_stored_while_the_source_runs() {
    let (place, bench) = (Place::new(), Bench::new("file_store", usize::MAX));
    place.append("a.log", "one\n");
    let running = place.start(&bench, "*.log", "");
    bench.until_records(&["one"]).await;
    bench.until("stored", |_| place.checkpoints().contains("\"position\": 4")).await;
    running.stop().await;
}

#[tokio::test]
async fn from_the_end_only_what_is_new_is_read() {
    let (place, bench) = (Place::new(), Bench::new("file_end", usize::MAX));
    place.append("a.log", "old\nol");
    place.append("short.log", "old");
    let running = place.start(&bench, "*.log", "read_from = \"end\"");
    // A file that came later is read from its beginning, and shows that the others were seen.
    bench.until("a first look", |_| place.checkpoints().contains("position")).await;
    place.append("new.log", "new\n");
    bench.until_records(&["new"]).await;
    place.append("a.log", "der\nnewer\n");
    bench.until_records(&["new", "older", "newer"]).await;
    place.append("short.log", "er\nnewest\n");
    bench
        .until("the last", |bench| {
            records_of(&bench.taken()).last().is_some_and(|record| record == "newest")
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_line_above_the_maximum_is_set_aside() {
    let (place, bench) = (Place::new(), Bench::new("file_long", usize::MAX));
    place.append("a.log", "one\nfar too long for this\ntwo\n");
    let running = place.start(&bench, "a.log", "max_line_bytes = 10");
    bench.until_records(&["one", "!too_long: far too long for this", "two"]).await;
    assert_joined(&bench.taken());
    let refused = bench.taken()[1].layout.clone();
    assert!(matches!(refused, Layout::Refused { reason: Reason::TooLong, .. }), "{refused:?}");
    assert_eq!(bench.taken()[1].end, 26);
    running.stop().await;
}

#[tokio::test]
async fn large_files_take_turns() {
    let (place, bench) = (Place::new(), Bench::new("file_turns", 1));
    let line = |name: &str| format!("{name} {}\n", "x".repeat(98));
    for name in ["a", "b", "c"] {
        place.append(&format!("{name}.log"), &line(name).repeat(20_000));
    }
    let running = place.start(&bench, "*.log", "");
    bench.until("it waits", |bench| bench.blocked() == 1).await;
    bench.open();
    bench.until("all", |bench| bench.bytes_taken() == 60_000 * 101).await;
    let firsts: Vec<_> = bench.taken().iter().take(3).map(|block| block.bytes[0]).collect();
    assert_eq!(firsts, b"abc");
    assert_joined(&bench.taken());
    running.stop().await;
}

#[tokio::test]
async fn files_with_the_same_first_line_are_told_apart_by_inode_or_more_lines() {
    for (name, fingerprint) in [
        ("file_twins_inode", "fingerprint.strategy = \"device_and_inode\""),
        ("file_twins_lines", "fingerprint.lines = 2"),
        ("file_twins_header", "fingerprint.ignored_header_bytes = 7"),
    ] {
        let (place, bench) = (Place::new(), Bench::new(name, usize::MAX));
        place.append("a.log", "header\none\n");
        place.append("b.log", "header\ntwo\n");
        let running = place.start(&bench, "*.log", fingerprint);
        bench.until("all", |bench| records_of(&bench.taken()).len() == 4).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_line_has_the_path_of_its_file() {
    let (place, bench) = (Place::new(), Bench::new("file_fields", usize::MAX));
    place.append("a.log", "{\"a\":1}\n");
    let running = place.start(&bench, "a.log", "");
    bench.until_records(&["{\"a\":1}"]).await;
    running.stop().await;
    let spec =
        spec(&FILE, "include = [\"a.log\"]\ndecoding.codec = \"json\"\nfile_key = \"log.file\"");
    let events = events_of(&*spec, &bench.taken());
    assert_eq!(events[0]["log"]["file"], place.path("a.log").to_str().unwrap());
    assert_eq!(events[0]["a"], 1);
}

#[test]
fn a_pattern_is_checked_where_it_was_written() {
    let faults = check(&FILE, "include = [\"/var/log/[a.log\"]").err().unwrap();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].title, "`/var/log/[a.log` is not a pattern of paths");
    assert_eq!(faults[0].labels[0].0.range(), 21..22);
    // As a whole it is one, but its parts are not.
    let faults = check(&FILE, "include = [\"/var/[a/b].log\"]").err().unwrap();
    assert_eq!(faults[0].labels[0].0.range(), 17..18);
}

#[test]
fn the_folders_of_patterns_are_listed() {
    let folder = |pattern: &str| folder_of(pattern);
    assert_eq!(folder("/var/log/*.log"), Path::new("/var/log"));
    assert_eq!(folder("/var/log/auth.log"), Path::new("/var/log"));
    assert_eq!(folder("/srv/*/log/**/x"), Path::new("/srv"));
    assert_eq!(folder("/*.log"), Path::new("/"));
    assert_eq!(folder("*.log"), Path::new("."));
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let place = Place::new();
    place.append("file", "");
    let spec = spec(&FILE, "include = [\"a\"]");
    let error = spec.build(&build_context(&place.path("file"))).err().unwrap();
    assert!(error.message.contains("file/sources/in"), "{}", error.message);
    assert!(error.help.unwrap().contains("data_dir"));
}
