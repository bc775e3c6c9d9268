//! `env`: variables of the environment of this process.

use crate::tell::missing;
use crate::wiped::bounded;
use azud_plan::component::{Secret, SecretBackend, SecretError};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use std::env::VarError;
use zeroize::Zeroizing;

/// The environment.
pub(crate) struct Env {
    name: String,
    prefix: String,
    allow: Option<Vec<String>>,
}

impl Env {
    /// Makes the backend of this name.
    pub fn new(name: String, prefix: String, allow: Option<Vec<String>>) -> Self {
        Env { name, prefix, allow }
    }

    fn find(&self, key: &str) -> Result<Secret, SecretError> {
        let missing = |why: &str| missing(&self.name, key, why);
        if self.allow.as_ref().is_some_and(|allow| !allow.iter().any(|allowed| allowed == key)) {
            return Err(missing("`allow` does not list it"));
        }
        let variable = format!("{}{key}", self.prefix);
        // The system's answer to a name with these is a panic.
        if variable.contains(['=', '\0']) {
            return Err(missing("no variable has such a name"));
        }
        match std::env::var(&variable).map(Zeroizing::new) {
            Ok(text) => bounded(&text).map_err(missing),
            Err(VarError::NotPresent) => Err(missing(&format!("{variable} is not set"))),
            Err(VarError::NotUnicode(_)) => Err(missing(&format!("{variable} is not UTF-8"))),
        }
    }
}

impl SecretBackend for Env {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        ready(self.find(key)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_is_given() {
        // Cargo sets some for its tests; a test may not set its own, because others read them.
        let backend = |prefix: &str, allow: Option<&str>| {
            let allow = allow.map(|name| vec![name.to_owned()]);
            Env::new("env".to_owned(), prefix.to_owned(), allow)
        };
        let name = env!("CARGO_PKG_NAME");
        let found = backend("CARGO_PKG_", None).find("NAME").unwrap();
        assert_eq!(found.reveal(), name);
        let told = |backend: Env, key: &str| backend.find(key).unwrap_err().to_string();
        let all = backend("CARGO_PKG_", None);
        let missing = "secret backend `env` has no `NONE` (CARGO_PKG_NONE is not set)";
        assert_eq!(told(all, "NONE"), missing);
        let listed = backend("", Some("CARGO_PKG_VERSION"));
        assert!(listed.find("CARGO_PKG_VERSION").is_ok());
        let missing = "secret backend `env` has no `CARGO_PKG_NAME` (`allow` does not list it)";
        assert_eq!(told(listed, "CARGO_PKG_NAME"), missing);
        assert!(backend("A_", None).find("a=b").is_err());
    }
}
