//! Runs that go on from earlier ones: ended in good order, or cut off at any moment.

use crate::flow_tests::{Flow, PATIENCE, last_counts, of_stream, open, runtime};
use azud_plan::plan::{Stall, StallPolicy};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

fn lines(stream: usize, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{}{n}@{stream}", ["a", "b", "c"][n % 3])).collect()
}

/// Copies the folder of a running instance, as a crash would leave it: the log last, since what it
/// lacks at its end was promised to nobody, and letters are of what is in it.
fn crash_image(from: &Path, to: &Path) {
    for part in ["checkpoints", "dead_letters", "log", "spill"] {
        copy(&from.join(part), &to.join(part));
    }
}

fn copy(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    for entry in entries.map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if let Ok(bytes) = fs::read(entry.path()) {
            // A file that is gone by now was not needed any more.
            fs::write(to, bytes).unwrap();
        }
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut timer = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !holds() {
            timer.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[test]
fn a_run_that_ended_in_good_order_is_gone_on_from_and_nothing_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for (threads, range) in [(1, 0..300), (4, 300..600), (2, 600..900)] {
        let end = range.end;
        let (kept, counts) = runtime().block_on(async {
            let streams = vec![lines(0, range.clone())];
            let flow = Flow::start_in(folder.path(), streams, vec![7], threads, open());
            flow.ended().await;
            (flow.kept(0), last_counts(&flow.kept(2)))
        });
        assert_eq!(of_stream(&kept, 0), lines(0, range));
        assert_eq!(counts.values().sum::<u64>() as usize, end, "{counts:?}");
    }
}

#[test]
fn what_was_logged_and_not_delivered_is_delivered_by_the_next_run() {
    for (first, second) in [(1, 1), (2, 4), (4, 1)] {
        let (folder, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let streams: Vec<_> = (0..3).map(|stream| lines(stream, 0..400)).collect();
        runtime().block_on(async {
            // Nothing is ever confirmed, so nothing but the first checkpoint, of nothing, is there.
            let gates = [0; 3].map(|_| watch::channel(false));
            let closed = gates.each_ref().map(|(_, gate)| gate.clone());
            let flow = Flow::start_in(folder.path(), streams.clone(), vec![9], first, closed);
            let total: usize = streams.iter().flatten().map(|line| line.len() + 1).sum();
            until("all is taken in", || flow.submitted() == total).await;
            until("all is logged", || log_holds(folder.path(), &streams)).await;
            crash_image(folder.path(), image.path());
            let next = Flow::start_in(image.path(), Vec::new(), vec![1], second, open());
            next.ended().await;
            for (stream, lines) in streams.iter().enumerate() {
                assert_eq!(&of_stream(&next.kept(0), stream), lines);
                assert_eq!(&of_stream(&next.kept(1), stream), lines);
            }
            assert_eq!(last_counts(&next.kept(2)).values().sum::<u64>(), 1_200);
        });
    }
}

#[test]
fn letters_of_runs_that_were_cut_off_are_there_once() {
    let bad = |n: usize| if n % 10 == 3 { "malformed".to_owned() } else { format!("a{n}") };
    let streams: Vec<Vec<String>> = (0..3)
        .map(|stream| (0..600).map(bad).chain([format!("last@{stream}")]).collect())
        .collect();
    for (delay_ms, gate) in [(0, true), (0, false), (15, true), (15, false), (40, true)] {
        let folders = [0; 3].map(|_| tempfile::tempdir().unwrap());
        let gates = || [0; 3].map(|_| watch::channel(gate));
        runtime().block_on(async {
            let (first, second) = (gates(), gates());
            let of = |gates: &[(watch::Sender<bool>, watch::Receiver<bool>); 3]| {
                gates.each_ref().map(|(_, gate)| gate.clone())
            };
            let flow = Flow::start_in(folders[0].path(), streams.clone(), vec![9], 2, of(&first));
            until("all is logged", || log_holds(folders[0].path(), &streams)).await;
            crash_image(folders[0].path(), folders[1].path());
            let flow_2 = Flow::start_in(folders[1].path(), Vec::new(), vec![1], 4, of(&second));
            // The moment does not matter; that it differs from case to case does.
            let delay = Duration::from_millis(delay_ms);
            let _ = tokio::time::timeout(delay, flow_2.ended()).await;
            crash_image(folders[1].path(), folders[2].path());
            let last = Flow::start_in(folders[2].path(), Vec::new(), vec![1], 1, open());
            last.ended().await;
            let letters = last.letters();
            assert_eq!(letters.len(), 180, "after {delay_ms} ms, open: {gate}");
            assert!(letters.iter().all(|letter| letter["raw"] == "malformed"));
            drop((flow, flow_2));
        });
    }
}

/// Whether the log's files have the last line of every stream, and so all before it.
fn log_holds(folder: &Path, streams: &[Vec<String>]) -> bool {
    let files = fs::read_dir(folder.join("log")).unwrap().map(Result::unwrap);
    let segments = files.filter(|file| file.path().extension().is_some_and(|it| it == "log"));
    let bytes: Vec<u8> = segments.flat_map(|file| fs::read(file.path()).unwrap()).collect();
    let lasts = streams.iter().filter_map(|lines| lines.last());
    lasts
        .map(|line| format!("{line}\n"))
        .all(|line| memchr::memmem::find(&bytes, line.as_bytes()).is_some())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 6,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    })]

    /// The same log gives the same results, record by record, whenever the run before was cut off.
    #[test]
    fn a_run_that_was_cut_off_anywhere_tells_the_same(
        delay_ms in 0u64..120,
        threads in vec(prop::sample::select(vec![1usize, 2, 4]), 2),
        cuts in vec(1usize..30, 1..5),
    ) {
        let (folder, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let streams: Vec<_> = (0..4).map(|stream| lines(stream, 0..3_000)).collect();
        runtime().block_on(async {
            let flow =
                Flow::start_in(folder.path(), streams.clone(), cuts.clone(), threads[0], open());
            // The moment does not matter; that it differs from case to case does.
            let _ = tokio::time::timeout(Duration::from_millis(delay_ms), flow.ended()).await;
            crash_image(folder.path(), image.path());
            flow.ended().await;
            let whole = flow.kept(2);
            let next = Flow::start_in(image.path(), Vec::new(), vec![1], threads[1], open());
            next.ended().await;
            // What the second run told, the first one told, too, or told as the continuation of the
            // same count: no count is told with another last record.
            for told in next.kept(2) {
                let known = whole.iter().find(|known| {
                    known["key"] == told["key"] && known["count"] == told["count"]
                });
                if let Some(known) = known {
                    prop_assert_eq!(known, &told);
                }
            }
            // No line is lost that the image had: each stream goes on without a gap.
            for (stream, lines) in streams.iter().enumerate() {
                let again = of_stream(&next.kept(0), stream);
                if let Some(first) = again.first() {
                    let from = lines.iter().position(|line| line == first).unwrap();
                    prop_assert_eq!(&again[..], &lines[from..from + again.len()]);
                }
            }
            Ok(())
        })?;
    }

    /// Whatever the moment of the crash, and whatever was on disk of sinks that had stalled: each
    /// stream comes from its beginning, in order, without a gap.
    #[test]
    fn what_sinks_that_stalled_were_owed_comes_after_a_crash(
        delay_ms in 0u64..300,
        threads in vec(prop::sample::select(vec![1usize, 2, 4]), 2),
    ) {
        let (folder, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let streams: Vec<_> = (0..4).map(|stream| lines(stream, 0..10_000)).collect();
        let policy = StallPolicy::Spill { max_bytes: 1 << 30 };
        let stall = Stall { policy, after: Duration::from_millis(20) };
        runtime().block_on(async {
            let gates = [0; 3].map(|_| watch::channel(false));
            let closed = gates.each_ref().map(|(_, gate)| gate.clone());
            let (stream, from, to) = (streams.clone(), folder.path(), image.path());
            let flow =
                Flow::start_stalling(from, stall.clone(), stream, vec![9], threads[0], closed);
            // It ends with everything on disk, or is cut off before.
            let _ = tokio::time::timeout(Duration::from_millis(delay_ms), flow.ended()).await;
            crash_image(from, to);
            let spilled = to.join("spill").exists();
            let next =
                Flow::start_stalling(to, stall.clone(), Vec::new(), vec![1], threads[1], open());
            next.ended().await;
            let mut total = 0;
            for (stream, lines) in streams.iter().enumerate() {
                for sink in [0, 1] {
                    let found = of_stream(&next.kept(sink), stream);
                    prop_assert_eq!(&found[..], &lines[..found.len()]);
                    total += found.len();
                }
            }
            // The image has at least what was durable when it spilled.
            prop_assert!(!spilled || total > 0);
            let counted = last_counts(&next.kept(2)).values().sum::<u64>();
            prop_assert_eq!(counted as usize * 2, total);
            Ok(())
        })?;
    }
}
