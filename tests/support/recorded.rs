//! A server that plays recorded exchanges, and takes no other requests than those.
//!
//! A recording is a list of `{"request": …, "response": …}` in their order. A request has `method`,
//! `path`, `query` (all parameters), `headers` (those that must be there), and `body` (JSON) or
//! `form`. Where a value depends on the clock or on a key, a mark stands for it: `<any>`,
//! `<rfc3339>`, `<unix>`, `<unix_ms>`, one a value.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server on the loopback.
pub struct Recorded {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    exchanges: Vec<Value>,
    played: usize,
    fault: Option<String>,
}

/// A request that came.
#[derive(Debug, Default)]
pub(super) struct Seen {
    method: String,
    path: String,
    /// The parameters of its address.
    pub query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Recorded {
    /// Plays a recording. Links of its answers to one of `origins` lead to this server.
    pub fn start(exchanges: Vec<Value>, origins: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let here = format!("http://{address}");
        let mut exchanges = exchanges;
        for exchange in &mut exchanges {
            let text = exchange["response"].to_string();
            let text = origins.iter().fold(text, |text, origin| text.replace(origin, &here));
            exchange["response"] = serde_json::from_str(&text).unwrap();
        }
        let shared = Arc::new(Mutex::new(Shared { exchanges, played: 0, fault: None }));
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(connection.unwrap(), &shared));
            }
        });
        Recorded { address, shared }
    }

    /// Gives its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether all of the recording was played.
    ///
    /// # Panics
    /// When there was a request that is not the next of the recording; shows the difference.
    #[track_caller]
    pub fn is_over(&self) -> bool {
        let shared = self.shared.lock().unwrap();
        if let Some(fault) = &shared.fault {
            panic!("{fault}");
        }
        shared.played == shared.exchanges.len()
    }

    /// Gives how many exchanges were played.
    pub fn played(&self) -> usize {
        self.shared.lock().unwrap().played
    }
}

/// Answers one request.
fn serve(connection: TcpStream, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(connection);
    let Some(seen) = read(&mut reader) else { return };
    let answer = {
        let mut shared = shared.lock().unwrap();
        let at = shared.played;
        match shared.exchanges.get(at).cloned() {
            // Behind the recording nobody answers: that says nothing that is not recorded.
            None => None,
            Some(exchange) => match difference(&exchange["request"], &seen) {
                None => {
                    shared.played += 1;
                    Some(written(&exchange["response"]))
                }
                Some(difference) => {
                    let fault = format!("request {at} is another: {difference}\nit is {seen:#?}");
                    shared.fault.get_or_insert(fault);
                    Some("HTTP/1.1 500 Other\r\nContent-Length: 0\r\n\r\n".to_owned())
                }
            },
        }
    };
    let sent = answer.map(|answer| reader.get_mut().write_all(answer.as_bytes()));
    if sent.is_none() {
        // Until the other side hangs up.
        let _ = reader.read(&mut [0]);
    }
}

/// Reads a request; `None` when the connection ends before it does.
pub(super) fn read(reader: &mut impl BufRead) -> Option<Seen> {
    let mut seen = Seen::default();
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    words.next()?.clone_into(&mut seen.method);
    let (path, query) =
        words.next().map(|target| target.split_once('?').unwrap_or((target, "")))?;
    path.clone_into(&mut seen.path);
    seen.query = pairs(query);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        seen.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = seen.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.body = String::from_utf8(body).unwrap();
    Some(seen)
}

/// Reads the pairs of a query or a form.
///
/// # Panics
/// When a name comes twice: no recording has that.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = all.insert(decoded(name), decoded(value));
        assert!(known.is_none(), "`{name}` comes twice in `{text}`");
    }
    all
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// Says what a request has that the recorded one has not, or the other way round.
fn difference(recorded: &Value, seen: &Seen) -> Option<String> {
    for (what, seen) in [("method", &seen.method), ("path", &seen.path)] {
        if recorded[what] != seen.as_str() {
            return Some(format!("its {what} is not {}", recorded[what]));
        }
    }
    let nothing = Value::Object(serde_json::Map::new());
    let query = recorded.get("query").unwrap_or(&nothing);
    if !fits(query, &object(&seen.query)) {
        return Some(format!("its query is not {query}"));
    }
    for (name, value) in recorded["headers"].as_object().unwrap() {
        let sent = seen.headers.get(&name.to_ascii_lowercase()).cloned();
        if !sent.is_some_and(|sent| fits(value, &Value::from(sent))) {
            return Some(format!("its header {name} is not {value}"));
        }
    }
    let body = match (recorded.get("body"), recorded.get("form")) {
        (Some(body), _) => {
            serde_json::from_str(&seen.body).is_ok_and(|sent: Value| fits(body, &sent))
        }
        (None, Some(form)) => fits(form, &object(&pairs(&seen.body))),
        (None, None) => seen.body.is_empty(),
    };
    (!body).then(|| format!("its body is not that of {recorded}"))
}

