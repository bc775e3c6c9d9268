//! The poller against a model of an API: whatever fails, whoever is killed and takes over, each
//! record is taken once in the end, nothing is left on disk, and no word says more than is true.

mod api;

use super::world::{Held, Running, World};
use api::{Api, Cursor, Form, Paging, Shape};
use azud_event::block::Layout;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a case may take. Most take a hundredth of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(1);

/// How many polls a process is given in the end, when nothing fails any more, and how many of them
/// may be without records: of slices many are.
const POLLS_MAX: usize = 400;
const QUIET_MAX: usize = 4;
const QUIET_SLICES_MAX: usize = 40;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The API has more records.
    Grow(u64),
    /// Time goes by.
    Pass(u64),
    Poll,
    /// Who polls is killed at one of its next steps.
    KillAt(usize),
    /// The other process takes the lease; who had it is killed, or does not know.
    TakeOver {
        killed: bool,
    },
    /// One of so many saves fails from now on; none does: zero.
    DatabaseFails(usize),
    /// Who polls is told to stop, and starts anew.
    Restart,
}

#[derive(Clone, Debug)]
struct Case {
    shape: Shape,
    seed: u64,
    fails: u64,
    steps: Vec<Step>,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let cursor = prop_oneof![
        1 => Just(Cursor::All),
        3 => Just(Cursor::EventTime),
        1 => Just(Cursor::First),
        1 => Just(Cursor::Last),
        1 => Just(Cursor::Max),
        2 => Just(Cursor::NextLink),
        2 => Just(Cursor::Slices),
        1 => Just(Cursor::Token),
    ];
    let paging = prop_oneof![
        Just(Paging::Body),
        Just(Paging::Keyset),
        Just(Paging::Link),
        Just(Paging::Offset),
        Just(Paging::Page),
        Just(Paging::Token),
        Just(Paging::Whole),
    ];
    let form = prop_oneof![Just(Form::Rfc3339), Just(Form::Unix), Just(Form::UnixMilliseconds)];
    let delay_ms = prop_oneof![Just(0_u64), 1_u64..400];
    let max_pages = prop_oneof![1_u64..4, Just(1_000_u64)];
    let flags = any::<[bool; 5]>();
    let drawn = (cursor, paging, form, 1_usize..5, delay_ms, max_pages, flags, any::<bool>());
    drawn.prop_map(|(cursor, paging, form, size, delay_ms, max_pages, flags, tells)| {
        let [newest_first, by_time, parents, dedupe, ahead] = flags;
        let shape = Shape {
            cursor,
            paging,
            form,
            size,
            newest_first,
            by_time,
            parents,
            dedupe,
            delay_ms,
            ahead,
            max_pages,
            tells,
        };
        shape.sound()
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let step = prop_oneof![
        3 => (1_u64..6).prop_map(Step::Grow),
        1 => (1_u64..1_500).prop_map(Step::Pass),
        6 => Just(Step::Poll),
        2 => (1_usize..24).prop_map(Step::KillAt),
        1 => any::<bool>().prop_map(|killed| Step::TakeOver { killed }),
        1 => (0_usize..6).prop_map(Step::DatabaseFails),
        1 => Just(Step::Restart),
    ];
    let fails = prop_oneof![Just(0_u64), 3_u64..12];
    (shapes(), any::<u64>(), fails, proptest::collection::vec(step, 4..16))
        .prop_map(|(shape, seed, fails, steps)| Case { shape, seed, fails, steps })
}

/// Two processes that poll one API, of which one may.
struct Pair {
    api: Arc<Api>,
    worlds: [World; 2],
    running: [Option<Running>; 2],
    /// Who has the lease.
    at: usize,
    /// Where it is held when it is started.
    held_at: usize,
    taken_over: bool,
    lies: Arc<Mutex<Vec<String>>>,
}

impl Pair {
    async fn start(case: &Case) -> Pair {
        let api = Arc::new(Api::new(case.shape, case.seed, case.fails));
        let answering = Arc::clone(&api);
        let answer = move |seen: &super::Seen| answering.answer(seen);
        let one = World::start_at(&case.shape.toml(), api.clock(), answer).await;
        let worlds = [one.beside(), one];
        let lies = Arc::<Mutex<Vec<String>>>::default();
        for (this, world) in worlds.iter().enumerate() {
            let held = Arc::new([worlds[this].held(), worlds[1 - this].held()]);
            let (api, lies) = (Arc::clone(&api), Arc::clone(&lies));
            let delay = i64::try_from(case.shape.delay_ms).unwrap();
            world.on_word(move |layout| {
                let told = lie(&api, &held, delay, layout);
                lies.lock().unwrap().extend(told.map(|told| format!("process {this}: {told}")));
            });
        }
        let running = [None, None];
        Pair { api, worlds, running, at: 1, held_at: usize::MAX, taken_over: false, lies }
    }

    fn start_polling(&mut self) {
        if self.running[self.at].is_none() {
            let step = std::mem::replace(&mut self.held_at, usize::MAX);
            self.running[self.at] = Some(self.worlds[self.at].run_until(step));
        }
    }

    /// Has the one that may poll do so, until it has, or is killed at the step where it is held.
    async fn poll(&mut self) {
        self.start_polling();
        let world = &self.worlds[self.at];
        let known = world.db.attempts("in").len();
        let polled = async {
            let mut look = tokio::time::interval(LOOK);
            while world.db.attempts("in").len() == known {
                world.db.nudge("in");
                look.tick().await;
            }
        };
        let is_hit = tokio::select! {
            biased;
            () = world.steps.hit() => true,
            () = polled => false,
        };
        if is_hit {
            self.kill().await;
        }
    }

    async fn kill(&mut self) {
        if let Some(running) = self.running[self.at].take() {
            running.kill().await;
        }
    }

    async fn take_over(&mut self, killed: bool) {
        if killed {
            self.kill().await;
        }
        self.at = 1 - self.at;
        // One that never knew that it was taken over is started anew.
        self.kill().await;
        self.worlds[self.at].db.expire_lease();
        self.taken_over = true;
        self.start_polling();
        let mut look = tokio::time::interval(LOOK);
        while !self.worlds[self.at].has_lease() {
            self.worlds[self.at].db.expire_lease();
            self.worlds[self.at].db.nudge("in");
            look.tick().await;
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Grow(count) => self.api.grow(count),
            Step::Pass(span) => self.api.clock().advance(Duration::from_millis(span)),
            Step::Poll => self.poll().await,
            Step::KillAt(step) => match self.running[self.at] {
                Some(_) => self.worlds[self.at].steps.hold_at(step),
                None => self.held_at = step,
            },
            Step::TakeOver { killed } => self.take_over(killed).await,
            Step::DatabaseFails(saves) => self.worlds[0].db.fail_every(saves),
            Step::Restart => {
                self.worlds[self.at].steps.hold_at(usize::MAX);
                if let Some(running) = self.running[self.at].take() {
                    running.kill_or_stop().await;
                }
            }
        }
    }

    /// Has both come to their ends, one after the other, with nothing that fails.
    async fn conclude(&mut self, cursor: Cursor) {
        let quiet_max = if cursor == Cursor::Slices { QUIET_SLICES_MAX } else { QUIET_MAX };
        self.api.calm();
        self.worlds[0].db.fail_every(0);
        self.held_at = usize::MAX;
        for at in [0, 1] {
            self.at = at;
            self.kill().await;
        }
        // What has happened is known, and behind the lag of slices.
        self.api.clock().advance(Duration::from_secs(3));
        // Who has something on its disk hands it over, also when it may not poll.
        let order = if self.taken_over { [0, 1, 0].as_slice() } else { &[1] };
        for at in order.iter().copied() {
            self.at = at;
            self.worlds[at].db.expire_lease();
            let (mut known, mut quiet) = (0, 0);
            for poll in 0..POLLS_MAX {
                if quiet >= quiet_max || (poll >= 2 && self.is_done()) {
                    break;
                }
                self.poll().await;
                quiet = if self.taken() == known { quiet + 1 } else { 0 };
                known = self.taken();
            }
            self.kill().await;
        }
    }

    fn taken(&self) -> usize {
        self.worlds.iter().map(|world| world.records().len()).sum()
    }

    fn is_done(&self) -> bool {
        let is_saved = || {
            let saved = self.worlds[0].db.cursor("in").map(|cursor| cursor.state);
            let state: serde_json::Value =
                saved.and_then(|state| serde_json::from_slice(&state).ok()).unwrap_or_default();
            state["claim"].is_null() && state["walk"].is_null()
        };
        self.taken() >= self.api.records().len() && is_saved()
    }

    fn check(&self, case: &Case) -> Result<(), TestCaseError> {
        if !self.api.repeated() {
            let lies = self.lies.lock().unwrap();
            prop_assert!(lies.is_empty(), "{}", lies[0]);
        }
        let mut taken = BTreeMap::<String, [usize; 2]>::new();
        for (this, world) in self.worlds.iter().enumerate() {
            for record in world.records() {
                taken.entry(record).or_default()[this] += 1;
            }
            prop_assert_eq!(world.pages_left(), 0, "pages are left on the disk of {}", this);
        }
        // What an overlap brings again is known to one process only.
        let may_repeat = self.taken_over && case.shape.dedupe;
        for record in self.api.records() {
            let times = taken.remove(&record.json()).unwrap_or_default();
            let once = matches!(times, [1, 0] | [0, 1]) || (times == [1, 1] && may_repeat);
            prop_assert!(once, "{} was taken {times:?} times", record.json());
        }
        prop_assert!(taken.is_empty(), "nobody gave {taken:?}");
        Ok(())
    }
}

/// Says what a word claims and is not true: a record that the API has, that happened before, and
/// that nobody was given. `held` is that of who speaks, and of the other: what is on its disk it
/// hands over itself.
fn lie(api: &Api, held: &[Held; 2], delay_ms: i64, layout: &Layout) -> Option<String> {
    let Layout::Complete { to, .. } = layout else { return None };
    let before = to.nanoseconds().checked_sub(delay_ms * 1_000_000)?;
    let missing = api.records().into_iter().find(|record| {
        let json = record.json();
        let was_taken = || held.iter().any(|held| held.took(&json)) || held[1].keeps(&json);
        record.at * 1_000_000 < before && !api.is_ahead(record) && !was_taken()
    })?;
    Some(format!("all is there before {}, and {} is not", to.to_rfc3339(), missing.json()))
}

async fn run(case: &Case) -> Result<(), TestCaseError> {
    let mut pair = Pair::start(case).await;
    let all = async {
        for step in &case.steps {
            pair.step(*step).await;
        }
        pair.conclude(case.shape.cursor).await;
    };
    let in_time = tokio::time::timeout(DEADLINE, all).await.is_ok();
    prop_assert!(in_time, "not in time");
    pair.check(case)
}

/// How many cases are tried when nobody says how many.
const CASES: u32 = 48;

fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig { cases: CASES, max_shrink_iters: 200, ..config },
    }
}

proptest! {
    #![proptest_config(config())]

    /// A failure shows its case, seed and all.
    #[test]
    fn each_record_is_taken_once_and_words_are_true(case in cases()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&case))?;
    }
}
