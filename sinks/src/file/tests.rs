//! Tests of `file`: on a real disk, and on one that fails when it is told to.

use super::disk::{Appending, Disk, Identity};
use super::*;
use crate::testing::{Confirmed, batch, check_sink, context, queue, record};
use azud_event::time::EventTime;
use azud_plan::component::Services;
use futures_channel::mpsc::Sender;
use futures_util::SinkExt;
use proptest::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::Mutex;
use tokio::task::JoinHandle;

/// A disk with a bound and with faults on demand.
#[derive(Clone, Default)]
struct FakeDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: HashMap<PathBuf, u64>,
    contents: HashMap<u64, Vec<u8>>,
    /// How many bytes still fit.
    room: usize,
    /// Names that cannot be opened.
    locked: HashSet<PathBuf>,
    cuts_fail: bool,
    syncs_fail: bool,
    syncs: usize,
    /// A write takes at most so many bytes.
    write_max: Option<usize>,
}

impl FakeDisk {
    fn with_room(room: usize) -> Self {
        let disk = FakeDisk::default();
        disk.0.lock().unwrap().room = room;
        disk
    }

    fn text(&self, path: &str) -> String {
        let state = self.0.lock().unwrap();
        let bytes = state.names.get(Path::new(path)).map(|inode| state.contents[inode].clone());
        String::from_utf8(bytes.unwrap_or_default()).unwrap()
    }

    /// Asks for what a file holds once the thread that writes is not in the middle of taking back
    /// what it could not write whole.
    async fn settles(&self, path: &str, expected: &str) {
        for _ in 0..100_000 {
            // Once is enough: it tries again, and is then in the middle of it again.
            if self.text(path) == expected {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{path} holds {:?}, not {expected:?}", self.text(path));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
}

impl Disk for FakeDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Appending>> {
        self.change(|state| {
            if state.locked.contains(path) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let next = state.contents.len() as u64;
            let inode = *state.names.entry(path.to_owned()).or_insert(next);
            state.contents.entry(inode).or_default();
            Ok(Box::new(FakeFile { disk: self.clone(), inode }) as Box<dyn Appending>)
        })
    }

    fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        let inode = self.change(|state| state.names.get(path).copied());
        Ok(inode.map(|inode| Identity { device: 0, inode }))
    }
}

struct FakeFile {
    disk: FakeDisk,
    inode: u64,
}

impl FakeFile {
    fn contents<T>(&self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let contents = |state: &mut State| change(state.contents.get_mut(&self.inode).unwrap());
        self.disk.change(contents)
    }
}

impl Appending for FakeFile {
    fn identity(&self) -> io::Result<Identity> {
        Ok(Identity { device: 0, inode: self.inode })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.contents(|contents| contents.len() as u64))
    }

    fn last_byte(&self) -> io::Result<Option<u8>> {
        Ok(self.contents(|contents| contents.last().copied()))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (room, most) = self.disk.change(|state| (state.room, state.write_max));
        let count = bytes.len().min(room).min(most.unwrap_or(usize::MAX));
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.change(|state| state.room -= count);
        self.contents(|contents| contents.extend_from_slice(&bytes[..count]));
        Ok(count)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        if self.disk.change(|state| state.cuts_fail) {
            return Err(io::Error::other("the disk does not answer"));
        }
        let gone = self.contents(|contents| {
            let gone = contents.len() - length as usize;
            contents.truncate(length as usize);
            gone
        });
        self.disk.change(|state| state.room += gone);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.change(|state| {
            state.syncs += 1;
            if state.syncs_fail { Err(io::Error::other("the disk lost it")) } else { Ok(()) }
        })
    }
}

fn files(disk: &FakeDisk) -> Files {
    Files::new(Box::new(disk.clone()), false)
}

fn write(files: &mut Files, name: &str, text: &str) -> Result<(), WriteError> {
    files.write(&Arc::from(name), text.as_bytes(), Duration::ZERO)
}

