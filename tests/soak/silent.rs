//! One sink of three that nobody answers: the others and the way in keep going as if nothing was,
//! and afterwards it gets everything in order.

use super::load::{self, Came, Load};
use super::straight;
use super::tables::Tables;
use crate::support::instance::Instance;
use crate::support::program::free_address;
use crate::support::receiver::{Answer, Receiver};
use crate::support::soak::Soak;
use crate::support::wait;
use serde_json::Value;
use std::collections::BTreeMap;

fn far(receiver: &Receiver) -> String {
    format!(
        r#"
[sinks.far]
type = "http"
inputs = ["lines", "messages"]
uri = "http://{}/"
framing.method = "newline_delimited"
encoding.only_fields = ["key", "number"]
batch.timeout_secs = 0.1
request.timeout_secs = 2
request.retry_initial_backoff_secs = 0.1
request.retry_max_duration_secs = 0.5
stalled_after = "300ms"
"#,
        receiver.address()
    )
}

/// What a receiver took, by way: `k` for the file, else the name of the connection.
#[derive(Default)]
struct Taken {
    looked_at: usize,
    next: BTreeMap<String, usize>,
    count: usize,
}

impl Taken {
    /// Looks at what came since the last look: each way in order, each record once.
    #[track_caller]
    fn look(&mut self, receiver: &Receiver) -> usize {
        let requests = receiver.requests(self.looked_at);
        self.looked_at += requests.len();
        for line in requests.iter().filter(|it| it.answer == Answer::Taken).flat_map(|it| &it.lines)
        {
            let event: Value = serde_json::from_str(line).unwrap();
            let (key, number) = (event["key"].as_str().unwrap(), event["number"].as_u64().unwrap());
            let way = if key.starts_with('k') { "k" } else { key };
            let next = self.next.entry(way.to_owned()).or_default();
            assert_eq!(load::good(number as usize), *next, "of `{way}`: {line}");
            *next += 1;
            self.count += usize::from(way != "end");
        }
        self.count
    }
}

/// Waits until everything that was sent by now is delivered by the other sinks.
fn all_delivered(instance: &Instance, load: &Load, came: &mut Came, soak: &Soak) {
    let good = load.good();
    wait::until("what was sent to be delivered", soak.patience(), || {
        (load.look(came, &instance.folder) >= good).then_some(())
    });
}

fn of_far(instance: &Instance, name: &str) -> f64 {
    instance.metrics().sum(name, &[("component_id", "far")])
}

#[test]
fn soak_of_a_sink_that_nobody_answers() {
    let (address, receiver) = (free_address(), Receiver::silent());
    receiver.listen();
    let instance = Instance::start(&(load::document(address) + &far(&receiver)));
    let (soak, mut came, mut taken) = (Soak::begin(16), Came::new(), Taken::default());
    let load = Load::start(&instance.folder, address);
    let quarter = soak.length() / 4;
    wait::until("a while in which all is well", soak.patience(), || {
        all_delivered(&instance, &load, &mut came, &soak);
        (soak.elapsed() > quarter && taken.look(&receiver) > 0).then_some(())
    });
    let (before, well, memory) = (came.count(), soak.elapsed(), instance.memory_peak());

    receiver.answer(Answer::Nothing);
    wait::until("the sink to be taken for stalled", soak.patience(), || {
        all_delivered(&instance, &load, &mut came, &soak);
        let ready = instance.get("/ready");
        assert_eq!(ready.status, 200, "{}", ready.body);
        (ready.body.contains("sink `far` has stalled") && !soak.goes_on()).then_some(())
    });
    // The others have everything by now, and this one nothing since.
    let (during, silent) = (came.count() - before, soak.elapsed() - well);
    let taken_before = taken.look(&receiver);
    assert!(taken_before < came.count(), "{taken_before}");
    let (events, bytes) =
        (of_far(&instance, "azud_sink_spill_events"), of_far(&instance, "azud_sink_spill_bytes"));
    assert!(events > 0.0);
    let rate = |count: usize, time: std::time::Duration| count as f64 / time.as_secs_f64();
    println!(
        "{:.0} records a second for {well:?} while all was well, {:.0} for {silent:?} while one \
         sink was silent; {events} records of {bytes} bytes in its spill; memory at most {} bytes \
         before, {} in all",
        rate(before, well),
        rate(during, silent),
        memory,
        instance.memory_peak(),
    );

    receiver.answer(Answer::Taken);
    all_delivered(&instance, &load, &mut came, &soak);
    let sent = load.stop();
    let good = load::good(sent.lines) + load::good(sent.messages[0].len());
    wait::until("everything, in order", soak.patience(), || {
        came.look(&instance.folder);
        (taken.look(&receiver) == good && came.count() == good).then_some(())
    });
    wait::until("the sink to flow again", soak.patience(), || {
        (instance.get("/ready").body == "{\"ready\":true}").then_some(())
    });
    let folder =
        straight::end((instance, address), &Tables::Sqlite, &sent, &mut came, soak.patience());
    straight::is(&Tables::Sqlite.ends(&folder), &sent, &came, soak.patience());
}
