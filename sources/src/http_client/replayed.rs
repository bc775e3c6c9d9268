//! The secrets of a connector that a recording answers: nobody is shown them, so none is needed.

use azud_plan::component::{Secret, SecretError, SecretName, Secrets};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

/// Gives a text in place of every secret, and asks no backend for any.
pub(super) struct Replayed;

impl Secrets for Replayed {
    fn get<'a>(&'a self, _: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        ready(Ok(Secret::new("replayed".to_owned()))).boxed()
    }

    fn refused(&self, _: &SecretName) {}
}
