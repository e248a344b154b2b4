-- Version 3. What lies in the spool, each content once, however many transfers need it.
CREATE TABLE contents (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    key BLOB NOT NULL,
    chunk_log2 INTEGER NOT NULL,
    size INTEGER NOT NULL,
    digest BLOB CHECK (digest IS NULL OR length(digest) = 32)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX contents_digest ON contents (digest, chunk_log2) WHERE digest IS NOT NULL;
CREATE INDEX contents_size ON contents (size);
-- What the digests are keyed with.
CREATE TABLE contents_key (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;

ALTER TABLE transfers ADD COLUMN content_id BLOB;
INSERT INTO contents (id, key, chunk_log2, size, digest)
    SELECT file_id, key, chunk_log2, finish_size, NULL FROM transfers
    WHERE incoming = 0 AND source IS NULL AND finish_size IS NOT NULL
        AND state IN ('offered', 'asking', 'active', 'paused');
UPDATE transfers SET content_id = file_id WHERE file_id IN (SELECT id FROM contents) AND incoming = 0;
CREATE INDEX transfers_content ON transfers (content_id)
    WHERE content_id IS NOT NULL AND state IN ('offered', 'asking', 'active', 'paused');

CREATE INDEX transfers_outgoing ON transfers (file_id)
    WHERE incoming = 0 AND state IN ('offered', 'asking', 'active', 'paused');

-- A content goes with the last open transfer that needs it, whoever ends that; its files follow.
CREATE TRIGGER transfers_ended AFTER UPDATE OF state ON transfers
WHEN new.content_id IS NOT NULL AND new.state IN ('done', 'failed', 'cancelled')
BEGIN
    DELETE FROM contents WHERE id = new.content_id AND NOT EXISTS (
        SELECT 1 FROM transfers WHERE content_id = new.content_id
            AND state IN ('offered', 'asking', 'active', 'paused'));
END;
CREATE TRIGGER transfers_removed AFTER DELETE ON transfers
WHEN old.content_id IS NOT NULL
BEGIN
    DELETE FROM contents WHERE id = old.content_id AND NOT EXISTS (
        SELECT 1 FROM transfers WHERE content_id = old.content_id
            AND state IN ('offered', 'asking', 'active', 'paused'));
END;
