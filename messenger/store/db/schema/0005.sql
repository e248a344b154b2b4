-- Version 5. The secret of an invitation that was used is forgotten; the row stays and says when it was.
CREATE TABLE invites_new (
    invite_id BLOB PRIMARY KEY CHECK (length(invite_id) = 8),
    secret BLOB CHECK (secret IS NULL OR length(secret) = 16),
    name TEXT NOT NULL,
    expires_s INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER,
    CHECK ((secret IS NULL) = (used_ms IS NOT NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO invites_new (invite_id, secret, name, expires_s, created_ms, used_ms)
    SELECT invite_id, CASE WHEN used_ms IS NULL THEN secret END, name, expires_s, created_ms, used_ms
    FROM invites;
DROP TABLE invites;
ALTER TABLE invites_new RENAME TO invites;

-- The newest statement of an identity that has signed two of one number: while there is one, the contact is `changed`.
ALTER TABLE contacts ADD COLUMN conflict_body BLOB;
ALTER TABLE contacts ADD COLUMN conflict_sig BLOB;
-- When a contact last showed an older statement than it had shown before.
ALTER TABLE contacts ADD COLUMN went_back_ms INTEGER;
-- Why a contact is in its state, for people.
ALTER TABLE contacts ADD COLUMN why TEXT;
