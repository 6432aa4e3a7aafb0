-- How sessions are listed: newest first, of an account, of an agent, of a call.
CREATE INDEX session_listed ON session (account, created_on, guid);
CREATE INDEX session_of_agent ON session (account, agent, created_on, guid);
CREATE INDEX session_of_call ON session (call, created_on, guid) WHERE call IS NOT NULL;

-- The secret before, while a client's secret is changed; the public half of its Ed25519 key.
ALTER TABLE api_client ADD COLUMN old_secret_hash BYTEA CHECK (length(old_secret_hash) = 32);
ALTER TABLE api_client ADD COLUMN public_key BYTEA CHECK (length(public_key) = 32);

-- Keys that sign access tokens, by number; derived from the master key, so nothing secret is here.
CREATE TABLE signing_key (
    number      BIGINT NOT NULL PRIMARY KEY CHECK (number > 0),
    active_from BIGINT NOT NULL
);

-- Revoked tokens and used assertions, as keyed hashes.
CREATE TABLE spent (
    hash       BYTEA  NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    expires_on BIGINT NOT NULL
);

CREATE INDEX spent_expires ON spent (expires_on);
