//! Tokens of one use, kept with their connector, and exchanged by one at a time.

use super::poller::local;
use azud_client::{Failure, TokenStore};
use azud_plan::component::{Connector, Secret};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Who may exchange the token of a connector: one at a time, be it its poller or who tries it.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Turns {
    fn of(&self, connector: &str) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(connector.to_owned());
        Arc::clone(turn.or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    /// Waits until every exchange that is under way has ended.
    pub(super) async fn settled(&self) {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for turn in turns.into_values() {
            // They are never closed.
            let _ = turn.acquire().await;
        }
    }
}

/// Where the tokens of a connector are kept.
pub(super) struct Tokens {
    connector: Arc<dyn Connector>,
    turn: Arc<Semaphore>,
}

impl Tokens {
    pub(super) fn new(connector: &Arc<dyn Connector>, turns: &Turns) -> Self {
        let turn = turns.of(connector.name());
        Tokens { connector: Arc::clone(connector), turn }
    }
}

impl TokenStore for Tokens {
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, Failure>> {
        async move { self.connector.token(name).await.map_err(local) }.boxed()
    }

    fn keep<'a>(&'a self, name: &'a str, token: &'a Secret) -> BoxFuture<'a, Result<(), Failure>> {
        async move { self.connector.keep_token(name, token).await.map_err(local) }.boxed()
    }

    fn turn(&self) -> Arc<Semaphore> {
        Arc::clone(&self.turn)
    }
}
