//! What a redactor hides, and where it cuts.

use super::*;
use reqwest::header::{HeaderMap, HeaderValue};

fn knowing(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::default();
    secrets.iter().for_each(|secret| redactor.keep(&Secret::new(secret.to_string())));
    redactor
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    pairs.collect()
}

#[test]
fn secrets_are_taken_out_in_all_their_forms() {
    let redactor = knowing(&["pa ss\"word", "pa ss\"word-longer", "x", "s3cret/+&~"]);
    let text = "a pa ss\"word b pa%20ss%22word c cGEgc3Mid29yZA== d pa ss\\\"word-longer x";
    assert_eq!(redactor.clean(text), "a *** b *** c *** d *** x");
    let secret = "s3cret/+&~";
    for form in [
        secret,
        "s3cret%2F%2B%26~",
        "s3cret%2f%2b%26~",
        "s3cret/%2B%26~",
        "s3cret%2F%2B%26%7E",
        "s3cret\\/+&~",
        "s3cret/+&amp;~",
        "czNjcmV0LysmfgAA",
    ] {
        let told = redactor.clean(&format!("<{form}>"));
        assert!(!told.contains("3cret") && !told.contains("czNjcmV0"), "{form}: {told}");
    }
    for before in ["", "u:", "me:"] {
        let whole = STANDARD.encode(format!("{before}{secret}:x"));
        let told = redactor.clean(&whole);
        assert!(told.contains(STARS) && told.len() <= whole.len() - 10, "{whole}: {told}");
    }
}

#[test]
fn what_is_used_all_the_time_is_not_forgotten_for_tokens_that_come_and_go() {
    let redactor = Redactor::default();
    let keep = |text: &str| redactor.keep(&Secret::new(text.to_owned()));
    for number in 0..HUSHED_MAX {
        keep("the secret/of a client");
        (0..4).for_each(|kind| keep(&format!("token {kind}/{number}")));
        assert_eq!(redactor.clean("with the secret/of a client"), "with ***", "{number}");
    }
    assert!(redactor.lock().all().count() <= HUSHED_MAX);
}

/// Half a secret is not known any more: what is cut is hushed before.
#[test]
fn no_part_of_a_secret_stands_at_a_cut() {
    let secret = "qZ7xW2vK9pL4";
    let redactor = knowing(&[secret, "K9pL4-qUx-Jkv"]);
    let encoded = STANDARD.encode(secret);
    let body = format!("é ab {secret}-qUx-Jkv, {secret}{encoded} \"password\":\"hUnTeR2\" z");
    let part = |told: &str| {
        let secrets = [secret, encoded.as_str(), "-qUx-Jkv", "hUnTeR2"];
        let mut parts = secrets.iter().flat_map(|secret| secret.as_bytes().windows(3));
        parts.any(|part| told.as_bytes().windows(3).any(|three| three == part))
    };
    assert!(part(&body), "the check sees them");
    for most in 0..body.len() + 2 {
        let told = redactor.data(body.as_bytes(), most);
        assert!(!part(&told), "{most}: {told}");
        let quoted = redactor.quote(body.as_bytes(), most);
        assert!(!part(&quoted) && quoted.len() <= most, "{most}: {quoted}");
    }
    assert!(redactor.data(body.as_bytes(), 4).ends_with("bytes more"));
    assert!(redactor.data(body.as_bytes(), body.len()).ends_with(" z"));
}

#[test]
fn a_title_is_hushed_before_it_is_cut() {
    let redactor = knowing(&["qZ7xW2vK9pL4"]);
    let kind = headers(&[("content-type", "text/html; charset=utf-8")]);
    let title = format!("{} qZ7xW2vK9pL4", "a".repeat(TITLE_BYTES_MAX - 6));
    let page = format!("<html><title>{title}</title>");
    let told = redactor.refusal(&kind, page.as_bytes());
    assert!(told.ends_with("a ***\"") && !told.contains("qZ"), "{told}");
    let long = format!("<html><title>{}</title>", "é".repeat(99));
    let told = redactor.refusal(&kind, long.as_bytes());
    assert_eq!(told, format!("a page of HTML, \"{}\"", "é".repeat(TITLE_BYTES_MAX / 2)));
}

