-- How sessions are listed: newest first, of an account, of an agent, of a call.
CREATE INDEX session_listed ON session (account, created_on, guid);
CREATE INDEX session_of_agent ON session (account, agent, created_on, guid);
CREATE INDEX session_of_call ON session (call, created_on, guid) WHERE call IS NOT NULL;

-- The secret before, while a client's secret is changed; the public half of its Ed25519 key.
ALTER TABLE api_client ADD COLUMN old_secret_hash BLOB CHECK (length(old_secret_hash) = 32);
ALTER TABLE api_client ADD COLUMN public_key BLOB CHECK (length(public_key) = 32);

-- Keys that sign access tokens, by number; derived from the master key, so nothing secret is here.
CREATE TABLE signing_key (
    number      INTEGER PRIMARY KEY CHECK (number > 0),
    active_from INTEGER NOT NULL
) STRICT;

-- Revoked tokens and used assertions, as keyed hashes.
CREATE TABLE spent (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    expires_on INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_expires ON spent (expires_on);
