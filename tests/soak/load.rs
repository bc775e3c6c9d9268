//! The load: a file that grows and a sender by TCP, at the same pace and with the same clock; and
//! what must come of it.

use crate::support::files::Folder;
use crate::support::instance::dead_letters;
use crate::support::tail::Tail;
use crate::support::wait;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How many lines of the file share a second of event time.
const LINES_A_SECOND: usize = 300;

/// How many lines are written, and messages sent, before a rest.
const BURST: usize = 3;

/// How many lines may be written and not delivered. Who sends more than the machine can take, kill
/// after kill, measures only how long it takes to catch up.
const AHEAD_MAX: usize = 3_000;

/// How many keys the file has.
const KEYS: usize = 23;

/// Of so many lines one is so many seconds older than its neighbours: its window was told before.
const OLD_EVERY: usize = 97;
const OLD_SECONDS: usize = 20;

/// Of so many lines, and messages, one is bad.
const BAD_EVERY: usize = 499;

/// A file and a listener; what comes is counted by key and second, each count is an alert, and each
/// record is written to a file.
pub fn document(address: SocketAddr) -> String {
    format!(
        r#"
checkpoint.interval = "1s"
[sources.in]
type = "file"
include = ["@OUT@/in.log"]
decoding.codec = "json"
event_time = ".timestamp"
lateness = "1s"
glob_minimum_cooldown_ms = 20
[sources.net]
type = "syslog"
mode = "tcp"
address = "{address}"
lateness = "1s"
max_hold = "2s"
[transforms.lines]
type = "remap"
inputs = ["in"]
drop_on_error = true
source = '.number = int!(.number)'
[transforms.messages]
type = "remap"
inputs = ["net"]
drop_on_error = true
source = '''
.key = .hostname
.number = to_int!(.procid)
'''
[transforms.seconds]
type = "summarize"
inputs = ["lines", "messages"]
group_by = ["key"]
window = {{ type = "tumbling", size = "2s", allowed_lateness = "2m" }}
[transforms.seconds.fields]
records = {{ aggregate = "count" }}
numbers = {{ aggregate = "sum", field = "number" }}
[transforms.told]
type = "alert"
inputs = ["seconds"]
rule = "seconds"
merge = "window"
severity = "low"
title = "{{{{ key }}}} {{{{ window.start }}}} {{{{ records }}}} {{{{ numbers }}}}"
[sinks.alerts]
type = "alerts"
inputs = ["told"]
[sinks.out]
type = "file"
inputs = ["lines", "messages"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
encoding.only_fields = ["key", "number"]
"#
    )
}

fn time(seconds: usize) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let (day, hour) = (1 + hours / 24, hours % 24);
    format!("2025-03-{day:02}T{hour:02}:{minutes:02}:{:02}Z", seconds % 60)
}

fn line(number: usize) -> String {
    if number % BAD_EVERY == BAD_EVERY - 1 {
        return format!("half {{ {number}\n");
    }
    let old = if number % OLD_EVERY == OLD_EVERY - 1 { OLD_SECONDS } else { 0 };
    let time = time((number / LINES_A_SECOND).saturating_sub(old));
    let (key, is) = ((number / 3 + number * number) % KEYS, "x".repeat(80));
    format!("{{\"timestamp\":\"{time}\",\"key\":\"k{key}\",\"number\":{number},\"is\":\"{is}\"}}\n")
}

fn message(time: &str, connection: usize, number: usize) -> String {
    let bad = if number % BAD_EVERY == BAD_EVERY - 1 { "x" } else { "" };
    format!("<13>1 {time} c{connection} app {bad}{number} - - message\n")
}

/// Gives how many of so many lines, or messages of a connection, are good.
pub fn good(count: usize) -> usize {
    count - count / BAD_EVERY
}

/// A message, and the second of event time that it is of.
pub type Message = (usize, String);

/// What is sent, until it is told to stop.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// How many lines the file has.
    lines: AtomicUsize,
    /// How many of them are known to be delivered.
    delivered: AtomicUsize,
    /// The messages of each connection.
    messages: Mutex<Vec<Vec<Message>>>,
    sent: AtomicUsize,
}

impl Shared {
    /// Whether nothing more is sent until more is delivered.
    fn is_ahead(&self) -> bool {
        self.lines.load(SeqCst) > self.delivered.load(SeqCst) + AHEAD_MAX
    }
}

