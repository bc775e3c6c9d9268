//! The options of `http_client`.

use crate::decoding::DECODING;
use azud_client::{ALLOW_PRIVATE, AUTH, CONNECT_TIMEOUT, MAX_RESPONSE, PROXY, READ_TIMEOUT, TLS};
use azud_plan::component::{Default as Unwritten, OptionKind, OptionSpec};

const fn option(name: &'static str, kind: OptionKind, summary: &'static str) -> OptionSpec {
    OptionSpec { name, kind, default: Unwritten::None, summary }
}

const fn with(
    name: &'static str,
    kind: OptionKind,
    default: &'static str,
    summary: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, default: Unwritten::Value(default), summary }
}

const fn required(name: &'static str, kind: OptionKind, summary: &'static str) -> OptionSpec {
    OptionSpec { name, kind, default: Unwritten::Required, summary }
}

const CONFIDENTIAL_OR_LIST: OptionKind =
    OptionKind::Either(&OptionKind::Confidential, &OptionKind::List(&OptionKind::Confidential));
const TEXT_OR_LIST: OptionKind =
    OptionKind::Either(&OptionKind::Text, &OptionKind::List(&OptionKind::Text));
const METHODS: OptionKind =
    OptionKind::OneOf(&[("get", "`GET`"), ("post", "`POST`"), ("put", "`PUT`")]);

/// All of them.
pub(super) const OPTIONS: &[OptionSpec] = &[
    required(
        "endpoint",
        OptionKind::Text,
        "The address that is asked. It may have values in it: `https://{{ label.site }}.example/`.",
    ),
    ALLOW_PRIVATE,
    AUTH,
    option("body", OptionKind::Text, "The body of the request. It may have values in it."),
    with(
        "conditional",
        OptionKind::Boolean,
        "false",
        "Whether to ask for what has changed only (`ETag`, `Last-Modified`). An answer of 304 is a \
         good poll without records.",
    ),
    CONNECT_TIMEOUT,
    option(
        "connector",
        OptionKind::Text,
        "Runs this definition for every enabled connector whose name matches (`okta-*`), each with \
         its own cursor and status. Their labels are values, and the member `labels` of records.",
    ),
    CONTENT,
    CURSOR,
    DECODING,
    DEDUPE,
    option(
        "headers",
        OptionKind::Map(&CONFIDENTIAL_OR_LIST),
        "Headers of the request. One that names no secret may have values in it.",
    ),
    JOB,
    option(
        "max_lag",
        OptionKind::Duration,
        "How old the newest record may be, by its event time, before the connector is in `warning`. \
         For what always has something new; it wants `event_time`.",
    ),
    MAX_RESPONSE,
    with("method", METHODS, "\"get\"", "The method of the request."),
    PAGINATION,
    PARENTS,
    PROXY,
    option(
        "query",
        OptionKind::Map(&TEXT_OR_LIST),
        "Parameters of the request. One that names a value that is not there is left out.",
    ),
    RATE_LIMIT,
    READ_TIMEOUT,
    RETRY,
    option(
        "schedule",
        OptionKind::Text,
        "When to poll, in place of `scrape_interval_secs`: minute, hour, day, month and day of the \
         week as of cron, in UTC (`*/15 * * * *`). A time that was missed is made up for at start.",
    ),
    with(
        "scrape_interval_secs",
        OptionKind::Seconds,
        "15",
        "How often to poll. Polls never overlap.",
    ),
    with(
        "scrape_timeout_secs",
        OptionKind::Seconds,
        "60",
        "How long one request may take, its answer included.",
    ),
    TIME_SLICES,
    TLS,
];

