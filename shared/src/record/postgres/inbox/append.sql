-- Stores a send, the rows of its first recipients, and its chunks, in one statement and so in one transaction.
-- Continues with recipients.sql, rings.sql, and materialise.sql or collapse.sql, and returns what that returns: no row if
-- a send of this id is already stored.
-- $2 users  $3 notification ids  $4 type  $5 grace_ms  $6 send id: as there
-- $7 sender  $8 fingerprint  $9 answer  $10 retention_ms  $11 recipients of each chunk, as JSON
-- $12 type  $13 title  $14 body  $15 data  $16 action_url  $17 priority  $18 expires at, or null
-- $19 collapse key, or null  $20 channels, or null for all  $21 digest_ms, or null  $22 traceparent, or null
-- The insert waits for a concurrent one of the same id. The second inserts nothing, so that `send` is empty and no step
-- below has an effect. A send that is accepted now is the newest, so it is never late.
, send AS (
    INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority,
                       created_at, due_at, expires_at, keep_until, collapse_key, channels, digest_ms, traceparent)
    SELECT $6, $7, $8, $9, 'started', $12, $13, $14, $15, $16, $17, now_ms, now_ms, $18,
           greatest(now_ms + $10, $18), $19, $20, $21, $22 FROM clock
    ON CONFLICT (id) DO NOTHING
    RETURNING id, created_at, due_at, expires_at, collapse_key, priority, channels, false AS may_be_late
),
-- The other recipients: due at once, and materialised by the drain.
chunks AS (
    INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
    SELECT send.id, chunk.n, chunk.recipients, clock.now_ms, 'waiting'
      FROM send, clock, unnest($11::text[]) WITH ORDINALITY AS chunk (recipients, n)
),
