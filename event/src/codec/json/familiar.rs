//! Names that were there in the last document, at the same place: most documents of a stream look
//! alike, and a name that is known is passed by one comparison.

use super::scan::Lexer;
use crate::record::tree::Name;

/// How many members of a document are remembered.
const MEMBERS_MAX: usize = 64;

/// How many bytes are compared at once.
const WIDTH: usize = 16;

/// The names of the members of the last document, in their order, as they stood.
#[derive(Debug, Default)]
pub(crate) struct Familiar(Vec<Member>);

/// From behind the comma or brace to the colon: ` "name":`.
#[derive(Clone, Copy, Debug)]
struct Member {
    text: u128,
    /// The bytes of `text` that count.
    mask: u128,
    length: usize,
    /// The name, and how far behind the beginning it stands.
    name: Name,
    offset: usize,
}

impl Familiar {
    /// Passes the name of a member, and gives it, if it stands there as it did in the last
    /// document.
    #[inline]
    pub(crate) fn pass(&self, ordinal: usize, lexer: &mut Lexer<'_>) -> Option<Name> {
        let known = self.0.get(ordinal)?;
        let (word, _) = lexer.whole().get(lexer.at..)?.split_first_chunk::<WIDTH>()?;
        if u128::from_le_bytes(*word) & known.mask != known.text {
            return None;
        }
        let start = lexer.at + known.offset;
        lexer.at += known.length;
        Some(known.name.at(start as u32))
    }

    /// Remembers a name without escapes that was found in `text`, from behind the comma or brace to
    /// the colon, if that is short and ASCII.
    #[inline]
    pub(crate) fn note(&mut self, ordinal: usize, text: &[u8], name: Name) {
        let Some(offset) = text.iter().position(|byte| *byte == b'"') else { return };
        let plain = |byte: &u8| matches!(byte, b' '..=b'~');
        if ordinal >= MEMBERS_MAX || text.len() > WIDTH || !text.iter().all(plain) {
            return;
        }
        let mut word = [0; WIDTH];
        word[..text.len()].copy_from_slice(text);
        let mask = u128::MAX >> (8 * (WIDTH - text.len()));
        let (text, length) = (u128::from_le_bytes(word), text.len());
        let member = Member { text, mask, length, name, offset: offset + 1 };
        if ordinal >= self.0.len() {
            // What is too long to be remembered leaves a gap that nothing is like.
            self.0.resize(ordinal + 1, Member { mask: 0, text: 1, ..member });
        }
        self.0[ordinal] = member;
    }
}