#[test]
fn headers_are_hidden_by_their_names() {
    let redactor = knowing(&["s3cret"]);
    let pairs = [
        ("authorization", "AWS4-HMAC-SHA256 Credential=a, Signature=b"),
        ("cookie", "a=b"),
        ("set-cookie", "a=b"),
        ("proxy-authorization", "Basic abc"),
        ("www-authenticate", "Digest nonce=\"b\""),
        ("x-amz-security-token", "b"),
        ("x-vendor-api-key", "b"),
        ("x-vendor-token", "b"),
        ("x-ms-continuationtoken", "b"),
        ("link", "<https://a/?sig=b&x=s3cret>"),
        ("date", "b"),
    ];
    let mut given = headers(&pairs);
    let mut sensitive = HeaderValue::from_static("b");
    sensitive.set_sensitive(true);
    given.insert("x-own", sensitive);
    let shown = redactor.headers(&given, About::Data);
    let open: Vec<(&str, &str)> = shown
        .iter()
        .filter(|(_, value)| value != STARS)
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected =
        [("x-ms-continuationtoken", "b"), ("link", "<https://a/?sig=***&x=***>"), ("date", "b")];
    assert_eq!(open, expected);
    let shown = redactor.headers(&given, About::Identity);
    let open: Vec<&str> =
        shown.iter().filter(|(_, value)| value != STARS).map(|(name, _)| name.as_str()).collect();
    assert_eq!(open, ["date"]);
}

#[test]
fn of_who_we_are_names_are_shown_and_what_is_wrong() {
    let redactor = knowing(&["s3cret"]);
    let (ok, bad) = (StatusCode::OK, StatusCode::FORBIDDEN);
    let json = headers(&[("content-type", "application/json")]);
    let form = headers(&[("content-type", "application/x-www-form-urlencoded; charset=utf-8")]);
    let xml = headers(&[("content-type", "text/xml")]);
    let answer = |status, kind: &HeaderMap, body: &str| {
        redactor.answer(status, kind, body.as_bytes(), About::Identity, 1000)
    };
    for (status, kind, body, shown) in [
        (
            ok,
            &json,
            r#"{"accessToken":"a","data":[{"sid":"b"},"c",7],"expires_in":60,"tokenType":"Bearer","none":null}"#,
            r#"{"accessToken":"***","data":[{"sid":"***"},"***","***"],"expires_in":60,"none":null,"tokenType":"Bearer"}"#,
        ),
        (
            bad,
            &json,
            r#"{"error":{"code":"E1","Message":"for s3cret","sid":"x"},"error-description":"client_secret=x"}"#,
            r#"{"error":{"Message":"for ***","code":"E1","sid":"***"},"error-description":"client_secret=***"}"#,
        ),
        (ok, &json, r#"{"code":{"scope":"a"}}"#, r#"{"code":{"scope":"a"}}"#),
        (
            ok,
            &json,
            r#"{"code":"0123456789012345678901234567890123456789012"}"#,
            r#"{"code":"***"}"#,
        ),
        (ok, &json, "\"token\"", "application/json, 7 bytes"),
        (ok, &form, "access_token=a&scope=b&sid=c", "access_token=***&scope=b&sid=***"),
        (ok, &form, "c2VjcmV0==", "application/x-www-form-urlencoded, 10 bytes"),
        (ok, &xml, "<r><SecretAccessKey>k</SecretAccessKey></r>", "text/xml, 43 bytes"),
        (
            bad,
            &xml,
            "<e><Code>Denied</Code><Message>for s3cret</Message><x>y</x></e>",
            "text/xml, 63 bytes: Denied: for ***",
        ),
        (bad, &HeaderMap::new(), "no such user", "no type, 12 bytes"),
        (bad, &json, "", ""),
    ] {
        assert_eq!(answer(status, kind, body), shown, "{body}");
    }
    let long = format!(r#"{{"{}":"x"}}"#, "k".repeat(NAME_BYTES_MAX + 1));
    assert_eq!(answer(ok, &json, &long), r#"{"***":"***"}"#);
    let request = |kind: &HeaderMap, body: &str| {
        redactor.request(kind, body.as_bytes(), About::Identity, 1000)
    };
    assert_eq!(request(&form, "grant_type=password&code=abc"), "grant_type=***&code=***");
    assert_eq!(request(&json, r#"{"user":"u","n":{"p":1}}"#), r#"{"n":{"p":"***"},"user":"***"}"#);
}
