//! Tests of the way from the queue to the request, against an outlet that does what it is told.

use super::circuit::FAILURES_MAX;
use super::{Delivery, DeliveryOptions, Failure, FailureKind, Outlet, Unsent};
use crate::testing::{batch, queue, refusing};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::component::{Batch, Refused};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

/// An answer of the outlet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Taken,
    /// It took the records, and the answer was lost.
    TakenUnheard,
    Failed(FailureKind),
    /// Takes every other record, and is too busy for the rest; says so of each.
    Half,
    After(u64),
    /// Longer than any request may take.
    Never,
}

/// An outlet that answers by a list, then takes all; what holds `!` it refuses.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
    taken: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
}

fn failure(kind: FailureKind, retry_after: Option<Duration>) -> Failure {
    Failure { kind, message: format!("{kind:?}"), response_code: Some(400), retry_after }
}

impl Scripted {
    /// Takes every other record that is good.
    fn half(&self, text: &str) -> Vec<(usize, Failure)> {
        let mut failed = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.contains('!') {
                failed.push((number, failure(FailureKind::Refused, None)));
            } else if number % 2 == 1 {
                failed.push((number, failure(FailureKind::Throttled, None)));
            } else {
                self.taken.lock().unwrap().push(line.to_owned());
            }
        }
        failed
    }
}

impl Outlet for Arc<Scripted> {
    fn look<'a>(&'a self, last: &'a Failure) -> BoxFuture<'a, Result<(), Failure>> {
        async { Err(last.clone()) }.boxed()
    }

    fn send<'a>(&'a self, records: &'a [u8]) -> BoxFuture<'a, Result<(), Unsent>> {
        async move {
            let text = std::str::from_utf8(records).unwrap();
            self.requests.lock().unwrap().push(text.to_owned());
            let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Taken);
            let take = || self.taken.lock().unwrap().extend(text.lines().map(str::to_owned));
            match answer {
                Answer::Half => Err(Unsent::Some(self.half(text))),
                Answer::Failed(kind) => Err(failure(kind, None).into()),
                Answer::After(seconds) => {
                    let after = Some(Duration::from_secs(seconds));
                    Err(failure(FailureKind::Throttled, after).into())
                }
                Answer::Never => {
                    sleep(Duration::from_secs(1_000_000)).await;
                    Ok(())
                }
                Answer::Taken | Answer::TakenUnheard if text.contains('!') => {
                    Err(failure(FailureKind::Refused, None).into())
                }
                Answer::Taken => {
                    take();
                    Ok(())
                }
                Answer::TakenUnheard => {
                    take();
                    Err(failure(FailureKind::Unreachable, None).into())
                }
            }
        }
        .boxed()
    }
}

const OPTIONS: DeliveryOptions = DeliveryOptions {
    bytes_max: 1000,
    records_max: usize::MAX,
    linger: Duration::from_millis(100),
    concurrency: 1,
    timeout: Duration::from_secs(60),
    retries_max: None,
    pause_first: Duration::from_secs(1),
    pause_longest: Duration::from_secs(30),
};

fn outlet(answers: impl IntoIterator<Item = Answer>) -> Arc<Scripted> {
    let answers = Mutex::new(answers.into_iter().collect());
    Arc::new(Scripted { answers, ..Scripted::default() })
}

/// Delivers batches and waits for the end.
async fn deliver(outlet: &Arc<Scripted>, options: DeliveryOptions, batches: Vec<Batch>) {
    let (mut sender, queue) = queue();
    for batch in batches {
        sender.send(batch).await.unwrap();
    }
    drop(sender);
    let clock = Clock::manual(EventTime::EPOCH);
    let outlet = Box::new(Arc::clone(outlet));
    Delivery::new(("out", "test"), outlet, options, clock).run(queue).await;
}

