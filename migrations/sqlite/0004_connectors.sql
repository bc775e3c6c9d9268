-- Everything that talks to the outside: what it is, how it is, and the secrets it needs.
--
-- `sealed` columns hold the version of their form, the id of a row of encryption_keys, a nonce,
-- ciphertext and tag (XChaCha20-Poly1305); table, row and column are authenticated with them, so that
-- what is copied to another place does not open.

-- The keys that rows are sealed with, each wrapped by a master key that is in no database.
CREATE TABLE encryption_keys (
    id             TEXT NOT NULL PRIMARY KEY,
    wrapped_key    BLOB NOT NULL,
    master         TEXT NOT NULL CHECK (master IN ('file', 'env', 'vault', 'aws_secrets_manager')),
    -- Which master key: a fingerprint, of vaults the version too.
    master_version TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('active', 'retired')),
    created_at     TEXT NOT NULL CHECK (length(created_at) = 27),
    retired_at     TEXT CHECK (length(retired_at) = 27)
) STRICT;

-- New rows are sealed with one key.
CREATE UNIQUE INDEX encryption_keys_active ON encryption_keys (state) WHERE state = 'active';

CREATE TABLE connectors (
    id                         TEXT NOT NULL PRIMARY KEY,
    name                       TEXT NOT NULL UNIQUE,
    kind                       TEXT NOT NULL
                               CHECK (kind IN ('api', 'syslog', 'listener', 'agent', 'feed', 'sink')),
    type                       TEXT NOT NULL,
    origin                     TEXT NOT NULL CHECK (origin IN ('file', 'api')),
    -- The document, where it stands in one.
    origin_path                TEXT,
    labels                     TEXT NOT NULL CHECK (json_valid(labels)),
    enabled                    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    configuration              BLOB NOT NULL,
    -- What may be shown of the configuration.
    summary                    TEXT NOT NULL CHECK (json_valid(summary)),
    -- Grows with every change that somebody makes; `If-Match` names it.
    version                    INTEGER NOT NULL CHECK (version >= 1),
    interval_seconds           INTEGER CHECK (interval_seconds >= 0),
    status                     TEXT NOT NULL
                               CHECK (status IN ('starting', 'active', 'warning', 'error', 'disabled')),
    status_reason              TEXT,
    status_message             TEXT,
    status_since               TEXT NOT NULL CHECK (length(status_since) = 27),
    last_successful_connection TEXT CHECK (length(last_successful_connection) = 27),
    last_attempt_at            TEXT CHECK (length(last_attempt_at) = 27),
    next_attempt_at            TEXT CHECK (length(next_attempt_at) = 27),
    last_error                 TEXT,
    last_error_at              TEXT CHECK (length(last_error_at) = 27),
    consecutive_failures       INTEGER NOT NULL DEFAULT 0 CHECK (consecutive_failures >= 0),
    records_total              INTEGER NOT NULL DEFAULT 0 CHECK (records_total >= 0),
    bytes_total                INTEGER NOT NULL DEFAULT 0 CHECK (bytes_total >= 0),
    attempts_total             INTEGER NOT NULL DEFAULT 0 CHECK (attempts_total >= 0),
    failures_total             INTEGER NOT NULL DEFAULT 0 CHECK (failures_total >= 0),
    -- Who polls it, until when unless renewed, and how many owners there were.
    owner_instance             TEXT,
    lease_until                TEXT CHECK (length(lease_until) = 27),
    lease_term                 INTEGER NOT NULL DEFAULT 0 CHECK (lease_term >= 0),
    -- Counts the cursors that were set from outside, so that who polls reads them again.
    cursor_version             INTEGER NOT NULL DEFAULT 0 CHECK (cursor_version >= 0),
    created_at                 TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at                 TEXT NOT NULL CHECK (length(updated_at) = 27),
    -- Since when no document has it any more.
    removed_at                 TEXT CHECK (length(removed_at) = 27)
) STRICT;

