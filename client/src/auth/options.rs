//! The table `auth`: every option of every kind, declared once.

use super::hmac::HASHES;
use crate::sign::ALGORITHMS;
use azud_plan::component::{Default as Unwritten, OptionKind, OptionSpec};

const fn option(name: &'static str, kind: OptionKind, summary: &'static str) -> OptionSpec {
    OptionSpec { name, kind, default: Unwritten::None, summary }
}

const fn required(name: &'static str, kind: OptionKind, summary: &'static str) -> OptionSpec {
    OptionSpec { name, kind, default: Unwritten::Required, summary }
}

/// The option `auth`.
pub const AUTH: OptionSpec = OptionSpec {
    name: "auth",
    kind: OptionKind::Table(OPTIONS),
    default: Unwritten::None,
    summary: "How we say who we are. Each strategy has its own options, and no others.",
};

const OPTIONS: &[OptionSpec] = &[
    option(
        "algorithm",
        OptionKind::OneOf(ALGORITHMS),
        "`jwt`, `oauth2` by `jwt_bearer`: how the token is signed. Without it `RS256`.",
    ),
    option("audience", OptionKind::Text, "`jwt`, `oauth2`: whom the token is for."),
    option("auth", OptionKind::Table(AWS), "`aws`: the keys."),
    option(
        "body",
        OptionKind::Confidential,
        "`login`: the body of the call, JSON or a form \
         (`{\"user\":\"azud\",\"password\":\"SECRET[azud.example]\"}`).",
    ),
    option("claims", OptionKind::Map(&OptionKind::Any), "`jwt`: what else the token says."),
    option(
        "client_assertion",
        OptionKind::Table(ASSERTION),
        "`oauth2`: the client signs who it is (`private_key_jwt`).",
    ),
    option(
        "client_auth",
        OptionKind::OneOf(&[
            ("basic", "in the header `Authorization`"),
            ("body", "as `client_id` and `client_secret` in the body"),
        ]),
        "`oauth2`: where the client's secret stands. Without it `basic`.",
    ),
    option("client_id", OptionKind::Text, "`oauth2`: the id of the client."),
    option("client_secret", OptionKind::Confidential, "`oauth2`: the client's secret."),
    option(
        "cookie",
        OptionKind::Boolean,
        "`login`: whether cookies of the answer are carried on, in place of a token.",
    ),
    option(
        "encoding",
        OptionKind::OneOf(&[("base64", "Base64"), ("hex", "hexadecimal digits")]),
        "`hmac`: how the code is written. Without it `hex`.",
    ),
    option("endpoint", OptionKind::Text, "`login`: the address of the call, a `POST`."),
    option(
        "expires_secs",
        OptionKind::Seconds,
        "`login`: how long its token is good. Without it an hour; one that is refused sooner is \
         had anew.",
    ),
    option(
        "grant",
        OptionKind::OneOf(&[
            ("client_credentials", "the client's secret or assertion"),
            ("jwt_bearer", "a token that we sign, or a key of a service account"),
            ("password", "user and password"),
            ("refresh_token", "a refresh token; if the answer has another, that is kept"),
        ]),
        "`oauth2`: what a token is given for. Without it `client_credentials`.",
    ),
    option("hash", OptionKind::OneOf(HASHES), "`hmac`: the hash. Without it `sha256`."),
    option(
        "header",
        OptionKind::Text,
        "`api_key`, `jwt`, `login`: the header that it stands in. Without it `Authorization`, but \
         for `api_key`.",
    ),
    option(
        "headers",
        OptionKind::Map(&OptionKind::Confidential),
        "`hmac`: the headers that carry it, which may name `{{ signature }}` and what `message` \
         may.",
    ),
    option("issuer", OptionKind::Text, "`jwt`, `oauth2` by `jwt_bearer`: who signs the token."),
    option("key", OptionKind::Confidential, "`api_key`, `hmac`: the key."),
    option("key_id", OptionKind::Text, "`jwt`, `oauth2` by `jwt_bearer`: the id of the key."),
    option(
        "lifetime_secs",
        OptionKind::Seconds,
        "`jwt`: how long a token is good. Without it five minutes; each request has its own.",
    ),
    option(
        "message",
        OptionKind::Text,
        "`hmac`: what is signed. `{{ … }}` may name body, body_sha256, date, host, method, nonce, \
         path, query (sorted), timestamp and timestamp_ms. A `date` goes into the header `Date`.",
    ),
    option(
        "params",
        OptionKind::Map(&OptionKind::Confidential),
        "`oauth2`: further parameters of the request for a token.",
    ),
    option(
        "password",
        OptionKind::Confidential,
        "`basic`, `digest`, `login`, `oauth2`: the password.",
    ),
    option(
        "prefix",
        OptionKind::Text,
        "`jwt`, `login`: what stands before the token. Without it `Bearer ` in `Authorization`, \
         else nothing.",
    ),
    option(
        "private_key",
        OptionKind::Confidential,
        "`jwt`, `oauth2` by `jwt_bearer`: the key that signs, in PEM; of `HS…` a shared one.",
    ),
    option("query", OptionKind::Text, "`api_key`: the parameter that the key stands in."),
    option("refresh_token", OptionKind::Confidential, "`oauth2`: the first refresh token."),
    option("scopes", OptionKind::List(&OptionKind::Text), "`oauth2`: what the token is to allow."),
    option("service", OptionKind::Text, "`aws`: the service that is asked (`execute-api`)."),
    option(
        "service_account",
        OptionKind::Confidential,
        "`oauth2` by `jwt_bearer`: a key of a service account as Google gives it, in JSON.",
    ),
    OptionSpec {
        name: "strategy",
        kind: OptionKind::OneOf(&[
            ("api_key", "a key in a header or a parameter"),
            ("aws", "Signature Version 4"),
            ("basic", "user and password"),
            ("bearer", "a token"),
            ("custom", "the whole value of the header `Authorization`"),
            ("digest", "user and password, by challenge"),
            ("hmac", "a code over the request"),
            ("jwt", "a token that we sign, for each request"),
            ("login", "a call that gives a token or cookies"),
            ("oauth2", "a token of a token endpoint"),
        ]),
        default: Unwritten::Required,
        summary: "How we say who we are.",
    },
    option(
        "subject",
        OptionKind::Text,
        "`jwt`, `oauth2` by `jwt_bearer`: for whom (with Google's domain-wide delegation, a user).",
    ),
    option("token", OptionKind::Confidential, "`bearer`: the token."),
    option("token_endpoint", OptionKind::Text, "`oauth2`: the address that gives tokens."),
    option("token_path", OptionKind::Field, "`login`: where the answer has the token."),
    option(
        "user",
        OptionKind::Confidential,
        "`basic`, `digest`, `login`, `oauth2`: the user; `hmac`: the user of Basic whose password \
         the code is.",
    ),
    option("value", OptionKind::Confidential, "`custom`: the value (`SSWS SECRET[azud.okta]`)."),
];

