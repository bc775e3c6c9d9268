//! The instance: what holds for all pipelines of one process.

use super::backends::{self, SecretBackendSpec};
use super::files::Documents;
use super::places::Places;
use super::{SECTIONS, vector};
use crate::component::{
    Confidential, Default as OptionDefault, OptionKind, OptionSpec, Options, parse_duration,
};
use crate::diagnostic::{Checker, Diagnostic, codes, nearest};
use crate::document::{Entry, Table, Value};
use crate::fill::{self, Lookup};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The folder of an instance's data when the documents name none.
pub const DATA_DIR: &str = ".azud/data";

/// What holds for all pipelines: the settings at the top of `azud.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where dead letters, the store and keys are kept.
    pub data_dir: PathBuf,
    /// The database; `None` is a SQLite file in `data_dir`.
    pub database: Option<DatabaseAddress>,
    /// The time zone of times without one: an IANA name or an offset.
    pub timezone: String,
    /// Where the API listens, unless it is switched off.
    pub api_address: Option<SocketAddr>,
    /// What it shows of itself there.
    pub api_tls: Option<ApiTls>,
    /// How many workers; `None` leaves it to the machine.
    pub threads: Option<usize>,
    /// How long a stop waits for what was taken in to be delivered.
    pub shutdown_timeout: Duration,
    /// The environment variables that `${…}` may read.
    pub environment: Vec<String>,
    /// How many bytes of each source are kept in memory.
    pub intake_bytes: usize,
    /// How what is taken in is kept on disk; `None` keeps it in memory only.
    pub log: Option<LogSettings>,
    /// Whether senders are answered when every sink has their records, and not when they are on
    /// disk.
    pub acknowledge_delivered: bool,
    /// How often a pipeline makes a checkpoint.
    pub checkpoint_interval: Duration,
    /// How much a pipeline may have taken and not yet delivered, in bytes.
    pub credit_bytes: usize,
    /// The budget of each pipeline's dead letters, in bytes.
    pub dead_letter_bytes: u64,
    /// Where the secrets are kept that documents name, beside the database.
    pub secret_backends: Vec<SecretBackendSpec>,
    /// Where the master key is.
    pub master_key: MasterKeyPlace,
    /// How long rows of the database are kept.
    pub retention: Retention,
}

/// How long rows of the database are kept, by table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Alerts that are resolved or withdrawn, since they were revised last.
    pub alerts: Duration,
    /// Who did what.
    pub audit_log: Duration,
    /// Changes of the status of connectors.
    pub connector_status_history: Duration,
    /// Groups of dead letters that were discarded or lost.
    pub dead_letters: Duration,
}

/// What is younger stays, whatever the documents say: an hour is for tests, and a slip of the pen
/// should not cost a year.
const RETENTION_MIN: Duration = Duration::from_secs(3_600);

/// The files of what the API shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTls {
    /// The certificate, with those between it and its authority (PEM).
    pub crt_file: PathBuf,
    /// Its key (PEM).
    pub key_file: PathBuf,
}

/// Where the master key is, which all that is secret in the database hangs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeyPlace {
    /// In this file; it is made at the first start.
    File(PathBuf),
    /// In this environment variable, in Base64.
    Environment(String),
    /// In Vault, in Base64.
    Vault(Confidential),
    /// In AWS Secrets Manager, in Base64.
    AwsSecretsManager(Confidential),
}

/// The file of the master key in `data_dir`, when the documents name none.
pub const MASTER_KEY: &str = "master.key";

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How many bytes it may have.
    pub max_bytes: u64,
    /// How long it is kept behind what is delivered.
    pub retain: Duration,
}

/// Where the database is, as it was written. Its text may hold a password, so it shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    /// `postgres://…`, `postgresql://…` or `sqlite:…`.
    pub url: String,
    /// Used instead of a password in the URL.
    pub password: Option<Confidential>,
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseAddress")
    }
}

/// What a URL of a database may begin with.
const DATABASE_SCHEMES: &[&str] = &["postgres://", "postgresql://", "sqlite:"];

