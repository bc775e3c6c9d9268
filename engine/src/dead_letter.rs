//! Dead letters: what could not go on is written to files under the data folder, one JSON object a
//! line.
//!
//! They leave a pipeline like any other result, through a sink that every pipeline has: their epoch
//! is not complete, and their source not acknowledged, before they are on disk. The files have a
//! budget; when it is used up the sink waits and the pipeline pushes back, because what was
//! promised to be kept may not be lost. Removing or moving segment files makes room at once.

use crate::limits::DEAD_LETTER_SEGMENT_BYTES;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::limits::DEAD_LETTER_RAW_BYTES;
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{Batch, Batches, Encoder, RunError};
use base64::Engine as _;
use futures_util::StreamExt;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The id of the dead letters among a pipeline's components.
pub const COMPONENT: &str = "dead_letters";

/// How long a writer without room waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A record set aside, with everything that is known of it.
pub struct Letter<'a> {
    /// When it was received.
    pub received_at: EventTime,
    /// The component that could not go on.
    pub component: &'a str,
    /// The source that took it in.
    pub source: &'a str,
    /// Who sent it.
    pub peer: Option<&'a [u8]>,
    /// Why it could not go on.
    pub fault: &'a Fault,
    /// Its raw bytes, as many as are known.
    pub raw: &'a [u8],
    /// How many there were.
    pub raw_bytes: usize,
}

impl Letter<'_> {
    /// Writes the letter as one line of JSON.
    ///
    /// Bytes that are no UTF-8 are written in base64 under `raw_base64`; above
    /// [`DEAD_LETTER_RAW_BYTES`] only the start is kept, and `raw_bytes` tells the true length.
    pub fn write(&self, out: &mut Vec<u8>) {
        let kept = &self.raw[..self.raw.len().min(DEAD_LETTER_RAW_BYTES)];
        let mut letter = json!({
            "received_at": self.received_at.to_rfc3339(),
            "component": self.component,
            "source": self.source,
            "stage": self.fault.reason.stage(),
            "reason": self.fault.reason.name(),
            "message": self.fault.message,
            "raw_bytes": self.raw_bytes,
        });
        if let Some(peer) = self.peer {
            letter["peer"] = String::from_utf8_lossy(peer).into();
        }
        match std::str::from_utf8(kept) {
            Ok(text) => letter["raw"] = text.into(),
            Err(_) => {
                letter["raw_base64"] = base64::prelude::BASE64_STANDARD.encode(kept).into();
            }
        }
        out.extend_from_slice(letter.to_string().as_bytes());
        out.push(b'\n');
    }
}

/// Says why a source refused bytes.
pub fn refusal(reason: Reason, length: usize) -> String {
    match reason {
        Reason::TooLong => format!("a record of {length} bytes is longer than `max_length` allows"),
        Reason::IncompleteFrame => format!("a frame ended after {length} bytes, before its end"),
        Reason::BadFrame => "these bytes are no frame of the source's framing".to_owned(),
        other => format!("the source refused these {length} bytes: {other}"),
    }
}

/// Stands where a sink has its encoder; letters are written by [`Letter::write`].
pub struct NoEncoder;

impl Encoder for NoEncoder {
    fn encode(&mut self, _record: &Record, _out: &mut Vec<u8>) -> Result<(), Fault> {
        Err(Fault::new(Reason::EncodeFailed, "dead letters take no records"))
    }
}

/// Writes the dead letters of one pipeline into segment files.
pub struct Writer {
    folder: PathBuf,
    budget_bytes: u64,
    open: Option<(File, u64)>,
}

impl Writer {
    /// Makes a writer into `folder`, which is made with the first letter, of at most `budget_bytes`
    /// in all.
    pub fn new(folder: PathBuf, budget_bytes: u64) -> Self {
        Writer { folder, budget_bytes, open: None }
    }