fn object(texts: &BTreeMap<String, String>) -> Value {
    texts.iter().map(|(name, text)| (name.clone(), Value::from(text.clone()))).collect()
}

/// Whether a value is the recorded one.
fn fits(recorded: &Value, sent: &Value) -> bool {
    match (recorded, sent) {
        (Value::Object(recorded), Value::Object(sent)) => {
            recorded.len() == sent.len()
                && recorded
                    .iter()
                    .all(|(name, value)| sent.get(name).is_some_and(|sent| fits(value, sent)))
        }
        (Value::String(recorded), Value::String(sent)) => text_fits(recorded, sent),
        (Value::String(recorded), Value::Number(sent)) => text_fits(recorded, &sent.to_string()),
        (recorded, sent) => recorded == sent,
    }
}

/// Whether a text is of a form.
type Is = fn(&str) -> bool;

fn text_fits(recorded: &str, sent: &str) -> bool {
    let marks: [(&str, Is); 4] = [
        ("<any>", |text| !text.is_empty()),
        ("<rfc3339>", is_rfc_3339),
        ("<unix>", |text| is_number(text, 10)),
        ("<unix_ms>", |text| is_number(text, 13)),
    ];
    for (mark, is) in marks {
        if let Some((before, behind)) = recorded.split_once(mark) {
            let rest = sent.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
            return rest.is_some_and(is);
        }
    }
    recorded == sent
}

fn is_number(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text is a time of RFC 3339, in UTC, to the millisecond at most: some APIs refuse more.
fn is_rfc_3339(text: &str) -> bool {
    let shape: String =
        text.chars().map(|sign| if sign.is_ascii_digit() { '0' } else { sign }).collect();
    matches!(shape.as_str(), "0000-00-00T00:00:00Z" | "0000-00-00T00:00:00.000Z")
}

/// Writes an answer as it goes over the wire.
fn written(response: &Value) -> String {
    let body = match &response["body"] {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let headers = response["headers"].as_object().unwrap().iter();
    let headers: String =
        headers.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap())).collect();
    let (status, length) = (&response["status"], body.len());
    format!(
        "HTTP/1.1 {status} Recorded\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\
         \r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen() -> Seen {
        let body = r#"{"from":1772359200,"n":2}"#;
        let length = body.len();
        let text = format!(
            "POST /a?x=1%2C2&y=a+b HTTP/1.1\r\nHost: h\r\nX-Key: k 1\r\nContent-Length: {length}\r\n\
             \r\n{body}"
        );
        read(&mut text.as_bytes()).unwrap()
    }

    fn recorded() -> Value {
        json!({
            "method": "POST",
            "path": "/a",
            "query": {"x": "1,2", "y": "a b"},
            "headers": {"x-key": "k <any>"},
            "body": {"from": "<unix>", "n": 2},
        })
    }

    #[test]
    fn a_request_is_the_recorded_one_or_differs() {
        assert_eq!(difference(&recorded(), &seen()), None);
        for (place, value, words) in [
            ("/method", json!("GET"), "its method"),
            ("/path", json!("/b"), "its path"),
            ("/query/x", json!("1"), "its query"),
            ("/query", json!({"x": "1,2"}), "its query"),
            ("/headers/x-key", json!("other"), "its header x-key"),
            ("/headers", json!({"x-none": "<any>"}), "its header x-none"),
            ("/body/from", json!("<rfc3339>"), "its body"),
            ("/body", json!({"n": 2}), "its body"),
        ] {
            let mut other = recorded();
            *other.pointer_mut(place).unwrap() = value;
            let difference = difference(&other, &seen()).unwrap();
            assert!(difference.starts_with(words), "{place}: {difference}");
        }
    }

    #[test]
    fn a_mark_stands_for_what_is_of_its_kind() {
        for (recorded, sent, expected) in [
            ("at>=<rfc3339>'", "at>=2026-03-01T10:00:00Z'", true),
            ("<rfc3339>", "2026-03-01T10:00:00.123Z", true),
            ("<rfc3339>", "2026-03-01T10:00:00.123456789Z", false),
            ("<rfc3339>", "2026-03-01", false),
            ("<unix>", "1772359200", true),
            ("<unix>", "1772359200123", false),
            ("<unix_ms>", "1772359200123", true),
            ("<any>", "", false),
            ("a", "b", false),
        ] {
            assert_eq!(text_fits(recorded, sent), expected, "{recorded} {sent}");
        }
    }
}
