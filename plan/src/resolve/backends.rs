//! The table `[secret]`: where the secrets are kept that documents name.

use crate::component::{
    Confidential, Default as OptionDefault, OptionKind, OptionSpec, Options, Variant,
};
use crate::diagnostic::{Checker, Diagnostic, codes};
use crate::document::Node;
use std::path::PathBuf;
use std::time::Duration;

/// The backend that is always there: the table `credentials` of the database.
pub const CREDENTIALS: &str = "azud";

/// A checked entry of `[secret]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretBackendSpec {
    /// Its name, which stands before the dot of `SECRET[name.key]`.
    pub name: String,
    /// How long a secret counts as fresh.
    pub refresh: Duration,
    /// What it is.
    pub kind: SecretBackendKind,
}

/// What a backend is, with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretBackendKind {
    /// AWS Secrets Manager.
    AwsSecretsManager(AwsSecretsManager),
    /// A folder with a file for each secret.
    Directory {
        /// The folder; without it the one that systemd gives.
        path: Option<PathBuf>,
        /// Whether what follows the last visible sign of a file is left out.
        remove_trailing_whitespace: bool,
    },
    /// Variables of the environment.
    Env {
        /// What stands before a key in the name of its variable.
        prefix: String,
        /// The only keys; without it every one.
        allow: Option<Vec<String>>,
    },
    /// A program that is asked.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
        /// How long it may take.
        timeout: Duration,
        /// How it is asked.
        protocol: ExecProtocol,
    },
    /// A file that holds one JSON object.
    File {
        /// The file.
        path: PathBuf,
    },
    /// HashiCorp Vault or OpenBao, the engine KV version 2.
    Vault(Vault),
}

impl SecretBackendKind {
    /// Whether it is asked on this machine, so that other backends may depend on it.
    pub fn is_local(&self) -> bool {
        !matches!(self, SecretBackendKind::AwsSecretsManager(_) | SecretBackendKind::Vault(_))
    }
}

/// How an `exec` backend is asked: Vector's protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecProtocol {
    /// Version 1.0: the keys alone.
    V1,
    /// Version 1.1: with what the program is to ask.
    V1_1 {
        /// `type` of the request.
        backend_type: String,
        /// `config` of the request.
        backend_config: serde_json::Value,
    },
}

/// The options of `aws_secrets_manager`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSecretsManager {
    /// The region; without it that of the environment.
    pub region: Option<String>,
    /// Another address than the region's.
    pub endpoint: Option<String>,
    /// The one secret, a JSON object, whose fields the keys are; without it a key names a secret.
    pub secret_id: Option<String>,
    /// Who we are.
    pub auth: AwsAuth,
    /// How long a request may take.
    pub timeout: Duration,
    /// TLS.
    pub tls: SecretTls,
}

/// Who we are at AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsAuth {
    /// The id of the key and the key; without them those of the environment.
    pub keys: Option<(Confidential, Confidential)>,
    /// Goes with keys that are temporary.
    pub session_token: Option<Confidential>,
    /// The ARN of a role that is taken on.
    pub assume_role: Option<String>,
    /// What the role wants to hear.
    pub external_id: Option<String>,
    /// How the session of the role is called.
    pub session_name: String,
    /// Where roles are taken on, if not at the region's usual address.
    pub sts_endpoint: Option<String>,
}

/// The options of `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    /// `https://vault.example:8200`.
    pub address: String,
    /// Where the engine is mounted.
    pub mount: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// Who we are.
    pub auth: VaultAuth,
    /// How long a request may take.
    pub timeout: Duration,
    /// TLS.
    pub tls: SecretTls,
}

/// Who we are at Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultAuth {
    /// Whoever has this role.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role.
        role_id: Confidential,
        /// What proves it.
        secret_id: Kept,
    },
    /// Whoever has this token.
    Token(Kept),
}

/// A secret of a backend's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a file, which is read each time.
    File(PathBuf),
    /// In the document, or in another backend.
    Text(Confidential),
}

/// TLS of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretTls {
    /// Authorities that are trusted beside the system's.
    pub authorities: Option<PathBuf>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether the server must prove who it is.
    pub verify_certificate: bool,
    /// Whether its certificate must name the host.
    pub verify_hostname: bool,
}

const fn option(
    name: &'static str,
    kind: OptionKind,
    default: OptionDefault,
    summary: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, default, summary }
}

