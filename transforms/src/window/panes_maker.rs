//! The first half of windows over panes, on the worker that has the records: each is folded into
//! what is gathered of its key and pane.

use super::code;
use super::gathered::{Fields, Gathered};
use super::grid::Window;
use super::panes::{LATE, PANE, Panes};
use azud_event::id::{KeyGroup, Partitioner};
use azud_event::row::{Place, Row};
use azud_event::time::EventTime;
use azud_plan::component::RowContext;
use hashbrown::HashTable;
use std::collections::HashMap;
use std::ops::Range;

/// Folds records into panes, on one worker.
///
/// Nearly every record may have a key of its own, so nothing is taken from the heap for one: what
/// was made for the last block is used again.
#[derive(Debug)]
pub struct PanesMaker {
    windows: Panes,
    /// Places in `made`, by pane and key.
    table: HashTable<usize>,
    made: Vec<Made>,
    /// How many of them are of this block.
    used: usize,
    /// Their keys.
    keys: Vec<u8>,
    /// What a row says, while it is written.
    payload: Vec<u8>,
    late: Lates,
    /// The pane of the last record, with its ends: the next record is mostly in the same.
    recent: (i64, Window),
    /// The bound of lateness of this epoch, and the first window that is open behind it.
    open: (EventTime, i64),
}

#[derive(Debug)]
struct Made {
    hash: u64,
    key: Range<usize>,
    place: Place,
    pane: i64,
    gathered: Gathered,
}

impl PanesMaker {
    /// Makes an empty one.
    pub fn new(windows: Panes) -> Self {
        let least = EventTime::from_nanoseconds(i64::MIN);
        let open = (least, windows.grid.first_open(least, windows.lateness));
        PanesMaker {
            windows,
            table: HashTable::new(),
            made: Vec::new(),
            used: 0,
            keys: Vec::new(),
            payload: Vec::new(),
            late: Lates::default(),
            recent: (0, Window { start: least, end: least }),
            open,
        }
    }

    /// Gives what is gathered of the pane that a record belongs to; none when it is too late, which
    /// is counted.
    pub fn gather(
        &mut self,
        key: &[u8],
        place: &Place,
        context: &RowContext,
        fields: &Fields,
    ) -> Option<&mut Gathered> {
        let pane = self.pane(place.event_time);
        if pane < self.first_open(context.late_before) {
            self.late.count(key, place);
            return None;
        }
        let hash = context.partitioner.hash(key);
        let PanesMaker { table, made, used, keys, .. } = self;
        let same = |at: &usize| {
            let known = &made[*at];
            known.hash == hash && known.pane == pane && keys[known.key.clone()] == *key
        };
        let at = match table.find(mix(hash, pane), same) {
            Some(at) => *at,
            None => {
                let at = *used;
                *used += 1;
                let start = keys.len();
                keys.extend_from_slice(key);
                let key = start..keys.len();
                match made.get_mut(at) {
                    Some(one) => {
                        (one.hash, one.key, one.place, one.pane) = (hash, key, *place, pane);
                        one.gathered.reset(fields);
                    }
                    None => {
                        let gathered = Gathered::new(fields);
                        made.push(Made { hash, key, place: *place, pane, gathered });
                    }
                }
                table.insert_unique(mix(hash, pane), at, |at| mix(made[*at].hash, made[*at].pane));
                at
            }
        };
        let one = &mut made[at];
        one.place = one.place.min(*place);
        Some(&mut one.gathered)
    }

    fn pane(&mut self, time: EventTime) -> i64 {
        let (pane, window) = self.recent;
        if window.start <= time && time < window.end {
            return pane;
        }
        let pane = self.windows.grid.pane(time);
        let (start, end) = (self.windows.grid.start(pane), self.windows.grid.start(pane + 1));
        self.recent = (pane, Window { start, end });
        pane
    }

    fn first_open(&mut self, late_before: EventTime) -> i64 {
        if self.open.0 != late_before {
            let open = self.windows.grid.first_open(late_before, self.windows.lateness);
            self.open = (late_before, open);
        }
        self.open.1
    }

    /// Appends a row for each pane and key, and for each key that had records too late.
    pub fn drain(&mut self, partitioner: &Partitioner, rows: &mut Vec<Row>) {
        rows.reserve(self.used);
        let payload = &mut self.payload;
        for Made { hash, key, place, pane, gathered } in &self.made[..self.used] {
            payload.clear();
            payload.push(PANE);
            code::push_signed(*pane, payload);
            gathered.encode(payload);
            let (key, payload) = (self.keys[key.clone()].into(), payload.as_slice().into());
            rows.push(Row { group: KeyGroup::of(*hash), place: *place, key, payload });
        }
        self.used = 0;
        self.table.clear();
        self.keys.clear();
        self.late.drain(partitioner, rows);
    }
}

/// Hashes a pane of a key.
fn mix(hash: u64, pane: i64) -> u64 {
    hash ^ (pane as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Counts records that came too late, by key.
#[derive(Debug, Default)]
pub struct Lates(HashMap<Vec<u8>, (u64, Place)>);

impl Lates {
    /// Counts one.
    pub fn count(&mut self, key: &[u8], place: &Place) {
        match self.0.get_mut(key) {
            Some((count, least)) => {
                *count += 1;
                *least = (*least).min(*place);
            }
            None => {
                self.0.insert(key.to_vec(), (1, *place));
            }
        }
    }

    /// Appends a row for each key.
    pub fn drain(&mut self, partitioner: &Partitioner, rows: &mut Vec<Row>) {
        for (key, (count, place)) in self.0.drain() {
            let mut payload = vec![LATE];
            code::push_number(count, &mut payload);
            let group = partitioner.group(&key);
            rows.push(Row { group, place, key: key.into(), payload: payload.into() });
        }
    }
}
