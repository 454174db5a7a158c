-- Stores a send that is due later, and all its recipients as chunks: one statement, one commit.
-- $1 at  $2 send id  $3 sender  $4 fingerprint  $5 answer  $6 type  $7 title  $8 body  $9 data  $10 action_url
-- $11 priority  $12 retention_ms  $13 recipients of each chunk, as JSON  $14 delay_ms, or null where $15 says when
-- $16 when it expires, or null  $17 collapse key, or null
WITH clock AS MATERIALIZED (
    SELECT now_ms, coalesce($15, now_ms + $14) AS due_at
      FROM (SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms) AS clock
),
-- Waits for a concurrent insert of the same id. Whoever comes second inserts nothing, and nothing below happens.
send AS (
    INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority,
                       created_at, due_at, expires_at, keep_until, collapse_key)
    SELECT $2, $3, $4, $5, 'scheduled', $6, $7, $8, $9, $10, $11, now_ms, due_at, $16,
           greatest(due_at + $12, $16), $17 FROM clock
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
chunks AS (
    INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
    SELECT send.id, chunk.n, chunk.recipients, clock.due_at, 'waiting'
      FROM send, clock, unnest($13::text[]) WITH ORDINALITY AS chunk (recipients, n)
)
SELECT FROM send
