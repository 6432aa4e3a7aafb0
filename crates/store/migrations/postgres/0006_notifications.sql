-- What gateways have told unasked. It is wiped once it is taken up; the key stays to know repetitions by.
CREATE TABLE notification (
    number      BIGINT NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    gateway     TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    received_on BIGINT NOT NULL,
    told        TEXT,
    UNIQUE (gateway, key)
);

CREATE INDEX notification_waiting ON notification (number) WHERE told IS NOT NULL;
CREATE INDEX notification_received ON notification (received_on) WHERE told IS NULL;
