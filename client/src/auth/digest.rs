//! `digest`: user and password by challenge (RFC 7616), with MD5 or SHA-256.

use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Answer, Http, Request};
use crate::sign::{hex, nonce, sha256};
use azud_plan::component::Confidential;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use md5::{Digest as _, Md5};
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use std::sync::{Mutex, PoisonError};

/// The kind.
pub(crate) struct Digest {
    pub(crate) user: Confidential,
    pub(crate) password: Confidential,
    pub(crate) challenge: Mutex<Option<Challenge>>,
}

/// What the other side wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Hash,
    session: bool,
    /// Whether `qop=auth` is offered; without it the form is that of RFC 2069.
    qop: bool,
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Md5,
    Sha256,
}

impl Hash {
    fn of(self, text: &str) -> String {
        match self {
            Hash::Md5 => hex(&Md5::digest(text.as_bytes())),
            Hash::Sha256 => hex(&sha256(text.as_bytes())),
        }
    }
}

impl Challenge {
    /// Reads a challenge; `None` when it is none that can be met.
    fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let mut challenge = Challenge {
            realm: String::new(),
            nonce: String::new(),
            opaque: None,
            algorithm: Hash::Md5,
            session: false,
            qop: false,
            count: 0,
        };
        for (name, value) in parameters(rest) {
            match name.as_str() {
                "realm" => challenge.realm = value,
                "nonce" => challenge.nonce = value,
                "opaque" => challenge.opaque = Some(value),
                "qop" => {
                    challenge.qop = value.split(',').any(|qop| qop.trim() == "auth");
                    if !challenge.qop {
                        return None;
                    }
                }
                "algorithm" => {
                    let lower = value.to_ascii_lowercase();
                    challenge.session = lower.ends_with("-sess");
                    challenge.algorithm = match lower.trim_end_matches("-sess") {
                        "md5" => Hash::Md5,
                        "sha-256" => Hash::Sha256,
                        _ => return None,
                    };
                }
                _ => {}
            }
        }
        (!challenge.nonce.is_empty()).then_some(challenge)
    }

    /// Gives the value of `Authorization` for a request.
    fn answer(&self, method: &str, uri: &str, (user, password): (&str, &str), own: &str) -> String {
        let Challenge { realm, nonce, opaque, algorithm, session, qop, count } = self;
        let hash = |text: String| algorithm.of(&text);
        let mut one = hash(format!("{user}:{realm}:{password}"));
        if *session {
            one = hash(format!("{one}:{nonce}:{own}"));
        }
        let two = hash(format!("{method}:{uri}"));
        let count = format!("{count:08x}");
        let response = match qop {
            true => hash(format!("{one}:{nonce}:{count}:{own}:auth:{two}")),
            false => hash(format!("{one}:{nonce}:{two}")),
        };
        let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let name = match algorithm {
            Hash::Md5 => "MD5",
            Hash::Sha256 => "SHA-256",
        };
        let suffix = if *session { "-sess" } else { "" };
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", \
             algorithm={name}{suffix}, response=\"{response}\"",
            quote(user),
            quote(realm),
            quote(nonce)
        );
        if *qop {
            value.push_str(&format!(", qop=auth, nc={count}, cnonce=\"{own}\""));
        }
        if let Some(opaque) = opaque {
            value.push_str(&format!(", opaque=\"{}\"", quote(opaque)));
        }
        value
    }
}

/// Reads `name=value, name="value, with commas"`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let behind = behind.trim_start();
        let mut value = String::new();
        let mut signs = behind.char_indices();
        if behind.starts_with('"') {
            signs.next();
            let mut end = behind.len();
            while let Some((at, sign)) = signs.next() {
                match sign {
                    '\\' => value.extend(signs.next().map(|(_, sign)| sign)),
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    sign => value.push(sign),
                }
            }
            rest = &behind[end..];
        } else {
            let end = behind.find(',').unwrap_or(behind.len());
            value.push_str(behind[..end].trim());
            rest = &behind[end..];
        }
        found.push((name, value));
    }
    found
}

impl Strategy for Digest {
    fn confidential(&self) -> Vec<&Confidential> {
        vec![&self.user, &self.password]
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let challenge = {
                let mut known = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(challenge) = known.as_mut() else { return Ok(()) };
                challenge.count += 1;
                challenge.clone()
            };
            let user = keys.fill_open(&self.user, http).await?;
            let password = keys.fill(&self.password, http).await?;
            let uri = match request.url.query() {
                Some(query) => format!("{}?{query}", request.url.path()),
                None => request.url.path().to_owned(),
            };
            let who = (user.reveal(), password.reveal());
            let value = challenge.answer(request.method.as_str(), &uri, who, &nonce(16));
            request.set_secret(AUTHORIZATION, &value)
        }
        .boxed()
    }

    fn refused<'a>(
        &'a self,
        answer: &'a Answer,
        _: &'a Request,
        _: &'a Http,
        _: &'a Keys,
    ) -> BoxFuture<'a, Result<bool, Failure>> {
        let values = answer.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges = values.filter_map(|value| Challenge::read(value.to_str().ok()?));
        // Of several, the strongest.
        let best = challenges.max_by_key(|challenge| challenge.algorithm == Hash::Sha256);
        let found = best.is_some();
        if found {
            *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = best;
        }
        async move { Ok(found) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_examples_of_the_rfc_come_out() {
        let opaque = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS";
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"{opaque}\""
            );
            let challenge = Challenge { count: 1, ..Challenge::read(&value).unwrap() };
            let own = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let who = ("Mufasa", "Circle of Life");
            let answer = challenge.answer("GET", "/dir/index.html", who, own);
            assert!(answer.contains(&format!("response=\"{expected}\"")), "{answer}");
            assert!(answer.contains("nc=00000001") && answer.contains(opaque));
        }
    }

    #[test]
    fn what_cannot_be_met_is_no_challenge() {
        for value in [
            "Basic realm=\"x\"",
            "Digest realm=\"x\"",
            "Digest nonce=\"x\", algorithm=SHA-512-256",
            "Digest nonce=\"x\", qop=\"auth-int\"",
            "Digest nonce=\"x",
            "Digest",
        ] {
            let read = Challenge::read(value);
            assert!(read.is_none() || value.ends_with("\"x"), "{value}");
        }
        let quoted = parameters(r#"realm="a, \"b\"", nonce=abc , qop="auth""#);
        let expected = [("realm", "a, \"b\""), ("nonce", "abc"), ("qop", "auth")]
            .map(|(a, b)| (a.into(), b.into()));
        assert_eq!(quoted, expected);
    }
}
