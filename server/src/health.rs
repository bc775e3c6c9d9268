//! `azud health`: asks a running instance whether it is alive.

use crate::cli::{Global, Health};
use crate::outcome::Outcome;
use crate::{admin, data_folder};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How long the instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks `/health`, and says what it answered: by the socket of the data folder, or at an address.
pub fn health(arguments: &Health, global: &Global) -> Outcome {
    if let Some(address) = arguments.address {
        return at(address);
    }
    match data_folder::find(arguments.data_dir.as_deref(), global) {
        Ok(folder) => of(&folder),
        Err(outcome) => outcome,
    }
}

fn of(folder: &Path) -> Outcome {
    match admin::ask(folder, "GET", "/health", PATIENCE) {
        Ok((200, _)) => {
            println!("alive, with the data folder {}", folder.display());
            Outcome::Well
        }
        Ok((code, _)) => {
            eprintln!("the instance of {} answers, but not well: {code}", folder.display());
            Outcome::Environment
        }
        Err(error) => {
            eprintln!("{}", admin::unanswered(folder, &error));
            Outcome::Environment
        }
    }
}

fn at(address: SocketAddr) -> Outcome {
    match ask(address) {
        Ok(status) if status.contains(" 200 ") => {
            println!("alive at {address}");
            Outcome::Well
        }
        Ok(status) => {
            eprintln!("{address} answers, but not well: {}", status.trim());
            Outcome::Environment
        }
        Err(error) => {
            eprintln!(
                "nothing answers at {address}: {error}; is it running, and is that its `api.address`?"
            );
            Outcome::Environment
        }
    }
}

/// Gives the status line of the answer.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
