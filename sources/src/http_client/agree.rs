//! What one table of a poller alone does not tell: settings that contradict each other.

use super::paging::Kind;
use super::settings::{CursorValue, Settings, contradicts};
use azud_plan::component::Options;
use azud_plan::diagnostic::Checker;

impl Settings {
    /// Reports what contradicts each other.
    pub(super) fn agrees(&self, options: &Options<'_>, checker: &mut Checker) -> bool {
        let value = self.cursor.as_ref().map(|cursor| &cursor.value);
        let linked = matches!(self.paging.kind, Kind::LinkHeader { .. } | Kind::NextUrl { .. });
        let tokens = matches!(self.paging.kind, Kind::Token { .. });
        let mut sound = true;
        let mut refuse = |name: &str, title: &str, help: &str| {
            contradicts(options, name, title, help, checker);
            sound = false;
        };
        if value == Some(&CursorValue::NextLink) && !linked {
            let help = "let `pagination.type` be `link_header` or `next_url`";
            refuse("cursor", "there are no links that could be kept", help);
        }
        if value == Some(&CursorValue::Token) && !tokens {
            let help = "let `pagination.type` be `token`";
            refuse("cursor", "there are no tokens that could be kept", help);
        }
        if value == Some(&CursorValue::LastEventTime) && self.event_time.is_none() {
            let help = "name it in `event_time`";
            refuse("cursor", "it is not said which field is the event time", help);
        }
        if self.max_lag.is_some() && self.event_time.is_none() {
            let title = "it is not said which field is the event time";
            refuse("max_lag", title, "name it in `event_time`");
        }
        if let Some(cursor) = &self.cursor
            && cursor.value != CursorValue::NextLink
            && cursor.param.is_none()
            && !self.texts().any(|text| text.uses("cursor"))
        {
            let help = "name a parameter in `cursor.param`, or write `{{ cursor }}` into a text";
            refuse("cursor", "it stands nowhere in a request", help);
        }
        let shared = matches!(value, None | Some(CursorValue::Now | CursorValue::LastEventTime));
        if self.parents.is_some() && !shared {
            let help = "let it be `now`, or `last_event_time` with `dedupe`";
            refuse("cursor", "all parents share one cursor, and each has its own ids", help);
        }
        let again = value == Some(&CursorValue::LastEventTime) && self.dedupe.is_none();
        if self.parents.is_some() && again {
            let help = "name their id in `dedupe.id`";
            refuse("cursor", "records that come while others are asked are given twice", help);
        }
        if self.slices.is_some() && self.cursor.is_some() {
            let help = "remove one of them";
            refuse("cursor", "slices of time are a cursor of their own", help);
        }
        if self.conditional && !matches!(self.paging.kind, Kind::None) {
            let help = "remove one of them";
            refuse("conditional", "an answer in pages cannot be asked for its changes", help);
        }
        if self.conditional && (self.job.is_some() || self.parents.is_some()) {
            let help = "remove one of them";
            refuse("conditional", "only a single request can be asked for its changes", help);
        }
        if options.one_of("when_full") == Some("drop_newest") {
            let help = "let it be `block`: the other side keeps what is not polled";
            refuse("when_full", "what is polled is not let go", help);
        }
        sound
    }
}
