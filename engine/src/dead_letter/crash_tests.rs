//! Writers that are killed anywhere and repeat what they had written, and people who discard
//! meanwhile: held against a list.

use super::tests::letter_at;
use super::{Census, Discarded, Epochs, FOLDER, Letters, Word, Writer, audit, discard};
use azud_event::dead_letter::{Fault, Reason};
use azud_event::time::EventTime;
use azud_plan::component::Refused;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

const INCARNATION: [u8; 16] = [3; 16];

/// How many epochs are under way at a time.
const UNDER_WAY: u64 = 3;

fn folder_of(data: &Path) -> PathBuf {
    data.join(FOLDER).join("auth/ssh")
}

/// Gives the letter of a number. Every third is the twin of the one before. In some epochs they
/// are of what a receiver refused.
fn letter(epoch: u64, number: u64) -> Vec<u8> {
    let at = EventTime::from_nanoseconds((epoch as i64 / 4) * 60_000_000_000);
    let raw = format!("{epoch} {}", number - number % 3 / 2);
    if epoch % 4 == 3 {
        return refused_at(at, &raw, "no");
    }
    letter_at(at, ["shape", "parse"][epoch as usize % 2], "in", raw.as_bytes())
}

fn refused_at(at: EventTime, raw: &str, said: &str) -> Vec<u8> {
    let fault = Fault::new(Reason::Refused, said);
    let record = Refused { fault, response_code: Some(400), bytes: raw.as_bytes().to_vec() };
    let mut line = Vec::new();
    super::write_refused("out", at, &record, &mut line);
    line
}

/// A pipeline that is killed again and again.
struct Pipeline {
    data: tempfile::TempDir,
    /// How many letters each epoch has.
    epochs: Vec<u64>,
    /// From where a restart repeats.
    checkpoint: u64,
    /// The epoch behind the last that was recorded.
    recorded: u64,
}

/// One run of it.
struct Run {
    writer: Writer,
    complete_before: Arc<AtomicU64>,
    /// For each epoch from the checkpoint on, the letters that are not written in this run.
    left: Vec<Vec<Vec<u8>>>,
}

impl Pipeline {
    fn start(&self) -> Run {
        let complete_before = Arc::new(AtomicU64::new(self.checkpoint));
        let told = Arc::clone(&complete_before);
        let repeated =
            (self.recorded > self.checkpoint).then(|| self.checkpoint..=self.recorded - 1);
        let epochs = Epochs { repeated, complete_before: Box::new(move || told.load(SeqCst)) };
        let is_new = self.checkpoint == 0 && epochs.repeated.is_none();
        let writer = Writer::new(folder_of(self.data.path()), 1 << 30, Some(epochs));
        if is_new {
            writer.begin_anew().unwrap();
        }
        let left = (self.checkpoint..).zip(&self.epochs[self.checkpoint as usize..]);
        let left = left.map(|(epoch, count)| (0..*count).map(|n| letter(epoch, n)).collect());
        Run { writer, complete_before, left: left.collect() }
    }

    /// Writes one batch of an epoch that is under way, as `choice` says; whether there was one.
    fn step(&mut self, run: &mut Run, choice: u64) -> bool {
        let first = run.complete_before.load(SeqCst);
        let until = (first + UNDER_WAY).min(self.epochs.len() as u64);
        if first >= until {
            return false;
        }
        self.recorded = self.recorded.max(until);
        let epoch = first + choice % (until - first);
        let left = &mut run.left[(epoch - self.checkpoint) as usize];
        let count = (left.len() as u64).min(1 + choice / 7 % 4) as usize;
        // Another worker's letters come first in another run.
        let at = (choice / 29) as usize % (left.len() - count + 1);
        let batch: Vec<u8> = left.drain(at..at + count).flatten().collect();
        run.writer.write(epoch, batch).unwrap();
        let open = (first..until).find(|it| !run.left[(it - self.checkpoint) as usize].is_empty());
        run.complete_before.store(open.unwrap_or(until), SeqCst);
        true
    }

    /// Goes on to the end.
    fn finish(&mut self) {
        let mut run = self.start();
        let mut choice = 0;
        while self.step(&mut run, choice) {
            choice += 13;
        }
    }

    /// What a kill leaves: perhaps half a line, which nobody was told is safe.
    fn kill(&mut self, run: &Run, choice: u64) {
        let complete = run.complete_before.load(SeqCst);
        self.checkpoint += choice % (complete - self.checkpoint + 1);
        let mut segments: Vec<_> = fs::read_dir(folder_of(self.data.path()))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "jsonl"))
            .collect();
        segments.sort();
        if let (Some(last), 1) = (segments.last(), choice % 2) {
            let mut torn = OpenOptions::new().append(true).open(last).unwrap();
            torn.write_all(&letter(9, 9)[..20]).unwrap();
        }
    }

    /// Lists the records that are there, one for each letter.
    fn there(&self) -> Vec<String> {
        let mut census = Census::of(self.data.path(), INCARNATION);
        let listing = census.take().unwrap();
        assert_eq!(listing.unreadable, 0);
        let mut there = Vec::new();
        for group in &listing.groups {
            let letters = census.letters(group, usize::MAX).unwrap();
            assert_eq!(letters.len() as u64, group.group.letters);
            assert_eq!(Some(&letters[0]), group.sample().unwrap().as_ref());
            there.extend(letters.iter().map(|line| raw(line)));
        }
        there.sort();
        there
    }
}

