//! Waiting for a condition: the only place of the tests where time passes.

use std::time::{Duration, Instant};

/// How long to wait for what takes no time but the machine's: a start, a delivery, an end.
///
/// It is long because it costs only failing tests, and build machines may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long to rest between two looks. Ten milliseconds are short beside everything that is waited
/// for, and leave the core to what is waited for.
const REST: Duration = Duration::from_millis(10);

/// Asks until there is an answer, and gives it.
///
/// # Panics
/// When there is none within `patience`; says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain: {what}");
        rest();
    }
}

/// Rests for a moment: the pace of who sends steadily.
pub fn rest() {
    std::thread::park_timeout(REST);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_the_first_answer() {
        let mut asked = 0;
        let answer = until("the third time", PATIENCE, || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(answer, 3);
    }

    #[test]
    #[should_panic(expected = "in vain: a miracle")]
    fn it_says_what_never_came() {
        until("a miracle", Duration::ZERO, || None::<()>);
    }
}
