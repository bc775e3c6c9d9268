//! Whatever we know and whatever is given to us, none of it is told: each kind of authentication
//! against a server that gives out secrets under any name, and repeats all that it was sent.

use super::{EC_KEY, checked, client};
use crate::auth::options::{GRANTS, SHAPES};
use crate::http::{Http, Request};
use crate::testing::{FakeSecrets, Seen, Server, answer, json, keys};
use crate::url::encode;
use crate::{Recorder, Replay};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Each kind in each of its forms: its strategy, its grant if it has one, its table.
const KINDS: &[(&str, &str, &str)] = &[
    ("api_key", "", "header = 'X-Key'\nkey = 'SECRET[a.p]'"),
    ("api_key", "", "query = 'subscription'\nkey = 'SECRET[a.p]'"),
    (
        "aws",
        "",
        "service = 'execute-api'\n[auth.auth]\naccess_key_id = 'SECRET[a.u]'\nregion = 'a'\n\
         secret_access_key = 'SECRET[a.p]'\nsession_token = 'SECRET[a.t]'",
    ),
    ("aws", "", ROLE),
    ("basic", "", "user = 'SECRET[a.u]'\npassword = 'SECRET[a.p]'"),
    ("bearer", "", "token = 'SECRET[a.p]'"),
    ("custom", "", "value = 'SSWS SECRET[a.p]'"),
    ("digest", "", DIGEST),
    ("hmac", "", "key = 'SECRET[a.p]'\nmessage = '{{ path }}'\nuser = 'SECRET[a.u]'"),
    (
        "hmac",
        "",
        "key = 'SECRET[a.p]'\nmessage = '{{ path }}'\nencoding = 'base64'\n\
         headers = { Authorization = 'H SECRET[a.u]:{{ signature }}', X-Key = '{{ signature }}' }",
    ),
    ("jwt", "", "private_key = 'SECRET[a.p]'\nalgorithm = 'HS256'"),
    ("jwt", "", "private_key = 'SECRET[a.k]'\nalgorithm = 'ES256'\nheader = 'X-Token'"),
    ("login", "", LOGIN),
    (
        "login",
        "",
        "endpoint = 'ORIGIN/login'\nuser = 'SECRET[a.u]'\npassword = 'SECRET[a.p]'\n\
         token_path = '.data.accessToken'\nheader = 'X-Token'",
    ),
    (
        "oauth2",
        "client_credentials",
        "client_id = 'me'\nclient_secret = 'SECRET[a.p]'\nscopes = ['a']",
    ),
    (
        "oauth2",
        "client_credentials",
        "client_id = 'me'\nclient_secret = 'SECRET[a.p]'\nclient_auth = 'body'\n\
         params = { audience = 'SECRET[a.u]' }",
    ),
    (
        "oauth2",
        "client_credentials",
        "client_id = 'me'\nclient_assertion = { algorithm = 'ES256', private_key = 'SECRET[a.k]' }",
    ),
    ("oauth2", "password", "user = 'SECRET[a.u]'\npassword = 'SECRET[a.p]'"),
    ("oauth2", "refresh_token", "refresh_token = 'SECRET[a.t]'"),
    ("oauth2", "jwt_bearer", "issuer = 'me'\nprivate_key = 'SECRET[a.k]'\nalgorithm = 'ES256'"),
    ("oauth2", "jwt_bearer", "service_account = 'SECRET[a.s]'"),
];

const ROLE: &str = "service = 'execute-api'\n[auth.auth]\naccess_key_id = 'AKIA'\nregion = 'a'\n\
                    secret_access_key = 'SECRET[a.p]'\nassume_role = 'arn:aws:iam::1:role/r'\n\
                    external_id = 'SECRET[a.u]'\nsts_endpoint = 'ORIGIN/'";
const DIGEST: &str = "user = 'SECRET[a.u]'\npassword = 'SECRET[a.p]'";
const LOGIN: &str = "endpoint = 'ORIGIN/login'\ncookie = true\n\
                     body = '{\"login\":\"SECRET[a.u]\",\"x\":\"SECRET[a.p]\"}'";

/// What the server gives out, each under names that say so and under others.
const ISSUED: [&str; 6] = [
    "acc3ss/gv+71f0a2",
    "r3fresh.ZX9~gv-8c",
    "s3ssion_Gv/55+e10",
    "c00kie-gv-9d7b31",
    "n0nce+gv/44aa17",
    "r0le/key+gv/6e2d",
];

fn planted() -> Arc<FakeSecrets> {
    let rsa = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let rsa = STANDARD.encode(rsa.as_ref());
    let rsa = format!("-----BEGIN PRIVATE KEY-----\n{rsa}\n-----END PRIVATE KEY-----\n");
    let account = json!({ "client_email": "a@b.example", "private_key": rsa }).to_string();
    FakeSecrets::of(&[
        ("u", "us3r+/pl-4f1c9e"),
        ("p", "p4ss/+&pl:rd 77aa"),
        ("t", "t0ken/pl+1a2b3c"),
        ("k", EC_KEY),
        ("s", &account),
    ])
}