const REFRESH: OptionSpec = option(
    "refresh",
    OptionKind::Duration,
    OptionDefault::Value("\"5m\""),
    "How long a secret counts as fresh. After that it is read again while it is used; one that is \
     refused by who it is meant for is read again at once.",
);

const TIMEOUT: OptionSpec = option(
    "timeout_secs",
    OptionKind::Seconds,
    OptionDefault::Value("10"),
    "How long a request may take.",
);

const TLS: OptionSpec = option(
    "tls",
    OptionKind::Table(&[
        option(
            "ca_file",
            OptionKind::Path,
            OptionDefault::None,
            "Certificates (PEM) of authorities that are trusted beside the system's.",
        ),
        option(
            "crt_file",
            OptionKind::Path,
            OptionDefault::None,
            "Our own certificate (PEM), with those between it and its authority.",
        ),
        option("key_file", OptionKind::Path, OptionDefault::None, "The key (PEM) of `crt_file`."),
        option(
            "verify_certificate",
            OptionKind::Boolean,
            OptionDefault::Value("true"),
            "Whether the server must prove who it is. Without it anybody can be asked.",
        ),
        option(
            "verify_hostname",
            OptionKind::Boolean,
            OptionDefault::Value("true"),
            "Whether the certificate must name the host. Without it only the authorities of \
             `ca_file` are trusted.",
        ),
    ]),
    OptionDefault::Value("{}"),
    "TLS.",
);

const AWS: &[OptionSpec] = &[
    option(
        "auth",
        OptionKind::Table(&[
            option(
                "access_key_id",
                OptionKind::Confidential,
                OptionDefault::None,
                "The id of the key. Without it the environment says who we are: `AWS_ACCESS_KEY_ID` \
                 and `AWS_SECRET_ACCESS_KEY`, or `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`.",
            ),
            option(
                "assume_role",
                OptionKind::Text,
                OptionDefault::None,
                "The ARN of a role to take on.",
            ),
            option(
                "external_id",
                OptionKind::Text,
                OptionDefault::None,
                "What the role wants to hear.",
            ),
            option(
                "secret_access_key",
                OptionKind::Confidential,
                OptionDefault::None,
                "The key of `access_key_id`.",
            ),
            option(
                "session_name",
                OptionKind::Text,
                OptionDefault::Value("\"azud\""),
                "How the session of the role is called.",
            ),
            option(
                "session_token",
                OptionKind::Confidential,
                OptionDefault::None,
                "Goes with keys that are temporary.",
            ),
            option(
                "sts_endpoint",
                OptionKind::Text,
                OptionDefault::None,
                "Where roles are taken on. Without it the region's usual address.",
            ),
        ]),
        OptionDefault::Value("{}"),
        "Who we are.",
    ),
    option(
        "endpoint",
        OptionKind::Text,
        OptionDefault::None,
        "Another address than the region's: `https://vpce-….secretsmanager.eu-west-1.vpce.amazonaws.com`.",
    ),
    REFRESH,
    option(
        "region",
        OptionKind::Text,
        OptionDefault::None,
        "The region: `eu-west-1`. Without it `AWS_REGION` or `AWS_DEFAULT_REGION`.",
    ),
    option(
        "secret_id",
        OptionKind::Text,
        OptionDefault::None,
        "The name or ARN of one secret, a JSON object: a key is then the name of a field. Without it \
         a key is the name of a secret, and `name#field` a field of one that is a JSON object.",
    ),
    TIMEOUT,
    TLS,
];

const DIRECTORY: &[OptionSpec] = &[
    option(
        "path",
        OptionKind::Path,
        OptionDefault::None,
        "The folder. Without it the one that systemd gives (`LoadCredential=`), \
         `$CREDENTIALS_DIRECTORY`.",
    ),
    REFRESH,
    option(
        "remove_trailing_whitespace",
        OptionKind::Boolean,
        OptionDefault::Value("false"),
        "Whether what follows the last visible sign of a file, a line feed for one, is left out.",
    ),
];

const ENV: &[OptionSpec] = &[
    option(
        "allow",
        OptionKind::List(&OptionKind::Text),
        OptionDefault::None,
        "The only keys that may be asked for. Without it every one behind `prefix`.",
    ),
    option(
        "prefix",
        OptionKind::Text,
        OptionDefault::Value("\"\""),
        "What stands before a key in the name of its variable: with `AZUD_SECRET_`, \
         `SECRET[env.OKTA]` is `AZUD_SECRET_OKTA`.",
    ),
    REFRESH,
];

