-- Erasing users: how far each erasure has come, and which messages erasures have emptied.

-- Erasures that are not complete. The last step deletes its row.
CREATE TABLE erasures (
    user_id  TEXT    NOT NULL PRIMARY KEY,
    begun_at INTEGER NOT NULL, -- milliseconds since 1970
    is_second_round INTEGER NOT NULL, -- whether it goes through the stages again
    stage    INTEGER NOT NULL, -- the number of the stage that is under way
    after_id BLOB    NOT NULL, -- the key of the last row that this stage has examined; zeros: of none
    after_n  INTEGER NOT NULL  -- the second part of that key, where it has one
) STRICT, WITHOUT ROWID;

-- Tells a history whether a cached message was erased since.
CREATE INDEX messages_erased ON messages (chat_id, seq) WHERE erased_at IS NOT NULL;