/// Answers each request; who proves nothing is challenged, who proves who they are is `refused` or
/// given something.
fn serve(seen: &Seen, refused: bool) -> Vec<u8> {
    let [access, refresh, session, cookie, nonce, key] = ISSUED;
    let sent = format!("{}\r\n\r\n{}", seen.head, seen.body);
    let status = if refused { "403 Forbidden" } else { "200 OK" };
    let given = json!({
        "access_token": access, "accessToken": session, "refresh-token": refresh, "jwt": cookie,
        "expires_in": 3600, "token_type": "Bearer", "data": { "accessToken": session, "sid": key },
        "error": "invalid_scope", "error_description": sent,
    });
    match (seen.method.as_str(), seen.path.as_str()) {
        ("POST", "/token") => {
            answer(status, &[("content-type", "application/json")], given.to_string().as_bytes())
        }
        ("POST", "/login") if refused => {
            answer(status, &[("x-token", access)], format!("{sent} {given}").as_bytes())
        }
        ("POST", "/login") => {
            let cookie = format!("id={cookie}; Path=/");
            let set = [("set-cookie", cookie.as_str()), ("x-subject", access)];
            answer(status, &set, given.to_string().as_bytes())
        }
        ("POST", _) => {
            let body = format!(
                "<r><Code>Denied</Code><Message>{}</Message><AccessKeyId>ASIA</AccessKeyId>\
                 <SecretAccessKey>{key}</SecretAccessKey>\
                 <SessionToken>{session}</SessionToken></r>",
                seen.body
            );
            answer(status, &[("content-type", "text/xml")], body.as_bytes())
        }
        _ => serve_data(seen, &sent, nonce),
    }
}

fn serve_data(seen: &Seen, sent: &str, nonce: &str) -> Vec<u8> {
    let proofs = ["authorization", "cookie", "x-key", "x-token"];
    let shown: Vec<&str> = proofs.iter().filter_map(|name| seen.header(name)).collect();
    if shown.is_empty() && !seen.path.contains("subscription=") {
        let challenge = format!("Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"");
        return answer("401 Unauthorized", &[("www-authenticate", &challenge)], b"who?");
    }
    let each: Vec<String> = shown.iter().map(|value| STANDARD.encode(value)).collect();
    let echo = json!({
        "shown": shown, "Authorization": shown, "sent": sent, "percent": encode(sent),
        "base64": STANDARD.encode(sent), "each": each,
    });
    match seen.path.starts_with("/refuse") {
        true => {
            answer("403 Forbidden", &[], format!("{} {sent} {echo}", shown.join(" ")).as_bytes())
        }
        false => json(&echo.to_string()),
    }
}

/// Gives what proved who we are in requests that a server saw.
fn made(seen: &[Seen]) -> Vec<String> {
    let mut made = Vec::new();
    for seen in seen {
        let names = ["authorization", "cookie", "x-amz-security-token", "x-key", "x-token"];
        for value in names.iter().filter_map(|name| seen.header(name)) {
            made.push(value.to_owned());
            made.extend(value.split_once(' ').map(|(_, behind)| behind.to_owned()));
            for code in ["Signature=", "response=\""] {
                let code = value.split_once(code).map(|(_, behind)| behind.split('"').next());
                made.extend(code.flatten().map(str::to_owned));
            }
        }
        let pairs = seen.body.split('&').filter_map(|pair| pair.split_once('='));
        let own = pairs.filter(|(name, _)| name.ends_with("assertion"));
        made.extend(own.map(|(_, value)| value.to_owned()));
    }
    // What is shorter is a part of a password with a space.
    made.retain(|value| value.len() >= 12);
    made
}

/// Says in what form a text tells a value, if it does.
fn told_as(told: &str, value: &str) -> Option<String> {
    let escaped = Value::from(value).to_string();
    let mut forms = vec![
        value.to_owned(),
        encode(value),
        encode(value).to_ascii_lowercase(),
        escaped[1..escaped.len() - 1].to_owned(),
    ];
    for before in 0..3 {
        let whole = [&[b':'; 2][..before], value.as_bytes()].concat();
        for whole in [STANDARD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
            forms.push(whole[4..whole.len() - 4].to_owned());
        }
    }
    let lower = told.to_ascii_lowercase();
    let told = |form: &String| told.contains(form) || lower.contains(&form.to_ascii_lowercase());
    forms.into_iter().find(told)
}

fn recorded(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|file| fs::read_to_string(file).unwrap()).collect()
}

fn table(strategy: &str, grant: &str, rest: &str, server: &Server) -> String {
    let grant = match grant {
        "" => String::new(),
        grant => format!("grant = '{grant}'\ntoken_endpoint = 'ORIGIN/token'\n"),
    };
    format!("[auth]\nstrategy = '{strategy}'\n{grant}{rest}\n")
        .replace("ORIGIN/", server.url.as_str())
}