impl Load {
    /// Begins to write a file into a folder, and to send.
    pub fn start(folder: &Folder, address: SocketAddr) -> Self {
        let shared = Arc::<Shared>::default();
        let file = folder.join("in.log");
        let (writing, sending) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || write(file, &writing)),
            std::thread::spawn(move || send(address, &sending)),
        ];
        Load { shared, threads }
    }

    /// Gives how many lines were written and messages sent so far.
    pub fn count(&self) -> usize {
        self.shared.lines.load(SeqCst) + self.shared.sent.load(SeqCst)
    }

    /// Reads what was delivered since the last look; gives how much it is in all.
    pub fn look(&self, came: &mut Came, folder: &Folder) -> usize {
        let count = came.look(folder);
        // Bad lines are never delivered.
        self.shared.delivered.store(came.lines.len() + came.lines.len() / BAD_EVERY, SeqCst);
        count
    }

    /// Whether nothing more is sent until more is known to be delivered.
    pub fn is_ahead(&self) -> bool {
        self.shared.is_ahead()
    }

    /// Gives how many connections were made so far.
    pub fn connections(&self) -> usize {
        self.shared.messages.lock().unwrap().len()
    }

    /// Gives how many good lines and messages were sent so far.
    pub fn good(&self) -> usize {
        let messages = self.shared.messages.lock().unwrap();
        let messages: usize = messages.iter().map(|sent| good(sent.len())).sum();
        good(self.shared.lines.load(SeqCst)) + messages
    }

    /// Ends it: the last connection in good order. Gives what was sent.
    pub fn stop(self) -> Sent {
        self.shared.stop.store(true, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let messages = std::mem::take(&mut *self.shared.messages.lock().unwrap());
        Sent { lines: self.shared.lines.load(SeqCst), messages }
    }
}

fn write(path: PathBuf, shared: &Shared) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    while !shared.stop.load(SeqCst) {
        wait::rest();
        if shared.is_ahead() {
            continue;
        }
        let number = shared.lines.load(SeqCst);
        let text: String = (number..number + BURST).map(line).collect();
        file.write_all(text.as_bytes()).unwrap();
        shared.lines.store(number + BURST, SeqCst);
    }
}

/// Sends over a new connection whenever one breaks.
fn send(address: SocketAddr, shared: &Shared) {
    while !shared.stop.load(SeqCst) {
        if let Ok(sender) = TcpStream::connect(address) {
            send_over(sender, shared);
        }
        wait::rest();
    }
}

fn send_over(mut sender: TcpStream, shared: &Shared) {
    let mut number = 0;
    let connection = {
        let mut messages = shared.messages.lock().unwrap();
        messages.push(Vec::new());
        messages.len() - 1
    };
    while !shared.stop.load(SeqCst) {
        wait::rest();
        if shared.is_ahead() {
            continue;
        }
        let second = shared.lines.load(SeqCst) / LINES_A_SECOND;
        for _ in 0..BURST {
            let text = message(&time(second), connection, number);
            if sender.write_all(text.as_bytes()).is_err() {
                return;
            }
            shared.messages.lock().unwrap()[connection].push((second, text));
            shared.sent.fetch_add(1, SeqCst);
            number += 1;
        }
    }
    // What was sent is read to its end, which the other side answers with its own.
    sender.shutdown(Shutdown::Write).unwrap();
    let _ = sender.read(&mut [0]);
}

/// What was sent.
pub struct Sent {
    /// How many lines the file has.
    pub lines: usize,
    /// The messages of each connection.
    pub messages: Vec<Vec<Message>>,
}

/// Says that an hour went by, on both ways, so that every window before is over. The connection
/// must be kept until it is.
#[must_use]
pub fn end(folder: &Folder, address: SocketAddr, seconds: usize) -> TcpStream {
    let time = time(seconds + 3_600);
    let mut file = OpenOptions::new().append(true).open(folder.join("in.log")).unwrap();
    writeln!(file, "{{\"timestamp\":\"{time}\",\"key\":\"end\",\"number\":0}}").unwrap();
    let mut sender = TcpStream::connect(address).unwrap();
    writeln!(sender, "<13>1 {time} end app 0 - - message").unwrap();
    sender
}

impl Sent {
    /// Gives how many seconds of event time it spans.
    pub fn seconds(&self) -> usize {
        self.lines / LINES_A_SECOND
    }

