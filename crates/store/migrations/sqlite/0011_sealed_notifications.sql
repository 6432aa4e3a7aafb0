-- Of what waits, the gateway's result and the stored card are sealed from now on, as with results. What waited before is read
-- as it is, and wiped when it is taken up.
ALTER TABLE notification ADD COLUMN sealed BLOB;
