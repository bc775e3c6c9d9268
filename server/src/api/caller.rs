//! Who calls, and what they may do.

use super::Api;
use super::problem::Problem;
use super::serve::Peer;
use crate::deeds::Doer;
use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use azud_store::{Registry, Role, TokenRow};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Who calls.
#[derive(Clone)]
pub struct Caller {
    /// As the trail names them.
    name: String,
    who: Who,
    address: Option<IpAddr>,
    registry: Arc<Registry>,
}

impl Caller {
    /// Refuses who may do less.
    ///
    /// # Errors
    /// 401 for those who did not say who they are, else 403.
    pub fn needs(&self, role: Role) -> Result<(), Problem> {
        let own = self.who.role();
        if own >= role {
            return Ok(());
        }
        Err(match self.who {
            Who::Anonymous => unknown(),
            _ => Problem::new(403, "this token may not do that").detail(format!(
                "it is one of {} {}, and that needs {} {}",
                article(own),
                own.name(),
                article(role),
                role.name()
            )),
        })
    }

    /// Gives the connectors, and the store below them.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Gives them as those who do something.
    pub fn doer(&self) -> Doer {
        Doer {
            store: Arc::clone(self.registry.store()),
            name: self.name.clone(),
            address: self.address.map(|address| address.to_string()),
        }
    }

    /// Notes what they did; what came of it is passed on.
    ///
    /// # Errors
    /// That of `done`, or of the database.
    pub async fn did<T>(
        &self,
        action: &str,
        object: String,
        after: Option<Value>,
        done: Result<T, Problem>,
    ) -> Result<T, Problem> {
        let outcome = match &done {
            Ok(_) => "done".to_owned(),
            Err(problem) => problem.title().to_owned(),
        };
        self.doer().note(action, &object, after, outcome).await?;
        done
    }
}

/// Who somebody is, by what they show.
#[derive(Clone)]
pub enum Who {
    /// Somebody with a token.
    Token(TokenRow),
    /// Who runs the instance, by the socket of commands.
    Local,
    /// Somebody on this machine.
    Anonymous,
}

impl Who {
    fn role(&self) -> Role {
        match self {
            Who::Token(row) => row.role,
            Who::Local => Role::Admin,
            Who::Anonymous => Role::Viewer,
        }
    }

    /// Tells them from all others: no name of a token is among these.
    pub fn identity(&self) -> String {
        match self {
            Who::Token(row) => format!("token {}", row.id),
            Who::Local => "local".to_owned(),
            Who::Anonymous => "anonymous".to_owned(),
        }
    }
}

/// The header by which a command says who runs it, for the trail. It is believed from those alone
/// who may do everything anyway.
pub const ACTOR: &str = "azud-actor";

/// How long what it says may be, in bytes.
const ACTOR_BYTES_MAX: usize = 128;

/// Names somebody for the trail.
fn name(who: &Who, parts: &Parts) -> String {
    match who {
        Who::Token(row) => row.name.clone(),
        Who::Anonymous => "anonymous".to_owned(),
        Who::Local => {
            let said = parts.headers.get(ACTOR).and_then(|said| said.to_str().ok());
            let said = said.filter(|said| !said.is_empty() && said.len() <= ACTOR_BYTES_MAX);
            said.unwrap_or("local").to_owned()
        }
    }
}

fn article(role: Role) -> &'static str {
    if matches!(role, Role::Analyst | Role::Editor | Role::Admin) { "an" } else { "a" }
}

fn unknown() -> Problem {
    Problem::new(401, "say who you are")
        .detail("send `Authorization: Bearer …`; `azud tokens create` makes a token")
}

/// What is said where documents need no database.
pub const NO_DATABASE: &str = "this instance has no database";

/// Whoever may look.
pub struct Viewer;

impl FromRequestParts<Api> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        // Every role may look.
        who(parts, api).await.map(|_| Viewer)
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Some(registry) = api.registry.clone() else {
            return Err(
                Problem::new(503, NO_DATABASE).detail("no component of its documents needs one")
            );
        };
        let who = who(parts, api).await?;
        let name = name(&who, parts);
        let address = match parts.extensions.get::<Peer>() {
            Some(Peer::Network(address)) => Some(*address),
            _ => None,
        };
        Ok(Caller { name, who, address, registry })
    }
}

/// Whoever may do at least as much as a role, which is known before anything else of the request is
/// looked at.
macro_rules! may {
    ($($name:ident $words:literal;)*) => {$(
        #[doc = concat!($words, ".")]
        pub struct $name(pub Caller);

        impl FromRequestParts<Api> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
                let caller = Caller::from_request_parts(parts, api).await?;
                caller.needs(Role::$name)?;
                Ok($name(caller))
            }
        }
    )*};
}

may! {
    Editor "Whoever may change connectors and credentials";
    Admin "Whoever may do everything";
}

/// Finds out who calls.
///
/// # Errors
/// A problem: nobody who may look, or the database does not answer.
pub async fn who(parts: &Parts, api: &Api) -> Result<Who, Problem> {
    let peer = parts.extensions.get::<Peer>().copied();
    if let Some(header) = parts.headers.get(AUTHORIZATION) {
        let token = header.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let Some(token) = token else { return Err(unknown()) };
        let Some(store) = api.registry.as_ref().map(|registry| registry.store()) else {
            return Err(unknown());
        };
        return match store.authenticate(token).await? {
            Some(row) => Ok(Who::Token(row)),
            None => Err(Problem::new(401, "this token opens nothing")
                .detail("it is wrong, over or revoked; `azud tokens` lists those there are")),
        };
    }
    match peer {
        Some(Peer::Local) => Ok(Who::Local),
        // Looking is allowed to whoever is on this machine, as long as no page of a browser led
        // them here by a name of its own.
        Some(Peer::Network(address)) if address.is_loopback() && api.on_loopback => {
            let named_so = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
            match named_so.is_some_and(is_local_name) {
                true => Ok(Who::Anonymous),
                false => Err(unknown()),
            }
        }
        _ => Err(unknown()),
    }
}

/// Whether a `Host` names this machine and no other.
fn is_local_name(host: &str) -> bool {
    let name = match host.parse::<SocketAddr>() {
        Ok(address) => return address.ip().is_loopback(),
        Err(_) => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || host.parse::<IpAddr>().or(name.parse()).is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_machine_or_another() {
        for host in ["127.0.0.1:8686", "localhost", "localhost:8686", "[::1]:8686", "127.0.0.1"] {
            assert!(is_local_name(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8686", "127.0.0.1.evil.example", "10.0.0.1", ""]
        {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
