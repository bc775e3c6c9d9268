//! `custom`: the whole value of `Authorization`, for schemes of a vendor's own (`SSWS …`).

use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Http, Request};
use azud_plan::component::Confidential;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::AUTHORIZATION;

pub(crate) struct Custom {
    pub(crate) value: Confidential,
}

impl Strategy for Custom {
    fn confidential(&self) -> Vec<&Confidential> {
        vec![&self.value]
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let value = keys.fill(&self.value, http).await?;
            request.set_secret(AUTHORIZATION, value.reveal())
        }
        .boxed()
    }
}
