//! How fast requests may follow each other: what the other side says, and what the author allows.

use super::value::parse_time;
use azud_client::{Answer, Failure, http_date};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::component::Cause;
use serde_json::Value;
use std::time::Duration;

/// How long a request waits for its turn; what would wait longer ends the poll, and the next begins
/// when it may.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How far ahead a reset is believed.
const RESET_MAX: Duration = Duration::from_secs(24 * 3600);

/// Below this share of its limit requests are spread over the time until the reset.
const SPREAD_BELOW: f64 = 0.25;

/// The checked table `rate_limit`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RateLimit {
    pub(super) remaining_header: Option<String>,
    pub(super) reset_header: Option<String>,
    pub(super) limit_header: Option<String>,
    /// What is left to others: below one a share of the limit, else a number of requests.
    pub(super) reserve: f64,
    /// So many requests in so long.
    pub(super) own: Option<(f64, Duration)>,
}

/// What is known of limits.
pub(super) struct Pace {
    limit: RateLimit,
    clock: Clock,
    /// The greatest that was ever allowed, where no header says it.
    allowed: Option<f64>,
    /// No request before this.
    not_before: Option<EventTime>,
    /// Requests of the author's own limit that may be made now, and since when.
    bucket: Option<(f64, Duration)>,
}

impl Pace {
    pub(super) fn new(limit: RateLimit, clock: Clock) -> Self {
        Pace { limit, clock, allowed: None, not_before: None, bucket: None }
    }

