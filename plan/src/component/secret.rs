//! Secrets: what a document names, `SECRET[backend.key]`, and never holds.

use super::Services;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What opens a reference in a document.
const OPENING: &str = "SECRET[";

/// A secret in the open. It shows nothing of itself, and its memory is wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: String) -> Self {
        Secret(Zeroizing::new(text))
    }

    /// Gives the text, for the one place that uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The name of a secret: `vault.okta/azud#private_key`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    /// The backend, as the table `[secret]` of the instance names it.
    pub backend: String,
    /// What the backend calls it; the form is the backend's.
    pub key: String,
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.backend, self.key)
    }
}

/// Text that may name secrets: `SSWS SECRET[azud.okta_token]`. What stands open in it may itself be
/// confidential, so it shows nothing but the names.
#[derive(Clone, PartialEq, Eq)]
pub struct Confidential(Vec<Part>);

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Open(String),
    Named(SecretName),
}

impl Confidential {
    /// Reads a text. What looks like a reference and has no backend or no key is an error, with its
    /// place in the text.
    ///
    /// # Errors
    /// The bytes of the reference that cannot be read.
    pub fn parse(text: &str) -> Result<Self, Range<usize>> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(found) = text[at..].find(OPENING) {
            let start = at + found;
            let inner = start + OPENING.len();
            let end = text[inner..].find(']').map(|length| inner + length);
            let name = end.and_then(|end| text[inner..end].split_once('.'));
            let (Some(end), Some((backend, key))) = (end, name) else {
                return Err(start..end.map_or(text.len(), |end| end + 1));
            };
            if backend.is_empty() || key.is_empty() {
                return Err(start..end + 1);
            }
            if start > at {
                parts.push(Part::Open(text[at..start].to_owned()));
            }
            parts.push(Part::Named(SecretName { backend: backend.into(), key: key.into() }));
            at = end + 1;
        }
        if at < text.len() {
            parts.push(Part::Open(text[at..].to_owned()));
        }
        Ok(Confidential(parts))
    }

    /// Gives the text when it names no secret.
    pub fn open(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Open(open)] => Some(open),
            _ => None,
        }
    }

    /// Gives the text with `stand_in` for every secret, to check its form. It may be confidential
    /// all the same.
    pub fn stand_in(&self, stand_in: &str) -> Secret {
        let text = self.0.iter().map(|part| match part {
            Part::Open(open) => open,
            Part::Named(_) => stand_in,
        });
        Secret::new(text.collect())
    }

    /// Lists the secrets that it names.
    pub fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.0.iter().filter_map(|part| match part {
            Part::Named(name) => Some(name),
            Part::Open(_) => None,
        })
    }

    /// Gives the text with every secret as it is now.
    ///
    /// # Errors
    /// That of the first secret that cannot be had.
    pub async fn fill(&self, secrets: &dyn Secrets) -> Result<Secret, SecretError> {
        let mut text = Zeroizing::new(String::new());
        for part in &self.0 {
            match part {
                Part::Open(open) => text.push_str(open),
                Part::Named(name) => text.push_str(secrets.get(name).await?.reveal()),
            }
        }
        Ok(Secret(text))
    }

    /// Notes that the other side refused what [`Confidential::fill`] gave.
    pub fn refused(&self, secrets: &dyn Secrets) {
        self.names().for_each(|name| secrets.refused(name));
    }

    /// Tells what came of the use of every secret that it names.
    pub fn used(&self, secrets: &dyn Secrets, how: SecretUse<'_>) {
        self.names().for_each(|name| secrets.used(name, how));
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names().map(SecretName::to_string)).finish()
    }
}

/// The secrets of the instance, a service of it ([`super::Services`]). A user asks each time it
/// needs one, and keeps none: so one that was rotated is used without a restart.
pub trait Secrets: Send + Sync {
    /// Gives a secret, from memory where it is fresh. A backend that is down does not take back
    /// what was read before.
    fn get<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>>;

    /// Notes that the other side refused a secret: it is read anew before it is given again, at
    /// most every few seconds.
    fn refused(&self, name: &SecretName);

    /// Reads a secret anew that was replaced, with every member of it (`name#member`), however
    /// fresh what is kept of them is: who asks from then on is given what it is now. Who keeps
    /// nothing has nothing to do.
    ///
    /// # Errors
    /// [`SecretError::Unavailable`] when it cannot be read; what was kept is given on until it can.
    fn reread<'a>(&'a self, _: &'a SecretName) -> BoxFuture<'a, Result<(), SecretError>> {
        ready(Ok(())).boxed()
    }

