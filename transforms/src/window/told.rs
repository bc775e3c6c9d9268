//! What was told of a window last, so that it is told again only if something changed.

use super::code::{self, Damaged};

/// A hash of everything that is visible in an answer, but for the words on how it came about.
pub type Digest = [u8; 16];

/// What an [`Image`] takes with the number of its window, in bytes.
pub const IMAGE_BYTES: usize = size_of::<(i64, Image)>();

/// What an answer does to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is the first.
    New,
    /// It replaces it.
    Revised,
    /// There is none any more.
    Withdrawn,
}

impl Change {
    /// Gives the word for it in results.
    pub fn name(self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Revised => "revised",
            Change::Withdrawn => "withdrawn",
        }
    }
}

/// What was told of a window last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// How often it was told; never zero once it is kept.
    pub revision: u64,
    /// Whether it stands, or was withdrawn.
    pub stands: bool,
    digest: Digest,
}

impl Image {
    /// Takes in how the window looks now; gives the change if it is to be told again.
    pub fn look(&mut self, digest: Digest, holds: bool) -> Option<Change> {
        let change = match (self.stands, holds) {
            (false, false) => return None,
            (true, true) if digest == self.digest => return None,
            (false, true) if self.revision == 0 => Change::New,
            (_, true) => Change::Revised,
            (true, false) => Change::Withdrawn,
        };
        *self = Image { revision: self.revision + 1, stands: holds, digest };
        Some(change)
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_number(self.revision, out);
        out.push(u8::from(self.stands));
        out.extend(self.digest);
    }

    /// Reads what [`Image::encode`] wrote.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, Damaged> {
        Ok(Image {
            revision: code::take_number(bytes)?,
            stands: code::take_truth(bytes)?,
            digest: code::take_array(bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_told_when_it_changes() {
        let mut image = Image::default();
        let (one, two) = ([1; 16], [2; 16]);
        assert_eq!(image.look(one, false), None);
        assert_eq!(image.look(one, true), Some(Change::New));
        assert_eq!(image.look(one, true), None);
        assert_eq!(image.look(two, true), Some(Change::Revised));
        assert_eq!(image.look(two, false), Some(Change::Withdrawn));
        assert_eq!(image.look(one, false), None);
        assert_eq!(image.look(two, true), Some(Change::Revised));
        assert_eq!(image.revision, 4);
    }
}
