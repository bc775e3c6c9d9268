//! What a window has gathered, as parts that it shares with windows that overlap it.
//!
//! Of tumbling and hopping windows the parts are panes, of sessions segments. A pane is in several
//! windows; who puts windows together takes each once.

use super::code::Damaged;
use super::gathered::{Fields, Gathered};
use super::held::{Held, Ready, Windows};
use azud_event::id::Id;
use azud_event::parts::{Part, Parts};
use std::sync::Arc;

/// How much the parts of a window may take, in bytes. One that has more is told without them.
const PARTS_BYTES_MAX: usize = 64 * 1024;

/// Gives the parts of windows.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// What its parts are told from others by.
    pub by: u64,
    /// Whose windows they are.
    pub component: String,
}

impl Sharing {
    /// Gives the parts of a window of a key, unless they are too large.
    pub fn parts(
        &self,
        windows: &Windows,
        key: &[u8],
        held: &Held,
        ready: &Ready,
    ) -> Option<Arc<Parts>> {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        windows.each_part(held, ready, &mut |number, gathered| {
            if bytes <= PARTS_BYTES_MAX {
                let mut part = Part { number, records: gathered.count, bytes: Vec::new() };
                gathered.encode_without_records(&mut part.bytes);
                bytes += size_of::<Part>() + part.bytes.len();
                parts.push(part);
            }
        });
        let of = Id::of(&[b"parts", self.component.as_bytes(), key]);
        (bytes <= PARTS_BYTES_MAX).then(|| Arc::new(Parts { by: self.by, of, parts }))
    }
}

/// Puts parts together that were gathered for `fields`.
///
/// # Errors
/// [`Damaged`] when one was not.
pub fn merge_parts(fields: &Fields, parts: &[&[u8]]) -> Result<Gathered, Damaged> {
    let mut all = Gathered::new(fields);
    for part in parts {
        let mut bytes = *part;
        all.merge(&Gathered::decode(fields, &mut bytes)?, fields.evidence);
        if !bytes.is_empty() {
            return Err(Damaged("something stands behind the end"));
        }
    }
    Ok(all)
}
