//! Eight bytes at a time: whether digits stand where they should, and what numbers they are.
//!
//! The bytes are one little-endian word. An exclusive or with the expected text turns digits into 0
//! to 9 and separators into 0, and two additions and a mask say of all eight bytes at once whether
//! they are. Half of the cost of a header is its time, so this pays.

/// What eight bytes of text must look like: `0` is any digit, `?` anything, everything else itself.
#[derive(Clone, Copy)]
pub(super) struct Pattern {
    expected: u64,
    /// The bits that must be clear after the exclusive or: the upper half of a digit, all of a
    /// separator.
    clear: u64,
    /// Six for every digit, which lifts 10 to 15 into the upper half.
    lift: u64,
}

impl Pattern {
    pub(super) const fn new(text: &[u8; 8]) -> Self {
        let mut pattern = Pattern { expected: 0, clear: 0, lift: 0 };
        let mut at = 0;
        while at < 8 {
            let (expected, clear, lift) = match text[at] {
                b'0' => (b'0', 0xf0, 6),
                b'?' => (0, 0, 0),
                other => (other, 0xff, 0),
            };
            pattern.expected |= (expected as u64) << (8 * at);
            pattern.clear |= (clear as u64) << (8 * at);
            pattern.lift |= (lift as u64) << (8 * at);
            at += 1;
        }
        pattern
    }

    /// Reads the eight bytes at `at`, if they are there and fit.
    #[inline]
    pub(super) fn read(&self, text: &[u8], at: usize) -> Option<Digits> {
        let eight: &[u8; 8] = text.get(at..)?.first_chunk()?;
        let values = u64::from_le_bytes(*eight) ^ self.expected;
        // A byte that carries into the next when lifted is above 0xf9, and so refused by itself.
        let fits = (values | values.wrapping_add(self.lift)) & self.clear == 0;
        fits.then_some(Digits(values))
    }
}

/// The values of the digits in eight bytes.
#[derive(Clone, Copy)]
pub(super) struct Digits(u64);

impl Digits {
    /// Gives the digit at `at`.
    #[inline]
    pub(super) fn one(self, at: usize) -> u32 {
        (self.0 >> (8 * at)) as u32 & 15
    }

    /// Gives the number that the two digits at `at` make.
    #[inline]
    pub(super) fn two(self, at: usize) -> u32 {
        let pair = (self.0 >> (8 * at)) as u32;
        (pair & 15) * 10 + (pair >> 8 & 15)
    }
}

/// Gives the number that the digits at `at` make, and where they end. `None` when there is none or
/// more than `digits_max`, which is at most 18.
pub(super) fn number(text: &[u8], at: usize, digits_max: usize) -> Option<(i64, usize)> {
    let mut end = at;
    let mut sum = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(end) {
        if end - at == digits_max {
            return None;
        }
        sum = sum * 10 + i64::from(digit - b'0');
        end += 1;
    }
    (end > at).then_some((sum, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_judged_by_itself() {
        let pattern = Pattern::new(b"00:00:00");
        let fits = |text: &[u8; 8]| {
            text.iter().enumerate().all(|(at, byte)| match at {
                2 | 5 => *byte == b':',
                _ => byte.is_ascii_digit(),
            })
        };
        for at in 0..8 {
            for byte in 0..=255 {
                let mut text = *b"19:28:37";
                text[at] = byte;
                assert_eq!(pattern.read(&text, 0).is_some(), fits(&text), "{byte} at {at}");
            }
        }
        let digits = pattern.read(b"19:28:37", 0).unwrap();
        assert_eq!([digits.two(0), digits.two(3), digits.two(6)], [19, 28, 37]);
        assert!(pattern.read(b"19:28:3", 0).is_none());
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(number(b"x123y", 1, 3), Some((123, 4)));
        assert_eq!(number(b"x123y", 1, 2), None);
        assert_eq!(number(b"x", 0, 3), None);
        assert_eq!(number(b"", 0, 3), None);
    }
}
