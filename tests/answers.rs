//! A receiver that fails, then wants to be left alone, then takes requests and says nothing: no
//! record is lost, none overtakes, and only what was never answered comes again.

use crate::recovery::load::{Lines, OFTEN, SOURCE};
use crate::stalls::{CREDIT, SOON, all_received, all_written, first_numbers, metric, sinks};
use crate::support::instance::Instance;
use crate::support::receiver::{Answer, Receiver, Request};
use crate::support::wait;
use std::time::Duration;

/// Small requests, and an end to waiting for an answer.
const SMALL: &str = "batch.max_events = 500\nrequest.timeout_secs = 1\n";

/// Writes more lines while a receiver does so with every request; gives the number of the first
/// request that it did so with.
fn trouble(instance: &Instance, receiver: &Receiver, lines: &mut Lines, answer: Answer) {
    receiver.answer(answer);
    for _ in 0..3 {
        lines.append(&instance.folder, 2_000);
        all_written(instance, lines.count);
    }
    wait::until(&format!("three requests with {answer:?}"), SOON, || {
        let requests = receiver.requests(0);
        let these = requests.iter().filter(|request| request.answer == answer).count();
        (these >= 3).then_some(())
    });
    let ready = instance.get("/ready");
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(ready.body.contains("sink `far` has stalled"), "{}", ready.body);
    assert_eq!(metric(instance, "azud_component_sent_events_total"), 0.0);
    assert!(metric(instance, "azud_sink_spill_events") > 0.0);
}

/// Until one is taken, every request begins with the first record, and keeps to what it was told.
fn nothing_overtakes(requests: &[Request]) {
    let first = requests.iter().position(|request| request.answer == Answer::Taken).unwrap();
    for pair in requests[..=first].windows(2) {
        assert_eq!(pair[0].lines, pair[1].lines, "another request came before the answer");
        if let Answer::Later(seconds) = pair[0].answer {
            let pause = pair[1].at - pair[0].at;
            assert!(pause >= Duration::from_secs(seconds), "came again after {pause:?}");
        }
    }
    assert_eq!(first_numbers(&requests[0].lines)[0], 0);
}

#[test]
fn whatever_a_receiver_answers_everything_comes_once_and_in_order() {
    let (receiver, mut lines) = (Receiver::silent(), Lines::default());
    receiver.answer(Answer::Failed);
    receiver.listen();
    let document = [OFTEN, CREDIT, SOURCE, &sinks(&receiver, SMALL)].concat();
    let instance = Instance::start(&document);
    trouble(&instance, &receiver, &mut lines, Answer::Failed);
    wait::until("the circuit to be open", SOON, || {
        (metric(&instance, "azud_sink_circuit_open") == 1.0).then_some(())
    });
    trouble(&instance, &receiver, &mut lines, Answer::Later(1));
    trouble(&instance, &receiver, &mut lines, Answer::Nothing);
    let failed = receiver.requests(0).len();

    receiver.answer(Answer::Taken);
    let received = all_received(&receiver, lines.count);
    assert_eq!(received.len(), lines.count, "some were taken twice");
    nothing_overtakes(&receiver.requests(0));
    wait::until("the sink to flow again", SOON, || {
        (instance.get("/ready").body == "{\"ready\":true}").then_some(())
    });
    wait::until("what it sent to be counted", SOON, || {
        let sent = metric(&instance, "azud_component_sent_events_total");
        (sent == lines.count as f64).then_some(())
    });
    assert_eq!(metric(&instance, "azud_sink_circuit_open"), 0.0);
    let attempts = |outcome| {
        let labels = [("component_id", "far"), ("outcome", outcome)];
        instance.metrics().sum("azud_sink_attempts_total", &labels)
    };
    // The last one without an answer may have become known as such only now.
    assert!(attempts("retried") >= failed as f64, "{} of {failed}", attempts("retried"));
    assert!(attempts("delivered") > 0.0 && attempts("refused") == 0.0);
    assert!(instance.dead_letters_now().is_empty());
    let (ended, _folder) = instance.stop();
    assert!(ended.status.success(), "{:?}", ended.errors);
    let said = ended.errors.join("\n");
    for word in ["500", "429", "no answer within"] {
        assert!(said.contains(word), "it does not say `{word}`:\n{said}");
    }
}
