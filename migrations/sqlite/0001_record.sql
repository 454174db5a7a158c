-- The record. Times are milliseconds since 1970, ids 16 bytes, JSON the text that was serialised.

-- One life of this database: part of every cursor, so that positions of another are recognised.
CREATE TABLE epoch (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch    INTEGER NOT NULL
) STRICT;

-- One call of `send`: what it says, and what was answered, for every repeat.
CREATE TABLE sends (
    id           BLOB    NOT NULL PRIMARY KEY,
    sender       TEXT    NOT NULL,
    fingerprint  BLOB    NOT NULL, -- SHA-256 over what was asked
    answer       TEXT    NOT NULL, -- the body of the first answer, byte for byte
    state        TEXT    NOT NULL CHECK (state IN ('scheduled', 'started', 'cancelled')),
    type         TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    body         TEXT,
    data         TEXT    NOT NULL,
    action_url   TEXT,
    priority     TEXT    NOT NULL,
    collapse_key TEXT,
    created_at   INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    expires_at   INTEGER,
    keep_until   INTEGER NOT NULL  -- the key is known, and the content kept, until then
) STRICT, WITHOUT ROWID;

CREATE INDEX sends_keep_until ON sends (keep_until);
CREATE INDEX sends_sender ON sends (sender, created_at);

-- Recipients of a send who have no row in `notifications` yet.
CREATE TABLE send_chunks (
    send_id    BLOB    NOT NULL REFERENCES sends (id) ON DELETE CASCADE,
    n          INTEGER NOT NULL,
    recipients TEXT    NOT NULL, -- a JSON array of user ids
    due_at     INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'materialised', 'cancelled')),
    PRIMARY KEY (send_id, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX send_chunks_due ON send_chunks (due_at) WHERE state = 'waiting';

-- Where each user's inbox stands.
CREATE TABLE inboxes (
    user_id        TEXT    NOT NULL PRIMARY KEY,
    epoch          INTEGER NOT NULL,
    head           INTEGER NOT NULL DEFAULT 0, -- the offset of the last change
    unread         INTEGER NOT NULL DEFAULT 0, -- moves with the head, in the same transaction
    acked          INTEGER NOT NULL DEFAULT 0, -- a device acknowledged everything up to here
    purged_through INTEGER NOT NULL DEFAULT 0  -- tombstones up to here may be gone
) STRICT, WITHOUT ROWID;

-- One notification in one inbox. What it says stands in its send.
CREATE TABLE notifications (
    user_id       TEXT    NOT NULL,
    "offset"      INTEGER NOT NULL, -- where it arrived; never changes
    version       INTEGER NOT NULL, -- the offset of its last change
    id            BLOB    NOT NULL,
    send_id       BLOB    NOT NULL REFERENCES sends (id),
    type          TEXT    NOT NULL, -- of its send, for lists of one type
    created_at    INTEGER NOT NULL,
    read_at       INTEGER,
    deleted_at    INTEGER,          -- a tombstone from then on
    expires_at    INTEGER,
    collapse_key  TEXT,
    push_at       INTEGER,          -- when the drain pushes it; null: nothing is left to push
    push_attempts INTEGER NOT NULL DEFAULT 0,
    offered_at    INTEGER,          -- when every connection had taken it
    PRIMARY KEY (user_id, "offset")
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX notifications_id ON notifications (user_id, id);
CREATE UNIQUE INDEX notifications_version ON notifications (user_id, version);
CREATE INDEX notifications_unread ON notifications (user_id, type) WHERE read_at IS NULL AND deleted_at IS NULL;
CREATE INDEX notifications_push_at ON notifications (push_at) WHERE push_at IS NOT NULL;

-- Open sockets.
CREATE TABLE connections (
    id               TEXT    NOT NULL PRIMARY KEY, -- API Gateway's name
    user_id          TEXT    NOT NULL,
    origin           TEXT,
    connected_at     INTEGER NOT NULL,
    token_expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX connections_user ON connections (user_id, connected_at);
CREATE INDEX connections_token_expires_at ON connections (token_expires_at);
CREATE INDEX connections_connected_at ON connections (connected_at);

-- One-time keys to sockets.
CREATE TABLE tickets (
    hash             BLOB    NOT NULL PRIMARY KEY, -- SHA-256; the ticket itself is stored nowhere
    user_id          TEXT    NOT NULL,
    origin           TEXT,
    token_expires_at INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tickets_expires_at ON tickets (expires_at);
