-- What was set aside, by group: the same counts as `azud dead-letters list`, for those who look at the
-- database. The letters themselves are in files; a row is made from them again and again, so it is
-- never ahead of them, and never counts one twice.
CREATE TABLE dead_letters (
    -- Hashed from the columns of the unique index.
    id                text COLLATE "C" NOT NULL PRIMARY KEY,
    pipeline          text NOT NULL,
    component_id      text NOT NULL,
    stage             text NOT NULL
                      CHECK (stage IN ('frame', 'decode', 'transform', 'window', 'encode', 'deliver')),
    reason            text NOT NULL,
    message           text NOT NULL,
    -- Empty where it is not known: of what a sink's receiver refused.
    source_id         text NOT NULL,
    peer              text,
    records           bigint NOT NULL CHECK (records >= 0),
    bytes             bigint NOT NULL CHECK (bytes >= 0),
    -- The beginning of the first record.
    sample            bytea NOT NULL CHECK (octet_length(sample) <= 4096),
    segment_from      text NOT NULL,
    segment_to        text NOT NULL,
    minute            timestamptz NOT NULL,
    first_received_at timestamptz NOT NULL,
    last_received_at  timestamptz NOT NULL,
    incarnation       uuid NOT NULL,
    epoch             bigint,
    response_code     bigint,
    -- `lost` are those whose files somebody took away without discarding them.
    state             text NOT NULL CHECK (state IN ('held', 'replayed', 'discarded', 'lost')),
    handled_by        text,
    handled_at        timestamptz
);

CREATE UNIQUE INDEX dead_letters_by_group
    ON dead_letters (incarnation, pipeline, component_id, source_id, reason, minute);
CREATE INDEX dead_letters_by_state ON dead_letters (state, component_id, last_received_at);
