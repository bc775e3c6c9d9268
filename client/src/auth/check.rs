//! The check of the table `auth`: exactly the options of its strategy.

use super::api_key::{ApiKey, Place};
use super::aws::{Aws, Role, Session};
use super::basic::Basic;
use super::bearer::Bearer;
use super::custom::Custom;
use super::digest::Digest;
use super::hmac::{Hmac, check_names};
use super::jwt::{Claims, Jwt, Key};
use super::login::{Carried, Login, LoginOptions};
use super::oauth::{Client, Grant, OAuth2, OAuth2Options};
use super::options::{GRANTS, SHAPES, Shape, names};
use super::token::TokenCache;
use super::{Auth, Keys, Strategy};
use crate::limits::TOKEN_LIFE;
use crate::sign::Algorithm;
use azud_plan::component::{Confidential, Options};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::document::{Node, Value as Written};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderName};
use serde_json::Value;
use std::sync::Mutex;
use std::time::Duration;

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
    Digest { user: Confidential, password: Confidential },
    Hmac(Hmac),
    Jwt(JwtOptions),
    Login(LoginOptions),
    OAuth2(Box<OAuth2Options>),
}

#[derive(Clone, Debug)]
struct JwtOptions {
    key: Key,
    claims: Claims,
    life: Option<Duration>,
    header: HeaderName,
    prefix: String,
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
            "digest" => Kind::Digest {
                user: auth.confidential("user")?,
                password: auth.confidential("password")?,
            },
            "hmac" => Kind::Hmac(check_hmac(&auth, checker)?),
            "jwt" => Kind::Jwt(check_jwt(&auth, checker)?),
            "login" => Kind::Login(check_login(&auth, checker)?),
            "oauth2" => Kind::OAuth2(Box::new(check_oauth2(&auth, checker)?)),
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
            Kind::Digest { user, password } => {
                Box::new(Digest { user, password, challenge: Mutex::default() })
            }
            Kind::Hmac(hmac) => Box::new(hmac),
            Kind::Jwt(JwtOptions { key, claims, life, header, prefix }) => {
                Box::new(Jwt { key, claims, life, header, prefix })
            }
            Kind::Login(options) => Box::new(Login { options, cache: TokenCache::default() }),
            Kind::OAuth2(options) => Box::new(OAuth2::new(*options)),
        };
        Auth::new(strategy, keys)
    }

    /// Whether it sets this header.
    pub fn sets(&self, name: &HeaderName) -> bool {
        match &self.0 {
            Kind::ApiKey { place: Place::Header(header), .. } => header == name,
            Kind::ApiKey { place: Place::Query(_), .. } => false,
            Kind::Hmac(hmac) if hmac.user.is_none() => {
                hmac.headers.iter().any(|(header, _)| header == name)
            }
            Kind::Jwt(jwt) => jwt.header == *name,
            Kind::Login(login) => match &login.carried {
                Carried::Cookie => *name == COOKIE,
                Carried::Token { header, .. } => header == name,
            },
            _ => *name == AUTHORIZATION,
        }
    }

    /// Lists the addresses that it names itself: where tokens are had.
    pub fn urls(&self) -> Vec<&Url> {
        match &self.0 {
            Kind::Aws(aws) => aws.role.iter().map(|role| &role.endpoint).collect(),
            Kind::Login(login) => vec![&login.endpoint],
            Kind::OAuth2(oauth2) => oauth2.endpoint.iter().collect(),
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

fn contradicts(auth: &Options<'_>, name: &str, title: &str, help: &str, checker: &mut Checker) {
    let place = auth.span(name);
    let found = Diagnostic::error(codes::CONTRADICTION, place, title.to_owned(), "");
    checker.report(found.help(help));
}

fn check_header(auth: &Options<'_>, name: &str, checker: &mut Checker) -> Option<HeaderName> {
    if !auth.has(name) {
        return Some(AUTHORIZATION);
    }
    let text = auth.string(name)?;
    let header = HeaderName::from_bytes(text.as_bytes()).ok();
    if header.is_none() {
        let title = format!("`{text}` is not the name of a header");
        checker.report(Diagnostic::error(codes::MALFORMED_VALUE, auth.span(name), title, ""));
    }
    header
}

/// Gives what stands before a token.
fn prefix(auth: &Options<'_>, header: &HeaderName) -> String {
    let default = if *header == AUTHORIZATION { "Bearer " } else { "" };
    auth.string("prefix").unwrap_or_else(|| default.to_owned())
}

fn check_hmac(auth: &Options<'_>, checker: &mut Checker) -> Option<Hmac> {
    let mut sound = true;
    let mut named = |name: &str, text: &str, checker: &mut Checker| {
        if let Err(why) = check_names(text) {
            sound = false;
            checker.report(Diagnostic::error(codes::TEMPLATE, auth.span(name), why, ""));
        }
    };
    let message = auth.string("message")?;
    named("message", &message, checker);
    let mut headers = Vec::new();
    for entry in auth.map("headers") {
        let text = entry.node.as_text().map(|text| text.text.as_str()).unwrap_or_default();
        named("headers", text, checker);
        let name = HeaderName::from_bytes(entry.key.as_bytes()).ok();
        match (name, Confidential::parse(text)) {
            (Some(name), Ok(value)) => headers.push((name, value)),
            _ => {
                let title = format!("`{}` is not the name of a header", entry.key);
                let found = Diagnostic::error(codes::MALFORMED_VALUE, entry.key_span, title, "");
                checker.report(found);
                return None;
            }
        }
    }
    if !sound {
        return None;
    }
    let user = auth.confidential("user");
    if headers.is_empty() && user.is_none() {
        let title = "the code goes nowhere";
        let help = "name a header in `auth.headers`, or a user of Basic in `auth.user`";
        contradicts(auth, "message", title, help, checker);
        return None;
    }
    Some(Hmac {
        key: auth.confidential("key")?,
        hash: auth.one_of("hash").unwrap_or("sha256"),
        base64: auth.one_of("encoding") == Some("base64"),
        message,
        headers,
        user,
    })
}

fn check_key(auth: &Options<'_>) -> Option<Key> {
    Some(Key {
        algorithm: Algorithm::named(auth.one_of("algorithm").unwrap_or("RS256"))?,
        private: auth.confidential("private_key")?,
        id: auth.string("key_id"),
    })
}

fn check_claims(auth: &Options<'_>) -> Claims {
    Claims {
        issuer: auth.string("issuer"),
        subject: auth.string("subject"),
        audience: auth.string("audience"),
        others: serde_json::Map::new(),
    }
}

fn check_jwt(auth: &Options<'_>, checker: &mut Checker) -> Option<JwtOptions> {
    let mut claims = check_claims(auth);
    for entry in auth.map("claims") {
        claims.others.insert(entry.key.clone(), to_json(&entry.node));
    }
    let header = check_header(auth, "header", checker)?;
    Some(JwtOptions {
        key: check_key(auth)?,
        claims,
        life: auth.duration("lifetime_secs"),
        prefix: prefix(auth, &header),
        header,
    })
}

fn to_json(node: &Node) -> Value {
    match &node.value {
        Written::Boolean(truth) => (*truth).into(),
        Written::Integer(number) => (*number).into(),
        Written::Float(number) => (*number).into(),
        Written::Array(items) => items.iter().map(to_json).collect(),
        Written::Table(table) => {
            let members = table.entries.iter();
            Value::Object(members.map(|e| (e.key.clone(), to_json(&e.node))).collect())
        }
        _ => node.as_text().map(|text| text.text.as_str()).unwrap_or_default().into(),
    }
}

fn check_login(auth: &Options<'_>, checker: &mut Checker) -> Option<LoginOptions> {
    let user = match (auth.has("user"), auth.has("password")) {
        (true, true) => Some((auth.confidential("user")?, auth.confidential("password")?)),
        (false, false) => None,
        _ => {
            let (title, help) = ("user and password go together", "write both, or a `body`");
            contradicts(auth, "user", title, help, checker);
            return None;
        }
    };
    let cookie = auth.boolean("cookie").unwrap_or(false);
    let carried = match (cookie, auth.field("token_path")) {
        (true, None) => Carried::Cookie,
        (false, Some(path)) => {
            let header = check_header(auth, "header", checker)?;
            Carried::Token { path, prefix: prefix(auth, &header), header }
        }
        _ => {
            let title = "a login gives a token or cookies";
            let help = "write one of `auth.token_path` and `auth.cookie = true`";
            contradicts(auth, "token_path", title, help, checker);
            return None;
        }
    };
    Some(LoginOptions {
        endpoint: check_url(auth, "endpoint", checker)?,
        body: auth.confidential("body"),
        user,
        life: auth.duration("expires_secs").unwrap_or(TOKEN_LIFE),
        carried,
    })
}

fn check_oauth2(auth: &Options<'_>, checker: &mut Checker) -> Option<OAuth2Options> {
    let grant = auth.one_of("grant").unwrap_or("client_credentials");
    let shape = GRANTS.iter().find(|shape| shape.strategy == grant)?;
    if !check_grant(auth, shape, checker) {
        return None;
    }
    let client = check_client(auth, checker)?;
    if grant == "client_credentials" && matches!(client, Client::None) {
        let title = "a client shows a secret or an assertion";
        let help = "write one of `auth.client_secret` and `auth.client_assertion`";
        contradicts(auth, "client_id", title, help, checker);
        return None;
    }
    let endpoint = match auth.has("token_endpoint") {
        true => Some(check_url(auth, "token_endpoint", checker)?),
        false => None,
    };
    let grant = match grant {
        "password" => Grant::Password {
            user: auth.confidential("user")?,
            password: auth.confidential("password")?,
        },
        "refresh_token" => Grant::RefreshToken(auth.confidential("refresh_token")?),
        "jwt_bearer" => check_bearer(auth, checker)?,
        _ => Grant::ClientCredentials,
    };
    let mut params = Vec::new();
    for entry in auth.map("params") {
        let text = entry.node.as_text()?;
        params.push((entry.key.clone(), Confidential::parse(&text.text).ok()?));
    }
    if let Some(audience) = auth.string("audience")
        && !matches!(grant, Grant::JwtBearer { .. })
    {
        params.push(("audience".to_owned(), Confidential::parse(&audience).ok()?));
    }
    Some(OAuth2Options {
        endpoint,
        grant,
        client_id: auth.string("client_id"),
        client,
        scopes: auth.strings("scopes"),
        params,
    })
}

/// Reports options that the grant lacks, and those of other grants.
fn check_grant(auth: &Options<'_>, shape: &Shape, checker: &mut Checker) -> bool {
    let grant = shape.strategy;
    let mut sound = true;
    for name in shape.needs.iter().filter(|name| !auth.has(name)) {
        sound = false;
        let title = format!("`{grant}` needs `auth.{name}`");
        let found = Diagnostic::error(codes::MISSING_OPTION, auth.place, title, "");
        checker.report(found.help(format!("write `auth.{name}`")));
    }
    let shared = ["client_id", "token_endpoint"];
    let all = GRANTS.iter().flat_map(|shape| shape.needs.iter().chain(shape.may));
    for name in all.filter(|name| !shared.contains(name)) {
        let own = shape.needs.contains(name) || shape.may.contains(name);
        if auth.has(name) && !own {
            sound = false;
            let title = format!("`{grant}` has no `auth.{name}`");
            contradicts(auth, name, &title, "remove it, or take another `auth.grant`", checker);
        }
    }
    sound
}

fn check_client(auth: &Options<'_>, checker: &mut Checker) -> Option<Client> {
    if let Some(table) = auth.table("client_assertion") {
        if auth.has("client_secret") {
            let title = "a client shows a secret or an assertion";
            contradicts(auth, "client_secret", title, "remove one of them", checker);
            return None;
        }
        let audience = table.string("audience");
        return Some(Client::Assertion { key: check_key(&table)?, audience });
    }
    if !auth.has("client_secret") {
        return Some(Client::None);
    }
    let secret = auth.confidential("client_secret")?;
    Some(match auth.one_of("client_auth") {
        Some("body") => Client::Body(secret),
        _ => Client::Basic(secret),
    })
}

fn check_bearer(auth: &Options<'_>, checker: &mut Checker) -> Option<Grant> {
    match (auth.has("service_account"), auth.has("private_key")) {
        (true, false) => Some(Grant::ServiceAccount {
            key: auth.confidential("service_account")?,
            subject: auth.string("subject"),
        }),
        (false, true) if auth.has("token_endpoint") && auth.has("issuer") => {
            Some(Grant::JwtBearer { key: check_key(auth)?, claims: check_claims(auth) })
        }
        (false, true) => {
            let title = "an assertion has an issuer, and goes to a token endpoint";
            let help = "write `auth.issuer` and `auth.token_endpoint`";
            contradicts(auth, "private_key", title, help, checker);
            None
        }
        _ => {
            let title = "an assertion is signed by one key";
            let help = "write one of `auth.service_account` and `auth.private_key`";
            contradicts(auth, "grant", title, help, checker);
            None
        }
    }
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
