//! The program under test: found, started, listened to, stopped.

use super::files::Folder;
use super::wait::{self, PATIENCE};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What the program says on standard error once it takes in data.
pub const READY: &str = "is ready";

/// Gives a command that calls `azud` in `folder`.
///
/// # Panics
/// When the program was not built; says how to build it.
pub fn azud(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(built());
    command.current_dir(folder).args(arguments).env_remove("NO_COLOR");
    command
}

/// Runs `azud` to its end.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    azud(folder, arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command on the data of an instance's folder; gives its exit code and what it said on both
/// outputs.
pub fn ask(folder: &Folder, arguments: &[&str]) -> (i32, String, String) {
    let ended = run(folder.path(), &[arguments, &["--data-dir", "data"]].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

/// Runs one that writes JSON and ends well; gives its lines.
#[track_caller]
pub fn ask_json(folder: &Folder, arguments: &[&str]) -> Vec<serde_json::Value> {
    let (code, out, errors) = ask(folder, &[arguments, &["--format", "json"]].concat());
    assert_eq!(code, 0, "{out}{errors}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Finds the program beside this test binary: `target/<profile>/azud`.
fn built() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).expect("cargo puts tests in deps/");
    let program = profile.join("azud");
    assert!(program.is_file(), "{} is missing; run `cargo build` first", program.display());
    program
}

/// Gives an address on the loopback whose port is free now, for TCP and for UDP, and was not given
/// before: what it was given for may not listen yet.
pub fn free_address() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    wait::until("a port that is free for both TCP and UDP", PATIENCE, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        UdpSocket::bind(address).ok()?;
        GIVEN.lock().unwrap().insert(address).then_some(address)
    })
}

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// What a program said, and how it ended.
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// The lines of its standard output.
    pub output: Vec<String>,
    /// The lines of its standard error.
    pub errors: Vec<String>,
}

impl Program {
    /// Starts a command and waits until a line of its standard error contains `ready`.
    ///
    /// # Panics
    /// When it ends before, or says nothing like it in [`PATIENCE`]; shows what it said.
    #[track_caller]
    pub fn start(command: Command, ready: &str) -> Self {
        let what = format!("`{ready}` of {command:?}");
        let mut program = Self::start_silent(command);
        wait::until(&what, PATIENCE, || {
            let said = program.errors();
            let ended = program.child.try_wait().unwrap();
            // It may have said it and ended at once: that, too, is a start.
            let ready = said.iter().any(|line| line.contains(ready));
            assert!(ready || ended.is_none(), "{what}: {ended:?}\n{}", said.join("\n"));
            ready.then_some(())
        });
        program
    }

    /// Starts a command that has nothing to say when it is ready.
    #[track_caller]
    pub fn start_silent(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (output, errors) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("piped"), &output),
            collect(child.stderr.take().expect("piped"), &errors),
        ];
        Program { child, output, errors, readers }
    }

    /// Gives the most memory it has held so far, in bytes, as the system counts it.
    pub fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        kibibytes.and_then(|number| number.trim().parse::<u64>().ok()).unwrap() * 1024
    }

    /// Gives the lines of its standard output so far.
    pub fn output(&self) -> Vec<String> {
        self.output.lock().unwrap().clone()
    }

    /// Gives the lines of its standard error so far.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("process ids are positive i32");
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to end by SIGTERM, and waits until it has.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.end()
    }

    /// Ends it at once by SIGKILL; gives the lines of its standard error.
    pub fn kill(self) -> Vec<String> {
        self.signal(Signal::SIGKILL);
        self.end().errors
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let status =
            wait::until("the end of the program", PATIENCE, || self.child.try_wait().unwrap());
        // A child of its own that lives on would keep its outputs open.
        wait::until("the end of its outputs", PATIENCE, || {
            self.readers.iter().all(JoinHandle::is_finished).then_some(())
        });
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { status, output: self.output(), errors: self.errors() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nothing is to be done about a child that is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects lines on a thread of its own, so that a talkative program is never held up by its pipe.
fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
            into.lock().unwrap().push(line);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_is_ready_and_ends_when_told() {
        // It waits without a child: one that has not begun when the signal comes would live on.
        let script = "trap 'echo bye; exit 3' TERM; echo a is ready >&2; while :; do :; done";
        let ended = Program::start(shell(script), READY).stop();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!((ended.output, ended.errors), (vec!["bye".into()], vec!["a is ready".into()]));
    }

    #[test]
    #[should_panic(expected = "no such thing")]
    fn a_program_that_ends_at_once_shows_why() {
        Program::start(shell("echo no such thing >&2; exit 1"), READY);
    }

    #[test]
    fn a_dropped_program_is_gone() {
        let program = Program::start(shell("echo is ready >&2; exec tail -f /dev/null"), READY);
        let id = program.child.id();
        drop(program);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
