//! Secrets by their names: what stands behind one in JSON, XML, forms, addresses and headers.
//!
//! A text is read once, from name to name, whatever its format is: the bodies that are looked at
//! are cut, wrapped in one another, or of no format.

use super::STARS;
use std::ops::Range;

/// What is secret by its name, as [`normal`] has it.
const NAMES: &[&str] = &[
    "assertion",
    "authtoken",
    "cookie",
    "jsessionid",
    "jwt",
    "key",
    "phpsessid",
    "pwd",
    "samlresponse",
    "setcookie",
    "sig",
    "signature",
    "token",
    "xamzsignature",
];

/// What a name of something secret ends with.
const ENDS: &[&str] = &[
    "accesskey",
    "accesstoken",
    "accountkey",
    "apikey",
    "apitoken",
    "assertion",
    "authkey",
    "authorization",
    "authtoken",
    "bearertoken",
    "clientkey",
    "csrftoken",
    "idtoken",
    "masterkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "privatetoken",
    "refreshtoken",
    "secret",
    "secretkey",
    "securitytoken",
    "sessiontoken",
    "sharedkey",
    "signingkey",
    "subscriptionkey",
    "xsrftoken",
];

/// Headers whose values have several words.
const LINES: &[&str] = &["authorization", "cookie", "setcookie"];

/// How far behind a name its value is looked for.
const GAP_BYTES_MAX: usize = 64;

/// How far behind its name the end of a tag is looked for.
const TAG_BYTES_MAX: usize = 1024;

/// Writes a name without case, and without what divides its words.
pub(super) fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            // What divides words may be encoded.
            b'%' => drop((bytes.next(), bytes.next())),
            _ if byte.is_ascii_alphanumeric() => normal.push(byte.to_ascii_lowercase() as char),
            _ => {}
        }
    }
    normal
}

/// Whether a name, as [`normal`] has it, is that of a secret.
pub(super) fn is_secret(normal: &str) -> bool {
    NAMES.contains(&normal) || ENDS.iter().any(|end| normal.ends_with(end))
}

/// What is hidden, and what stands there instead.
type Hidden = (Range<usize>, &'static str);

/// Gives a text without what stands behind names of secrets.
pub(super) fn hide_named(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut clean = String::with_capacity(text.len());
    let (mut taken, mut at) = (0, 0);
    while at < bytes.len() {
        let name = at..name_end(bytes, at);
        let hidden = match name.is_empty() {
            true => user_info(text, at).into_iter().collect(),
            false => values(text, &name),
        };
        let step = if is_percent(bytes, at) { 3 } else { 1 };
        at = name.end.max(at + step);
        for (range, instead) in hidden {
            clean.push_str(&text[taken..range.start]);
            clean.push_str(instead);
            taken = range.end;
            at = at.max(taken);
        }
    }
    clean.push_str(&text[taken..]);
    clean
}

/// Gives where the name ends that begins here.
fn name_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        at += match bytes.get(at) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"$-._".contains(byte) => 1,
            Some(b'%') if is_encoded(bytes, at, b"-._[]") => 3,
            _ => return at,
        }
    }
}

/// Whether an encoded byte stands here.
fn is_percent(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at..at + 3), Some([b'%', high, low])
        if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// Whether one of some signs stands here, encoded.
fn is_encoded(bytes: &[u8], at: usize, signs: &[u8]) -> bool {
    let Some([b'%', digits @ ..]) = bytes.get(at..at + 3) else { return false };
    let byte = std::str::from_utf8(digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok());
    byte.is_some_and(|byte| signs.contains(&byte))
}

/// Finds user and password in an address, whose `://` is here.
fn user_info(text: &str, at: usize) -> Option<Hidden> {
    let rest = text.get(at..)?.strip_prefix("://")?;
    let ends = |sign: char| sign.is_whitespace() || "/?#\"'<>\\,;".contains(sign);
    let authority = &rest[..rest.find(ends).unwrap_or(rest.len())];
    let length = authority.rfind('@').filter(|length| authority[..*length].contains(':'))?;
    Some((at + 3..at + 3 + length, STARS))
}

/// Finds what belongs to a name, if that is the name of a secret.
fn values(text: &str, name: &Range<usize>) -> Vec<Hidden> {
    let bytes = text.as_bytes();
    let known = || {
        let whole = normal(&text[name.clone()]);
        // The first letter may be that of an escape: `\nCookie`.
        let escape = name.start.checked_sub(1).is_some_and(|before| bytes[before] == b'\\');
        match is_secret(&whole) {
            true => Some(whole),
            false => escape.then(|| whole.get(1..).unwrap_or_default().to_owned()),
        }
    };
    let known = || known().filter(|name| is_secret(name));
    if let Some(value) = in_element(text, name) {
        return if known().is_some() { vec![(value, STARS)] } else { Vec::new() };
    }
    let Some(gap) = Gap::behind(bytes, name.end) else { return Vec::new() };
    let Some(known) = known() else { return Vec::new() };
    if let Some((value, _)) = quoted(bytes, gap.end) {
        return vec![(value, STARS)];
    }
    match bytes.get(gap.end) {
        None | Some(b'{') => Vec::new(),
        Some(b'[') => items(bytes, gap.end + 1),
        Some(_) => bare(text, name, &known, &gap).into_iter().collect(),
    }
}

