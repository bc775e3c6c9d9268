//! The command line of connectors, credentials, tokens and keys.

use azud_plan::component::parse_duration;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Which instance, and in which form to show what it has.
#[derive(Debug, Clone, Args)]
pub struct Of {
    /// Of this instance: the folder of its data [default: as the documents here say]
    #[arg(long, value_name = "FOLDER", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Write JSON: an object a line
    #[arg(long, global = true)]
    pub json: bool,
}

/// `azud connectors`.
#[derive(Debug, Clone, Args)]
pub struct Connectors {
    #[command(subcommand)]
    pub command: Option<ConnectorsCommand>,
    #[command(flatten)]
    pub of: Of,
}

/// The commands of `azud connectors`.
#[derive(Debug, Clone, Subcommand)]
pub enum ConnectorsCommand {
    /// List everything that talks to the outside, and how it is
    List(ListConnectors),
    /// Show one of them, with the changes of its status
    Show {
        /// Its name
        name: String,
        /// How many changes to show, the latest
        #[arg(long, default_value_t = 10)]
        history: u32,
    },
    /// Make one real call, and say what it saw; the instance must run
    Test {
        /// Its name
        name: String,
    },
    /// Poll now, without waiting for its time; the instance must run
    Poll {
        /// Its name
        name: String,
    },
    /// Show what it asked last and what it was answered, without secrets; the instance must run
    Trace {
        /// Its name
        name: String,
    },
    /// Poll, and write what is asked and answered to a folder, without secrets: for tests, and for
    /// `azud run --replay`
    Record {
        /// Its name
        name: String,
        /// The folder, which is new or empty
        folder: PathBuf,
        /// For so long
        #[arg(long = "for", value_name = "DURATION", default_value = "30s", value_parser = span)]
        length: Duration,
    },
    /// Switch it on again
    Enable {
        /// Its name
        name: String,
    },
    /// Switch it off, until it is enabled
    Disable {
        /// Its name
        name: String,
    },
    /// Add one that no document has, for a definition with `connector = "…"` to run for
    Add(AddConnector),
    /// Remove one that was added, with its cursor and history
    Remove {
        /// Its name
        name: String,
    },
    /// Look at how far one has come, and change that
    #[command(subcommand)]
    Cursor(CursorCommand),
}

/// `azud connectors list`.
#[derive(Debug, Clone, Args)]
pub struct ListConnectors {
    /// With this status
    #[arg(long, value_parser = ["starting", "active", "warning", "error", "disabled"])]
    pub status: Option<String>,
    /// Of this sort
    #[arg(long, value_parser = ["api", "syslog", "listener", "agent", "feed", "sink"])]
    pub kind: Option<String>,
    /// Also those that no document has any more
    #[arg(long)]
    pub removed: bool,
    /// Behind this name
    #[arg(long, value_name = "NAME")]
    pub after: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 1_000)]
    pub limit: u32,
}

impl Default for ListConnectors {
    fn default() -> Self {
        let (status, kind, after) = (None, None, None);
        ListConnectors { status, kind, removed: false, after, limit: 1_000 }
    }
}

/// `azud connectors add`.
#[derive(Debug, Clone, Args)]
pub struct AddConnector {
    /// Its name
    pub name: String,
    /// The `type` of the definition that will run for it
    #[arg(long, default_value = "http_client")]
    pub r#type: String,
    /// What tells it from others, `name=value`; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
}

/// `azud connectors cursor`.
#[derive(Debug, Clone, Subcommand)]
pub enum CursorCommand {
    /// Show how far it has come
    Show {
        /// The connector
        name: String,
    },
    /// Set how far it has come, from a file or standard input
    Set {
        /// The connector
        name: String,
        /// What an export wrote [default: standard input]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Forget how far it has come: it begins as at its first run
    Reset {
        /// The connector
        name: String,
        /// This partition alone
        #[arg(long)]
        partition: Option<String>,
    },
    /// Write how far it has come, to be set again; it may open doors, so keep it as a secret
    Export {
        /// The connector
        name: String,
    },
}

/// `azud credentials`.
#[derive(Debug, Clone, Args)]
pub struct Credentials {
    #[command(subcommand)]
    pub command: Option<CredentialsCommand>,
    #[command(flatten)]
    pub of: Of,
}

/// The commands of `azud credentials`.
#[derive(Debug, Clone, Subcommand)]
pub enum CredentialsCommand {
    /// List credentials; never what they are
    List,
    /// Show what is known of one; never what it is
    Show {
        /// Its name
        name: String,
    },
    /// Set one: from the terminal without echo, standard input or a file, never an argument
    Set(SetCredential),
    /// List the connectors whose settings name it
    Uses {
        /// Its name
        name: String,
    },
    /// Try every connector that uses it; the instance must run
    Test {
        /// Its name
        name: String,
    },
    /// Replace it: the new one is tried, and the old one kept for a while
    Rotate(RotateCredential),
    /// Take it out of use for good
    Revoke {
        /// Its name
        name: String,
    },
}

/// `azud credentials set`.
#[derive(Debug, Clone, Args)]
pub struct SetCredential {
    /// Its name: documents say `SECRET[azud.<name>]`
    pub name: String,
    /// What it is [default: as before, else opaque]
    #[arg(long, value_parser = ["token", "basic", "oauth2_client", "private_key", "certificate", "url", "opaque"])]
    pub kind: Option<String>,
    /// Read it from this file [default: standard input, or the terminal]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// When it ends (`90d`, or `2026-03-01T10:00:00Z`)
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
}

/// `azud credentials rotate`.
#[derive(Debug, Clone, Args)]
pub struct RotateCredential {
    #[command(flatten)]
    pub set: SetCredential,
    /// How long the old one is kept beside it
    #[arg(long, default_value = "1h", value_parser = span)]
    pub overlap: Duration,
    /// Do not try it: of an instance that does not run
    #[arg(long)]
    pub untested: bool,
}

/// `azud tokens`.
#[derive(Debug, Clone, Args)]
pub struct Tokens {
    #[command(subcommand)]
    pub command: Option<TokensCommand>,
    #[command(flatten)]
    pub of: Of,
}

/// The commands of `azud tokens`.
#[derive(Debug, Clone, Subcommand)]
pub enum TokensCommand {
    /// List the tokens of the API; never what they are
    List,
    /// Make one, and show it once
    Create {
        /// Whose it is
        name: String,
        /// What its owner may do
        #[arg(long, value_parser = ["viewer", "analyst", "editor", "admin"], default_value = "viewer")]
        role: String,
        /// How long it is good (`90d`)
        #[arg(long, value_name = "SPAN", value_parser = span)]
        expires: Option<Duration>,
        /// Write it to this file, which only its owner may read, instead of showing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take one out of use for good
    Revoke {
        /// Its name or id
        name: String,
    },
}

/// `azud keys`.
#[derive(Debug, Clone, Args)]
pub struct Keys {
    #[command(subcommand)]
    pub command: KeysCommand,
    #[command(flatten)]
    pub of: Of,
}

/// The commands of `azud keys`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Make another data key and seal every secret with it, also while the instance runs
    Rotate {
        /// Wrap the data keys with another master key instead: of this file, which is made if
        /// there is none
        #[arg(long, value_name = "FILE", group = "master")]
        to: Option<PathBuf>,
        /// The same, with the master key of this environment variable
        #[arg(long, value_name = "NAME", group = "master")]
        to_env: Option<String>,
    },
    /// Open every secret in the database, and name those that do not open
    Verify,
}

fn span(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write `90m`, `24h` or `7d`".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = split.ok_or_else(|| "write `name=value`".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
