-- Of chunks that are due at one instant, those that come first are found without looking at the others.
-- Safe for the code that runs, as 0002 is.

-- An index on a large table takes longer than any statement of a function may.
SET LOCAL statement_timeout = 0;

DROP INDEX send_chunks_due;
CREATE INDEX send_chunks_due ON send_chunks (due_at, send_id, n) WHERE state = 'waiting';