/// The settings of an instance, sorted.
pub const INSTANCE_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "api",
        kind: OptionKind::Table(&[
            OptionSpec {
                name: "address",
                kind: OptionKind::SocketAddress,
                default: OptionDefault::Value("\"127.0.0.1:8686\""),
                summary: "Where the API listens. On loopback whoever is on the machine may look; \
                          every change, and all from elsewhere but `/health` and whether it is \
                          ready, needs a token (`azud tokens`). Off loopback it needs `tls`.",
            },
            OptionSpec {
                name: "enabled",
                kind: OptionKind::Boolean,
                default: OptionDefault::Value("true"),
                summary: "Whether it listens on `address`. Commands on the machine ask through a \
                          socket in `data_dir` in any case.",
            },
            OptionSpec {
                name: "tls",
                kind: OptionKind::Table(&[
                    OptionSpec {
                        name: "crt_file",
                        kind: OptionKind::Path,
                        default: OptionDefault::None,
                        summary: "The certificate (PEM), with those between it and its authority. \
                                  It is read again when the file changes.",
                    },
                    OptionSpec {
                        name: "enabled",
                        kind: OptionKind::Boolean,
                        default: OptionDefault::Value("true"),
                        summary: "`false` says that a proxy before it has TLS: tokens come to it \
                                  as they are.",
                    },
                    OptionSpec {
                        name: "key_file",
                        kind: OptionKind::Path,
                        default: OptionDefault::None,
                        summary: "The key (PEM) of `crt_file`.",
                    },
                ]),
                default: OptionDefault::None,
                summary: "TLS 1.2 and 1.3.",
            },
        ]),
        default: OptionDefault::Value("{}"),
        summary: "The HTTP API: `/health`, `/ready`, `/metrics`, `/api/v1`.",
    },
    OptionSpec {
        name: "checkpoint",
        kind: OptionKind::Table(&[OptionSpec {
            name: "interval",
            kind: OptionKind::Duration,
            default: OptionDefault::Value("\"10s\""),
            summary: "How often each pipeline makes one. A restart repeats at most about so much.",
        }]),
        default: OptionDefault::Value("{}"),
        summary: "What a restart goes on from.",
    },
    OptionSpec {
        name: "credit_bytes",
        kind: OptionKind::Bytes { min: 1 << 20, max: 1 << 36 },
        default: OptionDefault::Value("\"16MiB\""),
        summary: "How much a pipeline may have taken and not yet delivered. Without credit it \
                  takes nothing more.",
    },
    OptionSpec {
        name: "data_dir",
        kind: OptionKind::Path,
        default: OptionDefault::Value("\".azud/data\""),
        summary: "The folder of everything that outlives the process: the log, checkpoints, dead \
                  letters, the store, keys.",
    },
    OptionSpec {
        name: "database",
        kind: OptionKind::Table(&[
            OptionSpec {
                name: "password",
                kind: OptionKind::Confidential,
                default: OptionDefault::None,
                summary: "The password of the user in `url`. It may name a secret of any backend \
                          but `azud`, which is in this very database.",
            },
            OptionSpec {
                name: "url",
                kind: OptionKind::Text,
                default: OptionDefault::None,
                summary: "`postgres://user@host:5432/database`, with the parameters of libpq \
                          behind `?` (`sslmode=verify-full`, `sslrootcert=…`), or `sqlite:` and a \
                          path. Without it, the file `azud.db` in `data_dir`.",
            },
        ]),
        default: OptionDefault::Value("{}"),
        summary: "Where alerts and what else must not be forgotten are kept. A PostgreSQL \
                  database serves one instance at a time; connect to it directly, because a \
                  pooler that changes sessions loses our lock.",
    },
    OptionSpec {
        name: "dead_letters",
        kind: OptionKind::Table(&[OptionSpec {
            name: "max_bytes",
            kind: OptionKind::Bytes { min: 1 << 20, max: 1 << 50 },
            default: OptionDefault::Value("\"1GiB\""),
            summary: "How much of them is kept for each pipeline. Then it waits, until some are \
                      discarded (`azud dead-letters discard`), or segments below `dead_letters` \
                      in `data_dir` are moved away.",
        }]),
        default: OptionDefault::Value("{}"),
        summary: "Records that were set aside, with the reason.",
    },
    OptionSpec {
        name: "intake",
        kind: OptionKind::Table(&[
            OptionSpec {
                name: "acknowledge",
                kind: OptionKind::OneOf(&[
                    ("logged", "when its records are on this machine's disk"),
                    ("delivered", "when every sink has confirmed them, or has them in its spill"),
                ]),
                default: OptionDefault::Value("\"logged\""),
                summary: "When a sender that can be answered is told that its records are safe.",
            },
            OptionSpec {
                name: "durability",
                kind: OptionKind::OneOf(&[
                    ("disk", "what is taken in is written to a log before anything comes of it"),
                    (
                        "memory",
                        "there is no log: a crash loses what was not delivered, and the \
                                state of windows and alerts; senders are answered on delivery",
                    ),
                ]),
                default: OptionDefault::Value("\"disk\""),
                summary: "Whether what is taken in survives a crash.",
            },
            OptionSpec {
                name: "max_bytes",
                kind: OptionKind::Bytes { min: 1 << 26, max: 1 << 50 },
                default: OptionDefault::Value("\"8GiB\""),
                summary: "How large the log may be. When so much waits to be delivered, the \
                          `when_full` of the sources applies.",
            },
            OptionSpec {
                name: "memory_bytes",
                kind: OptionKind::Bytes { min: 1 << 20, max: 1 << 36 },
                default: OptionDefault::Value("\"8MiB\""),
                summary: "How much of each source is kept in memory. What a pipeline is farther \
                          behind it reads from the log; without a log its `when_full` applies.",
            },
            OptionSpec {
                name: "retain",
                kind: OptionKind::Duration,
                default: OptionDefault::Value("\"24h\""),
                summary: "How long the log is kept, compressed, behind what is delivered, within \
                          `max_bytes`.",
            },
        ]),
        default: OptionDefault::Value("{}"),
        summary: "The way in: the log of what was taken in, below `log` in `data_dir`.",
    },
    OptionSpec {
        name: "keys",
        kind: OptionKind::Table(&[OptionSpec {
            name: "master",
            kind: OptionKind::Table(MASTER_OPTIONS),
            default: OptionDefault::Value("{}"),
            summary: "The master key. Whoever has it and the database can read every secret in it; \
                      without it nobody can.",
        }]),
        default: OptionDefault::Value("{}"),
        summary: "What the secrets in the database are sealed with.",
    },
    OptionSpec {
        name: "limits",
        kind: OptionKind::Table(&[OptionSpec {
            name: "environment",
            kind: OptionKind::List(&OptionKind::Text),
            default: OptionDefault::Value("[]"),
            summary: "The only environment variables that `${…}` may read.",
        }]),
        default: OptionDefault::Value("{}"),
        summary: "What documents may do.",
    },
    OptionSpec {
        name: "retention",
        kind: OptionKind::Table(RETENTION_OPTIONS),
        default: OptionDefault::Value("{}"),
        summary: "How long rows of the database are kept, by table, at least an hour. What is older \
                  is removed every hour, some hundred rows at a time.",
    },
    backends::SECRET,
    OptionSpec {
        name: "shutdown_timeout",
        kind: OptionKind::Duration,
        default: OptionDefault::Value("\"60s\""),
        summary: "How long a stop waits for what was taken in to be delivered.",
    },
    OptionSpec {
        name: "threads",
        kind: OptionKind::Integer { min: 1, max: 1024 },
        default: OptionDefault::None,
        summary: "How many workers. Without it one less than the cores, at least one.",
    },
    OptionSpec {
        name: "timezone",
        kind: OptionKind::TimeZone,
        default: OptionDefault::Value("\"UTC\""),
        summary: "The time zone of times that name none.",
    },
];

