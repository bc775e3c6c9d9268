//! Killed every few seconds: what came out is what came in, and the alerts are those of a run that
//! nobody killed.

use super::load::{self, Came, Load};
use super::straight;
use super::tables::Tables;
use crate::recovery::load::Dice;
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::postgres::Postgres;
use crate::support::program::free_address;
use crate::support::soak::Soak;
use crate::support::wait;

/// Kills instances under load, each with another number of workers; gives the folder, what was
/// delivered, and how many were killed.
fn killed(
    soak: &Soak,
    folder: Folder,
    document: &str,
    load: &Load,
    dice: &mut Dice,
) -> (Folder, Came, usize) {
    let (mut folder, mut came, mut kills) = (folder, Came::new(), 0);
    while soak.goes_on() {
        let threads = ["1", "2", "4"][kills % 3];
        let instance = Instance::start_in(folder, document, &["--threads", threads]);
        // Every third kill comes as soon as it runs, in the middle of the repeats.
        if kills % 3 > 0 {
            let before = load.look(&mut came, &instance.folder);
            let more = before + dice.throw(1..4_000);
            wait::until("something to be delivered", soak.patience(), || {
                (load.look(&mut came, &instance.folder) > more).then_some(())
            });
        }
        folder = instance.kill().1;
        kills += 1;
        // Something is there to be taken in at once.
        let more = load.count() + dice.throw(1..500);
        wait::until("something to be written", wait::PATIENCE, || {
            (load.count() > more || load.is_ahead()).then_some(())
        });
    }
    (folder, came, kills)
}

fn soak(name: &str, tables: &Tables) {
    let (soak, mut dice, address) = (Soak::begin(20), Dice::new(), free_address());
    let document = tables.setting() + &load::document(address);
    let folder = Folder::new();
    let load = Load::start(&folder, address);
    let (folder, mut came, kills) = killed(&soak, folder, &document, &load, &mut dice);

    let connections = load.connections();
    let instance = Instance::start_in(folder, &document, &[]);
    // The last connection is one that nobody breaks: all of it comes.
    wait::until("a connection to the last instance", soak.patience(), || {
        load.look(&mut came, &instance.folder);
        let last = load.connections() - 1;
        (last >= connections && came.messages.contains_key(&last)).then_some(())
    });
    let sent = load.stop();
    let last = sent.messages.len() - 1;
    wait::until("all lines and the last messages", soak.patience(), || {
        came.look(&instance.folder);
        let messages = came.messages[&last].len() == load::good(sent.messages[last].len());
        (messages && came.lines.len() == load::good(sent.lines)).then_some(())
    });
    let folder = straight::end((instance, address), tables, &sent, &mut came, soak.patience());
    assert!(came.torn <= kills, "{} torn lines", came.torn);
    let ends = tables.ends(&folder);
    println!(
        "{name}: {kills} kills in {:?}; {} lines, {} messages of {} connections, {} of these set \
         aside, {} delivered again; {} alerts, {} revisions",
        soak.elapsed(),
        came.lines.len(),
        came.count() - came.lines.len(),
        came.messages.len(),
        came.letters,
        came.again,
        ends.len(),
        tables.ask(&folder, "SELECT sum(revision) FROM alerts").concat(),
    );
    straight::is(&ends, &sent, &came, soak.patience());
}

#[test]
fn soak_of_kills_into_sqlite() {
    soak("SQLite", &Tables::Sqlite);
}

#[test]
fn soak_of_kills_into_postgresql() {
    soak("PostgreSQL", &Tables::Postgres(Postgres::start()));
}
