//! `azud connectors trace` and `record`: what a connector asked, and what it was answered.

use super::connectors::problem;
use crate::admin::{Admin, Done, encoded, refuse};
use crate::table::plain;
use azud_client::RECORDING_LENGTH_MAX;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How much longer the instance records than this command waits: until it is told to end.
const GRACE: Duration = Duration::from_secs(60);

/// How much of a body is shown on the terminal, in characters.
const SHOWN_MAX: usize = 400;

fn path_of(name: &str, what: &str) -> String {
    format!("/api/v1/connectors/{}/{what}", encoded(name))
}

/// Shows the last exchanges.
pub fn trace(admin: &Admin, name: &str, json: bool) -> Done {
    let (code, answer) = admin.ask("GET", &path_of(name, "exchanges"))?;
    if code != 200 {
        return refuse(&problem(code, &answer));
    }
    let exchanges = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if exchanges.is_empty() {
        println!("{name} has asked nobody yet");
    }
    for exchange in exchanges {
        match json {
            true => println!("{exchange}"),
            false => show(exchange),
        }
    }
    Ok(())
}

fn show(exchange: &Value) {
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    let (request, response) = (&exchange["request"], &exchange["response"]);
    let status =
        response["status"].as_u64().map_or("no answer".to_owned(), |code| code.to_string());
    println!(
        "{}  {} {}\n  {status} in {} ms",
        text(&exchange["at"]),
        text(&request["method"]),
        text(&request["url"]),
        exchange["took_ms"]
    );
    for (mark, part) in [(">", request), ("<", response)] {
        for header in part["headers"].as_array().into_iter().flatten() {
            println!("  {mark} {}: {}", text(&header[0]), text(&header[1]));
        }
        let body = text(&part["body"]);
        if !body.is_empty() {
            let shown: String = body.chars().take(SHOWN_MAX).collect();
            let more = if shown.len() < body.len() { " …" } else { "" };
            println!("  {mark} {shown}{more}");
        }
    }
}

/// Records for a while, and moves what the instance has written to a folder.
pub async fn record(admin: &Admin, name: &str, folder: &Path, length: Duration) -> Done {
    if length > RECORDING_LENGTH_MAX {
        let most = RECORDING_LENGTH_MAX.as_secs() / 60;
        return refuse(&format!("a recording lasts at most {most}m; give `--for` less"));
    }
    if let Err(error) = fs::create_dir_all(folder) {
        return refuse(&format!("{} cannot be made: {error}", folder.display()));
    }
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return refuse(&format!("{} is not empty", folder.display())),
        Err(error) => return refuse(&format!("{} cannot be read: {error}", folder.display())),
    }
    // The instance ends it by itself, too: this command may be killed.
    let seconds = (length + GRACE).min(RECORDING_LENGTH_MAX).as_secs();
    let (code, answer) =
        admin.ask("PUT", &path_of(name, &format!("recording?seconds={seconds}")))?;
    if code != 200 {
        return refuse(&problem(code, &answer));
    }
    let (code, asked) = admin.ask("POST", &path_of(name, "poll"))?;
    let waits = code == 202;
    if waits {
        eprintln!("recording {name} for {} s; Ctrl-C ends it sooner", length.as_secs());
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    let (stopped, told) = admin.ask("DELETE", &path_of(name, "recording"))?;
    if !waits {
        return refuse(&problem(code, &asked));
    }
    if stopped != 200 {
        return refuse(&problem(stopped, &told));
    }
    if let Some(why) = told["why"].as_str() {
        eprintln!("the recording ended before it was over: {}", plain(why));
    }
    let from = Path::new(answer["folder"].as_str().unwrap_or_default());
    match take(from, folder) {
        Ok(0) => refuse(&format!("{name} asked nobody meanwhile; give it longer with `--for`")),
        Ok(count) => {
            println!(
                "{count} exchanges are in {}; look through them before you give them away",
                folder.display()
            );
            Ok(())
        }
        Err(error) => refuse(&format!("{} cannot be taken: {error}", from.display())),
    }
}

/// Moves the files of a folder to another, which may lie on another disk; gives how many.
fn take(from: &Path, to: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
        count += 1;
    }
    fs::remove_dir_all(from)?;
    Ok(count)
}
