//! The event clock of a pipeline: how far event time has come, from what its streams have shown.
//!
//! Each *stream* (a connection, a sender of datagrams, a file) shows the greatest event time it has
//! sent, at most the time of its receipt: a fast clock cannot push anything past now. A step waits
//! for the least of the streams that reach it, less what their source allows for disorder
//! (`lateness`), but not for all of them:
//!
//! ```text
//!  event time ──────────────────────────────────────────────▶
//!      c ●            a ●    b ●        d ●                  d leads
//!      │               └─ the watermark                       (less lateness)
//!      └─ more than `max_hold` behind d: a straggler, named and not waited for
//! ```
//!
//! - A stream that sent nothing for `max_hold` is *quiet* and holds nobody back; one that has ended
//!   does so at once. When all are quiet, the one that had come farthest runs on at the pace of the
//!   clock, from where it was: windows close when traffic stops, and a recording of last week that
//!   pauses does not find itself a week late.
//! - A sender that is *expected* by name is waited for although it is silent, for `max_hold`; then
//!   it is named as missing until it speaks. No word from it differs from nothing to say.
//! - Who gives its *word* (a poller, after each walk through its pages) says up to where all is
//!   there, and when it will speak again. Its word counts, and not what its records show: pages may
//!   come newest first. It is waited for until `max_hold` after that time; then it is missing.
//! - Nothing here reads a clock: *now* is the clock of the epoch. So equal epochs give equal
//!   watermarks, in every run over the same log and with any number of workers.
//! - A watermark never goes back.
//!
//! Sources: Akidau et al., *Watermarks in Stream Processing Systems*, VLDB 2021, for watermarks by
//! source and their minimum; the treatment of stragglers and quiet streams is ours.

use azud_event::id::StreamId;
use azud_event::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How many streams of one source are told apart. Further ones share one: together they are as
/// fast as the slowest that spoke last.
const STREAMS_MAX: usize = 100_000;

/// With more live streams than this, they are looked through only this often (by the epochs'
/// clocks): a look costs some nanoseconds for each.
const STREAMS_FAST: usize = 512;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many senders of a source are named as missing in one result. Further ones are counted.
const NAMED_MAX: usize = 32;

/// How many of one source that give their word are known. What further ones give is looked at as
/// that of any stream.
const WORDS_MAX: usize = 10_000;

/// After so long nobody is waited for any more who once gave its word, and it is not named: it may
/// be of a connector that is no more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Stands for all streams beyond [`STREAMS_MAX`].
const SHARED: StreamId = StreamId(u64::MAX);

/// What a block showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The source, by its place among those of the pipeline.
    pub lane: usize,
    /// Of whom.
    pub of: Observed,
    /// The greatest of the records' event times, each at most its receive time.
    pub time: EventTime,
    /// When they were last heard.
    pub heard: EventTime,
}

/// Of whom a block showed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// A stream.
    Stream(StreamId),
    /// A stream that has ended.
    Ended(StreamId),
    /// A sender that is expected, by its place in [`Patience::expected`].
    Sender(usize),
    /// Who gives its word for a stream, and speaks again within this time. What was observed is
    /// how far it is complete; [`EventTime::MIN`] says only that it is there.
    Word(StreamId, String, Duration),
}

/// How a source's streams are waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How much older than the newest a stream's next record may be.
    pub lateness: Duration,
    /// For how long a stream that is silent, or how far one that is behind, is waited for.
    pub max_hold: Duration,
    /// The senders that must speak, by name.
    pub expected: Vec<String>,
}

/// The event clock of one pipeline.
#[derive(Debug)]
pub struct EventClock {
    lanes: Vec<Lane>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Lane {
    id: String,
    patience: Patience,
    /// The streams that are waited for.
    live: BTreeMap<StreamId, Shown>,
    /// The farthest of all, with when it was heard.
    farthest: Option<Shown>,
    /// How far each sender that is expected has come, as far as it was heard.
    expected: Vec<Option<Shown>>,
    /// Those that give their word, by name.
    words: BTreeMap<String, Word>,
    /// Whose streams these are.
    worded: BTreeSet<StreamId>,
    /// The clock of the first epoch: who was never heard is waited for from then.
    since: Option<EventTime>,
    /// Nothing will ever come.
    closed: bool,
    looked: Option<Look>,
    /// Those that should speak and are missing, as they are named to people.
    silent: Vec<String>,
    /// How many of them are of those that give their word.
    silent_words: usize,
}

/// How far a stream has come, and when it was last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shown {
    time: EventTime,
    heard: EventTime,
}

