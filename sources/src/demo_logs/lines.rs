//! The lines that `demo_logs` makes up. All but the time in a line follows from the seed and the
//! line's number.

use azud_event::time::EventTime;
use chrono::{DateTime, Utc};
use std::io::Write;

/// What lines look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A web server's access log.
    ApacheCommon,
    /// A web server's error log.
    ApacheError,
    /// RFC 3164.
    BsdSyslog,
    /// A request as JSON.
    Json,
    /// One of these, at random.
    Shuffle(Vec<String>),
    /// RFC 5424.
    Syslog,
}

/// Lines of a format and seed.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) format: Format,
    pub(super) seed: u64,
}

const USERS: &[&str] =
    &["alice", "benjamin", "carmen", "deploy", "elif", "farid", "grace", "hiro", "ines", "jonas"];
const HOSTS: &[&str] = &["web-1", "web-2", "db-1", "mail-1", "build-3", "vpn-1"];
const PATHS: &[&str] = &[
    "/",
    "/login",
    "/logout",
    "/api/v1/orders",
    "/api/v1/users",
    "/static/app.js",
    "/admin",
    "/search?q=weir",
    "/health",
    "/images/canal.png",
];
const METHODS: &[&str] = &["GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD"];
const STATUSES: &[u16] = &[200, 200, 200, 200, 204, 301, 302, 400, 401, 403, 404, 500, 503];
const MODULES: &[&str] = &["core", "proxy", "ssl", "auth_basic", "rewrite"];
const LEVELS: &[&str] = &["error", "warn", "notice", "crit"];
const FAULTS: &[&str] = &[
    "File does not exist: /srv/www/favicon.ico",
    "AH01630: client denied by server configuration: /srv/www/.git",
    "AH00957: HTTP: attempt to connect to 127.0.0.1:8080 failed",
    "AH02032: Hostname provided via SNI and hostname provided via HTTP are different",
];
/// Facility and severity, program, message; `{user}` and `{ip}` are filled in.
const MESSAGES: &[(u8, &str, &str)] = &[
    (38, "sshd", "Accepted publickey for {user} from {ip} port 50022 ssh2"),
    (38, "sshd", "Connection closed by {ip} port 40022"),
    (86, "sudo", "{user} : TTY=pts/0 ; PWD=/home/{user} ; USER=root ; COMMAND=/usr/bin/systemctl"),
    (78, "cron", "({user}) CMD (/usr/local/bin/backup --incremental)"),
    (30, "systemd", "Started Session 42 of User {user}."),
    (4, "kernel", "[UFW BLOCK] IN=eth0 OUT= SRC={ip} DST=192.0.2.10 PROTO=TCP DPT=23"),
    (22, "postfix", "connect from unknown[{ip}]"),
];

/// Gives random numbers from a seed. Source: Steele, Lea and Flood, *Fast Splittable Pseudorandom
/// Number Generators*, OOPSLA 2014 (SplitMix64).
struct Random(u64);

