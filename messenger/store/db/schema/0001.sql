-- Version 1. Times are milliseconds since 1970, ids of people-facing rows are short text.
CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL,
    id_seed BLOB NOT NULL CHECK (length(id_seed) = 32),
    ik_seed BLOB NOT NULL CHECK (length(ik_seed) = 32),
    tk_seed BLOB NOT NULL CHECK (length(tk_seed) = 32),
    listen_port INTEGER NOT NULL,
    outbox_id BLOB NOT NULL CHECK (length(outbox_id) = 16),
    statement_body BLOB,
    statement_sig BLOB,
    created_ms INTEGER NOT NULL
) STRICT;

-- Private halves of signed prekeys; erased ones keep their row, not their secret.
CREATE TABLE prekeys (
    public BLOB PRIMARY KEY CHECK (length(public) = 32),
    secret BLOB CHECK (secret IS NULL OR length(secret) = 32),
    created_ms INTEGER NOT NULL,
    erased_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE contacts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'expired', 'blocked')),
    id_public BLOB NOT NULL UNIQUE CHECK (length(id_public) = 32),
    statement_body BLOB,
    statement_sig BLOB,
    transport_public BLOB,
    addresses TEXT NOT NULL DEFAULT '',
    ticket_secret BLOB,
    ticket_expires_s INTEGER,
    note TEXT NOT NULL DEFAULT '',
    accept TEXT,
    verified_at_ms INTEGER,
    added_ms INTEGER NOT NULL,
    last_seen_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE invites (
    invite_id BLOB PRIMARY KEY CHECK (length(invite_id) = 8),
    secret BLOB NOT NULL CHECK (length(secret) = 16),
    name TEXT NOT NULL,
    expires_s INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER
) STRICT, WITHOUT ROWID;

-- The end of the chain of one lane to one contact: the next number, and the link that it names.
CREATE TABLE chains (
    contact_id TEXT NOT NULL,
    outbox_id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    link BLOB NOT NULL,
    PRIMARY KEY (contact_id, outbox_id, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    row_id INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    contact_id TEXT NOT NULL,
    lane INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('text', 'file')),
    outbox_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('queued', 'sent', 'delivered', 'cancelled', 'refused', 'expired')),
    settled INTEGER NOT NULL DEFAULT 0,
    inner BLOB NOT NULL,
    link BLOB NOT NULL,
    size INTEGER,
    name TEXT,
    file_id BLOB,
    created_ms INTEGER NOT NULL,
    delivered_ms INTEGER,
    expires_ms INTEGER,
    last_error TEXT,
    UNIQUE (contact_id, outbox_id, lane, seq)
) STRICT;
CREATE INDEX outbox_unsettled ON outbox (contact_id, lane, row_id) WHERE settled = 0;
CREATE INDEX outbox_unacknowledged ON outbox (contact_id, outbox_id, lane, seq) WHERE settled = 0;
CREATE INDEX outbox_open ON outbox (contact_id, row_id) WHERE state IN ('queued', 'sent');
CREATE INDEX outbox_file ON outbox (file_id) WHERE file_id IS NOT NULL;
CREATE INDEX outbox_expiry ON outbox (expires_ms)
    WHERE expires_ms IS NOT NULL AND state IN ('queued', 'sent');

-- How far each lane of each outbox of a contact has come in, and what arrived beyond that.
CREATE TABLE marks (
    contact_id TEXT NOT NULL,
    outbox_id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    link BLOB NOT NULL,
    PRIMARY KEY (contact_id, outbox_id, lane)
) STRICT, WITHOUT ROWID;
CREATE TABLE beyond (
    contact_id TEXT NOT NULL,
    outbox_id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    link BLOB NOT NULL,
    PRIMARY KEY (contact_id, outbox_id, lane, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    contact_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('text', 'file')),
    outbox_id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    gap INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL,
    name TEXT,
    body BLOB,
    file_id BLOB,
    sent_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    unread INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX inbox_contact ON inbox (contact_id, row_id);
CREATE INDEX inbox_unread ON inbox (contact_id) WHERE unread = 1;

CREATE TABLE transfers (
    file_id BLOB NOT NULL CHECK (length(file_id) = 16),
    incoming INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    contact_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('offered', 'asking', 'active', 'paused', 'done', 'failed', 'cancelled')),
    name TEXT NOT NULL,
    as_text INTEGER NOT NULL,
    size INTEGER,
    chunk_log2 INTEGER NOT NULL,
    key BLOB NOT NULL,
    finish_size INTEGER,
    finish_count INTEGER,
    finish_root BLOB,
    have BLOB NOT NULL DEFAULT x'',
    progress_bytes INTEGER NOT NULL DEFAULT 0,
    source TEXT,
    outbox_id BLOB,
    lane INTEGER,
    seq INTEGER,
    sent_ms INTEGER,
    error TEXT,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (contact_id, file_id, incoming)
) STRICT;
CREATE INDEX transfers_open ON transfers (contact_id)
    WHERE state IN ('offered', 'asking', 'active', 'paused');
