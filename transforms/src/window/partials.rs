//! What the fields of one result have gathered. Most results have one field, whose partial stands
//! in place and takes no more room than it would alone.

use crate::aggregate::Partial;
use std::ops::{Deref, DerefMut};

/// Partials, in the order of their fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Partials {
    /// That of one field.
    One(Partial),
    /// Those of none, or of several.
    Many(Box<[Partial]>),
}

impl FromIterator<Partial> for Partials {
    fn from_iter<I: IntoIterator<Item = Partial>>(partials: I) -> Self {
        let mut partials = partials.into_iter();
        match (partials.next(), partials.next()) {
            (Some(one), None) => Partials::One(one),
            (first, second) => {
                Partials::Many(first.into_iter().chain(second).chain(partials).collect())
            }
        }
    }
}

impl Deref for Partials {
    type Target = [Partial];

    #[inline]
    fn deref(&self) -> &[Partial] {
        match self {
            Partials::One(one) => std::slice::from_ref(one),
            Partials::Many(many) => many,
        }
    }
}

impl DerefMut for Partials {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Partial] {
        match self {
            Partials::One(one) => std::slice::from_mut(one),
            Partials::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Aggregate;

    #[test]
    fn they_stand_in_their_order_and_one_takes_no_room_of_its_own() {
        let all = [Aggregate::Count { present: false }, Aggregate::Max, Aggregate::Sum];
        for count in 0..=all.len() {
            let expected: Vec<_> = all[..count].iter().map(Aggregate::partial).collect();
            let mut partials: Partials = expected.iter().cloned().collect();
            assert_eq!(*partials, *expected);
            assert_eq!(partials.iter_mut().count(), count);
        }
        assert_eq!(size_of::<Partials>(), size_of::<Partial>());
    }
}