/// The options of `keys.master`.
const MASTER_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "key",
        kind: OptionKind::Confidential,
        default: OptionDefault::None,
        summary: "The secret that it is, of `vault` and `aws_secrets_manager`: \
                  `SECRET[vault.azud/keys#master]`, Base64 of 32 bytes. It is read at the start.",
    },
    OptionSpec {
        name: "name",
        kind: OptionKind::Text,
        default: OptionDefault::None,
        summary: "The environment variable, of `env`: Base64 of 32 bytes.",
    },
    OptionSpec {
        name: "path",
        kind: OptionKind::Path,
        default: OptionDefault::None,
        summary: "The file, of `file`: 32 bytes or their Base64, which only its owner may read. \
                  Without it `master.key` in `data_dir`. It is made at the first start.",
    },
    OptionSpec {
        name: "type",
        kind: OptionKind::OneOf(&[
            ("aws_secrets_manager", "in AWS Secrets Manager, by a backend of `[secret]`"),
            ("env", "in an environment variable"),
            ("file", "in a file"),
            ("vault", "in Vault, by a backend of `[secret]`"),
        ]),
        default: OptionDefault::Value("\"file\""),
        summary: "Where it is.",
    },
];

/// The options of `retention`.
const RETENTION_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "alerts",
        kind: OptionKind::Duration,
        default: OptionDefault::Value("\"400d\""),
        summary: "Alerts that are resolved or withdrawn, with their revisions, since they were \
                  revised last. One that is firing stays.",
    },
    OptionSpec {
        name: "audit_log",
        kind: OptionKind::Duration,
        default: OptionDefault::Value("\"1095d\""),
        summary: "Who did what, by commands and by the API.",
    },
    OptionSpec {
        name: "connector_status_history",
        kind: OptionKind::Duration,
        default: OptionDefault::Value("\"90d\""),
        summary: "Changes of the status of connectors.",
    },
    OptionSpec {
        name: "dead_letters",
        kind: OptionKind::Duration,
        default: OptionDefault::Value("\"14d\""),
        summary: "Rows of dead letters that were discarded or lost, since then. Those that are held \
                  stay, with their files, until somebody discards them.",
    },
];

