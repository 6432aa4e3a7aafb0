-- Whose a stored card is: which account got its token at which gateway. The token is a keyed hash, whose key is not here.
CREATE TABLE kept_card (
    account                TEXT    NOT NULL,
    gateway                TEXT    NOT NULL,
    token                  BLOB    NOT NULL,
    network_transaction_id TEXT,
    got_on                 INTEGER NOT NULL,
    PRIMARY KEY (account, token, gateway)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_card_got ON kept_card (got_on);
