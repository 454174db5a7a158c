-- Takes rows whose push is due; each waits twice as long for whoever takes it next.
-- $1 at  $2 limit  $3 grace_ms  $4 the longest wait in ms
WITH clock AS MATERIALIZED (
    SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
),
due AS MATERIALIZED (
    SELECT notifications.user_id, notifications."offset", notifications.push_at AS due_at
      FROM notifications, clock
     WHERE notifications.push_at <= clock.now_ms
     ORDER BY notifications.push_at
     LIMIT $2
       FOR UPDATE OF notifications SKIP LOCKED
),
living AS MATERIALIZED (
    SELECT connections.*
      FROM clock, connections
     WHERE connections.user_id IN (SELECT user_id FROM due) AND connections.token_expires_at > clock.now_ms
),
-- What was read or deleted, and what has nowhere to go, is no longer due.
taken AS (
    UPDATE notifications AS n
       SET push_attempts = n.push_attempts + 1,
           push_at = CASE
               WHEN n.read_at IS NULL AND n.deleted_at IS NULL
                    AND EXISTS (SELECT FROM living WHERE living.user_id = n.user_id)
               THEN clock.now_ms + least($4, $3 * (1::bigint << least(n.push_attempts, 16)::integer))
           END
      FROM due, clock
     WHERE n.user_id = due.user_id AND n."offset" = due."offset"
    RETURNING n.*, due.due_at
)
SELECT n.user_id, n."offset", n.id, n.created_at, n.read_at, inboxes.epoch, inboxes.unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority,
       living.id AS connection_id, living.connected_at, living.token_expires_at
  FROM taken n
  JOIN sends s ON s.id = n.send_id
  JOIN inboxes ON inboxes.user_id = n.user_id
  JOIN living ON living.user_id = n.user_id
 WHERE n.push_at IS NOT NULL
 ORDER BY n.due_at, n.user_id, n."offset", living.connected_at, living.id
