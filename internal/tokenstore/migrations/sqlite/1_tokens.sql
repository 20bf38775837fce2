-- Times are Unix seconds; 0 means never. Lists are JSON arrays.
-- One row. Every change counts it up first and so holds its lock until it is
-- final: revisions become visible in their order, and none is ever skipped.
CREATE TABLE revision (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    value INTEGER NOT NULL
);
INSERT INTO revision VALUES (1, 0);

CREATE TABLE tokens (
    id             TEXT PRIMARY KEY,
    revision       INTEGER NOT NULL,
    owner          TEXT NOT NULL,
    name           TEXT NOT NULL,
    description    TEXT NOT NULL,
    groups         TEXT NOT NULL,
    read_only      INTEGER NOT NULL,
    hosts          TEXT NOT NULL,
    paths          TEXT NOT NULL,
    sources        TEXT NOT NULL,
    created_by     TEXT NOT NULL,
    created        INTEGER NOT NULL,
    expires        INTEGER NOT NULL,
    rotated        INTEGER NOT NULL,
    revoked        INTEGER NOT NULL,
    revoked_by     TEXT NOT NULL,
    hash           BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    previous       BLOB UNIQUE CHECK (length(previous) = 32),
    previous_until INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_by_revision ON tokens (revision);
CREATE INDEX tokens_by_owner ON tokens (owner);

CREATE TABLE uses (
    id     TEXT PRIMARY KEY,
    at     INTEGER NOT NULL,
    source TEXT NOT NULL
) STRICT;

-- One row for each token that a change touched, written with the change.
CREATE TABLE events (
    token    TEXT NOT NULL,
    revision INTEGER NOT NULL,
    change   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    PRIMARY KEY (token, revision)
) STRICT;
CREATE INDEX events_by_revision ON events (revision);
