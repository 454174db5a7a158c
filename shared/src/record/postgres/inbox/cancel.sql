-- Cancels a scheduled send with its chunks, in one statement. Returns the state from before, and whether it is
-- cancelled now; no row if this sender has no such send.
-- $1 send id  $2 sender
-- The chunks are locked before the send, as when they are materialised, so that the two cannot deadlock. This waits for
-- a chunk that is being materialised; materialising skips the chunks that are locked here.
WITH locked AS MATERIALIZED (
    SELECT n FROM send_chunks
     WHERE send_id = $1 AND state = 'waiting'
       AND EXISTS (SELECT FROM sends WHERE id = $1 AND sender = $2 AND state = 'scheduled')
     ORDER BY n
       FOR UPDATE
),
-- After a wait, the update checks the state again: a chunk that was materialised meanwhile has started the send.
-- Counting the locked chunks makes it run after they are locked.
cancelled AS (
    UPDATE sends SET state = 'cancelled'
     WHERE id = $1 AND sender = $2 AND state = 'scheduled' AND (SELECT count(*) FROM locked) >= 0
    RETURNING id
),
-- A cancelled chunk is never due.
chunks AS (
    UPDATE send_chunks SET state = 'cancelled' FROM cancelled WHERE send_chunks.send_id = cancelled.id
)
-- The state is read from the snapshot: `scheduled` without a cancellation means that it changed concurrently, and the
-- caller retries.
SELECT sends.state, cancelled.id IS NOT NULL AS is_cancelled
  FROM sends LEFT JOIN cancelled ON cancelled.id = sends.id
 WHERE sends.id = $1 AND sends.sender = $2