    /// Tells what came of the use of a secret, for people to see. Never waits; who keeps nothing
    /// of that does nothing.
    fn used(&self, name: &SecretName, how: SecretUse<'_>) {
        let _ = (name, how);
    }
}

/// What came of the use of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretUse<'a> {
    /// The other side took it.
    Taken,
    /// Something that lasts for a while, a token, was had for it.
    Refreshed,
    /// The other side refused it, also as it is now: its words, with no secret in them.
    Refused(&'a str),
}

/// The service under which components find the secrets of the instance.
pub struct SecretService(pub Arc<dyn Secrets>);

impl SecretService {
    /// Gives the secrets of an instance; where it has none, every name is missing.
    pub fn of(services: &Services) -> Arc<dyn Secrets> {
        match services.find::<SecretService>() {
            Some(service) => Arc::clone(&service.0),
            None => Arc::new(NoSecrets),
        }
    }
}

/// The secrets of an instance that has none.
struct NoSecrets;

impl Secrets for NoSecrets {
    fn get<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        let message = format!("there is no secret backend `{}`", name.backend);
        ready(Err(SecretError::Missing(message))).boxed()
    }

    fn refused(&self, _: &SecretName) {}
}

/// A place where secrets are kept: one entry of the table `[secret]`, or `azud`. It keeps nothing
/// in memory; that is for who asks it.
pub trait SecretBackend: Send + Sync {
    /// Reads a secret as it is now.
    ///
    /// # Errors
    /// Their text names the backend's place and the key, and says what was answered.
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>>;

    /// Tells what came of the use of a secret ([`Secrets::used`]). Never waits.
    fn used(&self, key: &str, how: SecretUse<'_>) {
        let _ = (key, how);
    }
}

/// Why a secret cannot be had. The text names it, and never holds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no such thing, or we may not read it: somebody must set it right.
    #[error("{0}")]
    Missing(String),
    /// The backend does not answer now.
    #[error("{0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Secrets for Echo {
        fn get<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
            ready(Ok(Secret::new(format!("<{name}>")))).boxed()
        }

        fn refused(&self, _: &SecretName) {}
    }

    fn filled(text: &str) -> String {
        let text = Confidential::parse(text).unwrap();
        text.fill(&Echo).now_or_never().unwrap().unwrap().reveal().to_owned()
    }

    #[test]
    fn secrets_take_their_places() {
        assert_eq!(filled(""), "");
        assert_eq!(filled("plain"), "plain");
        assert_eq!(filled("SECRET[a.b]"), "<a.b>");
        assert_eq!(filled("x SECRET[a.b/c#d.e] y SECRET[f.g]z"), "x <a.b/c#d.e> y <f.g>z");
    }

    #[test]
    fn what_is_no_name_is_told_with_its_place() {
        assert_eq!(Confidential::parse("x SECRET[a]"), Err(2..11));
        assert_eq!(Confidential::parse("SECRET[.b] y"), Err(0..10));
        assert_eq!(Confidential::parse("SECRET[a.] y"), Err(0..10));
        assert_eq!(Confidential::parse("x SECRET[a.b"), Err(2..12));
    }

    #[test]
    fn an_open_text_is_told_from_one_that_names_secrets() {
        let parse = |text| Confidential::parse(text).unwrap();
        assert_eq!((parse("").open(), parse("x").open()), (Some(""), Some("x")));
        assert_eq!(parse("x SECRET[a.b]").open(), None);
        assert_eq!(parse("x SECRET[a.b]/y").stand_in("0").reveal(), "x 0/y");
    }

    #[test]
    fn without_the_service_every_secret_is_missing() {
        let secrets = SecretService::of(&Services::default());
        let text = Confidential::parse("SECRET[a.b]").unwrap();
        let filled = text.fill(&*secrets).now_or_never().unwrap();
        let missing = SecretError::Missing("there is no secret backend `a`".to_owned());
        assert_eq!(filled.unwrap_err(), missing);
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let text = Confidential::parse("hidden SECRET[a.b]").unwrap();
        assert_eq!(format!("{text:?}"), r#"["a.b"]"#);
        assert_eq!(format!("{:?}", Secret::new("hidden".to_owned())), "***");
    }
}
