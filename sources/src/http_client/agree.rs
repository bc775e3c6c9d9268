//! What one table of a poller alone does not tell: settings that contradict each other.

use super::paging::Kind;
use super::settings::{CursorValue, Settings, contradicts};
use super::tenant;
use azud_client::header::HeaderName;
use azud_plan::component::{Confidential, Options};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::document::{Entry, Node, Table, Text, Value};

/// An option, what is wrong with it, and what to do.
type Contradiction = (&'static str, &'static str, &'static str);

/// Lists the texts of a table, whatever they are in.
fn texts_of(table: &Table) -> impl Iterator<Item = &Text> {
    fn gather<'a>(node: &'a Node, into: &mut Vec<&'a Text>) {
        match &node.value {
            Value::Text(text) => into.push(text),
            Value::Array(items) => items.iter().for_each(|item| gather(item, into)),
            Value::Table(table) => table.entries.iter().for_each(|it| gather(&it.node, into)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    table.entries.iter().for_each(|entry| gather(&entry.node, &mut found));
    found.into_iter()
}

/// Whether a text names a secret that is made for each row.
fn shares(text: &str) -> bool {
    let text = Confidential::parse(text);
    text.is_ok_and(|text| text.names().any(|name| tenant::is_shared(&name.key)))
}

impl Settings {
    /// Reports what contradicts each other.
    pub(super) fn agrees(&self, options: &Options<'_>, checker: &mut Checker) -> bool {
        let mut said = Vec::new();
        self.look_at_cursor(&mut said);
        self.look_at_requests(options, &mut said);
        for (name, title, help) in &said {
            contradicts(options, name, title, help, checker);
        }
        self.warn(options, checker);
        names_agree(options, checker) && self.headers_agree(options, checker) && said.is_empty()
    }

    /// Says what works, and hardly as it was meant.
    fn warn(&self, options: &Options<'_>, checker: &mut Checker) {
        let overlaps = self.cursor.as_ref().is_some_and(|cursor| !cursor.overlap.is_zero());
        if let Some(cursor) = options.table("cursor").filter(|_| overlaps && self.dedupe.is_none())
        {
            let title = "every poll gives the records of the overlap again";
            let found =
                Diagnostic::warning(codes::CONTRADICTION, cursor.span("overlap"), title, "");
            checker.report(found.help("name what tells them apart in `dedupe.id`"));
        }
    }

    /// Reports headers that are written by hand, and set by `auth`, too.
    fn headers_agree(&self, options: &Options<'_>, checker: &mut Checker) -> bool {
        let Some(auth) = &self.auth else { return true };
        let twice = |entry: &&Entry| {
            let name = HeaderName::from_bytes(entry.key.as_bytes());
            name.is_ok_and(|name| auth.sets(&name))
        };
        let Some(entry) = options.map("headers").into_iter().find(twice) else { return true };
        let title = format!("`{}` is set by `auth`, too", entry.key);
        let found = Diagnostic::error(codes::CONTRADICTION, entry.key_span, title, "");
        let found = found.label(options.span("auth"), "by this");
        checker.report(found.help("remove one of them"));
        false
    }

    /// Finds what does not go with the cursor.
    fn look_at_cursor(&self, said: &mut Vec<Contradiction>) {
        let mut refuse = |name, title, help| said.push((name, title, help));
        let value = self.cursor.as_ref().map(|cursor| &cursor.value);
        let linked = matches!(self.paging.kind, Kind::LinkHeader { .. } | Kind::NextUrl { .. });
        let tokens = matches!(self.paging.kind, Kind::Token { .. });
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
    }

    /// Finds what does not go with the requests.
    fn look_at_requests(&self, options: &Options<'_>, said: &mut Vec<Contradiction>) {
        let mut refuse = |name, title, help| said.push((name, title, help));
        if self.conditional && !matches!(self.paging.kind, Kind::None) {
            let help = "remove one of them";
            refuse("conditional", "an answer in pages cannot be asked for its changes", help);
        }
        if self.conditional && (self.job.is_some() || self.parents.is_some()) {
            let help = "remove one of them";
            refuse("conditional", "only a single request can be asked for its changes", help);
        }
        if self.connector.is_none() && texts_of(options.table).any(|text| shares(&text.text)) {
            let help = "write `connector = \"…-*\"`: then each row that matches has its own";
            refuse("auth", "a secret is named by what only rows of a definition have", help);
        }
        let limit = &self.rate_limit;
        if options.has("rate_limit") && limit.own.is_none() && limit.remaining_header.is_none() {
            let help = "name `remaining_header` and `reset_header`, or write `requests`";
            refuse("rate_limit", "there is nothing that it could be read from", help);
        }
        if options.one_of("when_full") == Some("drop_newest") {
            let help = "let it be `block`: the other side keeps what is not polled";
            refuse("when_full", "what is polled is not let go", help);
        }
    }
}

/// Reports names of secrets that cannot be made for a row.
fn names_agree(options: &Options<'_>, checker: &mut Checker) -> bool {
    let mut sound = true;
    for text in texts_of(options.table) {
        let Ok(confidential) = Confidential::parse(&text.text) else { continue };
        let shared = confidential.names().filter(|name| tenant::is_shared(&name.key));
        for why in shared.filter_map(|name| tenant::check(&name.key).err()) {
            let found = Diagnostic::error(codes::TEMPLATE, text.span, why, "");
            let help = "`{{ connector }}` and `{{ label.x }}` may stand in the name of a secret";
            checker.report(found.help(help));
            sound = false;
        }
    }
    sound
}
