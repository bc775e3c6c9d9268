//! Each kind against a server that wants it.

mod telling;

use super::{AUTH, AuthOptions, TokenStore};
use crate::failure::Failure;
use crate::http::{Http, Request};
use crate::options::HttpOptions;
use crate::testing::{FakeSecrets, Seen, Server, answer, json, keys};
use azud_event::clock::Clock;
use azud_plan::component::{Cause, OptionSpec, Options, Secret, check_options};
use azud_plan::diagnostic::Checker;
use azud_plan::document::Document;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};

const SPECS: &[OptionSpec] = &[AUTH];

/// A key of P-256, made for this test.
const EC_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+uV5NypV332BCgDG\n\
    x9J2VP5UJFCQkj612SN87RxKMcmhRANCAASiaJ8//oJTmpc2oH+h4rsI15t5wLjB\n\
    y1xqq/bW1wY+Qd/PN5PAWjBXZtUF2b9Yva8hfnGndsSPOn20mHw6qbJL\n\
    -----END PRIVATE KEY-----\n";

fn checked(toml: &str) -> Result<AuthOptions, Vec<String>> {
    let mut checker = Checker::default();
    let document = Document::parse(0, toml, &mut checker).expect("the table is TOML");
    check_options(&document.root, SPECS, &[], "a test", &mut checker);
    let options = Options::new("in", &document.root, SPECS);
    let auth = AuthOptions::check(&options, &mut checker);
    match auth {
        Some(Some(auth)) if !checker.failed() => Ok(auth),
        _ => Err(checker.diagnostics.iter().map(|found| found.title.clone()).collect()),
    }
}

fn client(server: &Server, auth: &AuthOptions) -> Http {
    let written = [&server.url].into_iter().chain(auth.urls());
    let options = HttpOptions::default();
    let written: Vec<_> = written.cloned().collect();
    Http::build(&options, &written, &Clock::system()).unwrap()
}

async fn call(
    server: &Server,
    toml: &str,
    secrets: &Arc<FakeSecrets>,
) -> Result<StatusCode, Failure> {
    let auth = checked(&toml.replace("ORIGIN/", server.url.as_str())).unwrap();
    let http = client(server, &auth);
    let auth = auth.build(keys(secrets));
    let answer = http.send(&Request::get(server.at("api?x=1")), Some(&auth)).await?;
    let trace: String =
        http.trace().last().iter().map(|exchange| exchange.to_json().to_string()).collect();
    for value in secrets.values.lock().unwrap().values() {
        assert!(!trace.contains(value), "a secret is in the trace: {trace}");
    }
    Ok(answer.status)
}

fn only(header: &'static str, value: &'static str) -> impl Fn(&Seen) -> Vec<u8> + Send + Sync {
    move |seen| match seen.header(header) == Some(value) {
        true => json("[]"),
        false => answer("401 Unauthorized", &[], b"no"),
    }
}

#[tokio::test]
async fn secrets_stand_where_they_are_wanted_and_are_not_told() {
    for (toml, header, value) in [
        ("auth = { strategy = 'bearer', token = 'SECRET[a.t]' }", "authorization", "Bearer s3cret"),
        (
            "auth = { strategy = 'custom', value = 'SSWS SECRET[a.t]' }",
            "authorization",
            "SSWS s3cret",
        ),
        (
            "auth = { strategy = 'basic', user = 'u', password = 'SECRET[a.t]' }",
            "authorization",
            "Basic dTpzM2NyZXQ=",
        ),
        (
            "auth = { strategy = 'api_key', header = 'X-Key', key = 'SECRET[a.t]' }",
            "x-key",
            "s3cret",
        ),
    ] {
        let server = Server::start(only(header, value)).await;
        let secrets = FakeSecrets::of(&[("t", "s3cret")]);
        assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::OK, "{toml}");
    }
    let server = Server::start(|seen| match seen.path.as_str() {
        "/api?x=1&key=s3cret" => json("[]"),
        _ => answer("401 Unauthorized", &[], b"no"),
    })
    .await;
    let toml = "auth = { strategy = 'api_key', query = 'key', key = 'SECRET[a.t]' }";
    let secrets = FakeSecrets::of(&[("t", "s3cret")]);
    assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_secret_that_was_rotated_is_used_after_one_refusal() {
    let server = Server::start(only("authorization", "Bearer fresh1")).await;
    let secrets = FakeSecrets::of(&[("t", "stale1")]);
    secrets.rotated.lock().unwrap().insert("t".to_owned(), "fresh1".to_owned());
    let toml = "auth = { strategy = 'bearer', token = 'SECRET[a.t]' }";
    assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::OK);
    assert_eq!((server.seen().len(), secrets.refused.lock().unwrap().len()), (2, 1));
    assert_eq!(std::mem::take(&mut *secrets.used.lock().unwrap()), ["t Taken"]);
    // One that stays wrong is not tried again.
    let server = Server::start(only("authorization", "Bearer other1")).await;
    assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.seen().len(), 1);
    let refused = "t Refused(\"the server answered 401 Unauthorized: no\")";
    assert_eq!(*secrets.used.lock().unwrap(), [refused]);
}

