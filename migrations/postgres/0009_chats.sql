-- Chats: who talks with whom, what was said, and how far each member has read.
-- Safe for the code that runs, which knows nothing of the tables.

CREATE TABLE chats (
    id          uuid    NOT NULL PRIMARY KEY, -- of a direct chat, derived from the pair
    kind        text    NOT NULL CHECK (kind IN ('direct', 'group')),
    status      text    NOT NULL CHECK (status IN ('PENDING', 'ACCEPTED', 'DECLINED')),
    title       text,
    created_by  text COLLATE "C",  -- null once that user was erased, as in every other table here
    owner       text COLLATE "C",  -- of a group
    declined_by text COLLATE "C",  -- who alone may accept then
    fingerprint bytea   NOT NULL,  -- SHA-256 over what its creator asked for
    created_at  bigint  NOT NULL,
    active_at   bigint  NOT NULL,  -- when it was created or last written in
    version     bigint  NOT NULL DEFAULT 1, -- moves with title, members and status
    last_seq    bigint  NOT NULL DEFAULT 0, -- of its last message
    pushed_at   bigint  NOT NULL DEFAULT 0  -- when a message of a large chat was last pushed
);

CREATE TABLE chat_members (
    member      bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order of joining, whatever clocks say
    chat_id     uuid    NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    user_id     text COLLATE "C",
    joined_at   bigint  NOT NULL,
    involved    boolean NOT NULL,           -- has accepted, written or read here
    read_seq    bigint  NOT NULL DEFAULT 0, -- has read up to here
    cleared_seq bigint  NOT NULL DEFAULT 0, -- sees nothing up to here
    hidden_seq  bigint  NOT NULL DEFAULT -1, -- sees the chat in no list until a message after this one; -1: never hidden
    UNIQUE (chat_id, user_id)
);

CREATE INDEX chat_members_user ON chat_members (user_id, chat_id);

-- A message is also its own outbox entry: one row, however many members there are.
CREATE TABLE messages (
    chat_id        uuid    NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    seq            bigint  NOT NULL, -- from 1, without gaps, in the order of commits
    id             uuid    NOT NULL, -- derived from chat, sender and client id
    sender_id      text COLLATE "C",
    client_id      text,
    body           text    NOT NULL,
    data           text    NOT NULL,
    created_at     bigint  NOT NULL,
    erased_at      bigint,
    push_at        bigint,           -- when the drain pushes it; null: nothing is left to push
    push_attempts  bigint  NOT NULL DEFAULT 0,
    pushed_through bigint  NOT NULL DEFAULT 0, -- the member up to whom it was pushed
    PRIMARY KEY (chat_id, seq)
);

CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE INDEX messages_push_at ON messages (push_at) WHERE push_at IS NOT NULL;

-- When users were last connected.
CREATE TABLE last_seen (
    user_id text COLLATE "C" NOT NULL PRIMARY KEY,
    at      bigint  NOT NULL
);