const EXEC: &[OptionSpec] = &[
    option(
        "command",
        OptionKind::List(&OptionKind::Text),
        OptionDefault::Required,
        "The program and its arguments. It is given a JSON object on standard input, \
         `{\"version\": \"1.0\", \"secrets\": [\"key\"]}`, and answers with \
         `{\"key\": {\"value\": \"…\", \"error\": null}}`.",
    ),
    option(
        "protocol",
        OptionKind::Tagged {
            tag: "version",
            variants: &[
                Variant { name: "v1", summary: "The keys alone.", options: &[] },
                Variant {
                    name: "v1_1",
                    summary: "With what the program is to ask.",
                    options: &[
                        option(
                            "backend_config",
                            OptionKind::Any,
                            OptionDefault::Required,
                            "`config` of the request.",
                        ),
                        option(
                            "backend_type",
                            OptionKind::Text,
                            OptionDefault::Required,
                            "`type` of the request.",
                        ),
                    ],
                },
            ],
        },
        OptionDefault::None,
        "How it is asked. Without it `v1`.",
    ),
    REFRESH,
    option(
        "timeout",
        OptionKind::Integer { min: 1, max: 600 },
        OptionDefault::Value("5"),
        "How long it may take, in seconds; then it is killed.",
    ),
];

const FILE: &[OptionSpec] = &[
    option(
        "path",
        OptionKind::Path,
        OptionDefault::Required,
        "The file: one JSON object from keys to texts.",
    ),
    REFRESH,
];

const VAULT: &[OptionSpec] = &[
    option(
        "address",
        OptionKind::Text,
        OptionDefault::Required,
        "Where it is: `https://vault.example:8200`.",
    ),
    option(
        "auth",
        OptionKind::Tagged {
            tag: "method",
            variants: &[
                Variant {
                    name: "approle",
                    summary: "A role and what proves it; logged in again before the token ends.",
                    options: &[
                        option(
                            "mount",
                            OptionKind::Text,
                            OptionDefault::Value("\"approle\""),
                            "Where the method is mounted.",
                        ),
                        option(
                            "role_id",
                            OptionKind::Confidential,
                            OptionDefault::Required,
                            "The role.",
                        ),
                        option(
                            "secret_id",
                            OptionKind::Confidential,
                            OptionDefault::None,
                            "What proves it.",
                        ),
                        option(
                            "secret_id_file",
                            OptionKind::Path,
                            OptionDefault::None,
                            "A file with it, read at each login.",
                        ),
                    ],
                },
                Variant {
                    name: "token",
                    summary: "A token, which is renewed where it can be.",
                    options: &[
                        option(
                            "token",
                            OptionKind::Confidential,
                            OptionDefault::None,
                            "The token.",
                        ),
                        option(
                            "token_file",
                            OptionKind::Path,
                            OptionDefault::None,
                            "A file with it, read again when it is refused: what Vault's agent \
                             writes.",
                        ),
                    ],
                },
            ],
        },
        OptionDefault::Required,
        "Who we are.",
    ),
    option(
        "mount",
        OptionKind::Text,
        OptionDefault::Value("\"secret\""),
        "Where the engine KV version 2 is mounted. A key is `path#field`.",
    ),
    option("namespace", OptionKind::Text, OptionDefault::None, "The namespace."),
    REFRESH,
    TIMEOUT,
    TLS,
];

/// The table `[secret]` of the instance.
pub(super) const SECRET: OptionSpec = option(
    "secret",
    OptionKind::Map(&OptionKind::Tagged {
        tag: "type",
        variants: &[
            Variant { name: "aws_secrets_manager", summary: "AWS Secrets Manager.", options: AWS },
            Variant {
                name: "directory",
                summary: "A folder with a file for each secret; the key is the file's name.",
                options: DIRECTORY,
            },
            Variant {
                name: "env",
                summary: "Variables of the environment of this process.",
                options: ENV,
            },
            Variant { name: "exec", summary: "A program that is asked.", options: EXEC },
            Variant { name: "file", summary: "A file that holds one JSON object.", options: FILE },
            Variant {
                name: "vault",
                summary: "HashiCorp Vault or OpenBao, the engine KV version 2.",
                options: VAULT,
            },
        ],
    }),
    OptionDefault::Value("{}"),
    "Where secrets are kept, by a name that stands before the dot of `SECRET[name.key]`. `azud`, the \
     table `credentials` of the database, is always there. A backend's own options may name secrets \
     of backends on this machine: `directory`, `env`, `exec`, `file`.",
);