    /// Feeds all that came once more: a new file, and the messages of all connections over one, as
    /// far as they came. `fed` is told how many good ones there were so far, and waits for them,
    /// every few seconds of event time: nothing becomes too late.
    pub fn feed_again(
        &self,
        folder: &Folder,
        address: SocketAddr,
        came: &Came,
        mut fed: impl FnMut(usize),
    ) {
        const STEP: usize = 10;
        let mut file = OpenOptions::new().append(true).open(folder.join("in.log")).unwrap();
        let mut sender = TcpStream::connect(address).unwrap();
        let count = |connection| came.messages.get(&connection).map_or(0, BTreeSet::len);
        let messages = self.messages.iter().enumerate();
        let mut messages =
            messages.flat_map(|(connection, messages)| &messages[..count(connection)]).peekable();
        let (mut lines, mut texts) = (0, Vec::new());
        for end in (STEP..self.seconds() + 2 * STEP).step_by(STEP) {
            let next = self.lines.min(end * LINES_A_SECOND);
            let text: String = (lines..next).map(line).collect();
            lines = next;
            file.write_all(text.as_bytes()).unwrap();
            while let Some((_, text)) = messages.next_if(|(second, _)| *second < end) {
                sender.write_all(text.as_bytes()).unwrap();
                texts.push(text);
            }
            let bad = texts.iter().filter(|text| text.contains(" app x")).count();
            fed(good(lines) + texts.len() - bad);
        }
        assert!(messages.next().is_none() && lines == self.lines);
        sender.shutdown(Shutdown::Write).unwrap();
        let _ = sender.read(&mut [0]);
    }
}

/// What came out: in the file of the sink, or as a dead letter.
pub struct Came {
    tail: Tail,
    /// The numbers of the lines.
    pub lines: BTreeSet<usize>,
    /// The numbers of the messages, by connection.
    pub messages: BTreeMap<usize, BTreeSet<usize>>,
    /// How many came more than once.
    pub again: usize,
    /// How many lines of the file are not whole, as a kill in the middle of a write leaves them.
    pub torn: usize,
    /// How many are dead letters.
    pub letters: usize,
}

impl Came {
    /// Begins to look at an instance's folder.
    pub fn new() -> Self {
        Came {
            tail: Tail::new("out.jsonl"),
            lines: BTreeSet::new(),
            messages: BTreeMap::new(),
            again: 0,
            torn: 0,
            letters: 0,
        }
    }

    /// Reads what was delivered since the last look; gives how much it is in all.
    pub fn look(&mut self, folder: &Folder) -> usize {
        for line in self.tail.lines(folder) {
            let Ok(event) = serde_json::from_str::<Value>(&line) else {
                self.torn += 1;
                continue;
            };
            let (key, number) = (event["key"].as_str().unwrap(), event["number"].as_u64().unwrap());
            if key != "end" {
                self.again += usize::from(!self.note(key, number as usize));
            }
        }
        self.count()
    }

    /// Gives how many records came, each once.
    pub fn count(&self) -> usize {
        self.lines.len() + self.messages.values().map(BTreeSet::len).sum::<usize>()
    }

    fn note(&mut self, key: &str, number: usize) -> bool {
        match key.strip_prefix('c') {
            None => self.lines.insert(number),
            Some(connection) => {
                self.messages.entry(connection.parse().unwrap()).or_default().insert(number)
            }
        }
    }

    /// Reads the dead letters of an instance that has ended.
    ///
    /// # Panics
    /// When one is there twice, or beside its delivery.
    pub fn take_letters(&mut self, folder: &Folder) {
        for letter in dead_letters(folder) {
            let raw = letter["raw"].as_str().unwrap().trim_end();
            let first = if let Some(number) = raw.strip_prefix("half { ") {
                assert_eq!(letter["reason"], "malformed");
                self.note("k", number.parse().unwrap())
            } else {
                assert_eq!(letter["reason"], "program_failed");
                let words: Vec<_> = raw.split(' ').collect();
                self.note(words[2], words[4].strip_prefix('x').unwrap().parse().unwrap())
            };
            assert!(first, "twice: {letter}");
            self.letters += 1;
        }
    }

    /// Looks whether all lines came, and of each connection all messages up to one.
    #[track_caller]
    pub fn is_whole(&self, sent: &Sent) {
        let missing: Vec<_> = (0..sent.lines).filter(|line| !self.lines.contains(line)).collect();
        assert!(missing.is_empty(), "lost: {missing:?}");
        assert_eq!(self.lines.len(), sent.lines);
        for (connection, numbers) in &self.messages {
            let last = *numbers.last().unwrap();
            let gaps: Vec<_> = (0..last).filter(|number| !numbers.contains(number)).collect();
            assert!(gaps.is_empty(), "lost of connection {connection}: {gaps:?} before {last}");
            assert!(last < sent.messages[*connection].len(), "{connection}: nobody sent {last}");
        }
    }
}
