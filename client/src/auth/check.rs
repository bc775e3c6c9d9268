//! The check of the table `auth`: exactly the options of its strategy.

use super::api_key::{ApiKey, Place};
use super::aws::{Aws, Role, Session};
use super::basic::Basic;
use super::bearer::Bearer;
use super::custom::Custom;
use super::options::{SHAPES, names};
use super::{Auth, Keys, Strategy};
use azud_plan::component::{Confidential, Options};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use reqwest::Url;
use reqwest::header::HeaderName;

/// The checked table `auth`.
#[derive(Clone, Debug)]
pub struct AuthOptions(Kind);

#[derive(Clone, Debug)]
enum Kind {
    ApiKey { key: Confidential, place: Place },
    Aws(AwsOptions),
    Basic { user: Confidential, password: Confidential },
    Bearer { token: Confidential },
    Custom { value: Confidential },
}

#[derive(Clone, Debug)]
struct AwsOptions {
    access_key_id: Confidential,
    secret_access_key: Confidential,
    session_token: Option<Confidential>,
    region: String,
    service: String,
    role: Option<Role>,
}

impl AuthOptions {
    /// Checks the table of a component; the outer `None` is a fault, the inner one no table.
    pub fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Option<AuthOptions>> {
        let Some(auth) = options.table("auth") else {
            return (!options.has("auth")).then_some(None);
        };
        let strategy = auth.one_of("strategy")?;
        if !check_shape(&auth, strategy, checker) {
            return None;
        }
        let kind = match strategy {
            "api_key" => {
                Kind::ApiKey { key: auth.confidential("key")?, place: check_place(&auth, checker)? }
            }
            "aws" => Kind::Aws(check_aws(&auth, checker)?),
            "basic" => Kind::Basic {
                user: auth.confidential("user")?,
                password: auth.confidential("password")?,
            },
            "bearer" => Kind::Bearer { token: auth.confidential("token")? },
            _ => Kind::Custom { value: auth.confidential("value")? },
        };
        Some(Some(AuthOptions(kind)))
    }

    /// Makes it ready, with where its secrets come from.
    pub fn build(&self, keys: Keys) -> Auth {
        let strategy: Box<dyn Strategy> = match self.0.clone() {
            Kind::ApiKey { key, place } => Box::new(ApiKey { key, place }),
            Kind::Aws(aws) => Box::new(Aws {
                access_key_id: aws.access_key_id,
                secret_access_key: aws.secret_access_key,
                session_token: aws.session_token,
                region: aws.region,
                service: aws.service,
                role: aws.role,
                session: Session::default(),
            }),
            Kind::Basic { user, password } => Box::new(Basic { user, password }),
            Kind::Bearer { token } => Box::new(Bearer { token }),
            Kind::Custom { value } => Box::new(Custom { value }),
        };
        Auth::new(strategy, keys)
    }

    /// Lists the addresses that it names itself: where tokens are had.
    pub fn urls(&self) -> Vec<&Url> {
        match &self.0 {
            Kind::Aws(aws) => aws.role.iter().map(|role| &role.endpoint).collect(),
            _ => Vec::new(),
        }
    }
}

/// Reports options that the strategy lacks, and those of others.
fn check_shape(auth: &Options<'_>, strategy: &str, checker: &mut Checker) -> bool {
    let Some(shape) = SHAPES.iter().find(|shape| shape.strategy == strategy) else {
        return false;
    };
    let mut sound = true;
    for name in names() {
        let (needed, known) = (shape.needs.contains(&name), shape.may.contains(&name));
        let (code, title, help) = match auth.has(name) {
            false if needed => {
                let title = format!("`{strategy}` needs `auth.{name}`");
                (codes::MISSING_OPTION, title, format!("write `auth.{name}`"))
            }
            true if !needed && !known => {
                let title = format!("`{strategy}` has no `auth.{name}`");
                let others = SHAPES
                    .iter()
                    .filter(|shape| shape.needs.contains(&name) || shape.may.contains(&name));
                let others: Vec<_> = others.map(|shape| format!("`{}`", shape.strategy)).collect();
                let help = format!("remove it, or let the strategy be {}", others.join(" or "));
                (codes::CONTRADICTION, title, help)
            }
            _ => continue,
        };
        sound = false;
        checker.report(Diagnostic::error(code, auth.span(name), title, "").help(help));
    }
    sound
}

fn check_place(auth: &Options<'_>, checker: &mut Checker) -> Option<Place> {
    match (auth.has("header"), auth.has("query")) {
        (true, false) => {
            let name = auth.string("header")?;
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            if header.is_none() {
                let title = format!("`{name}` is not the name of a header");
                let place = auth.span("header");
                checker.report(Diagnostic::error(codes::MALFORMED_VALUE, place, title, ""));
            }
            header.map(Place::Header)
        }
        (false, true) => auth.string("query").map(Place::Query),
        _ => {
            let title = "a key stands in a header or in a parameter";
            let found = Diagnostic::error(codes::CONTRADICTION, auth.place, title, "");
            checker.report(found.help("write one of `auth.header` and `auth.query`"));
            None
        }
    }
}

fn check_aws(auth: &Options<'_>, checker: &mut Checker) -> Option<AwsOptions> {
    let keys = auth.table("auth")?;
    let region = keys.string("region")?;
    let optional = |name| keys.has(name).then(|| keys.confidential(name)).flatten();
    let role = match keys.has("assume_role") {
        true => Some(Role {
            arn: keys.string("assume_role")?,
            external_id: optional("external_id"),
            session_name: keys.string("session_name")?,
            endpoint: check_sts(&keys, &region, checker)?,
        }),
        false => None,
    };
    for name in ["external_id", "session_name", "sts_endpoint"] {
        if role.is_none() && keys.has(name) {
            let title = format!("`{name}` is for a role");
            let found = Diagnostic::error(codes::CONTRADICTION, keys.span(name), title, "");
            checker.report(found.help("name the role in `auth.auth.assume_role`"));
            return None;
        }
    }
    Some(AwsOptions {
        access_key_id: keys.confidential("access_key_id")?,
        secret_access_key: keys.confidential("secret_access_key")?,
        session_token: optional("session_token"),
        service: auth.string("service")?,
        region,
        role,
    })
}

fn check_sts(keys: &Options<'_>, region: &str, checker: &mut Checker) -> Option<Url> {
    if keys.has("sts_endpoint") {
        return check_url(keys, "sts_endpoint", checker);
    }
    let url = Url::parse(&format!("https://sts.{region}.amazonaws.com/")).ok();
    if url.is_none() {
        let title = format!("`{region}` is no region");
        let place = keys.span("region");
        checker.report(Diagnostic::error(codes::MALFORMED_VALUE, place, title, ""));
    }
    url
}

/// Checks an option that is an address of an HTTP server, without credentials.
pub fn check_url(options: &Options<'_>, name: &str, checker: &mut Checker) -> Option<Url> {
    let text = options.text(name)?;
    let mut refuse = |title: &str, help: &str| {
        let found = Diagnostic::error(codes::MALFORMED_VALUE, text.span, title.to_owned(), "");
        checker.report(found.help(help));
        None
    };
    let Ok(url) = Url::parse(&text.text) else {
        return refuse("this is no address", "write it as `https://api.example/path`");
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        let title = "this is no address of an HTTP server";
        return refuse(title, "write it as `https://api.example/path`");
    }
    if !url.username().is_empty() || url.password().is_some() {
        let title = "an address is shown and holds no credentials";
        return refuse(title, "put them into `auth`");
    }
    Some(url)
}
