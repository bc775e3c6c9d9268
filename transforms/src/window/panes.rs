//! The panes of one key, and which of its windows are to be looked at.
//!
//! Windows are counted along the grid. `next` parts them: those before it are closed, their end was
//! behind the watermark, and only a late record makes them be looked at again; those from it on
//! wait for the watermark. Windows that hold no pane are stepped over, unless empty ones are asked
//! for. Panes before `next` are of closed windows alone: they are put away, and come back when a
//! late record needs them.

use super::closed::Closed;
use super::code::{self, Damaged};
use super::early::Early;
use super::gathered::{Fields, Gathered};
use super::grid::{Grid, Window};
use super::held::{Applied, Around};
use super::members::{self, MEMBERS_PER_KEY_MAX, Members};
use super::shelf::{Kept, Shelf};
use super::sorted::Sorted;
use super::told::{IMAGE_BYTES, Image};
use azud_event::time::EventTime;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;

/// How many panes of windows that are not closed a key may have; a window has at most 1,500. Of
/// further ones, which only a clock that stands makes, the oldest are let go.
pub const PANES_PER_KEY_MAX: usize = 16_384;

/// How many empty windows in a row are told of a key that has fallen silent: a day by minutes.
pub const EMPTY_WINDOWS_MAX: i64 = 1_440;

/// The first byte of the row of a pane.
pub const PANE: u8 = 1;
/// The first byte of a row that counts records of a key that came too late.
pub const LATE: u8 = 2;

/// How windows of a grid are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Panes {
    /// The windows.
    pub grid: Grid,
    /// How long after its end a window is amended.
    pub lateness: Duration,
    /// Which windows are told as soon as they change, before they close.
    pub early: Early,
    /// Whether windows without a record are told too.
    pub empty: bool,
}

/// The panes of one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyPanes {
    /// Panes from `next` on.
    open: Sorted<i64, Gathered>,
    /// What is before `next`.
    closed: Shelf,
    /// In windows over results, what these have contributed.
    members: Option<Box<Members>>,
    /// What was told of windows from `next` on. Few tell any before they close.
    early: Option<Box<Sorted<i64, Image>>>,
    next: i64,
    /// The least and greatest pane that there ever was, while the key is known.
    seen: Span,
    /// Windows before this one have lost panes to a bound.
    floor: i64,
    /// Windows to look at again in this epoch, as ranges with both ends, sorted and apart.
    again: Vec<(i64, i64)>,
    /// Whether none of them is one that nobody wants to know of yet.
    sifted: bool,
    /// How much there is in panes of windows that are not closed.
    bytes: usize,
    /// The least and the greatest number of which a pane or an image was put away.
    away: Span,
    /// The numbers of which everything that was put away is here again. Few keys have any.
    back: Option<Box<(i64, i64)>>,
}

/// The least and the greatest of some numbers, without room for telling whether there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span(i64, i64);

impl Default for Span {
    fn default() -> Self {
        Span(i64::MAX, i64::MIN)
    }
}

impl Span {
    /// Gives both, if there is a number.
    fn get(self) -> Option<(i64, i64)> {
        (self.0 <= self.1).then_some((self.0, self.1))
    }

    /// Takes in a number.
    fn add(&mut self, number: i64) {
        *self = Span(self.0.min(number), self.1.max(number));
    }
}

impl Panes {
    /// Reads one row and adds it to a key.
    pub fn apply(
        &self,
        key: &mut KeyPanes,
        mut payload: &[u8],
        around: &mut Around<'_>,
    ) -> Result<Applied, Damaged> {
        let pane = code::take_signed(&mut payload)?;
        let gathered = Gathered::decode(around.fields, &mut payload)?;
        let last_event = gathered.last;
        if pane < around.first_open {
            return Ok(Applied::Late(gathered.count));
        }
        let least = key.see(pane);
        self.touch(key, pane, least, around);
        self.add(key, pane, gathered, around);
        Ok(Applied::Counted(last_event))
    }

