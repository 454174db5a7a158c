-- Cancels a send that is scheduled, with its chunks.
-- $1 send id  $2 sender
-- The chunks are locked before the send, as whoever materialises one does: nobody waits for another in a circle. A chunk
-- that is being materialised is waited for; those that are held here are passed over.
WITH held AS MATERIALIZED (
    SELECT n FROM send_chunks
     WHERE send_id = $1 AND state = 'waiting'
       AND EXISTS (SELECT FROM sends WHERE id = $1 AND sender = $2 AND state = 'scheduled')
     ORDER BY n
       FOR UPDATE
),
-- Looks at the state again where it had to wait: whoever was first has changed it.
cancelled AS (
    UPDATE sends SET state = 'cancelled'
     WHERE id = $1 AND sender = $2 AND state = 'scheduled' AND (SELECT count(*) FROM held) >= 0
    RETURNING id
),
chunks AS (
    UPDATE send_chunks SET state = 'cancelled' FROM cancelled WHERE send_chunks.send_id = cancelled.id
)
-- As it was before: `scheduled` where somebody else changed it meanwhile.
SELECT sends.state, cancelled.id IS NOT NULL AS is_cancelled
  FROM sends LEFT JOIN cancelled ON cancelled.id = sends.id
 WHERE sends.id = $1 AND sends.sender = $2
