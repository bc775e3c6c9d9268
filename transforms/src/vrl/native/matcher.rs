//! A small matcher for the regular expressions that people write about log lines.
//!
//! # The idea
//!
//! Such an expression is a row of words, runs of one class (`\S+`), groups, and a few choices. On a
//! text of ASCII alone each class is a set of 128 bytes, and a run mostly ends where the next word
//! must begin. A backtracking matcher does that in some ten instructions a byte, where an automaton
//! that keeps groups apart pays a hundred.
//!
//! Backtracking prefers what the `regex` crate prefers: the leftmost match, of those the one whose
//! choices come first. That is its documented meaning, and the property tests hold the two against
//! each other, group by group.
//!
//! # Bounds
//!
//! - Only texts of ASCII; the caller asks `regex` about any other.
//! - Only expressions whose repetitions are of one class (or of at most one time): no loop can turn
//!   without reading, and no group is set twice.
//! - At most [`STEPS_PER_BYTE_MAX`] steps and bytes of runs for each byte of the text: where
//!   backtracking would take long, the answer is that there is none, and the caller asks `regex`,
//!   whose time is bounded.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// How many steps a search may take for each byte of its text, the bytes of runs counted, before
/// `regex` is asked instead. A plain expression takes one or two; sixteen still take less time than
/// the automaton.
const STEPS_PER_BYTE_MAX: usize = 16;

/// How many steps an expression may have, so that copies for bounded repetitions stay few.
const PROGRAM_STEPS_MAX: usize = 256;

/// Nowhere: no group is set there.
pub(super) const NOWHERE: usize = usize::MAX;

/// Bytes of ASCII, a bit for each.
type Set = u128;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// These bytes, at least one.
    Word(Box<[u8]>),
    /// One byte of the set.
    One(Set),
    /// As many bytes of the set as possible, or as few.
    Run {
        set: Set,
        min: usize,
        max: usize,
        greedy: bool,
    },
    /// As many as possible, when no fewer could go on: what follows begins outside the set.
    Whole {
        set: Set,
        min: usize,
    },
    /// Notes the place.
    Save(usize),
    /// Goes on at the first, and if that leads nowhere at the second.
    Split(usize, usize),
    Jump(usize),
    /// At the beginning of the text.
    Start,
    /// At the end of the text.
    End,
    Match,
}

/// What to take up again when the way taken leads nowhere.
#[derive(Clone, Copy, Debug)]
enum Back {
    /// Go on at a step and a place.
    Go { step: usize, at: usize },
    /// A run that may be shorter, down to `least`.
    Shorter { step: usize, at: usize, least: usize },
    /// A run that may be longer, up to `most`.
    Longer { step: usize, at: usize, most: usize },
    /// A place that was noted on the way.
    Restore { slot: usize, place: usize },
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    steps: Vec<Step>,
    /// Bytes with which a match may begin; `None` when it may be empty.
    first: Option<Set>,
    anchored: bool,
    slots: usize,
}

/// The memory of a search, kept for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    back: Vec<Back>,
}

impl Matcher {
    /// Compiles an expression; `None` when it is none of those that this matcher knows.
    pub(super) fn new(text: &str) -> Option<Self> {
        let hir = regex_syntax::parse(text).ok()?;
        let mut steps = Vec::new();
        compile(&hir, &mut steps)?;
        steps.push(Step::Match);
        for at in 0..steps.len() {
            if let Step::Run { set, min, max: usize::MAX, greedy: true } = steps[at]
                && begins(&steps, at + 1).is_some_and(|first| first & set == 0)
            {
                steps[at] = Step::Whole { set, min };
            }
        }
        let groups = hir.properties().explicit_captures_len();
        let anchored =
            steps.iter().find(|step| !matches!(step, Step::Save(_))) == Some(&Step::Start);
        Some(Matcher { first: begins(&steps, 0), anchored, slots: 2 * (groups + 1), steps })
    }