    /// Reads the row of a result's revision and puts it in the place of an earlier one.
    pub fn revise(
        &self,
        key: &mut KeyPanes,
        mut payload: &[u8],
        around: &mut Around<'_>,
    ) -> Result<Applied, Damaged> {
        let (pane, revision, gathered) = members::read_row(around.fields, &mut payload)?;
        let applied = Applied::Counted(gathered.last);
        if pane < around.first_open {
            return Ok(Applied::Late(1));
        }
        let members = key.members.get_or_insert_default();
        let Ok(before) = members.put(pane, revision, gathered) else { return Ok(applied) };
        let least = key.see(pane);
        self.touch(key, pane, least, around);
        if let Some(before) = before.filter(|before| *before != pane) {
            self.touch(key, before, least, around);
        }
        Ok(applied)
    }

    /// Notes that the windows over a pane are to be looked at again. `least` was the least pane so
    /// far, none when the key is new.
    fn touch(&self, key: &mut KeyPanes, pane: i64, least: Option<i64>, around: &Around<'_>) {
        if least.is_none() {
            let first = self.grid.first_window(pane).max(around.first_open);
            key.next = first;
            key.floor = i64::MIN;
            if self.early.at_all() {
                key.look_again(first, pane);
            }
            return;
        }
        if least.is_some_and(|least| pane < least) {
            // The key is older than was known: windows that have not ended wait, as others do.
            let waits = self.grid.first_open(around.watermark, Duration::ZERO);
            let first = self.grid.first_window(pane).max(around.first_open).max(key.floor);
            key.next = key.next.min(first.max(waits));
            debug_assert!(key.closed.span().is_none_or(|(_, last)| last < key.next));
        }
        let (first, last) = self.touched(key, pane, least, around);
        key.look_again(first, last);
    }

    /// Gives the first and the last window that a record in a pane of a known key may change before
    /// they close, or after they did.
    fn touched(
        &self,
        key: &KeyPanes,
        pane: i64,
        least: Option<i64>,
        around: &Around<'_>,
    ) -> (i64, i64) {
        let first = self.grid.first_window(pane).max(around.first_open).max(key.floor);
        let closed = key.next - 1;
        let mut last = if self.early.at_all() { pane } else { pane.min(closed) };
        if let Some(least) = least.filter(|least| self.empty && pane < *least) {
            // The empty windows between are told too: the key is older than was known.
            last = last.max(closed.min(self.grid.first_window(least) - 1));
        }
        (first, last)
    }

    /// Gives the numbers that must be back before a row is applied, if some were put away.
    pub fn needs_back(
        &self,
        key: &KeyPanes,
        payload: &[u8],
        around: &Around<'_>,
    ) -> Result<Option<(i64, i64)>, Damaged> {
        let Some((least_away, greatest_away)) = key.away.get() else { return Ok(None) };
        let (kind, mut payload) = payload.split_first().ok_or(Damaged("a row is empty"))?;
        let mut panes = [Some(code::take_signed(&mut payload)?), None];
        if *kind == members::MEMBER {
            let id = code::take_array(&mut payload)?;
            panes[1] = key.members.as_ref().and_then(|members| members.pane_of(&id));
        }
        let mut needed: Option<(i64, i64)> = None;
        for pane in panes.into_iter().flatten() {
            let least = key.seen.get().map(|(least, _)| least);
            let (first, last) = self.touched(key, pane, least, around);
            let last = self.grid.panes(last).end.saturating_sub(1);
            let (first, last) = (first.max(least_away), last.min(greatest_away));
            if first <= last {
                let (from, to) = needed.unwrap_or((first, last));
                needed = Some((from.min(first), to.max(last)));
            }
        }
        let back = key.back.as_deref();
        let here = |(first, last)| back.is_some_and(|(from, to)| *from <= first && last <= *to);
        Ok(needed.filter(|needed| !here(*needed)))
    }

