-- Version 14. Tags, readers of the inbox, and texts that are sent once.
-- By a tag a person means several contacts at once.
CREATE TABLE tags (
    contact_id TEXT NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (contact_id, tag)
) STRICT, WITHOUT ROWID;

-- Who reads the inbox as a stream, and the number of the last row that each has acknowledged.
CREATE TABLE readers (
    name TEXT PRIMARY KEY,
    row_id INTEGER NOT NULL CHECK (row_id >= 0),
    acknowledged_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The key under which a sender has asked for a message: under the same one nothing is queued for the contact again.
ALTER TABLE outbox ADD COLUMN once TEXT;
CREATE UNIQUE INDEX outbox_once ON outbox (contact_id, once) WHERE once IS NOT NULL;