fn raw(line: &[u8]) -> String {
    String::from_utf8(super::record_of(line).unwrap()).unwrap()
}

fn word() -> Word {
    let (by, because) = ("ann".to_owned(), "a known printer".to_owned());
    Word { at: EventTime::EPOCH, by, because }
}

fn total(gone: &[Discarded]) -> usize {
    gone.iter().map(|one| one.letters as usize).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However often the process is killed, each letter is there once, or was discarded once.
    #[test]
    fn each_letter_is_kept_once(
        epochs in vec(0u64..7, 1..14),
        runs in vec((vec(any::<u64>(), 0..20), any::<u64>(), any::<bool>()), 0..5),
    ) {
        let data = tempfile::tempdir().unwrap();
        let mut pipeline = Pipeline { data, epochs, checkpoint: 0, recorded: 0 };
        let mut discarded = 0;
        for (steps, choice, discards) in runs {
            let mut run = pipeline.start();
            for step in steps {
                pipeline.step(&mut run, step);
            }
            if discards && folder_of(pipeline.data.path()).exists() {
                let chosen = |letters: &Letters| letters.group.key.component == "shape";
                let gone = discard(pipeline.data.path(), INCARNATION, &chosen, &word()).unwrap();
                discarded += total(&gone);
            }
            pipeline.kill(&run, choice);
        }
        pipeline.finish();
        let all = (0..).zip(&pipeline.epochs);
        let all: Vec<_> = all.flat_map(|(epoch, count)| (0..*count).map(move |n| letter(epoch, n)))
            .collect();
        let is_shape = |line: &Vec<u8>| String::from_utf8_lossy(line).contains("\"shape\"");
        let shapes = all.iter().filter(|line| is_shape(line)).count();
        let there = pipeline.there();
        let mut expected: Vec<String> = all.iter().map(|line| raw(line)).collect();
        expected.sort();
        if discarded == 0 {
            prop_assert_eq!(there, expected);
        } else {
            let others = all.len() - shapes;
            prop_assert!(there.len() >= others && there.len() + discarded == all.len());
        }
    }
}

#[test]
fn what_is_discarded_is_gone_audited_and_leaves_room() {
    let data = tempfile::tempdir().unwrap();
    let path = folder_of(data.path());
    let mut writer = Writer::new(path.clone(), 4_000, None);
    let batch: Vec<u8> = [0, 1, 2, 5].into_iter().flat_map(|epoch| letter(epoch, 0)).collect();
    writer.write(0, batch.clone()).unwrap();
    let mut written = 1;
    let error = loop {
        match writer.write(0, batch.clone()) {
            Ok(()) => written += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("`azud dead-letters discard`"), "{error}");
    let shape = |letters: &Letters| letters.group.key.component == "shape";
    let gone = discard(data.path(), INCARNATION, &shape, &word()).unwrap();
    assert_eq!(total(&gone), 2 * written);
    assert_eq!(audit(data.path()).unwrap(), gone);
    assert_eq!((gone[0].by.as_str(), gone[0].because.as_str()), ("ann", "a known printer"));
    // The writer goes on in the segment that was begun for it.
    writer.write(0, batch).unwrap();
    let listing = Census::of(data.path(), INCARNATION).take().unwrap();
    let count = |component: &str| -> u64 {
        let of = listing.groups.iter().filter(|it| it.group.key.component == component);
        of.map(|it| it.group.letters).sum()
    };
    assert_eq!((count("shape"), count("parse")), (2, 2 * written as u64 + 2));
    // Everything goes, and so do the segments.
    discard(data.path(), INCARNATION, &|_| true, &word()).unwrap();
    let left = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("0000")).collect();
    assert_eq!(left.len(), 1, "the open segment, which is empty: {left:?}");
}

#[test]
fn a_segment_that_was_taken_away_makes_room_and_its_number_is_not_given_again() {
    let data = tempfile::tempdir().unwrap();
    let path = folder_of(data.path());
    let mut writer = Writer::new(path.clone(), 500, None);
    writer.write(0, letter(0, 0)).unwrap();
    while writer.write(0, letter(0, 1)).is_ok() {}
    fs::remove_file(path.join("00000001.jsonl")).unwrap();
    writer.write(0, letter(0, 2)).unwrap();
    assert_eq!(fs::read(path.join("00000002.jsonl")).unwrap(), letter(0, 2));
}

