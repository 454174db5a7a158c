-- What became of a send is counted over its rows; which notification is meant may be asked without naming its user.

CREATE INDEX sends_created_at ON sends (created_at, id);
CREATE INDEX sends_type ON sends (type, created_at, id);
CREATE INDEX notifications_send ON notifications (send_id);
-- An id is of one user, so by itself it is as unique as beside him.
CREATE UNIQUE INDEX notifications_by_id ON notifications (id);
DROP INDEX notifications_id;
