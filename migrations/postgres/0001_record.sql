-- The record. Times are milliseconds since 1970, JSON is the text that was serialised (jsonb would reorder it).
-- User ids compare by their bytes, whatever the locale: every lock order is the same everywhere.

-- One life of this database: part of every cursor, so that positions of another are recognised.
CREATE TABLE epoch (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    epoch    bigint  NOT NULL
);

-- Random, made once and kept.
INSERT INTO epoch (only_row, epoch) VALUES (1, ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 17))::bit(64)::bigint);

-- One call of `send`: what it says, and what was answered, for every repeat.
CREATE TABLE sends (
    id           uuid    NOT NULL PRIMARY KEY,
    sender       text    NOT NULL,
    fingerprint  bytea   NOT NULL, -- SHA-256 over what was asked
    answer       text    NOT NULL, -- the body of the first answer, byte for byte
    state        text    NOT NULL CHECK (state IN ('scheduled', 'started', 'cancelled')),
    type         text    NOT NULL,
    title        text    NOT NULL,
    body         text,
    data         text    NOT NULL,
    action_url   text,
    priority     text    NOT NULL,
    collapse_key text,
    created_at   bigint  NOT NULL,
    due_at       bigint  NOT NULL,
    expires_at   bigint,
    keep_until   bigint  NOT NULL  -- the key is known, and the content kept, until then
);

CREATE INDEX sends_keep_until ON sends (keep_until);
CREATE INDEX sends_sender ON sends (sender, created_at);

-- Recipients of a send who have no row in `notifications` yet.
CREATE TABLE send_chunks (
    send_id    uuid    NOT NULL REFERENCES sends (id) ON DELETE CASCADE,
    n          integer NOT NULL,
    recipients text    NOT NULL, -- a JSON array of user ids
    due_at     bigint  NOT NULL,
    state      text    NOT NULL CHECK (state IN ('waiting', 'materialised', 'cancelled')),
    PRIMARY KEY (send_id, n)
);

CREATE INDEX send_chunks_due ON send_chunks (due_at) WHERE state = 'waiting';

-- Where each user's inbox stands.
CREATE TABLE inboxes (
    user_id        text COLLATE "C" NOT NULL PRIMARY KEY,
    epoch          bigint  NOT NULL,
    head           bigint  NOT NULL DEFAULT 0, -- the offset of the last change
    unread         bigint  NOT NULL DEFAULT 0, -- moves with the head, in the same transaction
    acked          bigint  NOT NULL DEFAULT 0, -- a device acknowledged everything up to here
    purged_through bigint  NOT NULL DEFAULT 0  -- tombstones up to here may be gone
);

-- One notification in one inbox. What it says stands in its send.
CREATE TABLE notifications (
    user_id       text COLLATE "C" NOT NULL,
    "offset"      bigint  NOT NULL, -- where it arrived; never changes
    version       bigint  NOT NULL, -- the offset of its last change
    id            uuid    NOT NULL,
    send_id       uuid    NOT NULL REFERENCES sends (id),
    type          text    NOT NULL, -- of its send, for lists of one type
    created_at    bigint  NOT NULL,
    read_at       bigint,
    deleted_at    bigint,          -- a tombstone from then on
    expires_at    bigint,
    collapse_key  text,
    push_at       bigint,          -- when the drain pushes it; null: nothing is left to push
    push_attempts bigint  NOT NULL DEFAULT 0,
    offered_at    bigint,          -- when every connection had taken it
    PRIMARY KEY (user_id, "offset")
);

CREATE UNIQUE INDEX notifications_id ON notifications (user_id, id);
CREATE UNIQUE INDEX notifications_version ON notifications (user_id, version);
CREATE INDEX notifications_unread ON notifications (user_id, type) WHERE read_at IS NULL AND deleted_at IS NULL;
CREATE INDEX notifications_push_at ON notifications (push_at) WHERE push_at IS NOT NULL;

-- Open sockets.
CREATE TABLE connections (
    id               text    NOT NULL PRIMARY KEY, -- API Gateway's name
    user_id          text COLLATE "C" NOT NULL,
    origin           text,
    opened           bigint  GENERATED ALWAYS AS IDENTITY, -- the order of opening, whatever clocks say
    connected_at     bigint  NOT NULL,
    token_expires_at bigint  NOT NULL
);

CREATE INDEX connections_user ON connections (user_id, opened);
CREATE INDEX connections_token_expires_at ON connections (token_expires_at);
CREATE INDEX connections_connected_at ON connections (connected_at);

-- One-time keys to sockets.
CREATE TABLE tickets (
    hash             bytea   NOT NULL PRIMARY KEY, -- SHA-256; the ticket itself is stored nowhere
    user_id          text COLLATE "C" NOT NULL,
    origin           text,
    token_expires_at bigint  NOT NULL,
    expires_at       bigint  NOT NULL
);

CREATE INDEX tickets_expires_at ON tickets (expires_at);
