-- Version 13. By which a home that was put back or copied is noticed: the runs of its node, and what contacts said of them.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    id BLOB NOT NULL CHECK (length(id) = 16),
    begun_ms INTEGER NOT NULL
) STRICT;
-- The runs of a contact's home in the order in which they were met, each as its number and id.
CREATE TABLE met_runs (
    contact_id TEXT NOT NULL,
    place INTEGER NOT NULL,
    run BLOB NOT NULL CHECK (length(run) = 24),
    PRIMARY KEY (contact_id, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE lives (
    contact_id TEXT PRIMARY KEY,
    -- The number of the last run of ours that was in a session with the contact.
    said INTEGER NOT NULL DEFAULT 0,
    -- The last run that the contact took for one of ours and that this home does not know.
    strange BLOB,
    -- This home was put back by `backup restore`, and has not met the contact since.
    put_back INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
-- Of whose home two copies were found to run: `ours`, as the contact says, or `theirs`. Then `owed` is the run that came
-- in between, for as long as the contact has not heard of it.
CREATE TABLE copied (
    contact_id TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('ours', 'theirs')),
    at_ms INTEGER NOT NULL,
    owed BLOB,
    PRIMARY KEY (contact_id, side)
) STRICT, WITHOUT ROWID;
CREATE TABLE backups (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- When the last backup was made.
    made_ms INTEGER,
    -- When this home was last put back from one, and when that had been made.
    restored_ms INTEGER,
    restored_from_ms INTEGER,
    -- Only in the copy that is in a backup: when it was made. A store that is opened with it has just been put back.
    copy_of_ms INTEGER,
    -- The highest generation of the keyfile that was seen.
    generation INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO backups (one) VALUES (1);

CREATE TRIGGER put_back_noted AFTER INSERT ON put_back BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after, what)
    SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), 'contact', id, id, shown_state, shown_state, 'put back'
    FROM contacts WHERE id = new.contact_id;
END;
CREATE TRIGGER copy_noted AFTER INSERT ON copied BEGIN
    INSERT INTO changes (at_ms, kind, subject, contact_id, before, after, what)
    SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), 'contact', id, id, shown_state, shown_state, 'copied'
    FROM contacts WHERE id = new.contact_id;
END;
