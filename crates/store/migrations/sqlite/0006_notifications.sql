-- What gateways have told unasked. It is wiped once it is taken up; the key stays to know repetitions by.
CREATE TABLE notification (
    number      INTEGER PRIMARY KEY,
    gateway     TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    received_on INTEGER NOT NULL,
    told        TEXT    CHECK (json_valid(told)),
    UNIQUE (gateway, key)
) STRICT;

CREATE INDEX notification_waiting ON notification (number) WHERE told IS NOT NULL;
CREATE INDEX notification_received ON notification (received_on) WHERE told IS NULL;
