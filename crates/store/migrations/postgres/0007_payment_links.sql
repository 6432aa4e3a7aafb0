-- How the payer gives the card: by keypad, or by the session's newest payment link. Of a link only its number is
-- here: what opens it is derived from the master key.
ALTER TABLE session ADD COLUMN links BIGINT NOT NULL DEFAULT 0 CHECK (links >= 0);
-- The link that is the way to pay now; NULL with the keypad.
ALTER TABLE session ADD COLUMN link BIGINT CHECK (link > 0 AND link <= links);
ALTER TABLE session ADD COLUMN link_state TEXT
    CHECK ((link_state IS NOT NULL) = (link IS NOT NULL) AND link_state IN ('issued', 'opened', 'revoked'));
ALTER TABLE session ADD COLUMN link_expires_on BIGINT CHECK ((link_expires_on IS NOT NULL) = (link IS NOT NULL));
