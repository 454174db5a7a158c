-- Erasing users: how far each erasure has come, and which messages erasures have emptied.
-- Safe for the code that runs, which erases no one and knows neither the table nor the index. While the index is built, writers
-- of messages wait and are in the end refused with 503, having stored nothing.

-- An index on a large table takes longer than any statement of a function may.
SET LOCAL statement_timeout = 0;

-- Erasures that are not complete. The last step deletes its row.
CREATE TABLE erasures (
    user_id  text COLLATE "C" NOT NULL PRIMARY KEY,
    begun_at bigint NOT NULL, -- milliseconds since 1970
    is_second_round boolean NOT NULL, -- whether it goes through the stages again
    stage    bigint NOT NULL, -- the number of the stage that is under way
    after_id uuid   NOT NULL, -- the key of the last row that this stage has examined; zeros: of none
    after_n  bigint NOT NULL  -- the second part of that key, where it has one
);

-- Tells a history whether a cached message was erased since. Erased messages alone are in it, so a message that is
-- written costs nothing more.
CREATE INDEX messages_erased ON messages (chat_id, seq) WHERE erased_at IS NOT NULL;
