-- Stores a scheduled send with all its recipients as chunks, in one statement and so in one transaction. Returns a row,
-- without columns, unless a send of this id is already stored.
-- $2 send id  $3 sender  $4 fingerprint  $5 answer  $6 retention_ms  $7 recipients of each chunk, as JSON
-- $8 delay in ms, or null if $9 is given  $9 due at, or null
-- $10 type  $11 title  $12 body  $13 data  $14 action_url  $15 priority  $16 expires at, or null
-- $17 collapse key, or null  $18 channels, or null for all  $19 digest_ms, or null  $20 traceparent, or null
-- A delay counts from the server's present time, as everything else does.
, due AS MATERIALIZED (
    SELECT now_ms, coalesce($9, now_ms + $8) AS due_at FROM clock
),
-- The insert waits for a concurrent one of the same id. The second inserts nothing, so that `send` is empty and there
-- are no chunks either.
send AS (
    INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority,
                       created_at, due_at, expires_at, keep_until, collapse_key, channels, digest_ms, traceparent)
    SELECT $2, $3, $4, $5, 'scheduled', $10, $11, $12, $13, $14, $15, now_ms, due_at, $16,
           greatest(due_at + $6, $16), $17, $18, $19, $20 FROM due
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
-- Each is due with the send.
chunks AS (
    INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
    SELECT send.id, chunk.n, chunk.recipients, due.due_at, 'waiting'
      FROM send, due, unnest($7::text[]) WITH ORDINALITY AS chunk (recipients, n)
)
SELECT FROM send
