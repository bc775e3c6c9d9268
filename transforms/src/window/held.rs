//! What is held of one key, whatever kind its windows are of.

use super::closed::Closed;
use super::code::{self, Damaged};
use super::early::Early;
use super::gathered::{Fields, Gathered};
use super::grid::Window;
use super::members;
use super::panes::{self, KeyPanes, Panes};
use super::sessions::{self, KeySessions, Session, Sessions};
use super::told::Image;
use azud_event::time::EventTime;
use std::time::Duration;

/// Which windows there are, and when they are told.
#[derive(Clone, Debug, PartialEq)]
pub enum Windows {
    /// Tumbling and hopping ones.
    Panes(Panes),
    /// Sessions.
    Sessions(Sessions),
}

/// What is held of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// When its last event happened: by this it leaves when there are too many keys.
    pub last: EventTime,
    /// How many of its records came too late.
    pub late: u64,
    /// Tells what it has put away from what was put away under the same key before, and is not its.
    pub life: u64,
    spans: Spans,
}

/// What changes of a key hang on, and what they are counted in.
pub struct Around<'a> {
    /// What is gathered.
    pub fields: &'a Fields,
    /// What ends, with the allowed lateness, at or before this is over.
    pub over_before: EventTime,
    /// The first window of a grid that is not over: [`Windows::first_open`].
    pub first_open: i64,
    /// What ends at or before this has ended.
    pub watermark: EventTime,
    /// The account of what is closed.
    pub closed: &'a mut Closed,
}

/// What became of a row.
pub enum Applied {
    /// It is in; its last event happened then.
    Counted(EventTime),
    /// It belongs to nothing that is not over. So many records.
    Late(u64),
}

#[derive(Clone, Debug, PartialEq)]
enum Spans {
    Panes(KeyPanes),
    Sessions(KeySessions),
}

/// A window to be looked at.
#[derive(Clone, Debug)]
pub enum Ready {
    /// By its number.
    Pane(i64, Window),
    /// A session.
    Session(Session),
}

impl Windows {
    /// Says which of them are told before they close.
    pub fn early(&self) -> &Early {
        match self {
            Windows::Panes(windows) => &windows.early,
            Windows::Sessions(windows) => &windows.early,
        }
    }

    /// Lets these be told before they close.
    pub fn set_early(&mut self, early: Early) {
        match self {
            Windows::Panes(windows) => windows.early = early,
            Windows::Sessions(windows) => windows.early = early,
        }
    }

    /// Says how long after it began a window closes at most.
    pub fn closes_after(&self) -> Duration {
        match self {
            Windows::Panes(windows) => windows.grid.longest(),
            Windows::Sessions(windows) => windows.gap.max.saturating_add(windows.gap.gap),
        }
    }

    /// Makes what is held of a key of which nothing is known.
    pub fn held(&self, life: u64) -> Held {
        let spans = match self {
            Windows::Panes(_) => Spans::Panes(KeyPanes::default()),
            Windows::Sessions(_) => Spans::Sessions(KeySessions::default()),
        };
        Held { last: EventTime::from_nanoseconds(i64::MIN), late: 0, life, spans }
    }

    /// Gives for how long after its end a window is amended.
    pub fn lateness(&self) -> Duration {
        match self {
            Windows::Panes(windows) => windows.lateness,
            Windows::Sessions(windows) => windows.lateness,
        }
    }

    /// Gives the first window of a grid that is not over; of sessions it says nothing.
    pub fn first_open(&self, over_before: EventTime) -> i64 {
        match self {
            Windows::Panes(windows) => windows.grid.first_open(over_before, windows.lateness),
            Windows::Sessions(_) => i64::MIN,
        }
    }

    /// Whether a row has records, and does not only count late ones.
    pub fn has_records(payload: &[u8]) -> bool {
        payload.first() != Some(&panes::LATE)
    }

    /// Reads one row and adds it.
    ///
    /// # Errors
    /// [`Damaged`] when it is no row of such windows.
    pub fn apply(
        &self,
        held: &mut Held,
        payload: &[u8],
        around: &mut Around<'_>,
    ) -> Result<(), Damaged> {
        let applied = match (self, &mut held.spans, payload) {
            (_, _, [panes::LATE, rest @ ..]) => Applied::Late(code::take_number(&mut &*rest)?),
            (Windows::Panes(windows), Spans::Panes(key), [panes::PANE, rest @ ..]) => {
                windows.apply(key, rest, around)?
            }
            (Windows::Panes(windows), Spans::Panes(key), [members::MEMBER, rest @ ..]) => {
                windows.revise(key, rest, around)?
            }
            (Windows::Sessions(windows), Spans::Sessions(key), [sessions::SEGMENT, rest @ ..]) => {
                windows.apply(key, rest, around)?
            }
            _ => return Err(Damaged("a row of windows of another kind")),
        };
        match applied {
            Applied::Counted(last) => held.last = held.last.max(last),
            Applied::Late(records) => held.late = held.late.saturating_add(records),
        }
        Ok(())
    }

