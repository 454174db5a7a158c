-- What is too old is found by its age.
-- Safe for the code that runs, as 0002 is.

-- An index on a large table takes longer than any statement of a function may.
SET LOCAL statement_timeout = 0;

CREATE INDEX notifications_deleted_at ON notifications (deleted_at) WHERE deleted_at IS NOT NULL;