    fn add(&self, key: &mut KeyPanes, pane: i64, gathered: Gathered, around: &mut Around<'_>) {
        if pane >= key.next {
            let (before, after) = match key.open.get_mut(&pane) {
                Some(there) => merge(there, &gathered, around),
                None => {
                    let bytes = gathered.bytes();
                    key.open.insert(pane, gathered);
                    (0, bytes)
                }
            };
            key.bytes = key.bytes - before + after;
            return;
        }
        let (before, after) = match &mut key.closed.at(pane).pane {
            Some(there) => merge(there, &gathered, around),
            empty => (0, empty.insert(gathered).bytes()),
        };
        around.closed.subtract(self.over_at(pane), before);
        around.closed.add(self.over_at(pane), after);
    }

    /// Says at which bound of lateness a window, and the pane of its number, is over.
    fn over_at(&self, number: i64) -> EventTime {
        self.grid.end(number).saturating_add(self.lateness)
    }

    /// Gives the next window to be looked at once the watermark is at or behind its end.
    fn upcoming(&self, key: &KeyPanes, ended: bool) -> Option<i64> {
        if self.empty {
            let (_, greatest) = key.seen.get()?;
            let silent = if ended { 0 } else { EMPTY_WINDOWS_MAX };
            return (key.next <= greatest.saturating_add(silent)).then_some(key.next);
        }
        let pane = key.first_from(key.next)?;
        Some(key.next.max(self.grid.first_window(pane)))
    }

    /// Says at which watermark the key has a window to look at.
    pub fn due(&self, key: &KeyPanes) -> Option<EventTime> {
        self.upcoming(key, false).map(|number| self.grid.end(number))
    }

    /// Leaves of the open windows that were touched those that were told before, and those that are
    /// wanted before they close.
    fn sift(&self, key: &mut KeyPanes) {
        let Early::When(growth) = &self.early else { return };
        for (first, last) in std::mem::take(&mut key.again) {
            key.look_again(first, last.min(key.next - 1));
            let open = first.max(key.next);
            if open > last {
                continue;
            }
            let images = key.early.iter().flat_map(|images| images.range(open..=last));
            let told: BTreeSet<i64> = images.map(|(number, _)| number).collect();
            let panes = key.open.range(open..self.grid.panes(last).end);
            let panes: Vec<(i64, &Gathered)> = panes.collect();
            let mut wanted = Vec::new();
            growth.find(&self.grid, open..=last, &panes, &told, &mut wanted);
            told.into_iter().chain(wanted).for_each(|number| key.look_again(number, number));
        }
    }

    /// Takes the next window that is to be looked at now.
    pub fn take(
        &self,
        key: &mut KeyPanes,
        watermark: EventTime,
        closed: &mut Closed,
    ) -> Option<(i64, Window)> {
        if !key.sifted {
            self.sift(key);
            key.sifted = true;
        }
        if let Some((first, last)) = key.again.first_mut() {
            let number = *first;
            if number == *last {
                key.again.remove(0);
            } else {
                *first += 1;
            }
            return Some((number, self.grid.window(number)));
        }
        let ended = watermark.nanoseconds() == i64::MAX;
        let number = self.upcoming(key, ended)?;
        let window = self.grid.window(number);
        if window.end > watermark {
            return None;
        }
        key.next = number + 1;
        while key.open.first().is_some_and(|pane| pane < key.next) {
            let Some((pane, gathered)) = key.open.pop_first() else { break };
            key.bytes -= gathered.bytes();
            closed.add(self.over_at(pane), gathered.bytes());
            key.closed.at(pane).pane = Some(gathered);
        }
        while let Some(images) = &mut key.early
            && images.first().is_some_and(|number| number < key.next)
        {
            let Some((number, image)) = images.pop_first() else { break };
            closed.add(self.over_at(number), IMAGE_BYTES);
            key.closed.at(number).image = Some(image);
        }
        Some((number, window))
    }

