//! Standard output, which may end before what is written to it.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes; when nobody reads any more, the program ends as if all had been read.
pub fn write(text: Arguments<'_>) {
    match io::stdout().lock().write_fmt(text) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("error: standard output cannot be written: {error}");
            std::process::exit(3);
        }
    }
}
