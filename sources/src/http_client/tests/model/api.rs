//! A random API: it has more records each time it is looked at, gives them in one of the ways of
//! the guide, and fails now and then.

use super::super::server::{Seen, answer, json, with};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use std::sync::Mutex;
use std::time::Duration;

/// When the API begins to have records, in milliseconds: 2026-03-01T10:00:00.250Z.
const START: i64 = 1_772_359_200_250;

/// How far ahead the time of a record is that was made by a wrong clock.
const AHEAD_MS: i64 = 7_200_000;

/// What is kept from poll to poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    All,
    EventTime,
    First,
    Last,
    Max,
    NextLink,
    Slices,
    Token,
}

/// How pages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paging {
    Body,
    Keyset,
    Link,
    Offset,
    Page,
    Token,
    Whole,
}

/// How times are written in requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Rfc3339,
    Unix,
    UnixMilliseconds,
}

/// What kind of an API it is, and how it is polled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) cursor: Cursor,
    pub(super) paging: Paging,
    pub(super) form: Form,
    /// How many records a page has.
    pub(super) size: usize,
    pub(super) newest_first: bool,
    /// Whether records are in the order of their times, not of their ids.
    pub(super) by_time: bool,
    pub(super) parents: bool,
    pub(super) dedupe: bool,
    /// How late the API knows of what has happened, at most.
    pub(super) delay_ms: u64,
    /// Whether some records come of wrong clocks.
    pub(super) ahead: bool,
    pub(super) max_pages: u64,
    /// Whether answers say whether there is more, and how much.
    pub(super) tells: bool,
}

impl Shape {
    /// Makes of a random shape one of an API that can be polled without loss.
    pub(super) fn sound(mut self) -> Shape {
        match self.cursor {
            Cursor::NextLink | Cursor::Token => {
                (self.newest_first, self.by_time, self.parents) = (false, false, false);
                self.tells = false;
                self.paging = match (self.cursor, self.paging) {
                    (Cursor::Token, _) => Paging::Token,
                    (_, Paging::Body | Paging::Token | Paging::Page) => Paging::Body,
                    _ => Paging::Link,
                };
            }
            Cursor::Max | Cursor::Last | Cursor::First => {
                (self.by_time, self.parents) = (false, false);
                self.newest_first |= self.cursor == Cursor::First;
                self.newest_first &= self.cursor != Cursor::Last;
            }
            // Without `dedupe` only what comes at once and is asked for by "later than".
            Cursor::EventTime => {
                let inclusive = self.delay_ms > 0 || self.parents || self.ahead;
                self.dedupe |= inclusive || self.form == Form::Unix;
            }
            Cursor::Slices => self.ahead = false,
            Cursor::All => self.dedupe = true,
        }
        let is_numbered = matches!(self.paging, Paging::Offset | Paging::Page);
        let moves = self.newest_first || (self.by_time && (self.delay_ms > 0 || self.ahead));
        self.dedupe |= is_numbered && moves && self.cursor != Cursor::Slices;
        self.by_time &= self.paging != Paging::Keyset;
        self
    }

    fn keeps_next(&self) -> bool {
        matches!(self.cursor, Cursor::NextLink | Cursor::Token)
    }

    /// Whether an answer that comes twice loses nothing.
    fn bears_repeats(&self) -> bool {
        let links = matches!(
            self.paging,
            Paging::Body | Paging::Keyset | Paging::Link | Paging::Token | Paging::Whole
        );
        let goes_on = matches!(self.cursor, Cursor::All | Cursor::EventTime) || self.keeps_next();
        self.dedupe && links && goes_on && !self.newest_first && !self.parents
    }

