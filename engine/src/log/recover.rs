//! What a start makes of the files that it finds.
//!
//! Every segment but the last was synced before the next was made, so only the last can be torn. In
//! it, the greatest `synced` of an intact header tells how far everything was durable. What is
//! damaged before that was once told to be safe: it is set aside, and what follows is kept. From
//! there on the first damage ends the log: a write that nobody was told of may be missing while a
//! later one is there, and to keep the later one would make a hole in a stream.

use super::LogPosition;
use super::account::Accounts;
use super::damage::{DamageList, Damaged};
use super::disk::{Access, Disk, DiskFile};
use super::error::{LogError, Trying, no_room};
use super::format::{EntryKind, HeaderRead, SegmentHeader, SegmentKind};
use super::format::{SEGMENT_HEADER_BYTES, VERSION};
use super::limits::{POSITION_GAP, READ_BYTES};
use super::scan::{Depth, Gap, Piece, Scan, SegmentReader};
use super::segment::{Catalogue, Segment, is_unfinished, name_of, parse_name};
use super::state::Waiting;
use super::writer::{header_of, note};
use azud_event::time::EventTime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was found when the log was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The position of the first entry that is kept, or of the next one if there is none.
    pub first: LogPosition,
    /// Behind the last entry that is kept.
    pub end: LogPosition,
    /// How many segments there are.
    pub segments: usize,
    /// What was cut off the end.
    pub torn: Option<Torn>,
    /// What was found to be damaged; readers find more, because only headers and the last segment
    /// are looked at.
    pub damaged: Vec<Damaged>,
    /// How many segments' headers were mended from their second copy.
    pub mended: u64,
}

/// What was written and never told to be durable, and is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where the log was cut.
    pub at: LogPosition,
    /// How many bytes stood behind.
    pub bytes: u64,
    /// Whether there were intact entries among them; they are in `damaged/` if there was room.
    pub entries: bool,
}

/// What the log begins with.
pub(super) struct Found {
    pub catalogue: Catalogue,
    pub accounts: Accounts,
    pub released: LogPosition,
    pub next: LogPosition,
    pub report: Recovered,
}

/// Reads what is there, and mends it.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    damage: &DamageList,
    incarnation: [u8; 16],
    now: EventTime,
) -> Result<Found, LogError> {
    let mut recovery = Recovery { disk, damage, incarnation, now, report: Recovered::default() };
    let mut segments = Vec::new();
    // Behind everything that may ever have had a position.
    let mut reached = LogPosition(0);
    for (start, kind, length) in recovery.files()? {
        let segment = recovery.segment(start, kind, length, segments.last())?;
        let body = length.saturating_sub(SEGMENT_HEADER_BYTES as u64);
        reached = reached.max(segment.end).max(LogPosition(start.0 + body));
        segments.push(segment);
    }
    let mut accounts = Accounts::default();
    let mut released = LogPosition(0);
    let count = segments.len();
    for at in 0..count {
        let closed_at = segments.get(at + 1).map_or(now, |next| next.header.made_at);
        let segment = &mut segments[at];
        if segment.header.kind == SegmentKind::Packed {
            released = segment.end;
            continue;
        }
        segment.closed_at = Some(closed_at);
        match at + 1 == count {
            true => recovery.cut(segment, &mut accounts)?,
            false => recovery.walk(segment, &mut accounts)?,
        }
    }
    let holds = |segment: &&Segment| segment.end > segment.header.start;
    let end = segments.iter().rfind(holds).map_or(LogPosition(0), |last| last.end);
    reached = reached.max(segments.last().map_or(reached, |last| last.end));
    let next = LogPosition(reached.0 + POSITION_GAP);
    let begun = recovery.begin(next, end)?;
    recovery.remove_empty(&mut segments)?;
    segments.extend(begun);
    let mut report = recovery.report;
    report.first = segments.first().map_or(next, |first| first.header.start);
    report.end = end;
    report.segments = segments.iter().filter(holds).count();
    report.damaged = damage.listed();
    let mut catalogue = Catalogue::default();
    segments.into_iter().for_each(|segment| catalogue.insert(segment));
    Ok(Found { catalogue, accounts, released, next, report })
}

