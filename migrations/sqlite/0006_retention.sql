-- What is too old is found by its age.

CREATE INDEX notifications_deleted_at ON notifications (deleted_at) WHERE deleted_at IS NOT NULL;
