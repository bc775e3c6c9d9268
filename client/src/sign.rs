//! Signatures and hashes: keys as people have them, tokens that are signed (RFC 7515, 7519).

use crate::failure::Failure;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use azud_plan::component::{Cause, Secret};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use zeroize::Zeroizing;

/// How a token is signed; the names are those of RFC 7518 and 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// All of them, as options name them.
pub const ALGORITHMS: &[(&str, &str)] = &[
    ("ES256", "ECDSA with P-256"),
    ("ES384", "ECDSA with P-384"),
    ("EdDSA", "Ed25519"),
    ("HS256", "HMAC with SHA-256"),
    ("HS384", "HMAC with SHA-384"),
    ("HS512", "HMAC with SHA-512"),
    ("PS256", "RSA PSS with SHA-256"),
    ("PS384", "RSA PSS with SHA-384"),
    ("PS512", "RSA PSS with SHA-512"),
    ("RS256", "RSA with SHA-256"),
    ("RS384", "RSA with SHA-384"),
    ("RS512", "RSA with SHA-512"),
];

impl Algorithm {
    /// Gives the algorithm of a name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Algorithm::Hs256,
            "HS384" => Algorithm::Hs384,
            "HS512" => Algorithm::Hs512,
            "RS256" => Algorithm::Rs256,
            "RS384" => Algorithm::Rs384,
            "RS512" => Algorithm::Rs512,
            "PS256" => Algorithm::Ps256,
            "PS384" => Algorithm::Ps384,
            "PS512" => Algorithm::Ps512,
            "ES256" => Algorithm::Es256,
            "ES384" => Algorithm::Es384,
            "EdDSA" => Algorithm::EdDsa,
            _ => return None,
        })
    }

    /// Gives its name.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// Whether its key is a shared secret rather than a private key.
    pub fn is_shared(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
    }

    /// Signs a message. A private key is PEM (PKCS#8, PKCS#1, SEC 1); a shared one is its bytes.
    ///
    /// # Errors
    /// When the key is not one of this algorithm.
    pub fn sign(self, key: &Secret, message: &[u8]) -> Result<Vec<u8>, Failure> {
        match self {
            Algorithm::Hs256 => Ok(mac(hmac::HMAC_SHA256, key.reveal().as_bytes(), message)),
            Algorithm::Hs384 => Ok(mac(hmac::HMAC_SHA384, key.reveal().as_bytes(), message)),
            Algorithm::Hs512 => Ok(mac(hmac::HMAC_SHA512, key.reveal().as_bytes(), message)),
            Algorithm::Rs256 => self.rsa(key, message, &RSA_PKCS1_SHA256),
            Algorithm::Rs384 => self.rsa(key, message, &RSA_PKCS1_SHA384),
            Algorithm::Rs512 => self.rsa(key, message, &RSA_PKCS1_SHA512),
            Algorithm::Ps256 => self.rsa(key, message, &RSA_PSS_SHA256),
            Algorithm::Ps384 => self.rsa(key, message, &RSA_PSS_SHA384),
            Algorithm::Ps512 => self.rsa(key, message, &RSA_PSS_SHA512),
            Algorithm::Es256 => self.ecdsa(key, message, &ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::Es384 => self.ecdsa(key, message, &ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::EdDsa => {
                let der = pem(key).ok_or_else(|| self.unusable())?;
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der.bytes);
                Ok(pair.map_err(|_| self.unusable())?.sign(message).as_ref().to_vec())
            }
        }
    }

    fn rsa(
        self,
        key: &Secret,
        message: &[u8],
        encoding: &'static dyn RsaEncoding,
    ) -> Result<Vec<u8>, Failure> {
        let der = pem(key).ok_or_else(|| self.unusable())?;
        let pair = match der.label.as_str() {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der.bytes),
            _ => RsaKeyPair::from_pkcs8(&der.bytes),
        };
        let pair = pair.map_err(|_| self.unusable())?;
        let mut signature = vec![0; pair.public_modulus_len()];
        let signed = pair.sign(encoding, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).map_err(|_| self.unusable())
    }

    fn ecdsa(
        self,
        key: &Secret,
        message: &[u8],
        algorithm: &'static EcdsaSigningAlgorithm,
    ) -> Result<Vec<u8>, Failure> {
        let der = pem(key).ok_or_else(|| self.unusable())?;
        let pair = EcdsaKeyPair::from_private_key_der(algorithm, &der.bytes);
        let pair = pair.map_err(|_| self.unusable())?;
        let signed = pair.sign(&SystemRandom::new(), message);
        signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| self.unusable())
    }

    fn unusable(self) -> Failure {
        let name = self.name();
        let message = format!("the private key is no key in PEM (without a password) of {name}");
        Failure::new(Cause::Authentication, message)
    }
}

struct Pem {
    label: String,
    bytes: Zeroizing<Vec<u8>>,
}

/// Reads the first private key of a text in PEM (RFC 7468). Keys that come out of JSON or an
/// environment variable often have `\n` where a line ends.
fn pem(key: &Secret) -> Option<Pem> {
    let text = Zeroizing::new(key.reveal().replace("\\n", "\n"));
    let mut rest = text.as_str();
    loop {
        let start = rest.find("-----BEGIN ")? + "-----BEGIN ".len();
        let (label, behind) = rest[start..].split_once("-----")?;
        let (body, behind) = behind.split_once("-----END ")?;
        if label.ends_with("PRIVATE KEY") && !body.contains(':') {
            let body: Zeroizing<String> =
                Zeroizing::new(body.chars().filter(|sign| !sign.is_whitespace()).collect());
            let bytes = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
            return Some(Pem { label: label.to_owned(), bytes });
        }
        rest = behind;
    }
}

/// Makes a signed token (RFC 7519) of a header and its claims.
///
/// # Errors
/// When the key is not one of the algorithm.
pub fn token(
    algorithm: Algorithm,
    key: &Secret,
    mut header: Value,
    claims: &Value,
) -> Result<Secret, Failure> {
    header["alg"] = algorithm.name().into();
    header["typ"] = "JWT".into();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut token = format!("{}.{}", encode(&header), encode(claims));
    let signature = algorithm.sign(key, token.as_bytes())?;
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(Secret::new(token))
}

/// Gives the code of a message under a key.
pub fn mac(algorithm: hmac::Algorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
}

/// Gives HMAC-SHA-256.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    mac(hmac::HMAC_SHA256, key, message)
}

/// Gives SHA-256.
pub fn sha256(message: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message).as_ref().to_vec()
}

/// Writes bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gives so many random bytes in hexadecimal digits.
pub fn nonce(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    // The system's source of randomness does not fail once the system runs.
    let filled = aws_lc_rs::rand::fill(&mut random);
    debug_assert!(filled.is_ok(), "there is randomness");
    hex(&random)
}