const CONTENT: OptionSpec = OptionSpec {
    name: "content",
    kind: OptionKind::Table(&[
        option(
            "columns",
            OptionKind::List(&OptionKind::Text),
            "The names of the columns of CSV. Without it the first line has them.",
        ),
        with("delimiter", OptionKind::Text, "\",\"", "What stands between the values of CSV."),
        option(
            "keep",
            OptionKind::List(&OptionKind::Text),
            "Members of what is around the records, which each of them is given unless it has one \
             of that name: of the innermost object that has it.",
        ),
        with(
            "optional",
            OptionKind::Boolean,
            "false",
            "Whether an answer without that place has no records. Otherwise it is an error.",
        ),
        option(
            "records",
            OptionKind::Field,
            "Where the records are in JSON and XML (`.data.items`). An array on the way is gone \
             through. Without it they are the elements of the array, or the document is one.",
        ),
        with(
            "type",
            OptionKind::OneOf(&[
                ("auto", "as the answer says; CSV, NDJSON and XML by their type, all else JSON"),
                ("csv", "CSV: each line becomes an object; lines that begin with `#` are none"),
                ("json", "JSON"),
                ("ndjson", "a JSON document a line"),
                ("text", "lines of text; this it is without `decoding.codec = \"json\"`"),
                ("xml", "XML: attributes become members `@name`"),
            ]),
            "\"auto\"",
            "What the body is. What is packed by gzip or as ZIP is unpacked first.",
        ),
    ]),
    default: Unwritten::Value("{}"),
    summary: "What an answer holds, and where its records are.",
};

const CURSOR: OptionSpec = OptionSpec {
    name: "cursor",
    kind: OptionKind::Table(&[
        option(
            "field",
            OptionKind::Field,
            "`max`, `first`, `last`: the field of the record; `response`: the place in the answer.",
        ),
        option(
            "first",
            OptionKind::Table(&[
                option(
                    "body",
                    OptionKind::Text,
                    "The body in place of `body`; `{{ cursor }}` is `start`.",
                ),
                option(
                    "param",
                    OptionKind::Text,
                    "The parameter that `start` stands in. Without it that of the cursor.",
                ),
                required(
                    "start",
                    OptionKind::Text,
                    "Where the first poll begins: `-7d` ago, `now`, a time, or any other text.",
                ),
            ]),
            "Where to begin when nothing was polled yet.",
        ),
        with(
            "format",
            OptionKind::Text,
            "\"rfc3339\"",
            "How times are written: `rfc3339`, `unix`, `unix_ms`, `date`, or signs of `strftime`.",
        ),
        option(
            "on_rejected",
            OptionKind::Table(&[
                with(
                    "overlap",
                    OptionKind::Duration,
                    "\"0s\"",
                    "How long before that it begins again.",
                ),
                required(
                    "restart_from",
                    OptionKind::OneOf(&[
                        ("last_event_time", "the greatest event time that was taken"),
                        ("now", "now: what was between is not polled"),
                        ("start", "where the first poll began"),
                    ]),
                    "Where to begin again.",
                ),
            ]),
            "What to do when the other side does not know the cursor any more (400, 404, 410, \
             422). Without it that is an error, and the cursor stays.",
        ),
        with(
            "overlap",
            OptionKind::Duration,
            "\"0s\"",
            "How much time before the cursor is asked for again, because records come late. \
             `dedupe` keeps out what was taken.",
        ),
        option(
            "param",
            OptionKind::Text,
            "The parameter that the cursor stands in. It may also stand in a text, as `{{ cursor \
             }}`.",
        ),
        required(
            "value",
            OptionKind::OneOf(&[
                ("first", "a field of the first record: of an API that gives the newest first"),
                ("last", "a field of the last record"),
                ("last_event_time", "the greatest event time of all records"),
                ("max", "the greatest of a field"),
                ("next_link", "the link to the next page, kept from poll to poll"),
                ("now", "when the poll began"),
                ("response", "a place in the answer"),
                ("token", "the token of the next page, kept from poll to poll"),
            ]),
            "What it is. It moves when a poll has come to its end, on which pages it was is kept \
             page by page; with links and tokens with each page.",
        ),
    ]),
    default: Unwritten::None,
    summary: "How far polls have come. It is kept, sealed, when the records before it are in the \
              log or delivered (`intake.acknowledge`).",
};

