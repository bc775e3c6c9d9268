//! `bearer`: a token (RFC 6750).

use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Http, Request};
use azud_plan::component::Confidential;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::AUTHORIZATION;

pub(crate) struct Bearer {
    pub(crate) token: Confidential,
}

impl Strategy for Bearer {
    fn confidential(&self) -> Vec<&Confidential> {
        vec![&self.token]
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let token = keys.fill(&self.token, http).await?;
            request.set_secret(AUTHORIZATION, &format!("Bearer {}", token.reveal()))
        }
        .boxed()
    }
}