    /// Merges the panes of a window; none when nothing is to be told of it.
    pub fn answer(
        &self,
        key: &KeyPanes,
        (number, window): (i64, Window),
        fields: &Fields,
    ) -> Option<Gathered> {
        let panes = key.panes(self.grid.panes(number)).map(|(_, pane)| pane);
        let members = key.members.iter();
        let mut parts = panes.chain(members.flat_map(|it| it.within(self.grid.panes(number))));
        match parts.next() {
            Some(part) => {
                let mut all = part.clone();
                parts.for_each(|part| all.merge(part, fields.evidence));
                Some(all)
            }
            // A window that the clock on the wall jumped over takes no time, and is none. One of
            // which everything was taken back is told, so that it can be taken back as well.
            None => {
                let stood = key.image(number).stands;
                let empty = self.empty && window.start < window.end;
                (empty || stood).then(|| Gathered::new(fields))
            }
        }
    }

    /// Lists the panes of a window.
    pub fn each_part(&self, key: &KeyPanes, number: i64, each: &mut dyn FnMut(i64, &Gathered)) {
        key.panes(self.grid.panes(number)).for_each(|(pane, gathered)| each(pane, gathered));
    }

    /// Whether a window that holds no record is told.
    pub fn tells_empty(&self) -> bool {
        self.empty
    }

    /// Whether a window has lost panes to a bound.
    pub fn is_cut(&self, key: &KeyPanes, number: i64) -> bool {
        number < key.floor
    }

    /// Notes what was told of a window.
    pub fn tell(&self, key: &mut KeyPanes, number: i64, image: Image, closed: &mut Closed) {
        if number >= key.next {
            key.early.get_or_insert_default().insert(number, image);
        } else if key.closed.at(number).image.replace(image).is_none() {
            closed.add(self.over_at(number), IMAGE_BYTES);
        }
    }

    /// Says behind which bound of lateness something can be forgotten.
    pub fn expiry(&self, key: &KeyPanes) -> Option<EventTime> {
        let away = key.away.get().map(|(_, greatest)| greatest);
        let closed = key.closed.span().map(|(least, _)| least);
        let least = [closed, key.first_open(), key.first_early(), away];
        least.into_iter().flatten().min().map(|number| self.over_at(number))
    }

    /// Forgets what is over.
    pub fn forget(&self, key: &mut KeyPanes, over_before: EventTime) {
        let open = self.grid.first_open(over_before, self.lateness);
        key.closed.forget(open);
        while key.first_from(i64::MIN).is_some_and(|pane| pane < open) {
            key.drop_first_from(i64::MIN);
        }
        while let Some(images) = &mut key.early
            && images.first().is_some_and(|number| number < open)
        {
            images.pop_first();
        }
        if key.away.1 < open {
            key.away = Span::default();
        }
    }

    /// Whether nothing is known of the key any more.
    pub fn is_empty(&self, key: &KeyPanes) -> bool {
        let nothing_open = key.first_open().is_none() && key.first_early().is_none();
        let holds_nothing = nothing_open && key.closed.span().is_none();
        holds_nothing && key.away.get().is_none() && self.upcoming(key, false).is_none()
    }

    /// Lists what may be put away, in the order of its numbers: what is of closed windows alone.
    pub fn to_put_away(&self, key: &KeyPanes, mut put: impl FnMut(i64, EventTime, &[u8])) {
        let mut value = Vec::new();
        for Kept { number, pane, image } in key.closed.iter() {
            value.clear();
            value.push(u8::from(pane.is_some()) | u8::from(image.is_some()) << 1);
            if let Some(gathered) = pane {
                gathered.encode(&mut value);
            }
            if let Some(image) = image {
                image.encode(&mut value);
            }
            put(*number, self.over_at(*number), &value);
        }
    }
}

/// Merges what a row has gathered; gives how much it took before and takes now.
fn merge(there: &mut Gathered, gathered: &Gathered, around: &Around<'_>) -> (usize, usize) {
    let before = there.bytes();
    there.merge(gathered, around.fields.evidence);
    (before, there.bytes())
}

impl KeyPanes {
    /// Notes a pane, and gives the least that there was so far.
    fn see(&mut self, pane: i64) -> Option<i64> {
        let seen = self.seen;
        self.seen.add(pane);
        seen.get().map(|(least, _)| least)
    }

