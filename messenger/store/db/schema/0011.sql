-- Version 11. When a contact that we have met has last answered that it does not take us for one: it has removed or
-- blocked us. NULL again once it serves us.
ALTER TABLE contacts ADD COLUMN removed_us_ms INTEGER;
