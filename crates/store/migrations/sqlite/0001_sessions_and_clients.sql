-- Times are microseconds since the Unix epoch, money is minor units and an ISO 4217 code, guids are
-- their 16 bytes. JSON only where the shape varies.

-- Who may write. Each owner that opens the store takes the next epoch; a write under an older one is
-- refused in its own transaction.
CREATE TABLE owner (
    id    INTEGER PRIMARY KEY CONSTRAINT one_owner CHECK (id = 1),
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO owner (id, epoch) VALUES (1, 0);

-- Everything that must be gone after its retention: paymentData and gateway results, as JSON.
-- Rows are only ever appended, wiped in place at the same length, and removed far from live rows. So
-- SQLite never moves a live row to another page, and secure_delete leaves no stale copy behind.
CREATE TABLE held (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE session (
    id            INTEGER PRIMARY KEY,
    guid          BLOB    NOT NULL UNIQUE CHECK (length(guid) = 16),
    provider      BLOB    NOT NULL UNIQUE CHECK (length(provider) = 16),
    account       TEXT    NOT NULL,
    configuration INTEGER NOT NULL,
    agent         TEXT    NOT NULL,
    call          BLOB    CHECK (length(call) = 16),
    amount_minor  INTEGER NOT NULL CHECK (amount_minor > 0),
    currency      TEXT    NOT NULL CHECK (length(currency) = 3),
    state         TEXT    NOT NULL CHECK (state IN ('created', 'in_progress', 'processing', 'ended')),
    -- The attempt that is at the gateway.
    attempt       INTEGER CHECK ((attempt IS NOT NULL) = (state = 'processing')),
    ended_on      INTEGER CHECK ((ended_on IS NOT NULL) = (state = 'ended')),
    ending        TEXT    CHECK ((ending IS NOT NULL) = (state = 'ended')),
    created_on    INTEGER NOT NULL,
    updated_on    INTEGER NOT NULL,
    version       INTEGER NOT NULL CHECK (version > 0),
    events        INTEGER NOT NULL CHECK (events >= 0),
    -- Its paymentData; NULL once wiped.
    held          INTEGER
) STRICT;

-- One open session per call; also how the unfinished ones are found.
CREATE UNIQUE INDEX session_open_call ON session (call) WHERE ended_on IS NULL;
-- The few that still hold data.
CREATE INDEX session_held ON session (held) WHERE held IS NOT NULL;
-- The many that only wait for their end of retention.
CREATE INDEX session_wiped ON session (ended_on) WHERE held IS NULL;

CREATE TABLE attempt (
    session      INTEGER NOT NULL REFERENCES session (id),
    no           INTEGER NOT NULL CHECK (no > 0),
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency     TEXT    NOT NULL CHECK (length(currency) = 3),
    gateway      TEXT    NOT NULL,
    intended_on  INTEGER NOT NULL,
    updated_on   INTEGER NOT NULL,
    -- What is known of it, as JSON, without the gateway's result and the masked card.
    state        TEXT    NOT NULL CHECK (json_valid(state)),
    -- The result and the masked card; NULL without an answer, and once wiped.
    held         INTEGER,
    PRIMARY KEY (session, no)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    session INTEGER NOT NULL REFERENCES session (id),
    seq     INTEGER NOT NULL CHECK (seq > 0),
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL CHECK (json_valid(kind)),
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_client (
    id          TEXT    NOT NULL PRIMARY KEY,
    account     TEXT    NOT NULL,
    agent       TEXT,
    secret_hash BLOB    NOT NULL CHECK (length(secret_hash) = 32),
    label       TEXT    NOT NULL,
    created_on  INTEGER NOT NULL,
    revoked_on  INTEGER
) STRICT, WITHOUT ROWID;