CREATE TABLE connector_cursors (
    connector_id TEXT NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    partition    TEXT NOT NULL,
    cursor       BLOB NOT NULL,
    summary      TEXT NOT NULL,
    event_time   TEXT CHECK (length(event_time) = 27),
    incarnation  TEXT NOT NULL,
    epoch        INTEGER NOT NULL DEFAULT 0,
    format       INTEGER NOT NULL,
    updated_at   TEXT NOT NULL CHECK (length(updated_at) = 27),
    PRIMARY KEY (connector_id, partition)
) STRICT;

CREATE TABLE connector_status_history (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    connector_id TEXT NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    at           TEXT NOT NULL CHECK (length(at) = 27),
    from_status  TEXT NOT NULL,
    to_status    TEXT NOT NULL,
    reason       TEXT NOT NULL,
    message      TEXT,
    http_status  INTEGER,
    instance_id  TEXT NOT NULL,
    -- How many more changes this row stands for: of more than sixty an hour.
    flaps        INTEGER NOT NULL DEFAULT 0 CHECK (flaps >= 0)
) STRICT;

CREATE INDEX connector_status_history_by_time ON connector_status_history (connector_id, at DESC);

CREATE TABLE credentials (
    id                TEXT NOT NULL PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    kind              TEXT NOT NULL
                      CHECK (kind IN ('token', 'basic', 'oauth2_client', 'private_key', 'certificate',
                                      'url', 'opaque')),
    backend           TEXT NOT NULL
                      CHECK (backend IN ('azud', 'vault', 'aws_secrets_manager', 'file', 'env',
                                         'other')),
    -- What the backend calls it.
    reference         TEXT,
    value             BLOB,
    -- What it was before it was rotated, good until then.
    previous_value    BLOB,
    previous_until    TEXT CHECK (length(previous_until) = 27),
    version           INTEGER NOT NULL CHECK (version >= 1),
    -- Tells values apart, and nothing of them.
    fingerprint       TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('active', 'expiring', 'refused', 'revoked')),
    expires_at        TEXT CHECK (length(expires_at) = 27),
    last_used_at      TEXT CHECK (length(last_used_at) = 27),
    last_refreshed_at TEXT CHECK (length(last_refreshed_at) = 27),
    last_error        TEXT,
    created_by        TEXT NOT NULL,
    created_at        TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at        TEXT NOT NULL CHECK (length(updated_at) = 27),
    rotated_at        TEXT CHECK (length(rotated_at) = 27),
    CHECK ((backend = 'azud') = (value IS NOT NULL))
) STRICT;

CREATE TABLE oauth_tokens (
    credential_id TEXT NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    connector_id  TEXT NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    access        BLOB,
    refresh       BLOB,
    expires_at    TEXT NOT NULL CHECK (length(expires_at) = 27),
    version       INTEGER NOT NULL CHECK (version >= 1),
    obtained_at   TEXT NOT NULL CHECK (length(obtained_at) = 27),
    PRIMARY KEY (credential_id, connector_id)
) STRICT;

CREATE TABLE api_tokens (
    id           TEXT NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    -- A hash (BLAKE3) of the token, which is random and long enough for that.
    token_hash   BLOB NOT NULL UNIQUE,
    role         TEXT NOT NULL CHECK (role IN ('viewer', 'analyst', 'editor', 'admin')),
    created_at   TEXT NOT NULL CHECK (length(created_at) = 27),
    expires_at   TEXT CHECK (length(expires_at) = 27),
    last_used_at TEXT CHECK (length(last_used_at) = 27),
    revoked_at   TEXT CHECK (length(revoked_at) = 27)
) STRICT;

-- Who changed what. Nothing secret.
CREATE TABLE audit_log (
    id      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL CHECK (length(at) = 27),
    actor   TEXT NOT NULL,
    address TEXT,
    action  TEXT NOT NULL,
    object  TEXT NOT NULL,
    before  TEXT CHECK (json_valid(before)),
    after   TEXT CHECK (json_valid(after)),
    outcome TEXT NOT NULL
) STRICT;

CREATE INDEX audit_log_by_object ON audit_log (object, id DESC);