    /// Searches a text for the leftmost match, and notes where its groups begin and end, two slots
    /// for each, [`NOWHERE`] for one that took no part.
    ///
    /// `None` when `regex` is to be asked: the text is not ASCII, or it would take too long.
    pub(super) fn search(
        &self,
        text: &[u8],
        slots: &mut Vec<usize>,
        scratch: &mut Scratch,
    ) -> Option<bool> {
        if !text.is_ascii() {
            return None;
        }
        let mut left = STEPS_PER_BYTE_MAX * (text.len() + self.steps.len());
        let last = if self.anchored { 0 } else { text.len() };
        for start in 0..=last {
            if let Some(first) = self.first
                && !text.get(start).is_some_and(|byte| holds(first, *byte))
            {
                // Also paid for, or a search of a long text would be free.
                left = left.checked_sub(1)?;
                continue;
            }
            slots.clear();
            slots.resize(self.slots, NOWHERE);
            slots[0] = start;
            if let Some(end) = self.follow(text, start, slots, scratch, &mut left)? {
                slots[1] = end;
                return Some(true);
            }
        }
        Some(false)
    }

    /// Follows the steps from a place; gives where the match ends, if there is one. The outer
    /// `None` says that it takes too long.
    fn follow(
        &self,
        text: &[u8],
        start: usize,
        slots: &mut [usize],
        scratch: &mut Scratch,
        left: &mut usize,
    ) -> Option<Option<usize>> {
        let back = &mut scratch.back;
        back.clear();
        let (mut step, mut at) = (0, start);
        loop {
            *left = left.checked_sub(1)?;
            let rest = &text[at..];
            let went = match &self.steps[step] {
                Step::Word(word) => {
                    at += word.len();
                    rest.starts_with(word)
                }
                Step::One(set) => {
                    at += 1;
                    rest.first().is_some_and(|byte| holds(*set, *byte))
                }
                Step::Whole { set, min } => {
                    let run = run_of(rest, *set, usize::MAX);
                    *left = left.checked_sub(run)?;
                    at += run;
                    run >= *min
                }
                Step::Run { set, min, max, greedy } => {
                    let run = run_of(rest, *set, *max);
                    *left = left.checked_sub(run)?;
                    let (least, most) = (at + min, at + run);
                    let (first, other) = match greedy {
                        true => (most, Back::Shorter { step: step + 1, at: most, least }),
                        false => (least, Back::Longer { step: step + 1, at: least, most }),
                    };
                    if run > *min {
                        back.push(other);
                    }
                    at = first;
                    run >= *min
                }
                Step::Save(slot) => {
                    back.push(Back::Restore { slot: *slot, place: slots[*slot] });
                    slots[*slot] = at;
                    true
                }
                Step::Split(..) | Step::Jump(_) => {
                    step = fork(&self.steps[step], at, back);
                    continue;
                }
                Step::Start => at == 0,
                Step::End => rest.is_empty(),
                Step::Match => return Some(Some(at)),
            };
            if went {
                step += 1;
                continue;
            }
            match go_back(back, slots) {
                Some(to) => (step, at) = to,
                None => return Some(None),
            }
        }
    }
}

/// Gives the step at which a split or a jump goes on, and keeps the other way of a split.
#[inline]
fn fork(step: &Step, at: usize, back: &mut Vec<Back>) -> usize {
    match step {
        Step::Split(first, second) => {
            back.push(Back::Go { step: *second, at });
            *first
        }
        Step::Jump(to) => *to,
        _ => unreachable!("only splits and jumps lead elsewhere than to the next step"),
    }
}

/// Takes up the last way that was not taken: a step and a place.
fn go_back(back: &mut Vec<Back>, slots: &mut [usize]) -> Option<(usize, usize)> {
    loop {
        match back.pop()? {
            Back::Restore { slot, place } => slots[slot] = place,
            Back::Go { step, at } => return Some((step, at)),
            Back::Shorter { step, at, least } => {
                let at = at - 1;
                if at > least {
                    back.push(Back::Shorter { step, at, least });
                }
                return Some((step, at));
            }
            Back::Longer { step, at, most } => {
                let at = at + 1;
                if at < most {
                    back.push(Back::Longer { step, at, most });
                }
                return Some((step, at));
            }
        }
    }
}

#[inline]
fn holds(set: Set, byte: u8) -> bool {
    byte < 128 && set >> byte & 1 == 1
}

#[inline]
fn run_of(text: &[u8], set: Set, max: usize) -> usize {
    text.iter().take(max).take_while(|byte| holds(set, **byte)).count()
}

/// Gives the bytes with which what follows from a step must begin; `None` when it may be empty, or
/// when it has too many ways to follow them all.
fn begins(steps: &[Step], at: usize) -> Option<Set> {
    first_of(steps, at, &mut (4 * PROGRAM_STEPS_MAX))
}