impl Random {
    /// Makes the numbers of one line: neighbours share nothing.
    fn of(seed: u64, stream: u64, number: u64) -> Self {
        let mut random = Random(seed ^ stream.rotate_left(32));
        random.0 = random.next() ^ number;
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

/// Writing to a `Vec` does not fail.
macro_rules! put {
    ($out:expr, $($words:tt)*) => {
        write!($out, $($words)*).expect("a Vec takes what is written")
    };
}

impl Lines {
    /// Appends the line of this number, without its end.
    pub(super) fn line(&self, number: u64, time: EventTime, out: &mut Vec<u8>) {
        let mut random = Random::of(self.seed, 0, number);
        let time = time.to_chrono();
        match &self.format {
            Format::ApacheCommon => apache_common(&mut random, time, out),
            Format::ApacheError => apache_error(&mut random, time, out),
            Format::Json => json(&mut random, time, out),
            Format::Shuffle(lines) => {
                let line = &lines[random.below(lines.len() as u64) as usize];
                out.extend_from_slice(line.as_bytes());
            }
            Format::BsdSyslog | Format::Syslog => {
                let (priority, program, message) = random.one_of(MESSAGES);
                let message = message
                    .replace("{user}", random.one_of(USERS))
                    .replace("{ip}", &visitor(&mut random));
                let (host, process) = (random.one_of(HOSTS), 300 + random.below(32_000));
                self.syslog(priority, host, program, process, &message, time, out);
            }
        }
    }

    /// Appends a try of an attack on SSH, without its end: its address is that of the episode, its
    /// user one of two.
    pub(super) fn login(
        &self,
        episode: u64,
        attempt: u64,
        succeeds: bool,
        time: EventTime,
        out: &mut Vec<u8>,
    ) {
        let mut attacker = Random::of(self.seed, 1, episode);
        let address = 1 + attacker.below(254);
        let (port, process) = (40_000 + attacker.below(20_000), 1_000 + attacker.below(30_000));
        let mut random = Random::of(self.seed, 2, episode.wrapping_mul(1_000) + attempt);
        let (verb, user) = match succeeds {
            true => ("Accepted", "root"),
            false => ("Failed", random.one_of(&["root", "admin"])),
        };
        let port = port + attempt;
        let message =
            format!("{verb} password for {user} from 203.0.113.{address} port {port} ssh2");
        self.syslog(38, "web-1", "sshd", process + attempt, &message, time.to_chrono(), out);
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of a message, in its order")]
    fn syslog(
        &self,
        priority: u8,
        host: &str,
        program: &str,
        process: u64,
        message: &str,
        time: DateTime<Utc>,
        out: &mut Vec<u8>,
    ) {
        if self.format == Format::BsdSyslog {
            let time = time.format("%b %e %T");
            put!(out, "<{priority}>{time} {host} {program}[{process}]: {message}");
        } else {
            let time = time.format("%Y-%m-%dT%H:%M:%S%.3fZ");
            put!(out, "<{priority}>1 {time} {host} {program} {process} - - {message}");
        }
    }
}

/// Gives an address of those that are kept for documentation (RFC 5737).
fn visitor(random: &mut Random) -> String {
    format!("198.51.100.{}", 1 + random.below(254))
}

fn apache_common(random: &mut Random, time: DateTime<Utc>, out: &mut Vec<u8>) {
    let (address, user) = (visitor(random), random.one_of(USERS));
    let (method, path) = (random.one_of(METHODS), random.one_of(PATHS));
    let (status, bytes) = (random.one_of(STATUSES), random.below(50_000));
    let time = time.format("%d/%b/%Y:%T %z");
    put!(out, "{address} - {user} [{time}] \"{method} {path} HTTP/1.1\" {status} {bytes}");
}

fn apache_error(random: &mut Random, time: DateTime<Utc>, out: &mut Vec<u8>) {
    let (module, level) = (random.one_of(MODULES), random.one_of(LEVELS));
    let (process, thread) = (300 + random.below(32_000), 300 + random.below(32_000));
    let (address, port) = (visitor(random), 1_024 + random.below(60_000));
    let fault = random.one_of(FAULTS);
    let time = time.format("%a %b %d %T %Y");
    put!(out, "[{time}] [{module}:{level}] [pid {process}:tid {thread}] ");
    put!(out, "[client {address}:{port}] {fault}");
}

fn json(random: &mut Random, time: DateTime<Utc>, out: &mut Vec<u8>) {
    let (address, user) = (visitor(random), random.one_of(USERS));
    let (method, path) = (random.one_of(METHODS), random.one_of(PATHS));
    let (status, bytes) = (random.one_of(STATUSES), random.below(50_000));
    let time = time.format("%d/%b/%Y:%T");
    put!(out, "{{\"host\":\"{address}\",\"user-identifier\":\"{user}\",\"datetime\":\"{time}\",");
    put!(out, "\"method\":\"{method}\",\"request\":\"{path}\",\"protocol\":\"HTTP/1.1\",");
    put!(out, "\"status\":{status},\"bytes\":{bytes},\"referer\":\"https://www.example.com/\"}}");
}
