//! `azud`: the program.
#![cfg_attr(test, allow(clippy::unwrap_used))]

/// Writes a line to standard output. Whoever reads it may stop before its end, as `head` does.
macro_rules! println {
    () => { $crate::output::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes to standard output, as `println` does.
macro_rules! print {
    ($($text:tt)*) => { $crate::output::write(format_args!($($text)*)) };
}

mod admin;
mod alerts;
mod api;
mod cases;
mod checkpoints;
mod cli;
mod commands;
mod connectors;
mod data_folder;
mod database;
mod dead_letters;
mod deeds;
mod documents;
mod environment;
mod graph;
mod health;
mod keys;
mod letters_table;
mod listing;
mod log;
mod logging;
mod outcome;
mod output;
mod probers;
mod prompt;
mod replays;
mod retention;
mod run;
mod secrets;
mod table;
mod wiring;

use clap::Parser;
use cli::{Cli, Command};
use outcome::Outcome;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command, global } = Cli::parse();
    let outcome = match command {
        Command::Run(arguments) => run::run(&arguments, &global),
        Command::Validate(arguments) => documents::validate(&arguments, &global),
        Command::Test(arguments) => cases::test(&arguments, &global),
        Command::Graph(arguments) => graph(&arguments, &global),
        Command::Schema => listing::schema(),
        Command::List(arguments) => listing::list(&arguments),
        Command::Explain(arguments) => listing::explain(&arguments),
        Command::Alerts(arguments) => alerts::alerts(&arguments, &global),
        Command::DeadLetters(command) => dead_letters::dead_letters(&command, &global),
        Command::Log(command) => log::log(&command, &global),
        Command::Checkpoint(command) => checkpoints::checkpoint(&command, &global),
        Command::Connectors(arguments) => commands::connectors::connectors(&arguments, &global),
        Command::Credentials(arguments) => commands::credentials::credentials(&arguments, &global),
        Command::Tokens(arguments) => commands::tokens::tokens(&arguments, &global),
        Command::Keys(arguments) => commands::keys::keys(&arguments, &global),
        Command::Health(arguments) => health::health(&arguments, &global),
        Command::Reference { folder } => listing::write_reference(&folder),
    };
    outcome.into()
}

fn graph(arguments: &cli::Graph, global: &cli::Global) -> Outcome {
    let Some(loaded) = documents::load_or_explain(&arguments.documents, global) else {
        return Outcome::Faults;
    };
    print!("{}", graph::draw(&loaded.plan, arguments.format));
    Outcome::Well
}