    /// Lists the panes of some numbers.
    fn panes(&self, numbers: Range<i64>) -> impl Iterator<Item = (i64, &Gathered)> {
        let closed = (numbers.start < self.next).then(|| self.closed.panes(numbers.clone()));
        closed.into_iter().flatten().chain(self.open.range(numbers))
    }

    /// Gives the first pane at or behind this one.
    fn first_from(&self, pane: i64) -> Option<i64> {
        let closed = || self.closed.panes(pane..self.next).next().map(|(pane, _)| pane);
        let open = || match self.open.first() {
            Some(first) if first < pane => self.open.range(pane..).next().map(|(pane, _)| pane),
            first => first,
        };
        let first = if pane < self.next { closed().or_else(open) } else { open() };
        let member = self.members.as_ref().and_then(|members| members.first_from(pane));
        first.into_iter().chain(member).min()
    }

    /// Gives the first pane that is not closed, or the first of a result.
    fn first_open(&self) -> Option<i64> {
        let member = self.members.as_ref().and_then(|members| members.first_from(i64::MIN));
        self.open.first().into_iter().chain(member).min()
    }

    /// Gives the first window that was told and is not closed.
    fn first_early(&self) -> Option<i64> {
        self.early.as_ref().and_then(|images| images.first())
    }

    /// Notes windows to be looked at in this epoch.
    fn look_again(&mut self, first: i64, last: i64) {
        if first > last {
            return;
        }
        self.sifted = false;
        let (mut first, mut last) = (first, last);
        let from = self.again.partition_point(|(_, end)| end.saturating_add(1) < first);
        let mut to = from;
        while let Some((start, end)) = self.again.get(to)
            && *start <= last.saturating_add(1)
        {
            first = first.min(*start);
            last = last.max(*end);
            to += 1;
        }
        self.again.splice(from..to, [(first, last)]);
    }

    /// Drops what lies in the first pane at or behind this one; gives which it was.
    fn drop_first_from(&mut self, from: i64) -> Option<i64> {
        let pane = self.first_from(from)?;
        if pane < self.next {
            self.closed.drop_pane(pane);
        } else if let Some(gathered) = self.open.remove(&pane) {
            self.bytes -= gathered.bytes();
        }
        if let Some(members) = &mut self.members {
            members.drop_pane(pane);
        }
        Some(pane)
    }

    /// Has the processor fetch what is looked at when a window is told.
    pub fn come_near(&self) {
        black_box((self.next, self.open.first(), self.closed.span(), self.away));
    }

    /// Lets the oldest pane go that counts for the bound, because of it. Whether there was one.
    pub fn shrink(&mut self) -> bool {
        // What is closed counts elsewhere; results do not leave, and count here.
        let from = if self.members.is_some() { i64::MIN } else { self.next };
        let Some(pane) = self.drop_first_from(from) else { return false };
        self.floor = self.floor.max(pane.saturating_add(1));
        true
    }

    /// Holds the bound of panes; whether something had to go.
    pub fn hold_bound(&mut self) -> bool {
        let members = |key: &Self| key.members.as_ref().map_or(0, |members| members.len());
        let mut cut = false;
        while self.open.len() > PANES_PER_KEY_MAX || members(self) > MEMBERS_PER_KEY_MAX {
            cut |= self.shrink();
        }
        cut
    }

    /// Gives what was told of a window, to be told anew.
    pub fn image(&self, number: i64) -> Image {
        let image = match number < self.next {
            true => self.closed.get(number).and_then(|kept| kept.image),
            false => self.early.as_ref().and_then(|images| images.get(&number).copied()),
        };
        image.unwrap_or_default()
    }

    /// Gives about how much it takes, in bytes, but for what is of closed windows alone.
    pub fn bytes(&self) -> usize {
        let members = self.members.as_ref().map_or(0, |members| members.bytes());
        size_of::<Self>() + self.bytes + members
    }

    /// Lets go of what was put away.
    pub fn let_go(&mut self) {
        if let Some((least, greatest)) = self.closed.span() {
            self.away.add(least);
            self.away.add(greatest);
        }
        self.closed.clear();
        self.back = None;
    }