/// What somebody has given its word for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Word {
    shown: Shown,
    /// When it speaks again, counted from when it was heard.
    again: Duration,
    stream: StreamId,
    /// When it was heard for the first time.
    since: EventTime,
}

impl Word {
    fn is_overdue(&self, now: EventTime, max_hold: Duration) -> bool {
        now.since(self.shown.heard) >= self.again.saturating_add(max_hold)
    }
}

/// An event clock, as a checkpoint keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockState {
    /// The sources, by id.
    pub sources: BTreeMap<String, SourceState>,
    /// The watermarks, by the steps' keys.
    pub watermarks: BTreeMap<u64, EventTime>,
}

/// A source's streams, as a checkpoint keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    live: Vec<(StreamId, Shown)>,
    farthest: Option<Shown>,
    /// The senders that are expected and were heard, by name.
    expected: BTreeMap<String, Shown>,
    #[serde(default)]
    words: BTreeMap<String, Word>,
    since: Option<EventTime>,
}

/// How many streams a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// That are waited for.
    pub live: usize,
    /// That are too far behind for that.
    pub stragglers: usize,
    /// Senders that are expected and silent.
    pub missing: usize,
}

impl SourceState {
    /// Tells how many streams are waited for.
    pub fn streams(&self) -> usize {
        self.live.len()
    }

    /// Gives the greatest event time that was shown.
    pub fn farthest(&self) -> Option<EventTime> {
        self.farthest.map(|shown| shown.time)
    }
}

/// What a look at the live streams gave.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: EventTime,
    /// The least and the greatest time of those that are waited for, less the lateness.
    waited: Option<(EventTime, EventTime)>,
    stragglers: usize,
    /// How far a stream may be behind the others and still be waited for.
    hold: Duration,
    /// Whether one that is expected was never heard, and is still waited for.
    holds: bool,
}

#[derive(Debug)]
struct Step {
    lanes: Vec<usize>,
    watermark: EventTime,
    missing: Arc<[String]>,
}

impl EventClock {
    /// Makes the clock of a pipeline: its sources by id, and for each of its steps the sources that
    /// reach it, by their place in that list.
    pub fn new(sources: Vec<(String, Patience)>, steps: Vec<Vec<usize>>) -> Self {
        let lane = |(id, patience): (String, Patience)| Lane {
            id,
            live: BTreeMap::new(),
            farthest: None,
            expected: vec![None; patience.expected.len()],
            words: BTreeMap::new(),
            worded: BTreeSet::new(),
            patience,
            since: None,
            closed: false,
            looked: None,
            silent: Vec::new(),
            silent_words: 0,
        };
        let step = |lanes| Step { lanes, watermark: EventTime::MIN, missing: Arc::new([]) };
        EventClock {
            lanes: sources.into_iter().map(lane).collect(),
            steps: steps.into_iter().map(step).collect(),
        }
    }

    /// Takes in what was seen in an epoch. The order does not matter.
    pub fn observe(&mut self, seen: Observation) {
        let lane = &mut self.lanes[seen.lane];
        let shown = Shown { time: seen.time.min(seen.heard), heard: seen.heard };
        let known = match seen.of {
            Observed::Sender(sender) => lane.expected[sender].get_or_insert(shown),
            Observed::Stream(stream) => {
                lane.farthest = lane.farthest.max(Some(shown));
                if lane.worded.contains(&stream) {
                    return;
                }
                lane.live.entry(lane.told_apart(stream)).or_insert(shown)
            }
            Observed::Ended(stream) => {
                lane.farthest = lane.farthest.max(Some(shown));
                lane.live.remove(&lane.told_apart(stream));
                if lane.worded.remove(&stream) {
                    lane.words.retain(|_, word| word.stream != stream);
                }
                lane.looked = None;
                return;
            }
            Observed::Word(stream, name, again) => {
                lane.take_word(name, Word { shown, again, stream, since: seen.heard });
                return;
            }
        };
        known.time = known.time.max(shown.time);
        known.heard = known.heard.max(shown.heard);
    }

    /// Notes that a source will never give anything again.
    pub fn close(&mut self, lane: usize) {
        self.lanes[lane].closed = true;
        self.lanes[lane].live.clear();
        self.lanes[lane].looked = None;
    }

