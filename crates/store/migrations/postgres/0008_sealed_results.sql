-- What is held is sealed under data keys from now on; the first nine bytes name the key. What was stored before is JSON
-- and goes with its retention, at most twelve hours later; until then it is not found by its reference.
CREATE INDEX held_key ON held (substr(data, 1, 9));

-- A keyed hash of the reference in its paymentData, under the same key; NULL once wiped.
ALTER TABLE session ADD COLUMN reference_tag BYTEA;
