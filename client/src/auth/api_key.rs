//! `api_key`: a key in a header or a parameter.

use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Http, Request};
use crate::url::set_query;
use azud_plan::component::Confidential;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderName;

pub(crate) struct ApiKey {
    pub(crate) key: Confidential,
    pub(crate) place: Place,
}

/// Where a key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header(HeaderName),
    Query(String),
}

impl Strategy for ApiKey {
    fn confidential(&self) -> Vec<&Confidential> {
        vec![&self.key]
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let key = keys.fill(&self.key, http).await?;
            match &self.place {
                Place::Header(name) => request.set_secret(name.clone(), key.reveal()),
                Place::Query(name) => {
                    set_query(&mut request.url, name, key.reveal());
                    Ok(())
                }
            }
        }
        .boxed()
    }
}
