//! The table `tls` of those who connect.

use crate::failure::causes;
use azud_plan::component::{self, BuildError, OptionKind, OptionSpec, Options};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use reqwest::{Certificate, ClientBuilder, Identity};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The option `tls`.
pub const TLS: OptionSpec = OptionSpec {
    name: "tls",
    kind: OptionKind::Table(&[
        OptionSpec {
            name: "ca_file",
            kind: OptionKind::Path,
            default: component::Default::None,
            summary: "Certificates (PEM) of authorities that are trusted beside the system's.",
        },
        OptionSpec {
            name: "crt_file",
            kind: OptionKind::Path,
            default: component::Default::None,
            summary: "Our own certificate (PEM), with those between it and its authority.",
        },
        OptionSpec {
            name: "key_file",
            kind: OptionKind::Path,
            default: component::Default::None,
            summary: "The key (PEM) of `crt_file`.",
        },
        OptionSpec {
            name: "verify_certificate",
            kind: OptionKind::Boolean,
            default: component::Default::Value("true"),
            summary: "Whether the server must prove who it is. Without it anybody can listen.",
        },
        OptionSpec {
            name: "verify_hostname",
            kind: OptionKind::Boolean,
            default: component::Default::Value("true"),
            summary: "Whether the certificate must name the host. Without it only the \
                      authorities of `ca_file` are trusted.",
        },
    ]),
    default: component::Default::Value("{}"),
    summary: "TLS.",
};

/// The checked table `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    authorities: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    verify_certificate: bool,
    verify_hostname: bool,
}

impl std::default::Default for Tls {
    /// Trusts the authorities of the system, and has no certificate of its own.
    fn default() -> Self {
        Tls { authorities: None, identity: None, verify_certificate: true, verify_hostname: true }
    }
}

impl Tls {
    /// Makes one of what was checked elsewhere.
    pub fn new(
        authorities: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        verify_certificate: bool,
        verify_hostname: bool,
    ) -> Self {
        Tls { authorities, identity, verify_certificate, verify_hostname }
    }

    /// Checks the table of a component.
    pub fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Tls> {
        let tls = options.table("tls")?;
        let path = |name| tls.has(name).then(|| tls.path(name)).flatten();
        let mut contradicts = |name: &str, title: &str, help: &str| {
            let place = tls.span(name);
            let found = Diagnostic::error(codes::CONTRADICTION, place, title.to_owned(), "");
            checker.report(found.help(help));
        };
        let identity: Option<(PathBuf, PathBuf)> = match (path("crt_file"), path("key_file")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                let help = "name it in `tls.key_file`";
                contradicts("crt_file", "a certificate without its key", help);
                return None;
            }
            (None, Some(_)) => {
                let help = "name it in `tls.crt_file`";
                contradicts("key_file", "a key without its certificate", help);
                return None;
            }
        };
        let authorities = path("ca_file");
        let verify_certificate = tls.boolean("verify_certificate")?;
        let verify_hostname = tls.boolean("verify_hostname")?;
        if verify_certificate && !verify_hostname && authorities.is_none() {
            let title = "any certificate of any authority would do for any host";
            contradicts("verify_hostname", title, "name the authority in `tls.ca_file`");
            return None;
        }
        Some(Tls { authorities, identity, verify_certificate, verify_hostname })
    }

    /// Lists the files that are read.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.authorities.iter().chain(identity)
    }

    /// Reads the files, and puts what they say into a client.
    ///
    /// # Errors
    /// When a file cannot be read, or does not hold what it should.
    pub fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, BuildError> {
        builder = builder.tls_danger_accept_invalid_certs(!self.verify_certificate);
        if let Some(path) = &self.authorities {
            let authorities = Certificate::from_pem_bundle(&read(path)?);
            let authorities = authorities.map_err(|error| unusable(path, &error))?;
            builder = match self.verify_hostname {
                true => builder.tls_certs_merge(authorities),
                false => {
                    builder.tls_certs_only(authorities).tls_danger_accept_invalid_hostnames(true)
                }
            };
        }
        if let Some((certificate, key)) = &self.identity {
            let mut both = read(certificate)?;
            both.push(b'\n');
            both.extend(read(key)?);
            let identity = Identity::from_pem(&both);
            builder = builder.identity(identity.map_err(|error| unusable(certificate, &error))?);
        }
        Ok(builder)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|error| BuildError {
        message: format!("{} cannot be read: {error}", path.display()),
        help: None,
    })
}

fn unusable(path: &Path, error: &dyn Error) -> BuildError {
    BuildError {
        message: format!("{} cannot be used: {}", path.display(), causes(error)),
        help: Some("certificates and keys are in PEM".to_owned()),
    }
}