#[test]
fn a_full_disk_leaves_whole_records_and_the_batch_comes_later() {
    let disk = FakeDisk::with_room(10);
    let mut files = files(&disk);
    write(&mut files, "/a", "one\n").unwrap();
    let full = write(&mut files, "/a", "two\nthree\n").unwrap_err();
    assert_eq!(full.to_string(), "/a cannot be written");
    assert_eq!(disk.text("/a"), "one\n");
    disk.change(|state| state.room = 100);
    write(&mut files, "/a", "two\nthree\n").unwrap();
    assert_eq!(disk.text("/a"), "one\ntwo\nthree\n");
}

#[test]
fn what_could_not_be_cut_off_at_once_is_cut_off_before_the_next_write() {
    let disk = FakeDisk::with_room(6);
    let mut files = files(&disk);
    write(&mut files, "/a", "one\n").unwrap();
    disk.change(|state| state.cuts_fail = true);
    write(&mut files, "/a", "two\n").unwrap_err();
    assert_eq!(disk.text("/a"), "one\ntw");
    disk.change(|state| state.room = 100);
    write(&mut files, "/a", "two\n").unwrap_err();
    files.close_idle(Duration::MAX);
    disk.change(|state| state.cuts_fail = false);
    write(&mut files, "/a", "two\n").unwrap();
    assert_eq!(disk.text("/a"), "one\ntwo\n");
}

#[test]
fn what_others_wrote_is_never_cut_off() {
    let disk = FakeDisk::with_room(6);
    let mut files = files(&disk);
    write(&mut files, "/a", "one\n").unwrap();
    disk.change(|state| state.cuts_fail = true);
    write(&mut files, "/a", "two\n").unwrap_err();
    disk.change(|state| {
        state.cuts_fail = false;
        state.room = 100;
        state.contents.get_mut(&0).unwrap().extend_from_slice(b"+ theirs");
    });
    write(&mut files, "/a", "two\n").unwrap();
    assert_eq!(disk.text("/a"), "one\ntw+ theirs\ntwo\n");
}

#[test]
fn a_failed_sync_is_a_failed_write() {
    let disk = FakeDisk::with_room(100);
    let mut files = Files::new(Box::new(disk.clone()), true);
    write(&mut files, "/a", "one\n").unwrap();
    disk.change(|state| state.syncs_fail = true);
    write(&mut files, "/a", "two\n").unwrap_err();
    assert_eq!(disk.text("/a"), "one\n");
    disk.change(|state| state.syncs_fail = false);
    write(&mut files, "/a", "two\n").unwrap();
    assert_eq!(disk.text("/a"), "one\ntwo\n");
    assert_eq!(disk.change(|state| state.syncs), 3);
}

#[test]
fn a_torn_record_of_an_earlier_process_keeps_its_own_line() {
    let disk = FakeDisk::with_room(100);
    disk.open(Path::new("/a")).unwrap().append(b"one\ntw").unwrap();
    let mut files = files(&disk);
    write(&mut files, "/a", "two\n").unwrap();
    assert_eq!(disk.text("/a"), "one\ntw\ntwo\n");
}

proptest! {
    // Whatever room there is and however little a write takes, a file holds the batches that were
    // taken, in their order, and nothing else.
    #[test]
    fn a_file_holds_exactly_what_was_taken(
        batches in prop::collection::vec(("[ab]", "[x-z]{0,9}", 0usize..12, any::<bool>()), 0..60),
        write_max in 1usize..6,
    ) {
        let disk = FakeDisk::with_room(0);
        disk.change(|state| state.write_max = Some(write_max));
        let mut files = files(&disk);
        let mut expected: HashMap<&str, String> = HashMap::new();
        for (name, text, room, cuts_fail) in &batches {
            disk.change(|state| {
                state.room = *room;
                state.cuts_fail = *cuts_fail;
            });
            let text = format!("{text}\n");
            if write(&mut files, name, &text).is_ok() {
                expected.entry(name).or_default().push_str(&text);
            }
        }
        disk.change(|state| {
            state.room = 1000;
            state.cuts_fail = false;
        });
        for name in ["a", "b"] {
            write(&mut files, name, "end\n").unwrap();
            let expected = expected.remove(name).unwrap_or_default() + "end\n";
            prop_assert_eq!(disk.text(name), expected);
        }
    }
}

