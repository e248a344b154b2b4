-- Version 15. Messages that were imported: history from a bundle, which no protocol and no reader of the inbox meets.
-- `origin` is the outbox id that the message had where it was exported; NULL of all that this home has sent or received
-- itself. Their own `outbox_id` is made of it (store/tables/imported.py) and equals none that is in use, and their
-- row ids are negative, below all others: so they are older than everything, in the order that they had.
ALTER TABLE inbox ADD COLUMN origin BLOB;
ALTER TABLE outbox ADD COLUMN origin BLOB;
ALTER TABLE transfers ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
-- By which a removed contact is the same one in another home. NULL of those that were removed before this was kept.
ALTER TABLE former_contacts ADD COLUMN id_public BLOB;

-- What the user has imported is not what a contact takes up, and nothing deletes it by itself.
DROP TRIGGER IF EXISTS inbox_weighs;
CREATE TRIGGER inbox_weighs AFTER INSERT ON inbox WHEN new.origin IS NULL BEGIN
    INSERT INTO usage VALUES (new.contact_id, new.size + 256, 1) ON CONFLICT (contact_id)
        DO UPDATE SET bytes = bytes + excluded.bytes, rows = rows + 1;
END;
DROP TRIGGER IF EXISTS inbox_weighs_no_more;
CREATE TRIGGER inbox_weighs_no_more AFTER DELETE ON inbox WHEN old.origin IS NULL BEGIN
    UPDATE usage SET bytes = bytes - old.size - 256, rows = rows - 1 WHERE contact_id = old.contact_id;
END;
DROP TRIGGER IF EXISTS offer_weighs;
CREATE TRIGGER offer_weighs AFTER INSERT ON transfers WHEN new.incoming = 1 AND new.imported = 0 BEGIN
    INSERT INTO usage VALUES (new.contact_id, 256, 1) ON CONFLICT (contact_id)
        DO UPDATE SET bytes = bytes + excluded.bytes, rows = rows + 1;
END;
DROP TRIGGER IF EXISTS offer_weighs_no_more;
CREATE TRIGGER offer_weighs_no_more AFTER DELETE ON transfers
WHEN old.incoming = 1 AND old.imported = 0 AND length(old.key) > 0 BEGIN
    UPDATE usage SET bytes = bytes - 256, rows = rows - 1 WHERE contact_id = old.contact_id;
END;
DROP TRIGGER IF EXISTS deleted_file_weighs_no_more;
CREATE TRIGGER deleted_file_weighs_no_more AFTER UPDATE OF key ON transfers
WHEN new.incoming = 1 AND new.imported = 0 AND length(new.key) = 0 AND length(old.key) > 0 BEGIN
    UPDATE usage SET bytes = bytes - 256, rows = rows - 1 WHERE contact_id = new.contact_id;
END;
DROP INDEX IF EXISTS inbox_read;
CREATE INDEX inbox_read ON inbox (received_ms, row_id, contact_id) WHERE unread = 0 AND origin IS NULL;

-- The journal tells of what happens in this home: of messages that were imported it does not tell at all.
DROP TRIGGER IF EXISTS entry_added;
CREATE TRIGGER entry_added AFTER INSERT ON outbox WHEN new.origin IS NULL BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'entry', new.id, new.contact_id, new.state);
END;
DROP TRIGGER IF EXISTS entry_changed;
CREATE TRIGGER entry_changed AFTER UPDATE OF state ON outbox WHEN new.state <> old.state AND new.origin IS NULL BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after)
    VALUES (ifnull(iif(new.state = 'delivered', new.delivered_ms, NULL), CAST(unixepoch('subsec') * 1000 AS INTEGER)),
        'entry', new.id, new.contact_id, old.state, new.state);
END;
DROP TRIGGER IF EXISTS entry_deleted;
CREATE TRIGGER entry_deleted AFTER DELETE ON outbox WHEN old.origin IS NULL BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'entry', old.id, old.contact_id, old.state);
END;
DROP TRIGGER IF EXISTS item_added;
CREATE TRIGGER item_added AFTER INSERT ON inbox WHEN new.origin IS NULL BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'item', new.id, new.contact_id,
        iif(new.unread, 'unread', 'read'));
END;
DROP TRIGGER IF EXISTS item_changed;
CREATE TRIGGER item_changed AFTER UPDATE OF unread ON inbox WHEN new.unread <> old.unread AND new.origin IS NULL BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'item', new.id, new.contact_id,
        iif(old.unread, 'unread', 'read'), iif(new.unread, 'unread', 'read'));
END;
DROP TRIGGER IF EXISTS item_deleted;
CREATE TRIGGER item_deleted AFTER DELETE ON inbox WHEN old.origin IS NULL BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'item', old.id, old.contact_id,
        iif(old.unread, 'unread', 'read'));
END;
DROP TRIGGER IF EXISTS transfer_added;
CREATE TRIGGER transfer_added AFTER INSERT ON transfers WHEN new.imported = 0 BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), iif(new.incoming, 'download', 'upload'),
        new.id, new.contact_id, new.state);
END;
DROP TRIGGER IF EXISTS transfer_changed;
CREATE TRIGGER transfer_changed AFTER UPDATE OF state, error, peer_pause, accepted_bytes ON transfers
WHEN new.imported = 0 AND (new.state <> old.state OR new.error IS NOT old.error
    OR new.peer_pause IS NOT old.peer_pause OR new.accepted_bytes IS NOT old.accepted_bytes)
BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after, what)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), iif(new.incoming, 'download', 'upload'),
        new.id, new.contact_id, old.state, new.state, CASE
            WHEN new.error IS NOT old.error THEN 'reason'
            WHEN new.peer_pause IS NOT old.peer_pause THEN 'peer'
            WHEN new.accepted_bytes IS NOT old.accepted_bytes THEN 'accepted' END);
END;
DROP TRIGGER IF EXISTS transfer_deleted;
CREATE TRIGGER transfer_deleted AFTER DELETE ON transfers WHEN old.imported = 0 BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), iif(old.incoming, 'download', 'upload'),
        old.id, old.contact_id, old.state);
END;
