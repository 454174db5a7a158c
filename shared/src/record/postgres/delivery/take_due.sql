-- Takes rows whose push is due; each waits twice as long for whoever takes it next. Of whom too much is due, as much of
-- that as one statement may change is taken.
-- $2 limit  $3 grace_ms  $4 the longest wait in ms  $5 the most frames of a user  $6 the most rows beyond `limit`
, due AS MATERIALIZED (
    SELECT notifications.user_id, notifications."offset", notifications.push_at AS due_at
      FROM notifications
     -- As a subquery: a join would look at all that is due later, too.
     WHERE notifications.push_at <= (SELECT now_ms FROM clock)
     ORDER BY notifications.push_at
     LIMIT $2
       FOR UPDATE OF notifications SKIP LOCKED
),
-- Who has more due than gets a frame each, whether or not somebody else takes some of it.
behind AS MATERIALIZED (
    SELECT users.user_id
      FROM (SELECT DISTINCT user_id FROM due) AS users
     WHERE $5 < (SELECT count(*)
                   FROM (SELECT FROM notifications n
                          WHERE n.user_id = users.user_id AND n.push_at <= (SELECT now_ms FROM clock) LIMIT $5 + 1) AS counted)
),
rest AS MATERIALIZED (
    -- User by user: of everything that is due, only theirs is looked at.
    SELECT theirs.*
      FROM clock, behind,
           LATERAL (SELECT n.user_id, n."offset", n.push_at AS due_at
                      FROM notifications n
                     WHERE n.user_id = behind.user_id AND n.push_at <= clock.now_ms
                     LIMIT $6
                       FOR UPDATE SKIP LOCKED) AS theirs
     LIMIT $6
),
living AS MATERIALIZED (
    SELECT connections.*
      FROM clock, connections
     WHERE connections.user_id IN (SELECT user_id FROM due) AND connections.token_expires_at > clock.now_ms
),
-- What was read or deleted or has expired, and what has nowhere to go, is no longer due.
taken AS (
    UPDATE notifications AS n
       SET push_attempts = n.push_attempts + 1,
           push_at = CASE
               WHEN n.read_at IS NULL AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
                    AND EXISTS (SELECT FROM living WHERE living.user_id = n.user_id)
               THEN clock.now_ms + least($4, $3 * (1::bigint << least(n.push_attempts, 16)::integer))
           END
      FROM clock, (SELECT * FROM due UNION SELECT * FROM rest) AS due
     WHERE n.user_id = due.user_id AND n."offset" = due."offset"
    RETURNING n.*, due.due_at
),
-- A row each; of whom too much is due, one without an offset.
items AS (
    SELECT user_id, "offset", id, send_id, created_at, read_at, due_at, push_at, push_attempts
      FROM taken
     WHERE push_at IS NOT NULL AND user_id NOT IN (SELECT user_id FROM behind)
    UNION ALL
    SELECT user_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM behind
)
SELECT n.user_id, n."offset", n.id, n.created_at, n.read_at, n.push_at, n.push_attempts,
       inboxes.epoch, inboxes.head,
       inboxes.unread - (
           SELECT count(*) FROM notifications e
            WHERE e.user_id = n.user_id AND e.deleted_at IS NULL AND e.read_at IS NULL AND e.expires_at <= clock.now_ms
       ) AS unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key,
       living.id AS connection_id, living.connected_at, living.token_expires_at,
       (SELECT count(*) FROM rest) AS rest
  FROM clock CROSS JOIN items n
  JOIN inboxes ON inboxes.user_id = n.user_id
  LEFT JOIN sends s ON s.id = n.send_id
  LEFT JOIN living ON living.user_id = n.user_id
 ORDER BY n.due_at, n.user_id, n."offset", living.connected_at, living.id
