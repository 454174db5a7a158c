-- Stores a send that is due later, and all its recipients as chunks: one statement, one commit.
-- $2 send id  $3 sender  $4 fingerprint  $5 answer  $6 retention_ms  $7 recipients of each chunk, as JSON
-- $8 delay in ms, or null if $9 says when  $9 due at, or null
-- $10 type  $11 title  $12 body  $13 data  $14 action_url  $15 priority  $16 expires at, or null  $17 collapse key, or null
, due AS MATERIALIZED (
    SELECT now_ms, coalesce($9, now_ms + $8) AS due_at FROM clock
),
-- Waits for a concurrent insert of the same id. Whoever comes second inserts nothing, and nothing below happens.
send AS (
    INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority,
                       created_at, due_at, expires_at, keep_until, collapse_key)
    SELECT $2, $3, $4, $5, 'scheduled', $10, $11, $12, $13, $14, $15, now_ms, due_at, $16,
           greatest(due_at + $6, $16), $17 FROM due
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
chunks AS (
    INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
    SELECT send.id, chunk.n, chunk.recipients, due.due_at, 'waiting'
      FROM send, due, unnest($7::text[]) WITH ORDINALITY AS chunk (recipients, n)
)
SELECT FROM send