const ASSERTION: &[OptionSpec] = &[
    OptionSpec {
        name: "algorithm",
        kind: OptionKind::OneOf(ALGORITHMS),
        default: Unwritten::Value("\"RS256\""),
        summary: "How it is signed.",
    },
    option("audience", OptionKind::Text, "Whom it is for. Without it the token endpoint."),
    option("key_id", OptionKind::Text, "The id of the key."),
    required("private_key", OptionKind::Confidential, "The key that signs it, in PEM."),
];

const AWS: &[OptionSpec] = &[
    required("access_key_id", OptionKind::Confidential, "The id of the key."),
    option("assume_role", OptionKind::Text, "The ARN of a role to take on."),
    option("external_id", OptionKind::Confidential, "What the role wants to hear with it."),
    required("region", OptionKind::Text, "The region (`eu-west-1`)."),
    required("secret_access_key", OptionKind::Confidential, "The key."),
    OptionSpec {
        name: "session_name",
        kind: OptionKind::Text,
        default: Unwritten::Value("\"azud\""),
        summary: "The name of the session of a role, as it stands in AWS's own logs.",
    },
    option("session_token", OptionKind::Confidential, "The token of a session that the key is of."),
    option(
        "sts_endpoint",
        OptionKind::Text,
        "Where the role is taken on. Without it `https://sts.REGION.amazonaws.com/`.",
    ),
];

/// Which options a strategy needs, and which it may have.
pub(super) struct Shape {
    pub(super) strategy: &'static str,
    pub(super) needs: &'static [&'static str],
    pub(super) may: &'static [&'static str],
}

const fn shape(
    strategy: &'static str,
    needs: &'static [&'static str],
    may: &'static [&'static str],
) -> Shape {
    Shape { strategy, needs, may }
}

/// All of them.
pub(super) const SHAPES: &[Shape] = &[
    shape("api_key", &["key"], &["header", "query"]),
    shape("aws", &["auth", "service"], &[]),
    shape("basic", &["user", "password"], &[]),
    shape("bearer", &["token"], &[]),
    shape("custom", &["value"], &[]),
    shape("digest", &["user", "password"], &[]),
    shape("hmac", &["key", "message"], &["encoding", "hash", "headers", "user"]),
    shape(
        "jwt",
        &["private_key"],
        &[
            "algorithm",
            "audience",
            "claims",
            "header",
            "issuer",
            "key_id",
            "lifetime_secs",
            "prefix",
            "subject",
        ],
    ),
    shape(
        "login",
        &["endpoint"],
        &["body", "cookie", "expires_secs", "header", "password", "prefix", "token_path", "user"],
    ),
    shape(
        "oauth2",
        &[],
        &[
            "algorithm",
            "audience",
            "client_assertion",
            "client_auth",
            "client_id",
            "client_secret",
            "grant",
            "issuer",
            "key_id",
            "params",
            "password",
            "private_key",
            "refresh_token",
            "scopes",
            "service_account",
            "subject",
            "token_endpoint",
            "user",
        ],
    ),
];

/// What a grant of `oauth2` needs and may have of what others have not.
pub(super) const GRANTS: &[Shape] = &[
    shape("client_credentials", &["client_id", "token_endpoint"], &[]),
    shape(
        "jwt_bearer",
        &[],
        &["algorithm", "issuer", "key_id", "private_key", "service_account", "subject"],
    ),
    shape("password", &["password", "token_endpoint", "user"], &[]),
    shape("refresh_token", &["refresh_token", "token_endpoint"], &[]),
];

/// The names of all options but `strategy`.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.name).filter(|name| *name != "strategy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_name_what_there_is() {
        for options in [OPTIONS, ASSERTION, AWS] {
            assert!(options.is_sorted_by_key(|option| option.name));
        }
        for shape in SHAPES.iter().chain(GRANTS) {
            for name in shape.needs.iter().chain(shape.may) {
                assert!(names().any(|known| known == *name), "{}: {name}", shape.strategy);
            }
        }
        for name in names() {
            let has = |shape: &Shape| shape.needs.contains(&name) || shape.may.contains(&name);
            assert!(SHAPES.iter().any(has), "nobody has {name}");
        }
    }
}
