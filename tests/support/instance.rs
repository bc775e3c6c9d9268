//! A running instance with a folder and an API of its own.

use super::files::Folder;
use super::metrics::{self, Metrics};
use super::program::{self, Ended, Program, READY};
use super::wait::{self, PATIENCE};
use nix::sys::signal::Signal;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

/// Steps behind a source `in`: its records are counted second by second, and the results written to
/// `out.jsonl`.
pub const COUNTED_BY_SECOND: &str = r#"
[transforms.count]
type = "summarize"
inputs = ["in"]
window = { type = "tumbling", size = "1s" }
fields.events = { aggregate = "count" }
[sinks.out]
type = "file"
inputs = ["count"]
path = "@OUT@/out.jsonl"
encoding.codec = "json"
"#;

/// A running instance; its files are in its folder.
pub struct Instance {
    /// Where its documents, data and output are.
    pub folder: Folder,
    /// Where its API answers.
    pub api: SocketAddr,
    program: Program,
}

impl Instance {
    /// Starts `azud run` with this document, in which `@OUT@` is the instance's folder.
    #[track_caller]
    pub fn start(document: &str) -> Self {
        Self::start_in(Folder::new(), document, &[])
    }

    /// Starts it in a folder that may hold something already, with further arguments.
    #[track_caller]
    pub fn start_in(folder: Folder, document: &str, arguments: &[&str]) -> Self {
        Self::start_with(folder, document, arguments, &[])
    }

    /// Starts it with variables in its environment as well.
    #[track_caller]
    pub fn start_with(
        folder: Folder,
        document: &str,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> Self {
        let api = program::free_address();
        let head = format!("data_dir = \"@OUT@/data\"\napi.address = \"{api}\"\n");
        let text = (head + document).replace("@OUT@", &folder.path().display().to_string());
        folder.write("azud.toml", text);
        let arguments: Vec<&str> = ["run", "azud.toml"].iter().chain(arguments).copied().collect();
        let mut command = program::azud(folder.path(), &arguments);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let program = Program::start(command, READY);
        Instance { folder, api, program }
    }

    /// Gives what is in a file of JSON lines by now.
    pub fn results(&self, name: &str) -> Vec<serde_json::Value> {
        let lines = self.folder.lines(name);
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until a file of the folder has `count` whole lines; gives them.
    #[track_caller]
    pub fn lines(&self, name: &str, count: usize) -> Vec<String> {
        self.lines_or(name, count, || self.errors())
    }

    /// Waits until a file of the folder has `count` whole lines; if they do not come, `explain` is
    /// shown.
    #[track_caller]
    pub fn lines_or<T: std::fmt::Debug>(
        &self,
        name: &str,
        count: usize,
        explain: impl Fn() -> T,
    ) -> Vec<String> {
        let what = format!("{count} lines in {name}");
        let start = std::time::Instant::now();
        wait::until(&what, PATIENCE * 2, || {
            let lines = self.folder.lines(name);
            let late = lines.len() < count && start.elapsed() > PATIENCE;
            assert!(!late, "{what}, not {}: {:?}", lines.len(), explain());
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits until the dead letters of all pipelines are `count`; gives them.
    #[track_caller]
    pub fn dead_letters(&self, count: usize) -> Vec<serde_json::Value> {
        wait::until(&format!("{count} dead letters"), PATIENCE, || {
            let letters = self.dead_letters_now();
            (letters.len() >= count).then_some(letters)
        })
    }

    /// Gives the dead letters of all pipelines so far.
    pub fn dead_letters_now(&self) -> Vec<serde_json::Value> {
        dead_letters(&self.folder)
    }

    /// Scrapes its metrics.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::scrape(self.api)
    }

    /// Asks its API.
    #[track_caller]
    pub fn get(&self, path: &str) -> metrics::Answer {
        metrics::get(self.api, path).unwrap()
    }

    /// Gives what it said on standard error so far.
    pub fn errors(&self) -> Vec<String> {
        self.program.errors()
    }

    /// Gives the most memory it has held so far, in bytes.
    pub fn memory_peak(&self) -> u64 {
        self.program.memory_peak()
    }

    /// Ends it at once, as a crash would; gives what it said on standard error, and its folder.
    pub fn kill(self) -> (Vec<String>, Folder) {
        let Instance { folder, program, .. } = self;
        (program.kill(), folder)
    }

    /// Makes a folder for another instance that shares its database: with the same master key.
    pub fn folder_beside(&self) -> Folder {
        let (folder, key) = (Folder::new(), "data/master.key");
        fs::create_dir(folder.join("data")).unwrap();
        fs::write(folder.join(key), fs::read(self.folder.join(key)).unwrap()).unwrap();
        fs::set_permissions(folder.join(key), fs::Permissions::from_mode(0o600)).unwrap();
        folder
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Waits until it has ended by itself.
    pub fn end(self) -> (Ended, Folder) {
        let Instance { folder, program, .. } = self;
        (program.end(), folder)
    }

    /// Asks it to end, and does not wait.
    pub fn terminate(&self) {
        self.program.signal(Signal::SIGTERM);
    }

    /// Asks it to end, and waits until it has; gives also its folder.
    #[track_caller]
    pub fn stop(self) -> (Ended, Folder) {
        (self.program.stop(), self.folder)
    }
}

/// Gives the dead letters of all pipelines in the folder of an instance, by pipeline and segment.
pub fn dead_letters(folder: &Folder) -> Vec<serde_json::Value> {
    let names = |path: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder.join(path)).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.into_iter().map(|name| format!("{path}/{name}")).collect()
    };
    let files = names("data/dead_letters").into_iter().flat_map(|pipeline| names(&pipeline));
    let segments = files.filter(|name| name.ends_with(".jsonl"));
    let lines = segments.flat_map(|segment| folder.lines(&segment));
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}