    /// Writes and confirms batches until their queue ends.
    ///
    /// # Errors
    /// When the thread that writes died.
    pub async fn run(mut self, mut batches: Batches) -> Result<(), RunError> {
        while let Some(mut batch) = batches.next().await {
            let mut warned = false;
            loop {
                let written = tokio::task::spawn_blocking(move || {
                    let written = self.append(&batch);
                    (self, batch, written)
                });
                let (writer, same, written) = written.await.map_err(|died| RunError {
                    message: format!("the writer of dead letters died: {died}"),
                })?;
                self = writer;
                match written {
                    Ok(()) => {
                        same.confirmation.confirm();
                        break;
                    }
                    Err(error) if !warned => {
                        warned = true;
                        tracing::error!(
                            folder = %self.folder.display(),
                            "dead letters cannot be written, their pipeline waits: {error}"
                        );
                    }
                    Err(_) => {}
                }
                batch = same;
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Appends a batch and syncs it; on an error the file is as it was.
    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        let more = batch.bytes.len() as u64;
        let used = used_bytes(&self.folder)?;
        if used + more > self.budget_bytes {
            return Err(io::Error::other(format!(
                "they take {used} bytes of their budget of {} (`dead_letters.max_bytes`); move or remove old segments",
                self.budget_bytes
            )));
        }
        let (file, length) = self.segment(more)?;
        let written = file.write_all(&batch.bytes).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // A torn line would make the file unreadable behind it.
            file.set_len(*length)?;
            return Err(error);
        }
        *length += more;
        Ok(())
    }

    /// Gives the open segment, a new one if it would grow too large or was removed.
    fn segment(&mut self, more: u64) -> io::Result<&mut (File, u64)> {
        let current = self.folder.join("current.jsonl");
        let full =
            self.open.as_ref().is_some_and(|(_, length)| length + more > DEAD_LETTER_SEGMENT_BYTES);
        if full {
            self.open = None;
            let number = segments(&self.folder)?
                .iter()
                .filter_map(|path| number_of(path))
                .max()
                .unwrap_or(0)
                + 1;
            fs::rename(&current, self.folder.join(format!("{number:08}.jsonl")))?;
        }
        if !current.exists() {
            self.open = None;
        }
        if self.open.is_none() {
            fs::create_dir_all(&self.folder)?;
            let file = OpenOptions::new().create(true).append(true).open(&current)?;
            let length = file.metadata()?.len();
            self.open = Some((file, length));
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("no segment is open"))
    }
}

fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn used_bytes(folder: &Path) -> io::Result<u64> {
    let lengths = segments(folder)?.into_iter().map(|path| match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        // Removed between the two looks: that is how room is made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    });
    lengths.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_plan::component::Confirmation;

    fn batch(bytes: &[u8]) -> Batch {
        let confirmation = Confirmation::new(|| {});
        Batch { bytes: bytes.to_vec(), records: 1, partition: "".into(), epoch: 0, confirmation }
    }

    fn letter(raw: &[u8], raw_bytes: usize) -> serde_json::Value {
        let fault = Fault::new(Reason::Malformed, "not JSON");
        let letter = Letter {
            received_at: EventTime::EPOCH,
            component: "in",
            source: "in",
            peer: Some(b"203.0.113.9"),
            fault: &fault,
            raw,
            raw_bytes,
        };
        let mut out = Vec::new();
        letter.write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_letter_tells_everything_that_is_known() {
        let text = letter(b"half {", 6);
        assert_eq!(text["raw"], "half {");
        assert_eq!((&text["stage"], &text["reason"]), (&"decode".into(), &"malformed".into()));
        assert_eq!(text["peer"], "203.0.113.9");
        let binary = letter(b"\xff\x00", 10_000_000);
        assert_eq!(binary["raw_base64"], "/wA=");
        assert_eq!(binary["raw_bytes"], 10_000_000);
    }

    #[test]
    fn a_full_budget_is_an_error_until_room_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters");
        let mut writer = Writer::new(path.clone(), 10);
        writer.append(&batch(b"1234567\n")).unwrap();
        let error = writer.append(&batch(b"1234567\n")).unwrap_err().to_string();
        assert!(error.contains("dead_letters.max_bytes"), "{error}");
        fs::remove_file(path.join("current.jsonl")).unwrap();
        writer.append(&batch(b"abcdefg\n")).unwrap();
        assert_eq!(fs::read(path.join("current.jsonl")).unwrap(), b"abcdefg\n");
    }
}
