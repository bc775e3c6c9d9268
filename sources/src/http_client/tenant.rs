//! The secrets of a row that runs a definition which it shares with others: their names have the
//! row's name and labels in them, `SECRET[azud.{{ connector }}_token]`.

use super::template::{Text, Values};
use azud_plan::component::{Connector, Secret, SecretError, SecretName, SecretUse, Secrets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// The secrets as a row names them.
pub(super) struct Tenant {
    secrets: Arc<dyn Secrets>,
    connector: Arc<dyn Connector>,
}

impl Tenant {
    pub(super) fn new(secrets: Arc<dyn Secrets>, connector: &Arc<dyn Connector>) -> Arc<Self> {
        Arc::new(Tenant { secrets, connector: Arc::clone(connector) })
    }

    /// Gives the name with what the row puts into it.
    ///
    /// # Errors
    /// When the row does not have a label, or one that may not stand in the name of a secret: it
    /// could lead to another's.
    fn name(&self, written: &SecretName) -> Result<SecretName, SecretError> {
        if !is_shared(&written.key) {
            return Ok(written.clone());
        }
        let labels = self.connector.labels();
        let plain = |value: &String| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !value.is_empty() && value.bytes().all(fits)
        };
        let fitting = labels.into_iter().filter(|(_, value)| plain(value)).collect();
        let connector = self.connector.name().to_owned();
        let values = Values { connector, labels: fitting, ..Values::default() };
        let key = Text::parse(&written.key).ok().and_then(|text| text.render(&values));
        let key = key.ok_or_else(|| {
            let row = self.connector.name();
            SecretError::Missing(format!(
                "the secret `{written}` names a label that `{row}` does not have, or whose value \
                 has other signs than letters, digits, `-`, `_` and `.`"
            ))
        })?;
        Ok(SecretName { backend: written.backend.clone(), key })
    }
}

impl Secrets for Tenant {
    fn get<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        async move { self.secrets.get(&self.name(name)?).await }.boxed()
    }

    fn refused(&self, name: &SecretName) {
        // Without a name nothing was given that could be refused.
        if let Ok(name) = self.name(name) {
            self.secrets.refused(&name);
        }
    }

    fn reread<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<(), SecretError>> {
        async move { self.secrets.reread(&self.name(name)?).await }.boxed()
    }

    fn used(&self, name: &SecretName, how: SecretUse<'_>) {
        if let Ok(name) = self.name(name) {
            self.secrets.used(&name, how);
        }
    }
}

/// Whether the name of a secret is made for each row.
pub(super) fn is_shared(key: &str) -> bool {
    key.contains("{{")
}

/// Reads the name of a secret that is made for each row.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check(key: &str) -> Result<(), String> {
    let text = Text::parse(key)?;
    match text.names().find(|name| !["connector", "label"].contains(name)) {
        Some(name) => Err(format!("the name of a secret is made before there is a `{name}`")),
        None => Ok(()),
    }
}
