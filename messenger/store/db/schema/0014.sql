-- Version 14. Tags, readers of the inbox, texts that are sent once, and the index of the search.
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

-- The index of the search, which finds messages by any part of their text or file name. Messages are indexed
-- by the slice, 4096 rows with numbers in a row, once all of these are there; the newest are looked at themselves.
-- `slices` says which are indexed. `built` is 0 of one whose index is being made: it is made of what was read before,
-- and whatever changes the slice meanwhile deletes the row.
CREATE TABLE inbox_slices (
    slice INTEGER PRIMARY KEY,
    built INTEGER NOT NULL
) STRICT;
CREATE TABLE outbox_slices (
    slice INTEGER PRIMARY KEY,
    built INTEGER NOT NULL
) STRICT;
-- Which messages of a slice have one, two or three letters in a row (store/tables/grams.py says how).
CREATE TABLE inbox_grams (
    slice INTEGER NOT NULL,
    gram TEXT NOT NULL,
    rows BLOB NOT NULL,
    PRIMARY KEY (slice, gram)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox_grams (
    slice INTEGER NOT NULL,
    gram TEXT NOT NULL,
    rows BLOB NOT NULL,
    PRIMARY KEY (slice, gram)
) STRICT, WITHOUT ROWID;

-- The beginning of each text that came as a file, as far as it is searched. NULL until it was read from the file.
CREATE TABLE long_texts (
    row_id INTEGER PRIMARY KEY,
    head BLOB
) STRICT;
CREATE INDEX long_texts_unread ON long_texts (row_id) WHERE head IS NULL;
INSERT INTO long_texts (row_id) SELECT row_id FROM inbox INDEXED BY inbox_file
    WHERE file_id IS NOT NULL AND kind = 'text';
CREATE TRIGGER long_text_added AFTER INSERT ON inbox WHEN new.kind = 'text' AND new.file_id IS NOT NULL BEGIN
    INSERT INTO long_texts (row_id) VALUES (new.row_id);
END;
CREATE TRIGGER long_text_deleted AFTER DELETE ON inbox WHEN old.kind = 'text' AND old.file_id IS NOT NULL BEGIN
    DELETE FROM long_texts WHERE row_id = old.row_id;
END;

-- A slice in which anything changes is not indexed any more, in the same transaction: nothing of what is deleted is left
-- in the index. It is indexed anew later.
CREATE TRIGGER inbox_unindexed AFTER DELETE ON inbox_slices BEGIN
    DELETE FROM inbox_grams WHERE slice = old.slice;
END;
CREATE TRIGGER outbox_unindexed AFTER DELETE ON outbox_slices BEGIN
    DELETE FROM outbox_grams WHERE slice = old.slice;
END;
CREATE TRIGGER item_added_to_slice AFTER INSERT ON inbox BEGIN
    DELETE FROM inbox_slices WHERE slice = new.row_id >> 12;
END;
CREATE TRIGGER item_changed_in_slice AFTER UPDATE OF row_id, kind, foreign_kind, name, body ON inbox BEGIN
    DELETE FROM inbox_slices WHERE slice IN (old.row_id >> 12, new.row_id >> 12);
END;
CREATE TRIGGER item_deleted_from_slice AFTER DELETE ON inbox BEGIN
    DELETE FROM inbox_slices WHERE slice = old.row_id >> 12;
END;
CREATE TRIGGER long_text_read AFTER UPDATE OF head ON long_texts BEGIN
    DELETE FROM inbox_slices WHERE slice = new.row_id >> 12;
END;
CREATE TRIGGER entry_added_to_slice AFTER INSERT ON outbox BEGIN
    DELETE FROM outbox_slices WHERE slice = new.row_id >> 12;
END;
CREATE TRIGGER entry_changed_in_slice AFTER UPDATE OF row_id, kind, name, inner ON outbox BEGIN
    DELETE FROM outbox_slices WHERE slice IN (old.row_id >> 12, new.row_id >> 12);
END;
CREATE TRIGGER entry_deleted_from_slice AFTER DELETE ON outbox BEGIN
    DELETE FROM outbox_slices WHERE slice = old.row_id >> 12;
END;