#[test]
fn no_more_files_are_open_than_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap();
        let targets = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
        targets.filter(|target| target.starts_with(folder.path())).count()
    };
    let mut files = Files::new(Box::new(LocalDisk), false);
    for round in 0..2 {
        for number in 0..600u64 {
            let name: Arc<str> = format!("{}/{number}", folder.path().display()).into();
            files.write(&name, b"x\n", Duration::from_secs(round * 600 + number)).unwrap();
        }
        assert_eq!(open(), crate::limits::OPEN_FILES_MAX);
    }
    files.close_idle(Duration::from_secs(1200 - 5));
    assert_eq!(open(), 5);
    for number in 0..600 {
        assert_eq!(fs::read_to_string(folder.path().join(number.to_string())).unwrap(), "x\nx\n");
    }
}

/// A sink that runs, over a real folder or a fake disk.
struct Sink {
    sender: Sender<Batch>,
    run: JoinHandle<Result<(), RunError>>,
}

impl Sink {
    fn start(task: Box<dyn SinkTask>) -> Self {
        let (sender, batches) = queue();
        Sink { sender, run: tokio::spawn(task.run(batches)) }
    }

    fn start_on(disk: &FakeDisk) -> Self {
        let desk = Desk {
            files: files(disk),
            fixed: None,
            waiting: VecDeque::new(),
            blocked: HashSet::new(),
        };
        let idle_timeout = Duration::from_secs(30);
        let clock = Clock::manual(EventTime::EPOCH);
        let trouble = Trouble::new("file");
        Sink::start(Box::new(Running { desk, idle_timeout, clock, trouble }))
    }

    async fn send(&mut self, name: &str, text: &str) -> Confirmed {
        let (batch, confirmed) = batch(name, text);
        self.sender.send(batch).await.unwrap();
        confirmed
    }

    async fn end(self) {
        drop(self.sender);
        self.run.await.unwrap().unwrap();
    }
}

/// Starts a sink by its table.
fn start(toml: &str, folder: &Path) -> Sink {
    let spec = check_sink(&FILE, toml);
    Sink::start(spec.build(&context(folder, Services::default())).unwrap())
}

