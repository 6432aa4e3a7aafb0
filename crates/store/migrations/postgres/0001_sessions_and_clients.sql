-- Times are microseconds since the Unix epoch, money is minor units and an ISO 4217 code, JSON is text as we
-- wrote it. No serial columns and no extensions: any database that speaks PostgreSQL can hold this.

-- Who may write. Each owner that opens the store takes the next epoch; a write under an older one is
-- refused in its own statement.
CREATE TABLE owner (
    id    BIGINT NOT NULL PRIMARY KEY CONSTRAINT one_owner CHECK (id = 1),
    epoch BIGINT NOT NULL
);
INSERT INTO owner (id, epoch) VALUES (1, 0);

CREATE TABLE session (
    guid          UUID    NOT NULL PRIMARY KEY,
    provider      UUID    NOT NULL UNIQUE,
    account       TEXT    NOT NULL,
    configuration BIGINT  NOT NULL,
    agent         TEXT    NOT NULL,
    call          UUID,
    amount_minor  BIGINT  NOT NULL CHECK (amount_minor > 0),
    currency      TEXT    NOT NULL CHECK (length(currency) = 3),
    state         TEXT    NOT NULL CHECK (state IN ('created', 'in_progress', 'processing', 'ended')),
    -- The attempt that is at the gateway.
    attempt       BIGINT  CHECK ((attempt IS NOT NULL) = (state = 'processing')),
    ended_on      BIGINT  CHECK ((ended_on IS NOT NULL) = (state = 'ended')),
    ending        TEXT    CHECK ((ending IS NOT NULL) = (state = 'ended')),
    created_on    BIGINT  NOT NULL,
    updated_on    BIGINT  NOT NULL,
    version       BIGINT  NOT NULL CHECK (version > 0),
    events        BIGINT  NOT NULL CHECK (events >= 0),
    -- Whether there are rows of it in held.
    holds         BOOLEAN NOT NULL
);

-- One open session per call; also how the unfinished ones are found.
CREATE UNIQUE INDEX session_open_call ON session (call) WHERE ended_on IS NULL;
-- The few that still hold data after their end.
CREATE INDEX session_held ON session (ended_on) WHERE ended_on IS NOT NULL AND holds;
-- The many that only wait for their end of retention.
CREATE INDEX session_wiped ON session (ended_on) WHERE ended_on IS NOT NULL AND NOT holds;

CREATE TABLE attempt (
    session      UUID   NOT NULL REFERENCES session (guid),
    no           BIGINT NOT NULL CHECK (no > 0),
    id           UUID   NOT NULL UNIQUE,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    currency     TEXT   NOT NULL CHECK (length(currency) = 3),
    gateway      TEXT   NOT NULL,
    intended_on  BIGINT NOT NULL,
    updated_on   BIGINT NOT NULL,
    -- What is known of it, as JSON, without the gateway's result and the masked card.
    state        TEXT   NOT NULL,
    PRIMARY KEY (session, no)
);

CREATE TABLE event (
    session UUID   NOT NULL REFERENCES session (guid),
    seq     BIGINT NOT NULL CHECK (seq > 0),
    at      BIGINT NOT NULL,
    kind    TEXT   NOT NULL,
    PRIMARY KEY (session, seq)
);

-- Everything that must be gone after its retention, as JSON: paymentData as attempt 0, what the gateway
-- answered under its attempt's number. A table of its own: no update of a session copies it, and a vacuum
-- after the purge has only these few rows to look at.
CREATE TABLE held (
    session UUID   NOT NULL REFERENCES session (guid),
    attempt BIGINT NOT NULL CHECK (attempt >= 0),
    data    BYTEA  NOT NULL,
    PRIMARY KEY (session, attempt)
);

CREATE TABLE api_client (
    id          TEXT   NOT NULL PRIMARY KEY,
    account     TEXT   NOT NULL,
    agent       TEXT,
    secret_hash BYTEA  NOT NULL CHECK (length(secret_hash) = 32),
    label       TEXT   NOT NULL,
    created_on  BIGINT NOT NULL,
    revoked_on  BIGINT
);