    /// Moves all watermarks on to where they are at the end of an epoch whose clock is `now`, once
    /// everything that was seen in it has been observed.
    pub fn advance(&mut self, now: EventTime) {
        for lane in &mut self.lanes {
            lane.look(now);
        }
        let lanes = &self.lanes;
        for step in &mut self.steps {
            step.advance(lanes, now);
        }
    }

    /// Gives the watermark of a step, and the sources that were not waited for.
    pub fn of(&self, step: usize) -> (EventTime, Arc<[String]>) {
        let step = &self.steps[step];
        (step.watermark, Arc::clone(&step.missing))
    }

    /// Gives all watermarks, by step.
    pub fn watermarks(&self) -> Arc<[EventTime]> {
        self.steps.iter().map(|step| step.watermark).collect()
    }

    /// Gives what a later run must know; `steps` are the keys of the steps.
    pub fn state(&self, steps: &[u64]) -> ClockState {
        let source = |lane: &Lane| {
            let live = lane.live.iter().map(|(stream, shown)| (*stream, *shown)).collect();
            let heard = lane.patience.expected.iter().zip(&lane.expected);
            let expected = heard.filter_map(|(name, shown)| Some((name.clone(), (*shown)?)));
            let (expected, words) = (expected.collect(), lane.words.clone());
            let Lane { farthest, since, .. } = *lane;
            (lane.id.clone(), SourceState { live, farthest, expected, words, since })
        };
        ClockState {
            sources: self.lanes.iter().map(source).collect(),
            watermarks: steps.iter().copied().zip(self.watermarks().iter().copied()).collect(),
        }
    }

    /// Goes on from the state of an earlier run. `watermarks` are those of the steps of this plan,
    /// [`EventTime::MIN`] where a step is new.
    pub fn restore(&mut self, sources: &BTreeMap<String, SourceState>, watermarks: &[EventTime]) {
        for lane in &mut self.lanes {
            if let Some(known) = sources.get(&lane.id) {
                lane.live = known.live.iter().copied().collect();
                lane.farthest = known.farthest;
                lane.since = known.since;
                lane.words = known.words.clone();
                lane.worded = lane.words.values().map(|word| word.stream).collect();
                let heard = |name: &String| known.expected.get(name).copied();
                lane.expected = lane.patience.expected.iter().map(heard).collect();
            }
        }
        for (step, watermark) in self.steps.iter_mut().zip(watermarks) {
            step.watermark = *watermark;
        }
        self.reopen();
    }

    /// Begins anew where an earlier run had come to the end of all input: what comes now is other
    /// input.
    pub fn reopen(&mut self) {
        for lane in &mut self.lanes {
            lane.closed = false;
        }
        for step in self.steps.iter_mut().filter(|step| step.watermark == EventTime::MAX) {
            step.watermark = EventTime::MIN;
        }
    }

    /// Counts the streams of a source.
    pub fn streams(&self, lane: usize) -> Streams {
        let lane = &self.lanes[lane];
        let stragglers = lane.looked.map_or(0, |look| look.stragglers);
        let all = lane.live.len() + lane.words.len();
        let live = all.saturating_sub(stragglers + lane.silent_words);
        Streams { live, stragglers, missing: lane.silent.len() }
    }
}

impl Look {
    fn wait_for(&mut self, time: EventTime) {
        self.waited = Some(self.waited.map_or((time, time), |(a, b)| (a.min(time), b.max(time))));
    }
}

impl Lane {
    /// Gives the stream that stands for this one.
    fn told_apart(&self, stream: StreamId) -> StreamId {
        let full = !self.live.contains_key(&stream) && self.live.len() >= STREAMS_MAX;
        if full { SHARED } else { stream }
    }

    fn look(&mut self, now: EventTime) {
        let since = *self.since.get_or_insert(now);
        let fresh = |look: Look| {
            self.live.len() > STREAMS_FAST && now.since(look.at) < LOOK_EVERY && look.at <= now
        };
        if self.looked.is_some_and(fresh) {
            return;
        }
        let Patience { lateness, max_hold, .. } = self.patience;
        self.live.retain(|_, shown| now.since(shown.heard) < max_hold);
        self.forget(now);
        let hold = self.hold();
        let words = self.words.values().filter(|word| !word.is_overdue(now, max_hold));
        let times = self.live.values().map(|shown| shown.time);
        let lead = times.chain(words.map(|word| word.shown.time)).max();
        let mut look = Look { at: now, waited: None, stragglers: 0, hold, holds: false };
        let least = lead.map(|lead| lead.saturating_sub(hold));
        for shown in self.live.values() {
            match least {
                Some(least) if shown.time < least => look.stragglers += 1,
                _ => look.wait_for(shown.time.saturating_sub(lateness)),
            }
        }
        self.silent.clear();
        self.silent_words = 0;
        if !self.closed {
            self.look_for_expected(&mut look, since, least);
            self.look_for_words(&mut look, least);
        }
        self.looked = Some(look);
    }

