-- What is done with an attempt after its answer: captures, voids, refunds, reversals.
CREATE TABLE operation (
    session      UUID    NOT NULL REFERENCES session (guid),
    attempt      BIGINT  NOT NULL CHECK (attempt > 0),
    no           BIGINT  NOT NULL CHECK (no > 0),
    id           UUID    NOT NULL,
    kind         TEXT    NOT NULL,
    amount_minor BIGINT  NOT NULL CHECK (amount_minor > 0),
    currency     TEXT    NOT NULL CHECK (length(currency) = 3),
    intended_on  BIGINT  NOT NULL,
    updated_on   BIGINT  NOT NULL,
    state        TEXT    NOT NULL,
    -- Whether somebody must still see to it: it may have been done, or it is a reversal that
    -- was refused or not sent.
    awaited      BOOLEAN NOT NULL,
    PRIMARY KEY (session, attempt, no)
);

CREATE INDEX operation_awaited ON operation (session) WHERE awaited;
-- Whether the operation that was promised to an Idempotency-Key is there.
CREATE INDEX operation_id ON operation (id);

ALTER TABLE attempt ADD COLUMN purpose TEXT NOT NULL DEFAULT 'sale'
    CHECK (purpose IN ('sale', 'authorise', 'tokenise'));

-- Those that a gateway may still turn out to have charged late.
CREATE INDEX attempt_not_charged ON attempt (updated_on) WHERE substr(state, 1, 22) = '{"state":"not_charged"';

-- What an operator has found out at the gateway about an attempt that is unknown. Written by the command line
-- beside the owner, taken up by the owner.
CREATE TABLE settlement (
    attempt    UUID    NOT NULL PRIMARY KEY,
    charged    BOOLEAN NOT NULL,
    reference  TEXT    NOT NULL,
    settled_on BIGINT  NOT NULL
);
