//! Sealing: what is secret lies in the database as bytes that only the right key opens, and only in
//! the place that they were sealed for.
//!
//! ```text
//!   version 1 │ id of the data key, 16 bytes │ nonce, 24 bytes │ ciphertext │ tag, 16 bytes
//! ```
//!
//! XChaCha20-Poly1305: its nonce is long enough to be random, so no counter has to survive
//! anything. Authenticated with the text are the version, the key's id and the [`Place`] (table,
//! row, column), each with its length, so that a sealed value which somebody copies into another
//! row or column, or under another key's name, does not open.
//!
//! Source: Arciszewski, *XChaCha: eXtended-nonce ChaCha and AEAD_XChaCha20_Poly1305*,
//! draft-irtf-cfrg-xchacha-03.

use crate::StoreError;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The version of the form.
const VERSION: u8 = 1;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + 16 + NONCE_BYTES;

/// A key of 32 bytes. It shows nothing, and its memory is wiped when it goes.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Takes a key into keeping.
    pub fn new(bytes: [u8; 32]) -> Self {
        Key(Zeroizing::new(bytes))
    }

    /// Makes a key that nobody can guess.
    ///
    /// # Errors
    /// [`StoreError::Random`] when the system gives none.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(StoreError::Random)?;
        Ok(Key(bytes))
    }

    /// Gives the bytes, to be wrapped.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// Where a sealed value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The row: the connector, the credential, of a cursor the partition too.
    pub row: &'a str,
    /// The column.
    pub field: &'a str,
}

/// Why a sealed value does not open. It says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsealable {
    /// It is not of a form that this version knows.
    #[error("it is not of a form that this version of azud knows")]
    Form,
    /// It was sealed with another key.
    #[error("it was sealed with a key that is not there")]
    Key,
    /// The key is right, and the bytes were changed or stand in another place.
    #[error("it was changed, or copied from another place")]
    Forged,
}

/// Seals a value for its place with the data key of this id.
///
/// # Errors
/// [`StoreError::Random`] when the system gives no nonce.
pub(crate) fn seal(
    key: &Key,
    key_id: Uuid,
    place: Place<'_>,
    plain: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(StoreError::Random)?;
    let aad = associated(key_id, place);
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad });
    // The cipher refuses only what is longer than 256 GiB, and no value of a row is.
    let sealed = sealed.expect("a value of a row is shorter than 256 GiB");
    let mut out = Vec::with_capacity(HEAD_BYTES + sealed.len());
    out.push(VERSION);
    out.extend_from_slice(key_id.as_bytes());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// Gives the id of the data key that a value was sealed with.
pub(crate) fn key_of(sealed: &[u8]) -> Result<Uuid, Unsealable> {
    match sealed.first() {
        Some(&VERSION) if sealed.len() >= HEAD_BYTES + TAG_BYTES => {
            Uuid::from_slice(&sealed[1..17]).map_err(|_| Unsealable::Form)
        }
        _ => Err(Unsealable::Form),
    }
}

/// Opens a value that was sealed for this place with this key.
pub(crate) fn open(
    key: &Key,
    place: Place<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
    let key_id = key_of(sealed)?;
    let nonce: [u8; NONCE_BYTES] = sealed[17..HEAD_BYTES].try_into().expect("it has a nonce");
    let (aad, msg) = (associated(key_id, place), &sealed[HEAD_BYTES..]);
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    let opened = cipher.decrypt(&XNonce::from(nonce), Payload { msg, aad: &aad });
    opened.map(Zeroizing::new).map_err(|_| Unsealable::Forged)
}

fn associated(key_id: Uuid, place: Place<'_>) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(key_id.as_bytes());
    for part in [place.table, place.row, place.field] {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: Place<'static> = Place { table: "connectors", row: "1", field: "configuration" };

    #[test]
    fn it_opens_in_its_place_and_nowhere_else() {
        let (key, id) = (Key::random().unwrap(), Uuid::from_u128(7));
        let sealed = seal(&key, id, PLACE, b"hidden").unwrap();
        assert_eq!(key_of(&sealed), Ok(id));
        assert_eq!(&**open(&key, PLACE, &sealed).unwrap(), b"hidden");
        let elsewhere = [
            Place { table: "credentials", ..PLACE },
            Place { row: "2", ..PLACE },
            Place { field: "summary", ..PLACE },
            Place { table: "connector", row: "s1", ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(open(&key, place, &sealed), Err(Unsealable::Forged), "{place:?}");
        }
        let other = Key::random().unwrap();
        assert_eq!(open(&other, PLACE, &sealed), Err(Unsealable::Forged));
        assert_eq!(open(&key, PLACE, &[]), Err(Unsealable::Form));
    }

    #[test]
    fn nothing_of_it_shows_and_no_two_are_the_same() {
        let key = Key::new(*b"0123456789abcdef0123456789abcdef");
        let seal = || seal(&key, Uuid::nil(), PLACE, b"hidden hidden").unwrap();
        let (one, other) = (seal(), seal());
        assert_ne!(one, other);
        assert!(!one.windows(6).any(|part| part == b"hidden"));
        assert!(!format!("{key:?}").contains("123"));
    }

    proptest! {
        #[test]
        fn any_changed_byte_and_any_cut_is_noticed(
            plain in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(),
            with in 1u8..,
        ) {
            let key = Key::new([3; 32]);
            let sealed = seal(&key, Uuid::from_u128(9), PLACE, &plain).unwrap();
            prop_assert_eq!(&**open(&key, PLACE, &sealed).unwrap(), &plain);
            let mut changed = sealed.clone();
            changed[at.index(sealed.len())] ^= with;
            prop_assert!(open(&key, PLACE, &changed).is_err());
            prop_assert!(open(&key, PLACE, &sealed[..at.index(sealed.len())]).is_err());
        }
    }
}