    /// Looks where those are that must speak by name.
    fn look_for_expected(&mut self, look: &mut Look, since: EventTime, least: Option<EventTime>) {
        let Patience { lateness, max_hold, ref expected } = self.patience;
        for (name, shown) in expected.iter().zip(&self.expected) {
            let heard = shown.map_or(since, |shown| shown.heard);
            match shown {
                _ if look.at.since(heard) >= max_hold => {
                    self.silent.push(format!("{}/{name}", self.id));
                }
                // It may be between two connections: none of its streams need be live.
                Some(shown) if least.is_none_or(|least| shown.time >= least) => {
                    look.wait_for(shown.time.saturating_sub(lateness));
                }
                Some(_) => {}
                None => look.holds = true,
            }
        }
    }

    /// Looks where those are that give their word.
    fn look_for_words(&mut self, look: &mut Look, least: Option<EventTime>) {
        let Patience { lateness, max_hold, .. } = self.patience;
        for (name, word) in &self.words {
            let Shown { time, .. } = word.shown;
            let begins = time == EventTime::MIN;
            let is_missing = match begins {
                // A first walk may take long: it is not what others wait for.
                true => look.at.since(word.since) >= word.again.saturating_add(max_hold),
                false => least.is_some_and(|least| time < least),
            };
            if is_missing || word.is_overdue(look.at, max_hold) {
                self.silent_words += 1;
                self.silent.push(match *name == self.id {
                    true => name.clone(),
                    false => format!("{}/{name}", self.id),
                });
            } else if begins {
                look.holds = true;
            } else {
                look.wait_for(time.saturating_sub(lateness));
            }
        }
    }

    /// Takes somebody's word. What comes last counts, but for how far it is complete, which never
    /// goes back.
    fn take_word(&mut self, name: String, mut word: Word) {
        let Shown { time, .. } = word.shown;
        if time > EventTime::MIN {
            self.farthest = self.farthest.max(Some(word.shown));
        }
        if let Some(known) = self.words.get(&name) {
            let order = |word: &Word| (word.shown.heard, word.again, word.stream);
            let latest = if order(known) > order(&word) { *known } else { word };
            let shown = Shown { time: known.shown.time.max(time), ..latest.shown };
            word = Word { shown, since: known.since.min(word.since), ..latest };
            self.worded.remove(&known.stream);
        } else if self.words.len() >= WORDS_MAX {
            self.live.entry(self.told_apart(word.stream)).or_insert(word.shown);
            return;
        }
        self.live.remove(&word.stream);
        self.worded.insert(word.stream);
        self.words.insert(name, word);
        self.looked = None;
    }

    /// Forgets who has not spoken for very long.
    fn forget(&mut self, now: EventTime) {
        let count = self.words.len();
        self.words.retain(|_, word| now.since(word.shown.heard) < FORGOTTEN_AFTER);
        if self.words.len() < count {
            self.worded = self.words.values().map(|word| word.stream).collect();
        }
    }

    /// How far something of this source may be behind and still be waited for. Who speaks only
    /// every so often is behind by so much, and by what its word leaves out for disorder.
    fn hold(&self) -> Duration {
        let max_hold = self.patience.max_hold;
        let again = self.words.values().map(|word| word.again).max();
        again.map_or(max_hold, |again| again.saturating_add(max_hold.saturating_mul(2)))
    }

    /// Names those that should speak and are missing, of many only some.
    fn missing(&self) -> impl Iterator<Item = String> + '_ {
        let more = self.silent.len().saturating_sub(NAMED_MAX);
        let more = (more > 0).then(|| format!("{}: {more} more", self.id));
        self.silent.iter().take(NAMED_MAX).cloned().chain(more)
    }

    /// Where a source stands of which no stream is live: it runs on at the pace of the clock.
    fn runs_on(&self, now: EventTime) -> Option<EventTime> {
        let shown = self.farthest?;
        let since = now.since(shown.heard.saturating_add(self.hold()));
        Some(shown.time.saturating_add(since).saturating_sub(self.patience.lateness))
    }
}

