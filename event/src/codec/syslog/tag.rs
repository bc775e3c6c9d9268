//! Words of a header of RFC 3164: what can be a host, what is the tag of a program, what is text
//! already.

/// A program, with its process in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// Where the name ends; it may be empty.
    pub(super) name_end: usize,
    /// Where the process stands, without brackets.
    pub(super) process: Option<(usize, usize)>,
    /// Where the tag ends, with its colon.
    pub(super) end: usize,
    /// How its end is marked.
    pub(super) mark: Mark,
}

/// What shows that a word is a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A process in brackets.
    Process,
    /// A colon behind the word, or within it before the text.
    Colon,
    /// A colon that stands by itself.
    LoneColon,
}

/// The longest name of a host or program. Names of the domain name system have at most 253 bytes.
const NAME_BYTES_MAX: usize = 255;

/// Tells whether a word ends before `at`.
pub(super) fn is_word_end(line: &[u8], at: usize) -> bool {
    matches!(line.get(at), None | Some(b' '))
}

/// Gives where the word at `at` ends.
pub(super) fn word_end(line: &[u8], at: usize) -> usize {
    let rest = line.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len())
}

/// Tells whether a format begins at `at` that has a header of its own, which belongs to the text:
/// CEF, LEEF, JSON, CEE, the `%FACILITY-SEVERITY-MNEMONIC` of Cisco.
pub(super) fn is_payload(line: &[u8], at: usize) -> bool {
    let rest = line.get(at..).unwrap_or_default();
    match rest {
        [b'%' | b'{' | b'"' | b'<', ..] => true,
        [b'C' | b'L' | b'@', ..] => {
            let version = rest.strip_prefix(b"CEF:").or_else(|| rest.strip_prefix(b"LEEF:"));
            version.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
                || rest.starts_with(b"@cee:")
        }
        _ => false,
    }
}

/// Reads the tag at `at`: `name[process]:`, `name[process]`, `name:` or `name :`. The colon may
/// have text right behind it, and the name may have colons in it.
pub(super) fn tag_at(line: &[u8], at: usize) -> Option<Tag> {
    let mut end = at;
    // What goes on as a name behind one colon does so behind the next: it is looked at once.
    let mut goes_on = false;
    while let Some(byte) = line.get(end) {
        if end - at > NAME_BYTES_MAX {
            return None;
        }
        match byte {
            b':' if line.get(end + 1) == Some(&b':') => end += 2,
            b':' if is_word_end(line, end + 1) => return named(at, end, end + 1, Mark::Colon),
            b':' if goes_on || name_goes_on(line, end + 1) => {
                goes_on = true;
                end += 1;
            }
            b':' => {
                // Text without a space before it: `kernel:[12.5] up`. One letter is a drive, and
                // `//` an address.
                let is_tag = end > at + 1
                    && line[at].is_ascii_alphabetic()
                    && !line[end + 1..].starts_with(b"//");
                return if is_tag { named(at, end, end + 1, Mark::Colon) } else { None };
            }
            b'[' => return with_process(line, at, end),
            b' ' => {
                let lone = line[end..].starts_with(b" :") && is_word_end(line, end + 2);
                return if lone { named(at, end, end + 2, Mark::LoneColon) } else { None };
            }
            byte if is_name_byte(*byte) => end += 1,
            _ => return None,
        }
    }
    None
}

fn named(at: usize, name_end: usize, end: usize, mark: Mark) -> Option<Tag> {
    (name_end > at).then_some(Tag { name_end, process: None, end, mark })
}

/// Tells whether the word goes on after a colon as a name, up to a process or another colon at its
/// end.
fn name_goes_on(line: &[u8], at: usize) -> bool {
    let word = &line[at..word_end(line, at).min(at + NAME_BYTES_MAX)];
    let name = word.iter().take_while(|byte| is_name_byte(**byte) || **byte == b':').count();
    match &word[name..] {
        [] => word.ends_with(b":"),
        [b'[', ..] => name > 0 && with_process(line, at, at + name).is_some(),
        _ => false,
    }
}

/// Reads the process in brackets at `open`, behind a name that begins at `at`.
fn with_process(line: &[u8], at: usize, open: usize) -> Option<Tag> {
    let inner = line[open + 1..].iter().take(NAME_BYTES_MAX);
    let length = inner.clone().position(|byte| matches!(byte, b']' | b' ' | b'['))?;
    let close = open + 1 + length;
    if length == 0 || line[close] != b']' {
        return None;
    }
    let colon = line.get(close + 1) == Some(&b':');
    if !colon && !is_word_end(line, close + 1) {
        return None;
    }
    // Without a name, only a number and a colon make a tag of it; brackets are text else.
    let is_number = line[open + 1..close].iter().all(u8::is_ascii_digit);
    if open == at && !(colon && is_number) {
        return None;
    }
    let end = close + 1 + usize::from(colon);
    Some(Tag { name_end: open, process: Some((open + 1, close)), end, mark: Mark::Process })
}

/// Tells whether the word is a program's name although nothing marks it, as all receivers take the
/// word behind the host: it begins like one, and text follows.
pub(super) fn is_bare_name(word: &[u8]) -> bool {
    let begins = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'_' | 0x80..);
    word.first().is_some_and(begins) && word.len() <= NAME_BYTES_MAX && is_all(NAME, word)
}

/// Which bytes can be part of what. A table, because every byte of a host and a tag is asked for,
/// some twice.
static KINDS: [u8; 256] = kinds();
const NAME: u8 = 1;
const HOST: u8 = 2;
const ADDRESS: u8 = 4;

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let is_name = match byte {
            b'[' | b']' | b':' | b'"' | b'=' | b',' | b';' | b'{' | b'}' | b'|' | b'<' | b'>' => {
                false
            }
            _ => byte > b' ' && byte != 0x7f,
        };
        let is_host = match byte {
            b'.' | b'-' | b'_' | b'/' | b'@' | b'~' | b'+' | b'#' | b'$' | b'(' | b')' => true,
            _ => byte.is_ascii_alphanumeric() || byte >= 0x80,
        };
        let is_address = byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
        kinds[at] = (is_name as u8 * NAME) | (is_host as u8 * HOST) | (is_address as u8 * ADDRESS);
        at += 1;
    }
    kinds
}

fn is_all(kind: u8, word: &[u8]) -> bool {
    word.iter().all(|byte| KINDS[usize::from(*byte)] & kind != 0)
}

fn is_name_byte(byte: u8) -> bool {
    KINDS[usize::from(byte)] & NAME != 0
}

/// Tells whether the word can be the name or address of a host.
pub(super) fn is_host(word: &[u8]) -> bool {
    (1..=NAME_BYTES_MAX).contains(&word.len()) && (is_all(HOST, word) || is_address(word))
}

/// Tells whether the word is an address: of IPv4, with a port or without, of IPv6, or of a network
/// card.
pub(super) fn is_address(word: &[u8]) -> bool {
    // An IPv6 address may name the network card it is of.
    let (address, zone) =
        match word.iter().position(|byte| KINDS[usize::from(*byte)] & ADDRESS == 0) {
            None => (word, false),
            Some(end) if word[end] == b'%' => (&word[..end], true),
            Some(_) => return false,
        };
    let count = |wanted: u8| address.iter().filter(|byte| **byte == wanted).count();
    let colons = count(b':');
    if !zone && colons <= 1 && count(b'.') == 3 {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b':');
        return address.iter().all(is_part)
            && address[0].is_ascii_digit()
            && !address.ends_with(b":");
    }
    colons >= 2 && (!address.ends_with(b":") || address.ends_with(b"::"))
}
