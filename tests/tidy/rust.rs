//! Rules for Rust files: their shape, and what they may not say.

use super::assert_none;
use super::tokens::{Source, sources};

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;

#[test]
fn lines_fit_the_page() {
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(source.file.text.lines()) {
            let columns = line.chars().count();
            // Nobody can break an address, a row of a table, or a text that is its own layout; and
            // a sentence in quotes is found by searching for it only if it is whole.
            let row = line.trim_start().trim_start_matches(['/', '!']).starts_with(" |");
            let free = line.contains("://") || row || quoted(line) || within(&source.texts, number);
            if columns > COLUMNS_MAX && !free {
                found.push(format!("{}:{number}: {columns} columns", source.file.name));
            }
        }
    }
    assert_none("a line has at most 100 columns", found);
}

/// Whether a line reaches its bound within a string.
fn quoted(line: &str) -> bool {
    let mut within = false;
    let mut characters = line.chars().take(COLUMNS_MAX);
    while let Some(character) = characters.next() {
        match character {
            '"' => within = !within,
            '\\' if within => drop(characters.next()),
            _ => {}
        }
    }
    within
}

#[test]
fn functions_fit_the_screen() {
    let mut found = Vec::new();
    for source in sources() {
        for (name, lines) in &source.functions {
            let count = lines.end() - lines.start() + 1;
            if count > FUNCTION_LINES_MAX {
                let at = format!("{}:{}", source.file.name, lines.start());
                found.push(format!("{at}: `{name}` has {count} lines"));
            }
        }
    }
    assert_none("a function has at most 70 lines", found);
}

#[test]
fn files_fit_the_head() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test) {
        let lines = source.file.text.lines().count();
        let count = (1..=lines).filter(|line| !source.tests_at(*line)).count();
        if count > FILE_LINES_MAX {
            found.push(format!("{}:1: {count} lines without tests", source.file.name));
        }
    }
    assert_none("a file has at most 800 lines without its tests", found);
}

#[test]
fn only_tests_may_give_up() {
    let forbidden: [&[&str]; 4] =
        [&[".", "unwrap", "(", ")"], &["todo", "!"], &["unimplemented", "!"], &["dbg", "!"]];
    let found = places(&forbidden, |source, line| !source.tests_at(line));
    assert_none("outside tests nothing gives up: give an error, or name the invariant", found);
    let unfinished: [&[&str]; 3] = [&["todo", "!"], &["unimplemented", "!"], &["dbg", "!"]];
    assert_none("tests are finished, too", places(&unfinished, |_, _| true));
}

#[test]
fn no_test_is_switched_off() {
    let found = places(&[&["#", "[", "ignore"]], |_, _| true);
    assert_none("a test that does not run is deleted, not ignored", found);
}

/// A test that sleeps is slow when it works, and fails when the machine is busy. It waits for a
/// condition instead; [`crate::support::wait`] is the place where time passes.
#[test]
fn no_test_sleeps() {
    let sleeps: [&[&str]; 2] =
        [&[":", "sleep", "("], &["use", "std", ":", ":", "thread", ":", ":", "sleep"]];
    let found = places(&sleeps, |source, line| source.tests_at(line));
    assert_none("a test waits for a condition with a deadline", found);
}

/// Time is passed in, so that any run can be run again. Tests may look at the clock to give up.
#[test]
fn only_the_clock_reads_the_clock() {
    let clocks = ["SystemTime", "Instant", "Utc", "Local"].map(|name| [name, ":", ":", "now"]);
    let clocks = clocks.each_ref().map(|clock| clock.as_slice());
    let found =
        places(&clocks, |source, line| !source.tests_at(line) && source.file.stem() != "clock");
    assert_none("only clock.rs reads the wall clock; the rest is given a `Clock`", found);
}

/// A queue without a bound grows until the machine is out of memory.
#[test]
fn every_queue_is_bounded() {
    let queues: [&[&str]; 3] = [
        &["unbounded", "("],
        &["unbounded_channel", "("],
        &["mpsc", ":", ":", "channel", ":", ":"],
    ];
    let found = places(&queues, |source, line| !source.tests_at(line));
    assert_none("every queue has a limit with a name", found);
}

/// A heavy dependency has one home; these two are told by path, because their crate is in several.
#[test]
fn timely_and_the_compiler_stay_at_home() {
    let away = |home: &'static [&'static str]| {
        move |source: &Source, line: usize| {
            !source.tests_at(line) && !home.iter().any(|place| source.file.name.starts_with(place))
        }
    };
    let timely = places(&[&["timely", ":", ":"]], away(&["engine/src/dataflow/", "benches/"]));
    assert_none("only engine/src/dataflow says timely", timely);
    let compiler: [&[&str]; 3] = [
        &["vrl", ":", ":", "compiler"],
        &["vrl", ":", ":", "stdlib"],
        &["vrl", ":", ":", "parser"],
    ];
    // A record is the target that programs look at: that trait is the compiler's.
    let homes = away(&["transforms/", "event/src/record/target.rs", "benches/"]);
    assert_none("only transforms/ compiles programs", places(&compiler, homes));
}

#[test]
fn every_file_says_what_it_is() {
    let mut found = Vec::new();
    for Source { file, .. } in sources().iter().filter(|source| !source.is_test) {
        let first = file.text.lines().find(|line| !line.is_empty()).unwrap_or_default();
        if !first.starts_with("//!") {
            found.push(format!("{}:1: a file begins with what it is, `//! …`", file.name));
        }
    }
    assert_none("every file has a module doc", found);
}

/// Lists where one of the sequences of tokens stands, in the lines that `counts` lets through.
fn places(wanted: &[&[&str]], counts: impl Fn(&Source, usize) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources() {
        for tokens in wanted {
            let lines = source.find(tokens).into_iter().filter(|line| counts(&source, *line));
            found.extend(
                lines.map(|line| format!("{}:{line}: `{}`", source.file.name, tokens.concat())),
            );
        }
    }
    found
}

fn within(ranges: &[std::ops::RangeInclusive<usize>], line: usize) -> bool {
    ranges.iter().any(|lines| lines.contains(&line))
}
