//! The lexer of JSON (RFC 8259): finds where tokens end, and refuses what is not JSON.
//!
//! It accepts exactly what `serde_json` accepts, with two named differences: nesting is bounded by
//! [`JSON_DEPTH_MAX`], and a number beyond the range of `f64` is let through, because it can be
//! written out again as it came. Nothing here calls itself, so that a line of 100,000 brackets
//! costs 128 of them and no stack.
//!
//! Strings are read eight bytes at a time: in a 64-bit word the bytes that end a run (a quote, a
//! backslash, a control character) are found by three subtractions. Whether the text is UTF-8 is
//! not looked at byte by byte: the lexer only remembers whether any byte had its high bit set, and
//! the caller then validates the whole text once.

use crate::dead_letter::{Fault, Reason};
use crate::limits::JSON_DEPTH_MAX;

/// Says that the text is not JSON; [`Lexer::flaw`] says where and why.
///
/// Without content, so that what the functions of the lexer give fits in registers: they are called
/// for each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Where a text stops being JSON; [`Flaw::fault`] makes words of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Something else was expected at this position.
    Expected(&'static str, usize),
    /// The container that opens at this position is nested too deeply.
    TooDeep(usize),
}

impl Flaw {
    /// Says it in words; positions are told from `start`, where the text begins.
    #[cold]
    pub(crate) fn fault(self, start: usize) -> Fault {
        match self {
            Flaw::Expected(what, at) => {
                let at = at.saturating_sub(start);
                Fault::new(Reason::Malformed, format!("not JSON: expected {what} at byte {at}"))
            }
            Flaw::TooDeep(at) => {
                let at = at.saturating_sub(start);
                let message = format!(
                    "JSON nested deeper than the limit of {JSON_DEPTH_MAX} levels at byte {at}"
                );
                Fault::new(Reason::TooDeep, message)
            }
        }
    }
}

