-- Stores a send, its chunks, and the rows of its first recipients: one statement, one commit.
-- $2 users  $3 notification ids  $4 type  $5 grace_ms  $6 send id: as in materialise.sql
-- $7 sender  $8 fingerprint  $9 answer  $10 title  $11 body  $12 data  $13 action_url  $14 priority  $15 retention_ms
-- $16 recipients of each chunk, as JSON  $17 when it expires, or null
-- $18 collapse key, or null
-- Waits for a concurrent insert of the same id. Whoever comes second inserts nothing, and nothing below happens.
, send AS (
    INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority,
                       created_at, due_at, expires_at, keep_until, collapse_key)
    SELECT $6, $7, $8, $9, 'started', $12, $13, $14, $15, $16, $17, now_ms, now_ms, $18,
           greatest(now_ms + $10, $18), $19 FROM clock
    ON CONFLICT (id) DO NOTHING
    RETURNING id, created_at, due_at, expires_at, collapse_key, false AS may_be_late
),
chunks AS (
    INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
    SELECT send.id, chunk.n, chunk.recipients, clock.now_ms, 'waiting'
      FROM send, clock, unnest($11::text[]) WITH ORDINALITY AS chunk (recipients, n)
),