    /// Waits until a request may be made.
    ///
    /// # Errors
    /// When that is too long to wait: a limit, with how long it still is.
    pub(super) async fn turn(&mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        let ahead = self.not_before.map_or(Duration::ZERO, |until| until.since(now));
        let (own, bucket) = self.own();
        let wait = ahead.max(own);
        if wait > WAIT_MAX {
            let message = format!("the limit of requests is used up for {} s", wait.as_secs());
            let mut failure = Failure::new(Cause::Server, message);
            (failure.limited, failure.retry_after) = (true, Some(wait));
            return Err(failure);
        }
        // Only now: a request that is not made uses nothing up.
        self.bucket = bucket;
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Gives how long a request has to wait by the author's own limit, and what is left of that
    /// behind it.
    fn own(&self) -> (Duration, Option<(f64, Duration)>) {
        let Some((requests, per)) = self.limit.own else { return (Duration::ZERO, None) };
        let now = self.clock.monotonic();
        let rate = requests / per.as_secs_f64();
        let (left, at) = self.bucket.unwrap_or((requests, now));
        let left = (left + now.saturating_sub(at).as_secs_f64() * rate).min(requests) - 1.0;
        let wait = match left < 0.0 {
            true => Duration::from_secs_f64(-left / rate),
            false => Duration::ZERO,
        };
        (wait, Some((left, now)))
    }

    /// Reads what an answer says of limits.
    pub(super) fn note(&mut self, answer: &Answer) {
        let number = |name: &Option<String>| -> Option<f64> {
            let value = answer.header(name.as_ref()?)?;
            // Lists of windows (`100, 100;w=60`) begin with the one that counts.
            let value = value.split([',', ';']).next()?.trim();
            value.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
        };
        self.not_before = None;
        let Some(remaining) = number(&self.limit.remaining_header) else { return };
        let now = answer.at;
        let reset = self.limit.reset_header.as_ref().and_then(|name| answer.header(name));
        let Some(reset) = reset.and_then(|text| read_reset(text, now)) else { return };
        let most = number(&self.limit.limit_header).or(self.allowed).unwrap_or(remaining);
        let most = most.max(remaining);
        self.allowed = Some(most);
        let reserve = match self.limit.reserve {
            share if share < 1.0 => share * most,
            requests => requests,
        };
        let left = remaining - reserve;
        let until = reset.since(now).min(RESET_MAX);
        if left < 1.0 {
            self.not_before = Some(now.saturating_add(until));
        } else if remaining < most * SPREAD_BELOW {
            // Spread, so that the rest lasts until there is more.
            self.not_before = Some(now.saturating_add(until.div_f64(left)));
        }
    }
}

/// Reads when a limit is lifted: seconds from now, a time since the epoch, or a date.
fn read_reset(text: &str, now: EventTime) -> Option<EventTime> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) if seconds < 1e8 => {
            Some(now.saturating_add(Duration::try_from_secs_f64(seconds).ok()?))
        }
        Ok(number) if number.is_finite() => parse_time(&Value::from(text)),
        Ok(_) => None,
        Err(_) => http_date(text).or_else(|| EventTime::from_rfc3339(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_client::header::{HeaderMap, HeaderName, HeaderValue};
    use azud_client::{StatusCode, Url};

    const NOW: EventTime = EventTime::from_nanoseconds(1_772_359_200_000_000_000);

    fn answer(headers: &[(&str, String)]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let url = Url::parse("https://api.example/").unwrap();
        let (status, body, took) = (StatusCode::OK, Default::default(), Duration::ZERO);
        Answer { status, headers: map, body, url, took, at: NOW }
    }

    fn pace(reserve: f64) -> Pace {
        let header = |name: &str| Some(name.to_owned());
        let limit = RateLimit {
            remaining_header: header("x-remaining"),
            reset_header: header("x-reset"),
            limit_header: header("x-limit"),
            reserve,
            own: None,
        };
        Pace::new(limit, Clock::manual(NOW))
    }

    fn wait(pace: &Pace) -> Option<u64> {
        pace.not_before.map(|until| until.since(NOW).as_secs())
    }

    fn noted(reserve: f64, remaining: &str, reset: &str) -> Option<u64> {
        let mut pace = pace(reserve);
        pace.note(&answer(&[
            ("x-remaining", remaining.to_owned()),
            ("x-reset", reset.to_owned()),
            ("x-limit", "100".to_owned()),
        ]));
        wait(&pace)
    }

    /// Makes a request as far as the author's own limit goes; gives how long it waits.
    fn take(pace: &mut Pace) -> Duration {
        let (wait, left) = pace.own();
        pace.bucket = left;
        wait
    }

    #[test]
    fn a_reserve_is_left_to_others() {
        assert_eq!(noted(0.1, "50", "120"), None);
        assert_eq!(noted(0.1, "10", "120"), Some(120), "a tenth of a hundred");
        assert_eq!(noted(5.0, "5", "120"), Some(120));
        assert_eq!(noted(0.0, "0", "120"), Some(120));
        assert_eq!(noted(0.0, "20", "100"), Some(5), "the rest is spread");
        assert_eq!(noted(0.1, "0", "1e300"), None, "what makes no sense is not believed");
        assert_eq!(noted(0.1, "-1", "120"), None);
    }

    #[test]
    fn a_reset_is_seconds_a_time_or_a_date() {
        for reset in ["60", "1772359260", "1772359260000", "2026-03-01T10:01:00Z"] {
            assert_eq!(noted(0.0, "0", reset), Some(60), "{reset}");
        }
        assert_eq!(noted(0.0, "0", "Sun, 01 Mar 2026 10:01:00 GMT"), Some(60));
        assert_eq!(noted(0.0, "0", "9000000000"), Some(RESET_MAX.as_secs()), "but not for ever");
    }

    #[tokio::test]
    async fn what_takes_too_long_ends_the_poll() {
        let mut pace = pace(0.0);
        pace.note(&answer(&[("x-remaining", "0".to_owned()), ("x-reset", "600".to_owned())]));
        let failure = pace.turn().await.unwrap_err();
        assert!(failure.limited);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(600)));
        pace.note(&answer(&[]));
        assert_eq!(wait(&pace), None, "a missing header is no limit");
    }

    #[test]
    fn the_authors_own_limit_fills_again() {
        let mut pace = pace(0.0);
        pace.limit.own = Some((2.0, Duration::from_secs(10)));
        assert_eq!((take(&mut pace), take(&mut pace)), (Duration::ZERO, Duration::ZERO));
        assert_eq!(take(&mut pace), Duration::from_secs(5));
        pace.clock.advance(Duration::from_secs(3600));
        assert_eq!(
            (take(&mut pace), take(&mut pace)),
            (Duration::ZERO, Duration::ZERO),
            "two, not 720"
        );
        assert_eq!(take(&mut pace), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_request_that_is_not_made_uses_nothing_up() {
        let clock = Clock::manual(NOW);
        let own = Some((10.0, Duration::from_secs(3600)));
        let mut pace = Pace::new(RateLimit { own, ..RateLimit::default() }, clock);
        for _ in 0..10 {
            pace.turn().await.unwrap();
        }
        let refused = pace.turn().await.unwrap_err();
        assert!(refused.limited && refused.retry_after > Some(Duration::from_secs(300)));
        for _ in 0..3 {
            pace.clock.advance(refused.retry_after.unwrap());
            pace.turn().await.unwrap();
            assert!(pace.turn().await.is_err());
        }
    }
}
