-- What was set aside, by group: the same counts as `azud dead-letters list`, for those who look at the
-- database. The letters themselves are in files; a row is made from them again and again, so it is
-- never ahead of them, and never counts one twice.
CREATE TABLE dead_letters (
    -- Hashed from the columns of the unique index.
    id                TEXT NOT NULL PRIMARY KEY,
    pipeline          TEXT NOT NULL,
    component_id      TEXT NOT NULL,
    stage             TEXT NOT NULL
                      CHECK (stage IN ('frame', 'decode', 'transform', 'window', 'encode', 'deliver')),
    reason            TEXT NOT NULL,
    message           TEXT NOT NULL,
    -- Empty where it is not known: of what a sink's receiver refused.
    source_id         TEXT NOT NULL,
    peer              TEXT,
    records           INTEGER NOT NULL CHECK (records >= 0),
    bytes             INTEGER NOT NULL CHECK (bytes >= 0),
    -- The beginning of the first record.
    sample            BLOB NOT NULL CHECK (length(sample) <= 4096),
    segment_from      TEXT NOT NULL,
    segment_to        TEXT NOT NULL,
    minute            TEXT NOT NULL CHECK (length(minute) = 27),
    first_received_at TEXT NOT NULL CHECK (length(first_received_at) = 27),
    last_received_at  TEXT NOT NULL CHECK (length(last_received_at) = 27),
    incarnation       TEXT NOT NULL,
    epoch             INTEGER,
    response_code     INTEGER,
    -- `lost` are those whose files somebody took away without discarding them.
    state             TEXT NOT NULL CHECK (state IN ('held', 'replayed', 'discarded', 'lost')),
    handled_by        TEXT,
    handled_at        TEXT CHECK (length(handled_at) = 27)
) STRICT;

CREATE UNIQUE INDEX dead_letters_by_group
    ON dead_letters (incarnation, pipeline, component_id, source_id, reason, minute);
CREATE INDEX dead_letters_by_state ON dead_letters (state, component_id, last_received_at);
