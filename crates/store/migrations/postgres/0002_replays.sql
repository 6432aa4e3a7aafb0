-- The first answers to requests with an Idempotency-Key. Keys and requests are keyed hashes, answers are
-- encrypted before they come here.
CREATE TABLE replay (
    account     TEXT   NOT NULL,
    client      TEXT   NOT NULL,
    key_hash    BYTEA  NOT NULL CHECK (length(key_hash) = 32),
    fingerprint BYTEA  NOT NULL CHECK (length(fingerprint) = 32),
    -- The guid that was promised to its session. No reference: there may never be such a session.
    session     UUID   NOT NULL,
    -- The owner that took the key.
    epoch       BIGINT NOT NULL,
    begun_on    BIGINT NOT NULL,
    -- NULL while in flight.
    status      BIGINT,
    sealed_body BYTEA  CHECK ((sealed_body IS NULL) = (status IS NULL)),
    PRIMARY KEY (account, client, key_hash)
);

CREATE INDEX replay_begun ON replay (begun_on);
