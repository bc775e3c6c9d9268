//! Who calls, and what they may do.

use super::Problem;
use crate::api::Api;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use azud_plan::component::Secret;
use azud_store::{Deed, Registry, Role};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// The token of those who may read the data folder: its commands ask the instance with it.
#[derive(Clone, Debug)]
pub struct LocalToken(Secret);

impl LocalToken {
    /// Makes one, for as long as the instance runs, and writes it where only its user may read it.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn make(path: &Path) -> io::Result<Self> {
        let mut bytes = [0; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{text}")?;
        Ok(LocalToken(Secret::new(text)))
    }

    fn is(&self, token: &str) -> bool {
        // Compared by hash, so that the time it takes tells nothing of how much was right.
        let hash = |text: &str| azud_event::id::Id::of(&[text.as_bytes()]);
        hash(self.0.reveal()) == hash(token)
    }
}

/// Who calls.
#[derive(Clone)]
pub struct Caller {
    /// The name of the token, or `local`, or `anonymous`.
    pub name: String,
    /// What they may do.
    role: Role,
    address: SocketAddr,
    registry: Arc<Registry>,
}

impl Caller {
    /// Refuses who may do less.
    ///
    /// # Errors
    /// 401 for those who did not say who they are, else 403.
    pub fn needs(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        Err(match self.name.as_str() {
            "anonymous" => unknown(),
            _ => Problem::new(403, "this token may not do that").detail(format!(
                "it is one of a {}, and that needs {} {}",
                self.role.name(),
                if matches!(role, Role::Analyst | Role::Editor | Role::Admin) { "an" } else { "a" },
                role.name()
            )),
        })
    }

    /// Gives the connectors, and the store below them.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
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
        let deed = Deed {
            actor: self.name.clone(),
            address: Some(self.address.ip().to_string()),
            action: action.to_owned(),
            object,
            before: None,
            after,
            outcome,
        };
        self.registry.store().audit(&deed).await?;
        done
    }
}

fn unknown() -> Problem {
    Problem::new(401, "say who you are")
        .detail("send `Authorization: Bearer …`; `azud tokens create` makes a token")
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let ConnectInfo(address) = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .copied()
            .ok_or_else(|| Problem::new(500, "the connection has no address"))?;
        let Some(registry) = api.registry.clone() else {
            return Err(Problem::new(503, "this instance has no database")
                .detail("no component of its documents needs one"));
        };
        let caller = |name: String, role| Caller { name, role, address, registry };
        if let Some(header) = parts.headers.get(AUTHORIZATION) {
            let token = header.to_str().ok().and_then(|text| {
                let (scheme, token) = text.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let Some(token) = token else { return Err(unknown()) };
            if api.local.as_ref().is_some_and(|local| local.is(token)) {
                return Ok(caller("local".to_owned(), Role::Admin));
            }
            let Some(store) = api.registry.as_ref().map(|registry| registry.store()) else {
                return Err(unknown());
            };
            return match store.authenticate(token).await? {
                Some(row) => Ok(caller(row.name, row.role)),
                None => Err(Problem::new(401, "this token opens nothing")
                    .detail("it is wrong, over or revoked; `azud tokens` lists those there are")),
            };
        }
        // Looking is allowed to whoever is on this machine, as long as no page of a browser led
        // them here by a name of its own.
        let named_so = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let local = address.ip().is_loopback() && named_so.is_some_and(is_local_name);
        match local && api.on_loopback {
            true => Ok(caller("anonymous".to_owned(), Role::Viewer)),
            false => Err(unknown()),
        }
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
    use std::os::unix::fs::PermissionsExt;

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

    #[test]
    fn the_token_of_the_folder_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("local.token");
        let first = LocalToken::make(&path).unwrap();
        let second = LocalToken::make(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(second.is(text.trim()) && !first.is(text.trim()) && !second.is(""));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{second:?}").contains(text.trim()));
    }
}
