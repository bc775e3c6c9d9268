//! Names of indices and data streams, of which a part may come from a record.
//!
//! Whoever sends a record chooses what is in it, and must not choose where it goes: what a field
//! gives stays a part of the name that the author wrote, and a name that a field would begin does
//! not begin with a sign that makes an index a system's own.

use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use azud_plan::component::{Confine, Missing, Template};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::document::Text;

/// How long a name may be, in bytes: the limit of both servers.
const NAME_BYTES_MAX: usize = 255;

/// Signs that no name has.
const FORBIDDEN: &[char] = &['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];

/// A checked name.
#[derive(Clone, Debug)]
pub(super) struct Name {
    template: Template,
    /// Whether the author wrote its beginning.
    begun: bool,
}

impl Name {
    /// Reads a name; what is wrong is reported at its place.
    pub fn parse(text: &Text, checker: &mut Checker) -> Option<Self> {
        let template = Template::parse(text, checker)?;
        let template = template.confined(Confine::Path).missing(Missing::Fault);
        let literal = template.fixed().unwrap_or(template.prefix());
        let title = if text.text.is_empty() {
            "a name of an index is not empty".to_owned()
        } else if let Some(sign) = literal.chars().find(|sign| FORBIDDEN.contains(sign)) {
            format!("a name of an index has no `{sign}`")
        } else if literal.chars().any(char::is_uppercase) {
            "a name of an index is in lower case".to_owned()
        } else if literal.starts_with(['-', '_', '+']) {
            "a name of an index does not begin with `-`, `_` or `+`".to_owned()
        } else {
            let begun = !literal.is_empty();
            return Some(Name { template, begun });
        };
        checker.report(Diagnostic::error(codes::MALFORMED_VALUE, text.span, title, ""));
        None
    }

    /// Writes the name for a record.
    ///
    /// # Errors
    /// When a field of it is missing or empty, or the name would be none, or a system's own.
    pub fn write(&self, record: &Record, out: &mut String) -> Result<(), Fault> {
        let mut name = String::new();
        self.template.render(record, &mut name)?;
        let start = out.len();
        let safe = |sign: char| if FORBIDDEN.contains(&sign) { '_' } else { sign };
        out.extend(name.chars().flat_map(char::to_lowercase).map(safe));
        let written = &out[start..];
        if !self.begun && written.starts_with(['.', '-', '_', '+']) {
            let message = format!("`{written}` would be a name of the server's own");
            return Err(Fault::new(Reason::EncodeFailed, message));
        }
        if out.len() > NAME_BYTES_MAX {
            let message = format!(
                "the name of the index is {} bytes, above the limit of {NAME_BYTES_MAX}",
                out.len()
            );
            return Err(Fault::new(Reason::EncodeFailed, message));
        }
        Ok(())
    }
}
