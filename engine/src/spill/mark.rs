//! The mark of a spill: up to where it is delivered, in a file of its own beside the segments.
//!
//! It is a hint: where it is missing, or was written before the last deliveries, a restart gives a
//! sink again what it had. It is written under another name and renamed, so it is whole or not
//! there. With it stands what the sink's receiver has by its own word: what is delivered is in the
//! receiver only as long as that does not go back.

use crate::feed::Epoch;
use crate::log::{Access, Disk, LogPosition};
use std::io;

const NAME: &str = "delivered";
const UNFINISHED: &str = "delivered.unfinished";

/// What a mark says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Everything before this is delivered.
    pub delivered: LogPosition,
    /// The receiver has everything of the epochs before this; 0 when it keeps no progress.
    pub stored: Epoch,
}

/// Position, epoch, and the CRC32C of both.
const BYTES: usize = 20;

impl Mark {
    /// Writes the mark, durably.
    ///
    /// # Errors
    /// Those of the disk; the older mark is then still there.
    pub fn write(self, disk: &dyn Disk) -> io::Result<()> {
        let body = [self.delivered.0.to_le_bytes(), self.stored.to_le_bytes()].concat();
        let file = disk.create(UNFINISHED)?;
        file.write_at(0, &[&body, &crc32c::crc32c(&body).to_le_bytes()])?;
        file.sync()?;
        disk.rename(UNFINISHED, NAME)?;
        disk.sync_folder("")
    }

    /// Reads the mark; `None` when there is none that can be used.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(disk: &dyn Disk) -> io::Result<Option<Mark>> {
        let file = match disk.open(NAME, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; BYTES];
        if file.read_at(0, &mut bytes)? < BYTES {
            return Ok(None);
        }
        let (body, checksum) = bytes.split_at(BYTES - 4);
        let number = |at: usize| {
            body[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).unwrap_or_default()
        };
        let mark = Mark { delivered: LogPosition(number(0)), stored: number(8) };
        Ok((crc32c::crc32c(body).to_le_bytes() == checksum).then_some(mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::forgetful::Forgetful;

    fn mark(number: u64) -> Mark {
        Mark { delivered: LogPosition(number), stored: 100 + number }
    }

    #[test]
    fn a_mark_is_the_last_or_the_one_before_wherever_the_power_goes() {
        for seed in 0..40 {
            let disk = Forgetful::new();
            assert_eq!(Mark::read(&disk).unwrap(), None);
            mark(7).write(&disk).unwrap();
            disk.die_at(seed % 6);
            let written = mark(8).write(&disk).is_ok();
            let found = Mark::read(&disk.crash(seed)).unwrap();
            let last = found == Some(mark(8));
            assert!(last || !written && found == Some(mark(7)), "{seed}: {found:?}");
        }
    }

    #[test]
    fn a_damaged_mark_is_none() {
        for byte in 0..BYTES {
            let disk = Forgetful::new();
            mark(7).write(&disk).unwrap();
            disk.flip(NAME, byte, 1);
            assert_eq!(Mark::read(&disk).unwrap(), None);
        }
    }
}