/// Fills `${…}` in all documents. What is allowed is read before, as it stands.
pub(super) fn fill(documents: &mut Documents, environment: Lookup<'_>, checker: &mut Checker) {
    let lists = documents.read.iter().filter_map(|file| {
        let limits = file.document.root.node("limits")?.as_table()?;
        limits.node("environment")?.as_array()
    });
    let names = lists.flatten().filter_map(|node| node.as_text());
    let allowed: Vec<String> = names.map(|text| text.text.clone()).collect();
    for file in &mut documents.read {
        fill::fill(&mut file.document, &allowed, environment, checker);
    }
}

/// Gathers the settings of all documents and checks them; says where they are written.
pub(super) fn check(documents: &Documents, checker: &mut Checker) -> (Instance, Places) {
    let mut table =
        Table { span: crate::diagnostic::Span { file: 0, start: 0, end: 0 }, entries: Vec::new() };
    for file in &documents.read {
        for entry in &file.document.root.entries {
            let key = entry.key.as_str();
            if INSTANCE_OPTIONS.iter().any(|spec| spec.name == key) && !file.is_case {
                merge(&mut table, entry, &entry.key, checker);
            } else if file.is_case && key != "tests" {
                let title = format!("a case file holds tests only, not `{key}`");
                checker.report(Diagnostic::error(
                    codes::UNKNOWN_SECTION,
                    entry.key_span,
                    title,
                    "",
                ));
            } else if !SECTIONS.contains(&key) {
                unknown(entry, checker);
            }
        }
    }
    crate::component::check_options(&table, INSTANCE_OPTIONS, &[], "the instance", checker);
    check_api(&table, checker);
    check_database(&table, checker);
    check_master_key(&table, checker);
    check_retention(&table, checker);
    let options = Options::new("azud", &table, INSTANCE_OPTIONS);
    let secret_backends = backends::read(&options, checker);
    // What is faulty has been said; reading goes on with the defaults, so that all else can be
    // checked.
    let mut instance = read(&options).unwrap_or_else(|| {
        let nothing = Table { span: table.span, entries: Vec::new() };
        let defaults = Options::new("azud", &nothing, INSTANCE_OPTIONS);
        read(&defaults).expect("the defaults of the instance are right")
    });
    instance.secret_backends = secret_backends;
    (instance, Places::of(&table))
}

