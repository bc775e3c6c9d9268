//! The table `auth`: every option of every kind, declared once.

use azud_plan::component::{Default as Unwritten, OptionKind, OptionSpec};

const fn option(name: &'static str, kind: OptionKind, summary: &'static str) -> OptionSpec {
    OptionSpec { name, kind, default: Unwritten::None, summary }
}

/// The option `auth`.
pub const AUTH: OptionSpec = OptionSpec {
    name: "auth",
    kind: OptionKind::Table(OPTIONS),
    default: Unwritten::None,
    summary: "How we say who we are. Each strategy has its own options, and no others.",
};

const OPTIONS: &[OptionSpec] = &[
    option("auth", OptionKind::Table(AWS), "`aws`: the keys."),
    option("header", OptionKind::Text, "`api_key`: the header that the key stands in."),
    option("key", OptionKind::Confidential, "`api_key`: the key."),
    option("password", OptionKind::Confidential, "`basic`: the password."),
    option("query", OptionKind::Text, "`api_key`: the parameter that the key stands in."),
    option("service", OptionKind::Text, "`aws`: the service that is asked (`execute-api`)."),
    OptionSpec {
        name: "strategy",
        kind: OptionKind::OneOf(&[
            ("api_key", "a key in a header or a parameter"),
            ("aws", "Signature Version 4"),
            ("basic", "user and password"),
            ("bearer", "a token"),
            ("custom", "the whole value of the header `Authorization`"),
        ]),
        default: Unwritten::Required,
        summary: "How we say who we are.",
    },
    option("token", OptionKind::Confidential, "`bearer`: the token."),
    option("user", OptionKind::Confidential, "`basic`: the user."),
    option("value", OptionKind::Confidential, "`custom`: the value (`SSWS SECRET[azud.okta]`)."),
];

const AWS: &[OptionSpec] = &[
    OptionSpec {
        name: "access_key_id",
        kind: OptionKind::Confidential,
        default: Unwritten::Required,
        summary: "The id of the key.",
    },
    option("assume_role", OptionKind::Text, "The ARN of a role to take on."),
    option("external_id", OptionKind::Confidential, "What the role wants to hear with it."),
    OptionSpec {
        name: "region",
        kind: OptionKind::Text,
        default: Unwritten::Required,
        summary: "The region (`eu-west-1`).",
    },
    OptionSpec {
        name: "secret_access_key",
        kind: OptionKind::Confidential,
        default: Unwritten::Required,
        summary: "The key.",
    },
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
];

/// The names of all options but `strategy`.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.name).filter(|name| *name != "strategy")
}
