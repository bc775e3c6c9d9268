//! The record that a program is running on, for the functions that would otherwise ask the machine.
//!
//! VRL hands a function its arguments and the target, nothing else. But `now()` must be the time at
//! which the record was received, and `uuid_v4()` must be the same again when the log is replayed.
//! So [`begin`] notes, on the worker's thread, where the record comes from, and the functions read
//! it there. A run ends before the next begins on a thread (programs do not call programs), so one
//! cell is enough, and a run that unwound leaves nothing that the next [`begin`] does not replace.

use azud_event::id::Id;
use azud_event::record::Origin;
use azud_event::time::EventTime;
use std::cell::Cell;

/// What tells the random values of one program from those of another on the same record.
pub(super) type Salt = [u8; 16];

#[derive(Clone, Copy)]
struct Moment {
    salt: Salt,
    source: u32,
    stream: u64,
    position: u64,
    index: u64,
    received_at: EventTime,
    /// How often the run has drawn so far.
    draws: u64,
}

thread_local! {
    static MOMENT: Cell<Moment> = const {
        Cell::new(Moment {
            salt: [0; 16],
            source: 0,
            stream: 0,
            position: 0,
            index: 0,
            received_at: EventTime::EPOCH,
            draws: 0,
        })
    };
}

/// Notes that a program begins its run on a record.
#[inline]
pub(super) fn begin(origin: &Origin, salt: &Salt) {
    MOMENT.set(Moment {
        salt: *salt,
        source: origin.source.0,
        stream: origin.stream.0,
        position: origin.position,
        index: origin.index,
        received_at: origin.received_at,
        draws: 0,
    });
}

/// Tells when the record was received.
pub(super) fn received_at() -> EventTime {
    MOMENT.get().received_at
}

/// Fills `out` with bytes that look random and are a function of the program, the record's position
/// in the log, and how many draws came before. They are no secret: who knows the log knows them.
pub(super) fn draw(out: &mut [u8]) {
    let mut moment = MOMENT.get();
    for (number, chunk) in (0_u64..).zip(out.chunks_mut(16)) {
        let id = Id::of(&[
            b"draw",
            &moment.salt,
            &moment.source.to_le_bytes(),
            &moment.stream.to_le_bytes(),
            &moment.position.to_le_bytes(),
            &moment.index.to_le_bytes(),
            &moment.draws.to_le_bytes(),
            &number.to_le_bytes(),
        ]);
        chunk.copy_from_slice(&id.as_bytes()[..chunk.len()]);
    }
    moment.draws += 1;
    MOMENT.set(moment);
}

/// Gives 64 drawn bits.
pub(super) fn draw_bits() -> u64 {
    let mut bytes = [0; 8];
    draw(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_event::record::Record;

    #[test]
    fn draws_depend_on_the_record_the_program_and_their_number_and_on_nothing_else() {
        let mut origin = Record::new().origin().clone();
        begin(&origin, &[1; 16]);
        let (first, second) = (draw_bits(), draw_bits());
        assert_ne!(first, second);
        begin(&origin, &[1; 16]);
        assert_eq!((draw_bits(), draw_bits()), (first, second));
        begin(&origin, &[2; 16]);
        assert_ne!(draw_bits(), first);
        origin.index = 1;
        begin(&origin, &[1; 16]);
        assert_ne!(draw_bits(), first);
    }
}