fn check_api(table: &Table, checker: &mut Checker) {
    let Some(node) = table.node("api") else { return };
    let Some(api) = node.as_table() else { return };
    let is_off = |table: &Table| {
        table.node("enabled").is_some_and(|node| matches!(node.value, Value::Boolean(false)))
    };
    let tls = api.node("tls").and_then(|node| node.as_table().map(|table| (node.span, table)));
    match tls {
        Some((span, tls)) if !is_off(tls) => {
            for (name, other) in [("crt_file", "key_file"), ("key_file", "crt_file")] {
                if tls.node(name).is_none() {
                    let title = format!("`api.tls` has no `{name}`");
                    let found = Diagnostic::error(codes::MISSING_OPTION, span, title, "");
                    checker.report(
                        found.help(match tls.node(other) {
                            Some(_) => format!("name the file: `{name} = \"/etc/azud/…\"`"),
                            None => {
                                "name both files, or write `enabled = false` if a proxy before \
                                 it has TLS"
                                    .to_owned()
                            }
                        }),
                    );
                }
            }
        }
        Some(_) => {}
        None => {
            let Some(address) = api.node("address") else { return };
            let text = address.as_text().and_then(|text| text.text.parse::<SocketAddr>().ok());
            if text.is_some_and(|address| !address.ip().is_loopback()) && !is_off(api) {
                let title = "the API is open to the network, and has no TLS";
                let why = "tokens would go over it as they are";
                let found = Diagnostic::error(codes::CONTRADICTION, address.span, title, why);
                checker.report(found.help(
                    "name a certificate in `api.tls`, or write `api.tls.enabled = false` if a \
                     proxy before it has TLS",
                ));
            }
        }
    }
}

fn check_retention(table: &Table, checker: &mut Checker) {
    let Some(retention) = table.node("retention").and_then(|node| node.as_table()) else { return };
    for spec in RETENTION_OPTIONS {
        let Some(node) = retention.node(spec.name) else { continue };
        let span = node.as_text().and_then(|text| parse_duration(&text.text));
        if span.is_some_and(|span| span < RETENTION_MIN) {
            let title = format!("`retention.{}` is shorter than an hour", spec.name);
            let found = Diagnostic::error(codes::OUT_OF_BOUNDS, node.span, title, "");
            checker.report(found.help("write at least \"1h\"; usual are days, as in \"90d\""));
        }
    }
}

fn check_database(table: &Table, checker: &mut Checker) {
    let Some(database) = table.node("database").and_then(|node| node.as_table()) else { return };
    let url = database.node("url");
    if let Some(text) = url.and_then(|node| node.as_text())
        && !DATABASE_SCHEMES.iter().any(|scheme| text.text.starts_with(scheme))
    {
        let title = "`database.url` names no database that we know";
        let found = Diagnostic::error(codes::MALFORMED_VALUE, text.span, title, "");
        checker.report(found.help("begin with `postgres://`, or with `sqlite:` and a path"));
    }
    if let Some(password) = database.node("password").filter(|_| url.is_none()) {
        let title = "`database.password` without `database.url`";
        let found = Diagnostic::error(codes::CONTRADICTION, password.span, title, "");
        checker.report(found.help("a SQLite file has no password; name the server in `url`"));
    }
}

fn check_master_key(table: &Table, checker: &mut Checker) {
    let Some(master) = table.node("keys").and_then(|node| node.as_table()?.node("master")) else {
        return;
    };
    let Some(options) = master.as_table() else { return };
    let kind = options.node("type").and_then(|node| node.as_text()).map(|text| &*text.text);
    let kept = matches!(kind, Some("vault" | "aws_secrets_manager"));
    let own = match kind {
        Some("env") => "name",
        _ if kept => "key",
        _ => "path",
    };
    for stranger in ["key", "name", "path"].into_iter().filter(|name| *name != own) {
        let Some(node) = options.node(stranger) else { continue };
        let title = format!("`keys.master.{stranger}` means nothing for this `type`");
        checker.report(Diagnostic::error(codes::CONTRADICTION, node.span, title, ""));
    }
    let names_one = |text: &str| Confidential::parse(text).is_ok_and(|key| key.open().is_none());
    let key = options.node("key").and_then(|node| node.as_text());
    if kept && !key.is_some_and(|key| names_one(&key.text)) {
        let title = "`keys.master` does not say which secret";
        let found = Diagnostic::error(codes::MISSING_OPTION, master.span, title, "");
        checker.report(found.help("name it: `key = \"SECRET[vault.azud/keys#master]\"`"));
    }
    if kind == Some("env") && options.node("name").is_none() {
        let title = "`keys.master` does not say which environment variable";
        let found = Diagnostic::error(codes::MISSING_OPTION, master.span, title, "");
        checker.report(found.help("name it: `{ type = \"env\", name = \"AZUD_MASTER_KEY\" }`"));
    }
}