fn first_of(steps: &[Step], at: usize, left: &mut usize) -> Option<Set> {
    *left = left.checked_sub(1)?;
    match &steps[at] {
        Step::Word(word) => Some(1 << word[0]),
        Step::One(set) => Some(*set),
        Step::Run { set, min: 1.., max: 1.., .. } | Step::Whole { set, min: 1.. } => Some(*set),
        Step::Run { set, .. } | Step::Whole { set, .. } => {
            Some(*set | first_of(steps, at + 1, left)?)
        }
        Step::Save(_) | Step::Start => first_of(steps, at + 1, left),
        Step::Split(first, second) => {
            Some(first_of(steps, *first, left)? | first_of(steps, *second, left)?)
        }
        Step::Jump(to) => first_of(steps, *to, left),
        Step::End | Step::Match => None,
    }
}

/// Appends the steps of an expression; `None` when it has a part that this matcher does not know.
fn compile(hir: &Hir, steps: &mut Vec<Step>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) if literal.0.is_ascii() => {
            steps.push(Step::Word(literal.0.clone()));
        }
        // No text of ASCII has it.
        HirKind::Literal(_) => steps.push(Step::One(0)),
        HirKind::Class(class) => steps.push(Step::One(set_of(class))),
        HirKind::Look(Look::Start) => steps.push(Step::Start),
        HirKind::Look(Look::End) => steps.push(Step::End),
        HirKind::Look(_) => return None,
        HirKind::Capture(capture) => {
            let slot = 2 * capture.index as usize;
            steps.push(Step::Save(slot));
            compile(&capture.sub, steps)?;
            steps.push(Step::Save(slot + 1));
        }
        HirKind::Concat(parts) => {
            for part in parts {
                compile(part, steps)?;
            }
        }
        HirKind::Alternation(ways) => alternation(ways, steps)?,
        HirKind::Repetition(repetition) => {
            let max = repetition.max.map_or(usize::MAX, |max| max as usize);
            let (min, greedy) = (repetition.min as usize, repetition.greedy);
            if let Some(set) = single(&repetition.sub) {
                steps.push(Step::Run { set, min, max, greedy });
            } else if (min, max) == (0, 1) {
                optional(&repetition.sub, greedy, steps)?;
            } else {
                return None;
            }
        }
    }
    (steps.len() < PROGRAM_STEPS_MAX).then_some(())
}

/// Compiles ways of which the first that leads to a match is taken.
fn alternation(ways: &[Hir], steps: &mut Vec<Step>) -> Option<()> {
    let mut jumps = Vec::new();
    let (last, others) = ways.split_last()?;
    for way in others {
        let split = steps.len();
        steps.push(Step::Split(split + 1, 0));
        compile(way, steps)?;
        jumps.push(steps.len());
        steps.push(Step::Jump(0));
        steps[split] = Step::Split(split + 1, steps.len());
    }
    compile(last, steps)?;
    for jump in jumps {
        steps[jump] = Step::Jump(steps.len());
    }
    Some(())
}

fn optional(sub: &Hir, greedy: bool, steps: &mut Vec<Step>) -> Option<()> {
    let split = steps.len();
    steps.push(Step::Split(0, 0));
    compile(sub, steps)?;
    let (within, behind) = (split + 1, steps.len());
    steps[split] = if greedy { Step::Split(within, behind) } else { Step::Split(behind, within) };
    Some(())
}

/// Gives the set of an expression that always takes one byte of ASCII.
fn single(hir: &Hir) -> Option<Set> {
    match hir.kind() {
        HirKind::Class(class) => Some(set_of(class)),
        HirKind::Literal(literal) => match &*literal.0 {
            [byte] if byte.is_ascii() => Some(1 << byte),
            _ => None,
        },
        _ => None,
    }
}

