-- What an instance must not forget when it stops: who it is, its rules, and the alerts they raised.
--
-- Times are text in RFC 3339, UTC, with six digits (27 signs), so that the order of texts is the order
-- of times; the checks hold that. JSON is text that `json_valid` accepts. Identities are hexadecimal or
-- UUIDs in text, because people paste them into other tools.

-- One row: the database of an instance lies in its data folder.
CREATE TABLE instances (
    id           TEXT NOT NULL PRIMARY KEY,
    -- Renewed at every start as long as the state of rules does not outlive the process: it tells the
    -- alerts counted by this run from those counted by an earlier one.
    incarnation  TEXT NOT NULL,
    version      TEXT NOT NULL,
    started_at   TEXT NOT NULL CHECK (length(started_at) = 27),
    last_seen_at TEXT NOT NULL CHECK (length(last_seen_at) = 27)
) STRICT;

CREATE TABLE rules (
    id           TEXT NOT NULL PRIMARY KEY,
    pipeline     TEXT NOT NULL,
    version      TEXT NOT NULL,
    title        TEXT NOT NULL,
    severity     INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 5),
    mode         TEXT NOT NULL CHECK (mode IN ('active', 'shadow')),
    tags         TEXT NOT NULL CHECK (json_valid(tags)),
    loaded_at    TEXT NOT NULL CHECK (length(loaded_at) = 27),
    -- How many alerts the rule raised since it is known, whatever became of them.
    alerts_total INTEGER NOT NULL DEFAULT 0 CHECK (alerts_total >= 0),
    -- A rule that left the documents keeps its row, or its alerts would have no title any more.
    removed_at   TEXT CHECK (length(removed_at) = 27)
) STRICT;

-- The last revision of every alert. No foreign key on the rule: an alert is never refused because
-- its rule was not announced.
CREATE TABLE alerts (
    id             TEXT NOT NULL PRIMARY KEY,
    rule_id        TEXT NOT NULL,
    rule_version   TEXT NOT NULL,
    runbook_url    TEXT,
    pipeline       TEXT NOT NULL,
    revision       INTEGER NOT NULL CHECK (revision >= 1),
    change         TEXT NOT NULL
                   CHECK (change IN ('raised', 'amended', 'escalated', 'resolved', 'withdrawn')),
    state          TEXT NOT NULL CHECK (state IN ('firing', 'resolved', 'withdrawn')),
    mode           TEXT NOT NULL CHECK (mode IN ('active', 'shadow')),
    origin         TEXT NOT NULL
                   CHECK (origin IN ('live', 'retroactive', 'backfill', 'replay')),
    severity       INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 5),
    title          TEXT NOT NULL,
    description    TEXT,
    tags           TEXT NOT NULL CHECK (json_valid(tags)),
    key            TEXT NOT NULL CHECK (json_valid(key)),
    key_hash       BLOB NOT NULL CHECK (length(key_hash) = 16),
    fields         TEXT NOT NULL CHECK (json_valid(fields)),
    -- The whole description of the window, beside its two ends that queries need.
    window         TEXT CHECK (json_valid(window)),
    window_start   TEXT CHECK (length(window_start) = 27),
    window_end     TEXT CHECK (length(window_end) = 27),
    first_event_at TEXT NOT NULL CHECK (length(first_event_at) = 27),
    last_event_at  TEXT NOT NULL CHECK (length(last_event_at) = 27),
    event_count    INTEGER NOT NULL CHECK (event_count >= 0),
    raised_at      TEXT NOT NULL CHECK (length(raised_at) = 27),
    revised_at     TEXT NOT NULL CHECK (length(revised_at) = 27),
    resolved_at    TEXT CHECK (length(resolved_at) = 27),
    delay_ms       INTEGER,
    completeness   TEXT NOT NULL CHECK (json_valid(completeness)),
    entities       TEXT NOT NULL CHECK (json_valid(entities)),
    evidence       TEXT NOT NULL CHECK (json_valid(evidence)),
    indicator      TEXT CHECK (json_valid(indicator)),
    supersedes     TEXT NOT NULL CHECK (json_valid(supersedes)),
    superseded_by  TEXT,
    reason         TEXT,
    link           TEXT,
    incarnation    TEXT NOT NULL,
    epoch          INTEGER,
    -- What earlier incarnations had counted when this one first wrote the row; null when there was none.
    -- It goes when the state of rules outlives the process.
    carried        TEXT CHECK (json_valid(carried)),
    -- From here on the columns belong to people; no delivery ever writes them.
    triage         TEXT NOT NULL DEFAULT 'new'
                   CHECK (triage IN ('new', 'acknowledged', 'in_progress', 'closed')),
    assignee       TEXT,
    verdict        TEXT CHECK (verdict IN ('true_positive', 'false_positive', 'benign', 'duplicate')),
    note           TEXT,
    triage_version INTEGER NOT NULL DEFAULT 0,
    triaged_at     TEXT CHECK (length(triaged_at) = 27)
) STRICT;

-- "What is on fire, the worst first."
CREATE INDEX alerts_by_state ON alerts (state, severity DESC, revised_at DESC);
-- "Was this already seen for this key?"
CREATE INDEX alerts_by_key ON alerts (rule_id, key_hash, window_start);
CREATE INDEX alerts_by_raised ON alerts (raised_at);
CREATE INDEX alerts_by_triage ON alerts (triage, severity DESC);
-- The order of every listing, which is read page by page: the id makes it total.
CREATE INDEX alerts_by_revised ON alerts (revised_at DESC, id DESC);

CREATE TABLE alert_revisions (
    alert_id    TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    revision    INTEGER NOT NULL CHECK (revision >= 1),
    at          TEXT NOT NULL CHECK (length(at) = 27),
    change      TEXT NOT NULL,
    state       TEXT NOT NULL,
    severity    INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 5),
    fields      TEXT NOT NULL CHECK (json_valid(fields)),
    reason      TEXT,
    event_count INTEGER NOT NULL CHECK (event_count >= 0),
    incarnation TEXT NOT NULL,
    epoch       INTEGER,
    PRIMARY KEY (alert_id, revision)
) STRICT, WITHOUT ROWID;

-- Grows with the alert and never shrinks: whoever was named by a revision can be searched for.
CREATE TABLE alert_entities (
    alert_id TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    type     TEXT NOT NULL,
    value    TEXT NOT NULL,
    role     TEXT NOT NULL,
    PRIMARY KEY (alert_id, type, value, role)
) STRICT, WITHOUT ROWID;

CREATE INDEX alert_entities_by_value ON alert_entities (type, value);

-- Written in the transaction of the rows that it counts.
CREATE TABLE sink_progress (
    sink_id         TEXT NOT NULL,
    instance_id     TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    pipeline        TEXT NOT NULL,
    incarnation     TEXT NOT NULL,
    -- Null as long as sinks are not told the epochs of what they deliver.
    confirmed_epoch INTEGER,
    rows_total      INTEGER NOT NULL CHECK (rows_total >= 0),
    updated_at      TEXT NOT NULL CHECK (length(updated_at) = 27),
    PRIMARY KEY (sink_id, instance_id)
) STRICT, WITHOUT ROWID;
