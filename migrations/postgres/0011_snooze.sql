-- Notifications that their users snooze: a snoozed row is a tombstone that arrives anew at `snoozed_until`.
-- Safe for the code that runs, for which it is a tombstone like any other. That code ends no snooze, and what it deletes
-- while it is snoozed arrives anew all the same.

-- An index on a large table takes longer than any statement of a function may.
SET LOCAL statement_timeout = 0;

ALTER TABLE notifications
    ADD COLUMN snoozed_until bigint, -- null: it is not snoozed
    ADD COLUMN unsnoozed_at  bigint; -- when it last arrived anew; null: it arrived only at `created_at`

CREATE INDEX notifications_snoozed_until ON notifications (snoozed_until) WHERE snoozed_until IS NOT NULL;