const DEDUPE: OptionSpec = OptionSpec {
    name: "dedupe",
    kind: OptionKind::Table(&[
        required("id", OptionKind::Field, "What tells records apart."),
        with(
            "max_keys",
            OptionKind::Integer { min: 1, max: 10_000_000 },
            "200_000",
            "How many ids are known. Beyond it the oldest leave.",
        ),
        with(
            "window",
            OptionKind::Duration,
            "\"1h\"",
            "For how long they are known after they were last given. That ends with a walk that \
              comes to its end without them: a stop, or an API that is down, does not count.",
        ),
    ]),
    default: Unwritten::None,
    summary: "Keeps out records that were taken already.",
};

const JOB: OptionSpec = OptionSpec {
    name: "job",
    kind: OptionKind::Table(&[
        with(
            "done",
            OptionKind::List(&OptionKind::Text),
            "[\"COMPLETED\", \"completed\", \"done\", \"SUCCEEDED\"]",
            "The states in which its result is there.",
        ),
        option(
            "download",
            OptionKind::Text,
            "The address of the result, with values in it (`{{ job.id }}`).",
        ),
        option(
            "downloads",
            OptionKind::Field,
            "Where the answer has the addresses of the result, one or a list. They are asked \
             without credentials unless they are of the origin of `endpoint`.",
        ),
        with("every", OptionKind::Duration, "\"5s\"", "How often its state is asked for."),
        with(
            "failed",
            OptionKind::List(&OptionKind::Text),
            "[\"FAILED\", \"failed\", \"CANCELLED\", \"error\"]",
            "The states in which nothing will come.",
        ),
        required("state", OptionKind::Field, "Where the answer has its state."),
        required(
            "status",
            OptionKind::Text,
            "The address of its state, with values in it: `{{ job.id }}` of the answer that made \
             it.",
        ),
        with("timeout", OptionKind::Duration, "\"10m\"", "How long it may take."),
    ]),
    default: Unwritten::None,
    summary: "What `endpoint` makes is a job: its state is asked for until it is done, then its \
              result is had.",
};

const PAGE_SIZE: OptionSpec = option(
    "size",
    OptionKind::Integer { min: 1, max: 1_000_000 },
    "`offset`, `page`, `keyset`: how many records a page has at most.",
);

const PAGINATION: OptionSpec = OptionSpec {
    name: "pagination",
    kind: OptionKind::Table(&[
        option("body", OptionKind::Text, "`token`: the body of the request for the next page."),
        option(
            "body_field",
            OptionKind::Field,
            "`token`: the place in the body of JSON that the token stands in.",
        ),
        option(
            "endpoint",
            OptionKind::Text,
            "`token`: the address of the next page, where it is another (`…/scroll`).",
        ),
        option(
            "field",
            OptionKind::Field,
            "`token`, `next_url`: where the answer has it (a token that is a list: its values, with \
             commas between); `keyset`: the field of the last record.",
        ),
        option("from_header", OptionKind::Text, "`token`: the header of the answer that has it."),
        option("header", OptionKind::Text, "`token`: the header that it stands in."),
        with(
            "max_pages",
            OptionKind::Integer { min: 1, max: 1_000_000 },
            "1_000",
            "How many pages one poll asks for. The next poll goes on behind them.",
        ),
        option(
            "more",
            OptionKind::Field,
            "Where the answer says whether there is more (`.has_more`).",
        ),
        option(
            "param",
            OptionKind::Text,
            "`token`, `offset`, `page`, `keyset`: the parameter that it stands in.",
        ),
        with("rel", OptionKind::Text, "\"next\"", "`link_header`: the relation of the link."),
        PAGE_SIZE,
        option("size_param", OptionKind::Text, "The parameter that `size` stands in."),
        option(
            "start",
            OptionKind::Integer { min: 0, max: 1_000_000 },
            "The number of the first record (0) or page (1).",
        ),
        option(
            "stop",
            OptionKind::OneOf(&[
                ("empty_page", "a page without records"),
                ("last_page", "a page that names no next"),
                ("short_page", "a page with fewer records than `size`"),
            ]),
            "Which page is the last, beside one that names no next. Without it `short_page` where \
             there is a `size`, `empty_page` for numbers and keys, else `last_page`.",
        ),
        option(
            "total",
            OptionKind::Field,
            "`offset`: where the answer says how many records there are; `page`: how many pages.",
        ),
        required(
            "type",
            OptionKind::OneOf(&[
                ("keyset", "a field of the last record"),
                ("link_header", "a header `Link`"),
                ("next_url", "an address in the body"),
                ("offset", "the number of the first record"),
                ("page", "the number of the page"),
                ("token", "a token in the body or in a header"),
            ]),
            "How an answer leads to the next.",
        ),
    ]),
    default: Unwritten::None,
    summary: "How pages follow each other. A page that was seen in the same poll is an error.",
};

