//! Windows over results of windows: what each result has contributed, so that a revision takes its
//! place.
//!
//! What was merged cannot be taken apart again: a maximum does not know the second. So a pane over
//! results keeps what every result put into it, by the result's id, and merges when it is asked.
//!
//! ```text
//!  pane 10:00   id a  revision 1   3 ──▶ revision 2   5     a late record came
//!               id b  revision 1   4                        ─▶ the sum is told again: 9
//!               id c  revision 2   withdrawn                it left a mark of its revision
//! ```
//!
//! A result lies where its window ends: a window that ends at eleven o'clock is part of the hour
//! before.

use super::code::{self, Damaged};
use super::gathered::{Fields, Gathered};
use super::panes::Panes;
use super::panes_maker::Lates;
use azud_event::id::Partitioner;
use azud_event::row::{Place, Row};
use azud_event::time::EventTime;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The first byte of the row of a result.
pub const MEMBER: u8 = 4;

/// How many results a key may have in its panes. Of further ones the oldest panes are let go.
pub const MEMBERS_PER_KEY_MAX: usize = 65_536;

/// A result's id, hashed.
pub type MemberId = [u8; 16];

/// What a revision of a result says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Whose.
    pub id: MemberId,
    /// Which; a greater one takes the place of a smaller.
    pub number: u64,
    /// Whether it takes the result back.
    pub withdrawn: bool,
}

/// What results have contributed to the panes of one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    panes: BTreeMap<i64, BTreeMap<MemberId, Member>>,
    /// In which pane each is.
    places: HashMap<MemberId, i64>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Member {
    revision: u64,
    /// `None` once it was taken back.
    gathered: Option<Gathered>,
}

impl Members {
    /// Puts a revision in the place of an earlier one. Gives the pane that the earlier one lay in;
    /// `Err` when it is not newer, and nothing changed.
    pub fn put(
        &mut self,
        pane: i64,
        revision: Revision,
        gathered: Gathered,
    ) -> Result<Option<i64>, ()> {
        let before = self.places.get(&revision.id).copied();
        if let Some(old) = before {
            let members = self.panes.get_mut(&old);
            let known = members.as_ref().and_then(|members| members.get(&revision.id));
            if known.is_some_and(|known| known.revision >= revision.number) {
                return Err(());
            }
            self.remove(old, &revision.id);
        }
        let gathered = (!revision.withdrawn).then_some(gathered);
        let member = Member { revision: revision.number, gathered };
        self.bytes += member.bytes();
        self.panes.entry(pane).or_default().insert(revision.id, member);
        self.places.insert(revision.id, pane);
        Ok(before)
    }

    fn remove(&mut self, pane: i64, id: &MemberId) {
        let Some(members) = self.panes.get_mut(&pane) else { return };
        if let Some(member) = members.remove(id) {
            self.bytes -= member.bytes();
        }
        if members.is_empty() {
            self.panes.remove(&pane);
        }
    }

    /// Lists what lies in these panes, in their order.
    pub fn within(&self, panes: std::ops::Range<i64>) -> impl Iterator<Item = &Gathered> {
        let panes = self.panes.range(panes);
        panes.flat_map(|(_, members)| members.values().filter_map(|it| it.gathered.as_ref()))
    }

    /// Gives the first pane at or behind this one.
    pub fn first_from(&self, pane: i64) -> Option<i64> {
        self.panes.range(pane..).next().map(|(pane, _)| *pane)
    }

    /// Gives the pane that a result lies in.
    pub fn pane_of(&self, id: &MemberId) -> Option<i64> {
        self.places.get(id).copied()
    }

    /// Forgets a pane.
    pub fn drop_pane(&mut self, pane: i64) {
        let Some(members) = self.panes.remove(&pane) else { return };
        for (id, member) in members {
            self.places.remove(&id);
            self.bytes -= member.bytes();
        }
    }

