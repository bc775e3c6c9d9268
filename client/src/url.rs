//! Texts in addresses.

use reqwest::Url;

/// Writes a text so that it means itself anywhere in an address: all but the unreserved signs of
/// RFC 3986 is encoded.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte as char);
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Writes pairs as a form or a query.
pub fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs =
        pairs.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Puts a parameter into a query, in place of those of its name.
pub fn set_query(url: &mut Url, name: &str, value: &str) {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(known, _)| known != name)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let others = others.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let query = form(others.chain([(name, value)]));
    url.set_query(Some(&query));
}

/// Gives an address as it is shown: without what stands behind its path, which may hold anything.
pub fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_replaced_and_encoded() {
        let mut url = Url::parse("https://a.example/x?since=1&q=a%20b&since=2").unwrap();
        set_query(&mut url, "since", "2026-03-01T10:00:00+01:00");
        assert_eq!(url.query(), Some("q=a%20b&since=2026-03-01T10%3A00%3A00%2B01%3A00"));
        assert_eq!(shown(&url), "https://a.example/x");
        assert_eq!(form([("a b", "ü&"), ("c", "")]), "a%20b=%C3%BC%26&c=");
    }
}
