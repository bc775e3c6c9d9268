//! Back pressure with a real sender: a sink that stops costs disk where there is a log, and holds
//! the sender where there is none; it never costs memory, and loses nothing.

use crate::support::files::Folder;
use crate::support::metrics::Metrics;
use crate::support::program::{Program, READY, azud, free_address};
use crate::support::wait::{self, PATIENCE};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

const EVENTS: usize = 500_000;

/// The program's own memory beside what credit and budgets bound (16 MiB and 8 MiB by default,
/// once as taken and once as made): its code, buffers of sockets, the allocator's slack.
const MEMORY_BYTES_MAX: u64 = 150 << 20;

fn document(syslog: SocketAddr, api: SocketAddr, durability: &str) -> String {
    format!(
        r#"
data_dir = "data"
intake.durability = "{durability}"
api.address = "{api}"
[sources.in]
type = "syslog"
mode = "tcp"
address = "{syslog}"
[sinks.out]
type = "console"
inputs = ["in"]
encoding.codec = "json"
"#
    )
}

/// Sends numbered lines as fast as they are taken; counts them.
fn send(address: SocketAddr, sent: &AtomicUsize) {
    let mut sender = TcpStream::connect(address).unwrap();
    let padding = "x".repeat(300);
    for number in 0..EVENTS {
        writeln!(sender, "<13>1 2026-03-01T10:00:00Z h app {number} - - {padding}").unwrap();
        sent.store(number + 1, SeqCst);
    }
}

/// An instance whose one sink writes to a pipe that nobody reads.
struct Stopped {
    program: Program,
    output: File,
    api: SocketAddr,
    sent: Arc<AtomicUsize>,
    sending: JoinHandle<()>,
    _folder: Folder,
}

fn start(durability: &str) -> Stopped {
    let (syslog, api, folder) = (free_address(), free_address(), Folder::new());
    folder.write("azud.toml", document(syslog, api, durability));
    // Standard output is a pipe that nobody reads: a sink that has stopped.
    let pipe = folder.join("out.pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let program = azud(folder.path(), &["run", "azud.toml"]);
    let mut shell = Command::new("sh");
    shell.current_dir(folder.path()).arg("-c");
    shell.arg(format!("exec {} run azud.toml > out.pipe", program.get_program().display()));
    let opened = std::thread::spawn(move || File::open(pipe).unwrap());
    let program = Program::start(shell, READY);
    let output = opened.join().unwrap();

    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sending = std::thread::spawn(move || send(syslog, &counter));
    Stopped { program, output, api, sent, sending, _folder: folder }
}

impl Stopped {
    /// Reads the pipe: everything comes, in order, and memory was bounded all the time.
    fn comes_back(self) {
        let Stopped { program, output, api, sending, .. } = self;
        let memory = program.memory_peak();
        assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");
        let lines = BufReader::new(output).lines().take(EVENTS);
        for (number, line) in lines.enumerate() {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(event["procid"], number);
        }
        sending.join().unwrap();
        wait::until("everything to be confirmed", PATIENCE, || {
            let delivered = Metrics::scrape(api)
                .sum("azud_component_sent_events_total", &[("component_id", "out")]);
            (delivered == EVENTS as f64).then_some(())
        });
        let memory = program.memory_peak();
        assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");
    }
}

#[test]
fn a_sink_that_stops_costs_disk_and_holds_nobody() {
    let stopped = start("disk");
    wait::until("everything to be taken in", Duration::from_secs(120), || {
        (stopped.sent.load(SeqCst) == EVENTS).then_some(())
    });
    stopped.comes_back();
}

#[test]
fn without_a_log_a_sink_that_stops_holds_the_sender_and_loses_nothing() {
    let stopped = start("memory");
    let sent = &stopped.sent;
    let mut still = (0, 0);
    wait::until("the sender to be held", Duration::from_secs(60), || {
        let now = sent.load(SeqCst);
        still = if now == still.0 && now > 0 { (now, still.1 + 1) } else { (now, 0) };
        (still.1 == 200).then_some(())
    });
    assert!(sent.load(SeqCst) < EVENTS, "nothing held the sender");
    stopped.comes_back();
}