/// What a token endpoint says of who asks is about the secrets, and what it says of all else is
/// not.
#[tokio::test]
async fn what_came_of_a_secret_is_told() {
    let toml = "auth = { strategy = 'oauth2', token_endpoint = 'ORIGIN/token', client_id = 'c', \
                client_secret = 'SECRET[a.t]' }";
    for (error, told) in [
        ("", &["t Refreshed", "t Taken"] as &[_]),
        (
            "invalid_client",
            &["t Refused(\"asking ORIGIN/token for a token: it was refused: invalid_client (for \
               ***): check `client_id`, how the client shows who it is and SECRET[a.t]\")"],
        ),
        ("invalid_scope", &[]),
    ] {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/token" if error.is_empty() => json(r#"{"access_token":"granted","expires_in":60}"#),
            "/token" => {
                let body = format!(r#"{{"error":"{error}","error_description":"for s3cret"}}"#);
                answer("400 Bad Request", &[("content-type", "application/json")], body.as_bytes())
            }
            _ => json("[]"),
        })
        .await;
        let secrets = FakeSecrets::of(&[("t", "s3cret")]);
        let called = call(&server, toml, &secrets).await;
        assert_eq!(called.is_ok(), error.is_empty(), "{called:?}");
        let told: Vec<String> =
            told.iter().map(|told| told.replace("ORIGIN/", server.url.as_str())).collect();
        assert_eq!(*secrets.used.lock().unwrap(), told, "{error}");
    }
}

#[tokio::test]
async fn a_secret_that_is_missing_is_told_by_its_name() {
    let server = Server::start(|_| json("[]")).await;
    let toml = "auth = { strategy = 'bearer', token = 'SECRET[vault.none]' }";
    let failure = call(&server, toml, &FakeSecrets::of(&[])).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Authentication);
    assert!(failure.message.contains("vault.none"), "{}", failure.message);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn digest_answers_a_challenge() {
    let server = Server::start(|seen| match seen.header("authorization") {
        Some(value) if value.contains("uri=\"/api?x=1\"") && value.contains("nc=00000001") => {
            json("[]")
        }
        _ => {
            let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256";
            answer("401 Unauthorized", &[("www-authenticate", challenge)], b"")
        }
    })
    .await;
    let toml = "auth = { strategy = 'digest', user = 'u', password = 'SECRET[a.p]' }";
    let secrets = FakeSecrets::of(&[("p", "passw0rd")]);
    assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::OK);
    assert_eq!(server.seen().len(), 2);
}

/// A server with a token endpoint that counts its tokens, of which only the newest is good.
async fn oauth2(
    check: impl Fn(&Seen) -> bool + Send + Sync + 'static,
) -> (Server, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let server = Server::start(move |seen| {
        let now = count.load(Ordering::SeqCst);
        if seen.path == "/token" {
            if !check(seen) {
                let body = br#"{"error":"invalid_client","error_description":"who?"}"#;
                return answer("400 Bad Request", &[], body);
            }
            count.fetch_add(1, Ordering::SeqCst);
            let token = format!(
                r#"{{"access_token":"tok-{}","expires_in":3600,"refresh_token":"re-{}"}}"#,
                now + 1,
                now + 1
            );
            return json(&token);
        }
        match seen.header("authorization") == Some(&format!("Bearer tok-{now}")) && now > 0 {
            true => json("[]"),
            false => answer("401 Unauthorized", &[], b""),
        }
    })
    .await;
    (server, given)
}