/// Finds what stands in the element of XML whose name this is.
fn in_element(text: &str, name: &Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut before = name.start;
    if before > 0 && bytes[before - 1] == b':' {
        before -= 1;
        while before > 0 && (bytes[before - 1].is_ascii_alphanumeric()) {
            before -= 1;
        }
    }
    let opens = before > 0 && bytes[before - 1] == b'<';
    if !opens || !matches!(bytes.get(name.end)?, b'>' | b' ' | b'\t' | b'\n' | b'\r') {
        return None;
    }
    let mut tag = bytes[name.end..].iter().take(TAG_BYTES_MAX);
    let start = name.end + tag.position(|byte| *byte == b'>')? + 1;
    if bytes[start - 2] == b'/' {
        return None;
    }
    let (start, end) = match text[start..].strip_prefix("<![CDATA[") {
        Some(rest) => (text.len() - rest.len(), "]]>"),
        None => (start, "<"),
    };
    let length = text[start..].find(end).unwrap_or(text.len() - start);
    (!text[start..start + length].trim().is_empty()).then(|| start..start + length)
}

/// What stands between a name and its value.
struct Gap {
    end: usize,
    /// The name ends with a quote, as in JSON; `Escaped` within another text.
    quote: Quote,
    colon: bool,
    /// The sign between is encoded.
    encoded: bool,
    spaced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Plain,
    Escaped,
}

impl Gap {
    fn behind(bytes: &[u8], from: usize) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(from + GAP_BYTES_MAX)];
        let (mut at, mut quote) = (from, Quote::None);
        while let Some(byte) = bytes.get(at).filter(|byte| b" \t\r\n\\\"']".contains(byte)) {
            quote = match byte {
                b'\\' if quote == Quote::None => Quote::Escaped,
                b'"' | b'\'' if quote == Quote::None => Quote::Plain,
                _ => quote,
            };
            at += 1;
        }
        let encoded = is_encoded(bytes, at, b":=");
        let colon = match encoded {
            true => is_encoded(bytes, at, b":"),
            false => match bytes.get(at)? {
                b':' => true,
                b'=' => false,
                _ => return None,
            },
        };
        at += if encoded { 3 } else { 1 };
        while bytes.get(at).is_some_and(|byte| b"=>".contains(byte)) {
            at += 1;
        }
        let first = at;
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        Some(Gap { end: at, quote, colon, encoded, spaced: at > first })
    }
}

/// Finds the text between two quotes, the first of which is here, perhaps behind the signs that
/// escape it; gives also where to go on. One that is cut short ends where all does.
fn quoted(bytes: &[u8], from: usize) -> Option<(Range<usize>, usize)> {
    let escapes = bytes[from..].iter().take_while(|byte| **byte == b'\\').count();
    let quote = *bytes.get(from + escapes).filter(|byte| b"\"'".contains(byte))?;
    let start = from + escapes + 1;
    let mut run = 0;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        if *byte == quote && run % (2 * (escapes + 1)) == escapes {
            return Some((start..at - escapes, at + 1));
        }
        run = if *byte == b'\\' { run + 1 } else { 0 };
    }
    Some((start..bytes.len(), bytes.len()))
}

/// Finds the texts of a list of JSON, which begins here.
fn items(bytes: &[u8], from: usize) -> Vec<Hidden> {
    let (mut found, mut at) = (Vec::new(), from);
    loop {
        while bytes.get(at).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b',') {
            at += 1;
        }
        let Some((item, behind)) = quoted(bytes, at) else { return found };
        found.push((item, STARS));
        at = behind;
    }
}

/// Finds a value that stands between no quotes.
fn bare(text: &str, name: &Range<usize>, known: &str, gap: &Gap) -> Option<Hidden> {
    let bytes = text.as_bytes();
    let json = gap.colon && gap.quote != Quote::None;
    if !json && LINES.iter().any(|line| known.ends_with(line)) {
        let first = name.start == 0 || b"\r\n".contains(&bytes[name.start - 1]);
        return Some((gap.end..line_end(bytes, gap, first), STARS));
    }
    // In prose a key is not a secret, and a name with a colon (`urn:token:x`) is a part of it.
    if gap.colon && !json && (!gap.spaced || known == "key") {
        return None;
    }
    let ends = |at: usize| match bytes[at] {
        b'&' | b';' | b'"' | b'<' | b'>' | b'\\' => true,
        b',' if gap.colon => true,
        b',' => bytes.get(at + 1).is_none_or(u8::is_ascii_whitespace),
        b'}' | b']' | b')' => gap.colon,
        b'%' => gap.encoded && is_encoded(bytes, at, b"&#"),
        byte => byte.is_ascii_whitespace(),
    };
    let end = (gap.end..bytes.len()).find(|at| ends(*at)).unwrap_or(bytes.len());
    let value = &text[gap.end..end];
    let number = json && known == "key" && value.parse::<f64>().is_ok();
    if number || matches!(value, "" | "null" | "true" | "false") {
        return None;
    }
    let instead = if json && gap.quote == Quote::Plain { "\"***\"" } else { STARS };
    Some((gap.end..end, instead))
}

