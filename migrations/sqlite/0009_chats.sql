-- Chats: who talks with whom, what was said, and how far each member has read.

CREATE TABLE chats (
    id          BLOB    NOT NULL PRIMARY KEY, -- of a direct chat, derived from the pair
    kind        TEXT    NOT NULL CHECK (kind IN ('direct', 'group')),
    status      TEXT    NOT NULL CHECK (status IN ('PENDING', 'ACCEPTED', 'DECLINED')),
    title       TEXT,
    created_by  TEXT,              -- null once that user was erased, as in every other table here
    owner       TEXT,              -- of a group
    declined_by TEXT,              -- who alone may accept then
    fingerprint BLOB    NOT NULL,  -- SHA-256 over what its creator asked for
    created_at  INTEGER NOT NULL,
    active_at   INTEGER NOT NULL,  -- when it was created or last written in
    version     INTEGER NOT NULL DEFAULT 1, -- moves with title, members and status
    last_seq    INTEGER NOT NULL DEFAULT 0, -- of its last message
    pushed_at   INTEGER NOT NULL DEFAULT 0  -- when a message of a large chat was last pushed
) STRICT, WITHOUT ROWID;

CREATE TABLE chat_members (
    member      INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of joining, whatever clocks say
    chat_id     BLOB    NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    user_id     TEXT,
    joined_at   INTEGER NOT NULL,
    involved    INTEGER NOT NULL,           -- has accepted, written or read here
    read_seq    INTEGER NOT NULL DEFAULT 0, -- has read up to here
    cleared_seq INTEGER NOT NULL DEFAULT 0, -- sees nothing up to here
    hidden_seq  INTEGER NOT NULL DEFAULT -1, -- sees the chat in no list until a message after this one; -1: never hidden
    UNIQUE (chat_id, user_id)
) STRICT;

CREATE INDEX chat_members_user ON chat_members (user_id, chat_id);

-- A message is also its own outbox entry: one row, however many members there are.
CREATE TABLE messages (
    chat_id        BLOB    NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    seq            INTEGER NOT NULL, -- from 1, without gaps, in the order of commits
    id             BLOB    NOT NULL, -- derived from chat, sender and client id
    sender_id      TEXT,
    client_id      TEXT,
    body           TEXT    NOT NULL,
    data           TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    erased_at      INTEGER,
    push_at        INTEGER,          -- when the drain pushes it; null: nothing is left to push
    push_attempts  INTEGER NOT NULL DEFAULT 0,
    pushed_through INTEGER NOT NULL DEFAULT 0, -- the member up to whom it was pushed
    PRIMARY KEY (chat_id, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE INDEX messages_push_at ON messages (push_at) WHERE push_at IS NOT NULL;

-- When users were last connected.
CREATE TABLE last_seen (
    user_id TEXT    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
