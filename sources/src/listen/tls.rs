//! TLS for those who listen: certificates are read before anything is taken in, and again when
//! their files change; handshakes fail with words.
//!
//! The cryptography is passed in explicitly (aws-lc): nothing here depends on a default of the
//! process that some other part may have set, or not.

use azud_plan::component::BuildError;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{InvalidMessage, RootCertStore, ServerConfig};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{Accept, TlsAcceptor};

/// The table `tls` of a listener, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and those that lead to its authority.
    pub crt_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// The authorities whose clients may connect; `None` when clients need no certificate.
    pub clients_of: Option<PathBuf>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl TlsSettings {
    /// Lists the files that it reads.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.crt_file, &self.key_file].into_iter().chain(&self.clients_of)
    }

    /// Reads the files and gives what takes connections: TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// When a file cannot be read, has not what it should have, or certificate and key do not
    /// belong together.
    pub fn acceptor(&self) -> Result<Acceptor, BuildError> {
        let stamps = self.stamps();
        let current = Mutex::new((stamps, self.read()?));
        Ok(Acceptor { settings: self.clone(), current })
    }

    /// Gives what tells whether a file has changed; nothing of one that is not there.
    fn stamps(&self) -> Vec<Stamp> {
        let stamp = |path: &PathBuf| {
            let known = path.metadata().ok()?;
            Some((known.modified().ok()?, known.len(), known.ino()))
        };
        self.files().map(stamp).collect()
    }

    fn read(&self) -> Result<Arc<ServerConfig>, BuildError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificates = certificates(&self.crt_file)?;
        let key = PrivateKeyDer::from_pem_file(&self.key_file).map_err(|error| {
            let help = "name a file with one key in PEM; a key with a passphrase has to be \
                        decrypted first: `openssl pkey -in encrypted.key -out plain.key`";
            refusal(&self.key_file, "a private key", &error, help)
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failure(&self.crt_file, &error))?;
        let builder = match &self.clients_of {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(authorities(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| failure(file, &error))?)
            }
        };
        let mut config =
            builder.with_single_cert(certificates, key).map_err(|error| BuildError {
                message: format!(
                    "the certificate in {} and the key in {} cannot be used: {error}",
                    self.crt_file.display(),
                    self.key_file.display()
                ),
                help: Some(
                    "the key must be the one that the first certificate was made for".into(),
                ),
            })?;
        // A sender that never reads, as senders of syslog do, leaves tickets unread; when it closes
        // with something unread its system resets the connection, and what it had sent and we had
        // not yet received is lost.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// When a file was written, how long it is, and which it is.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Takes connections by the certificates that are on disk.
pub struct Acceptor {
    settings: TlsSettings,
    /// What was read last, and of which files.
    current: Mutex<(Vec<Stamp>, Arc<ServerConfig>)>,
}

impl Acceptor {
    /// Begins a handshake, which is over when what this gives is.
    pub fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Accept<S> {
        TlsAcceptor::from(self.config()).accept(stream)
    }

    /// Gives what handshakes are made with. Files that were renewed are read again; as long as they
    /// do not fit together, what was read before serves.
    fn config(&self) -> Arc<ServerConfig> {
        let stamps = self.settings.stamps();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != stamps {
            current.0 = stamps;
            match self.settings.read() {
                Ok(config) => {
                    current.1 = config;
                    let file = self.settings.crt_file.display();
                    tracing::info!(%file, "the certificate was renewed");
                }
                Err(error) => tracing::warn!(
                    "a certificate that has changed is not used, and the one before it is: {}",
                    error.message
                ),
            }
        }
        Arc::clone(&current.1)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let help = "name a file in PEM: the certificate first, then those between it and the authority";
    let refused = |error: &pem::Error| refusal(file, "a certificate", error, help);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| refused(&error))?;
    if certificates.is_empty() {
        return Err(refused(&pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn authorities(file: &Path) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| failure(file, &error))?;
    }
    Ok(roots)
}

fn refusal(file: &Path, what: &str, error: &pem::Error, help: &str) -> BuildError {
    let message = match error {
        pem::Error::Io(error) => format!("cannot read {}: {error}", file.display()),
        pem::Error::NoItemsFound => format!("{} has no {}", file.display(), &what[2..]),
        error => format!("cannot read {what} from {}: {error}", file.display()),
    };
    BuildError { message, help: Some(help.to_owned()) }
}

fn failure(file: &Path, error: &dyn std::error::Error) -> BuildError {
    BuildError { message: format!("cannot use {}: {error}", file.display()), help: None }
}

/// Why a handshake came to nothing: the kind under which it is counted, and words for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of the error.
    pub kind: &'static str,
    /// What happened, and where to look.
    pub words: &'static str,
}

/// The handshake took longer than allowed.
pub const HANDSHAKE_TIMEOUT: Refusal = Refusal {
    kind: "handshake_timeout",
    words: "the client did not finish the TLS handshake in time",
};

/// Tells why a handshake failed.
pub fn refusal_of(error: &io::Error) -> Refusal {
    use rustls::Error as Tls;
    let (kind, words) = match error.get_ref().and_then(|error| error.downcast_ref::<Tls>()) {
        Some(Tls::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )) => (
            "handshake_plaintext",
            "the client does not speak TLS: it probably sends plain text; enable TLS there, or \
             let it send to a listener without `tls`",
        ),
        Some(Tls::NoCertificatesPresented) => (
            "handshake_no_certificate",
            "the client has no certificate, and `verify_certificate` asks for one",
        ),
        Some(Tls::InvalidCertificate(_)) => {
            ("handshake_certificate", "the certificate of the client is not valid under `ca_file`")
        }
        Some(Tls::PeerIncompatible(_)) => (
            "handshake_incompatible",
            "the client and this listener share no version or cipher of TLS",
        ),
        Some(Tls::AlertReceived(_)) => (
            "handshake_refused",
            "the client ended the handshake: it probably does not trust the certificate of this \
             listener",
        ),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            ("handshake_closed", "the client closed the connection before the handshake was over")
        }
        _ => ("handshake", "the TLS handshake failed"),
    };
    Refusal { kind, words }
}
