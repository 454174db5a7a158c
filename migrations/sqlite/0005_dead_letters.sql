-- What could not be processed, set aside for an operator, so that it holds up nothing else. Few rows at all times.
CREATE TABLE dead_letters (
    id              BLOB    NOT NULL PRIMARY KEY, -- follows from what it is about
    send_id         BLOB    REFERENCES sends (id) ON DELETE CASCADE,
    user_id         TEXT,
    notification_id BLOB,
    "offset"        INTEGER,          -- of a row whose push was set aside; null: there is no row
    recipients      INTEGER NOT NULL, -- of how many there is no row
    payload         TEXT,             -- recipients without a row, as in a chunk, or what could not be read
    error           TEXT    NOT NULL, -- a sentence of ours
    attempts        INTEGER NOT NULL,
    at              INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_at ON dead_letters (at, id);
CREATE INDEX dead_letters_send ON dead_letters (send_id);
