//! Asking for a secret on the terminal, which does not show it.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;

/// Asks, and reads a line without echo.
///
/// # Errors
/// What the terminal answers.
pub fn hidden(question: &str, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let quiet = Quiet::new(&terminal)?;
    let read = BufReader::new(&terminal).read_until(b'\n', into);
    drop(quiet);
    terminal.write_all(b"\n")?;
    read
}

/// A terminal without echo; dropped, it is as it was.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal.as_fd())?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone has no echo to be given back.
        let _ = tcsetattr(self.terminal.as_fd(), SetArg::TCSAFLUSH, &self.before);
    }
}
