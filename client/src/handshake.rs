//! What a failed handshake of TLS means, and what to do about it.

use azud_plan::component::Cause;
use rustls::{AlertDescription, CertificateError, Error};

/// Says whose a failed handshake is, what happened, and what helps; `None` for what is no matter of
/// certificates and versions.
pub(crate) fn explain(error: &Error) -> Option<(Cause, String)> {
    let (cause, what, remedy) = match error {
        Error::InvalidCertificate(why) => {
            let (what, remedy) = certificate(why);
            (Cause::Unreachable, what, remedy)
        }
        Error::AlertReceived(alert) => alert_of(*alert)?,
        Error::InvalidMessage(_) => (
            Cause::Unreachable,
            "what answers does not speak TLS",
            "look at the port, or write `http://` if it has none",
        ),
        Error::PeerIncompatible(_) => (Cause::Unreachable, TOO_OLD.0, TOO_OLD.1),
        _ => return None,
    };
    Some((cause, format!("TLS: {what} ({error}): {remedy}")))
}

const TOO_OLD: (&str, &str) = (
    "the server has no version or cipher of TLS that is safe",
    "let it speak TLS 1.2 or 1.3, with a certificate of RSA or elliptic curves",
);

fn certificate(why: &CertificateError) -> (&'static str, &'static str) {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, Revoked, UnknownIssuer,
    };
    match why {
        Expired | ExpiredContext { .. } => (
            "the server's certificate has expired",
            "have it renewed there, or set this machine's clock right",
        ),
        NotValidYet | NotValidYetContext { .. } => (
            "the server's certificate is not valid yet",
            "set the clock right, of this machine or of who made it",
        ),
        NotValidForName | NotValidForNameContext { .. } => (
            "the server's certificate is for other names",
            "ask the server by a name that its certificate has, or have one made for this name",
        ),
        UnknownIssuer => (
            "the server's certificate is of an authority that is not trusted",
            "name the authority's certificate in `tls.ca_file`",
        ),
        Revoked => ("the server's certificate was revoked", "have another one made there"),
        _ => ("the server's certificate is no good", "have another one made there"),
    }
}

fn alert_of(alert: AlertDescription) -> Option<(Cause, &'static str, &'static str)> {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, DecryptError, HandshakeFailure, InsufficientSecurity, NoCertificate,
        ProtocolVersion, UnknownCA, UnrecognisedName, UnsupportedCertificate,
    };
    Some(match alert {
        CertificateRequired | NoCertificate => (
            Cause::Authentication,
            "the server wants a certificate of ours",
            "name one in `tls.crt_file`, and its key in `tls.key_file`",
        ),
        AccessDenied
        | BadCertificate
        | CertificateExpired
        | CertificateRevoked
        | CertificateUnknown
        | DecryptError
        | UnknownCA
        | UnsupportedCertificate => (
            Cause::Authentication,
            "the server does not take our certificate",
            "look at `tls.crt_file`: whether it has ended, and whether the server knows its \
             authority",
        ),
        HandshakeFailure => (
            Cause::Unreachable,
            "the server broke the handshake off",
            "it may want a certificate of ours (`tls.crt_file`), or another version of TLS",
        ),
        InsufficientSecurity | ProtocolVersion => (Cause::Unreachable, TOO_OLD.0, TOO_OLD.1),
        UnrecognisedName => (
            Cause::Unreachable,
            "the server does not know the name that it was asked by",
            "look at the host in the address",
        ),
        _ => return None,
    })
}