/// Gives what of a class is ASCII.
fn set_of(class: &Class) -> Set {
    let mut set = 0;
    let mut add = |start: u32, end: u32| {
        for byte in start..=end.min(127) {
            set |= 1 << byte;
        }
    };
    match class {
        Class::Unicode(class) => {
            class.iter().for_each(|range| add(range.start().into(), range.end().into()));
        }
        Class::Bytes(class) => {
            class.iter().for_each(|range| add(range.start().into(), range.end().into()));
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use regex::Regex;

    fn pattern(depth: u32) -> BoxedStrategy<String> {
        let class = proptest::sample::select(vec![
            r"\w", r"\S", r"\d", r"\s", ".", "[a-c]", "[^ab]", "a", " ", "k", r"\.",
        ]);
        let run = (
            class,
            proptest::sample::select(vec![
                "", "+", "*", "?", "+?", "*?", "??", "{2}", "{1,3}", "{2,}?", "{0,2}",
            ]),
        )
            .prop_map(|(class, times)| format!("{class}{times}"));
        let word = proptest::sample::select(vec!["ab", "abc ", "b", "^", "$", "é", "(?i)K"]);
        let leaf = prop_oneof![4 => run, 2 => word.prop_map(str::to_owned)].boxed();
        if depth == 0 {
            return leaf;
        }
        let inner = vec(pattern(depth - 1), 0..4).prop_map(|parts| parts.concat());
        let ways = vec(inner.clone(), 1..4).prop_map(|ways| ways.join("|"));
        prop_oneof![
            3 => leaf,
            1 => inner.clone(),
            2 => (ways.clone(), proptest::sample::select(vec!["", "?", "??"]))
                .prop_map(|(ways, times)| format!("({ways}){times}")),
            1 => ways.prop_map(|ways| format!("(?:{ways})")),
            1 => inner.prop_map(|inner| format!("(?i:{inner})")),
        ]
        .boxed()
    }

    /// Gives where the groups are by `regex`.
    fn expected(regex: &Regex, text: &str) -> Option<Vec<usize>> {
        let captures = regex.captures(text)?;
        let place = |group: Option<regex::Match<'_>>| {
            group.map_or([NOWHERE; 2], |group| [group.start(), group.end()])
        };
        Some(captures.iter().flat_map(place).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn it_finds_what_regex_finds(
            parts in vec(pattern(2), 1..5),
            texts in vec("[abckK1. ]{0,12}", 1..8),
        ) {
            let pattern = parts.concat();
            let Some(matcher) = Matcher::new(&pattern) else { return Ok(()) };
            let regex = Regex::new(&pattern).unwrap();
            let (mut slots, mut scratch) = (Vec::new(), Scratch::default());
            for text in texts {
                let found = matcher.search(text.as_bytes(), &mut slots, &mut scratch);
                let Some(found) = found else { continue };
                let found = found.then(|| slots.clone());
                prop_assert_eq!(found, expected(&regex, &text), "{} in {:?}", pattern, text);
            }
        }
    }

    #[test]
    fn a_pattern_of_a_login_is_known_and_found_without_going_back_far() {
        let pattern = concat!(
            r"^(?P<verb>Failed|Accepted) (?P<method>\w+) for (?P<invalid>invalid user )?",
            r"(?P<user>\S+) from (?P<ip>\S+) port (?P<port>\d+)",
        );
        let matcher = Matcher::new(pattern).unwrap();
        let regex = Regex::new(pattern).unwrap();
        let (mut slots, mut scratch) = (Vec::new(), Scratch::default());
        for text in [
            "Failed password for invalid user admin from 203.0.113.9 port 40022 ssh2",
            "Accepted publickey for root from 203.0.113.9 port 40022 ssh2: RSA SHA256:00",
            "Failed password for invalid user from 203.0.113.9 port 40022",
            "session opened for user root",
            "",
        ] {
            let found = matcher.search(text.as_bytes(), &mut slots, &mut scratch).unwrap();
            assert_eq!(found.then_some(&slots), expected(&regex, text).as_ref(), "{text}");
        }
    }

    #[test]
    fn what_would_take_long_and_what_is_not_ascii_is_left_to_regex() {
        let matcher = Matcher::new(r"(a*)(a*)(a*)(a*)b$").unwrap();
        let (mut slots, mut scratch) = (Vec::new(), Scratch::default());
        let text = [b'a'; 200];
        assert_eq!(matcher.search(&text, &mut slots, &mut scratch), None);
        let matcher = Matcher::new(".").unwrap();
        assert_eq!(matcher.search("é".as_bytes(), &mut slots, &mut scratch), None);
        for pattern in [r"(\w )+", r"\bword", r"(?m)^a", "(", r"(ab){2,3}"] {
            assert!(Matcher::new(pattern).is_none(), "{pattern}");
        }
    }
}