#[test]
fn an_index_is_made_anew_when_it_is_of_another_text() {
    let data = tempfile::tempdir().unwrap();
    let path = folder_of(data.path());
    let mut writer = Writer::new(path.clone(), 1 << 20, None);
    writer.write(0, letter(0, 0)).unwrap();
    writer.write_index();
    let index = path.join("00000001.index");
    assert!(index.exists());
    let count = || -> u64 {
        let groups = Census::of(data.path(), INCARNATION).take().unwrap().groups;
        groups.iter().map(|it| it.group.letters).sum()
    };
    assert_eq!(count(), 1);
    // Behind it more was written, and not indexed.
    writer.write(0, letter(0, 1)).unwrap();
    assert_eq!(count(), 2);
    let other = [letter(4, 1), letter(4, 2), letter(5, 3)].concat();
    fs::write(path.join("00000001.jsonl"), other).unwrap();
    assert_eq!(count(), 3);
    fs::write(index, b"{}").unwrap();
    assert_eq!(count(), 3);
}

#[test]
fn another_life_of_a_pipeline_is_not_taken_for_a_repetition() {
    let data = tempfile::tempdir().unwrap();
    let mut pipeline = Pipeline { data, epochs: vec![2; 6], checkpoint: 0, recorded: 0 };
    pipeline.finish();
    // Somebody removes the log and the checkpoints, and keeps the letters. The same epochs are
    // other ones now; a run of them is killed, and repeats.
    (pipeline.checkpoint, pipeline.recorded) = (0, 0);
    let mut run = pipeline.start();
    pipeline.step(&mut run, 3);
    pipeline.kill(&run, 0);
    pipeline.finish();
    assert_eq!(pipeline.there().len(), 24);
}

#[test]
fn what_comes_while_others_are_discarded_stays_and_is_counted_once() {
    let data = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(folder_of(data.path()), 1 << 30, None);
    writer.write(0, letter(0, 0)).unwrap();
    let writing = std::thread::spawn(move || {
        for number in 1..400 {
            writer.write(0, letter(number % 8, number)).unwrap();
        }
    });
    let mut discarded = 0;
    while !writing.is_finished() {
        discarded += total(&discard(data.path(), INCARNATION, &|_| true, &word()).unwrap());
    }
    writing.join().unwrap();
    let left = Census::of(data.path(), INCARNATION).take().unwrap().groups;
    let left: usize = left.iter().map(|it| it.group.letters as usize).sum();
    assert_eq!(discarded + left, 400);
    assert_eq!(total(&audit(data.path()).unwrap()), discarded);
}

/// An epoch is complete when its batch is in a spill; so what its receiver refuses when it is
/// repeated is not there for sure.
#[test]
fn what_is_refused_in_a_complete_epoch_is_known_only_by_what_it_says() {
    let data = tempfile::tempdir().unwrap();
    let path = folder_of(data.path());
    let refused = |raw: &str, said: &str| refused_at(EventTime::EPOCH, raw, said);
    let epochs = |repeated| Epochs { repeated, complete_before: Box::new(|| 9) };
    let mut first = Writer::new(path.clone(), 1 << 20, Some(epochs(None)));
    first.write(4, refused("a", "no")).unwrap();
    first.write(5, refused("b", "no")).unwrap();
    first.write(8, letter(8, 0)).unwrap();
    let mut again = Writer::new(path, 1 << 20, Some(epochs(Some(5..=12))));
    // It was refused, and is again, in other words; its twin was not, and neither was another.
    again
        .write(5, [refused("b", "never"), refused("b", "no"), refused("c", "no")].concat())
        .unwrap();
    again.write(6, letter(6, 0)).unwrap();
    let listing = Census::of(data.path(), INCARNATION).take().unwrap();
    let count = |component: &str| -> u64 {
        let of = listing.groups.iter().filter(|it| it.group.key.component == component);
        of.map(|it| it.group.letters).sum()
    };
    assert_eq!((count("out"), count("shape")), (4, 1));
}

#[test]
fn two_do_not_discard_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(folder_of(data.path()), 1 << 20, None);
    writer.write(0, letter(0, 0)).unwrap();
    let lock = fs::File::create(data.path().join(FOLDER).join("discard.lock")).unwrap();
    lock.lock().unwrap();
    let refused = discard(data.path(), INCARNATION, &|_| true, &word()).unwrap_err();
    assert!(matches!(refused, super::DiscardError::Busy), "{refused}");
    drop(lock);
    assert_eq!(total(&discard(data.path(), INCARNATION, &|_| true, &word()).unwrap()), 1);
}

#[test]
fn what_left_its_epoch_is_written_whatever_is_repeated() {
    let data = tempfile::tempdir().unwrap();
    let path = folder_of(data.path());
    let complete = || Box::new(|| 9);
    let epochs = Epochs { repeated: None, complete_before: complete() };
    Writer::new(path.clone(), 1 << 20, Some(epochs)).write(8, letter(8, 0)).unwrap();
    let epochs = Epochs { repeated: Some(0..=12), complete_before: complete() };
    let mut writer = Writer::new(path.clone(), 1 << 20, Some(epochs));
    // Before epoch 9 all is there, so what is repeated of it is: but not what a spill held.
    writer.write(5, letter(5, 1)).unwrap();
    writer.write(crate::dead_letter::OF_NO_EPOCH, letter(5, 3)).unwrap();
    let text = fs::read_to_string(path.join("00000001.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().last().unwrap().contains("5 3"), "{text}");
}
