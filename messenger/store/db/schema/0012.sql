-- Version 12. The journal: every transition of a message, a transfer, a contact, an invitation and a rate limit, in the
-- transaction that makes it. Triggers write it, so that no way to change a row can forget it (docs/design.md, Storage).
CREATE TABLE changes (
    -- The cursor of whoever reads the journal: it rises with each row, and is never given twice.
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    -- The id that the command line shows. A limit has its contact's; that for everybody has an empty one.
    subject TEXT NOT NULL,
    contact_id TEXT,
    -- The states. Without one before it is new, without one after it is gone.
    before TEXT,
    after TEXT,
    -- What else has changed than the state.
    what TEXT
) STRICT;
-- SQLite numbers a row after the newest one, which therefore stays. AUTOINCREMENT would do the same with a table of its
-- own: one page more to write in every commit.
CREATE TRIGGER newest_change_stays BEFORE DELETE ON changes WHEN old.id = (SELECT max(id) FROM changes) BEGIN
    SELECT RAISE(IGNORE);
END;

-- Messages that we send.
CREATE TRIGGER entry_added AFTER INSERT ON outbox BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'entry', new.id, new.contact_id, new.state);
END;
-- A delivery is dated as in the outbox, so that whoever is told of it need not look there.
CREATE TRIGGER entry_changed AFTER UPDATE OF state ON outbox WHEN new.state <> old.state BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after)
    VALUES (ifnull(iif(new.state = 'delivered', new.delivered_ms, NULL), CAST(unixepoch('subsec') * 1000 AS INTEGER)),
        'entry', new.id, new.contact_id, old.state, new.state);
END;
CREATE TRIGGER entry_deleted AFTER DELETE ON outbox BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'entry', old.id, old.contact_id, old.state);
END;

-- Messages that we receive.
CREATE TRIGGER item_added AFTER INSERT ON inbox BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'item', new.id, new.contact_id,
        iif(new.unread, 'unread', 'read'));
END;
CREATE TRIGGER item_changed AFTER UPDATE OF unread ON inbox WHEN new.unread <> old.unread BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'item', new.id, new.contact_id,
        iif(old.unread, 'unread', 'read'), iif(new.unread, 'unread', 'read'));
END;
CREATE TRIGGER item_deleted AFTER DELETE ON inbox BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'item', old.id, old.contact_id,
        iif(old.unread, 'unread', 'read'));
END;

CREATE TRIGGER transfer_added AFTER INSERT ON transfers BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), iif(new.incoming, 'download', 'upload'),
        new.id, new.contact_id, new.state);
END;
-- Progress is none of them: a large file would fill the journal with it.
CREATE TRIGGER transfer_changed AFTER UPDATE OF state, error, peer_pause, accepted_bytes ON transfers
WHEN new.state <> old.state OR new.error IS NOT old.error OR new.peer_pause IS NOT old.peer_pause
    OR new.accepted_bytes IS NOT old.accepted_bytes
BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after, what)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), iif(new.incoming, 'download', 'upload'),
        new.id, new.contact_id, old.state, new.state, CASE
            WHEN new.error IS NOT old.error THEN 'reason'
            WHEN new.peer_pause IS NOT old.peer_pause THEN 'peer'
            WHEN new.accepted_bytes IS NOT old.accepted_bytes THEN 'accepted' END);
END;
CREATE TRIGGER transfer_deleted AFTER DELETE ON transfers BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), iif(old.incoming, 'download', 'upload'),
        old.id, old.contact_id, old.state);
END;

-- The state of a contact as people see it: for them and for the journal it is computed here alone.
ALTER TABLE contacts ADD COLUMN shown_state TEXT GENERATED ALWAYS AS (CASE
    WHEN conflict_body IS NOT NULL AND state <> 'blocked' THEN 'changed'
    WHEN removed_us_ms IS NOT NULL AND state = 'active' THEN 'removed'
    ELSE state END) VIRTUAL;
