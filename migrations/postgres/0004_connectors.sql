-- Everything that talks to the outside: what it is, how it is, and the secrets it needs.
--
-- `sealed` columns hold the version of their form, the id of a row of encryption_keys, a nonce,
-- ciphertext and tag (XChaCha20-Poly1305); table, row and column are authenticated with them, so that
-- what is copied to another place does not open.

-- The keys that rows are sealed with, each wrapped by a master key that is in no database.
CREATE TABLE encryption_keys (
    id             uuid NOT NULL PRIMARY KEY,
    wrapped_key    bytea NOT NULL,
    master         text NOT NULL CHECK (master IN ('file', 'env', 'vault', 'aws_secrets_manager')),
    -- Which master key: a fingerprint, of vaults the version too.
    master_version text NOT NULL,
    state          text NOT NULL CHECK (state IN ('active', 'retired')),
    created_at     timestamptz NOT NULL,
    retired_at     timestamptz
);

-- New rows are sealed with one key.
CREATE UNIQUE INDEX encryption_keys_active ON encryption_keys (state) WHERE state = 'active';

CREATE TABLE connectors (
    id                         uuid NOT NULL PRIMARY KEY,
    name                       text COLLATE "C" NOT NULL UNIQUE,
    kind                       text NOT NULL
                               CHECK (kind IN ('api', 'syslog', 'listener', 'agent', 'feed', 'sink')),
    type                       text NOT NULL,
    origin                     text NOT NULL CHECK (origin IN ('file', 'api')),
    -- The document, where it stands in one.
    origin_path                text,
    labels                     jsonb NOT NULL,
    enabled                    boolean NOT NULL,
    configuration              bytea NOT NULL,
    -- What may be shown of the configuration.
    summary                    jsonb NOT NULL,
    -- Grows with every change that somebody makes; `If-Match` names it.
    version                    bigint NOT NULL CHECK (version >= 1),
    interval_seconds           bigint CHECK (interval_seconds >= 0),
    status                     text NOT NULL
                               CHECK (status IN ('starting', 'active', 'warning', 'error', 'disabled')),
    status_reason              text,
    status_message             text,
    status_since               timestamptz NOT NULL,
    last_successful_connection timestamptz,
    last_attempt_at            timestamptz,
    next_attempt_at            timestamptz,
    last_error                 text,
    last_error_at              timestamptz,
    consecutive_failures       bigint NOT NULL DEFAULT 0 CHECK (consecutive_failures >= 0),
    records_total              bigint NOT NULL DEFAULT 0 CHECK (records_total >= 0),
    bytes_total                bigint NOT NULL DEFAULT 0 CHECK (bytes_total >= 0),
    attempts_total             bigint NOT NULL DEFAULT 0 CHECK (attempts_total >= 0),
    failures_total             bigint NOT NULL DEFAULT 0 CHECK (failures_total >= 0),
    -- Who polls it, until when unless renewed, and how many owners there were.
    owner_instance             uuid,
    lease_until                timestamptz,
    lease_term                 bigint NOT NULL DEFAULT 0 CHECK (lease_term >= 0),
    -- Counts the cursors that were set from outside, so that who polls reads them again.
    cursor_version             bigint NOT NULL DEFAULT 0 CHECK (cursor_version >= 0),
    created_at                 timestamptz NOT NULL,
    updated_at                 timestamptz NOT NULL,
    -- Since when no document has it any more.
    removed_at                 timestamptz
);

CREATE TABLE connector_cursors (
    connector_id uuid NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    partition    text COLLATE "C" NOT NULL,
    cursor       bytea NOT NULL,
    summary      text NOT NULL,
    event_time   timestamptz,
    incarnation  uuid NOT NULL,
    epoch        bigint NOT NULL DEFAULT 0,
    format       bigint NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (connector_id, partition)
);

CREATE TABLE connector_status_history (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connector_id uuid NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    at           timestamptz NOT NULL,
    from_status  text NOT NULL,
    to_status    text NOT NULL,
    reason       text NOT NULL,
    message      text,
    http_status  bigint,
    instance_id  uuid NOT NULL,
    -- How many more changes this row stands for: of more than sixty an hour.
    flaps        bigint NOT NULL DEFAULT 0 CHECK (flaps >= 0)
);

CREATE INDEX connector_status_history_by_time ON connector_status_history (connector_id, at DESC);

CREATE TABLE credentials (
    id                uuid NOT NULL PRIMARY KEY,
    name              text COLLATE "C" NOT NULL UNIQUE,
    kind              text NOT NULL
                      CHECK (kind IN ('token', 'basic', 'oauth2_client', 'private_key', 'certificate',
                                      'url', 'opaque')),
    backend           text NOT NULL
                      CHECK (backend IN ('azud', 'vault', 'aws_secrets_manager', 'file', 'env',
                                         'other')),
    -- What the backend calls it.
    reference         text,
    value             bytea,
    -- What it was before it was rotated, good until then.
    previous_value    bytea,
    previous_until    timestamptz,
    version           bigint NOT NULL CHECK (version >= 1),
    -- Tells values apart, and nothing of them.
    fingerprint       text NOT NULL,
    state             text NOT NULL CHECK (state IN ('active', 'expiring', 'refused', 'revoked')),
    expires_at        timestamptz,
    last_used_at      timestamptz,
    last_refreshed_at timestamptz,
    last_error        text,
    created_by        text NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    rotated_at        timestamptz,
    CHECK ((backend = 'azud') = (value IS NOT NULL))
);

CREATE TABLE oauth_tokens (
    credential_id uuid NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    connector_id  uuid NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    access        bytea,
    refresh       bytea,
    expires_at    timestamptz NOT NULL,
    version       bigint NOT NULL CHECK (version >= 1),
    obtained_at   timestamptz NOT NULL,
    PRIMARY KEY (credential_id, connector_id)
);

CREATE TABLE api_tokens (
    id           uuid NOT NULL PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE,
    -- A hash (BLAKE3) of the token, which is random and long enough for that.
    token_hash   bytea NOT NULL UNIQUE,
    role         text NOT NULL CHECK (role IN ('viewer', 'analyst', 'editor', 'admin')),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);

-- Who changed what. Nothing secret.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    address text,
    action  text NOT NULL,
    object  text NOT NULL,
    before  jsonb,
    after   jsonb,
    outcome text NOT NULL
);

CREATE INDEX audit_log_by_object ON audit_log (object, id DESC);