    /// Gives the table of the source.
    pub(super) fn toml(&self) -> String {
        let Shape { size, max_pages, delay_ms, .. } = self;
        let mut toml = format!(
            "scrape_interval_secs = 3600\ndecoding.codec = \"json\"\ncontent.records = \".data\"\n\
             event_time = \".t\"\nlateness = \"{delay_ms}ms\"\nmax_hold = \"{delay_ms}ms\"\n\
             retry = {{ attempts = 2, min = \"1ms\", max = \"2ms\" }}\n",
        );
        if self.parents {
            toml.push_str("parents = { endpoint = \"ORIGIN/orgs\" }\n");
            toml.push_str("endpoint = \"ORIGIN/orgs/{{ parent.n }}/logs\"\n");
        }
        if self.dedupe {
            toml.push_str("dedupe = { id = \".id\", window = \"1ms\" }\n");
        }
        if self.cursor == Cursor::All && self.paging == Paging::Whole && !self.parents {
            toml.push_str("conditional = true\n");
        }
        let sized = format!("size = {size}, size_param = \"limit\"");
        let (pagination, total) = match self.paging {
            Paging::Whole => (String::new(), None),
            Paging::Link => ("type = \"link_header\"".to_owned(), None),
            Paging::Body => ("type = \"next_url\", field = \".next\"".to_owned(), None),
            Paging::Token => {
                let param = if self.keeps_next() { "after" } else { "page" };
                (format!("type = \"token\", field = \".next\", param = \"{param}\""), None)
            }
            Paging::Keyset => {
                (format!("type = \"keyset\", field = \".id\", param = \"key\", {sized}"), None)
            }
            Paging::Offset => {
                (format!("type = \"offset\", param = \"offset\", {sized}"), Some(".total"))
            }
            Paging::Page => (format!("type = \"page\", param = \"page\", {sized}"), Some(".pages")),
        };
        if !pagination.is_empty() {
            let mut more = format!(", max_pages = {max_pages}");
            if self.keeps_next() {
                more.push_str(", stop = \"empty_page\"");
            }
            if self.tells && self.paging != Paging::Link {
                more.push_str(", more = \".more\"");
                let total = total.map(|total| format!(", total = \"{total}\""));
                more.extend(total);
            }
            toml.push_str(&format!("pagination = {{ {pagination}{more} }}\n"));
        }
        toml + &self.cursor_toml()
    }

    fn cursor_toml(&self) -> String {
        let delay_ms = self.delay_ms;
        let form = match self.form {
            Form::Rfc3339 => "rfc3339",
            Form::Unix => "unix",
            Form::UnixMilliseconds => "unix_ms",
        };
        match self.cursor {
            Cursor::All => String::new(),
            Cursor::NextLink => "cursor = { value = \"next_link\", first = { param = \"after\", \
                                 start = \"0\" } }\n"
                .to_owned(),
            Cursor::Token => "cursor = { value = \"token\", param = \"after\", first = { start = \
                              \"0\" } }\n"
                .to_owned(),
            Cursor::Max | Cursor::Last | Cursor::First => {
                let value = match self.cursor {
                    Cursor::Max => "max",
                    Cursor::Last => "last",
                    _ => "first",
                };
                format!(
                    "cursor = {{ value = \"{value}\", field = \".id\", param = \"behind\", first = \
                     {{ start = \"-1\" }} }}\n"
                )
            }
            Cursor::EventTime => format!(
                "cursor = {{ value = \"last_event_time\", param = \"from\", format = \"{form}\", \
                 overlap = \"{delay_ms}ms\", first = {{ start = \"-1d\" }} }}\n"
            ),
            Cursor::Slices => format!(
                "time_slices = {{ start = \"2026-03-01T10:00:00Z\", step = \"1s\", start_param = \
                 \"from\", end_param = \"to\", format = \"{form}\", lag = \"{delay_ms}ms\" }}\n"
            ),
        }
    }
}

/// Numbers that hang on a seed (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    fn happens(&mut self, one_in: u64) -> bool {
        self.roll(one_in) == 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    id: usize,
    /// When it happened, in milliseconds.
    pub(super) at: i64,
    parent: usize,
}