/// A string between its quotes. Positions are 32 bits wide, as in nodes; that a block's bytes are
/// so few is checked where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// Where its first byte is, after the quote.
    pub(crate) start: u32,
    /// Where its closing quote is.
    pub(crate) end: u32,
    /// Whether it holds escapes.
    pub(crate) escaped: bool,
}

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// A number without fraction and exponent.
    Integer,
    /// Any other number.
    Float,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// Reads tokens of one text, from the front.
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    /// Where the next byte to read is.
    pub(crate) at: usize,
    /// The bytes of strings, or-ed together in words (now and then with some bytes after a string).
    seen: u64,
    /// Whether a line break stood between tokens.
    pub(crate) newline: bool,
    /// What was found when something was refused.
    flaw: Flaw,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of `word` that end a run of plain string bytes: `"`, `\` and control characters.
///
/// The lowest mark is exact. Above it a borrow may leave a false one, so only the lowest may be
/// used.
#[inline]
pub(crate) fn special_bytes(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (quote | backslash | control) & HIGH
}

/// Gives how many of the first bytes of `word` are digits.
#[inline]
fn count_digits(word: u64) -> usize {
    let number = word ^ (ONES * b'0' as u64);
    // Sets the high bit of what is ten or more. Where it carries into the byte above, it has set
    // the one below: the lowest mark is exact.
    let marks = (number.wrapping_add(ONES * (0x80 - 10)) | number) & HIGH;
    marks.trailing_zeros() as usize / 8
}

/// Is zero when no byte of `word` is special and all are ASCII.
#[inline]
pub(crate) fn special_or_high(word: u64) -> u64 {
    special_bytes(word) | (word & HIGH)
}

/// Tells whether any byte of `word` is outside ASCII.
pub(crate) fn has_high_bytes(word: u64) -> bool {
    word & HIGH != 0
}

/// Reads eight bytes from `at`, where there are so many.
#[inline]
pub(crate) fn word_at(text: &[u8], at: usize) -> Option<u64> {
    let (word, _) = text.get(at..)?.split_first_chunk::<8>()?;
    Some(u64::from_le_bytes(*word))
}

/// Reads a text of up to seven bytes into a word, with zeros above.
#[inline]
pub(crate) fn short_word(text: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let shift = 8 * (text.len() - 4);
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << shift;
    }
    let [first, ..] = text else { return 0 };
    // Of one byte these three are the same, of two the last two.
    let (middle, last) = (text.len() / 2, text.len() - 1);
    u64::from(*first)
        | u64::from(text[middle]) << (8 * middle)
        | u64::from(text[last]) << (8 * last)
}

/// Reads a text of up to seven bytes into a word, with spaces above, which are not special.
#[inline]
pub(crate) fn padded_word(text: &[u8]) -> u64 {
    short_word(text) | (ONES * 0x20) << (8 * text.len())
}

impl<'a> Lexer<'a> {
    /// Makes a lexer of `text` that begins to read at `at`.
    pub(crate) fn new(text: &'a [u8], at: usize) -> Self {
        let flaw = Flaw::Expected("JSON", at);
        Lexer { text, at, seen: 0, newline: false, flaw }
    }

    /// Whether strings may have held bytes outside ASCII; never `false` when they did.
    pub(crate) fn saw_high_bytes(&self) -> bool {
        has_high_bytes(self.seen)
    }

    /// Gives all of the text.
    pub(crate) fn whole(&self) -> &'a [u8] {
        self.text
    }

    /// Gives what stands between the quotes of a string.
    pub(crate) fn text(&self, text: Text) -> &'a [u8] {
        &self.text[text.start as usize..text.end as usize]
    }

    /// Passes white space and gives the byte behind it without taking it; 0, which begins no token,
    /// at the end.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> u8 {
        // Nothing or one space, as most writers of JSON have it, is seen to here.
        if let Some(&byte) = self.text.get(self.at) {
            if byte > b' ' {
                return byte;
            }
            if byte == b' '
                && let Some(&byte) = self.text.get(self.at + 1)
                && byte > b' '
            {
                self.at += 1;
                return byte;
            }
        }
        self.peek_far()
    }

    #[inline(never)]
    fn peek_far(&mut self) -> u8 {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\n' | b'\r') => {
                    self.newline = true;
                    self.at += 1;
                }
                Some(&byte) => return byte,
                None => return 0,
            }
        }
    }

    /// Says that `what` should be at the present position.
    pub(crate) fn expected<T>(&mut self, what: &'static str) -> Result<T, Refused> {
        self.expected_at(what, self.at)
    }

    #[cold]
    fn expected_at<T>(&mut self, what: &'static str, at: usize) -> Result<T, Refused> {
        self.flaw = Flaw::Expected(what, at);
        Err(Refused)
    }

    /// Tells why the text was refused.
    pub(crate) fn flaw(&self) -> Flaw {
        self.flaw
    }

    /// Passes a string whose opening quote is the next byte.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Result<Text, Refused> {
        let start = self.at + 1;
        let mut at = start;
        // Most strings end within sixteen bytes: so far without a loop, without a call, and without
        // a branch that hangs on how long they are.
        if let Some(words) = self.text.get(at..).and_then(|text| text.first_chunk::<16>()) {
            let (words, _) = words.as_chunks();
            let (first, second) = (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]));
            self.seen |= first | second;
            let (one, two) = (special_bytes(first), special_bytes(second));
            let within = if one != 0 { one } else { two };
            at += usize::from(one == 0) * 8 + within.trailing_zeros() as usize / 8;
            if within != 0 && self.text[at] == b'"' {
                self.at = at + 1;
                return Ok(Text { start: start as u32, end: at as u32, escaped: false });
            }
        }
        self.string_rest(start, at)
    }

    /// Passes the rest of a string that began at `start`, of which the bytes before `at` are plain.
    #[inline(never)]
    fn string_rest(&mut self, start: usize, plain: usize) -> Result<Text, Refused> {
        let mut at = plain;
        let mut escaped = false;
        loop {
            if let Some(word) = word_at(self.text, at) {
                self.seen |= word;
                let marks = special_bytes(word);
                if marks == 0 {
                    at += 8;
                    continue;
                }
                at += marks.trailing_zeros() as usize / 8;
            }
            // Near the end of the text fewer than eight bytes are left: they are read one by one.
            match self.text.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { start: start as u32, end: at as u32, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                Some(0..0x20) => {
                    return self.expected_at("a control character to be escaped", at);
                }
                Some(&byte) => {
                    self.seen |= u64::from(byte);
                    at += 1;
                }
                None => return self.expected_at("the end of a string", at),
            }
        }
    }

    /// Passes the escape whose backslash is at `at`, and gives where it ends. A surrogate counts
    /// only as a pair.
    fn escape(&mut self, at: usize) -> Result<usize, Refused> {
        match self.text.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'u') => match hex_escape(self.text, at) {
                Some(0xd800..=0xdbff) => match hex_escape(self.text, at + 6) {
                    Some(0xdc00..=0xdfff) => Ok(at + 12),
                    _ => self.expected_at("the second half of a surrogate pair", at + 6),
                },
                Some(0xdc00..=0xdfff) => self.expected_at("the first half of a surrogate pair", at),
                Some(_) => Ok(at + 6),
                None => self.expected_at("four hexadecimal digits", at + 2),
            },
            _ => self.expected_at("an escape", at),
        }
    }

    /// Passes a number, `true`, `false` or `null` that begins with the next byte, which is `first`.
    #[inline]
    pub(crate) fn scalar(&mut self, first: u8) -> Result<Scalar, Refused> {
        match first {
            b'-' | b'0'..=b'9' => self.number(first),
            b't' => self.word(b"true", Scalar::True),
            b'f' => self.word(b"false", Scalar::False),
            b'n' => self.word(b"null", Scalar::Null),
            _ => self.expected("a value"),
        }
    }

    fn word(&mut self, word: &[u8], scalar: Scalar) -> Result<Scalar, Refused> {
        if !self.text[self.at..].starts_with(word) {
            return self.expected("a value");
        }
        self.at += word.len();
        Ok(scalar)
    }

    /// Passes a number. Most are whole and have few digits, which are passed at once.
    #[inline]
    fn number(&mut self, first: u8) -> Result<Scalar, Refused> {
        if let Some(word) = word_at(self.text, self.at) {
            let digits = count_digits(word);
            let behind = word.checked_shr(8 * digits as u32).map(|rest| rest as u8);
            let ends = behind.is_some_and(|byte| !matches!(byte, b'.' | b'e' | b'E'));
            if ends && digits > 0 && (first != b'0' || digits == 1) {
                self.at += digits;
                return Ok(Scalar::Integer);
            }
        }
        self.any_number(first)
    }

    #[inline(never)]
    fn any_number(&mut self, first: u8) -> Result<Scalar, Refused> {
        if first == b'-' {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.text.get(self.at) {
                return self.expected("no digit after a leading zero");
            }
        } else {
            self.digits()?;
        }
        let mut scalar = Scalar::Integer;
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
            scalar = Scalar::Float;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
            scalar = Scalar::Float;
        }
        Ok(scalar)
    }

    /// Passes one or more digits.
    fn digits(&mut self) -> Result<(), Refused> {
        let first = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        if self.at == first { self.expected("a digit") } else { Ok(()) }
    }

    /// Takes the byte `byte`, the next after white space.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8, what: &'static str) -> Result<(), Refused> {
        if self.peek() != byte {
            return self.expected(what);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes the name of a member and its colon.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<Text, Refused> {
        if self.peek() != b'"' {
            return self.expected("the name of a member");
        }
        let name = self.string()?;
        self.take(b':', "a colon after the name of a member")?;
        Ok(name)
    }

    /// Passes a whole value of any kind, within `depth` open containers.
    pub(crate) fn skip_value(&mut self, depth: usize) -> Result<(), Refused> {
        let mut open = Kinds::default();
        loop {
            match self.peek() {
                b'"' => {
                    self.string()?;
                }
                first @ (b'{' | b'[') => {
                    self.enter(depth + open.count)?;
                    open.push(first == b'{');
                    self.at += 1;
                    if self.peek() != open.closing() {
                        if open.is_object() {
                            self.name()?;
                        }
                        continue;
                    }
                }
                first => {
                    self.scalar(first)?;
                }
            }
            if !self.skip_to_next(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Checks that the container at the next byte may open within `depth` others.
    #[inline]
    pub(crate) fn enter(&mut self, depth: usize) -> Result<(), Refused> {
        if depth < JSON_DEPTH_MAX {
            return Ok(());
        }
        self.flaw = Flaw::TooDeep(self.at);
        Err(Refused)
    }

    /// Passes what stands between a value and the next: closing brackets, a comma, a name. Gives
    /// `false` when no container is open any more.
    fn skip_to_next(&mut self, open: &mut Kinds) -> Result<bool, Refused> {
        while open.count > 0 {
            match self.peek() {
                b',' => {
                    self.at += 1;
                    if open.is_object() {
                        self.name()?;
                    }
                    return Ok(true);
                }
                byte if byte == open.closing() => {
                    self.at += 1;
                    open.pop();
                }
                _ if open.is_object() => return self.expected("a comma or a closing brace"),
                _ => return self.expected("a comma or a closing bracket"),
            }
        }
        Ok(false)
    }

    /// Passes the rest of an object behind one of its values, when `depth` containers are open.
    pub(crate) fn skip_members(&mut self, depth: usize) -> Result<(), Refused> {
        loop {
            match self.peek() {
                b',' => {
                    self.at += 1;
                    self.name()?;
                    self.skip_value(depth)?;
                }
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.expected("a comma or a closing brace"),
            }
        }
    }

    /// Checks that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), Refused> {
        self.peek();
        if self.at < self.text.len() {
            return self.expected("the end of the document");
        }
        Ok(())
    }

    /// Checks that what was read since `start` is UTF-8, if it may not be.
    pub(crate) fn check_utf8(&mut self, start: usize) -> Result<(), Refused> {
        if !self.saw_high_bytes() {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(&self.text[start..self.at]) {
            Ok(_) => Ok(()),
            Err(error) => self.expected_at("UTF-8", start + error.valid_up_to()),
        }
    }
}

/// Checks that the text from `start` on is one JSON document.
pub(crate) fn check_document(text: &[u8], start: usize) -> Result<(), Flaw> {
    let mut lexer = Lexer::new(text, start);
    let checked = lexer.skip_value(0).and_then(|()| lexer.check_utf8(start));
    checked.and_then(|()| lexer.end()).map_err(|Refused| lexer.flaw())
}

/// Checks that the text from `at` on is nothing but white space.
pub(crate) fn check_end(text: &[u8], at: usize) -> Result<(), Flaw> {
    let mut lexer = Lexer::new(text, at);
    lexer.end().map_err(|Refused| lexer.flaw())
}

/// The kinds of the open containers, a bit each: [`JSON_DEPTH_MAX`] of them fit.
#[derive(Default)]
struct Kinds {
    objects: u128,
    count: usize,
}

const _: () = assert!(JSON_DEPTH_MAX <= 128, "the kinds of open containers are kept in 128 bits");

impl Kinds {
    fn push(&mut self, object: bool) {
        self.objects = (self.objects << 1) | u128::from(object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.count -= 1;
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn closing(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }
}

/// Reads the escape `\uXXXX` at `at`.
fn hex_escape(text: &[u8], at: usize) -> Option<u32> {
    let (escape, _) = text.get(at..)?.split_first_chunk::<6>()?;
    if escape[..2] != *b"\\u" {
        return None;
    }
    escape[2..].iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
}

/// Appends the string `text`, which the lexer accepted, to `out` with its escapes resolved.
pub(crate) fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(backslash) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..backslash]);
        let length = unescape_one(rest, backslash, out);
        rest = &rest[backslash + length..];
    }
    out.extend_from_slice(rest);
}

/// Appends the character that the escape at `at` stands for, and gives the length of the escape.
fn unescape_one(text: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let (code, length) = match text[at + 1] {
        b'b' => (0x08, 2),
        b'f' => (0x0c, 2),
        b'n' => (0x0a, 2),
        b'r' => (0x0d, 2),
        b't' => (0x09, 2),
        b'u' => match (hex_escape(text, at), hex_escape(text, at + 6)) {
            (Some(high @ 0xd800..=0xdbff), Some(low)) => {
                (0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
            }
            (code, _) => (code.expect("the lexer saw four hexadecimal digits"), 6),
        },
        other => (u32::from(other), 2),
    };
    let character = char::from_u32(code).expect("the lexer refuses lone surrogates");
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    length
}
