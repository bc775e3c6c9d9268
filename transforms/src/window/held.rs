//! What is held of one key, whatever kind its windows are of.

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
    spans: Spans,
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
    pub fn tell(&mut self, early: Early) {
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
    pub fn held(&self) -> Held {
        let spans = match self {
            Windows::Panes(_) => Spans::Panes(KeyPanes::default()),
            Windows::Sessions(_) => Spans::Sessions(KeySessions::default()),
        };
        Held { last: EventTime::from_nanoseconds(i64::MIN), late: 0, spans }
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
        fields: &Fields,
        payload: &[u8],
        late_before: EventTime,
    ) -> Result<(), Damaged> {
        let last = match (self, &mut held.spans, payload) {
            (_, _, [panes::LATE, rest @ ..]) => {
                held.late = held.late.saturating_add(code::take_number(&mut &*rest)?);
                return Ok(());
            }
            (Windows::Panes(windows), Spans::Panes(key), [panes::PANE, rest @ ..]) => {
                windows.apply(key, fields, rest, late_before)?
            }
            (Windows::Panes(windows), Spans::Panes(key), [members::MEMBER, rest @ ..]) => {
                windows.revise(key, fields, rest, late_before)?
            }
            (Windows::Sessions(windows), Spans::Sessions(key), [sessions::SEGMENT, rest @ ..]) => {
                windows.apply(key, fields, rest)?
            }
            _ => return Err(Damaged("a row of windows of another kind")),
        };
        held.last = held.last.max(last);
        Ok(())
    }

    /// Takes the next window that is to be looked at now.
    pub fn take(&self, held: &mut Held, watermark: EventTime) -> Option<Ready> {
        match (self, &mut held.spans) {
            (Windows::Panes(windows), Spans::Panes(key)) => {
                windows.take(key, watermark).map(|(number, window)| Ready::Pane(number, window))
            }
            (Windows::Sessions(windows), Spans::Sessions(key)) => {
                windows.take(key, watermark).map(Ready::Session)
            }
            _ => None,
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
    pub fn forget(&self, held: &mut Held, late_before: EventTime) {
        match (self, &mut held.spans) {
            (Windows::Panes(windows), Spans::Panes(key)) => windows.forget(key, late_before),
            (Windows::Sessions(windows), Spans::Sessions(key)) => windows.forget(key, late_before),
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
    pub fn decode(&self, fields: &Fields, bytes: &mut &[u8]) -> Result<Held, Damaged> {
        let last = EventTime::from_nanoseconds(code::take_signed(bytes)?);
        let late = code::take_number(bytes)?;
        let spans = match self {
            Windows::Panes(_) => Spans::Panes(KeyPanes::decode(fields, bytes)?),
            Windows::Sessions(_) => Spans::Sessions(KeySessions::decode(fields, bytes)?),
        };
        Ok(Held { last, late, spans })
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

    /// Notes what was told of a window.
    pub fn tell(&mut self, ready: &Ready, anchor: EventTime, image: Image) {
        match (&mut self.spans, ready) {
            (Spans::Panes(key), Ready::Pane(number, _)) => key.tell(*number, image),
            (Spans::Sessions(key), _) => key.tell(anchor, image),
            _ => {}
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

    /// Gives about how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        match &self.spans {
            Spans::Panes(key) => key.bytes(),
            Spans::Sessions(key) => key.bytes(),
        }
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_signed(self.last.nanoseconds(), out);
        code::push_number(self.late, out);
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