/// Reads the table, and finds what its options alone cannot tell.
pub(super) fn read(options: &Options<'_>, checker: &mut Checker) -> Vec<SecretBackendSpec> {
    for entry in options.map("secret") {
        let name = entry.key.as_str();
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name == CREDENTIALS {
            let title = format!("the secret backend `{CREDENTIALS}` is there already");
            let found = Diagnostic::error(codes::DUPLICATE, entry.key_span, title, "");
            checker.report(found.help("it is the table `credentials` of the database"));
        } else if name.is_empty() || !name.bytes().all(letters) {
            let title = format!("`{name}` is no name of a secret backend");
            let found = Diagnostic::error(codes::BAD_ID, entry.key_span, title, "");
            checker.report(found.help("names are letters, digits, `_` and `-`"));
        }
    }
    let tables = options.map_of_tagged("secret");
    let read = tables.iter().filter_map(|(entry, kind, table)| {
        Some(SecretBackendSpec {
            name: entry.key.clone(),
            refresh: table.duration("refresh")?,
            kind: read_kind(kind, table, checker)?,
        })
    });
    read.collect()
}

fn read_kind(
    kind: &str,
    options: &Options<'_>,
    checker: &mut Checker,
) -> Option<SecretBackendKind> {
    Some(match kind {
        "aws_secrets_manager" => SecretBackendKind::AwsSecretsManager(aws(options, checker)?),
        "directory" => SecretBackendKind::Directory {
            path: written(options, "path", Options::path),
            remove_trailing_whitespace: options.boolean("remove_trailing_whitespace")?,
        },
        "env" => env(options, checker)?,
        "exec" => exec(options, checker)?,
        "file" => SecretBackendKind::File { path: options.path("path")? },
        _ => SecretBackendKind::Vault(vault(options, checker)?),
    })
}

/// Gives an option that has no default, if it was written.
fn written<'a, T>(
    options: &Options<'a>,
    name: &str,
    read: impl Fn(&Options<'a>, &str) -> Option<T>,
) -> Option<T> {
    if options.has(name) { read(options, name) } else { None }
}

fn contradiction(options: &Options<'_>, name: &str, title: &str, help: &str) -> Diagnostic {
    Diagnostic::error(codes::CONTRADICTION, options.span(name), title, "").help(help)
}

fn env(options: &Options<'_>, checker: &mut Checker) -> Option<SecretBackendKind> {
    let prefix = options.string("prefix")?;
    if prefix.is_empty() && !options.has("allow") {
        let title = "every variable of the environment would be a secret of this backend";
        let help = "name those that are with `allow`, or what they begin with with `prefix`";
        checker.report(contradiction(options, "prefix", title, help));
        return None;
    }
    let allow = options.has("allow").then(|| options.strings("allow"));
    Some(SecretBackendKind::Env { prefix, allow })
}

fn exec(options: &Options<'_>, checker: &mut Checker) -> Option<SecretBackendKind> {
    let command = options.strings("command");
    if command.first().is_none_or(String::is_empty) && options.has("command") {
        let title = "`command` names no program";
        checker.report(contradiction(options, "command", title, "its path is the first text"));
        return None;
    }
    let protocol = match options.tagged("protocol") {
        Some(("v1_1", protocol)) => ExecProtocol::V1_1 {
            backend_type: protocol.string("backend_type")?,
            backend_config: protocol.node("backend_config").and_then(json)?,
        },
        _ => ExecProtocol::V1,
    };
    let timeout = Duration::from_secs(u64::try_from(options.integer("timeout")?).ok()?);
    Some(SecretBackendKind::Exec { command, timeout, protocol })
}

fn json(node: &Node) -> Option<serde_json::Value> {
    serde_json::to_value(node.to_record_value()).ok()
}

