-- What could not be processed, set aside for an operator, so that it holds up nothing else. Few rows at all times.
-- Safe for the code that runs, which knows nothing of the table.
CREATE TABLE dead_letters (
    id              uuid    NOT NULL PRIMARY KEY, -- follows from what it is about
    send_id         uuid    REFERENCES sends (id) ON DELETE CASCADE,
    user_id         text COLLATE "C",
    notification_id uuid,
    "offset"        bigint,          -- of a row whose push was set aside; null: there is no row
    recipients      bigint  NOT NULL, -- of how many there is no row
    payload         text,            -- recipients without a row, as in a chunk, or what could not be read
    error           text    NOT NULL, -- a sentence of ours
    attempts        bigint  NOT NULL,
    at              bigint  NOT NULL
);

CREATE INDEX dead_letters_at ON dead_letters (at, id);
CREATE INDEX dead_letters_send ON dead_letters (send_id);
