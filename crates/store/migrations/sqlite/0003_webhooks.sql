-- Webhook deliveries: the outbox. A row is a reference: what is sent is the session as it stands when it is sent.
ALTER TABLE session ADD COLUMN webhook INTEGER NOT NULL DEFAULT 0;
-- Until when its result is given out; NULL before the end. What ended before this migration has no webhook: 15 minutes.
ALTER TABLE session ADD COLUMN kept_until INTEGER;
UPDATE session SET kept_until = ended_on + 900000000 WHERE ended_on IS NOT NULL;
-- The next to be wiped.
CREATE INDEX session_kept ON session (kept_until) WHERE held IS NOT NULL AND kept_until IS NOT NULL;

CREATE TABLE delivery (
    session       INTEGER NOT NULL REFERENCES session (id),
    -- The event that caused it.
    event         INTEGER NOT NULL CHECK (event > 0),
    id            BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    -- Whom it goes to.
    account       TEXT    NOT NULL,
    configuration INTEGER NOT NULL,
    created_on    INTEGER NOT NULL,
    -- Where its tries are counted from.
    since         INTEGER NOT NULL,
    tries         INTEGER NOT NULL DEFAULT 0,
    -- What became of the last try, as JSON.
    last          TEXT    CHECK (json_valid(last)),
    state         TEXT    NOT NULL CHECK (state IN ('due', 'delivered', 'dead')),
    -- When it is due, or since when it is what it is.
    at            INTEGER NOT NULL,
    PRIMARY KEY (session, event)
) STRICT, WITHOUT ROWID;

-- What waits, receiver by receiver; also how old it is.
CREATE INDEX delivery_due ON delivery (account, configuration, at, created_on) WHERE state = 'due';
-- Dead letters, as they are listed.
CREATE INDEX delivery_dead ON delivery (account, created_on, id) WHERE state = 'dead';
