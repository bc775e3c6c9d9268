-- What an instance must not forget when it stops: who it is, its rules, and the alerts they raised.
--
-- The same tables as for SQLite, by the same names, in PostgreSQL's own types: times are
-- `timestamptz` (microseconds), JSON is `jsonb`, identities of runs are `uuid`. Texts that listings
-- are ordered by have the collation "C", so that the order is that of bytes, whatever the locale of
-- the database.

-- One row: a database serves one instance at a time.
CREATE TABLE instances (
    id           uuid NOT NULL PRIMARY KEY,
    -- Renewed at every start. Every transaction names it, so a process that was taken for dead and
    -- replaced cannot write any more.
    incarnation  uuid NOT NULL,
    version      text NOT NULL,
    started_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL
);

CREATE TABLE rules (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    pipeline     text NOT NULL,
    version      text NOT NULL,
    title        text NOT NULL,
    severity     bigint NOT NULL CHECK (severity BETWEEN 1 AND 5),
    mode         text NOT NULL CHECK (mode IN ('active', 'shadow')),
    tags         jsonb NOT NULL,
    loaded_at    timestamptz NOT NULL,
    -- How many alerts the rule raised since it is known, whatever became of them.
    alerts_total bigint NOT NULL DEFAULT 0 CHECK (alerts_total >= 0),
    -- A rule that left the documents keeps its row, or its alerts would have no title any more.
    removed_at   timestamptz
);

-- The last revision of every alert. No foreign key on the rule: an alert is never refused because
-- its rule was not announced.
CREATE TABLE alerts (
    id             text COLLATE "C" NOT NULL PRIMARY KEY,
    rule_id        text NOT NULL,
    rule_version   text NOT NULL,
    runbook_url    text,
    pipeline       text NOT NULL,
    revision       bigint NOT NULL CHECK (revision >= 1),
    change         text NOT NULL
                   CHECK (change IN ('raised', 'amended', 'escalated', 'resolved', 'withdrawn')),
    state          text NOT NULL CHECK (state IN ('firing', 'resolved', 'withdrawn')),
    mode           text NOT NULL CHECK (mode IN ('active', 'shadow')),
    origin         text NOT NULL
                   CHECK (origin IN ('live', 'retroactive', 'backfill', 'replay')),
    severity       bigint NOT NULL CHECK (severity BETWEEN 1 AND 5),
    title          text NOT NULL,
    description    text,
    tags           jsonb NOT NULL,
    key            jsonb NOT NULL,
    key_hash       bytea NOT NULL CHECK (octet_length(key_hash) = 16),
    fields         jsonb NOT NULL,
    -- The whole description of the window, beside its two ends that queries need.
    "window"       jsonb,
    window_start   timestamptz,
    window_end     timestamptz,
    first_event_at timestamptz NOT NULL,
    last_event_at  timestamptz NOT NULL,
    event_count    bigint NOT NULL CHECK (event_count >= 0),
    raised_at      timestamptz NOT NULL,
    revised_at     timestamptz NOT NULL,
    resolved_at    timestamptz,
    delay_ms       bigint,
    completeness   jsonb NOT NULL,
    entities       jsonb NOT NULL,
    evidence       jsonb NOT NULL,
    indicator      jsonb,
    supersedes     jsonb NOT NULL,
    superseded_by  text,
    reason         text,
    link           text,
    incarnation    uuid NOT NULL,
    epoch          bigint,
    -- What earlier incarnations had counted when this one first wrote the row; null when there was none.
    -- It goes when the state of rules outlives the process.
    carried        jsonb,
    -- From here on the columns belong to people; no delivery ever writes them.
    triage         text NOT NULL DEFAULT 'new'
                   CHECK (triage IN ('new', 'acknowledged', 'in_progress', 'closed')),
    assignee       text,
    verdict        text CHECK (verdict IN ('true_positive', 'false_positive', 'benign', 'duplicate')),
    note           text,
    triage_version bigint NOT NULL DEFAULT 0,
    triaged_at     timestamptz
);

-- "What is on fire, the worst first."
CREATE INDEX alerts_by_state ON alerts (state, severity DESC, revised_at DESC);
-- "Was this already seen for this key?"
CREATE INDEX alerts_by_key ON alerts (rule_id, key_hash, window_start);
CREATE INDEX alerts_by_raised ON alerts (raised_at);
CREATE INDEX alerts_by_triage ON alerts (triage, severity DESC);
-- The order of every listing, which is read page by page: the id makes it total.
CREATE INDEX alerts_by_revised ON alerts (revised_at DESC, id DESC);
-- "Every alert whose key holds this", by containment (`@>`).
CREATE INDEX alerts_in_key ON alerts USING gin (key jsonb_path_ops);
CREATE INDEX alerts_in_entities ON alerts USING gin (entities jsonb_path_ops);

CREATE TABLE alert_revisions (
    alert_id    text COLLATE "C" NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    revision    bigint NOT NULL CHECK (revision >= 1),
    at          timestamptz NOT NULL,
    change      text NOT NULL,
    state       text NOT NULL,
    severity    bigint NOT NULL CHECK (severity BETWEEN 1 AND 5),
    fields      jsonb NOT NULL,
    reason      text,
    event_count bigint NOT NULL CHECK (event_count >= 0),
    incarnation uuid NOT NULL,
    epoch       bigint,
    PRIMARY KEY (alert_id, revision)
);

-- Grows with the alert and never shrinks: whoever was named by a revision can be searched for. The
-- writer cuts what is long, because an entry of a B-tree holds at most 2,704 bytes.
CREATE TABLE alert_entities (
    alert_id text COLLATE "C" NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    type     text NOT NULL,
    value    text NOT NULL,
    role     text NOT NULL,
    PRIMARY KEY (alert_id, type, value, role)
);

CREATE INDEX alert_entities_by_value ON alert_entities (type, value);

-- Written in the transaction of the rows that it counts.
CREATE TABLE sink_progress (
    sink_id         text NOT NULL,
    instance_id     uuid NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    pipeline        text NOT NULL,
    incarnation     uuid NOT NULL,
    -- Null as long as sinks are not told the epochs of what they deliver.
    confirmed_epoch bigint,
    rows_total      bigint NOT NULL CHECK (rows_total >= 0),
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (sink_id, instance_id)
);