#[tokio::test(start_paused = true)]
async fn requests_keep_to_their_bounds() {
    let outlet = outlet([]);
    let options = DeliveryOptions { bytes_max: 6, records_max: 2, ..OPTIONS };
    let (one, first) = batch("", "a\nb\nc\n");
    let (two, second) = batch("", "dddd\ne\nlonger than it may be\nf\n");
    deliver(&outlet, options, vec![one, two]).await;
    let requests = outlet.requests.lock().unwrap().clone();
    assert_eq!(requests, ["a\nb\n", "c\n", "dddd\n", "e\n", "longer than it may be\n", "f\n"]);
    assert_eq!((first.count(), second.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_other_side_is_left_alone_as_long_as_it_asks() {
    let outlet = outlet([Answer::After(100)]);
    let begun = Instant::now();
    deliver(&outlet, OPTIONS, vec![batch("", "a\n").0]).await;
    assert!(begun.elapsed() >= Duration::from_secs(100), "{:?}", begun.elapsed());
    assert_eq!(*outlet.taken.lock().unwrap(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_sent_again() {
    let outlet = outlet([Answer::Never]);
    let (one, confirmed) = batch("", "a\n");
    deliver(&outlet, OPTIONS, vec![one]).await;
    assert_eq!((outlet.requests.lock().unwrap().len(), confirmed.count()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn one_bad_record_takes_no_other_with_it() {
    let outlet = outlet([]);
    let (one, confirmed, refused) = refusing("a\nb\n!c\nd\n");
    let (two, second) = batch("", "e\n");
    deliver(&outlet, OPTIONS, vec![one, two]).await;
    assert_eq!(*outlet.taken.lock().unwrap(), ["a", "b", "d", "e"]);
    let refused = refused.lock().unwrap();
    let [Refused { fault, response_code, bytes }] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((bytes.as_slice(), *response_code), (b"!c\n".as_slice(), Some(400)));
    assert_eq!(fault.message, "Refused");
    assert_eq!((confirmed.count(), second.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_each_record_is_done_with_it_alone() {
    let outlet = outlet([Answer::Half, Answer::Half]);
    let (one, confirmed, refused) = refusing("a\nb\n!c\nd\ne\nf\n");
    deliver(&outlet, OPTIONS, vec![one]).await;
    let requests = outlet.requests.lock().unwrap().clone();
    assert_eq!(requests, ["a\nb\n!c\nd\ne\nf\n", "b\nd\nf\n", "d\n"]);
    assert_eq!(*outlet.taken.lock().unwrap(), ["a", "e", "b", "f", "d"]);
    let refused: Vec<_> = refused.lock().unwrap().iter().map(|one| one.bytes.clone()).collect();
    assert_eq!((refused, confirmed.count()), (vec![b"!c\n".to_vec()], 1));
}

#[tokio::test(start_paused = true)]
async fn attempts_of_each_record_end_too() {
    let outlet = outlet(vec![Answer::Half; 9]);
    let options = DeliveryOptions { retries_max: Some(1), ..OPTIONS };
    let (one, confirmed, refused) = refusing("a\nb\nc\nd\ne\nf\n");
    deliver(&outlet, options, vec![one]).await;
    assert_eq!(*outlet.taken.lock().unwrap(), ["a", "c", "e", "b", "f"]);
    let refused: Vec<_> = refused.lock().unwrap().iter().map(|one| one.bytes.clone()).collect();
    assert_eq!((refused, confirmed.count()), (vec![b"d\n".to_vec()], 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_way_out_nothing_is_let_go() {
    let outlet = outlet([]);
    let (one, confirmed) = batch("", "!a\n");
    let hour = tokio::time::timeout(Duration::from_secs(3600), async {
        deliver(&outlet, OPTIONS, vec![one]).await;
    });
    assert!(hour.await.is_err());
    assert_eq!(confirmed.count(), 0);
    assert!(outlet.requests.lock().unwrap().len() > 100);
}

#[tokio::test(start_paused = true)]
async fn attempts_end_where_the_author_says_so() {
    let down = vec![Answer::Failed(FailureKind::Unreachable); 3];
    let outlet = outlet(down);
    let options = DeliveryOptions { retries_max: Some(2), ..OPTIONS };
    let (one, confirmed, refused) = refusing("a\nb\n");
    deliver(&outlet, options, vec![one]).await;
    assert_eq!((refused.lock().unwrap().len(), confirmed.count()), (2, 1));
    assert_eq!(outlet.requests.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn while_the_other_side_is_down_one_request_tries() {
    let failures = FAILURES_MAX as usize * 4;
    let outlet = outlet(vec![Answer::Failed(FailureKind::Status); failures]);
    let options = DeliveryOptions { concurrency: 4, records_max: 1, ..OPTIONS };
    let batches: Vec<_> = (0..8).map(|number| batch("", &format!("{number}\n"))).collect();
    let (batches, confirmed): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
    deliver(&outlet, options, batches).await;
    assert!(confirmed.iter().all(|confirmed| confirmed.count() == 1));
    // After the requests that were under way when it opened, always the same one.
    let requests = outlet.requests.lock().unwrap();
    let probes = &requests[FAILURES_MAX as usize + 3..failures];
    assert!(probes.windows(2).all(|pair| pair[0] == pair[1]), "{requests:?}");
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer = prop_oneof![
        4 => Just(Answer::Taken),
        2 => Just(Answer::TakenUnheard),
        1 => Just(Answer::Failed(FailureKind::Unreachable)),
        1 => Just(Answer::Failed(FailureKind::Rejected)),
        1 => (0u64..100).prop_map(Answer::After),
        1 => Just(Answer::Never),
        2 => Just(Answer::Half),
    ];
    prop::collection::vec(answer, 0..40)
}

proptest! {
    // Whatever the other side does, and however records lie in batches and requests: each is taken
    // at least once or set aside exactly once, and one at a time they come in their order.
    #[test]
    fn nothing_is_lost_and_order_is_kept(
        answers in answers(),
        sizes in prop::collection::vec(0usize..6, 1..8),
        bad in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        records_max in 1usize..5,
        bytes_max in 1usize..30,
        concurrency in 1usize..4,
    ) {
        let total: usize = sizes.iter().sum();
        let bad: Vec<usize> = match total {
            0 => Vec::new(),
            _ => bad.iter().map(|index| index.index(total)).collect(),
        };
        let name = |number: usize| {
            let mark = if bad.contains(&number) { "!" } else { "" };
            format!("{mark}{number}")
        };
        let halved = answers.contains(&Answer::Half);
        let outlet = outlet(answers);
        let options = DeliveryOptions { records_max, bytes_max, concurrency, ..OPTIONS };
        let mut confirmed = Vec::new();
        let mut refused = Vec::new();
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let mut batches = Vec::new();
            let mut next = 0;
            for size in &sizes {
                let text: String = (next..next + size).map(|number| name(number) + "\n").collect();
                next += size;
                let (batch, counter, aside) = refusing(&text);
                batches.push(batch);
                confirmed.push(counter);
                refused.push(aside);
            }
            deliver(&outlet, options, batches).await;
        });
        prop_assert!(confirmed.iter().all(|counter| counter.count() == 1));
        let taken: Vec<usize> =
            outlet.taken.lock().unwrap().iter().map(|text| text.parse().unwrap()).collect();
        let aside = refused.iter().flat_map(|aside| aside.lock().unwrap().clone());
        let aside: Vec<String> =
            aside.map(|refused| String::from_utf8(refused.bytes).unwrap()).collect();
        for number in 0..total {
            let text = name(number) + "\n";
            let times = aside.iter().filter(|other| **other == text).count();
            match bad.contains(&number) {
                true => prop_assert_eq!(times, 1, "{}", text),
                false => prop_assert!(times == 0 && taken.contains(&number), "{}", text),
            }
        }
        if concurrency == 1 && !halved {
            let mut seen = Vec::new();
            taken.iter().for_each(|number| if !seen.contains(number) { seen.push(*number) });
            prop_assert!(seen.is_sorted(), "{:?}", taken);
        }
    }
}
