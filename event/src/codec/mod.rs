//! Bytes to records and back, a format a file.

pub mod framing;
pub mod json;
pub mod source_fields;
pub mod syslog;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;

use crate::block::{Block, Frame};
use crate::dead_letter::Fault;
use crate::record::{Record, Wanted};

/// Reads records out of the frames of one source, on the worker that owns the stream.
///
/// The contract:
/// - The caller has called [`Record::begin`] for this block and frame, so the record is empty and
///   lies over the block's bytes; a decoder that makes several records calls [`Record::begin`]
///   again before each further one (checked by the property tests of each decoder).
/// - It calls `emit` once for each record, in order; after `emit` returns the record's content is
///   no longer defined.
/// - It never panics on any input (fuzzed), and takes time linear in the frame.
pub trait Decoder: Send {
    /// Decodes one frame.
    ///
    /// # Errors
    /// A [`Fault`] when the frame is not of this format; the raw bytes are then set aside as a dead
    /// letter. Records emitted before the fault stand.
    fn decode(
        &mut self,
        block: &Block,
        frame: &Frame,
        record: &mut Record,
        emit: &mut dyn FnMut(&mut Record),
    ) -> Result<(), Fault>;

    /// Gives the field that is a slice of the frame's bytes as they are, in every record that this
    /// decoder makes of a frame whose first byte is above a space; and no such frame is a fault.
    fn verbatim_field(&self) -> Option<&'static str> {
        None
    }

    /// Says that nobody looks at other fields than these of the records that come from now on: it
    /// may leave others out. It refuses the same frames as before.
    fn narrow(&mut self, wanted: Wanted) {
        drop(wanted);
    }
}
