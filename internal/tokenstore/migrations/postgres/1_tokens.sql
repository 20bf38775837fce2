-- Times are Unix seconds; 0 means never. Lists are JSON arrays.
-- One row. Every change counts it up first and so holds its lock until it is
-- final: revisions become visible in their order, and none is ever skipped.
CREATE TABLE revision (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    value BIGINT NOT NULL
);
INSERT INTO revision VALUES (1, 0);

CREATE TABLE tokens (
    id             TEXT COLLATE "C" PRIMARY KEY,
    revision       BIGINT NOT NULL,
    owner          TEXT NOT NULL,
    name           TEXT NOT NULL,
    description    TEXT NOT NULL,
    groups         TEXT NOT NULL,
    read_only      BOOLEAN NOT NULL,
    hosts          TEXT NOT NULL,
    paths          TEXT NOT NULL,
    sources        TEXT NOT NULL,
    created_by     TEXT NOT NULL,
    created        BIGINT NOT NULL,
    expires        BIGINT NOT NULL,
    rotated        BIGINT NOT NULL,
    revoked        BIGINT NOT NULL,
    revoked_by     TEXT NOT NULL,
    hash           BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    previous       BYTEA UNIQUE CHECK (length(previous) = 32),
    previous_until BIGINT NOT NULL
);
CREATE INDEX tokens_by_revision ON tokens (revision);
CREATE INDEX tokens_by_owner ON tokens (owner);

CREATE TABLE uses (
    id     TEXT COLLATE "C" PRIMARY KEY,
    at     BIGINT NOT NULL,
    source TEXT NOT NULL
);

-- One row for each token that a change touched, written with the change.
CREATE TABLE events (
    token    TEXT NOT NULL,
    revision BIGINT NOT NULL,
    change   TEXT NOT NULL,
    at       BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    PRIMARY KEY (token, revision)
);
CREATE INDEX events_by_revision ON events (revision);
