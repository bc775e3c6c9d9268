//! What is kept in memory of the windows of a key that are closed: for late records alone.
//!
//! It stands apart from what is open. So what every record looks at is small and in one place, and
//! what is closed is touched when a window closes and when a late record comes.

use super::gathered::Gathered;
use super::told::Image;
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shelf(VecDeque<Kept>);

impl Shelf {
    /// Gives where a number stands, or where it belongs.
    fn place(&self, number: i64) -> Result<usize, usize> {
        match self.0.back() {
            None => Err(0),
            Some(last) if last.number < number => Err(self.0.len()),
            Some(last) if last.number == number => Ok(self.0.len() - 1),
            Some(_) => self.0.binary_search_by_key(&number, |kept| kept.number),
        }
    }

    /// Gives what is kept of a number.
    pub fn get(&self, number: i64) -> Option<&Kept> {
        self.0.get(self.place(number).ok()?)
    }

    /// Gives what is kept of a number, at first nothing.
    pub fn at(&mut self, number: i64) -> &mut Kept {
        let place = self.place(number).unwrap_or_else(|place| {
            self.0.insert(place, Kept { number, pane: None, image: None });
            place
        });
        &mut self.0[place]
    }

    /// Lists what is kept of some numbers.
    pub fn range(&self, numbers: Range<i64>) -> impl Iterator<Item = &Kept> {
        let place = |number| self.place(number).unwrap_or_else(|place| place);
        let from = place(numbers.start);
        self.0.range(from..place(numbers.end).max(from))
    }

    /// Lists all.
    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.0.iter()
    }

    /// Lists the panes of some numbers.
    pub fn panes(&self, numbers: Range<i64>) -> impl Iterator<Item = (i64, &Gathered)> {
        self.range(numbers).filter_map(|kept| Some((kept.number, kept.pane.as_ref()?)))
    }

    /// Gives the least and the greatest number.
    pub fn span(&self) -> Option<(i64, i64)> {
        Some((self.0.front()?.number, self.0.back()?.number))
    }

    /// Drops a pane.
    pub fn drop_pane(&mut self, number: i64) {
        let Ok(place) = self.place(number) else { return };
        let kept = &mut self.0[place];
        kept.pane = None;
        if kept.image.is_none() {
            self.0.remove(place);
        }
    }

    /// Drops what is before a number.
    pub fn forget(&mut self, before: i64) {
        while self.0.pop_front_if(|first| first.number < before).is_some() {}
    }

    /// Drops all, and the room that it took.
    pub fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}
