//! What is kept in memory of the windows of a key that are closed: for late records alone.
//!
//! It stands apart from what is open. So what every record looks at is small and in one place, and
//! what is closed is touched when a window closes and when a late record comes.

use super::gathered::Gathered;
use super::told::Image;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;

/// What is kept of one number: of its pane, and of the window that begins with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The number.
    pub number: i64,
    /// What the pane has gathered.
    pub pane: Option<Gathered>,
    /// What was told of the window last.
    pub image: Option<Image>,
}

/// What is kept, in the order of numbers. New entries come at the end, old ones leave at the front.
///
/// What a late record belongs to is looked up several times, to be amended, told and noted: so the
/// last place is remembered, and looked at before others.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    ring: VecDeque<Kept>,
    /// Where something was looked for last: no more than a guess.
    guess: Cell<u32>,
}

impl PartialEq for Shelf {
    fn eq(&self, other: &Self) -> bool {
        self.ring == other.ring
    }
}

impl Shelf {
    /// Gives where a number stands, or where it belongs.
    fn place(&self, number: i64) -> Result<usize, usize> {
        let guess = self.guess.get() as usize;
        if self.ring.get(guess).is_some_and(|kept| kept.number == number) {
            return Ok(guess);
        }
        let place = match self.ring.back() {
            None => Err(0),
            Some(last) if last.number < number => Err(self.ring.len()),
            Some(_) => self.ring.binary_search_by_key(&number, |kept| kept.number),
        };
        let (Ok(at) | Err(at)) = place;
        self.guess.set(at as u32);
        place
    }

    /// Gives what is kept of a number.
    pub fn get(&self, number: i64) -> Option<&Kept> {
        self.ring.get(self.place(number).ok()?)
    }

    /// Gives what is kept of a number, at first nothing.
    pub fn at(&mut self, number: i64) -> &mut Kept {
        let place = self.place(number).unwrap_or_else(|place| {
            self.ring.insert(place, Kept { number, pane: None, image: None });
            place
        });
        &mut self.ring[place]
    }

    /// Lists what is kept of some numbers.
    pub fn range(&self, numbers: Range<i64>) -> impl Iterator<Item = &Kept> {
        let (Ok(from) | Err(from)) = self.place(numbers.start);
        // Mostly one number is asked for.
        let ends = |at: usize| self.ring.get(at).is_none_or(|kept| kept.number >= numbers.end);
        let to = (from..=from + 1)
            .find(|at| ends(*at))
            .unwrap_or_else(|| self.ring.partition_point(|kept| kept.number < numbers.end));
        self.ring.range(from..to.max(from))
    }

    /// Lists all.
    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.ring.iter()
    }

    /// Lists the panes of some numbers.
    pub fn panes(&self, numbers: Range<i64>) -> impl Iterator<Item = (i64, &Gathered)> {
        self.range(numbers).filter_map(|kept| Some((kept.number, kept.pane.as_ref()?)))
    }

    /// Gives the least and the greatest number.
    pub fn span(&self) -> Option<(i64, i64)> {
        Some((self.ring.front()?.number, self.ring.back()?.number))
    }

    /// Drops a pane.
    pub fn drop_pane(&mut self, number: i64) {
        let Ok(place) = self.place(number) else { return };
        let kept = &mut self.ring[place];
        kept.pane = None;
        if kept.image.is_none() {
            self.ring.remove(place);
        }
    }

    /// Drops what is before a number.
    pub fn forget(&mut self, before: i64) {
        while self.ring.pop_front_if(|first| first.number < before).is_some() {}
    }

    /// Drops all, and the room that it took.
    pub fn clear(&mut self) {
        self.ring = VecDeque::new();
    }
}
