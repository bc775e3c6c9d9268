//! An API that is polled, by a program that is killed in the middle of it.

use crate::recovery::load::{Dice, OFTEN};
use crate::support::files::Folder;
use crate::support::instance::Instance;
use crate::support::paged::{PAGE, Paged};
use crate::support::postgres::Postgres;
use crate::support::program::{self, ask};
use crate::support::soak::Soak;
use crate::support::tools::sqlite;
use crate::support::wait::{self, PATIENCE};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// All numbers go to a file, which has each at least once, and are counted in the table of alerts,
/// which counts each record of the log once: so no number may be missing there, nor the count be
/// another here.
fn document(api: &Paged) -> String {
    format!(
        r#"
{OFTEN}
[sources.in]
type = "http_client"
endpoint = "http://{}/records"
decoding.codec = "json"
event_time = ".timestamp"
scrape_interval_secs = 1
pagination = {{ type = "offset", param = "offset", size = {PAGE}, size_param = "limit" }}
cursor = {{ value = "max", field = ".number", param = "after", first = {{ start = "0" }} }}
[sinks.out]
type = "file"
inputs = ["in"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
encoding.only_fields = ["number"]
[transforms.told]
type = "alert"
inputs = ["in"]
rule = "pages"
key = ["page"]
every = "1h"
[sinks.alerts]
type = "alerts"
inputs = ["told"]
"#,
        api.address()
    )
}

/// Gives how many records were counted, and how many were not of pages with each record once.
fn counted(folder: &Folder) -> (usize, usize) {
    let rows = sqlite(
        folder,
        &format!(
            "SELECT coalesce(sum(event_count), 0), coalesce(sum(event_count <> {PAGE}), 0) \
             FROM alerts"
        ),
    );
    let (sum, other) = rows[0].split_once('|').unwrap();
    (sum.parse().unwrap(), other.parse().unwrap())
}

/// The whole is a hundred thousand records and fifty kills: `AZUD_SOAK_SECONDS=1`.
#[test]
fn soak_of_kills_between_pages() {
    let soak = Soak::begin(0);
    let (records, kills) = if soak.length().is_zero() { (20_000, 8) } else { (100 * PAGE, 50) };
    let (api, mut dice) = (Paged::start(records), Dice::new());
    let document = document(&api);
    let mut folder = Folder::new();
    for kill in 1..=kills {
        let before = api.answered();
        // Never all: the last instance has something to do, too.
        let open = (records - PAGE) / PAGE * kill / kills * PAGE;
        api.open(open);
        let instance = Instance::start_in(folder, &document, &[]);
        let wanted = before + dice.throw(1..open - before + 1);
        wait::until("a page to be answered", 4 * PATIENCE, || {
            (api.answered() >= wanted).then_some(())
        });
        // It comes while the page is read, taken, counted or delivered, or after.
        for _ in 0..dice.throw(0..30) {
            wait::rest();
        }
        folder = instance.kill().1;
    }
    api.open(records);
    let instance = Instance::start_in(folder, &document, &[]);
    wait::until("all records to be counted, each once", 4 * PATIENCE, || {
        let (sum, _) = counted(&instance.folder);
        assert!(sum <= records, "{sum} records of {records}");
        (sum == records).then_some(())
    });
    // A poll behind the last record has nothing more.
    wait::until("the poll behind the last", PATIENCE, || {
        api.asked().contains(&(records, 0)).then_some(())
    });
    let (ended, folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    assert_eq!(counted(&folder), (records, 0));
    let numbers = folder.lines("out.jsonl");
    // A kill may have torn a line of the file, which is then there again.
    let torn = |line: &String| serde_json::from_str::<serde_json::Value>(line).is_err();
    let (lines, torn) = (numbers.len(), numbers.iter().filter(|line| torn(line)).count());
    assert!(torn <= kills, "{torn} torn lines");
    let known: BTreeSet<u64> = numbers
        .iter()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["number"].as_u64())
        .collect();
    assert!(known.iter().copied().eq(1..=records as u64), "{} of {records}", known.len());
    println!(
        "{records} records, {kills} kills in {:?}: {} requests, {lines} lines, {torn} of them torn",
        soak.elapsed(),
        api.asked().len()
    );
}

/// Two processes over one database, each killed while it polls: the other goes on. A page that one
/// has claimed is its own, and comes with its next turn.
#[test]
fn who_takes_over_polls_on_and_nothing_is_doubled() {
    let (server, api, mut dice) = (Postgres::start(), Paged::start(30 * PAGE), Dice::new());
    let document = format!("database.url = \"{}\"\n{}", server.url(), document(&api));
    let one = Instance::start(&document);
    let mut folders = VecDeque::from([one.folder_beside(), one.kill().1]);
    for turn in 1..=6 {
        api.open(5 * turn * PAGE);
        let instance = Instance::start_in(folders.pop_front().unwrap(), &document, &[]);
        let wanted = 5 * turn * PAGE - dice.throw(0..3 * PAGE);
        wait::until("it to poll on", Duration::from_secs(30), || {
            (api.answered() >= wanted).then_some(())
        });
        folders.push_back(instance.kill().1);
    }
    // Each hands over what it had claimed, and nobody anything twice.
    for _ in 0..2 {
        let before = api.asked().len();
        let instance = Instance::start_in(folders.pop_front().unwrap(), &document, &[]);
        wait::until("a poll of its own behind the last record", 4 * PATIENCE, || {
            api.asked()[before..].contains(&(30 * PAGE, 0)).then_some(())
        });
        let (ended, folder) = instance.stop();
        assert!(ended.status.success(), "{:?}", ended.errors);
        folders.push_back(folder);
    }
    let counted =
        "SELECT sum(event_count), count(*) FILTER (WHERE event_count <> 1000) FROM alerts";
    assert_eq!(PAGE, 1_000);
    assert_eq!(server.ask(counted), format!("{}|0", 30 * PAGE));
}

#[test]
fn a_poller_that_goes_on_failing_is_told_once() {
    let nobody = program::free_address();
    let document = format!(
        "[sources.api]\ntype = \"http_client\"\nendpoint = \"http://{nobody}/\"\n\
         decoding.codec = \"json\"\nscrape_interval_secs = 0.1\n\
         retry = {{ attempts = 1, min = \"10ms\", max = \"100ms\" }}\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"api\"]\n"
    );
    let instance = Instance::start(&document);
    let failed = || {
        let name = "azud_connector_attempts_total";
        instance.metrics().sum(name, &[("connector", "api"), ("outcome", "unreachable")])
    };
    wait::until("twenty polls", PATIENCE, || (failed() >= 20.0).then_some(()));
    let shown = ask(&instance.folder, &["connectors", "show", "api", "--json"]).1;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["status"], "warning", "{shown}");
    let (ended, _) = instance.stop();
    let told: Vec<_> = ended.errors.iter().filter(|line| line.contains("connector=")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(" WARN ") && told[0].contains("status=\"warning\""), "{told:?}");
}