impl Record {
    pub(super) fn json(&self) -> String {
        format!("{{\"id\":{},\"t\":{},\"p\":{}}}", self.id, self.at, self.parent)
    }
}

struct Inside {
    dice: Dice,
    records: Vec<Record>,
    /// The list of parents as it is given, and the number of the next.
    parents: (Vec<usize>, usize),
    grows: bool,
    /// Of how many requests one fails; none does: zero.
    fails: u64,
    last: Option<(String, Vec<u8>)>,
    repeated: bool,
}

/// The API.
pub(super) struct Api {
    shape: Shape,
    clock: Clock,
    inside: Mutex<Inside>,
}

/// What a page is cut out of, and which.
struct Page<'a> {
    records: Vec<Record>,
    /// All that the request asks for.
    all: Vec<Record>,
    query: &'a str,
}

impl Api {
    pub(super) fn new(shape: Shape, seed: u64, fails: u64) -> Api {
        let clock = Clock::manual(EventTime::from_nanoseconds(START * 1_000_000));
        let inside = Inside {
            dice: Dice(seed),
            records: Vec::new(),
            parents: (vec![0, 1, 2], 3),
            grows: true,
            fails,
            last: None,
            repeated: false,
        };
        Api { shape, clock, inside: Mutex::new(inside) }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.inside.lock().unwrap().records.clone()
    }

    /// Whether it gave an answer that was of another request: then it did not say the truth.
    pub(super) fn repeated(&self) -> bool {
        self.inside.lock().unwrap().repeated
    }

    /// Ends what is random.
    pub(super) fn calm(&self) {
        let mut inside = self.inside.lock().unwrap();
        (inside.grows, inside.fails) = (false, 0);
    }

    /// Whether a record was made by a wrong clock.
    pub(super) fn is_ahead(&self, record: &Record) -> bool {
        record.at > self.now()
    }

    fn now(&self) -> i64 {
        self.clock.now().nanoseconds() / 1_000_000
    }

    /// Adds records, each a little later than the one before.
    pub(super) fn grow(&self, count: u64) {
        let mut inside = self.inside.lock().unwrap();
        self.add(&mut inside, count);
    }

    fn add(&self, inside: &mut Inside, count: u64) {
        for _ in 0..count {
            self.clock.advance(Duration::from_millis(1 + inside.dice.roll(200)));
            let delay = inside.dice.roll(self.shape.delay_ms + 1);
            let mut at = self.now() - i64::try_from(delay).unwrap();
            if self.shape.ahead && inside.dice.happens(8) {
                at += AHEAD_MS;
            }
            if self.shape.parents && inside.dice.happens(6) {
                change_parents(inside);
            }
            let parents = inside.parents.0.len() as u64;
            let parent = match self.shape.parents {
                true => inside.parents.0[inside.dice.roll(parents) as usize],
                false => 0,
            };
            let id = inside.records.len();
            inside.records.push(Record { id, at, parent });
        }
    }

