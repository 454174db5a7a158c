-- Web Push: who is pushed to, what has yet to be pushed, and what each user wants to ring.

-- What users want. A user without a row lets everything ring.
CREATE TABLE preferences (
    user_id     TEXT NOT NULL PRIMARY KEY,
    types       TEXT NOT NULL, -- JSON, as in the API
    quiet_hours TEXT,          -- likewise
    muted_chats TEXT NOT NULL  -- likewise
) STRICT, WITHOUT ROWID;

-- The browsers that users are pushed to.
CREATE TABLE push_subscriptions (
    number   INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of subscribing, whatever clocks say
    id       BLOB    NOT NULL UNIQUE, -- derived from the endpoint, so that each has one owner
    user_id  TEXT    NOT NULL,
    endpoint TEXT    NOT NULL,
    p256dh   BLOB    NOT NULL,
    auth     BLOB    NOT NULL
) STRICT;

CREATE INDEX push_subscriptions_user ON push_subscriptions (user_id, number);

ALTER TABLE sends ADD COLUMN channels TEXT;     -- 'realtime' or 'push'; null: both
ALTER TABLE sends ADD COLUMN digest_ms INTEGER; -- how long the first Web Push of the type waits for others; null: not at all

ALTER TABLE notifications ADD COLUMN silent INTEGER;      -- open devices do not ring
ALTER TABLE notifications ADD COLUMN web_push_at INTEGER; -- when the drain pushes it, or closes what it pushed; null: neither
ALTER TABLE notifications ADD COLUMN web_push_attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN web_push_left TEXT;  -- subscriptions that have yet to be pushed to, as JSON; null: all
ALTER TABLE notifications ADD COLUMN web_push_digest TEXT; -- the digest that tells of it
ALTER TABLE notifications ADD COLUMN web_pushed_at INTEGER; -- when the first subscription was pushed to
ALTER TABLE notifications ADD COLUMN web_push_failed_at INTEGER;

CREATE INDEX notifications_web_push_at ON notifications (web_push_at) WHERE web_push_at IS NOT NULL;
-- What an acknowledgement settles, and what a digest tells of.
CREATE INDEX notifications_user_web_push ON notifications (user_id, "offset") WHERE web_push_at IS NOT NULL;
CREATE INDEX notifications_web_push_digest ON notifications (user_id, web_push_digest)
    WHERE web_push_digest IS NOT NULL;

-- Pushes that tell of several notifications, or of the messages of a chat.
CREATE TABLE push_digests (
    user_id   TEXT    NOT NULL,
    tag       TEXT    NOT NULL, -- 'type:' and a type, 'chat:' and the id of a chat, or 'quiet'
    due_at    INTEGER,          -- null: it was pushed, and is closed once it is read
    window_ms INTEGER NOT NULL, -- how long what arrives while it is pushed waits for the next
    arrivals  INTEGER NOT NULL DEFAULT 1, -- grows with each, so that none is missed while it is pushed
    attempts  INTEGER NOT NULL DEFAULT 0,
    push_left TEXT,             -- as in notifications
    is_held   INTEGER NOT NULL DEFAULT 0, -- by quiet hours
    pushed_at INTEGER,
    PRIMARY KEY (user_id, tag)
) STRICT, WITHOUT ROWID;

CREATE INDEX push_digests_due_at ON push_digests (due_at) WHERE due_at IS NOT NULL;
