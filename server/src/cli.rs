//! The command line: what may be written, and nothing of what it does.

mod access;

pub use access::{
    AddConnector, Connectors, ConnectorsCommand, Credentials, CredentialsCommand, CursorCommand,
    Keys, KeysCommand, ListConnectors, Of, RotateCredential, SetCredential, Tokens, TokensCommand,
};

use azud_event::dead_letter::Reason;
use azud_event::time::EventTime;
use azud_plan::component::parse_duration;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// A stream processor for security and operations data.
///
/// Azud takes in syslog, files and polled APIs, shapes events with VRL, and delivers events and
/// alerts. Pipelines are TOML documents; `azud list` shows the components, `azud explain syslog`
/// one of them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Log more: once for debug, twice for trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log less: once for warnings, twice for errors, three times for nothing
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub quiet: u8,
    /// The form of log lines on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run pipelines
    Run(Run),
    /// Check pipelines, and say everything that is wrong with them
    Validate(Validate),
    /// Run the tests that are written in the documents
    Test(Test),
    /// Draw how components are connected, in Graphviz' language or Mermaid's
    Graph(Graph),
    /// Write the JSON Schema of documents, for editors
    Schema,
    /// List the components of this program
    List(List),
    /// Explain a component (`syslog`, `sink file`) or a diagnostic (`P012`)
    Explain(Explain),
    /// Show alerts
    Alerts(Alerts),
    /// Look at what was set aside, also while the instance runs, and discard it
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Look at the log of an instance, also while it runs
    #[command(subcommand)]
    Log(Log),
    /// Look at the checkpoints of an instance, also while it runs
    #[command(subcommand)]
    Checkpoint(Checkpoint),
    /// Look at everything that talks to the outside, try it, and switch it on and off
    Connectors(Connectors),
    /// Set, rotate and revoke the credentials that connectors use
    Credentials(Credentials),
    /// Say who may use the API
    Tokens(Tokens),
    /// Rotate and verify the keys that seal what is secret in the database
    Keys(Keys),
    /// Ask a running instance whether it is alive; for health checks of containers
    Health(Health),
    /// Write the reference pages into a folder
    #[command(hide = true)]
    Reference {
        /// The folder
        folder: PathBuf,
    },
}

/// Which documents.
#[derive(Debug, Clone, Args)]
pub struct Documents {
    /// Documents, or folders of documents [default: azud.toml and pipelines/]
    pub paths: Vec<PathBuf>,
    /// A document; the same as naming it
    #[arg(short, long = "config", value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// A folder of documents; the same as naming it
    #[arg(short = 'C', long = "config-dir", value_name = "FOLDER")]
    pub config_dir: Vec<PathBuf>,
}

impl Documents {
    /// Names none: those of the present folder.
    pub fn here() -> Self {
        Documents { paths: Vec::new(), config: Vec::new(), config_dir: Vec::new() }
    }

    /// Lists what to read.
    pub fn all(&self) -> Vec<PathBuf> {
        let named = self.paths.iter().chain(&self.config).chain(&self.config_dir);
        let named: Vec<PathBuf> = named.cloned().collect();
        if !named.is_empty() {
            return named;
        }
        let usual = ["azud.toml", "pipelines"].map(PathBuf::from);
        usual.into_iter().filter(|path| path.exists()).collect()
    }
}

/// `azud run`.
#[derive(Debug, Clone, Args)]
pub struct Run {
    #[command(flatten)]
    pub documents: Documents,
    /// How many worker threads [default: one less than the cores, at least one]
    #[arg(short, long)]
    pub threads: Option<usize>,
    /// Give up the state of this transform, whose document has changed too much for it
    #[arg(long, value_name = "ID")]
    pub drop_state: Vec<String>,
    /// Wait while another instance has the database, and take over when it is gone
    #[arg(long)]
    pub standby: bool,
    /// Let the exchanges that `azud connectors record` wrote to a folder answer this connector, and
    /// ask nobody for it
    #[arg(long, value_name = "NAME=FOLDER")]
    pub replay: Vec<String>,
    /// Accept that this sink lacks for ever what can be delivered from nowhere any more
    #[arg(long, value_name = "ID")]
    pub accept_gap: Vec<String>,
}

/// `azud validate`.
#[derive(Debug, Clone, Args)]
pub struct Validate {
    #[command(flatten)]
    pub documents: Documents,
    /// Look at the documents alone: no port, file or folder is tried
    #[arg(long)]
    pub no_environment: bool,
    /// Count warnings as faults
    #[arg(long)]
    pub deny_warnings: bool,
    /// The form of what is found
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// The form of diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// One JSON object a line
    Json,
    /// Annotations of GitHub's workflows
    Github,
    /// SARIF 2.1.0
    Sarif,
}

/// `azud test`.
#[derive(Debug, Clone, Args)]
pub struct Test {
    #[command(flatten)]
    pub documents: Documents,
    /// How often a test over event time is run again, its inputs interleaved and cut at random
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub shuffles: u64,
}

