-- Version 8. What the user has deleted: it is not shown again, whoever sends it again and from however old a copy.
CREATE TABLE deleted (
    contact_id TEXT NOT NULL,
    outbox_id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- NULL of what came before links were kept: that is known by when it was sent.
    link BLOB,
    sent_ms INTEGER NOT NULL,
    -- Of a file: its transfer stays without its key, and is forgotten with this row.
    file_id BLOB,
    deleted_ms INTEGER NOT NULL,
    PRIMARY KEY (contact_id, outbox_id, lane, seq)
) STRICT, WITHOUT ROWID;
-- Which files are still in the inbox, and which messages are older than so much, without a look at each.
CREATE INDEX inbox_file ON inbox (contact_id, file_id) WHERE file_id IS NOT NULL;
CREATE INDEX inbox_received ON inbox (received_ms, contact_id);

-- A file that was deleted weighs no more, though its transfer is remembered: else its places were used up for ever.
DROP TRIGGER offer_weighs_no_more;
CREATE TRIGGER offer_weighs_no_more AFTER DELETE ON transfers
WHEN old.incoming = 1 AND length(old.key) > 0 BEGIN
    UPDATE usage SET bytes = bytes - 256, rows = rows - 1 WHERE contact_id = old.contact_id;
END;
CREATE TRIGGER deleted_file_weighs_no_more AFTER UPDATE OF key ON transfers
WHEN new.incoming = 1 AND length(new.key) = 0 AND length(old.key) > 0 BEGIN
    UPDATE usage SET bytes = bytes - 256, rows = rows - 1 WHERE contact_id = new.contact_id;
END;
