-- What became of a send is counted over its rows; which notification is meant may be asked without naming its user.
-- Safe for the code that runs: every statement of it is served by what stands here as it was before. While an index is
-- built, writers of its table wait and are in the end refused with 503, having stored nothing.

-- An index on a large table takes longer than any statement of a function may.
SET LOCAL statement_timeout = 0;

CREATE INDEX sends_created_at ON sends (created_at, id);
CREATE INDEX sends_type ON sends (type, created_at, id);
CREATE INDEX notifications_send ON notifications (send_id);
-- An id is of one user, so by itself it is as unique as beside him.
CREATE UNIQUE INDEX notifications_by_id ON notifications (id);
DROP INDEX notifications_id;
