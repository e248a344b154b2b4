-- Version 8. What the user has deleted: it is not shown again, whoever sends it again and from however old a copy.
CREATE TABLE deleted (
    contact_id TEXT NOT NULL,
    outbox_id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- NULL of what came before links were kept: that is known by when it was sent.
    link BLOB,
    sent_ms INTEGER NOT NULL,
    deleted_ms INTEGER NOT NULL,
    PRIMARY KEY (contact_id, outbox_id, lane, seq)
) STRICT, WITHOUT ROWID;
-- Which files are still in the inbox, and which messages are older than so much, without a look at each.
CREATE INDEX inbox_file ON inbox (contact_id, file_id) WHERE file_id IS NOT NULL;
CREATE INDEX inbox_received ON inbox (received_ms, contact_id);