CREATE TRIGGER contact_added AFTER INSERT ON contacts BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'contact', new.id, new.id, new.shown_state);
END;
-- When it was last seen is none of them: each session would leave a row.
CREATE TRIGGER contact_changed AFTER UPDATE OF state, conflict_body, removed_us_ms, verified_at_ms, went_back_ms,
    name, ticket_secret, note, addresses, accept, quota_bytes, why ON contacts
WHEN (new.shown_state, new.verified_at_ms, new.went_back_ms, new.name, new.ticket_secret, new.note,
        new.addresses, new.accept, new.quota_bytes, new.why, new.conflict_body)
    IS NOT (old.shown_state, old.verified_at_ms, old.went_back_ms, old.name, old.ticket_secret, old.note,
        old.addresses, old.accept, old.quota_bytes, old.why, old.conflict_body)
BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after, what)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'contact', new.id, new.id,
        old.shown_state, new.shown_state, CASE
            WHEN new.verified_at_ms IS NOT old.verified_at_ms AND new.verified_at_ms IS NOT NULL THEN 'verified'
            WHEN new.went_back_ms IS NOT old.went_back_ms THEN 'put back'
            WHEN new.name <> old.name THEN 'renamed'
            WHEN new.ticket_secret IS NOT old.ticket_secret AND new.ticket_secret IS NOT NULL THEN 'ticket'
            WHEN (new.note, new.addresses, new.accept, new.quota_bytes)
                IS NOT (old.note, old.addresses, old.accept, old.quota_bytes) THEN 'edited'
            WHEN new.shown_state = old.shown_state THEN 'reason' END);
END;
CREATE TRIGGER contact_deleted AFTER DELETE ON contacts BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'contact', old.id, old.id, old.shown_state);
END;

-- An invitation is `open`, `used`, or `refused`: used without the contact that it was for.
CREATE TRIGGER invite_added AFTER INSERT ON invites BEGIN
    INSERT INTO changes (at_ms, kind, subject, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'invite', lower(hex(new.invite_id)),
        iif(new.used_ms IS NULL, 'open', iif(new.why IS NULL, 'used', 'refused')));
END;
CREATE TRIGGER invite_changed AFTER UPDATE OF used_ms, why ON invites
WHEN new.used_ms IS NOT old.used_ms OR new.why IS NOT old.why
BEGIN
    INSERT INTO changes (at_ms, kind, subject, before, after, what)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'invite', lower(hex(new.invite_id)),
        iif(old.used_ms IS NULL, 'open', iif(old.why IS NULL, 'used', 'refused')),
        iif(new.used_ms IS NULL, 'open', iif(new.why IS NULL, 'used', 'refused')),
        iif(new.why IS NULL, NULL, 'reason'));
END;
CREATE TRIGGER invite_deleted AFTER DELETE ON invites BEGIN
    INSERT INTO changes (at_ms, kind, subject, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'invite', lower(hex(old.invite_id)),
        iif(old.used_ms IS NULL, 'open', iif(old.why IS NULL, 'used', 'refused')));
END;

CREATE TRIGGER limit_added AFTER INSERT ON rate_limits BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, after)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'limit', ifnull(new.contact_id, ''), new.contact_id, 'set');
END;
CREATE TRIGGER limit_changed AFTER UPDATE ON rate_limits
WHEN (new.up_bytes_s, new.down_bytes_s, new.messages_s, new.burst_bytes)
    IS NOT (old.up_bytes_s, old.down_bytes_s, old.messages_s, old.burst_bytes)
BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after, what)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'limit', ifnull(new.contact_id, ''), new.contact_id,
        'set', 'set', 'edited');
END;
CREATE TRIGGER limit_deleted AFTER DELETE ON rate_limits BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'limit', ifnull(old.contact_id, ''), old.contact_id, 'set');
END;