struct Recovery<'a> {
    disk: &'a Arc<dyn Disk>,
    damage: &'a DamageList,
    incarnation: [u8; 16],
    now: EventTime,
    report: Recovered,
}

impl Recovery<'_> {
    /// Makes the segment with which this run begins, still empty.
    ///
    /// Its name is durable before any position in it is given, and tells the next run how far this
    /// one may have come, whatever becomes of what it writes.
    fn begin(
        &self,
        start: LogPosition,
        previous_end: LogPosition,
    ) -> Result<Option<Segment>, LogError> {
        let name = name_of(start, SegmentKind::Raw);
        let file = match self.disk.create(&name) {
            // A start with a full disk must be possible: it is what makes room.
            Err(error) if no_room(&error) => return Ok(None),
            other => other.trying("create", &name)?,
        };
        let header = self.renew(&*file, start, SegmentKind::Raw, 0, previous_end)?;
        self.disk.sync_folder("").trying("sync", ".")?;
        let file_bytes = SEGMENT_HEADER_BYTES as u64;
        Ok(Some(Segment { header, end: start, closed_at: Some(self.now), file_bytes }))
    }

    /// Removes what earlier runs began and never used.
    fn remove_empty(&self, segments: &mut Vec<Segment>) -> Result<(), LogError> {
        let before = segments.len();
        for segment in segments.iter().filter(|segment| segment.end == segment.header.start) {
            let name = segment.name();
            self.disk.remove(&name).trying("remove", &name)?;
        }
        segments.retain(|segment| segment.end > segment.header.start);
        match segments.len() < before {
            true => self.disk.sync_folder("").trying("sync", "."),
            false => Ok(()),
        }
    }

    /// Lists the segments' files by position, and removes what is left of packing.
    fn files(&self) -> Result<Vec<(LogPosition, SegmentKind, u64)>, LogError> {
        let mut found: BTreeMap<LogPosition, (SegmentKind, u64)> = BTreeMap::new();
        let mut useless = Vec::new();
        let mut files = self.disk.list("").trying("list", ".")?;
        // Raw before packed, as their names sort.
        files.sort();
        for (name, length) in files {
            if is_unfinished(&name) {
                useless.push(name);
            } else if let Some((start, kind)) = parse_name(&name) {
                // A packed segment has its name only when it is whole and durable.
                if let Some((raw, _)) = found.insert(start, (kind, length)) {
                    useless.push(name_of(start, raw));
                }
            }
        }
        for name in &useless {
            self.disk.remove(name).trying("remove", name)?;
        }
        if !useless.is_empty() {
            self.disk.sync_folder("").trying("sync", ".")?;
        }
        Ok(found.into_iter().map(|(start, (kind, length))| (start, kind, length)).collect())
    }

    /// Reads the header of a file, and mends it.
    fn segment(
        &mut self,
        start: LogPosition,
        kind: SegmentKind,
        length: u64,
        previous: Option<&Segment>,
    ) -> Result<Segment, LogError> {
        let name = name_of(start, kind);
        let file = self.disk.open(&name, Access::Write).trying("open", &name)?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(0, &mut bytes).trying("read", &name)?;
        let (header, length) = match SegmentHeader::decode(&bytes[..read]) {
            HeaderRead::TooNew(version) => {
                return Err(LogError::TooNew { name, version, known: VERSION });
            }
            HeaderRead::Known(header, damaged) if header.start == start && header.kind == kind => {
                if damaged {
                    self.report.mended += 1;
                    let mended = file.write_at(0, &[&header.encode()]).and_then(|()| file.sync());
                    match mended {
                        // The other copy is well; the next start mends it.
                        Err(error) if no_room(&error) => {}
                        other => other.trying("mend", &name)?,
                    }
                }
                (header, length.max(SEGMENT_HEADER_BYTES as u64))
            }
            _ => {
                let previous_end = previous.map_or(start, |previous| previous.end);
                let header = self.renew(&*file, start, kind, length, previous_end)?;
                (header, SEGMENT_HEADER_BYTES as u64)
            }
        };
        let end = match kind {
            SegmentKind::Packed => header.end,
            SegmentKind::Raw => LogPosition(start.0 + length - SEGMENT_HEADER_BYTES as u64),
        };
        Ok(Segment { closed_at: Some(header.closed_at), header, end, file_bytes: length })
    }

    /// Makes an empty segment of a file that has no header, so that its position is not lost.
    ///
    /// That is what a crash leaves of a segment that was just made. Should there be more in it, it
    /// is set aside.
    fn renew(
        &self,
        file: &dyn DiskFile,
        start: LogPosition,
        kind: SegmentKind,
        length: u64,
        previous_end: LogPosition,
    ) -> Result<SegmentHeader, LogError> {
        let name = name_of(start, kind);
        if length > SEGMENT_HEADER_BYTES as u64 {
            let to = LogPosition(start.0 + length - SEGMENT_HEADER_BYTES as u64);
            self.damage
                .note(&Gap { from: start, to, offset: 0, length, synced: start }, Some(file));
        }
        let header = SegmentHeader {
            kind,
            incarnation: self.incarnation,
            start,
            previous_end,
            made_at: self.now,
            end: start,
            closed_at: self.now,
        };
        let renewed = file
            .write_at(0, &[&header.encode()])
            .and_then(|()| file.truncate(SEGMENT_HEADER_BYTES as u64))
            .and_then(|()| file.sync());
        match renewed {
            // The name is what counts; the next start mends the header.
            Err(error) if no_room(&error) => {}
            other => other.trying("mend", &name)?,
        }
        Ok(header)
    }

    /// Adds what a closed segment holds to the accounts, by its headers.
    fn walk(&self, segment: &Segment, accounts: &mut Accounts) -> Result<(), LogError> {
        let name = segment.name();
        let mut reader = SegmentReader::open(&**self.disk, segment, Depth::Headers)?;
        while let Some(piece) = reader.next().trying("read", &name)? {
            account(&piece, accounts);
            if let Piece::Gap(gap) = piece {
                self.damage.note(&gap, Some(reader.file()));
            }
        }
        Ok(())
    }

    /// Cuts the last segment behind what is whole, and makes the rest durable.
    fn cut(&mut self, segment: &mut Segment, accounts: &mut Accounts) -> Result<(), LogError> {
        let name = segment.name();
        let open = || self.disk.open(&name, Access::Write).trying("open", &name);
        let mut scan =
            Scan::new(open()?, segment.header.clone(), segment.file_bytes, Depth::Payloads);
        let mut survey = Survey::new(segment.header.start);
        while let Some(piece) = scan.next().trying("read", &name)? {
            account(&piece, accounts);
            survey.take(&piece);
        }
        let file = scan.file();
        let offset = |at: LogPosition| SEGMENT_HEADER_BYTES as u64 + at.0 - segment.header.start.0;
        let (cut, written) = (survey.cut(), segment.end);
        for gap in survey.gaps.iter().filter(|gap| gap.from < cut) {
            let to = gap.to.min(cut);
            self.damage.note(&Gap { to, length: to.0 - gap.from.0, ..*gap }, Some(file));
        }
        if cut < written {
            let bytes = written.0 - cut.0;
            let entries = survey.last_entry.is_some_and(|last| last >= cut);
            if entries {
                let synced = survey.synced;
                let (from, to, offset) = (cut, written, offset(cut));
                self.damage.note(&Gap { from, to, offset, length: bytes, synced }, Some(file));
            }
            self.report.torn = Some(Torn { at: cut, bytes, entries });
            file.truncate(offset(cut)).trying("truncate", &name)?;
        }
        // What nobody attests may be in memory only, as clean pages that a failed sync left: it is
        // written once more.
        let from = survey.synced.max(segment.header.start).min(cut);
        let rewritten = match rewrite(file, offset(from), offset(cut)) {
            // Where writing over what is there takes room, it stays as doubtful as it was.
            Err(error) if no_room(&error) => false,
            other => other.trying("write", &name).map(|()| true)?,
        };
        file.sync().trying("sync", &name)?;
        segment.end = cut;
        if rewritten && cut > segment.header.start && !survey.attests(cut) {
            let attested = attest(file, &segment.header, offset(cut), cut);
            segment.end = attested.trying("write", &name)?;
        }
        segment.file_bytes = offset(segment.end);
        Ok(())
    }
}

