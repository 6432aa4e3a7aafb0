-- What a client's certificate is known by: name:… or sha256:…
ALTER TABLE api_client ADD COLUMN certificate TEXT;
-- Where browsers are sent back to, as a JSON list; only public clients have any.
ALTER TABLE api_client ADD COLUMN redirect_uris TEXT;

-- How agents sign in.
CREATE TABLE agent_login (
    account       TEXT    NOT NULL,
    agent         TEXT    NOT NULL,
    -- Argon2id, as a PHC string.
    password_hash TEXT    NOT NULL,
    -- What was signed in before is over.
    since         INTEGER NOT NULL,
    revoked_on    INTEGER,
    PRIMARY KEY (account, agent)
) STRICT, WITHOUT ROWID;