#[tokio::test]
async fn records_reach_the_file_and_are_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/out.log");
    let mut sink = start(&format!("path = '{}'\nsync = true", path.display()), folder.path());
    let first = sink.send("", "one\n").await;
    first.wait().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    let second = sink.send("", "two\n").await;
    sink.end().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    assert_eq!((first.count(), second.count()), (1, 1));
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.log");
    let mut sink = start(&format!("path = '{}'", path.display()), folder.path());
    sink.send("", "one\n").await.wait().await;
    fs::rename(&path, folder.path().join("out.log.1")).unwrap();
    sink.send("", "two\n").await.wait().await;
    fs::remove_file(&path).unwrap();
    sink.send("", "three\n").await.wait().await;
    fs::File::options().write(true).truncate(true).open(&path).unwrap();
    sink.send("", "four\n").await.wait().await;
    sink.end().await;
    assert_eq!(fs::read_to_string(folder.path().join("out.log.1")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let disk = FakeDisk::with_room(5);
    let mut sink = Sink::start_on(&disk);
    let first = sink.send("/a", "one\n").await;
    first.wait().await;
    let second = sink.send("/a", "two\n").await;
    let third = sink.send("/a", "three\n").await;
    // Time moves only while everybody waits, so by then the sink has tried more than once.
    tokio::time::advance(Duration::from_secs(120)).await;
    assert_eq!((second.count(), third.count()), (0, 0));
    disk.settles("/a", "one\n").await;
    disk.change(|state| state.room = 1000);
    sink.end().await;
    assert_eq!(disk.text("/a"), "one\ntwo\nthree\n");
    assert_eq!((second.count(), third.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_refuses_does_not_hold_up_the_others() {
    let disk = FakeDisk::with_room(1000);
    disk.change(|state| state.locked.insert(PathBuf::from("/bad")));
    let mut sink = Sink::start_on(&disk);
    let refused = sink.send("/bad", "one\n").await;
    let fine = sink.send("/good", "two\n").await;
    fine.wait().await;
    let later = sink.send("/bad", "three\n").await;
    sink.send("/good", "four\n").await.wait().await;
    assert_eq!((refused.count(), later.count()), (0, 0));
    disk.change(|state| state.locked.clear());
    sink.end().await;
    assert_eq!(disk.text("/bad"), "one\nthree\n");
    assert_eq!(disk.text("/good"), "two\nfour\n");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded() {
    let disk = FakeDisk::with_room(0);
    let mut sink = Sink::start_on(&disk);
    let mut taken = 0;
    let large = "x".repeat(256 * 1024) + "\n";
    // The queue of the tests holds 1,024; a sink that took them all would hold 256 MiB.
    while taken < 1024 && sink.sender.try_send(batch("/a", &large).0).is_ok() {
        taken += 1;
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    let mut left = 0;
    while sink.sender.try_send(batch("/a", "").0).is_ok() {
        left += 1;
    }
    let held = taken + left - 1024;
    assert!(held <= 2 * GROUP_BYTES_MAX / large.len() + 2, "{held} batches are held");
    disk.change(|state| state.room = usize::MAX);
    sink.end().await;
}

fn partition(toml: &str, json: &str) -> Result<String, Fault> {
    let mut name = String::new();
    check_sink(&FILE, toml).encoder().partition(&record(json), &mut name)?;
    Ok(name)
}

#[test]
fn fields_cannot_leave_the_folder() {
    let one = "path = '/var/log/azud/{{ host }}/x.log'";
    assert_eq!(partition(one, r#"{"host":"web1"}"#).unwrap(), "/var/log/azud/web1/x.log");
    let hosts =
        ["../../etc/x", "..", ".", "/etc/passwd", "a/../../b", "..\\\\..", "a\\u0000b", "....//"];
    let two = "path = '/var/log/azud/{{ host }}{{ host }}/x.log'";
    for host in hosts {
        for toml in [one, two] {
            let name = partition(toml, &format!(r#"{{"host":"{host}"}}"#)).unwrap();
            let rest = name.strip_prefix("/var/log/azud/").unwrap().strip_suffix("/x.log").unwrap();
            assert!(!rest.contains('/') && !rest.contains('\0'), "{host:?} gives {name:?}");
            assert!(rest != "." && rest != "..", "{host:?} gives {name:?}");
        }
    }
}

#[test]
fn a_record_that_has_no_place_is_set_aside() {
    let toml = "path = '/var/log/azud/{{ host }}{{ host }}.log'";
    for json in ["{}", r#"{"host":""}"#, r#"{"host":null}"#] {
        let fault = partition(toml, json).unwrap_err();
        assert_eq!(fault.reason, Reason::EncodeFailed, "{json}");
    }
    // Each is a name that a disk can have; both together are not.
    let host = "h".repeat(200);
    let fault = partition(toml, &format!(r#"{{"host":"{host}"}}"#)).unwrap_err();
    assert_eq!(fault.reason, Reason::EncodeFailed);
}

#[test]
fn the_event_time_is_part_of_the_name() {
    let toml = "path = '/var/log/azud/%Y/%m-%d.log'";
    assert_eq!(partition(toml, "{}").unwrap(), "/var/log/azud/1970/01-01.log");
}

#[test]
fn one_file_needs_no_name_for_each_record() {
    assert_eq!(partition("path = '/var/log/azud.log'", "{}").unwrap(), "");
}

#[test]
fn a_folder_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let spec = check_sink(&FILE, &format!("path = '{}'", folder.path().display()));
    let refused = spec.build(&context(folder.path(), Services::default())).err().unwrap();
    assert!(refused.message.ends_with("is a folder"), "{refused}");
}