/// Adds a setting; tables that several documents write parts of become one.
fn merge(into: &mut Table, entry: &Entry, path: &str, checker: &mut Checker) {
    let Some(known) = into.entries.iter_mut().find(|known| known.key == entry.key) else {
        into.entries.push(entry.clone());
        return;
    };
    if let (Value::Table(into), Value::Table(table)) = (&mut known.node.value, &entry.node.value) {
        for entry in &table.entries {
            merge(into, entry, &format!("{path}.{}", entry.key), checker);
        }
        return;
    }
    let title = format!("`{path}` of the instance is written twice");
    let found = Diagnostic::error(codes::INSTANCE_TWICE, entry.key_span, title, "here again");
    checker.report(found.label(known.key_span, "first written here"));
}

fn unknown(entry: &Entry, checker: &mut Checker) {
    let key = entry.key.as_str();
    if let Some(pointer) = vector::section(key) {
        let title = format!("`{key}` is not in this version");
        let found = Diagnostic::error(codes::NOT_IN_THIS_VERSION, entry.key_span, title, "");
        checker.report(found.help(pointer));
        return;
    }
    let title = format!("unknown section or setting `{key}`");
    let known = INSTANCE_OPTIONS.iter().map(|spec| spec.name).chain(SECTIONS);
    let found = match nearest(key, known) {
        Some(name) => {
            let label = format!("did you mean `{name}`?");
            Diagnostic::error(codes::UNKNOWN_SECTION, entry.key_span, title, label)
        }
        None => Diagnostic::error(codes::UNKNOWN_SECTION, entry.key_span, title, "").help(
            "a document has `sources`, `transforms`, `sinks` and `tests`, and settings of \
                   the instance",
        ),
    };
    checker.report(found);
}

fn api_tls(api: &Options<'_>) -> Option<ApiTls> {
    let tls = api.has("tls").then(|| api.table("tls")).flatten()?;
    let path = |name| tls.has(name).then(|| tls.path(name)).flatten();
    let is_on = tls.boolean("enabled")?;
    is_on.then_some(ApiTls { crt_file: path("crt_file")?, key_file: path("key_file")? })
}

fn read(options: &Options<'_>) -> Option<Instance> {
    let (api, database) = (options.table("api")?, options.table("database")?);
    let api_address =
        if api.boolean("enabled")? { Some(api.socket_address("address")?) } else { None };
    let size = |bytes: u64| usize::try_from(bytes).ok();
    let intake = options.table("intake")?;
    let on_disk = intake.one_of("durability")? == "disk";
    let log =
        LogSettings { max_bytes: intake.bytes("max_bytes")?, retain: intake.duration("retain")? };
    let threads = match options.has("threads") {
        true => Some(usize::try_from(options.integer("threads")?).ok()?),
        false => None,
    };
    let data_dir = options.path("data_dir")?;
    let kept = options.table("retention")?;
    let retention = Retention {
        alerts: kept.duration("alerts")?,
        audit_log: kept.duration("audit_log")?,
        connector_status_history: kept.duration("connector_status_history")?,
        dead_letters: kept.duration("dead_letters")?,
    };
    let master = options.table("keys")?.table("master")?;
    let master_key = match master.one_of("type")? {
        "env" => MasterKeyPlace::Environment(master.string("name").unwrap_or_default()),
        "vault" => MasterKeyPlace::Vault(master.confidential("key")?),
        "aws_secrets_manager" => MasterKeyPlace::AwsSecretsManager(master.confidential("key")?),
        _ => {
            let path = master.has("path").then(|| master.path("path")).flatten();
            MasterKeyPlace::File(path.unwrap_or_else(|| data_dir.join(MASTER_KEY)))
        }
    };
    Some(Instance {
        data_dir,
        master_key,
        database: database
            .string("url")
            .map(|url| DatabaseAddress { url, password: database.confidential("password") }),
        timezone: options.string("timezone")?,
        api_address,
        api_tls: api_tls(&api),
        threads,
        shutdown_timeout: options.duration("shutdown_timeout")?,
        environment: options.table("limits")?.strings("environment"),
        intake_bytes: size(intake.bytes("memory_bytes")?)?,
        log: on_disk.then_some(log),
        acknowledge_delivered: intake.one_of("acknowledge")? == "delivered",
        checkpoint_interval: options.table("checkpoint")?.duration("interval")?,
        credit_bytes: size(options.bytes("credit_bytes")?)?,
        dead_letter_bytes: options.table("dead_letters")?.bytes("max_bytes")?,
        secret_backends: Vec::new(),
        retention,
    })
}
