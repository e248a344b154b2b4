-- Version 2. Rate limits; the row without a contact is everybody's. NULL is no limit.
CREATE TABLE rate_limits (
    contact_id TEXT REFERENCES contacts (id) ON DELETE CASCADE,
    up_bytes_s INTEGER CHECK (up_bytes_s > 0),
    down_bytes_s INTEGER CHECK (down_bytes_s > 0),
    messages_s INTEGER CHECK (messages_s > 0),
    burst_bytes INTEGER CHECK (burst_bytes > 0)
);
CREATE UNIQUE INDEX rate_limits_of ON rate_limits (ifnull(contact_id, ''));
