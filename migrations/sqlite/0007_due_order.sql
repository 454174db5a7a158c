-- Of chunks that are due at one instant, those that come first are found without looking at the others.

DROP INDEX send_chunks_due;
CREATE INDEX send_chunks_due ON send_chunks (due_at, send_id, n) WHERE state = 'waiting';
