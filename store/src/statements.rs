//! Every statement, once for both databases.

mod access;
mod alerts;
mod connectors;
mod credentials;
mod dead_letters;
mod history;
mod instances;
mod keys;
mod progress;
mod retention;
mod rules;

#[cfg(test)]
mod tests;

pub(crate) use access::{
    add_token, audit, audit_log, list_tokens, note_token, revoke_token, token_of,
};
pub(crate) use alerts::{apply, get, list, revisions};
pub(crate) use connectors::{
    CursorChange, CursorChanged, Declaration, Known, SealedCursor, add_connector, change_cursors,
    configure_connector, connector, connectors, connectors_version, cursors, cursors_and_version,
    declare_connectors, enable_connector, label_connector, remove_connector, report_connectors,
    reset_cursors, set_cursor, take_leases,
};
pub(crate) use credentials::{
    CredentialChange, TokensRow, credential, credentials, forget_previous, note_credentials,
    revoke_credential, set_credential, store_tokens, token_ids, tokens,
};
pub(crate) use dead_letters::{held_dead_letters, keep_dead_letters};
#[cfg(test)]
pub(crate) use history::CHANGES_AN_HOUR;
pub(crate) use history::{changes, connector_history, newest_change};
pub(crate) use instances::{Begun, begin, check, last_seen};
pub(crate) use keys::{
    NewKey, SEALED, WrappedKey, add_first_key, add_key, data_keys, reseal, row_name, sealed_values,
    wrap_keys,
};
pub(crate) use progress::progress;
#[cfg(test)]
pub(crate) use retention::ROWS_MAX;
pub(crate) use retention::{retire_alerts, retire_audit, retire_dead_letters, retire_history};
pub(crate) use rules::load_rules;
