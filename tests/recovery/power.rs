//! The power goes at one change of the disk after the other: what was not synced may be gone, or
//! torn, and names that were made or changed may be as they were.
//!
//! A library that is preloaded into the program does it (`tests/support/forget.c`), below all that
//! the program keeps: log, checkpoints, positions of files, dead letters, the database.

use super::kills::{all_delivered, ended_well, windows_told};
use super::load::{ALERTS, Dice, Lines, OFTEN, SOURCE, WINDOWS, alerts, numbers};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::program::{Program, azud};
use crate::support::soak::Soak;
use crate::support::tools;
use crate::support::wait::{self, PATIENCE};
use std::path::{Path, PathBuf};
use std::process::Command;

fn library(folder: &Folder) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("support/forget.c");
    let library = folder.join("forget.so");
    let mut compiler = Command::new("gcc");
    compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    tools::succeed(&mut compiler);
    library
}

/// Runs the program until the power goes at this change; lines are written meanwhile.
fn life(folder: &Folder, library: &Path, lines: &mut Lines, change: usize, seed: usize) {
    let threads = ["1", "2", "4"][change % 3];
    let mut command = azud(folder.path(), &["run", "azud.toml", "--threads", threads]);
    command.env("LD_PRELOAD", library).env("AZUD_FORGET_FOLDER", folder.join("data"));
    command.env("AZUD_FORGET_AT", change.to_string()).env("AZUD_FORGET_SEED", seed.to_string());
    let mut program = Program::start_silent(command);
    let start = std::time::Instant::now();
    wait::until("the power to go", 2 * PATIENCE, || {
        let late = start.elapsed() > PATIENCE;
        assert!(!late, "it goes on: {:?}", program.errors());
        // Few at a time: most changes come of them.
        lines.append(folder, 3);
        program.has_ended().then_some(())
    });
    let ended = program.end();
    let said = &ended.errors;
    assert_eq!(ended.status.code(), None, "it ended by itself at {change}: {said:?}");
    let bad = said.iter().find(|line| line.contains("panicked"));
    assert!(bad.is_none(), "at {change}, seed {seed}: {said:?}");
}

#[test]
fn soak_of_power_cuts_at_every_change_of_the_disk() {
    let (soak, mut dice, mut lines) = (Soak::begin(20), Dice::new(), Lines::default());
    let document = [OFTEN, SOURCE, ALERTS, WINDOWS].concat();
    let folder = Folder::new();
    // The document names an address for the API, which no life needs.
    let head = "data_dir = \"@OUT@/data\"\napi.enabled = false\n".to_owned();
    let text = (head + &document).replace("@OUT@", &folder.path().display().to_string());
    folder.write("azud.toml", text);
    let library = library(&folder);
    let mut lives = 0;
    while soak.goes_on() && lines.count < 60_000 {
        lives += 1;
        // Every change of a start in turn, and now and then one that is far behind it.
        let change = if lives % 4 == 0 { dice.throw(1..600) } else { lives };
        life(&folder, &library, &mut lines, change, dice.throw(0..1_000_000));
    }

    let instance = Instance::start_in(folder, &document, &[]);
    lines.append(&instance.folder, 100);
    all_delivered(&instance, &lines, lives);
    // What the database lost it is given again, from the log.
    wait::until("all alerts in the table", 2 * PATIENCE, || {
        (alerts(&instance.folder) == lines.alerts()).then_some(())
    });
    let folder = ended_well(instance);
    assert_eq!(alerts(&folder), lines.alerts());
    let again = numbers(&folder, "out.jsonl").1;
    println!(
        "{lives} cuts in {:?}; {} lines, {again} torn; all alerts",
        soak.elapsed(),
        lines.count
    );

    // And the windows are those of a run in which nothing happened.
    let after_cuts = windows_told(Instance::start_in(folder, &document, &[]), &lines, lives);
    let (folder, mut straight) = (Folder::new(), Lines::default());
    straight.append(&folder, lines.count);
    let straight = windows_told(Instance::start_in(folder, &document, &[]), &straight, 0);
    assert_eq!(after_cuts, straight);
}
