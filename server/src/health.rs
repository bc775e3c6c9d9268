//! `azud health`: asks a running instance whether it is alive.

use crate::outcome::Outcome;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks `/health`, and says what it answered.
pub fn health(address: SocketAddr) -> Outcome {
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
