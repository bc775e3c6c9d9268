//! Recordings: exchanges of a connector in a folder, within bounds, whoever forgets to end them.

use crate::limits::{RECORDING_BYTES_MAX, RECORDING_EXCHANGES_MAX};
use crate::trace::Exchange;
use azud_event::time::EventTime;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Writes exchanges to a folder, a file each: `0001.json`, `0002.json`. Only their owner may read
/// them: no secret of ours is in them, but what an API answers is somebody's.
#[derive(Debug)]
pub struct Recorder {
    recorded: Recording,
    until: Option<EventTime>,
}

/// What there is of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Its folder.
    pub folder: PathBuf,
    /// How many exchanges are in it.
    pub exchanges: u32,
    /// How many bytes they have.
    pub bytes: u64,
    /// What ended it, if something did.
    pub ended: Option<Ended>,
}

/// What ended a recording before somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its time was over.
    Time,
    /// It had as many exchanges as one may have.
    Exchanges,
    /// It had as many bytes as one may have.
    Bytes,
    /// The system refused to write.
    Failed,
}

impl Ended {
    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Ended::Time => "time",
            Ended::Exchanges => "exchanges",
            Ended::Bytes => "bytes",
            Ended::Failed => "failed",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Time => f.write_str("its time is over"),
            Ended::Exchanges => write!(f, "it has {RECORDING_EXCHANGES_MAX} exchanges, the most"),
            Ended::Bytes => write!(f, "it has {} MiB, the most", RECORDING_BYTES_MAX >> 20),
            Ended::Failed => f.write_str("an exchange could not be written"),
        }
    }
}

impl Recorder {
    /// Makes the folder, which has nothing of an earlier recording. It ends when it has
    /// [`RECORDING_EXCHANGES_MAX`] exchanges or [`RECORDING_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// When the system refuses, or there are files.
    pub fn new(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if fs::read_dir(folder)?.next().is_some() {
            let message = format!("{} is not empty", folder.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        let folder = folder.to_owned();
        let recorded = Recording { folder, exchanges: 0, bytes: 0, ended: None };
        Ok(Recorder { recorded, until: None })
    }

    /// Has it end then, too.
    pub fn until(mut self, end: EventTime) -> Self {
        self.until = Some(end);
        self
    }

    /// Whether another exchange would be written.
    pub(crate) fn goes_on(&self) -> bool {
        self.recorded.ended.is_none()
    }

    /// Says what there is by now.
    pub(crate) fn recorded(&self) -> Recording {
        self.recorded.clone()
    }

    /// Writes an exchange, unless the recording has ended.
    pub(crate) fn take(&mut self, exchange: &Exchange) {
        if !self.goes_on() {
            return;
        }
        let ended = match self.until {
            Some(until) if exchange.at >= until => Some(Ended::Time),
            _ if self.recorded.exchanges >= RECORDING_EXCHANGES_MAX => Some(Ended::Exchanges),
            _ => match self.write(exchange) {
                Ok(ended) => ended,
                Err(error) => {
                    let folder = self.recorded.folder.display();
                    tracing::error!(%folder, %error, "an exchange cannot be recorded");
                    Some(Ended::Failed)
                }
            },
        };
        if let Some(ended) = ended {
            self.recorded.ended = Some(ended);
            let folder = self.recorded.folder.display();
            tracing::warn!(%folder, "a recording has ended: {ended}");
        }
    }

    fn write(&mut self, exchange: &Exchange) -> io::Result<Option<Ended>> {
        let text = serde_json::to_vec_pretty(&exchange.to_json())?;
        let bytes = self.recorded.bytes + text.len() as u64;
        if bytes > RECORDING_BYTES_MAX {
            return Ok(Some(Ended::Bytes));
        }
        let name = format!("{:04}.json", self.recorded.exchanges + 1);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(self.recorded.folder.join(name))?.write_all(&text)?;
        self.recorded.exchanges += 1;
        self.recorded.bytes = bytes;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;
    use tempfile::TempDir;

    fn exchange(second: u64, body: usize) -> Exchange {
        Exchange {
            at: EventTime::EPOCH.saturating_add(Duration::from_secs(second)),
            took: Duration::ZERO,
            method: "GET".to_owned(),
            url: "https://api.example/".to_owned(),
            request_headers: Vec::new(),
            request_body: String::new(),
            status: Some(200),
            headers: Vec::new(),
            body: "x".repeat(body),
        }
    }

    fn recording(folder: &TempDir) -> (Trace, PathBuf) {
        recording_on(folder, 0, 0)
    }

    /// Begins a recording that has so much already.
    fn recording_on(folder: &TempDir, exchanges: u32, bytes: u64) -> (Trace, PathBuf) {
        let (trace, path) = (Trace::default(), folder.path().join("recordings").join("1"));
        let end = EventTime::EPOCH.saturating_add(Duration::from_secs(60));
        let mut recorder = Recorder::new(&path).unwrap().until(end);
        (recorder.recorded.exchanges, recorder.recorded.bytes) = (exchanges, bytes);
        trace.record(Some(recorder));
        (trace, path)
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_recording_that_nobody_ends_ends_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let (trace, path) = recording(&folder);
        for second in [0, 59, 60, 61] {
            trace.note(exchange(second, 10));
        }
        assert_eq!(files(&path), 2);
        let recorded = trace.record(None).unwrap();
        assert_eq!((recorded.exchanges, recorded.ended), (2, Some(Ended::Time)));
        assert_eq!(trace.record(None), None);
    }

    #[test]
    fn a_recording_never_has_more_bytes_than_one_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let before = RECORDING_BYTES_MAX - 25_000;
        let (trace, path) = recording_on(&folder, 0, before);
        for _ in 0..3 {
            trace.note(exchange(0, 10_000));
        }
        trace.note(exchange(0, 10));
        let recorded = trace.record(None).unwrap();
        assert_eq!((recorded.exchanges, recorded.ended), (2, Some(Ended::Bytes)));
        let sizes =
            fs::read_dir(&path).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        assert_eq!(recorded.bytes, before + sizes.sum::<u64>());
    }

    #[test]
    fn a_recording_never_has_more_files_than_one_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let (trace, path) = recording_on(&folder, RECORDING_EXCHANGES_MAX - 2, 0);
        for _ in 0..4 {
            trace.note(exchange(0, 0));
        }
        assert_eq!(files(&path), 2);
        assert!(path.join("9999.json").exists());
        assert_eq!(trace.record(None).unwrap().ended, Some(Ended::Exchanges));
    }

    #[test]
    fn only_its_owner_may_read_a_recording() {
        let folder = tempfile::tempdir().unwrap();
        let (trace, path) = recording(&folder);
        trace.note(exchange(0, 10));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&path.join("0001.json")), 0o600);
    }

    #[test]
    fn a_recording_that_cannot_be_written_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (trace, path) = recording(&folder);
        fs::remove_dir(&path).unwrap();
        trace.note(exchange(0, 10));
        assert_eq!(trace.record(None).unwrap().ended, Some(Ended::Failed));
    }
}