/// What the last segment holds.
struct Survey {
    gaps: Vec<Gap>,
    synced: LogPosition,
    end: LogPosition,
    last_entry: Option<LogPosition>,
    /// The last entry that is a note, and what it attests.
    last_note: Option<(LogPosition, LogPosition)>,
}

impl Survey {
    fn new(start: LogPosition) -> Self {
        Survey { gaps: Vec::new(), synced: start, end: start, last_entry: None, last_note: None }
    }

    fn take(&mut self, piece: &Piece) {
        match piece {
            Piece::Entry(header, _) => {
                self.synced = self.synced.max(header.synced);
                self.end = LogPosition(header.position.0 + header.total_bytes());
                self.last_entry = Some(header.position);
                if header.kind == EntryKind::Synced {
                    self.last_note = Some((self.end, header.synced));
                }
            }
            Piece::Gap(gap) => {
                self.synced = self.synced.max(gap.synced);
                self.end = gap.to;
                self.gaps.push(*gap);
            }
        }
    }

    /// Gives where the log ends.
    fn cut(&self) -> LogPosition {
        let first = self.gaps.iter().find(|gap| gap.to > self.synced);
        first.map_or(self.end, |gap| gap.from.max(self.synced))
    }

    /// Whether a log that ends at `end` ends with a note of all before it.
    fn attests(&self, end: LogPosition) -> bool {
        let bytes = super::format::ENTRY_HEADER_BYTES as u64;
        self.last_note
            .is_some_and(|(note_end, synced)| note_end == end && synced.0 + bytes == end.0)
    }
}

