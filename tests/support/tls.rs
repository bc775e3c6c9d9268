//! Certificates for tests: an authority, a server, a client.

use super::files::Folder;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Writes `ca.crt`, `server.crt`, `server.key`, `client.crt` and `client.key` into a folder.
pub fn write_certificates(folder: &Folder) {
    let authority = Authority::new("test authority");
    folder.write("ca.crt", authority.certificate());
    for name in ["server", "client"] {
        authority.sign(folder, name, |_| ());
    }
}

/// Who signs certificates.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one of this name.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).unwrap().pem();
        Authority { certificate, issuer: Issuer::new(authority, key) }
    }

    /// Gives its own certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Writes `NAME.crt` and `NAME.key`: a certificate of this machine's names, unless it is made
    /// another.
    pub fn sign(&self, folder: &Folder, name: &str, make: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut certificate = CertificateParams::new(names).unwrap();
        certificate.distinguished_name.push(DnType::CommonName, name);
        make(&mut certificate);
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        folder.write(&format!("{name}.key"), key.serialize_pem());
        folder.write(&format!("{name}.crt"), certificate.pem());
    }
}
