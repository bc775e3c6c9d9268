//! A crash at every point at which the log changes the disk, a flip of every byte, a full disk, a
//! sync that fails.

use super::error::LogError;
use super::format::{ENTRY_HEADER_BYTES, EntryHeader, HeaderRead, SegmentHeader};
use super::limits::WAITING_BYTES_MAX;
use super::model::{Rig, block, open, read_all, small_settings};
use super::state::{Phase, Refused, Settings};
use super::{Disk, Entry, EpochRecord, LogPosition, Mark, Read, inspect, verify};
use bytes::Bytes;
use std::time::Duration;

/// Uses everything that changes the disk; returns early when it has died.
fn script(rig: &mut Rig) {
    for round in 0..4u64 {
        for number in 0..4 {
            rig.append(block(number % 2, 10 * round + number, 130 + 40 * number as usize));
        }
        let bytes = Bytes::from(vec![round as u8; 30]);
        rig.append(Entry::Epoch(EpochRecord { pipeline: 9, epoch: round, bytes: bytes.clone() }));
        rig.append(Entry::Mark(Mark { name: Bytes::from_static(b"plan"), bytes }));
        rig.drain();
        rig.release(if round < 2 { 60 } else { 100 });
        rig.clock.advance(Duration::from_secs(400));
        let _ = rig.log.maintain(rig.clock.now());
    }
    rig.append(block(1, 77, 10));
    rig.drain();
}

/// Gives the segment that is written, with its length.
fn last_file(rig: &Rig) -> (String, usize) {
    rig.disk.files().into_iter().rfind(|(name, _)| name.ends_with(".log")).unwrap()
}

#[test]
fn the_script_packs_and_removes() {
    let mut rig = Rig::new(small_settings());
    script(&mut rig);
    let stats = rig.log.stats();
    assert!(stats.packed_segments > 0 && stats.segments > 0, "{stats:?}");
    assert!(stats.first > LogPosition(0), "nothing was removed: {stats:?}");
    rig.note_durable();
    rig.check();
}

#[test]
fn a_crash_at_any_point_loses_nothing_that_was_told_durable() {
    let mut whole = Rig::new(small_settings());
    script(&mut whole);
    let points = whole.disk.points();
    assert!(points > 60, "{points}");
    for point in 0..=points {
        for seed in 0..6 {
            let mut rig = Rig::new(small_settings());
            rig.disk.die_at(point);
            script(&mut rig);
            rig.reopen(rig.disk.crash(seed * 1_000 + point));
            // The log goes on where it was cut.
            rig.append(block(3, point, 60));
            rig.drain();
            rig.reopen(rig.disk.crash(seed));
            assert!(!rig.placed.is_empty());
        }
    }
}

#[test]
fn a_crash_during_the_recovery_loses_nothing_either() {
    let mut whole = Rig::new(small_settings());
    script(&mut whole);
    let points = whole.disk.points();
    for point in (0..=points).step_by(3) {
        for recovery_point in 0..8 {
            let mut rig = Rig::new(small_settings());
            rig.disk.die_at(point);
            script(&mut rig);
            let disk = rig.disk.crash(point);
            disk.die_at(recovery_point);
            // It may fail, or be done before it dies.
            drop(open(&disk, &rig.settings, &rig.clock, 9));
            rig.reopen(disk.crash(recovery_point));
        }
    }
}

/// Every byte of every file, one at a time: one entry is lost at most, or one frame, and told.
#[test]
fn a_flipped_byte_loses_one_entry_or_frame() {
    let mut rig = Rig::new(small_settings());
    script(&mut rig);
    rig.note_durable();
    rig.check();
    let frames_and_entry = rig.settings.frame_bytes + 400;
    let whole = rig.placed.clone();
    let mut kinds = [0, 0];
    for (name, length) in rig.disk.files() {
        let packed = name.ends_with(".packed");
        if !packed && !name.ends_with(".log") {
            continue;
        }
        for offset in 0..length {
            let disk = rig.disk.kill();
            disk.flip(&name, offset, 1 << (offset % 8));
            let (log, ..) = open(&disk, &rig.settings, &rig.clock, 1).unwrap();
            let mut damaged = Vec::new();
            let mut entries = Vec::new();
            for read in read_all(&log) {
                match read {
                    Read::Entry { position, end, entry } => entries.push((position, end, entry)),
                    Read::Damaged(stretch) => damaged.push(stretch),
                }
            }
            let lost: Vec<_> = whole.iter().filter(|entry| !entries.contains(entry)).collect();
            let at = format!("byte {offset} of {name}");
            assert_eq!(entries.len() + lost.len(), whole.len(), "{at}: something new appeared");
            assert!(entries.is_sorted_by_key(|(position, ..)| *position), "{at}");
            let bytes: u64 = lost.iter().map(|(from, to, _)| to.0 - from.0).sum();
            if packed {
                assert!(bytes <= frames_and_entry as u64, "{at}: {bytes} bytes are lost");
            } else {
                assert!(lost.len() <= 1, "{at}: {} entries are lost", lost.len());
            }
            for (from, to, _) in &lost {
                let told = damaged.iter().any(|one| one.from <= *from && *to <= one.to);
                assert!(told, "{at}: lost without a word, {damaged:?}");
                assert!(damaged.iter().all(|one| one.kept), "{at}: not set aside");
            }
            assert_eq!(log.stats().damaged, damaged.len() as u64, "{at}: not counted");
            kinds[usize::from(packed)] += lost.len();
        }
    }
    assert!(kinds[0] > 0 && kinds[1] > 0, "{kinds:?}");
}

