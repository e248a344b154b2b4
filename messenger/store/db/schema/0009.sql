-- Version 9. What its sender says of an incoming file: its rights (POSIX, of 0777), and when it was last changed.
ALTER TABLE transfers ADD COLUMN mode INTEGER CHECK (mode BETWEEN 0 AND 511);
ALTER TABLE transfers ADD COLUMN mtime_s INTEGER;
-- What was read, the oldest first: that alone is deleted by itself.
CREATE INDEX inbox_read ON inbox (received_ms, row_id, contact_id) WHERE unread = 0;

-- Which received files are to lie plain in a folder of the user's, and where they do.
CREATE TABLE plain (
    inbox_id TEXT PRIMARY KEY,
    path TEXT,
    digest BLOB CHECK (digest IS NULL OR length(digest) = 32),
    done INTEGER NOT NULL DEFAULT 0,
    CHECK (done = 0 OR (path IS NOT NULL AND digest IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX plain_due ON plain (inbox_id) WHERE done = 0;
CREATE TRIGGER inbox_forgets_plain AFTER DELETE ON inbox WHEN old.file_id IS NOT NULL BEGIN
    DELETE FROM plain WHERE inbox_id = old.id;
END;
