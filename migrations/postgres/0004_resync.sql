-- Of each user whose row is due it is asked how much more is: after an outage that may be thousands of rows.
-- Safe for the code that runs, as 0002 is.

-- An index on a large table takes longer than any statement of a function may.
SET LOCAL statement_timeout = 0;

CREATE INDEX notifications_user_push_at ON notifications (user_id, push_at) WHERE push_at IS NOT NULL;