/// `azud graph`.
#[derive(Debug, Clone, Args)]
pub struct Graph {
    #[command(flatten)]
    pub documents: Documents,
    /// The language of the drawing
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub format: GraphFormat,
}

/// The language of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
}

/// `azud list`.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// `azud explain`.
#[derive(Debug, Clone, Args)]
pub struct Explain {
    /// A diagnostic's code, a component's type, or its kind and type (`sink file`)
    #[arg(required = true, num_args = 1..=2)]
    pub subject: Vec<String>,
}

/// `azud alerts`.
#[derive(Debug, Clone, Args)]
pub struct Alerts {
    /// Of this instance: the folder of its data [default: as the documents here say]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Of this rule
    #[arg(long)]
    pub rule: Option<String>,
    /// In this state
    #[arg(long, value_parser = ["firing", "resolved", "withdrawn"])]
    pub state: Option<String>,
    /// Of this severity or a higher one
    #[arg(long, value_parser = ["informational", "low", "medium", "high", "critical"])]
    pub severity: Option<String>,
    /// At most so many, the latest first
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// Write each alert as one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Which instance, and in which form to show what it has.
#[derive(Debug, Clone, Args)]
pub struct DataFolder {
    /// Of this instance: the folder of its data [default: as the documents here say]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// The form of what is shown
    #[arg(long, value_enum, default_value_t = Form::Human)]
    pub format: Form,
}

/// The form of what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Human,
    /// JSON: an object a line
    Json,
}

/// `azud dead-letters`.
#[derive(Debug, Clone, Subcommand)]
pub enum DeadLetters {
    /// List dead letters by component, source, reason and minute
    List(ListLetters),
    /// Show one group of them with samples
    Show(ShowLetters),
    /// Remove groups of them for good
    Discard(DiscardLetters),
}

/// `azud dead-letters list`.
#[derive(Debug, Clone, Args)]
pub struct ListLetters {
    /// Those that this component could not go on with
    #[arg(long, value_name = "ID")]
    pub component: Option<String>,
    /// Those that this source took in
    #[arg(long, value_name = "ID")]
    pub source: Option<String>,
    /// Those that were set aside for this reason
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::name)))]
    pub reason: Option<String>,
    /// Those received in the last so much time (`90m`), or since then (`2026-03-01T10:00:00Z`)
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub since: Option<Since>,
    /// At most so many groups, the latest first
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    #[command(flatten)]
    pub data: DataFolder,
}

/// `azud dead-letters show`.
#[derive(Debug, Clone, Args)]
pub struct ShowLetters {
    /// The id of a group, or enough of its beginning
    pub id: String,
    /// How many letters to show, the first ones
    #[arg(long, default_value_t = 3)]
    pub samples: usize,
    #[command(flatten)]
    pub data: DataFolder,
}

/// `azud dead-letters discard`.
#[derive(Debug, Clone, Args)]
#[group(id = "which", args = ["ids", "component", "source", "all"])]
#[group(required = true, multiple = true)]
pub struct DiscardLetters {
    /// The ids of groups, or enough of their beginnings
    pub ids: Vec<String>,
    /// All that this component could not go on with
    #[arg(long, value_name = "ID")]
    pub component: Option<String>,
    /// All that this source took in
    #[arg(long, value_name = "ID")]
    pub source: Option<String>,
    /// All that there are
    #[arg(long)]
    pub all: bool,
    /// Why they are not needed, for the audit
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,
    #[command(flatten)]
    pub data: DataFolder,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// Then.
    Then(EventTime),
}

impl Since {
    fn read(text: &str) -> Result<Self, String> {
        let ago = parse_duration(text).map(Since::Ago);
        let since = ago.or_else(|| EventTime::from_rfc3339(text).map(Since::Then));
        since.ok_or_else(|| "write `90m`, `24h`, `7d` or `2026-03-01T10:00:00Z`".to_owned())
    }

    /// Gives the time, when it is `now`.
    pub fn before(self, now: EventTime) -> EventTime {
        match self {
            Since::Ago(span) => now.saturating_sub(span),
            Since::Then(time) => time,
        }
    }
}

/// `azud log`.
#[derive(Debug, Clone, Subcommand)]
pub enum Log {
    /// Show what is in the log, and who needs it still
    Inspect(DataFolder),
    /// Read all of the log against its checksums, and show what is damaged
    Verify(DataFolder),
}

/// `azud checkpoint`.
#[derive(Debug, Clone, Subcommand)]
pub enum Checkpoint {
    /// List the checkpoints of all pipelines
    List(DataFolder),
    /// Show what the newest checkpoint of a pipeline holds
    Inspect(InspectCheckpoint),
}

/// `azud checkpoint inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectCheckpoint {
    /// The pipeline [default: all]
    pub pipeline: Option<String>,
    #[command(flatten)]
    pub data: DataFolder,
}

/// `azud health`.
#[derive(Debug, Clone, Args)]
pub struct Health {
    /// Of this instance: the folder of its data [default: as the documents here say]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Ask at this address, without TLS, and not by the data folder
    #[arg(long, conflicts_with = "data_dir")]
    pub address: Option<std::net::SocketAddr>,
}