#[tokio::test]
async fn nothing_that_is_planted_issued_or_made_is_told() {
    let secrets = planted();
    for (strategy, grant, rest) in KINDS {
        for (refused, watched) in [(false, false), (false, true), (true, false), (true, true)] {
            let server = Server::start(move |seen| serve(seen, refused)).await;
            let auth = checked(&table(strategy, grant, rest, &server)).unwrap();
            let http = client(&server, &auth);
            let folder = tempfile::tempdir().unwrap();
            http.trace().watch(watched);
            if watched {
                let recorder = Recorder::new(&folder.path().join("r")).unwrap();
                http.trace().record(Some(recorder));
            }
            let told = tell(&http, &server, &auth.build(keys(&secrets))).await;
            let used = secrets.used.lock().unwrap().drain(..).collect::<String>();
            let mut all = format!("{told}\n{used}");
            if watched {
                all.push_str(&recorded(&folder.path().join("r")));
            }
            let what = format!("{strategy} {grant} {rest} {refused} {watched}");
            let identity = server.seen().iter().any(|seen| seen.method == "POST");
            assert_eq!(told.contains("200 OK"), !(refused && identity), "{what}: {told}");
            let known: Vec<String> = secrets.values.lock().unwrap().values().cloned().collect();
            let issued = ISSUED.iter().map(ToString::to_string);
            for value in known.into_iter().chain(issued).chain(made(&server.seen())) {
                let form = told_as(&all, &value);
                assert_eq!(form, None, "{what}: {value} is told:\n{all}");
            }
        }
    }
}

/// Asks for data, and for what is refused; gives all that is said of it.
async fn tell(http: &Http, server: &Server, auth: &crate::Auth) -> String {
    let mut told = String::new();
    for path in ["api?x=1", "refuse"] {
        match http.send(&Request::get(server.at(path)), Some(auth)).await {
            Ok(answer) => {
                let failure = answer.failure(http.redactor()).message;
                told.push_str(&format!("{} {failure}\n", answer.status));
            }
            Err(failure) => told.push_str(&format!("{failure}\n{failure:?}\n")),
        }
    }
    let last = http.trace().last();
    assert!(!last.is_empty());
    told.extend(last.iter().map(|exchange| exchange.to_json().to_string()));
    told
}

#[test]
fn each_kind_is_among_those_that_tell_nothing() {
    for shape in SHAPES {
        assert!(KINDS.iter().any(|(kind, _, _)| *kind == shape.strategy), "{}", shape.strategy);
    }
    for grant in GRANTS {
        assert!(KINDS.iter().any(|(_, kind, _)| *kind == grant.strategy), "{}", grant.strategy);
    }
}

#[tokio::test]
async fn an_exchange_of_who_we_are_shows_its_names() {
    let server = Server::start(|seen| serve(seen, false)).await;
    let toml = table("oauth2", "refresh_token", "refresh_token = 'SECRET[a.t]'", &server);
    let auth = checked(&toml).unwrap();
    let http = client(&server, &auth);
    http.trace().watch(true);
    tell(&http, &server, &auth.build(keys(&planted()))).await;
    let first = http.trace().last().remove(0);
    assert_eq!(first.request_body, "grant_type=***&refresh_token=***");
    for shown in [r#""access_token":"***""#, r#""expires_in":3600"#, r#""token_type":"Bearer""#] {
        assert!(first.body.contains(shown), "{shown}: {}", first.body);
    }
}

/// A recording has no secrets, so whoever plays it needs none; and nothing of it is taken for one,
/// such as a refresh token that is kept.
#[tokio::test]
async fn a_recording_answers_whoever_we_are_without_secrets() {
    for (strategy, grant, rest) in [
        ("aws", "", ROLE),
        ("digest", "", DIGEST),
        ("login", "", LOGIN),
        ("oauth2", "refresh_token", "refresh_token = 'SECRET[a.t]'"),
    ] {
        let server = Server::start(|seen| serve(seen, false)).await;
        let auth = checked(&table(strategy, grant, rest, &server)).unwrap();
        let http = client(&server, &auth);
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("r");
        http.trace().record(Some(Recorder::new(&folder).unwrap()));
        let request = Request::get(server.at("api?x=1"));
        let sent = http.send(&request, Some(&auth.build(keys(&planted())))).await.unwrap();
        assert_eq!(sent.status, StatusCode::OK, "{strategy}");
        let asked = server.seen().len();
        let http = client(&server, &auth);
        http.trace().replay_from(Replay::load(&folder).unwrap());
        let nothing = FakeSecrets::of(&[]);
        let again = http.send(&request, Some(&auth.build(keys(&nothing)))).await.unwrap();
        assert_eq!(again.status, StatusCode::OK, "{strategy}");
        assert_eq!(server.seen().len(), asked, "{strategy}: the server was asked");
        assert!(nothing.used.lock().unwrap().is_empty());
    }
}