/// Gives where the value of a header ends, which stands in a text.
fn line_end(bytes: &[u8], gap: &Gap, first_of_line: bool) -> usize {
    let mut at = gap.end;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\r' | b'\n' => return at,
            b'"' | b'<' if !first_of_line => return at,
            b'&' if !gap.colon => return at,
            b'\\' if matches!(bytes.get(at + 1), Some(b'n' | b'r')) => return at,
            // The sign behind it, if it is one byte: else that is passed by below.
            b'\\' if bytes.get(at + 1).is_some_and(u8::is_ascii) => 2,
            _ => 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_what_divides_words() {
        for name in [
            "access_token",
            "accessToken",
            "Access-Token",
            "ACCESS.TOKEN",
            "access%5Ftoken",
            "auth[token]",
            "X-Api-Key",
            "clientSecret",
            "db-Password",
            "Set-Cookie",
            "JWT",
            "idToken",
            "Proxy_Authorization",
            "SecretAccessKey",
        ] {
            assert!(is_secret(&normal(name)), "{name}");
        }
        for name in ["next_token", "nextPageToken", "AccessKeyId", "keys", "author", "sid", "scope"]
        {
            assert!(!is_secret(&normal(name)), "{name}");
        }
    }

    #[test]
    fn what_stands_behind_a_name_is_hidden_in_every_format() {
        for (text, clean) in [
            (r#"{"a":"x","Access_Token": "s\"x"}"#, r#"{"a":"x","Access_Token": "***"}"#),
            (
                r#"{"apiKey":12,"b":[{"password":"x"}]}"#,
                r#"{"apiKey":"***","b":[{"password":"***"}]}"#,
            ),
            (
                r#"{"Authorization":["Bearer x","y"],"c":1}"#,
                r#"{"Authorization":["***","***"],"c":1}"#,
            ),
            (r#"{"token":null,"key":3,"secret":true}"#, r#"{"token":null,"key":3,"secret":true}"#),
            (r#""token" "token": null"#, r#""token" "token": null"#),
            (
                r#"{"b":"{\"idToken\":\"a\\\"b\",\"n\":1}"}"#,
                r#"{"b":"{\"idToken\":\"***\",\"n\":1}"}"#,
            ),
            (r#"{"b":"{\"jwt\":17}"}"#, r#"{"b":"{\"jwt\":***}"}"#),
            ("a=1&client_secret=abc&x=1", "a=1&client_secret=***&x=1"),
            ("user%5Bpassword%5D=abc&x=1", "user%5Bpassword%5D=***&x=1"),
            ("user[password]=abc&x=1", "user[password]=***&x=1"),
            ("https://a/?key=1,2)3&x=1", "https://a/?key=***&x=1"),
            ("to=https%3A%2F%2Fa%3Fsig%3Dabc%26b%3D1", "to=https%3A%2F%2Fa%3Fsig%3D***%26b%3D1"),
            ("</logs?after=7&sig=abc>; rel=\"next\"", "</logs?after=7&sig=***>; rel=\"next\""),
            ("ftp://u:pa@a/b https://u@a/b", "ftp://***@a/b https://u@a/b"),
            (
                "<a><SecretAccessKey>k</SecretAccessKey>\n</a>",
                "<a><SecretAccessKey>***</SecretAccessKey>\n</a>",
            ),
            ("<s:Password Type=\"x\">k</s:Password>", "<s:Password Type=\"x\">***</s:Password>"),
            ("<jwt><![CDATA[a<b]]></jwt>", "<jwt><![CDATA[***]]></jwt>"),
            ("<a password='k' b='c'/><token/>", "<a password='***' b='c'/><token/>"),
            ("A: b\r\nCookie: sid=1; b=2\r\nHost: a", "A: b\r\nCookie: ***\r\nHost: a"),
            (
                r#"{"e":"a\r\nCookie: a=\"b\"; c\r\nHost: x"}"#,
                r#"{"e":"a\r\nCookie: ***\r\nHost: x"}"#,
            ),
            ("Authorization: Digest username=\"u\", response=\"r\"\nb", "Authorization: ***\nb"),
            ("The 'Authorization=AWS4 Credential=a, Signature=b' is not", "The 'Authorization=***"),
            (
                "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=ab",
                "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=***",
            ),
            ("password: hunter2, or so", "password: ***, or so"),
            ("no such key: name", "no such key: name"),
            ("arn:aws:secretsmanager:a:1:secret:name", "arn:aws:secretsmanager:a:1:secret:name"),
            (r#"{"forgot_password":"é"}é"#, r#"{"forgot_password":"***"}é"#),
        ] {
            assert_eq!(hide_named(text), clean, "{text}");
            assert_eq!(hide_named(&hide_named(text)), clean, "twice: {text}");
        }
    }
}
