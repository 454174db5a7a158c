-- Lets what was set aside be tried again.
-- $2 letter
, letter AS (
    DELETE FROM dead_letters WHERE id = $2 RETURNING send_id, user_id, "offset", recipients, payload
),
due AS (
    UPDATE notifications AS n
       SET push_at = clock.now_ms, push_attempts = 0
      FROM letter, clock
     WHERE n.user_id = letter.user_id AND n."offset" = letter."offset" AND n.read_at IS NULL AND n.deleted_at IS NULL
),
chunk AS (
    INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
    SELECT letter.send_id, 1 + coalesce((SELECT max(n) FROM send_chunks c WHERE c.send_id = letter.send_id), 0),
           letter.payload, clock.now_ms, 'waiting'
      FROM letter, clock
     WHERE letter.recipients > 0
)
SELECT FROM letter
