-- Version 14. Who reads the inbox as a stream, and the number of the last row that each has acknowledged.
CREATE TABLE readers (
    name TEXT PRIMARY KEY,
    row_id INTEGER NOT NULL CHECK (row_id >= 0),
    acknowledged_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The key under which a sender has asked for a message: under the same one nothing is queued for the contact again.
ALTER TABLE outbox ADD COLUMN once TEXT;
CREATE UNIQUE INDEX outbox_once ON outbox (contact_id, once) WHERE once IS NOT NULL;
