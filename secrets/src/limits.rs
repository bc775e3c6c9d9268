//! The bounds of secrets, each with its reason.

use std::time::Duration;

/// How large a secret may be: certificates with their chain and keys of services are below it.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// How much of an answer or a file with many secrets is read.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How many secrets of one backend are kept: documents name them, so it is far above what there is.
pub const SECRETS_MAX: usize = 4096;

/// How many reads of one backend are under way at a time; the others wait.
pub const READS_MAX: usize = 8;

/// How long a read may take at most, whatever its backend says.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a secret that the other side refused is still given before it is read again: a rotation
/// takes a moment to reach everybody, and a secret that is wrong for good costs a read each time.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// The first pause after a read that failed; it doubles each time.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause after a read that failed.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How much of what a backend says of an error is told, in bytes.
pub const TOLD_BYTES_MAX: usize = 300;

/// How long before its end a token counts as over: a request with it takes a while.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(5);

/// A token that lives shorter is not renewed, but obtained anew.
pub const TOKEN_RENEWAL_MIN: Duration = Duration::from_secs(2);

/// How long a role of AWS is taken on for.
pub const ROLE_LIFE: Duration = Duration::from_secs(3600);
