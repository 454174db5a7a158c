-- What a send can say of its end: when it expires, and what a newer one of the same key replaces.
-- Safe for the code that runs, as 0002 is: every column that is new may be left out.

-- An index on a large table takes longer than any statement of a function may.
SET LOCAL statement_timeout = 0;

-- Expired before anybody materialised it: its recipients never get a row.
ALTER TABLE send_chunks DROP CONSTRAINT send_chunks_state_check;
ALTER TABLE send_chunks
    ADD CONSTRAINT send_chunks_state_check CHECK (state IN ('waiting', 'materialised', 'cancelled', 'expired'));
CREATE INDEX send_chunks_expired ON send_chunks (due_at) WHERE state = 'expired';

-- Rows that expired up to then were made tombstones, and `unread` is without them.
ALTER TABLE inboxes ADD COLUMN expired_through bigint NOT NULL DEFAULT 0;

ALTER TABLE notifications
    ADD COLUMN send_due_at      bigint, -- of its send, as the next: where it has a collapse key, to tell which is newer
    ADD COLUMN send_accepted_at bigint,
    ADD COLUMN collapsed_at     bigint; -- a tombstone from then on, since a newer one replaced it

CREATE INDEX notifications_expires_at ON notifications (expires_at)
    WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
-- How many of one inbox expired and are no tombstones yet: few, since the drain makes them every minute.
CREATE INDEX notifications_user_expires_at ON notifications (user_id, expires_at)
    WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX notifications_newest_of_key ON notifications (user_id, collapse_key, send_due_at, send_accepted_at)
    WHERE collapse_key IS NOT NULL;
CREATE INDEX notifications_unread_of_key ON notifications (user_id, collapse_key)
    WHERE collapse_key IS NOT NULL AND read_at IS NULL AND deleted_at IS NULL;