const PARENTS: OptionSpec = OptionSpec {
    name: "parents",
    kind: OptionKind::Table(&[
        required("endpoint", OptionKind::Text, "The address that lists them."),
        option("records", OptionKind::Field, "Where they are in the answer."),
    ]),
    default: Unwritten::None,
    summary: "Asks `endpoint` once for each of a list, as `{{ parent.id }}`. A list of several \
              pages is followed by its `Link` header.",
};

const RATE_LIMIT: OptionSpec = OptionSpec {
    name: "rate_limit",
    kind: OptionKind::Table(&[
        option("limit_header", OptionKind::Text, "The header with how many requests are allowed."),
        with("per", OptionKind::Duration, "\"1s\"", "In how long `requests` may be made."),
        option("remaining_header", OptionKind::Text, "The header with how many are left."),
        option(
            "requests",
            OptionKind::Integer { min: 1, max: 1_000_000 },
            "How many requests we make in `per` at most.",
        ),
        with(
            "reserve",
            OptionKind::Either(
                &OptionKind::Integer { min: 0, max: 1_000_000 },
                &OptionKind::Seconds,
            ),
            "0",
            "What is left to others: below one a share of the limit, else a number of requests.",
        ),
        option(
            "reset_header",
            OptionKind::Text,
            "The header with when there are more: in seconds, or a time.",
        ),
    ]),
    default: Unwritten::None,
    summary: "How fast requests follow each other. `Retry-After` counts always.",
};

const RETRY: OptionSpec = OptionSpec {
    name: "retry",
    kind: OptionKind::Table(&[
        with(
            "attempts",
            OptionKind::Integer { min: 1, max: 20 },
            "3",
            "How often a request is made before its poll has failed. After five polls that failed \
             in a row it is once.",
        ),
        with(
            "max",
            OptionKind::Duration,
            "\"1m\"",
            "The longest pause after polls that failed, where `Retry-After` does not say more, nor \
             the time between two polls.",
        ),
        with("min", OptionKind::Duration, "\"1s\"", "The first pause; it doubles."),
    ]),
    default: Unwritten::Value("{}"),
    summary: "What happens when the other side does not answer, or not well.",
};

const TIME_SLICES: OptionSpec = OptionSpec {
    name: "time_slices",
    kind: OptionKind::Table(&[
        required("end_param", OptionKind::Text, "The parameter with the end of a slice."),
        with(
            "format",
            OptionKind::Text,
            "\"rfc3339\"",
            "How they are written, as of `cursor.format`.",
        ),
        with(
            "lag",
            OptionKind::Duration,
            "\"0s\"",
            "How long before now the last slice ends, since records come late.",
        ),
        required("start", OptionKind::Text, "Where the first begins: `-7d` ago, `now`, or a time."),
        required("start_param", OptionKind::Text, "The parameter with the beginning of a slice."),
        with("step", OptionKind::Duration, "\"1h\"", "How long a slice is at most."),
    ]),
    default: Unwritten::None,
    summary: "Asks for time in slices, one after the other. They are half-open, and each begins \
              where the last one ended. A slice may have several pages.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_options_are_sorted() {
        let tables =
            [CONTENT, CURSOR, DEDUPE, JOB, PAGINATION, PARENTS, RATE_LIMIT, RETRY, TIME_SLICES];
        for table in tables {
            let OptionKind::Table(options) = table.kind else {
                panic!("{} is no table", table.name)
            };
            assert!(options.is_sorted_by_key(|option| option.name), "{}", table.name);
        }
    }
}