fn aws(options: &Options<'_>, checker: &mut Checker) -> Option<AwsSecretsManager> {
    let auth = options.table("auth")?;
    let [id, key, token] = ["access_key_id", "secret_access_key", "session_token"]
        .map(|name| written(&auth, name, Options::confidential));
    for (name, needs) in [
        ("access_key_id", "secret_access_key"),
        ("secret_access_key", "access_key_id"),
        ("session_token", "access_key_id"),
    ] {
        if auth.has(name) && !auth.has(needs) {
            let title = format!("`auth.{name}` without `auth.{needs}`");
            checker.report(contradiction(&auth, name, &title, "they belong together"));
        }
    }
    let region = written(options, "region", Options::string);
    let sts_endpoint = written(&auth, "sts_endpoint", Options::string);
    if let Some(endpoint) = &sts_endpoint {
        check_address(endpoint, &auth, "sts_endpoint", checker)?;
    }
    let endpoint = written(options, "endpoint", Options::string);
    if let Some(endpoint) = &endpoint {
        check_address(endpoint, options, "endpoint", checker)?;
    }
    Some(AwsSecretsManager {
        region,
        endpoint,
        secret_id: written(options, "secret_id", Options::string),
        auth: AwsAuth {
            keys: id.zip(key),
            session_token: token,
            assume_role: written(&auth, "assume_role", Options::string),
            external_id: written(&auth, "external_id", Options::string),
            session_name: auth.string("session_name")?,
            sts_endpoint,
        },
        timeout: options.duration("timeout_secs")?,
        tls: tls(options, checker)?,
    })
}

fn vault(options: &Options<'_>, checker: &mut Checker) -> Option<Vault> {
    let address = options.string("address")?;
    check_address(&address, options, "address", checker)?;
    let (method, auth) = options.tagged("auth")?;
    let auth = match method {
        "approle" => VaultAuth::AppRole {
            mount: auth.string("mount")?,
            role_id: auth.confidential("role_id")?,
            secret_id: kept(&auth, "secret_id", "secret_id_file", checker)?,
        },
        _ => VaultAuth::Token(kept(&auth, "token", "token_file", checker)?),
    };
    Some(Vault {
        address: address.trim_end_matches('/').to_owned(),
        mount: options.string("mount")?.trim_matches('/').to_owned(),
        namespace: written(options, "namespace", Options::string),
        auth,
        timeout: options.duration("timeout_secs")?,
        tls: tls(options, checker)?,
    })
}

fn check_address(
    address: &str,
    options: &Options<'_>,
    name: &str,
    checker: &mut Checker,
) -> Option<()> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let is_sound = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default();
        !host.is_empty() && !rest.contains(['@', '?', '#']) && !rest.contains(char::is_whitespace)
    };
    if rest.is_some_and(is_sound) {
        return Some(());
    }
    let title = format!("`{name}` is no address of a server");
    let found = Diagnostic::error(codes::MALFORMED_VALUE, options.span(name), title, "");
    checker.report(found.help("write it as `https://vault.example:8200`, without credentials"));
    None
}

/// Reads a secret that stands either here or in a file.
fn kept(options: &Options<'_>, text: &str, file: &str, checker: &mut Checker) -> Option<Kept> {
    let (title, at) = match (options.has(text), options.has(file)) {
        (true, false) => return options.confidential(text).map(Kept::Text),
        (false, true) => return options.path(file).map(Kept::File),
        (true, true) => (format!("both `{text}` and `{file}`"), file),
        (false, false) => (format!("neither `{text}` nor `{file}`"), text),
    };
    let help = format!("write one of them; `{file}` keeps the secret out of the document");
    checker.report(contradiction(options, at, &title, &help));
    None
}

fn tls(options: &Options<'_>, checker: &mut Checker) -> Option<SecretTls> {
    let tls = options.table("tls")?;
    let [authorities, certificate, key] =
        ["ca_file", "crt_file", "key_file"].map(|name| written(&tls, name, Options::path));
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            let title = "a certificate without its key";
            checker.report(contradiction(&tls, "crt_file", title, "name it in `tls.key_file`"));
            return None;
        }
        (None, Some(_)) => {
            let title = "a key without its certificate";
            checker.report(contradiction(&tls, "key_file", title, "name it in `tls.crt_file`"));
            return None;
        }
    };
    let verify_certificate = tls.boolean("verify_certificate")?;
    let verify_hostname = tls.boolean("verify_hostname")?;
    if verify_certificate && !verify_hostname && authorities.is_none() {
        let title = "any certificate of any authority would do for any host";
        let help = "name the authority in `tls.ca_file`";
        checker.report(contradiction(&tls, "verify_hostname", title, help));
        return None;
    }
    Some(SecretTls { authorities, identity, verify_certificate, verify_hostname })
}
