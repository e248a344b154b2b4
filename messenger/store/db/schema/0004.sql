-- Version 4. What the peer of a transfer has paused, and whether it knows how the transfer ended; folders.
ALTER TABLE transfers ADD COLUMN peer_pause TEXT;
ALTER TABLE transfers ADD COLUMN told INTEGER NOT NULL DEFAULT 1;
-- Of a folder that travels as one file: how many files it holds. NULL for a plain file.
ALTER TABLE transfers ADD COLUMN files INTEGER;
ALTER TABLE inbox ADD COLUMN files INTEGER;
-- Of a stream whose end is not known: up to which size the user let it come. NULL is any.
ALTER TABLE transfers ADD COLUMN accepted_bytes INTEGER;
CREATE INDEX transfers_untold ON transfers (contact_id) WHERE told = 0;