    /// Gives the numbers that must be back before a row is applied, if they were put away.
    ///
    /// # Errors
    /// [`Damaged`] when it is no row of such windows.
    pub fn needs_back(
        &self,
        held: &Held,
        payload: &[u8],
        around: &Around<'_>,
    ) -> Result<Option<(i64, i64)>, Damaged> {
        match (self, &held.spans) {
            _ if !Self::has_records(payload) => Ok(None),
            (Windows::Panes(windows), Spans::Panes(key)) => {
                windows.needs_back(key, payload, around)
            }
            (Windows::Sessions(windows), Spans::Sessions(key)) => windows.needs_back(key, payload),
            _ => Ok(None),
        }
    }

    /// Lists what may be put away, in the order of its numbers.
    pub fn to_put_away(&self, held: &Held, put: impl FnMut(i64, EventTime, &[u8])) {
        match (self, &held.spans) {
            (Windows::Panes(windows), Spans::Panes(key)) => windows.to_put_away(key, put),
            (Windows::Sessions(windows), Spans::Sessions(key)) => windows.to_put_away(key, put),
            _ => {}
        }
    }

    /// Takes the next window that is to be looked at now.
    pub fn take(
        &self,
        held: &mut Held,
        watermark: EventTime,
        closed: &mut Closed,
    ) -> Option<Ready> {
        match (self, &mut held.spans) {
            (Windows::Panes(windows), Spans::Panes(key)) => {
                let (number, window) = windows.take(key, watermark, closed)?;
                Some(Ready::Pane(number, window))
            }
            (Windows::Sessions(windows), Spans::Sessions(key)) => {
                windows.take(key, watermark, closed).map(Ready::Session)
            }
            _ => None,
        }
    }

    /// Notes what was told of a window.
    pub fn tell(
        &self,
        held: &mut Held,
        (ready, anchor): (&Ready, EventTime),
        image: Image,
        closed: &mut Closed,
    ) {
        match (self, &mut held.spans, ready) {
            (Windows::Panes(windows), Spans::Panes(key), Ready::Pane(number, _)) => {
                windows.tell(key, *number, image, closed);
            }
            (_, Spans::Sessions(key), _) => key.tell(anchor, image),
            _ => {}
        }
    }

    /// Puts together what a window has gathered; none when nothing is to be told of it.
    pub fn answer(&self, held: &Held, ready: &Ready, fields: &Fields) -> Option<Gathered> {
        match (self, &held.spans, ready) {
            (Windows::Panes(windows), Spans::Panes(key), Ready::Pane(number, window)) => {
                windows.answer(key, (*number, *window), fields)
            }
            (Windows::Sessions(windows), Spans::Sessions(key), Ready::Session(session)) => {
                windows.answer(key, session, fields)
            }
            _ => None,
        }
    }

    /// Lists the parts of what a window has gathered, by number.
    pub fn each_part(&self, held: &Held, ready: &Ready, each: &mut dyn FnMut(i64, &Gathered)) {
        match (self, &held.spans, ready) {
            (Windows::Panes(windows), Spans::Panes(key), Ready::Pane(number, _)) => {
                windows.each_part(key, *number, each);
            }
            (Windows::Sessions(windows), Spans::Sessions(key), Ready::Session(session)) => {
                windows.each_part(key, session, each);
            }
            _ => {}
        }
    }

    /// Whether a window that holds no record is told.
    pub fn tells_empty(&self) -> bool {
        matches!(self, Windows::Panes(windows) if windows.tells_empty())
    }

    /// Whether a window has lost records to a bound.
    pub fn is_cut(&self, held: &Held, ready: &Ready) -> bool {
        match (self, &held.spans, ready) {
            (Windows::Panes(windows), Spans::Panes(key), Ready::Pane(number, _)) => {
                windows.is_cut(key, *number)
            }
            (Windows::Sessions(windows), Spans::Sessions(key), Ready::Session(session)) => {
                windows.is_cut(key, session)
            }
            _ => false,
        }
    }

    /// Says at which watermark there is a window to look at.
    pub fn due(&self, held: &Held) -> Option<EventTime> {
        match (self, &held.spans) {
            (Windows::Panes(windows), Spans::Panes(key)) => windows.due(key),
            (Windows::Sessions(windows), Spans::Sessions(key)) => windows.due(key),
            _ => None,
        }
    }

    /// Says behind which bound of lateness something can be forgotten.
    pub fn expiry(&self, held: &Held) -> Option<EventTime> {
        match (self, &held.spans) {
            (Windows::Panes(windows), Spans::Panes(key)) => windows.expiry(key),
            (Windows::Sessions(windows), Spans::Sessions(key)) => windows.expiry(key),
            _ => None,
        }
    }

