//! Our own log: on standard error, for people or as JSON.

use crate::cli::{Color, Global, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Installs the log.
pub fn install(global: &Global) {
    let filter = EnvFilter::new(directives(global));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_target(false).with_ansi(colors(global.color)).init(),
    }
}

/// Says who may say what.
fn directives(global: &Global) -> String {
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
    let others = match global.verbose {
        // To wait for a connection of the database is no news: what waits for it is counted.
        0 | 1 => "warn,sqlx::pool=error",
        2.. => "debug",
    };
    format!("{others},{}", directives.join(","))
}

/// Whether to use colours on standard error.
pub fn colors(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::{Context, SubscriberExt};
    use tracing_subscriber::{Layer, Registry};

    /// Counts what passes.
    struct Count(std::sync::Arc<std::sync::atomic::AtomicUsize>);

    impl<S: tracing::Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn passed(verbose: u8, say: impl FnOnce()) -> usize {
        let (log_format, color) = (LogFormat::Text, Color::Never);
        let filter = EnvFilter::new(directives(&Global { verbose, quiet: 0, log_format, color }));
        let count = std::sync::Arc::default();
        let log = Registry::default().with(filter).with(Count(std::sync::Arc::clone(&count)));
        tracing::subscriber::with_default(log, say);
        count.load(std::sync::atomic::Ordering::SeqCst)
    }

    #[test]
    fn a_pool_that_is_slow_says_so_only_when_asked() {
        let slow = || tracing::warn!(target: "sqlx::pool::acquire", "acquired, but slowly");
        assert_eq!((passed(0, slow), passed(1, slow), passed(2, slow)), (0, 0, 1));
        assert_eq!(passed(0, || tracing::error!(target: "sqlx::pool::acquire", "broken")), 1);
        assert_eq!(passed(0, || tracing::warn!(target: "sqlx::query", "slow")), 1);
        assert_eq!(passed(0, || tracing::info!(target: "azud_store", "ours")), 1);
    }
}