    /// Answers a request.
    pub(super) fn answer(&self, seen: &Seen) -> Vec<u8> {
        let mut inside = self.inside.lock().unwrap();
        let inside = &mut *inside;
        self.clock.advance(Duration::from_millis(inside.dice.roll(20)));
        if inside.grows && inside.dice.happens(3) {
            let count = 1 + inside.dice.roll(3);
            self.add(inside, count);
        }
        let fails = inside.fails > 0 && inside.dice.happens(inside.fails);
        let bytes = self.truth(inside, seen);
        let path = seen.path.split('?').next().unwrap_or_default().to_owned();
        if !fails {
            inside.last = Some((path, bytes.clone()));
            return bytes;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        match inside.dice.roll(8) {
            0 => with("500 Internal Server Error", &[], "{}"),
            1 => with("503 Service Unavailable", &[("retry-after", "0")], "later"),
            2 => with("429 Too Many Requests", &[("retry-after", "0")], "slow down"),
            3 => bytes[..bytes.len() - 2].to_vec(),
            4 => answer("200 OK", &[("content-length", "7")], b"{\"data\""),
            5 => Vec::new(),
            6 => format!("{head}x-slow: 1\r\n{}", after_line(&bytes)).into_bytes(),
            _ => match inside.last.take().filter(|(of, _)| *of == path) {
                Some((_, last)) if self.shape.bears_repeats() => {
                    inside.repeated = true;
                    last
                }
                _ => with("502 Bad Gateway", &[("content-type", "text/html")], "<html>"),
            },
        }
    }

    fn truth(&self, inside: &Inside, seen: &Seen) -> Vec<u8> {
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        if path == "/orgs" {
            // The rest is of the same list: of one that shrinks an offset would leave some out.
            let rest = text(query, "rest").map(|rest| {
                rest.split('.').filter_map(|parent| parent.parse().ok()).collect::<Vec<usize>>()
            });
            let list = rest.unwrap_or_else(|| inside.parents.0.clone());
            let (here, rest) = list.split_at(list.len().min(2));
            let here: Vec<String> = here.iter().map(|n| format!("{{\"n\":{n}}}")).collect();
            let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
            let link = format!("</orgs?rest={}>; rel=\"next\"", rest.join("."));
            let headers = [("link", link.as_str())];
            let headers = if rest.is_empty() { &[][..] } else { &headers };
            return with("200 OK", headers, &format!("[{}]", here.join(",")));
        }
        let parent = path.strip_prefix("/orgs/").and_then(|rest| rest.split('/').next());
        let parent = parent.and_then(|parent| parent.parse::<usize>().ok());
        let asked = |record: &&Record| {
            parent.is_none_or(|parent| record.parent == parent) && self.is_asked(record, query)
        };
        let mut all: Vec<Record> = inside.records.iter().filter(asked).copied().collect();
        all.sort_by_key(|record| self.place(record));
        if self.shape.newest_first {
            all.reverse();
        }
        let tag = format!("\"{}\"", inside.records.len());
        if seen.header("if-none-match") == Some(&tag) {
            return with("304 Not Modified", &[], "");
        }
        let page = self.cut(all, query);
        self.write(&page, path, &tag)
    }

    /// Where a record stands in the order of the API.
    fn place(&self, record: &Record) -> (i64, usize) {
        (if self.shape.by_time { record.at } else { 0 }, record.id)
    }

    fn is_asked(&self, record: &Record, query: &str) -> bool {
        let time = |name: &str| self.time(query, name);
        match self.shape.cursor {
            Cursor::All => true,
            Cursor::NextLink | Cursor::Token => {
                number::<usize>(query, "after").is_none_or(|after| record.id >= after)
            }
            Cursor::First | Cursor::Last | Cursor::Max => {
                number::<i64>(query, "behind").is_none_or(|behind| record.id as i64 > behind)
            }
            Cursor::EventTime if self.shape.dedupe => {
                time("from").is_none_or(|from| record.at >= from)
            }
            Cursor::EventTime => time("from").is_none_or(|from| record.at > from),
            Cursor::Slices => {
                time("from").is_some_and(|from| record.at >= from)
                    && time("to").is_some_and(|to| record.at < to)
            }
        }
    }

    /// Reads a time of a request, in milliseconds.
    fn time(&self, query: &str, name: &str) -> Option<i64> {
        let written = text(query, name)?.replace("%3A", ":");
        match self.shape.form {
            Form::Rfc3339 => {
                let time = EventTime::from_rfc3339(&written).expect("a time");
                Some(time.nanoseconds() / 1_000_000)
            }
            Form::Unix => Some(written.parse::<i64>().expect("seconds") * 1_000),
            Form::UnixMilliseconds => Some(written.parse().expect("milliseconds")),
        }
    }

    fn cut<'a>(&self, all: Vec<Record>, query: &'a str) -> Page<'a> {
        let behind = |place: (i64, usize)| {
            let is_behind = |record: &Record| match self.shape.newest_first {
                true => self.place(record) < place,
                false => self.place(record) > place,
            };
            all.iter().position(is_behind).unwrap_or(all.len())
        };
        let from = match self.shape.paging {
            Paging::Whole => 0,
            Paging::Offset => number(query, "offset").unwrap_or(0),
            Paging::Page => number::<usize>(query, "page").map_or(0, |page| page - 1) * self.size(),
            Paging::Keyset => number(query, "key").map_or(0, |id| behind((0, id))),
            Paging::Body | Paging::Link | Paging::Token => {
                let place = text(query, "page").and_then(|place| {
                    let (time, id) = place.split_once('.')?;
                    Some((time.parse().ok()?, id.parse().ok()?))
                });
                place.map_or(0, behind)
            }
        };
        let records = all.iter().skip(from).take(self.size()).copied().collect();
        Page { records, all, query }
    }

    fn size(&self) -> usize {
        if self.shape.paging == Paging::Whole { usize::MAX } else { self.shape.size }
    }

    fn write(&self, page: &Page<'_>, path: &str, tag: &str) -> Vec<u8> {
        let last = page.records.last();
        let more = last.is_some_and(|last| page.all.last() != Some(last));
        let after = |last: &Record| (last.id + 1).to_string();
        let (param, token) = match self.shape.keeps_next() {
            true => {
                let known = text(page.query, "after").unwrap_or_else(|| "0".to_owned());
                ("after", Some(last.map_or(known, after)))
            }
            false => {
                let place = last.filter(|_| more).map(|last| self.place(last));
                ("page", place.map(|(time, id)| format!("{time}.{id}")))
            }
        };
        let rest = page.query.split('&').filter(|pair| {
            !pair.is_empty() && pair.split('=').next().is_some_and(|name| name != param)
        });
        let rest: Vec<&str> = rest.collect();
        let link = token.as_ref().map(|token| {
            let own = format!("{param}={token}");
            let pairs: Vec<&str> = rest.iter().copied().chain([own.as_str()]).collect();
            format!("{path}?{}", pairs.join("&"))
        });
        let next = if self.shape.paging == Paging::Token { &token } else { &link };
        let next = next.as_ref().map_or("null".to_owned(), |next| format!("\"{next}\""));
        let data: Vec<String> = page.records.iter().map(Record::json).collect();
        let (total, pages) = (page.all.len(), page.all.len().div_ceil(self.shape.size));
        let body = format!(
            "{{\"data\":[{}],\"next\":{next},\"more\":{more},\"total\":{total},\"pages\":{pages}}}",
            data.join(",")
        );
        match link.filter(|_| self.shape.paging == Paging::Link) {
            Some(link) => {
                let link = format!("<{link}>; rel=\"next\"");
                let headers = [("content-type", "application/json"), ("link", link.as_str())];
                with("200 OK", &headers, &body)
            }
            None if self.shape.cursor == Cursor::All && self.shape.paging == Paging::Whole => {
                with("200 OK", &[("content-type", "application/json"), ("etag", tag)], &body)
            }
            None => json(&body),
        }
    }
}

/// Adds a parent at one of the ends of the list, or removes one that has no records.
fn change_parents(inside: &mut Inside) {
    let (list, next) = &mut inside.parents;
    if inside.dice.happens(2) {
        let place = if inside.dice.happens(2) { 0 } else { list.len() };
        list.insert(place, *next);
        *next += 1;
    } else if list.len() > 1 {
        let idle = |parent: &usize| !inside.records.iter().any(|record| record.parent == *parent);
        if let Some(place) = list.iter().position(idle) {
            list.remove(place);
        }
    }
}

fn text(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(known, value)| (known == name).then(|| value.to_owned()))
}

fn number<T: std::str::FromStr>(query: &str, name: &str) -> Option<T> {
    text(query, name)?.parse().ok()
}

/// Gives what stands behind the first line of an answer.
fn after_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_once("\r\n").map_or(String::new(), |(_, rest)| rest.to_owned())
}