    /// Forgets what is over.
    pub fn forget(&self, held: &mut Held, over_before: EventTime) {
        match (self, &mut held.spans) {
            (Windows::Panes(windows), Spans::Panes(key)) => windows.forget(key, over_before),
            (Windows::Sessions(windows), Spans::Sessions(key)) => windows.forget(key, over_before),
            _ => {}
        }
    }

    /// Whether nothing is known of the key any more.
    pub fn is_empty(&self, held: &Held) -> bool {
        match (self, &held.spans) {
            (Windows::Panes(windows), Spans::Panes(key)) => windows.is_empty(key),
            (_, Spans::Sessions(key)) => key.is_empty(),
            _ => true,
        }
    }

    /// Reads what [`Held::encode`] wrote.
    pub fn decode(&self, bytes: &mut &[u8], around: &mut Around<'_>) -> Result<Held, Damaged> {
        let last = EventTime::from_nanoseconds(code::take_signed(bytes)?);
        let late = code::take_number(bytes)?;
        let life = code::take_number(bytes)?;
        let spans = match self {
            Windows::Panes(_) => Spans::Panes(KeyPanes::decode(bytes, around)?),
            Windows::Sessions(_) => Spans::Sessions(KeySessions::decode(bytes, around)?),
        };
        Ok(Held { last, late, life, spans })
    }
}

impl Held {
    /// Gives where a window is anchored, which its identity hangs on, and the anchors of those that
    /// it has taken over.
    pub fn known_as(&self, ready: &Ready) -> (EventTime, Vec<EventTime>) {
        match (&self.spans, ready) {
            (Spans::Sessions(key), Ready::Session(session)) => key.known_as(session),
            (_, ready) => (ready.window().start, Vec::new()),
        }
    }

    /// Gives what was told of a window last.
    pub fn image(&mut self, ready: &Ready, anchor: EventTime) -> Image {
        match (&mut self.spans, ready) {
            (Spans::Panes(key), Ready::Pane(number, _)) => key.image(*number),
            (Spans::Sessions(key), _) => key.image(anchor),
            _ => Image::default(),
        }
    }

    /// Has the processor fetch what is looked at when a window is told.
    pub fn come_near(&self) {
        match &self.spans {
            Spans::Panes(key) => key.come_near(),
            Spans::Sessions(key) => key.come_near(),
        }
    }

    /// Lets the oldest part go, because of a bound. Whether there was one.
    pub fn shrink(&mut self) -> bool {
        match &mut self.spans {
            Spans::Panes(key) => key.shrink(),
            Spans::Sessions(key) => key.shrink(),
        }
    }

    /// Holds the bounds of one key; whether something had to go.
    pub fn hold_bound(&mut self) -> bool {
        match &mut self.spans {
            Spans::Panes(key) => key.hold_bound(),
            Spans::Sessions(key) => key.hold_bound(),
        }
    }

    /// Gives about how much it takes, in bytes, but for what is of closed windows alone.
    pub fn bytes(&self) -> usize {
        match &self.spans {
            Spans::Panes(key) => key.bytes(),
            Spans::Sessions(key) => key.bytes(),
        }
    }

    /// Lets go of what was put away.
    pub fn let_go(&mut self) {
        match &mut self.spans {
            Spans::Panes(key) => key.let_go(),
            Spans::Sessions(key) => key.let_go(),
        }
    }

    /// Takes back what was put away under a number.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not of such windows.
    pub fn take_back(
        &mut self,
        number: i64,
        bytes: &mut &[u8],
        around: &mut Around<'_>,
    ) -> Result<(), Damaged> {
        match &mut self.spans {
            Spans::Panes(key) => key.take_back(number, bytes, around),
            Spans::Sessions(key) => key.take_back(bytes, around),
        }
    }

    /// Notes that everything of these numbers is here again; `life` is its own from now on if what
    /// lies there must not come back once more.
    pub fn is_back(&mut self, numbers: (i64, i64), life: u64) {
        match &mut self.spans {
            Spans::Panes(key) => key.is_back(numbers),
            // Segments may become one under another number.
            Spans::Sessions(key) => {
                key.is_back();
                self.life = life;
            }
        }
    }

    /// Gives up what could not be brought back, up to a number.
    pub fn lose(&mut self, last: i64, life: u64) {
        match &mut self.spans {
            Spans::Panes(key) => key.lose(last),
            Spans::Sessions(key) => {
                key.lose();
                self.life = life;
            }
        }
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_signed(self.last.nanoseconds(), out);
        code::push_number(self.late, out);
        code::push_number(self.life, out);
        match &self.spans {
            Spans::Panes(key) => key.encode(out),
            Spans::Sessions(key) => key.encode(out),
        }
    }
}

impl Ready {
    /// Gives where the window lies.
    pub fn window(&self) -> Window {
        match self {
            Ready::Pane(_, window) => *window,
            Ready::Session(session) => session.window,
        }
    }
}
