-- Notifications that their users snooze: a snoozed row is a tombstone that arrives anew at `snoozed_until`.

-- Null: it is not snoozed.
ALTER TABLE notifications ADD COLUMN snoozed_until INTEGER;
-- When it last arrived anew; null: it arrived only at `created_at`.
ALTER TABLE notifications ADD COLUMN unsnoozed_at INTEGER;

CREATE INDEX notifications_snoozed_until ON notifications (snoozed_until) WHERE snoozed_until IS NOT NULL;