const CLIENT: &str = "auth = { strategy = 'oauth2', token_endpoint = 'ORIGIN/token', \
                      client_id = 'me', client_secret = 'SECRET[a.s]', scopes = ['a', 'b'] }";

#[tokio::test]
async fn a_token_is_had_once_and_anew_when_it_is_refused() {
    let (server, given) = oauth2(|seen| {
        let basic = format!("Basic {}", STANDARD.encode("me:s3%2Fcret"));
        seen.header("authorization") == Some(&basic)
            && seen.body == "grant_type=client_credentials&scope=a%20b"
    })
    .await;
    let secrets = FakeSecrets::of(&[("s", "s3/cret")]);
    let auth = checked(&CLIENT.replace("ORIGIN/", server.url.as_str())).unwrap();
    let http = client(&server, &auth);
    let auth = auth.build(keys(&secrets));
    for _ in 0..3 {
        let sent = http.send(&Request::get(server.at("api")), Some(&auth)).await;
        assert_eq!(sent.unwrap().status, StatusCode::OK);
    }
    assert_eq!(given.load(Ordering::SeqCst), 1);
    // Somebody else had another, so ours is not good any more.
    given.fetch_add(1, Ordering::SeqCst);
    let sent = http.send(&Request::get(server.at("api")), Some(&auth)).await;
    assert_eq!(sent.unwrap().status, StatusCode::OK);
    assert_eq!(given.load(Ordering::SeqCst), 3);
    let trace: String =
        http.trace().last().iter().map(|exchange| exchange.to_json().to_string()).collect();
    assert!(!trace.contains("tok-") && !trace.contains("re-"), "{trace}");
}

#[tokio::test]
async fn of_many_requests_one_gets_the_token() {
    let (server, given) = oauth2(|_| true).await;
    let auth = checked(&CLIENT.replace("ORIGIN/", server.url.as_str())).unwrap();
    let http = client(&server, &auth);
    let auth = auth.build(keys(&FakeSecrets::of(&[("s", "s3cret")])));
    let request = Request::get(server.at("api"));
    let all = (0..20).map(|_| http.send(&request, Some(&auth)));
    let all = futures_util::future::join_all(all).await;
    assert!(all.into_iter().all(|answer| answer.unwrap().status == StatusCode::OK));
    assert_eq!(given.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refusal_of_the_token_endpoint_is_told_in_its_words() {
    let (server, _) = oauth2(|_| false).await;
    let failure = call(&server, CLIENT, &FakeSecrets::of(&[("s", "s3cret")])).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Authentication);
    let expected = format!(
        "asking {} for a token: it was refused: invalid_client (who?): check `client_id`, how the \
         client shows who it is and SECRET[a.s]",
        server.at("token")
    );
    assert_eq!(failure.message, expected);
}

#[tokio::test]
async fn a_client_signs_who_it_is() {
    let (server, _) = oauth2(|seen| {
        let assertion =
            seen.body.split('&').find_map(|pair| pair.strip_prefix("client_assertion="));
        let Some(claims) = assertion.and_then(|token| token.split('.').nth(1)) else {
            return false;
        };
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        seen.body.contains("client_id=me")
            && claims["iss"] == "me"
            && claims["sub"] == "me"
            && claims["aud"].as_str().unwrap().ends_with("/token")
            && claims["exp"].as_i64() > claims["iat"].as_i64()
    })
    .await;
    let toml = "auth = { strategy = 'oauth2', token_endpoint = 'ORIGIN/token', client_id = 'me', \
                client_assertion = { algorithm = 'ES256', key_id = 'k', private_key = 'SECRET[a.k]' } }";
    let secrets = FakeSecrets::of(&[("k", EC_KEY)]);
    assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::OK);
    let wrong = FakeSecrets::of(&[("k", "no key")]);
    let failure = call(&server, toml, &wrong).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Authentication);
    assert!(failure.message.contains("no key in PEM"), "{}", failure.message);
}

