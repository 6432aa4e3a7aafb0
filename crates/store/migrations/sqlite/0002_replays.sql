-- The first answers to requests with an Idempotency-Key. Keys and requests are keyed hashes, answers are
-- encrypted before they come here.
CREATE TABLE replay (
    id          INTEGER PRIMARY KEY,
    account     TEXT    NOT NULL,
    client      TEXT    NOT NULL,
    key_hash    BLOB    NOT NULL CHECK (length(key_hash) = 32),
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    -- The guid that was promised to its session. No reference: there may never be such a session.
    session     BLOB    NOT NULL CHECK (length(session) = 16),
    -- The owner that took the key.
    epoch       INTEGER NOT NULL,
    begun_on    INTEGER NOT NULL,
    -- NULL while in flight.
    status      INTEGER,
    sealed_body BLOB    CHECK ((sealed_body IS NULL) = (status IS NULL)),
    UNIQUE (account, client, key_hash)
) STRICT;

CREATE INDEX replay_begun ON replay (begun_on);
