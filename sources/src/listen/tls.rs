//! TLS for listeners: certificates are read when the source is built, handshakes fail with words.
//!
//! The cryptography is passed in explicitly (aws-lc): nothing here depends on a default of the
//! process that some other part may have set, or not.

use azud_plan::component::BuildError;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{InvalidMessage, RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// The table `tls` of a listener, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// The certificate and those that lead to its authority.
    pub(crate) crt_file: PathBuf,
    /// Its private key.
    pub(crate) key_file: PathBuf,
    /// The authorities whose clients may connect; `None` when clients need no certificate.
    pub(crate) clients_of: Option<PathBuf>,
    /// How long a handshake may take.
    pub(crate) handshake_timeout: Duration,
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
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, BuildError> {
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
        Ok(TlsAcceptor::from(Arc::new(config)))
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
pub(crate) struct Refusal {
    /// The kind of the error.
    pub(crate) kind: &'static str,
    /// What happened, and where to look.
    pub(crate) words: &'static str,
}

/// The handshake took longer than allowed.
pub(crate) const HANDSHAKE_TIMEOUT: Refusal = Refusal {
    kind: "handshake_timeout",
    words: "the client did not finish the TLS handshake in time",
};

/// Tells why a handshake failed.
pub(crate) fn refusal_of(error: &io::Error) -> Refusal {
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
