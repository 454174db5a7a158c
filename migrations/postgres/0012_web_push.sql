-- Web Push: who is pushed to, what has yet to be pushed, and what each user wants to ring.
-- Safe for the code that runs: every new column may be left out, and means then that nothing is pushed and nothing silent.

-- An index on a large table takes longer than any statement of a function may.
SET LOCAL statement_timeout = 0;

-- What users want. A user without a row lets everything ring.
CREATE TABLE preferences (
    user_id     text COLLATE "C" NOT NULL PRIMARY KEY,
    types       text NOT NULL, -- JSON, as in the API
    quiet_hours text,          -- likewise
    muted_chats text NOT NULL  -- likewise
);

-- The browsers that users are pushed to.
CREATE TABLE push_subscriptions (
    id       uuid   NOT NULL PRIMARY KEY, -- derived from the endpoint, so that each has one owner
    user_id  text COLLATE "C" NOT NULL,
    endpoint text   NOT NULL,
    p256dh   bytea  NOT NULL,
    auth     bytea  NOT NULL,
    number   bigint GENERATED ALWAYS AS IDENTITY -- the order of subscribing, whatever clocks say
);

CREATE INDEX push_subscriptions_user ON push_subscriptions (user_id, number);

ALTER TABLE sends
    ADD COLUMN channels  text,   -- 'realtime' or 'push'; null: both
    ADD COLUMN digest_ms bigint; -- how long the first Web Push of the type waits for others; null: not at all

ALTER TABLE notifications
    ADD COLUMN silent             boolean, -- open devices do not ring
    ADD COLUMN web_push_at        bigint,  -- when the drain pushes it, or closes what it pushed; null: neither
    ADD COLUMN web_push_attempts  bigint NOT NULL DEFAULT 0,
    ADD COLUMN web_push_left      text,    -- subscriptions that have yet to be pushed to, as JSON; null: all
    ADD COLUMN web_push_digest    text,    -- the digest that tells of it
    ADD COLUMN web_pushed_at      bigint,  -- when the first subscription was pushed to
    ADD COLUMN web_push_failed_at bigint;

CREATE INDEX notifications_web_push_at ON notifications (web_push_at) WHERE web_push_at IS NOT NULL;
-- What an acknowledgement settles, and what a digest tells of.
CREATE INDEX notifications_user_web_push ON notifications (user_id, "offset") WHERE web_push_at IS NOT NULL;
CREATE INDEX notifications_web_push_digest ON notifications (user_id, web_push_digest)
    WHERE web_push_digest IS NOT NULL;

-- Pushes that tell of several notifications, or of the messages of a chat.
CREATE TABLE push_digests (
    user_id   text COLLATE "C" NOT NULL,
    tag       text   NOT NULL, -- 'type:' and a type, 'chat:' and the id of a chat, or 'quiet'
    due_at    bigint,          -- null: it was pushed, and is closed once it is read
    window_ms bigint NOT NULL, -- how long what arrives while it is pushed waits for the next
    arrivals  bigint NOT NULL DEFAULT 1, -- grows with each, so that none is missed while it is pushed
    attempts  bigint NOT NULL DEFAULT 0,
    push_left text,            -- as in notifications
    is_held   boolean NOT NULL DEFAULT false, -- by quiet hours
    pushed_at bigint,
    PRIMARY KEY (user_id, tag)
);

CREATE INDEX push_digests_due_at ON push_digests (due_at) WHERE due_at IS NOT NULL;