/// A record that holds a copy of the log, as one about the log itself may, is not taken for it.
#[test]
fn entries_within_a_record_are_not_entries() {
    let mut rig = Rig::new(Settings { segment_bytes: 100_000, ..small_settings() });
    (0..3).for_each(|number| rig.append(block(1, number, 100)));
    rig.drain();
    let (name, length) =
        rig.disk.files().into_iter().find(|(name, _)| name.ends_with(".log")).unwrap();
    let mut copy = vec![0; length];
    rig.disk.open(&name, super::Access::Read).unwrap().read_at(0, &mut copy).unwrap();
    let Entry::Block(mut carrier) = block(1, 4, 0) else { panic!("not a block") };
    carrier.bytes = Bytes::from(copy);
    rig.append(Entry::Block(carrier));
    rig.append(block(1, 5, 40));
    rig.drain();
    let carrier = rig.placed[3].0;
    // The length of the carrier's header, so that its end is searched for.
    rig.disk.flip(&name, 160 + (carrier.0 - rig.placed[0].0.0) as usize + 41, 0x10);
    let (log, ..) = open(&rig.disk.kill(), &rig.settings, &rig.clock, 1).unwrap();
    let found: Vec<_> = read_all(&log)
        .into_iter()
        .filter_map(|read| match read {
            Read::Entry { position, .. } => Some(position),
            Read::Damaged(_) => None,
        })
        .collect();
    let wanted: Vec<_> =
        rig.placed.iter().map(|(position, ..)| *position).filter(|at| *at != carrier).collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_full_disk_loses_nothing_and_shows_nothing_half() {
    for capacity in (1_100..3_000).step_by(97) {
        let mut rig = Rig::new(Settings { reserve_bytes: 0, ..small_settings() });
        rig.disk.set_capacity(Some(capacity));
        for number in 0..12 {
            rig.append(block(1, number, 230));
            rig.drain();
        }
        assert_eq!(rig.log.stats().phase, Phase::Full, "{capacity}");
        assert_eq!(rig.told.0.lock().unwrap().phases, [Phase::Full]);
        let inspection = verify(&rig.disk).unwrap();
        assert_eq!((inspection.damaged_count, inspection.torn_bytes), (0, 0), "{capacity}");
        // Whatever was told durable is read, and nothing else.
        let durable = rig.log.durable();
        let ends = read_all(&rig.log).into_iter().map(|read| match read {
            Read::Entry { end, .. } => end,
            Read::Damaged(damaged) => panic!("{damaged:?}"),
        });
        let ends: Vec<_> = ends.collect();
        let wanted = rig.placed.iter().map(|(_, end, _)| *end).filter(|end| *end <= durable);
        assert_eq!(ends, wanted.collect::<Vec<_>>());
        let crashed = rig.disk.crash(capacity as u64);
        let (log, ..) = open(&crashed, &rig.settings, &rig.clock, 1).unwrap();
        assert!(read_all(&log).len() >= ends.len());
        // There is room again.
        rig.disk.set_capacity(None);
        rig.clock.advance(Duration::from_secs(10));
        rig.drain();
        assert_eq!(rig.told.0.lock().unwrap().phases, [Phase::Full, Phase::Running]);
        rig.note_durable();
        rig.check();
        assert_eq!(rig.placed.len(), 12);
        assert_eq!(rig.log.stats().full, 1);
    }
}

#[test]
fn the_reserve_is_for_the_checkpoint() {
    let mut rig = Rig::new(Settings { reserve_bytes: 1_000, ..small_settings() });
    rig.log.maintain(rig.clock.now()).unwrap();
    assert!(rig.disk.files().contains(&("reserve".to_owned(), 1_000)));
    rig.disk.set_capacity(Some(rig.disk.used() + 700));
    for number in 0..6 {
        rig.append(block(1, number, 300));
    }
    rig.drain();
    assert_eq!(rig.log.stats().phase, Phase::Full);
    let used = rig.disk.used();
    let reserve = rig.log.open_reserve().unwrap();
    assert_eq!(rig.disk.used(), used - 1_000);
    rig.clock.advance(Duration::from_secs(60));
    rig.drain();
    rig.log.maintain(rig.clock.now()).unwrap();
    assert_eq!(rig.disk.used(), used - 1_000, "the log took what is for the checkpoint");
    drop(reserve);
    rig.disk.set_capacity(None);
    rig.clock.advance(Duration::from_secs(60));
    rig.drain();
    rig.log.maintain(rig.clock.now()).unwrap();
    assert!(rig.disk.files().contains(&("reserve".to_owned(), 1_000)));
    assert_eq!(rig.log.durable(), rig.placed.last().unwrap().1);
}

#[test]
fn a_sync_that_fails_is_told_once_and_never_believed() {
    let mut rig = Rig::new(small_settings());
    rig.append(block(1, 1, 100));
    rig.drain();
    rig.append(block(1, 2, 100));
    rig.disk.fail_syncs();
    rig.drain();
    rig.drain();
    let words = rig.told.0.lock().unwrap().clone();
    assert_eq!(words.fatal.len(), 1, "{words:?}");
    assert!(words.fatal[0].contains("sync"), "{words:?}");
    assert_eq!(words.durable, rig.placed[0].1);
    let refused = rig.log.append(&block(1, 3, 1));
    assert!(matches!(refused, Err(Refused::Never(LogError::Stopped))), "{refused:?}");
    assert!(rig.log.wait_durable(rig.placed[1].1).is_err());
    // The next process reads what the memory of the system still has. What it then says is there
    // must be on the platters.
    rig.reopen(rig.disk.kill());
    let shown = rig.placed.len();
    rig.append(block(1, 4, 10));
    rig.drain();
    rig.reopen(rig.disk.crash(3));
    assert_eq!(rig.placed.len(), shown + 1);
}

#[test]
fn a_newer_format_is_refused_by_its_version() {
    let mut rig = Rig::new(small_settings());
    rig.append(block(1, 1, 100));
    rig.drain();
    let (name, _) = last_file(&rig);
    for copy in [0, 80] {
        rig.disk.flip(&name, copy + 8, 2);
    }
    let before = rig.disk.files();
    let disk = rig.disk.kill();
    let error = open(&disk, &rig.settings, &rig.clock, 1).err().unwrap();
    assert!(matches!(error, LogError::TooNew { version: 3, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("version 3"), "{error}");
    assert_eq!(disk.files(), before, "nothing was touched");
    assert!(matches!(inspect(&disk), Err(LogError::TooNew { version: 3, .. })));
}

#[test]
fn only_so_much_waits_for_the_disk() {
    let mut rig = Rig::new(Settings { segment_bytes: 1 << 30, ..small_settings() });
    let megabyte = block(1, 1, 1024 * 1024);
    let mut taken = 0;
    let refused = loop {
        match rig.log.append(&megabyte) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::Busy { max: WAITING_BYTES_MAX, .. }), "{refused}");
    assert_eq!(taken, 16);
    assert_eq!(rig.told.0.lock().unwrap().rooms, 0);
    rig.drain();
    assert_eq!(rig.told.0.lock().unwrap().rooms, 1);
    assert!(rig.log.append(&megabyte).is_ok());
}

/// A commit takes along what came while the one before was under way, and waits for none.
#[test]
fn commits_are_paced_when_busy_and_at_once_when_idle() {
    use super::commit::Step;
    let mut rig = Rig::new(small_settings());
    rig.append(block(1, 1, 100));
    assert_eq!((rig.committer.step(), rig.committer.step()), (Step::Did, Step::Did));
    assert_eq!(rig.log.durable(), rig.placed[0].1, "an idle log waits for nothing");
    rig.clock.advance(Duration::from_millis(3));
    rig.append(block(1, 2, 100));
    for _ in 0..3 {
        rig.committer.step();
    }
    let Step::Wait(_, Some(wait)) = rig.committer.step() else { panic!("it should wait") };
    assert_eq!(wait, Duration::from_millis(7));
    rig.append(block(1, 3, 100));
    rig.clock.advance(wait);
    rig.committer.step();
    assert_eq!(rig.log.durable(), rig.placed[1].1);
    rig.drain();
    assert_eq!(rig.log.durable(), rig.placed[2].1);
    assert_eq!(rig.log.stats().syncs, 3);
}

#[test]
fn what_is_asked_for_wrongly_is_said() {
    let mut rig = Rig::new(Settings { retain: Duration::ZERO, ..small_settings() });
    script(&mut rig);
    let at = |position: LogPosition| rig.log.reader(position).read_next();
    let (position, ..) = rig.placed.last().unwrap();
    let inside = LogPosition(position.0 + 1);
    assert!(matches!(at(inside), Err(LogError::NoEntry { position }) if position == inside));
    assert_eq!(rig.log.stats().damaged, 0, "a wrong question is no damage");
    assert!(matches!(at(LogPosition(0)), Err(LogError::Gone { .. })));
    let behind = LogPosition(rig.log.next().0 + 1);
    assert!(matches!(at(behind), Err(LogError::Ahead { .. })));
    assert!(at(rig.log.durable()).unwrap().is_none());
}

#[test]
fn inspection_tells_what_is_there() {
    let mut rig = Rig::new(small_settings());
    script(&mut rig);
    let inspection = verify(&rig.disk).unwrap();
    assert_eq!(inspection, inspect(&rig.disk).unwrap());
    assert_eq!((inspection.damaged_count, inspection.torn_bytes), (0, 0));
    let epochs = inspection.pipelines[&9];
    assert_eq!(epochs.last, 3);
    let found = read_all(&rig.log).len() as u64;
    let notes_and_all: u64 =
        inspection.segments.iter().flat_map(|segment| segment.entries.values()).sum();
    assert!(found <= notes_and_all);
    let blocks: u64 = inspection.sources.values().map(|source| source.entries).sum();
    assert!(blocks > epochs.count && blocks + epochs.count <= found);
    for known in inspection.sources.values() {
        assert!(known.first < known.last);
        let (first, last) = known.received.unwrap();
        assert!(first < last, "blocks of a source are received one after the other");
    }
    assert_eq!(inspection.missing, []);
    // A flipped byte in a payload is seen by the one and not by the other.
    let last = inspection.segments.last().unwrap();
    let disk = rig.disk.kill();
    disk.flip(&last.name, 160 + ENTRY_HEADER_BYTES, 1);
    assert_eq!(inspect(&disk).unwrap().damaged_count, 0);
    assert_eq!(verify(&disk).unwrap().damaged_count, 1);
    // A segment that was taken away is missed by the one behind it.
    let taken = &inspection.segments[inspection.segments.len() - 2];
    disk.remove(&taken.name).unwrap();
    let start = taken.header.as_ref().unwrap().start;
    let [(from, to)] = inspect(&disk).unwrap().missing[..] else { panic!("one is missing") };
    assert!(from <= start && to == taken.end);
}

#[test]
fn budgets_survive_a_restart() {
    let mut rig = Rig::new(small_settings());
    for number in 0..6 {
        rig.append(block(number % 2, number, 400));
    }
    rig.drain();
    let held = [rig.log.held_bytes(0), rig.log.held_bytes(1)];
    rig.reopen(rig.disk.kill());
    assert_eq!(held, [rig.log.held_bytes(0), rig.log.held_bytes(1)]);
    rig.log.set_budget(0, held[0] + 10);
    assert!(rig.log.would_fit(0, 10) && !rig.log.would_fit(0, 11) && rig.log.would_fit(1, 11));
    rig.log.release(rig.log.next());
    assert_eq!(rig.log.stats().held_bytes, 0);
    assert!(rig.log.would_fit(0, 11));
}

#[test]
fn headers_are_read_as_they_were_written() {
    let mut rig = Rig::new(small_settings());
    let mut disk_header = [0; 160];
    rig.append(block(1, 1, 10));
    rig.drain();
    let (name, _) = last_file(&rig);
    rig.disk.open(&name, super::Access::Read).unwrap().read_at(0, &mut disk_header).unwrap();
    let HeaderRead::Known(header, false) = SegmentHeader::decode(&disk_header) else {
        panic!("not a header")
    };
    assert_eq!(header.encode(), disk_header);
    let mut entry = [0; ENTRY_HEADER_BYTES];
    rig.disk.open(&name, super::Access::Read).unwrap().read_at(160, &mut entry).unwrap();
    let read = EntryHeader::decode(&entry, &header.marker()).unwrap();
    assert_eq!(read.encode(&header.marker()), entry);
    assert_eq!(EntryHeader::decode(&entry, &[0; 8]), None);
}