impl Step {
    fn advance(&mut self, lanes: &[Lane], now: EventTime) {
        let mine = || self.lanes.iter().map(|lane| &lanes[*lane]);
        if !self.lanes.is_empty() && mine().all(|lane| lane.closed) {
            self.watermark = EventTime::MAX;
            self.missing = Arc::new([]);
            return;
        }
        let waited = |lane: &Lane| lane.looked.and_then(|look| look.waited);
        let lead = mine().filter_map(waited).map(|(_, greatest)| greatest).max();
        let mut missing: Vec<String> = mine().flat_map(Lane::missing).collect();
        let mut least: Option<EventTime> = None;
        for lane in mine() {
            let (Some((time, _)), Some(lead)) = (waited(lane), lead) else { continue };
            let hold = lane.looked.map_or(Duration::ZERO, |look| look.hold);
            if time < lead.saturating_sub(hold) {
                missing.push(lane.id.clone());
            } else {
                least = Some(least.map_or(time, |least| least.min(time)));
            }
        }
        let least = least.or_else(|| mine().filter_map(|lane| lane.runs_on(now)).max());
        let held = mine().any(|lane| lane.looked.is_some_and(|look| look.holds));
        if let Some(least) = least
            && !held
        {
            self.watermark = self.watermark.max(least);
        }
        missing.sort_unstable();
        missing.dedup();
        if *self.missing != *missing {
            self.missing = missing.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_000_000;

    fn time(second: i64) -> EventTime {
        EventTime::from_nanoseconds((START + second) * 1_000_000_000)
    }

    fn patience(lateness: u64, max_hold: u64) -> Patience {
        let seconds = Duration::from_secs;
        let (lateness, max_hold) = (seconds(lateness), seconds(max_hold));
        Patience { lateness, max_hold, expected: Vec::new() }
    }

    fn clock(sources: usize) -> EventClock {
        let named = |number: usize| (format!("s{number}"), patience(2, 15));
        EventClock::new((0..sources).map(named).collect(), vec![(0..sources).collect()])
    }

    fn see(clock: &mut EventClock, lane: usize, stream: u64, event: i64, heard: i64) {
        let (time, heard) = (time(event), time(heard));
        clock.observe(Observation { lane, of: Observed::Stream(StreamId(stream)), time, heard });
    }

    fn at(clock: &mut EventClock, now: i64) -> i64 {
        clock.advance(time(now));
        clock.of(0).0.seconds() - START
    }

    #[test]
    fn the_slowest_is_waited_for() {
        let mut clock = clock(1);
        see(&mut clock, 0, 1, 95, 100);
        see(&mut clock, 0, 2, 100, 100);
        assert_eq!(at(&mut clock, 100), 93);
        see(&mut clock, 0, 1, 99, 101);
        assert_eq!(at(&mut clock, 101), 97);
        see(&mut clock, 0, 1, 98, 102);
        assert_eq!(at(&mut clock, 102), 97, "it never goes back");
    }

    #[test]
    fn a_thousand_senders_one_fast_one_slow_one_in_another_century() {
        let mut clock = clock(1);
        for stream in 0..1_000 {
            see(&mut clock, 0, stream, 100, 100);
        }
        see(&mut clock, 0, 1_000, 100 + 240, 100);
        see(&mut clock, 0, 1_001, 100 - 600, 100);
        see(&mut clock, 0, 1_002, 2_000_000_000, 100);
        assert_eq!(at(&mut clock, 100), 98);
        assert_eq!(clock.streams(0), Streams { live: 1_002, stragglers: 1, missing: 0 });
    }

    #[test]
    fn a_quiet_stream_is_waited_for_only_so_long() {
        let mut clock = clock(1);
        see(&mut clock, 0, 1, 100, 100);
        for second in 100..=114 {
            see(&mut clock, 0, 2, second, second);
        }
        assert_eq!(at(&mut clock, 114), 98);
        see(&mut clock, 0, 2, 115, 115);
        assert_eq!(at(&mut clock, 115), 113);
    }

    #[test]
    fn when_all_are_quiet_the_farthest_runs_on_from_where_it_was() {
        let mut live = clock(1);
        see(&mut live, 0, 1, 100, 100);
        assert_eq!(at(&mut live, 114), 98);
        assert_eq!(at(&mut live, 115), 98);
        assert_eq!(at(&mut live, 160), 143);
        let mut recorded = clock(1);
        see(&mut recorded, 0, 1, -600_000, 100);
        assert_eq!(at(&mut recorded, 115), -600_002);
        assert_eq!(at(&mut recorded, 175), -599_942);
    }

    #[test]
    fn what_has_ended_holds_nobody_back_and_the_end_of_all_is_the_end_of_time() {
        let mut clock = clock(2);
        see(&mut clock, 0, 1, 90, 100);
        see(&mut clock, 1, 2, 100, 100);
        assert_eq!(at(&mut clock, 100), 88);
        let (time, heard) = (time(90), time(101));
        clock.observe(Observation { lane: 0, of: Observed::Ended(StreamId(1)), time, heard });
        assert_eq!(at(&mut clock, 101), 98);
        clock.close(0);
        assert_eq!(at(&mut clock, 102), 98);
        clock.close(1);
        clock.advance(super::EventTime::from_nanoseconds(0));
        assert_eq!(clock.of(0).0.nanoseconds(), i64::MAX);
    }

    #[test]
    fn a_source_that_is_far_behind_is_named() {
        let mut clock = clock(2);
        see(&mut clock, 0, 1, 100, 100);
        see(&mut clock, 1, 2, 50, 100);
        assert_eq!(at(&mut clock, 100), 98);
        assert_eq!(*clock.of(0).1, ["s1".to_owned()]);
        see(&mut clock, 1, 2, 95, 101);
        assert_eq!(at(&mut clock, 101), 98, "it has moved on already");
        assert!(clock.of(0).1.is_empty());
    }

    #[test]
    fn a_source_that_was_never_heard_says_nothing() {
        let mut clock = clock(2);
        clock.advance(time(100));
        assert_eq!(clock.of(0).0.nanoseconds(), i64::MIN);
        see(&mut clock, 0, 1, 100, 100);
        assert_eq!(at(&mut clock, 100), 98);
    }

    /// A clock of one source that expects `fw1` and `fw2`, each with its stream of the same number.
    fn expecting() -> EventClock {
        let expected = vec!["fw1".to_owned(), "fw2".to_owned()];
        let patience = Patience { expected, ..patience(2, 15) };
        EventClock::new(vec![("net".to_owned(), patience)], vec![vec![0]])
    }

    fn speak(clock: &mut EventClock, sender: usize, second: i64) {
        see(clock, 0, sender as u64, second, second);
        let (time, of) = (time(second), Observed::Sender(sender));
        clock.observe(Observation { lane: 0, of, time, heard: time });
    }

    fn missing(clock: &EventClock) -> Vec<String> {
        clock.of(0).1.to_vec()
    }

    #[test]
    fn who_is_expected_is_waited_for_and_then_named() {
        let mut clock = expecting();
        speak(&mut clock, 0, 100);
        clock.advance(time(100));
        assert_eq!(clock.of(0).0, EventTime::MIN, "the second may still speak");
        for second in 101..=115 {
            speak(&mut clock, 0, second);
        }
        assert_eq!(at(&mut clock, 115), 113);
        assert_eq!(missing(&clock), ["net/fw2"]);
        assert_eq!(clock.streams(0), Streams { live: 1, stragglers: 0, missing: 1 });
        speak(&mut clock, 1, 116);
        clock.advance(time(116));
        assert!(missing(&clock).is_empty(), "it has spoken");
        clock.advance(time(131));
        assert_eq!(missing(&clock), ["net/fw1", "net/fw2"], "nobody speaks any more");
    }

    #[test]
    fn who_is_expected_is_waited_for_between_two_connections() {
        let mut clock = expecting();
        speak(&mut clock, 0, 100);
        speak(&mut clock, 1, 100);
        clock.observe(Observation {
            lane: 0,
            of: Observed::Ended(StreamId(1)),
            time: EventTime::MIN,
            heard: time(101),
        });
        speak(&mut clock, 0, 110);
        assert_eq!(at(&mut clock, 110), 98);
        assert!(missing(&clock).is_empty());
    }

    #[test]
    fn who_was_missing_is_so_after_a_restart() {
        let mut clock = expecting();
        for second in 100..=120 {
            speak(&mut clock, 0, second);
        }
        clock.advance(time(100));
        clock.advance(time(120));
        assert_eq!(missing(&clock), ["net/fw2"]);
        let mut next = expecting();
        next.restore(&clock.state(&[7]).sources, &clock.watermarks());
        assert_eq!(at(&mut next, 121), 118);
        assert_eq!(missing(&next), ["net/fw2"]);
    }

    /// Somebody's word at a second that its stream is complete to a time; it speaks again.
    fn promise(clock: &mut EventClock, lane: usize, name: &str, to: Option<i64>, heard: i64) {
        let stream = StreamId::named(name.as_bytes());
        let of = Observed::Word(stream, name.to_owned(), Duration::from_secs(60));
        let to = to.map_or(EventTime::MIN, time);
        clock.observe(Observation { lane, of, time: to, heard: time(heard) });
    }

    #[test]
    fn a_word_counts_and_not_what_records_show() {
        let mut clock = clock(1);
        promise(&mut clock, 0, "s0", None, 100);
        clock.advance(time(100));
        assert_eq!(clock.of(0).0, EventTime::MIN, "the first walk is waited for");
        let stream = StreamId::named(b"s0").0;
        see(&mut clock, 0, stream, 100, 101);
        clock.advance(time(101));
        assert_eq!(clock.of(0).0, EventTime::MIN, "older records may follow on the next page");
        promise(&mut clock, 0, "s0", Some(99), 102);
        assert_eq!(at(&mut clock, 102), 97);
        see(&mut clock, 0, stream, 160, 162);
        assert_eq!(at(&mut clock, 176), 97, "a minute until it speaks, and 15 s");
        promise(&mut clock, 0, "s0", Some(159), 176);
        assert_eq!(at(&mut clock, 176), 157);
        assert!(missing(&clock).is_empty());
    }

    #[test]
    fn who_does_not_keep_its_word_is_missing() {
        let mut clock = clock(2);
        promise(&mut clock, 1, "s1", Some(98), 100);
        for second in 100..175 {
            see(&mut clock, 0, 1, second, second);
            assert_eq!(at(&mut clock, second), 96, "{second}");
        }
        assert!(missing(&clock).is_empty());
        see(&mut clock, 0, 1, 175, 175);
        assert_eq!(at(&mut clock, 175), 173);
        assert_eq!(missing(&clock), ["s1"]);
        assert_eq!(clock.streams(1), Streams { live: 0, stragglers: 0, missing: 1 });
        let mut next = super::tests::clock(2);
        next.restore(&clock.state(&[7]).sources, &clock.watermarks());
        next.advance(time(176));
        assert_eq!(missing(&next), ["s1"], "also after a restart");
        promise(&mut next, 1, "s1", Some(174), 177);
        next.advance(time(177));
        assert!(missing(&next).is_empty());
    }

    #[test]
    fn of_many_that_give_their_word_one_is_missing_alone() {
        let mut clock = clock(1);
        for name in ["okta-1", "okta-2"] {
            promise(&mut clock, 0, name, Some(100), 100);
        }
        promise(&mut clock, 0, "okta-1", Some(160), 160);
        promise(&mut clock, 0, "okta-3", None, 160);
        clock.advance(time(174));
        assert_eq!(clock.of(0).0, EventTime::MIN, "two are waited for");
        promise(&mut clock, 0, "okta-1", Some(230), 230);
        promise(&mut clock, 0, "okta-3", None, 230);
        assert_eq!(at(&mut clock, 236), 228, "the walk of the third takes long");
        assert_eq!(missing(&clock), ["s0/okta-2", "s0/okta-3"]);
        let ended = Observed::Ended(StreamId::named(b"okta-2"));
        let (time, heard) = (EventTime::MIN, time(237));
        clock.observe(Observation { lane: 0, of: ended, time, heard });
        clock.advance(super::tests::time(237));
        assert_eq!(missing(&clock), ["s0/okta-3"]);
    }

    #[test]
    fn the_order_of_observations_does_not_show() {
        let seen = [(1, 90, 100), (2, 95, 101), (1, 99, 102), (3, 20, 102), (2, 94, 103)];
        let mut forward = clock(1);
        let mut backward = clock(1);
        for (stream, event, heard) in seen {
            see(&mut forward, 0, stream, event, heard);
        }
        for (stream, event, heard) in seen.into_iter().rev() {
            see(&mut backward, 0, stream, event, heard);
        }
        assert_eq!(at(&mut forward, 103), at(&mut backward, 103));
    }
}