    /// Takes back what was put away under a number, unless it is here.
    pub fn take_back(
        &mut self,
        number: i64,
        bytes: &mut &[u8],
        around: &mut Around<'_>,
    ) -> Result<(), Damaged> {
        let flags = code::take_byte(bytes)?;
        if flags & 1 != 0 {
            let gathered = Gathered::decode(around.fields, bytes)?;
            let empty = &mut self.closed.at(number).pane;
            if empty.is_none() {
                around.closed.came_back(gathered.bytes());
                *empty = Some(gathered);
            }
        }
        if flags & 2 != 0 {
            let image = Image::decode(bytes)?;
            let empty = &mut self.closed.at(number).image;
            if empty.is_none() {
                around.closed.came_back(IMAGE_BYTES);
                *empty = Some(image);
            }
        }
        Ok(())
    }

    /// Notes that everything of these numbers is here again.
    pub fn is_back(&mut self, (first, last): (i64, i64)) {
        let near = |(from, to): (i64, i64)| {
            first <= to.saturating_add(1) && from <= last.saturating_add(1)
        };
        self.back = Some(Box::new(match self.back.take().filter(|back| near(**back)) {
            Some(back) => (back.0.min(first), back.1.max(last)),
            None => (first, last),
        }));
    }

    /// Gives up what could not be brought back: windows up to `last` are not amended any more.
    pub fn lose(&mut self, last: i64) {
        self.floor = self.floor.max(last.saturating_add(1));
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_signed(self.next, out);
        code::push_signed(self.floor, out);
        // A key that is known has seen a pane.
        let (least, greatest) = self.seen.get().unwrap_or_default();
        code::push_signed(least, out);
        code::push_signed(greatest, out);
        let closed = || self.closed.iter().filter_map(|it| Some((it.number, it.pane.as_ref()?)));
        code::push_number((closed().count() + self.open.len()) as u64, out);
        for (pane, gathered) in closed().chain(self.open.iter()) {
            code::push_signed(pane, out);
            gathered.encode(out);
        }
        let closed = || self.closed.iter().filter_map(|it| Some((it.number, it.image.as_ref()?)));
        let early = || self.early.iter().flat_map(|images| images.iter());
        code::push_number((closed().count() + early().count()) as u64, out);
        for (number, image) in closed().chain(early()) {
            code::push_signed(number, out);
            image.encode(out);
        }
        match &self.members {
            Some(members) => members.encode(out),
            None => code::push_number(0, out),
        }
        out.push(u8::from(self.away.get().is_some()));
        if let Some((least, greatest)) = self.away.get() {
            code::push_signed(least, out);
            code::push_signed(greatest, out);
        }
    }

    /// Reads what [`KeyPanes::encode`] wrote.
    pub fn decode(bytes: &mut &[u8], around: &mut Around<'_>) -> Result<Self, Damaged> {
        let mut key = KeyPanes {
            next: code::take_signed(bytes)?,
            floor: code::take_signed(bytes)?,
            seen: Span(code::take_signed(bytes)?, code::take_signed(bytes)?),
            ..KeyPanes::default()
        };
        for _ in 0..code::take_number(bytes)? {
            let pane = code::take_signed(bytes)?;
            let gathered = Gathered::decode(around.fields, bytes)?;
            if pane >= key.next {
                key.bytes += gathered.bytes();
                key.open.insert(pane, gathered);
            } else {
                around.closed.came_back(gathered.bytes());
                key.closed.at(pane).pane = Some(gathered);
            }
        }
        for _ in 0..code::take_number(bytes)? {
            let number = code::take_signed(bytes)?;
            around.closed.came_back(IMAGE_BYTES);
            let image = Image::decode(bytes)?;
            if number >= key.next {
                key.early.get_or_insert_default().insert(number, image);
            } else {
                key.closed.at(number).image = Some(image);
            }
        }
        let members = Members::decode(around.fields, bytes)?;
        key.members = (members.len() > 0).then(|| Box::new(members));
        if code::take_truth(bytes)? {
            key.away = Span(code::take_signed(bytes)?, code::take_signed(bytes)?);
        }
        Ok(key)
    }
}
