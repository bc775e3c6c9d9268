//! The archive against a plain map, on a disk that forgets.

use super::*;
use crate::log::forgetful::{Dice, Forgetful};
use azud_event::row::Row;
use azud_plan::component::{EpochClock, Progress, Told};
use proptest::prelude::*;
use std::collections::BTreeSet;

const STEP: u64 = 7;

type Entries = BTreeMap<(Vec<u8>, i64), Vec<u8>>;

/// A state that knows nothing but what it puts away.
#[derive(Default)]
struct Shelf {
    closed: Entries,
    over_at: i64,
}

impl KeyedState for Shelf {
    fn on_epoch(&mut self, _: &[Row], _: &EpochClock, _: &mut dyn FnMut(Told<'_>)) -> Progress {
        Progress::Done
    }

    fn keys(&self) -> u64 {
        self.closed.len() as u64
    }

    fn put_away(&self, put: &mut dyn FnMut(Entry<'_>)) {
        let over_at = EventTime::from_nanoseconds(self.over_at);
        for ((key, number), value) in &self.closed {
            put(Entry { key, number: *number, over_at, value });
        }
    }

    fn let_go(&mut self) {
        self.closed.clear();
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// An archive, and what has been put away.
struct Run {
    disk: Forgetful,
    archive: StepArchive,
    states: BTreeMap<u8, Box<dyn KeyedState>>,
    model: BTreeMap<u8, Entries>,
}

impl Run {
    fn open(disk: Forgetful, named: &[SegmentState]) -> io::Result<Run> {
        let cabinet = Cabinet::open(Arc::new(disk.clone()), named.iter().cloned())?;
        let archive = Arc::new(cabinet).step(STEP, 0, named);
        Ok(Run { disk, archive, states: BTreeMap::new(), model: BTreeMap::new() })
    }

    /// Puts something away that is over at a time.
    fn put_away(&mut self, entries: &[(u8, u8, i64, u8)], over_at: i64) -> io::Result<()> {
        let mut closed: BTreeMap<u8, Entries> = BTreeMap::new();
        for (group, key, number, value) in entries {
            // Large enough that some have several blocks.
            let value = vec![*value; 3_000];
            closed.entry(*group).or_default().insert((vec![*key], *number), value);
        }
        for (group, closed) in &closed {
            let shelf = Shelf { closed: closed.clone(), over_at };
            self.states.insert(*group, Box::new(shelf));
        }
        let put = self.archive.put_away(self.states.iter_mut().map(|(group, it)| (*group, it)));
        put?;
        for (group, closed) in closed {
            self.model.entry(group).or_default().extend(closed);
        }
        Ok(())
    }

    fn read(&self, group: u8, key: u8, numbers: RangeInclusive<i64>) -> Result<Entries, String> {
        let mut found = Entries::new();
        let mut each = |number, value: &[u8]| {
            assert_eq!(found.insert((vec![key], number), value.to_vec()), None);
            Ok(())
        };
        let read = self.archive.group(group).read(&[key], numbers, &mut each);
        read.map(|()| found).map_err(|error| error.to_string())
    }

    fn model(&self, group: u8, key: u8, numbers: RangeInclusive<i64>) -> Entries {
        let entries = self.model.get(&group).cloned().unwrap_or_default();
        let wanted = |(of, number): &(Vec<u8>, i64)| *of == [key] && numbers.contains(number);
        entries.into_iter().filter(|(place, _)| wanted(place)).collect()
    }

    #[track_caller]
    fn assert_has_all(&self) {
        for (group, key) in (0..3).flat_map(|group| (0..4).map(move |key| (group, key))) {
            assert_eq!(self.read(group, key, -20..=20), Ok(self.model(group, key, -20..=20)));
        }
    }
}

fn entries(dice: &mut Dice) -> Vec<(u8, u8, i64, u8)> {
    let mut one = || {
        let (group, key) = (dice.below(3) as u8, dice.below(4) as u8);
        (group, key, dice.below(20) as i64 - 10, dice.below(256) as u8)
    };
    (0..12).map(|_| one()).collect()
}

proptest! {
    #[test]
    fn what_was_put_away_comes_back(seed in any::<u64>(), rounds in 1..6_usize) {
        let mut dice = Dice(seed);
        let mut run = Run::open(Forgetful::new(), &[]).unwrap();
        for _ in 0..rounds {
            run.put_away(&entries(&mut dice), 100).unwrap();
        }
        run.assert_has_all();
        for _ in 0..20 {
            let (group, key) = (dice.below(4) as u8, dice.below(5) as u8);
            let from = dice.below(30) as i64 - 15;
            let numbers = from..=from + dice.below(10) as i64;
            prop_assert_eq!(
                run.read(group, key, numbers.clone()),
                Ok(run.model(group, key, numbers))
            );
        }
        // Read by another process, and by a worker that owned none of it.
        let again = Run::open(run.disk.kill(), &run.archive.name_all()).unwrap();
        Run { model: run.model, ..again }.assert_has_all();
    }
}

#[test]
fn after_a_crash_at_any_point_all_is_there_that_a_checkpoint_names() {
    /// Puts away and names in turn; gives what was named last.
    fn script(run: &mut Run, dice: &mut Dice) -> (Vec<SegmentState>, BTreeMap<u8, Entries>) {
        let mut named = (Vec::new(), BTreeMap::new());
        for round in 0..6 {
            if run.put_away(&entries(dice), 100).is_err() {
                break;
            }
            if round % 2 == 1 {
                named = (run.archive.name_all(), run.model.clone());
            }
        }
        named
    }
    let mut whole = Run::open(Forgetful::new(), &[]).unwrap();
    script(&mut whole, &mut Dice(1));
    let points = whole.disk.points();
    assert!(points > 20, "{points} points");
    for point in 0..=points {
        let disk = Forgetful::new();
        let mut run = Run::open(disk.clone(), &[]).unwrap();
        disk.die_at(point);
        let (named, model) = script(&mut run, &mut Dice(1));
        for seed in 0..8 {
            let again = Run::open(disk.crash(seed), &named).unwrap();
            let mut again = Run { model: model.clone(), ..again };
            again.assert_has_all();
            let names: BTreeSet<u64> = named.iter().map(|segment| segment.number).collect();
            let files = again.disk.files().into_iter().filter_map(|(name, _)| number_of(&name));
            assert_eq!(files.collect::<BTreeSet<_>>(), names, "what nothing names is removed");
            // What comes next takes nobody's place.
            again.put_away(&entries(&mut Dice(seed)), 100).unwrap();
            again.assert_has_all();
        }
    }
}

#[test]
fn what_cannot_be_written_stays_in_memory() {
    let mut run = Run::open(Forgetful::new(), &[]).unwrap();
    run.put_away(&[(0, 0, 1, 1)], 100).unwrap();
    run.disk.set_capacity(Some(run.disk.used() + 20));
    run.put_away(&[(0, 0, 2, 2)], 100).unwrap_err();
    assert_eq!(run.states[&0].keys(), 1, "it is kept");
    run.assert_has_all();
    run.disk.set_capacity(None);
    run.disk.fail_syncs();
    run.put_away(&[(0, 0, 2, 2)], 100).unwrap_err();
    assert_eq!(run.states[&0].keys(), 1, "it is kept");
    assert_eq!(run.disk.files().len(), 1, "nothing half is left");
}

#[test]
fn damage_is_told_and_never_read() {
    let mut run = Run::open(Forgetful::new(), &[]).unwrap();
    run.put_away(&entries(&mut Dice(3)), 100).unwrap();
    let named = run.archive.name_all();
    let (name, length) = run.disk.files().pop().unwrap();
    for offset in 8..length {
        let disk = run.disk.kill();
        disk.flip(&name, offset, 0x10);
        let damaged = Run::open(disk, &named).unwrap();
        let mut told = 0;
        for (group, key) in (0..3).flat_map(|group| (0..4).map(move |key| (group, key))) {
            match damaged.read(group, key, -20..=20) {
                Ok(found) => assert_eq!(found, run.model(group, key, -20..=20)),
                Err(error) => told += usize::from(error.contains(&name)),
            }
        }
        assert!(told > 0, "offset {offset}");
        assert_eq!(damaged.read(0, 0, 50..=60), Ok(Entries::new()), "it has none of these");
    }
    let gone = Run::open(Forgetful::new(), &named).unwrap();
    assert!(gone.read(0, 0, -20..=20).unwrap_err().contains(&name));
}

#[test]
fn what_is_over_goes_once_nothing_names_it() {
    let second = |second: i64| EventTime::from_nanoseconds(second);
    let mut run = Run::open(Forgetful::new(), &[]).unwrap();
    run.put_away(&[(0, 0, 1, 1)], 100).unwrap();
    run.put_away(&[(0, 0, 2, 2)], 200).unwrap();
    run.archive.forget(second(99));
    run.assert_has_all();
    run.archive.forget(second(100));
    assert_eq!(run.read(0, 0, 0..=9).unwrap().len(), 1);
    assert_eq!(run.disk.files().len(), 1, "nothing named the first");
    let named = run.archive.name_all();
    run.archive.forget(second(200));
    assert_eq!(run.disk.files().len(), 1, "a checkpoint names the second");
    run.archive.cabinet.remove(named.iter().map(|segment| segment.number)).unwrap();
    assert_eq!(run.disk.files().len(), 0);
}
