//! Our own log: on standard error, for people or as JSON.

use crate::cli::{Color, Global, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Installs the log.
pub fn install(global: &Global) {
    let level = match i16::from(global.verbose) - i16::from(global.quiet) {
        ..=-3 => "off",
        -2 => "error",
        -1 => "warn",
        0 => "info",
        1 => "debug",
        2.. => "trace",
    };
    // Libraries speak only when asked for detail: their info is not about the user's data.
    let ours = [
        "azud",
        "azud_client",
        "azud_engine",
        "azud_secrets",
        "azud_sinks",
        "azud_sources",
        "azud_store",
        "azud_transforms",
    ];
    let directives: Vec<String> = ours.iter().map(|name| format!("{name}={level}")).collect();
    let others = if global.verbose > 1 { "debug" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},{}", directives.join(",")));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_target(false).with_ansi(colors(global.color)).init(),
    }
}

/// Whether to use colours on standard error.
pub fn colors(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}
