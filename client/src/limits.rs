//! The bounds of what goes to others and comes from them, each with its reason.

use std::time::Duration;

/// How many redirects are followed: what `curl` and browsers take for a circle is more.
pub(crate) const REDIRECTS_MAX: usize = 10;

/// How much larger than it came a body may be when it is inflated, beyond the first
/// [`INFLATED_FREE_BYTES`]. Logs as JSON come to 10 to 50; only what was made for it comes to more.
pub(crate) const INFLATED_RATIO_MAX: usize = 500;

/// Below this, the ratio does not matter.
pub(crate) const INFLATED_FREE_BYTES: usize = 4 << 20;

/// How much of an answer that is a refusal is read: error pages may be large, and say it at once.
pub(crate) const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// How much of an answer is told to people.
pub const ANSWER_TOLD_BYTES_MAX: usize = 300;

/// The most that `Retry-After` is believed: whoever asks for more is asked again after it.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// How many of the last exchanges of a connector are kept while somebody looks.
pub const TRACE_EXCHANGES: usize = 50;

/// How many while nobody does: of hundreds of connectors, to say what went wrong last.
pub(crate) const UNWATCHED_EXCHANGES: usize = 5;

/// How much of a body is kept while nobody looks.
pub(crate) const UNWATCHED_BODY_BYTES: usize = 512;

/// How much of a body a trace keeps.
pub(crate) const TRACE_BODY_BYTES: usize = 4 * 1024;

/// How much of a body a recording keeps.
pub(crate) const RECORD_BODY_BYTES: usize = 1 << 20;

/// How long a recording may last, whoever forgets to end it: one that is meant takes minutes.
pub const RECORDING_LENGTH_MAX: Duration = Duration::from_secs(3600);

/// How many exchanges a recording may have: the names of its files have four digits.
pub(crate) const RECORDING_EXCHANGES_MAX: u32 = 9_999;

/// How many bytes a recording may have: some hundred of the largest pages, of a disk that the log
/// needs too.
pub(crate) const RECORDING_BYTES_MAX: u64 = 256 << 20;

/// How many forms of secrets are remembered, to be taken out of what is told: a secret has about
/// ten.
/// Those of a connector and the tokens that were made of them, of which the oldest are of no use to
/// anybody.
pub(crate) const HUSHED_MAX: usize = 512;

/// A secret shorter than this is not looked for: it would blank out half of every text.
pub(crate) const HUSHED_BYTES_MIN: usize = 4;

/// How long before its end a token is replaced, unless its life is shorter.
pub(crate) const TOKEN_MARGIN: Duration = Duration::from_secs(60);

/// How long a token of which nothing is said is taken to live.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// The longest that a token is believed to live; then another is had.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// How long a signed assertion is good for; servers refuse more than an hour (RFC 7523 asks for
/// "reasonable").
pub(crate) const ASSERTION_LIFE: Duration = Duration::from_secs(300);

/// How long a connection that nobody uses is kept: less than servers and what is between keep it.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// How often files of certificates are looked at: so that thousands of requests a second do not do
/// it each, and a certificate of minutes is still renewed in time.
pub(crate) const RENEWAL_EVERY: Duration = Duration::from_secs(1);

/// How much of the title of a page of HTML is told.
pub(crate) const TITLE_BYTES_MAX: usize = 100;

/// Within how much of its beginning a page of HTML says that it is one.
pub(crate) const PAGE_BYTES: usize = 512;

/// The longest name that is shown of an exchange that proves who we are: what is longer is a value.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// The longest word, such as a code of an error, that is shown of its answer.
pub(crate) const WORD_BYTES_MAX: usize = 40;

/// The shortest value of a cookie that is looked for elsewhere: others are languages and flags.
pub(crate) const COOKIE_BYTES_MIN: usize = 8;
