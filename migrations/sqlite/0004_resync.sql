-- Of each user whose row is due it is asked how much more is: after an outage that may be thousands of rows.

CREATE INDEX notifications_user_push_at ON notifications (user_id, push_at) WHERE push_at IS NOT NULL;