    /// Gives how many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Gives about how much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends their canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_number(self.len() as u64, out);
        for (pane, members) in &self.panes {
            for (id, member) in members {
                code::push_signed(*pane, out);
                out.extend_from_slice(id);
                code::push_number(member.revision, out);
                out.push(u8::from(member.gathered.is_some()));
                if let Some(gathered) = &member.gathered {
                    gathered.encode(out);
                }
            }
        }
    }

    /// Reads what [`Members::encode`] wrote.
    pub fn decode(fields: &Fields, bytes: &mut &[u8]) -> Result<Self, Damaged> {
        let mut members = Members::default();
        for _ in 0..code::take_number(bytes)? {
            let pane = code::take_signed(bytes)?;
            let id = code::take_array(bytes)?;
            let number = code::take_number(bytes)?;
            let stands = code::take_truth(bytes)?;
            let gathered = match stands {
                true => Gathered::decode(fields, bytes)?,
                false => Gathered::new(fields),
            };
            let revision = Revision { id, number, withdrawn: !stands };
            let put = members.put(pane, revision, gathered);
            put.map_err(|()| Damaged("a result stands there twice"))?;
        }
        Ok(members)
    }
}

impl Member {
    fn bytes(&self) -> usize {
        let gathered = self.gathered.as_ref().map_or(0, Gathered::bytes);
        2 * size_of::<(MemberId, Self, i64)>() + gathered
    }
}

/// Makes a row of each revision of a result, on one worker.
#[derive(Debug)]
pub struct MembersMaker {
    windows: Panes,
    made: Vec<Made>,
    late: Lates,
}

#[derive(Debug)]
struct Made {
    key: Vec<u8>,
    place: Place,
    pane: i64,
    revision: Revision,
    gathered: Gathered,
}

impl MembersMaker {
    /// Makes an empty one.
    pub fn new(windows: Panes) -> Self {
        MembersMaker { windows, made: Vec::new(), late: Lates::default() }
    }

    /// Gives where to gather what a revision contributes; none when it is too late, which is
    /// counted.
    pub fn gather(
        &mut self,
        key: &[u8],
        place: &Place,
        revision: Revision,
        late_before: EventTime,
        fields: &Fields,
    ) -> Option<&mut Gathered> {
        let last = place.event_time.saturating_sub(Duration::from_nanos(1));
        let pane = self.windows.grid.pane(last);
        if pane < self.windows.grid.first_open(late_before, self.windows.lateness) {
            self.late.count(key, place);
            return None;
        }
        let (key, place, gathered) = (key.to_vec(), *place, Gathered::new(fields));
        self.made.push(Made { key, place, pane, revision, gathered });
        self.made.last_mut().map(|made| &mut made.gathered)
    }

    /// Appends a row for each revision, and for each key that had some too late.
    pub fn drain(&mut self, partitioner: &Partitioner, rows: &mut Vec<Row>) {
        for Made { key, place, pane, revision, gathered } in self.made.drain(..) {
            let mut payload = vec![MEMBER];
            code::push_signed(pane, &mut payload);
            payload.extend_from_slice(&revision.id);
            code::push_number(revision.number, &mut payload);
            payload.push(u8::from(revision.withdrawn));
            gathered.encode(&mut payload);
            let group = partitioner.group(&key);
            rows.push(Row { group, place, key: key.into(), payload: payload.into() });
        }
        self.late.drain(partitioner, rows);
    }
}

/// Reads the row of a revision: its pane, what it says of itself, what it contributes.
pub fn read_row(
    fields: &Fields,
    payload: &mut &[u8],
) -> Result<(i64, Revision, Gathered), Damaged> {
    let pane = code::take_signed(payload)?;
    let id = code::take_array(payload)?;
    let number = code::take_number(payload)?;
    let withdrawn = code::take_truth(payload)?;
    Ok((pane, Revision { id, number, withdrawn }, Gathered::decode(fields, payload)?))
}