/// Keeps tokens, fails when it is told to, and waits while its gate is shut.
struct Store {
    kept: Mutex<Option<Secret>>,
    fails: Mutex<bool>,
    turn: Arc<Semaphore>,
    gate: Semaphore,
    /// Somebody stands before the gate.
    asked: Notify,
}

impl Default for Store {
    fn default() -> Self {
        let (kept, fails, asked) = Default::default();
        Store { kept, fails, turn: Arc::new(Semaphore::new(1)), gate: Semaphore::new(1), asked }
    }
}

impl TokenStore for Store {
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, Failure>> {
        assert_eq!(name, "a.r");
        let kept = self.kept.lock().unwrap().clone();
        async move { Ok(kept) }.boxed()
    }

    fn keep<'a>(&'a self, _: &'a str, token: &'a Secret) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            self.asked.notify_one();
            let _open = self.gate.acquire().await.unwrap();
            if *self.fails.lock().unwrap() {
                return Err(Failure::new(Cause::Local, "the database is down"));
            }
            *self.kept.lock().unwrap() = Some(token.clone());
            Ok(())
        }
        .boxed()
    }

    fn turn(&self) -> Arc<Semaphore> {
        Arc::clone(&self.turn)
    }
}

#[tokio::test]
async fn a_refresh_token_of_one_use_is_kept_before_it_is_used() {
    let good = Arc::new(Mutex::new("first".to_owned()));
    let (expected, next) = (Arc::clone(&good), Arc::new(AtomicUsize::new(0)));
    let (server, given) = oauth2(move |seen| {
        let mut expected = expected.lock().unwrap();
        let fits = seen.body.contains(&format!("refresh_token={expected}&"));
        if fits {
            *expected = format!("re-{}", next.fetch_add(1, Ordering::SeqCst) + 1);
        }
        fits
    })
    .await;
    let toml = "auth = { strategy = 'oauth2', grant = 'refresh_token', client_id = 'me', \
                token_endpoint = 'ORIGIN/token', refresh_token = 'SECRET[a.r]' }";
    let options = checked(&toml.replace("ORIGIN/", server.url.as_str())).unwrap();
    let store = Arc::<Store>::default();
    let secrets = FakeSecrets::of(&[("r", "first")]);
    let make = || {
        let mut keys = keys(&secrets);
        keys.tokens = Some(Arc::clone(&store) as Arc<dyn TokenStore>);
        (client(&server, &options), options.build(keys))
    };
    let request = Request::get(server.at("api"));
    // The store does not take it: the access token is not used, and the refresh token not lost.
    *store.fails.lock().unwrap() = true;
    let (http, auth) = make();
    assert_eq!(http.send(&request, Some(&auth)).await.unwrap_err().cause, Cause::Local);
    assert!(server.seen().iter().all(|seen| seen.path == "/token"));
    *store.fails.lock().unwrap() = false;
    assert_eq!(http.send(&request, Some(&auth)).await.unwrap().status, StatusCode::OK);
    // A restart goes on with what was kept.
    let (http, auth) = make();
    assert_eq!(http.send(&request, Some(&auth)).await.unwrap().status, StatusCode::OK);
    assert_eq!(given.load(Ordering::SeqCst), 3);
    // Another one in the document counts.
    secrets.values.lock().unwrap().insert("r".to_owned(), "second".to_owned());
    *good.lock().unwrap() = "second".to_owned();
    let (http, auth) = make();
    assert_eq!(http.send(&request, Some(&auth)).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn an_exchange_goes_on_when_nobody_waits_for_it_any_more() {
    let good = Arc::new(Mutex::new("first".to_owned()));
    let expected = Arc::clone(&good);
    let (server, given) = oauth2(move |seen| {
        let mut expected = expected.lock().unwrap();
        let fits = seen.body.contains(&format!("refresh_token={expected}&"));
        // Each is good once.
        if fits && *expected == "first" {
            *expected = "re-1".to_owned();
        }
        fits
    })
    .await;
    let toml = "auth = { strategy = 'oauth2', grant = 'refresh_token', client_id = 'me', \
                token_endpoint = 'ORIGIN/token', refresh_token = 'SECRET[a.r]' }";
    let options = checked(&toml.replace("ORIGIN/", server.url.as_str())).unwrap();
    let store = Arc::<Store>::default();
    let secrets = FakeSecrets::of(&[("r", "first")]);
    let make = || {
        let mut keys = keys(&secrets);
        keys.tokens = Some(Arc::clone(&store) as Arc<dyn TokenStore>);
        (client(&server, &options), options.build(keys))
    };
    let request = Request::get(server.at("api"));
    let shut = store.gate.acquire().await.unwrap();
    let (http, auth) = make();
    {
        let sending = http.send(&request, Some(&auth));
        tokio::select! {
            sent = sending => panic!("nothing was kept, and yet {sent:?}"),
            () = store.asked.notified() => {}
        }
    }
    // Meanwhile somebody sets another; what came of the first is not taken for what comes of it.
    secrets.values.lock().unwrap().insert("r".to_owned(), "second".to_owned());
    let (probe, again) = make();
    let mut probing = Box::pin(probe.send(&request, Some(&again)));
    assert!(futures_util::poll!(&mut probing).is_pending());
    drop(shut);
    drop(store.turn().acquire().await.unwrap());
    assert!(store.kept.lock().unwrap().as_ref().unwrap().reveal().ends_with(" re-1"));
    *good.lock().unwrap() = "second".to_owned();
    assert_eq!(probing.await.unwrap().status, StatusCode::OK);
    assert_eq!(given.load(Ordering::SeqCst), 2, "one exchange each");
}

#[tokio::test]
async fn of_many_requests_that_are_refused_one_gets_another_token() {
    let (server, given) = oauth2(|_| true).await;
    let auth = checked(&CLIENT.replace("ORIGIN/", server.url.as_str())).unwrap();
    let http = client(&server, &auth);
    let auth = auth.build(keys(&FakeSecrets::of(&[("s", "s3cret")])));
    let request = Request::get(server.at("api"));
    assert_eq!(http.send(&request, Some(&auth)).await.unwrap().status, StatusCode::OK);
    given.fetch_add(1, Ordering::SeqCst);
    let all = (0..20).map(|_| http.send(&request, Some(&auth)));
    let all = futures_util::future::join_all(all).await;
    assert!(all.into_iter().all(|answer| answer.unwrap().status == StatusCode::OK));
    assert_eq!(given.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_client_that_is_refused_is_tried_with_its_secret_read_anew() {
    let (server, given) = oauth2(|seen| {
        let basic = format!("Basic {}", STANDARD.encode("me:fresh1"));
        seen.header("authorization") == Some(&basic)
    })
    .await;
    let secrets = FakeSecrets::of(&[("s", "stale1")]);
    secrets.rotated.lock().unwrap().insert("s".to_owned(), "fresh1".to_owned());
    assert_eq!(call(&server, CLIENT, &secrets).await.unwrap(), StatusCode::OK);
    assert_eq!(given.load(Ordering::SeqCst), 1);
    assert_eq!(server.seen().iter().filter(|seen| seen.path == "/token").count(), 2);
}

#[tokio::test]
async fn a_login_gives_a_token_or_cookies() {
    let server = Server::start(|seen| match (seen.path.as_str(), seen.body.as_str()) {
        ("/login", r#"{"p":"passw0rd"}"#) => {
            let cookies = [("set-cookie", "sid=abcd; Path=/"), ("set-cookie", "old=; Max-Age=0")];
            answer("200 OK", &cookies, br#"{"data":{"token":"t0ken"}}"#)
        }
        ("/login", _) => answer("403 Forbidden", &[], b""),
        _ if seen.header("cookie") == Some("sid=abcd") => json("[]"),
        _ if seen.header("x-token") == Some("t0ken") => json("[]"),
        _ => answer("401 Unauthorized", &[], b""),
    })
    .await;
    let secrets = FakeSecrets::of(&[("p", "passw0rd")]);
    for carried in ["cookie = true", "token_path = '.data.token', header = 'X-Token'"] {
        let toml = format!(
            "auth = {{ strategy = 'login', endpoint = 'ORIGIN/login', \
             body = '{{\"p\":\"SECRET[a.p]\"}}', {carried} }}"
        );
        assert_eq!(call(&server, &toml, &secrets).await.unwrap(), StatusCode::OK, "{carried}");
    }
    let toml = "auth = { strategy = 'login', endpoint = 'ORIGIN/login', cookie = true }";
    assert_eq!(call(&server, toml, &secrets).await.unwrap_err().cause, Cause::Authentication);
}

#[tokio::test]
async fn a_request_is_signed_by_hmac_as_its_author_wrote() {
    let server = Server::start(|seen| {
        let date = seen.header("date").unwrap_or_default().to_owned();
        let host = seen.header("host").unwrap_or_default();
        let message = format!("{date}\nGET\n{host}\n/api\nx=1");
        let key = crate::sign::mac(aws_lc_rs::hmac::HMAC_SHA512, b"s3cret", message.as_bytes());
        let code = crate::sign::hex(&key);
        let basic = format!("Basic {}", STANDARD.encode(format!("ikey:{code}")));
        match seen.header("authorization") == Some(&basic) {
            true => json("[]"),
            false => answer("401 Unauthorized", &[], b""),
        }
    })
    .await;
    let toml = "[auth]\nstrategy = 'hmac'\nkey = 'SECRET[a.s]'\nhash = 'sha512'\nuser = 'ikey'\n\
                message = \"{{ date }}\\n{{ method }}\\n{{ host }}\\n{{ path }}\\n{{ query }}\"";
    let secrets = FakeSecrets::of(&[("s", "s3cret")]);
    assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn each_request_may_have_a_token_of_its_own() {
    let server = Server::start(|seen| {
        let token = seen.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let parts: Vec<&str> = token.unwrap_or_default().split('.').collect();
        let [head, claims, signature] = parts[..] else {
            return answer("401 Unauthorized", &[], b"");
        };
        let code = crate::sign::hmac_sha256(b"s3cret", format!("{head}.{claims}").as_bytes());
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        let good = URL_SAFE_NO_PAD.encode(code) == signature
            && claims["iss"] == "me"
            && claims["level"] == 3;
        if good { json("[]") } else { answer("401 Unauthorized", &[], b"") }
    })
    .await;
    let toml = "auth = { strategy = 'jwt', algorithm = 'HS256', private_key = 'SECRET[a.s]', \
                issuer = 'me', claims = { level = 3 } }";
    let secrets = FakeSecrets::of(&[("s", "s3cret")]);
    assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_role_is_taken_on_and_its_keys_used() {
    let server = Server::start(|seen| {
        let signed = seen.header("authorization").unwrap_or_default().to_owned();
        if seen.method == "POST" {
            let good = seen.body.contains("Action=AssumeRole")
                && seen.body.contains("ExternalId=ext-1")
                && signed.contains("/eu-west-1/sts/aws4_request");
            let body = "<r><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>role-key</SecretAccessKey>\
                        <SessionToken>sess-tok</SessionToken></r>";
            return match good {
                true => answer("200 OK", &[], body.as_bytes()),
                false => answer("403 Forbidden", &[], b""),
            };
        }
        let good = signed.contains("Credential=ASIA/")
            && seen.header("x-amz-security-token") == Some("sess-tok");
        if good { json("[]") } else { answer("403 Forbidden", &[], b"") }
    })
    .await;
    let toml = "[auth]\nstrategy = 'aws'\nservice = 'execute-api'\n[auth.auth]\n\
                access_key_id = 'AKIA'\nsecret_access_key = 'SECRET[a.k]'\nregion = 'eu-west-1'\n\
                assume_role = 'arn:aws:iam::1:role/r'\nexternal_id = 'ext-1'\n\
                sts_endpoint = 'ORIGIN/'";
    let secrets = FakeSecrets::of(&[("k", "aws-s3cret")]);
    assert_eq!(call(&server, toml, &secrets).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let other = Server::start(|_| json("[1]")).await;
    let location = other.at("taken").to_string();
    let server = Server::start(move |seen| match seen.path.as_str() {
        "/api?x=1" => answer("302 Found", &[("location", "/here")], b""),
        "/here" => answer("307 Temporary Redirect", &[("location", location.as_str())], b""),
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    let auth = checked("auth = { strategy = 'bearer', token = 'SECRET[a.t]' }").unwrap();
    let options = HttpOptions { allow_private: Some(true), ..HttpOptions::default() };
    let http = Http::build(&options, [&server.url], &Clock::system()).unwrap();
    let auth = auth.build(keys(&FakeSecrets::of(&[("t", "s3cret")])));
    let mut request = Request::get(server.at("api?x=1"));
    request.headers.insert("x-own", "1".parse().unwrap());
    request.headers.insert("accept", "application/json".parse().unwrap());
    let answer = http.send(&request, Some(&auth)).await.unwrap();
    assert_eq!(&answer.body[..], b"[1]");
    let (own, others) = (server.seen(), other.seen());
    assert!(own.iter().all(|seen| seen.header("authorization") == Some("Bearer s3cret")));
    assert_eq!(own.len(), 2);
    assert_eq!(others[0].header("authorization"), None);
    assert_eq!(
        (others[0].header("x-own"), others[0].header("accept")),
        (None, Some("application/json"))
    );
}

#[tokio::test]
async fn a_recording_answers_in_place_of_the_network_and_holds_no_secret() {
    let server = Server::start(only("authorization", "Bearer s3cret")).await;
    let auth = checked("auth = { strategy = 'bearer', token = 'SECRET[a.t]' }").unwrap();
    let http = client(&server, &auth);
    let auth = auth.build(keys(&FakeSecrets::of(&[("t", "s3cret")])));
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("recorded");
    http.trace().record(Some(crate::Recorder::new(&folder).unwrap()));
    let request = Request::get(server.at("api?token=s3cret&x=1"));
    let sent = http.send(&request, Some(&auth)).await.unwrap();
    assert_eq!(sent.status, StatusCode::OK);
    let text = std::fs::read_to_string(folder.join("0001.json")).unwrap();
    assert!(!text.contains("s3cret") && text.contains("token=***&x=1"), "{text}");
    let replay = crate::Replay::load(&folder).unwrap();
    http.trace().replay_from(replay);
    let asked = server.seen().len();
    let again = http.send(&request, Some(&auth)).await.unwrap();
    assert_eq!((again.status, again.body), (StatusCode::OK, sent.body));
    assert!(http.send(&request, Some(&auth)).await.is_err(), "it was recorded once");
    assert_eq!(server.seen().len(), asked);
}

#[test]
fn exactly_the_options_of_a_strategy_are_taken() {
    for (toml, title) in [
        ("auth = { strategy = 'basic', user = 'u' }", "`basic` needs `auth.password`"),
        ("auth = { strategy = 'bearer', token = 't', user = 'u' }", "`bearer` has no `auth.user`"),
        (
            "auth = { strategy = 'api_key', key = 'k' }",
            "a key stands in a header or in a parameter",
        ),
        (
            "auth = { strategy = 'oauth2', client_id = 'c', token_endpoint = 'https://t.example/' }",
            "a client shows a secret or an assertion",
        ),
        (
            "auth = { strategy = 'oauth2', grant = 'password', user = 'u', password = 'p' }",
            "`password` needs `auth.token_endpoint`",
        ),
        (
            "auth = { strategy = 'oauth2', grant = 'jwt_bearer' }",
            "an assertion is signed by one key",
        ),
        (
            "auth = { strategy = 'oauth2', client_id = 'c', client_secret = 's', refresh_token = 'r', \
             token_endpoint = 'https://t.example/' }",
            "`client_credentials` has no `auth.refresh_token`",
        ),
        (
            "auth = { strategy = 'login', endpoint = 'https://l.example/' }",
            "a login gives a token or cookies",
        ),
        (
            "auth = { strategy = 'hmac', key = 'k', message = '{{ date }}' }",
            "the code goes nowhere",
        ),
        (
            "auth = { strategy = 'login', endpoint = 'https://u:p@l.example/', cookie = true }",
            "an address is shown and holds no credentials",
        ),
    ] {
        assert_eq!(checked(toml).unwrap_err(), [title], "{toml}");
    }
}
