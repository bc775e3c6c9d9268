//! Reading `/metrics` as Prometheus would.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer to one HTTP request.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks for `path` by HTTP/1.0, so that the end of the connection is the end of the body.
///
/// # Errors
/// What the system or the server says: nobody listens, or the answer is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // In one piece: a server that answers the first part resets the connection for the rest.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let answer = text.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, body: body.to_owned() })
    });
    answer.ok_or_else(|| std::io::Error::other(format!("not an answer: {text:?}")))
}

/// The samples of one scrape.
pub struct Metrics(Vec<Sample>);

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Scrapes a running instance.
    ///
    /// # Panics
    /// When it does not answer, or not with Prometheus' text format.
    #[track_caller]
    pub fn scrape(address: SocketAddr) -> Self {
        let answer = get(address, "/metrics").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self::parse(&answer.body)
    }

    /// Reads the text format.
    ///
    /// # Panics
    /// On a line that is not of the format; shows it.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line| sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}"));
        Metrics(samples.map(sample).collect())
    }

    /// Adds up the samples of this name that have all of these labels; 0 when there is none, as
    /// for a counter that nothing has moved yet.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        };
        self.0.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// Lists the names, each once, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|sample| sample.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Reads `name{key="value",…} number`, or the same without labels.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, behind) = rest.split_once("=\"")?;
            let (value, behind) = quoted(behind)?;
            labels.insert(key.to_owned(), value);
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = &rest[1..];
    }
    let value = rest.trim().parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Reads a label's value up to its closing quote; gives it and what is behind.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# HELP azud_dead_letters_total Records set aside.
# TYPE azud_dead_letters_total counter
azud_dead_letters_total{component_id="a",reason="malformed"} 3
azud_dead_letters_total{component_id="b",reason="malformed"} 4
azud_dead_letters_total{component_id="b",reason="odd, \"} one"} 5
azud_uptime_seconds 1.5
"#;

    #[test]
    fn samples_are_added_up_by_label() {
        let metrics = Metrics::parse(TEXT);
        let dead = |labels: &[(&str, &str)]| metrics.sum("azud_dead_letters_total", labels);
        assert_eq!(dead(&[]), 12.0);
        assert_eq!(dead(&[("reason", "malformed")]), 7.0);
        assert_eq!(dead(&[("component_id", "b"), ("reason", r#"odd, "} one"#)]), 5.0);
        assert_eq!(dead(&[("component_id", "c")]), 0.0);
        assert_eq!(metrics.names(), ["azud_dead_letters_total", "azud_uptime_seconds"]);
    }

    #[test]
    #[should_panic(expected = "not a sample: \"half{a=\\\"b\"")]
    fn what_is_not_the_format_is_shown() {
        Metrics::parse("half{a=\"b");
    }

    #[test]
    fn an_answer_ends_with_its_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nup 1\n").unwrap();
            String::from_utf8(request[..read].to_vec()).unwrap()
        });
        assert_eq!(Metrics::scrape(address).sum("up", &[]), 1.0);
        assert!(server.join().unwrap().starts_with("GET /metrics HTTP/1.0\r\n"));
    }
}
