-- Deletes a dead letter and makes what it is about due again. What the queue or a log held is returned instead, and the dead
-- letter stays. Returns no row if there is no such dead letter.
-- $2 dead letter id
, found AS MATERIALIZED (
    SELECT id, CASE recipients WHEN 0 THEN payload END AS held FROM dead_letters WHERE id = $2 FOR UPDATE
),
dead_letter AS (
    DELETE FROM dead_letters AS d USING found
     WHERE d.id = found.id AND found.held IS NULL
    RETURNING d.send_id, d.user_id, d."offset", d.recipients, d.payload
),
-- A dead-lettered push: its row is due at once, unless it was read or deleted meanwhile.
due AS (
    UPDATE notifications AS n
       SET push_at = clock.now_ms, push_attempts = 0
      FROM dead_letter, clock
     WHERE n.user_id = dead_letter.user_id AND n."offset" = dead_letter."offset"
       AND n.read_at IS NULL AND n.deleted_at IS NULL
),
-- Recipients without a row: they become another chunk of their send. A concurrent redrive may use the same number,
-- which violates the primary key, and the caller retries.
chunk AS (
    INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
    SELECT dead_letter.send_id,
           1 + coalesce((SELECT max(n) FROM send_chunks c WHERE c.send_id = dead_letter.send_id), 0),
           dead_letter.payload, clock.now_ms, 'waiting'
      FROM dead_letter, clock
     WHERE dead_letter.recipients > 0
)
SELECT held FROM found
