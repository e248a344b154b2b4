-- Version 6. What each contact takes up here; how its lanes stand after a home was put back.
ALTER TABLE contacts ADD COLUMN quota_bytes INTEGER CHECK (quota_bytes >= 0);

-- Kept by triggers, so that no way to add or delete a row can forget it. 256 bytes stand for a row's own weight.
CREATE TABLE usage (
    contact_id TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO usage SELECT contact_id, sum(bytes), sum(rows) FROM (
    SELECT contact_id, sum(size + 256) AS bytes, count(*) AS rows FROM inbox GROUP BY contact_id
    UNION ALL
    SELECT contact_id, count(*) * 256, count(*) FROM transfers WHERE incoming = 1 GROUP BY contact_id
) GROUP BY contact_id;
CREATE TRIGGER inbox_weighs AFTER INSERT ON inbox BEGIN
    INSERT INTO usage VALUES (new.contact_id, new.size + 256, 1) ON CONFLICT (contact_id)
        DO UPDATE SET bytes = bytes + excluded.bytes, rows = rows + 1;
END;
CREATE TRIGGER inbox_weighs_no_more AFTER DELETE ON inbox BEGIN
    UPDATE usage SET bytes = bytes - old.size - 256, rows = rows - 1 WHERE contact_id = old.contact_id;
END;
CREATE TRIGGER offer_weighs AFTER INSERT ON transfers WHEN new.incoming = 1 BEGIN
    INSERT INTO usage VALUES (new.contact_id, 256, 1) ON CONFLICT (contact_id)
        DO UPDATE SET bytes = bytes + excluded.bytes, rows = rows + 1;
END;
CREATE TRIGGER offer_weighs_no_more AFTER DELETE ON transfers WHEN old.incoming = 1 BEGIN
    UPDATE usage SET bytes = bytes - 256, rows = rows - 1 WHERE contact_id = old.contact_id;
END;

-- Our outbox id towards a contact, where it is no more the identity's: drawn anew once numbers were in doubt.
CREATE TABLE outbox_ids (
    contact_id TEXT PRIMARY KEY,
    outbox_id BLOB NOT NULL CHECK (length(outbox_id) = 16),
    renewed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Whose home was found put back to an older state, and when last.
CREATE TABLE put_back (
    contact_id TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('ours', 'theirs')),
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (contact_id, side)
) STRICT, WITHOUT ROWID;
-- What a contact has to be told of the past, until it has answered: a session may end before.
CREATE TABLE unheard (
    contact_id TEXT NOT NULL,
    outbox_id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    what TEXT NOT NULL CHECK (what IN ('again', 'renewed')),
    watermark INTEGER NOT NULL,
    PRIMARY KEY (contact_id, outbox_id, lane, what)
) STRICT, WITHOUT ROWID;

-- What came, to tell a duplicate from a stranger under its number.
ALTER TABLE inbox ADD COLUMN link BLOB;
-- The kind of a message that this version does not know; NULL of all others.
ALTER TABLE inbox ADD COLUMN foreign_kind INTEGER;
CREATE INDEX inbox_seq ON inbox (contact_id, seq);
-- In which order the lanes were last used: the sixteen outbox ids used last are remembered.
ALTER TABLE marks ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
-- The links of offers and tombstones, of which the inbox has no row, as far back as they may come again.
CREATE TABLE seen (
    contact_id TEXT NOT NULL,
    outbox_id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    link BLOB NOT NULL,
    PRIMARY KEY (contact_id, outbox_id, lane, seq)
) STRICT, WITHOUT ROWID;