fn account(piece: &Piece, accounts: &mut Accounts) {
    match piece {
        Piece::Entry(header, _) => {
            let source = (header.kind == EntryKind::Block).then_some(header.key);
            let end = LogPosition(header.position.0 + header.total_bytes());
            accounts.add(source, header.position, end);
        }
        Piece::Gap(gap) => accounts.add(None, gap.from, gap.to),
    }
}

fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    let mut at = from;
    while at < to {
        let mut buffer = vec![0; (to - at).min(READ_BYTES as u64) as usize];
        let read = file.read_at(at, &mut buffer)?;
        if read == 0 {
            break;
        }
        file.write_at(at, &[&buffer[..read]])?;
        at += read as u64;
    }
    Ok(())
}

/// Appends a note, and gives where the segment ends now: where it did, if there is no room.
fn attest(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    offset: u64,
    position: LogPosition,
) -> std::io::Result<LogPosition> {
    let waiting = Waiting { position, entry: note() };
    let bytes = header_of(&waiting, position).encode(&header.marker());
    match file.write_at(offset, &[&bytes]) {
        Ok(()) => {
            file.sync()?;
            Ok(LogPosition(position.0 + waiting.total_bytes()))
        }
        Err(error) if no_room(&error) => {
            file.truncate(offset)?;
            // Else a crash could bring back the half that was written.
            file.sync()?;
            Ok(position)
        }
        Err(error) => Err(error),
    }
}
