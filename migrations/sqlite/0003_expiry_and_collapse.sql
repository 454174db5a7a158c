-- What a send can say of its end: when it expires, and what a newer one of the same key replaces.

-- With a further state: expired before anybody materialised it, so that its recipients never get a row.
CREATE TABLE send_chunks_with_expired (
    send_id    BLOB    NOT NULL REFERENCES sends (id) ON DELETE CASCADE,
    n          INTEGER NOT NULL,
    recipients TEXT    NOT NULL, -- a JSON array of user ids
    due_at     INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'materialised', 'cancelled', 'expired')),
    PRIMARY KEY (send_id, n)
) STRICT, WITHOUT ROWID;
INSERT INTO send_chunks_with_expired SELECT send_id, n, recipients, due_at, state FROM send_chunks;
DROP TABLE send_chunks;
ALTER TABLE send_chunks_with_expired RENAME TO send_chunks;
CREATE INDEX send_chunks_due ON send_chunks (due_at) WHERE state = 'waiting';
CREATE INDEX send_chunks_expired ON send_chunks (due_at) WHERE state = 'expired';

-- Of its send, where it has a collapse key, to tell which is newer.
ALTER TABLE notifications ADD COLUMN send_due_at INTEGER;
ALTER TABLE notifications ADD COLUMN send_accepted_at INTEGER;
-- A tombstone from then on, since a newer one replaced it.
ALTER TABLE notifications ADD COLUMN collapsed_at INTEGER;

CREATE INDEX notifications_expires_at ON notifications (expires_at)
    WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
-- How many of one inbox expired and are no tombstones yet: few, since the drain makes them every minute.
CREATE INDEX notifications_user_expires_at ON notifications (user_id, expires_at)
    WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX notifications_newest_of_key ON notifications (user_id, collapse_key, send_due_at, send_accepted_at)
    WHERE collapse_key IS NOT NULL;
CREATE INDEX notifications_unread_of_key ON notifications (user_id, collapse_key)
    WHERE collapse_key IS NOT NULL AND read_at IS NULL AND deleted_at IS NULL;
