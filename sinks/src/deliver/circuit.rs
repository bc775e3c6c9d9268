//! A circuit breaker: after some failures in a row only one request at a time tries, until one gets
//! through.
//!
//! It knows no clock. Whoever fails while the circuit is open becomes the *probe*, and waits its
//! own pause before it tries again; the others wait for what comes of it. With one request at a
//! time that is the same as trying again with pauses, and the metric says what is going on.
//!
//! ```text
//!   closed ── failures in a row ──▶ open ── the probe is answered ──▶ closed
//!                                  │   ▲
//!                                  └───┘ the probe fails
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many failures in a row open the circuit: one or two happen when the other side restarts.
pub(crate) const FAILURES_MAX: u32 = 5;

/// The circuit of one sink.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    probing: bool,
    /// Counts the answers: a probe from before one is none any more.
    answers: u64,
}

impl State {
    fn is_open(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}

/// A request's way through the circuit. Dropped in the middle of a probe, it lets another probe.
#[derive(Debug)]
pub(crate) struct Passage<'a> {
    circuit: &'a Circuit,
    /// The count of answers when it became the probe.
    probe: Option<u64>,
}

impl Circuit {
    /// Begins the way of a request.
    pub fn passage(&self) -> Passage<'_> {
        Passage { circuit: self, probe: None }
    }

    /// Whether requests wait.
    pub fn is_open(&self) -> bool {
        self.state().is_open()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage<'_> {
    /// Waits until the request may go.
    pub async fn wait(&mut self) {
        loop {
            // Listening before looking, so that no change falls between the two.
            let changed = self.circuit.changed.notified();
            {
                let mut state = self.circuit.state();
                if !state.is_open() || self.probe == Some(state.answers) {
                    return;
                }
                if !state.probing {
                    state.probing = true;
                    self.probe = Some(state.answers);
                    return;
                }
            }
            changed.await;
        }
    }

    /// Notes that the request failed. When that opened the circuit, or it was open, and nobody
    /// probes, this request does.
    pub fn failed(&mut self) {
        let mut state = self.circuit.state();
        state.failures = state.failures.saturating_add(1);
        if state.is_open() && !state.probing {
            state.probing = true;
            self.probe = Some(state.answers);
        }
    }

    /// Notes that the other side answered, be it with a refusal of what was sent.
    pub fn answered(&mut self) {
        let mut state = self.circuit.state();
        state.failures = 0;
        state.probing = false;
        state.answers += 1;
        drop(state);
        self.probe = None;
        self.circuit.changed.notify_waiters();
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        let mut state = self.circuit.state();
        if self.probe == Some(state.answers) {
            state.probing = false;
            drop(state);
            self.circuit.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn goes(passage: &mut Passage<'_>) -> bool {
        passage.wait().now_or_never().is_some()
    }

    #[test]
    fn an_open_circuit_lets_one_through_until_it_is_answered() {
        let circuit = Circuit::default();
        let (mut one, mut other) = (circuit.passage(), circuit.passage());
        for _ in 0..FAILURES_MAX {
            assert!(goes(&mut one) && goes(&mut other));
            one.failed();
        }
        assert!(circuit.is_open());
        assert!(goes(&mut one) && !goes(&mut other));
        one.failed();
        assert!(goes(&mut one) && !goes(&mut other));
        one.answered();
        assert!(!circuit.is_open() && goes(&mut other));
    }

    #[tokio::test]
    async fn those_that_wait_are_woken_and_a_lost_probe_is_replaced() {
        let circuit = Circuit::default();
        let mut probe = circuit.passage();
        (0..FAILURES_MAX).for_each(|_| probe.failed());
        let mut other = circuit.passage();
        let waiting = other.wait();
        let lost = async { drop(probe) };
        tokio::join!(waiting, lost);
        assert!(circuit.is_open() && other.probe.is_some());
    }

    proptest! {
        // Whatever requests do, an open circuit lets exactly one of them through, and a closed one
        // all; the model is the count of failures since the last answer.
        #[test]
        fn one_goes_or_all(steps in prop::collection::vec((0usize..4, 0u8..4), 0..60)) {
            let circuit = Circuit::default();
            let mut requests: Vec<_> = (0..4).map(|_| circuit.passage()).collect();
            let mut failures = 0;
            for (request, step) in steps {
                let went = goes(&mut requests[request]);
                match step {
                    0 if went => { requests[request].answered(); failures = 0; }
                    1 | 2 if went => { requests[request].failed(); failures += 1; }
                    3 => requests[request] = circuit.passage(),
                    _ => {}
                }
                prop_assert_eq!(circuit.is_open(), failures >= FAILURES_MAX);
                let through = requests.iter_mut().filter_map(|one| goes(one).then_some(())).count();
                prop_assert_eq!(through, if failures >= FAILURES_MAX { 1 } else { 4 });
            }
        }
    }
}
