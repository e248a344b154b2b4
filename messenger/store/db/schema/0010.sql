-- Version 10. Why an invitation that was used let nobody in, or not whom it was for; for people.
ALTER TABLE invites ADD COLUMN why TEXT;
-- What a contact who was removed was called: what was sent to it and came from it stays, and is shown so.
CREATE TABLE former_contacts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL
) STRICT, WITHOUT ROWID;
