-- What is done with an attempt after its answer: captures, voids, refunds, reversals.
CREATE TABLE operation (
    session      INTEGER NOT NULL REFERENCES session (id),
    attempt      INTEGER NOT NULL CHECK (attempt > 0),
    no           INTEGER NOT NULL CHECK (no > 0),
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    kind         TEXT    NOT NULL CHECK (json_valid(kind)),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency     TEXT    NOT NULL CHECK (length(currency) = 3),
    intended_on  INTEGER NOT NULL,
    updated_on   INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (json_valid(state)),
    -- Whether somebody must still see to it: it may have been done, or it is a reversal that
    -- was refused or not sent.
    awaited      INTEGER NOT NULL CHECK (awaited IN (0, 1)),
    PRIMARY KEY (session, attempt, no)
) STRICT, WITHOUT ROWID;

CREATE INDEX operation_awaited ON operation (session) WHERE awaited = 1;
-- Whether the operation that was promised to an Idempotency-Key is there.
CREATE INDEX operation_id ON operation (id);

ALTER TABLE attempt ADD COLUMN purpose TEXT NOT NULL DEFAULT 'sale'
    CHECK (purpose IN ('sale', 'authorise', 'tokenise'));

-- Those that a gateway may still turn out to have charged late.
CREATE INDEX attempt_not_charged ON attempt (updated_on) WHERE substr(state, 1, 22) = '{"state":"not_charged"';

-- What an operator has found out at the gateway about an attempt that is unknown. Written by the command line
-- beside the owner, taken up by the owner.
CREATE TABLE settlement (
    attempt    BLOB    NOT NULL PRIMARY KEY CHECK (length(attempt) = 16),
    charged    INTEGER NOT NULL CHECK (charged IN (0, 1)),
    reference  TEXT    NOT NULL,
    settled_on INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
