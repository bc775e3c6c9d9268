//! `basic`: user and password (RFC 7617).

use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Http, Request};
use azud_plan::component::{Confidential, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::AUTHORIZATION;

pub(crate) struct Basic {
    pub(crate) user: Confidential,
    pub(crate) password: Confidential,
}

impl Strategy for Basic {
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
            let user = keys.fill_open(&self.user, http).await?;
            let password = keys.fill(&self.password, http).await?;
            set(request, http, user.reveal(), password.reveal())
        }
        .boxed()
    }
}

/// Puts user and password into a request.
pub(crate) fn set(
    request: &mut Request,
    http: &Http,
    user: &str,
    password: &str,
) -> Result<(), Failure> {
    let both = Secret::new(STANDARD.encode(format!("{user}:{password}")));
    http.redactor().keep(&both);
    request.set_secret(AUTHORIZATION, &format!("Basic {}", both.reveal()))
}
