-- Version 9. What its sender says of an incoming file: its rights (POSIX, of 0777), and when it was last changed.
ALTER TABLE transfers ADD COLUMN mode INTEGER CHECK (mode BETWEEN 0 AND 511);
ALTER TABLE transfers ADD COLUMN mtime_s INTEGER;
-- What was read, the oldest first: that alone is deleted by itself.
CREATE INDEX inbox_read ON inbox (received_ms, row_id, contact_id) WHERE unread = 0;
